"""Storages by their alias, and backends that are imported when they are used."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage, storages

from gateway import storages as rooms
from gateway.resources import PrivateStorage
from gateway.storages import PrivateFileSystemStorage, PrivateS3Storage, StorageByAlias

REPOSITORY_PATH = Path(__file__).resolve().parents[3]
S3 = {
    "BACKEND": "gateway.storages.PrivateS3Storage",
    "OPTIONS": {"bucket_name": "bucket", "region_name": "eu-central-1", "access_key": "AK", "secret_key": "SK"},
}

AZURE = {
    "BACKEND": "gateway.storages.PrivateAzureStorage",
    "OPTIONS": {"account_name": "account0", "account_key": "a2V5", "azure_container": "box"},
}


@pytest.fixture(autouse=True)
def more_aliases(settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"s3": S3, "azure": AZURE}


@pytest.fixture(params=["private", "s3", "azure"])
def alias(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestStorageByAlias:
    def test_is_the_storage_of_the_moment(self, settings: Any, private_root: Any) -> None:
        by_alias: Any = StorageByAlias("private")
        assert isinstance(by_alias, PrivateFileSystemStorage)
        assert isinstance(by_alias, Storage)
        assert isinstance(by_alias, PrivateStorage)
        settings.STORAGES = settings.STORAGES | {"private": settings.STORAGES["s3"]}
        assert isinstance(by_alias, PrivateS3Storage)
        assert by_alias.bucket_name == "bucket"

    def test_without_an_alias_it_is_that_of_the_services_files(self, settings: Any) -> None:
        by_alias = StorageByAlias()
        assert by_alias.alias == "private"
        settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "s3"}
        assert by_alias.alias == "s3"
        assert isinstance(by_alias, PrivateS3Storage)

    def test_an_unknown_alias_is_no_attribute_error(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="nowhere"):
            _ = StorageByAlias("nowhere").url_mode  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "by",
        [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],
        ids=["copy", "deepcopy", "pickle"],
    )
    def test_copies_and_pickles(self, by: Any) -> None:
        assert by(StorageByAlias("s3")).bucket_name == "bucket"
        assert by(StorageByAlias()).alias == "private"

    def test_looking_at_it_builds_no_signer(self, monkeypatch: pytest.MonkeyPatch, alias: str) -> None:
        made = property(lambda self: pytest.fail("the signer was built"))
        monkeypatch.setattr(type(storages[alias]), "provider", made)
        assert isinstance(StorageByAlias(alias), PrivateStorage)


def run(script: str) -> str:
    """Run Python with the test settings in a process of its own."""
    setup = "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'settings.test'\n"
    answer = subprocess.run(
        [sys.executable, "-c", setup + script], cwd=REPOSITORY_PATH, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


SDKS = {"azure", "boto3", "botocore", "google", "s3transfer", "storages"}
LOADED = f"sorted({{name.partition('.')[0] for name in sys.modules}} & {SDKS!r})"


def test_a_project_on_the_local_disk_loads_no_sdk() -> None:
    script = f"""
import django
django.setup()
from gateway.links import probe
from tests.hostapp.models import Document
assert probe("private").url.startswith("http://testserver/local/private/")
assert Document._meta.get_field("file").storage.path("a").endswith("/a")
print({LOADED})
"""
    assert run(script) == "[]\n"


def test_a_bucket_without_the_sdk_names_what_is_missing() -> None:
    script = """
sys.modules["boto3"] = None
import django
django.setup()
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.test import override_settings
s3 = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": {"bucket_name": "bucket"}}
with override_settings(STORAGES={"s3": s3}):
    try:
        storages["s3"]
    except ImproperlyConfigured as error:
        print(error)
"""
    assert "boto3" in run(script)


def test_a_container_without_the_sdk_names_what_is_missing() -> None:
    script = """
sys.modules["azure.storage.blob"] = None
import django
django.setup()
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.test import override_settings
azure = {"BACKEND": "gateway.storages.PrivateAzureStorage", "OPTIONS": {"azure_container": "box"}}
with override_settings(STORAGES={"azure": azure}):
    try:
        storages["azure"]
    except ImproperlyConfigured as error:
        print(error)
"""
    assert "azure" in run(script)


def test_names_are_resolved_when_they_are_used() -> None:
    assert rooms.PrivateS3Storage is PrivateS3Storage
    with pytest.raises(AttributeError, match="has no attribute 'PrivateTapeStorage'"):
        _ = rooms.PrivateTapeStorage  # type: ignore[attr-defined]
