"""A real browser looks at a page twice: with ``url_window`` the second view fetches no image from the store."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from gateway import links
from gateway.models import Issuance
from gateway.principals import Principal
from gateway.resources import Resource
from tests.emulators.cloudfront import Distribution
from tests.emulators.process import LOOPBACK
from tests.gateway.browser import look
from tests.gateway.cloudfront_stores import CloudFrontStore
from tests.gateway.conftest import new_file

pytestmark = pytest.mark.django_db

IMAGES = 3


def png() -> bytes:
    """Return one grey pixel."""
    # https://www.w3.org/TR/png-3/#5DataRep
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\x00\x80")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


class Pages:
    """A site whose pages a test writes; ``with`` starts and ends it."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}

    def __enter__(self) -> Self:
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Pages]:
    with Pages() as pages:
        yield pages


@pytest.mark.parametrize("windowed", [True, False], ids=["with-a-window", "without"])
def test_the_second_view_of_a_page(
    windowed: bool, chromium: str, site: Pages, cloudfront: Distribution, settings: Any, alice: Any, home: Path
) -> None:
    store = CloudFrontStore("pictures", cloudfront)
    # An hour, so that the test does not stand on both sides of the end of one.
    options = store.options | ({"default_ttl": 7200, "url_window": 3600} if windowed else {})
    settings.STORAGES = settings.STORAGES | {"pictures": {"BACKEND": store.backend, "OPTIONS": options}}
    settings.GATEWAY = settings.GATEWAY | {"MAX_TTL": 7200}
    files = [new_file(alice, storage_alias="pictures", content_type="image/png") for _ in range(IMAGES)]
    for file in files:
        store.put(file.key, png())
    served = cloudfront.served.total()
    seen = []
    for view in ("/first", "/second"):
        # Each view is decided about and recorded, as the server of the page does.
        issued = links.issue_many(Principal(kind="user", user=alice), [Resource.of_file(file) for file in files])
        images = "".join(f'<img src="{link.url.replace("&", "&amp;")}">' for link in issued)  # type: ignore[union-attr]
        script = "document.title = [...document.images].filter(i => i.naturalWidth == 1).length + ' shown'"
        site.pages[view] = f"<!doctype html><title></title>{images}<script>onload = () => {{ {script} }}</script>"
        assert f"<title>{IMAGES} shown</title>" in look(chromium, site.url + view, home)
        seen.append(cloudfront.served.total() - served)
    assert seen == ([IMAGES, IMAGES] if windowed else [IMAGES, 2 * IMAGES])
    assert Issuance.objects.filter(decision="issued").count() == 2 * IMAGES
