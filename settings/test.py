"""The test suite: a database in memory or that of TEST_DATABASE_URL, files in a directory that pytest gives each test.

Must not reach anything outside the process; tests that need a server start their own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import dj_database_url

from settings.base import *  # noqa: F403
from settings.base import GATEWAY, INSTALLED_APPS, STATICFILES_STORAGE

SECRET_KEY = "test-only-0123456789abcdefghijklmnopqrstuvwxyz"
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
INSTALLED_APPS = [*INSTALLED_APPS, "guardian", "rest_framework", "rules", "tests.hostapp"]
# Where a test installs its backend; no user of its own for strangers.
SILENCED_SYSTEM_CHECKS = ["guardian.W001"]
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = GUARDIAN_MONKEY_PATCH_GROUP = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

PRIVATE_ROOT = Path(tempfile.gettempdir()) / f"presign-gateway-tests-{os.getpid()}"

DATABASES: dict[str, Any] = {"default": dj_database_url.parse(os.environ.get("TEST_DATABASE_URL", "sqlite://:memory:"))}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": STATICFILES_STORAGE,
    "private": {
        "BACKEND": "gateway.storages.PrivateFileSystemStorage",
        "OPTIONS": {"location": PRIVATE_ROOT},
    },
}

# All tests come from one address, and most of them are refused: limits are tested where they are set.
GATEWAY = GATEWAY | {"PUBLIC_URL": "http://testserver", "FAILED_LOGINS_PER_MINUTE": 0}
