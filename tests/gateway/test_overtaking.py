"""Links that are recorded while something is taken back: none leaves late, and none is missed by the answer."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from gateway import links, overtaking
from gateway.errors import TakenBack
from gateway.models import Epoch, File, Issuance
from gateway.overtaking import await_records, is_told_by_insert
from gateway.policies import Allow, Limits
from gateway.principals import SYSTEM, Principal, acting_as
from gateway.resources import Resource
from gateway.revocation import Revoked, revoke
from tests.gateway.conftest import database_at, in_a_thread, new_file

KEY = "uploads/raced.pdf"


def take_back(scope: str = "object", target: str = f"private:{KEY}") -> Revoked:
    with acting_as(SYSTEM, reason="race", allow_in_request=True) as system:
        return revoke(scope, target, by=system)


@pytest.fixture
def file(real_database: Any) -> File:
    return new_file(User.objects.create_user("ada"), key=KEY)


def principal_of(file: File) -> Principal:
    return Principal(kind="user", user=file.owner)


class Racing:
    """Somebody takes something back while the policy is asked."""

    what: tuple[str, str] = ("everything", "")

    def decide(self, *_: Any) -> Any:
        take_back(*self.what)
        return Allow(Limits())


WHATS = {
    "everything": (("everything", ""), False),
    "the storage": (("storage", "private"), False),
    "the directory": (("object", "private:uploads/"), False),
    "another directory": (("object", "private:elsewhere/"), True),
    "another user": (("principal", "user:0"), True),
}


@pytest.mark.parametrize(("what", "leaves"), WHATS.values(), ids=WHATS)
def test_a_link_leaves_only_where_what_was_taken_back_does_not_concern_it(
    file: File, settings: Any, monkeypatch: pytest.MonkeyPatch, what: tuple[str, str], leaves: bool
) -> None:
    monkeypatch.setattr(Racing, "what", what)
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Racing()}}
    if leaves:
        assert links.issue(principal_of(file), Resource.of_file(file)).url
    else:
        with pytest.raises(TakenBack):
            links.issue(principal_of(file), Resource.of_file(file))
    # What was made is in the record, whether it left or not.
    assert Issuance.objects.filter(decision="issued").count() == 1


@pytest.mark.parametrize("was_before", [False, True], ids=["never", "before"])
def test_a_link_costs_two_statements(file: File, was_before: bool) -> None:
    if was_before:
        take_back()
    with CaptureQueriesContext(connection) as queries:
        links.issue(principal_of(file), Resource.of_file(file))
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "INSERT"]


class TestToldByInsert:
    def test_outside_of_a_transaction(self, real_database: Any) -> None:
        assert is_told_by_insert("default")
        with transaction.atomic():
            assert not is_told_by_insert("default")

    def test_in_the_database_of_epochs_alone(self, real_database: Any, settings: Any) -> None:
        settings.DATABASE_ROUTERS = ["tests.gateway.test_rows.Archive"]
        assert not is_told_by_insert("default")

    @pytest.mark.parametrize(
        ("vendor", "is_told"),
        [("sqlite", True), ("postgresql", True), ("mysql", False), ("oracle", False)],
    )
    def test_where_the_database_is_known_to_tell(
        self, real_database: Any, monkeypatch: pytest.MonkeyPatch, vendor: str, is_told: bool
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(connections["default"], "vendor", vendor)
            assert is_told_by_insert("default") is is_told

    def test_where_an_insert_returns_what_it_saw(self, real_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            # As SQLite before 3.35.
            patched.setattr(connections["default"].features, "can_return_columns_from_insert", False)
            assert not is_told_by_insert("default")


# How a connection is set up, and the statements that a link costs there.
CONNECTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "as it comes": ({}, ["SELECT", "INSERT"]),
    "parameters bound by the server": ({"server_side_binding": True}, ["SELECT", "INSERT"]),
    "statements prepared": ({"server_side_binding": True, "prepare_threshold": 0}, ["SELECT", "INSERT"]),
    "looking at the beginning": (
        {"options": r"-c default_transaction_isolation=repeatable\ read"},
        ["SELECT", "INSERT", "SELECT"],
    ),
}


@pytest.mark.parametrize(("options", "statements"), CONNECTIONS.values(), ids=CONNECTIONS)
class TestConnections:
    @pytest.fixture
    def file(self, postgres_database: Any, options: dict[str, Any]) -> Iterator[File]:
        with database_at({"OPTIONS": postgres_database["OPTIONS"] | options}):
            yield new_file(User.objects.create_user("ada"), key=KEY)

    def test_a_link_costs_its_statements(self, file: File, statements: list[str]) -> None:
        with CaptureQueriesContext(connection) as queries:
            links.issue(principal_of(file), Resource.of_file(file))
        assert [query["sql"].split()[0] for query in queries] == statements

    def test_a_record_that_waits_for_who_takes_back_sees_it(self, file: File, statements: list[str]) -> None:
        """Whatever the statement has looked at before it met the lock."""
        answers: list[Any] = []

        def issue() -> None:
            try:
                answers.append(links.issue(principal_of(file), Resource.of_file(file)))
            except TakenBack as error:
                answers.append(error)
            finally:
                connections["default"].close()

        issuing = threading.Thread(target=issue)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {Issuance._meta.db_table} IN SHARE MODE")
            issuing.start()
            until = time.monotonic() + 20
            while not is_waited_for(Issuance._meta.db_table):
                assert time.monotonic() < until
                time.sleep(0.01)
            take_back()
        issuing.join(20)
        assert [type(answer) for answer in answers] == [TakenBack]


def is_waited_for(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [table])
        return bool(cursor.fetchone()[0])


def write_until(may_end: Callable[[], bool], file: File) -> threading.Thread:
    """Record a link in a transaction of another connection that is open until something holds; return once it is."""
    is_written = threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                Issuance.objects.create(
                    at=datetime.now(UTC), decision="issued", principal="user:1", operation="Download",
                    storage_alias="private", resource=str(file.pk), key=KEY,
                    expires_at=datetime.now(UTC) + timedelta(hours=1),
                )  # fmt: skip
                is_written.set()
                until = time.monotonic() + 20
                while not may_end() and time.monotonic() < until:
                    time.sleep(0.01)
        finally:
            connections["default"].close()

    thread = threading.Thread(target=write)
    thread.start()
    assert is_written.wait(20)
    return thread


class TestAwaiting:
    @pytest.fixture
    def file(self, postgres_database: Any) -> File:
        return new_file(User.objects.create_user("ada"), key=KEY)

    def test_a_record_that_is_being_written_is_waited_for_and_told(self, file: File) -> None:
        counted_on_at: list[float] = []

        def is_overdue() -> bool:
            # Long after the number stands there for all to see.
            if not counted_on_at and Epoch.current_number():
                counted_on_at.append(time.monotonic())
            return bool(counted_on_at) and time.monotonic() > counted_on_at[0] + 0.3

        writing = write_until(is_overdue, file)
        assert take_back().ended == 1
        writing.join(20)

    def test_what_begins_later_is_not_waited_for(
        self, file: File, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        may_end, later = threading.Event(), threading.Event()
        writing = [write_until(may_end.is_set, file)]

        def begin_another(_: float) -> None:
            if not may_end.is_set():
                writing.append(write_until(later.is_set, file))
                may_end.set()
            time.sleep(0.01)

        monkeypatch.setattr(overtaking, "time", Clock(begin_another))
        await_records("default")
        assert len(writing) == 2
        assert writing[1].is_alive()
        assert not caplog.text
        later.set()
        for thread in writing:
            thread.join(20)

    def test_patience_ends_and_says_so(
        self, file: File, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(overtaking, "PATIENCE_SECONDS", 0.05)
        may_end = threading.Event()
        writing = write_until(may_end.is_set, file)
        assert take_back().ended == 0
        assert "records are still being written" in caplog.text
        may_end.set()
        writing.join(20)

    def test_readers_and_writers_of_other_tables_are_not_waited_for(
        self, file: File, caplog: pytest.LogCaptureFixture
    ) -> None:
        may_end, is_there = threading.Event(), threading.Event()

        def read() -> None:
            with transaction.atomic():
                list(Issuance.objects.all())
                File.objects.update(size_bytes=8)
                is_there.set()
                may_end.wait(20)
            connections["default"].close()

        reading = threading.Thread(target=read)
        reading.start()
        assert is_there.wait(20)
        await_records("default")
        assert reading.is_alive()
        assert not caplog.text
        may_end.set()
        reading.join(20)

    def test_inside_a_transaction_nothing_is_taken_back_yet(self, file: File) -> None:
        may_end = threading.Event()
        writing = write_until(may_end.is_set, file)
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            await_records("default")
        assert len(queries) == 0
        may_end.set()
        writing.join(20)

    @pytest.fixture
    def issuing(self, file: File) -> Iterator[list[int]]:
        """Links made by four threads as quickly as they can; the numbers of those that left."""
        left: list[int] = []
        is_over = threading.Event()

        def issue() -> None:
            try:
                while not is_over.is_set():
                    try:
                        left.append(number_of(links.issue(principal_of(file), Resource.of_file(file)).url))
                    except TakenBack:
                        continue
            finally:
                connections["default"].close()

        threads = [threading.Thread(target=issue) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield left
        finally:
            is_over.set()
            for thread in threads:
                thread.join(30)

    def test_every_link_that_left_under_a_lower_number_is_told(self, file: File, issuing: list[int]) -> None:
        told = []
        for _ in range(15):
            time.sleep(0.02)
            told.append(in_a_thread(take_back))
        for taken in told:
            assert taken.ended >= sum(number < taken.number for number in issuing)
        assert issuing


class Clock:
    """The module ``time`` with a sleep of one's own."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self.sleep = sleep
        self.monotonic = time.monotonic


def number_of(url: str) -> int:
    """Return under which number a local link was made."""
    values = [value for (value,) in parse_qs(urlsplit(url).query).values()]
    (number,) = [stamp[1] for value in values if (stamp := re.fullmatch(r"([0-9]+)-[0-9a-f]{32}", value))]
    return int(number)
