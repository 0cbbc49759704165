"""A cache that all visitors share stands in front, told to keep whatever does not say no: it keeps nothing of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers.types import Download
from tests.emulators.fixtures import serve
from tests.emulators.web import Nginx
from tests.gateway.delivery.front import FILES, Got, Site, ask, content_of
from tests.gateway.delivery.support import sign, target

IMAGE = content_of(FILES["image"])


class Cache:
    """nginx's proxy_cache, by address alone, as it stands in front of whole sites."""

    def __init__(self, nginx: Nginx) -> None:
        self.nginx = nginx

    def ask(self, server: Any, path: str, headers: dict[str, str]) -> Got:
        return ask(self.nginx, path, headers | {"X-Upstream-Port": str(server.port)})

    def kept(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.nginx.directory / "cache").rglob("*") if path.is_file()]


def block(listen: str, access_log: Path) -> str:
    return f"""
    proxy_cache_path {access_log.parent}/cache keys_zone=shared:1m;
    server {{
        listen {listen};
        access_log off;
        location / {{
            proxy_pass http://127.0.0.1:$http_x_upstream_port;
            proxy_set_header Host $http_host;
            proxy_cache shared;
            proxy_cache_valid any 10m;
            add_header X-Cache $upstream_cache_status always;
        }}
    }}
    """


@pytest.fixture
def cache(request: pytest.FixtureRequest, nginx: Nginx) -> Iterator[Cache]:
    for server in serve(lambda: Nginx(block)):
        yield Cache(server)


# The server behind the cache, what is asked for, and what the owner gets.
PLACES = {
    "stream": ("gunicorn", "streamed", 200),
    "stream-asgi": ("uvicorn", "streamed", 200),
    "stream-bucket": ("gunicorn", "bucket", 200),
    "redirect": ("gunicorn", "private", 302),
    "x-accel": ("nginx", "accel", 200),
    "x-accel-bucket": ("nginx", "bucket-accel", 200),
    "x-sendfile": ("apache", "sendfile", 200),
    "lighttpd": ("lighttpd", "lighttpd", 200),
    "secure-link": ("nginx", "signed", 302),
    "auth-request": ("nginx", "/guarded/", 200),
    "auth-request-bucket": ("nginx", "/store/", 200),
    "forward-auth": ("caddy", "/guarded/", 200),
}


@pytest.mark.parametrize(("server", "place", "status"), PLACES.values(), ids=PLACES)
def test_nothing_that_was_decided_is_kept_for_the_next_one(
    request: pytest.FixtureRequest, site: Site, cache: Cache, server: str, place: str, status: int
) -> None:
    behind = getattr(site, server) if server in ("gunicorn", "uvicorn") else request.getfixturevalue(server)
    key, who = FILES["image"], site.token
    if place.startswith("/"):
        path, body, denied = f"{place}alice/{key}", content_of(f"alice/{key}"), 403
        missing = f"{place}alice/{FILES['missing']}"
    else:
        path = f"/f/{site.facts['file']}" if place == "private" else site.permalink(place, "image")
        body, denied = IMAGE if status == 200 else b"", 404
        missing = path if place == "private" else site.permalink(place, "missing")
    for headers, expected in ((who(0), status), (who(1), denied), ({}, 401), (who(0), status)):
        answer = cache.ask(behind, path, headers)
        assert (answer.status, answer.headers["x-cache"]) == (expected, "MISS")
        assert answer.headers["cache-control"].startswith(("private", "no-store"))
        assert "set-cookie" not in answer.headers
        if expected == status:
            assert answer.body == body
        if expected == 302:
            link = urlsplit(answer.headers["location"])
            followed = cache.ask(behind, f"{link.path}?{link.query}", {})
            assert followed.headers["x-cache"] == "MISS"
    assert [cache.ask(behind, missing, who(0)).headers["x-cache"] for _ in range(2)] == ["MISS", "MISS"]
    assert cache.kept() == []


def test_a_link_brings_nothing_once_it_has_ended(site: Site, cache: Cache) -> None:
    path = site.place.root / "uploads/short"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"private bytes")
    signed = sign(Download("uploads/short"), ttl=timedelta(seconds=3), ago=timedelta(seconds=1))
    answer = cache.ask(site.gunicorn, target(signed.url), {})
    assert (answer.status, answer.body, answer.headers["x-cache"]) == (200, b"private bytes", "MISS")
    assert int(answer.headers["cache-control"].rpartition("max-age=")[2]) <= 2
    time.sleep(2.1)
    ended = cache.ask(site.gunicorn, target(signed.url), {})
    assert (ended.status, ended.headers["x-cache"]) == (403, "MISS")
    assert cache.kept() == []


def test_this_cache_keeps_what_does_not_say_no(site: Site, cache: Cache) -> None:
    found = [cache.ask(site.gunicorn, "/log-in", {}).headers["x-cache"] for _ in range(2)]
    assert found == ["MISS", "HIT"]
    assert len(cache.kept()) == 1
