"""Is the process alive, and is it ready: what each asks, and that neither tells more than that."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from gateway import links
from providers.local import LocalProvider, SecretKey
from tests.gateway.api.support import database_down_for

S3 = {
    "BACKEND": "gateway.storages.PrivateS3Storage",
    "OPTIONS": {
        "bucket_name": "bucket",
        "region_name": "eu-central-1",
        "access_key": "AKIAEXAMPLE",
        "secret_key": "s3cr3t" * 7,
    },
}


class TestAlive:
    def test_nothing_is_touched(self, django_assert_num_queries: Any, db: None) -> None:
        with django_assert_num_queries(0):
            response = Client().get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert not response.cookies

    def test_it_is_alive_without_a_database(self) -> None:
        # Without the fixture of a database, asking one fails the test.
        assert Client().get("/healthz").status_code == 200

    def test_it_needs_no_identity(self, settings: Any) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        assert Client().get("/healthz").status_code == 200

    def test_other_methods_are_405(self) -> None:
        assert Client().post("/healthz").status_code == 405


def not_ready(response: Any) -> str:
    """Return what is not ready, as the answer has it."""
    body = response.json()
    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert (body["status"], body["code"]) == (503, "unavailable")
    assert response["Retry-After"] == "5"
    return str(body["detail"])


@pytest.mark.django_db
class TestReady:
    def test_everything_is(self, settings: Any) -> None:
        settings.STORAGES = settings.STORAGES | {"cloud": S3}
        response = Client().get("/readyz")
        assert (response.status_code, response.json()) == (200, {"status": "ready"})
        assert response["Cache-Control"] == "no-store, private"

    def test_it_needs_no_identity(self, settings: Any) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        assert Client().get("/readyz").status_code == 200

    def test_a_database_that_is_down(self) -> None:
        with database_down_for("SELECT 1"):
            assert not_ready(Client().get("/readyz")) == "not ready: database default"

    def test_a_database_that_cannot_be_connected_to(self, monkeypatch: Any) -> None:
        def fail() -> Any:
            raise OperationalError("password authentication failed for user gateway at 10.0.0.1")

        monkeypatch.setattr(connection, "cursor", fail)
        response = Client().get("/readyz")
        assert not_ready(response) == "not ready: database default, migrations of default"
        assert b"10.0.0.1" not in response.content

    def test_a_migration_that_is_missing(self) -> None:
        MigrationRecorder(connection).migration_qs.filter(app="presign_gateway").delete()
        assert not_ready(Client().get("/readyz")) == "not ready: migrations of default"

    def test_an_audit_database_that_is_not_there(self, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"AUDIT_DATABASE": "audit"}
        assert not_ready(Client().get("/readyz")) == "not ready: database audit, migrations of audit"

    BROKEN: dict[str, dict[str, Any]] = {
        "that cannot be built": {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": {"bucket_name": ""}},
        "of no module": {"BACKEND": "nowhere.Storage"},
        "without a key pair": S3 | {"OPTIONS": {"bucket_name": "b", "region_name": "eu-central-1"}},
        "without a region": S3 | {"OPTIONS": S3["OPTIONS"] | {"region_name": None}},  # type: ignore[operator]
    }

    @pytest.mark.parametrize("storage", BROKEN.values(), ids=BROKEN)
    def test_a_storage_that_cannot_sign(self, settings: Any, storage: Any, caplog: Any) -> None:
        settings.STORAGES = settings.STORAGES | {"cloud": storage}
        with caplog.at_level(logging.ERROR):
            response = Client().get("/readyz")
        assert not_ready(response) == "not ready: storage cloud"
        assert "not ready: storage cloud" in caplog.text
        assert "s3cr3t" not in caplog.text + response.content.decode()

    def test_a_storage_that_signs_for_another_host(self, monkeypatch: Any) -> None:
        genuine = storages["private"].provider

        class Elsewhere(LocalProvider):
            def sign(self, *args: Any, **kwargs: Any) -> Any:
                signed = super().sign(*args, **kwargs)
                return type(signed)(
                    url=signed.url.replace("testserver", "evil.example"),
                    method=signed.method,
                    expires_at=signed.expires_at,
                )

        other = Elsewhere(base_url=genuine.base_url, secret_keys=[SecretKey(b"k" * 32)])
        monkeypatch.setattr(type(storages["private"]), "provider", other)
        assert not_ready(Client().get("/readyz")) == "not ready: storage private"

    def test_a_storage_that_does_not_believe_its_own_links(self, monkeypatch: Any) -> None:
        base_url = storages["private"].provider.base_url
        providers = [LocalProvider(base_url=base_url, secret_keys=[SecretKey(bytes([n]) * 32)]) for n in (1, 2)]
        # As when the keys change between two requests: the one signs, the other verifies.
        monkeypatch.setattr(type(storages["private"]), "provider", property(lambda self: providers.pop()))
        assert links.PROBE_KEY
        assert not_ready(Client().get("/readyz")) == "not ready: storage private"

    def test_other_methods_are_405(self) -> None:
        assert Client().post("/readyz").status_code == 405
