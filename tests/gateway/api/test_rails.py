"""``/rails/direct_uploads``: what ``@rails/activestorage`` sends and needs, on every kind of store."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from django.urls import include, path

from gateway import links, uploads
from gateway.errors import AccessDenied, ChecksumMismatch, NotUploaded, UploadRejected
from gateway.models import File, Issuance, UploadSession
from gateway.resources import Resource
from tests.gateway.api.support import CSRF, by_session, by_token
from tests.gateway.link_stores import Store
from tests.gateway.opened_stores import open_store, serve_from
from tests.gateway.uploads.conftest import PDF, principal_of
from tests.hostapp.models import Scan

pytestmark = pytest.mark.django_db

ADDRESS = "/rails/direct_uploads"
urlpatterns = [path("prefix/gateway/", include("gateway.urls"))]


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def blob(content: bytes = PDF, **fields: Any) -> dict[str, Any]:
    values = {"filename": "scan.pdf", "content_type": "application/pdf", "byte_size": len(content)}
    return {"blob": values | {"checksum": md5(content)} | fields}


def begun(client: Any, address: str = ADDRESS, content: bytes = PDF, **fields: Any) -> Any:
    response = client.send(address, blob(content, **fields))
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture(scope="module", params=["local", "ceph", "gcs", "azure", "azure-delegated"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def store(opened: Store, request: pytest.FixtureRequest, settings: Any) -> Store:
    return serve_from(opened, request, settings, FILE_STORAGE=opened.alias)


def put(store: Store, answer: Any, content: bytes) -> int:
    link = answer["direct_upload"]
    return store.send(link["url"], method="PUT", headers=link["headers"], body=content).status


class TestStores:
    def test_what_the_form_posts_becomes_a_file(self, store: Store, alice: Any) -> None:
        answer = begun(by_session(alice))
        with pytest.raises(NotUploaded):
            uploads.redeem(principal_of(alice), answer["signed_id"])
        assert put(store, answer, PDF) in (200, 201, 204)
        for _ in range(2):
            finalized = uploads.redeem(principal_of(alice), answer["signed_id"])
        assert finalized.reference == str(File.objects.get().pk)
        link = links.issue(principal_of(alice), Resource.of_file(File.objects.get()))
        assert store.send(link.url).body == PDF

    def test_other_bytes_of_the_same_size_never_become_a_file(self, store: Store, alice: Any) -> None:
        answer = begun(by_session(alice))
        is_refused = put(store, answer, PDF[:-1] + b"y") == 400
        # The directory knows no MD5: finalize reads the bytes there.
        assert is_refused == (store.alias != "local")
        with pytest.raises(NotUploaded if is_refused else ChecksumMismatch):
            uploads.redeem(principal_of(alice), answer["signed_id"])
        assert not File.objects.exists()

    def test_a_store_that_looked_away_is_not_believed(self, store: Store, alice: Any) -> None:
        answer = begun(by_session(alice))
        store.put(UploadSession.objects.get().key, PDF[:-1] + b"y")
        with pytest.raises(UploadRejected):
            uploads.redeem(principal_of(alice), answer["signed_id"])
        assert not File.objects.exists()


def test_the_answer_is_what_the_script_reads(alice: Any) -> None:
    answer = begun(by_session(alice))
    session = UploadSession.objects.get()
    assert set(answer) == {
        "id", "key", "filename", "content_type", "byte_size", "checksum", "signed_id", "direct_upload",
    }  # fmt: skip
    assert answer["key"] == session.pk
    assert session.key not in json.dumps({name: value for name, value in answer.items() if name != "direct_upload"})
    assert answer["direct_upload"]["headers"]["Content-Type"] == "application/pdf"
    assert (session.md5, session.sha256) == (hashlib.md5(PDF).hexdigest(), "")


def test_the_token_of_the_page_goes_by_the_name_that_rails_has_for_it(alice: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    client.cookies["csrftoken"] = CSRF
    statuses = [
        client.post(ADDRESS, blob(), content_type="application/json", headers={"X-CSRF-Token": token}).status_code
        for token in (CSRF, "d" * 32)
    ]
    assert statuses == [200, 403]
    assert client.post(ADDRESS, blob(), content_type="application/json").status_code == 403


REFUSED: dict[str, tuple[dict[str, Any], str, int]] = {
    "no MD5": ({"checksum": base64.b64encode(b"x" * 15).decode()}, "", 400),
    "a checksum that is no base64": ({"checksum": "é" * 24}, "", 400),
    "a size in words": ({"byte_size": "130"}, "", 400),
    "too large": ({"byte_size": 5 * 2**30 + 1}, "", 413),
    "a type in capitals": ({"content_type": "Application/PDF"}, "", 400),
    "a key of the client's": ({"key": "uploads/mine.pdf"}, "", 400),
    "a query nobody knows": ({}, "?key=uploads/mine.pdf", 400),
    "no reference": ({}, "?target=x", 400),
    "an empty reference": ({}, "?target=", 400),
    "no such row": ({}, "?target=hostapp.scan:0:file", 404),
    "a field that takes no uploads": ({}, "?target=hostapp.document:1:file", 404),
}


@pytest.mark.parametrize(("fields", "query", "status"), REFUSED.values(), ids=REFUSED)
def test_refusals(alice: Any, fields: dict[str, Any], query: str, status: int) -> None:
    answer = by_session(alice).send(ADDRESS + query, blob(**fields))
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert not UploadSession.objects.exists()


def test_nobody_and_strangers_get_nothing(alice: Any, bob: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    assert Client().post(ADDRESS, blob(), content_type="application/json").status_code == 401
    assert by_token(alice, "Download").send(ADDRESS, blob()).status_code == 404
    assert by_session(bob).send(f"{ADDRESS}?target=hostapp.scan:{scan.pk}:file", blob()).status_code == 404
    assert by_session(alice).get(ADDRESS).status_code == 405
    assert not UploadSession.objects.exists()
    assert not Issuance.objects.filter(decision="issued").exists()


def test_it_goes_into_the_field_that_the_form_is_about_and_nowhere_else(alice: Any, bob: Any) -> None:
    scan, other = (Scan.objects.create(owner=alice) for _ in range(2))
    target = f"hostapp.scan:{scan.pk}:file"
    answer = begun(by_session(alice), f"{ADDRESS}?target={target}")
    signed_id = answer["signed_id"]
    storage: Any = storages["private"]
    storage._save(UploadSession.objects.get().key, ContentFile(PDF))
    for user, place, value in (
        (bob, target, signed_id),
        (alice, f"hostapp.scan:{other.pk}:file", signed_id),
        (alice, "", signed_id),
        (alice, target, signed_id[:-1]),
        (alice, target, ""),
        (alice, target, signing.dumps([answer["id"], f"user:{alice.pk}", target], salt="another")),
    ):
        with pytest.raises(AccessDenied):
            uploads.redeem(principal_of(user), value, target=place)
    assert UploadSession.objects.get().state == "issued"
    assert uploads.redeem(principal_of(alice), signed_id, target=target).reference == target
    scan.refresh_from_db()
    with scan.file.open() as file:
        assert file.read() == PDF
    assert not other.file


def test_a_signed_id_dies_with_its_upload(alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = begun(by_session(alice))
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 24 * 3600 + 60)
    with pytest.raises(AccessDenied) as denied:
        uploads.redeem(principal_of(alice), answer["signed_id"])
    assert "too old" in denied.value.reason


@pytest.mark.urls("tests.gateway.api.test_rails")
def test_a_host_project_has_fields_alone(alice: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    client = by_session(alice)
    assert client.send(f"/prefix/gateway{ADDRESS}", blob()).status_code == 400
    begun(client, f"/prefix/gateway{ADDRESS}?target=hostapp.scan:{scan.pk}:file")
