"""``GATEWAY["JWT_ISSUERS"]``: whose tokens are believed, for what, signed how, and whom they are of.

Must not show a key in any message, and must not connect to anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from gateway.conf import resolve
from gateway.contrib.jwt.keys import ASYMMETRIC, FileKeys, KeySource, RemoteKeys, StaticKey, fits
from gateway.contrib.jwt.tokens import MAX_NAME_CHARACTERS

__all__ = ["MAX_LEEWAY_SECONDS", "Issuer", "read_issuers"]

MAX_LEEWAY_SECONDS = 30
# With the least bytes of a key: as many as the hash has. https://www.rfc-editor.org/rfc/rfc7518#section-3.2
_SYMMETRIC = {"HS256": 32, "HS384": 48, "HS512": 64}
_SOURCES = ("jwks_url", "jwks_file", "key")
_KNOWN = ("algorithms", "audience", "leeway_seconds", "scopes_claim", "user", *_SOURCES)
_URL = re.compile(
    r"(?P<origin>(?P<scheme>https?)://(?:[a-z0-9.\-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?)"
    r"(?P<path>/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One issuer of tokens.

    Attributes:
        name: what ``iss`` is.
        audience: what ``aud`` is or holds.
        algorithms: what ``alg`` may be.
        keys: where the key of a token is found.
        leeway_seconds: how far clocks may differ; 0 to 30.
        user: maps verified claims to a user or None; without it :class:`ExternalIdentity` does.
        scopes_claim: names the claim that lists the operations; without it all may be asked for.
    """

    name: str
    audience: str
    algorithms: tuple[str, ...]
    keys: KeySource = field(repr=False)
    leeway_seconds: int = 0
    user: Callable[[dict[str, Any]], Any] | None = None
    scopes_claim: str | None = None


def read_issuers(given: Mapping[str, Any]) -> dict[str, Issuer]:
    """Return the issuers by name.

    Raises:
        ImproperlyConfigured: there is none, or one of them is not right; the message names the value and the
            bound, but for keys.
    """
    if not given:
        raise ImproperlyConfigured("GATEWAY['JWT_ISSUERS'] is empty; at least one issuer for JWTAuthenticator")
    return {name: _issuer(name, options) for name, options in given.items()}


def _issuer(name: str, options: Any) -> Issuer:
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise _wrong(name, "", f"has {len(name)} characters; at most {MAX_NAME_CHARACTERS}, printable")
    if not isinstance(options, Mapping):
        raise _wrong(name, "", f"is of type {type(options).__name__}; a dict")
    for key in options:
        if key not in _KNOWN:
            raise _wrong(name, "", f"has an unknown key {key!r}; known are {', '.join(sorted(_KNOWN))}")
    algorithms = _algorithms(name, options.get("algorithms"))
    leeway_seconds = options.get("leeway_seconds", 0)
    if type(leeway_seconds) is not int or not 0 <= leeway_seconds <= MAX_LEEWAY_SECONDS:
        raise _wrong(name, "leeway_seconds", f"is {leeway_seconds!r}; a whole number from 0 to {MAX_LEEWAY_SECONDS}")
    scopes_claim = options.get("scopes_claim")
    return Issuer(
        name=name,
        audience=_text(name, "audience", options.get("audience")),
        algorithms=algorithms,
        keys=_keys(name, options, algorithms),
        leeway_seconds=leeway_seconds,
        user=_user(name, options.get("user")),
        scopes_claim=None if scopes_claim is None else _text(name, "scopes_claim", scopes_claim),
    )


def _algorithms(name: str, given: Any) -> tuple[str, ...]:
    known = (*ASYMMETRIC, *_SYMMETRIC)
    if not isinstance(given, (list, tuple)) or not given or not all(one in known for one in given):
        raise _wrong(name, "algorithms", f"is {given!r}; a list of {', '.join(known)}")
    # What is a public key to one would be the secret of the other.
    if len({one in ASYMMETRIC for one in given}) > 1:
        raise _wrong(name, "algorithms", f"is {given!r}; either symmetric or asymmetric ones")
    return tuple(given)


