"""Judge a CloudFront signed URL or set of signed cookies from the specification alone.

It must not import, or share code with, what it judges: RSA is checked here with plain numbers.

Sources:
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-cookies.html
    https://www.rfc-editor.org/rfc/rfc8017#section-8.2.2
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REASONS: Mapping[str, str] = {
    "duplicate": "a parameter of CloudFront's is given twice",
    "encoding": "a value is not in CloudFront's form of base64",
    "expired": "the time is over",
    "key": "no trusted key has this id",
    "kind": "it is neither a canned nor a custom policy, or both",
    "not_yet_valid": "the start has not come yet",
    "policy": "the policy is not one statement of the documented form",
    "resource": "the policy is for another URL",
    "signature": "the signature is not the one that this key makes for the policy",
    "source_ip": "the address is not one that the policy allows",
    "url": "the text is not an http(s) URL that a client sends unchanged",
}


class Refused(Exception):
    """Say why a request is refused: ``reason`` is a key of ``REASONS``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {REASONS[reason]}")


@dataclass(frozen=True)
class PublicKey:
    modulus: int
    exponent: int = 65_537

    def signed(self, signature: bytes, message: bytes) -> bool:
        length = (self.modulus.bit_length() + 7) // 8
        if len(signature) != length:
            return False
        # The DigestInfo of SHA-1, in a block that has one form only.
        info = bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(message).digest()
        expected = b"\x00\x01" + b"\xff" * (length - len(info) - 3) + b"\x00" + info
        number = int.from_bytes(signature, "big")
        return number < self.modulus and pow(number, self.exponent, self.modulus).to_bytes(length, "big") == expected


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a verified request may do: ``url`` is what the origin is asked for, ``resource`` what was signed."""

    url: str
    resource: str
    custom: bool
    expires_at: datetime


def verify_url(url: str, *, keys: Mapping[str, PublicKey], now: datetime, source_ip: str = "192.0.2.1") -> Verified:
    """Verify one signed URL.

    Raises:
        Refused: with the first reason found.
    """
    if not re.fullmatch(r"https?://[a-z0-9.-]+(?::[0-9]+)?/[!-~]*", url, re.ASCII) or "#" in url:
        raise Refused("url")
    path, _, raw_query = url.partition("?")
    own: dict[str, str] = {}
    rest: list[str] = []
    for pair in raw_query.split("&") if raw_query else ():
        name, _, value = pair.partition("=")
        if name not in ("Expires", "Policy", "Signature", "Key-Pair-Id"):
            rest.append(pair)
        elif name in own:
            raise Refused("duplicate")
        else:
            own[name] = value
    asked = path + ("?" + "&".join(rest) if rest else "")
    return _verify(asked, own, keys=keys, now=now, source_ip=source_ip)


def verify_cookies(
    cookies: Mapping[str, str],
    url: str,
    *,
    keys: Mapping[str, PublicKey],
    now: datetime,
    source_ip: str = "192.0.2.1",
) -> Verified:
    """Verify a request for ``url`` that brings signed cookies.

    Raises:
        Refused: with the first reason found.
    """
    own = {name.removeprefix("CloudFront-"): value for name, value in cookies.items()}
    return _verify(url, own, keys=keys, now=now, source_ip=source_ip)


def _verify(
    asked: str, own: Mapping[str, str], *, keys: Mapping[str, PublicKey], now: datetime, source_ip: str
) -> Verified:
    custom = "Policy" in own
    if own.keys() != {"Policy" if custom else "Expires", "Signature", "Key-Pair-Id"}:
        raise Refused("kind")
    if own["Key-Pair-Id"] not in keys:
        raise Refused("key")
    if custom:
        policy = _decode(own["Policy"])
    else:
        if not re.fullmatch(r"[1-9][0-9]{0,11}", own["Expires"], re.ASCII):
            raise Refused("policy")
        statement = f'{{"Resource":"{asked}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{own["Expires"]}}}}}}}'
        policy = f'{{"Statement":[{statement}]}}'.encode()
    if not keys[own["Key-Pair-Id"]].signed(_decode(own["Signature"]), policy):
        raise Refused("signature")
    resource, condition = _statement(policy)
    # In a policy of one's own an asterisk stands for any characters, and a question mark for one.
    pattern = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in resource)
    if not (re.fullmatch(pattern, asked, re.DOTALL) if custom else resource == asked):
        raise Refused("resource")
    end = _epoch(condition, "DateLessThan")
    if now.timestamp() >= end:
        raise Refused("expired")
    if "DateGreaterThan" in condition and now.timestamp() <= _epoch(condition, "DateGreaterThan"):
        raise Refused("not_yet_valid")
    if "IpAddress" in condition:
        allowed = ipaddress.ip_network(str(condition["IpAddress"].get("AWS:SourceIp")))
        if ipaddress.ip_address(source_ip) not in allowed:
            raise Refused("source_ip")
    return Verified(url=asked, resource=resource, custom=custom, expires_at=datetime.fromtimestamp(end, UTC))


def _decode(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9~_-]+", text, re.ASCII):
        raise Refused("encoding")
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "=").replace("~", "/"), validate=True)
    except binascii.Error:
        raise Refused("encoding") from None
    # Two spellings of one value would be two links.
    if base64.b64encode(raw).decode().translate(str.maketrans("+=/", "-_~")) != text:
        raise Refused("encoding")
    return raw


def _statement(policy: bytes) -> tuple[str, dict[str, Any]]:
    try:
        statements = json.loads(policy)["Statement"]
        (statement,) = statements
        resource, condition = statement["Resource"], statement["Condition"]
    except (KeyError, TypeError, ValueError):
        raise Refused("policy") from None
    known = {"DateLessThan", "DateGreaterThan", "IpAddress"}
    if not isinstance(resource, str) or not isinstance(condition, dict) or condition.keys() - known:
        raise Refused("policy")
    return resource, condition


def _epoch(condition: Mapping[str, Any], name: str) -> int:
    value = condition.get(name)
    if not isinstance(value, dict) or type(value.get("AWS:EpochTime")) is not int:
        raise Refused("policy")
    epoch: int = value["AWS:EpochTime"]
    return epoch
