"""``POST /links`` and ``POST /links/batch``: what is issued, what is refused, and that refusals are all alike."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway.api.links import batch_body_bytes
from gateway.api.parsing import MAX_BODY_BYTES
from gateway.models import ApiToken, File, FileState, Issuance
from gateway.policies import Allow, Limits
from providers.errors import CredentialsExpired
from tests.gateway.api.support import (
    CSRF,
    NOBODYS,
    ApiClient,
    by_session,
    by_token,
    check_contract,
    database_down_for,
    file_of,
    issued,
    token_of,
    told,
)
from tests.gateway.api.test_parsing import BAD_JSON, MEDIA_TYPES
from tests.gateway.conftest import new_document, new_file
from tests.gateway.test_overtaking import take_back
from tests.hostapp.models import Document, Minutes, Project

pytestmark = pytest.mark.django_db

LINKS = "/api/v1/links"
BATCH = "/api/v1/links/batch"
BOTH = pytest.mark.parametrize("address", [LINKS, BATCH], ids=["single", "batch"])


def asked_at(address: str, *references: str, **fields: Any) -> dict[str, Any]:
    """Return a good request for either address."""
    if address == LINKS:
        return {"file": references[0]} | fields
    return {"items": [{"file": reference} for reference in references]} | fields


class TestLink:
    def test_it_costs_the_statements_that_it_needs_and_no_more(self, alice: Any) -> None:
        file, client = file_of(alice), by_session(alice)
        with CaptureQueriesContext(connection) as queries:
            assert client.send(LINKS, {"file": str(file.pk)}).status_code == 201
        asked = [re.findall(r'(?:FROM|INTO) "(\w+)"', query["sql"])[0] for query in queries]
        # What was taken back is read with the file; the last is for the transaction that the test is in.
        assert asked == [
            "django_session", "auth_user", "presign_gateway_epoch", "presign_gateway_issuance", "presign_gateway_epoch",
        ]  # fmt: skip
        assert "presign_gateway_file" in queries[2]["sql"]

    def test_the_owner_gets_one(self, alice: Any) -> None:
        file = file_of(alice)
        before = timezone.now().replace(microsecond=0)
        response = by_session(alice).send(LINKS, {"file": str(file.pk)})
        body = response.json()
        assert response.status_code == 201
        expires_at = datetime.fromisoformat(body.pop("expires_at"))
        assert before + timedelta(seconds=300) <= expires_at <= timezone.now() + timedelta(seconds=300)
        assert body.pop("url").startswith(f"http://testserver/local/private/{file.key}?")
        assert body.pop("id") == Issuance.objects.get().link_id
        assert body.pop("expires_in") in (299, 300)
        assert body == {
            "file": str(file.pk), "method": "GET", "headers": {}, "filename": "report.pdf",
            "content_type": "application/pdf", "size": 7, "limited_by": None,
        }  # fmt: skip

    def test_it_works(self, alice: Any) -> None:
        client = by_token(alice)
        link = client.send(LINKS, {"file": str(file_of(alice, b"the bytes").pk)}).json()
        assert b"".join(client.get(link["url"]).streaming_content) == b"the bytes"

    def test_it_is_for_the_method_that_was_asked_for(self, alice: Any) -> None:
        client = by_token(alice)
        link = client.send(LINKS, {"file": str(file_of(alice).pk), "method": "HEAD"}).json()
        assert link["method"] == "HEAD"
        assert client.head(link["url"]).status_code == 200
        assert client.get(link["url"]).status_code == 403

    def test_its_name_is_cleaned(self, alice: Any) -> None:
        asked = {"file": str(file_of(alice).pk), "filename": "../../etc/a\r\nb.pdf", "disposition": "attachment"}
        client = by_token(alice)
        link = client.send(LINKS, asked).json()
        assert link["filename"] == "ab.pdf"
        response = client.get(link["url"])
        assert response["Content-Disposition"] == 'attachment; filename="ab.pdf"'
        response.close()

    def test_a_type_that_could_run_is_never_inline(self, alice: Any) -> None:
        file = file_of(alice, filename="a.svg", content_type="image/svg+xml")
        client = by_token(alice)
        link = client.send(LINKS, {"file": str(file.pk), "disposition": "inline"}).json()
        assert link["content_type"] == "application/octet-stream"
        response = client.get(link["url"])
        assert response["Content-Disposition"].startswith("attachment")
        response.close()

    def test_a_field_of_the_project_is_named_with_its_row(self, alice: Any) -> None:
        reference = f"hostapp.document:{new_document(alice).pk}:file"
        link = by_token(alice).send(LINKS, {"file": reference}).json()
        assert (link["file"], link["filename"], link["size"]) == (reference, "report.pdf", None)

    @BOTH
    def test_the_answer_is_kept_out_of_caches_and_referrers(self, alice: Any, address: str) -> None:
        response = by_token(alice).send(address, asked_at(address, str(file_of(alice).pk)))
        assert response["Cache-Control"] == "no-store, private"
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["X-Request-ID"] == Issuance.objects.get().request_id

    @pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
    def test_no_header_moves_a_link(self, alice: Any, settings: Any, header: str) -> None:
        settings.ALLOWED_HOSTS = ["*"]
        asked = {"file": str(file_of(alice).pk)}
        link = by_token(alice).send(LINKS, asked, headers={header: "evil.example"}).json()
        assert urlsplit(link["url"]).netloc == "testserver"

    def test_a_host_that_is_not_ours_gets_nothing(self, alice: Any) -> None:
        client = Client(headers={"Authorization": f"Bearer {token_of(alice)}", "Host": "evil.example"})
        response = client.post(LINKS, {"file": str(file_of(alice).pk)}, content_type="application/json")
        assert (response.status_code, issued()) == (400, 0)

    @pytest.mark.parametrize("header", ["X-Accel-Redirect", "X-Sendfile-Type", "X-Accel-Mapping"])
    def test_headers_between_servers_change_nothing(self, alice: Any, header: str) -> None:
        asked = {"file": str(file_of(alice).pk)}
        response = by_token(alice).send(LINKS, asked, headers={header: "/etc/passwd"})
        assert response.status_code == 201
        assert header not in response


class TestLifetime:
    def test_it_is_what_was_asked_for(self, alice: Any) -> None:
        link = by_token(alice).send(LINKS, {"file": str(file_of(alice).pk), "ttl_seconds": 60}).json()
        assert link["expires_in"] in (59, 60)
        assert link["limited_by"] is None

    def test_null_is_the_default(self, alice: Any) -> None:
        link = by_token(alice).send(LINKS, {"file": str(file_of(alice).pk), "ttl_seconds": None}).json()
        assert link["expires_in"] in (299, 300)

    @BOTH
    @pytest.mark.parametrize("seconds", [901, 604_801, 10**12, 10**300])
    def test_over_the_limit_both_numbers_are_told(self, alice: Any, address: str, seconds: int) -> None:
        asked = asked_at(address, str(file_of(alice).pk), ttl_seconds=seconds)
        response = by_token(alice).send(address, asked)
        assert (response.status_code, response.json()["code"]) == (400, "ttl_too_long")
        assert f"is {str(seconds)[:50]}" in response.json()["detail"]
        assert "at most 900" in response.json()["detail"]
        assert issued() == 0

    def test_the_limit_of_all_links_tells_nothing_about_a_file(self, alice: Any, bob: Any) -> None:
        client = by_token(alice)
        answers = [
            told(client.send(LINKS, {"file": reference, "ttl_seconds": 901}))
            for reference in (str(file_of(alice).pk), str(file_of(bob).pk), NOBODYS)
        ]
        assert answers[0] == answers[1] == answers[2]

    def test_a_storage_may_lower_it(self, alice: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(storages["private"], "max_ttl", timedelta(seconds=120))
        client, file = by_token(alice), file_of(alice)
        response = client.send(LINKS, {"file": str(file.pk), "ttl_seconds": 121})
        assert (response.status_code, response.json()["detail"]) == (400, "ttl is 121 s; at most 120 s")
        link = client.send(LINKS, {"file": str(file.pk)}).json()
        assert (link["expires_in"] in (119, 120), link["limited_by"]) == (True, "storage")

    def test_it_ends_with_its_token(self, alice: Any) -> None:
        client = by_token(alice)
        ApiToken.objects.update(expires_at=timezone.now() + timedelta(seconds=100))
        link = client.send(LINKS, {"file": str(file_of(alice).pk), "ttl_seconds": 300}).json()
        assert (link["expires_in"] <= 100, link["limited_by"]) == (True, "token")
        assert datetime.fromisoformat(link["expires_at"]) <= ApiToken.objects.get().expires_at

    def test_it_ends_with_its_session(self, alice: Any) -> None:
        client = by_session(alice)
        session = client.session
        session.set_expiry(100)
        session.save()
        link = client.send(LINKS, {"file": str(file_of(alice).pk), "ttl_seconds": 300}).json()
        assert (link["expires_in"] <= 100, link["limited_by"]) == (True, "session")

    def test_a_policy_may_shorten_it(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {
            "POLICIES": {"presign_gateway.File": "tests.gateway.api.test_links.FOR_A_MINUTE"}
        }
        link = by_token(alice).send(LINKS, {"file": str(file_of(alice).pk)}).json()
        assert (link["expires_in"] in (59, 60), link["limited_by"]) == (True, "policy")


class ForAMinute:
    def decide(self, *_: Any) -> Allow:
        return Allow(Limits(max_ttl=timedelta(seconds=60)))


FOR_A_MINUTE = ForAMinute()

# Fields beside or in place of a good file reference: each is 400.
BAD_FIELDS: dict[str, dict[str, Any]] = {
    # lifetimes
    "ttl 0": {"ttl_seconds": 0},
    "ttl negative": {"ttl_seconds": -1},
    "ttl far below": {"ttl_seconds": -(10**30)},
    "ttl over the limit": {"ttl_seconds": 901},
    "ttl over all stores": {"ttl_seconds": 604_801},
    "ttl huge": {"ttl_seconds": 10**12},
    "ttl beyond dates": {"ttl_seconds": 10**20},
    "ttl fraction": {"ttl_seconds": 1.5},
    "ttl whole fraction": {"ttl_seconds": 60.0},
    "ttl exponent": {"ttl_seconds": 1e3},
    "ttl text": {"ttl_seconds": "60"},
    "ttl text with plus": {"ttl_seconds": "+60"},
    "ttl text with underscore": {"ttl_seconds": "1_000"},
    "ttl text with spaces": {"ttl_seconds": " 60 "},
    "ttl text with newline": {"ttl_seconds": "60\n"},
    "ttl other digits": {"ttl_seconds": "１２"},
    "ttl duration": {"ttl_seconds": "PT1M"},
    "ttl empty text": {"ttl_seconds": ""},
    "ttl true": {"ttl_seconds": True},
    "ttl false": {"ttl_seconds": False},
    "ttl list": {"ttl_seconds": []},
    "ttl list of one": {"ttl_seconds": [60]},
    "ttl object": {"ttl_seconds": {}},
    # references
    "file null": {"file": None},
    "file number": {"file": 1},
    "file true": {"file": True},
    "file list": {"file": [NOBODYS]},
    "file object": {"file": {"id": NOBODYS}},
    "file empty": {"file": ""},
    "file space": {"file": " "},
    "file of 10 kB": {"file": "a" * 10_000},
    "file of 10 kB in the form of one": {"file": f"hostapp.document:{'1' * 10_000}:file"},
    "uuid in capitals": {"file": "ABCDEF01-1111-4111-8111-111111111111"},
    "uuid in braces": {"file": f"{{{NOBODYS}}}"},
    "uuid without dashes": {"file": NOBODYS.replace("-", "")},
    "uuid as urn": {"file": f"urn:uuid:{NOBODYS}"},
    "uuid with newline": {"file": f"{NOBODYS}\n"},
    "uuid with space": {"file": f" {NOBODYS}"},
    "uuid too short": {"file": NOBODYS[:-1]},
    "uuid with other digits": {"file": f"１{NOBODYS[1:]}"},
    "path": {"file": "uploads/2026/11/x/file.pdf"},
    "path upwards": {"file": "../../etc/passwd"},
    "absolute path": {"file": "/etc/passwd"},
    "url": {"file": "https://evil.example/x"},
    "s3 address": {"file": "s3://bucket/key"},
    "field without a row": {"file": "hostapp.document::file"},
    "field without a name": {"file": "hostapp.document:1:"},
    "field of no app": {"file": "document:1:file"},
    "field with a tab": {"file": "hostapp.document:1\t:file"},
    "field with a path": {"file": "hostapp.document:1:owner.password"},
    # what the server decides
    "key": {"key": "t2/x"},
    "bucket": {"bucket": "evil"},
    "storage": {"storage": "default"},
    "owner": {"owner": 1},
    "tenant": {"tenant": "t2"},
    "state": {"state": "ready"},
    "verified": {"verified": True},
    "content type": {"content_type": "text/html"},
    "expires at": {"expires_at": "2099-01-01T00:00:00Z"},
    "expires in": {"expires_in": 60},
    "response header": {"response-content-type": "text/html"},
    "version": {"version": "1"},
    "url field": {"url": "https://evil.example"},
    "empty name": {"": 1},
    "name in another case": {"File": NOBODYS},
    "ttl of another name": {"ttl": 60},
    "prototype": {"__proto__": {}},
    # the other fields
    "put": {"method": "PUT"},
    "post": {"method": "POST"},
    "delete": {"method": "DELETE"},
    "method in small letters": {"method": "get"},
    "method null": {"method": None},
    "method list": {"method": ["GET"]},
    "disposition unknown": {"disposition": "form-data"},
    "disposition in capitals": {"disposition": "INLINE"},
    "disposition with a name": {"disposition": 'inline; filename="a"'},
    "disposition true": {"disposition": True},
    "disposition empty": {"disposition": ""},
    "filename of 256": {"filename": "a" * 256},
    "filename of 10 kB": {"filename": "a" * 10_000},
    "filename number": {"filename": 1},
    "filename list": {"filename": ["a"]},
    "filename object": {"filename": {}},
}
# What is no object of fields at all.
BAD_VALUES: dict[str, Any] = {
    "null": None, "list": [], "text": "x", "number": 1, "true": True, "empty": {}, "objects": [{"file": NOBODYS}],
}  # fmt: skip


class TestBadRequests:
    """Nothing is issued, no query beside the credential's is made, and the answer is never 500."""

    @pytest.mark.parametrize("fields", BAD_FIELDS.values(), ids=BAD_FIELDS)
    def test_a_bad_field_is_400(self, alice: Any, fields: dict[str, Any]) -> None:
        self._refused(alice, LINKS, {"file": str(file_of(alice).pk)} | fields, 400)

    @pytest.mark.parametrize("fields", BAD_FIELDS.values(), ids=BAD_FIELDS)
    def test_a_bad_field_of_one_item_is_400_for_the_whole_batch(self, alice: Any, fields: dict[str, Any]) -> None:
        good = {"file": str(file_of(alice).pk)}
        self._refused(alice, BATCH, {"items": [good, good | fields]}, 400)

    @pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
    def test_what_is_no_object_is_400(self, alice: Any, value: Any) -> None:
        self._refused(alice, LINKS, value, 400)
        self._refused(alice, BATCH, value, 400)
        if value != {"file": NOBODYS}:
            self._refused(alice, BATCH, {"items": [value]}, 400)

    BATCHES: dict[str, Any] = {
        "no items": {"items": []},
        "items null": {"items": None},
        "items an object": {"items": {"0": {"file": NOBODYS}}},
        "items a text": {"items": NOBODYS},
        "items of text": {"items": [NOBODYS]},
        "ttl of one item": {"items": [{"file": NOBODYS, "ttl_seconds": 60}]},
        "unknown field": {"items": [{"file": NOBODYS}], "atomic": True},
        "no items but a file": {"file": NOBODYS},
        "ttl text": {"items": [{"file": NOBODYS}], "ttl_seconds": "60"},
        "ttl 0": {"items": [{"file": NOBODYS}], "ttl_seconds": 0},
        "put among gets": {"items": [{"file": NOBODYS}, {"file": NOBODYS, "method": "PUT"}]},
    }

    @pytest.mark.parametrize("payload", BATCHES.values(), ids=BATCHES)
    def test_a_bad_batch_is_400(self, alice: Any, payload: Any) -> None:
        self._refused(alice, BATCH, payload, 400)

    @BOTH
    @pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
    def test_what_is_not_plain_json_is_400(self, alice: Any, address: str, body: bytes) -> None:
        self._refused(alice, address, body, 400)

    @BOTH
    @pytest.mark.parametrize(
        "media_type", [name for name, error in MEDIA_TYPES.values() if error], ids=lambda name: name or "none"
    )
    def test_another_media_type_is_415(self, alice: Any, address: str, media_type: str) -> None:
        payload = json.dumps(asked_at(address, str(file_of(alice).pk))).encode()
        self._refused(alice, address, payload, 415, content_type=media_type)

    def test_a_form_is_415(self, alice: Any) -> None:
        response = by_token(alice).post(LINKS, {"file": str(file_of(alice).pk)})
        assert (response.status_code, issued()) == (415, 0)

    @pytest.mark.parametrize(
        ("address", "size_bytes"),
        [(LINKS, MAX_BODY_BYTES + 1), (LINKS, 2 * 2**20), (BATCH, batch_body_bytes() + 1), (BATCH, 3 * 2**20)],
        ids=["single", "single, 2 MB", "batch", "batch, 3 MB"],
    )
    def test_a_long_body_is_413_before_it_is_parsed(self, alice: Any, address: str, size_bytes: int) -> None:
        self._refused(alice, address, b"[" * size_bytes, 413)

    def test_a_single_request_may_not_be_as_long_as_a_batch(self, alice: Any) -> None:
        assert batch_body_bytes() > MAX_BODY_BYTES
        self._refused(alice, LINKS, b" " * batch_body_bytes(), 413)

    @BOTH
    @pytest.mark.parametrize("query", ["x=1", "file=x", "ttl_seconds=60", "x", "x=1&x=2", "%00=1", "format=json"])
    def test_a_query_is_400(self, alice: Any, address: str, query: str) -> None:
        payload = asked_at(address, str(file_of(alice).pk))
        self._refused(alice, f"{address}?{query}", payload, 400)

    @staticmethod
    def _refused(user: Any, address: str, payload: Any, status: int, **extra: Any) -> None:
        client = by_token(user, "Download")
        ApiToken.objects.update(last_used_at=timezone.now())
        with CaptureQueriesContext(connection) as queries:
            response = client.send(address, payload, **extra)
        assert response.status_code == status, response.content
        assert "url" not in response.json()
        assert len(response.json()["detail"]) < 300
        assert response.json()["detail"].isascii()
        # Who may be told what is wrong is known; no file is looked for.
        asked = [query["sql"].split('"')[1] for query in queries]
        assert asked == ["presign_gateway_apitoken", "presign_gateway_epoch"]
        assert Issuance.objects.count() == 0


