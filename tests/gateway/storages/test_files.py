"""Files below a root: no link leads out, nothing is half written, and an error is not taken for absence."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.storages import openat2
from gateway.storages.files import list_beneath, open_beneath, remove_beneath, write_beneath
from providers import InvalidKey
from tests.providers.test_keys import KEYS

KEY = "uploads/2026/11/k/a.txt"
BAD_KEYS = {name: key for name, (key, problem) in KEYS.items() if problem is not None}
REPOSITORY_PATH = Path(__file__).resolve().parents[3]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "root")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret.txt").write_bytes(b"secret")
    return directory


@pytest.fixture
def any_umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)
    try:
        yield lambda mask: os.umask(mask) and None
    finally:
        os.umask(before)


def read(root: str, key: str) -> bytes:
    with os.fdopen(open_beneath(root, key), "rb") as file:
        return file.read()


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def everything_below(root: str) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if not path.is_dir())


def failing(chunk: bytes = b"half") -> Iterator[bytes]:
    yield chunk
    raise ConnectionError("the client is gone")


@contextmanager
def limit(which: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(which)
    resource.setrlimit(which, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


DOORS: dict[str, Callable[[str, Any], Any]] = {
    "open": open_beneath,
    "write": lambda root, key: write_beneath(root, key, [b"x"]),
    "overwrite": lambda root, key: write_beneath(root, key, [b"x"], overwrite=True),
    "remove": remove_beneath,
    "list": lambda root, key: list_beneath(root, "/" if key == "" else key),
}


@pytest.fixture(params=DOORS.values(), ids=DOORS)
def door(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestNames:
    @pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
    def test_bad_keys_are_refused_at_every_door(self, root: str, door: Any, key: Any) -> None:
        with pytest.raises(InvalidKey):
            door(root, key)
        assert not Path(root).exists()

    @pytest.mark.parametrize(
        "name", ["*", "a[b]", "~root", "-rf", "a b+c%20d", "#?&'\"", "日本語", "عربي", "🎉", "x" * 255]
    )
    def test_odd_names_are_taken_as_they_are(self, root: str, name: str) -> None:
        write_beneath(root, f"{name}/{name}", [b"odd"])
        assert read(root, f"{name}/{name}") == b"odd"
        assert everything_below(root) == [f"{name}/{name}"]

    def test_only_the_exact_name_is_removed(self, root: str) -> None:
        for name in ("a*", "a[b]", "a?", "ab"):
            write_beneath(root, f"d/{name}", [b"x"])
        remove_beneath(root, "d/a*")
        remove_beneath(root, "d/a[b]")
        assert everything_below(root) == ["d/a?", "d/ab"]

    def test_a_file_that_is_gone_is_no_error_but_a_root_that_is_gone_is_one(self, root: str) -> None:
        write_beneath(root, "d/a", [b"x"])
        remove_beneath(root, "d/b")
        remove_beneath(root, "e/f/a")
        assert everything_below(root) == ["d/a"]
        with pytest.raises(FileNotFoundError):
            remove_beneath(f"{root}-unmounted", "d/a")

    def test_a_name_of_a_file_being_written_is_refused(self, root: str) -> None:
        name = f".{'0' * 32}.part"
        for open_or_write in (DOORS["open"], DOORS["write"]):
            with pytest.raises(InvalidKey, match="being written"):
                open_or_write(root, f"a/{name}")


@pytest.fixture(params=["in one step", "by a walk"])
def opening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the system opens a path below a directory by itself, or does not know how."""
    if request.param == "by a walk":
        monkeypatch.setattr(openat2, "is_there", lambda: False)


