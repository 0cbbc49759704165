"""Keeps a secret in the database so that only this service reads it: sealed under ``SECRET_KEY``, for one name.

Must not be used for what could be hashed, nor show what it could not open.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.crypto import salted_hmac

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

__all__ = ["seal", "unseal"]

_SALT = "presign_gateway.sealing"


def seal(text: str, name: str) -> str:
    """Seal a text for one name, such as the id of its row: moved to another it does not open."""
    return str(_fernets(name).encrypt(text.encode()).decode())


def unseal(sealed: str, name: str) -> str | None:
    """Open what was sealed for a name, by ``SECRET_KEY`` or a fallback; None where none of them opens it."""
    from cryptography.fernet import InvalidToken

    try:
        return str(_fernets(name).decrypt(sealed.encode()).decode())
    except InvalidToken:
        return None


def _fernets(name: str) -> MultiFernet:
    # Imported where it is used: of the extras, only that of Cloud Storage brings it.
    from cryptography.fernet import Fernet, MultiFernet

    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    made = (salted_hmac(_SALT, name, secret=key, algorithm="sha256").digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in made])
