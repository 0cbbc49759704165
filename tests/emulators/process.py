"""Start other people's programs on loopback, wait until they answer, and end exactly what was started.

It must not know any one server, nor pytest.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.02
STOP_GRACE_SECONDS = 10
LOG_TAIL_BYTES = 4000
START_ATTEMPTS = 2  # a free port can be taken by someone else before the server binds it


class Unavailable(Exception):
    """Say which programs of an emulator are not installed on this machine, and how to get them."""

    def __init__(self, emulator: str, missing: Sequence[str], remedy: str = "make system-packages") -> None:
        self.emulator = emulator
        self.missing = tuple(missing)
        super().__init__(f"{emulator}: not installed: {', '.join(missing)}; run: {remedy}")


class StartFailed(Exception):
    """Say why a server did not start, with the end of its log."""


def free_port() -> int:
    """Return a loopback TCP port that nothing listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_programs(emulator: str, names: Sequence[str]) -> None:
    """Check that every named program is on the path.

    Raises:
        Unavailable: with all that are missing.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise Unavailable(emulator, missing)


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment in which no setting of the caller's reaches a server."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
    }


def log_tail(path: Path) -> str:
    """Return the last lines of a log, or a note that there are none."""
    text = path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip() if path.exists() else ""
    return text or "(its log is empty)"


@dataclass(kw_only=True)
class Child:
    """Hold one running program; ``log_path`` has what it printed."""

    name: str
    popen: subprocess.Popen[bytes]
    log_path: Path
    stop_signal: signal.Signals

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def stop(self) -> None:
        """End the program by its own pid: politely first, then for certain."""
        if self.running:
            self.popen.send_signal(self.stop_signal)
            try:
                self.popen.wait(STOP_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()


class Emulator(ABC):
    """Run a server from ``with`` to the end of the block, in a temporary directory of its own.

    Raises on entry:
        Unavailable: a program is not installed.
        StartFailed: the server ended or did not answer in time; the message ends with its log.
    """

    name: ClassVar[str]
    user: str | None = None  # the system user to run as, where it is not the caller

    directory: Path
    children: list[Child]

    def __enter__(self) -> Self:
        self._check_installed()
        for attempt in range(1, START_ATTEMPTS + 1):
            self.children = []
            self._stack = ExitStack()
            self.directory = Path(
                self._stack.enter_context(tempfile.TemporaryDirectory(prefix=f"presign-gateway-{self.name}-"))
            )
            try:
                self._start()
            except BaseException as error:
                self.stop()
                if not isinstance(error, StartFailed) or attempt == START_ATTEMPTS:
                    raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every program, the last one first, and remove the directory."""
        self._stack.close()

    @abstractmethod
    def _check_installed(self) -> None:
        """Raise Unavailable where a program is missing."""

    @abstractmethod
    def _start(self) -> None:
        """Start the server in ``self.directory``; return once it answers."""

    def spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        extra_environment: dict[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Child:
        """Start a program that stays in the foreground; it is stopped with the emulator.

        The kernel ends it, too, when the calling thread ends: a killed test run leaves no server behind.
        """
        log_path = self.directory / f"{name}.out"
        with log_path.open("wb") as log:
            popen = subprocess.Popen(
                [*self._as_user(stop_signal), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=clean_environment(self.directory) | (extra_environment or {}),
                start_new_session=True,  # an interrupt at the terminal is not for the servers
            )
        child = Child(name=name, popen=popen, log_path=log_path, stop_signal=stop_signal)
        self.children.append(child)
        self._stack.callback(child.stop)
        return child

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout_seconds: float = 30,
        extra_environment: dict[str, str] | None = None,
    ) -> str:
        """Run a program to its end and return what it printed to standard output.

        Raises:
            StartFailed: it failed or took longer than ``timeout_seconds``.
        """
        program = Path(argv[0]).name
        try:
            done = subprocess.run(
                [*self._as_user(), *argv],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=self.directory,
                env=clean_environment(self.directory) | (extra_environment or {}),
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StartFailed(f"{self.name}: {program} took over {timeout_seconds} s{self._logs()}") from None
        if done.returncode != 0:
            printed = (done.stdout + done.stderr)[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
            raise StartFailed(f"{self.name}: {program} ended with {done.returncode}\n{printed}{self._logs()}")
        return done.stdout.decode()

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout_seconds: float = 30) -> None:
        """Ask until ``ready`` says yes.

        Raises:
            StartFailed: a program ended meanwhile, or ``timeout_seconds`` went by.
        """
        give_up_at = time.monotonic() + timeout_seconds
        while True:
            for child in self.children:
                if not child.running:
                    code = child.popen.returncode
                    raise StartFailed(f"{self.name}: {child.name} ended with {code}{self._logs()}")
            if ready():
                return
            if time.monotonic() > give_up_at:
                raise StartFailed(f"{self.name}: {what} not ready after {timeout_seconds} s{self._logs()}")
            time.sleep(POLL_SECONDS)

    def hand_over(self, path: Path) -> None:
        """Give a path to the user that the programs run as."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def _as_user(self, parent_death_signal: signal.Signals = signal.SIGKILL) -> list[str]:
        """Return what goes before a command line: setpriv, which becomes the program, keeping the pid."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            if self.user is not None:
                raise Unavailable(self.name, ["setpriv"])
            return []
        prefix = [setpriv, "--pdeathsig", parent_death_signal.name]
        if self.user is not None:
            group = str(pwd.getpwnam(self.user).pw_gid)
            prefix += ["--reuid", self.user, "--regid", group, "--init-groups"]
        return [*prefix, "--"]

    def _logs(self) -> str:
        return "".join(f"\n--- {child.name}, end of its log ---\n{log_tail(child.log_path)}" for child in self.children)


def port_is_open(port: int) -> bool:
    """Tell whether something on loopback takes a connection at the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
