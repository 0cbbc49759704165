"""What every storage stands on: database, cache, keys, the proxy before the service, its static files.

Must not leave a row or a cache entry behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.cache import cache
from django.db import DatabaseError, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http.request import validate_host

from gateway.conf import conf
from gateway.doctor.findings import Finding, fail, note, ok
from gateway.models import File, Issuance

__all__ = ["examine_site"]

SUBJECT = "service"
LEAST_SECRET_CHARACTERS = 50


def examine_site() -> Iterator[Finding]:
    for part in (_databases, _cache, _keys, _proxy, _static):
        try:
            yield from part()
        except Exception as error:
            # Settings that cannot be read; the stores are examined all the same.
            found = f"could not look at the {part.__name__.removeprefix('_')} ({type(error).__name__})"
            yield fail(SUBJECT, "doctor", found, "Mend the settings; manage.py check says more.")


def _databases() -> Iterator[Finding]:
    for using in sorted({router.db_for_write(File), conf().audit_database or router.db_for_write(Issuance)}):
        connection = connections[using]
        try:
            executor = MigrationExecutor(connection)
            missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        except DatabaseError as error:
            # Drivers' messages hold addresses and user names.
            yield fail(
                SUBJECT,
                "database",
                f"the database {using} does not answer ({type(error).__name__})",
                "No link is issued without it: look at DATABASE_URL and the server.",
            )
            continue
        if missing:
            yield fail(SUBJECT, "database", f"{missing} migrations are missing in {using}", "Run manage.py migrate.")
        else:
            yield ok(SUBJECT, "database", f"the database {using} answers, and is migrated")
        if connection.vendor == "sqlite" and not settings.DEBUG:
            yield note(SUBJECT, "database.kind", f"{using} is SQLite", "One process writes at a time; use PostgreSQL.")


def _cache() -> Iterator[Finding]:
    name = f"gateway-doctor-{secrets.token_hex(8)}"
    try:
        cache.set(name, name, timeout=10)
        found = cache.get(name)
        cache.delete(name)
    except Exception as error:
        yield fail(
            SUBJECT, "cache", f"the cache does not answer ({type(error).__name__})", "Limits fall back to each process."
        )
        return
    if found != name:
        yield fail(SUBJECT, "cache", "the cache forgets at once", "Use one that keeps: limits count in it.")
    elif "locmem" in settings.CACHES["default"]["BACKEND"]:
        yield note(SUBJECT, "cache", "each process has a cache of its own", "Limits then count for each process alone.")
    else:
        yield ok(SUBJECT, "cache", "the cache keeps what it is given")


def _keys() -> Iterator[Finding]:
    weak = [
        name
        for name, values in (
            ("SECRET_KEY", [settings.SECRET_KEY]),
            ("SECRET_KEY_FALLBACKS", settings.SECRET_KEY_FALLBACKS),
        )
        if any(len(value) < LEAST_SECRET_CHARACTERS or str(value).startswith("django-insecure-") for value in values)
    ]
    if weak:
        yield fail(
            SUBJECT,
            "secret-key",
            f"{' and '.join(weak)} can be guessed; at least {LEAST_SECRET_CHARACTERS} characters",
            "Make a new one; the old one goes to SECRET_KEY_FALLBACKS for as long as links are out.",
        )
    else:
        yield ok(SUBJECT, "secret-key", "SECRET_KEY is long enough")


def _proxy() -> Iterator[Finding]:
    public = urlsplit(conf().public_origin)
    if public.scheme != "https":
        yield fail(
            SUBJECT,
            "public-url",
            "GATEWAY['PUBLIC_URL'] is no https:// URL",
            "Set it to what clients see; links to the service start with it.",
        )
    elif not validate_host(public.hostname or "", settings.ALLOWED_HOSTS):
        yield fail(SUBJECT, "public-url", f"ALLOWED_HOSTS has no {public.hostname}", "Add the host of PUBLIC_URL.")
    else:
        yield ok(SUBJECT, "public-url", f"links to the service start with https://{public.netloc}")
    if "*" in settings.ALLOWED_HOSTS:
        yield fail(SUBJECT, "hosts", "ALLOWED_HOSTS takes every host", "Name the hosts.")
    if settings.DEBUG:
        yield fail(SUBJECT, "debug", "DEBUG is on: error pages show settings and local variables", "Switch it off.")
    if not settings.SECURE_SSL_REDIRECT and settings.SECURE_PROXY_SSL_HEADER is None and public.scheme == "https":
        yield note(
            SUBJECT,
            "proxy",
            "nothing tells the service that a request came by https",
            "Behind a proxy set TRUST_PROXY_SSL_HEADER=1, and let it strip that header from clients.",
        )
    if settings.SECURE_PROXY_SSL_HEADER is not None and not conf().trusted_proxies:
        yield note(
            SUBJECT,
            "proxy.address",
            "a proxy is trusted for https and not for addresses",
            "GATEWAY['TRUSTED_PROXIES'] says how many there are; without it all clients share one limit.",
        )


def _static() -> Iterator[Finding]:
    manifest = getattr(staticfiles_storage, "manifest_name", None)
    if manifest is None:
        return
    root = settings.STATIC_ROOT
    if root and (Path(root) / manifest).is_file():
        yield ok(SUBJECT, "static", "the static files were collected")
    else:
        yield fail(SUBJECT, "static", "the static files were not collected", "Run manage.py collectstatic.")
