"""One project goes through all ways of delivery by one line of its settings: models, rows and addresses stay."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.emulators.fixtures import serve
from tests.emulators.process import LOOPBACK
from tests.emulators.web import Apache, Lighttpd, Nginx, WebServer
from tests.gateway.delivery.front import ask, content_of
from tests.gateway.delivery.servers import Place, Populated, Server, environment

KEY = "images/a.png"
# The way of delivery, and the server that browsers talk to.
MODES: dict[str, type[WebServer]] = {
    "stream": Nginx, "redirect": Nginx, "x_accel": Nginx, "secure_link": Nginx,
    "x_sendfile": Apache, "x_lighttpd": Lighttpd,
}  # fmt: skip


def settings_of(mode: str, root: str) -> dict[str, Any]:
    options = {"location": root, "delivery": mode}
    return {"switched": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": options}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    files = {"switched": {"image": KEY}}
    with Populated(storages=settings_of("stream", "/nowhere"), files=files) as populated:
        populated.directory.chmod(0o755)  # Apache is another user
        path = populated.directory / "files" / KEY
        path.parent.mkdir(parents=True)
        path.write_bytes(content_of(KEY))
        yield Place(populated.directory, populated.facts)


@pytest.mark.parametrize("mode", MODES)
def test_one_line_changes_who_sends_the_bytes(request: pytest.FixtureRequest, project: Place, mode: str) -> None:
    kind, root = MODES[mode], str(project.directory / "files")
    before, storages = settings_of("", root), settings_of(mode, root)
    changed = difflib.ndiff(*(json.dumps(each, indent=1).splitlines() for each in (before, storages)))
    assert [line for line in changed if line.startswith("+ ")] == [f'+    "delivery": "{mode}"']
    more = {"storages": storages, "gateway": {"TRUSTED_PROXIES": 1}}
    with Server("gunicorn-gthread", project, **more) as gateway:

        def block(listen: str, access_log: Path) -> str:
            argv = [
                sys.executable, "-m", "django", "gateway_conf", kind.name, "--listen", listen, "--with-secret",
                "--upstream", f"{LOOPBACK}:{gateway.port}", "--access-log", str(access_log),
            ]  # fmt: skip
            return gateway.run(argv, extra_environment=environment(project.directory, gateway.url, **more))

        for server in serve(lambda: kind(block)):
            address = f"/f/{project.facts['files']['switched']['image']}"
            own, other = ({"Authorization": f"Bearer {token}"} for token in project.facts["tokens"])
            answer = ask(server, address, own)
            if mode in ("redirect", "secure_link"):
                assert (answer.status, answer.body) == (302, b"")
                link = urlsplit(answer.headers["location"])
                answer = ask(server, f"{link.path}?{link.query}")
            assert (answer.status, answer.body) == (200, content_of(KEY))
            assert ask(server, address, other).status == 404
            assert ask(server, address).status == 401
