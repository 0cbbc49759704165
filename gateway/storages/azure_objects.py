"""What uploads need of a container of Azure Blob Storage, through the SDK of the storage.

Must not sign a link. A link that may write a block may write the whole blob as well, and could replace what was
verified for as long as it lives: blocks are written by the server alone, and by it committed under free names.

Sources:
    https://learn.microsoft.com/rest/api/storageservices/put-block
    https://learn.microsoft.com/rest/api/storageservices/put-block-list
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobBlock, BlockState, ContentSettings, StorageErrorCode

from gateway.storages.objects import ListedObject, ReceivedPart, StoredObject, UnfinishedUpload
from providers.azure import block_name

if TYPE_CHECKING:
    from gateway.storages.azure import PrivateAzureStorage

__all__ = ["AzureObjects"]


class AzureObjects:
    """The :class:`~gateway.storages.objects.RelayedPartStore` of a container."""

    least_part_bytes = 1
    joins_under_free_names = True
    # https://learn.microsoft.com/rest/api/storageservices/put-blob#remarks
    most_single_bytes = 5000 * 2**20
    most_part_bytes = 4000 * 2**20  # https://learn.microsoft.com/rest/api/storageservices/put-block#remarks

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

    def begin_parts(self, name: str, content_type: str) -> str:
        # Azure hears nothing before the first block, and the type with the last word: until then it is in the id,
        # which the name of each block is made of.
        return f"{secrets.token_hex(16)}.{quote(content_type)}"

    def pass_on_part(self, name: str, upload_id: str, number: int, chunks: Iterable[bytes], *, size_bytes: int) -> None:
        body: Any = _Once(chunks, size_bytes)
        # Not again by the SDK, whose second request would have no body; nor bounded as a whole, since the client
        # has the pace.
        self._blob(name).stage_block(block_name(upload_id, number), body, length=size_bytes, retry_total=0)

    def parts(self, name: str, upload_id: str) -> list[ReceivedPart] | None:
        try:
            _, uncommitted = self._blob(name).get_block_list("uncommitted", timeout=self._storage.timeout)
        except ResourceNotFoundError:
            return None
        start = block_name(upload_id, 0)[:-5]
        own = [
            ReceivedPart(number=int(block.id[len(start) :]), size_bytes=block.size)
            for block in uncommitted
            if block.id.startswith(start)
        ]
        # A list that was committed leaves none of them.
        return sorted(own, key=lambda part: part.number) or None

    def complete_parts(self, name: str, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        blocks = [BlobBlock(block_name(upload_id, part.number), state=BlockState.UNCOMMITTED) for part in parts]
        try:
            self._blob(name).commit_block_list(
                blocks, match_condition=MatchConditions.IfMissing, timeout=self._storage.timeout,
                content_settings=ContentSettings(content_type=unquote(upload_id.partition(".")[2])),
            )  # fmt: skip
        except ResourceExistsError as error:
            raise FileExistsError("there is a blob of this name") from error
        except HttpResponseError as error:
            if error.status_code == 412:
                raise FileExistsError("there is a blob of this name") from error
            if getattr(error, "error_code", None) == StorageErrorCode.INVALID_BLOCK_LIST:
                raise FileNotFoundError("a block is missing") from error
            raise

    def abort_parts(self, name: str, upload_id: str) -> None:
        """Do nothing: blocks are no blob, Azure drops them after a week, and the relay takes no more of them."""

    def unfinished(self) -> Iterator[UnfinishedUpload]:
        # Nothing ends them but time.
        return iter(())

    def _blob(self, name: str) -> Any:
        return self._storage.client.get_blob_client(self._storage.object_key(name))


class _Once:
    """A body of a known length that is sent as it comes; to be sent again it would have to be held."""

    def __init__(self, chunks: Iterable[bytes], size_bytes: int) -> None:
        self._chunks: Iterator[bytes] | None = iter(chunks)
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        chunks, self._chunks = self._chunks, None
        if chunks is None:
            raise OSError("the body has gone already")
        return chunks
