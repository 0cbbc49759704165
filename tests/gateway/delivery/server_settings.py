"""The test settings for processes of their own: database and files below the directory that the test names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from settings.test import *  # noqa: F403
from settings.test import GATEWAY, STORAGES

HERE = Path(os.environ["DELIVERY_TEST_DIRECTORY"])

ROOT_URLCONF = "tests.gateway.delivery.urls"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HERE / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
STORAGES = STORAGES | {
    "private": {
        "BACKEND": "gateway.storages.PrivateFileSystemStorage",
        "OPTIONS": {"location": HERE / "private"},
    }
}
# Links lead to the server that the test started.
GATEWAY = GATEWAY | {"PUBLIC_URL": os.environ.get("DELIVERY_TEST_URL", "http://127.0.0.1")}
# What else a test of servers in front needs.
STORAGES = STORAGES | json.loads(os.environ.get("DELIVERY_TEST_STORAGES", "{}"))
GATEWAY = GATEWAY | json.loads(os.environ.get("DELIVERY_TEST_GATEWAY", "{}"))
