"""Production settings with a storage for each way of delivery, and, for the other process, the peers' own.

``DELIVERY_PLAIN`` leaves our middleware and addresses out: the views that people write by hand pay for none of it.
"""

from __future__ import annotations

import json
import os

from settings.production import *  # noqa: F403
from settings.production import GATEWAY, INSTALLED_APPS, MIDDLEWARE

GATEWAY = GATEWAY | json.loads(os.environ["DELIVERY_GATEWAY"])
INSTALLED_APPS = [*INSTALLED_APPS, "private_storage", "django_downloadview"]
ROOT_URLCONF = "gateway.service_urls"
LOGGING = {"version": 1, "disable_existing_loggers": True}
SILENCED_SYSTEM_CHECKS = ["gateway.W043"]  # Apache's user reads the files, which are random bytes
SECURE_SSL_REDIRECT = False  # the load comes over plain http
if "DELIVERY_PLAIN" in os.environ:
    ROOT_URLCONF = "tests.benchmarks.delivery_urls"
    MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("gateway.")]

DELIVERY_ROOT = os.environ["DELIVERY_ROOT"]
DELIVERY_INTERNAL = "/internal/"  # nginx has the files there, as each peer's documentation says

SENDFILE_BACKEND = "django_sendfile.backends.nginx"
SENDFILE_ROOT = DELIVERY_ROOT
SENDFILE_URL = DELIVERY_INTERNAL
PRIVATE_STORAGE_ROOT = DELIVERY_ROOT
PRIVATE_STORAGE_SERVER = "nginx"
PRIVATE_STORAGE_INTERNAL_URL = DELIVERY_INTERNAL
