"""The server's resumable sessions are as strict as Google's documentation, so that what passes them means something."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.emulators.gcs import CloudStorage
from tests.emulators.gcs_resumable import CHUNK_BYTES
from tests.emulators.s3 import Response, send

PAGE, OTHER_PAGE = "https://page.example", "https://other.example"
CONTENT = secrets.token_bytes(2 * CHUNK_BYTES + 10)


@pytest.fixture(scope="module")
def bucket(gcs: CloudStorage) -> str:
    return gcs.create_bucket(f"resumable-{secrets.token_hex(6)}")


class Begun:
    """One session, and the key that it is for."""

    def __init__(self, gcs: CloudStorage, bucket: str, *, token: str = "", **said: Any) -> None:
        self.gcs, self.bucket, self.key = gcs, bucket, secrets.token_hex(8)
        md5 = {"md5Hash": base64.b64encode(said["md5"]).decode()} if "md5" in said else {}
        headers = {
            "Authorization": f"Bearer {token or gcs.new_token('create')}",
            "X-Upload-Content-Type": "application/pdf",
            "X-Upload-Content-Length": str(said.get("size", len(CONTENT))),
            "Origin": PAGE,
        }
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&ifGenerationMatch=0"
        body = json.dumps({"name": self.key} | md5).encode()
        self.answer = send(gcs.endpoint_url + path, method="POST", headers=headers, body=body)
        self.url = self.answer.headers.get("location", "")

    def put(self, first: int = 0, end: int = len(CONTENT), total: str = str(len(CONTENT)), **headers: str) -> Response:
        sent = {"Content-Range": f"bytes {first}-{end - 1}/{total}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return send(self.url, method="PUT", headers=sent, body=CONTENT[first:end])

    def ask(self, total: str = "*", method: str = "PUT") -> Response:
        return send(self.url, method=method, headers={"Content-Range": f"bytes */{total}"}, body=b"")

    def stored(self) -> bytes | None:
        about = self.gcs.objects.about(self.bucket, self.key)
        return None if about is None else self.gcs.objects.read(self.bucket, self.key)


@pytest.fixture
def begun(gcs: CloudStorage, bucket: str) -> Begun:
    return Begun(gcs, bucket)


def test_pieces_make_the_object_with_the_last(gcs: CloudStorage, bucket: str, begun: Begun) -> None:
    assert (begun.ask().status, begun.ask().headers.get("range")) == (308, None)
    first = begun.put(0, CHUNK_BYTES)
    assert (first.status, first.headers["range"]) == (308, f"bytes=0-{CHUNK_BYTES - 1}")
    assert begun.stored() is None
    assert begun.ask(str(len(CONTENT))).headers["range"] == f"bytes=0-{CHUNK_BYTES - 1}"
    assert begun.put(CHUNK_BYTES, 2 * CHUNK_BYTES, "*").status == 308
    last = begun.put(2 * CHUNK_BYTES)
    assert (last.status, json.loads(last.body)["size"]) == (200, str(len(CONTENT)))
    assert begun.stored() == CONTENT
    about = gcs.objects.about(bucket, begun.key)
    assert about is not None
    assert about["contentType"] == "application/pdf"
    assert begun.ask().status == 200


def test_all_of_it_may_come_at_once(begun: Begun) -> None:
    assert send(begun.url, method="PUT", body=CONTENT, headers={"Content-Type": "text/html"}).status == 200
    assert begun.stored() == CONTENT


def test_a_piece_that_came_twice_changes_nothing(begun: Begun) -> None:
    begun.put(0, CHUNK_BYTES)
    other = bytes(CHUNK_BYTES)
    headers = {"Content-Range": f"bytes 0-{CHUNK_BYTES - 1}/{len(CONTENT)}"}
    assert send(begun.url, method="PUT", headers=headers, body=other).headers["range"] == f"bytes=0-{CHUNK_BYTES - 1}"
    assert begun.put(CHUNK_BYTES).status == 200
    assert begun.stored() == CONTENT


@pytest.mark.parametrize(
    ("first", "end", "total"),
    [
        pytest.param(CHUNK_BYTES, 2 * CHUNK_BYTES, str(len(CONTENT)), id="a-gap"),
        pytest.param(0, 1000, str(len(CONTENT)), id="no-multiple-of-256-KiB"),
        pytest.param(0, len(CONTENT), str(len(CONTENT) - 1), id="past-its-own-total"),
        pytest.param(0, CHUNK_BYTES, str(len(CONTENT) + 1), id="a-larger-total-than-was-said"),
        pytest.param(0, CHUNK_BYTES, "many", id="no-number"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused(begun: Begun, first: int, end: int, total: str) -> None:
    assert begun.put(first, end, total).status == 400
    assert begun.ask().headers.get("range") is None


def test_more_than_was_said_is_refused(gcs: CloudStorage, bucket: str) -> None:
    begun = Begun(gcs, bucket, size=CHUNK_BYTES)
    assert begun.put(0, 2 * CHUNK_BYTES, "*").status == 400
    assert send(begun.url, method="PUT", body=CONTENT).status == 400
    assert begun.stored() is None


def test_a_body_of_another_length_than_its_range_is_refused(begun: Begun) -> None:
    headers = {"Content-Range": f"bytes 0-{CHUNK_BYTES - 1}/{len(CONTENT)}"}
    assert send(begun.url, method="PUT", headers=headers, body=CONTENT[: 2 * CHUNK_BYTES]).status == 400


def test_other_bytes_than_their_digest_are_refused(gcs: CloudStorage, bucket: str) -> None:
    wrong = Begun(gcs, bucket, md5=hashlib.md5(b"other").digest())
    assert wrong.put().status == 400
    assert wrong.stored() is None
    assert Begun(gcs, bucket, md5=hashlib.md5(CONTENT).digest()).put().status == 200


def test_a_key_that_was_taken_meanwhile_is_not_overwritten(gcs: CloudStorage, bucket: str, begun: Begun) -> None:
    gcs.objects.write(bucket, begun.key, b"first")
    assert begun.put().status == 412
    assert begun.stored() == b"first"


def test_it_is_begun_by_who_may_create_alone(gcs: CloudStorage, bucket: str) -> None:
    assert Begun(gcs, bucket, token="nobody's").answer.status == 401
    assert Begun(gcs, bucket, token=gcs.new_token("get", "list")).answer.status == 403


def test_it_ends_with_its_cancellation(begun: Begun) -> None:
    begun.put(0, CHUNK_BYTES)
    assert begun.ask(method="DELETE").status == 499
    assert (begun.put(CHUNK_BYTES).status, begun.ask().status) == (499, 499)
    assert begun.stored() is None


def test_it_ends_after_a_week(gcs: CloudStorage, begun: Begun) -> None:
    gcs.clock_offset = timedelta(days=7)
    try:
        assert begun.put().status == 410
    finally:
        gcs.clock_offset = timedelta(0)
    assert begun.put().status == 200


def test_none_has_the_address_of_another(begun: Begun) -> None:
    assert send(begun.url[:-1] + ("A" if begun.url[-1] != "A" else "B"), method="PUT", body=CONTENT).status == 404


def test_it_is_open_to_the_page_that_it_was_begun_for_alone(begun: Begun) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-range"}
    for origin, allowed in ((PAGE, PAGE), (OTHER_PAGE, None)):
        answer = send(begun.url, method="OPTIONS", headers={"Origin": origin, **asked})
        assert answer.headers.get("access-control-allow-origin") == allowed
    assert begun.put(Origin=OTHER_PAGE).status == 403
    assert begun.put(0, CHUNK_BYTES, Origin=PAGE).headers["access-control-expose-headers"].startswith("Range")


def test_of_a_client_that_goes_away_whole_pieces_stay(begun: Begun) -> None:
    parts = urlsplit(begun.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    connection.putheader("Content-Length", str(len(CONTENT)))
    connection.endheaders(CONTENT[: CHUNK_BYTES + 1000])
    connection.sock.shutdown(1)  # nothing more will come
    connection.getresponse().read()
    connection.close()
    assert begun.ask().headers["range"] == f"bytes=0-{CHUNK_BYTES - 1}"
