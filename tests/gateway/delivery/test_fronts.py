"""Bytes by way of the servers that people run, each with exactly the block that ``gateway_conf`` prints."""

from __future__ import annotations

import pytest

from tests.emulators.web import WebServer
from tests.gateway.delivery.front import FILES, LARGE_BYTES, NAMES, Got, Site, ask, content_of
from tests.gateway.delivery.servers import Server
from tests.gateway.delivery.test_servers import wait_until

# How the bytes come: the server that the client talks to, and the storage.
WAYS = {
    "stream": ("gunicorn", "streamed"),
    "stream-bucket": ("gunicorn", "bucket"),
    "stream-asgi": ("uvicorn", "streamed"),
    "stream-bucket-asgi": ("uvicorn", "bucket"),
    "nginx-x-accel": ("nginx", "accel"),
    "nginx-x-accel-bucket": ("nginx", "bucket-accel"),
    "nginx-x-accel-named-bucket": ("nginx", "bucket-named"),
    "apache-x-sendfile": ("apache", "sendfile"),
    "lighttpd": ("lighttpd", "lighttpd"),
}


class Way:
    """One way to the files of one storage."""

    def __init__(self, server: WebServer | Server, site: Site, alias: str) -> None:
        self.server, self.site, self.alias = server, site, alias

    def ask(self, name: str, headers: dict[str, str] | None = None, *, who: int = 0, method: str = "GET") -> Got:
        target = self.site.permalink(self.alias, name)
        return ask(self.server, target, self.site.token(who) | (headers or {}), method=method)


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request: pytest.FixtureRequest, site: Site) -> Way:
    server, alias = request.param
    own = {"gunicorn": site.gunicorn, "uvicorn": site.uvicorn}
    return Way(own[server] if server in own else request.getfixturevalue(server), site, alias)


def test_every_name_that_is_a_key_is_its_own_file(way: Way) -> None:
    wrong = {
        name: answer.status
        for name, key in NAMES.items()
        if name != "missing" and ((answer := way.ask(name)).status, answer.body) != (200, content_of(key))
    }
    assert wrong == {}


def test_the_headers_are_what_was_decided(way: Way) -> None:
    answer = way.ask("document")
    assert answer.repeated == ()
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert "filename*=UTF-8''%C3%9Cberblick.pdf" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-site"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; object-src")
    assert "private" in answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    assert not [name for name in answer.headers if name.startswith(("x-accel", "x-sendfile", "x-gateway", "x-amz"))]


def test_what_a_browser_might_run_is_a_download_of_no_type(way: Way) -> None:
    answer = way.ask("page")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


IMAGE = content_of(FILES["image"])
RANGES = {
    "first": ("bytes=0-0", 206, IMAGE[:1]),
    "from": ("bytes=5-", 206, IMAGE[5:]),
    "last": ("bytes=-5", 206, IMAGE[-5:]),
    "clamped": ("bytes=2-99999", 206, IMAGE[2:]),
    "other-unit": ("items=0-5", 200, IMAGE),
}


@pytest.mark.parametrize(("header", "status", "body"), RANGES.values(), ids=RANGES)
def test_a_single_range_is_that_part(way: Way, header: str, status: int, body: bytes) -> None:
    answer = way.ask("image", {"Range": header})
    assert (answer.status, answer.body) == (status, body)
    if status == 206:
        start = IMAGE.index(body)
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(body) - 1}/{len(IMAGE)}"


@pytest.mark.parametrize("header", ["bytes=0-0,40-43", "bytes=5-2"], ids=["several", "backwards"])
def test_what_is_no_single_range_makes_no_answer_larger(way: Way, header: str) -> None:
    """Ignored by the gateway and by nginx; Apache and lighttpd have answers of their own, none of them larger."""
    answer = way.ask("image", {"Range": header})
    assert (answer.status, answer.body) == (200, IMAGE) or answer.status in (206, 416)
    if way.server.name not in ("apache", "lighttpd") and header == "bytes=0-0,40-43":
        assert answer.status == 200
    many = way.ask("image", {"Range": "bytes=" + ",".join(["0-"] * 500)})
    assert len(many.body) < 2 * len(IMAGE) or many.status == 400


