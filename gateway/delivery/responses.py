"""Responses of the data plane: the bytes of one open file, or a few words, and never a cookie.

Must not hold a file in memory, nor keep it open once its response is over.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from http.cookies import SimpleCookie
from typing import Any, Protocol

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

__all__ = [
    "CHUNK_BYTES",
    "EVERYWHERE",
    "NO_STORE",
    "SANDBOX",
    "AnswerToServer",
    "BodilessResponse",
    "Body",
    "FileBytesResponse",
    "FileHeadersResponse",
    "HandedOverResponse",
    "StreamedResponse",
    "TextResponse",
    "TruncatedFile",
    "words",
]

CHUNK_BYTES = 64 * 2**10  # 64 KiB

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Pages of the same site, on whichever of its hosts, show these files; another site's pages do not, even
    # if a link has leaked to them. Following a link is no matter of this header.
    "Cross-Origin-Resource-Policy": "same-site",
}
# Nothing that is not the file itself is kept by anybody.
NO_STORE = {"Cache-Control": "no-store"}
# Whatever it is, it runs nothing here and has the origin of nobody.
SANDBOX = "sandbox; default-src 'none'"


class TruncatedFile(OSError):
    """The file became shorter while it was sent; the server cuts the connection, so that the client sees it."""


class _NoCookies:
    """Takes cookies from middleware and drops them: a link is no session, and a cache may hold its answer.

    Sessions that are saved on every request would otherwise send theirs along (as in CVE-2024-26144).
    """

    @property
    def cookies(self) -> SimpleCookie:
        return SimpleCookie()

    @cookies.setter
    def cookies(self, value: SimpleCookie) -> None:
        return

    def set_cookie(self, *args: Any, **kwargs: Any) -> None:
        return


class TextResponse(_NoCookies, HttpResponse):
    """A few words of plain text; their length alone in answer to HEAD."""

    def __init__(self, request: HttpRequest, text: str, *, status: int, headers: dict[str, str]) -> None:
        body = text.encode()
        # Not every server drops the body for us.
        super().__init__(b"" if request.method == "HEAD" else body, status=status, headers=headers)
        self.headers["Content-Type"] = "text/plain; charset=utf-8"
        self.headers["Content-Length"] = str(len(body))
        # Django reports 5xx with the whole request, whose query is a link. What is wrong was logged without it.
        self._has_been_logged = status >= 500


class BodilessResponse(StreamingHttpResponse):
    """An answer without a body whose headers are sent as they are.

    CommonMiddleware states the length of what it can see, and an answer to HEAD, or a 304, is not empty: it is
    about something that is not sent.
    """

    def __init__(self, request: HttpRequest, *, status: int = 200, headers: dict[str, str]) -> None:
        nothing: Any = _nothing_async() if isinstance(request, ASGIRequest) else ()
        super().__init__(nothing, status=status, headers=headers)
        if "Content-Type" not in headers:
            del self.headers["Content-Type"]  # Django's own guess


class FileHeadersResponse(_NoCookies, BodilessResponse):
    """All of a file but its bytes, in answer to HEAD and to a client that has them already."""


class HandedOverResponse(_NoCookies, BodilessResponse):
    """A word to the server in front about what it is to send in place of this answer.

    Of length zero, which that server forgets: without a length ours would send the end of a body by itself.
    """

    def __init__(self, request: HttpRequest, *, headers: dict[str, str]) -> None:
        super().__init__(request, headers=headers | {"Content-Length": "0"})


class AnswerToServer(_NoCookies, BodilessResponse):
    """Yes or no, to a server that asked on behalf of a client."""

    def __init__(self, request: HttpRequest, *, status: int, headers: dict[str, str]) -> None:
        super().__init__(request, status=status, headers={**NO_STORE, "Content-Length": "0", **headers})
        if status == 204:
            del self.headers["Content-Length"]


class Body(Protocol):
    """Bytes that are read when they are sent, by one thread, and given up by any."""

    def read(self) -> bytes:
        """Return the next 64 KiB at most; nothing at the end.

        Raises:
            TruncatedFile: the end came too early.
        """

    def close(self) -> None: ...


class StreamedResponse(_NoCookies, StreamingHttpResponse):
    """A body that is read as the client takes it.

    Args:
        body: closed with the response, however that ends.
    """

    def __init__(self, request: HttpRequest, body: Body, *, status: int, headers: dict[str, str]) -> None:
        self._body = body
        # An iterator of the other kind would be read to its end, and held, before the first byte is sent.
        chunks: Any = _read_async(body) if isinstance(request, ASGIRequest) else _read(body)
        super().__init__(chunks, status=status, headers=headers)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in super().__aiter__():
                yield chunk
        finally:
            # Where the body or the server's send() raises, Django's ASGI handler closes no response.
            self._body.close()

    def close(self) -> None:
        self._body.close()
        super().close()


class FileBytesResponse(StreamedResponse):
    """Some or all of a file.

    Args:
        descriptor: of a regular file; closed with the response.
        span: the bytes to send.
    """

    def __init__(
        self, request: HttpRequest, descriptor: int, span: range, *, status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(request, _OpenFile(descriptor, span), status=status, headers=headers)


def words(request: HttpRequest, status: int, text: str, headers: dict[str, str] | None = None) -> TextResponse:
    """Answer in a few words, with the headers that every answer of the data plane has."""
    everywhere = EVERYWHERE | NO_STORE | {"Content-Security-Policy": SANDBOX}
    return TextResponse(request, text + "\n", status=status, headers=everywhere | (headers or {}))


class _OpenFile:
    """Reads a span of one file. May be closed by another thread, which waits for a read that is under way.

    Without that, the descriptor's number could be somebody else's by the time it is read.
    """

    def __init__(self, descriptor: int, span: range) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = descriptor
        self._left = span

    def read(self) -> bytes:
        with self._lock:
            if not self._left:
                return b""
            if self._descriptor is None:
                raise ValueError("the file is closed")
            chunk = os.pread(self._descriptor, min(CHUNK_BYTES, len(self._left)), self._left.start)
            if not chunk:
                raise TruncatedFile(f"{len(self._left)} bytes were still to be sent when the file ended")
            self._left = self._left[len(chunk) :]
            return chunk

    def close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        # Nor does Django close the response of a view that returns when its client is gone.
        self.close()


def _read(body: Body) -> Iterator[bytes]:
    while chunk := body.read():
        yield chunk


async def _read_async(body: Body) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(body.read):
        yield chunk


async def _nothing_async() -> AsyncIterator[bytes]:
    return
    yield b""
