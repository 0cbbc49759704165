"""How much it costs to have a file sent: every mode beside plain nginx, hand-written views and the peers.

The same file each time, on the same machine in one run: gunicorn under production settings with PostgreSQL, nginx and
Apache with the blocks that ``gateway_conf`` prints, and Apache's ``ab`` as the load. Run as a module it makes the rows.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.measuring import Listing, Row, Table
from tests.emulators.postgres import Postgres
from tests.emulators.process import LOOPBACK, Emulator, free_port, port_is_open, require_programs
from tests.emulators.web import Apache, Nginx

LOADS = 3
SIZES = {"small": 10 * 2**10, "large": 100 * 2**20}
MODES = {
    "accel": "x_accel",
    "streamed": "stream",
    "sendfile": "x_sendfile",
    "signed": "secure_link",
    "sent": "redirect",
}
WORKERS, THREADS = 2, 4
SMALL_ROUNDS, SMALL_REQUESTS, SMALL_AT_ONCE = 41, 120, 4
LARGE_ROUNDS, LARGE_REQUESTS, LARGE_AT_ONCE = 11, 4, 2
SECRET = "benchmark-forward-auth-secret-0123456789"


@dataclass
class Way:
    """One way to have the file sent.

    Attributes:
        urls: by size.
        process: the gunicorn whose memory it takes; None where it asks none.
        status: what every answer has.
        sizes: those that it is measured with.
        small_seconds, large_seconds: for one request at that load, of each round.
        peak_bytes: the largest memory of a worker while it sent large files.
    """

    name: str
    urls: Mapping[str, str]
    process: Gunicorn | None
    status: int = 200
    sizes: tuple[str, ...] = ("small", "large")
    small_seconds: list[float] = field(default_factory=list)
    large_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def small(self) -> float:
        return statistics.median(self.small_seconds)

    @property
    def large(self) -> float:
        return statistics.median(self.large_seconds)


class Gunicorn(Emulator):
    """The service or the views without it, as :mod:`settings.gunicorn` has it, with fewer threads."""

    name = "gunicorn"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def _check_installed(self) -> None:
        return

    def _start(self) -> None:
        self.port = free_port()
        sizes = {"GUNICORN_WORKERS": str(WORKERS), "GUNICORN_THREADS": str(THREADS)}
        argv = [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            "python:settings.gunicorn",
            "--access-logfile",
            "/dev/null",
        ]
        bind = {"GUNICORN_BIND": f"{LOOPBACK}:{self.port}"}
        self.child = self.spawn("gunicorn", argv, extra_environment={**self._environment, **sizes, **bind})
        self.wait_until(lambda: port_is_open(self.port), what="gunicorn", timeout_seconds=60)

    def workers(self) -> list[Path]:
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return [Path("/proc", pid) for pid in children]

    def forget_peak(self) -> None:
        """Let the kernel count the largest memory from now on: https://man7.org/linux/man-pages/man5/proc.5.html"""
        for worker in self.workers():
            (worker / "clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        found = [re.search(r"VmHWM:\s+(\d+) kB", (worker / "status").read_text()) for worker in self.workers()]
        return max(int(match[1]) * 1024 for match in found if match)


@functools.cache
def measured() -> dict[str, Way]:
    """Measure all ways in turn, round after round, each in another order; once for all tables."""
    require_programs("load", ["ab"])
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="presign-gateway-bench-")))
        # Apache reads the files as another user.
        directory.chmod(0o755)
        ways = _ways(stack, postgres, directory)
        cookie = ways.pop("cookie")
        for way in ways.values():
            _check(way, cookie)
        order = random.Random(0)
        for rounds, size, requests, at_once in (
            (SMALL_ROUNDS, "small", SMALL_REQUESTS, SMALL_AT_ONCE),
            (LARGE_ROUNDS, "large", LARGE_REQUESTS, LARGE_AT_ONCE),
        ):
            taking_part = [way for way in ways.values() if size in way.sizes]
            for number in range(-1, rounds):
                for way in order.sample(taking_part, k=len(taking_part)):
                    if way.process is not None and size == "large":
                        way.process.forget_peak()
                    seconds = _load(way, way.urls[size], cookie, requests, at_once)
                    if number >= 0:
                        (way.small_seconds if size == "small" else way.large_seconds).append(seconds)
                    if way.process is not None and size == "large":
                        way.peak_bytes = max(way.peak_bytes, way.process.peak_bytes())
    return ways


