"""django-ninja: schemas of plain models show links, sync and async, and lose no more than a link."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.test import AsyncClient
from ninja.orm import create_schema, factory
from ninja.orm.fields import get_schema_field as its_schema_field
from ninja.schema import DjangoGetter
from pydantic import ValidationError

from gateway.contrib.ninja import get_schema_field, map_fields
from gateway.fields.values import _TOLD
from gateway.models import Issuance
from gateway.principals import acting_as
from tests.gateway.conftest import issuances, new_document
from tests.hostapp.models import Document, Invoice, Leaflet, Photo

pytestmark = pytest.mark.django_db

PRESIGNED = "http://testserver/gateway/local/private/"


@pytest.fixture(autouse=True)
def host(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.hostapp.urls"


def basic(username: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{username}:{username}-password'.encode()).decode()}"}


class TestLists:
    @pytest.mark.parametrize("path", ["documents", "prefetched"])
    def test_a_denied_row_is_null_and_the_others_are_links(self, client: Any, alice: Any, bob: Any, path: str) -> None:
        for owner in (alice, bob, alice):
            new_document(owner)
        Document.objects.create(owner=alice)  # has no file
        client.force_login(alice)
        answer = client.get(f"/ninja/{path}")

        assert answer.status_code == 200
        files = [row["file"] for row in answer.json()]
        assert [file and file.startswith(PRESIGNED) for file in files] == [True, None, True, None]
        assert "no-store" in answer["Cache-Control"]
        assert sorted(row.decision for row in issuances()) == ["issued", "issued", "refused"]

    def test_plain_fields_are_decided_too(self, client: Any, alice: Any) -> None:
        invoice = Invoice(number="1")
        invoice.file.save("a.pdf", ContentFile(b"%PDF"))
        client.force_login(alice)
        assert client.get("/ninja/invoices").json()[0]["file"] is None
        alice.user_permissions.add(Permission.objects.get(codename="view_invoice"))
        assert client.get(client.get("/ninja/invoices").json()[0]["file"]).getvalue() == b"%PDF"

    def test_public_files_stay_as_they_are(self, client: Any, alice: Any) -> None:
        leaflet = Leaflet()
        leaflet.file.save("a.txt", ContentFile(b"hello"))
        client.force_login(alice)
        assert client.get("/ninja/leaflets").json() == [{"id": leaflet.pk, "file": leaflet.file.url}]
        assert not Issuance.objects.exists()

    def test_a_prefetched_page_costs_the_same_whatever_its_length(
        self, client: Any, alice: Any, django_assert_num_queries: Any
    ) -> None:
        client.force_login(alice)
        for number in (2, 20):
            for _ in range(number):
                new_document(alice)
            # session, user, page, what was taken back, decision, audit, what was taken back meanwhile
            with django_assert_num_queries(7):
                rows = client.get("/ninja/prefetched").json()
            assert all(row["file"].startswith(PRESIGNED) for row in rows)


class TestAuthentication:
    def test_whom_it_names_asks(self, client: Any, alice: Any, bob: Any) -> None:
        new_document(alice)
        shown = {name: client.get("/ninja/documents", headers=basic(name)).json() for name in ("alice", "bob")}
        assert shown["bob"][0]["file"] is None
        assert shown["alice"][0]["file"].startswith(PRESIGNED)
        assert {row.principal for row in issuances()} == {f"user:{alice.pk}", f"user:{bob.pk}"}

    def test_whom_it_does_not_know_gets_nothing(self, client: Any, alice: Any) -> None:
        new_document(alice)
        assert client.get("/ninja/documents", headers=basic("mallory")).status_code == 401
        assert not Issuance.objects.exists()


class TestAsync:
    @staticmethod
    def get(path: str) -> Any:
        return async_to_sync(AsyncClient().get)(path, headers=basic("alice"))

    @pytest.fixture(autouse=True)
    def documents(self, alice: Any, bob: Any) -> None:
        for owner in (alice, bob):
            new_document(owner)

    def test_a_prefetched_page_is_shown_in_the_event_loop(self) -> None:
        assert [bool(row["file"]) for row in self.get("/ninja/aprefetched").json()] == [True, False]

    def test_rows_that_were_not_prefetched_are_an_error_and_never_null(self) -> None:
        with pytest.raises(ValidationError, match=r"SyncOnly: .* await \.aurl"):
            self.get("/ninja/adocuments")


class TestSchemas:
    @pytest.mark.parametrize(
        ("model", "name"),
        [
            pytest.param(Document, "file", id="private field"),
            pytest.param(Photo, "image", id="private image"),
            pytest.param(Invoice, "file", id="plain field"),
            pytest.param(Invoice, "scan", id="plain image"),
        ],
    )
    def test_a_link_may_be_of_any_length_or_none(self, model: Any, name: str) -> None:
        schema = create_schema(model, fields=[name], name=f"{model.__name__}{name}")
        described = schema.json_schema()["properties"][name]
        assert described["anyOf"] == [{"type": "string"}, {"type": "null"}]
        assert getattr(schema(**{name: "x" * 5000}), name)

    @pytest.mark.parametrize("name", ["file", "id"])
    def test_of_anything_else_nothing_changes(self, name: str) -> None:
        field = Leaflet._meta.get_field(name)
        ours, its = get_schema_field(field), its_schema_field(field)
        assert ours[0] == its[0]
        assert repr(ours[1]) == repr(its[1])

    def test_mapping_again_changes_nothing(self) -> None:
        before = factory.get_schema_field, dict(_TOLD)
        map_fields()
        assert (factory.get_schema_field, dict(_TOLD)) == before
        assert factory.get_schema_field is get_schema_field

    def test_what_asks_is_the_function_that_was_told(self, alice: Any, bob: Any) -> None:
        """Fails where another version of ninja looks ``url`` up elsewhere: then a refusal would fail the list."""
        document = new_document(alice)
        with acting_as(bob):
            assert DjangoGetter._convert_result(None, document.file) is None  # type: ignore[arg-type]
