"""What is asked for: references on the wire, aliases, rows read again, facts about objects."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage, InMemoryStorage, default_storage, storages
from django.db import models
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidReference, StorageUnavailable
from gateway.models import File
from gateway.resources import (
    MAX_REFERENCE_CHARACTERS,
    Facts,
    Resource,
    alias_of,
    built,
    facts_of,
    parse_reference,
    private_storage,
    reference_to,
    resolved,
    rows_of,
)
from gateway.storages import PrivateFileSystemStorage, StorageByAlias
from tests.gateway.conftest import new_document, new_file
from tests.hostapp.models import Document, Invoice, Leaflet
from tests.providers.clouds import at_once

UUID_TEXT = "0b9f8a6e-1c2d-4e3f-8a9b-0c1d2e3f4a5b"

NO_REFERENCE: dict[str, Any] = {
    "nothing": "",
    "None": None,
    "number": 5,
    "bytes": UUID_TEXT.encode(),
    "list": [UUID_TEXT],
    "upper-case UUID": UUID_TEXT.upper(),
    "UUID without hyphens": UUID_TEXT.replace("-", ""),
    "UUID in braces": f"{{{UUID_TEXT}}}",
    "UUID as URN": f"urn:uuid:{UUID_TEXT}",
    "UUID with a space": f" {UUID_TEXT}",
    "UUID with a line end": f"{UUID_TEXT}\n",
    "UUID in full-width digits": UUID_TEXT.replace("0", "０"),
    "UUID one digit short": UUID_TEXT[:-1],
    "one part": "hostapp.document",
    "two parts": "hostapp.document:1",
    "no app": "document:1:file",
    "no pk": "hostapp.document::file",
    "no field": "hostapp.document:1:",
    "field with a dot": "hostapp.document:1:file.name",
    "field with a lookup and a space": "hostapp.document:1:file name",
    "space before": " hostapp.document:1:file",
    "line end after": "hostapp.document:1:file\n",
    "NUL in the pk": "hostapp.document:\x001:file",
    "line end in the pk": "hostapp.document:1\n:file",
    "DEL in the pk": "hostapp.document:\x7f:file",
    "lone surrogate in the pk": "hostapp.document:\ud800:file",
    "model in full-width letters": "hostapp.ｄocument:1:file",
    "three dots": "a.b.c:1:file",
    "pk of 256 characters": f"hostapp.document:{'1' * 256}:file",
    "longer than all": "a" * (MAX_REFERENCE_CHARACTERS + 1),
    "a key": "uploads/2026/01/report.pdf",
    "a URL": "https://testserver/f/1",
}


@pytest.mark.parametrize("reference", NO_REFERENCE.values(), ids=NO_REFERENCE)
def test_what_is_no_reference_is_the_callers_mistake(reference: Any) -> None:
    with pytest.raises(InvalidReference) as refused:
        parse_reference(reference)

    assert refused.value.status == 400


NOTHING = {
    "unknown app": "nowhere.document:1:file",
    "unknown model": "hostapp.nothing:1:file",
    "unknown field": "hostapp.document:1:nothing",
    "field that is no file": "hostapp.document:1:title",
    "relation": "hostapp.document:1:owner",
    "primary key": "hostapp.document:1:id",
    "file field on a public storage": "hostapp.leaflet:1:file",
    "field of the service's own file": f"presign_gateway.file:{UUID_TEXT}:key",
    "letters where numbers are": "hostapp.document:abc:file",
    "leading zero": "hostapp.document:01:file",
    "plus sign": "hostapp.document:+1:file",
    "minus zero": "hostapp.document:-0:file",
    "space": "hostapp.document: 1:file",
    "underscore": "hostapp.document:1_0:file",
    "percent-encoded digit": "hostapp.document:%31:file",
    "full-width digit": "hostapp.document:１:file",
    "arabic digit": "hostapp.document:١:file",
    "decimal": "hostapp.document:1.0:file",
    "exponent": "hostapp.document:1e3:file",
    "hexadecimal": "hostapp.document:0x1:file",
    "over 63 bits": f"hostapp.document:{2**63}:file",
    "under 63 bits": f"hostapp.document:{-(2**63) - 1}:file",
    "255 digits": f"hostapp.document:{'9' * 255}:file",
    "None": "hostapp.document:None:file",
}


@pytest.mark.parametrize("reference", NOTHING.values(), ids=NOTHING)
def test_a_reference_to_what_cannot_exist_is_well_formed_and_nothing(reference: str) -> None:
    resource = parse_reference(reference)

    # Not None only where the form is whole and the storage is to be asked: then no row decides.
    assert resource is None or (resource.model is Leaflet and resource.storage_alias == "default")


def test_the_largest_number_a_column_holds_is_a_reference() -> None:
    resource = parse_reference(f"hostapp.document:{2**63 - 1}:file")

    assert resource is not None
    assert resource.pk == 2**63 - 1


def test_a_reference_to_a_file_is_its_uuid() -> None:
    resource = parse_reference(UUID_TEXT)

    assert resource == Resource(storage_alias="", key=None, model=File, pk=uuid.UUID(UUID_TEXT))


def test_a_reference_to_a_field_names_row_and_storage() -> None:
    resource = parse_reference("hostapp.document:7:file")

    assert resource == Resource(storage_alias="private", key=None, model=Document, pk=7, field="file")


def test_references_are_read_as_they_are_written(alice: Any) -> None:
    document = new_document(alice)
    file = new_file(alice)

    for resource in (Resource.of_field(document, "file"), Resource.of_file(file)):
        read = parse_reference(reference_to(resource))
        assert read is not None
        assert (read.model, read.pk, read.field) == (resource.model, resource.pk, resource.field)


def test_a_bare_key_has_no_reference() -> None:
    with pytest.raises(InvalidReference, match="bare key"):
        reference_to(Resource.of_key("private", "uploads/a"))


@given(st.text(max_size=40))
def test_any_text_is_a_reference_to_something_nothing_or_refused(text: str) -> None:
    forms = ("{}", "hostapp.document:{}:file", "hostapp.{}:1:file", "hostapp.document:1:{}")
    for reference in (form.format(text) for form in forms):
        try:
            resource = parse_reference(reference)
        except InvalidReference:
            continue
        assert resource is None or reference_to(resource).lower() == reference.lower()


@given(st.integers())
def test_one_row_has_one_spelling(pk: int) -> None:
    resource = parse_reference(f"hostapp.document:{pk}:file")

    if resource is not None:
        assert resource.pk == pk
    for other in (f"0{pk}", f"+{pk}", f" {pk}", f"{pk}.0", f"{pk} "):
        assert parse_reference(f"hostapp.document:{other}:file") is None


# Aliases.


def test_an_alias_is_found_by_identity() -> None:
    assert alias_of(storages["private"]) == "private"
    assert alias_of(storages["default"]) == "default"


class EqualToAll(FileSystemStorage):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = FileSystemStorage.__hash__


def test_an_equal_storage_is_not_the_same(tmp_path: Any) -> None:
    with pytest.raises(StorageUnavailable, match="outside STORAGES needs the option alias"):
        alias_of(EqualToAll(location=tmp_path))
    with pytest.raises(StorageUnavailable, match="one of default, private, staticfiles"):
        alias_of(PrivateFileSystemStorage(location=tmp_path))


def test_a_storage_outside_the_register_is_known_by_its_alias(tmp_path: Any) -> None:
    assert alias_of(PrivateFileSystemStorage(location=tmp_path, alias="private")) == "private"


def test_an_alias_that_nothing_is_registered_under_is_none(tmp_path: Any) -> None:
    with pytest.raises(StorageUnavailable):
        alias_of(PrivateFileSystemStorage(location=tmp_path, alias="nowhere"))


def test_a_storage_by_alias_is_known() -> None:
    assert alias_of(StorageByAlias("private")) == "private"
    assert alias_of(StorageByAlias()) == "private"


def test_djangos_lazy_default_storage_is_known(settings: Any) -> None:
    assert alias_of(default_storage) == "default"


def test_a_lazy_storage_is_known_before_anybody_used_it() -> None:
    assert alias_of(SimpleLazyObject(lambda: storages["private"])) == "private"


def test_an_alias_that_cannot_be_built_hides_no_other(settings: Any) -> None:
    settings.STORAGES = {
        "broken": {"BACKEND": "gateway.storages.PrivateFileSystemStorage"},  # has no location
        **settings.STORAGES,
    }

    assert alias_of(storages["private"]) == "private"


def test_the_alias_follows_changed_settings(settings: Any, tmp_path: Any) -> None:
    field: Any = Document._meta.get_field("file")
    settings.STORAGES = settings.STORAGES | {
        "other": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }
    settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "other"}

    assert alias_of(field.storage) == "other"


@pytest.mark.parametrize("alias", ["nowhere", "", "default", "staticfiles"])
def test_only_a_private_storage_is_one(alias: str) -> None:
    with pytest.raises(StorageUnavailable, match=alias or "''"):
        private_storage(alias)


def test_a_private_storage_is_found() -> None:
    assert private_storage("private") is storages["private"]
    assert not isinstance(InMemoryStorage(), type(storages["private"]))


# Rows.


def test_a_resource_of_a_field_names_the_row_and_the_name_it_holds(alice: Any) -> None:
    document = new_document(alice, "uploads/a.pdf")

    assert Resource.of_field(document, "file") == Resource(
        storage_alias="private", key="uploads/a.pdf", model=Document, pk=document.pk, field="file"
    )
    assert Resource.of_field(document, "file", key="other").key == "other"


def test_a_resource_of_a_file_names_its_row(alice: Any) -> None:
    file = new_file(alice)

    assert Resource.of_file(file) == Resource(storage_alias="private", key=file.key, model=File, pk=file.pk)


def test_labels_and_ids_name_what_is_asked_for(alice: Any) -> None:
    document = new_document(alice)

    assert Resource.of_field(document, "file").label == "hostapp.Document.file"
    assert Resource.of_field(document, "file").id == f"hostapp.Document.file:{document.pk}"
    assert Resource(storage_alias="private", key="a", model=File, pk=1).id == "presign_gateway.File:1"
    assert Resource.of_key("private", "a/b").id == "private:a/b"
    assert Resource.of_key("private", "a/b").label == ""


def test_a_field_that_a_model_inherits_is_of_the_parents_row(db: None) -> None:
    class Letter(Invoice):
        code = models.CharField(max_length=9, primary_key=True)
        invoice = models.OneToOneField(Invoice, on_delete=models.CASCADE, parent_link=True)

        class Meta:
            app_label = "hostapp_unmigrated"

    letter = Letter(code="42", invoice_id=7, id=7, file="invoices/a.pdf")

    resource = Resource.of_field(letter, "file")

    assert (resource.model, resource.pk, resource.label) == (Invoice, 7, "hostapp.Invoice.file")


def test_a_proxy_is_its_model(db: None) -> None:
    class Draft(Document):
        class Meta:
            proxy = True
            app_label = "hostapp_unmigrated"

    assert Resource.of_field(Draft(pk=1), "file", key="a").label == "hostapp.Document.file"


def test_rows_are_read_from_the_database_that_is_written_to(alice: Any, settings: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")
    settings.DATABASE_ROUTERS = ["tests.gateway.test_resources.Replicas"]

    assert rows_of([resource]).db == "default"
    assert Document.objects.all().db == "replica"


class Replicas:
    """Sends reads to a replica, which is behind."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"