class TestTakenBack:
    """Who had a credential is nobody, whatever else is wrong with the request."""

    ODD: dict[str, tuple[str, Any, dict[str, Any]]] = {
        "nothing": ("", {"file": NOBODYS}, {}),
        "a query": ("?x=1", {"file": NOBODYS}, {}),
        "no JSON": ("", b"{", {}),
        "a body that is too long": ("", b"[" * (MAX_BODY_BYTES + 1), {}),
        "another media type": ("", b"{}", {"content_type": "text/plain"}),
        "no reference": ("", {"file": "../a"}, {}),
        "a long life": ("", {"file": NOBODYS, "ttl_seconds": 10**6}, {}),
    }

    @pytest.mark.parametrize(("query", "payload", "extra"), ODD.values(), ids=ODD)
    @pytest.mark.parametrize("connect", [by_token, by_session], ids=["token", "session"])
    def test_the_answer_is_401(self, alice: Any, connect: Any, query: str, payload: Any, extra: dict[str, Any]) -> None:
        client = connect(alice)
        take_back("principal", f"user:{alice.pk}")
        response = client.send(LINKS + query, payload, **extra)
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


class TestMethods:
    @BOTH
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
    def test_only_post_is_one(self, alice: Any, address: str, method: str) -> None:
        response = by_token(alice).generic(method, address)
        assert (response.status_code, response["Allow"]) == (405, "POST")

    @pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
    def test_no_header_makes_another_of_it(self, alice: Any, header: str) -> None:
        payload = {"file": str(file_of(alice).pk)}
        assert by_token(alice).send(LINKS, payload, headers={header: "DELETE"}).status_code == 201
        assert by_token(alice).send(LINKS, payload, method="PUT", headers={header: "POST"}).status_code == 405

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver"])
    def test_no_other_site_may_read_an_answer(self, alice: Any, origin: str) -> None:
        client = by_token(alice)
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for response in (
            client.options(LINKS, headers=preflight),
            client.send(LINKS, {"file": str(file_of(alice).pk)}, headers={"Origin": origin}),
        ):
            assert not [name for name in response.headers if name.lower().startswith("access-control-")]


