"""Credentials that end: one fetch for all, no long wait, the old one used while it lives, a second try later."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from providers import CredentialsUnavailable, InvalidOperation, refresh
from providers.refresh import WAIT_SECONDS, Breaker, Refresher, after_fork
from tests.providers import clouds
from tests.providers.examples import NOW

USEFUL_SECONDS = 61.0
NEEDED_SECONDS = 360.0


@dataclass(frozen=True)
class Value:
    number: int
    ends_at: datetime


class Source:
    """A fetch that does as it is told, and counts.

    Attributes:
        life: of each value, from the ``now`` of the request.
        work: done before the answer: it may wait, or raise.
    """

    def __init__(self, *, life: timedelta = timedelta(hours=1)) -> None:
        self.life = life
        self.work: Callable[[], object] = lambda: None
        self.fetched = 0
        self.needs: list[float] = []
        self._lock = threading.Lock()

    def fetch(self, now: datetime, needed_seconds: float) -> Value:
        with self._lock:
            self.fetched += 1
            self.needs.append(needed_seconds)
            number = self.fetched
        self.work()
        return Value(number, now + self.life)

    def refresher(self) -> Refresher[Value]:
        return Refresher(
            self.fetch,
            seconds_left=lambda value, now: (value.ends_at - now).total_seconds(),
            name="a value",
            useful_seconds=USEFUL_SECONDS,
        )


def fails(error: BaseException | None = None) -> Callable[[], object]:
    def work() -> None:
        raise error or OSError("no route")

    return work


def get(values: Refresher[Value], *, after: timedelta = timedelta(0), needed: float = NEEDED_SECONDS) -> Value:
    return values.get(now=NOW + after, needed_seconds=needed)


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not come to be within 5 s"
        time.sleep(0.005)


@pytest.fixture
def hung() -> Any:
    """Something to wait for that is released when the test ends, so that no thread stays."""
    released = threading.Event()
    yield released
    released.set()


# --- when it is fetched ------------------------------------------------------------------------------------


def test_nothing_is_fetched_before_it_is_asked_for() -> None:
    source = Source()
    source.refresher()
    assert source.fetched == 0


def test_64_threads_that_ask_first_share_one_fetch() -> None:
    source = Source()
    source.work = lambda: time.sleep(0.05)
    values = source.refresher()
    assert {value.number for value in clouds.at_once(lambda: get(values))} == {1}
    assert source.fetched == 1


def test_what_covers_the_need_is_used_without_a_fetch() -> None:
    source = Source()
    values = source.refresher()
    for minutes in range(0, 49, 6):  # 60 minutes less 6 needed and 5 ahead
        assert get(values, after=timedelta(minutes=minutes)).number == 1
    assert source.fetched == 1


def test_the_next_one_is_fetched_ahead_and_nobody_waits_for_it(hung: threading.Event) -> None:
    source = Source()
    values = source.refresher()
    get(values)
    values._repeat_at = 0.0
    source.work = hung.wait
    began = time.monotonic()
    assert get(values, after=timedelta(minutes=50)).number == 1  # it still covers the need
    assert time.monotonic() - began < WAIT_SECONDS
    assert source.fetched == 2
    hung.set()
    eventually(lambda: get(values, after=timedelta(minutes=50)).number == 2)


def test_one_that_no_longer_covers_the_need_is_replaced_first() -> None:
    source = Source()
    values = source.refresher()
    get(values)
    values._repeat_at = 0.0
    assert get(values, after=timedelta(minutes=55)).number == 2


def test_the_need_is_told_to_the_source() -> None:
    source = Source()
    get(source.refresher(), needed=1234.0)
    assert source.needs == [1234.0]


def test_a_source_that_gives_too_little_is_not_asked_for_every_link() -> None:
    source = Source(life=timedelta(seconds=200))
    values = source.refresher()
    for _ in range(50):
        assert get(values).number == 1
    assert source.fetched == 1
    # A tenth of what was left, and at least 5 s, later.
    assert 15 < values._repeat_at - time.monotonic() <= 20


def test_a_greater_need_is_asked_for_at_once() -> None:
    source = Source()
    values = source.refresher()
    for needed in (360.0, 7200.0, 7200.0, 360.0, 5000.0, 7200.0):
        get(values, needed=needed)
    assert source.needs == [360.0, 7200.0]


def test_a_value_that_is_dead_on_arrival_is_handed_out_to_be_judged() -> None:
    # A clock that is hours off makes it so: whoever signs says that it has expired.
    source = Source(life=timedelta(hours=-10))
    values = source.refresher()
    assert get(values).ends_at < NOW
    assert get(values).ends_at < NOW
    assert source.fetched == 1


# --- when it fails -----------------------------------------------------------------------------------------


def test_without_a_value_a_failure_is_said_and_typed() -> None:
    source = Source()
    source.work = fails()
    with pytest.raises(CredentialsUnavailable, match="a value could not be had: the last try ended in OSError"):
        get(source.refresher())


def test_what_the_source_says_of_itself_is_passed_on() -> None:
    source = Source()
    source.work = fails(CredentialsUnavailable("HTTP 403"))
    with pytest.raises(CredentialsUnavailable, match=r"^HTTP 403$"):
        get(source.refresher())
    source.work = fails(InvalidOperation("not this"))
    with pytest.raises(CredentialsUnavailable, match=r"^not this$"):
        get(source.refresher())


def test_even_what_ends_threads_is_a_failure() -> None:
    source = Source()
    source.work = fails(SystemExit(3))
    with pytest.raises(CredentialsUnavailable, match="SystemExit"):
        get(source.refresher())


def test_no_frame_of_the_source_hangs_on_the_error() -> None:
    source = Source()

    def work() -> None:
        secret = "a token"  # noqa: F841  what error pages would show
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise OSError("outer") from error

    source.work = work
    with pytest.raises(CredentialsUnavailable) as refusal:
        get(source.refresher())
    cause = refusal.value.__cause__
    assert isinstance(cause, OSError)
    assert (cause.__traceback__, cause.__cause__, cause.__context__) == (None, None, None)


def test_the_old_value_is_used_while_it_lives() -> None:
    source = Source()
    values = source.refresher()
    get(values)
    values._repeat_at = 0.0
    source.work = fails()
    for seconds_left in (359.0, 120.0, 61.0):
        assert get(values, after=timedelta(seconds=3600 - seconds_left)).number == 1
    with pytest.raises(CredentialsUnavailable):
        get(values, after=timedelta(seconds=3600 - 60))


def test_after_a_failure_nobody_asks_for_a_while_and_nobody_waits() -> None:
    source = Source()
    source.work = fails()
    values = source.refresher()
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(CredentialsUnavailable):
            get(values)
    assert source.fetched == 1
    assert time.monotonic() - began < WAIT_SECONDS


def test_it_recovers_with_one_probe() -> None:
    source = Source()
    source.work = fails()
    values = source.refresher()
    with pytest.raises(CredentialsUnavailable):
        get(values)
    source.work = lambda: time.sleep(0.02)
    eventually(lambda: time.monotonic() > values._breaker._probe_at)
    assert {value.number for value in clouds.at_once(lambda: get(values))} == {2}
    assert source.fetched == 2


# --- when it hangs -----------------------------------------------------------------------------------------


@pytest.mark.hurried
def test_no_caller_waits_over_a_second_for_a_fetch_that_hangs(hung: threading.Event) -> None:
    def attempt() -> float:
        source = Source()
        source.work = hung.wait
        values = source.refresher()

        def waited() -> float:
            began = time.monotonic()
            with pytest.raises(CredentialsUnavailable, match=r"none came in 0\.9 s"):
                get(values)
            return time.monotonic() - began

        longest = max(clouds.at_once(waited))
        # Later callers do not wait at all, and begin nothing.
        assert clouds.at_once_mostly(waited() for _ in range(10))
        assert source.fetched == 1
        return longest

    assert clouds.within_a_second(attempt)


def test_what_comes_late_is_used(hung: threading.Event) -> None:
    source = Source()
    source.work = hung.wait
    values = source.refresher()
    with pytest.raises(CredentialsUnavailable):
        values.get(now=NOW, needed_seconds=NEEDED_SECONDS, deadline=time.monotonic())
    hung.set()
    eventually(lambda: values._value is not None)
    assert get(values).number == 1


@pytest.mark.hurried
def test_the_old_value_is_used_while_a_fetch_hangs(hung: threading.Event) -> None:
    def attempt() -> float:
        source = Source()
        values = source.refresher()
        get(values)
        values._repeat_at = 0.0
        source.work = hung.wait
        began = time.monotonic()
        for _ in range(10):
            assert get(values, after=timedelta(seconds=3500)).number == 1
        return time.monotonic() - began

    assert clouds.within_a_second(attempt)


def test_a_deadline_of_the_caller_comes_first(hung: threading.Event) -> None:
    source = Source()
    source.work = hung.wait
    values = source.refresher()
    began = time.monotonic()
    with pytest.raises(CredentialsUnavailable):
        values.get(now=NOW, needed_seconds=1, deadline=began + 0.1)
    assert time.monotonic() - began < WAIT_SECONDS


def test_a_fetch_that_hangs_for_long_is_given_up_but_threads_do_not_pile_up(
    hung: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "STUCK_SECONDS", 0.02)
    monkeypatch.setattr(refresh, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(refresh, "_BACKOFF_SECONDS", (0.001, 0.001))
    source = Source()
    source.work = hung.wait
    values = source.refresher()
    for _ in range(60):
        with pytest.raises(CredentialsUnavailable):
            get(values)
        time.sleep(0.005)
    assert source.fetched == refresh.MAX_STUCK + 1
    # Whichever of them comes back first brings the value.
    hung.set()
    eventually(lambda: values._value is not None)
    assert get(values).ends_at == NOW + source.life


def test_a_process_that_cannot_start_threads_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = Source()
    values = source.refresher()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(CredentialsUnavailable, match="RuntimeError"):
        get(values)
    monkeypatch.undo()
    eventually(lambda: time.monotonic() > values._breaker._probe_at)
    assert get(values).number == 1


# --- forgetting and forking --------------------------------------------------------------------------------


def test_what_is_forgotten_is_fetched_anew() -> None:
    source = Source()
    values = source.refresher()
    first = get(values)
    values.forget()
    assert get(values).number == 2
    values.forget(first)  # no longer what is kept
    assert get(values).number == 2


def test_a_child_has_what_its_parent_fetched_and_fetches_for_itself() -> None:
    source = Source()
    values = source.refresher()
    get(values)

    def child() -> tuple[int, int, int]:
        kept = get(values).number
        values.forget()
        return kept, len({value.number for value in clouds.at_once(lambda: get(values))}), source.fetched

    assert clouds.in_a_fork(child) == (1, 1, 2)
    assert source.fetched == 1


def test_a_child_does_not_wait_for_its_parents_fetch(hung: threading.Event) -> None:
    source = Source()
    source.work = hung.wait
    values = source.refresher()
    values._launch(NOW, NEEDED_SECONDS)
    eventually(lambda: source.fetched == 1)

    def child() -> tuple[int, float]:
        source.work = lambda: None
        began = time.monotonic()
        return get(values).number, time.monotonic() - began

    number, seconds = clouds.in_a_fork(child)  # type: ignore[misc]
    assert (number, seconds < WAIT_SECONDS) == (2, True)


def test_a_child_can_take_a_lock_that_was_held_when_it_was_born() -> None:
    source = Source()
    values = source.refresher()
    with values._lock, values._breaker._lock:
        assert clouds.in_a_fork(lambda: get(values).number) == 1


def test_what_is_gone_is_not_called_after_a_fork() -> None:
    class Holder:
        def reset(self) -> None:
            raise AssertionError("called")

    holder = Holder()
    before = set(refresh._resets)
    after_fork(holder.reset)
    (added,) = refresh._resets - before
    reference = weakref.ref(holder)
    del holder
    gc.collect()
    assert reference() is None
    assert added not in refresh._resets


# --- the breaker -------------------------------------------------------------------------------------------


def test_a_breaker_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(threshold=3)
    for _ in range(2):
        breaker.failed()
        assert breaker.admits()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.is_closed
        breaker.failed()
    assert not breaker.is_closed
    assert not breaker.admits()


def test_a_breaker_lets_one_probe_through_and_closes_when_it_succeeds() -> None:
    breaker = Breaker()
    breaker.failed()
    breaker._probe_at = 0.0
    assert sum(clouds.at_once(breaker.admits)) == 1
    breaker.failed()
    assert not breaker.admits()
    breaker._probe_at = 0.0
    assert breaker.admits()
    breaker.succeeded()
    assert all(clouds.at_once(breaker.admits))


def test_pauses_of_a_breaker_grow_to_a_bound_and_are_random() -> None:
    longest = 0.0
    pauses = set()
    for failures in range(1, 40):
        breaker = Breaker()
        for _ in range(failures):
            breaker.failed()
        pause = breaker._probe_at - time.monotonic()
        pauses.add(round(pause, 3))
        expected = min(30.0, 0.5 * 2 ** (failures - 1))
        assert expected / 2 - 0.1 < pause <= expected
        longest = max(longest, pause)
    assert 15 < longest <= 30
    assert len(pauses) > 30
