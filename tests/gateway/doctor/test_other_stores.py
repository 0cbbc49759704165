"""The doctor on Cloud Storage and Azure: what it finds by links alone."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.emulators.azurite import AzuriteOAuth
from tests.emulators.gcs import CloudStorage
from tests.gateway.doctor.conftest import Report, doctor

# What is right with both emulators, and they verify it.
RIGHT = {"anonymous.list", "anonymous.read", "clock", "credential.life", "endpoint", "link", "link.expired"}
RIGHT |= {"link.other-key", "link.tampered", "probe", "upload", "upload.overwrite"}


def examined(settings: Any, backend: str, options: dict[str, Any]) -> Report:
    entry = {"BACKEND": f"gateway.storages.{backend}", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"other": entry}
    return doctor("other")


def test_cloud_storage(service: Any, gcs: CloudStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    report = examined(
        service,
        "PrivateGCSStorage",
        {
            "bucket_name": gcs.create_bucket(f"doctor-{secrets.token_hex(6)}"),
            "service_account_key": gcs.service_account_info(),
            "endpoint_url": gcs.endpoint_url,
        },
    )
    assert report.checks("ok") >= RIGHT
    # The emulator has no CORS and no TLS, and its one account may do everything.
    assert report.checks("fail") == {"cors.download", "cors.upload", "signer.delete", "transport"}


def test_azure(service: Any, azurite_oauth: AzuriteOAuth) -> None:
    report = examined(
        service,
        "PrivateAzureStorage",
        {
            "account_name": azurite_oauth.account_name,
            "azure_container": azurite_oauth.create_container(f"doctor-{secrets.token_hex(6)}"),
            "endpoint_url": azurite_oauth.endpoint_url,
            "token_credential": azurite_oauth.credential(),
            "ca_file": str(azurite_oauth.ca_file),
        },
    )
    assert report.checks("ok") >= RIGHT | {"transport"}
    # No SAS binds a content type; the emulator has no CORS until it is set, and its identity may do everything.
    assert report.checks("fail") == {"cors.download", "cors.upload", "signer.delete"}
