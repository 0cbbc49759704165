"""Multipart uploads of Cloud Storage's XML API, which Google's client library does not list: asked with its session.

Must not sign, and takes no answer for success that is none. Google supports no precondition here.

Sources:
    https://cloud.google.com/storage/docs/multipart-uploads
    https://cloud.google.com/storage/docs/xml-api/post-object-multipart
    https://cloud.google.com/storage/docs/xml-api/post-object-complete
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from google.api_core.exceptions import NotFound, from_http_response
from google.cloud.storage.retry import DEFAULT_RETRY

from gateway.storages.objects import ReceivedPart, UnfinishedUpload

__all__ = ["MultipartUploads"]

_RETRY = DEFAULT_RETRY.with_timeout(5)
_TIMEOUT = (5, 30)
# Joining takes longer the more parts there are.
_COMPLETE_TIMEOUT = (5, 120)
_INCOMPLETE = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "NoSuchUpload"})


class MultipartUploads:
    """The multipart uploads of one bucket.

    Args:
        session: of ``requests``, which says who asks.
        bucket_url: where the bucket is, without a slash at the end.
    """

    def __init__(self, session: Any, bucket_url: str) -> None:
        self._session = session
        self._bucket_url = bucket_url

    def begin(self, key: str, content_type: str) -> str:
        """Begin one, and return its id."""
        root = self._ask("POST", key, {"uploads": ""}, "InitiateMultipartUploadResult", content_type=content_type)
        return _text(root, "UploadId")

    def parts(self, key: str, upload_id: str) -> list[ReceivedPart] | None:
        """Return its parts by number; None where there is no such upload."""
        found: list[ReceivedPart] = []
        query = {"uploadId": upload_id, "max-parts": "1000"}
        while True:
            try:
                root = self._ask("GET", key, query, "ListPartsResult")
            except NotFound:
                return None
            found += (
                ReceivedPart(
                    number=int(_text(part, "PartNumber")), size_bytes=int(_text(part, "Size")),
                    etag=_text(part, "ETag").strip('"'),
                )
                for part in root.iterfind("{*}Part")
            )  # fmt: skip
            if root.findtext("{*}IsTruncated") != "true":
                return found
            query["part-number-marker"] = _text(root, "NextPartNumberMarker")

    def complete(self, key: str, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        """Make the object, in place of what has the name.

        Raises:
            FileNotFoundError: there is no such upload, or a part is missing.
        """
        said = ElementTree.Element("CompleteMultipartUpload")
        for part in parts:
            one = ElementTree.SubElement(said, "Part")
            ElementTree.SubElement(one, "PartNumber").text = str(part.number)
            ElementTree.SubElement(one, "ETag").text = f'"{part.etag}"'
        answer = self._send("POST", key, {"uploadId": upload_id}, ElementTree.tostring(said), _COMPLETE_TIMEOUT)
        root = _root(answer)
        code = "" if root is None else root.findtext("{*}Code", "")
        if answer.status_code == 404 or code in _INCOMPLETE:
            raise FileNotFoundError(f"the upload cannot be completed: {code or answer.status_code}")
        if answer.status_code != 200 or root is None or not _is(root, "CompleteMultipartUploadResult"):
            raise _error(answer)

    def abort(self, key: str, upload_id: str) -> None:
        """Give one up; one that is over is no error."""
        answer = _RETRY(self._asked)("DELETE", key, {"uploadId": upload_id})
        if answer.status_code not in (204, 404):
            raise _error(answer)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield what was neither completed nor aborted, below a prefix."""
        query = {"uploads": "", "prefix": prefix, "max-uploads": "1000"}
        while True:
            root = self._ask("GET", "", query, "ListMultipartUploadsResult")
            for upload in root.iterfind("{*}Upload"):
                yield UnfinishedUpload(
                    name=_text(upload, "Key").removeprefix(prefix), upload_id=_text(upload, "UploadId"),
                    began_at=datetime.fromisoformat(_text(upload, "Initiated")),
                )  # fmt: skip
            if root.findtext("{*}IsTruncated") != "true":
                return
            query["key-marker"] = _text(root, "NextKeyMarker")
            query["upload-id-marker"] = _text(root, "NextUploadIdMarker")

    def _ask(
        self, method: str, key: str, query: Mapping[str, str], wanted: str, *, content_type: str = ""
    ) -> ElementTree.Element:
        headers = {"Content-Type": content_type} if content_type else {}
        answer = _RETRY(self._asked)(method, key, query, headers)
        root = _root(answer)
        if answer.status_code != 200 or root is None or not _is(root, wanted):
            raise _error(answer)
        return root

    def _asked(self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
        """Ask once; what is worth another try is raised, as the library's own calls do."""
        answer = self._send(method, key, query, b"", _TIMEOUT, headers)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _error(answer)
        return answer

    def _send(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        body: bytes,
        timeout: tuple[int, int],
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        url = f"{self._bucket_url}/{quote(key, safe='/~')}" if key else self._bucket_url
        said = "&".join(f"{name}={quote(value, safe='')}" if value else name for name, value in query.items())
        return self._session.request(
            method, f"{url}?{said}", data=body, headers=dict(headers or {}), timeout=timeout, allow_redirects=False
        )


def _root(answer: Any) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(answer.content)  # noqa: S314  (of the store that keeps the files, over TLS)
    except ElementTree.ParseError:
        return None


def _is(root: ElementTree.Element, name: str) -> bool:
    return root.tag.rpartition("}")[2] == name


def _text(element: ElementTree.Element, tag: str) -> str:
    text = element.findtext(f"{{*}}{tag}")
    if not text:
        raise RuntimeError(f"the store's answer has no {tag}")
    return text


def _error(answer: Any) -> Exception:
    if answer.status_code == 200:
        return RuntimeError("the store says 200, and nothing of what was asked")
    error: Exception = from_http_response(answer)  # type: ignore[no-untyped-call]
    return error
