"""Where the gateway does not say yes, no server sends a file: whatever else it says, and if it is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.emulators.fixtures import serve
from tests.emulators.process import LOOPBACK, free_port
from tests.emulators.web import Caddy, Nginx, WebServer
from tests.gateway.delivery.front import FILES, Site, ask, content_of

IMAGE = f"/guarded/alice/{FILES['image']}"


class _Gateway(BaseHTTPRequestHandler):
    """Answers the question with the status that the client names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(int(self.headers.get("X-Status", "500")))
        self.send_header("Content-Length", "0")
        self.send_header("Location", IMAGE)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture(scope="module")
def gateway() -> Iterator[int]:
    server = ThreadingHTTPServer((LOOPBACK, 0), _Gateway)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", params=[Nginx, Caddy], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[WebServer]:
    request.getfixturevalue(request.param.name)  # counts the test as one on this server
    server: type[WebServer] = request.param
    return server


def _in_front(request: pytest.FixtureRequest, kind: type[WebServer], site: Site, port: int) -> Iterator[WebServer]:
    ours = site.caddy_s_gateway() if kind is Caddy else site.gunicorn
    if kind is Caddy:
        # Its settings alone are needed: which headers, and which paths.
        ours.port, ours.url = site.gunicorn.port, site.gunicorn.url
    make = site.block_of(kind.name, upstream=f"{LOOPBACK}:{port}", gateway=ours)
    yield from serve(lambda: kind(make))


@pytest.fixture(scope="module")
def front(request: pytest.FixtureRequest, kind: type[WebServer], site: Site, gateway: int) -> Iterator[WebServer]:
    yield from _in_front(request, kind, site, gateway)


@pytest.fixture(scope="module")
def orphan(request: pytest.FixtureRequest, kind: type[WebServer], site: Site) -> Iterator[WebServer]:
    yield from _in_front(request, kind, site, free_port())


@pytest.mark.parametrize("status", [301, 302, 304, 400, 401, 403, 404, 429, 500, 502, 503])
def test_every_status_but_a_yes_is_a_no(front: WebServer, status: int) -> None:
    answer = ask(front, IMAGE, {"X-Status": str(status)})
    assert answer.status >= 300
    assert content_of(f"alice/{FILES['image']}") not in answer.body


def test_a_yes_is_a_yes(front: WebServer) -> None:
    """Without which the refusals above would show nothing."""
    answer = ask(front, IMAGE, {"X-Status": "204"})
    assert (answer.status, answer.body) == (200, content_of(f"alice/{FILES['image']}"))


def test_a_gateway_that_is_gone_is_a_no(orphan: WebServer) -> None:
    answer = ask(orphan, IMAGE)
    assert answer.status >= 500
    assert content_of(f"alice/{FILES['image']}") not in answer.body
