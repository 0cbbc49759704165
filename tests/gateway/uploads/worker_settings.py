"""The test settings with a queue in a database that outlives its processes: TEST_DATABASE_URL, TEST_PRIVATE_ROOT."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from settings.test import *  # noqa: F403
from settings.test import GATEWAY, INSTALLED_APPS, STORAGES

PRIVATE_ROOT = Path(os.environ["TEST_PRIVATE_ROOT"])
STORAGES = STORAGES | {
    "private": {
        "BACKEND": "gateway.storages.PrivateFileSystemStorage",
        "OPTIONS": {"location": PRIVATE_ROOT / "files"},
    }
}
INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
GATEWAY = GATEWAY | {"VERIFY_LATER_BYTES": 0, "UPLOAD_SCANNER": "tests.gateway.uploads.worker_settings.Fatal"}


class Fatal:
    """A scanner that takes its worker with it, once."""

    def scan(self, chunks: Iterable[bytes]) -> None:
        assert b"".join(chunks)
        if not (PRIVATE_ROOT / "killed").exists():
            (PRIVATE_ROOT / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
