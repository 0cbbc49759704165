"""What a bucket says where it does not mean it: success that is none, checksums that nobody counted."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.config import Config

from gateway import uploads
from gateway.errors import NotUploaded, StorageUnavailable
from gateway.models import File, UploadSession
from tests.emulators.process import LOOPBACK
from tests.emulators.s3 import send
from tests.gateway.uploads.conftest import PDF, begin, principal_of

pytestmark = pytest.mark.django_db

MIB = 2**20
SIZE = 5 * MIB + 10
XML = '<?xml version="1.0" encoding="UTF-8"?>'
BEGUN = f"{XML}<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
PARTS = f"""{XML}<ListPartsResult><IsTruncated>false</IsTruncated>
<Part><PartNumber>1</PartNumber><ETag>"a"</ETag><Size>{5 * MIB}</Size></Part>
<Part><PartNumber>2</PartNumber><ETag>"b"</ETag><Size>10</Size></Part></ListPartsResult>"""


class Liar(BaseHTTPRequestHandler):
    """Answers as S3 does, until it is to complete: then 200, and an error in the body.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    """

    code = ""
    completed: list[dict[str, str]]

    def do_HEAD(self) -> None:
        self._answer(404)

    def do_GET(self) -> None:
        self._answer(200, PARTS)

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploads" in query:
            self._answer(200, BEGUN)
            return
        self.completed.append({name.lower(): value for name, value in self.headers.items()})
        self._answer(200, f"{XML}<Error><Code>{self.code}</Code><Message>no</Message></Error>")

    def _answer(self, status: int, body: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return


@pytest.fixture
def liar(settings: Any) -> Iterator[type[Liar]]:
    handler = type("Handler", (Liar,), {"completed": []})
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    options = {
        "bucket_name": "bucket", "region_name": "us-east-1", "access_key": "AKIAEXAMPLE", "secret_key": "secret",
        "endpoint_url": f"http://{LOOPBACK}:{server.server_address[1]}",
        "client_config": Config(retries={"total_max_attempts": 1}),
    }  # fmt: skip
    settings.STORAGES = settings.STORAGES | {
        "liar": {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options}
    }
    settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "liar", "UPLOAD_PART_BYTES": 5 * MIB}
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "error", "state"),
    [
        pytest.param("InternalError", StorageUnavailable, "verifying", id="unavailable"),
        pytest.param("InvalidPart", NotUploaded, "uploading", id="a-part-was-replaced"),
        pytest.param("PreconditionFailed", NotUploaded, "uploading", id="taken-and-yet-not-there"),
    ],
)
def test_an_error_inside_a_200_is_seen(
    liar: type[Liar], alice: Any, code: str, error: type[Exception], state: str
) -> None:
    liar.code = code
    session = begin(alice, bytes(SIZE), sha256=None).session
    for _ in range(2):
        with pytest.raises(error):
            uploads.finalize(principal_of(alice), session.pk)
    assert UploadSession.objects.get().state == state
    assert not File.objects.exists()


def test_who_may_not_list_is_told_that_nothing_is_there_and_goes_on(ceph: Any, alice: Any, settings: Any) -> None:
    """Amazon and Ceph answer 403 for a missing key to an identity without the right to list."""
    bucket = ceph.create_bucket(f"uploads-{secrets.token_hex(6)}")
    ceph.grant_uploads(bucket)
    who = ceph.restricted_credentials
    options = {
        "bucket_name": bucket, "region_name": ceph.region, "endpoint_url": ceph.endpoint_url,
        "access_key": who.access_key_id, "secret_key": who.secret_access_key,
    }  # fmt: skip
    settings.STORAGES = settings.STORAGES | {
        "few": {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options}
    }
    settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "few"}
    begun = begin(alice)
    with pytest.raises(NotUploaded):
        uploads.finalize(principal_of(alice), begun.session.pk)
    assert begun.link is not None
    assert send(begun.link.url, method="PUT", headers=begun.link.headers, body=PDF).status == 200
    assert uploads.finalize(principal_of(alice), begun.session.pk).session.state == "ready"


def test_completing_is_bound_to_a_free_key_and_the_whole_size(liar: type[Liar], alice: Any) -> None:
    liar.code = "InternalError"
    session = begin(alice, bytes(SIZE), sha256=None).session
    with pytest.raises(StorageUnavailable):
        uploads.finalize(principal_of(alice), session.pk)
    (headers,) = liar.completed
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-mp-object-size"] == str(SIZE)
