"""Judge a shared access signature for one blob from the specification alone, service and user delegation alike.

It must not import, or share code with, what it judges: it uses the standard library and nothing of ours.

Sources:
    https://learn.microsoft.com/rest/api/storageservices/create-service-sas
    https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
    https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes, urlsplit

MAX_KEY_LIFE = timedelta(days=7)

REASONS: Mapping[str, str] = {
    "account": "the key is of another account, or there is none",
    "control_character": "a signed field holds a control character",
    "delegation_key": "no user delegation key was issued with these fields",
    "duplicate": "a parameter is given twice",
    "encoding": "the path or query does not decode to UTF-8",
    "expired": "the time is over",
    "key_expired": "the user delegation key has ended",
    "key_not_yet_valid": "the user delegation key has not begun",
    "missing": "a required parameter is absent or empty",
    "missing_header": "Put Blob needs x-ms-blob-type",
    "not_yet_valid": "the start has not come yet",
    "outlives_its_key": "the link ends after the user delegation key does",
    "permission": "the permissions do not allow this request",
    "permissions": "the permissions are not documented letters in their order",
    "protocol": "the link is for https only",
    "resource": "the resource is not one blob, or not the version that is asked for",
    "signature": "the signature is not the one that this key makes for these fields",
    "time": "a time is not a plain YYYY-MM-DDTHH:MM:SSZ",
    "unknown_parameter": "a parameter is neither of the signature nor of the operation",
    "url": "the text is not an http(s) URL below the account's endpoint",
    "version": "the version is not one whose order of fields is known here",
}


class Refused(Exception):
    """Say why a request is refused: ``reason`` is a key of ``REASONS``; ``detail`` holds no signature."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {REASONS[reason]}" + (f" ({detail})" if detail else ""))


@dataclass(frozen=True)
class DelegationKey:
    """What Get User Delegation Key answered with; ``value`` is base64 and not shown."""

    oid: str
    tid: str
    start: str
    expiry: str
    service: str
    version: str
    value: str = field(repr=False)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.oid, self.tid, self.start, self.expiry, self.service, self.version