def _ways(stack: ExitStack, postgres: Any, directory: Path) -> dict[str, Any]:
    files = {alias: directory / alias for alias in (*MODES, "guarded")}
    environment = _environment(postgres.url, directory, files)
    made = json.loads(_python(environment, "-m", "tests.benchmarks.delivery"))
    for size, count in SIZES.items():
        first = files["accel"] / made["keys"][size]
        for root in files.values():
            path = root / made["keys"][size]
            path.parent.mkdir(parents=True, exist_ok=True)
            if path == first:
                path.write_bytes(os.urandom(2**20) * (count // 2**20) or os.urandom(count))
            else:
                path.hardlink_to(first)  # the same file, and its pages in memory once
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    ours = stack.enter_context(Gunicorn(environment))
    theirs = stack.enter_context(Gunicorn(environment | {"DELIVERY_PLAIN": "1"}))
    also = f"{LOOPBACK}:{free_port()}"
    nginx = stack.enter_context(Nginx(_nginx_block(environment, ours, theirs, also, files["accel"])))
    apache_also = f"{LOOPBACK}:{free_port()}"
    apache = stack.enter_context(Apache(_apache_block(environment, ours, theirs, apache_also, files["accel"])))

    def permalinks(alias: str, origin: str = nginx.url) -> dict[str, str]:
        return {size: f"{origin}/f/{made['files'][alias][size]}" for size in SIZES}

    def plain(view: str, origin: str = f"http://{also}") -> dict[str, str]:
        return {size: f"{origin}/plain/{view}/{made['files']['accel'][size]}" for size in SIZES}

    def below(prefix: str, origin: str) -> dict[str, str]:
        return {size: f"{origin}/{prefix}/{key}" for size, key in made["keys"].items()}

    small = ("small",)
    return {"cookie": made["cookie"]} | {
        "nginx": Way("nginx, to anybody", below("files", f"http://{also}"), None),
        "answered": Way("a view that checks and answers 204", plain("answered"), theirs, 204, small),
        "x_accel": Way("**`x_accel`**", permalinks("accel"), ours),
        "plain_x_accel": Way("a view with `X-Accel-Redirect`", plain("x_accel"), theirs),
        "sendfile2": Way("django-sendfile2, nginx", plain("sendfile2"), theirs),
        "private_storage": Way("django-private-storage, nginx", plain("private_storage"), theirs),
        "downloadview": Way("django-downloadview, nginx", plain("downloadview"), theirs),
        "forward_auth": Way("**`FORWARD_AUTH`**, nginx", below("guarded", nginx.url), ours),
        "asked": Way("a view that `auth_request` asks", below("asked", f"http://{also}"), theirs),
        "x_sendfile": Way("**`x_sendfile`**, Apache", permalinks("sendfile", apache.url), ours),
        "plain_x_sendfile": Way(
            "a view with `X-Sendfile`, Apache", plain("x_sendfile", f"http://{apache_also}"), theirs
        ),
        "stream": Way("**`stream`**", permalinks("streamed"), ours),
        "file_response": Way("a view with `FileResponse`", plain("file_response"), theirs),
        "recorded": Way(
            "a view with `FileResponse` that writes one row", plain("recorded_file_response"), theirs, sizes=small
        ),
        "redirect": Way("**`redirect`**, the answer alone", permalinks("sent"), ours, 302, small),
        "secure_link": Way("**`secure_link`**, the answer alone", permalinks("signed"), ours, 302, small),
    }


def _environment(database_url: str, directory: Path, files: Mapping[str, Path]) -> dict[str, str]:
    storages = directory / "storages.json"
    modes = MODES | {"guarded": "stream"}
    storages.write_text(
        json.dumps(
            {
                alias: {
                    "BACKEND": "gateway.storages.PrivateFileSystemStorage",
                    "OPTIONS": {"location": str(root), "delivery": modes[alias]},
                }
                for alias, root in files.items()
            }
        )
    )
    gateway = {
        "FORWARD_AUTH": {"proxy": "nginx", "secret": SECRET, "paths": {"/guarded/": "guarded"}},
        "PATH_POLICIES": {"guarded": "tests.benchmarks.plain_delivery.OwnKey"},
        "TRUSTED_PROXIES": 1,
    }
    return {
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.delivery_settings",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "SECRET_KEY": "benchmark-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz",
        "ALLOWED_HOSTS": LOOPBACK,
        "DATABASE_URL": database_url,
        "GATEWAY_PUBLIC_URL": "https://files.example.com",
        "GATEWAY_STORAGES_FILE": str(storages),
        "GATEWAY_FILE_STORAGE": "accel",
        "DELIVERY_GATEWAY": json.dumps(gateway),
        "DELIVERY_ROOT": str(files["accel"]),
    }


def _python(environment: Mapping[str, str], *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, *argv], env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _printed(environment: Mapping[str, str], server: str, listen: str, ours: Gunicorn, log: Path, *more: str) -> str:
    upstream = f"{LOOPBACK}:{ours.port}"
    argv = ["--listen", listen, "--upstream", upstream, "--access-log", str(log), "--server-name", LOOPBACK]
    return _python(environment, "-m", "django", "gateway_conf", server, *argv, *more)


def _nginx_block(
    environment: Mapping[str, str], ours: Gunicorn, theirs: Gunicorn, also: str, root: Path
) -> Callable[[str, Path], str]:
    towards = (
        f"proxy_pass http://{LOOPBACK}:{theirs.port}; proxy_http_version 1.1; proxy_set_header Host $http_host;"
        " proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $remote_addr;"
    )

    def make(listen: str, log: Path) -> str:
        return (
            "sendfile on;\n"
            + _printed(environment, "nginx", listen, ours, log, "--with-secret")
            + f"""
server {{
    listen {also};
    server_name {LOOPBACK};
    access_log {log}.also gateway;
    location / {{ {towards} }}
    location /files/ {{ alias {root}/; }}
    location /internal/ {{ internal; alias {root}/; }}
    location /asked/ {{ auth_request /ask; alias {root}/; }}
    location = /ask {{
        internal;
        {towards.replace(f":{theirs.port};", f":{theirs.port}/plain/asked;")}
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header X-Original-URI $request_uri;
    }}
}}
"""
        )

    return make


def _apache_block(
    environment: Mapping[str, str], ours: Gunicorn, theirs: Gunicorn, also: str, root: Path
) -> Callable[[str, Path], str]:
    def make(listen: str, log: Path) -> str:
        return (
            _printed(environment, "apache", listen, ours, log)
            + f"""
Listen {also}
<VirtualHost {also}>
    ServerName {LOOPBACK}
    CustomLog {log}.also gateway
    ProxyPreserveHost On
    ProxyPass / http://{LOOPBACK}:{theirs.port}/
    XSendFile On
    XSendFilePath {root}
</VirtualHost>
"""
        )

    return make


def _check(way: Way, cookie: str) -> None:
    """Ask once, and look at all of the answer: what is fast and wrong is not measured."""
    for size in way.sizes:
        parts = urlsplit(way.urls[size])
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request("GET", parts.path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        count = len(answer.read())
        connection.close()
        expected = SIZES[size] if way.status == 200 else 0
        if (answer.status, count) != (way.status, expected):
            raise AssertionError(f"{way.name}, {size}: {answer.status} with {count} bytes; {way.status}, {expected}")


def _load(way: Way, url: str, cookie: str, requests: int, at_once: int) -> float:
    """Return the seconds that one request took of the whole, at so many at once.

    A load with an answer that was none is tried again: proxies now and then meet a connection that a worker closes.
    """
    argv = ["ab", "-q", "-k", "-s", "120", "-n", str(requests), "-c", str(at_once), "-H", f"Cookie: {cookie}", url]
    expected = (requests, 0, requests if way.status >= 300 else 0)
    for _ in range(LOADS):
        told = subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        names = ("Complete requests", "Failed requests", "Non-2xx responses")
        if tuple(_number(told, name) for name in names) == expected:
            match = re.search(r"^Time per request: +([0-9.]+) \[ms\] \(mean, across all", told, re.MULTILINE)
            assert match is not None, told
            return float(match[1]) / 1000
    raise AssertionError(f"{way.name}: {told}")


def _number(told: str, name: str) -> int:
    match = re.search(rf"^{name}: +([0-9]+)$", told, re.MULTILINE)
    return int(match[1]) if match else 0


def table() -> Table:
    ways = measured()
    check_and_nginx, same_check = "nginx, and a view that answers 204", "`FileResponse` behind an equal check"
    answered, file_response = ways["answered"].small, ways["file_response"]
    nginx_small, nginx_large = (seconds + answered for seconds in (ways["nginx"].small, ways["nginx"].large))
    x_accel, stream, forward_auth = ways["x_accel"], ways["stream"], ways["forward_auth"]
    asked, x_sendfile, plain_x_sendfile = ways["asked"], ways["x_sendfile"], ways["plain_x_sendfile"]
    result = Table("A file over HTTP: what it costs to decide")
    result.rows = [
        Row("`x_accel`, 10 KB", x_accel.small, nginx_small, check_and_nginx, 1.1, "at most 1.1"),
        Row("`x_accel`, 100 MB", x_accel.large, nginx_large, check_and_nginx, 1.1, "at most 1.1"),
        Row("`FORWARD_AUTH`, 10 KB", forward_auth.small, asked.small, "a view of the same check", 1.3, "at most 1.3"),
        Row("`stream`, 10 KB", stream.small, file_response.small, same_check, 1, "no slower"),
        Row("`stream`, 10 KB", stream.small, ways["recorded"].small, "the same view, writing one row", 1, "no slower"),
        Row("`stream`, 100 MB", stream.large, file_response.large, same_check, 1, "no slower"),
        Row("`x_sendfile`, 10 KB", x_sendfile.small, plain_x_sendfile.small, "a view with `X-Sendfile`"),
    ]  # fmt: skip
    result.notes = [
        f"Seconds for one request at {SMALL_AT_ONCE} at once ({LARGE_AT_ONCE} of the large file), {WORKERS} processes"
        f" of {THREADS} threads; everything on this one machine, the load included.",
        "The views read the session, load the row and check its owner; but for the one that says so they write nothing"
        " down. What we serve is counted.",
    ]
    return result


def speeds() -> Listing:
    """List every way with requests in a second and memory."""
    header = ["way", "10 KB, in 1 s", "100 MB, in 1 s", "largest memory of a worker"]
    result = Listing("A file over HTTP: each way", header=header)
    for way in measured().values():
        large = f"{1 / way.large:.1f}" if way.large_seconds else "–"
        memory = f"{way.peak_bytes / 2**20:.0f} MiB" if way.peak_bytes else "–"
        result.lines.append([way.name, f"{1 / way.small:.0f}", large, memory])
    result.notes = [
        "Ours is bold. nginx and Apache have the blocks that `gateway_conf` prints, and stand in front of every view."
    ]
    return result


def populate() -> dict[str, Any]:
    """Make the rows: a user with a session, and a file of each size at every alias."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client

    from gateway.models import File

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("owner")
    client = Client()
    client.force_login(user)
    keys = {size: f"uploads/{size}.bin" for size in SIZES}
    files = {
        alias: {
            size: str(
                File.objects.create(
                    owner=user, storage_alias=alias, key=key, filename=f"{size}.bin",
                    content_type="application/octet-stream", size_bytes=SIZES[size],
                ).pk
            )
            for size, key in keys.items()
        }
        for alias in MODES
    }  # fmt: skip
    return {"keys": keys, "files": files, "cookie": f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"}


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(populate()))
