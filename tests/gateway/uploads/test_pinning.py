"""Fields that know the version of their object: links name it, for as long as the row names that object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.base import ContentFile

from gateway import links, uploads
from gateway.principals import acting_as
from gateway.resources import Resource, pin_of
from gateway.uploads.places import place_of
from tests.emulators.gcs import CloudStorage
from tests.emulators.s3 import send
from tests.gateway.gcs_stores import GCSStore
from tests.gateway.uploads.conftest import PDF, begin, principal_of
from tests.hostapp.models import Contract

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(gcs: CloudStorage, settings: Any) -> Iterator[GCSStore]:
    store = GCSStore("private", gcs)
    settings.STORAGES = settings.STORAGES | {"private": {"BACKEND": store.backend, "OPTIONS": store.options}}
    yield store
    store.close()


@pytest.fixture
def contract(alice: Any) -> Contract:
    return Contract.objects.create(owner=alice)


def upload(contract: Contract) -> str:
    """Send a file straight to the store, for the field; return the version that was verified."""
    begun = begin(contract.owner, PDF, target=f"hostapp.contract:{contract.pk}:file")
    assert begun.link is not None
    sent = send(begun.link.url, method="PUT", headers=dict(begun.link.headers), body=PDF)
    assert sent.status in (200, 201)
    finalized = uploads.finalize(principal_of(contract.owner), begun.session.pk)
    contract.refresh_from_db()
    return finalized.session.version


def link_to(contract: Contract) -> str:
    return links.issue(principal_of(contract.owner), Resource.of_field(contract, "file")).url


def generation_of(url: str) -> list[str]:
    return parse_qs(urlsplit(url).query).get("generation", [])


def test_a_link_is_bound_to_what_was_verified(store: GCSStore, contract: Contract) -> None:
    version = upload(contract)
    assert contract.file_version == pin_of(contract.file.name, version)
    url = link_to(contract)
    assert generation_of(url) == [version]
    with acting_as(contract.owner):
        assert generation_of(contract.file.url) == [version]
    assert send(url).body == PDF
    store.put(contract.file.name, b"%PDF-1.7\nanother one")
    assert [send(one).status for one in (url, link_to(contract))] == [404, 404]


def test_a_second_upload_is_another_version(store: GCSStore, contract: Contract) -> None:
    versions = [upload(contract), upload(contract)]
    assert len(set(versions)) == 2
    assert generation_of(link_to(contract)) == versions[1:]


def test_another_name_has_no_version_of_this_one(store: GCSStore, contract: Contract) -> None:
    upload(contract)
    contract.file.save("report.pdf", ContentFile(PDF))
    assert contract.file_version
    assert generation_of(link_to(contract)) == []
    assert send(link_to(contract)).body == PDF


@pytest.mark.parametrize("column", ["", ":", "1", "1:", ":1", "0123456789abcdef:1"], ids=repr)
def test_what_no_upload_wrote_is_no_version(store: GCSStore, contract: Contract, column: str) -> None:
    upload(contract)
    Contract.objects.update(file_version=column)
    assert generation_of(link_to(contract)) == []
    assert send(link_to(contract)).body == PDF


@pytest.mark.parametrize(
    ("version", "is_kept"), [("v" * 238, True), ("v" * 239, False), ("", False)], ids=["long", "too long", "none"]
)
def test_a_version_that_the_column_cannot_hold_is_left_out(contract: Contract, version: str, is_kept: bool) -> None:
    place_of(f"hostapp.contract:{contract.pk}:file").attach("uploads/a.pdf", version)
    contract.refresh_from_db()
    assert contract.file.name == "uploads/a.pdf"
    assert contract.file_version == (pin_of("uploads/a.pdf", version) if is_kept else "")


def test_local_files_are_pinned_too(contract: Contract) -> None:
    place_of(f"hostapp.contract:{contract.pk}:file").attach("uploads/a.pdf", "1-2-3")
    permit = links.permit(principal_of(contract.owner), Resource.of_field(contract, "file", key="uploads/a.pdf"))
    assert permit.download.version == "1-2-3"
