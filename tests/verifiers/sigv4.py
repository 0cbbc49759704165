"""Judge a presigned S3 request or POST form from the specification alone, more strictly than any server does.

It must not import, or share code with, what it judges: it uses the standard library and nothing of ours.

Sources:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html
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

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_EXPIRES_SECONDS = 604_800  # 7 days, the life of a signing key
MAX_CLOCK_SKEW = timedelta(minutes=15)

REASONS: Mapping[str, str] = {
    "access_key": "no identity has this access key id",
    "algorithm": f"the algorithm is not {ALGORITHM}",
    "condition": "a form field does not meet a condition of the policy",
    "content_length": "the length sent is not the length that was signed",
    "credential": "the credential is not key/date/region/service/aws4_request",
    "date": "the date is not a real YYYYMMDDTHHMMSSZ",
    "duplicate_header": "a header is sent twice",
    "duplicate_parameter": "a parameter or form field is given twice",
    "encoding": "the path or query is not in the one canonical percent-encoding of UTF-8",
    "expired": "the time is over",
    "expires_range": f"the lifetime is not a plain number of 1 to {MAX_EXPIRES_SECONDS} seconds",
    "header_value": "a header has a value whose canonical form is in doubt",
    "host": "the Host header is not the host of the link",
    "missing_header": "a signed header is not sent",
    "missing_parameter": "a required parameter or form field is absent or empty",
    "not_yet_valid": "the signing time is more than 15 minutes ahead",
    "payload": f"x-amz-content-sha256 is sent and is not {UNSIGNED_PAYLOAD}",
    "policy": "the policy is not a well-formed policy document",
    "scope_date": "the scope's date is not the day of the signing time",
    "scope_region": "the scope names another region",
    "scope_service": "the scope names another service",
    "scope_terminator": f"the scope does not end in {TERMINATOR}",
    "signature": "the signature is not the one that this identity makes for this request",
    "signed_headers": "the list of signed headers is not lower-case, sorted and unique",
    "token": "the session token is not the identity's",
    "two_mechanisms": "a second way of authentication is used beside the query string",
    "uncovered_field": "a form field has no condition in the policy that binds it",
    "unknown_parameter": "an X-Amz- parameter is not one of the documented ones",
    "unsigned_header": "a header that must be signed is not",
    "url": "the text is not an http(s) URL that a client sends unchanged",
}


class Refused(Exception):
    """Say why a request is refused.

    ``reason`` is a key of ``REASONS``; ``detail`` names the part, and never holds a signature or token.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {REASONS[reason]}" + (f" ({detail})" if detail else ""))


@dataclass(frozen=True)
class Identity:
    """Hold the secrets that belong to one access key id; a repr shows neither."""

    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """Tell what a verified request is allowed to do.

    ``path`` is decoded and starts with a slash; ``expires_at`` is aware UTC; ``query`` holds the operation's
    own parameters (for a POST: the form fields that do not belong to the authentication).
    """

    access_key_id: str
    method: str
    path: str
    expires_at: datetime
    signed_headers: tuple[str, ...]
    query: Mapping[str, str]


