"""The admin: a host's plain ModelAdmin shows permalinks and never fails, and our own rows are only looked at."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.utils import display_for_field
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from gateway.models import ApiToken, FileState, Issuance
from gateway.outbox import enqueue
from gateway.principals import acting_as
from tests.gateway.conftest import new_document, new_file
from tests.gateway.images import PNG
from tests.hostapp.models import Document, Invoice, Minutes, Photo, Project

pytestmark = pytest.mark.django_db

DIGEST = "0123456789abcdef" * 4
ORIGIN = "http://testserver/gateway/f/"


@pytest.fixture(autouse=True)
def host(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.hostapp.urls"


@pytest.fixture
def staff(bob: Any, client: Any) -> Any:
    """May edit every row of the host, and read no file: no policy names bob, and he may not *view*."""
    bob.is_staff = True
    bob.save()
    names = [f"{verb}_{model}" for verb in ("add", "change") for model in ("document", "invoice", "photo", "project")]
    names += ["change_minutes"]
    bob.user_permissions.set(Permission.objects.filter(codename__in=names, content_type__app_label="hostapp"))
    client.force_login(bob)
    return bob


@pytest.fixture
def rows(alice: Any) -> dict[str, Any]:
    """Make a row of alice's for every kind of field."""
    invoice = Invoice(number="1")
    invoice.file.save("a.pdf", ContentFile(b"%PDF"))
    invoice.scan.save("a.png", ContentFile(PNG))
    photo = Photo(owner=alice)
    photo.image.save("a.png", ContentFile(PNG))
    project = Project.objects.create(name="one")
    minutes = Minutes(project=project)
    minutes.file.save("a.pdf", ContentFile(b"%PDF"))
    document = new_document(alice)
    return {"document": document, "invoice": invoice, "photo": photo, "project": project, "minutes": minutes}


# Which files each page has.
SHOWN = {
    "document": ["document:{document.pk}:file"],
    "invoice": ["invoice:{invoice.pk}:file", "invoice:{invoice.pk}:scan"],
    "photo": ["photo:{photo.pk}:image"],
}


class TestHost:
    @pytest.mark.parametrize("model", SHOWN)
    def test_a_list_shows_permalinks_to_staff_that_is_denied(
        self, client: Any, staff: Any, rows: dict[str, Any], model: str
    ) -> None:
        answer = client.get(f"/admin/hostapp/{model}/")
        assert answer.status_code == 200
        for name in SHOWN[model]:
            assert f'href="{ORIGIN}hostapp.{name.format(**rows)}"' in answer.text
        assert not Issuance.objects.exists()

    @pytest.mark.parametrize(
        ("model", "shown"), [*SHOWN.items(), ("project", ["minutes:{minutes.pk}:file"])], ids=[*SHOWN, "inline"]
    )
    def test_a_change_page_shows_permalinks_to_staff_that_is_denied(
        self, client: Any, staff: Any, rows: dict[str, Any], model: str, shown: list[str]
    ) -> None:
        # The invoice's scan is a read-only field.
        answer = client.get(f"/admin/hostapp/{model}/{rows[model].pk}/change/")
        assert answer.status_code == 200
        for name in shown:
            assert f'href="{ORIGIN}hostapp.{name.format(**rows)}"' in answer.text
        assert not Issuance.objects.exists()

    @pytest.mark.parametrize("model", SHOWN)
    def test_staff_that_may_only_look_sees_permalinks(
        self, client: Any, staff: Any, rows: dict[str, Any], model: str, settings: Any
    ) -> None:
        # Model permissions decide about the plain fields, so that staff may read those; no page asks all the same.
        staff.user_permissions.set(Permission.objects.filter(codename=f"view_{model}"))
        answer = client.get(f"/admin/hostapp/{model}/{rows[model].pk}/change/")
        assert answer.status_code == 200
        for name in SHOWN[model]:
            assert f'<a href="{ORIGIN}hostapp.{name.format(**rows)}"' in answer.text
        assert not Issuance.objects.exists()

    @pytest.mark.parametrize("model", SHOWN)
    def test_rows_without_a_file_and_new_rows_are_shown(self, client: Any, staff: Any, alice: Any, model: str) -> None:
        if model == "photo":
            Photo.objects.create(owner=alice)
        else:
            (Document if model == "document" else Invoice).objects.create()
        assert client.get(f"/admin/hostapp/{model}/").status_code == 200
        answer = client.get(f"/admin/hostapp/{model}/add/")
        assert answer.status_code == 200
        assert ORIGIN not in answer.text

    def test_staff_that_is_denied_can_save(self, client: Any, staff: Any, rows: dict[str, Any]) -> None:
        invoice = rows["invoice"]
        answer = client.post(
            f"/admin/hostapp/invoice/{invoice.pk}/change/",
            {"number": "2", "file": SimpleUploadedFile("b.pdf", b"new")},
        )
        assert answer.status_code == 302
        invoice.refresh_from_db()
        assert (invoice.number, invoice.file.name.endswith("/b.pdf")) == ("2", True)
        answer = client.post(f"/admin/hostapp/document/{rows['document'].pk}/change/", {"title": "x" * 51})
        assert answer.status_code == 200
        assert f"{ORIGIN}hostapp.document:{rows['document'].pk}:file" in answer.text

    def test_its_permalink_decides_when_it_is_followed(
        self, client: Any, staff: Any, alice: Any, rows: dict[str, Any]
    ) -> None:
        link = rows["photo"].image.permalink
        assert client.get(link).status_code == 404
        client.force_login(alice)
        assert client.get(client.get(link)["Location"]).getvalue() == PNG

    def test_what_shows_a_value_is_the_function_that_was_told(self, rows: dict[str, Any], bob: Any) -> None:
        """Fails where another version of Django looks ``url`` up elsewhere: then a refusal would fail the page."""
        document = rows["document"]
        with acting_as(bob):
            shown = display_for_field(document.file, Document._meta.get_field("file"), "-")
        assert shown.startswith(f'<a href="{ORIGIN}hostapp.document:{document.pk}:file">')


