"""What uploads need of a Cloud Storage bucket, through the SDK of the storage.

Must not sign a link, nor show the URL of a session. Parts are joined without a condition, since Cloud Storage knows
none for them: the name is looked at before, and no client can do it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import requests
from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed
from google.cloud.storage.retry import DEFAULT_RETRY

from gateway.storages.gcs_multipart import MultipartUploads
from gateway.storages.objects import ListedObject, ReceivedPart, StoredObject, UnfinishedUpload

if TYPE_CHECKING:
    from gateway.storages.gcs import PrivateGCSStorage

__all__ = ["GCSObjects"]

_CHUNK_BYTES = 8 * 2**20
# A client waits for the answer; the SDK's own would be two minutes.
_WAITING: dict[str, Any] = {"timeout": (5, 30), "retry": DEFAULT_RETRY.with_timeout(5)}
_SESSION_TIMEOUT = (5, 30)
# https://cloud.google.com/storage/docs/json_api/v1/status-codes: expired, lost, and cancelled
_OVER = frozenset({404, 410, 499})
_RANGE = re.compile(r"bytes=0-([0-9]+)")


class GCSObjects:
    """The :class:`~gateway.storages.objects.PartStore` and ``ResumableStore`` of a Cloud Storage bucket."""

    least_part_bytes = 5 * 2**20  # https://cloud.google.com/storage/quotas#requests
    joins_under_free_names = False
    session_lifetime = timedelta(days=7)  # https://cloud.google.com/storage/docs/resumable-uploads

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
            # Google counts it of whatever was written in one piece, and of nothing that was composed.
            md5=base64.b64decode(blob.md5_hash) if blob.md5_hash else None,
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

    def begin_parts(self, name: str, content_type: str) -> str:
        return self._multipart.begin(self._storage.object_key(name), content_type)

    def parts(self, name: str, upload_id: str) -> list[ReceivedPart] | None:
        return self._multipart.parts(self._storage.object_key(name), upload_id)

    def complete_parts(self, name: str, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        if self.stat(name) is not None:
            raise FileExistsError("the key is taken; nothing was overwritten")
        self._multipart.complete(self._storage.object_key(name), upload_id, parts)

    def abort_parts(self, name: str, upload_id: str) -> None:
        self._multipart.abort(self._storage.object_key(name), upload_id)

    def unfinished(self) -> Iterator[UnfinishedUpload]:
        return self._multipart.unfinished(self._prefix)

    @property
    def _multipart(self) -> MultipartUploads:
        # The library's session: its credentials, its connections, its retries of a token that has ended.
        return MultipartUploads(self._storage.client._http, f"{self._storage.origin}/{self._storage.bucket_name}")

    @property
    def _prefix(self) -> str:
        location = str(self._storage.location).strip("/")
        return f"{location}/" if location else ""

    def objects(self) -> Iterator[ListedObject]:
        prefix = self._prefix
        for blob in self._storage.client.list_blobs(self._storage.bucket_name, prefix=prefix or None, **_WAITING):
            yield ListedObject(
                name=blob.name.removeprefix(prefix), size_bytes=blob.size, etag=str(blob.generation),
                modified_at=blob.updated,
            )  # fmt: skip

    # https://cloud.google.com/storage/docs/performing-resumable-uploads

    @property
    def opens_sessions(self) -> bool:
        return bool(self._storage.resumable_uploads)

    def begin_session(
        self, name: str, *, content_type: str, size_bytes: int, md5: bytes | None, origin: str | None
    ) -> str:
        blob = self._storage.bucket.blob(self._storage.object_key(name))
        if md5 is not None:
            blob.md5_hash = base64.b64encode(md5).decode()
        try:
            url = blob.create_resumable_upload_session(
                content_type=content_type, size=size_bytes, origin=origin, if_generation_match=0, checksum=None,
                **_WAITING,
            )  # fmt: skip
        except PreconditionFailed as error:
            raise FileExistsError("the name is taken") from error
        return str(url)

    def shown_session(self, url: str) -> str:
        return self._storage.public_session_url(url)

    def session_bytes(self, url: str) -> int | None:
        answer = self._tell("PUT", url, {"Content-Range": "bytes */*"})
        if answer.status_code in _OVER:
            return None
        if answer.status_code in (200, 201):
            return int(answer.json()["size"])
        if answer.status_code != 308:
            raise RuntimeError(f"the session answers {answer.status_code}")
        # Without the header nothing has come.
        known = _RANGE.fullmatch(answer.headers.get("Range", ""))
        return int(known[1]) + 1 if known else 0

    def cancel_session(self, url: str) -> None:
        status = self._tell("DELETE", url, {}).status_code
        # What Google says where the object is made already is not documented: then nothing more is written either.
        is_over = status in _OVER or 200 <= status < 300
        if not is_over and self._tell("PUT", url, {"Content-Range": "bytes */*"}).status_code not in (200, 201):
            raise RuntimeError(f"the session answers {status}")

    @staticmethod
    def _tell(method: str, url: str, headers: dict[str, str]) -> requests.Response:
        # Without a token: the URL is all that a session asks for.
        try:
            return requests.request(
                method, url, headers={"Content-Length": "0", **headers}, timeout=_SESSION_TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            # Its text holds the URL.
            raise ConnectionError(type(error).__name__) from None
