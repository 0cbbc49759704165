"""Django REST framework: plain serializers of plain models show links, and lose no more than a link."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, models
from rest_framework import serializers

from gateway.contrib.rest_framework import FileField, ImageField, map_fields
from gateway.errors import AccessDenied, NoPrincipal, StorageUnavailable
from gateway.links import LinkText
from gateway.models import Issuance
from gateway.principals import acting_as
from tests.gateway.conftest import issuances, new_document, request_of
from tests.gateway.images import PNG
from tests.hostapp.models import Document, Invoice, Leaflet, Photo
from tests.hostapp.rest import DocumentSerializer, InvoiceSerializer, LeafletSerializer, PhotoSerializer

pytestmark = pytest.mark.django_db

PRESIGNED = "http://testserver/gateway/local/private/"


@pytest.fixture(autouse=True)
def host(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.hostapp.urls"


def basic(username: str) -> str:
    return f"Basic {base64.b64encode(f'{username}:{username}-password'.encode()).decode()}"


class TestFields:
    @pytest.mark.parametrize(
        ("serializer", "name", "expected"),
        [
            pytest.param(DocumentSerializer, "file", FileField, id="private field"),
            pytest.param(InvoiceSerializer, "file", FileField, id="plain field"),
            pytest.param(InvoiceSerializer, "scan", ImageField, id="plain image"),
            pytest.param(PhotoSerializer, "image", ImageField, id="private image"),
        ],
    )
    def test_a_serializer_of_a_model_has_ours(self, serializer: Any, name: str, expected: type) -> None:
        assert type(serializer().fields[name]) is expected

    def test_a_mapping_of_the_hosts_own_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Own(serializers.FileField):
            pass

        mapping = {models.FileField: Own, models.ImageField: serializers.ImageField}
        monkeypatch.setattr(serializers.ModelSerializer, "serializer_field_mapping", mapping)
        map_fields()
        assert mapping == {models.FileField: Own, models.ImageField: ImageField}

    def test_an_image_that_is_none_is_refused_as_ever(self) -> None:
        given = PhotoSerializer(data={"owner": 1, "image": SimpleUploadedFile("a.png", b"no image")})
        assert not given.is_valid()
        assert [error.code for error in given.errors["image"]] == ["invalid_image"]


class TestLists:
    def test_a_denied_row_is_null_and_the_others_are_links(self, client: Any, alice: Any, bob: Any) -> None:
        for owner in (alice, bob, alice):
            new_document(owner)
        Document.objects.create(owner=alice)  # has no file
        client.force_login(alice)
        answer = client.get("/rest/documents/")

        assert answer.status_code == 200
        files = [row["file"] for row in answer.json()]
        assert [file and file.startswith(PRESIGNED) for file in files] == [True, None, True, None]
        assert "no-store" in answer["Cache-Control"]
        assert sorted(row.decision for row in issuances()) == ["issued", "issued", "refused"]

    def test_nobody_has_a_list_of_nulls(self, client: Any, alice: Any) -> None:
        new_document(alice)
        answer = client.get("/rest/documents/")
        assert (answer.status_code, [row["file"] for row in answer.json()]) == (200, [None])

    def test_plain_fields_are_decided_too(self, client: Any, alice: Any, bob: Any, admin_user: Any) -> None:
        invoice = Invoice(number="1")
        invoice.file.save("a.pdf", ContentFile(b"%PDF"))
        shown = {}
        for user in (bob, admin_user):
            client.force_login(user)
            shown[user.username] = client.get("/rest/invoices/").json()[0]["file"]
        assert shown.pop("bob") is None
        assert client.get(shown["admin"]).getvalue() == b"%PDF"

    def test_public_files_stay_as_they_are(self, client: Any, alice: Any) -> None:
        leaflet = Leaflet()
        leaflet.file.save("a.txt", ContentFile(b"hello"))
        client.force_login(alice)
        (row,) = client.get("/rest/leaflets/").json()
        assert row["file"] == f"http://testserver/leaflets/{leaflet.file.name.rpartition('/')[2]}"
        assert not Issuance.objects.exists()

    def test_authentication_inside_the_view_says_who_asks(self, client: Any, alice: Any, bob: Any) -> None:
        new_document(alice)
        shown = {
            name: client.get("/rest/documents/", headers={"Authorization": basic(name)}).json()[0]["file"]
            for name in ("alice", "bob")
        }
        assert shown["bob"] is None
        assert shown["alice"].startswith(PRESIGNED)
        assert {row.principal for row in issuances()} == {f"user:{alice.pk}", f"user:{bob.pk}"}

    def test_who_asks_is_who_the_view_takes_for_its_user(self, client: Any, alice: Any, bob: Any) -> None:
        new_document(alice)
        client.force_login(alice)
        # The session comes first in these views, so that nobody looks at the header.
        answer = client.get("/rest/documents/", headers={"Authorization": basic("bob")})
        assert answer.json()[0]["file"].startswith(PRESIGNED)
        assert {row.principal for row in issuances()} == {f"user:{alice.pk}"}

    def test_the_browsable_api_shows_the_same_and_issues_once(self, client: Any, alice: Any, bob: Any) -> None:
        mine, others = new_document(alice), new_document(bob)
        client.force_login(alice)
        for path in ("/rest/documents/", f"/rest/documents/{mine.pk}/", f"/rest/documents/{others.pk}/"):
            answer = client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code == 200
            assert answer["Content-Type"].startswith("text/html")
            assert (PRESIGNED in answer.text) is (path != f"/rest/documents/{others.pk}/")
        assert len(issuances(decision="issued")) == 2

    def test_a_prefetched_page_costs_the_same_whatever_its_length(
        self, client: Any, alice: Any, django_assert_num_queries: Any
    ) -> None:
        client.force_login(alice)
        counted = []
        for number in (2, 20):
            for _ in range(number):
                new_document(alice)
            # session, user, count, page, what was taken back, decision, audit, what was taken back meanwhile
            with django_assert_num_queries(8) as queries:
                rows = client.get("/rest/prefetched/").json()["results"]
            counted.append(len(queries))
            assert all(row["file"].startswith(PRESIGNED) for row in rows)
        assert counted == [8, 8]


class TestWrites:
    def test_what_the_writer_may_not_read_is_written_and_null(self, client: Any, alice: Any) -> None:
        client.force_login(alice)
        upload = SimpleUploadedFile("a.pdf", b"%PDF", "application/pdf")
        answer = client.post("/rest/invoices/", {"number": "7", "file": upload})
        assert (answer.status_code, answer.json()["file"]) == (201, None)
        invoice = Invoice.objects.get()
        with invoice.file.open() as stored:
            assert (invoice.number, stored.read()) == ("7", b"%PDF")

    def test_a_write_in_the_transaction_of_its_request_stays(
        self, client: Any, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # DRF rolls back where an exception left the view, and answers 403.
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        document = new_document(bob)
        client.force_login(alice)
        answer = client.patch(f"/rest/documents/{document.pk}/", {"title": "new"}, content_type="application/json")
        assert (answer.status_code, answer.json()["file"]) == (200, None)
        document.refresh_from_db()
        assert document.title == "new"

    def test_an_image_is_written_and_shown(self, client: Any, alice: Any) -> None:
        client.force_login(alice)
        answer = client.post("/rest/photos/", {"owner": alice.pk, "image": SimpleUploadedFile("a.png", PNG)})
        assert answer.status_code == 201, answer.content
        assert client.get(answer.json()["image"]).getvalue() == PNG
        assert Photo.objects.get().width == 1


class TestRepresentation:
    def test_without_a_request_it_is_the_link_as_it_is(self, alice: Any) -> None:
        document = new_document(alice)
        with acting_as(alice):
            assert isinstance(DocumentSerializer(document).data["file"], LinkText)

    def test_nobody_asking_is_an_error_and_never_null(self, alice: Any) -> None:
        document = new_document(alice)
        with pytest.raises(NoPrincipal):
            _ = DocumentSerializer(document).data

    def test_a_storage_that_cannot_sign_is_an_error_and_never_null(self, alice: Any, settings: Any) -> None:
        document = new_document(alice)
        settings.SECRET_KEY = "short"
        with acting_as(alice), pytest.raises(StorageUnavailable):
            _ = DocumentSerializer(document).data

    def test_a_relative_link_is_made_absolute_and_stays_no_plain_text(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": ""}
        document = new_document(alice)
        with request_of(alice) as lease:
            link = DocumentSerializer(document, context={"request": lease.request}).data["file"]
        assert link.startswith(PRESIGNED)
        assert isinstance(link, LinkText)

    def test_names_are_shown_where_the_project_shows_names(self, alice: Any) -> None:
        class Named(serializers.ModelSerializer):
            class Meta:
                model = Document
                fields = ["file"]
                extra_kwargs = {"file": {"use_url": False}}

        document = new_document(alice)
        assert Named(document).data["file"] == document.file.name

    def test_a_declared_field_is_what_it_is_declared_as(self, alice: Any, bob: Any) -> None:
        class Declared(serializers.ModelSerializer):
            ours = FileField(source="file", read_only=True)
            kept = serializers.CharField(source="file.permalink", read_only=True)

            class Meta:
                model = Document
                fields = ["ours", "kept"]

        class Strict(serializers.ModelSerializer):
            file = serializers.FileField()

            class Meta:
                model = Document
                fields = ["file"]

        document = new_document(alice)
        with acting_as(bob):
            kept = f"http://testserver/gateway/f/hostapp.document:{document.pk}:file"
            assert Declared(document).data == {"ours": None, "kept": kept}
            with pytest.raises(AccessDenied):
                _ = Strict(document).data
        with acting_as(alice):
            assert Declared(document).data["ours"].startswith(PRESIGNED)

    def test_lists_of_public_files_need_nobody(self) -> None:
        leaflet = Leaflet()
        leaflet.file.save("a.txt", ContentFile(b"hello"))
        assert LeafletSerializer(leaflet).data["file"].startswith("/leaflets/")