MODELS = ["file", "apitoken", "issuance", "objectdeletion", "externalidentity"]


class TestOurRows:
    @pytest.fixture(autouse=True)
    def something(self, alice: Any, admin_client: Any) -> None:
        new_file(alice)
        ApiToken.objects.create(name="t", user=alice, digest=DIGEST, scopes=[], expires_at=timezone.now())
        document = new_document(alice)
        with acting_as(alice):
            _ = document.file.url
        enqueue("private", "uploads/gone.pdf")

    @pytest.mark.parametrize("model", MODELS)
    def test_lists_can_be_looked_at_and_searched(self, admin_client: Any, model: str) -> None:
        for query in ("", "?q=report", "?q=0b0d6a3e-9f7e-4f0e-9d0c-000000000000", "?q=%00"):
            answer = admin_client.get(f"/admin/presign_gateway/{model}/{query}")
            assert answer.status_code == 200, query

    @pytest.mark.parametrize("model", [model for model in MODELS if model != "externalidentity"])
    def test_nobody_adds_or_changes_one(self, admin_client: Any, model: str) -> None:
        admin = f"/admin/presign_gateway/{model}/"
        row = apps.get_model("presign_gateway", model)._default_manager.first()
        assert row is not None
        answer = admin_client.get(f"{admin}{row.pk}/change/")
        assert answer.status_code == 200
        assert 'name="_save"' not in answer.text
        assert DIGEST not in answer.text
        # To delete a token is to revoke it.
        deleted = 302 if model == "apitoken" else 403
        assert admin_client.get(f"{admin}add/").status_code == 403
        assert admin_client.post(f"{admin}{row.pk}/change/", {"name": "x"}).status_code == 403
        assert admin_client.post(f"{admin}{row.pk}/delete/", {"post": "yes"}).status_code == deleted

    @pytest.mark.parametrize("view", ["change", "delete", "history"])
    @pytest.mark.parametrize("model", [*MODELS, "grant", "epoch"])
    def test_who_may_see_no_row_is_not_told_whether_there_is_one(
        self, client: Any, bob: Any, model: str, view: str
    ) -> None:
        bob.is_staff = True
        bob.save()
        client.force_login(bob)
        row = apps.get_model("presign_gateway", model)._default_manager.first()
        keys = ["0", str(uuid.uuid4()), *([] if row is None else [row.pk])]
        answers = [client.get(f"/admin/presign_gateway/{model}/{key}/{view}/") for key in keys]
        assert {(answer.status_code, answer.content) for answer in answers} == {(403, answers[0].content)}

    @pytest.mark.parametrize("state", FileState.values)
    def test_a_file_is_shown_by_its_permalink_once_it_is_ready(self, admin_client: Any, alice: Any, state: str) -> None:
        file = new_file(alice, state=state)
        answer = admin_client.get(f"/admin/presign_gateway/file/{file.pk}/change/")
        assert (f'href="{ORIGIN}{file.pk}"' in answer.text) is (state == FileState.READY)
        assert Issuance.objects.count() == 1  # the one that stood there before
