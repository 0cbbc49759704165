"""Tells the story on each store with real servers, and prints a transcript: ``python -m tests.demo [STORE…]``.

Every line is a request that was made; an answer that is not the expected one ends the demo with status 1.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.demo_azure import azure, azure_delegated
from tests.emulators.ceph import CephGateway
from tests.emulators.gcs import CloudStorage
from tests.emulators.process import LOOPBACK, Unavailable, free_port
from tests.emulators.rclone import RcloneS3

CONTENT = "A private report. 秘密\n".encode() * 100
FILENAME = "report of alice.txt"
START_SECONDS = 30
PREPARE = """
from datetime import timedelta
import json, django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone
from gateway.models import ApiToken
call_command("migrate", verbosity=0)
tokens = {}
for name in ("alice", "bob"):
    user = get_user_model().objects.create_user(name)
    until = timezone.now() + timedelta(hours=1)
    tokens[name] = ApiToken.mint(user=user, name="demo", scopes=["Download", "Upload"], expires_at=until)[1]
print(json.dumps(tokens))
"""


class Unexpected(Exception):
    """An answer was not the one that the story tells of."""


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]


@dataclass
class Story:
    """Makes the requests of one story and prints a line for each."""

    origin: str
    tokens: dict[str, str]
    over: int = 403  # what the store answers to a link whose time is over
    steps: int = field(default=0)

    def tell(self) -> None:
        file = self._upload()
        link = self._expect("alice asks for a link", 201, lambda: self._link("alice", file))
        url = json.loads(link.body)["url"]
        print(f"      {url.partition('?')[0]}?…")
        fetched = self._expect("the link is fetched, by nobody in particular", 200, lambda: request("GET", url))
        if fetched.body != CONTENT:
            raise Unexpected(f"{len(fetched.body)} other bytes came back")
        print(f"      {len(fetched.body)} bytes, the ones that went in; {fetched.headers['content-disposition']}")
        self._expect("bob asks for the same file", 404, lambda: self._link("bob", file))
        self._expect("a file that does not exist", 404, lambda: self._link("alice", str(uuid.uuid4())))
        self._expect("nobody in particular asks", 401, lambda: self._link(None, file))
        self._expect("the link with one character changed", 403, lambda: request("GET", tampered(url)))
        self._expect("the link with another file name", 403, lambda: request("GET", url.replace("report", "virus")))
        short = json.loads(self._link("alice", file, ttl_seconds=1).body)["url"]
        time.sleep(2.1)
        self._expect("a link of one second, two seconds later", self.over, lambda: request("GET", short))
        tell_upload(self)

    def _upload(self) -> str:
        boundary = uuid.uuid4().hex
        head = f'Content-Disposition: form-data; name="file"; filename="{FILENAME}"'
        body = f"--{boundary}\r\n{head}\r\nContent-Type: text/plain\r\n\r\n".encode()
        body += CONTENT + f"\r\n--{boundary}--\r\n".encode()
        headers = self._bearer("alice") | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = self._expect(
            f"alice uploads {FILENAME!r}",
            201,
            lambda: request("POST", f"{self.origin}/api/v1/files", headers, body),
        )
        return str(json.loads(answer.body)["id"])

    def _link(self, name: str | None, file: str, **more: Any) -> Answer:
        headers = ({} if name is None else self._bearer(name)) | {"Content-Type": "application/json"}
        body = json.dumps({"file": file} | more).encode()
        return request("POST", f"{self.origin}/api/v1/links", headers, body)

    def _bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    def _expect(self, what: str, status: int, ask: Callable[[], Answer]) -> Answer:
        answer = ask()
        self.steps += 1
        print(f"  {self.steps:2} {what}: {answer.status}")
        if answer.status != status:
            raise Unexpected(f"{what}: {answer.status} in place of {status}: {answer.body[:300]!r}")
        return answer


def tell_upload(story: Story) -> None:
    """Upload a file straight to the store, which the service sees only when it verifies it."""

    def ask(name: str, address: str, payload: dict[str, Any]) -> Answer:
        headers = story._bearer(name) | {"Content-Type": "application/json"}
        return request("POST", f"{story.origin}/api/v1/uploads{address}", headers, json.dumps(payload).encode())

    checksum = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    wish = {
        "filename": FILENAME, "content_type": "text/plain", "size": len(CONTENT),
        "checksum": {"algorithm": "sha256", "value": checksum},
    }  # fmt: skip
    begun = json.loads(
        story._expect("alice begins an upload straight to the store", 201, lambda: ask("alice", "", wish)).body
    )
    print(f"      {begun['guarantees']}")
    finalize = f"/{begun['id']}/finalize"
    story._expect("she finalizes it before the bytes are there", 409, lambda: ask("alice", finalize, {}))
    sent = request(begun["request"]["method"], begun["request"]["url"], begun["request"]["headers"], CONTENT)
    if sent.status not in (200, 201):
        raise Unexpected(f"the store answered {sent.status}: {sent.body[:300]!r}")
    print(f"      the bytes go to {begun['request']['url'].partition('?')[0]}?…: {sent.status}")
    story._expect("bob finalizes it", 404, lambda: ask("bob", finalize, {}))
    done = story._expect("alice finalizes it: verified, and a file", 200, lambda: ask("alice", finalize, {}))
    again = story._expect("and again: the same answer", 200, lambda: ask("alice", finalize, {}))
    if done.body != again.body:
        raise Unexpected("another answer")
    link = json.loads(story._link("alice", json.loads(done.body)["file"]["file"]).body)
    fetched = story._expect("its link is fetched", 200, lambda: request("GET", link["url"]))
    if fetched.body != CONTENT:
        raise Unexpected(f"{len(fetched.body)} other bytes came back")


def request(method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """Send one request to loopback and return the answer, whatever its status."""
    sent = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(sent, timeout=30) as response:
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.headers.items()})
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), {k.lower(): v for k, v in error.headers.items()})


def tampered(url: str) -> str:
    """Return the link with the last character of its signature changed."""
    return url[:-1] + ("0" if url[-1] != "0" else "1")


@contextmanager
def local(directory: Path) -> Iterator[dict[str, Any]]:
    yield {
        "BACKEND": "gateway.storages.PrivateFileSystemStorage",
        "OPTIONS": {"location": str(directory / "private")},
    }


@contextmanager
def s3(directory: Path) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        server: CephGateway | RcloneS3
        try:
            server = stack.enter_context(CephGateway())
        except Unavailable as missing:
            if os.environ.get("CI"):
                raise
            print(f"  ({missing}; rclone stands in)")
            server = stack.enter_context(RcloneS3())
        server.create_bucket("demo")
        print(f"  the store is {server.name}")
        yield {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": {
                "bucket_name": "demo",
                "endpoint_url": server.endpoint_url,
                "region_name": server.region,
                "access_key": server.access_key_id,
                "secret_key": server.secret_access_key,
            },
        }


@contextmanager
def gcs(directory: Path) -> Iterator[dict[str, Any]]:
    with CloudStorage() as server:
        server.create_bucket("demo")
        print("  the store is gcp-storage-emulator, behind this project's own verifier of signatures")
        yield {
            "BACKEND": "gateway.storages.PrivateGCSStorage",
            "OPTIONS": {
                "bucket_name": "demo",
                "endpoint_url": server.endpoint_url,
                "service_account_key": server.service_account_info(),
            },
        }


STORES = {"local": local, "s3": s3, "gcs": gcs, "azure": azure, "azure-delegated": azure_delegated}
OVER = {"gcs": 400}  # https://cloud.google.com/storage/docs/xml-api/reference-status: ExpiredToken


@contextmanager
def service(directory: Path, storage: dict[str, Any]) -> Iterator[Story]:
    """Serve the gateway on a free port, with two users."""
    port = free_port()
    origin = f"http://{LOOPBACK}:{port}"
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.demo_settings",
        "DEMO_DATABASE": str(directory / "db.sqlite3"),
        "DEMO_STORAGE": json.dumps(storage),
        "DEMO_PUBLIC_URL": origin,
    }
    prepared = subprocess.run(
        [sys.executable, "-c", PREPARE], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    tokens = json.loads(prepared.stdout)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"{LOOPBACK}:{port}", "--log-level", "warning"]
    with subprocess.Popen([*command, "settings.wsgi"], env=environment) as server:
        try:
            _wait_for(f"{origin}/healthz", server)
            yield Story(origin, tokens)
        finally:
            server.terminate()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise Unexpected(f"the service ended with status {server.returncode}")
        try:
            if request("GET", url).status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise Unexpected(f"the service did not answer within {START_SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", choices=[[], *STORES], help="; ".join(STORES))
    for name in parser.parse_args().stores or STORES:
        print(f"\n{name}", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary)
            try:
                with STORES[name](directory) as storage, service(directory, storage) as story:
                    story.over = OVER.get(name, story.over)
                    story.tell()
            except Unavailable as missing:
                if os.environ.get("CI"):
                    raise
                print(f"  LEFT OUT {missing}")
                continue
            except Unexpected as problem:
                print(f"  FAILED {problem}")
                return 1
        print(f"  all {story.steps} answers as expected", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
