"""Whatever a store answers, a client gets the object's own bytes and what was decided about them, or none."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.delivery import stream
from gateway.models import File, Issuance
from tests.emulators.process import LOOPBACK, free_port
from tests.gateway.delivery.support import STACKS, Answer, follow
from tests.gateway.delivery.test_permalink import make_file, session_of

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.gateway.delivery.urls"),
    pytest.mark.parametrize("stack", STACKS),
]

BODY = b"0123456789"


class Store(ThreadingHTTPServer):
    """A store that answers as the test says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.answer: Callable[[_Handler], None] = lambda handler: handler.say(200, BODY)
        self.asked: list[tuple[str, str, dict[str, str]]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.server.answer(self)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def say(self, status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
def store(settings: Any) -> Iterator[Store]:
    server = Store()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    _use(settings, f"http://{LOOPBACK}:{server.server_address[1]}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _use(settings: Any, endpoint_url: str) -> None:
    settings.STORAGES = settings.STORAGES | {
        "bucket": {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": {
                "bucket_name": "bkt", "region_name": "us-east-1", "access_key": "a", "secret_key": "s",
                "endpoint_url": endpoint_url, "addressing_style": "path", "delivery": "stream",
            },
        }
    }  # fmt: skip


@pytest.fixture
def file(alice: Any) -> File:
    return make_file(alice, storage_alias="bucket")


def ask(stack: str, file: File, user: Any, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    return follow(stack, f"/f/{file.pk}", headers=headers, cookies=session_of(user), method=method)


def test_only_what_asks_about_the_object_reaches_the_store(stack: str, store: Store, file: File, alice: Any) -> None:
    headers = {
        "Range": "bytes=1-2", "If-Match": '"a"', "X-Forwarded-For": "10.0.0.1", "Referer": "https://a.example/",
        "Accept-Encoding": "gzip",
    }  # fmt: skip
    ask(stack, file, alice, headers)
    ((method, path, sent),) = store.asked
    assert method == "GET"
    assert path.startswith(f"/bkt/{file.key}?")
    assert "X-Amz-Signature=" in path
    assert sent.pop("host") == f"{LOOPBACK}:{store.server_address[1]}"
    assert sent == {"range": "bytes=1-2", "if-match": '"a"', "accept-encoding": "identity"}


def test_what_the_store_says_of_itself_stays_there(stack: str, store: Store, file: File, alice: Any) -> None:
    store.answer = lambda handler: handler.say(
        200, BODY, Content_Type="text/html", Content_Disposition="inline", Cache_Control="public, max-age=9999",
        Set_Cookie="a=b", X_Accel_Redirect="/etc", X_Sendfile="/etc/passwd", Location="https://evil.example/",
        x_amz_request_id="1", ETag='"abc"', Last_Modified="Sun, 22 Nov 2026 11:00:00 GMT", Server="store",
    )  # fmt: skip
    answer = ask(stack, file, alice)
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("inline; filename=")
    assert set(answer.headers["Cache-Control"].split(", ")) == {"private", "no-cache"}
    assert answer.headers["ETag"] == '"abc"'
    for name in ("Set-Cookie", "X-Accel-Redirect", "X-Sendfile", "Location", "x-amz-request-id", "Server"):
        assert name not in answer.headers


STATUSES = {
    "found-elsewhere": (301, 503),
    "temporarily-elsewhere": (307, 503),
    "bad-request": (400, 503),
    "unauthorized": (401, 503),
    "forbidden": (403, 503),
    "missing": (404, 404),
    "changed": (412, 412),
    "no-such-bytes": (416, 416),
    "slow-down": (429, 503),
    "failing": (500, 503),
    "unavailable": (503, 503),
    "created": (201, 503),
    "no-content": (204, 503),
}


@pytest.mark.parametrize(("status", "wanted"), STATUSES.values(), ids=STATUSES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_store_s_refusals_are_told_in_our_own_words(
    stack: str, store: Store, file: File, alice: Any, status: int, wanted: int, method: str
) -> None:
    # http.client expects no body after 204.
    body = b"" if status == 204 else b"<Error>bkt AKIA</Error>"
    store.answer = lambda handler: handler.say(status, body, Location=f"http://{LOOPBACK}:1/elsewhere")
    answer = ask(stack, file, alice, method=method)
    assert answer.status == wanted
    assert b"bkt" not in answer.body
    assert "Location" not in answer.headers
    assert len(store.asked) == 1


def test_a_store_that_is_not_there_is_503(stack: str, settings: Any, file: File, alice: Any, caplog: Any) -> None:
    _use(settings, f"http://{LOOPBACK}:{free_port()}")
    answer = ask(stack, file, alice)
    assert answer.status == 503
    assert "Retry-After" in answer.headers
    assert "X-Amz" not in caplog.text + answer.body.decode()


def test_a_store_that_says_nothing_is_given_up(
    stack: str, store: Store, file: File, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "TIMEOUT_SECONDS", 0.2)
    release = threading.Event()
    store.answer = lambda handler: release.wait(10) and None
    assert ask(stack, file, alice).status == 503
    release.set()


def test_a_store_that_speaks_no_http_is_503(stack: str, store: Store, file: File, alice: Any) -> None:
    def nonsense(handler: _Handler) -> None:
        handler.wfile.write(b"SSH-2.0-x\r\n\r\n")
        handler.close_connection = True

    store.answer = nonsense
    assert ask(stack, file, alice).status == 503


def test_a_body_that_ends_too_early_is_no_whole_answer(stack: str, store: Store, file: File, alice: Any) -> None:
    """The server in front sees the exception, and cuts the connection: nothing is made up."""
    store.answer = lambda handler: handler.say(200, BODY, length=len(BODY) + 5)
    with warnings.catch_warnings():
        # Where a body raises, Django's ASGI handler leaves the request's own body to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(OSError, match="5 bytes were still to come"):
            ask(stack, file, alice)
        gc.collect()


def test_a_part_of_what_is_no_longer_there_becomes_the_whole(stack: str, store: Store, file: File, alice: Any) -> None:
    """A store that does not know If-Range answers with a part of the new object; it is not passed on."""

    def answer(handler: _Handler) -> None:
        if "Range" in handler.headers:
            handler.say(206, BODY[1:3], ETag='"new"', Content_Range="bytes 1-2/10")
        else:
            handler.say(200, BODY, ETag='"new"')

    store.answer = answer
    part = {"Range": "bytes=1-2"}
    whole = ask(stack, file, alice, part | {"If-Range": '"old"'})
    assert (whole.status, whole.body, len(store.asked)) == (200, BODY, 2)
    assert "if-range" not in store.asked[0][2]
    same = ask(stack, file, alice, part | {"If-Range": '"new"'})
    assert (same.status, same.body) == (206, BODY[1:3])
    weak = ask(stack, file, alice, part | {"If-Range": 'W/"new"'})
    assert weak.status == 200


@pytest.mark.parametrize(
    "header",
    ["bytes=0-0,2-3", "bytes=" + ",".join(["0-"] * 5000), "bytes=5-2", "items=0-1", "bytes=--1"],
    ids=["several", "thousands", "backwards", "other-unit", "nonsense"],
)
def test_a_store_is_asked_for_one_range_or_for_the_whole(
    stack: str, store: Store, file: File, alice: Any, header: str
) -> None:
    assert ask(stack, file, alice, {"Range": header}).body == BODY
    assert "range" not in store.asked[0][2]


def test_head_asks_with_a_link_of_its_own_and_sends_nothing(stack: str, store: Store, file: File, alice: Any) -> None:
    answer = ask(stack, file, alice, {"Range": "bytes=1-2"}, method="HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "10")
    assert (store.asked[0][0], "range" in store.asked[0][2]) == ("HEAD", False)


def test_what_is_served_is_recorded_and_who_may_not_have_it_makes_no_link(
    stack: str, store: Store, file: File, alice: Any, bob: Any
) -> None:
    assert ask(stack, file, bob).status == 404
    assert not store.asked
    ask(stack, file, alice)
    refused, served = Issuance.objects.order_by("at")
    assert (refused.decision, refused.principal) == ("refused", f"user:{bob.pk}")
    assert (served.decision, served.principal, served.key) == ("allowed", f"user:{alice.pk}", file.key)
    # No client was given the link that the store was asked with.
    assert (served.delivery, served.link_id, served.link_hash, served.expires_at) == ("stream", "", "", None)


def test_no_connection_to_the_store_stays_open(stack: str, store: Store, file: File, alice: Any) -> None:
    closed = threading.Event()

    def answer(handler: _Handler) -> None:
        handler.say(200, BODY)
        handler.connection.settimeout(10)
        if handler.connection.recv(1, socket.MSG_PEEK) == b"":
            closed.set()

    store.answer = answer
    assert ask(stack, file, alice).body == BODY
    assert closed.wait(10)
