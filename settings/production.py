"""Production: wholly from the environment, and no start on a value that is missing, weak or unsafe.

=============================  ========================================================================================
``SECRET_KEY``                 at least 50 characters; ``SECRET_KEY_FALLBACKS`` holds older ones, by comma
``ALLOWED_HOSTS``              host names, by comma
``DATABASE_URL``               ``postgres://user:password@host:5432/name``
``GATEWAY_PUBLIC_URL``         ``https://files.example.com``, which links to the service start with
``GATEWAY_STORAGES_FILE``      JSON file, ``{alias: {"BACKEND": …, "OPTIONS": {…}}}``, as in ``STORAGES``; or what
                               ``terraform output -json storages`` wrote
``GATEWAY_FILE_STORAGE``       the alias of the service's own files; ``private``
``GATEWAY_DEFAULT_TTL``        seconds; 300
``GATEWAY_MAX_TTL``            seconds; 900
``GATEWAY_TASKS``              ``database`` where workers, ``manage.py db_worker``, take tasks from a queue in the
                               database; ``immediate``
``GATEWAY_VERIFY_LATER_BYTES`` an upload that is larger is verified by such a worker; every one in its request
``DATABASE_CONN_MAX_AGE``      seconds that a connection is kept; 600
``TRUST_PROXY_SSL_HEADER``     ``1`` where a proxy sets, and strips from clients, X-Forwarded-Proto
``STATIC_ROOT``                where ``collectstatic`` puts the admin's assets; ``var/static``
=============================  ========================================================================================
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from settings.base import *  # noqa: F403
from settings.base import BASE_DIR, GATEWAY, INSTALLED_APPS, MIDDLEWARE
from settings.logs import LOGGING as LOGGING
from settings.stores import read_storages

MIN_SECRET_CHARACTERS = 50
MIN_SECRET_DISTINCT = 5  # as Django's own check security.W009 has it


def _needed(name: str) -> str:
    value = os.environ.get(name, "")
    if not value.strip():
        raise ImproperlyConfigured(f"{name} is not set; production takes it from the environment")
    return value


def _secret(name: str, value: str) -> str:
    # The value is not shown, since a weak secret is a secret too.
    if len(value) < MIN_SECRET_CHARACTERS or len(set(value)) < MIN_SECRET_DISTINCT:
        raise ImproperlyConfigured(
            f"{name} has {len(value)} characters, {len(set(value))} of them different;"
            f" at least {MIN_SECRET_CHARACTERS} and {MIN_SECRET_DISTINCT}"
        )
    if value.startswith("django-insecure-"):
        raise ImproperlyConfigured(f"{name} starts with django-insecure-; make one for production")
    return value


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _number(name: str, default: int, unit: str) -> int:
    value = os.environ.get(name, str(default))
    if not value.isascii() or not value.isdigit():
        raise ImproperlyConfigured(f"{name} is {value!r}; a whole number of {unit}")
    return int(value)


def _seconds(name: str, default: int) -> int:
    return _number(name, default, "seconds")


def _has_workers() -> bool:
    value = os.environ.get("GATEWAY_TASKS", "immediate")
    if value not in ("immediate", "database"):
        raise ImproperlyConfigured(f"GATEWAY_TASKS is {value!r}; immediate or database")
    if value == "database" and find_spec("django_tasks_db") is None:
        raise ImproperlyConfigured("GATEWAY_TASKS is 'database'; install presign-gateway[tasks]")
    return value == "database"


def _verify_later_bytes(*, has_workers: bool) -> int | None:
    if "GATEWAY_VERIFY_LATER_BYTES" not in os.environ:
        return None
    least = _number("GATEWAY_VERIFY_LATER_BYTES", 0, "bytes")
    if not has_workers:
        raise ImproperlyConfigured(f"GATEWAY_VERIFY_LATER_BYTES is {least}; only with GATEWAY_TASKS=database")
    return least


def _public_url(value: str) -> str:
    if urlsplit(value).scheme != "https":
        raise ImproperlyConfigured(f"GATEWAY_PUBLIC_URL is {value!r}; https://host, links are credentials")
    return value


DEBUG = False
SECRET_KEY = _secret("SECRET_KEY", _needed("SECRET_KEY"))
SECRET_KEY_FALLBACKS = [
    _secret("SECRET_KEY_FALLBACKS", value) for value in _names(os.environ.get("SECRET_KEY_FALLBACKS", ""))
]
ALLOWED_HOSTS = _names(_needed("ALLOWED_HOSTS"))

DATABASES = {
    "default": dj_database_url.parse(
        _needed("DATABASE_URL"),
        conn_max_age=_seconds("DATABASE_CONN_MAX_AGE", 600),
        conn_health_checks=True,
    )
}

_max_ttl_seconds = _seconds("GATEWAY_MAX_TTL", 900)
_file_storage = os.environ.get("GATEWAY_FILE_STORAGE", "private")
_stores = read_storages(_needed("GATEWAY_STORAGES_FILE"), max_ttl_seconds=_max_ttl_seconds)
if _file_storage not in _stores:
    _known = ", ".join(sorted(_stores)) or "no alias"
    raise ImproperlyConfigured(f"GATEWAY_FILE_STORAGE is {_file_storage!r}; GATEWAY_STORAGES_FILE has {_known}")
STORAGES = {
    # Nothing of the service writes here; Django wants the alias.
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    **_stores,
}
GATEWAY = GATEWAY | {
    "FILE_STORAGE": _file_storage,
    "PUBLIC_URL": _public_url(_needed("GATEWAY_PUBLIC_URL")),
    "DEFAULT_TTL": _seconds("GATEWAY_DEFAULT_TTL", 300),
    "MAX_TTL": _max_ttl_seconds,
    "VERIFY_LATER_BYTES": _verify_later_bytes(has_workers=_has_workers()),
}
if _has_workers():
    INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

MIDDLEWARE = [MIDDLEWARE[0], "whitenoise.middleware.WhiteNoiseMiddleware", *MIDDLEWARE[1:]]
STATIC_ROOT = os.environ.get("STATIC_ROOT", str(BASE_DIR / "var" / "static"))

SECURE_SSL_REDIRECT = True
# Health checks of load balancers come over plain http, and say nothing.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
if os.environ.get("TRUST_PROXY_SSL_HEADER") == "1":
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
CSRF_TRUSTED_ORIGINS = [GATEWAY["PUBLIC_URL"].rstrip("/")]