@pytest.mark.usefixtures("opening")
class TestLinks:
    def test_a_linked_file_is_not_opened(self, root: str, outside: Path) -> None:
        write_beneath(root, "a/real.txt", [b"real"])
        (Path(root) / "a" / "link.txt").symlink_to(outside / "secret.txt")
        with pytest.raises(FileNotFoundError):
            open_beneath(root, "a/link.txt")

    def test_a_link_within_the_root_is_not_followed_either(self, root: str) -> None:
        write_beneath(root, "a/real.txt", [b"real"])
        (Path(root) / "a" / "link.txt").symlink_to("real.txt")
        with pytest.raises(FileNotFoundError):
            open_beneath(root, "a/link.txt")

    @pytest.mark.parametrize("name", ["open", "write", "overwrite"])
    def test_a_linked_directory_is_not_entered(self, root: str, outside: Path, name: str) -> None:
        Path(root).mkdir()
        (Path(root) / "out").symlink_to(outside)
        with pytest.raises(FileNotFoundError):
            DOORS[name](root, "out/secret.txt")
        assert [path.name for path in outside.iterdir()] == ["secret.txt"]
        assert (outside / "secret.txt").read_bytes() == b"secret"

    def test_nothing_is_removed_behind_a_linked_directory(self, root: str, outside: Path) -> None:
        Path(root).mkdir()
        (Path(root) / "out").symlink_to(outside)
        remove_beneath(root, "out/secret.txt")
        assert (outside / "secret.txt").exists()

    def test_removing_a_link_leaves_what_it_leads_to(self, root: str, outside: Path) -> None:
        Path(root).mkdir()
        (Path(root) / "link.txt").symlink_to(outside / "secret.txt")
        remove_beneath(root, "link.txt")
        assert not os.path.lexists(Path(root) / "link.txt")
        assert (outside / "secret.txt").exists()

    def test_overwriting_a_link_replaces_the_link(self, root: str, outside: Path) -> None:
        Path(root).mkdir()
        (Path(root) / "link.txt").symlink_to(outside / "secret.txt")
        write_beneath(root, "link.txt", [b"mine"], overwrite=True)
        assert read(root, "link.txt") == b"mine"
        assert (outside / "secret.txt").read_bytes() == b"secret"

    def test_a_dangling_link_is_a_taken_name(self, root: str, outside: Path) -> None:
        Path(root).mkdir()
        (Path(root) / "link.txt").symlink_to(outside / "new.txt")
        with pytest.raises(FileExistsError):
            write_beneath(root, "link.txt", [b"mine"])
        assert not (outside / "new.txt").exists()

    def test_links_are_not_listed(self, root: str, outside: Path) -> None:
        write_beneath(root, "a/real.txt", [b"real"])
        (Path(root) / "a" / "link.txt").symlink_to(outside / "secret.txt")
        (Path(root) / "a" / "out").symlink_to(outside)
        assert list_beneath(root, "a") == ([], ["real.txt"])
        with pytest.raises(FileNotFoundError):
            list_beneath(root, "a/out")

    def test_a_swap_for_a_link_never_shows_what_it_leads_to(self, root: str, outside: Path) -> None:
        write_beneath(root, "a/x.txt", [b"mine"])
        target, real, link = (Path(root) / "a" / name for name in ("x.txt", "real", "link"))
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                real.write_bytes(b"mine")
                real.replace(target)
                link.symlink_to(outside / "secret.txt")
                link.replace(target)

        swapping = threading.Thread(target=swap)
        swapping.start()
        seen, missed = set(), 0
        try:
            for _ in range(3000):
                try:
                    seen.add(read(root, "a/x.txt"))
                except FileNotFoundError:
                    missed += 1
        finally:
            stop.set()
            swapping.join()
        assert b"secret" not in seen
        assert missed, "the link never stood there when it was opened: the test proves nothing"


