"""Counts what is served, and writes the counts within seconds: one row for all answers of a minute that are alike.

What leaves as a link, and what is refused, has a row of its own before the answer (gateway.audit). Must not lose a
count while its process lives, nor go on counting what cannot be written.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from operator import itemgetter
from typing import Any

from django.core import mail
from django.db import connections, router

from gateway import audit
from gateway.conf import conf
from gateway.errors import AuditUnavailable
from gateway.models import Issuance

__all__ = ["FLUSH_SECONDS", "MAX_KINDS", "PATIENCE_SECONDS", "Counter", "count", "counted", "flush"]

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5  # from an answer to its row
_WAIT_SECONDS = 4  # leaves one of them to the writing
_RETRY_SECONDS = 1
PATIENCE_SECONDS = 30  # so long answers are counted while nothing can be written
MAX_KINDS = 10_000  # of about 1 kB

# The columns that answers of one kind have in common; the minute is the other thing.
_SHARED = tuple(
    field.attname
    for field in Issuance._meta.concrete_fields
    if field.attname not in ("id", "at", "count", "request_id")
)
_shared = itemgetter(*_SHARED)
_Kind = tuple[datetime, tuple[Any, ...]]


class Counter:
    """Answers by kind, and when they are to be written; any number of threads may use it.

    Args:
        write: takes rows, or raises AuditUnavailable; called by one thread at a time.
        may_write: tells whether what the calling thread writes now is there to stay.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Issuance]], None],
        *,
        may_write: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        max_kinds: int = MAX_KINDS,
    ) -> None:
        self._write = write
        self._may_write = may_write
        self._clock = clock
        self._max_kinds = max_kinds
        self._lock = threading.Lock()  # of the counts; never held while rows are written
        self._writing = threading.Lock()
        self._counts: dict[_Kind, tuple[datetime, int]] = {}  # the first instant, and how many
        self._oldest = 0.0  # on the clock, of what is not written
        self._due = 0.0

    def add(self, columns: Mapping[str, Any]) -> None:
        """Count one answer.

        Args:
            columns: what its row would say, of :func:`gateway.audit.columns_of`.

        Raises:
            AuditUnavailable: there is no room for its kind, or what was counted waits for too long, and neither can
                be written now.
        """
        at: datetime = columns["at"]
        kind = (at.replace(second=0, microsecond=0), _shared(columns))
        while not self._take(kind, at):
            if not self._may_write():
                raise AuditUnavailable("what was served cannot be written inside a transaction")
            self.flush()

    def _take(self, kind: _Kind, at: datetime) -> bool:
        """Count where that may be; False where what there is has to be written first."""
        now = self._clock()
        with self._lock:
            if not self._counts:
                self._oldest, self._due = now, now + _WAIT_SECONDS
            is_full = kind not in self._counts and len(self._counts) >= self._max_kinds
            if is_full or now > self._oldest + PATIENCE_SECONDS:
                return False
            first, number = self._counts.get(kind, (at, 0))
            self._counts[kind] = (min(first, at), number + 1)
            is_late = now > self._due + FLUSH_SECONDS - _WAIT_SECONDS
        # No thread writes in time: servers there are that let none run beside their own.
        if is_late and self._may_write():
            with suppress(AuditUnavailable):
                self.flush()
        return True

    def flush(self) -> int:
        """Write what was counted, and return how many rows it took; what cannot be written stays counted.

        Raises:
            AuditUnavailable: the database did not take it.
        """
        with self._writing:
            with self._lock:
                taken, self._counts = self._counts, {}
                oldest = self._oldest
            if not taken:
                return 0
            try:
                self._write([_row(kind, *counted) for kind, counted in taken.items()])
            except BaseException:
                with self._lock:
                    for kind, (at, number) in self._counts.items():
                        first, before = taken.get(kind, (at, 0))
                        taken[kind] = (min(first, at), before + number)
                    self._counts = taken
                    self._oldest, self._due = oldest, self._clock() + _RETRY_SECONDS
                raise
            return len(taken)

    def wait(self) -> float | None:
        """Return the seconds until what was counted is to be written; None where nothing was."""
        with self._lock:
            return max(0.0, self._due - self._clock()) if self._counts else None


def _row(kind: _Kind, at: datetime, number: int) -> Issuance:
    # Made anew for each attempt: of one that failed nobody knows what the database kept.
    return Issuance(**dict(zip(_SHARED, kind[1], strict=True)), at=at, count=number)


class _Writer:
    """The counter of this process, and the thread that writes it."""

    def __init__(self) -> None:
        self.counter = Counter(audit.write, may_write=lambda: not connections[_database()].in_atomic_block)
        self._counted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def count(self, columns: Mapping[str, Any]) -> None:
        self.counter.add(columns)
        self._counted.set()
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="gateway.counting", daemon=True)
                # At the end of a process no thread begins, and its exit writes.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while self._counted.wait():
            self._counted.clear()
            while (seconds := self.counter.wait()) is not None:
                time.sleep(seconds)
                self.write_and_part()

    def write_and_part(self) -> bool:
        """Write on a connection of this thread that is then given back, whatever becomes of it."""
        try:
            self.counter.flush()
        except Exception as error:
            # Logged where it was raised; here is nobody to tell, and the next attempt is near.
            logger.warning("what was served is still to be written: %s", type(error).__name__)
            return False
        finally:
            with suppress(Exception):
                connections.close_all()
        return True


_writer = _Writer()
_counter: Counter | None = None  # also in Django's test environment


def count(columns: Mapping[str, Any]) -> None:
    """Count one answer that serves; its row, with others like it, is written within five seconds.

    In Django's test environment nothing is written later, which would be into the next test, or another database: the
    row joins the transaction that the test is in, and where there is none it is left out.

    Args:
        columns: what its row says, of :func:`gateway.audit.columns_of`.

    Raises:
        AuditUnavailable: nothing could be written for a while, or there is no room for more.
    """
    if _counter is not None:
        _counter.add(columns)
    # https://docs.djangoproject.com/en/stable/topics/testing/tools/#email-services
    elif not hasattr(mail, "outbox"):
        _writer.count(columns)
    elif connections[_database()].in_atomic_block:
        audit.record([Issuance(**columns)])


def flush() -> int:
    """Write now what this process has counted, on this thread's connection; return how many rows it took.

    Raises:
        AuditUnavailable: the database did not take it.
    """
    return _writer.counter.flush()


@contextmanager
def counted() -> Iterator[Counter]:
    """Count what is served in the test environment, too: in memory, until its ``flush()`` or the end of the block."""
    global _counter
    before, _counter = _counter, _writer.counter
    try:
        yield _counter
        _counter.flush()
    finally:
        _counter = before


def _database() -> str:
    return conf().audit_database or router.db_for_write(Issuance)


def _begin_anew() -> None:
    # What was counted before the fork is the parent's to write, and its thread and its locks are not here.
    global _writer
    _writer = _Writer()


def _write_at_exit() -> None:
    if _writer.counter.wait() is None:
        return
    # A connection that stood open for long may be gone: the second attempt has a new one.
    if not _writer.write_and_part() and not _writer.write_and_part():
        logger.error("what was served in the last seconds could not be written")


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_write_at_exit)
