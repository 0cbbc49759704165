"""What uploads need of a private directory.

Must not follow a link out of the root, nor trust a name: both are left to ``files`` and ``parts``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.storages import parts as part_files
from gateway.storages.base import exact
from gateway.storages.files import list_beneath, open_beneath, version_of
from gateway.storages.objects import ListedObject, ReceivedPart, StoredObject, UnfinishedUpload

if TYPE_CHECKING:
    from gateway.storages.filesystem import PrivateFileSystemStorage

__all__ = ["LocalObjects"]

_CHUNK_BYTES = 2**20


class LocalObjects:
    """The :class:`~gateway.storages.objects.ObjectStore` of a directory."""

    least_part_bytes = 1
    joins_under_free_names = True

    def __init__(self, storage: PrivateFileSystemStorage) -> None:
        self._storage = storage

    def stat(self, name: str) -> StoredObject | None:
        try:
            descriptor = open_beneath(self._root, exact(name))
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        version = version_of(status)
        # A file has no type of its own; the row's is signed into every link.
        return StoredObject(size_bytes=status.st_size, content_type=None, etag=version, version=version)

    def read(self, name: str, stored: StoredObject, *, first_bytes: int | None = None) -> Iterator[bytes]:
        descriptor = open_beneath(self._root, exact(name))
        with os.fdopen(descriptor, "rb") as file:
            if version_of(os.fstat(descriptor)) != stored.version:
                raise FileNotFoundError("the file is another one by now")
            if first_bytes is not None:
                yield file.read(first_bytes)
                return
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def begin_parts(self, name: str, content_type: str) -> str:
        return part_files.begin_parts(self._root, directory_mode=self._storage.directory_mode)

    def parts(self, name: str, upload_id: str) -> list[ReceivedPart] | None:
        try:
            sizes = part_files.list_parts(self._root, upload_id)
        except FileNotFoundError:
            return None
        return [ReceivedPart(number=number, size_bytes=sizes[number]) for number in sorted(sizes)]

    def complete_parts(self, name: str, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        part_files.join_parts(
            self._root, upload_id, exact(name), [part.number for part in parts],
            file_mode=self._storage.file_mode, directory_mode=self._storage.directory_mode,
        )  # fmt: skip
        part_files.discard_parts(self._root, upload_id)

    def abort_parts(self, name: str, upload_id: str) -> None:
        part_files.discard_parts(self._root, upload_id)

    def objects(self) -> Iterator[ListedObject]:
        yield from self._below("")

    def unfinished(self) -> Iterator[UnfinishedUpload]:
        for upload_id, began_at in part_files.list_uploads(self._root):
            yield UnfinishedUpload(name="", upload_id=upload_id, began_at=began_at)

    def _below(self, path: str) -> Iterator[ListedObject]:
        try:
            directories, names = list_beneath(self._root, path)
        except FileNotFoundError:
            return
        prefix = f"{path}/" if path else ""
        for name in sorted(names):
            descriptor = open_beneath(self._root, f"{prefix}{name}")
            try:
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            yield ListedObject(
                name=f"{prefix}{name}", size_bytes=status.st_size, etag=version_of(status),
                modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
            )  # fmt: skip
        for directory in sorted(directories):
            yield from self._below(f"{prefix}{directory}")

    @property
    def _root(self) -> str:
        return str(self._storage.location)
