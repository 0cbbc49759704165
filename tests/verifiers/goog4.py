"""Judge a V4 signed request or POST form for Cloud Storage from the specification alone, with RSA and HMAC keys.

It must not import, or share code with, what it judges: RSA is checked here with plain numbers.

Sources:
    https://cloud.google.com/storage/docs/authentication/canonical-requests
    https://cloud.google.com/storage/docs/authentication/signatures
    https://cloud.google.com/storage/docs/xml-api/reference-headers
    https://cloud.google.com/storage/docs/xml-api/post-object-forms
    https://www.rfc-editor.org/rfc/rfc8017#section-8.2.2
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_to_bytes

MAX_EXPIRES_SECONDS = 604_800
MAX_CLOCK_SKEW = timedelta(minutes=15)
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

REASONS: Mapping[str, str] = {
    "algorithm": "the algorithm is not the one of the identity's key",
    "condition": "a form field does not meet a condition of the policy",
    "content_length": "the length sent is out of the range that was signed",
    "credential": "the credential is not authorizer/date/location/storage/goog4_request",
    "date": "the date is not a real YYYYMMDDTHHMMSSZ, or not of the credential's day",
    "duplicate": "a parameter, header or form field is given twice",
    "encoding": "the path or query is not in the one canonical percent-encoding of UTF-8",
    "expired": "the time is over",
    "expires_range": f"the lifetime is not a plain number of 1 to {MAX_EXPIRES_SECONDS} seconds",
    "header_value": "a header has a value whose canonical form is in doubt",
    "host": "the Host header is not the host of the link",
    "identity": "nobody has this e-mail or access id",
    "missing": "a required parameter or form field is absent or empty",
    "missing_header": "a signed header is not sent",
    "not_yet_valid": "the signing time is more than 15 minutes ahead",
    "policy": "the policy is not a well-formed policy document",
    "signature": "the signature is not the one that this identity makes for this request",
    "signed_headers": "the list of signed headers is not lower-case, sorted, unique and with the host",
    "two_mechanisms": "a second way of authentication is used beside the query string",
    "uncovered_field": "a form field has no condition in the policy that binds it",
    "unknown_parameter": "an X-Goog- parameter is not one of the documented ones",
    "unsigned_header": "a header that must be signed is not",
    "url": "the text is not an http(s) URL that a client sends unchanged",
}


class Refused(Exception):
    """Say why a request is refused: ``reason`` is a key of ``REASONS``; ``detail`` holds no signature."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {REASONS[reason]}" + (f" ({detail})" if detail else ""))


@dataclass(frozen=True)
class RSAIdentity:
    """The public half of a service account's key."""

    modulus: int
    exponent: int = 65_537
    algorithm: str = "GOOG4-RSA-SHA256"

    def signed(self, signature: bytes, scope: str, text: str) -> bool:
        length = (self.modulus.bit_length() + 7) // 8
        if len(signature) != length:
            return False
        # The DigestInfo of SHA-256, in a block that has one form only: everything else is a forgery.
        info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(text.encode()).digest()
        expected = b"\x00\x01" + b"\xff" * (length - len(info) - 3) + b"\x00" + info
        number = int.from_bytes(signature, "big")
        return number < self.modulus and pow(number, self.exponent, self.modulus).to_bytes(length, "big") == expected


@dataclass(frozen=True)
class HMACIdentity:
    """The secret that belongs to an access id; a repr does not show it."""

    secret: str = field(repr=False)
    algorithm: str = "GOOG4-HMAC-SHA256"

    def signed(self, signature: bytes, scope: str, text: str) -> bool:
        key = f"GOOG4{self.secret}".encode()
        for message in scope.split("/"):
            key = hmac.digest(key, message.encode(), "sha256")
        return hmac.compare_digest(signature, hmac.digest(key, text.encode(), "sha256"))


Identity = RSAIdentity | HMACIdentity


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a verified request may do; ``path`` is decoded, ``query`` the operation's own."""

    authorizer: str
    method: str
    host: str
    path: str
    expires_at: datetime
    signed_headers: tuple[str, ...]
    query: Mapping[str, str]


