"""Google Cloud Storage links: equal to google-cloud-storage's byte for byte, judged by a verifier of our own."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import google.cloud.storage
import pytest
from google.auth import credentials as google_credentials
from google.cloud.storage import _signing, client
from google.oauth2 import service_account
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import (
    Checksum,
    Download,
    GCSProvider,
    HMACKey,
    IAMSigner,
    InvalidConfiguration,
    InvalidTTL,
    Operation,
    ServiceAccountKey,
    SignedURL,
    UnsupportedOperation,
    Upload,
    UploadForm,
    UploadPart,
    check_provider,
)
from providers.gcs import LINK_ID_PARAMETER
from tests.providers import clouds, examples
from tests.providers.clouds import MODULUS, PEM, query_of
from tests.providers.examples import BUCKET, NOW, TTL
from tests.verifiers.goog4 import HMACIdentity, Refused, RSAIdentity, Verified, verify_form, verify_signed

EMAIL = "signer@project.iam.gserviceaccount.com"
INFO = {
    "type": "service_account",
    "project_id": "project",
    "private_key_id": "0123456789abcdef",
    "private_key": PEM,
    "client_email": EMAIL,
    "client_id": "1",
    "token_uri": "https://oauth2.googleapis.com/token",
}
ACCESS_ID, SECRET = "GOOG1EXAMPLEACCESSID", "secret/of+the=hmac+key"
KEY = ServiceAccountKey.from_info(INFO)
HMAC = HMACKey(ACCESS_ID, SECRET)
IDENTITIES: dict[str, Any] = {EMAIL: RSAIdentity(MODULUS), ACCESS_ID: HMACIdentity(SECRET)}
DOTTED = "my.dotted.bucket"


def provider(**changes: Any) -> GCSProvider:
    return GCSProvider(**{"bucket": BUCKET, "credentials": KEY} | changes)


def verify(signed: SignedURL, operation: Operation, *, now: datetime = NOW, **changes: Any) -> Verified:
    common: dict[str, Any] = {"identities": IDENTITIES, "now": now}
    if isinstance(operation, UploadForm):
        common |= {"fields": signed.fields, "bucket": BUCKET, "content_length": operation.max_bytes}
        return verify_form(**common | changes)
    body_length = None if isinstance(operation, Download) else operation.size_bytes
    common |= {"method": signed.method, "url": signed.url, "headers": signed.headers, "body_length": body_length}
    return verify_signed(**common | changes)


# --- google-cloud-storage as an oracle ---------------------------------------------------------------------


class Signed(NamedTuple):
    """What the SDK made of one request, stage by stage."""

    canonical_request: str
    string_to_sign: str
    url: str


class Recorder(google_credentials.Signing):
    """The SDK's own credentials; only the text that they sign is kept."""

    def __init__(self) -> None:
        self.inner = sdk()._credentials  # parsing the key anew takes longer than all the rest
        self.text = b""

    signer = property(lambda self: self.inner.signer)
    signer_email = property(lambda self: self.inner.signer_email)

    def sign_bytes(self, message: bytes) -> bytes:
        self.text = message
        return cast("bytes", self.inner.sign_bytes(message))


@functools.cache
def sdk() -> Any:
    credentials = service_account.Credentials.from_service_account_info(INFO)
    return google.cloud.storage.Client(project="project", credentials=credentials)


@contextmanager
def stopped(now: datetime) -> Iterator[list[bytes]]:
    """Stop the clocks that the SDK hides, and keep what it hashes."""
    hashed: list[bytes] = []

    def sha256(data: bytes) -> Any:
        hashed.append(data)
        return hashlib.sha256(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_signing, "_NOW", lambda zone: now.astimezone(UTC))
        patch.setattr(client, "_NOW", lambda zone: now.astimezone(UTC))
        patch.setattr(_signing, "hashlib", SimpleNamespace(sha256=sha256))
        yield hashed


