"""How things are measured: alternating, many times, and compared by the median of each.

Must not know what is measured.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CALLS = 5  # for each thread of first_calls(): its first one, three more, and one of an old thread


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        ours, theirs: seconds for one unit of work.
        target: ours must be at most this multiple of theirs; None is shown without a target.
        wanted: how the target is written in words.
    """

    what: str
    ours: float
    theirs: float
    peer: str
    target: float | None = None
    wanted: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def reached(self) -> bool:
        return self.target is None or self.ratio <= self.target


@dataclass
class Table:
    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        lines += ["| what | ours | peer | theirs | ours / theirs | wanted | reached |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in self.rows:
            lines.append(
                f"| {row.what} | {_shown(row.ours)} | {row.peer} | {_shown(row.theirs)} | {row.ratio:.3f}"
                f" | {row.wanted or '–'} | {'–' if row.target is None else 'yes' if row.reached else 'NO'} |"
            )
        lines += ["", *(f"{note}  " for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"


@dataclass
class Listing(Table):
    """Figures that stand beside each other, each line as it is."""

    header: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", f"| {' | '.join(self.header)} |", "|---" * len(self.header) + "|"]
        lines += [f"| {' | '.join(line)} |" for line in self.lines]
        lines += ["", *(f"{note}  " for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"


PROCESSOR_TIME = "Processor time: nothing here waits, and what else the machine is busy with is not counted."


def alternate(
    *works: Callable[[], object], rounds: int, units: int = 1, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Run each work in turn, round after round, and return each one's median seconds for a unit.

    In turn, since a machine that is busy for a moment should be busy for all of them; each round in another order,
    since what else runs may come and go at the pace of the rounds.
    """
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    order = random.Random(0)
    for _ in range(rounds):
        for work, seconds in order.sample(list(zip(works, times, strict=True)), k=len(works)):
            began = clock()
            work()
            seconds.append((clock() - began) / units)
    return [statistics.median(seconds) for seconds in times]


@dataclass(frozen=True)
class FirstCalls:
    """Median seconds of one call.

    Attributes:
        new: the first in a new thread.
        old: the first in a thread that has made many, right after it started another thread and saw it end.
        warm: the ones after a thread's first, one at once after the other.
    """

    new: float
    old: float
    warm: float

    def rows(self, what: str) -> list[Row]:
        return [
            Row(what, self.new, self.old, "the next one in an old thread, as cold", 1.5, "at most 1.5"),
            Row(what, self.new, self.warm, "the ones after it, in a loop", 2, "at most 2"),
        ]


FIRST_CALLS = (
    "On one processor. As cold: an old thread's next one after it has started an empty thread and seen it end. Nothing"
    " that signs belongs to a thread: what starting one leaves in the processor's caches makes the next one dearer than"
    " those in a loop."
)


def first_calls(work: Callable[[int], object], *, threads: int) -> FirstCalls:
    """Compare first calls in new threads with those of this one, one thread after the other.

    Args:
        work: told a number below ``CALLS * threads`` that no other call is told.
    """
    new: list[float] = []
    old: list[float] = []
    warm: list[float] = []

    def timed(number: int, seconds: list[float]) -> None:
        began = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - began)

    def run(numbers: Iterator[int]) -> None:
        timed(next(numbers), new)
        for number in numbers:
            timed(number, warm)

    def start(target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        thread.start()
        thread.join()

    with _one_processor():
        for first in range(0, CALLS * threads, CALLS):
            start(run, iter(range(first + 1, first + CALLS)))
            start(lambda: None)
            timed(first, old)
    return FirstCalls(statistics.median(new), statistics.median(old), statistics.median(warm))


@contextmanager
def _one_processor() -> Iterator[None]:
    """Keep new threads where this one is: what another processor's caches lack is no cost of what begins there."""
    if not hasattr(os, "sched_setaffinity"):  # not Linux
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def machine() -> str:
    """Name what the numbers were taken on."""
    return f"Python {platform.python_version()}, {platform.machine()}, {_processor()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as info:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return f"{len(names)} × {names[0]}" if names else platform.processor() or "unknown processor"


def _shown(seconds: float) -> str:
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
