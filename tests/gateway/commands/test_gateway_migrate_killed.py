"""A migration whose process is killed at any moment: nothing is lost, and nothing recorded is copied again."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from gateway.models import File, ObjectCopy
from gateway.moving.sides import source_of
from tests.gateway.conftest import new_file
from tests.gateway.opened_stores import open_store

REPOSITORY_PATH = Path(__file__).resolve().parents[3]
# So many are added before each run: the local disk has done more by the time that a signal arrives.
OBJECTS = {"local": 40, "ceph": 15}
KILLS = 10
# After so many of them the source is deleted as well.
COPYING_KILLS = 6
# A machine that is quicker than the signal ends a run by itself; that run does not count.
MOST_RUNS = 40


class Migration:
    """Runs of the command in processes of their own, and what they have printed."""

    def __init__(self, database: str, entries: dict[str, Any]) -> None:
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.gateway.commands.migrate_settings",
            "MIGRATE_TEST_DATABASE": database,
            "MIGRATE_TEST_STORAGES": json.dumps(entries, default=str),
            "PYTHONUNBUFFERED": "1",
        }
        self.lines: list[str] = []

    def run(self, *options: str, kill_after: tuple[str, int, float] | None = None) -> int:
        """Run it, and kill it some seconds after the so-many-th line that starts with a word."""
        command = [sys.executable, "manage.py", "gateway_migrate", "old", "new", "--execute", "--workers=3", *options]
        with subprocess.Popen(
            command, cwd=REPOSITORY_PATH, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            left = -1
            if kill_after is not None:
                word, left, seconds = kill_after
            while left != 0 and (line := process.stdout.readline()):
                self.lines.append(line.rstrip("\n"))
                left -= kill_after is not None and line.startswith(word)
            if left == 0:
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
            self.lines.extend(process.stdout.read().splitlines())
        return process.returncode


def listed(alias: str) -> dict[str, bytes]:
    side = source_of(alias)
    found = {}
    for name, _, _ in side.listed():
        stored = side.objects.stat(name)
        assert stored is not None
        found[name] = b"".join(side.objects.read(name, stored))
    return found


@pytest.mark.parametrize("to", ["local", "ceph"])
def test_killed_at_ten_moments_it_loses_nothing_and_copies_nothing_twice(
    to: str, request: pytest.FixtureRequest, file_database: dict[str, Any], tmp_path: Path, settings: Any
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    with open_store(to, request, tmp_path / "new") as store:
        backend = "gateway.storages.PrivateFileSystemStorage"
        entries: dict[str, Any] = {
            "old": {"BACKEND": backend, "OPTIONS": {"location": tmp_path / "old"}},
            "new": {"BACKEND": store.backend, "OPTIONS": store.options},
        }
        settings.STORAGES = settings.STORAGES | entries
        expected: dict[str, bytes] = {}
        owner = get_user_model().objects.create_user("owner")
        migration = Migration(str(file_database["NAME"]), entries)

        kills = 0
        for number in range(MOST_RUNS):
            add_objects(OBJECTS[to], number, expected, rng, owner)
            deletes = kills >= COPYING_KILLS
            word, options = ("deleted", ["--delete-source"]) if deletes else ("copied", [])
            recorded = dict(ObjectCopy.objects.values_list("name", "target_etag"))
            said_before = len(migration.lines)
            # Once before it has said anything: while it starts, lists and compares.
            lines = 0 if number == 0 else rng.randint(1, 5)
            moment = (word, lines, rng.uniform(0, 2 if lines == 0 else 0.03))
            status = migration.run(*options, kill_after=moment)
            assert status in (-signal.SIGKILL, 0), migration.lines
            look(expected, recorded, migration.lines[said_before:])
            kills += status != 0
            if kills == KILLS:
                break

        assert kills == KILLS
        assert migration.run("--delete-source") == 0, migration.lines
        assert listed("old") == {}
        assert listed("new") == expected
        assert set(File.objects.values_list("storage_alias", flat=True)) == {"new"}
        # Each record was written once, and the object is still the one that was read back then.
        side = source_of("new")
        for row in ObjectCopy.objects.all():
            stored = side.objects.stat(row.name)
            assert stored is not None
            assert stored.etag == row.target_etag
        counted = Counter(line for line in migration.lines if line.startswith("copied "))
        assert max(counted.values()) == 1


def add_objects(count: int, number: int, expected: dict[str, bytes], rng: random.Random, owner: Any) -> None:
    """Write objects that no run has seen yet; a third of them are files of the service."""
    for n in range(count):
        name = f"a/{n % 7}/{number}-{n}.bin"
        expected[name] = rng.randbytes(rng.choice([0, 1000, 200_000]))
        storages["old"]._save(name, ContentFile(expected[name]))
        if n % 3 == 0:
            new_file(owner, storage_alias="old", key=name)


def look(expected: dict[str, bytes], recorded: dict[str, str], said: list[str]) -> None:
    old, new = listed("old"), listed("new")
    print(f"{len(old)} in the source, {len(new)} in the target, {ObjectCopy.objects.count()} recorded")  # noqa: T201
    # Whole here or there: no half an object under any name, and none that is in neither.
    for side in (old, new):
        assert side.items() <= expected.items()
    assert old | new == expected
    for row in ObjectCopy.objects.all():
        assert new[row.name] == expected[row.name]
        assert recorded.get(row.name, row.target_etag) == row.target_etag
    for file in File.objects.all():
        assert file.key in {"old": old, "new": new}[file.storage_alias]
    again = {line.split(": ", 1)[1] for line in said if line.startswith(("copied ", "found "))}
    assert not again & recorded.keys()
