"""Fetches an object from its store with a link of its own, and passes the bytes on as they come.

Must not follow a redirect, hold more than 64 KiB of an object, or pass on what the store says beyond the bytes.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
from typing import Final
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway.delivery.ranges import byte_range
from gateway.delivery.responses import CHUNK_BYTES, FileHeadersResponse, StreamedResponse, TruncatedFile, words
from gateway.delivery.x_accel import request_target
from gateway.errors import StorageUnavailable

__all__ = ["PRECONDITIONS", "stream_link"]

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 20  # for each connection, answer and read; not for the whole
PRECONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
_MAX_BYTES = 2**63
_OF_THE_BYTES = ("Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges")


def stream_link(request: HttpRequest, url: str, headers: dict[str, str]) -> HttpResponseBase:
    """Answer GET or HEAD with what a link of that method leads to.

    Args:
        url: signed; it reaches no client.
        headers: of every answer that is about the object; they go before the store's own.

    Raises:
        StorageUnavailable: the store does not answer, or not with the object.
    """
    fetched = _fetch(request, url)
    found = {name: value for name in _OF_THE_BYTES if (value := fetched.answer.getheader(name)) is not None}
    match fetched.answer.status:
        case 200 | 206 if request.method == "HEAD":
            fetched.close()
            return FileHeadersResponse(request, headers=found | headers)
        case 200 | 206:
            return StreamedResponse(request, fetched, status=fetched.answer.status, headers=found | headers)
        case 304:
            fetched.close()
            kept = {name: value for name, value in found.items() if name in ("ETag", "Last-Modified")}
            return FileHeadersResponse(request, status=304, headers=kept | headers)
    fetched.close()
    match fetched.answer.status:
        case 404:
            return words(request, 404, "There is no such file.")
        case 412:
            return words(request, 412, "The file is another one by now.")
        case 416:
            content_range = {"Content-Range": found["Content-Range"]} if "Content-Range" in found else {}
            return words(request, 416, "The file has no such bytes.", content_range)
        case status:
            raise StorageUnavailable(f"the store answered {status}")


def _fetch(request: HttpRequest, url: str) -> _Fetched:
    sent = _headers_to_send(request)
    fetched = _Fetched(url, request.method or "GET", sent)
    if_range = request.headers.get("If-Range")
    # Not every store knows If-Range: what it answered with is compared here, and to the letter.
    current = (None, fetched.answer.getheader("ETag"), fetched.answer.getheader("Last-Modified"))
    if fetched.answer.status in (206, 416) and if_range not in current:
        fetched.close()
        del sent["Range"]
        fetched = _Fetched(url, "GET", sent)
    return fetched


def _headers_to_send(request: HttpRequest) -> dict[str, str]:
    """Return of the client's headers what asks about the object; never what it proves itself with."""
    sent = {"Accept-Encoding": "identity"}
    sent |= {name: value for name in PRECONDITIONS if (value := request.headers.get(name)) is not None}
    wanted = request.headers.get("Range", "")
    # One range, as from the local disk: of several a store might make parts, and be asked for many times its size.
    if request.method == "GET" and byte_range(wanted, _MAX_BYTES) is not None:
        sent["Range"] = wanted
    return sent


class _Fetched:
    """One request to a store and its answer, the body still to be read; may be closed by another thread."""

    def __init__(self, url: str, method: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
        try:
            self._connection.request(method, request_target(url), headers=headers)
            self.answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            # Neither chained nor quoted: the text of some of these is the request line.
            raise StorageUnavailable(f"the store did not answer: {type(error).__name__}") from None

    def read(self) -> bytes:
        with self._lock:
            if self.answer.isclosed():
                return b""
            try:
                chunk = self.answer.read(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise TruncatedFile(f"the store broke off: {type(error).__name__}") from None
            if not chunk and self.answer.length:
                raise TruncatedFile(f"{self.answer.length} bytes were still to come when the store broke off")
            return chunk

    def close(self) -> None:
        with self._lock:
            self.answer.close()
            self._connection.close()

    def __del__(self) -> None:
        if hasattr(self, "answer"):
            self.answer.close()
        self._connection.close()
