"""Where a list of files goes on: a cursor that a client can neither read nor make.

Must not show the row that it stands on, since a list may have to stop at one that its reader may not see.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.core.signing import BadSignature, Signer
from django.utils.crypto import salted_hmac

from gateway.errors import InvalidRequest

__all__ = ["Position", "read_cursor", "write_cursor"]

_SALT = "gateway.api.cursors"
_NONCE_BYTES = 16
_POSITION_BYTES = 24  # microseconds since the epoch, and a UUID
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Position(NamedTuple):
    """The last row that was looked at; lists are newest first."""

    created_at: datetime
    id: uuid.UUID


def write_cursor(position: Position) -> str:
    """Return a position as text for a client."""
    microseconds = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    hidden = _mask(nonce, microseconds.to_bytes(8, "big", signed=True) + position.id.bytes)
    return _signer().sign(base64.urlsafe_b64encode(nonce + hidden).decode())


def read_cursor(text: str) -> Position:
    """Return the position of a cursor that was written here.

    Raises:
        InvalidRequest: it was not, or the secret key has changed since.
    """
    try:
        content = base64.urlsafe_b64decode(_signer().unsign(text))
    except (BadSignature, binascii.Error):
        raise InvalidRequest("the cursor is not one of this service; start without one") from None
    plain = _mask(content[:_NONCE_BYTES], content[_NONCE_BYTES:])
    microseconds = int.from_bytes(plain[:8], "big", signed=True)
    return Position(_EPOCH + timedelta(microseconds=microseconds), uuid.UUID(bytes=plain[8:]))


def _signer() -> Signer:
    # Without the keys of before: the mask is of the present one.
    return Signer(salt=_SALT, sep=".", fallback_keys=[])


def _mask(nonce: bytes, content: bytes) -> bytes:
    """Hide or show: a keyed digest of a nonce that is used once, over at most as many bytes."""
    pad = salted_hmac(f"{_SALT}.mask", nonce.hex(), algorithm="sha256").digest()
    return bytes(one ^ other for one, other in zip(content, pad[:_POSITION_BYTES], strict=True))
