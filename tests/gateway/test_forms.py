"""Forms: a stored private file is shown by its permalink, for which nobody is asked."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from django import forms
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms import inlineformset_factory, modelform_factory, modelformset_factory

from gateway.forms import show_permalinks
from gateway.models import Issuance
from tests.gateway.conftest import new_document, request_of
from tests.gateway.images import PNG
from tests.hostapp.models import Document, Invoice, Leaflet, Minutes, Photo, Project

pytestmark = pytest.mark.django_db

DocumentForm = modelform_factory(Document, fields=["owner", "title", "file"])
InvoiceForm = modelform_factory(Invoice, fields="__all__")


class OwnWidget(forms.ClearableFileInput):
    template_name = "django/forms/widgets/clearable_file_input.html"


class DeclaredForm(forms.ModelForm):
    file = forms.FileField(widget=OwnWidget)

    class Meta:
        model = Document
        fields = ["file"]


class DisabledForm(forms.ModelForm):
    file = forms.FileField(disabled=True)

    class Meta:
        model = Document
        fields = ["file"]


def permalink(document: Document) -> str:
    return f'href="http://testserver/f/hostapp.document:{document.pk}:file"'


@pytest.mark.parametrize("form", [DocumentForm, DeclaredForm, DisabledForm], ids=lambda form: form.__name__)
def test_a_stored_file_is_shown_by_its_permalink(alice: Any, bob: Any, form: Any) -> None:
    document = new_document(alice)
    for user in (alice, bob, None):
        with request_of(user):
            assert permalink(document) in form(instance=document).as_p()
    # Nor does it need anybody who asks.
    assert permalink(document) in form(instance=document).as_p()
    assert not Issuance.objects.exists()


def test_plain_fields_and_images_are_shown_so_too(alice: Any) -> None:
    invoice = Invoice(number="1")
    invoice.file.save("a.pdf", ContentFile(b"%PDF"))
    invoice.scan.save("a.png", ContentFile(PNG))
    shown = InvoiceForm(instance=invoice).as_p()
    for name in ("file", "scan"):
        assert f'href="http://testserver/f/hostapp.invoice:{invoice.pk}:{name}"' in shown
    photo = Photo(owner=alice)
    photo.image.save("a.png", ContentFile(PNG))
    form = modelform_factory(Photo, fields=["image"])(instance=photo)
    assert f'href="http://testserver/f/hostapp.photo:{photo.pk}:image"' in form.as_p()
    assert not Issuance.objects.exists()


def test_formsets_show_the_same(alice: Any) -> None:
    document = new_document(alice)
    assert permalink(document) in modelformset_factory(Document, fields=["file"], extra=1)().as_p()
    project = Project.objects.create(name="one")
    minutes = Minutes(project=project)
    minutes.file.save("a.pdf", ContentFile(b"%PDF"))
    inline = inlineformset_factory(Project, Minutes, fields=["file"])(instance=project)
    assert f"/f/hostapp.minutes:{minutes.pk}:file" in inline.as_p()


def test_a_form_that_is_shown_again_still_shows_what_is_stored(alice: Any) -> None:
    document = new_document(alice)
    form = DocumentForm(
        {"title": "x" * 51}, {"file": SimpleUploadedFile("b.pdf", b"%PDF")}, instance=document
    )  # fmt: skip
    assert not form.is_valid()
    assert permalink(document) in form.as_p()


def test_nothing_is_shown_of_a_row_that_is_not_saved(alice: Any) -> None:
    document = Document(owner=alice)
    document.file.save("a.pdf", ContentFile(b"%PDF"), save=False)
    assert "href" not in DocumentForm(instance=document).as_p()
    assert "href" not in DocumentForm().as_p()


def test_a_file_can_be_kept_replaced_and_cleared(alice: Any) -> None:
    document = new_document(alice)
    key = document.file.name
    data = {"owner": alice.pk, "title": "t"}
    DocumentForm(data, instance=document).save()
    assert Document.objects.get().file.name == key
    DocumentForm(data, {"file": SimpleUploadedFile("b.pdf", b"new")}, instance=document).save()
    assert Document.objects.get().file.name.endswith("/b.pdf")
    DocumentForm(data | {"file-clear": "on"}, instance=document).save()
    assert not Document.objects.get().file


def test_a_disabled_field_keeps_its_file(alice: Any) -> None:
    document = Document(owner=alice)
    document.file.save("a.pdf", ContentFile(b"%PDF"))
    form = DisabledForm({}, {"file": SimpleUploadedFile("b.pdf", b"new")}, instance=document)
    assert form.is_valid(), form.errors
    assert form.save().file.name == document.file.name
    assert Document.objects.get().file.name == document.file.name


def test_what_a_form_shows_is_a_copy(alice: Any) -> None:
    document = new_document(alice)
    form = DocumentForm(instance=document)
    shown = form["file"].value()
    assert shown.url.startswith("http://testserver/f/")
    assert shown is not document.file
    with request_of(alice):
        assert document.file.url.startswith("http://testserver/local/")


def test_public_files_are_shown_as_ever() -> None:
    leaflet = Leaflet()
    leaflet.file.save("a.txt", ContentFile(b"hello"))
    assert f'href="{leaflet.file.url}"' in modelform_factory(Leaflet, fields="__all__")(instance=leaflet).as_p()


def test_preparing_again_changes_nothing() -> None:
    before = forms.FileField.prepare_value
    show_permalinks()
    assert forms.FileField.prepare_value is before


def test_django_prepares_no_files_itself() -> None:
    """Fails where another version of Django does, whose way ours would hide."""
    assert "def prepare_value" not in inspect.getsource(forms.FileField)
    assert "prepare_value" not in vars(forms.ImageField)