def asked(operation: Download | Upload | UploadPart) -> dict[str, Any]:
    """Say an operation in the SDK's words."""
    wanted: dict[str, Any] = {"headers": {}, "query_parameters": {}}
    match operation:
        case Download():
            wanted |= {
                "method": operation.method,
                "response_disposition": operation.content_disposition,
                "response_type": operation.content_type,
                "generation": operation.version,
            }
            if operation.link_id is not None:
                wanted["query_parameters"] = {LINK_ID_PARAMETER: operation.link_id}
            return wanted
        case Upload():
            wanted |= {"method": "PUT", "content_type": operation.content_type}
            if not operation.overwrite:
                wanted["headers"]["x-goog-if-generation-match"] = "0"
        case UploadPart():
            wanted["method"] = "PUT"
            wanted["query_parameters"] = {"partNumber": operation.number, "uploadId": operation.upload_id}
    size = operation.size_bytes
    if isinstance(operation, UploadPart):
        wanted["headers"]["Content-Length"] = str(size)
    else:
        wanted["headers"]["x-goog-content-length-range"] = f"{size},{size}"
    if operation.checksum is not None:
        digest = base64.b64encode(operation.checksum.digest).decode()
        if operation.checksum.algorithm == "md5":
            wanted["content_md5"] = digest
        else:
            wanted["headers"]["x-goog-hash"] = f"crc32c={digest}"
    return wanted


# What we are built from, and the same in the SDK's words.
TARGETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "virtual": ({}, {"virtual_hosted_style": True}),
    "path": ({"addressing_style": "path"}, {}),
    "path-at-an-endpoint": (
        {"addressing_style": "path", "endpoint_url": "http://localhost:9000"},
        {"api_access_endpoint": "http://localhost:9000"},
    ),
    "address": (
        {"endpoint_url": "http://127.0.0.1:9000"},
        {"api_access_endpoint": "http://127.0.0.1:9000"},
    ),
    "virtual-at-an-endpoint": (
        {"endpoint_url": "https://storage.domain.example"},
        {"api_access_endpoint": "https://storage.domain.example", "virtual_hosted_style": True},
    ),
    "bound": (
        {"addressing_style": "bound", "endpoint_url": "https://files.example:8443"},
        {"bucket_bound_hostname": "files.example:8443", "scheme": "https"},
    ),
}


def sdk_sign(
    operation: Download | Upload | UploadPart, *, style: Mapping[str, Any], seconds: int, now: datetime
) -> Signed:
    recorder = Recorder()
    blob = sdk().bucket(BUCKET).blob(operation.key)
    with stopped(now) as hashed:
        url = blob.generate_signed_url(
            version="v4",
            expiration=timedelta(seconds=seconds),
            credentials=recorder,
            **asked(operation),
            **style,
        )
    return Signed(hashed[-1].decode(), recorder.text.decode(), url)


checksums = st.one_of(
    st.binary(min_size=16, max_size=16).map(lambda digest: Checksum("md5", digest)),
    st.binary(min_size=4, max_size=4).map(lambda digest: Checksum("crc32c", digest)),
)
parts = examples.parts.flatmap(
    lambda part: st.one_of(st.none(), checksums).map(lambda checksum: replace(part, checksum=checksum))
)
operations = st.one_of(examples.downloads, examples.uploads(checksums), parts)
instants = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
lifetimes = st.integers(1, 604_800).map(lambda seconds: timedelta(seconds=seconds))


@given(st.sampled_from(sorted(TARGETS)), operations, instants, lifetimes)
@settings(max_examples=300, deadline=None)
def test_every_stage_and_the_url_are_the_sdks(target: str, operation: Any, now: datetime, ttl: timedelta) -> None:
    built, style = TARGETS[target]
    now = now.replace(microsecond=0)
    ours = provider(**built).stages(operation, ttl=ttl, now=now)
    theirs = sdk_sign(operation, style=style, seconds=int(ttl.total_seconds()), now=now)
    assert ours.canonical_request == theirs.canonical_request
    assert ours.string_to_sign == theirs.string_to_sign
    assert ours.url == theirs.url
    assert provider(**built).sign(operation, ttl=ttl, now=now).url == ours.url


