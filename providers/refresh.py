"""Keep a credential that ends fresh: fetched by one thread, waited for briefly, used while it lives.

Must not know what is fetched or from where. The clock of requests is the caller's; waits are monotonic.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from providers.errors import CredentialsUnavailable, ProviderError

__all__ = ["WAIT_SECONDS", "Breaker", "Refresher", "after_fork"]

WAIT_SECONDS = 0.9  # no request waits over a second for a credential, its own work included
AHEAD_SECONDS = 300.0  # so long before it would be too short, the next one is fetched behind the callers' backs
STUCK_SECONDS = 30.0  # a fetch that takes longer is given up, and another may start beside it
MAX_STUCK = 3
_BACKOFF_SECONDS = (0.5, 30.0)  # after the first failure, and at most
_REPEAT_SECONDS = (5.0, 600.0)  # bounds of the time until a fetch is repeated that did not help

T = TypeVar("T")

_resets: set[weakref.WeakMethod[Callable[[], None]]] = set()


def after_fork(reset: Callable[[], None]) -> None:
    """Call a bound method in every child process, before it has threads, as long as its object lives."""
    _resets.add(weakref.WeakMethod(reset, _resets.discard))


def _reset_child() -> None:
    for reference in tuple(_resets):
        if (reset := reference()) is not None:
            reset()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork either
    os.register_at_fork(after_in_child=_reset_child)


class Breaker:
    """Stop asking what keeps failing: closed, then open for a while, then half open for one probe.

    Args:
        threshold: failures in a row that open it.
    """

    def __init__(self, *, threshold: int = 1) -> None:
        self._threshold = threshold
        self._failures = 0
        self._probing = False
        self._probe_at = 0.0
        self._lock = threading.Lock()
        after_fork(self._reset)

    @property
    def is_closed(self) -> bool:
        return self._failures < self._threshold

    def admits(self) -> bool:
        """Tell whether to ask now; while open, one caller is told yes when the pause is over."""
        if self.is_closed:
            return True
        with self._lock:
            if self._probing or time.monotonic() < self._probe_at:
                return False
            self._probing = True
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._probing = 0, False

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._probing = False
            if not self.is_closed:
                first, most = _BACKOFF_SECONDS
                pause = min(most, first * 2.0 ** min(self._failures - self._threshold, 10))
                self._probe_at = time.monotonic() + pause * random.uniform(0.5, 1)  # noqa: S311  no secret

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._probing = False
        self._probe_at = 0.0


class _Flight(Generic[T]):
    """One fetch under way, and in the end what it brought."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.ended = threading.Event()
        self.value: T | None = None


class Refresher(Generic[T]):
    """Hand out one value that ends, and replace it in time.

    Args:
        fetch: brings a new value for ``(now, needed_seconds)``, in a thread of its own; may be slow or hang.
        seconds_left: how long a value is good for, seen from ``now``.
        name: what it is, for errors.
        useful_seconds: a value with less left is not worth using where a fetch failed.
    """

    def __init__(
        self,
        fetch: Callable[[datetime, float], T],
        *,
        seconds_left: Callable[[T, datetime], float],
        name: str,
        useful_seconds: float,
    ) -> None:
        self._fetch = fetch
        self._seconds_left = seconds_left
        self._name = name
        self._useful_seconds = useful_seconds
        self._value: T | None = None
        self._problem: BaseException | None = None
        self._breaker = Breaker()
        self._repeat_at = 0.0
        self._asked_seconds = 0.0
        self._flight: _Flight[T] | None = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        after_fork(self._reset)

    def get(self, *, now: datetime, needed_seconds: float, deadline: float | None = None) -> T:
        """Return a value with ``needed_seconds`` left, or the best there is.

        Args:
            deadline: of ``time.monotonic()``, where the caller has less time than :data:`WAIT_SECONDS`.

        Raises:
            CredentialsUnavailable: there is no useful one, and none could be fetched in time.
        """
        value = self._value
        left = 0.0 if value is None else self._seconds_left(value, now)
        if value is not None and left >= needed_seconds + AHEAD_SECONDS:
            return value
        flight = self._launch(now, needed_seconds)
        if value is not None and left >= needed_seconds:
            return value
        if flight is not None:
            # Late comers do not wait for a fetch that has already kept others waiting for nothing.
            until = flight.started + WAIT_SECONDS
            until = until if deadline is None else min(until, deadline)
            flight.ended.wait(max(0.0, until - time.monotonic()))
            if flight.value is not None:
                return flight.value
        value, problem = self._value, self._problem
        if value is not None:
            fresh = flight is None and problem is None  # it is short, and so would be another
            if fresh or self._seconds_left(value, now) >= self._useful_seconds:
                return value
        raise self._unavailable(problem) from problem

    def forget(self, value: T | None = None) -> None:
        """Drop what is kept, or only this one value: the next caller has a new one fetched."""
        with self._lock:
            if value is None or self._value is value:
                self._value = None
                self._repeat_at = 0.0

    def _launch(self, now: datetime, needed_seconds: float) -> _Flight[T] | None:
        """Return the fetch under way, a new one, or None while it is too early for another."""
        with self._lock:
            flight = self._flight
            if flight is not None and not self._gives_up(flight):
                return flight
            # What was fetched for this need already is not fetched again at once, only because it is short.
            if time.monotonic() < self._repeat_at and needed_seconds <= self._asked_seconds:
                return None
            if not self._breaker.admits():
                return None
            flight = self._flight = _Flight()
            thread = threading.Thread(
                target=self._run, args=(flight, now, needed_seconds), name=f"refresh {self._name}", daemon=True
            )
            self._threads = [*(old for old in self._threads if old.is_alive()), thread]
        try:
            thread.start()
        except RuntimeError as error:  # the process is ending, or has all the threads it may have
            self._land(flight, error)
        return flight

    def _gives_up(self, flight: _Flight[T]) -> bool:
        stuck = time.monotonic() - flight.started >= STUCK_SECONDS
        if not stuck or sum(thread.is_alive() for thread in self._threads) > MAX_STUCK:
            return False
        self._flight = None
        self._breaker.failed()
        return True

    def _run(self, flight: _Flight[T], now: datetime, needed_seconds: float) -> None:
        try:
            value = self._fetch(now, needed_seconds)
            left = self._seconds_left(value, now)
        except BaseException as error:  # whatever an SDK raises: those who wait are told
            # Without frames: their locals are tokens, and error pages show them.
            error.__cause__ = error.__context__ = error.__traceback__ = None
            self._land(flight, error)
            return
        with self._lock:
            least, most = _REPEAT_SECONDS
            self._value = flight.value = value
            self._repeat_at = time.monotonic() + min(most, max(least, left / 10))
            self._asked_seconds = max(self._asked_seconds, needed_seconds)
        self._land(flight, None)

    def _land(self, flight: _Flight[T], problem: BaseException | None) -> None:
        with self._lock:
            given_up = self._flight is not flight
            if not given_up:
                self._flight = None
            if problem is None or not given_up:
                self._problem = problem
        if problem is None:
            self._breaker.succeeded()
        elif not given_up:
            self._breaker.failed()
        flight.ended.set()

    def _unavailable(self, problem: BaseException | None) -> CredentialsUnavailable:
        if isinstance(problem, ProviderError):
            return CredentialsUnavailable(str(problem))
        why = f"the last try ended in {type(problem).__name__}" if problem else f"none came in {WAIT_SECONDS} s"
        return CredentialsUnavailable(f"{self._name} could not be had: {why}")

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._flight = None
        self._threads = []