class TestIdentity:
    @BOTH
    @pytest.mark.parametrize("payload", [b"", b"{", b"[" * 2**20, None], ids=["empty", "cut", "1 MB", "good"])
    def test_without_one_nothing_is_read_or_loaded(
        self, alice: Any, address: str, payload: bytes | None, django_assert_num_queries: Any
    ) -> None:
        body = json.dumps(asked_at(address, str(file_of(alice).pk))).encode() if payload is None else payload
        client = by_session(alice)
        client.cookies.clear()
        with django_assert_num_queries(0):
            response = client.send(address, body)
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
        assert Issuance.objects.count() == 0

    @BOTH
    def test_a_query_or_a_wrong_media_type_does_not_come_first(self, db: None, address: str) -> None:
        client = ApiClient()
        assert client.send(f"{address}?x=1", {}).status_code == 401
        assert client.send(address, b"x", content_type="text/plain").status_code == 401

    @BOTH
    def test_a_session_needs_the_csrf_token(self, alice: Any, address: str) -> None:
        client = by_session(alice)
        payload = asked_at(address, str(file_of(alice).pk))
        response = client.send(address, payload, headers={"X-CSRFToken": "x" * 32})
        assert (response.status_code, response.json()["code"], issued()) == (403, "csrf_failed", 0)
        client.cookies["csrftoken"] = ""
        assert client.send(address, payload).status_code == 403
        assert issued() == 0

    def test_a_page_of_another_site_gets_nothing(self, alice: Any) -> None:
        response = by_session(alice).send(
            LINKS, {"file": str(file_of(alice).pk)}, headers={"Origin": "https://evil.example"}
        )
        assert (response.status_code, issued()) == (403, 0)

    def test_a_token_needs_no_csrf_token(self, alice: Any) -> None:
        assert by_token(alice).send(LINKS, {"file": str(file_of(alice).pk)}).status_code == 201

    def test_two_that_differ_are_none(self, alice: Any, bob: Any) -> None:
        client = by_session(bob)
        payload = {"file": str(file_of(alice).pk)}
        response = client.send(LINKS, payload, headers={"Authorization": f"Bearer {token_of(alice)}"})
        assert (response.status_code, issued()) == (401, 0)

    def test_two_of_one_user_are_one(self, alice: Any) -> None:
        header = {"Authorization": f"Bearer {token_of(alice)}"}
        assert by_session(alice).send(LINKS, {"file": str(file_of(alice).pk)}, headers=header).status_code == 201

    @pytest.mark.parametrize("header", ["Bearer x", "Basic YTpi", ""], ids=["unknown", "basic", "empty"])
    def test_a_header_that_fails_is_not_made_good_by_a_session(self, alice: Any, header: str) -> None:
        payload = {"file": str(file_of(alice).pk)}
        response = by_session(alice).send(LINKS, payload, headers={"Authorization": header})
        assert (response.status_code, issued()) == (401, 0)

    def test_a_token_that_has_expired_is_none(self, alice: Any) -> None:
        client = by_token(alice)
        ApiToken.objects.update(expires_at=timezone.now())
        assert client.send(LINKS, {"file": str(file_of(alice).pk)}).status_code == 401

    def test_a_user_that_was_deactivated_is_none(self, alice: Any) -> None:
        payload = {"file": str(file_of(alice).pk)}
        clients = [by_token(alice), by_session(alice)]
        type(alice).objects.update(is_active=False)
        assert [client.send(LINKS, payload).status_code for client in clients] == [401, 401]
        assert issued() == 0

    def test_the_principal_is_the_one_of_the_audit(self, alice: Any) -> None:
        by_token(alice).send(LINKS, {"file": str(file_of(alice).pk)})
        row = Issuance.objects.get()
        assert (row.principal, row.credential) == (f"user:{alice.pk}", f"token:{ApiToken.objects.get().pk}")

    @pytest.mark.parametrize("scope", ["Upload", "Update", "Delete", "Share"])
    def test_another_scope_does_not_download(self, alice: Any, scope: str) -> None:
        response = by_token(alice, scope).send(LINKS, {"file": str(file_of(alice).pk)})
        assert (response.status_code, issued()) == (404, 0)