@given(st.sampled_from(sorted(TARGETS)), operations, instants, lifetimes)
@settings(max_examples=200, deadline=None)
def test_hmac_differs_from_the_sdk_in_the_algorithm_alone(
    target: str, operation: Any, now: datetime, ttl: timedelta
) -> None:
    # The SDK has no signer for these keys: its canonical request with their names, signed step by step as
    # https://cloud.google.com/storage/docs/authentication/signatures says.
    built, style = TARGETS[target]
    now = now.replace(microsecond=0)
    ours = provider(credentials=HMAC, **built).stages(operation, ttl=ttl, now=now)
    theirs = sdk_sign(operation, style=style, seconds=int(ttl.total_seconds()), now=now)

    canonical = theirs.canonical_request.replace("GOOG4-RSA-SHA256", "GOOG4-HMAC-SHA256").replace(
        EMAIL.replace("@", "%40") + "%2F", ACCESS_ID + "%2F"
    )
    assert ours.canonical_request == canonical
    _, timestamp, scope, _ = theirs.string_to_sign.split("\n")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"GOOG4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}"
    assert ours.string_to_sign == text
    key = hmac.new(f"GOOG4{SECRET}".encode(), scope.split("/")[0].encode(), hashlib.sha256).digest()
    for part in ("auto", "storage", "goog4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert query_of(SignedURL(url=ours.url, method="GET", expires_at=now))["X-Goog-Signature"] == (
        hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    )


@given(st.sampled_from(["virtual", "path"]), examples.forms(), instants, lifetimes)
@settings(max_examples=100, deadline=None)
def test_forms_are_the_sdks(style: Any, form: UploadForm, now: datetime, ttl: timedelta) -> None:
    now = now.replace(microsecond=0)
    signed = provider(addressing_style=style).sign(form, ttl=ttl, now=now)
    with stopped(now):
        theirs = sdk().generate_signed_post_policy_v4(
            BUCKET,
            form.key,
            ttl,
            conditions=[["content-length-range", form.min_bytes, form.max_bytes]],
            fields={"Content-Type": form.content_type, "success_action_status": "201"},
            virtual_hosted_style=style == "virtual",
        )
    assert base64.b64decode(signed.fields["policy"]) == base64.b64decode(theirs["fields"]["policy"])
    assert list(signed.fields.items()) == list(theirs["fields"].items())
    assert (signed.url, signed.method, signed.headers) == (theirs["url"], "POST", {})


def test_a_default_port_is_not_signed_as_clients_do_not_send_it() -> None:
    # The SDK signs it, and Google's own conformance tests do not.
    for endpoint_url, host in {
        "https://storage.googleapis.com:443": "storage.googleapis.com",
        "http://localhost:80": "localhost",
        "http://localhost:443": "localhost:443",
        "https://localhost:8443": "localhost:8443",
    }.items():
        target = provider(endpoint_url=endpoint_url, addressing_style="path")
        request = target.stages(Download("a"), ttl=TTL, now=NOW).canonical_request
        assert f"\nhost:{host}\n" in request
        assert target.base_url == f"{endpoint_url}/{BUCKET}/"


# --- what a link is good for -------------------------------------------------------------------------------

