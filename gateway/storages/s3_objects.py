"""What uploads need of an S3 bucket, through the SDK of the storage.

Must not sign a link, and takes no answer for success that is none: S3 may say 200 and mean an error.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, FlexibleChecksumError

from gateway.storages.objects import ListedObject, ReceivedPart, StoredObject, UnfinishedUpload

if TYPE_CHECKING:
    from gateway.storages.s3 import PrivateS3Storage

__all__ = ["S3Objects"]

_MISSING = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_INCOMPLETE = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
_CHUNK_BYTES = 2**20


class S3Objects:
    """The :class:`~gateway.storages.objects.ObjectStore` of an S3 bucket."""

    least_part_bytes = 5 * 2**20  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    joins_under_free_names = True

    def __init__(self, storage: PrivateS3Storage) -> None:
        self._storage = storage

    def stat(self, name: str) -> StoredObject | None:
        try:
            answer = self._client.head_object(**self._named(name), ChecksumMode="ENABLED")
        except ClientError as error:
            # To who may not list, Amazon says 403 of what is not there; an object that is refused is none either.
            if _code(error) in _MISSING | {"403"}:
                return None
            raise
        # Compatible stores may say again what the client said, and have never counted: rclone does.
        digest = "" if self._storage.endpoint_url else answer.get("ChecksumSHA256", "")
        return StoredObject(
            size_bytes=answer["ContentLength"],
            content_type=answer.get("ContentType"),
            etag=answer["ETag"].strip('"'),
            version=_version(answer),
            # Of parts it is the digest of digests, and ends in their number.
            sha256=base64.b64decode(digest) if digest and "-" not in digest else None,
            content_encoding=_encoding(answer),
        )

    def read(self, name: str, stored: StoredObject, *, first_bytes: int | None = None) -> Iterator[bytes]:
        options = {"VersionId": stored.version} if stored.version else {"IfMatch": f'"{stored.etag}"'}
        if first_bytes is not None:
            options["Range"] = f"bytes=0-{first_bytes - 1}"
        try:
            body = self._client.get_object(**self._named(name), **options)["Body"]
        except ClientError as error:
            if _code(error) in _MISSING | _TAKEN:
                raise FileNotFoundError("there is no such object, or it is another one by now") from error
            if _code(error) == "InvalidRange":
                return  # an empty object has no first byte
            raise
        with body:
            if first_bytes is not None:
                # Not every store heeds Range.
                yield body.read(first_bytes)
                return
            # After the last byte the SDK compares them with what the store repeats: the reader counts for itself.
            with suppress(FlexibleChecksumError):
                yield from body.iter_chunks(_CHUNK_BYTES)

    def begin_parts(self, name: str, content_type: str) -> str:
        answer = self._client.create_multipart_upload(**self._named(name), ContentType=content_type)
        return str(answer["UploadId"])

    def parts(self, name: str, upload_id: str) -> list[ReceivedPart] | None:
        pages = self._client.get_paginator("list_parts").paginate(**self._named(name), UploadId=upload_id)
        try:
            return [
                ReceivedPart(number=part["PartNumber"], size_bytes=part["Size"], etag=part["ETag"].strip('"'))
                for page in pages
                for part in page.get("Parts", ())
            ]
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise

    def complete_parts(self, name: str, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        made_of = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts]
        try:
            # The SDK reads the body of a 200, too, and raises what it says.
            self._client.complete_multipart_upload(
                **self._named(name), UploadId=upload_id, MultipartUpload={"Parts": made_of}, IfNoneMatch="*",
                # 400 where the parts make another size: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
                MpuObjectSize=sum(part.size_bytes for part in parts),
            )  # fmt: skip
        except ClientError as error:
            if _code(error) in _MISSING | _INCOMPLETE:
                raise FileNotFoundError(f"the upload cannot be completed: {_code(error)}") from error
            if _code(error) in _TAKEN:
                raise FileExistsError("the key is taken; nothing was overwritten") from error
            raise

    def copy_part(self, source: str, name: str, upload_id: str) -> None:
        # An upload can be completed once on every store; the conditions of CopyObject Ceph 16 leaves unread.
        try:
            self._client.upload_part_copy(
                **self._named(name), UploadId=upload_id, PartNumber=1, CopySource=self._named(source)
            )
        except ClientError as error:
            if _code(error) in _MISSING:
                raise FileNotFoundError(f"there is nothing to copy: {_code(error)}") from error
            raise

    def abort_parts(self, name: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(**self._named(name), UploadId=upload_id)
        except ClientError as error:
            if _code(error) not in _MISSING:
                raise

    def objects(self) -> Iterator[ListedObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for listed in page.get("Contents", ()):
                yield ListedObject(
                    name=listed["Key"].removeprefix(self._prefix), size_bytes=listed["Size"],
                    etag=listed["ETag"].strip('"'), modified_at=listed["LastModified"],
                )  # fmt: skip

    def unfinished(self) -> Iterator[UnfinishedUpload]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for upload in page.get("Uploads", ()):
                yield UnfinishedUpload(
                    name=upload["Key"].removeprefix(self._prefix),
                    upload_id=upload["UploadId"],
                    began_at=upload["Initiated"],
                )

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._storage.object_key(name)}

    @property
    def _client(self) -> Any:
        return self._storage.connection.meta.client

    @property
    def _bucket(self) -> str:
        return str(self._storage.bucket_name)

    @property
    def _prefix(self) -> str:
        location = str(self._storage.location).strip("/")
        return f"{location}/" if location else ""


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _version(answer: dict[str, Any]) -> str:
    # "null" is what a bucket without versions calls the only one.
    version = answer.get("VersionId", "")
    return "" if version == "null" else str(version)


def _encoding(answer: dict[str, Any]) -> str:
    # How the SDK sent the bytes, which compatible stores keep as if it were the object's own.
    codings = (coding.strip() for coding in answer.get("ContentEncoding", "").split(","))
    return ",".join(coding for coding in codings if coding not in ("", "aws-chunked"))