# How a file is not to be had: each makes a reference for alice.
Unavailable = Callable[[Any, Any], str]


def _with(owner: Any, **fields: Any) -> str:
    return str(file_of(owner, **fields).pk)


SERVICE_FILES: dict[str, Unavailable] = {
    "missing": lambda alice, bob: NOBODYS,
    "of version 1": lambda alice, bob: str(uuid.uuid1()),
    "nil": lambda alice, bob: str(uuid.UUID(int=0)),
    "foreign": lambda alice, bob: _with(bob),
    "deleting": lambda alice, bob: _with(alice, state=FileState.DELETING),
    "deleted": lambda alice, bob: _with(alice, state=FileState.DELETED),
    "foreign and deleted": lambda alice, bob: _with(bob, state=FileState.DELETED),
    "no such app": lambda alice, bob: "nowhere.document:1:file",
    "no such model": lambda alice, bob: "hostapp.nothing:1:file",
    "no such field": lambda alice, bob: "hostapp.document:1:nothing",
    "no file field": lambda alice, bob: "hostapp.document:1:title",
    "the owner's password": lambda alice, bob: "auth.user:1:password",
    "a token": lambda alice, bob: "presign_gateway.apitoken:1:digest",
    "a key that is no number": lambda alice, bob: "hostapp.document:x:file",
    "a key in another spelling": lambda alice, bob: f"hostapp.document:0{new_document(alice).pk}:file",
    "a key beyond numbers": lambda alice, bob: f"hostapp.document:{10**30}:file",
    "a lookup in place of a key": lambda alice, bob: "hostapp.document:1:file__startswith:x",
    "a public field": lambda alice, bob: "hostapp.leaflet:1:file",
    "a private field without a policy of its own": lambda alice, bob: "hostapp.invoice:1:file",
}
ROWS_OF_THE_PROJECT: dict[str, Unavailable] = {
    "missing": lambda alice, bob: "hostapp.document:999999:file",
    "negative": lambda alice, bob: "hostapp.document:-1:file",
    "foreign": lambda alice, bob: f"hostapp.document:{new_document(bob).pk}:file",
    "nobody's": lambda alice, bob: f"hostapp.document:{new_document(None).pk}:file",
    "deleted": lambda alice, bob: _deleted(new_document(alice)),
    "empty": lambda alice, bob: f"hostapp.document:{Document.objects.create(owner=bob).pk}:file",
}


