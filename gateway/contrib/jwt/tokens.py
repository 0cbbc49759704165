"""The form of a JSON web token, read strictly: three parts, a header, claims, and what of them makes no sense.

Must not believe anything that it reads: no signature is looked at here.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

__all__ = ["MAX_TOKEN_BYTES", "Refused", "UnverifiedToken", "check_claims", "read_object", "read_token"]

MAX_TOKEN_BYTES = 8 * 2**10
MAX_NAME_CHARACTERS = 255  # of an issuer, and of a subject
_FORM = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
# Access tokens have a type of their own, and so have tokens that mean something else: log-outs, proofs, events.
# https://www.rfc-editor.org/rfc/rfc8725#section-3.11, https://www.rfc-editor.org/rfc/rfc9068#section-2.1
_TYPES = frozenset({"jwt", "at+jwt"})
_LAST_INSTANT = 253_370_764_800  # the beginning of 9999; datetime ends with it
# Neither has a place in any name, PostgreSQL cannot store NUL, and a lone surrogate is no text at all.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


class Refused(Exception):
    """Why a token is not believed, for the log; holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself.

    Attributes:
        text: the token.
        signed: the part of the text that the signature is over.
    """

    text: str = field(repr=False)
    signed: str = field(repr=False)
    header: dict[str, Any] = field(repr=False)
    claims: dict[str, Any] = field(repr=False)


def read_token(text: str) -> UnverifiedToken:
    """Take a token apart.

    Raises:
        Refused: it has not the form of one, or a header that must not be ignored.

    Source: https://www.rfc-editor.org/rfc/rfc7515, https://www.rfc-editor.org/rfc/rfc7519
    """
    if len(text) > MAX_TOKEN_BYTES:
        raise Refused(f"it has {len(text)} bytes; at most {MAX_TOKEN_BYTES}")
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise Refused("it is not three parts of base64url")
    try:
        header, claims, _ = (_decoded(part) for part in parts.groups())
        token = UnverifiedToken(text, text.rpartition(".")[0], read_object(header), read_object(claims))
    except ValueError:
        raise Refused("header or claims are not base64url of a JSON object") from None
    _check_header(token.header)
    return token


def check_claims(claims: dict[str, Any]) -> None:
    """Check the types of the claims that are used; PyJWT would convert what it can.

    Raises:
        Refused: one is missing, or of another type, or out of bounds.
    """
    for name in ("exp", "iat", "nbf"):
        if name == "nbf" and name not in claims:
            continue
        instant: Any = claims.get(name)
        # bool is an int to isinstance. NaN is in no range, and the end of the range keeps infinity out.
        if type(instant) not in (int, float) or not 0 <= instant <= _LAST_INSTANT:
            raise Refused(f"{name} is missing, or no instant")
    for name in ("iss", "sub"):
        value = claims.get(name)
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME_CHARACTERS:
            raise Refused(f"{name} is missing, or no text of 1 to {MAX_NAME_CHARACTERS} characters")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not audiences or not all(isinstance(one, str) and one for one in audiences):
        raise Refused("aud is missing, or neither a text nor a list of texts")


def read_object(document: bytes) -> dict[str, Any]:
    """Parse JSON as RFC 8259 has it, each name once.

    Raises:
        ValueError: it is anything else, or no object.
    """
    try:
        value = json.loads(document.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
        _check_texts(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _check_header(header: dict[str, Any]) -> None:
    # What a key is or where it lies (jwk, jku, x5c, x5u) is for the token to say and for nobody to read.
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise Refused("typ is of another kind of token")
    for name in ("crit", "cty", "b64"):
        # Extensions that must be understood, a token within the token, a text that is not encoded: none is known.
        if name in header:
            raise Refused(f"it has the header {name}")
    if not isinstance(header.get("alg"), str):
        raise Refused("it names no algorithm")
    if not isinstance(header.get("kid", ""), str):
        raise Refused("kid is no text")


def _decoded(part: str) -> bytes:
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    # Python ignores the bits that are over in the last character.
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise ValueError("not the one spelling of its bytes")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_texts(value: Any) -> None:
    if isinstance(value, str) and _NO_TEXT.search(value):
        raise ValueError("NUL or a lone surrogate")
    if isinstance(value, dict):
        _check_texts(list(value))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_texts(item)
