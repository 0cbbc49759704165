"""Production settings as they are, with a larger batch and the hand-written view beside the API."""

from __future__ import annotations

from settings.production import *  # noqa: F403
from settings.production import GATEWAY, MIDDLEWARE

GATEWAY = GATEWAY | {"BATCH_LIMIT": 1000}
ROOT_URLCONF = "tests.benchmarks.urls"
LOGGING = {"version": 1, "disable_existing_loggers": True}

PLAIN_MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("gateway.")]
