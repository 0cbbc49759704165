"""``/uppy/{grant}/s3/…``: what ``@uppy/aws-s3`` sends and needs. test_browsers.py drives the stock client itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import signing
from django.template import Context, Template
from django.test import Client
from django.urls import include, path

from gateway import links, uploads
from gateway.models import File, Issuance, UploadSession
from gateway.resources import Resource
from gateway.storages.local_objects import LocalObjects
from gateway.uploads.later import verify_now
from tests.gateway.api.support import by_token
from tests.gateway.conftest import request_of
from tests.gateway.link_stores import LocalStore, Store
from tests.gateway.opened_stores import open_store, serve_from
from tests.gateway.uploads.conftest import PDF, principal_of
from tests.hostapp.models import Scan

pytestmark = pytest.mark.django_db

MIB = 2**20
LARGE = PDF + b"x" * (5 * MIB)
urlpatterns = [path("prefix/gateway/", include("gateway.urls"))]


class Uppy:
    """A browser of somebody who is logged in, with a page for Uppy: it sends no token and no header of its own."""

    def __init__(self, user: Any, target: str = "", *, endpoint: str | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(user)
        self.base = f"{endpoint or uploads.uppy_endpoint(principal_of(user), target)}/s3"

    def params(self, content: bytes = PDF, **fields: str) -> Any:
        query = {"filename": "scan.pdf", "type": "application/pdf", "metadata[size]": str(len(content))} | fields
        return self.client.get(f"{self.base}/params", query)

    def create(self, content: bytes = PDF, **fields: Any) -> Any:
        metadata = {"name": "scan.pdf", "type": "application/pdf", "relativePath": None, "size": len(content)}
        wish = {"filename": "scan.pdf", "type": "application/pdf", "metadata": metadata} | fields
        return self.post("multipart", wish)

    def post(self, address: str, body: Any) -> Any:
        return self.client.post(f"{self.base}/{address}", json.dumps(body), content_type="application/json")

    def begun(self, content: bytes = PDF) -> str:
        answer = self.create(content)
        assert answer.status_code == 200, answer.content
        assert set(answer.json()) == {"key", "uploadId"}
        return str(answer.json()["uploadId"])

    def sign(self, upload_id: str, number: int, key: str | None = None) -> Any:
        return self.client.get(f"{self.base}/multipart/{upload_id}/{number}", {"key": key or upload_id})

    def listed(self, upload_id: str) -> Any:
        return self.client.get(f"{self.base}/multipart/{upload_id}", {"key": upload_id})

    def complete(self, upload_id: str, parts: int = 1) -> Any:
        said = [{"PartNumber": number, "ETag": "whatever"} for number in range(1, parts + 1)]
        return self.post(f"multipart/{upload_id}/complete?key={upload_id}", {"parts": said})

    def abort(self, upload_id: str) -> Any:
        return self.client.delete(f"{self.base}/multipart/{upload_id}?key={upload_id}")


@pytest.fixture(scope="module", params=["local", "ceph", "gcs", "azure"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def store(opened: Store, request: pytest.FixtureRequest, settings: Any) -> Store:
    return serve_from(opened, request, settings, FILE_STORAGE=opened.alias)


def put(store: Store, answer: Any, content: bytes) -> int:
    body = answer.json()
    assert body["method"] == "PUT"
    return store.send(body["url"], method="PUT", headers=body["headers"], body=content).status


def fetched(store: Store, user: Any) -> bytes:
    return store.send(links.issue(principal_of(user), Resource.of_file(File.objects.get())).url).body


def test_one_request(store: Store, alice: Any) -> None:
    answer = Uppy(alice).params()
    assert put(store, answer, PDF) in (200, 201)
    assert not File.objects.exists(), "nothing is ready before it was verified"
    key = answer.json()["fields"]["key"]
    finalized = by_token(alice).send(f"/api/v1/uploads/{key}/finalize", {})
    assert finalized.status_code == 200
    assert fetched(store, alice) == PDF


class TestParts:
    def test_they_become_a_file(self, store: Store, alice: Any) -> None:
        uppy = Uppy(alice)
        upload = uppy.begun(LARGE)
        assert uppy.listed(upload).json() == []
        assert put(store, uppy.sign(upload, 2), LARGE[5 * MIB :]) in (200, 201)
        assert [(part["PartNumber"], part["Size"]) for part in uppy.listed(upload).json()] == [(2, len(PDF))]
        early = uppy.complete(upload, 2)
        assert (early.status_code, early.json()["code"]) == (409, "not_uploaded")
        assert put(store, uppy.sign(upload, 1), LARGE[: 5 * MIB]) in (200, 201)
        assert all(part["ETag"].strip('"') for part in uppy.listed(upload).json())
        for _ in range(2):
            done = uppy.complete(upload, 2)
        file = File.objects.get()
        assert done.json() == {"location": f"http://testserver/f/{file.pk}", "key": upload, "file": str(file.pk)} | (
            {"location": f"{store.public_url}/f/{file.pk}"} if isinstance(store, LocalStore) else {}
        )
        assert fetched(store, alice) == LARGE

    def test_a_part_of_another_size_than_uppy_makes_is_refused(self, store: Store, alice: Any) -> None:
        uppy = Uppy(alice)
        upload = uppy.begun(LARGE)
        assert put(store, uppy.sign(upload, 1), LARGE[: 5 * MIB + 1]) in (400, 403, 413)
        assert uppy.listed(upload).json() == []

    def test_given_up(self, store: Store, alice: Any) -> None:
        uppy = Uppy(alice)
        upload = uppy.begun(LARGE)
        part = uppy.sign(upload, 2)
        for _ in range(2):
            assert (uppy.abort(upload).status_code, uppy.abort(upload).json()) == (200, {})
        assert put(store, part, LARGE[5 * MIB :]) == 404
        assert uppy.sign(upload, 1).status_code == uppy.complete(upload).status_code == 410


def test_a_store_without_parts_says_so(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # No storage of ours is one; a project's own may be.
    for name in ("begin_parts", "complete_parts"):
        monkeypatch.delattr(LocalObjects, name)
    answer = Uppy(alice).create()
    assert answer.status_code == 400
    assert answer.json()["message"] == "strategy is multipart; this storage takes no parts"


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no size": ({"metadata": {}}, 400),
    "a size in words": ({"metadata": {"size": "many"}}, 400),
    "a negative size": ({"metadata": {"size": -1}}, 400),
    "a size that is true": ({"metadata": {"size": True}}, 400),
    "an empty file": ({"metadata": {"size": 0}}, 400),
    "too large": ({"metadata": {"size": 5 * 2**30 + 1}}, 413),
    "no name": ({"filename": ""}, 400),
    "a type in capitals": ({"type": "Application/PDF"}, 400),
    "a key of the client's": ({"key": "uploads/mine.pdf"}, 400),
    "a bucket of the client's": ({"bucket": "mine"}, 400),
}


@pytest.mark.parametrize(("fields", "status"), REFUSED.values(), ids=REFUSED)
def test_refusals(alice: Any, fields: dict[str, Any], status: int) -> None:
    answer = Uppy(alice).create(**fields)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["message"] == answer.json()["detail"]
    assert answer.reason_phrase == answer.json()["title"]
    assert not UploadSession.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"metadata[size]": ""}, id="no-size"),
        pytest.param({"metadata[size]": "１３０"}, id="digits-of-another-script"),
        pytest.param({"key": "uploads/mine.pdf"}, id="a-key"),
        pytest.param({"metadata": "1"}, id="metadata-that-is-text"),
    ],
)
def test_refusals_of_a_query(alice: Any, fields: dict[str, str]) -> None:
    assert Uppy(alice).params(**fields).status_code == 400
    assert not UploadSession.objects.exists()


def test_an_address_opens_nothing_to_anybody_else(alice: Any, bob: Any) -> None:
    endpoint = uploads.uppy_endpoint(principal_of(alice))
    upload = Uppy(alice).begun()
    stranger = Uppy(bob, endpoint=endpoint)
    own = Uppy(bob)
    assert [stranger.create().status_code, stranger.params().status_code] == [404, 404]
    for uppy in (stranger, own):
        assert [
            uppy.sign(upload, 1).status_code, uppy.listed(upload).status_code, uppy.complete(upload).status_code,
            uppy.abort(upload).status_code,
        ] == [404] * 4  # fmt: skip
    nobody = Client().post(f"{endpoint}/s3/multipart", "{}", content_type="application/json")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "not_authenticated")
    assert UploadSession.objects.get().state == "issued"


def test_an_address_that_was_not_made_here_is_none(alice: Any) -> None:
    forged = signing.dumps([f"user:{alice.pk}", ""], salt="another")
    for grant in (forged, uploads.uppy_endpoint(principal_of(alice)).rpartition("/")[2][:-1], "x"):
        uppy = Uppy(alice, endpoint=f"/uppy/{grant}")
        assert [uppy.create().status_code, uppy.params().status_code] == [404, 404]
    assert not UploadSession.objects.exists()


@pytest.mark.parametrize(("site", "status"), [("same-origin", 200), ("same-site", 404), ("cross-site", 404)])
def test_only_a_page_of_the_same_origin_is_answered(alice: Any, site: str, status: int) -> None:
    uppy = Uppy(alice)
    uppy.client.defaults["HTTP_SEC_FETCH_SITE"] = site
    assert uppy.create().status_code == status


def test_a_token_needs_its_scopes(alice: Any) -> None:
    base = uploads.uppy_endpoint(principal_of(alice))
    wish = {"filename": "a.pdf", "type": "application/pdf", "metadata": {"size": 7}}
    for scopes, status in ((["Upload"], 404), (["Upload", "UploadPart"], 200)):
        assert by_token(alice, *scopes).send(f"{base}/s3/multipart", wish).status_code == status


def test_it_goes_into_the_field_of_the_address(alice: Any, bob: Any, settings: Any) -> None:
    scan, other = (Scan.objects.create(owner=alice) for _ in range(2))
    with request_of(alice):
        template = Template("{% load gateway %}{% uppy_endpoint scan.file as endpoint %}{{ endpoint }}")
        uppy = Uppy(alice, endpoint=template.render(Context({"scan": scan})))
    upload = uppy.begun()
    elsewhere = Uppy(alice, f"hostapp.scan:{other.pk}:file")
    assert elsewhere.sign(upload, 1).status_code == elsewhere.complete(upload).status_code == 404
    link = uppy.sign(upload, 1).json()
    assert Client().put(link["url"], PDF, headers=link["headers"]).status_code == 201
    # Decided again at each step.
    Scan.objects.filter(pk=scan.pk).update(owner=bob)
    assert uppy.complete(upload).status_code == uppy.sign(upload, 1).status_code == 404
    Scan.objects.filter(pk=scan.pk).update(owner=alice)
    assert uppy.complete(upload).json()["file"] == f"hostapp.scan:{scan.pk}:file"
    scan.refresh_from_db()
    with scan.file.open() as file:
        assert file.read() == PDF
    assert Uppy(bob, f"hostapp.scan:{scan.pk}:file").create().status_code == 404
    too_large = uppy.create(PDF * 100)
    assert (too_large.status_code, too_large.reason_phrase) == (413, too_large.json()["title"])


def test_what_a_task_verifies_has_no_location_yet(alice: Any, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}
    settings.GATEWAY = settings.GATEWAY | {"VERIFY_LATER_BYTES": 0}
    uppy = Uppy(alice)
    upload = uppy.begun()
    link = uppy.sign(upload, 1).json()
    assert Client().put(link["url"], PDF, headers=link["headers"]).status_code == 201
    assert uppy.complete(upload).json() == {"location": None, "key": upload, "file": None}
    assert not File.objects.exists()
    assert verify_now(upload) == "ready"
    assert uppy.complete(upload).json()["file"] == str(File.objects.get().pk)


@pytest.mark.parametrize("number", [0, 3, 10_000])
def test_a_part_that_is_not_planned_is_none(alice: Any, number: int) -> None:
    uppy = Uppy(alice)
    upload = uppy.begun(LARGE)
    assert uppy.sign(upload, number).status_code == 400
    assert uppy.sign(upload, 1, key="uploads/mine.pdf").status_code == 404
    assert Issuance.objects.filter(decision="issued").count() == 0


@pytest.mark.urls("tests.gateway.api.test_uppy")
def test_a_host_project_has_fields_alone(alice: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    assert Uppy(alice).create().status_code == 400
    uppy = Uppy(alice, f"hostapp.scan:{scan.pk}:file")
    assert uppy.base.startswith("/prefix/gateway/uppy/")
    assert uppy.create().status_code == 200
