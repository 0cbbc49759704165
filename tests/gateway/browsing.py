"""A real Chromium that opens pages, and a site that has them beside the gateway: one origin, as in a project.

Must not replace anything of the gateway, nor look into the browser: a page says itself what has come of it.
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from tests.emulators.azurite import PACKAGES_PATH
from tests.emulators.process import LOOPBACK, POLL_SECONDS, Unavailable, clean_environment, require_programs

START_SECONDS = 60
PAGE_SECONDS = 90

_PAGE = """<!doctype html><meta charset="utf-8">{head}{body}
<script>
const report = (what) => fetch("/report", {{method: "POST", body: JSON.stringify(what)}});
onerror = (message) => report({{error: String(message)}});
const run = (steps) => steps().then((result) => report({{result}}), (error) => report({{error: String(error.stack)}}));
const bytes = (size) => {{
  const all = new Uint8Array(size);
  for (let i = 0; i < size; i++) all[i] = (i * 7 + (i >> 8)) & 255;
  all.set(new TextEncoder().encode("%PDF-1.7\\n"));
  return all;
}};
const file = (size) => new File([bytes(size)], "scan.pdf", {{type: "application/pdf"}});
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
{script}
</script>"""


def content_of(size: int) -> bytes:
    """Return what a page's ``file(size)`` holds."""
    block = bytes((i * 7 + (i >> 8)) & 255 for i in range(256 * 256))
    return b"%PDF-1.7\n" + (block * (size // len(block) + 1))[9:size]


class Chromium:
    """A browser without a window; ``with`` starts and ends it."""

    def __init__(self, home: Path) -> None:
        require_programs("chromium", ["chromium"])
        self._home = home

    def __enter__(self) -> Self:
        profile = self._home / "profile"
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-dev-shm-usage", "--disable-background-timer-throttling",
            "--disable-renderer-backgrounding", "--remote-debugging-port=0", f"--user-data-dir={profile}",
            "about:blank",
        ]  # fmt: skip
        self._popen = subprocess.Popen(
            command, env=clean_environment(self._home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            self._port = self._wait_for_port(profile / "DevToolsActivePort")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        # Its own session, so its own group: the programs that it has started, and no others.
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def open(self, url: str) -> str:
        """Open a page, and return the id to close it by."""
        return str(json.loads(self._ask("PUT", f"/json/new?{quote(url, safe='')}"))["id"])

    def close(self, page: str) -> None:
        self._ask("GET", f"/json/close/{page}")

    def _ask(self, method: str, path: str) -> bytes:
        there = http.client.HTTPConnection(LOOPBACK, self._port, timeout=30)
        try:
            there.request(method, path)
            answer = there.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return body
        finally:
            there.close()

    def _wait_for_port(self, path: Path) -> int:
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at and self._popen.poll() is None:
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) == 2:
                return int(lines[0])
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"chromium is not ready after {START_SECONDS} s, or has ended")


class Site:
    """The gateway with a test's pages, on a port of its own.

    Attributes:
        url: its origin.
        received_bytes: what came to the gateway in bodies of requests.
        requests: method, path and status of each request to the gateway, in order.
    """

    def __init__(self) -> None:
        self.received_bytes = 0
        self.requests: list[tuple[str, str, int]] = []
        self._pages: dict[str, tuple[str, list[str]]] = {}
        self._reports: queue.Queue[Any] = queue.Queue()
        self._gateway = WSGIHandler()
        # SQLite lets one write at a time, and whoever has read before it is refused, not kept waiting.
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        self._server = ThreadedWSGIServer((LOOPBACK, 0), _Quiet)
        self._server.set_app(self._answer)
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def visit(
        self, browser: Chromium, *, script: str, head: str = "", body: str = "", cookies: Iterable[str] = ()
    ) -> Any:
        """Open a page whose script calls ``run`` or sends a form, and return what it reports.

        Raises:
            AssertionError: the page broke, or said nothing.
        """
        address = f"/page-{len(self._pages)}"
        self._pages[address] = (_PAGE.format(head=head, body=body, script=script), list(cookies))
        page = browser.open(self.url + address)
        try:
            said = self._reports.get(timeout=PAGE_SECONDS)
        except queue.Empty:
            raise AssertionError(f"the page said nothing for {PAGE_SECONDS} s; {self.requests}") from None
        finally:
            browser.close(page)
        assert "error" not in said, f"{said['error']}\n{self.requests}"
        return said["result"]

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        address = environ["PATH_INFO"]
        if address in self._pages:
            page, cookies = self._pages[address]
            headers = [("Content-Type", "text/html"), *(("Set-Cookie", f"{cookie}; Path=/") for cookie in cookies)]
            return _whole(start_response, page.encode(), headers)
        if address.startswith("/packages/"):
            path = (PACKAGES_PATH / address.removeprefix("/packages/")).resolve()
            kind = mimetypes.guess_type(path.name)[0] or "text/plain"
            return _whole(start_response, path.read_bytes(), [("Content-Type", kind)])
        if address == "/report":
            self._reports.put(json.loads(_body(environ)))
            return _whole(start_response, b"", [])
        if address == "/form":
            self._reports.put({"result": _body(environ).decode()})
            return _whole(start_response, b"", [])
        self.received_bytes += int(environ.get("CONTENT_LENGTH") or 0)

        def noting(status: str, headers: Any, exc_info: Any = None) -> Any:
            self.requests.append((environ["REQUEST_METHOD"], address, int(status[:3])))
            return start_response(status, headers)

        with self._one_at_a_time:
            answer = self._gateway(environ, noting)
            try:
                return [b"".join(answer)]
            finally:
                answer.close()


def package(path: str) -> str:
    """Return the script element of a file of an npm package.

    Raises:
        Unavailable: it is not installed.
    """
    if not (PACKAGES_PATH / path).is_file():
        raise Unavailable("chromium", [path], remedy="make node-packages")
    return f'<script src="/packages/{path}"></script>'


class _Quiet(WSGIRequestHandler):
    # Its line would hold the whole link.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        return


def _body(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _whole(start_response: Callable[..., Any], body: bytes, headers: list[tuple[str, str]]) -> list[bytes]:
    start_response("200 OK", [*headers, ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
    return [body]
