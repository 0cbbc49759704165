"""That no link leaves which was taken back between its decision and its record, and that none is missed.

Whoever takes something back counts on, commits, waits for the records that are being written, and reads them. The
statement that writes a record returns how far was counted. Where it cannot tell, or somebody has counted on since the
decision, the record is looked at again once it is committed (:func:`gateway.epochs.check_not_overtaken`). Must not tell
whom a number concerns: that is for gateway.epochs.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import connections, router

from gateway.models import Epoch, Issuance

__all__ = ["PATIENCE_SECONDS", "await_records", "is_current", "is_told_by_insert", "returned"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5  # for records that are being written; one takes milliseconds
_LOOK_EVERY_SECONDS = 0.01

# https://www.postgresql.org/docs/current/view-pg-locks.html
_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE mode = 'RowExclusiveLock' AND relation = %s::regclass AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def is_told_by_insert(using: str) -> bool:
    """Tell whether an insert of its own transaction sees everything that was committed before anybody looks for it.

    SQLite lets one write at a time. PostgreSQL locks the table for a statement first and looks at the rows then; its
    locks show who is still writing.
    """
    connection: Any = connections[using]
    if connection.in_atomic_block or using != router.db_for_write(Epoch):
        return False
    return connection.vendor in ("sqlite", "postgresql") and connection.features.can_return_columns_from_insert


def returned(using: str) -> str:
    """Return in SQL what an insert returns for :func:`is_current`, with a place for the counter's digest."""
    connection: Any = connections[using]
    isolation = "current_setting('transaction_isolation')" if connection.vendor == "postgresql" else "''"
    table = connection.ops.quote_name(Epoch._meta.db_table)
    return f"(SELECT number FROM {table} WHERE digest = %s), {isolation}"  # noqa: S608 - our own name


def is_current(using: str, line: tuple[int | None, str], number: int) -> bool:
    """Tell of what an insert returned whether nobody has counted on since a decision.

    PostgreSQL looks before it locks under any isolation level but its own, which a role, a database and the options of
    a connection may name: only the statement knows it.
    Source: https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED

    Args:
        number: that the decision was made under.
    """
    counted, isolation = line
    if connections[using].vendor == "postgresql" and isolation != "read committed":
        return False
    return (counted or 0) <= number


def await_records(using: str) -> None:
    """Wait until what was being written has been committed, so that whoever looks now finds it."""
    connection: Any = connections[using]
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        return
    table = connection.ops.quote_name(Issuance._meta.db_table)
    until = time.monotonic() + PATIENCE_SECONDS
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS, [table])
        writers = set(cursor.fetchall())
        while writers and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_SECONDS)
            cursor.execute(_WRITERS, [table])
            writers &= set(cursor.fetchall())
    if writers:
        logger.warning("records are still being written after %s s; their links are not told", PATIENCE_SECONDS)
