"""``settings.GATEWAY`` as one frozen value, read when it is first needed and again when it changes.

Must not import models or policies: dotted paths stay strings here until somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from providers.types import MAX_SINGLE_UPLOAD_BYTES

__all__ = ["Conf", "conf", "has_tasks", "resolve"]

_MAX_TTL_SECONDS = 7 * 24 * 3600  # the longest that any of the stores accepts
_PREFIX = re.compile(r"/(?:[A-Za-z0-9_\-]+/)+")
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """The gateway's settings; each key of ``settings.GATEWAY`` is the attribute in capitals.

    Attributes:
        default_ttl: lifetime of a link for which none was asked, in seconds.
        max_ttl: the longest lifetime of any link, in seconds; 1 to 604800.
        batch_limit: the most items of one batch.
        default_policy: decides where no policy is named: dotted path or instance.
        policies: ``{"app.Model.field" or "app.Model": policy}``.
        storage_policies: ``{alias: policy}`` for rows whose field and model have none.
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
        max_direct_upload_bytes: the largest file that may be uploaded straight to a store; 1 to 5368709120.
        upload_policy: decides who may upload a file of the service's own: dotted path or instance.
        upload_scanner: dotted path to an object with ``scan(chunks)``, which reads an upload's bytes and returns the
            name of what it found in them, or None; nothing is ready before it was asked. An exception of its own is
            no yes.
        upload_lifetime: seconds from the beginning of an upload to the last moment at which it can be finalized.
        upload_part_bytes: size of a part, and the largest upload that is made in one request where the client
            leaves the choice; stores and the number of parts may demand more.
        verify_later_bytes: an upload that is larger is verified by a task, and finalize answers 202 until that is
            done; None verifies every upload in the request. Needs Django 6, or the package django-tasks.
        jwt_issuers: ``{issuer: {"audience": …, "algorithms": […], …}}``, whose JSON web tokens
            ``gateway.contrib.jwt.JWTAuthenticator`` takes.
        failed_logins_per_minute: after so many failed authentications of an address or a credential the JSON API
            and the permalink answer 429 until the minute is over; 0 is no limit.
        trusted_proxies: how many proxies of one's own a request passes, each of which adds to X-Forwarded-For;
            0 takes the address of the connection. At most 10.
        links_per_minute: the most links that the JSON API issues to one principal; a batch counts its items. None
            is no limit.
        forward_auth: ``{"proxy": "nginx", "caddy" or "traefik", "secret": text, "paths": {"/prefix/": alias}}``: the
            server that asks whether a file may be sent, and where its files are; the secret is at least 32 letters,
            digits, ``-`` and ``_``. The proxy ``"apache"`` asks in its own process, and has no secret.
    """

    default_ttl: timedelta = timedelta(seconds=300)
    max_ttl: timedelta = timedelta(seconds=900)
    batch_limit: int = 100
    default_policy: Any = "gateway.policies.DEFAULT_POLICY"
    policies: Mapping[str, Any] = field(default_factory=dict)
    storage_policies: Mapping[str, Any] = field(default_factory=dict)
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
    max_direct_upload_bytes: int = 5 * 2**30
    upload_policy: Any = "gateway.policies.UPLOAD_POLICY"
    upload_scanner: str | None = None
    upload_lifetime: timedelta = timedelta(hours=24)
    upload_part_bytes: int = 16 * 2**20
    verify_later_bytes: int | None = None
    jwt_issuers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    failed_logins_per_minute: int = 30
    trusted_proxies: int = 0
    links_per_minute: int | None = None

    forward_auth: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def public_origin(self) -> str:
        """``public_url`` without a trailing slash."""
        return self.public_url.rstrip("/")


_SECONDS = {
    "default_ttl": (1, _MAX_TTL_SECONDS),
    "max_ttl": (1, _MAX_TTL_SECONDS),
    "delete_grace": (0, None),
    "upload_lifetime": (60, _MAX_TTL_SECONDS),
}
_SECRET = frozenset({"jwt_issuers", "forward_auth"})  # what holds secrets is not shown
_NUMBERS = {
    "batch_limit": (1, 10_000),
    "warn_unprefetched": (0, None),
    "max_upload_bytes": (1, None),
    "max_direct_upload_bytes": (1, MAX_SINGLE_UPLOAD_BYTES),
    "upload_part_bytes": (1, MAX_SINGLE_UPLOAD_BYTES),
    "failed_logins_per_minute": (0, None),
    "trusted_proxies": (0, 10),
}


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
    if result.links_per_minute is not None and result.links_per_minute < result.batch_limit:
        # A full batch would be told to come back later for ever.
        raise ImproperlyConfigured(
            f"GATEWAY['LINKS_PER_MINUTE'] is {result.links_per_minute}; at least BATCH_LIMIT, {result.batch_limit}"
        )
    if result.verify_later_bytes is not None and not has_tasks():
        raise ImproperlyConfigured(
            f"GATEWAY['VERIFY_LATER_BYTES'] is {result.verify_later_bytes}; None, or install django-tasks"
        )
    return result


def has_tasks() -> bool:
    """Return whether a task framework is installed: Django's own, or the package that gives it to older versions."""
    return any(find_spec(name) is not None for name in ("django.tasks", "django_tasks"))


