"""``settings.GATEWAY`` as one frozen value, read when it is first needed and again when it changes.

Must not import models or policies: dotted paths stay strings here until somebody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

__all__ = ["Conf", "conf", "resolve"]

_MAX_TTL_SECONDS = 7 * 24 * 3600  # the longest that any of the stores accepts


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """The gateway's settings; each key of ``settings.GATEWAY`` is the attribute in capitals.

    Attributes:
        default_ttl: lifetime of a link for which none was asked, in seconds.
        max_ttl: the longest lifetime of any link, in seconds; 1 to 604800.
        batch_limit: the most items of one batch.
        default_policy: decides where no policy is named: dotted path or instance.
        policies: ``{"app.Model.field" or "app.Model": policy}``.
        path_policies: ``{alias: policy}`` for names that no row is known for.
        file_storage: alias under which the service keeps its own files.
        public_url: ``http(s)://host[:port]`` that links to the gateway itself start with; never taken
            from a request.
        authenticators: dotted paths, tried in order by the JSON API.
        tenant: dotted path to an object with ``of_principal(principal)`` and ``of_row(instance)``.
        warn_unprefetched: more single links than this in one request log a warning.
        audit_database: alias of the connection that audit rows are written through; None is the router's.
        delete_grace: seconds between the deletion of a row and of its object.
        max_upload_bytes: the largest file that the form-data upload takes.
    """

    default_ttl: timedelta = timedelta(seconds=300)
    max_ttl: timedelta = timedelta(seconds=900)
    batch_limit: int = 100
    default_policy: Any = "gateway.policies.DEFAULT_POLICY"
    policies: Mapping[str, Any] = field(default_factory=dict)
    path_policies: Mapping[str, Any] = field(default_factory=dict)
    file_storage: str = "private"
    public_url: str = ""
    authenticators: tuple[str, ...] = (
        "gateway.authentication.ApiTokenAuthenticator",
        "gateway.authentication.SessionAuthenticator",
    )
    tenant: str | None = None
    warn_unprefetched: int = 20
    audit_database: str | None = None
    delete_grace: timedelta = timedelta(hours=24)
    max_upload_bytes: int = 100 * 2**20

    @property
    def public_origin(self) -> str:
        """``public_url`` without a trailing slash."""
        return self.public_url.rstrip("/")


_SECONDS = {"default_ttl": (1, _MAX_TTL_SECONDS), "max_ttl": (1, _MAX_TTL_SECONDS), "delete_grace": (0, None)}
_NUMBERS = {"batch_limit": (1, 10_000), "warn_unprefetched": (0, None), "max_upload_bytes": (1, None)}


@lru_cache(maxsize=1)
def conf() -> Conf:
    """Return the settings.

    Raises:
        ImproperlyConfigured: an unknown key, or a value out of bounds; the message names both.
    """
    given = getattr(settings, "GATEWAY", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"GATEWAY is of type {type(given).__name__}; a dict")
    known = {option.name.upper(): option.name for option in fields(Conf)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ImproperlyConfigured(f"GATEWAY has an unknown key {key!r}; known are {', '.join(sorted(known))}")
        values[known[key]] = _checked(key, known[key], value)
    result = Conf(**values)
    if result.default_ttl > result.max_ttl:
        raise ImproperlyConfigured(
            f"GATEWAY['DEFAULT_TTL'] is {result.default_ttl.total_seconds():.0f} s;"
            f" at most MAX_TTL, {result.max_ttl.total_seconds():.0f} s"
        )
    return result


def _checked(key: str, name: str, value: Any) -> Any:
    if name in _SECONDS or name in _NUMBERS:
        least, most = (_SECONDS | _NUMBERS)[name]
        # bool is an int to isinstance, and True seconds is a mistake.
        if type(value) is not int or value < least or (most is not None and value > most):
            bound = f"a whole number from {least}" + ("" if most is None else f" to {most}")
            raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {value!r}; {bound}")
        return timedelta(seconds=value) if name in _SECONDS else value
    if name in ("policies", "path_policies"):
        if not isinstance(value, Mapping) or not all(isinstance(label, str) for label in value):
            raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {value!r}; a dict of label and policy")
    elif name == "authenticators":
        if isinstance(value, str) or not all(isinstance(path, str) for path in value):
            raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {value!r}; a list of dotted paths")
        return tuple(value)
    elif name == "public_url":
        return _checked_url(key, value)
    elif name in ("file_storage", "tenant", "audit_database") and not (
        isinstance(value, str) or (value is None and name != "file_storage")
    ):
        raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {value!r}; a string")
    return value


def _checked_url(key: str, value: Any) -> str:
    parts = urlsplit(value) if isinstance(value, str) else None
    if value != "" and (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {value!r}; http(s)://host[:port]")
    return str(value)


@lru_cache(maxsize=256)
def _imported(path: str) -> Any:
    target = import_string(path)
    return target() if isinstance(target, type) else target


def resolve(value: Any) -> Any:
    """Return what a setting names: a dotted path's object, an instance where it names a class."""
    return _imported(value) if isinstance(value, str) else value


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("GATEWAY", "STORAGES"):
        conf.cache_clear()
        _imported.cache_clear()


setting_changed.connect(_forget, dispatch_uid="gateway.conf")
