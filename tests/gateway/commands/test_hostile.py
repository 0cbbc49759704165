"""Every command in a broken place or with arguments that nobody means: a line that says what is wrong, and a status."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, get_commands
from django.db import OperationalError, connection

from tests.emulators.process import LOOPBACK

S3 = {"bucket_name": "nowhere", "region_name": "eu-west-1", "access_key": "AKIAEXAMPLE", "secret_key": "s" * 40}
LOCAL = "gateway.storages.PrivateFileSystemStorage"


@pytest.fixture
def storages(settings: Any, tmp_path: Path, private_root: Path) -> dict[str, Any]:
    """Storages, most of which cannot work."""
    private_root.mkdir(mode=0o700)
    (tmp_path / "file").write_text("a")
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text("a")
    settings.STORAGES = settings.STORAGES | {
        "file": {"BACKEND": LOCAL, "OPTIONS": {"location": tmp_path / "file"}},
        "missing": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "missing"},
        },
        "public": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "public"},
        },
        "unreached": {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": S3 | {"endpoint_url": f"http://{LOOPBACK}:9"},
        },
        "wrong-type": {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": S3 | {"region_name": ["eu-west-1"]},
        },
        "wrong-option": {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": S3 | {"nonsense": 1}},
        "wrong-module": {"BACKEND": "no.such.Storage"},
    }
    stored: dict[str, Any] = settings.STORAGES
    return stored


ALIASES = [
    ("", "no alias"),
    ("\udcff", "no alias"),
    ("unknown", "no alias"),
    ("private\n", "no alias"),
    ("public", "private"),
    ("file", "NotADirectoryError"),
    ("unreached", "EndpointConnectionError"),
    ("wrong-type", "wrong-type"),
    ("wrong-option", "wrong-option|nonsense"),
    ("wrong-module", "wrong-module|no.such"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("alias", "says"), [pytest.param(*each, id=ascii(each[0])) for each in ALIASES])
def test_a_storage_that_cannot_be_listed_is_a_line(alias: str, says: str, storages: dict[str, Any]) -> None:
    for arguments in (["gateway_reconcile", "--", alias], ["gateway_sweep", f"--orphans={alias}"]):
        with pytest.raises(CommandError, match=says):
            call_command(*arguments, stdout=io.StringIO())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        pytest.param("\udcff", "private", "no alias", id="no-text"),
        pytest.param("unknown", "private", "no alias", id="unknown"),
        pytest.param("private", "public", "not a private one", id="to-a-public-one"),
        pytest.param("private", "private", "two places", id="to-itself"),
        pytest.param("file", "private", "NotADirectoryError", id="from-a-file"),
        pytest.param("missing", "private", "No such file or directory", id="from-nowhere"),
        pytest.param("unreached", "private", "EndpointConnectionError", id="from-an-unreached-store"),
        pytest.param("wrong-type", "private", "wrong-type", id="from-a-wrong-type"),
        pytest.param("wrong-module", "private", "no.such", id="from-a-wrong-module"),
        pytest.param("private", "wrong-option", "nonsense", id="to-a-wrong-option"),
    ],
)
def test_a_side_that_cannot_be_used_is_a_line(source: str, target: str, says: str, storages: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("gateway_migrate", "--execute", "--", source, target, stdout=io.StringIO())


@pytest.mark.django_db
def test_no_change_of_settings_is_advised_after_a_failure(storages: dict[str, Any]) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 1 failed"):
        call_command("gateway_migrate", "public", "unreached", "--execute", stdout=out)
    assert "failed public: a.txt (EndpointConnectionError" in out.getvalue()
    assert "Settings to change" not in out.getvalue()


NUMBERS = {
    "negative": "-1",
    "zero": "0",
    "float": "1e3",
    "other-digits": "١",
    "no-text": "\udcff",
    "empty": "",
    "huge": "9" * 30,
    "longest": "9" * 5000,
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["gateway_sweep", "--limit="], id="sweep"),
        pytest.param(["gateway_migrate", "public", "private", "--workers="], id="migrate"),
        pytest.param(["gateway_put", "nobody", "a", "--parallel="], id="put"),
        pytest.param(["gateway_token", "create", "nobody", "--name=a", "--days="], id="token"),
        pytest.param(["gateway_audit", "prune", "--days="], id="audit"),
    ],
)
def test_a_number_that_is_none_is_refused(arguments: list[str], number: str) -> None:
    with pytest.raises(CommandError):
        call_command(*arguments[:-1], f"{arguments[-1]}{number}", stdout=io.StringIO())


@pytest.mark.django_db
def test_a_prefix_that_is_no_text_is_refused(storages: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="no text"):
        call_command("gateway_migrate", "public", "private", "--prefix=\udcff", stdout=io.StringIO())


# Every command that asks the database, with what it needs to get there.
ASKING: dict[str, list[str]] = {
    "gateway_audit": ["export"],
    "gateway_audit_media": [],
    "gateway_demo": [],
    "gateway_explain": ["nobody", "00000000-0000-0000-0000-000000000000"],
    "gateway_grant": ["list"],
    "gateway_link": ["nobody", "00000000-0000-0000-0000-000000000000"],
    "gateway_migrate": ["public", "private"],
    "gateway_put": ["nobody", "a"],
    "gateway_reconcile": ["private"],
    "gateway_revoke": ["everything"],
    "gateway_sweep": ["--execute"],
    "gateway_token": ["list"],
}
NOT_ASKING = {"gateway_conf", "gateway_doctor", "gateway_keys"}


def test_no_command_is_forgotten() -> None:
    assert {name for name, app in get_commands().items() if app == "gateway"} == {*ASKING, *NOT_ASKING}


@pytest.mark.django_db
@pytest.mark.parametrize("command", ASKING)
def test_a_database_without_tables_is_a_line(command: str, storages: dict[str, Any], settings: Any) -> None:
    settings.DEBUG = True  # or there is no demonstration

    def refuse(*_: Any) -> None:
        raise OperationalError("no such table: at 10.0.0.1")

    with connection.execute_wrapper(refuse), pytest.raises(CommandError, match=r"database|record") as raised:
        call_command(command, *ASKING[command], stdout=io.StringIO())
    assert "10.0.0.1" not in str(raised.value)
