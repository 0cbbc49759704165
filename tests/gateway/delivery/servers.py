"""The servers that the service is run with, and a raw look at what they say."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings

from tests.emulators.process import LOOPBACK, Emulator, free_port, port_is_open
from tests.gateway.delivery.support import Answer, target

Command = Callable[[int], list[str]]


def _gunicorn(*options: str) -> Command:
    return lambda port: [
        sys.executable, "-m", "gunicorn", "settings.wsgi:application", "--bind", f"{LOOPBACK}:{port}",
        "--workers", "1", "--no-control-socket", *options,
    ]  # fmt: skip


def _uvicorn(port: int) -> list[str]:
    # Its access log, like others, holds the query; the service is run without.
    return [
        sys.executable, "-m", "uvicorn", "settings.asgi:application", "--host", LOOPBACK, "--port", str(port),
        "--no-access-log", "--lifespan", "off",
    ]  # fmt: skip


COMMANDS: dict[str, Command] = {
    "gunicorn-sync": _gunicorn("--worker-class", "sync"),
    "gunicorn-gthread": _gunicorn("--worker-class", "gthread", "--threads", "4", "--keep-alive", "20"),
    "uvicorn": _uvicorn,
}


@dataclass(frozen=True)
class Place:
    """What the servers share: one directory with a database and files, and what is in them."""

    directory: Path
    facts: Mapping[str, Any]

    @property
    def root(self) -> Path:
        return self.directory / "private"


def environment(directory: Path, url: str = "", **more: Any) -> dict[str, str]:
    """Return what a process of ours needs to know; ``more`` are settings in JSON, by their names."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.gateway.delivery.server_settings",
        "DELIVERY_TEST_DIRECTORY": str(directory),
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"DELIVERY_TEST_URL": url} if url else {}),
        **{f"DELIVERY_TEST_{name.upper()}": json.dumps(value) for name, value in more.items()},
    }


class Populated(Emulator):
    """Runs the one process that makes the database."""

    name: ClassVar[str] = "delivery"

    def __init__(self, **more: Any) -> None:
        self.more = more

    def _check_installed(self) -> None:
        return

    def _start(self) -> None:
        argv = [sys.executable, "-m", "tests.gateway.delivery.populate"]
        self.facts = json.loads(self.run(argv, extra_environment=environment(self.directory, **self.more)))


class Server(Emulator):
    """One of the servers, serving a place until the end of the block."""

    def __init__(self, name: str, place: Place, **more: Any) -> None:
        self.name = name  # type: ignore[misc]
        self.place = place
        self.more = more

    def _check_installed(self) -> None:
        return

    def _start(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.child = self.spawn(
            self.name,
            COMMANDS[self.name](self.port),
            extra_environment=environment(self.place.directory, self.url, **self.more),
        )
        self.wait_until(lambda: port_is_open(self.port), what="the server")
        assert self.request("GET", "/log-in").status == 200

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(LOOPBACK, self.port, timeout=20)

    def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Any = None) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, target(url), body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    @property
    def worker_pid(self) -> int:
        """The process that serves: gunicorn's child, or the server itself."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return int(children[0]) if children else self.child.pid

    def open_files(self) -> list[str]:
        """Return the files of the place that the worker holds open."""
        found = []
        for descriptor in Path(f"/proc/{self.worker_pid}/fd").iterdir():
            try:
                name = str(descriptor.readlink())
            except FileNotFoundError:
                continue
            if name.startswith(str(self.place.root)):
                found.append(name)
        return found

    def open_sources(self, port: int) -> int:
        """Count what the worker reads bodies from: files below any ``files`` directory, connections to a port."""
        links = []
        for descriptor in Path(f"/proc/{self.worker_pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                links.append(str(descriptor.readlink()))
        # https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html: addresses in hexadecimal, 01 is
        # ESTABLISHED, the tenth column is the inode.
        rows = [line.split() for line in Path(f"/proc/{self.worker_pid}/net/tcp").read_text().splitlines()[1:]]
        connected = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}
        return sum("/files/" in link or link in connected for link in links)

    def forget_peak_memory(self) -> None:
        # https://www.kernel.org/doc/html/latest/filesystems/proc.html: 5 resets the peak resident set size
        Path(f"/proc/{self.worker_pid}/clear_refs").write_text("5")

    def peak_memory_bytes(self) -> int:
        status = Path(f"/proc/{self.worker_pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def log(self) -> str:
        return self.child.log_path.read_text()