def test_one_row_is_asked_for_by_key_and_many_by_pk_alone(alice: Any) -> None:
    one, other = new_document(alice), new_document(alice)

    assert "LIKE" not in str(rows_of([Resource.of_field(one, "file")]).query)
    assert rows_of([Resource.of_field(one, "file")]).get() == one
    assert not rows_of([Resource.of_field(one, "file", key="uploads/other")]).exists()
    assert set(rows_of([Resource.of_field(row, "file") for row in (one, other)])) == {one, other}


@pytest.mark.parametrize("state", ["deleting", "deleted"])
def test_a_file_that_is_not_ready_has_no_row(alice: Any, state: str) -> None:
    file = new_file(alice, state=state)

    assert not rows_of([Resource.of_file(file)]).exists()


RESOLUTIONS = {
    "the row's own name": ({}, True),
    "whatever the row says": ({"key": None}, True),
    "another name": ({"key": "uploads/other.pdf"}, False),
    "no name": ({"key": ""}, False),
    "another storage": ({"storage_alias": "default"}, False),
    "no storage": ({"storage_alias": ""}, False),
    "another column": ({"field": "title", "key": "uploads/title.pdf"}, False),
}


@pytest.mark.parametrize(("change", "holds"), RESOLUTIONS.values(), ids=RESOLUTIONS)
def test_a_resource_is_what_its_row_says_or_nothing(alice: Any, change: dict[str, Any], holds: bool) -> None:
    row = new_document(alice, "uploads/a.pdf", title="uploads/title.pdf")
    base = {"storage_alias": "private", "key": "uploads/a.pdf", "model": Document, "pk": row.pk, "field": "file"}

    found = resolved(Resource(**base | change), row)

    assert (found is not None) is holds
    if found is not None:
        assert (found.key, found.instance) == ("uploads/a.pdf", row)