def verify_signed(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    identities: Mapping[str, Identity],
    now: datetime,
    body_length: int | None = None,
) -> Verified:
    """Verify one request made with a signed URL.

    Args:
        headers: what the client sends; Host and Content-Length may be left to the URL and to ``body_length``.
        now: the server's clock, aware UTC.
        body_length: bytes in the body.

    Raises:
        Refused: with the first reason found.
    """
    host, raw_path, raw_query = _split(url)
    query = _parameters(raw_query)
    sent = _headers(headers, host)
    if "authorization" in sent or "Signature" in query:
        raise Refused("two_mechanisms")
    for name in query:
        known = name in _REQUIRED or name.lower().startswith("x-goog-custom-audit-")
        if name.lower().startswith(("x-goog-", "x-amz-")) and not known:
            raise Refused("unknown_parameter", name)
    _require(query, _REQUIRED)
    who, scope, signed_at, identity = _who(
        query["X-Goog-Algorithm"], query["X-Goog-Credential"], query["X-Goog-Date"], identities, now
    )
    if not re.fullmatch(r"[1-9][0-9]{0,5}", query["X-Goog-Expires"], re.ASCII):
        raise Refused("expires_range")
    expires = int(query["X-Goog-Expires"])
    if expires > MAX_EXPIRES_SECONDS:
        raise Refused("expires_range")
    if now >= signed_at + timedelta(seconds=expires):
        raise Refused("expired")

    names = query["X-Goog-SignedHeaders"].split(";")
    if names != sorted(set(names)) or "host" not in names or not all(_NAME.fullmatch(name) for name in names):
        raise Refused("signed_headers")
    for name in sent:
        if name not in names and (name in _SIGNED_IF_SENT or name.startswith(("x-goog-", "x-amz-"))):
            raise Refused("unsigned_header", name)
    if body_length is not None and sent.setdefault("content-length", str(body_length)) != str(body_length):
        raise Refused("content_length")
    for name in names:
        if name not in sent:
            raise Refused("missing_header", name)
    _check_length(sent.get("x-goog-content-length-range"), body_length)

    pairs = sorted((_encode(name), _encode(value)) for name, value in query.items() if name != "X-Goog-Signature")
    lines = [
        method,
        raw_path,
        "&".join(f"{name}={value}" for name, value in pairs),
        "".join(f"{name}:{sent[name]}\n" for name in names),
        ";".join(names),
        sent.get("x-goog-content-sha256", UNSIGNED_PAYLOAD),
    ]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = "\n".join([identity.algorithm, query["X-Goog-Date"], scope, digest])
    _check_signature(query["X-Goog-Signature"], identity, scope, text)
    return Verified(
        authorizer=who,
        method=method,
        host=host,
        path=_decode(raw_path, keep="/"),
        expires_at=signed_at + timedelta(seconds=expires),
        signed_headers=tuple(names),
        query={name: value for name, value in query.items() if name not in _REQUIRED},
    )


def verify_form(
    *,
    fields: Mapping[str, str],
    bucket: str,
    identities: Mapping[str, Identity],
    now: datetime,
    content_length: int,
) -> Verified:
    """Verify one browser form against the policy that it carries.

    Args:
        fields: the form fields before the file; names are case-insensitive.
        bucket: the bucket that the form is posted to.
        content_length: bytes of the file.
        now: the server's clock, aware UTC.

    Raises:
        Refused: with the first reason found.
    """
    form: dict[str, str] = {}
    for name, value in fields.items():
        if name.lower() in form:
            raise Refused("duplicate", name)
        form[name.lower()] = value
    _require(form, _FORM_REQUIRED)
    who, scope, signed_at, identity = _who(
        form["x-goog-algorithm"], form["x-goog-credential"], form["x-goog-date"], identities, now
    )
    _check_signature(form["x-goog-signature"], identity, scope, form["policy"])
    expires_at, conditions = _policy(form["policy"])
    if expires_at > signed_at + timedelta(seconds=MAX_EXPIRES_SECONDS):
        raise Refused("expires_range")
    if now >= expires_at:
        raise Refused("expired")
    form["bucket"] = bucket
    equal, bound = _meet(conditions, form, content_length)
    for name in form:
        # What is bound by a prefix only, the holder of the form chooses.
        covered = equal if name in _FORM_PINNED else equal | bound
        if name not in covered and name not in {"policy", "x-goog-signature", "file"}:
            raise Refused("uncovered_field", name)
    own = {name: value for name, value in form.items() if name not in _FORM_REQUIRED | _FORM_PINNED | {"file"}}
    return Verified(
        authorizer=who,
        method="POST",
        host="",
        path="/" + form["key"],
        expires_at=expires_at,
        signed_headers=(),
        query=own,
    )


_REQUIRED = frozenset(
    f"X-Goog-{name}" for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
)
_SIGNED_IF_SENT = frozenset({"host", "content-type", "content-md5", "if-match", "if-none-match"})
_FORM_REQUIRED = frozenset(
    {"key", "policy", "x-goog-algorithm", "x-goog-credential", "x-goog-date", "x-goog-signature"}
)
_FORM_PINNED = frozenset({"bucket", "key", "x-goog-algorithm", "x-goog-credential", "x-goog-date"})
_NAME = re.compile(r"[a-z0-9._-]+")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[^?#]*)\?(?P<query>[^#]*)"
)


