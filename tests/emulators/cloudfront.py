"""A distribution in front of a directory: it lets a signed URL or signed cookies through, and nothing else.

Verification is the verifier's, from the specification; the origin answers as S3 does. It must not sign.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections import Counter
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.emulators.process import LOOPBACK
from tests.verifiers.cloudfront import PublicKey, Refused, verify_cookies, verify_url

_ANSWER_PARAMETERS = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-type": "Content-Type",
}


class Distribution:
    """One distribution on a port of its own, with a key group of one key; ``with`` starts and ends it.

    Attributes:
        root: of the files, as keys name them.
        key_pair_id, private_key: what signs for it.
        served: how often each path was served with its bytes.
    """

    name: ClassVar[str] = "cloudfront"

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        self.key_pair_id = "K2JCJMDEHXQW5F"
        self.private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.public_keys = {self.key_pair_id: PublicKey(key.public_key().public_numbers().n)}
        self.served: Counter[str] = Counter()

    @property
    def domain(self) -> str:
        return f"{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="presign-gateway-cloudfront-")
        self.root = Path(self._directory.name)
        self._server = _Server((LOOPBACK, 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._directory.cleanup()

    def find(self, path: str) -> Path | None:
        """Return the file of a URL's path; None where there is none."""
        segments = unquote(path).split("/")[1:]
        if not all(segments) or {".", ".."} & set(segments) or "\x00" in unquote(path):
            return None
        file = self.root.joinpath(*segments)
        return file if file.is_file() else None


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing it waits for them, and none outlives its test


def _handler(distribution: Distribution) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.answer_reading()

        def do_HEAD(self) -> None:
            self.answer_reading()

        def answer_reading(self) -> None:
            asked = f"http://{self.headers.get('Host')}{self.path}"
            cookies = {
                name: morsel.value
                for name, morsel in SimpleCookie(self.headers.get("Cookie", "")).items()
                if name.startswith("CloudFront-")
            }
            known = {
                "keys": distribution.public_keys,
                "now": datetime.now(UTC),
                "source_ip": self.client_address[0],
            }
            try:
                verified = verify_cookies(cookies, asked, **known) if cookies else verify_url(asked, **known)
            except Refused:
                self.say(403)
                return
            parts = urlsplit(verified.url)
            file = distribution.find(parts.path)
            if parts.netloc != distribution.domain or file is None:
                self.say(404 if file is None else 403)
                return
            if self.command == "GET":
                distribution.served[parts.path] += 1
            self.serve(file.read_bytes(), {name: values[-1] for name, values in parse_qs(parts.query).items()})

        def serve(self, content: bytes, parameters: dict[str, str]) -> None:
            headers = {"Content-Type": "binary/octet-stream", "Accept-Ranges": "bytes"}
            headers |= {_ANSWER_PARAMETERS[n]: value for n, value in parameters.items() if n in _ANSWER_PARAMETERS}
            status, size = 200, len(content)
            span = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if span is not None and span[0] != "bytes=-":
                first = int(span[1]) if span[1] else max(0, size - int(span[2]))
                last = min(size, int(span[2]) + 1 if span[1] and span[2] else size) - 1
                if first > last:
                    self.say(416)
                    return
                status, content = 206, content[first : last + 1]
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            self.say(status, content, headers)

        def refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.say(403)

        do_PUT = do_POST = do_DELETE = do_OPTIONS = do_PATCH = refuse  # noqa: N815  names of the base class

        def say(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing: its line would hold the whole link."""

    return Handler
