"""Cloud Storage on loopback: gcp-storage-emulator keeps the objects, behind a server that verifies every request.

The emulator itself takes any signature and looks at no condition. What verifies was written from Google's
specification and is this project's own: it must not be shown as anybody else's verdict.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import threading
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from sys import executable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.emulators.gcs_multipart import Uploads
from tests.emulators.gcs_resumable import Sessions
from tests.emulators.gcs_xml import Objects, Refusal, Reply, check_digests, form_of, problem
from tests.emulators.process import LOOPBACK, Emulator, Unavailable, free_port
from tests.verifiers.goog4 import HMACIdentity, Identity, Refused, RSAIdentity, verify_form, verify_signed

PACKAGE = "gcp-storage-emulator"
TIMEOUT_SECONDS = 20
# Of objects; the last three of the bucket: its configuration read and changed, its IAM policy read.
EVERYTHING = frozenset({"create", "get", "delete", "list", "bucket", "update", "policy"}) | {
    f"multipart.{permission}" for permission in ("create", "abort", "listParts", "list")
}
# https://cloud.google.com/storage/docs/xml-api/reference-status
_STATUSES = {
    "expired": (400, "ExpiredToken"),
    "content_length": (400, "EntityTooLarge"),
    "two_mechanisms": (400, "InvalidArgument"),
    "missing_header": (400, "MalformedSecurityHeader"),
    "identity": (403, "AccessDenied"),
    "missing": (403, "AccessDenied"),
}


class CloudStorage(Emulator):
    """Run the emulator and the server before it.

    Attributes:
        email: of the service account whose key signs.
        access_id, secret: the HMAC key.
        identities: who may sign; taking one out revokes a key.
        tokens: what each access token may do.
        clock_offset: of the server's clock.
        sessions: the resumable uploads.
        uploads: the multipart uploads.
        refusals: reasons for which signed requests were refused, in order.
        requests: method and path of every request with a token.
    """

    name = "gcs"

    endpoint_url: str
    email: str
    access_id: str
    secret: str
    identities: dict[str, Identity]
    tokens: dict[str, frozenset[str]]

    def service_account_info(self) -> dict[str, str]:
        """Return what Google's key file holds; tokens for it are to be had here."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "0123456789abcdef",
            "private_key": pem.decode(),
            "client_email": self.email,
            "token_uri": f"{self.endpoint_url}/token",
        }

    def sign(self, data: bytes) -> bytes:
        """Sign as the service account, as Google's signBlob does."""
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def new_token(self, *permissions: str) -> str:
        """Hand out an access token; without permissions it may do everything, with ``create:uploads/`` create there."""
        token = f"ya29.{secrets.token_urlsafe(30)}"
        self.tokens[token] = frozenset(permissions) or EVERYTHING
        return token

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its name."""
        reply = self._ask("POST", "/storage/v1/b", json.dumps({"name": name}).encode(), {"Content-Type": _JSON})
        assert reply.status == 200, reply.status
        return name

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_offset

    def _check_installed(self) -> None:
        if find_spec("gcp_storage_emulator") is None:
            raise Unavailable(self.name, [PACKAGE], remedy=f"pip install {PACKAGE}, of the dev dependency group")

    def _start(self) -> None:
        self._port = free_port()
        module = Path(_origin("gcp_storage_emulator")).parent
        self.spawn(
            "gcp-storage-emulator",
            [executable, "-m", module.name, "start", "--host", LOOPBACK, "--port", str(self._port), "-q", "-M"],
            extra_environment={"PYTHONPATH": str(module.parent)},
        )
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        self.email = "signer@project.iam.gserviceaccount.com"
        self.access_id, self.secret = f"GOOG1E{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
        self.identities = {
            self.email: RSAIdentity(self._key.public_key().public_numbers().n),
            self.access_id: HMACIdentity(self.secret),
        }
        self.tokens = {}
        self.clock_offset = timedelta(0)
        self.refusals: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.objects = Objects(self._ask)
        self.uploads = Uploads(self.objects)
        self.sessions = Sessions(self.objects, self.now)
        self.wait_until(self._answers, what="the emulator")
        server = _Server((LOOPBACK, 0), _handler(self))
        self.endpoint_url = f"http://{LOOPBACK}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)

    def _answers(self) -> bool:
        try:
            return self._ask("GET", "/storage/v1/b", b"", {}).status == 200
        except OSError:
            return False

    def _ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Ask the emulator, which has one thread and closes every connection."""
        with self.objects.lock:
            connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=TIMEOUT_SECONDS)
            try:
                connection.request(method, target, body, dict(headers))
                answer = connection.getresponse()
                text = answer.read()
            finally:
                connection.close()
        return Reply(answer.status, text, {name.lower(): value for name, value in answer.getheaders()})

    # What arrives.

    def handle(
        self, method: str, target: str, sent: list[tuple[str, str]], body: bytes, *, is_whole: bool = True
    ) -> Reply:
        """Answer one request: tokens, resumable sessions, the JSON API with a token, or whatever else is signed.

        Args:
            is_whole: False where the client went away within the body.
        """
        headers = {name.lower(): value for name, value in sent}
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path.startswith("/upload/storage/v1/") and "upload_id" in query:
            # Who has the address needs no token.
            return self.sessions.handle(method, query["upload_id"][-1], headers, body, is_whole=is_whole)
        if not is_whole:
            return problem(400, "IncompleteBody")
        if (method, path) == ("POST", "/token"):
            return self._token(body)
        if path.startswith(("/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/")):
            return self._json(method, target, headers, body)
        bucket = path.split("/")[1]
        if method == "OPTIONS":
            return self._preflight(bucket, headers)
        reply = self._by_token(method, target, headers, body)
        if reply is None:
            try:
                if len(headers) != len(sent):
                    raise Refused("duplicate")
                reply = self._signed(method, target, headers, body)
            except Refused as refused:
                self.refusals.append(refused.reason)
                reply = problem(*_STATUSES.get(refused.reason, (403, "SignatureDoesNotMatch")), refused.reason)
            except Refusal as refusal:
                self.refusals.append(str(refusal))
                reply = refusal.reply
        if "origin" not in headers or (rule := self._cors_rule(bucket, headers["origin"], method)) is None:
            return reply
        exposed = ",".join(rule.get("responseHeader", []))
        shown = {"Access-Control-Allow-Origin": headers["origin"], "Access-Control-Expose-Headers": exposed}
        return Reply(reply.status, reply.body, {**reply.headers, **shown, "Vary": "Origin"})

    def _preflight(self, bucket: str, headers: Mapping[str, str]) -> Reply:
        """Answer by the bucket's rules; where none fits, with nothing: https://cloud.google.com/storage/docs/cors."""
        origin, method = headers.get("origin", ""), headers.get("access-control-request-method", "")
        asked = {name.strip().lower() for name in headers.get("access-control-request-headers", "").split(",")} - {""}
        rule = self._cors_rule(bucket, origin, method, asked)
        if rule is None:
            return Reply(200)
        shown = ",".join(rule.get("responseHeader", []))
        allowed = {"Origin": origin, "Methods": ",".join(rule["method"]), "Headers": shown}
        return Reply(200, b"", {f"Access-Control-Allow-{name}": value for name, value in allowed.items()})

    def _cors_rule(
        self, bucket: str, origin: str, method: str, asked: AbstractSet[str] = frozenset()
    ) -> dict[str, Any] | None:
        about = json.loads(self._ask("GET", f"/storage/v1/b/{bucket}", b"", {}).body or b"{}")
        for rule in about.get("cors") or []:
            fits = {origin, "*"} & set(rule["origin"]) and method in rule["method"]
            if fits and asked <= {name.lower() for name in rule.get("responseHeader", [])}:
                return dict(rule)
        return None

    def _by_token(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply | None:
        """Answer about multipart uploads to whoever has a token; None where the request is another."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        permission = self.uploads.permission(method, query)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if permission is None or scheme != "Bearer":
            return None
        self.requests.append((method, target))
        if token not in self.tokens:
            return problem(401, "AuthenticationRequired")
        if permission not in self.tokens[token]:
            return problem(403, "AccessDenied", f"The token does not have storage.{permission}.")
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        return self.uploads.handle(method, bucket, key, query, headers, body)

    def _signed(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        if method == "POST":
            return self._form(target, headers, body)
        # The length of a body that was not sent is none.
        length = len(body) if method == "PUT" else None
        verified = verify_signed(
            method=method, url=f"http://{headers['host']}{target}", headers=headers, identities=self.identities,
            now=self.now(), body_length=length,
        )  # fmt: skip
        bucket, _, key = verified.path.removeprefix("/").partition("/")
        if method in ("GET", "HEAD"):
            return self.objects.get(bucket, key, verified.query, headers)
        if method == "PUT" and "uploadId" in verified.query:
            check_digests(headers, body)
            return self.uploads.put(bucket, key, verified.query, body)
        if method == "PUT":
            return self.objects.put(bucket, key, headers, body)
        return problem(405, "MethodNotAllowed")

    def _form(self, target: str, headers: dict[str, str], body: bytes) -> Reply:
        read = form_of(headers.get("content-type", ""), body)
        if read is None:
            raise Refused("missing", "file")
        fields, content = read
        bucket = target.strip("/")
        verify_form(
            fields=fields, bucket=bucket, identities=self.identities, now=self.now(), content_length=len(content)
        )
        return self.objects.post(bucket, fields, content)

    def _json(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        self.requests.append((method, target))
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            return Reply(401, b'{"error": {"code": 401, "message": "Invalid Credentials"}}', {"Content-Type": _JSON})
        parts = urlsplit(target)
        permission = _permission(method, parts.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if not self._is_granted(token, permission, query, headers, body):
            return _forbidden(permission)
        bucket, _, key = parts.path.partition("/b/")[2].partition("/o/")
        if (
            permission == "get"
            and "list" not in self.tokens[token]
            and self.objects.about(bucket, unquote(key)) is None
        ):
            # Who may not list is not told what is missing.
            return _forbidden("list")
        if query.get("alt") == "media":
            # The emulator looks at no generation.
            return self.objects.get(bucket, unquote(key), query, headers)
        if permission == "create" and query.get("uploadType") == "resumable":
            bucket = parts.path.split("/")[5]
            with self.objects.lock:
                return self.sessions.begin(bucket, query, headers, body, self.endpoint_url)
        with self.objects.lock:
            key = _key_of(query, headers, body) if permission == "create" else ""
            if "ifGenerationMatch" in query and not self._meets(query["ifGenerationMatch"], parts.path, key):
                answer = b'{"error": {"code": 412, "message": "conditionNotMet"}}'
                return Reply(412, answer, {"Content-Type": _JSON})
            kept = {name: value for name, value in headers.items() if name not in ("authorization", "connection")}
            reply = self._ask(method, target, body, kept)
        if permission == "get" and reply.status == 200:
            known = json.dumps(self.objects.as_known(json.loads(reply.body)))
            reply = Reply(200, known.encode(), reply.headers)
        passed = {
            name: value for name, value in reply.headers.items() if name not in ("content-length", "server", "date")
        }
        # The emulator's answer to a deletion has a body that it should not have.
        return Reply(204) if method == "DELETE" and reply.status == 200 else Reply(reply.status, reply.body, passed)

    def _is_granted(
        self, token: str, permission: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> bool:
        granted = self.tokens[token]
        if permission in granted or permission != "create":
            return permission in granted
        key = _key_of(query, headers, body)
        return any(key.startswith(each.removeprefix("create:")) for each in granted if each.startswith("create:"))

    def _meets(self, wanted: str, path: str, key: str) -> bool:
        about = self.objects.about(path.split("/")[5], key)
        return wanted == ("0" if about is None else about["generation"])

    def _token(self, body: bytes) -> Reply:
        """Give a token for an assertion that the account's key signed: RFC 7523."""
        assertion = parse_qs(body.decode()).get("assertion", [""])[-1]
        text, _, signature = assertion.rpartition(".")
        identity = self.identities.get(self.email)
        claims = json.loads(_unpadded(text.partition(".")[2]) or b"{}")
        good = (
            isinstance(identity, RSAIdentity)
            and identity.signed(_unpadded(signature), "", text)
            and claims.get("iss") == self.email
            and claims.get("exp", 0) > time.time()
        )
        if not good:
            return Reply(400, b'{"error": "invalid_grant"}', {"Content-Type": _JSON})
        answer = {"access_token": self.new_token(), "expires_in": 3599, "token_type": "Bearer"}
        return Reply(200, json.dumps(answer).encode(), {"Content-Type": _JSON})


_JSON = "application/json"


def _origin(module: str) -> str:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def _permission(method: str, path: str) -> str:
    if path.startswith("/upload/"):
        return "create"
    if method == "DELETE":
        return "delete"
    if "/o" not in path.partition("/b/")[2]:
        return "policy" if path.endswith("/iam") else "bucket" if method == "GET" else "update"
    return "list" if path.rstrip("/").endswith("/o") else "get"


def _forbidden(permission: str) -> Reply:
    message = f"the token does not have storage.objects.{permission}"
    return Reply(403, json.dumps({"error": {"code": 403, "message": message}}).encode(), {"Content-Type": _JSON})


def _key_of(query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> str:
    return query.get("name") or _name_in(headers.get("content-type", ""), body)


def _name_in(content_type: str, body: bytes) -> str:
    """Read the object's name from the metadata that an upload begins with."""
    if content_type.startswith("multipart/"):
        body = body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0]
    return str(json.loads(body)["name"])


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True  # connections that a client keeps open must not keep the tests from ending

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


def _handler(store: CloudStorage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self._chunked() if "Transfer-Encoding" in self.headers else self._sized()
            is_whole = len(body) >= int(self.headers.get("Content-Length") or 0)
            try:
                reply = store.handle(self.command, self.path, self.headers.items(), body, is_whole=is_whole)
            except Exception as error:  # a mistake of this server must not look like a lost connection
                reply = problem(501, "Unexpected", type(error).__name__)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status not in (204, 304):
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD" and reply.status not in (204, 304):
                self.wfile.write(reply.body)

        def _sized(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunked(self) -> bytes:
            content = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815  of the base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            """Say nothing: a line would hold the whole link."""

    return Handler
