"""Resumable sessions of Cloud Storage: opened by the server, bound to one page, ended with their upload."""

from __future__ import annotations

import hashlib
import http.client
import logging
import secrets
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.utils import timezone
from google.oauth2.credentials import Credentials

from gateway import audit, uploads
from gateway.errors import (
    AccessDenied,
    AuditUnavailable,
    ChecksumMismatch,
    IdempotencyConflict,
    InvalidRequest,
    NotUploaded,
    SizeMismatch,
    StorageUnavailable,
    TypeMismatch,
    UploadConflict,
    UploadOver,
)
from gateway.models import File, Issuance, ObjectDeletion, UploadSession
from gateway.policies import Allow, Authenticated, Limits
from gateway.redaction import RedactionFilter
from gateway.uploads import Guarantees, resumable
from gateway.uploads.sweeping import expire
from providers.types import Download
from tests.emulators.s3 import Response, send
from tests.gateway.api.support import ApiClient, by_token
from tests.gateway.gcs_stores import GCSStore
from tests.gateway.uploads.conftest import PDF, begin, principal_of, wanted

pytestmark = pytest.mark.django_db

CHUNK = 256 * 2**10
CONTENT = PDF + secrets.token_bytes(2 * CHUNK)
PAGE = "https://page.example"
WEEK = timedelta(days=7)


@pytest.fixture
def store(resumable_store: GCSStore) -> GCSStore:
    return resumable_store


def resume(user: Any, content: bytes = CONTENT, **fields: Any) -> Any:
    return begin(user, content, **{"strategy": "resumable", "origin": PAGE} | fields)


def put(begun: Any, first: int, end: int, content: bytes = CONTENT, **headers: str) -> Response:
    sent = {"Content-Range": f"bytes {first}-{end - 1}/{len(content)}", "Origin": PAGE} | headers
    return send(begun.link.url, method="PUT", headers=sent, body=content[first:end])


def ask(begun: Any, method: str = "PUT") -> Response:
    return send(begun.link.url, method=method, headers={"Content-Range": "bytes */*"}, body=b"")


def finalize(user: Any, begun: Any) -> Any:
    return uploads.finalize(principal_of(user), begun.session.pk)


def again(user: Any, key: str, **fields: Any) -> Any:
    wish = wanted(CONTENT, **{"strategy": "resumable", "origin": PAGE} | fields)
    return uploads.begin(principal_of(user), wish, idempotency_key=key)