@dataclass(frozen=True)
class Account:
    """What the service knows of one account; no key is shown.

    Args:
        endpoint_url: where its blob service answers, without a slash at the end.
        keys: the account keys, base64.
        delegation_keys: those that were issued and not revoked.
    """

    name: str
    endpoint_url: str
    keys: tuple[str, ...] = field(default=(), repr=False)
    delegation_keys: tuple[DelegationKey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a verified request may do; ``answer`` holds the headers that the answer is given."""

    container: str
    blob: str
    version: str | None
    permissions: str
    starts_at: datetime | None
    expires_at: datetime
    delegated: bool
    answer: Mapping[str, str]
    operation: Mapping[str, str]


def verify_sas(
    *,
    method: str,
    url: str,
    account: Account,
    now: datetime,
    headers: Mapping[str, str] | None = None,
    blob_exists: bool = False,
) -> Verified:
    """Verify one request made with a link.

    Args:
        headers: what the client sends.
        now: the server's clock, aware UTC.
        blob_exists: what the service would find; creating is not enough then.

    Raises:
        Refused: with the first reason found.
    """
    container, blob, query = _split(url, account)
    for name in query:
        if name not in _SIGNED | _OPERATION:
            raise Refused("unknown_parameter", name)
    for name in ("sv", "sp", "se", "sr", "sig"):
        if not query.get(name):
            raise Refused("missing", name)
    extra_lines = _extra_lines(query["sv"])
    starts_at = _instant(query["st"]) if "st" in query else None
    expires_at = _instant(query["se"])
    if not re.fullmatch(r"r?a?c?w?d?x?y?l?t?m?e?i?", query["sp"], re.ASCII):
        raise Refused("permissions")
    version = query.get("versionid")
    if query["sr"] != ("b" if version is None else "bv"):
        raise Refused("resource")
    if query.get("spr", "https,http") not in ("https", "https,http"):
        raise Refused("protocol", "unknown")
    if query.get("spr") == "https" and not url.startswith("https://"):
        raise Refused("protocol")

    resource = f"/blob/{account.name}/{container}/{blob}"
    delegated = any(name in query for name in _DELEGATION)
    own = (
        [query.get(name, "") for name in (*_DELEGATION, "saoid", "suoid", "scid")]
        if delegated
        else [query.get("si", "")]
    )
    fields = [
        *(query.get(name, "") for name in ("sp", "st", "se")),
        resource,
        *own,
        *([""] * extra_lines[0] if delegated else []),
        *(query.get(name, "") for name in ("sip", "spr", "sv", "sr")),
        version or "",
        query.get("ses", ""),
        *([""] * extra_lines[1] if delegated else []),
        *(query.get(name, "") for name in _ANSWER),
    ]
    # Fields are joined as they are: one with a newline could be read as several.
    if any(not character.isprintable() and ord(character) < 0x80 for value in fields for character in value):
        raise Refused("control_character")
    keys = [_delegation_key(account, query, expires_at, now)] if delegated else account.keys
    text = "\n".join(fields)
    signature = query["sig"].encode()
    if not keys:
        raise Refused("account")
    if not any(hmac.compare_digest(signature, sign(text, key).encode()) for key in keys):
        raise Refused("signature")
    if starts_at is not None and now < starts_at:
        raise Refused("not_yet_valid")
    if now >= expires_at:
        raise Refused("expired")
    _check_permission(method, query, headers or {}, blob_exists=blob_exists)
    return Verified(
        container=container,
        blob=blob,
        version=version,
        permissions=query["sp"],
        starts_at=starts_at,
        expires_at=expires_at,
        delegated=delegated,
        answer={header: query[name] for name, header in _ANSWER.items() if name in query},
        operation={name: query[name] for name in ("comp", "blockid") if name in query},
    )


def sign(text: str, key: str) -> str:
    """Sign a string to sign with a key in base64."""
    return base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()


_DELEGATION = ("skoid", "sktid", "skt", "ske", "sks", "skv")
_ANSWER = {
    "rscc": "Cache-Control",
    "rscd": "Content-Disposition",
    "rsce": "Content-Encoding",
    "rscl": "Content-Language",
    "rsct": "Content-Type",
}
_SIGNED = frozenset({"sv", "sr", "st", "se", "sp", "sip", "spr", "si", "ses", "sig", *_ANSWER, *_DELEGATION})
_OPERATION = frozenset({"versionid", "comp", "blockid"})


def _extra_lines(version: str) -> tuple[int, int]:
    """Return how many empty fields a user delegation signature has after the correlation id, and after ``ses``.

    The identities of a user that a link is bound to came with 2025-07-05, the request's own headers and
    parameters with 2026-04-06.
    """
    if not re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", version, re.ASCII) or version < "2020-12-06":
        raise Refused("version")
    return 2 if version >= "2025-07-05" else 0, 2 if version >= "2026-04-06" else 0


def _split(url: str, account: Account) -> tuple[str, str, dict[str, str]]:
    """Return the container, the blob and the query."""
    parts = urlsplit(url)
    visible = all("!" <= character <= "~" for character in url)
    if not visible or parts.scheme not in ("http", "https") or not url.startswith(account.endpoint_url + "/"):
        raise Refused("url")
    raw_container, _, raw_blob = url.removeprefix(account.endpoint_url + "/").partition("?")[0].partition("/")
    container, blob = _decode(raw_container), _decode(raw_blob)
    if not re.fullmatch(r"[a-z0-9-]{3,63}", container, re.ASCII) or not blob:
        raise Refused("url")
    query: dict[str, str] = {}
    for pair in parts.query.split("&"):
        raw_name, _, raw_value = pair.partition("=")
        name = _decode(raw_name)
        if name in query:
            raise Refused("duplicate", name)
        query[name] = _decode(raw_value)
    return container, blob, query


def _decode(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Refused("encoding") from None


def _instant(text: str) -> datetime:
    try:
        instant = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("time") from None
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text, re.ASCII):
        raise Refused("time")
    return instant


def _delegation_key(account: Account, query: Mapping[str, str], expires_at: datetime, now: datetime) -> str:
    named = tuple(query.get(name, "") for name in _DELEGATION)
    key = next((key for key in account.delegation_keys if key.fields == named), None)
    if key is None:
        raise Refused("delegation_key")
    start, end = _instant(key.start), _instant(key.expiry)
    if now < start:
        raise Refused("key_not_yet_valid")
    if now >= end or end - start > MAX_KEY_LIFE:
        raise Refused("key_expired")
    # The service lets such a link end with its key; nobody should be told another time.
    if expires_at > end:
        raise Refused("outlives_its_key")
    return key.value


def _check_permission(method: str, query: Mapping[str, str], headers: Mapping[str, str], *, blob_exists: bool) -> None:
    sent = {name.lower() for name in headers}
    match method, query.get("comp"):
        case (("GET" | "HEAD"), None):
            allowed = "r" in query["sp"]
        case "PUT", None:
            allowed = "w" in query["sp"] or ("c" in query["sp"] and not blob_exists)
            if allowed and "x-ms-blob-type" not in sent:
                raise Refused("missing_header")
        case "PUT", ("block" | "blocklist"):
            allowed = "w" in query["sp"]
        case "DELETE", None:
            allowed = "d" in query["sp"]
        case _:
            allowed = False
    if not allowed:
        raise Refused("permission", method)