def test_a_range_that_the_file_has_not_is_416(way: Way) -> None:
    answer = way.ask("image", {"Range": "bytes=99999-"})
    assert answer.status == 416
    assert IMAGE not in answer.body


def test_what_the_client_has_is_not_sent_again(way: Way) -> None:
    tag = way.ask("image").headers["etag"]
    again = way.ask("image", {"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")
    assert way.ask("image", {"If-None-Match": '"another"'}).status == 200
    if way.server.name != "lighttpd":  # which knows no If-Match
        assert way.ask("image", {"If-Match": '"another"'}).status == 412
    part = way.ask("image", {"Range": "bytes=1-3", "If-Range": tag})
    # nginx cannot know whether a store knows If-Range, and asks for the whole.
    expected = (200, IMAGE) if way.alias in ("bucket-accel", "bucket-named") else (206, IMAGE[1:4])
    assert (part.status, part.body) == expected
    whole = way.ask("image", {"Range": "bytes=1-3", "If-Range": '"another"'})
    assert (whole.status, whole.body) == (200, IMAGE)


def test_head_is_the_headers_alone(way: Way) -> None:
    answer = way.ask("image", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(IMAGE))
    assert answer.headers["content-type"] == "image/png"


def test_everybody_else_gets_what_there_is_for_nothing(way: Way) -> None:
    """Denied and missing are one answer; without an identity nothing is looked up at all."""
    denied, nothing = (
        way.ask("image", who=1),
        ask(way.server, f"/f/{'0' * 8}-0000-4000-8000-{'0' * 12}", way.site.token(1)),
    )
    assert (denied.status, denied.body) == (nothing.status, nothing.body)
    assert denied.status == 404
    anonymous = ask(way.server, way.site.permalink(way.alias, "image"))
    assert anonymous.status == 401
    assert IMAGE not in denied.body + anonymous.body
    assert way.ask("image", method="POST").status in (403, 405, 411)
    assert way.ask("missing").status == 404


def test_a_client_s_word_for_a_file_is_no_word(way: Way) -> None:
    path = str(way.site.files_directory / way.alias / FILES["image"])
    headers = {
        "X-Accel-Redirect": f"/.gateway/files/accel/{FILES['image']}",
        "X-Sendfile": path,
        "X-Gateway-Request": "/",
    }
    assert way.ask("image", headers, who=1).status == 404
    assert way.ask("image", headers | {"X-Sendfile-Type": "X-Accel-Redirect", "X-Accel-Mapping": "/=/"}).body == IMAGE


STREAMS = [name for name, (server, _) in WAYS.items() if server in ("gunicorn", "uvicorn")]


@pytest.mark.parametrize("way", [WAYS[name] for name in STREAMS], ids=STREAMS, indirect=True)
def test_memory_stays_flat_and_a_client_that_leaves_ends_the_stream(way: Way) -> None:
    server = way.server
    assert isinstance(server, Server)
    way.ask("image")
    server.forget_peak_memory()
    before = server.peak_memory_bytes()
    connection = server.connect()
    connection.request("GET", way.site.permalink(way.alias, "large"), headers=way.site.token())
    response = connection.getresponse()
    assert response.getheader("Content-Length") == str(LARGE_BYTES)
    buffer = memoryview(bytearray(2**20))
    read = 0
    while read < LARGE_BYTES // 2:
        read += response.readinto(buffer)
    assert server.open_sources(way.site.store_port) == 1
    response.close()
    connection.close()
    assert server.peak_memory_bytes() - before < 8 * 2**20
    wait_until(lambda: server.open_sources(way.site.store_port) == 0, "the source was not closed")
