"""A site as it is run: gunicorn with one storage for each way of delivery, and what stands in front of it.

Must not configure a server by itself: the blocks are what ``manage.py gateway_conf`` prints.
"""

from __future__ import annotations

import hashlib
import http.client
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.emulators.names import NameServer
from tests.emulators.process import LOOPBACK, Emulator
from tests.emulators.web import MakeBlock, WebServer
from tests.gateway.delivery.keys import KEYS
from tests.gateway.delivery.servers import Place, Populated, Server, environment

LOCAL = {
    "streamed": "stream", "accel": "x_accel", "sendfile": "x_sendfile", "lighttpd": "x_lighttpd",
    "signed": "secure_link", "signed-for": "secure_link_address",
}  # fmt: skip
BUCKETS = {"bucket": "stream", "bucket-accel": "x_accel", "bucket-named": "x_accel"}
FILES = {"page": "pages/page.html", "image": "images/a.png", "document": "d/Überblick.pdf", "missing": "not/there.txt"}
GUARDED = {"/guarded/": "guarded", "/store/": "bucket"}
SECRET = secrets.token_urlsafe(32)
LARGE_BYTES = 40 * 2**20
NAMES = {f"key-{name}": key for name, key in KEYS.items()} | FILES


@dataclass(frozen=True)
class Got:
    """What came back; the names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    repeated: tuple[str, ...]
    body: bytes


class Site(Emulator):
    """Start the application; ``url`` is its own address, which in front of it nobody sees."""

    name = "site"

    def __init__(self, store: Any) -> None:
        self.store = store

    def _check_installed(self) -> None:
        return

    def _start(self) -> None:
        bucket = self.store.create_bucket(f"delivery-{secrets.token_hex(4)}")
        self.bucket, self.client = bucket, self.store.client()
        self.files_directory = self.directory / "files"
        common = {
            "bucket_name": bucket, "region_name": self.store.region, "endpoint_url": self.store.endpoint_url,
            "access_key": self.store.credentials.access_key_id,
            "secret_key": self.store.credentials.secret_access_key,
        }  # fmt: skip
        storages: dict[str, Any] = {
            alias: {
                "BACKEND": "gateway.storages.PrivateFileSystemStorage",
                "OPTIONS": {"location": str(self.files_directory / alias), "delivery": delivery},
            }
            for alias, delivery in LOCAL.items()
        } | {
            alias: {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": {**common, "delivery": delivery}}
            for alias, delivery in BUCKETS.items()
        }
        storages["guarded"] = {
            "BACKEND": "gateway.storages.PrivateFileSystemStorage",
            "OPTIONS": {"location": str(self.files_directory / "guarded"), "delivery": "stream"},
        }
        policy = "tests.gateway.delivery.path_policy.OwnDirectory"
        gateway = {
            "FORWARD_AUTH": {"proxy": "nginx", "secret": SECRET, "paths": GUARDED},
            "TRUSTED_PROXIES": 1,
            "PATH_POLICIES": dict.fromkeys(GUARDED.values(), policy),
        }
        # A host that nginx has to ask a name server for.
        storages["bucket-named"]["OPTIONS"]["endpoint_url"] = f"http://localhost:{self.store_port}"
        self.names = self._stack.enter_context(NameServer())
        files = dict.fromkeys([*LOCAL, *BUCKETS], NAMES | {"large": "large/file.bin"})
        self.more: dict[str, Any] = {"storages": storages, "files": files, "gateway": gateway}
        populated = self._stack.enter_context(Populated(**self.more))
        self.facts = populated.facts
        self.place = Place(populated.directory, populated.facts)
        for alias in LOCAL:
            for name, key in NAMES.items():
                if name != "missing":
                    self.write(alias, key, content_of(key))
        for name, key in NAMES.items():
            if name != "missing":
                self.client.put_object(Bucket=bucket, Key=key, Body=content_of(key))
        for name, key in NAMES.items():
            for user in ("alice", "bob"):
                if name not in ("missing", "key-long", "key-deep"):
                    self.write("guarded", f"{user}/{key}", content_of(f"{user}/{key}"))
                    self.client.put_object(Bucket=bucket, Key=f"{user}/{key}", Body=content_of(f"{user}/{key}"))
        large = bytes(LARGE_BYTES)
        self.write("streamed", "large/file.bin", large)
        self.client.put_object(Bucket=bucket, Key="large/file.bin", Body=large)
        # Apache reads the files as another user, and the way there is in directories that are nobody else's.
        self.directory.chmod(0o755)
        self.gunicorn = self._stack.enter_context(Server("gunicorn-gthread", self.place, **self.more))
        self.uvicorn = self._stack.enter_context(Server("uvicorn", self.place, **self.more))

    def caddy_s_gateway(self) -> Server:
        """Return the application as it is behind Caddy, whose headers are others; the caller starts it."""
        gateway = self.more["gateway"]
        forward = gateway["FORWARD_AUTH"] | {"proxy": "caddy", "paths": {"/guarded/": "guarded"}}
        return Server("gunicorn-gthread", self.place, **self.more | {"gateway": gateway | {"FORWARD_AUTH": forward}})

    @property
    def store_port(self) -> int:
        port = urlsplit(self.store.endpoint_url).port
        assert port is not None
        return port

    def write(self, alias: str, key: str, content: bytes) -> Path:
        path = self.files_directory / alias / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def block_of(self, server: str, *options: str, upstream: str = "", gateway: Server | None = None) -> MakeBlock:
        """Return how to have a server's block printed by the project that the application runs."""

        def make(listen: str, access_log: Path) -> str:
            ours = gateway or self.gunicorn
            argv = [
                sys.executable, "-m", "django", "gateway_conf", server, "--listen", listen,
                "--upstream", upstream or f"{LOOPBACK}:{ours.port}", "--access-log", str(access_log), "--with-secret",
                "--resolver", self.names.address, *options,
            ]  # fmt: skip
            return self.run(argv, extra_environment=environment(self.place.directory, ours.url, **ours.more))

        return make

    def permalink(self, alias: str, name: str) -> str:
        return f"/f/{self.facts['files'][alias][name]}"

    def token(self, who: int = 0) -> dict[str, str]:
        """Return the headers of the owner of all files, or of the other one."""
        return {"Authorization": f"Bearer {self.facts['tokens'][who]}"}


def content_of(key: str) -> bytes:
    """Return what is stored under a key: something of its own."""
    return hashlib.sha512(key.encode()).digest() + key.encode()


def ask(
    server: WebServer | Server, target: str, headers: Mapping[str, str] | None = None, *, method: str = "GET"
) -> Got:
    """Send one request exactly as it is written, and read the answer to its end."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=20)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        names = [name.lower() for name, _ in response.getheaders()]
        repeated = tuple(sorted({name for name in names if names.count(name) > 1}))
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Got(response.status, fields, repeated, response.read())
    finally:
        connection.close()