OPERATIONS: dict[str, Operation] = {
    "download": Download("a b/ü.txt"),
    "download-with-everything": Download(
        "a", filename="ü.txt", content_type="image/png", version="1700000000000001", link_id="lnk_1"
    ),
    "head": Download("a", method="HEAD"),
    "upload": Upload("a", content_type="image/png", size_bytes=5, checksum=Checksum("md5", b"m" * 16)),
    "upload-over": Upload("a", content_type="image/png", size_bytes=0, overwrite=True),
    "upload-with-crc32c": Upload("a", content_type="a/b", size_bytes=5, checksum=Checksum("crc32c", b"1234")),
    "part": UploadPart("a", upload_id="ABPnzm+/=", number=7, size_bytes=5 * 2**20),
    "form": UploadForm("a", content_type="image/png", min_bytes=1, max_bytes=5),
}
CREDENTIALS: dict[str, Any] = {"rsa": KEY, "hmac": HMAC}


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_link_is_good_for_exactly_what_was_asked(credentials: Any, operation: Operation) -> None:
    signed = provider(credentials=credentials).sign(operation, ttl=TTL, now=NOW)
    verified = verify(signed, operation)
    assert verified.path == f"/{operation.key}"
    assert verified.expires_at == signed.expires_at == NOW + TTL
    assert verified.method == signed.method
    for now in (NOW - timedelta(minutes=16), NOW + TTL):
        with pytest.raises(Refused):
            verify(signed, operation, now=now)


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize(
    "operation", [OPERATIONS["download-with-everything"], OPERATIONS["upload"]], ids=["get", "put"]
)
def test_every_one_bit_mutant_of_a_link_fails(credentials: Any, operation: Operation) -> None:
    signed = provider(credentials=credentials).sign(operation, ttl=TTL, now=NOW)
    verify(signed, operation)
    start = signed.url.index("/", 8)
    for mutant in clouds.one_bit_mutants(signed.url[start:]):
        with pytest.raises(Refused):
            verify(signed, operation, url=signed.url[:start] + mutant)


@pytest.mark.parametrize("operation", [OPERATIONS["upload"], OPERATIONS["part"]], ids=["upload", "part"])
def test_no_header_of_an_upload_can_be_left_out_or_changed(operation: Upload | UploadPart) -> None:
    signed = provider().sign(operation, ttl=TTL, now=NOW)
    for name, value in signed.headers.items():
        others = {other: signed.headers[other] for other in signed.headers if other != name}
        for headers in (others, others | {name: value + "1"}):
            with pytest.raises(Refused):
                verify(signed, operation, headers=headers)
    # A part's length is a header that is signed like any other; of a whole object it is held to a range.
    reason = "signature" if isinstance(operation, UploadPart) else "content_length"
    for length in (operation.size_bytes - 1, operation.size_bytes + 1):
        with pytest.raises(Refused, match=rf"^{reason}:"):
            verify(signed, operation, body_length=length)


def test_what_clients_have_to_send() -> None:
    def headers(operation: Operation) -> Mapping[str, str]:
        return provider().sign(operation, ttl=TTL, now=NOW).headers

    assert headers(OPERATIONS["download-with-everything"]) == {}
    assert headers(OPERATIONS["upload"]) == {
        "Content-Type": "image/png",
        "x-goog-content-length-range": "5,5",
        "Content-MD5": base64.b64encode(b"m" * 16).decode(),
        "x-goog-if-generation-match": "0",
    }
    assert headers(OPERATIONS["upload-over"]) == {
        "Content-Type": "image/png",
        "x-goog-content-length-range": "0,0",
    }
    assert headers(OPERATIONS["upload-with-crc32c"])["x-goog-hash"] == "crc32c=MTIzNA=="
    # The length of a part is signed, and every client's own.
    assert headers(OPERATIONS["part"]) == {}


def test_what_a_link_says_of_itself() -> None:
    query = query_of(provider().sign(OPERATIONS["download-with-everything"], ttl=TTL, now=NOW))
    assert query["generation"] == "1700000000000001"
    assert query["x-goog-custom-audit-gateway-link"] == "lnk_1"
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query_of(provider(credentials=HMAC).sign(Download("a"), ttl=TTL, now=NOW))["X-Goog-Algorithm"] == (
        "GOOG4-HMAC-SHA256"
    )


@pytest.mark.parametrize("algorithm", ["crc32", "crc64nvme", "sha1", "sha256"])
@pytest.mark.parametrize("kind", [Upload, UploadPart])
def test_a_digest_that_the_store_does_not_know_is_refused(kind: type, algorithm: Any) -> None:
    checksum = Checksum(algorithm, bytes(examples.DIGEST_BYTES[algorithm]))
    operation: Any = (
        Upload("a", content_type="a/b", size_bytes=1, checksum=checksum)
        if kind is Upload
        else UploadPart("a", upload_id="x", number=1, size_bytes=1, checksum=checksum)
    )
    with pytest.raises(UnsupportedOperation, match=f"checksum is {algorithm}; Cloud Storage knows md5 and crc32c"):
        provider().sign(operation, ttl=TTL, now=NOW)


