"""Checks of private storages: that they can be built and can sign, with which secrets and for how long.

Must not sign, and must not ask a store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.checks.security.base import SECRET_KEY_INSECURE_PREFIX
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage
from django.urls import NoReverseMatch
from django.utils.encoding import force_bytes

from gateway.checks.messages import check, found
from gateway.checks.reading import (
    Alias,
    aliases,
    conf_or_none,
    file_fields,
    items_of,
    local_aliases,
    private_aliases,
)
from gateway.resources import alias_of
from providers.local import MIN_SECRET_BYTES

_NAME = re.compile(r"[-a-zA-Z0-9_]{1,64}")  # Django's slug, in links; as long as the columns of rows
# django-storages' names of a lifetime, and the settings that say the same.
_EXPIRIES = {
    "querystring_expire": "AWS_QUERYSTRING_EXPIRE",
    "expiration": "GS_EXPIRATION",
    "expiration_secs": "AZURE_URL_EXPIRATION_SECS",
}
_OVERWRITE_OPTIONS = ("file_overwrite", "overwrite_files", "allow_overwrite")


@check()
def check_storages() -> Iterator[CheckMessage]:
    given = conf_or_none()
    needed = {given.file_storage, *given.path_policies} if given else set()
    for alias in aliases():
        if alias.error is not None and (alias.is_private or alias.name in needed or _is_named_ours(alias)):
            yield found("E020", f"{alias} cannot be built: {alias.error}.")
        if not alias.is_private:
            continue
        if not (isinstance(alias.name, str) and _NAME.fullmatch(alias.name)):
            yield found("E024", f"STORAGES has the private alias {alias.name!r}.")
        if (own := alias.options.get("alias")) not in (None, alias.name):
            yield found("E025", f"{alias} has the option alias {own!r}.")
        if alias.name == "staticfiles":
            yield found("E022", f"{alias} is private.")
        if alias.name == "default":
            fields = ", ".join(_fields_on(alias.name)) or "no field of this project"
            yield found(
                "W023",
                f"{alias} is private, and with it {fields}, and what apps save through default_storage.",
            )


def _is_named_ours(alias: Alias) -> bool:
    entry = settings.STORAGES[alias.name]
    return isinstance(entry, dict) and str(entry.get("BACKEND")).startswith("gateway.")


def _fields_on(name: str) -> Iterator[str]:
    for one in file_fields():
        with suppress(Exception):
            if alias_of(one.storage) == name:
                yield f"{one.model._meta.label}.{one.name}"


@check()
def check_providers() -> Iterator[CheckMessage]:
    is_short = any(_short_secrets())
    for alias in private_aliases() if conf_or_none() else ():
        if is_short and _signs_with_project_secret(alias):
            continue
        try:
            alias.storage.provider  # noqa: B018  (building it is the question)
        except NoReverseMatch:
            continue  # the checks of the URLs and of the alias name it
        except Exception as error:
            yield found("E021", f"{alias} cannot sign links: {error}.")


@check()
def check_secrets() -> Iterator[CheckMessage]:
    for alias in filter(_signs_with_project_secret, local_aliases()):
        for name, size_bytes in _short_secrets():
            yield found(
                "E029", f"{name} is {size_bytes} bytes; at least {MIN_SECRET_BYTES} to sign the links of {alias}."
            )


@check(deploy=True)
def check_secrets_for_deploy() -> Iterator[CheckMessage]:
    for alias in filter(_signs_with_project_secret, local_aliases()):
        for name, secret in _project_secrets():
            if secret.startswith(SECRET_KEY_INSECURE_PREFIX.encode()):
                yield found("E030", f"{name} starts with {SECRET_KEY_INSECURE_PREFIX!r}; {alias} signs with it.")


def _signs_with_project_secret(alias: Alias) -> bool:
    return isinstance(alias.storage, FileSystemStorage) and alias.options.get("secret_keys") is None


def _project_secrets() -> Iterator[tuple[str, bytes]]:
    try:
        yield "SECRET_KEY", force_bytes(settings.SECRET_KEY)
    except ImproperlyConfigured:
        yield "SECRET_KEY", b""  # Django refuses to show an empty one
    for number, secret in enumerate(items_of("SECRET_KEY_FALLBACKS")):
        yield f"SECRET_KEY_FALLBACKS[{number}]", force_bytes(secret)


def _short_secrets() -> Iterator[tuple[str, int]]:
    return ((name, len(secret)) for name, secret in _project_secrets() if len(secret) < MIN_SECRET_BYTES)


@check()
def check_lifetimes() -> Iterator[CheckMessage]:
    given = conf_or_none()
    for alias in private_aliases() if given else ():
        assert given is not None
        max_ttl, default_ttl = alias.storage.max_ttl, alias.storage.default_ttl
        most = given.max_ttl if max_ttl is None else min(max_ttl, given.max_ttl)
        window = getattr(alias.storage, "url_window", None)
        half = min(default_ttl or given.default_ttl, most) / 2
        if window is not None and window > half:
            yield found(
                "E026", f"{alias} has url_window {_seconds(window)}; at most {_seconds(half)}, half its lifetime."
            )
        if max_ttl is not None and max_ttl > most:
            yield found("E026", f"{alias} has max_ttl {_seconds(max_ttl)}; at most {_seconds(most)}.")
        if default_ttl is None or default_ttl <= most:
            continue
        for option, setting in _EXPIRIES.items():
            if getattr(alias.storage, option, None) is not None:
                name = option if option in alias.options else setting
                yield found("W027", f"{alias} has {name} {_seconds(default_ttl)}; at most {_seconds(most)}.")
                break
        else:
            yield found("E026", f"{alias} has default_ttl {_seconds(default_ttl)}; at most {_seconds(most)}.")


def _seconds(ttl: timedelta) -> str:
    return f"{ttl.total_seconds():.0f} s"


@check()
def check_options() -> Iterator[CheckMessage]:
    for alias in private_aliases():
        for name in _OVERWRITE_OPTIONS:
            if getattr(alias.storage, name, alias.options.get(name)) is True:
                yield found("W028", f"{alias} has {name} switched on.")
        if getattr(alias.storage, "security_token", None):
            yield found("W031", f"{alias} has a session token, which ends.")
