"""Settings of the demo: the development service on a database and a storage of its own, from the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

from settings.dev import *  # noqa: F403
from settings.dev import DATABASES, GATEWAY, STORAGES

DATABASES["default"]["NAME"] = Path(os.environ["DEMO_DATABASE"])
STORAGES = STORAGES | {"private": json.loads(os.environ["DEMO_STORAGE"])}
GATEWAY = GATEWAY | {"PUBLIC_URL": os.environ["DEMO_PUBLIC_URL"]}
# The transcript says which answers are refusals; Django would name each of them again.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django.request": {"level": "ERROR"}},
}
