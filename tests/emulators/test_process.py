"""Prove that a server starts once, is waited for, says why it fails, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulators.process import (
    Emulator,
    StartFailed,
    Unavailable,
    free_port,
    port_is_open,
    require_programs,
)

REPOSITORY_PATH = Path(__file__).parents[2]

# A server in one line: it listens at the port that it is given.
LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


class Script(Emulator):
    """Run a Python one-liner as the server."""

    name = "script"

    def __init__(self, code: str, *, ready: Callable[[], bool] | None = None, timeout_seconds: float = 20) -> None:
        self.code = code
        self.ready = ready
        self.timeout_seconds = timeout_seconds
        self.directories: list[Path] = []

    def _check_installed(self) -> None:
        require_programs(self.name, ["sh"])

    def _start(self) -> None:
        self.directories.append(self.directory)
        self.port = free_port()
        self.spawn("listener", [sys.executable, "-c", self.code, str(self.port)])
        ready = self.ready or (lambda: port_is_open(self.port))
        self.wait_until(ready, what="the port", timeout_seconds=self.timeout_seconds)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int) -> None:
    give_up_at = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < give_up_at, f"process {pid} is still there"
        time.sleep(0.02)


def test_runs_until_the_block_is_left() -> None:
    with Script(LISTEN) as server:
        (child,) = server.children
        assert child.running
        assert port_is_open(server.port)
        assert server.directory.is_dir()
    assert child.popen.returncode == -signal.SIGTERM
    assert not alive(child.pid)
    assert not port_is_open(server.port)
    assert not server.directory.exists()


def test_is_stopped_when_the_block_raises() -> None:
    server = Script(LISTEN)
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert not server.children[0].running
    assert not server.directory.exists()


def test_stopping_twice_is_harmless() -> None:
    with Script(LISTEN) as server:
        server.stop()
        assert not port_is_open(server.port)


def test_a_program_that_ignores_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.emulators.process.STOP_GRACE_SECONDS", 0.2)
    with Script(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LISTEN}") as server:
        pass
    assert server.children[0].popen.returncode == -signal.SIGKILL


def test_a_program_that_ends_is_tried_twice_and_its_log_shown() -> None:
    server = Script("import sys; print('the disk is on fire'); sys.exit(3)")
    with pytest.raises(StartFailed, match=r"script: listener ended with 3\n(.|\n)*the disk is on fire"):
        server.__enter__()
    assert len(server.directories) == 2
    assert not any(directory.exists() for directory in server.directories)


def test_a_start_that_fails_once_is_repeated_in_a_new_directory(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    once = f"import pathlib, sys; p = pathlib.Path({str(marker)!r}); e = p.exists(); p.touch(); e or sys.exit(1)"
    with Script(f"{once}; {LISTEN}") as server:
        assert len(server.directories) == 2
        assert not server.directories[0].exists()


def test_a_program_that_never_answers_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.emulators.process.START_ATTEMPTS", 1)
    server = Script(LISTEN, ready=lambda: False, timeout_seconds=0.2)
    with pytest.raises(StartFailed, match=r"the port not ready after 0\.2 s"):
        server.__enter__()
    assert not server.children[0].running


def test_any_other_error_is_raised_at_once_and_leaves_nothing() -> None:
    def explode() -> bool:
        raise KeyError("surprise")

    server = Script(LISTEN, ready=explode)
    with pytest.raises(KeyError):
        server.__enter__()
    assert not server.children[0].running
    assert [directory.exists() for directory in server.directories] == [False]


def test_a_command_that_fails_shows_what_it_printed() -> None:
    with Script(LISTEN) as server:
        assert server.run(["echo", "fine"]) == "fine\n"
        with pytest.raises(StartFailed, match=r"sh ended with 4\nno such luck"):
            server.run(["sh", "-c", "echo no such luck >&2; exit 4"])
        with pytest.raises(StartFailed, match=r"sleep took over 0\.1 s"):
            server.run(["sleep", "5"], timeout_seconds=0.1)


def test_no_setting_of_the_caller_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("RCLONE_CONFIG", "mine")
    with Script(LISTEN) as server:
        names = {line.partition("=")[0] for line in server.run(["env"]).splitlines()}
    assert {"PATH", "HOME", "TMPDIR"} <= names
    assert not names & {"PYTHONWARNINGS", "RCLONE_CONFIG"}


def test_missing_programs_are_named_with_the_remedy() -> None:
    with pytest.raises(Unavailable) as missing:
        require_programs("ceph", ["sh", "no-such-program", "nor-this"])
    assert str(missing.value) == "ceph: not installed: no-such-program, nor-this; run: make system-packages"


def test_a_killed_run_leaves_no_server(tmp_path: Path) -> None:
    code = (
        "import sys, time; from tests.emulators.test_process import LISTEN, Script\n"
        "with Script(LISTEN) as server: print(server.children[0].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY_PATH,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # a killed run cannot remove its directory
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert alive(pid)
        run.kill()
    wait_until_gone(pid)
