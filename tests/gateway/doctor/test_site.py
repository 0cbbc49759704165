"""What the service stands on, each part broken on purpose."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.migrations.recorder import MigrationRecorder

from gateway.doctor import examine_site
from tests.gateway.doctor.conftest import doctor

Broken = Callable[[Any, Path], None]


def faults() -> set[str]:
    return {finding.check for finding in examine_site() if finding.verdict == "fail"}


def test_a_good_service_has_no_fault(service: Any) -> None:
    assert faults() == set()


def _short_secret(settings: Any, tmp_path: Path) -> None:
    settings.SECRET_KEY = "short"


def _insecure_fallback(settings: Any, tmp_path: Path) -> None:
    settings.SECRET_KEY_FALLBACKS = ["django-insecure-" + "k" * 50]


def _http(settings: Any, tmp_path: Path) -> None:
    settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": "http://files.example.com"}


def _other_host(settings: Any, tmp_path: Path) -> None:
    settings.ALLOWED_HOSTS = ["other.example.com"]


def _every_host(settings: Any, tmp_path: Path) -> None:
    settings.ALLOWED_HOSTS = ["*"]


def _debug(settings: Any, tmp_path: Path) -> None:
    settings.DEBUG = True


def _forgetful(settings: Any, tmp_path: Path) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


def _cache_without_a_table(settings: Any, tmp_path: Path) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "nowhere"}}


def _not_collected(settings: Any, tmp_path: Path) -> None:
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": backend}}


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        pytest.param(_short_secret, "secret-key", id="short-secret"),
        pytest.param(_insecure_fallback, "secret-key", id="insecure-fallback"),
        pytest.param(_http, "public-url", id="public-url-of-http"),
        pytest.param(_other_host, "public-url", id="public-url-of-no-allowed-host"),
        pytest.param(_every_host, "hosts", id="every-host"),
        pytest.param(_debug, "debug", id="debug"),
        pytest.param(_forgetful, "cache", id="cache-that-forgets"),
        pytest.param(_not_collected, "static", id="static-files-not-collected"),
    ],
)
def test_a_fault_is_found_and_nothing_else(break_it: Broken, check: str, service: Any, tmp_path: Path) -> None:
    break_it(service, tmp_path)
    assert faults() == {check}


@pytest.mark.django_db(transaction=True)
def test_a_cache_that_does_not_answer_is_found(service: Any, tmp_path: Path) -> None:
    _cache_without_a_table(service, tmp_path)
    assert faults() == {"cache"}


def test_a_missing_migration_is_found(service: Any) -> None:
    MigrationRecorder.Migration.objects.filter(app="presign_gateway").delete()
    assert faults() == {"database"}


def test_a_proxy_that_nothing_is_known_of_is_noted(service: Any) -> None:
    service.SECURE_SSL_REDIRECT = False
    assert "proxy" in {finding.check for finding in examine_site() if finding.verdict == "note"}


def test_a_storage_that_cannot_be_built_is_a_finding_and_the_others_are_examined(
    service: Any, private_root: Path
) -> None:
    private_root.mkdir(mode=0o700)
    broken = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": {}}
    service.STORAGES = service.STORAGES | {"broken": broken}
    report = doctor()
    failed = [each for each in report.findings if each["verdict"] == "fail"]
    assert [(each["subject"], each["check"]) for each in failed] == [("broken", "storage")]
    assert {each["subject"] for each in report.findings} == {"broken", "private", "service"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["nothing"], "'nothing' is no alias", id="unknown-alias"),
        pytest.param(["default"], "'default' is no private storage", id="public-alias"),
        pytest.param(["--sweeper", "nothing"], "'nothing' is no alias", id="unknown-sweeper"),
        pytest.param(["--origin", "files.example.com"], "no origin", id="origin-without-a-scheme"),
        pytest.param(["--origin", "https://files.example.com/a"], "no origin", id="origin-with-a-path"),
        pytest.param(["--origin", "https://a:65536"], "no origin", id="origin-of-no-port"),
        pytest.param(["--origin", "https://a b"], "no origin", id="origin-with-a-space"),
        pytest.param(["--origin", "https://a\r\nX: y"], "no origin", id="origin-with-a-line"),
        pytest.param(["--origin", "https://\udcff"], "no origin", id="origin-that-is-no-text"),
        pytest.param(["--origin", "https://[::1"], "no origin", id="origin-with-half-an-address"),
        pytest.param(["--origin", "https://Files.example.com"], "no origin", id="origin-no-browser-sends"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: list[str], says: str, service: Any) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("gateway_doctor", *arguments, stdout=io.StringIO())


def test_lines_say_what_was_found_what_to_do_and_what_mends_it(service: Any, private_root: Path) -> None:
    private_root.mkdir(mode=0o755)
    private_root.chmod(0o755)
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("gateway_doctor", "private", stdout=out)
    lines = out.getvalue().splitlines()
    at = lines.index("FAIL   private: disk.mode: everybody on the machine may look into the root (0755)")
    assert lines[at + 1] == "       chmod 0700."
    assert "1 fail" in lines[-1]
    assert ended.value.code == 1


def test_a_project_without_a_private_storage_is_told_so(service: Any) -> None:
    service.STORAGES = {name: entry for name, entry in service.STORAGES.items() if name != "private"}
    with pytest.raises(CommandError, match="no alias of STORAGES is a private storage"):
        call_command("gateway_doctor", stdout=io.StringIO())


def test_settings_that_cannot_be_read_are_a_line(service: Any) -> None:
    service.GATEWAY = service.GATEWAY | {"MAX_TTL": -1}
    with pytest.raises(CommandError, match="MAX_TTL"):
        call_command("gateway_doctor", stdout=io.StringIO())


def test_a_part_of_the_settings_that_cannot_be_read_does_not_end_the_examination(
    service: Any, private_root: Path
) -> None:
    private_root.mkdir(mode=0o700)
    service.STORAGES = service.STORAGES | {"staticfiles": {"BACKEND": "no.such.Storage"}}
    report = doctor("private")
    (fault,) = [each for each in report.findings if each["verdict"] == "fail"]
    assert (fault["check"], fault["found"]) == ("doctor", "could not look at the static (InvalidStorageError)")
    assert report.one("link")["verdict"] == "ok"


@pytest.mark.parametrize("origin", ["https://a", "http://localhost:8000", "https://[::1]:8443", "https://a-b.c_d.e:1"])
def test_an_origin_is_taken(origin: str, service: Any, private_root: Path) -> None:
    private_root.mkdir(mode=0o700)
    assert doctor("private", "--origin", origin).status == 0
