"""Runs the tests of the gateway on PostgreSQL: ``python -m tests.on_postgres [PYTEST ARGUMENT…]``.

The server is one of its own and ends with the run; the tests themselves know nothing of it.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.emulators.postgres import Postgres


def main(arguments: list[str]) -> int:
    # Nothing that these tests assert survives a crash; those that do start a durable server of their own.
    with Postgres(durable=False) as server:
        command = [sys.executable, "-X", "dev", "-m", "pytest", *arguments]
        return subprocess.run(command, env=os.environ | {"TEST_DATABASE_URL": server.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
