"""Production settings as they are, with a larger batch, a host's app, and hand-written views beside ours."""

from __future__ import annotations

from settings.production import *  # noqa: F403
from settings.production import GATEWAY, INSTALLED_APPS, MIDDLEWARE

GATEWAY = GATEWAY | {"BATCH_LIMIT": 1000}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hostapp"]
ROOT_URLCONF = "tests.benchmarks.urls"
LOGGING = {"version": 1, "disable_existing_loggers": True}

PLAIN_MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("gateway.")]
