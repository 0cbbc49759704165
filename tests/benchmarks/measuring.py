"""How things are measured: alternating, many times, and compared by the median of each.

Must not know what is measured.
"""

from __future__ import annotations

import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


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


def alternate(*works: Callable[[], object], rounds: int, units: int = 1) -> list[float]:
    """Run each work in turn, round after round, and return each one's median seconds for a unit.

    In turn, since a machine that is busy for a moment should be busy for all of them.
    """
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(rounds):
        for work, seconds in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            seconds.append((time.perf_counter() - began) / units)
    return [statistics.median(seconds) for seconds in times]


def in_new_threads(work: Callable[[int], object], *, threads: int, calls: int = 4) -> tuple[float, float]:
    """Return the median seconds of a thread's first call, and of its later ones; one thread after the other.

    Args:
        work: told a number that no other call is told.
    """
    firsts: list[float] = []
    later: list[float] = []

    def run(start: int) -> None:
        for number in range(calls):
            began = time.perf_counter()
            work(start + number)
            (later if number else firsts).append(time.perf_counter() - began)

    for number in range(threads):
        thread = threading.Thread(target=run, args=(number * calls,))
        thread.start()
        thread.join()
    return statistics.median(firsts), statistics.median(later)


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
