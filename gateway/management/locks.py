"""One run of a command at a time, on every machine that shares the database.

Must not wait: a run that finds another one leaves at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import connections, router

from gateway.models import ObjectDeletion

__all__ = ["one_run"]

_of_memory: defaultdict[bytes, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def one_run(name: str) -> Iterator[None]:
    """Hold the right to run for as long as the block lasts.

    PostgreSQL keeps it for all machines, and lets go of it when the connection ends, however that comes; beside
    other databases a file keeps it for this machine. A database in memory is this process's own.

    Raises:
        CommandError: another run has it.
    """
    connection: Any = connections[router.db_for_write(ObjectDeletion)]
    digest = hashlib.sha256(f"presign-gateway {name} {connection.settings_dict['NAME']}".encode()).digest()
    if connection.vendor == "postgresql":
        key = int.from_bytes(digest[:8], "big", signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
            if not cursor.fetchone()[0]:
                raise _busy(name)
            try:
                yield
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
        return
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        if not _of_memory[digest].acquire(blocking=False):
            raise _busy(name)
        try:
            yield
        finally:
            _of_memory[digest].release()
        return
    path = Path(tempfile.gettempdir()) / f"presign-gateway-{digest.hex()[:32]}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(name) from None
        yield


def _busy(name: str) -> CommandError:
    return CommandError(f"another {name} is running; one at a time")
