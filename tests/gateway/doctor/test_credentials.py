"""Who signs, at each cloud: links are only made here, and lead nowhere."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.files.storage import storages

from gateway.doctor import Visit
from gateway.doctor.credentials import examine_credentials

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
ACCOUNT = {
    "client_email": "signer@acme.iam.gserviceaccount.com",
    "private_key": KEY.decode(),
    "type": "service_account",
}
S3 = {"bucket_name": "acme-files", "region_name": "eu-west-1", "access_key": "AKIAEXAMPLE", "secret_key": "s" * 40}
AZURE = {"account_name": "acme", "azure_container": "files", "account_key": base64.b64encode(b"k" * 64).decode()}


def kind(settings: Any, backend: str, **options: Any) -> str:
    entry = {"BACKEND": f"gateway.storages.Private{backend}Storage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"examined": entry}
    findings = {each.check: each for each in examine_credentials(Visit("examined", storages["examined"]))}
    found = findings["credential.kind"]
    assert bool(found.remedy) == (found.verdict != "ok")
    return found.verdict


@pytest.mark.django_db
class TestKinds:
    def test_a_key_for_good_is_a_fault_at_a_cloud(self, settings: Any) -> None:
        assert kind(settings, "S3", **S3) == "fail"
        assert kind(settings, "GCS", bucket_name="acme-files", service_account_key=ACCOUNT) == "fail"
        hmac = {"hmac_access_id": "GOOG1EXAMPLE", "hmac_secret": "s" * 40}
        assert kind(settings, "GCS", bucket_name="acme-files", **hmac) == "fail"
        assert kind(settings, "Azure", **AZURE) == "fail"

    def test_a_key_for_good_is_to_be_known_elsewhere(self, settings: Any) -> None:
        assert kind(settings, "S3", **S3, endpoint_url="https://store.example.com") == "note"
        assert kind(settings, "Azure", **AZURE, endpoint_url="https://store.example.com/acme") == "note"

    def test_temporary_credentials_are_right(self, settings: Any) -> None:
        assert kind(settings, "S3", **S3, security_token="t" * 40) == "ok"

    def test_a_distribution_is_not_asked(self, settings: Any) -> None:
        """Its keys are for good, whoever signs for the bucket."""
        options = {"custom_domain": "cdn.example.com", "cloudfront_key_id": "K2EXAMPLE", "cloudfront_key": KEY.decode()}
        assert kind(settings, "S3", **S3, **options, security_token="t" * 40) == "ok"
