"""What uploads need of a Cloud Storage bucket, through the SDK of the storage.

Must not sign a link. It takes no parts: a part-wise upload of Cloud Storage has no condition that keeps it from
overwriting, and a resumable one is a secret that outlives every link.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import Forbidden, NotFound
from google.cloud.storage.retry import DEFAULT_RETRY

from gateway.storages.objects import ListedObject, StoredObject

if TYPE_CHECKING:
    from gateway.storages.gcs import PrivateGCSStorage

__all__ = ["GCSObjects"]

_CHUNK_BYTES = 8 * 2**20
# A client waits for the answer; the SDK's own would be two minutes.
_WAITING: dict[str, Any] = {"timeout": (5, 30), "retry": DEFAULT_RETRY.with_timeout(5)}


class GCSObjects:
    """The :class:`~gateway.storages.objects.ObjectStore` of a Cloud Storage bucket."""

    def __init__(self, storage: PrivateGCSStorage) -> None:
        self._storage = storage

    def stat(self, name: str) -> StoredObject | None:
        try:
            blob = self._storage.bucket.get_blob(self._storage.object_key(name), **_WAITING)
        except Forbidden:
            # What Google says of what is not there to who may not list; an object that is refused is none either.
            return None
        if blob is None:
            return None
        # The generation is another with every write; it is what a link can be bound to, too.
        generation = str(blob.generation)
        return StoredObject(
            size_bytes=blob.size, content_type=blob.content_type, etag=generation, version=generation,
            content_encoding=blob.content_encoding or "",
        )  # fmt: skip

    def read(self, name: str, stored: StoredObject, *, first_bytes: int | None = None) -> Iterator[bytes]:
        blob = self._storage.bucket.blob(self._storage.object_key(name), generation=int(stored.version))
        end = stored.size_bytes if first_bytes is None else min(first_bytes, stored.size_bytes)
        for start in range(0, end, _CHUNK_BYTES):
            try:
                yield blob.download_as_bytes(
                    start=start, end=min(start + _CHUNK_BYTES, end) - 1, raw_download=True, checksum=None, **_WAITING
                )
            except NotFound as error:
                raise FileNotFoundError("there is no such object, or it is another one by now") from error

    def objects(self) -> Iterator[ListedObject]:
        location = str(self._storage.location).strip("/")
        prefix = f"{location}/" if location else ""
        for blob in self._storage.client.list_blobs(self._storage.bucket_name, prefix=prefix or None, **_WAITING):
            yield ListedObject(
                name=blob.name.removeprefix(prefix), size_bytes=blob.size, etag=str(blob.generation),
                modified_at=blob.updated,
            )  # fmt: skip
