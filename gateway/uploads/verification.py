"""Is what arrived what was declared: its size, its stored type, its first bytes, its checksum.

Looks at the object alone and changes nothing, so that any number may look at once. Must not take a client's,
nor a store's, word for a type that the bytes can tell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import puremagic

from gateway.errors import ChecksumMismatch, SizeMismatch, TypeMismatch
from gateway.models import UploadSession
from gateway.storages.objects import ObjectStore, StoredObject

__all__ = ["Verified", "is_of_type", "verify"]

HEAD_BYTES = 16 * 2**10
# puremagic's own measure: what is below it rests on one or two bytes.
_LEAST_CONFIDENCE = 0.3
# One format under several names, and containers whose first bytes do not tell what they contain.
_FAMILIES = (
    {"audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"},
    {"audio/mp4", "video/mp4", "audio/x-m4a", "video/x-m4v", "application/mp4"},
    {"audio/ogg", "video/ogg", "application/ogg"},
    {"audio/webm", "video/webm", "video/x-matroska"},
    {"audio/flac", "audio/x-flac"},
    {"audio/aac", "audio/x-aac", "audio/aacp"},
    {"application/zip", "application/x-zip-compressed"},
    {"application/gzip", "application/x-gzip"},
    {"application/xml", "text/xml"},
)


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
    if session.sha256 and _sha256(session, store, stored) != session.sha256:
        raise ChecksumMismatch("its SHA-256 is another one")
    return Verified(stored.etag, stored.version)


def is_of_type(head: bytes, content_type: str, *, is_whole: bool) -> bool:
    """Tell whether bytes may be of a media type; a type that has no signature is held to no bytes.

    Args:
        head: the first bytes.
        is_whole: they are all there are.
    """
    media_type = content_type.partition(";")[0]
    if media_type == "application/octet-stream":
        return True
    if media_type.startswith("text/") and media_type != "text/xml":
        return _is_text(head, is_whole=is_whole)
    names = _family(media_type)
    if names.isdisjoint(_known_types()):
        return True
    return not names.isdisjoint(_types_of(head))


def _types_of(head: bytes) -> set[str]:
    if not head:
        return set()
    try:
        matches = puremagic.magic_string(head)
    except puremagic.PureError:
        return set()
    return {match.mime_type.lower() for match in matches if match.mime_type and match.confidence >= _LEAST_CONFIDENCE}


def _is_text(head: bytes, *, is_whole: bool) -> bool:
    if b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut where the head ends.
        return not is_whole and len(head) - error.start < 4 and error.reason == "unexpected end of data"
    return True


def _family(media_type: str) -> set[str]:
    return next((family for family in _FAMILIES if media_type in family), {media_type})


@lru_cache(maxsize=1)
def _known_types() -> frozenset[str]:
    headers = puremagic.main.magic_header_array
    return frozenset(entry.mime_type.lower() for entry in headers if entry.mime_type)


def _sha256(session: UploadSession, store: ObjectStore, stored: StoredObject) -> str:
    if stored.sha256 is not None:
        return stored.sha256.hex()
    digest = hashlib.sha256()
    for chunk in store.read(session.key, stored):
        digest.update(chunk)
    return digest.hexdigest()
