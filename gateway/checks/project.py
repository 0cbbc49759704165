"""Checks of what surrounds the gateway: GATEWAY, middleware, URLs, and settings that are read no more.

Must not look into a storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.checks import CheckMessage
from django.db import connections
from django.http.request import split_domain_port, validate_host
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import reverse

from gateway.authentication import SessionAuthenticator
from gateway.checks.messages import check, found
from gateway.checks.places import is_loopback
from gateway.checks.reading import aliases, conf_or_none, imported, items_of, private_aliases, split
from gateway.conf import conf
from gateway.middleware import GatewayMiddleware

# https://docs.djangoproject.com/en/5.2/releases/5.1/#features-removed-in-5-1
_GONE_FROM_DJANGO = {"DEFAULT_FILE_STORAGE": "default", "STATICFILES_STORAGE": "staticfiles"}
# https://github.com/jschneier/django-storages/blob/master/CHANGELOG.rst: 1.9, 1.10, 1.13 and 1.14
_GONE_FROM_DJANGO_STORAGES = {
    "AWS_AUTO_CREATE_BUCKET": "no bucket is made",
    "AWS_BUCKET_ACL": "no bucket is made",
    "AWS_HEADERS": "set AWS_S3_OBJECT_PARAMETERS",
    "AWS_PRELOAD_METADATA": "nothing takes its place",
    "AWS_REDUCED_REDUNDANCY": 'set AWS_S3_OBJECT_PARAMETERS = {"StorageClass": "REDUCED_REDUNDANCY"}',
    "AWS_S3_CALLING_FORMAT": "set AWS_S3_ADDRESSING_STYLE",
    "AWS_S3_ENCRYPTION": 'set AWS_S3_OBJECT_PARAMETERS = {"ServerSideEncryption": "AES256"}',
    "AWS_S3_HOST": "set AWS_S3_ENDPOINT_URL",
    "AWS_S3_SECURE_URLS": "links are https where the endpoint is",
    "GS_AUTO_CREATE_ACL": "no bucket is made",
    "GS_AUTO_CREATE_BUCKET": "no bucket is made",
    "GS_CACHE_CONTROL": 'set GS_OBJECT_PARAMETERS = {"cache_control": …}',
}


@check()
def check_settings() -> Iterator[CheckMessage]:
    try:
        given = conf()
    except Exception as error:
        yield found("E001", f"{error}.")
        return
    chosen = {alias.name: alias for alias in aliases()}.get(given.file_storage)
    if chosen is None:
        yield found("E007", f"GATEWAY['FILE_STORAGE'] is {given.file_storage!r}, which STORAGES has not.")
    elif chosen.error is None and not chosen.is_private:
        yield found("E007", f"GATEWAY['FILE_STORAGE'] is {given.file_storage!r}, which is not a private storage.")
    if given.audit_database is not None and given.audit_database not in connections:
        yield found("E008", f"GATEWAY['AUDIT_DATABASE'] is {given.audit_database!r}, which DATABASES has not.")
    if not given.public_url:
        yield found("W009", "GATEWAY['PUBLIC_URL'] is empty, so that links to the gateway itself are relative.")


@check()
def check_middleware() -> Iterator[CheckMessage]:
    classes = [imported(path) for path in items_of("MIDDLEWARE")]
    places = _places(classes, GatewayMiddleware)
    before = {one: _places(classes, one) for one in (SessionMiddleware, AuthenticationMiddleware)}
    if not places:
        yield found("E002", "MIDDLEWARE has no GatewayMiddleware, so that in a request nobody asks for a link.")
    elif len(places) > 1:
        yield found("E003", f"MIDDLEWARE has GatewayMiddleware {len(places)} times; once.")
    for one, its_places in before.items():
        if places and its_places and its_places[-1] > places[0]:
            yield found("E003", f"MIDDLEWARE has GatewayMiddleware before {one.__name__}; after it.")
    if not before[AuthenticationMiddleware]:
        yield found("W004", "MIDDLEWARE has no AuthenticationMiddleware, which sets request.user.")


@check()
def check_sessions() -> Iterator[CheckMessage]:
    given = conf_or_none()
    if given is None:
        return
    classes = [imported(path) for path in items_of("MIDDLEWARE")]
    for path in given.authenticators:
        if _places([imported(path)], SessionAuthenticator) and not _places(classes, CsrfViewMiddleware):
            yield found("E012", f"GATEWAY['AUTHENTICATORS'] has {path!r}; MIDDLEWARE has no CsrfViewMiddleware.")
    age_seconds = getattr(settings, "SESSION_COOKIE_AGE", None)
    most_seconds = given.max_ttl.total_seconds()
    if _places(classes, SessionMiddleware) and isinstance(age_seconds, int) and age_seconds < most_seconds:
        yield found(
            "W013", f"SESSION_COOKIE_AGE is {age_seconds} s; at least GATEWAY['MAX_TTL'], {most_seconds:.0f} s."
        )


def _places(classes: Sequence[Any], wanted: type) -> list[int]:
    return [place for place, one in enumerate(classes) if isinstance(one, type) and issubclass(one, wanted)]


@check()
def check_urls() -> Iterator[CheckMessage]:
    try:
        reverse("presign_gateway:permalink", kwargs={"reference": "x"})
    except Exception as error:
        yield found("E005", f"The URLconf has no gateway.urls: {type(error).__name__}.")
    try:
        reverse("presign_gateway:api:api-root")
    except Exception:
        return  # without the API, which is an extra
    if not apps.is_installed("ninja"):
        yield found("E006", "The URLconf has the API of the gateway; INSTALLED_APPS has no 'ninja'.")


@check()
def check_settings_that_nobody_reads() -> Iterator[CheckMessage]:
    for name, alias in _GONE_FROM_DJANGO.items():
        if isinstance(getattr(settings, name, None), str):
            yield found("W014", f"{name} is set, which Django reads no more: STORAGES[{alias!r}] is what counts.")
    if any(hasattr(alias.storage, "querystring_auth") for alias in private_aliases()):
        for name, instead in _GONE_FROM_DJANGO_STORAGES.items():
            if hasattr(settings, name):
                yield found("W015", f"{name} is set, which django-storages reads no more: {instead}.")


@check(deploy=True)
def check_public_url() -> Iterator[CheckMessage]:
    given = conf_or_none()
    parts = None if given is None else split(given.public_url)
    if parts is None:
        return
    said = f"GATEWAY['PUBLIC_URL'] is {parts.geturl()!r}"
    if parts.scheme != "https":
        yield found("E010", f"{said}; https.")
    if settings.DEBUG and not is_loopback(str(parts.hostname)):
        yield found("E011", f"{said}, which is not this machine, and DEBUG is on.")
    host = split_domain_port(parts.netloc)[0]
    if not validate_host(host, [str(one) for one in items_of("ALLOWED_HOSTS")]):
        yield found("W016", f"{said}, whose host ALLOWED_HOSTS has not.")
