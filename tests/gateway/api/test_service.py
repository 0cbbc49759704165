"""``GET /service``: what it shows, and what it does not."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gateway import __version__, links
from providers import Upload
from tests.gateway.api.support import ApiClient, by_token
from tests.providers.clouds import PEM

pytestmark = pytest.mark.django_db

SERVICE = "/api/v1/service"
S3 = {
    "BACKEND": "gateway.storages.PrivateS3Storage",
    "OPTIONS": {
        "bucket_name": "secret-bucket",
        "region_name": "eu-central-1",
        "access_key": "AKIAEXAMPLE",
        "secret_key": "s3cr3t" * 7,
        "max_ttl": 120,
        "url_mode": "permalink",
    },
}


def test_limits_storages_and_version_are_shown(alice: Any) -> None:
    body = by_token(alice).get(SERVICE).json()
    capabilities = body["storages"]["private"].pop("capabilities")
    assert body == {
        "version": __version__,
        "limits": {
            "default_ttl_seconds": 300,
            "max_ttl_seconds": 900,
            "batch_items": 100,
            "body_bytes": 65536,
            "batch_body_bytes": 819200,
            "upload_bytes": 104857600,
        },
        "storages": {
            "private": {"default_ttl_seconds": 300, "max_ttl_seconds": 900, "url_mode": "presigned"},
        },
        "file_storage": "private",
    }
    assert capabilities["offline"] is True
    assert capabilities["operations"] == ["Download", "Upload", "UploadPart"]


def test_limits_follow_the_settings(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {
        "DEFAULT_TTL": 60,
        "MAX_TTL": 120,
        "BATCH_LIMIT": 2,
        "MAX_UPLOAD_BYTES": 9,
    }
    limits = by_token(alice).get(SERVICE).json()["limits"]
    assert (limits["default_ttl_seconds"], limits["max_ttl_seconds"]) == (60, 120)
    assert (limits["batch_items"], limits["upload_bytes"]) == (2, 9)


def test_a_storage_is_named_by_its_alias_alone(alice: Any, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"cloud": S3}
    response = by_token(alice).get(SERVICE)
    cloud = response.json()["storages"]["cloud"]
    assert (cloud["max_ttl_seconds"], cloud["default_ttl_seconds"], cloud["url_mode"]) == (120, 120, "permalink")
    assert set(response.json()["storages"]) == {"cloud", "private"}
    for secret in ("secret-bucket", "AKIAEXAMPLE", "s3cr3t", "amazonaws"):
        assert secret not in response.content.decode()


def test_a_storage_that_cannot_sign_shows_no_capabilities(alice: Any, settings: Any) -> None:
    options = S3["OPTIONS"] | {"secret_key": None}  # type: ignore[operator]
    settings.STORAGES = settings.STORAGES | {"cloud": S3 | {"OPTIONS": options}}
    assert by_token(alice).get(SERVICE).json()["storages"]["cloud"]["capabilities"] is None


def test_a_storage_that_cannot_be_built_is_left_out(alice: Any, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"cloud": S3 | {"OPTIONS": {"bucket_name": ""}}}
    assert set(by_token(alice).get(SERVICE).json()["storages"]) == {"private"}


def test_nobody_is_told(db: None) -> None:
    assert ApiClient().get(SERVICE).status_code == 401


@pytest.mark.parametrize(("address", "method", "status"), [(f"{SERVICE}?x=1", "GET", 400), (SERVICE, "POST", 405)])
def test_refusals(alice: Any, address: str, method: str, status: int) -> None:
    assert by_token(alice).generic(method, address).status_code == status


def test_a_distribution_shows_what_its_bucket_promises_of_uploads(alice: Any, settings: Any) -> None:
    options = S3["OPTIONS"] | {  # type: ignore[operator]
        "custom_domain": "files.example.com", "cloudfront_key_id": "K1", "cloudfront_key": PEM,
    }  # fmt: skip
    settings.STORAGES = settings.STORAGES | {"bucket": S3, "cdn": S3 | {"OPTIONS": options}}
    told = by_token(alice).get(SERVICE).json()["storages"]
    assert told["cdn"]["capabilities"] == told["bucket"]["capabilities"]
    assert links.probe("cdn").url.startswith("https://files.example.com/")
    upload = partial(Upload, content_type="text/plain", size_bytes=3)
    assert ".amazonaws.com/" in links.probe("cdn", upload).url
