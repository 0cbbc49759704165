"""A file response reads as it is read, sends what the file had, and leaves no descriptor behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.test import AsyncRequestFactory, RequestFactory

from gateway.delivery.responses import (
    CHUNK_BYTES,
    BodilessResponse,
    FileBytesResponse,
    HandedOverResponse,
    TextResponse,
    TruncatedFile,
)
from providers.types import Download
from tests.gateway.delivery.support import Message, call_asgi, open_descriptors, put_file, scope_of, sign

CONTENT = os.urandom(10 * CHUNK_BYTES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def sync_request() -> HttpRequest:
    return RequestFactory().get("/")


def async_request() -> HttpRequest:
    request: HttpRequest = AsyncRequestFactory().get("/")
    assert isinstance(request, ASGIRequest)
    return request


def respond(request: HttpRequest, path: Path, span: range | None = None) -> FileBytesResponse:
    descriptor = os.open(path, os.O_RDONLY)
    return FileBytesResponse(request, descriptor, span or range(path.stat().st_size), status=200, headers={})


async def next_chunk(response: FileBytesResponse) -> tuple[AsyncIterator[bytes], bytes]:
    chunks = aiter(response)
    return chunks, await anext(chunks)


# --- reading -----------------------------------------------------------------------------------------------


def test_chunks_are_of_64_kib_and_read_when_they_are_asked_for(path: Path) -> None:
    response = respond(sync_request(), path)
    chunks = iter(response)
    assert len(next(chunks)) == 64 * 1024
    with path.open("r+b") as file:
        file.seek(5 * CHUNK_BYTES)
        file.write(b"later")
    assert next(chunks) == CONTENT[CHUNK_BYTES : 2 * CHUNK_BYTES]
    rest = b"".join(chunks)
    assert rest[3 * CHUNK_BYTES :][:5] == b"later"
    response.close()


def test_under_asgi_the_iterator_is_async(path: Path) -> None:
    async def read() -> list[bytes]:
        response = respond(async_request(), path, range(10, 3 * CHUNK_BYTES))
        assert response.is_async
        try:
            return [chunk async for chunk in response]
        finally:
            response.close()

    assert b"".join(async_to_sync(read)()) == CONTENT[10 : 3 * CHUNK_BYTES]


def test_a_replaced_file_is_sent_as_it_was_opened(path: Path) -> None:
    response = respond(sync_request(), path)
    chunks = iter(response)
    first = next(chunks)
    other = path.with_name("other")
    other.write_bytes(b"other bytes" * CHUNK_BYTES)
    other.replace(path)
    assert first + b"".join(chunks) == CONTENT
    response.close()


def test_a_growing_file_is_sent_to_its_old_end(path: Path) -> None:
    response = respond(sync_request(), path)
    with path.open("ab") as file:
        file.write(b"more")
    assert response.getvalue() == CONTENT
    response.close()


SHORTER = {"to-nothing": 0, "in-the-second-chunk": CHUNK_BYTES + 100, "by-one-byte": len(CONTENT) - 1}


@pytest.mark.parametrize("size_bytes", SHORTER.values(), ids=SHORTER)
def test_a_shrinking_file_ends_in_an_error_and_never_in_other_bytes(path: Path, size_bytes: int) -> None:
    before = open_descriptors()
    response = respond(sync_request(), path)
    chunks = iter(response)
    sent = next(chunks)
    os.truncate(path, size_bytes)
    with pytest.raises(TruncatedFile, match="bytes were still to be sent"):  # noqa: PT012
        for chunk in chunks:
            sent += chunk
    assert sent == CONTENT[: max(size_bytes, CHUNK_BYTES)]
    response.close()
    assert open_descriptors() == before


def test_a_shrinking_file_ends_in_an_error_under_asgi(path: Path) -> None:
    before = open_descriptors()

    async def read() -> bytes:
        response = respond(async_request(), path)
        chunks, sent = await next_chunk(response)
        os.truncate(path, CHUNK_BYTES + 100)
        with pytest.raises(TruncatedFile):  # noqa: PT012
            async for chunk in chunks:
                sent += chunk
        # Django closes no response whose iterator raised.
        return sent

    assert async_to_sync(read)() == CONTENT[: CHUNK_BYTES + 100]
    assert open_descriptors() == before


# --- closing -----------------------------------------------------------------------------------------------


def _read_to_the_end(response: FileBytesResponse) -> None:
    response.getvalue()
    response.close()


def _never_iterated(response: FileBytesResponse) -> None:
    response.close()


def _left_in_the_middle(response: FileBytesResponse) -> None:
    next(iter(response))
    response.close()


def _closed_twice(response: FileBytesResponse) -> None:
    response.close()
    response.close()


def _dropped(response: FileBytesResponse) -> None:
    next(iter(response))


ENDS = {end.__name__.strip("_"): end for end in (_read_to_the_end, _never_iterated, _left_in_the_middle,
                                                 _closed_twice, _dropped)}  # fmt: skip


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_however_a_response_ends_its_file_is_closed(path: Path, end: Callable[[FileBytesResponse], None]) -> None:
    before = open_descriptors()
    response = respond(sync_request(), path)
    assert open_descriptors() == before + 1
    end(response)
    del response
    gc.collect()
    assert open_descriptors() == before


def test_closing_waits_for_a_read_that_is_under_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    response = respond(sync_request(), path)
    file = response._body
    reading, go_on = threading.Event(), threading.Event()
    system_pread = os.pread

    def slow_pread(descriptor: int, size_bytes: int, offset: int) -> bytes:
        reading.set()
        go_on.wait(10)
        return system_pread(descriptor, size_bytes, offset)

    monkeypatch.setattr(os, "pread", slow_pread)
    chunks: list[bytes] = []
    reader = threading.Thread(target=lambda: chunks.append(file.read()))
    reader.start()
    assert reading.wait(10)
    closer = threading.Thread(target=response.close)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    go_on.set()
    reader.join(10)
    closer.join(10)
    assert chunks == [path.read_bytes()[:CHUNK_BYTES]]
    with pytest.raises(ValueError, match="closed"):
        file.read()


# --- through Django's ASGI handler, with a server that can be interrupted ----------------------------------


@pytest.fixture
def scope(private_root: Path) -> Message:
    put_file("a", CONTENT)
    return scope_of(sign(Download("a")).url)


@pytest.fixture(autouse=True)
def no_descriptor_stays_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() <= before


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_asgi_sends_the_file_in_chunks(scope: Message) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async_to_sync(call_asgi)(scope, send)
    assert sent[0]["status"] == 200
    bodies = [message.get("body", b"") for message in sent[1:]]
    assert b"".join(bodies) == CONTENT
    assert max(map(len, bodies)) == CHUNK_BYTES


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_a_client_that_leaves_an_asgi_server_closes_the_file(scope: Message) -> None:
    sent: list[Message] = []
    gone = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body"):
            gone.set()
            await asyncio.Event().wait()  # the client takes no more

    async_to_sync(call_asgi)(scope, send, leave=gone.wait)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_a_server_whose_send_raises_closes_the_file(scope: Message) -> None:
    async def send(message: Message) -> None:
        if message.get("body"):
            raise OSError("the client is gone")

    before = open_descriptors()
    with pytest.raises(OSError, match="the client is gone") as caught:
        async_to_sync(call_asgi)(scope, send)
    # Though the error, which servers hold on to for their log, still holds the response.
    assert caught.tb is not None
    assert open_descriptors() == before
    del caught
    gc.collect()  # Django forgets to close the request's body there, which warns when it is collected


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_a_client_that_leaves_at_once_leaves_nothing_open(scope: Message) -> None:
    async def send(message: Message) -> None:
        return

    async def leave() -> None:
        return

    async_to_sync(call_asgi)(scope, send, leave=leave)
    gc.collect()


# --- the others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_request", [sync_request, async_request], ids=["wsgi", "asgi"])
def test_a_bodiless_response_says_only_what_it_was_given(make_request: Callable[[], HttpRequest]) -> None:
    response = BodilessResponse(make_request(), status=304, headers={"ETag": '"1"'})
    assert dict(response.headers) == {"ETag": '"1"'}

    async def read() -> bytes:
        return b"".join([part async for part in response])

    assert (async_to_sync(read)() if response.is_async else response.getvalue()) == b""


def test_a_word_to_the_server_in_front_is_of_length_zero() -> None:
    headers = {"Content-Type": "image/png", "X-Accel-Redirect": "/a"}
    response = HandedOverResponse(sync_request(), headers=headers)
    assert (dict(response.headers), response.getvalue()) == (headers | {"Content-Length": "0"}, b"")
    assert "Content-Length" not in headers  # the caller's own


def test_words_are_counted_but_not_sent_to_head() -> None:
    response = TextResponse(RequestFactory().head("/"), "nö", status=404, headers={})
    assert (response.content, response.headers["Content-Length"]) == (b"", "3")


def test_cookies_are_dropped(path: Path) -> None:
    for response in (TextResponse(sync_request(), "no", status=403, headers={}), respond(sync_request(), path)):
        response.set_cookie("a", "b", max_age=10)
        response.set_signed_cookie("c", "d")
        response.delete_cookie("e")
        response.cookies["f"] = "g"
        response.cookies = response.cookies
        assert not response.cookies
        response.close()
