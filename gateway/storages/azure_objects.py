"""What uploads need of a container of Azure Blob Storage, through the SDK of the storage.

Must not sign a link. It takes no parts: a link that may write a block may write the whole blob as well, and
could replace what was verified for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError

from gateway.storages.objects import ListedObject, StoredObject

if TYPE_CHECKING:
    from gateway.storages.azure import PrivateAzureStorage

__all__ = ["AzureObjects"]


class AzureObjects:
    """The :class:`~gateway.storages.objects.ObjectStore` of a container."""

    def __init__(self, storage: PrivateAzureStorage) -> None:
        self._storage = storage

    def stat(self, name: str) -> StoredObject | None:
        try:
            found = self._blob(name).get_blob_properties(timeout=self._storage.timeout)
        except ResourceNotFoundError:
            return None
        return StoredObject(
            size_bytes=found.size,
            content_type=found.content_settings.content_type,
            etag=found.etag.strip('"'),
            version=found.version_id or "",
            content_encoding=found.content_settings.content_encoding or "",
        )

    def read(self, name: str, stored: StoredObject, *, first_bytes: int | None = None) -> Iterator[bytes]:
        if stored.size_bytes == 0 or first_bytes == 0:
            return
        length = None if first_bytes is None else min(first_bytes, stored.size_bytes)
        try:
            # The bytes as they are stored: the SDK would unpack what the blob says is packed.
            yield from self._blob(name).download_blob(
                decompress=False,
                offset=0 if length else None, length=length, etag=f'"{stored.etag}"',
                match_condition=MatchConditions.IfNotModified, timeout=self._storage.timeout,
            ).chunks()  # fmt: skip
        except (ResourceNotFoundError, ResourceModifiedError) as error:
            raise FileNotFoundError("there is no such blob, or it is another one by now") from error
        except HttpResponseError as error:
            if error.status_code != 412:
                raise
            raise FileNotFoundError("the blob is another one by now") from error

    def objects(self) -> Iterator[ListedObject]:
        location = str(self._storage.location).strip("/")
        prefix = f"{location}/" if location else ""
        for blob in self._storage.client.list_blobs(name_starts_with=prefix or None, timeout=self._storage.timeout):
            yield ListedObject(
                name=blob.name.removeprefix(prefix), size_bytes=blob.size, etag=blob.etag.strip('"'),
                modified_at=blob.last_modified,
            )  # fmt: skip

    def _blob(self, name: str) -> Any:
        return self._storage.client.get_blob_client(self._storage.object_key(name))