class TestSending:
    def test_pieces_become_a_file(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        assert begun.guarantees == Guarantees(
            size="verified", content_type="signed", checksum="verified", overwrite="refused"
        )
        assert put(begun, 0, CHUNK).status == 308
        with pytest.raises(NotUploaded):
            finalize(alice, begun)
        assert uploads.look(principal_of(alice), begun.session.pk).size_bytes == CHUNK
        assert put(begun, CHUNK, len(CONTENT), **{"Content-Type": "text/html"}).status == 200
        finalized = finalize(alice, begun)
        file = File.objects.get()
        assert (file.size_bytes, file.content_type) == (len(CONTENT), "application/pdf")
        about = store.server.objects.about(store.bucket, store.key(begun.session.key))
        assert about is not None
        assert file.version == finalized.session.version == about["generation"]
        assert UploadSession.objects.get().store_upload_id == ""

    def test_it_goes_on_after_a_reload_by_the_same_idempotency_key(self, store: GCSStore, alice: Any) -> None:
        first = again(alice, "k")
        put(first, 0, CHUNK)
        second = again(alice, "k")
        assert (second.session.pk, second.link.url) == (first.session.pk, first.link.url)
        assert ask(second).headers["range"] == f"bytes=0-{CHUNK - 1}"
        put(second, CHUNK, len(CONTENT))
        third = again(alice, "k")
        assert ask(third).status == 200
        assert finalize(alice, third).session.state == "ready"

    def test_a_session_that_the_store_lost_is_followed_by_another(self, store: GCSStore, alice: Any) -> None:
        first = again(alice, "k")
        put(first, 0, CHUNK)
        store.server.sessions.forget(store.key(first.session.key))
        assert uploads.look(principal_of(alice), first.session.pk).size_bytes == 0
        second = again(alice, "k")
        assert second.session.pk == first.session.pk
        assert second.link.url != first.link.url
        assert put(second, 0, len(CONTENT)).status == 200
        # It was lost after its last byte, and before anybody finalized.
        store.server.sessions.forget(store.key(first.session.key))
        with pytest.raises(UploadConflict, match="finalize"):
            again(alice, "k")
        assert finalize(alice, second).session.state == "ready"

    def test_of_a_client_that_was_killed_whole_pieces_stay(self, store: GCSStore, alice: Any) -> None:
        """F20."""
        begun = again(alice, "k")
        parts = urlsplit(begun.link.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
        connection.putrequest("PUT", f"{parts.path}?{parts.query}")
        connection.putheader("Content-Length", str(len(CONTENT)))
        connection.endheaders(CONTENT[: CHUNK + 10])
        connection.sock.shutdown(1)
        connection.getresponse().read()
        connection.close()
        assert uploads.look(principal_of(alice), begun.session.pk).size_bytes == CHUNK
        assert put(again(alice, "k"), CHUNK, len(CONTENT)).status == 200
        assert finalize(alice, begun).session.state == "ready"

    def test_a_piece_that_is_sent_twice_changes_nothing(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        put(begun, 0, CHUNK)
        assert put(begun, 0, CHUNK, b"y" * len(CONTENT)).headers["range"] == f"bytes=0-{CHUNK - 1}"
        put(begun, CHUNK, len(CONTENT))
        finalize(alice, begun)
        assert store.get(begun.session.key) == (CONTENT, "application/pdf")

    def test_two_beginnings_at_once_are_one_session(self, store: GCSStore, alice: Any) -> None:
        """Both find none, and both have the store open one: the second is ended, and nobody has it."""
        session = again(alice, "k").session
        UploadSession.objects.update(store_upload_id="")
        slow, quick = UploadSession.objects.get(), UploadSession.objects.get()
        url = resumable._open(quick, PAGE)
        assert resumable._open(slow, PAGE) == url
        assert store.server.sessions.cancelled.count(store.key(session.key)) == 1
        assert send(url, method="PUT", body=CONTENT).status == 200

    def test_whoever_opens_one_too_late_ends_it(self, store: GCSStore, alice: Any) -> None:
        resume(alice)
        UploadSession.objects.update(store_upload_id="")
        late = UploadSession.objects.get()
        UploadSession.objects.update(state="aborted")
        with pytest.raises(UploadConflict):
            resumable._open(late, PAGE)
        assert store.server.sessions.cancelled[-1] == store.key(late.key)

    def test_a_beginning_that_was_interrupted_has_nothing_yet(self, store: GCSStore, alice: Any) -> None:
        begun = again(alice, "k")
        UploadSession.objects.update(store_upload_id="")
        assert uploads.look(principal_of(alice), begun.session.pk).size_bytes == 0
        assert put(again(alice, "k"), 0, len(CONTENT)).status == 200

    def test_none_is_handed_out_in_the_last_moment(self, store: GCSStore, alice: Any) -> None:
        again(alice, "k")
        UploadSession.objects.update(expires_at=timezone.now() + timedelta(milliseconds=900))
        with pytest.raises(UploadOver):
            again(alice, "k")


class TestBounds:
    @pytest.mark.parametrize(
        ("content", "verdict"),
        [
            pytest.param(CONTENT[:-1], SizeMismatch, id="shorter"),
            pytest.param(CONTENT[:-1] + b"y", ChecksumMismatch, id="other-bytes"),
            pytest.param(b"<html>".ljust(len(CONTENT)), TypeMismatch, id="another-type"),
        ],
    )
    def test_what_is_not_what_was_declared_is_no_file(
        self, store: GCSStore, alice: Any, content: bytes, verdict: type[Exception]
    ) -> None:
        begun = resume(alice)
        assert put(begun, 0, len(content), content).status == 200
        for _ in range(2):
            with pytest.raises(verdict):
                finalize(alice, begun)
        assert not File.objects.exists()
        noted = ObjectDeletion.objects.get()
        assert noted.key == begun.session.key
        assert noted.not_before < timezone.now() + timedelta(days=2), "its session is over"
        assert UploadSession.objects.get().store_upload_id == ""

    def test_more_than_was_declared_the_store_refuses(self, store: GCSStore, alice: Any) -> None:
        begun, content = resume(alice), CONTENT + b"x"
        assert put(begun, 0, len(content), content).status == 400
        assert send(begun.link.url, method="PUT", body=content).status == 400
        with pytest.raises(NotUploaded):
            finalize(alice, begun)

    def test_by_its_md5_the_store_refuses_other_bytes(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice, sha256=None, md5=hashlib.md5(CONTENT).digest())
        assert begun.guarantees.checksum == "signed"
        assert put(begun, 0, len(CONTENT), CONTENT[:-1] + b"y").status == 400
        with pytest.raises(NotUploaded):
            finalize(alice, begun)

    def test_after_finalize_nothing_is_overwritten(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        put(begun, 0, len(CONTENT))
        finalize(alice, begun)
        put(begun, 0, len(CONTENT), CONTENT[:-1] + b"y")
        assert store.get(begun.session.key) == (CONTENT, "application/pdf")

    def test_a_key_that_is_taken_is_not_overwritten(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        store.put(begun.session.key, b"first")
        assert put(begun, 0, len(CONTENT)).status == 412
        assert store.get(begun.session.key) == (b"first", "application/octet-stream")

    def test_another_page_cannot_fill_it(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        assert put(begun, 0, CHUNK, Origin="https://other.example").status == 403
        asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-range"}
        for origin, shown in ((PAGE, PAGE), ("https://other.example", None)):
            answer = send(begun.link.url, method="OPTIONS", headers={"Origin": origin, **asked})
            assert answer.headers.get("access-control-allow-origin") == shown

    def test_a_page_of_another_origin_does_not_go_on_with_it(self, store: GCSStore, alice: Any) -> None:
        again(alice, "k")
        with pytest.raises(IdempotencyConflict):
            again(alice, "k", origin="https://other.example")


class TestPermission:
    def test_nothing_is_opened_for_who_may_not(self, store: GCSStore, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_POLICY": Authenticated(operations=(Download,))}
        asked = len(store.server.requests)
        with pytest.raises(AccessDenied):
            resume(alice)
        assert len(store.server.requests) == asked
        assert Issuance.objects.get().decision == "refused"

    def test_it_is_recorded_each_time_by_a_digest_alone(self, store: GCSStore, alice: Any) -> None:
        first, second = again(alice, "k"), again(alice, "k")
        rows = Issuance.objects.filter(decision="issued", operation="Upload")
        known = {row.link_id: (row.expires_at, row.link_hash) for row in rows}
        digest = audit.hash_of(first.link.url)
        assert known == {begun.link.id: (begun.link.expires_at, digest) for begun in (first, second)}

    def test_a_right_that_ended_is_not_resumed(self, store: GCSStore, alice: Any, settings: Any) -> None:
        begun = again(alice, "k")
        put(begun, 0, len(CONTENT))
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_POLICY": Authenticated(operations=(Download,))}
        with pytest.raises(AccessDenied):
            again(alice, "k")
        with pytest.raises(AccessDenied):
            finalize(alice, begun)

    def test_what_the_policy_allows_ends_the_upload(self, store: GCSStore, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_POLICY": OneMinute()}
        begun = resume(alice)
        left = begun.link.expires_at - timezone.now()
        assert timedelta(seconds=50) < left <= timedelta(minutes=1)
        assert begun.link.limited_by == "policy"
        session = UploadSession.objects.get()
        assert session.expires_at == begun.link.expires_at
        assert session.links_end_at > timezone.now() + timedelta(days=6), "the session itself lives for a week"

    def test_a_store_that_opens_none_leaves_no_upload(self, store: GCSStore, alice: Any, settings: Any) -> None:
        token = Credentials(store.server.new_token("get"))  # type: ignore[no-untyped-call]
        options = store.options | {"resumable_uploads": True, "service_account_key": None, "credentials": token}
        options |= {"hmac_access_id": store.server.access_id, "hmac_secret": store.server.secret}
        settings.STORAGES = settings.STORAGES | {"gcs": {"BACKEND": store.backend, "OPTIONS": options}}
        with pytest.raises(StorageUnavailable):
            again(alice, "k")
        assert not UploadSession.objects.exists()
        assert [row.decision for row in Issuance.objects.all()] == ["refused"]

    @pytest.mark.parametrize("alias", ["gcs", "private"])
    def test_it_is_for_storages_that_switch_it_on(self, store: GCSStore, alice: Any, settings: Any, alias: str) -> None:
        settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": alias}
        if alias == "gcs":
            settings.STORAGES = settings.STORAGES | {"gcs": {"BACKEND": store.backend, "OPTIONS": store.options}}
        with pytest.raises(InvalidRequest, match="opens no sessions"):
            resume(alice)

    def test_nothing_is_opened_for_an_empty_file(self, store: GCSStore, alice: Any) -> None:
        with pytest.raises(InvalidRequest, match="an empty file is uploaded by single"):
            resume(alice, b"", content_type="text/plain")


class OneMinute:
    def decide(self, principal: Any, resource: Any, operation: Any) -> Allow:
        return Allow(Limits(max_ttl=timedelta(minutes=1)))


class TestEnding:
    def test_given_up_it_takes_nothing_more(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        put(begun, 0, CHUNK)
        uploads.abort(principal_of(alice), begun.session.pk)
        assert put(begun, CHUNK, len(CONTENT)).status == 499
        session = UploadSession.objects.get()
        assert (session.state, session.store_upload_id) == ("aborted", "")
        # Nothing can write it any more, so that it need not wait for a week.
        assert ObjectDeletion.objects.get().not_before < timezone.now() + timedelta(days=2)
        with pytest.raises(UploadOver):
            finalize(alice, begun)

    def test_a_session_that_was_begun_meanwhile_ends_too(self, store: GCSStore, alice: Any) -> None:
        begun, meanwhile = resume(alice), []

        def begin_again(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
            if sql.startswith("UPDATE") and "aborted" in (parameters or ()) and not meanwhile:
                meanwhile.append(resumable._open(UploadSession.objects.get(), PAGE))
            return execute(sql, parameters, *rest)

        with connection.execute_wrapper(begin_again):
            uploads.abort(principal_of(alice), begun.session.pk)
        assert UploadSession.objects.get().store_upload_id == ""
        for url in (begun.link.url, *meanwhile):
            assert send(url, method="PUT", body=CONTENT).status == 499
        assert len(meanwhile) == 1

    def test_a_store_that_did_not_hear_is_told_by_the_sweeper(self, store: GCSStore, alice: Any, settings: Any) -> None:
        begun, working = resume(alice), settings.STORAGES
        options = store.options | {"endpoint_url": "http://127.0.0.1:1"}
        UploadSession.objects.update(
            store_upload_id=resumable.seal("http://127.0.0.1:1/?upload_id=x", begun.session.pk)
        )
        settings.STORAGES = working | {"gcs": {"BACKEND": store.backend, "OPTIONS": options}}
        uploads.abort(principal_of(alice), begun.session.pk)
        session = UploadSession.objects.get()
        assert (session.state, session.store_upload_id != "") == ("aborted", True)
        assert ObjectDeletion.objects.get().not_before > timezone.now() + timedelta(days=6)
        settings.STORAGES = working
        UploadSession.objects.update(store_upload_id=begun.session.store_upload_id)
        assert [left.what for left in expire(execute=True)] == ["stopped parts"]
        assert put(begun, 0, CHUNK).status == 499

    def test_it_ends_with_its_upload_though_it_would_live_longer(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        put(begun, 0, CHUNK)
        UploadSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert [left.what for left in expire()] == ["overdue upload"]
        assert put(begun, 0, CHUNK).status == 308
        assert [left.what for left in expire(execute=True)] == ["expired upload"]
        assert put(begun, CHUNK, len(CONTENT)).status == 499
        assert list(expire(execute=True)) == []

    def test_it_can_be_ended_where_new_ones_are_switched_off(self, store: GCSStore, alice: Any, settings: Any) -> None:
        begun = resume(alice)
        settings.STORAGES = settings.STORAGES | {"gcs": {"BACKEND": store.backend, "OPTIONS": store.options}}
        uploads.abort(principal_of(alice), begun.session.pk)
        assert put(begun, 0, CHUNK).status == 499

    def test_sealed_under_a_key_that_is_gone_it_dies_by_itself(
        self, store: GCSStore, alice: Any, settings: Any
    ) -> None:
        begun = again(alice, "k")
        settings.SECRET_KEY = "another" * 8
        with pytest.raises(StorageUnavailable):
            again(alice, "k")
        uploads.abort(principal_of(alice), begun.session.pk)
        assert ObjectDeletion.objects.get().not_before > timezone.now() + timedelta(days=6)
        assert list(expire(execute=True)) == []
        UploadSession.objects.update(links_end_at=timezone.now())
        assert [left.what for left in expire(execute=True)] == ["stopped parts"]

    def test_by_a_fallback_of_the_key_it_goes_on(self, store: GCSStore, alice: Any, settings: Any) -> None:
        first = again(alice, "k")
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 8
        assert again(alice, "k").link.url == first.link.url

    @pytest.mark.django_db(transaction=True)
    def test_what_was_not_recorded_leaves_no_session(self, store: GCSStore, alice: Any) -> None:
        def fail(execute: Any, sql: str, *arguments: Any) -> Any:
            if "INSERT" in sql and Issuance._meta.db_table in sql:
                raise OperationalError("the audit is down")
            return execute(sql, *arguments)

        cancelled = len(store.server.sessions.cancelled)
        with connection.execute_wrapper(fail), pytest.raises(AuditUnavailable):
            resume(alice)
        assert not UploadSession.objects.exists()
        assert len(store.server.sessions.cancelled) == cancelled + 1


class TestSecrecy:
    def test_the_row_does_not_tell_the_session(self, store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        token = begun.link.url.partition("upload_id=")[2]
        assert len(token) > 40
        row = UploadSession.objects.values().get()
        assert token not in str(row)
        assert token not in repr(begun)
        assert resumable.unseal(row["store_upload_id"], "upl_another") is None

    def test_no_log_tells_it_even_of_the_library_below(self, store: GCSStore, alice: Any) -> None:
        # A handler as the service has it; the suite's own would see the library's lines as they are.
        text, logger = StringIO(), logging.getLogger("urllib3")
        handler = logging.StreamHandler(text)
        handler.addFilter(RedactionFilter())
        level, logger.propagate = logger.level, False
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            begun = resume(alice)
            uploads.look(principal_of(alice), begun.session.pk)
            uploads.abort(principal_of(alice), begun.session.pk)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = True
        token = begun.link.url.partition("upload_id=")[2]
        assert "upload_id=***" in text.getvalue()
        assert token not in text.getvalue()

    def test_an_error_of_the_connection_does_not_tell_it(self, store: GCSStore) -> None:
        objects: Any = storages["gcs"].objects  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError) as caught:
            objects.session_bytes("http://127.0.0.1:1/upload?upload_id=secret")
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_an_answer_that_is_none_of_a_session_is_not_taken_for_one(store: GCSStore) -> None:
    objects: Any = storages["gcs"].objects  # type: ignore[attr-defined]
    url = f"{store.server.endpoint_url}/{store.bucket}/key"
    for ask in (objects.session_bytes, objects.cancel_session):
        with pytest.raises(RuntimeError, match="answers 403"):
            ask(url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(
            "http://evil.example/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id=x23456789",
            id="another-host",
        ),
        pytest.param(
            "{endpoint}/upload/storage/v1/b/other/o?uploadType=resumable&upload_id=x23456789", id="another-bucket"
        ),
        pytest.param("{endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=resumable", id="no-token"),
    ],
)
def test_what_is_no_session_of_the_bucket_is_not_shown(store: GCSStore, url: str) -> None:
    storage: Any = storages["gcs"]
    made = url.format(endpoint=store.server.endpoint_url, bucket=store.bucket)
    with pytest.raises(Exception, match="no session of the bucket"):
        storage.public_session_url(made)


def test_pages_reach_it_at_the_public_endpoint(store: GCSStore, alice: Any, settings: Any) -> None:
    options = store.options | {"resumable_uploads": True, "public_endpoint_url": "https://storage.example"}
    settings.STORAGES = settings.STORAGES | {"gcs": {"BACKEND": store.backend, "OPTIONS": options}}
    begun = resume(alice)
    assert begun.link.url.startswith(f"https://storage.example/upload/storage/v1/b/{store.bucket}/o?")
    assert uploads.look(principal_of(alice), begun.session.pk).size_bytes == 0


class TestOverHTTP:
    def wish(self, **fields: Any) -> dict[str, Any]:
        return {
            "filename": "scan.pdf", "content_type": "application/pdf", "size": len(CONTENT), "strategy": "resumable",
        } | fields  # fmt: skip

    def begin(self, client: ApiClient, origin: str | None = PAGE) -> Any:
        headers = {"Idempotency-Key": "k"} | ({} if origin is None else {"Origin": origin})
        return client.send("/api/v1/uploads", self.wish(), headers=headers)

    def test_from_the_wish_to_the_file(self, store: GCSStore, alice: Any) -> None:
        client = by_token(alice)
        upload = self.begin(client).json()
        request = upload["request"]
        assert (upload["strategy"], upload["parts"], request["method"], request["fields"]) == (
            "resumable", None, "PUT", {},
        )  # fmt: skip
        assert upload["expires_at"] >= request["expires_at"]
        assert datetime.fromisoformat(request["expires_at"]) < timezone.now() + WEEK
        first = {"Content-Range": f"bytes 0-{CHUNK - 1}/{len(CONTENT)}", "Origin": PAGE}
        assert send(request["url"], method="PUT", headers=first, body=CONTENT[:CHUNK]).status == 308
        shown = client.get(f"/api/v1/uploads/{upload['id']}")
        assert shown.json()["received_bytes"] == CHUNK
        assert "upload_id" not in shown.content.decode()
        reloaded = self.begin(client).json()
        assert reloaded["request"]["url"] == request["url"]
        rest = {"Content-Range": f"bytes {CHUNK}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        assert send(request["url"], method="PUT", headers=rest, body=CONTENT[CHUNK:]).status == 200
        assert client.send(f"/api/v1/uploads/{upload['id']}/finalize", {}).status_code == 200

    @pytest.mark.parametrize("origin", ["null", "page.example", "https://page.example/path", "https://a b"])
    def test_an_origin_that_is_none_is_refused(self, store: GCSStore, alice: Any, origin: str) -> None:
        assert self.begin(by_token(alice), origin).status_code == 400
        assert not UploadSession.objects.exists()

    def test_a_client_that_is_no_page_has_none(self, store: GCSStore, alice: Any) -> None:
        url = self.begin(by_token(alice), None).json()["request"]["url"]
        assert send(url, method="PUT", headers={"Origin": PAGE}, body=CONTENT).status == 403
        assert send(url, method="PUT", body=CONTENT).status == 200
