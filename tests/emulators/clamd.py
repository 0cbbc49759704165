"""A ClamAV daemon with a database of one line: the test file that every scanner finds.

Source: https://www.eicar.org/download-anti-malware-testfile/
It must not read the machine's own configuration or databases, nor fetch any.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tests.emulators.process import LOOPBACK, Emulator, free_port, require_programs

PROGRAM = "clamd"
STREAM_MAX_MIB = 1
# In two parts, or scanners would find this very file.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + rb"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


class Clamd(Emulator):
    """Run ``clamd`` on a loopback port; it takes streams of up to a mebibyte."""

    name = "clamd"

    port: int

    def _check_installed(self) -> None:
        require_programs(self.name, [PROGRAM])

    def _start(self) -> None:
        self.port = free_port()
        database = self.directory / "database"
        database.mkdir()
        # name : any type of file : any offset : hexadecimal
        (database / "test.ndb").write_text(f"Eicar-Test-Signature:0:*:{EICAR.hex()}\n")
        configuration: Path = self.directory / "clamd.conf"
        lines = [
            f"DatabaseDirectory {database}", f"TCPAddr {LOOPBACK}", f"TCPSocket {self.port}", "Foreground yes",
            f"StreamMaxLength {STREAM_MAX_MIB}M", "Bytecode no", "SelfCheck 0",
            f"TemporaryDirectory {self.directory}", "MaxThreads 2",
        ]  # fmt: skip
        configuration.write_text("\n".join([*lines, ""]))
        self.spawn("clamd", [PROGRAM, "--config-file", configuration])
        self.wait_until(self._answers, what="the daemon")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                connection.sendall(b"zPING\0")
                return connection.recv(16) == b"PONG\0"
        except OSError:
            return False