def _checked(key: str, name: str, value: Any) -> Any:
    if name in _SECONDS or name in _NUMBERS:
        least, most = (_SECONDS | _NUMBERS)[name]
        # bool is an int to isinstance, and True seconds is a mistake.
        if type(value) is not int or value < least or (most is not None and value > most):
            bound = f"a whole number from {least}" + ("" if most is None else f" to {most}")
            raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {value!r}; {bound}")
        return timedelta(seconds=value) if name in _SECONDS else value
    if not _CHECKS[name][0](value):
        given = f"of type {type(value).__name__}" if name in _SECRET else repr(value)
        raise ImproperlyConfigured(f"GATEWAY[{key!r}] is {given}; {_CHECKS[name][1]}")
    return tuple(value) if name == "authenticators" else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_optional_text(value: Any) -> bool:
    return value is None or _is_text(value)


def _are_paths(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _is_optional_count(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _is_optional_size(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _are_issuers(value: Any) -> bool:
    # What each of them is, is looked at where tokens are read.
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_forward_auth(value: Any) -> bool:
    if value == {}:
        return True
    if not isinstance(value, Mapping):
        return False
    proxy, paths = value.get("proxy"), value.get("paths")
    if proxy == "apache":
        is_known = set(value) == {"proxy", "paths"}
    else:
        is_known = proxy in ("nginx", "caddy", "traefik") and set(value) == {"proxy", "secret", "paths"}
    return (
        is_known
        and (proxy == "apache" or _is_shared_secret(value["secret"]))
        and isinstance(paths, Mapping)
        and bool(paths)
        and all(isinstance(prefix, str) and _PREFIX.fullmatch(prefix) for prefix in paths)
        and all(map(_is_text, paths.values()))
        # One below another would leave open which of them is meant.
        and not any(one != other and one.startswith(other) for one in paths for other in paths)
    )


def _is_shared_secret(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_\-]{32,}", value) is not None


def _is_policy(value: Any) -> bool:
    # A class would be asked without itself, and a query can be made of an instance alone.
    return _is_text(value) or (callable(getattr(value, "decide", None)) and not isinstance(value, type))


def _are_policies(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(_is_policy, value.values()))


def _is_origin(value: Any) -> bool:
    if value == "":
        return True
    match = _ORIGIN.fullmatch(value) if isinstance(value, str) else None
    return match is not None and int(match[1] or 0) <= 65_535


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "default_policy": (_is_policy, "a dotted path or an instance with decide()"),
    "upload_policy": (_is_policy, "a dotted path or an instance with decide()"),
    "policies": (_are_policies, "a dict of label and policy: a dotted path or an instance with decide()"),
    "storage_policies": (_are_policies, "a dict of alias and policy: a dotted path or an instance with decide()"),
    "path_policies": (_are_policies, "a dict of alias and policy: a dotted path or an instance with decide()"),
    "file_storage": (_is_text, "an alias of STORAGES"),
    "public_url": (_is_origin, "http(s)://host[:port]"),
    "authenticators": (_are_paths, "a list of dotted paths"),
    "upload_scanner": (_is_optional_text, "a dotted path or None"),
    "tenant": (_is_optional_text, "a dotted path or None"),
    "audit_database": (_is_optional_text, "an alias of DATABASES or None"),
    "forward_auth": (
        _is_forward_auth,
        "a dict of proxy (nginx, caddy, traefik or, without a secret, apache), secret (32 or more letters, digits, -"
        " and _) and paths"
        ' ({"/prefix/": alias}, none below another)',
    ),
    "jwt_issuers": (_are_issuers, "a dict of issuer and dict"),
    "verify_later_bytes": (_is_optional_size, "a whole number from 0, or None"),
    "links_per_minute": (_is_optional_count, "a whole number from 1, or None"),
}


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
