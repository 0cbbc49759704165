"""Parts of uploads to a directory: kept out of sight until all have come, then joined to one file.

No name of a file leads to a part. Must not decide which parts make a file.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from gateway.storages.files import PARTS_DIRECTORY, list_beneath, open_beneath, store_beneath

__all__ = ["begin_parts", "discard_parts", "join_parts", "list_parts", "list_uploads", "store_part"]

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")
_CHUNK_BYTES = 2**20


def begin_parts(root: str, *, directory_mode: int) -> str:
    """Make room for an upload and return its id."""
    upload_id = secrets.token_hex(16)
    directory = _directory(root, upload_id)
    directory.mkdir(parents=True)
    for made in (directory.parent, directory):
        # Said again: the process's umask may have taken bits that were asked for, or given some.
        made.chmod(directory_mode)
    return upload_id


def store_part(root: str, upload_id: str, number: int, chunks: Iterable[bytes], *, file_mode: int) -> os.stat_result:
    """Write a part, in place of the same part that came before.

    Raises:
        FileNotFoundError: there is no such upload, or it is over.
        OSError: the disk is full, or fails.
    """
    key = f"{_checked(upload_id)}/{number}"
    return store_beneath(_parts_root(root), key, chunks, overwrite=True, file_mode=file_mode, directory_mode=None)


def list_parts(root: str, upload_id: str) -> dict[int, int]:
    """Return the size in bytes of each part that has come, by number.

    Raises:
        FileNotFoundError: there is no such upload, or it is over.
    """
    directory = _directory(root, upload_id)
    _, names = list_beneath(_parts_root(root), upload_id)
    return {int(name): (directory / name).stat().st_size for name in names if _NUMBER.fullmatch(name)}


def join_parts(
    root: str, upload_id: str, key: str, numbers: Sequence[int], *, file_mode: int, directory_mode: int
) -> None:
    """Write the parts as one file, which nobody sees before its last byte is on the disk.

    Raises:
        FileExistsError: the key is taken; nothing was overwritten.
        FileNotFoundError: there is no such upload, or a part is missing.
    """
    _checked(upload_id)
    chunks = _chunks(_parts_root(root), [f"{upload_id}/{number}" for number in numbers])
    store_beneath(root, key, chunks, file_mode=file_mode, directory_mode=directory_mode)


def discard_parts(root: str, upload_id: str) -> None:
    """Forget an upload; one that is not there is no error."""
    directory = _directory(root, upload_id)
    gone = directory.with_name(f"{upload_id}.gone")
    # Renamed first, so that no part can come into a directory that is being emptied.
    with suppress(FileNotFoundError):
        directory.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def list_uploads(root: str) -> Iterator[tuple[str, datetime]]:
    """Yield the uploads that are neither joined nor discarded, with the time of their last change."""
    try:
        directories, _ = list_beneath(_parts_root(root), "")
    except FileNotFoundError:
        return
    for name in directories:
        if _UPLOAD_ID.fullmatch(name):
            yield name, datetime.fromtimestamp(_directory(root, name).stat().st_mtime, UTC)


def _chunks(parts_root: str, keys: Iterable[str]) -> Iterator[bytes]:
    for key in keys:
        with os.fdopen(open_beneath(parts_root, key), "rb") as part:
            while chunk := part.read(_CHUNK_BYTES):
                yield chunk


def _parts_root(root: str) -> str:
    return str(Path(root) / PARTS_DIRECTORY)


def _directory(root: str, upload_id: str) -> Path:
    return Path(_parts_root(root)) / _checked(upload_id)


def _checked(upload_id: str) -> str:
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise FileNotFoundError("no upload has such an id")
    return upload_id
