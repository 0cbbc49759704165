"""The same, through the servers that people run: what a framework's test client cannot show.

Servers decode paths, frame bodies and notice that a client is gone, each in its own way.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from providers.types import Checksum, Download, Upload
from tests.gateway.delivery.keys import KEYS
from tests.gateway.delivery.servers import COMMANDS, Place, Populated, Server
from tests.gateway.delivery.support import put_file, sign, target

MIB = 2**20
CONTENT = os.urandom(200_000)
PDF = b"%PDF-1.7\n"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Populated() as populated:
        yield Place(populated.directory, populated.facts)


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, place: Place) -> Iterator[Server]:
    with Server(request.param, place) as server:
        yield server
        # Whatever was asked and whatever broke, no link stands in a log.
        assert "signature=" not in server.log()


@pytest.fixture(autouse=True)
def same_files(place: Place, private_root: Path) -> None:
    """Let this process, which signs with the same keys, see the files of the servers."""
    storage: Any = storages["private"]
    storage._location = place.root
    for name in ("base_location", "location"):
        storage.__dict__.pop(name, None)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.02)


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_every_name_that_is_a_key_survives_the_server(server: Server, key: str) -> None:
    body = key.encode()
    upload = Upload(key, content_type="text/plain", size_bytes=len(body), overwrite=True)
    signed = sign(upload)
    assert server.request("PUT", signed.url, headers=dict(signed.headers), body=body).status == 201
    assert (server.place.root / key).read_bytes() == body
    for method in ("GET", "HEAD"):
        download = Download(key, method=method, filename=key)  # type: ignore[arg-type]
        answer = server.request(method, sign(download).url)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(body)))
        assert answer.body == (body if method == "GET" else b"")


def test_a_long_name_of_many_bytes_still_fits_the_request_line(server: Server) -> None:
    # 60 bytes of name and 150 characters to save it under are the most that the gateway itself makes.
    key = f"uploads/2026/11/{'a' * 26}/{'資' * 20}"
    put_file(key, b"x")
    assert server.request("GET", sign(Download(key, filename="資" * 150, link_id="l" * 36)).url).status == 200


NOT_KEYS = {
    "traversal": "/local/private/../../etc/passwd",
    "encoded-traversal": "/local/private/%2e%2e/%2e%2e/etc/passwd",
    "encoded-slashes": "/local/private/..%2f..%2fetc%2fpasswd",
    "double-slash": "/local/private//etc/passwd",
    "nul": "/local/private/a%00b",
    "bad-utf-8": "/local/private/a%FFb",
    "overlong": "/local/private/a%C0%AFb",
    "surrogate": "/local/private/a%ED%A0%80b",
    "absolute": "http://evil.example/local/private/a",
}


@pytest.mark.parametrize("path", NOT_KEYS.values(), ids=NOT_KEYS)
def test_no_other_name_comes_through_with_another_key_s_signature(server: Server, path: str) -> None:
    query = target(sign(Download("a")).url).partition("?")[2]
    connection = server.connect()
    connection.putrequest("GET", f"{path}?{query}", skip_host=True)
    connection.putheader("Host", "127.0.0.1")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status in (400, 403, 404)
    assert b"root:" not in response.read()
    connection.close()


# --- reading -----------------------------------------------------------------------------------------------

READING = Download("uploads/image", content_type="image/png", disposition="inline", filename="a.png")


@pytest.fixture
def image() -> str:
    put_file(READING.key, CONTENT)
    return sign(READING).url


def test_one_connection_carries_every_kind_of_answer(server: Server, image: str) -> None:
    """A body that is too long or too short, or one after HEAD or 304, would break what comes next."""
    head = sign(replace(READING, method="HEAD")).url
    missing = sign(Download("missing")).url
    upload = sign(Upload("uploads/answer", content_type="text/plain", size_bytes=3, overwrite=True)).url
    etag = server.request("GET", image).headers["ETag"]
    plain = {"Content-Type": "text/plain"}
    steps: list[tuple[str, str, dict[str, str], bytes | None, int, int]] = [
        ("GET", image, {}, None, 200, len(CONTENT)),
        ("GET", image, {"Range": "bytes=10-19"}, None, 206, 10),
        ("GET", image, {"Range": "bytes=999999999-"}, None, 416, 28),
        ("GET", image, {"Range": "bytes=0-0,5-5"}, None, 200, len(CONTENT)),
        ("GET", image, {"If-None-Match": etag}, None, 304, 0),
        ("GET", image, {"If-Match": '"x"'}, None, 412, 32),
        ("HEAD", head, {}, None, 200, 0),
        ("HEAD", head, {"Range": "bytes=0-0"}, None, 200, 0),
        ("HEAD", head, {"If-None-Match": etag}, None, 304, 0),
        ("HEAD", image, {}, None, 403, 0),
        ("GET", image[:-1], {}, None, 403, 24),
        ("GET", missing, {}, None, 404, 23),
        ("POST", image, {}, b"", 405, 33),
        ("PUT", upload, plain, b"abc", 201, 0),
        ("PUT", upload, plain, b"abcd", 413, 49),
        ("PUT", upload, {"Content-Type": "text/html"}, b"abc", 415, 54),
        ("GET", image, {}, None, 200, len(CONTENT)),
    ]
    connection = server.connect()
    for method, url, headers, body, status, size_bytes in steps:
        connection.request(method, target(url), body=body, headers=headers)
        response = connection.getresponse()
        assert (response.status, len(response.read())) == (status, size_bytes), (method, headers)
        assert response.getheader("Set-Cookie") is None
        assert response.getheader("X-Content-Type-Options") == "nosniff"
    connection.close()


def test_head_says_what_get_does(server: Server, image: str) -> None:
    get, head = server.request("GET", image), server.request("HEAD", sign(replace(READING, method="HEAD")).url)
    own = ("Date", "X-Request-ID", "Cache-Control", "x-request-id", "date")
    assert {n.lower(): v for n, v in head.headers.items() if n not in own} == {
        n.lower(): v for n, v in get.headers.items() if n not in own
    }


def test_links_end(server: Server) -> None:
    put_file("uploads/short", b"x")
    url = sign(Download("uploads/short"), ttl=timedelta(seconds=3), ago=timedelta(seconds=1)).url
    assert server.request("GET", url).status == 200
    time.sleep(2.1)
    assert server.request("GET", url).status == 403


def test_other_keys_methods_and_tampered_links_are_refused(server: Server, image: str) -> None:
    put_file("uploads/other", b"x")
    refused = [
        ("GET", image.replace("uploads/image", "uploads/other")),
        ("GET", image.replace("image%2Fpng", "text%2Fhtml")),
        ("GET", image[:-1] + ("0" if image[-1] != "0" else "1")),
        ("PUT", image),
        ("HEAD", image),
        ("GET", image.partition("?")[0]),
        ("GET", image.replace("/private/", "/nowhere/")),
    ]
    answers = [server.request(method, url) for method, url in refused]
    assert {answer.status for answer in answers} == {403}
    assert {answer.body for answer in answers if answer.body} == {b"This link is not valid.\n"}
    names = {frozenset(name.lower() for name in answer.headers) for answer in answers}
    assert len(names) == 1


def test_bytes_that_are_no_ascii_in_the_query_are_no_server_error(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        line = b"GET /local/private/a?expires=\xff HTTP/1.1\r\n"
        raw.sendall(line + b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")
        status_line = raw.recv(1000).partition(b"\r\n")[0]
    assert status_line.split()[1] in (b"400", b"403")


# --- much to read ------------------------------------------------------------------------------------------

SPARSE_BYTES = 5 * 2**30


@pytest.fixture
def sparse(place: Place) -> Iterator[str]:
    """A file of 5 GB that takes up no room, with a mark near its end."""
    path = put_file("uploads/sparse", b"")
    with path.open("r+b") as file:
        file.truncate(SPARSE_BYTES)
        file.seek(SPARSE_BYTES - 1000)
        file.write(b"near the end")
    yield sign(Download("uploads/sparse")).url
    path.unlink()


def test_a_part_near_the_end_of_5_gb(server: Server, sparse: str) -> None:
    server.request("GET", sparse, headers={"Range": "bytes=0-0"})
    server.forget_peak_memory()
    before = server.peak_memory_bytes()
    started = time.monotonic()
    answer = server.request("GET", sparse, headers={"Range": f"bytes={SPARSE_BYTES - 1000}-"})
    assert (answer.status, answer.body) == (206, b"near the end" + bytes(988))
    assert time.monotonic() - started < 5
    assert server.peak_memory_bytes() - before < 8 * MIB


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-"}], ids=["whole", "range"])
def test_memory_stays_flat_and_a_client_that_leaves_closes_the_file(
    server: Server, sparse: str, headers: dict[str, str]
) -> None:
    server.request("GET", sparse, headers={"Range": "bytes=0-99999"})
    server.forget_peak_memory()
    before = server.peak_memory_bytes()
    connection = server.connect()
    connection.request("GET", target(sparse), headers=headers)
    response = connection.getresponse()
    assert response.getheader("Content-Length") == str(SPARSE_BYTES)
    buffer = memoryview(bytearray(MIB))
    read = 0
    while read < 300 * MIB:
        read += response.readinto(buffer)
    assert len(server.open_files()) == 1
    response.close()
    connection.close()
    assert server.peak_memory_bytes() - before < 8 * MIB
    wait_until(lambda: not server.open_files(), "the file was not closed")


def test_a_client_that_never_reads_leaves_nothing_open(server: Server, sparse: str) -> None:
    connection = server.connect()
    connection.request("GET", target(sparse))
    wait_until(lambda: bool(server.open_files()), "the file was not opened")
    connection.close()
    wait_until(lambda: not server.open_files(), "the file was not closed")


def test_a_file_that_shrinks_ends_the_connection_short(server: Server, place: Place) -> None:
    path = put_file("uploads/shrinking", b"a" * (40 * MIB))
    connection = server.connect()
    connection.request("GET", target(sign(Download("uploads/shrinking")).url))
    response = connection.getresponse()
    received = response.read(MIB)
    os.truncate(path, 20 * MIB)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):  # noqa: PT012
        while chunk := response.read(MIB):
            received += chunk
        raise http.client.IncompleteRead(received)
    # What had been read ahead is still right; beyond the new end nothing was made up.
    assert set(received) == {ord("a")}
    assert len(received) < 40 * MIB
    connection.close()
    wait_until(lambda: not server.open_files(), "the file was not closed")
    assert server.request("GET", "/log-in").status == 200


def test_slow_readers_do_not_share_what_they_read(server: Server) -> None:
    """Several downloads at once, read in turns, each get their own file."""
    count = 1 if server.name == "gunicorn-sync" else 3  # a sync worker is one request at a time
    contents = [bytes([number]) * (2 * MIB) for number in range(count)]
    responses = []
    for number, content in enumerate(contents):
        put_file(f"uploads/slow-{number}", content)
        connection = server.connect()
        connection.request("GET", target(sign(Download(f"uploads/slow-{number}")).url))
        responses.append((connection, connection.getresponse()))
    received = [b""] * count
    while any(len(part) < 2 * MIB for part in received):
        for number, (_, response) in enumerate(responses):
            received[number] += response.read(100_000)
    assert received == contents
    for connection, _ in responses:
        connection.close()


# --- writing -----------------------------------------------------------------------------------------------


def files_of(place: Place, prefix: str) -> list[Path]:
    return [path for path in (place.root / prefix).rglob("*") if path.is_file()]


def test_an_upload_of_50_mb_is_stored_without_being_held(server: Server, place: Place) -> None:
    block = os.urandom(MIB)
    digest = hashlib.sha256(block * 50).digest()
    upload = Upload(
        f"large/{server.name}",
        content_type="video/mp4",
        size_bytes=50 * MIB,
        checksum=Checksum("sha256", digest),
    )
    signed = sign(upload)
    small = sign(Upload(f"large/warm-{server.name}", content_type="video/mp4", size_bytes=4 * MIB))
    server.request("PUT", small.url, headers=dict(small.headers), body=bytes(4 * MIB))
    server.forget_peak_memory()
    before = server.peak_memory_bytes()
    headers = dict(signed.headers) | {"Content-Length": str(50 * MIB)}
    answer = server.request("PUT", signed.url, headers=headers, body=(block for _ in range(50)))
    assert answer.status == 201
    assert hashlib.sha256((place.root / upload.key).read_bytes()).digest() == digest
    assert server.peak_memory_bytes() - before < 8 * MIB
    assert server.request("PUT", signed.url, headers=headers, body=(block for _ in range(50))).status == 412
    (place.root / upload.key).unlink()


def test_a_body_without_a_length_is_refused(server: Server) -> None:
    signed = sign(Upload(f"chunked/{server.name}", content_type="text/plain", size_bytes=3))
    connection = server.connect()
    headers = dict(signed.headers)
    connection.request("PUT", target(signed.url), body=iter([b"abc"]), headers=headers, encode_chunked=True)
    assert connection.getresponse().status == 411
    connection.close()


def _half_sent(server: Server, key: str) -> socket.socket:
    signed = sign(Upload(key, content_type="text/plain", size_bytes=10 * MIB))
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = (
        f"PUT {target(signed.url)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {10 * MIB}\r\n\r\n"
    )
    raw.sendall(head.encode() + bytes(5 * MIB))
    return raw


def test_a_client_that_leaves_in_the_middle_leaves_no_file(server: Server, place: Place) -> None:
    directory = f"left-{server.name}"
    with _half_sent(server, f"{directory}/file"):
        if server.name != "uvicorn":
            # Under ASGI Django keeps the body to itself until it is complete.
            wait_until(lambda: bool(files_of(place, directory)), "the upload did not begin")
    wait_until(lambda: not files_of(place, directory), "half a file was left")
    assert server.request("GET", sign(Download(f"{directory}/file")).url).status == 404
    signed = sign(Upload(f"{directory}/file", content_type="text/plain", size_bytes=3))
    assert server.request("PUT", signed.url, headers=dict(signed.headers), body=b"abc").status == 201


def test_a_killed_worker_leaves_nothing_that_is_served(place: Place) -> None:
    """gunicorn starts another worker, for which the killed one's half file does not exist."""
    with Server("gunicorn-sync", place) as server:
        with _half_sent(server, "killed/file"):
            wait_until(lambda: bool(files_of(place, "killed")), "the upload did not begin")
            os.kill(server.worker_pid, signal.SIGKILL)
        (half,) = files_of(place, "killed")
        wait_until(lambda: _answers(server), "no other worker was started")
        for key in ("killed/file", f"killed/{half.name}"):
            assert server.request("GET", sign(Download(key)).url).status == 404
        signed = sign(Upload("killed/file", content_type="text/plain", size_bytes=3))
        assert server.request("PUT", signed.url, headers=dict(signed.headers), body=b"abc").status == 201
        assert server.request("GET", sign(Download("killed/file")).url).body == b"abc"


def _answers(server: Server) -> bool:
    try:
        return server.request("GET", "/log-in").status == 200
    except (OSError, http.client.HTTPException):
        return False


# --- permalinks --------------------------------------------------------------------------------------------


def test_a_permalink_leads_to_its_own_data_plane(server: Server, place: Place) -> None:
    put_file(place.facts["key"], PDF)
    path, (owner, other) = f"/f/{place.facts['file']}", place.facts["tokens"]
    answer = server.request("GET", path, headers={"Authorization": f"Bearer {owner}"})
    assert answer.status == 302
    assert answer.headers["Location"].startswith(f"{server.url}/local/private/")
    assert server.request("GET", answer.headers["Location"]).body == PDF
    head = server.request("HEAD", path, headers={"Authorization": f"Bearer {owner}"})
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "9", b"")
    assert server.request("GET", path, headers={"Authorization": f"Bearer {other}"}).status == 404
    assert server.request("GET", path).status == 401
    anonymous = server.request("GET", path, headers={"Accept": "text/html"})
    assert (anonymous.status, anonymous.headers["Location"]) == (302, f"/log-in?next={path}")
