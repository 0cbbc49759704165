"""Files below a directory, opened so that no link leads out of it, and written whole or not at all.

Must not trust a name: the grammar of keys was checked before, and the path is walked without following links.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.storages import openat2
from providers.errors import InvalidKey
from providers.keys import check_key

__all__ = [
    "PARTS_DIRECTORY",
    "list_beneath",
    "open_beneath",
    "remove_beneath",
    "store_beneath",
    "version_of",
    "write_beneath",
]

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DIRECTORY = _ROOT | os.O_NOFOLLOW
# O_NONBLOCK: a FIFO would otherwise hold the caller until somebody writes.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.part")
# In the root, and no name of a file: what has come of uploads that are still on their way.
PARTS_DIRECTORY = ".parts"
# What opening says where there is nothing that may be read. Any other error, such as too many open files or
# a failing disk, is no word about the file.
_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV})


def open_beneath(root: str, key: str) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises:
        FileNotFoundError: there is none, or what is there is no regular file, or a link is on the way.
        InvalidKey: the key breaks the grammar, or names a file that is being written.
        OSError: the system could not tell.
    """
    _refuse_temporary(key)
    if openat2.is_there():
        with _root(root) as directory, _nothing_there("file"):
            descriptor = openat2.open_beneath(directory, key, _READING)
    else:
        with _parent(root, key) as (directory, name), _nothing_there("file"):
            descriptor = os.open(name, _READING, dir_fd=directory)
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
    """Write a file as :func:`store_beneath` does, and return its size in bytes."""
    stored = store_beneath(root, key, chunks, overwrite=overwrite, file_mode=file_mode, directory_mode=directory_mode)
    return stored.st_size


def store_beneath(
    root: str,
    key: str,
    chunks: Iterable[bytes],
    *,
    overwrite: bool = False,
    file_mode: int = 0o600,
    directory_mode: int | None = 0o700,
) -> os.stat_result:
    """Write a file and return its status; until the last byte is on the disk, nothing has changed.

    Args:
        chunks: may raise, which leaves no file behind (new directories stay, since others may be using them).
        directory_mode: of the directories that are made; None makes none.

    Raises:
        FileExistsError: the name is taken and ``overwrite`` is False.
        FileNotFoundError: something on the way is no directory.
        InvalidKey: the key breaks the grammar, or names a file that is being written.
        OSError: the disk is full, or fails.
    """
    _refuse_temporary(key)
    with _parent(root, key, create_mode=directory_mode) as (directory, name):
        temporary = f".{secrets.token_hex(16)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, file_mode, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                # Said again: the process's umask may have taken bits that were asked for.
                os.fchmod(file.fileno(), file_mode)
                os.fsync(file.fileno())
                stored = os.fstat(file.fileno())
            if overwrite:
                os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                # A link, unlike a rename, is refused where the name is taken.
                os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        finally:
            if not overwrite or _exists(temporary, directory):
                os.unlink(temporary, dir_fd=directory)
        os.fsync(directory)
    return stored


def version_of(status: os.stat_result) -> str:
    """Return a text that is another whenever a file was written anew: what a link may be bound to.

    Hashed, so that it tells nobody the file system's own numbers.
    """
    text = f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def remove_beneath(root: str, key: str) -> None:
    """Remove a file; one that is not there is no error.

    Raises:
        FileNotFoundError: the root itself is not there: on a disk that is not mounted every file seems gone.
        InvalidKey: the key breaks the grammar, or names a part of an upload.
    """
    if check_key(key).partition("/")[0] == PARTS_DIRECTORY:
        raise InvalidKey(f"key {key!r} names a part of an upload")
    try:
        with _parent(root, key) as (directory, name):
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)
    except FileNotFoundError:
        if not Path(root).is_dir():
            raise


def list_beneath(root: str, path: str) -> tuple[list[str], list[str]]:
    """Return the names of the directories and of the regular files in a directory; empty is the root.

    Raises:
        FileNotFoundError: there is none, or a link is on the way.
        InvalidKey: the path breaks the grammar.
    """
    directories, files = [], []
    with (
        _parent(root, "-" if path == "" else f"{check_key(path)}/-") as (directory, _),
        os.scandir(directory) as entries,
    ):
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if path or entry.name != PARTS_DIRECTORY:
                    directories.append(entry.name)
            elif entry.is_file(follow_symlinks=False) and not _TEMPORARY.fullmatch(entry.name):
                files.append(entry.name)
    return directories, files


@contextmanager
def _parent(root: str, key: str, *, create_mode: int | None = None) -> Iterator[tuple[int, str]]:
    """Walk from the root to the directory of a key, one segment at a time, following no link."""
    *segments, name = check_key(key).split("/")
    if create_mode is not None:
        _make_root(Path(root), create_mode)
    descriptor = os.open(root, _ROOT)
    try:
        for segment in segments:
            if create_mode is not None:
                _make_directory(segment, descriptor, create_mode)
            with _nothing_there("directory"):
                below = os.open(segment, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


@contextmanager
def _root(root: str) -> Iterator[int]:
    descriptor = os.open(root, _ROOT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _nothing_there(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise
        raise FileNotFoundError(f"no such {what} below the root") from error


def _refuse_temporary(key: str) -> None:
    """What a killed writer left is half a file: it is never read, and nothing is stored under its name."""
    if _TEMPORARY.fullmatch(check_key(key).rpartition("/")[2]) or key.partition("/")[0] == PARTS_DIRECTORY:
        raise InvalidKey(f"key {key!r} names a file that is being written")


def _make_root(root: Path, mode: int) -> None:
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        above = os.open(root.parent, _ROOT)
        try:
            _make_directory(root.name, above, mode)
        finally:
            os.close(above)


def _make_directory(name: str, parent: int, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        return
    # Said again, as for files: the umask may have taken bits that were asked for.
    os.chmod(name, mode, dir_fd=parent)
    os.fsync(parent)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
