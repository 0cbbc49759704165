"""Loopback servers that play the token endpoints of three clouds, well or badly as a test wants it.

They speak just what the clients of a signer need, count what they are asked, and know nothing of pytest.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from tests.emulators.process import LOOPBACK

DRIP_SECONDS = 0.05  # between the bytes of an answer that drips
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One way to fail.

    Args:
        status: answered instead of the right one.
        body: sent instead of the right one, with the right status unless that is given too.
        headers: sent beside it.
        delay_seconds: waited before the answer, which is right otherwise.
        hangs: nothing is ever sent.
        drips: the answer comes a byte at a time, and never ends.
        disconnects: the connection is closed without an answer.
    """

    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    hangs: bool = False
    drips: bool = False
    disconnects: bool = False


HANGS = Trouble(hangs=True)
DRIPS = Trouble(drips=True)
DISCONNECTS = Trouble(disconnects=True)
GARBAGE = Trouble(body=b"\xff\xfe<html>certainly not a token</html>")
EMPTY = Trouble(body=b"")


def slow(seconds: float) -> Trouble:
    return Trouble(delay_seconds=seconds)


def status(code: int, **headers: str) -> Trouble:
    return Trouble(status=code, body=b"{}", headers={name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(frozen=True)
class Question:
    """What a client sent; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


Reply = tuple[int, Mapping[str, str], bytes]


class TokenEndpoint(ABC):
    """One server on a port of its own; ``with`` starts and ends it.

    Attributes:
        trouble: what happens to every request, None being the right answer.
        troubles: what happens to the next requests, one each, before ``trouble`` counts.
        questions: what was asked, in order.
    """

    content_type: ClassVar[str] = "application/json"

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.trouble: Trouble | None = None
        self.troubles: deque[Trouble | None] = deque()
        self.questions: list[Question] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{LOOPBACK}:{self._port}"

    def asked(self, part: str = "") -> int:
        """Count the requests whose path holds ``part``."""
        with self._lock:
            return sum(part in question.path for question in self.questions)

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def listen(self) -> None:
        """Start, on the port of the last time if there was one."""
        self._released.clear()
        self._server = _Server((LOOPBACK, self._port), _handler(self))
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def refuse(self) -> None:
        """Stop: from now on connections are refused, and those that are open are closed."""
        if self._server is None or self._thread is None:
            return
        self._released.set()
        self._server.shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was first
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()
        self._server = None

    @abstractmethod
    def answer(self, question: Question) -> Reply:
        """Answer one request rightly."""

    def handle(self, question: Question) -> tuple[Reply | None, Trouble]:
        """Return the answer, None for none, and how to send it."""
        with self._lock:
            self.questions.append(question)
            trouble = self.troubles.popleft() if self.troubles else self.trouble
        trouble = trouble or Trouble()
        if trouble.hangs:
            self._released.wait()
        if trouble.hangs or trouble.disconnects or self._released.wait(trouble.delay_seconds):
            return None, trouble
        code, headers, body = self.answer(question)
        body = body if trouble.body is None else trouble.body
        return (trouble.status or code, {**headers, **trouble.headers}, body), trouble

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def drip(self, send: Callable[[bytes], object]) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Filler: a\r\n" * 10_000:
            if self._released.wait(DRIP_SECONDS):
                return
            send(bytes([byte]))


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False  # so that closing it waits for them, and none outlives its test

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are what the tests are about."""


def _handler(endpoint: TokenEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the second answer of a connection waits 40 ms for the first

        def setup(self) -> None:
            super().setup()
            endpoint.opened(self.connection)

        def finish(self) -> None:
            endpoint.closed(self.connection)
            super().finish()

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            question = Question(
                method=self.command,
                path=unquote(parts.path),
                query={name: values[-1] for name, values in parse_qs(parts.query).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            reply, trouble = endpoint.handle(question)
            if reply is None or trouble.drips:
                self.close_connection = True
                if trouble.drips:
                    endpoint.drip(self.connection.sendall)
                return
            code, headers, body = reply
            self.send_response(code)
            for name, value in {"Content-Type": endpoint.content_type, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815  names of the base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing."""

    return Handler


def _reply(document: object, **headers: str) -> Reply:
    return 200, headers, json.dumps(document).encode()


_REFUSED: Reply = (403, {}, b"{}")
_UNKNOWN: Reply = (404, {}, b"{}")


# --- Amazon ------------------------------------------------------------------------------------------------


class AWSEndpoint(TokenEndpoint, ABC):
    """Hands out temporary key pairs.

    Attributes:
        life: of a key pair, from the real time.
        rotates: whether each answer is a new pair.
        issued: all pairs, by access key id.
    """

    def __init__(self, *, life: timedelta = timedelta(hours=1), rotates: bool = True) -> None:
        super().__init__()
        self.life = life
        self.rotates = rotates
        self.issued: dict[str, tuple[str, str, datetime]] = {}

    def pair(self) -> dict[str, str]:
        if self.rotates or not self.issued:
            end = datetime.now(UTC).replace(microsecond=0) + self.life
            key_id = f"ASIA{secrets.token_hex(8).upper()}"
            self.issued[key_id] = (secrets.token_urlsafe(30), secrets.token_urlsafe(40), end)
        key_id, (secret, token, end) = list(self.issued.items())[-1]
        return {
            "AccessKeyId": key_id,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": end.strftime(TIME_FORMAT),
        }


class InstanceMetadata(AWSEndpoint):
    """The instance metadata service, version 2, of a machine with one role."""

    role = "a-role"

    def answer(self, question: Question) -> Reply:
        if question.method == "PUT" and question.path == "/latest/api/token":
            return 200, {}, b"session"
        if question.headers.get("x-aws-ec2-metadata-token") != "session":
            return 401, {}, b""
        path = "/latest/meta-data/iam/security-credentials/"
        if question.path == path:
            return 200, {}, self.role.encode()
        if question.path == path + self.role:
            return _reply({"Code": "Success", "Type": "AWS-HMAC", **self.pair()})
        return _UNKNOWN


class ContainerCredentials(AWSEndpoint):
    """The credential endpoint of ECS and of EKS Pod Identity."""

    authorization = "pod-token"

    def answer(self, question: Question) -> Reply:
        if question.headers.get("authorization") != self.authorization:
            return _REFUSED
        return _reply(self.pair())


class SecurityTokenService(AWSEndpoint):
    """STS: AssumeRole and AssumeRoleWithWebIdentity."""

    content_type = "text/xml"

    def answer(self, question: Question) -> Reply:
        asked = {name: values[-1] for name, values in parse_qs(question.body.decode()).items()}
        action = asked.get("Action", "")
        if action == "AssumeRoleWithWebIdentity":
            if asked.get("WebIdentityToken") != "web-identity":
                return _REFUSED
        elif action != "AssumeRole" or "authorization" not in question.headers:
            return _REFUSED
        pair = self.pair()
        pair["SessionToken"] = pair.pop("Token")
        root = ElementTree.Element(f"{action}Response")
        result = ElementTree.SubElement(root, f"{action}Result")
        credentials = ElementTree.SubElement(result, "Credentials")
        for name, value in pair.items():
            ElementTree.SubElement(credentials, name).text = value
        user = ElementTree.SubElement(result, "AssumedRoleUser")
        ElementTree.SubElement(user, "Arn").text = f"{asked['RoleArn']}/session"
        ElementTree.SubElement(user, "AssumedRoleId").text = "AROA:session"
        return 200, {}, ElementTree.tostring(root)


# --- Google ------------------------------------------------------------------------------------------------


class GoogleMetadata(TokenEndpoint):
    """The metadata server of a machine with one service account.

    Attributes:
        email: of the account; a workload pool's name is none.
        life_seconds: of a token.
        tokens: all that were issued.
    """

    def __init__(self, *, email: str = "signer@project.iam.gserviceaccount.com", life_seconds: int = 3599) -> None:
        super().__init__()
        self.email = email
        self.life_seconds = life_seconds
        self.tokens: list[str] = []

    def answer(self, question: Question) -> Reply:
        if question.headers.get("metadata-flavor") != "Google":
            return _REFUSED
        flavour = {"Metadata-Flavor": "Google"}
        if question.path == "/":  # google-auth asks so whether there is a metadata server at all
            return 200, flavour, b""
        path = "/computeMetadata/v1/instance/service-accounts/default"
        if question.path == f"{path}/email":
            return 200, {**flavour, "Content-Type": "application/text"}, self.email.encode()
        if question.path == f"{path}/token":
            self.tokens.append(f"ya29.{secrets.token_urlsafe(30)}")
            document = {"access_token": self.tokens[-1], "expires_in": self.life_seconds, "token_type": "Bearer"}
            return _reply(document, **flavour)
        if question.path.rstrip("/") == path:  # google-auth asks for everything at once
            return _reply({"aliases": ["default"], "email": self.email, "scopes": []}, **flavour)
        return _UNKNOWN


class IAMCredentials(TokenEndpoint):
    """The IAM Credentials API: signBlob, with a key that it alone has.

    Attributes:
        accepts: tells whether a bearer token is good.
        accounts: the e-mails that may be signed as.
        most_at_once: the highest number of requests under way together.
    """

    def __init__(self, sign: Callable[[bytes], bytes], *, accounts: frozenset[str] | None = None) -> None:
        super().__init__()
        self.accepts: Callable[[str], bool] = bool
        self.accounts = accounts
        self.most_at_once = 0
        self._at_once = 0
        self._sign = sign

    def handle(self, question: Question) -> tuple[Reply | None, Trouble]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return super().handle(question)
        finally:
            with self._lock:
                self._at_once -= 1

    def answer(self, question: Question) -> Reply:
        scheme, _, token = question.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self.accepts(token):
            return 401, {}, b"{}"
        prefix, suffix = "/v1/projects/-/serviceAccounts/", ":signBlob"
        account = question.path.removeprefix(prefix).removesuffix(suffix)
        if question.path != f"{prefix}{account}{suffix}":
            return _UNKNOWN
        if self.accounts is not None and account not in self.accounts:
            return _REFUSED
        payload = base64.b64decode(json.loads(question.body)["payload"], validate=True)
        signed = base64.b64encode(self._sign(payload)).decode()
        return _reply({"keyId": "0123456789abcdef", "signedBlob": signed})


# --- Azure -------------------------------------------------------------------------------------------------


class AzureIdentity(TokenEndpoint):
    """The token endpoint of managed identities, of a machine or of App Service.

    Attributes:
        identity_header: what App Service's applications must send; None plays a machine.
        make_token: makes one.
        tokens: all that were issued.
    """

    def __init__(self, *, identity_header: str | None = None, client_id: str | None = None) -> None:
        super().__init__()
        self.identity_header = identity_header
        self.client_id = client_id
        self.make_token: Callable[[], str] = lambda: f"eyJ0.{secrets.token_urlsafe(30)}"
        self.tokens: list[str] = []

    def answer(self, question: Question) -> Reply:
        wanted = ("metadata", "true", "2018-02-01")
        if self.identity_header is not None:
            wanted = ("x-identity-header", self.identity_header, "2019-08-01")
        name, value, version = wanted
        if question.headers.get(name) != value or question.query.get("api-version") != version:
            return 400, {}, b"{}"
        if question.query.get("resource") != "https://storage.azure.com/":
            return 400, {}, b"{}"
        if question.query.get("client_id") != self.client_id:
            return 400, {}, b"{}"
        self.tokens.append(self.make_token())
        return _reply({"access_token": self.tokens[-1], "expires_on": str(int(time.time()) + 86_400)})


class DelegationKeys(TokenEndpoint):
    """The one operation of a Blob service that hands out user delegation keys.

    Attributes:
        accepts: tells whether a bearer token is good.
        keys: the values that were issued last, by their ``ske``.
        issued: all of them, with their ``ske``.
        cut: how much earlier than asked a key ends.
    """

    content_type = "application/xml"
    oid = "11111111-2222-3333-4444-555555555555"
    tid = "66666666-7777-8888-9999-000000000000"

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.accepts: Callable[[str], bool] = bool
        self.keys: dict[str, str] = {}
        self.issued: list[tuple[str, str]] = []
        self.cut = timedelta(0)

    def answer(self, question: Question) -> Reply:
        asked = (question.method, question.query.get("restype"), question.query.get("comp"))
        if asked != ("POST", "service", "userdelegationkey") or "x-ms-version" not in question.headers:
            return 400, {"x-ms-error-code": "InvalidQueryParameterValue"}, b""
        scheme, _, token = question.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self.accepts(token):
            return 403, {"x-ms-error-code": "AuthorizationPermissionMismatch"}, b""
        info = ElementTree.fromstring(question.body)
        start, end = info.findtext("Start"), info.findtext("Expiry")
        if start is None or end is None or _instant(end) - _instant(start) > timedelta(days=7):
            return 400, {"x-ms-error-code": "InvalidXmlNodeValue"}, b""
        end = (_instant(end) - self.cut).strftime(TIME_FORMAT)
        self.keys[end] = base64.b64encode(secrets.token_bytes(32)).decode()
        self.issued.append((end, self.keys[end]))
        root = ElementTree.Element("UserDelegationKey")
        fields = {
            "SignedOid": self.oid,
            "SignedTid": self.tid,
            "SignedStart": start,
            "SignedExpiry": end,
            "SignedService": "b",
            "SignedVersion": question.headers["x-ms-version"],
            "Value": self.keys[end],
        }
        for name, value in fields.items():
            ElementTree.SubElement(root, name).text = value
        return 200, {}, b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>' + ElementTree.tostring(root)


def _instant(text: str) -> datetime:
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