# --- the contract and the configuration --------------------------------------------------------------------


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("built", [built for built, _ in TARGETS.values()], ids=TARGETS)
def test_the_contract_is_kept(built: dict[str, Any], credentials: Any) -> None:
    check_provider(provider(credentials=credentials, **built))
    check_provider(provider(credentials=credentials, **built), now=NOW.replace(microsecond=999_999))


ADDRESSES: dict[str, tuple[dict[str, Any], str]] = {
    "virtual": ({}, f"https://{BUCKET}.storage.googleapis.com/"),
    "path": ({"addressing_style": "path"}, f"https://storage.googleapis.com/{BUCKET}/"),
    "dotted": ({"bucket": DOTTED}, f"https://storage.googleapis.com/{DOTTED}/"),
    "underscore": ({"bucket": "my_bucket"}, "https://storage.googleapis.com/my_bucket/"),
    "universe": (
        {"endpoint_url": "https://storage.domain.example"},
        f"https://{BUCKET}.storage.domain.example/",
    ),
    "emulator": ({"endpoint_url": "http://127.0.0.1:9000"}, f"http://127.0.0.1:9000/{BUCKET}/"),
    "emulator-at-v6": ({"endpoint_url": "http://[::1]:9000"}, f"http://[::1]:9000/{BUCKET}/"),
    "base-path": (
        {"endpoint_url": "https://proxy.example/gcs/", "addressing_style": "path"},
        f"https://proxy.example/gcs/{BUCKET}/",
    ),
    "bound": ({"endpoint_url": "https://files.example", "addressing_style": "bound"}, "https://files.example/"),
}


@pytest.mark.parametrize(("changes", "base_url"), ADDRESSES.values(), ids=ADDRESSES)
def test_where_links_lead(changes: dict[str, Any], base_url: str) -> None:
    target = provider(**changes)
    signed = target.sign(Download("a b"), ttl=TTL, now=NOW)
    assert target.base_url == base_url
    assert signed.url.startswith(f"{base_url}a%20b?")
    verified = verify(signed, Download("a b"))
    assert (verified.host, verified.path) == (urlsplit(base_url).netloc, urlsplit(base_url).path + "a b")


# id -> the argument that is wrong, its value, a piece of the message
BAD_CONFIGURATION: dict[str, tuple[str, Any, str]] = {
    "bucket-empty": ("bucket", "", "bucket is ''"),
    "bucket-short": ("bucket", "ab", "bucket is 'ab'"),
    "bucket-long": ("bucket", "a" * 223, "3 to 222"),
    "bucket-upper-case": ("bucket", "Bucket", "bucket is 'Bucket'"),
    "bucket-two-dots": ("bucket", "a..b", "bucket is 'a..b'"),
    "bucket-with-slash": ("bucket", "a/b", "bucket is 'a/b'"),
    "bucket-with-newline": ("bucket", "bucket\n", "bucket is"),
    "bucket-none": ("bucket", None, "bucket is None"),
    "style-unknown": ("addressing_style", "auto", "addressing_style is 'auto'; virtual, path or bound"),
    "style-bound-to-nothing": ("addressing_style", "bound", "it needs the endpoint_url"),
    "credentials-none": ("credentials", None, "credentials are of type NoneType"),
    "credentials-text": ("credentials", "key.json", "credentials are of type str"),
    "endpoint-scheme": ("endpoint_url", "ftp://store.example", "a scheme of http or https"),
    "endpoint-password": ("endpoint_url", "https://me:hunter2@store.example", "holds a user name"),
}


