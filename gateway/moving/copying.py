"""One object from here to there: read once, counted, written, and read again where it arrived.

Must not write over anything, and takes no store's word for the bytes but a SHA-256 that it counted itself.
"""

from __future__ import annotations

import hashlib
import mimetypes
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

from django.core.files.base import File as Content

from gateway.moving.sides import Side
from gateway.storages.objects import StoredObject
from providers.keys import key_error

__all__ = ["Copied", "copy", "delete"]

_IN_MEMORY_BYTES = 4 * 2**20
_UNKNOWN_TYPE = "application/octet-stream"

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one object.

    Attributes:
        what: ``copied``, ``found`` (it was there already, the same), ``deleted``, ``refused`` (its name breaks the
            grammar of keys) or ``failed``.
        detail: why, of the last two.
    """

    name: str
    what: str
    detail: str = ""
    size_bytes: int = 0
    sha256: str = ""
    source_etag: str = ""
    target_etag: str = ""
    target_version: str = ""

    @property
    def is_done(self) -> bool:
        return self.what not in ("refused", "failed")


def copy(
    source: Side, target: Side, name: str, *, content_type: str = "", progress: Progress = lambda _: None
) -> Copied:
    """Copy one object, or find it copied; whatever the stores say, it is told and not raised.

    Args:
        content_type: as its row says; else as the source has it, else as the name suggests.
        progress: told the number of bytes that have just been read from the source.
    """
    if problem := key_error(name):
        return Copied(name, "refused", f"the name {problem}")
    try:
        return _copy(source, target, name, content_type, progress)
    except Exception as error:
        return Copied(name, "failed", f"{type(error).__name__}: {error}")


def delete(source: Side, target: Side, copied: Copied) -> Copied:
    """Delete the source's object if both are still the ones that were copied and read again."""
    try:
        there, here = target.objects.stat(copied.name), source.objects.stat(copied.name)
        if there is None or (there.etag, there.version, there.size_bytes) != (
            copied.target_etag, copied.target_version, copied.size_bytes,
        ):  # fmt: skip
            return Copied(copied.name, "failed", "kept, since the copy is gone or another one by now")
        # None where a run was killed between the deletion and its record.
        if here is not None:
            if here.etag != copied.source_etag:
                return Copied(copied.name, "failed", "kept, since it is another one than was copied")
            source.storage.delete(copied.name)
    except Exception as error:
        return Copied(copied.name, "failed", f"{type(error).__name__}: {error}")
    return Copied(copied.name, "deleted")


def _copy(source: Side, target: Side, name: str, content_type: str, progress: Progress) -> Copied:
    here = source.objects.stat(name)
    if here is None:
        return Copied(name, "failed", "it is gone, or no regular file")
    guessed, encoding = mimetypes.guess_type(name)
    if here.content_encoding not in ("", encoding):
        return Copied(name, "failed", f"it is stored with the encoding {here.content_encoding!r}, which would be lost")
    there = target.objects.stat(name)
    what = "copied" if there is None else "found"
    if there is None:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
            sha256, size_bytes = _read(source, name, here, progress, cast("IO[bytes]", spool))
            if size_bytes != here.size_bytes:
                return Copied(name, "failed", f"{size_bytes} bytes could be read; {here.size_bytes} are there")
            spool.seek(0)
            content: Any = Content(cast("IO[bytes]", spool), name=name)
            content.size = size_bytes
            content.content_type = content_type or here.content_type or guessed or _UNKNOWN_TYPE
            # Not save(), which would make another name.
            target.storage._save(name, content)
        there = target.objects.stat(name)
        if there is None:
            return Copied(name, "failed", "the target took it, and does not have it")
    else:
        sha256, size_bytes = _read(source, name, here, progress)
    if there.size_bytes != size_bytes or _sha256_of(target, name, there) != sha256:
        return Copied(name, "failed", "the target has another object of this name; nothing was overwritten")
    return Copied(name, what, "", size_bytes, sha256, here.etag, there.etag, there.version)


def _sha256_of(side: Side, name: str, stored: StoredObject) -> str:
    if stored.sha256 is not None:
        return stored.sha256.hex()
    return _read(side, name, stored, lambda _: None)[0]


def _read(
    side: Side, name: str, stored: StoredObject, progress: Progress, into: IO[bytes] | None = None
) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in side.objects.read(name, stored):
        digest.update(chunk)
        size_bytes += len(chunk)
        if into is not None:
            into.write(chunk)
        progress(len(chunk))
    return digest.hexdigest(), size_bytes
