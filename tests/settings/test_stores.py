from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from gateway.storages import PrivateGCSStorage
from settings.stores import read_storages

S3: dict[str, Any] = {
    "provider": "s3",
    "bucket": "acme-files",
    "region": "eu-west-1",
    "max_ttl_seconds": 900,
    "signer": {"role_arn": "arn:aws:iam::111122223333:role/acme-files-signer"},
}
AS_DJANGO_HAS_IT = {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": "/srv/files"}}
FROM_S3 = {
    "BACKEND": "gateway.storages.PrivateS3Storage",
    "OPTIONS": {"bucket_name": "acme-files", "region_name": "eu-west-1", "max_ttl": 900},
}


GCS: dict[str, Any] = {
    "provider": "gcs",
    "bucket": "acme-files",
    "max_ttl_seconds": 900,
    "signer": {"service_account_email": "signer@acme.iam.gserviceaccount.com"},
}
FROM_GCS = {
    "BACKEND": "gateway.storages.PrivateGCSStorage",
    "OPTIONS": {"bucket_name": "acme-files", "signer_email": "signer@acme.iam.gserviceaccount.com", "max_ttl": 900},
}


AZURE: dict[str, Any] = {
    "provider": "azure",
    "account": "acmefiles",
    "endpoint": "https://acmefiles.blob.core.windows.net/",
    "bucket": "uploads",
    "max_ttl_seconds": 900,
    "signer": {"client_id": "11111111-1111-1111-1111-111111111111", "clock_skew_seconds": 300},
}


def read(tmp_path: Path, content: Any, max_ttl_seconds: int = 900) -> dict[str, Any]:
    path = tmp_path / "storages.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_storages(str(path), max_ttl_seconds=max_ttl_seconds)


def test_entries_of_both_kinds_stand_beside_each_other(tmp_path: Path) -> None:
    given = {"private": S3, "google": GCS, "local": AS_DJANGO_HAS_IT}
    assert read(tmp_path, given) == {"private": FROM_S3, "google": FROM_GCS, "local": AS_DJANGO_HAS_IT}


def test_an_entry_makes_a_storage_that_signs_without_a_key(tmp_path: Path) -> None:
    made = read(tmp_path, {"google": GCS})["google"]
    assert not PrivateGCSStorage(**made["OPTIONS"]).provider.capabilities.offline


@pytest.mark.parametrize(
    ("client_id", "identity"), [("c", "c"), (None, True)], ids=["the-module's", "the-process's-own"]
)
def test_azure_signs_as_an_identity_and_says_when_links_begin(
    client_id: str | None, identity: Any, tmp_path: Path
) -> None:
    given = AZURE | {"signer": AZURE["signer"] | {"client_id": client_id}}
    assert read(tmp_path, {"azure": given})["azure"] == {
        "BACKEND": "gateway.storages.PrivateAzureStorage",
        "OPTIONS": {
            "account_name": "acmefiles",
            "azure_container": "uploads",
            "endpoint_url": "https://acmefiles.blob.core.windows.net",
            "managed_identity": identity,
            "backdate": 300,
            "max_ttl": 900,
        },
    }


def test_all_outputs_of_terraform_are_as_good_as_the_one(tmp_path: Path) -> None:
    outputs = {
        "event_queue_url": {"sensitive": False, "type": "string", "value": "q"},
        "storages": {"sensitive": False, "type": ["object", {}], "value": {"private": S3}},
    }
    assert read(tmp_path, outputs) == {"private": FROM_S3}


@pytest.mark.parametrize(("gateway", "bucket", "storage"), [(900, 600, 600), (300, 900, 300), (900, 900, 900)])
def test_the_stricter_ttl_holds(gateway: int, bucket: int, storage: int, tmp_path: Path) -> None:
    read_ = read(tmp_path, {"private": S3 | {"max_ttl_seconds": bucket}}, gateway)
    assert read_["private"]["OPTIONS"]["max_ttl"] == storage


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("{", "cannot be read", id="no-json"),
        pytest.param([], "is not", id="a-list"),
        pytest.param({"private": "s3"}, "is not", id="a-string-for-an-entry"),
        pytest.param({"private": {}}, "its provider is None", id="neither"),
        pytest.param({"private": S3 | {"provider": "ftp"}}, "its provider is 'ftp'", id="unknown-provider"),
        pytest.param({"private": {"provider": "s3"}}, "'bucket'", id="no-bucket"),
        pytest.param({"private": AZURE | {"signer": {}}}, "client_id", id="no-identity"),
        pytest.param({"private": GCS | {"signer": None}}, "private", id="no-signer"),
        pytest.param({"private": S3 | {"max_ttl_seconds": None}}, "private", id="no-ttl"),
    ],
)
def test_what_is_neither_is_refused(content: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        read(tmp_path, content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        read_storages(str(tmp_path / "nothing.json"), max_ttl_seconds=900)
