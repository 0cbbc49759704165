"""Parts of uploads to Cloud Storage: begun, listed, joined and given up by the server alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden
from google.oauth2.credentials import Credentials

from gateway.storages import PrivateGCSStorage
from gateway.storages.gcs_multipart import MultipartUploads
from gateway.storages.objects import FormStore, PartStore, ReceivedPart
from providers import HMACKey, UploadPart
from providers.gcs import GCSProvider
from tests.emulators.gcs import CloudStorage
from tests.emulators.s3 import Response, send
from tests.gateway.storages.test_gcs import on

MIB = 2**20
FIRST, LAST = secrets.token_bytes(5 * MIB), b"the end"
NAME = "a b/ü+%20.pdf"


@pytest.fixture
def storage(gcs: CloudStorage) -> PrivateGCSStorage:
    return on(gcs, location="tenant 1")


@pytest.fixture(autouse=True)
def _pages_of_their_usual_size(gcs: CloudStorage) -> Iterator[None]:
    yield
    gcs.uploads.page_size = 1000


def link_of(storage: PrivateGCSStorage, upload_id: str, number: int, body: bytes) -> Any:
    part = UploadPart(storage.object_key(NAME), upload_id=upload_id, number=number, size_bytes=len(body))
    return storage.provider.sign(part, ttl=timedelta(minutes=1), now=datetime.now(UTC))


def put(storage: PrivateGCSStorage, upload_id: str, number: int, body: bytes) -> Response:
    return send(link_of(storage, upload_id, number, body).url, method="PUT", body=body)


def parts_of(storage: PrivateGCSStorage, upload_id: str) -> list[ReceivedPart]:
    parts = storage.objects.parts(NAME, upload_id)
    assert parts is not None
    return parts


def test_parts_become_an_object_of_the_type_that_was_said(storage: PrivateGCSStorage) -> None:
    objects = storage.objects
    assert isinstance(objects, PartStore)
    assert not isinstance(objects, FormStore)
    upload_id = objects.begin_parts(NAME, "application/pdf")
    for number, body in ((2, LAST), (1, FIRST)):
        assert put(storage, upload_id, number, body).status == 200
    parts = parts_of(storage, upload_id)
    assert [(part.number, part.size_bytes) for part in parts] == [(1, 5 * MIB), (2, len(LAST))]
    assert objects.stat(NAME) is None
    objects.complete_parts(NAME, upload_id, parts)
    stored = objects.stat(NAME)
    assert stored is not None
    assert (stored.size_bytes, stored.content_type) == (5 * MIB + len(LAST), "application/pdf")
    assert stored.md5 is None, "Google counts none of what is joined"
    assert b"".join(objects.read(NAME, stored)) == FIRST + LAST
    assert objects.parts(NAME, upload_id) is None
    assert put(storage, upload_id, 2, LAST).status == 404


def test_an_hmac_key_signs_parts_too(gcs: CloudStorage, storage: PrivateGCSStorage) -> None:
    upload_id = storage.objects.begin_parts(NAME, "application/pdf")
    provider = GCSProvider(
        bucket=storage.bucket_name, credentials=HMACKey(gcs.access_id, gcs.secret), endpoint_url=gcs.endpoint_url,
        addressing_style="path",
    )  # fmt: skip
    part = UploadPart(storage.object_key(NAME), upload_id=upload_id, number=1, size_bytes=len(LAST))
    link = provider.sign(part, ttl=timedelta(minutes=1), now=datetime.now(UTC))
    assert link.headers == {}
    assert send(link.url, method="PUT", body=LAST + b"!").status == 403
    assert send(link.url, method="PUT", body=LAST).status == 200
    assert [part.size_bytes for part in parts_of(storage, upload_id)] == [len(LAST)]


@pytest.mark.parametrize("body", [LAST[:-1], LAST + b"x", b""], ids=["shorter", "longer", "empty"])
def test_a_part_of_another_size_is_refused(storage: PrivateGCSStorage, body: bytes) -> None:
    upload_id = storage.objects.begin_parts(NAME, "application/pdf")
    link = link_of(storage, upload_id, 1, LAST)
    assert send(link.url, method="PUT", body=body).status == 403
    assert parts_of(storage, upload_id) == []


def test_a_name_that_is_taken_is_not_overwritten(gcs: CloudStorage, storage: PrivateGCSStorage) -> None:
    upload_id = storage.objects.begin_parts(NAME, "application/pdf")
    put(storage, upload_id, 1, LAST)
    gcs.objects.write(storage.bucket_name, storage.object_key(NAME), b"first")
    with pytest.raises(FileExistsError):
        storage.objects.complete_parts(NAME, upload_id, parts_of(storage, upload_id))
    assert gcs.objects.read(storage.bucket_name, storage.object_key(NAME)) == b"first"


def test_what_is_not_there_cannot_be_joined(storage: PrivateGCSStorage) -> None:
    upload_id = storage.objects.begin_parts(NAME, "application/pdf")
    put(storage, upload_id, 1, LAST)
    put(storage, upload_id, 2, LAST)
    parts = parts_of(storage, upload_id)
    wrong: dict[str, list[ReceivedPart]] = {
        "no part at all": [],
        "a part that did not come": [*parts[:1], replace(parts[0], number=3)],
        "another part under its number": [replace(parts[0], etag="0" * 32)],
        "not in order": parts[::-1],
        "a first part that is too small": parts,
    }
    for named in wrong.values():
        # Without a part it is no request of the documentation; everything else is incomplete.
        with pytest.raises(FileNotFoundError):
            storage.objects.complete_parts(NAME, upload_id, named)
    storage.objects.complete_parts(NAME, upload_id, parts[:1])
    with pytest.raises(FileExistsError):
        storage.objects.complete_parts(NAME, upload_id, parts[:1])


def test_given_up_it_is_gone_and_to_give_it_up_again_is_no_error(storage: PrivateGCSStorage) -> None:
    upload_id = storage.objects.begin_parts(NAME, "application/pdf")
    put(storage, upload_id, 1, LAST)
    for _ in range(2):
        storage.objects.abort_parts(NAME, upload_id)
    assert storage.objects.parts(NAME, upload_id) is None
    with pytest.raises(FileNotFoundError):
        storage.objects.complete_parts(NAME, upload_id, [])


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_more_than_a_page_is_listed(gcs: CloudStorage, storage: PrivateGCSStorage, page_size: int) -> None:
    gcs.uploads.page_size = page_size
    ids = {storage.objects.begin_parts(NAME, "application/pdf") for _ in range(3)}
    other = gcs.uploads.begin(storage.bucket_name, "tenant 10/other")
    found = list(storage.objects.unfinished())
    assert {one.upload_id for one in found} == ids
    assert other not in ids
    assert {one.name for one in found} == {NAME}
    assert all(one.began_at.tzinfo is not None for one in found)
    upload_id = ids.pop()
    for number in (1, 2, 5):
        put(storage, upload_id, number, LAST)
    assert [part.number for part in parts_of(storage, upload_id)] == [1, 2, 5]


@pytest.mark.parametrize("permission", ["create", "listParts", "list", "abort"])
def test_who_may_not_is_told_so(gcs: CloudStorage, storage: PrivateGCSStorage, permission: str) -> None:
    upload_id = storage.objects.begin_parts(NAME, "application/pdf")
    others = {"create", "listParts", "list", "abort"} - {permission}
    token = gcs.new_token("get", *(f"multipart.{other}" for other in others))
    objects = on(
        gcs,
        bucket_name=storage.bucket_name,
        location="tenant 1",
        credentials=Credentials(token),  # type: ignore[no-untyped-call]
    ).objects
    asked: dict[str, Any] = {
        "create": lambda: objects.begin_parts(NAME, "application/pdf"),
        "listParts": lambda: objects.parts(NAME, upload_id),
        "list": lambda: list(objects.unfinished()),
        "abort": lambda: objects.abort_parts(NAME, upload_id),
    }
    with pytest.raises(Forbidden):
        asked[permission]()


class OddSession:
    """Answers with a status and a body, whatever is asked."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status_code, self.content, self.text = status, content, content.decode()
        self.headers: dict[str, str] = {}
        self.request = self

    def __call__(self, method: str, url: str, **options: Any) -> OddSession:
        return self

    def json(self) -> Any:
        raise ValueError

    @property
    def method(self) -> str:
        return "POST"

    url = "https://storage.example"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        pytest.param(200, b"<Error><Code>InternalError</Code></Error>", id="an-error-that-says-200"),
        pytest.param(200, b"", id="nothing"),
        pytest.param(200, b"<html>", id="no-XML"),
        pytest.param(200, b"<InitiateMultipartUploadResult/>", id="without-an-id"),
        pytest.param(302, b"", id="elsewhere"),
        pytest.param(403, b"<Error><Code>AccessDenied</Code></Error>", id="refused"),
    ],
)
def test_no_success_is_taken_for_one_that_is_none(status: int, content: bytes) -> None:
    uploads = MultipartUploads(OddSession(status, content), "https://storage.example/bucket")
    part = ReceivedPart(number=1, size_bytes=1, etag="x")
    for ask in (
        lambda: uploads.complete("k", "id", [part]),
        lambda: uploads.begin("k", "a/b"),
        lambda: uploads.parts("k", "id"),
        lambda: uploads.abort("k", "id"),
        lambda: list(uploads.unfinished("")),
    ):
        with pytest.raises(Exception) as caught:
            ask()
        # Of the library or ours, but neither silence nor "there is none".
        assert not isinstance(caught.value, (FileNotFoundError, TypeError, AttributeError))


def test_what_is_busy_is_asked_again() -> None:
    answers = [OddSession(503, b""), OddSession(429, b""), OddSession(404, b"<Error/>")]

    class Busy(OddSession):
        def __call__(self, method: str, url: str, **options: Any) -> OddSession:
            return answers.pop(0)

    assert MultipartUploads(Busy(0, b""), "https://storage.example/bucket").parts("k", "id") is None
    assert answers == []
