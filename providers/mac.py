"""HMAC-SHA256 for those who sign much with one key.

Must not show the key, and must not keep anything of what was signed.
"""

from __future__ import annotations

import hashlib

__all__ = ["Mac"]

_BLOCK_BYTES = 64  # of SHA-256


class Mac:
    """HMAC-SHA256 whose key is taken in once: a link costs half of what copying an ``hmac.HMAC`` does.

    Source: https://www.rfc-editor.org/rfc/rfc2104#section-4
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= _BLOCK_BYTES else hashlib.sha256(key).digest()).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, message: bytes) -> bytes:
        """Return the 32 bytes that authenticate ``message``."""
        # Copies alone are written to: any number of threads may sign at once.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()