def verify_presigned(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    identities: Mapping[str, Identity],
    region: str,
    now: datetime,
    service: str = "s3",
    body_length: int | None = None,
) -> Verified:
    """Verify one request made with a presigned URL.

    Args:
        url: the link, exactly as the client was given it.
        headers: what the client sends; Host and Content-Length may be left to the URL and to ``body_length``.
        now: the server's clock, aware UTC.
        body_length: bytes in the body; None means that the client sends no body that it knows the length of.

    Raises:
        Refused: with the first reason found.
        ValueError: ``now`` is naive.
    """
    host, raw_path, raw_query = _split_url(url)
    path = _decode(raw_path, keep_slash=True, what="path")
    query = _parse_query(raw_query)
    sent = _sent_headers(headers, host=host, body_length=body_length)
    if "authorization" in sent or "Signature" in query:
        raise Refused("two_mechanisms")

    for name in query:
        if name.lower().startswith("x-amz-") and name not in _REQUIRED | {_TOKEN}:
            raise Refused("unknown_parameter", name)
    _require(query, _REQUIRED)
    scope, signed_at = _check_scope(
        algorithm=query["X-Amz-Algorithm"],
        credential=query["X-Amz-Credential"],
        date=query["X-Amz-Date"],
        region=region,
        service=service,
        now=now,
    )
    if not re.fullmatch(r"[1-9][0-9]{0,5}", query["X-Amz-Expires"], re.ASCII):
        raise Refused("expires_range")
    if int(query["X-Amz-Expires"]) > MAX_EXPIRES_SECONDS:
        raise Refused("expires_range")
    expires_at = signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))
    if now >= expires_at:
        raise Refused("expired")
    identity = _identify(identities, scope.access_key_id, query.get(_TOKEN))

    signed_headers = _check_signed_headers(query["X-Amz-SignedHeaders"], sent)
    # The query-string page knows no other payload line; servers that read this header sign something else.
    if sent.get("x-amz-content-sha256", UNSIGNED_PAYLOAD) != UNSIGNED_PAYLOAD:
        raise Refused("payload")

    canonical_query = "&".join(
        f"{name}={value}"
        for name, value in sorted(
            (_uri_encode(name.encode()), _uri_encode(value.encode()))
            for name, value in query.items()
            if name != "X-Amz-Signature"
        )
    )
    canonical_request = "\n".join(
        [
            method,
            raw_path,
            canonical_query,
            "".join(f"{name}:{sent[name]}\n" for name in signed_headers),
            ";".join(signed_headers),
            UNSIGNED_PAYLOAD,
        ]
    )
    string_to_sign = "\n".join(
        [ALGORITHM, query["X-Amz-Date"], scope.text, hashlib.sha256(canonical_request.encode()).hexdigest()]
    )
    _check_signature(query["X-Amz-Signature"], identity, scope, string_to_sign)
    return Verified(
        access_key_id=scope.access_key_id,
        method=method,
        path=path,
        expires_at=expires_at,
        signed_headers=signed_headers,
        query={name: value for name, value in query.items() if name not in _REQUIRED | {_TOKEN}},
    )


def verify_post(
    *,
    fields: Mapping[str, str],
    bucket: str,
    identities: Mapping[str, Identity],
    region: str,
    now: datetime,
    content_length: int,
    filename: str = "",
    service: str = "s3",
) -> Verified:
    """Verify one browser form against the POST policy that it carries.

    Args:
        fields: the form fields before the file; names are case-insensitive.
        bucket: the bucket that the form is posted to.
        content_length: bytes of the file.
        filename: the file's name as the browser sends it; it replaces ``${filename}`` in every field.
        now: the server's clock, aware UTC.

    Raises:
        Refused: with the first reason found.
        ValueError: ``now`` is naive.
    """
    form: dict[str, str] = {}
    base_name = re.split(r"[/\\]", filename)[-1]
    for name, value in fields.items():
        if name.lower() in form:
            raise Refused("duplicate_parameter", name)
        form[name.lower()] = value.replace("${filename}", base_name)

    _require(form, _POST_REQUIRED)
    scope, signed_at = _check_scope(
        algorithm=form["x-amz-algorithm"],
        credential=form["x-amz-credential"],
        date=form["x-amz-date"],
        region=region,
        service=service,
        now=now,
    )
    identity = _identify(identities, scope.access_key_id, form.get(_TOKEN.lower()))
    _check_signature(form["x-amz-signature"], identity, scope, form["policy"])

    expires_at, conditions = _parse_policy(form["policy"])
    if expires_at > signed_at + timedelta(seconds=MAX_EXPIRES_SECONDS):
        raise Refused("expires_range")
    if now >= expires_at:
        raise Refused("expired")

    if form.setdefault("bucket", bucket) != bucket:
        raise Refused("condition", "bucket")
    pinned, covered = _evaluate(conditions, form, content_length=content_length)
    for name in sorted(form):
        exempt = name in _POST_EXEMPT or name.startswith("x-ignore-")
        if not exempt and name not in (pinned if name in _POST_PINNED else covered):
            raise Refused("uncovered_field", name)
    return Verified(
        access_key_id=scope.access_key_id,
        method="POST",
        path="/" + form["key"],
        expires_at=expires_at,
        signed_headers=(),
        query={
            name: value
            for name, value in form.items()
            if name not in _POST_REQUIRED | _POST_EXEMPT | _POST_PINNED and not name.startswith("x-ignore-")
        },
    )


