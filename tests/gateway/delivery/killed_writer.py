"""A process that forks a writer for each line it reads, so that a test can kill writers by their pid.

Run as ``python -m tests.gateway.delivery.killed_writer ROOT``. A line is ``key size overwrite(0 or 1)``, and
the writer's pid is printed; the next line, whatever it says, waits for it: until then its pid is its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

CHUNK_BYTES = 64 * 1024


def content(size_bytes: int) -> Iterator[bytes]:
    """Yield what a writer writes: each chunk is of its own number."""
    for number in range(size_bytes // CHUNK_BYTES):
        yield bytes([number % 256]) * CHUNK_BYTES


def main(root: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    import django

    # The package of storages knows models.
    django.setup()
    from gateway.storages.files import write_beneath

    for line in sys.stdin:
        key, size, overwrite = line.split()
        pid = os.fork()
        if pid == 0:
            write_beneath(root, key, content(int(size)), overwrite=overwrite == "1")
            os._exit(0)
        print(pid, flush=True)  # noqa: T201
        sys.stdin.readline()
        os.waitpid(pid, 0)
        print("ended", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