def test_a_row_that_holds_no_name_names_nothing(alice: Any) -> None:
    row = Document.objects.create(owner=alice)

    resource = Resource(storage_alias="private", key=None, model=Document, pk=row.pk, field="file")

    assert resolved(resource, row) is None


def test_the_storage_of_a_file_is_what_its_row_says(alice: Any) -> None:
    file = new_file(alice, storage_alias="elsewhere")
    reference = parse_reference(str(file.pk))
    assert reference is not None

    found = resolved(reference, file)

    assert found is not None
    assert (found.storage_alias, found.key) == ("elsewhere", file.key)
    assert resolved(Resource(storage_alias="private", key=None, model=File, pk=file.pk), file) is None


# Facts.

GUESSES = {
    "report.pdf": "application/pdf",
    "image.png": "image/png",
    "image.PNG": "image/png",
    "image.svg": "image/svg+xml",
    "page.html": "text/html",
    "archive.tar.gz": None,
    "table.csv.gz": None,
    "unknown.gatewayx": None,
    "noextension": None,
    ".hidden": None,
}


@pytest.mark.parametrize(("name", "content_type"), GUESSES.items(), ids=GUESSES)
def test_the_type_of_a_hosts_file_is_guessed_from_its_extension(name: str, content_type: str | None) -> None:
    facts = facts_of(Resource.of_key("private", f"uploads/x/{name}"))

    assert facts == Facts(filename=name, content_type=content_type)


def test_the_facts_of_a_file_are_its_rows(alice: Any) -> None:
    file = new_file(alice, filename="ü.svg", content_type="image/png", size_bytes=9, version="v1")
    found = resolved(Resource.of_file(file), file)
    assert found is not None

    assert facts_of(found) == Facts(filename="ü.svg", content_type="image/png", size_bytes=9, version="v1")


def test_an_empty_version_is_none(alice: Any) -> None:
    file = new_file(alice)
    found = resolved(Resource.of_file(file), file)
    assert found is not None

    assert facts_of(found).version is None


class SlowStorage(FileSystemStorage):
    """Takes its time to be made, so that all threads come while it is."""

    made = 0

    def __init__(self, **options: Any) -> None:
        type(self).made += 1
        time.sleep(0.05)
        super().__init__(**options)


def test_64_threads_that_come_first_are_given_one_storage(settings: Any, tmp_path: Path) -> None:
    entry = {"BACKEND": f"{__name__}.SlowStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"slow": entry}
    assert len({id(storage) for storage in at_once(lambda: built("slow"))}) == 1
    assert SlowStorage.made == 1
