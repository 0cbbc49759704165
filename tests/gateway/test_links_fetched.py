"""Every kind of link, issued by the door and fetched from real servers: what works, and what is refused.

One suite for all stores; ``link_stores`` has an adapter for each. An emulator that does not enforce something is
told to lack it there, and its rows are left out by name, not skipped.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.core.files.storage import storages

from gateway import links
from gateway.errors import AccessDenied
from gateway.links import IssuedURL
from gateway.principals import SYSTEM, acting_as
from gateway.resources import Resource
from providers.types import Checksum, Download, Upload, UploadForm, UploadPart
from tests.emulators.s3 import Response
from tests.gateway.link_stores import FormStore, Store
from tests.gateway.opened_stores import CLOUDFRONT_STORES, UPLOADING, open_store, serve_from

pytestmark = pytest.mark.django_db

CONTENT = bytes(range(256)) * 40
REFUSED = {400, 401, 403}
# Upload refusals may come from the signature, or from a look at the header or the body.
REFUSED_UPLOAD = {400, 403, 411, 412, 413, 415}


@pytest.fixture(scope="module", params=[*UPLOADING, *CLOUDFRONT_STORES])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def store(opened: Store, request: pytest.FixtureRequest, settings: Any) -> Store:
    return serve_from(opened, request, settings)


def new_key(name: str = "report.pdf") -> str:
    return f"uploads/2026/11/{secrets.token_hex(16)}/{name}"


@pytest.fixture
def key(store: Store) -> str:
    key = new_key()
    store.put(key, CONTENT)
    return key


def issue(store: Store, key: str, operation: Any = Download, *, seconds: int | None = None) -> IssuedURL:
    """Ask the door as the system, and hold what comes out to the specification."""
    ttl = None if seconds is None else timedelta(seconds=seconds)
    with acting_as(SYSTEM, reason="test") as system:
        link = links.issue(system, Resource.of_key(store.alias, key), operation, ttl=ttl)
    size_bytes = getattr(link_operation(operation), "size_bytes", None)
    store.judge(link, size_bytes=1 if link.fields else size_bytes)
    return link


def link_operation(operation: Any) -> Any:
    return operation(new_key()) if callable(operation) else operation


def is_refused(answer: Response, statuses: set[int] = REFUSED) -> bool:
    return answer.status in statuses and CONTENT not in answer.body


class TestGet:
    def test_the_bytes_come(self, store: Store, key: str) -> None:
        answer = store.send(issue(store, key).url)
        assert (answer.status, answer.body) == (200, CONTENT)
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-disposition"] == 'inline; filename="report.pdf"'

    def test_a_link_works_more_than_once(self, store: Store, key: str) -> None:
        link = issue(store, key)
        assert {store.send(link.url).status for _ in range(3)} == {200}

    def test_head_comes_without_the_bytes(self, store: Store, key: str) -> None:
        answer = store.send(issue(store, key, partial(Download, method="HEAD")).url, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len(CONTENT))

    @pytest.mark.parametrize(
        ("header", "expected", "content_range"),
        [
            pytest.param("bytes=0-0", CONTENT[:1], "bytes 0-0/10240", id="R1-first"),
            pytest.param("bytes=10000-", CONTENT[10000:], "bytes 10000-10239/10240", id="R1-from"),
            pytest.param("bytes=-5", CONTENT[-5:], "bytes 10235-10239/10240", id="R1-last"),
            pytest.param("bytes=10000-99999999999", CONTENT[10000:], "bytes 10000-10239/10240", id="R2-clamped"),
        ],
    )
    def test_a_range_comes(self, store: Store, key: str, header: str, expected: bytes, content_range: str) -> None:
        answer = store.send(issue(store, key).url, headers={"Range": header})
        if header == "bytes=-5" and "the last bytes" in store.lacks:
            assert answer.body == CONTENT
            return
        assert answer.body == expected
        assert answer.headers["content-range"] == content_range
        assert answer.status == (200 if "206" in store.lacks else 206)

    def test_a_missing_object_is_404(self, store: Store) -> None:
        assert store.send(issue(store, new_key()).url).status == 404

    def test_what_a_browser_runs_comes_as_an_attachment(self, store: Store) -> None:
        key = new_key("page.html")
        store.put(key, b"<script>alert(1)</script>")
        answer = store.send(issue(store, key, partial(Download, disposition="inline")).url)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment;")

    @pytest.mark.parametrize(
        "name",
        [
            "a b.pdf", "a+b.pdf", "100%.pdf", "a%20b.pdf", "what?.pdf", "a#b.pdf", "a&b=c.pdf", "it's.pdf",
            'say "x".pdf', "日本語.pdf", "عربي.pdf", "🎉.pdf", "é.pdf", "~tilde.pdf", "(a).pdf", "a,b;c.pdf",
            "!@$^*.pdf", "{a}.pdf", "<a>.pdf", "a:b.pdf", "-rf.pdf", "a|b.pdf", "a`b.pdf",
        ],
    )  # fmt: skip
    def test_odd_keys_come_back(self, store: Store, name: str) -> None:
        key, content = new_key(name), secrets.token_bytes(16)
        store.put(key, content)
        assert store.send(issue(store, key).url).body == content


class TestNames:
    @pytest.mark.parametrize(
        "filename",
        ["Bericht.pdf", "Jahresabschluß 2026.pdf", "決算報告書.pdf", "التقرير السنوي.pdf", "गुणवत्ता.pdf", "🎉.pdf"],
        ids=["ascii", "german", "japanese", "arabic", "hindi", "emoji"],
    )
    def test_download_names_come_back(self, store: Store, key: str, filename: str) -> None:
        answer = store.send(issue(store, key, partial(Download, filename=filename, disposition="attachment")).url)
        header = answer.headers["content-disposition"]
        assert answer.status == 200
        assert header.startswith('attachment; filename="')
        encoded = re.search(r"; filename\*=UTF-8''(\S+)$", header)
        assert (unquote(encoded[1]) if encoded else header.partition('"')[2][:-1]) == filename

    @pytest.mark.parametrize(
        "filename", ['a"; x="b.pdf', "a\r\nSet-Cookie: x=1", "../../etc/passwd", "a\x00b.pdf", "x" * 500 + ".pdf"],
        ids=["quote", "header", "path", "nul", "long"],
    )  # fmt: skip
    def test_a_name_adds_no_header_and_no_parameter(self, store: Store, key: str, filename: str) -> None:
        answer = store.send(issue(store, key, partial(Download, filename=filename)).url)
        assert answer.status == 200
        assert "set-cookie" not in answer.headers
        assert re.fullmatch(r'inline; filename="[^"\\/\x00-\x1f]{1,150}"', answer.headers["content-disposition"])


def with_parameter(url: str, name: str, value: str) -> str:
    """Give a parameter of the query another value."""
    changed, count = re.subn(rf"([?&]{re.escape(name)}=)[^&]*", lambda match: match[1] + value, url)
    assert count == 1
    assert changed != url
    return changed


def flipped(url: str, name: str, position: int) -> str:
    """Change one digit of a signature, in hexadecimal or base64."""
    signature = re.search(rf"[?&]{re.escape(name)}=([^&]+)", url)
    assert signature is not None
    digits = list(unquote(signature[1]))
    # The last digit of base64 has bits that no reader looks at.
    position = min(position, len(digits) - 3)
    digits[position] = "0" if digits[position] != "0" else "1"
    return with_parameter(url, name, quote("".join(digits)))


class TestRefusals:
    """One table: what a holder may try with a link, and gets nothing for."""

    @pytest.mark.parametrize("position", [0, 17, 63])
    def test_a_changed_signature(self, store: Store, key: str, position: int) -> None:
        assert is_refused(store.send(flipped(issue(store, key).url, store.signature, position)))

    def test_an_empty_signature(self, store: Store, key: str) -> None:
        assert is_refused(store.send(with_parameter(issue(store, key).url, store.signature, "")))

    def test_no_signature(self, store: Store, key: str) -> None:
        url = re.sub(rf"&{re.escape(store.signature)}=[^&]*", "", issue(store, key).url)
        assert is_refused(store.send(url))

    def test_no_query_at_all(self, store: Store, key: str) -> None:
        assert is_refused(store.send(issue(store, key).url.partition("?")[0]))

    def test_another_key(self, store: Store, key: str) -> None:
        other = new_key()
        store.put(other, CONTENT)
        assert is_refused(store.send(issue(store, key).url.replace(key, other)))

    @pytest.mark.parametrize("ending", ["2", "/x", "%00", "/../report.pdf", "%2f"])
    def test_a_key_next_to_it(self, store: Store, key: str, ending: str) -> None:
        address, _, query = issue(store, key).url.partition("?")
        assert store.send(f"{address}{ending}?{query}").status in REFUSED | {404}

    def test_a_changed_disposition(self, store: Store, key: str) -> None:
        url = issue(store, key, partial(Download, disposition="attachment")).url
        assert url.count("attachment") == 1
        assert is_refused(store.send(url.replace("attachment", "inline")))

    def test_a_changed_file_name(self, store: Store, key: str) -> None:
        url = issue(store, key, partial(Download, filename="safe.pdf")).url
        assert is_refused(store.send(url.replace("safe.pdf", "evil.exe")))

    def test_a_changed_type(self, store: Store, key: str) -> None:
        url = issue(store, key).url
        changed, count = re.subn("application(%2F|/)pdf", "text%2Fhtml", url)
        assert count == 1
        assert is_refused(store.send(changed))

    @pytest.mark.parametrize("name", ["response-content-type", "response-cache-control", "content-type", "x"])
    def test_a_parameter_that_was_not_signed(self, store: Store, key: str, name: str) -> None:
        assert is_refused(store.send(f"{issue(store, key).url}&{store.unsigned(name)}=text%2Fhtml"))

    def test_a_changed_link_id(self, store: Store, key: str) -> None:
        link = issue(store, key)
        if "link id" in store.lacks:
            assert link.id not in link.url
            return
        assert link.url.count(link.id) == 1
        assert is_refused(store.send(link.url.replace(link.id, "lnk_0")))

    def test_a_stretched_expiry(self, store: Store, key: str) -> None:
        url = issue(store, key, seconds=60).url
        assert store.stretched(url) != url
        assert is_refused(store.send(store.stretched(url)))

    def test_one_that_is_over(self, store: Store, key: str) -> None:
        storage: Any = storages[store.alias]
        operation = Download(storage.object_key(key))
        now = datetime.now(UTC)
        over = storage.provider.sign(operation, ttl=timedelta(minutes=5), now=now - timedelta(minutes=6))
        good = storage.provider.sign(operation, ttl=timedelta(minutes=5), now=now - timedelta(minutes=4))
        assert store.send(good.url).status == 200
        assert is_refused(store.send(over.url))

    def test_one_that_ends_while_it_is_held(self, store: Store, key: str) -> None:
        link = issue(store, key, seconds=2)
        assert store.send(link.url).status == 200
        time.sleep(max(0.0, (link.expires_at - datetime.now(UTC)).total_seconds()) + 1.1)
        assert is_refused(store.send(link.url))

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "HEAD"])
    def test_another_method(self, store: Store, key: str, method: str) -> None:
        body = CONTENT[::-1] if method in ("PUT", "POST") else None
        answer = store.send(issue(store, key).url, method=method, body=body)
        allowed = {200} if method == "HEAD" and "method" in store.lacks else set()
        assert answer.status in (allowed or REFUSED | {405, 501})
        stored = store.get(key)
        assert stored is not None
        assert stored[0] == CONTENT

    def test_get_with_a_link_for_head(self, store: Store, key: str) -> None:
        answer = store.send(issue(store, key, partial(Download, method="HEAD")).url)
        assert answer.status == 200 if "method" in store.lacks else is_refused(answer)

    def test_get_and_head_with_a_link_for_put(self, store: Store, key: str) -> None:
        url = issue(store, key, partial(Upload, content_type="application/pdf", size_bytes=3, overwrite=True)).url
        if "upload" in store.lacks:
            assert ".amazonaws.com/" in url  # which no test reaches
            return
        assert is_refused(store.send(url))
        assert store.send(url, method="HEAD").status in REFUSED | {404}

    def test_another_host(self, store: Store, key: str) -> None:
        answer = store.send(issue(store, key).url, headers={"Host": "evil.example.com"})
        assert CONTENT not in answer.body
        assert answer.status in REFUSED | {404}

    def test_every_parameter_taken_away(self, store: Store, key: str) -> None:
        address, _, query = issue(store, key).url.partition("?")
        parameters = query.split("&")
        assert len(parameters) >= 6
        for parameter in parameters:
            left = "&".join(other for other in parameters if other != parameter)
            assert is_refused(store.send(f"{address}?{left}")), parameter.partition("=")[0]

    def test_nothing_is_issued_for_a_key_that_is_none(self, store: Store) -> None:
        for bad in ("../x", "a//b", "a\nb", ""):
            with pytest.raises(AccessDenied):
                issue(store, bad)


BODY = b"%PDF-1.7 a new file"
DIGEST = {name: hashlib.new(name, BODY).digest() for name in ("md5", "sha256")}


def put(store: Store, link: IssuedURL, body: bytes = BODY, **changes: str | None) -> Response:
    """Send the body with the headers of the link, some of them changed, or left out where they are None."""
    headers: Mapping[str, str | None] = {**link.headers, **{n.replace("_", "-"): v for n, v in changes.items()}}
    sent = {name: value for name, value in headers.items() if value is not None}
    return store.send(link.url, method="PUT", headers=sent, body=body)


@pytest.mark.parametrize("opened", UPLOADING, indirect=True)
class TestUpload:
    @pytest.fixture
    def new(self) -> str:
        return new_key()

    @pytest.fixture
    def upload(self, store: Store, new: str) -> IssuedURL:
        """A link with everything bound that the store holds to."""
        checksum = Checksum(store.checksum, DIGEST[store.checksum])  # type: ignore[arg-type]
        return issue(
            store, new, partial(Upload, content_type="application/pdf", size_bytes=len(BODY), checksum=checksum)
        )

    def test_the_right_bytes_are_stored(self, store: Store, new: str, upload: IssuedURL) -> None:
        assert put(store, upload).status in (200, 201)
        stored = store.get(new)
        assert stored is not None
        assert stored[0] == BODY
        assert stored[1] in ("", "application/pdf") or "a stored type" in store.lacks
        assert store.send(issue(store, new).url).body == BODY

    def test_an_empty_file(self, store: Store, new: str) -> None:
        link = issue(store, new, partial(Upload, content_type="text/plain", size_bytes=0))
        assert put(store, link, b"").status in (200, 201)
        stored = store.get(new)
        assert stored is not None
        assert stored[0] == b""

    @pytest.mark.parametrize(
        ("body", "changes"),
        [
            pytest.param(BODY, {"Content_Type": "text/html"}, id="another-type"),
            pytest.param(BODY, {"Content_Type": "application/pdf; charset=utf-8"}, id="a-type-with-more"),
            pytest.param(BODY, {"Content_Type": None}, id="no-type"),
            pytest.param(BODY + b"!", {}, id="one-byte-more"),
            pytest.param(BODY[:-1], {}, id="one-byte-less"),
            pytest.param(b"", {}, id="nothing"),
            pytest.param(BODY[::-1], {}, id="other-bytes-of-the-same-size"),
        ],
    )
    def test_others_are_refused(
        self, store: Store, new: str, upload: IssuedURL, body: bytes, changes: dict[str, str | None]
    ) -> None:
        answer = put(store, upload, body, **changes)
        if "type" in store.lacks and "Content_Type" in changes:
            assert answer.status == 201
            return
        assert answer.status in REFUSED_UPLOAD
        assert store.get(new) is None

    def test_another_checksum_is_refused(self, store: Store, new: str, upload: IssuedURL) -> None:
        other = BODY[::-1]
        header = next(name for name in upload.headers if re.search("(?i)content-md5|content-digest", name))
        digest = base64.b64encode(hashlib.new(store.checksum, other).digest()).decode()
        value = f"sha-256=:{digest}:" if header == "Content-Digest" else digest
        answer = put(store, upload, other, **{header: value})
        if "checksum" in store.lacks:
            assert answer.status == 201
            return
        assert answer.status in REFUSED_UPLOAD
        assert store.get(new) is None

    def test_the_size_is_bound_without_a_checksum_too(self, store: Store, new: str) -> None:
        link = issue(store, new, partial(Upload, content_type="text/plain", size_bytes=3))
        if "size" in store.lacks:
            assert put(store, link, b"four").status == 201
            return
        for body in (b"four", b"tw", b""):
            assert put(store, link, body).status in REFUSED_UPLOAD
        assert store.get(new) is None
        assert put(store, link, b"tri").status in (200, 201)

    def test_a_second_upload_is_refused(self, store: Store, new: str) -> None:
        link = issue(store, new, partial(Upload, content_type="text/plain", size_bytes=3))
        assert put(store, link, b"one").status in (200, 201)
        if "refusal to overwrite" not in store.lacks:
            assert put(store, link, b"two").status == (403 if "412" in store.lacks else 412)
            assert store.get(new) is not None
            assert store.get(new)[0] == b"one"  # type: ignore[index]

    def test_the_condition_cannot_be_left_out(self, store: Store, new: str) -> None:
        link = issue(store, new, partial(Upload, content_type="text/plain", size_bytes=3))
        store.put(new, b"one")
        assert put(store, link, b"two", **{store.condition: None}).status in (400, 403, 412)
        assert put(store, link, b"two", **{store.condition: store.other_condition}).status in (403, 412)
        assert store.get(new)[0] == b"one"  # type: ignore[index]

    def test_overwrite_replaces(self, store: Store, key: str) -> None:
        link = issue(store, key, partial(Upload, content_type="text/plain", size_bytes=3, overwrite=True))
        assert store.condition not in link.headers
        assert put(store, link, b"new").status in (200, 201)
        assert store.get(key)[0] == b"new"  # type: ignore[index]

    def test_another_key_is_refused(self, store: Store, new: str, upload: IssuedURL) -> None:
        other = new_key()
        answer = store.send(upload.url.replace(new, other), method="PUT", headers=dict(upload.headers), body=BODY)
        assert answer.status == 403
        assert store.get(other) is None

    def test_a_changed_signature_is_refused(self, store: Store, new: str, upload: IssuedURL) -> None:
        url = flipped(upload.url, store.signature, 5)
        assert store.send(url, method="PUT", headers=dict(upload.headers), body=BODY).status == 403
        assert store.get(new) is None

    def test_one_that_is_over_is_refused(self, store: Store, new: str) -> None:
        storage: Any = storages[store.alias]
        operation = Upload(storage.object_key(new), content_type="text/plain", size_bytes=3)
        past = datetime.now(UTC) - timedelta(minutes=2)
        over = storage.provider.sign(operation, ttl=timedelta(minutes=1), now=past)
        answer = store.send(over.url, method="PUT", headers=dict(over.headers), body=b"one")
        assert answer.status in REFUSED
        assert store.get(new) is None

    @pytest.mark.parametrize("name", ["a b+c%20d?e#f.txt", "日本語.txt"])
    def test_odd_keys_are_stored_as_they_are(self, store: Store, name: str) -> None:
        key = new_key(name)
        link = issue(store, key, partial(Upload, content_type="text/plain", size_bytes=3))
        assert put(store, link, b"odd").status in (200, 201)
        assert store.get(key)[0] == b"odd"  # type: ignore[index]


@pytest.fixture(params=["ceph", "gcs", "gcs-hmac"])
def forms(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> Iterator[FormStore]:
    """The emulators here that know forms, and refuse parts that are wrong."""
    with open_store(request.param, request, tmp_path) as store:
        assert isinstance(store, FormStore)
        settings.STORAGES = settings.STORAGES | {store.alias: {"BACKEND": store.backend, "OPTIONS": store.options}}
        yield store


def post(store: Store, link: IssuedURL, body: bytes, **changes: str | None) -> Response:
    """Send a form as a browser does: the fields in order, then the file."""
    boundary = secrets.token_hex(12)
    fields = {**link.fields, **changes}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
        if value is not None
    ]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode())
    content = b"".join(parts) + body + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return store.send(link.url, method="POST", headers=headers, body=content)


class TestForm:
    @pytest.fixture
    def new(self) -> str:
        return new_key()

    @pytest.fixture
    def form(self, forms: FormStore, new: str) -> IssuedURL:
        return issue(forms, new, partial(UploadForm, content_type="application/pdf", min_bytes=1, max_bytes=20))

    def test_the_file_is_stored(self, forms: FormStore, new: str, form: IssuedURL) -> None:
        assert post(forms, form, BODY).status == 201
        assert forms.get(new) == (BODY, "application/pdf")

    @pytest.mark.parametrize(
        ("body", "changes"),
        [
            pytest.param(BODY + b"22", {}, id="too-large"),
            pytest.param(b"", {}, id="too-small"),
            pytest.param(BODY, {"key": "uploads/elsewhere.pdf"}, id="another-key"),
            pytest.param(BODY, {"Content-Type": "text/html"}, id="another-type"),
            pytest.param(BODY, {"Content-Type": None}, id="no-type"),
            pytest.param(BODY, {"acl": "public-read"}, id="a-field-that-was-not-signed"),
            pytest.param(BODY, {"x-amz-meta-a": "b"}, id="metadata-that-was-not-signed"),
            pytest.param(BODY, {"x-amz-signature": "0" * 64}, id="another-signature"),
            pytest.param(BODY, {"x-amz-signature": None}, id="no-signature"),
            pytest.param(BODY, {"policy": base64.b64encode(b'{"conditions":[]}').decode()}, id="another-policy"),
            pytest.param(BODY, {"policy": None}, id="no-policy"),
        ],
    )
    def test_others_are_refused(
        self, forms: FormStore, new: str, form: IssuedURL, body: bytes, changes: dict[str, str | None]
    ) -> None:
        spelt = {forms.form_names.get(name, name): value for name, value in changes.items()}
        assert post(forms, form, body, **spelt).status in REFUSED_UPLOAD
        assert forms.get(new) is None
        assert forms.count() == 0

    def test_one_that_is_over_is_refused(self, forms: FormStore, new: str) -> None:
        storage: Any = storages[forms.alias]
        operation = UploadForm(storage.object_key(new), content_type="text/plain", min_bytes=0, max_bytes=9)
        past = datetime.now(UTC) - timedelta(minutes=2)
        over = storage.provider.sign(operation, ttl=timedelta(minutes=1), now=past)
        assert post(forms, over, b"x").status in REFUSED
        assert forms.get(new) is None


class TestParts:
    FIRST, SECOND = secrets.token_bytes(5 * 2**20), b"the end"

    @pytest.fixture
    def new(self) -> str:
        return new_key()

    @pytest.fixture
    def upload_id(self, forms: FormStore, new: str) -> str:
        return forms.begin_upload(new)

    def part(self, store: Store, key: str, upload_id: str, number: int, body: bytes) -> IssuedURL:
        checksum = Checksum("md5", hashlib.md5(body).digest())
        return issue(
            store, key,
            partial(UploadPart, upload_id=upload_id, number=number, size_bytes=len(body), checksum=checksum),
        )  # fmt: skip

    def test_the_parts_make_the_file(self, forms: FormStore, new: str, upload_id: str) -> None:
        etags = []
        for number, body in enumerate((self.FIRST, self.SECOND), start=1):
            answer = put(forms, self.part(forms, new, upload_id, number, body), body)
            assert answer.status == 200
            etags.append(answer.headers["etag"])
        forms.complete_upload(new, upload_id, etags)
        assert forms.send(issue(forms, new).url).body == self.FIRST + self.SECOND

    @pytest.mark.parametrize(
        ("old", "new_value"),
        [
            pytest.param("partNumber=1", "partNumber=2", id="another-number"),
            pytest.param("uploadId=", "uploadId=x", id="another-upload"),
        ],
    )
    def test_a_part_is_this_part(self, forms: FormStore, new: str, upload_id: str, old: str, new_value: str) -> None:
        link = self.part(forms, new, upload_id, 1, self.SECOND)
        assert link.url.count(old) == 1
        url = link.url.replace(old, new_value)
        assert forms.send(url, method="PUT", headers=dict(link.headers), body=self.SECOND).status == 403
        assert forms.part_numbers(new, upload_id) == []

    @pytest.mark.parametrize("body", [b"the en", b"the end.", b"dne eht"], ids=["shorter", "longer", "other-bytes"])
    def test_a_part_is_these_bytes(self, forms: FormStore, new: str, upload_id: str, body: bytes) -> None:
        link = self.part(forms, new, upload_id, 1, self.SECOND)
        assert put(forms, link, body).status in REFUSED_UPLOAD
        assert forms.part_numbers(new, upload_id) == []

    def test_a_part_is_no_whole_object(self, forms: FormStore, new: str, upload_id: str) -> None:
        link = self.part(forms, new, upload_id, 1, self.SECOND)
        query = link.url.partition("?")[2].split("&")
        kept = "&".join(parameter for parameter in query if not parameter.startswith(("partNumber", "uploadId")))
        url = f"{link.url.partition('?')[0]}?{kept}"
        assert forms.send(url, method="PUT", headers=dict(link.headers), body=self.SECOND).status == 403
        assert forms.get(new) is None


def test_a_prefix_stands_in_every_link(forms: FormStore) -> None:
    link = issue(forms, "a/b.pdf")
    assert f"/{forms.bucket}/{quote(forms.LOCATION)}/a/b.pdf?" in link.url
