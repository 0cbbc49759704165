"""What a front must not do whatever it is asked, and whatever an application behind it says by mistake.

Behind each server stands an application that names whatever path the client asks for: only the printed block
keeps the file of another from being sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.emulators.fixtures import serve
from tests.emulators.process import LOOPBACK
from tests.emulators.web import Apache, Lighttpd, Nginx, WebServer
from tests.gateway.delivery.front import FILES, Site, ask, content_of

SECRET = b"of another"


class Careless(BaseHTTPRequestHandler):
    """Names the file that stands in the header ``X-Wanted``, by both names of the header."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        wanted = self.headers.get("X-Wanted", "")
        self.send_header("X-Accel-Redirect" if wanted.startswith("/.gateway/") else "X-Sendfile", wanted)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture(scope="module")
def careless() -> Iterator[int]:
    server = ThreadingHTTPServer((LOOPBACK, 0), Careless)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def places(site: Site) -> Site:
    """Put beside each root what must not be reached from it."""
    for alias in ("accel", "sendfile", "lighttpd"):
        root = site.files_directory / alias
        site.write(f"{alias}-other", "secret.txt", SECRET)
        site.write(f"{alias}.d", "secret.txt", SECRET)
        (root / "link.txt").symlink_to(site.files_directory / f"{alias}-other" / "secret.txt")
        (root / "linked").symlink_to(site.files_directory / f"{alias}-other")
    return site


@pytest.fixture(scope="module", params=[Nginx, Apache, Lighttpd], ids=lambda kind: kind.name)
def front(request: pytest.FixtureRequest, places: Site, careless: int) -> Iterator[WebServer]:
    kind = request.param
    request.getfixturevalue(kind.name)  # counts the test as one on this server
    make = places.block_of(kind.name, upstream=f"{LOOPBACK}:{careless}")
    yield from serve(lambda: kind(make))


def wanted(site: Site, server: str, row: str) -> str:
    """Return what the application names in one row of the table."""
    if server == "nginx":
        base, path = "/.gateway/files/", "accel"
    else:
        base, path = f"{site.files_directory}/", {"apache": "sendfile"}.get(server, server)
    return base + path + row


# What the application names after the root, the server, and what may come back. 200 is nowhere.
ROWS = {
    "parent": "/../{alias}-other/secret.txt",
    "encoded-parent": "/%2e%2e/{alias}-other/secret.txt",
    "encoded-slash": "/..%2f{alias}-other%2fsecret.txt",
    "double-encoded": "/%252e%252e/{alias}-other/secret.txt",
    "sibling": "-other/secret.txt",
    "sibling-with-dot": ".d/secret.txt",
    "no-slash-parent": "../{alias}-other/secret.txt",
    "backslash": "/..\\{alias}-other\\secret.txt",
    "directory": "/images/",
    "the-root": "/",
    "nothing": "/not-there.txt",
    "absolute": "//etc/hostname",
    "long": "/" + "x" * 5000,
}
REFUSALS = {
    "nginx": {400, 403, 404, 500, 502},
    "apache": {400, 403, 404, 500, 502},
    "lighttpd": {400, 403, 404, 500, 502},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_no_file_but_the_storage_s_own_is_sent(front: WebServer, places: Site, row: str) -> None:
    alias = {"nginx": "accel", "apache": "sendfile"}.get(front.name, "lighttpd")
    name = wanted(places, front.name, row.format(alias=alias))
    answer = ask(front, "/", {"X-Wanted": name})
    assert answer.status in REFUSALS[front.name]
    assert SECRET not in answer.body


def test_the_storage_s_own_file_is_sent_by_the_same_means(front: WebServer, places: Site) -> None:
    answer = ask(front, "/", {"X-Wanted": wanted(places, front.name, f"/{FILES['image']}")})
    assert (answer.status, answer.body) == (200, content_of(FILES["image"]))


@pytest.mark.parametrize("row", ["/link.txt", "/linked/secret.txt"], ids=["file", "directory"])
def test_nginx_and_lighttpd_follow_no_symbolic_link(front: WebServer, places: Site, row: str) -> None:
    """Apache's module does; there the gateway's own look at the file is all."""
    answer = ask(front, "/", {"X-Wanted": wanted(places, front.name, row)})
    if front.name == "apache":
        assert (answer.status, answer.body) == (200, SECRET)
    else:
        assert answer.status in REFUSALS[front.name]
        assert SECRET not in answer.body


# Addresses that a client tries by itself, at a server with the real application behind it.
TARGETS = {
    "internal-file": "/.gateway/files/accel/images/a.png",
    "internal-link": "/.gateway/links/bucket-accel",
    "internal-root": "/.gateway/",
    "encoded-internal": "/%2egateway/files/accel/images/a.png",
    "through-a-permalink": "/f/../.gateway/files/accel/images/a.png",
    "encoded-dots": "/f/%2e%2e/.gateway/files/accel/images/a.png",
    "double-slash": "//.gateway/files/accel/images/a.png",
    "upper-case": "/.GATEWAY/files/accel/images/a.png",
    "no-slash": "/.gateway/files/accel-other/secret.txt",
    "absolute-form": "http://127.0.0.1/.gateway/files/accel/images/a.png",
    "new-line": "/.gateway%0d%0aX-Accel-Redirect:%20/x",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("server", ["nginx", "apache", "lighttpd"])
def test_no_address_of_a_client_s_own_leads_to_a_file(
    request: pytest.FixtureRequest, places: Site, server: str, target: str
) -> None:
    answer = ask(request.getfixturevalue(server), target, places.token())
    assert answer.status in (400, 403, 404)
    assert content_of(FILES["image"]) not in answer.body
    assert SECRET not in answer.body


def test_the_links_for_the_store_stand_in_no_log(nginx: WebServer, places: Site) -> None:
    assert ask(nginx, places.permalink("bucket-accel", "image"), places.token()).status == 200
    line = f"GET /f/{places.facts['files']['bucket-accel']['image']}"
    # nginx writes it when the answer has left.
    nginx.wait_until(lambda: line in nginx.access_log.read_text(), what="the line of the access log")
    assert "Signature" not in nginx.log()
    assert not list(Path(nginx.directory / "proxy").rglob("*.*"))
