"""What is served is counted: nothing is lost, nothing is written twice, and nothing is counted for ever unwritten."""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections

from gateway import counting
from gateway.counting import FLUSH_SECONDS, PATIENCE_SECONDS, Counter
from gateway.errors import AuditUnavailable
from gateway.models import Issuance
from gateway.testing import counted_serving
from tests.gateway.conftest import issuances
from tests.gateway.delivery.servers import Place, Populated, Server, environment

NOON = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
SHARED = {
    "decision": "allowed", "principal": "user:1", "acted_by": "", "credential": "session", "tenant": "",
    "operation": "Download", "storage_alias": "private", "resource": "a", "key": "a.pdf", "policy": "Owner",
    "reason": "", "link_id": "", "link_hash": "", "expires_at": None, "limited_by": "", "delivery": "stream",
}  # fmt: skip


def answer(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    return {"at": at, **SHARED, **changes}


@dataclass
class Table:
    """Stands for the database: takes rows, or fails when it is told to."""

    rows: list[Issuance] = field(default_factory=list)
    is_broken: bool = False
    attempts: int = 0

    def __call__(self, rows: Sequence[Issuance]) -> None:
        self.attempts += 1
        if self.is_broken:
            raise AuditUnavailable("no")
        self.rows += rows

    @property
    def counted(self) -> list[tuple[str, int]]:
        return [(row.key, row.count) for row in self.rows]


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counter(table: Table, clock: Clock) -> Counter:
    return Counter(table, clock=clock, max_kinds=3)


# --- counts ------------------------------------------------------------------------------------------------


def test_answers_that_are_alike_are_one_row_from_the_first_of_them(counter: Counter, table: Table) -> None:
    for seconds in (5, 3, 9):
        counter.add(answer(NOON + timedelta(seconds=seconds), request_id=f"request {seconds}"))
    assert table.rows == []
    assert counter.flush() == 1
    (row,) = table.rows
    assert (row.count, row.at, row.request_id) == (3, NOON + timedelta(seconds=3), "")
    assert {name: getattr(row, name) for name in SHARED} == SHARED
    assert counter.flush() == 0


APART: dict[str, dict[str, Any]] = {name: {name: "another"} for name in SHARED}
APART["minute"] = {"at": NOON + timedelta(seconds=30)}


@pytest.mark.parametrize("changes", APART.values(), ids=APART)
def test_answers_that_differ_in_anything_a_row_says_are_two(
    counter: Counter, table: Table, changes: dict[str, Any]
) -> None:
    for columns in (answer(), answer(**changes), answer()):
        counter.add(columns)
    assert counter.flush() == 2
    assert sorted(row.count for row in table.rows) == [1, 2]


def test_every_column_is_of_the_kind_or_of_the_one_answer() -> None:
    columns = {field.attname for field in Issuance._meta.concrete_fields}
    assert columns - {"id", "at", "count", "request_id"} == set(SHARED)


def test_threads_that_count_and_write_at_once_lose_nothing() -> None:
    table = Table()

    def take(rows: Sequence[Issuance]) -> None:
        if random.random() < 0.3:
            raise AuditUnavailable("no")
        table(rows)

    counter = Counter(take, max_kinds=1000)

    def serve() -> None:
        for number in range(300):
            counter.add(answer(key=f"{number % 7}.pdf"))
            if number % 40 == 0:
                try:
                    counter.flush()
                except AuditUnavailable:
                    continue

    threads = [threading.Thread(target=serve) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while counter.wait() is not None:
        try:
            counter.flush()
        except AuditUnavailable:
            continue
    assert sum(row.count for row in table.rows) == 6 * 300


# --- when it is written ------------------------------------------------------------------------------------


def test_it_is_due_in_time_to_be_written_within_the_seconds_that_are_promised(counter: Counter, clock: Clock) -> None:
    assert counter.wait() is None
    counter.add(answer())
    assert counter.wait() == FLUSH_SECONDS - 1
    clock.seconds += 3
    counter.add(answer())
    assert counter.wait() == FLUSH_SECONDS - 4  # of the oldest
    clock.seconds += 10
    assert counter.wait() == 0


def test_where_no_thread_writes_the_next_answer_does(counter: Counter, table: Table, clock: Clock) -> None:
    counter.add(answer())
    clock.seconds += FLUSH_SECONDS
    counter.add(answer())
    assert table.counted == []
    clock.seconds += 0.1
    counter.add(answer())
    assert table.counted == [("a.pdf", 3)]


def test_a_new_kind_that_has_no_room_has_the_others_written(counter: Counter, table: Table) -> None:
    for key in "abcda":
        counter.add(answer(key=key))
    assert table.counted == [("a", 1), ("b", 1), ("c", 1)]
    counter.flush()
    assert table.counted[3:] == [("d", 1), ("a", 1)]


# --- when it cannot be written -----------------------------------------------------------------------------


def test_what_was_not_taken_is_written_once_when_it_can_be(counter: Counter, table: Table, clock: Clock) -> None:
    table.is_broken = True
    counter.add(answer(NOON + timedelta(seconds=5)))
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            counter.flush()
        counter.add(answer(NOON + timedelta(seconds=1)))
        clock.seconds += 1.5  # tried again, and served on
    table.is_broken = False
    counter.flush()
    (row,) = table.rows
    assert (row.count, row.at) == (4, NOON + timedelta(seconds=1))
    assert counter.wait() is None


def test_what_comes_while_a_write_fails_is_kept_beside_what_it_was_to_write(clock: Clock) -> None:
    table = Table(is_broken=True)

    def take(rows: Sequence[Issuance]) -> None:
        if table.is_broken:
            counter.add(answer())
            counter.add(answer(key="b.pdf"))
        table(rows)

    counter = Counter(take, clock=clock)
    counter.add(answer())
    with pytest.raises(AuditUnavailable):
        counter.flush()
    table.is_broken = False
    counter.flush()
    assert sorted(table.counted) == [("a.pdf", 2), ("b.pdf", 1)]


def test_each_attempt_writes_rows_of_its_own(counter: Counter) -> None:
    """Of a commit that failed nobody knows whether it happened: its keys may be taken."""
    seen: list[Any] = []

    def take(rows: Sequence[Issuance]) -> None:
        seen.extend(row.pk for row in rows)
        if len(seen) == 1:
            raise AuditUnavailable("no")

    counter = Counter(take)
    counter.add(answer())
    with pytest.raises(AuditUnavailable):
        counter.flush()
    counter.flush()
    assert len(set(seen)) == 2


def test_nothing_is_served_that_there_is_no_room_to_count(counter: Counter, table: Table) -> None:
    table.is_broken = True
    for key in "abc":
        counter.add(answer(key=key))
    with pytest.raises(AuditUnavailable):
        counter.add(answer(key="d"))
    counter.add(answer(key="a"))  # for this there is
    table.is_broken = False
    counter.add(answer(key="d"))
    counter.flush()
    assert table.counted == [("a", 2), ("b", 1), ("c", 1), ("d", 1)]


def test_nothing_is_served_once_counts_wait_for_too_long(counter: Counter, table: Table, clock: Clock) -> None:
    table.is_broken = True
    counter.add(answer())
    clock.seconds += PATIENCE_SECONDS
    counter.add(answer())
    clock.seconds += 0.1
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            counter.add(answer())
    table.is_broken = False
    counter.add(answer())
    assert table.counted == [("a.pdf", 2)]
    counter.flush()
    assert table.counted == [("a.pdf", 2), ("a.pdf", 1)]


def test_a_transaction_that_may_be_undone_writes_no_counts(table: Table, clock: Clock) -> None:
    counter = Counter(table, clock=clock, may_write=lambda: False, max_kinds=1)
    counter.add(answer())
    clock.seconds += FLUSH_SECONDS + 1
    counter.add(answer())
    assert table.attempts == 0
    with pytest.raises(AuditUnavailable, match="transaction"):
        counter.add(answer(key="b.pdf"))
    assert table.attempts == 0


# --- the process -------------------------------------------------------------------------------------------


@pytest.fixture
def outside_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[counting._Writer]:
    """Have answers counted as in production, by a writer of the test's own that does not wait."""
    monkeypatch.setattr(counting, "_WAIT_SECONDS", 0)
    writer = counting._Writer()
    monkeypatch.setattr(counting, "_writer", writer)
    monkeypatch.delattr(mail, "outbox")  # by which Django's test environment is known
    yield writer
    assert eventually(lambda: writer.counter.wait() is None)


def eventually(is_so: Callable[[], Any], seconds: float = 60) -> bool:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def written() -> int:
    return sum(Issuance.objects.values_list("count", flat=True))


def test_a_thread_writes_what_is_counted_and_keeps_no_connection(
    real_database: Any, outside_tests: counting._Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open: list[bool] = []
    close_all = connections.close_all

    def close() -> None:
        close_all()
        left_open.append(connections["default"].connection is not None)

    monkeypatch.setattr(connections, "close_all", close)
    for total in (1, 2):
        counting.count(answer(at=datetime.now(UTC)))
        assert eventually(lambda total=total: written() == total)
    assert eventually(lambda: len(left_open) >= 2)
    assert not any(left_open)


def test_the_thread_goes_on_when_the_database_is_there_again(
    real_database: Any, outside_tests: counting._Writer, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(counting, "_RETRY_SECONDS", 0.05)
    table = Issuance._meta.db_table
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    for _ in range(3):
        counting.count(answer(at=datetime.now(UTC)))
    assert eventually(lambda: "still to be written" in caplog.text)
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE away RENAME TO {table}")
    assert eventually(lambda: written() == 3)


def test_where_no_thread_may_begin_it_is_counted_all_the_same(
    outside_tests: counting._Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    table = Table()
    outside_tests.counter._write = table
    monkeypatch.setattr(threading.Thread, "start", refuse)
    counting.count(answer())
    assert counting.flush() == 1
    assert table.counted == [("a.pdf", 1)]


FORKED = """
import os, django; django.setup()
from datetime import UTC, datetime
from gateway import audit, counting
from gateway.principals import SYSTEM
from gateway.resources import Resource
from providers.types import Download
def serve(who):
    resource, now = Resource.of_key("private", "a.pdf"), datetime.now(UTC)
    served = audit.columns_of("allowed", SYSTEM, resource, Download, at=now, delivery="x")
    counting.count(served | {"principal": who})
serve("parent"); serve("parent")
child = os.fork()
if not child:
    serve("child")
    raise SystemExit
os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def populated() -> Iterator[Populated]:
    with Populated() as populated:
        path = populated.directory / "private" / populated.facts["key"]
        path.parent.mkdir(parents=True)
        path.write_bytes(b"the bytes")
        yield populated


@pytest.fixture
def rows(populated: Populated) -> Iterator[Callable[[], list[tuple[str, str, int]]]]:
    """What is in the audit of the populated database; it begins empty."""
    with closing(sqlite3.connect(populated.directory / "db.sqlite3", timeout=20)) as database:
        database.execute(f"DELETE FROM {Issuance._meta.db_table}")
        database.commit()
        select = f"SELECT principal, delivery, count FROM {Issuance._meta.db_table} WHERE decision = 'allowed'"
        yield lambda: database.execute(select).fetchall()


def test_a_fork_writes_nothing_of_its_parent_s_and_each_writes_its_own_at_its_end(
    populated: Populated, rows: Any
) -> None:
    populated.run([sys.executable, "-c", FORKED], extra_environment=environment(populated.directory))
    assert sorted(rows()) == [("child", "x", 1), ("parent", "x", 2)]


@pytest.mark.parametrize("name", ["gunicorn-sync", "gunicorn-gthread"])
def test_a_server_that_is_stopped_has_written_every_answer(name: str, populated: Populated, rows: Any) -> None:
    facts = populated.facts
    place = Place(populated.directory, facts)
    streamed = {"private": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {
        "location": str(place.root), "delivery": "stream",
    }}}  # fmt: skip
    asking = {"Authorization": f"Bearer {facts['tokens'][0]}"}
    with Server(name, place, storages=streamed) as server:
        for _ in range(5):
            got = server.request("GET", f"/f/{facts['file']}", headers=asking)
            assert (got.status, got.body) == (200, b"the bytes")
    assert sum(count for _, _, count in rows()) == 5
    assert {(principal, delivery) for principal, delivery, _ in rows()} == {("user:1", "stream")}


# --- what is counted ---------------------------------------------------------------------------------------


def test_in_the_transaction_of_a_test_the_row_is_there_at_once(db: None) -> None:
    counting.count(answer())
    assert [(row.count, row.delivery) for row in issuances()] == [(1, "stream")]


def test_a_test_s_other_threads_write_nothing_that_its_end_would_not_undo(real_database: Any) -> None:
    counting.count(answer())
    assert issuances() == []
    assert counting.flush() == 0


def test_a_test_may_count_as_production_does(db: None) -> None:
    with counted_serving() as counter:
        for _ in range(3):
            counting.count(answer())
        assert issuances() == []
        assert counter.flush() == 1
        counting.count(answer())
    assert [row.count for row in issuances()] == [3, 1]
    counting.count(answer())
    assert len(issuances()) == 3