@pytest.mark.usefixtures("opening")
class TestOtherKinds:
    def make(self, kind: str, path: Path) -> None:
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        else:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(os.path.relpath(path))

    @pytest.mark.parametrize("kind", ["fifo", "directory", "socket"])
    def test_only_regular_files_are_opened(self, root: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        Path(root).mkdir()
        monkeypatch.chdir(root)
        self.make(kind, Path(root) / "odd")
        signal.alarm(5)  # a FIFO could hold the test for ever
        try:
            with pytest.raises(FileNotFoundError):
                open_beneath(root, "odd")
        finally:
            signal.alarm(0)
        assert list_beneath(root, "")[1] == []

    def test_a_refused_kind_leaves_no_descriptor_open(self, root: str) -> None:
        write_beneath(root, "d/a.txt", [b"x"])
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            with pytest.raises(FileNotFoundError):
                open_beneath(root, "d")
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_a_directory_is_not_removed(self, root: str) -> None:
        write_beneath(root, "d/a.txt", [b"x"])
        with pytest.raises(OSError):
            remove_beneath(root, "d")
        assert read(root, "d/a.txt") == b"x"

    def test_a_file_is_no_directory(self, root: str) -> None:
        write_beneath(root, "d/a.txt", [b"x"])
        with pytest.raises(FileNotFoundError):
            open_beneath(root, "d/a.txt/b")


class TestWriting:
    def test_size_and_bytes(self, root: str) -> None:
        assert write_beneath(root, KEY, [b"one", b"", b"two"]) == 6
        assert read(root, KEY) == b"onetwo"

    def test_an_empty_file_is_a_file(self, root: str) -> None:
        assert write_beneath(root, KEY, []) == 0
        assert read(root, KEY) == b""

    def test_a_taken_name_keeps_its_bytes(self, root: str) -> None:
        write_beneath(root, KEY, [b"old"])
        with pytest.raises(FileExistsError):
            write_beneath(root, KEY, [b"new"])
        assert read(root, KEY) == b"old"
        assert everything_below(root) == [KEY]

    def test_overwriting_replaces_the_bytes(self, root: str) -> None:
        write_beneath(root, KEY, [b"old, and longer"])
        write_beneath(root, KEY, [b"new"], overwrite=True)
        assert read(root, KEY) == b"new"
        assert everything_below(root) == [KEY]

    @pytest.mark.parametrize("overwrite", [False, True], ids=["create", "overwrite"])
    def test_a_content_that_fails_leaves_nothing(self, root: str, overwrite: bool) -> None:
        with pytest.raises(ConnectionError):
            write_beneath(root, KEY, failing(), overwrite=overwrite)
        assert everything_below(root) == []

    def test_a_content_that_fails_leaves_the_old_bytes(self, root: str) -> None:
        write_beneath(root, KEY, [b"old"])
        with pytest.raises(ConnectionError):
            write_beneath(root, KEY, failing(), overwrite=True)
        assert read(root, KEY) == b"old"
        assert everything_below(root) == [KEY]

    def test_a_full_disk_leaves_nothing(self, root: str) -> None:
        with limit(resource.RLIMIT_FSIZE, 256 * 1024), pytest.raises(OSError) as raised:
            write_beneath(root, KEY, [b"x" * 1024] * 1024)
        assert raised.value.errno == errno.EFBIG
        assert everything_below(root) == []

    def test_nothing_is_seen_before_the_last_byte(self, root: str) -> None:
        def content() -> Iterator[bytes]:
            yield b"half"
            with pytest.raises(FileNotFoundError):
                open_beneath(root, KEY)
            assert list_beneath(root, "uploads/2026/11/k") == ([], [])
            yield b"whole"

        write_beneath(root, KEY, content())
        assert read(root, KEY) == b"halfwhole"

    def test_only_one_of_many_writers_of_a_name_wins(self, root: str) -> None:
        def write(number: int) -> int | None:
            try:
                write_beneath(root, KEY, [str(number).encode()])
            except FileExistsError:
                return None
            return number

        with ThreadPoolExecutor(32) as pool:
            winners = [number for number in pool.map(write, range(64)) if number is not None]
        assert len(winners) == 1
        assert read(root, KEY) == str(winners[0]).encode()
        assert everything_below(root) == [KEY]

    def test_a_killed_writer_leaves_the_file_whole_or_absent(self, root: str) -> None:
        script = (
            "import sys; from gateway.storages.files import write_beneath\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    write_beneath(sys.argv[1], 'a/x', [b'x' * 4096] * 64, overwrite=True)\n"
        )
        for number in range(8):
            writer = subprocess.Popen([sys.executable, "-c", script, root], stdout=subprocess.PIPE, cwd=REPOSITORY_PATH)
            with writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                threading.Event().wait(0.01 + 0.007 * number)
                writer.kill()
            try:
                assert read(root, "a/x") == b"x" * 4096 * 64
            except FileNotFoundError:
                continue


class TestModes:
    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777], ids=oct)
    def test_no_umask_changes_them(self, root: str, any_umask: Any, mask: int) -> None:
        any_umask(mask)
        write_beneath(root, "a/b/c.txt", [b"x"])
        assert mode(f"{root}/a/b/c.txt") == 0o600
        for directory in ("", "/a", "/a/b"):
            assert mode(root + directory) == 0o700

    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
    def test_nor_with_64_threads_saving(self, root: str, any_umask: Any, mask: int) -> None:
        any_umask(mask)
        keys = [f"uploads/{number % 4}/{number}/a.txt" for number in range(64)]
        with ThreadPoolExecutor(64) as pool:
            list(pool.map(lambda key: write_beneath(root, key, [b"x"]), keys))
        assert everything_below(root) == sorted(keys)
        for path in (Path(root), *Path(root).rglob("*")):
            assert mode(path) == (0o700 if path.is_dir() else 0o600), path

    def test_others_can_be_asked_for(self, root: str, any_umask: Any) -> None:
        any_umask(0o077)
        write_beneath(root, "a/b.txt", [b"x"], file_mode=0o640, directory_mode=0o2750)
        assert mode(f"{root}/a/b.txt") == 0o640
        assert mode(f"{root}/a") == 0o2750

    def test_a_root_that_is_there_keeps_its_mode(self, root: str) -> None:
        Path(root).mkdir()
        Path(root).chmod(0o755)
        write_beneath(root, "a.txt", [b"x"])
        assert mode(root) == 0o755

    def test_a_file_being_written_is_nobody_elses(self, root: str, any_umask: Any) -> None:
        any_umask(0o000)
        modes = []

        def content() -> Iterator[bytes]:
            yield b"x"
            modes.extend(mode(path) for path in Path(root).glob("a/.*"))

        write_beneath(root, "a/b.txt", content())
        assert modes == [0o600]


class TestErrors:
    @pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
    def test_a_system_that_cannot_tell_is_no_absence(self, root: str, door: Any) -> None:
        write_beneath(root, "a/b", [b"x"])
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        # One descriptor is left: the root can be opened, and nothing below it.
        with limit(resource.RLIMIT_NOFILE, free + 1), pytest.raises(OSError) as raised:
            door(root, "a/b")
        assert raised.value.errno == errno.EMFILE
        assert read(root, "a/b") == b"x"


class TestListing:
    def test_names_of_directories_and_of_files(self, root: str) -> None:
        for key in ("a/x", "a/y", "a/d/z", "b"):
            write_beneath(root, key, [b""])
        directories, files = list_beneath(root, "a")
        assert (directories, sorted(files)) == (["d"], ["x", "y"])
        directories, files = list_beneath(root, "")
        assert (directories, files) == (["a"], ["b"])

    @pytest.mark.parametrize("path", ["", "a"], ids=["root", "directory"])
    def test_a_directory_that_is_not_there(self, root: str, path: str) -> None:
        with pytest.raises(FileNotFoundError):
            list_beneath(root, path)
