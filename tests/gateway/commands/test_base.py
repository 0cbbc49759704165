"""Commands end as programs do: with a line and a status, whatever becomes of their output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, OperationalError

from gateway.errors import StorageUnavailable
from gateway.management.base import GatewayCommand
from providers.errors import CredentialsUnavailable, InvalidConfiguration

ROOT = Path(__file__).resolve().parents[3]


def failing(error: BaseException, cause: BaseException | None = None) -> GatewayCommand:
    class Command(GatewayCommand):
        def handle(self, *args: Any, **options: Any) -> None:
            raise error from cause

    return Command(stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.parametrize(
    ("error", "says"),
    [
        pytest.param(StorageUnavailable("storage 'a' is not there"), "storage 'a' is not there", id="gateway"),
        pytest.param(InvalidConfiguration("bucket is 5"), "bucket is 5", id="provider"),
        pytest.param(CredentialsUnavailable("none"), "none", id="credentials"),
        pytest.param(ImproperlyConfigured("MAX_TTL is 5"), "MAX_TTL is 5", id="settings"),
        pytest.param(PermissionError(13, "Permission denied", "/a"), "Permission denied: '/a'", id="file"),
        pytest.param(OperationalError("at 10.0.0.1 as root"), r"\(OperationalError\); is it there", id="database"),
        pytest.param(InterfaceError("closed"), r"\(InterfaceError\); is it there", id="connection"),
        pytest.param(DatabaseError("no"), r"\(DatabaseError\); is it there", id="statement"),
    ],
)
def test_what_is_expected_to_fail_is_a_line(error: Exception, says: str) -> None:
    with pytest.raises(CommandError, match=says) as raised:
        call_command(failing(error))
    assert "10.0.0.1" not in str(raised.value)


def test_a_database_is_called_one_where_it_was_asked_beside_a_store() -> None:
    with pytest.raises(CommandError, match="the database does not answer"):
        call_command(failing(StorageUnavailable("storage 'a'"), OperationalError("at 10.0.0.1")))


def test_a_fault_of_the_code_stays_one() -> None:
    with pytest.raises(ZeroDivisionError):
        call_command(failing(ZeroDivisionError()))


def test_an_interrupted_command_says_so_and_has_the_status_of_shells() -> None:
    command = failing(KeyboardInterrupt())
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", "command"])
    assert ended.value.code == 130
    assert command.stderr._out.getvalue() == "interrupted\n"  # type: ignore[attr-defined]


def run(*arguments: str, stdout: Any = subprocess.PIPE, before: str = "") -> Any:
    given = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "settings.test"}
    command = ["sh", "-c", f'exec "$@" {before}', "sh", sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=given, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False
    )


def _nobody_reads() -> Any:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def _full_disk() -> Any:
    return Path("/dev/full").open("wb")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        pytest.param(_nobody_reads, "", id="nobody-reads"),
        pytest.param(_full_disk, "the output cannot be written: No space left on device\n", id="full-disk"),
    ],
)
def test_output_that_nobody_gets_is_a_failure_without_a_traceback(output: Callable[[], Any], says: str) -> None:
    with output() as stdout:
        done = run("gateway_conf", "nginx", "--skip-checks", stdout=stdout)
    assert (done.returncode, done.stderr) == (1, says)


def test_a_closed_output_is_told_of() -> None:
    done = run("gateway_conf", "nginx", "--skip-checks", before=">&-")
    assert (done.returncode, done.stderr) == (1, "there is no standard output\n")


def test_characters_that_a_terminal_does_not_know_are_written_another_way() -> None:
    path = "/srv/Zoë/settings.py"
    program = (
        "import sys, django; django.setup(); from gateway.management.base import GatewayCommand as Base;"
        "Base.handle = lambda self, **_: self.stdout.write(sys.argv[1]); "
        "Base().run_from_argv(['manage.py', 'a', '--skip-checks'])"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii", "DJANGO_SETTINGS_MODULE": "settings.test"}
    done = subprocess.run(
        [sys.executable, "-c", program, path], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "/srv/Zo\\xeb/settings.py\n", "")