@pytest.mark.parametrize(("name", "value", "piece"), BAD_CONFIGURATION.values(), ids=BAD_CONFIGURATION)
def test_configuration_that_cannot_work_is_refused(name: str, value: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        provider(**{name: value})
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("info", "piece"),
    [
        pytest.param(None, "of type NoneType", id="none"),
        pytest.param("key.json", "of type str", id="a-path"),
        pytest.param({}, "has no client_email", id="empty"),
        pytest.param(INFO | {"type": "authorized_user"}, "not of type service_account", id="of-a-user"),
        pytest.param(INFO | {"client_email": None}, "has no client_email", id="no-email"),
        pytest.param(INFO | {"client_email": "project"}, "client_email is 'project'", id="email-without-at"),
        pytest.param(INFO | {"client_email": " a@b\n"}, "client_email is", id="email-with-white-space"),
        pytest.param({key: INFO[key] for key in INFO if key != "private_key"}, "has no private_key", id="no-key"),
        *(pytest.param(INFO | {"private_key": key}, piece, id=name) for name, (key, piece) in clouds.BAD_KEYS.items()),
    ],
)
def test_a_key_that_cannot_sign_is_refused(info: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        ServiceAccountKey.from_info(info)
    assert PEM[100:130] not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("access_id", "secret", "piece"),
    [
        pytest.param("", SECRET, "access_id is empty", id="no-id"),
        pytest.param(ACCESS_ID, "", "secret is empty", id="no-secret"),
        pytest.param(ACCESS_ID, SECRET + "\n", "secret is empty or has white space", id="line-end"),
        pytest.param(ACCESS_ID, None, "secret", id="none"),
    ],
)
def test_an_hmac_key_that_cannot_sign_is_refused(access_id: Any, secret: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=piece) as refusal:
        HMACKey(access_id, secret)
    assert SECRET not in str(refusal.value)


def test_neither_repr_nor_str_shows_a_secret() -> None:
    shown = " ".join(f"{each!r} {each}" for each in (KEY, HMAC, provider(), provider(credentials=HMAC)))
    assert EMAIL in shown
    assert ACCESS_ID in shown
    assert SECRET not in shown
    assert PEM[100:130] not in shown


# --- time, threads, processes ------------------------------------------------------------------------------


def test_the_instant_is_cut_to_the_second_and_told_in_utc() -> None:
    there = NOW.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert provider().sign(Download("a"), ttl=TTL, now=there) == provider().sign(Download("a"), ttl=TTL, now=NOW)


def test_lifetimes_at_the_bounds() -> None:
    for seconds in (1, 604_800):
        signed = provider().sign(Download("a"), ttl=timedelta(seconds=seconds), now=NOW)
        assert query_of(signed)["X-Goog-Expires"] == str(seconds)
    with pytest.raises(InvalidTTL, match="ttl is 604801 s; at least 1 s and at most 604800 s"):
        provider().sign(Download("a"), ttl=timedelta(seconds=604_801), now=NOW)


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
def test_what_was_signed_before_changes_nothing(credentials: Any) -> None:
    used = provider(credentials=credentials)
    for days in (0, 1, 0, 400, 1):
        for ttl in (TTL, TTL * 2):
            now = NOW + timedelta(days=days)
            fresh = provider(credentials=HMACKey(ACCESS_ID, SECRET) if credentials is HMAC else KEY)
            signed = used.sign(Download("a"), ttl=ttl, now=now)
            assert signed == fresh.sign(Download("a"), ttl=ttl, now=now)


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
def test_64_threads_and_a_forked_child_sign_the_same(credentials: Any) -> None:
    expected = provider(credentials=credentials).sign(Download("a"), ttl=TTL, now=NOW).url
    fresh = provider(credentials=HMACKey(ACCESS_ID, SECRET) if credentials is HMAC else KEY)
    assert set(clouds.at_once(lambda: fresh.sign(Download("a"), ttl=TTL, now=NOW).url)) == {expected}
    assert clouds.in_a_fork(lambda: fresh.sign(Download("a"), ttl=TTL, now=NOW).url) == expected


@given(st.lists(st.one_of(operations, examples.forms()), max_size=5), st.sampled_from([KEY, HMAC]))
@settings(max_examples=50, deadline=None)
def test_signing_many_is_signing_each(many: list[Operation], credentials: Any) -> None:
    target = provider(credentials=credentials)
    assert target.sign_many(many, ttl=TTL, now=NOW) == [target.sign(one, ttl=TTL, now=NOW) for one in many]