def _keys(name: str, options: Mapping[str, Any], algorithms: Sequence[str]) -> KeySource:
    sources = [source for source in _SOURCES if source in options]
    if len(sources) != 1:
        raise _wrong(name, "", f"has {' and '.join(sources) or 'no key'}; one of {', '.join(_SOURCES)}")
    source, value = sources[0], options[sources[0]]
    if algorithms[0] in _SYMMETRIC:
        if source != "key":
            raise _wrong(name, "algorithms", f"is {list(algorithms)!r}; asymmetric ones with {source}")
        return StaticKey(_secret(name, value, algorithms))
    match source:
        case "key":
            return StaticKey(_public_key(name, value, algorithms))
        case "jwks_file":
            return _file(name, value, algorithms)
        case _:
            return RemoteKeys(*_url(name, value), algorithms)


def _secret(name: str, value: Any, algorithms: Sequence[str]) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise _wrong(name, "key", f"is of type {type(value).__name__}; text or bytes")
    secret = value.encode() if isinstance(value, str) else value
    least = max(_SYMMETRIC[one] for one in algorithms)
    if len(secret) < least:
        raise _wrong(name, "key", f"has {len(secret)} bytes; at least {least} for {', '.join(algorithms)}")
    if b"-----BEGIN" in secret:
        raise _wrong(name, "key", f"is a PEM document; a secret for {', '.join(algorithms)}")
    return secret


def _public_key(name: str, value: Any, algorithms: Sequence[str]) -> Any:
    if not isinstance(value, (str, bytes)):
        raise _wrong(name, "key", f"is of type {type(value).__name__}; a public key in PEM")
    try:
        key = load_pem_public_key(value.encode() if isinstance(value, str) else value)
    except (ValueError, UnsupportedAlgorithm):
        # Without the cause, which might show it.
        key = None
    if key is None:
        raise _wrong(name, "key", "is no public key in PEM; -----BEGIN PUBLIC KEY-----")
    for algorithm in algorithms:
        if not fits(key, algorithm):
            raise _wrong(name, "key", f"is no key for {algorithm}, or too weak a one")
    return key


def _file(name: str, value: Any, algorithms: Sequence[str]) -> FileKeys:
    if not isinstance(value, (str, Path)) or not str(value):
        raise _wrong(name, "jwks_file", f"is {value!r}; a path")
    try:
        return FileKeys(Path(value), algorithms)
    except OSError as error:
        problem = type(error).__name__
    except ValueError as error:
        problem = str(error)
    raise _wrong(name, "jwks_file", f"is {str(value)!r}; a file with a key set for {', '.join(algorithms)}: {problem}")


def _url(name: str, value: Any) -> tuple[str, str]:
    """Return origin, and path with query."""
    if not isinstance(value, str) or "@" in value.partition("?")[0]:
        # Before an @ may stand a password.
        raise _wrong(name, "jwks_url", "is no text, or has a user name; https://host/path")
    match = _URL.fullmatch(value)
    if match is None or int(match["port"] or 1) not in range(1, 2**16):
        raise _wrong(name, "jwks_url", f"is {value!r}; https://host/path, the host in lower case")
    if match["scheme"] == "http" and not settings.DEBUG:
        raise _wrong(name, "jwks_url", f"is {value!r}; https, or http while DEBUG is on")
    return match["origin"], match["path"] or "/"


def _user(name: str, path: Any) -> Callable[[dict[str, Any]], Any] | None:
    if path is None:
        return None
    _text(name, "user", path)
    try:
        target = resolve(path)
    except Exception as error:
        # Whatever the module of the project raises while it is imported.
        raise _wrong(name, "user", f"is {path!r}, which cannot be had: {type(error).__name__}") from error
    if not callable(target):
        raise _wrong(name, "user", f"is {path!r}, which cannot be called; user(claims)")
    hook: Callable[[dict[str, Any]], Any] = target
    return hook


def _text(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, key, f"is {value!r}; a text that is not empty")
    return value


def _wrong(name: str, key: str, problem: str) -> ImproperlyConfigured:
    place = f"GATEWAY['JWT_ISSUERS'][{name!r}]" + (f"[{key!r}]" if key else "")
    return ImproperlyConfigured(f"{place} {problem}")