def _deleted(document: Document) -> str:
    reference = f"hostapp.document:{document.pk}:file"
    document.delete()
    return reference


class TestRefusals:
    """Denied, missing, deleted, foreign and not nameable are one answer: status, body, headers, queries."""

    @BOTH
    @pytest.mark.parametrize("kinds", [SERVICE_FILES, ROWS_OF_THE_PROJECT], ids=["files", "rows"])
    @pytest.mark.parametrize("connect", [by_token, by_session], ids=["token", "session"])
    def test_all_are_alike(self, alice: Any, bob: Any, kinds: Any, connect: Any, address: str) -> None:
        answers: dict[str, Any] = {}
        for kind, make in kinds.items():
            reference = make(alice, bob)
            client = connect(alice)
            ApiToken.objects.update(last_used_at=timezone.now())
            with CaptureQueriesContext(connection) as queries:
                response = client.send(address, asked_at(address, reference))
            status, content, headers = told(response)
            # The reference is the client's own; it is as long as it made it.
            content = content.replace(json.dumps(reference).encode(), b'"..."')
            headers.pop("Content-Length")
            shapes = [query["sql"].partition(" FROM ")[0].partition(" VALUES ")[0] for query in queries]
            answers[kind] = (status, content, headers, shapes)
        expected = answers["missing"]
        assert expected[0] == (404 if address == LINKS else 200)
        for kind, answer in answers.items():
            assert answer == expected, kind
        assert issued() == 0

    def test_a_single_refusal_has_one_length_too(self, alice: Any, bob: Any) -> None:
        client = by_token(alice)
        answers = [told(client.send(LINKS, {"file": make(alice, bob)})) for make in SERVICE_FILES.values()]
        assert len({content for _, content, _ in answers}) == 1
        assert len({headers["Content-Length"] for _, _, headers in answers}) == 1

    def test_each_is_recorded_with_its_own_reason(self, alice: Any, bob: Any) -> None:
        client = by_token(alice)
        for make in (SERVICE_FILES["foreign"], SERVICE_FILES["missing"], SERVICE_FILES["a public field"]):
            client.send(LINKS, {"file": make(alice, bob)})
        rows = Issuance.objects.filter(decision="refused")
        assert len({row.resource for row in rows}) == 3
        assert all(row.reason and row.principal == f"user:{alice.pk}" for row in rows)

    def test_a_reference_that_names_nothing_is_logged_on_one_line(self, alice: Any, caplog: Any) -> None:
        with caplog.at_level("INFO", logger="gateway.api.links"):
            by_token(alice).send(LINKS, {"file": "hostapp.leaflet:\u2028:file"})
        [record] = [record for record in caplog.records if record.name == "gateway.api.links"]
        assert "'hostapp.leaflet:\\u2028:file'" in record.getMessage()

    def test_permission_to_see_all_files_is_enough(self, alice: Any, bob: Any) -> None:
        alice.user_permissions.add(Permission.objects.get(codename="view_file"))
        assert by_token(alice).send(LINKS, {"file": str(file_of(bob).pk)}).status_code == 201

    def test_the_policy_is_asked_with_the_row_as_the_database_has_it(self, alice: Any, bob: Any) -> None:
        client, file = by_token(alice), file_of(alice)
        File.objects.filter(pk=file.pk).update(owner=bob)
        assert client.send(LINKS, {"file": str(file.pk)}).status_code == 404


