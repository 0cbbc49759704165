"""The sweep from the command line: silent about nothing, careful by default, failed where something failed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway import outbox
from gateway.models import ObjectDeletion
from tests.hostapp.models import Document

pytestmark = pytest.mark.django_db
REPOSITORY_PATH = Path(__file__).resolve().parents[3]


def note(key: str, *, alias: str = "private", age: timedelta = timedelta(hours=25)) -> ObjectDeletion:
    outbox.enqueue(alias, key, grace=timedelta(hours=24) - age)
    return ObjectDeletion.objects.latest("pk")


def stored(name: str) -> str:
    return storages["private"]._save(name, ContentFile(b"x"))


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    try:
        call_command("gateway_sweep", *arguments, stdout=output)
    finally:
        run.last = output.getvalue().splitlines()  # type: ignore[attr-defined]
    return output.getvalue().splitlines()


def test_without_execute_nothing_changes() -> None:
    name = stored("a/b.txt")
    note(name)
    before = list(ObjectDeletion.objects.values())
    assert run() == ["due private: a/b.txt", "1 due. Nothing was changed; --execute does it."]
    assert storages["private"].exists(name)
    assert list(ObjectDeletion.objects.values()) == before


def test_execute_deletes_and_says_what() -> None:
    names = [stored(f"a/{number}.txt") for number in range(3)]
    for name in names:
        note(name)
    assert run("--execute") == [*(f"deleted private: {name}" for name in names), "3 deleted."]
    assert not any(storages["private"].exists(name) for name in names)
    assert run("--execute") == ["nothing to do."]


def test_what_a_row_names_is_kept_and_said() -> None:
    document = Document()
    document.file.save("a.txt", ContentFile(b"x"))
    note(document.file.name)
    line = f"kept private: {document.file.name} (a row names the key)"
    assert run() == [line, "1 kept. Nothing was changed; --execute does it."]
    assert run("--execute") == [line, "1 kept."]
    assert storages["private"].exists(document.file.name)


def test_what_is_not_due_is_not_looked_at() -> None:
    note(stored("a/b.txt"), age=timedelta(hours=23))
    assert run("--execute") == ["nothing to do."]
    assert storages["private"].exists("a/b.txt")


def test_the_limit_is_kept() -> None:
    for number in range(3):
        note(stored(f"a/{number}.txt"))
    assert run("--execute", "--limit", "2") == [
        "deleted private: a/0.txt",
        "deleted private: a/1.txt",
        "2 deleted.",
    ]
    assert run("--execute", "--limit=2")[-1] == "1 deleted."


def test_a_failure_is_said_and_is_the_exit_status() -> None:
    note("gone/storage.txt", alias="nowhere")
    note(stored("a/b.txt"))
    with pytest.raises(CommandError, match="1 of 2 could not be deleted") as raised:
        run("--execute")
    assert raised.value.returncode == 1
    lines = run.last  # type: ignore[attr-defined]
    assert lines[0].startswith("failed nowhere: gone/storage.txt (StorageUnavailable: ")
    assert lines[1:] == ["deleted private: a/b.txt", "1 deleted, 1 failed."]


@pytest.mark.parametrize("limit", ["0", "-1", "+1", " 1", "1.5", "many", "٣", "1_000"])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(CommandError, match="is not a whole number from 1"):
        call_command("gateway_sweep", f"--limit={limit}")


def test_a_key_cannot_forge_a_line() -> None:
    note("a\ndeleted private: everything")
    lines = run()
    assert lines[0] == r"due private: a\ndeleted private: everything"
    assert len(lines) == 2


def test_a_key_of_another_script_can_be_read() -> None:
    note("uploads/日本語.txt")
    assert run()[0] == "due private: uploads/日本語.txt"


def test_the_process_ends_with_status_1_where_something_failed(tmp_path: Path) -> None:
    """In a process of its own, with a database of its own."""
    script = """
import sys
import django
django.setup()
from datetime import timedelta
from django.core.management import call_command, execute_from_command_line
from gateway import outbox
call_command("migrate", verbosity=0)
if sys.argv[1] == "bad":
    outbox.enqueue("nowhere", "a/b.txt", grace=timedelta(0))
execute_from_command_line(["manage.py", "gateway_sweep", "--execute"])
"""

    def status(kind: str) -> Any:
        command = [sys.executable, "-c", script, kind]
        database = f"sqlite:///{tmp_path / kind}.sqlite3"
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "settings.test", "TEST_DATABASE_URL": database}
        return subprocess.run(
            command, cwd=REPOSITORY_PATH, env=environment, capture_output=True, text=True, check=False
        )

    good, bad = status("good"), status("bad")
    assert (good.returncode, good.stdout) == (0, "nothing to do.\n"), good.stderr
    assert bad.returncode == 1
    assert bad.stdout.endswith("1 failed.\n")
    assert "1 of 1 could not be deleted" in bad.stderr


def test_entries_are_noted_long_enough_ago(settings: Any) -> None:
    # What note() makes is what a deleted row leaves after a day.
    entry = note("a/b.txt")
    assert timedelta(hours=1) <= timezone.now() - entry.not_before < timedelta(hours=1, minutes=1)
