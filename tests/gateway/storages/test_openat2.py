"""What Linux itself keeps below a directory, and where it cannot be asked to."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storages import openat2

needs_it = pytest.mark.skipif(not openat2.is_there(), reason="the system has no openat2: every path is walked")

READING = os.O_RDONLY | os.O_CLOEXEC


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "日本 語%20").write_bytes(b"inside")
    (root / "up").symlink_to("..")
    (root / "around").symlink_to("a")
    (tmp_path / "outside").write_bytes(b"outside")
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., int]], None]]:
    """Put something in place of the system, which is asked anew whether it has it."""
    openat2.is_there.cache_clear()
    yield lambda answer: monkeypatch.setattr(openat2, "_system_call", lambda: answer)
    openat2.is_there.cache_clear()


def failing(*numbers: int) -> Callable[..., int]:
    left = list(numbers)

    def answer(*_: Any) -> int:
        if not left:
            return os.open("/", READING)
        ctypes.set_errno(left.pop(0))
        return -1

    return answer


@needs_it
def test_a_file_below_is_opened(directory: int) -> None:
    with os.fdopen(openat2.open_beneath(directory, "a/日本 語%20", READING), "rb") as file:
        assert file.read() == b"inside"
        assert not os.get_inheritable(file.fileno())


@needs_it
@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("a/none", errno.ENOENT), ("none/b", errno.ENOENT), ("a/日本 語%20/b", errno.ENOTDIR),
        ("x" * 256, errno.ENAMETOOLONG),
        ("up/outside", errno.ELOOP), ("around/日本 語%20", errno.ELOOP), ("around", errno.ELOOP),
        ("../outside", errno.EXDEV), ("a/../../outside", errno.EXDEV), ("/etc/hostname", errno.EXDEV),
    ],
)  # fmt: skip
def test_nothing_else_is(directory: int, path: str, number: int) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(OSError) as raised:
        openat2.open_beneath(directory, path, READING)
    assert raised.value.errno == number
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_call_that_a_signal_ends_is_made_again(system: Any, directory: int) -> None:
    system(failing(errno.EINTR, errno.EINTR))
    os.close(openat2.open_beneath(directory, "a", READING))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.EIO])
def test_what_else_goes_wrong_is_told(system: Any, directory: int, number: int) -> None:
    system(failing(number))
    with pytest.raises(OSError) as raised:
        openat2.open_beneath(directory, "a", READING)
    assert raised.value.errno == number


@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.EPERM], ids=["a kernel before 5.6", "a sandbox that does not know it"]
)
def test_it_is_not_there_where_the_system_says_so(system: Any, number: int) -> None:
    system(failing(number))
    assert not openat2.is_there()


def test_it_is_not_there_on_other_systems(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system(failing())
    assert openat2.is_there()
    openat2.is_there.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not openat2.is_there()