class TestBatch:
    def test_order_and_both_keys_are_kept(self, alice: Any, bob: Any) -> None:
        mine, foreign = str(file_of(alice).pk), str(file_of(bob).pk)
        response = by_token(alice).send(BATCH, asked_at(BATCH, mine, foreign, NOBODYS, mine))
        body = response.json()
        assert response.status_code == 200
        assert [result["file"] for result in body["results"]] == [mine, foreign, NOBODYS, mine]
        refused = {"code": "not_found", "status": 404, "title": "There is no such file, or you may not have it."}
        assert [result["error"] for result in body["results"]] == [None, refused, refused, None]
        assert [result["link"] and result["link"]["file"] for result in body["results"]] == [
            mine,
            None,
            None,
            mine,
        ]
        assert body["summary"] == {"requested": 4, "issued": 2, "refused": 2}
        assert issued() == 2

    def test_a_link_is_the_same_as_a_single_one(self, alice: Any) -> None:
        file = str(file_of(alice).pk)
        client = by_token(alice)
        single = client.send(LINKS, {"file": file, "filename": "a.pdf", "ttl_seconds": 60}).json()
        items = [{"file": file, "filename": "a.pdf"}]
        [result] = client.send(BATCH, {"items": items, "ttl_seconds": 60}).json()["results"]
        differs = {"url", "id", "expires_at", "expires_in"}
        assert single.keys() == result["link"].keys()
        assert {name: single[name] for name in single.keys() - differs} == {
            name: result["link"][name] for name in single.keys() - differs
        }

    def test_each_item_has_its_own_options(self, alice: Any) -> None:
        file = str(file_of(alice).pk)
        items = [
            {"file": file},
            {"file": file, "method": "HEAD", "filename": "b.pdf", "disposition": "attachment"},
        ]
        first, second = by_token(alice).send(BATCH, {"items": items}).json()["results"]
        assert (first["link"]["method"], first["link"]["filename"]) == ("GET", "report.pdf")
        assert (second["link"]["method"], second["link"]["filename"]) == ("HEAD", "b.pdf")

    def test_as_many_as_the_limit_are_issued(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"BATCH_LIMIT": 3}
        file = str(file_of(alice).pk)
        response = by_token(alice).send(BATCH, asked_at(BATCH, file, file, file))
        assert response.json()["summary"]["issued"] == 3

    def test_one_more_is_413_and_none_is_issued(self, alice: Any) -> None:
        response = by_token(alice).send(BATCH, asked_at(BATCH, *[str(file_of(alice).pk)] * 101))
        assert (response.status_code, response.json()["code"]) == (413, "batch_too_large")
        assert response.json()["detail"] == "the batch has 101 items; at most 100"
        assert Issuance.objects.count() == 0

    def test_the_longest_items_have_room(self, alice: Any) -> None:
        face = "\N{GRINNING FACE}"
        item = {"file": f"hostapp.document:{face * 255}:{'f' * 120}", "filename": face * 255}
        response = by_token(alice).send(BATCH, {"items": [item] * 100})
        assert (response.status_code, response.json()["summary"]["refused"]) == (200, 100)

    def test_the_rows_are_those_of_the_answer(self, alice: Any, bob: Any) -> None:
        references = [str(file_of(alice).pk) for _ in range(9)] + [str(file_of(bob).pk)]
        body = by_token(alice).send(BATCH, asked_at(BATCH, *references)).json()
        links = {result["link"]["id"] for result in body["results"] if result["link"]}
        assert links == set(Issuance.objects.filter(decision="issued").values_list("link_id", flat=True))
        assert len({row.request_id for row in Issuance.objects.all()}) == 1

    def test_one_storage_that_cannot_sign_is_the_error_of_its_items(self, alice: Any, settings: Any) -> None:
        client, mine = by_token(alice), str(file_of(alice).pk)
        elsewhere = new_file(alice, storage_alias="gone")
        body = client.send(BATCH, asked_at(BATCH, mine, str(elsewhere.pk))).json()
        assert [result["error"] and result["error"]["code"] for result in body["results"]] == [
            None,
            "storage_unavailable",
        ]

    MODELS: dict[str, Callable[[Any, int], list[str]]] = {
        "files": lambda alice, count: [str(file_of(alice).pk) for _ in range(count)],
        "owned rows": lambda alice, count: [f"hostapp.document:{new_document(alice).pk}:file" for _ in range(count)],
        "rows behind joins": lambda alice, count: _minutes(alice, count),
        "the same file": lambda alice, count: [str(file_of(alice).pk)] * count,
        "refusals": lambda alice, count: [str(uuid.uuid4()) for _ in range(count)],
        "files of all kinds": lambda alice, count: (
            [str(file_of(alice).pk)] + [str(uuid.uuid4()), str(file_of(alice).pk)] * ((count - 1) // 2) + [NOBODYS]
        ),
    }

    @pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
    def test_the_number_of_queries_does_not_grow(self, alice: Any, make: Any) -> None:
        counted = {}
        for count in (1, 10, 100):
            references = make(alice, count)[:count]
            client = by_token(alice)
            ApiToken.objects.update(last_used_at=timezone.now())
            with CaptureQueriesContext(connection) as queries:
                body = client.send(BATCH, asked_at(BATCH, *references)).json()
            assert body["summary"]["requested"] == len(references)
            # SQLite takes 999 parameters a statement, and so the one insert in parts.
            counted[count] = sum("INSERT" not in query["sql"] for query in queries)
            rows = sum("INSERT" in query["sql"] for query in queries)
            assert rows <= 1 + len(references) // 50
        assert counted[10] == counted[100]
        # A refusal among them asks for permissions, and whether this minute has its row already; one row is read with
        # what was taken back.
        assert counted[1] in range(counted[10] - 4, counted[10] + 1)


def _minutes(alice: Any, count: int) -> list[str]:
    project = Project.objects.create(name="p")
    project.members.add(alice)
    references = []
    for _ in range(count):
        minutes = Minutes(project=project, file=f"uploads/{uuid.uuid4().hex}/a.pdf")
        minutes.save_base(raw=True, force_insert=True)
        references.append(f"hostapp.minutes:{minutes.pk}:file")
    return references


class TestDependencyDown:
    """What is needed to decide, record or sign is missing: 503, and nothing is issued."""

    STEPS: dict[str, tuple[Any, str]] = {
        "session": (by_session, '"django_session"'),
        "user of the session": (by_session, '"auth_user"'),
        "token": (by_token, 'SELECT "presign_gateway_apitoken"'),
        "noting the use of the token": (by_token, 'UPDATE "presign_gateway_apitoken"'),
        "permissions": (by_token, '"auth_permission"'),
        "row": (by_token, '"presign_gateway_file"'),
        "audit": (by_token, 'INSERT INTO "presign_gateway_issuance"'),
        "everything": (by_session, ""),
    }

    @pytest.mark.django_db(transaction=True)
    @BOTH
    @pytest.mark.parametrize("atomic", [False, True], ids=["", "ATOMIC_REQUESTS"])
    @pytest.mark.parametrize(("connect", "sql"), STEPS.values(), ids=STEPS)
    def test_the_database_at_each_step(
        self, alice: Any, bob: Any, address: str, connect: Any, sql: str, atomic: bool, monkeypatch: Any
    ) -> None:
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
        # Permissions are asked for only where the owner is somebody else.
        alice.user_permissions.add(Permission.objects.get(codename="view_file"))
        file = file_of(bob if sql == '"auth_permission"' else alice)
        client, payload = connect(alice), asked_at(address, str(file.pk))
        with database_down_for(sql) as met:
            response = client.send(address, payload)
        assert met
        assert response.status_code == 503
        assert response.json()["code"] in ("database_unavailable", "audit_unavailable")
        assert b"http" not in response.content
        assert Issuance.objects.count() == 0
        # It recovers by itself.
        assert client.send(address, payload).status_code in (200, 201)

    @pytest.mark.django_db(transaction=True)
    def test_a_commit_that_fails(self, alice: Any, monkeypatch: Any) -> None:
        def fail() -> None:
            raise OperationalError("the connection was lost at COMMIT")

        # One row alone is one statement, which commits or fails by itself.
        client, payload = by_token(alice), asked_at(BATCH, str(file_of(alice).pk), str(file_of(alice).pk))
        client.send(BATCH, payload)
        before = issued()
        with monkeypatch.context() as patched:
            patched.setattr(connection, "_commit", fail)
            response = client.send(BATCH, payload)
        assert (response.status_code, response.json()["code"]) == (503, "audit_unavailable")
        assert issued() == before

    @pytest.mark.django_db(transaction=True)
    def test_a_refusal_that_cannot_be_recorded_is_no_404(self, alice: Any) -> None:
        client = by_token(alice)
        with database_down_for('"presign_gateway_issuance"') as met:
            response = client.send(LINKS, {"file": NOBODYS})
        assert (bool(met), response.status_code) == (True, 503)

    def test_a_storage_that_cannot_sign(self, alice: Any, monkeypatch: Any) -> None:
        class Expired:
            capabilities = storages["private"].provider.capabilities

            def sign_many(self, *_: Any, **__: Any) -> Any:
                raise CredentialsExpired("no life is left")

        monkeypatch.setattr(type(storages["private"]), "provider", Expired())
        response = by_token(alice).send(LINKS, {"file": str(file_of(alice).pk)})
        assert (response.status_code, response.json()["code"], issued()) == (503, "storage_unavailable", 0)


def sent(client: AsyncClient, address: str, body: bytes, media_type: str = "application/json", **headers: str) -> Any:
    async def send() -> Any:
        return await client.generic("POST", address, body, content_type=media_type, headers=headers)

    return async_to_sync(send)()


class TestAsync:
    @BOTH
    def test_the_answer_is_the_same(self, alice: Any, bob: Any, address: str) -> None:
        authorization = f"Bearer {token_of(alice)}"
        for reference, count in ((str(file_of(alice).pk), 1), (str(file_of(bob).pk), 1)):
            payload = json.dumps(asked_at(address, reference))
            response = sent(AsyncClient(), address, payload.encode(), Authorization=authorization)
            check_contract("POST", address, response)
            assert issued() == count
        assert Issuance.objects.filter(decision="refused").count() == 1

    REFUSED: dict[str, tuple[Any, bytes, str, int]] = {
        "no identity": ("", b"{}", "application/json", 401),
        "no CSRF token": ("session", b"{}", "application/json", 403),
        "no json": ("token", b"x", "application/json", 400),
        "another type": ("token", b"x", "text/plain", 415),
        "long": ("token", b"[" * 2**20, "application/json", 413),
    }

    @pytest.mark.parametrize(("identity", "body", "media_type", "status"), REFUSED.values(), ids=REFUSED)
    def test_refusals(self, alice: Any, identity: Any, body: bytes, media_type: str, status: int) -> None:
        client = AsyncClient(enforce_csrf_checks=True)
        headers = {"Authorization": f"Bearer {token_of(alice)}"} if identity == "token" else {}
        if identity == "session":
            client.force_login(alice)
            client.cookies["csrftoken"] = CSRF
        response = sent(client, LINKS, body, media_type, **headers)
        check_contract("POST", LINKS, response)
        assert (response.status_code, issued()) == (status, 0)


def test_without_the_middleware_a_link_is_recorded_all_the_same(alice: Any, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "gateway" not in name]
    response = by_token(alice).send(LINKS, {"file": str(file_of(alice).pk)})
    assert (response.status_code, issued()) == (201, 1)
    assert response["Cache-Control"] == "no-store, private"
