"""Is what arrived what was declared: its size, its stored type, its first bytes, its checksum.

Looks at the object alone and changes nothing, so that any number may look at once. Must not take a client's,
nor a store's, word for a type that the bytes can tell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gateway.errors import ChecksumMismatch, SizeMismatch, TypeMismatch
from gateway.models import UploadSession
from gateway.sniffing import HEAD_BYTES, is_of_type
from gateway.storages.objects import ObjectStore, StoredObject

__all__ = ["Verified", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """The object that was looked at: later links are bound to its version."""

    etag: str
    version: str


def verify(session: UploadSession, store: ObjectStore, stored: StoredObject) -> Verified:
    """Hold an object to what was declared.

    Raises:
        SizeMismatch, TypeMismatch, ChecksumMismatch: by the first that is wrong.
        FileNotFoundError: the object went, or became another, while it was looked at.
    """
    if stored.size_bytes != session.size_bytes:
        raise SizeMismatch(f"{stored.size_bytes} bytes arrived; {session.size_bytes} were declared")
    if stored.content_type not in (None, session.content_type):
        raise TypeMismatch(f"it is stored as {stored.content_type!r}; {session.content_type!r} was declared")
    head = b"".join(store.read(session.key, stored, first_bytes=HEAD_BYTES))
    if not is_of_type(head, session.content_type, is_whole=stored.size_bytes <= HEAD_BYTES):
        raise TypeMismatch(f"its bytes are not of type {session.content_type}")
    if session.sha256 and _digest("sha256", stored.sha256, session, store, stored) != session.sha256:
        raise ChecksumMismatch("its SHA-256 is another one")
    # Not the ETag, which is the MD5 on some stores, with some encryptions, of some uploads.
    if session.md5 and _digest("md5", stored.md5, session, store, stored) != session.md5:
        raise ChecksumMismatch("its MD5 is another one")
    return Verified(stored.etag, stored.version)


def _digest(
    algorithm: str, counted: bytes | None, session: UploadSession, store: ObjectStore, stored: StoredObject
) -> str:
    """Return what the store has counted, else what the bytes are counted to here."""
    if counted is not None:
        return counted.hex()
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for chunk in store.read(session.key, stored):
        digest.update(chunk)
    return digest.hexdigest()