def _split(url: str) -> tuple[str, str, str]:
    """Return the Host header that a client sends for the URL, the raw path and the raw query."""
    found = _URL.fullmatch(url)
    if found is None or not all("!" <= character <= "~" for character in url):
        raise Refused("url")
    host, port = found["host"], found["port"]
    if port is not None and port != {"http": "80", "https": "443"}[found["scheme"]]:
        host += f":{port}"
    return host, found["path"], found["query"]


def _encode(text: str, keep: str = "") -> str:
    plain = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" + keep.encode())
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


def _decode(text: str, keep: str = "") -> str:
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Refused("encoding") from None
    if _encode(decoded, keep) != text:
        raise Refused("encoding")
    return decoded


def _parameters(raw_query: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for pair in raw_query.split("&"):
        raw_name, _, raw_value = pair.partition("=")
        name = _decode(raw_name)
        if name in query:
            raise Refused("duplicate", name)
        query[name] = _decode(raw_value)
    return query


def _headers(headers: Mapping[str, str], host: str) -> dict[str, str]:
    sent: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() in sent:
            raise Refused("duplicate", name)
        if not re.fullmatch(r"[!-~]+(?: [!-~]+)*", value, re.ASCII):
            raise Refused("header_value", name)
        sent[name.lower()] = value
    if sent.setdefault("host", host) != host:
        raise Refused("host")
    return sent


def _require(given: Mapping[str, str], names: frozenset[str]) -> None:
    for name in sorted(names):
        if not given.get(name):
            raise Refused("missing", name)


def _who(
    algorithm: str, credential: str, date: str, identities: Mapping[str, Identity], now: datetime
) -> tuple[str, str, datetime, Identity]:
    """Return the authorizer, the scope, the signing time and the identity."""
    found = re.fullmatch(r"([^/]+)/(([0-9]{8})/[a-z0-9-]+/storage/goog4_request)", credential, re.ASCII)
    if found is None:
        raise Refused("credential")
    who, scope, day = found.groups()
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("date") from None
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date, re.ASCII) or day != date[:8]:
        raise Refused("date")
    if signed_at > now + MAX_CLOCK_SKEW:
        raise Refused("not_yet_valid")
    if who not in identities:
        raise Refused("identity")
    if algorithm != identities[who].algorithm:
        raise Refused("algorithm")
    return who, scope, signed_at, identities[who]


def _check_signature(signature: str, identity: Identity, scope: str, text: str) -> None:
    plain = re.fullmatch(r"(?:[0-9a-f]{2})+", signature, re.ASCII)
    if plain is None or not identity.signed(bytes.fromhex(signature), scope, text):
        raise Refused("signature")


def _check_length(allowed: str | None, body_length: int | None) -> None:
    if allowed is None:
        return
    found = re.fullmatch(r"([0-9]+),([0-9]+)", allowed, re.ASCII)
    if found is None:
        raise Refused("header_value", "x-goog-content-length-range")
    if body_length is None or not int(found[1]) <= body_length <= int(found[2]):
        raise Refused("content_length")


def _policy(encoded: str) -> tuple[datetime, list[Any]]:
    try:
        raw = base64.b64decode(encoded, validate=True)
        policy = json.loads(raw.decode())
        if base64.b64encode(raw).decode() != encoded or policy.keys() != {"conditions", "expiration"}:
            raise Refused("policy")
        # Google's own library writes the fraction of the second, too.
        form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in policy["expiration"] else "%Y-%m-%dT%H:%M:%SZ"
        expires_at = datetime.strptime(policy["expiration"], form).replace(tzinfo=UTC)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise Refused("policy") from None
    if not isinstance(policy["conditions"], list):
        raise Refused("policy")
    return expires_at, policy["conditions"]


def _meet(conditions: list[Any], form: Mapping[str, str], content_length: int) -> tuple[set[str], set[str]]:
    """Check every condition; return the fields bound by equality, and those bound by a prefix."""
    equal: set[str] = set()
    bound: set[str] = set()
    for condition in conditions:
        match condition:
            case ["content-length-range", int(low), int(high)]:
                if not low <= content_length <= high:
                    raise Refused("content_length")
                continue
            case ["starts-with", str(name), str(value)] if name.startswith("$"):
                name, met = name[1:].lower(), str.startswith
                bound.add(name)
            case ["eq", str(name), str(value)] if name.startswith("$"):
                name, met = name[1:].lower(), str.__eq__
                equal.add(name)
            case dict() if len(condition) == 1 and isinstance(next(iter(condition.values())), str):
                name, value = next(iter(condition.items()))
                name, met = name.lower(), str.__eq__
                equal.add(name)
            case _:
                raise Refused("policy", "a condition is of no documented form")
        if name not in form or not met(form[name], value):
            raise Refused("condition", name)
    return equal, bound
