"""Production starts on what is right and on nothing else; each start is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRET = "kq7mB2vN9xZ4cL1wR8tY5uE3pA6sD0fGhJkQwErTyUiOpAsDf!"


def environment(tmp_path: Path, **changes: str | None) -> dict[str, str]:
    storages = tmp_path / "storages.json"
    storages.write_text(
        json.dumps(
            {
                "private": {
                    "BACKEND": "gateway.storages.PrivateS3Storage",
                    "OPTIONS": {
                        "bucket_name": "acme-files",
                        "region_name": "eu-central-1",
                        "access_key": "AKIDEXAMPLE",
                        "secret_key": "not-a-real-secret",
                    },
                }
            }
        )
    )
    given: dict[str, str | None] = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "settings.production",
        "SECRET_KEY": SECRET,
        "ALLOWED_HOSTS": "files.example.com",
        "DATABASE_URL": "postgres://gateway:secret@127.0.0.1:1/gateway",
        "GATEWAY_PUBLIC_URL": "https://files.example.com",
        "GATEWAY_STORAGES_FILE": str(storages),
        "STATIC_ROOT": str(tmp_path),
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_right_environment_has_nothing_to_mend(tmp_path: Path) -> None:
    done = run(environment(tmp_path), "check", "--deploy", "--fail-level", "WARNING")
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_take_their_tasks_from_the_database(tmp_path: Path) -> None:
    changed = environment(tmp_path, GATEWAY_TASKS="database", GATEWAY_VERIFY_LATER_BYTES="1000")
    asked = (
        "from django.conf import settings; from gateway.conf import conf;"
        "from gateway.uploads.worker import verify_upload;"
        "print(conf().verify_later_bytes, type(verify_upload.get_backend()).__name__, 'django_tasks_db' in"
        " settings.INSTALLED_APPS)"
    )
    done = run(changed, "shell", "--no-imports", "-c", asked)
    assert done.stdout.split() == ["1000", "DatabaseBackend", "True"], done.stderr
    done = run(changed, "check", "--deploy", "--fail-level", "WARNING")
    assert (done.returncode, done.stderr) == (0, "")


# What is changed in a right environment, and what the refusal says.
REFUSED: dict[str, tuple[dict[str, str | None], str]] = {
    "no secret": ({"SECRET_KEY": None}, "SECRET_KEY is not set"),
    "a short secret": ({"SECRET_KEY": SECRET[:49]}, "SECRET_KEY has 49 characters"),
    "a secret of one character": ({"SECRET_KEY": "a" * 60}, "SECRET_KEY has 60 characters, 1 of them different"),
    "a secret of Django's template": ({"SECRET_KEY": f"django-insecure-{SECRET}"}, "starts with django-insecure-"),
    "a weak fallback": ({"SECRET_KEY_FALLBACKS": "short"}, "SECRET_KEY_FALLBACKS has 5 characters"),
    "no host": ({"ALLOWED_HOSTS": " "}, "ALLOWED_HOSTS is not set"),
    "no database": ({"DATABASE_URL": None}, "DATABASE_URL is not set"),
    "plain http": ({"GATEWAY_PUBLIC_URL": "http://files.example.com"}, "'http://files.example.com'; https://host"),
    "no address": ({"GATEWAY_PUBLIC_URL": None}, "GATEWAY_PUBLIC_URL is not set"),
    "no storages": ({"GATEWAY_STORAGES_FILE": None}, "GATEWAY_STORAGES_FILE is not set"),
    "storages that are not there": ({"GATEWAY_STORAGES_FILE": "/nowhere.json"}, "'/nowhere.json' cannot be read"),
    "storages of another form": ({"GATEWAY_STORAGES_FILE": "pyproject.toml"}, "'pyproject.toml' cannot be read"),
    "an unknown alias": ({"GATEWAY_FILE_STORAGE": "privat"}, "'privat'; GATEWAY_STORAGES_FILE has private"),
    "a lifetime in words": ({"GATEWAY_MAX_TTL": "5m"}, "GATEWAY_MAX_TTL is '5m'; a whole number of seconds"),
    "a queue that is not known": ({"GATEWAY_TASKS": "redis"}, "GATEWAY_TASKS is 'redis'; immediate or database"),
    "a size in words": (
        {"GATEWAY_TASKS": "database", "GATEWAY_VERIFY_LATER_BYTES": "1M"},
        "GATEWAY_VERIFY_LATER_BYTES is '1M'; a whole number of bytes",
    ),
    "verification by workers that are not there": (
        {"GATEWAY_VERIFY_LATER_BYTES": "9"},
        "GATEWAY_VERIFY_LATER_BYTES is 9; only with GATEWAY_TASKS=database",
    ),
    "a lifetime that is negative": ({"DATABASE_CONN_MAX_AGE": "-1"}, "'-1'; a whole number of seconds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_does_not_start(name: str, tmp_path: Path) -> None:
    changes, said = REFUSED[name]
    done = run(environment(tmp_path, **changes), "check")
    assert done.returncode != 0
    assert said in done.stderr
    # A weak secret is a secret too.
    for secret in (SECRET[:49], "a" * 60, "not-a-real-secret"):
        assert secret not in done.stderr
