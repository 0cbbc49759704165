"""Development: SQLite and the local store below ``var/``, on loopback.

Must not be used where anybody else can reach it: the secret key is in the repository.
"""

from __future__ import annotations

import os

from settings.base import *  # noqa: F403
from settings.base import BASE_DIR, GATEWAY, STATICFILES_STORAGE

VAR_DIR = BASE_DIR / "var"
PORT = os.environ.get("PORT", "8000")

DEBUG = True
SECRET_KEY = "development-only-0123456789abcdefghijklmnopqrstuvwxyz"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR_DIR / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": STATICFILES_STORAGE,
    "private": {
        "BACKEND": "gateway.storages.PrivateFileSystemStorage",
        "OPTIONS": {"location": VAR_DIR / "private"},
    },
}

GATEWAY = GATEWAY | {"PUBLIC_URL": f"http://127.0.0.1:{PORT}"}