_TOKEN = "X-Amz-Security-Token"
_REQUIRED = frozenset(
    {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }
)
# x-amz-* must be signed by the specification; the others change what is stored, or whether.
_MUST_BE_SIGNED = frozenset({"host", "content-type", "content-md5", "if-match", "if-none-match"})

_POST_REQUIRED = frozenset({"key", "policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"})
_POST_EXEMPT = frozenset({"x-amz-signature", "file", "policy"})
# These must be bound by equality: a prefix would let the holder of the form choose them.
_POST_PINNED = frozenset({"bucket", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token"})

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[^?#]*)?"
    r"(?:\?(?P<query>[^#]*))?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORT = {"http": "80", "https": "443"}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class _Scope:
    access_key_id: str
    date: str
    region: str
    service: str

    @property
    def text(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


def _split_url(url: str) -> tuple[str, str, str]:
    """Return the Host header that a client sends for the URL, its raw path and its raw query."""
    match = _URL.fullmatch(url)
    # Anything but visible ASCII, a fragment or user information is something that clients rewrite or drop.
    if match is None or not all("!" <= character <= "~" for character in url):
        raise Refused("url")
    host, port = match["host"].lower(), match["port"]
    if port is not None and int(port) > 65_535:
        raise Refused("url")
    if port is not None and port != _DEFAULT_PORT[match["scheme"].lower()]:
        host = f"{host}:{port}"
    return host, match["path"] or "/", match["query"] or ""


def _uri_encode(raw: bytes, *, keep_slash: bool = False) -> str:
    plain = _UNRESERVED | {ord("/")} if keep_slash else _UNRESERVED
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in raw)


def _decode(text: str, *, keep_slash: bool = False, what: str) -> str:
    raw = unquote_to_bytes(text)
    # S3 decodes what it receives and encodes it again: any other spelling would not survive that.
    if _uri_encode(raw, keep_slash=keep_slash) != text:
        raise Refused("encoding", what)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("encoding", what) from None


def _parse_query(raw_query: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for part in raw_query.split("&") if raw_query else ():
        raw_name, _, raw_value = part.partition("=")
        if not raw_name:
            raise Refused("encoding", "query")
        name = _decode(raw_name, what="query")
        if name in query:
            raise Refused("duplicate_parameter", name)
        query[name] = _decode(raw_value, what="query")
    return query


def _sent_headers(headers: Mapping[str, str], *, host: str, body_length: int | None) -> dict[str, str]:
    """Return all headers that go out, by lower-case name."""
    sent: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() in sent:
            raise Refused("duplicate_header", name)
        # The specifications differ on runs of spaces, and clients on everything outside visible ASCII.
        if not re.fullmatch(r"(?:[!-~]+(?: [!-~]+)*)?", value, re.ASCII):
            raise Refused("header_value", name)
        sent[name.lower()] = value
    if sent.setdefault("host", host).lower() != host:
        raise Refused("host")
    sent["host"] = host
    if body_length is not None and sent.setdefault("content-length", str(body_length)) != str(body_length):
        raise Refused("content_length")
    return sent


def _require(parameters: Mapping[str, str], names: frozenset[str]) -> None:
    for name in sorted(names):
        if not parameters.get(name):
            raise Refused("missing_parameter", name)


def _check_scope(
    *, algorithm: str, credential: str, date: str, region: str, service: str, now: datetime
) -> tuple[_Scope, datetime]:
    if now.tzinfo is None:
        raise ValueError("now is naive; an aware datetime is needed")
    if algorithm != ALGORITHM:
        raise Refused("algorithm")
    parts = credential.split("/")
    if len(parts) != 5 or not all(parts):
        raise Refused("credential")
    scope = _Scope(*parts[:4])
    signed_at = _parse_time("date", date, r"[0-9]{8}T[0-9]{6}Z", "%Y%m%dT%H%M%SZ")
    if scope.date != date[:8]:
        raise Refused("scope_date")
    if scope.region != region:
        raise Refused("scope_region")
    if scope.service != service:
        raise Refused("scope_service")
    if parts[4] != TERMINATOR:
        raise Refused("scope_terminator")
    if signed_at > now + MAX_CLOCK_SKEW:
        raise Refused("not_yet_valid")
    return scope, signed_at


def _parse_time(reason: str, text: str, pattern: str, layout: str) -> datetime:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise Refused(reason)
    try:
        return datetime.strptime(text, layout).replace(tzinfo=UTC)
    except ValueError:
        raise Refused(reason) from None


def _identify(identities: Mapping[str, Identity], access_key_id: str, token: str | None) -> Identity:
    identity = identities.get(access_key_id)
    if identity is None:
        raise Refused("access_key")
    if token == "" or (token is None) != (identity.session_token is None):
        raise Refused("token")
    if not hmac.compare_digest((token or "").encode(), (identity.session_token or "").encode()):
        raise Refused("token")
    return identity


def _check_signed_headers(listed: str, sent: Mapping[str, str]) -> tuple[str, ...]:
    names = listed.split(";")
    if names != sorted(set(names)) or not all(re.fullmatch(r"[a-z0-9._-]+", n, re.ASCII) for n in names):
        raise Refused("signed_headers")
    for name in sent:
        if (name in _MUST_BE_SIGNED or name.startswith("x-amz-")) and name not in names:
            raise Refused("unsigned_header", name)
    for name in names:
        if name not in sent:
            raise Refused("missing_header", name)
    return tuple(names)


def _check_signature(signature: str, identity: Identity, scope: _Scope, string_to_sign: str) -> None:
    key = b"AWS4" + identity.secret_access_key.encode()
    for message in (scope.date, scope.region, scope.service, TERMINATOR):
        key = hmac.digest(key, message.encode(), "sha256")
    expected = hmac.digest(key, string_to_sign.encode(), "sha256").hex()
    # compare_digest takes bytes of any length; upper case and short forms differ from the expected 64 digits.
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise Refused("signature")


def _parse_policy(encoded: str) -> tuple[datetime, list[Any]]:
    try:
        raw = base64.b64decode(encoded, validate=True)
        policy = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_pairs)
    except (binascii.Error, ValueError, RecursionError):
        raise Refused("policy") from None
    if base64.b64encode(raw).decode() != encoded:
        raise Refused("policy")
    if not isinstance(policy, dict) or policy.keys() != {"expiration", "conditions"}:
        raise Refused("policy")
    expiration, conditions = policy["expiration"], policy["conditions"]
    if not isinstance(expiration, str) or not isinstance(conditions, list):
        raise Refused("policy")
    layout = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in expiration else "%Y-%m-%dT%H:%M:%SZ"
    pattern = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z"
    return _parse_time("policy", expiration, pattern, layout), conditions


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Refused("policy", "a name is given twice")
    return dict(pairs)


def _evaluate(
    conditions: list[Any], form: Mapping[str, str], *, content_length: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Check each condition; return the fields bound by equality, and those bound by any condition."""
    pinned, covered = set(), set()
    for condition in conditions:
        match condition:
            case ["content-length-range", low, high] if type(low) is type(high) is int and 0 <= low <= high:
                if not low <= content_length <= high:
                    raise Refused("content_length")
                continue
            case [("eq" | "starts-with") as operator, str(reference), str(wanted)] if reference[:1] == "$":
                name = reference[1:].lower()
            case dict() if len(condition) == 1 and isinstance(next(iter(condition.values())), str):
                operator = "eq"
                name, wanted = next(iter(condition.items()))
                name = name.lower()
            case _:
                raise Refused("policy", "a condition is of no documented form")
        actual = form.get(name)
        if actual is None:
            raise Refused("condition", name)
        if operator == "eq":
            met = actual == wanted
            pinned.add(name)
        else:
            # A Content-Type with commas is a list, and each of its values must match.
            values = actual.split(",") if name == "content-type" else [actual]
            met = all(value.startswith(wanted) for value in values)
        if not met:
            raise Refused("condition", name)
        covered.add(name)
    return frozenset(pinned), frozenset(covered)
