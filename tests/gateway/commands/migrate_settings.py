"""The test settings for a migration in a process of its own: the database and the storages that the test names."""

from __future__ import annotations

import json
import os
from typing import Any

from settings.test import *  # noqa: F403
from settings.test import STORAGES

DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["MIGRATE_TEST_DATABASE"]}
}
STORAGES = STORAGES | json.loads(os.environ["MIGRATE_TEST_STORAGES"])