SCRIPT = f"""
from datetime import timedelta, datetime, UTC
from providers import *
key = {{credentials}}
operations = [
    Download("a b", filename="\\u00e9.txt", version="1"),
    Upload("a", content_type="image/png", size_bytes=1, checksum=Checksum("md5", bytes(16))),
    UploadForm("a", content_type="image/png", min_bytes=0, max_bytes=1),
    UploadPart("a", upload_id="x", number=1, size_bytes=1),
]
provider = GCSProvider(bucket="{BUCKET}", credentials=key)
assert len(provider.sign_many(operations, ttl=timedelta(seconds=300), now=datetime.now(UTC))) == 4
"""
SDKS = {"google", "requests", "urllib3", "django", "storages", "boto3", "botocore", "azure", "grpc", "httpx"}


def test_signing_loads_no_sdk_and_without_rsa_no_cryptography() -> None:
    with_hmac = clouds.modules_after(SCRIPT.format(credentials=f"HMACKey({ACCESS_ID!r}, {SECRET!r})"))
    with_rsa = clouds.modules_after(
        SCRIPT.format(credentials=f"ServiceAccountKey(client_email={EMAIL!r}, private_key={PEM!r})")
    )
    assert not with_hmac & (SDKS | {"cryptography", "ssl", "asyncio"})
    assert not with_rsa & SDKS
    assert "cryptography" in with_rsa  # otherwise this test would look at nothing


# --- what the documentation says ---------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "google-cloud.md").read_text()


def rows_of(heading: str) -> dict[str, list[str]]:
    """Read the first table below a heading, or of the page's beginning: what its lines say of their first cell."""
    text = PAGE.partition(f"## {heading}\n")[2] if heading else PAGE
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()]
    return {first: others for first, *others in lines[2:]}


def test_the_documentation_says_what_a_signature_binds() -> None:
    def said(value: bool) -> str:
        return "yes" if value else "no"

    told = {what: bound for what, (bound, _) in rows_of("What the signature binds").items()}
    capabilities = provider().capabilities
    assert {
        "method": said(capabilities.binds_method),
        "cache control of a download": said(capabilities.binds_cache_control),
        "size of an upload": said(capabilities.binds_size),
        "type of an upload": said(capabilities.binds_content_type),
        "checksum of an upload": ", ".join(sorted(capabilities.binds_checksum)),
        "no overwriting": said(capabilities.binds_no_overwrite),
        "part of an upload, and its size": said(capabilities.binds_part),
    }.items() <= told.items()
    # The other rows are those that the links show.
    query = query_of(provider().sign(OPERATIONS["download-with-everything"], ttl=TTL, now=NOW))
    named = {name for _, (_, by) in rows_of("What the signature binds").items() for name in re.findall("`([^`]+)`", by)}
    headers = provider().sign(OPERATIONS["upload"], ttl=TTL, now=NOW).headers
    for name in ("response-content-disposition", "response-content-type", "generation", "X-Goog-Expires"):
        assert name in query
        assert name in named
    assert {"Content-Type", "Content-MD5"} <= headers.keys() & named


@pytest.mark.parametrize(
    ("credential", "credentials"),
    [
        pytest.param("service account key", KEY, id="rsa"),
        pytest.param("HMAC key", HMAC, id="hmac"),
        pytest.param("impersonation", IAMSigner(service_account_email=EMAIL), id="impersonation"),
        pytest.param("workload identity", IAMSigner(), id="workload-identity"),
    ],
)
def test_the_documentation_says_what_a_credential_can(credential: str, credentials: Any) -> None:
    told = {re.sub(r"\[(.*?)\]\(.*\)", r"\1", name): others for name, others in rows_of("").items()}
    capabilities = provider(credentials=credentials).capabilities
    hours = capabilities.max_ttl // timedelta(hours=1)
    life = f"{hours // 24} days" if hours > 24 else f"{hours} hours"
    assert told[credential][1:] == ["no" if capabilities.offline else "yes", life]
