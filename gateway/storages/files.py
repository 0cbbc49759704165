"""Files below a directory, opened so that no link leads out of it, and written whole or not at all.

Must not trust a name: the grammar of keys was checked before, and the path is walked without following links.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from providers.keys import check_key

__all__ = ["open_beneath", "remove_beneath", "write_beneath"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_beneath(root: str, key: str) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises:
        FileNotFoundError: there is none, or what is there is no regular file, or a link is on the way.
        InvalidKey: the key breaks the grammar.
    """
    with _parent(root, key) as (directory, name):
        try:
            # O_NONBLOCK: a FIFO would otherwise hold the caller until somebody writes.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=directory)
        except OSError as error:
            raise FileNotFoundError("no such file below the root") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError("no such file below the root")
    return descriptor


def write_beneath(
    root: str,
    key: str,
    chunks: Iterable[bytes],
    *,
    overwrite: bool = False,
    file_mode: int = 0o600,
    directory_mode: int = 0o700,
) -> int:
    """Write a file and return its size in bytes; until the last byte is on the disk, nothing has changed.

    Args:
        chunks: may raise, which leaves nothing behind.

    Raises:
        FileExistsError: the name is taken and ``overwrite`` is False.
        InvalidKey: the key breaks the grammar.
    """
    size_bytes = 0
    with _parent(root, key, create_mode=directory_mode) as (directory, name):
        temporary = f".{secrets.token_hex(16)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, file_mode, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    size_bytes += len(chunk)
                file.flush()
                # Said again: the process's umask may have taken bits that were asked for.
                os.fchmod(file.fileno(), file_mode)
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                # A link, unlike a rename, is refused where the name is taken.
                os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        finally:
            if not overwrite or _exists(temporary, directory):
                os.unlink(temporary, dir_fd=directory)
        os.fsync(directory)
    return size_bytes


def remove_beneath(root: str, key: str) -> None:
    """Remove a file; one that is not there is no error.

    Raises:
        InvalidKey: the key breaks the grammar.
    """
    try:
        with _parent(root, key) as (directory, name):
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)
    except FileNotFoundError:
        return


@contextmanager
def _parent(root: str, key: str, *, create_mode: int | None = None) -> Iterator[tuple[int, str]]:
    """Walk from the root to the directory of a key, one segment at a time, following no link."""
    *segments, name = check_key(key).split("/")
    if create_mode is not None:
        Path(root).mkdir(mode=create_mode, parents=True, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for segment in segments:
            if create_mode is not None:
                _make_directory(segment, descriptor, create_mode)
            try:
                below = os.open(segment, _DIRECTORY, dir_fd=descriptor)
            except OSError as error:
                raise FileNotFoundError("no such directory below the root") from error
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


def _make_directory(name: str, parent: int, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
