"""Links to the local data plane, and requests as servers hand them to Django, sync and async."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from asgiref.sync import async_to_sync
from django.core.files.storage import storages
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler

from gateway.storages.files import write_beneath
from providers.types import Operation, SignedURL

STACKS = ("wsgi", "asgi")
TTL = timedelta(seconds=300)

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, read to its end; the names of headers are as Django writes them."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def sign(
    operation: Operation, *, alias: str = "private", ttl: timedelta = TTL, ago: timedelta = timedelta()
) -> SignedURL:
    """Sign as the door does, ``ago`` before now."""
    storage: Any = storages[alias]
    signed: SignedURL = storage.provider.sign(operation, ttl=ttl, now=datetime.now(UTC) - ago)
    return signed


def put_file(key: str, content: bytes, *, alias: str = "private") -> Path:
    """Store a file below the alias's root and return where it is."""
    storage: Any = storages[alias]
    write_beneath(str(storage.location), key, [content], overwrite=True)
    return Path(storage.location) / key


def target(url: str) -> str:
    """Return path and query of a URL, as a client puts them on the request line."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def follow(
    stack: str,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | BytesIO = b"",
    cookies: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request through the whole stack and read the answer; no header is added but Host and Cookie."""
    sent = {"Host": "testserver", **(headers or {})}
    if cookies:
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    stream = BytesIO(body) if isinstance(body, bytes) else body
    return (_follow_wsgi if stack == "wsgi" else _follow_asgi)(url, method, sent, stream)


def _follow_wsgi(url: str, method: str, headers: Mapping[str, str], body: BytesIO) -> Answer:
    path, _, query = target(url).partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": BytesIO(),
        "RAW_URI": target(url),
    }
    for name, value in headers.items():
        variable = name.upper().replace("-", "_")
        environ[variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"] = value
    started: list[Any] = []
    response: Any = WSGIHandler()(environ, lambda status, fields: started.extend((status, fields)))
    try:
        content = b"".join(response)
    finally:
        response.close()
    status, fields = started
    return Answer(int(status.partition(" ")[0]), dict(fields), content)


def _follow_asgi(url: str, method: str, headers: Mapping[str, str], body: BytesIO) -> Answer:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        # From sync code, so that Django's sync parts run in this thread and see its database connection.
        await call_asgi(scope_of(url, method, headers), send, body=body.read())

    async_to_sync(run)()
    fields = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent[1:]))


def scope_of(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Message:
    """Return the scope that an ASGI server makes of a request."""
    path, _, query = target(url).partition("?")
    return {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in (headers or {"Host": "testserver"}).items()
        ],
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


async def call_asgi(
    scope: Message,
    send: Callable[[Message], Awaitable[None]],
    *,
    body: bytes = b"",
    leave: Callable[[], Awaitable[Any]] | None = None,
) -> None:
    """Run the application for one request; the client is gone once ``leave`` returns."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        for message in messages:
            return message
        await (leave or asyncio.Event().wait)()
        return {"type": "http.disconnect"}

    await asyncio.wait_for(ASGIHandler()(scope, receive, send), 20)


def open_descriptors() -> int:
    """Count the files that this process holds open; sockets and pipes are also those of servers beside the test."""
    gc.collect()
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, or that of the listing itself
            count += str(descriptor.readlink()).startswith("/")
    return count
