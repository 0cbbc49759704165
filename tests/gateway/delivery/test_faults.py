"""Killed writers, full disks, clients that leave, and names that are swapped while they are read."""

from __future__ import annotations

import errno
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from gateway.storages.files import open_beneath, write_beneath
from providers.errors import InvalidKey
from providers.types import Upload
from tests.gateway.delivery.killed_writer import CHUNK_BYTES, content
from tests.gateway.delivery.support import follow, sign

KEY = "uploads/2026/11/new.bin"
ROUNDS = 40
SIZE_BYTES = 64 * CHUNK_BYTES  # 4 MiB
OLD = b"old"


# --- killed in the middle ----------------------------------------------------------------------------------


@dataclass
class Writers:
    """Starts writing processes, one at a time."""

    process: subprocess.Popen[str]

    def start(self, key: str, *, overwrite: bool) -> int:
        """Return the pid of a new writer; it is nobody else's until :meth:`wait` was called."""
        return int(self._ask(f"{key} {SIZE_BYTES} {int(overwrite)}"))

    def wait(self) -> None:
        assert self._ask("wait") == "ended"

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture
def writers(private_root: Path) -> Iterator[Writers]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.delivery.killed_writer", str(private_root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=django_settings.BASE_DIR,
    ) as process:
        yield Writers(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
def test_after_a_kill_the_file_is_whole_or_as_it_was(writers: Writers, private_root: Path, overwrite: bool) -> None:
    whole = b"".join(content(SIZE_BYTES))
    path = private_root / KEY
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        writers.start(KEY, overwrite=True)
        writers.wait()
        seconds.append(time.monotonic() - started)
    longest = 1.2 * statistics.median(seconds)
    outcomes = []
    for number in range(ROUNDS):
        path.unlink()
        if overwrite:
            write_beneath(str(private_root), KEY, [OLD])
        pid = writers.start(KEY, overwrite=overwrite)
        # Spread over the whole of a write, from its first moment to after its last.
        time.sleep(longest * number / ROUNDS)
        os.kill(pid, signal.SIGKILL)
        writers.wait()
        stored = path.read_bytes() if path.exists() else None
        assert stored in (whole, OLD if overwrite else None)
        outcomes.append(stored == whole)
        # Whatever a killed writer left does not stand in the way of the next one.
        write_beneath(str(private_root), KEY, [b"next"], overwrite=stored is not None)
        assert path.read_bytes() == b"next"
    assert not outcomes[0]
    halves = [found for found in private_root.rglob("*") if found.is_file() and found != path]
    assert halves, "no writer was killed while it wrote"
    for half in halves:
        with pytest.raises(InvalidKey, match="being written"):
            open_beneath(str(private_root), str(half.relative_to(private_root)))


# --- no room -----------------------------------------------------------------------------------------------


def _script(root: Path, limit_bytes: int) -> list[str]:
    return [sys.executable, "-m", "tests.gateway.delivery.full_disk", str(root), str(limit_bytes)]


def _limited(root: Path) -> list[str]:
    return _script(root, 2**20)


def _mounted(root: Path) -> list[str]:
    """Mount a small disk for the process alone; where the machine allows no mounts, limit its files instead."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)]
    if subprocess.run([*namespace, *mount], check=False, capture_output=True).returncode != 0:
        return _limited(root)
    return [*namespace, "sh", "-c", f'{" ".join(mount[:-1])} "$0" && exec "$@"', str(root), *_script(root, 0)]


@pytest.mark.parametrize("command", [_limited, _mounted], ids=["file-size-limit", "small-disk"])
def test_without_room_nothing_is_left_and_what_fits_is_stored(
    private_root: Path, command: Callable[[Path], list[str]]
) -> None:
    private_root.mkdir()
    done = subprocess.run(command(private_root), capture_output=True, text=True, cwd=django_settings.BASE_DIR)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"statuses": [507, 201], "files": {"uploads/small": 100_000}}
    assert "signature" not in done.stderr


# --- clients that leave ------------------------------------------------------------------------------------

BODY = os.urandom(200_000)
UPLOAD = Upload(KEY, content_type="image/png", size_bytes=len(BODY))
HEADERS = {"Content-Type": "image/png", "Content-Length": str(len(BODY))}


class BrokenStream(BytesIO):
    """Delivers some of the body, and then what is left of a broken connection."""

    def read(self, size: int | None = -1, /) -> bytes:
        if chunk := super().read(size):
            return chunk
        raise ConnectionResetError(errno.ECONNRESET, "the client is gone")


STREAMS: dict[str, Callable[[bytes], BytesIO]] = {"ends-early": BytesIO, "breaks": BrokenStream}


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
@pytest.mark.parametrize("make_stream", STREAMS.values(), ids=STREAMS)
def test_a_client_that_leaves_in_the_middle_leaves_no_file(
    private_root: Path, make_stream: Callable[[bytes], BytesIO]
) -> None:
    stream = make_stream(BODY[:100_000])
    assert follow("wsgi", sign(UPLOAD).url, method="PUT", headers=HEADERS, body=stream).status == 400
    assert not [path for path in private_root.rglob("*") if path.is_file()]


# name: the link, headers beside the usual; what is there in the end
RIVALS: dict[str, tuple[Upload, dict[str, str], int]] = {
    "link-for-a-new-file": (UPLOAD, {}, 412),
    "client-that-wants-a-new-file": (replace(UPLOAD, overwrite=True), {"If-None-Match": "*"}, 412),
    "link-that-overwrites": (replace(UPLOAD, overwrite=True), {}, 201),
}


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
@pytest.mark.parametrize(("upload", "headers", "status"), RIVALS.values(), ids=RIVALS)
def test_a_file_that_appears_while_the_body_is_read_counts(
    private_root: Path, upload: Upload, headers: dict[str, str], status: int
) -> None:
    class Rival(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            write_beneath(str(private_root), KEY, [b"rival"], overwrite=True)
            return super().read(size)

    answer = follow("wsgi", sign(upload).url, method="PUT", headers=HEADERS | headers, body=Rival(BODY))
    assert answer.status == status
    assert (private_root / KEY).read_bytes() == (BODY if status == 201 else b"rival")


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_a_refused_body_is_read_to_its_end_so_that_the_client_hears_why(private_root: Path) -> None:
    class NowhereStored(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert [path.name for path in private_root.rglob("*") if path.is_file()] == ["new.bin"]
            return super().read(size)

    write_beneath(str(private_root), KEY, [b"first"])
    body = NowhereStored(BODY)
    assert follow("wsgi", sign(UPLOAD).url, method="PUT", headers=HEADERS, body=body).status == 412
    assert body.tell() == len(BODY)


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_a_body_that_goes_on_after_its_length_is_refused(private_root: Path) -> None:
    """Servers cut it there; that one does is not taken on trust."""
    answer = follow("asgi", sign(UPLOAD).url, method="PUT", headers=HEADERS, body=BODY + b"x")
    assert (answer.status, answer.body) == (400, b"The body is longer than it said.\n")
    assert not [path for path in private_root.rglob("*") if path.is_file()]


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1], ids=["shorter", "longer"])
def test_another_length_is_refused_before_anything_is_made_for_it(private_root: Path, length: int) -> None:
    headers = HEADERS | {"Content-Length": str(length)}
    assert follow("wsgi", sign(UPLOAD).url, method="PUT", headers=headers, body=BODY).status in (400, 413)
    assert not private_root.exists()


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
@pytest.mark.parametrize("change", ["signature", "length"])
def test_a_body_that_nobody_allowed_is_not_read(private_root: Path, change: str) -> None:
    url, headers, body = sign(UPLOAD).url, HEADERS, BytesIO(BODY * 2)
    if change == "signature":
        url = url[:-64] + "0" * 64
    else:
        headers = HEADERS | {"Content-Length": str(len(BODY) * 2)}
    assert follow("wsgi", url, method="PUT", headers=headers, body=body).status in (403, 413)
    assert body.tell() == 0


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
def test_the_body_is_read_in_chunks(private_root: Path) -> None:
    asked: list[int | None] = []

    class Counting(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return super().read(size)

    assert follow("wsgi", sign(UPLOAD).url, method="PUT", headers=HEADERS, body=Counting(BODY)).status == 201
    assert len(asked) >= len(BODY) // CHUNK_BYTES
    assert all(size is not None and 0 < size <= CHUNK_BYTES for size in asked)


# --- names that change under the reader --------------------------------------------------------------------

SWAPS = 4_000  # there and back
SECRET = b"outside"


def _swap_file(root: Path, outside: Path) -> Callable[[], None]:
    target, spare = root / "a/b/file", root / "spare"

    def swap() -> None:
        spare.symlink_to(outside / "file")
        spare.replace(target)
        os.link(root / "original", spare)
        spare.replace(target)

    return swap


def _swap_directory(root: Path, outside: Path) -> Callable[[], None]:
    directory, aside, link = root / "a/b", root / "a/aside", root / "a/link"

    def swap() -> None:
        link.symlink_to(outside)
        directory.rename(aside)
        link.rename(directory)
        directory.unlink()
        aside.rename(directory)

    return swap


@pytest.mark.parametrize("make_swap", [_swap_file, _swap_directory], ids=["file", "directory"])
def test_a_name_that_is_swapped_for_a_link_never_leads_outside(
    private_root: Path, tmp_path: Path, make_swap: Callable[[Path, Path], Callable[[], None]]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    write_beneath(str(private_root), "a/b/file", [b"inside"])
    write_beneath(str(private_root), "original", [b"inside"])
    swap = make_swap(private_root, outside)
    done = threading.Event()

    def swap_often() -> None:
        try:
            for _ in range(SWAPS):
                swap()
        finally:
            done.set()

    swapper = threading.Thread(target=swap_often)
    swapper.start()
    read = missing = 0
    try:
        while not done.is_set():
            try:
                descriptor = open_beneath(str(private_root), "a/b/file")
            except FileNotFoundError:
                missing += 1
                continue
            try:
                assert os.read(descriptor, 100) == b"inside"
            finally:
                os.close(descriptor)
            read += 1
    finally:
        swapper.join()
    # The race was run: the reader met the file and the link, both many times.
    assert read > 100
    assert missing > 100
