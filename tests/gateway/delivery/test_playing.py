"""A real browser plays a recording past the end of its link: what docs/which-link.md says of players holds."""

from __future__ import annotations

import json
import re
import threading
import wave
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.html import format_html

from gateway import links
from gateway.fields import permalink_of
from gateway.principals import Principal
from gateway.resources import Resource
from tests.gateway.browser import look
from tests.gateway.conftest import new_file
from tests.gateway.link_stores import LocalStore
from tests.gateway.site import session_of

TTL_SECONDS = 8
FRAMES_A_SECOND = 8000
LENGTH_SECONDS = 4000  # 64 MB, of which a browser has a few before it is told to seek

# What docs/which-link.md tells pages to do where a player failed.
AGAIN = "const at = this.currentTime; this.load(); this.currentTime = at; this.play()"

# Each player is asked to seek while its link lives, and once more, farther, when it has ended. The image keeps the
# document from being loaded, and so from being read, until they are finished.
PAGE = """<!doctype html><title>not finished</title>PLAYERS
<script>
const ended = performance.now() + MILLISECONDS;
const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const first = (player, ...names) =>
  new Promise(done => names.forEach(name => player.addEventListener(name, () => done(name), {once: true})));
async function seek(player, seconds) {
  const came = first(player, "seeked", "error");
  player.currentTime = seconds;
  return Promise.race([came, pause(10000).then(() => "nothing")]);
}
async function watch(player) {
  if (!player.readyState && !player.error) await first(player, "loadedmetadata", "error");
  const alive = await seek(player, 1500);
  await pause(ended - performance.now());
  const dead = await seek(player, 3000);
  player.play().catch(() => null);
  await pause(4000);
  return [player.id, [alive, dead, player.currentTime > 3000.5 && !player.error]];
}
Promise.all([...document.querySelectorAll("audio")].map(watch)).then(async results => {
  document.title = JSON.stringify(Object.fromEntries(results));
  await fetch("/finished");
});
</script>
<img src="/hold">"""


class Pages:
    """A page with a player for each way to a recording, and whoever looks at it."""

    def __init__(self) -> None:
        self.owner: Any = None
        self.redirected: Any = None
        self.streamed: Any = None
        self.finished = threading.Event()

    def page(self, request: HttpRequest) -> HttpResponse:
        link = links.issue(Principal(kind="user", user=self.owner), Resource.of_file(self.redirected)).url
        permalink, streamed = (permalink_of(Resource.of_file(file)) for file in (self.redirected, self.streamed))
        players = [
            ("url", link, ""),
            ("permalink", permalink, ""),
            ("again", permalink, AGAIN),
            ("stream", streamed, ""),
        ]
        shown = "".join(
            format_html('<audio id="{}" preload="metadata" muted src="{}" onerror="{}"></audio>', *player)
            for player in players
        )
        milliseconds = str((TTL_SECONDS + 1.5) * 1000)
        return HttpResponse(PAGE.replace("PLAYERS", shown).replace("MILLISECONDS", milliseconds))

    def log_in(self, request: HttpRequest) -> HttpResponse:
        response = HttpResponse(status=302, headers={"Location": "/page"})
        name, value = session_of(self.owner).split("=")
        response.set_cookie(name, value)
        return response

    def finish(self, request: HttpRequest) -> HttpResponse:
        self.finished.set()
        return HttpResponse(status=204)

    def hold(self, request: HttpRequest) -> HttpResponse:
        self.finished.wait(60)
        return HttpResponse(status=404)


pages = Pages()
urlpatterns = [
    path("log-in", pages.log_in),
    path("page", pages.page),
    path("finished", pages.finish),
    path("hold", pages.hold),
    path("", include("gateway.urls")),
]


def record(file: Path) -> None:
    """Write a long silence that takes no place on the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(FRAMES_A_SECOND)
        sound.setnframes(FRAMES_A_SECOND * LENGTH_SECONDS)
        sound.writeframesraw(b"")
    with file.open("r+b") as rest:
        rest.truncate(44 + 2 * FRAMES_A_SECOND * LENGTH_SECONDS)


@pytest.fixture
def store(file_database: Any, settings: Any, tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path / "recordings")
    try:
        settings.ROOT_URLCONF = __name__
        settings.STORAGES = settings.STORAGES | {
            delivery: {
                "BACKEND": store.backend,
                "OPTIONS": {"location": tmp_path / delivery, "default_ttl": TTL_SECONDS, "delivery": delivery},
            }
            for delivery in ("redirect", "stream")
        }
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": store.public_url}
        yield store
    finally:
        store.close()


def test_the_page_says_what_the_browser_is_given() -> None:
    page = Path(__file__).parents[3] / "docs" / "which-link.md"
    assert f'onerror="{AGAIN}"' in page.read_text()


def test_who_can_seek_when_the_link_has_ended(chromium: str, store: LocalStore, home: Path) -> None:
    pages.finished.clear()
    pages.owner = User.objects.create_user("ada")
    pages.redirected, pages.streamed = (
        new_file(pages.owner, storage_alias=alias, content_type="audio/wav") for alias in ("redirect", "stream")
    )
    for file in (pages.redirected, pages.streamed):
        record(Path(storages[file.storage_alias].path(file.key)))

    seen = look(chromium, f"{store.public_url}/log-in", home)

    title = re.search("<title>(.*?)</title>", seen)
    assert title is not None
    assert json.loads(unescape(title[1])) == {
        "url": ["seeked", "error", False],
        # It goes on asking at the address that it was led to.
        "permalink": ["seeked", "error", False],
        "again": ["seeked", "error", True],
        "stream": ["seeked", "seeked", True],
    }
