"""Multipart uploads of Cloud Storage's XML API as Google documents them: begun, listed, completed and aborted by token.

It must not be kinder than the documentation: no condition is met, because none is supported, and to complete an
upload overwrites what has the name.

Sources:
    https://cloud.google.com/storage/docs/multipart-uploads
    https://cloud.google.com/storage/docs/xml-api/post-object-complete
    https://cloud.google.com/storage/docs/xml-api/get-object-multipart
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree import ElementTree

from tests.emulators.gcs_xml import NO_TYPE, Objects, Reply, problem

LEAST_PART_BYTES = 5 * 2**20  # of all but the last
MOST_PARTS = 10_000
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass
class _Upload:
    bucket: str
    key: str
    content_type: str
    began_at: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


class Uploads:
    """The unfinished uploads of all buckets, by id.

    Attributes:
        page_size: the most lines of one answer, whatever is asked for.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._uploads: dict[str, _Upload] = {}
        self.page_size = 1000

    def permission(self, method: str, query: Mapping[str, str]) -> str | None:
        """Return what a token must allow; None where the request is none about multipart uploads."""
        if "uploads" in query:
            return {"POST": "multipart.create", "GET": "multipart.list"}.get(method)
        if "uploadId" in query:
            return {"POST": "multipart.create", "GET": "multipart.listParts", "DELETE": "multipart.abort"}.get(method)
        return None

    def handle(
        self, method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Answer a request of who has the permission."""
        if any(name.startswith(("x-goog-if-", "if-")) for name in headers):
            return problem(400, "NotImplemented", "Preconditions are not supported.")
        with self._objects.lock:
            if "uploads" in query:
                if method == "GET":
                    return self._list_uploads(bucket, query)
                if body:
                    return problem(400, "InvalidArgument", "An upload begins without a body.")
                upload_id = self.begin(bucket, key, headers.get("content-type", NO_TYPE))
                said = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
                return _answer("InitiateMultipartUploadResult", said)
            upload = self._known(bucket, key, query["uploadId"])
            if upload is None:
                return problem(404, "NoSuchUpload")
            if method == "GET":
                return self._list_parts(upload, query)
            if method == "DELETE":
                del self._uploads[query["uploadId"]]
                return Reply(204)
            return self._complete(upload, query["uploadId"], body)

    def begin(self, bucket: str, key: str, content_type: str = NO_TYPE) -> str:
        upload_id = secrets.token_urlsafe(30) + "+/="
        self._uploads[upload_id] = _Upload(bucket, key, content_type, datetime.now(UTC))
        return upload_id

    def put(self, bucket: str, key: str, query: Mapping[str, str], body: bytes) -> Reply:
        """Keep one part, in place of the same that came before; its signature was verified."""
        number = int(query.get("partNumber", "0"))
        if not 1 <= number <= MOST_PARTS:
            return problem(400, "InvalidArgument", "The part number is from 1 to 10000.")
        with self._objects.lock:
            upload = self._known(bucket, key, query["uploadId"])
            if upload is None:
                return problem(404, "NoSuchUpload")
            upload.parts[number] = body
        return Reply(200, b"", {"ETag": _etag(body)})

    def parts(self, upload_id: str) -> dict[int, bytes]:
        return self._uploads[upload_id].parts

    def complete(self, upload_id: str) -> None:
        """Complete an upload of all its parts, for whoever runs the server."""
        upload = self._uploads.pop(upload_id)
        parts = (upload.parts[number] for number in sorted(upload.parts))
        self._objects.join(upload.bucket, upload.key, parts, upload.content_type)

    def _known(self, bucket: str, key: str, upload_id: str) -> _Upload | None:
        upload = self._uploads.get(upload_id)
        return upload if upload is not None and (upload.bucket, upload.key) == (bucket, key) else None

    def _complete(self, upload: _Upload, upload_id: str, body: bytes) -> Reply:
        try:
            named = [
                (int(part.findtext("{*}PartNumber", "")), part.findtext("{*}ETag", "").strip('"'))
                for part in ElementTree.fromstring(body).iterfind("{*}Part")
            ]
        except (ElementTree.ParseError, ValueError):
            return problem(400, "MalformedCompleteMultipartUploadRequest")
        numbers = [number for number, _ in named]
        if not numbers or numbers != sorted(set(numbers)):
            return problem(400, "InvalidPartOrder")
        for number, etag in named:
            if number not in upload.parts or _etag(upload.parts[number]).strip('"') != etag:
                return problem(400, "InvalidPart")
        if any(len(upload.parts[number]) < LEAST_PART_BYTES for number in numbers[:-1]):
            return problem(400, "EntityTooSmall")
        parts = (upload.parts[number] for number in numbers)
        kept = self._objects.join(upload.bucket, upload.key, parts, upload.content_type)
        if kept.status != 200:
            return kept
        del self._uploads[upload_id]
        return _answer("CompleteMultipartUploadResult", {"Bucket": upload.bucket, "Key": upload.key})

    def _list_parts(self, upload: _Upload, query: Mapping[str, str]) -> Reply:
        after, most = int(query.get("part-number-marker", 0)), int(query.get("max-parts", 1000))
        numbers = sorted(number for number in upload.parts if number > after)
        shown = numbers[: min(most, self.page_size)]
        lines = [
            {"PartNumber": number, "ETag": _etag(upload.parts[number]), "Size": len(upload.parts[number])}
            for number in shown
        ]
        said = {"IsTruncated": "true" if len(shown) < len(numbers) else "false"}
        if len(shown) < len(numbers):
            said["NextPartNumberMarker"] = str(shown[-1])
        return _answer("ListPartsResult", said, "Part", lines)

    def _list_uploads(self, bucket: str, query: Mapping[str, str]) -> Reply:
        after = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
        found = sorted(
            (upload.key, upload_id)
            for upload_id, upload in self._uploads.items()
            if upload.bucket == bucket and upload.key.startswith(query.get("prefix", ""))
        )
        left = [one for one in found if one > after]
        shown = left[: min(int(query.get("max-uploads", 1000)), self.page_size)]
        lines = [
            {"Key": key, "UploadId": upload_id, "Initiated": f"{self._uploads[upload_id].began_at:%Y-%m-%dT%H:%M:%SZ}"}
            for key, upload_id in shown
        ]
        said = {"IsTruncated": "true" if len(shown) < len(left) else "false"}
        if len(shown) < len(left):
            said |= {"NextKeyMarker": shown[-1][0], "NextUploadIdMarker": shown[-1][1]}
        return _answer("ListMultipartUploadsResult", said, "Upload", lines)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def _answer(name: str, said: Mapping[str, str], each: str = "", lines: Sequence[Mapping[str, object]] = ()) -> Reply:
    root = ElementTree.Element(name, xmlns=_NAMESPACE)
    for tag, text in said.items():
        ElementTree.SubElement(root, tag).text = text
    for line in lines:
        one = ElementTree.SubElement(root, each)
        for tag, value in line.items():
            ElementTree.SubElement(one, tag).text = str(value)
    body = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return Reply(200, body, {"Content-Type": "application/xml; charset=UTF-8"})
