"""A proxy over TLS that refuses what a store should and Ceph does not: old links, Signature Version 2, and a second
object of a name where versions are kept.

Must not answer for the store: what it lets through goes there as it came, and so does the answer.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.emulators.certificates import certificate
from tests.emulators.process import LOOPBACK

_NOT_FORWARDED = {"connection", "transfer-encoding", "date", "server"}


class StrictProxy:
    """Serve ``https://127.0.0.1:port`` for an endpoint on loopback.

    Attributes:
        max_age: of a link; None lets every link through.
        takes_sigv2: lets links of Signature Version 2 through.
        overwrites: lets uploads through that are only for a new name.
        skew: how far the store's clock is ahead.
        region: what the store says that the bucket's region is.
        shown: headers of every answer that is a success.
        forbidden: by method and target, what the identity whose token comes with a call may not.
        busy: by method and target, what the store cannot answer now.
    """

    def __init__(self, upstream_url: str, directory: Path, *, ca_file: Path | None = None) -> None:
        self.upstream = urlsplit(upstream_url).netloc
        self.upstream_tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self.certificate_path = certificate(directory)
        self.reset()

    def reset(self) -> None:
        """Be strict again."""
        self.max_age: timedelta | None = timedelta(seconds=900)
        self.takes_sigv2 = False
        self.overwrites = False
        self._written: set[str] = set()
        self.skew = timedelta(0)
        self.region: str | None = None
        self.shown: dict[str, str] = {}
        self.forbidden: Callable[[str, str], bool] | None = None
        self.busy: Callable[[str, str], bool] | None = None

    def __enter__(self) -> Self:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_path)
        # The handshake is left to the thread of each connection: plain http must not stop the others.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.endpoint_url = f"https://{LOOPBACK}:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def refusal(self, query: str) -> str:
        """Return why a link is not let through; empty if it is."""
        parameters = parse_qs(query)
        if "AWSAccessKeyId" in parameters and not self.takes_sigv2:
            return "SignatureVersion2"
        if self.max_age is not None and "X-Amz-Date" in parameters:
            signed_at = datetime.strptime(parameters["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if datetime.now(UTC) - signed_at > self.max_age:
                return "TooOld"
        if self.max_age is not None and "se" in parameters:
            # As an account's SAS policy that blocks: a link that does not say when it begins is too long.
            if "st" not in parameters:
                return "NoStart"
            begin, end = (datetime.fromisoformat(parameters[name][0]) for name in ("st", "se"))
            if end - begin > self.max_age + timedelta(seconds=60):
                return "TooLong"
        return ""

    def is_taken(self, method: str, path: str, condition: str | None) -> bool:
        return method == "PUT" and condition == "*" and path in self._written and not self.overwrites

    def remember(self, method: str, path: str, status: int) -> None:
        """Keep which names are taken: Ceph answers for a versioned bucket as if every name was free."""
        if 200 <= status < 300:
            if method == "PUT":
                self._written.add(path)
            elif method == "DELETE":
                self._written.discard(path)


class _Handler(BaseHTTPRequestHandler):
    owner: StrictProxy
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            # Plain http, or a client that does not trust the certificate.
            self.close_connection = True

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.owner.busy is not None and self.owner.busy(self.command, self.path):
            self._answer(503, [], b"<Error><Code>SlowDown</Code></Error>")
            return
        if reason := self.owner.refusal(urlsplit(self.path).query):
            self._answer(403, [], f"<Error><Code>{reason}</Code></Error>".encode())
            return
        path = urlsplit(self.path).path
        forbidden = self.owner.forbidden if "Authorization" in self.headers else None
        if forbidden is not None and forbidden(self.command, self.path):
            self._answer(403, [("x-ms-error-code", "AuthorizationPermissionMismatch")], b"")
            return
        if self.owner.is_taken(self.command, path, self.headers.get("If-None-Match")):
            self._answer(412, [], b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        connection = http.client.HTTPConnection(self.owner.upstream, timeout=20)
        if self.owner.upstream_tls:
            connection = http.client.HTTPSConnection(self.owner.upstream, timeout=20, context=self.owner.upstream_tls)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            self.owner.remember(self.command, path, answer.status)
            self._answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _NOT_FORWARDED and not (name.lower() == "content-length" and self.command != "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.owner.skew, usegmt=True))
        for name, value in self.owner.shown.items() if status < 300 else ():
            self.send_header(name, value)
        if self.owner.region:
            self.send_header("x-amz-bucket-region", self.owner.region)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # The base class asks for these names.
    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _forward  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: a link in a log is a link."""
