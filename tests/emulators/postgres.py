"""A PostgreSQL server of Debian's packages in a directory of its own, on loopback TCP only.

It must not touch the machine's own clusters, nor run as root.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
from pathlib import Path

from tests.emulators.process import LOOPBACK, Emulator, StartFailed, Unavailable, free_port

PROGRAMS = ("initdb", "postgres", "psql")
DEBIAN_ROOT = Path("/usr/lib/postgresql")
SYSTEM_USER = "postgres"
DATABASE_USER = "gateway"
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def postgres_programs(debian_root: Path = DEBIAN_ROOT) -> Path:
    """Find the directory of the newest installed version's programs.

    Raises:
        Unavailable: there is none.
    """
    versions = [path for path in debian_root.glob("*/bin") if re.fullmatch(r"[0-9]+", path.parent.name)]
    versions.sort(key=lambda path: int(path.parent.name), reverse=True)
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    for directory in [*versions, *on_path]:
        if all((directory / program).is_file() for program in PROGRAMS):
            return directory
    raise Unavailable(Postgres.name, ["postgresql"])


class Postgres(Emulator):
    """Run a PostgreSQL server that trusts everybody on loopback; ``url`` names its database ``postgres``.

    Args:
        durable: keep the defaults, which survive a crash; False is faster and proves nothing about crashes.
    """

    name = "postgres"

    port: int
    url: str

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        # PostgreSQL refuses to run as root: Debian's package makes this user.
        self.user = SYSTEM_USER if os.geteuid() == 0 else None

    def _check_installed(self) -> None:
        postgres_programs()
        if self.user is not None:
            try:
                pwd.getpwnam(self.user)
            except KeyError:
                raise Unavailable(self.name, [f"the system user {self.user}"]) from None

    def _start(self) -> None:
        programs = postgres_programs()
        self.port = free_port()
        self.url = f"postgres://{DATABASE_USER}@{LOOPBACK}:{self.port}/postgres"
        self.hand_over(self.directory)
        data = self.directory / "data"
        options = ["--username", DATABASE_USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"]
        options += [] if self.durable else ["--no-sync"]
        self.run([programs / "initdb", "--pgdata", data, *options])
        settings = [f"listen_addresses={LOOPBACK}", f"port={self.port}", "unix_socket_directories="]
        settings += [] if self.durable else NOT_DURABLE
        options = [part for setting in settings for part in ("-c", setting)]
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
        self.spawn("postgres", [programs / "postgres", "-D", data, *options], stop_signal=signal.SIGINT)

        def is_this_server() -> bool:
            # Asking for the directory tells this server from one that took the port before it.
            try:
                answer = self.run(
                    [programs / "psql", "-XAtq", "-c", "SHOW data_directory", self.url],
                    extra_environment={"PGCONNECT_TIMEOUT": "2"},
                )
            except StartFailed:
                return False
            return answer.strip() == str(data)

        self.wait_until(is_this_server, what="the server")
