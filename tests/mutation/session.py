"""The pytest plugin that runs mutants: collects once, looks once which test touches which line, forks for each mutant.

Must not let a mutant touch the parent: each runs, and ends, in a process of its own.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest

from tests.mutation.mutants import Mutant, functions_of

__all__ = ["SURVIVED", "AtImport", "Examples", "InOrder", "Mutating", "Outcome"]

SURVIVED = "survived: "  # in the output, before line and name of a mutant
_SURVIVED, _KILLED, _NO_MUTANT = 0, 1, 3
_NO_TESTS = int(pytest.ExitCode.NO_TESTS_COLLECTED)
_LEAST_SECONDS = 20  # how long a mutant may run, at least
_TIMES = 6  # and how many times as long as its tests need without it
_SECONDS_AT_FIRST = 15  # of tests before the next mutant has its turn; what lives then meets the others later
_NEARNESS = 4  # as much quicker may another test be than one that runs anything of the mutant's file
_SECONDS_AT_IMPORT = 60  # what the tests of a mutant that shows at import may need without it


@dataclass
class Outcome:
    """What became of the mutants."""

    killed: list[Mutant] = field(default_factory=list)
    timed_out: list[Mutant] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    left_out: list[Mutant] = field(default_factory=list)
    problem: str = ""

    @property
    def score(self) -> float:
        dead = len(self.killed) + len(self.timed_out)
        return dead / max(1, dead + len(self.survived))


@dataclass
class _Running:
    mutant: Mutant
    ends_at: float
    results: int


class Examples:
    """Lets hypothesis show each mutant the same examples, and look for no smaller one: what it finds is enough."""

    def pytest_sessionstart(self) -> None:
        import hypothesis  # not before pytest has rewritten its asserts

        hypothesis.settings.register_profile(
            "mutation", derandomize=True, database=None, deadline=None, phases=[hypothesis.Phase.generate]
        )
        hypothesis.settings.load_profile("mutation")


class Mutating:
    """Runs mutants in place of the tests, until the time is over.

    Args:
        at_import: gives the command that tries a mutant which shows at import, in an interpreter of its own, by
            the tests that a file names.
        seconds: for all of it; mutants are drawn in the order of ``seed``, so that those tried are a fair sample
            of those that show when called; those that show at import come last.
    """

    def __init__(
        self,
        mutants: Sequence[Mutant],
        *,
        at_import: Callable[[Mutant, Path], list[str]],
        seconds: float,
        workers: int,
        seed: int,
    ) -> None:
        self.outcome = Outcome()
        self._waiting = list(mutants)
        random.Random(seed).shuffle(self._waiting)
        # Taken from the end: those that need an interpreter of their own last, each costs as much as dozens of others.
        self._waiting.sort(key=lambda mutant: mutant.in_function)
        self._at_import = at_import
        self._ends_at = time.monotonic() + seconds
        self._workers = workers
        self._touching: dict[str, dict[int, set[str]]] = {}
        self._seconds: dict[str, float] = {}
        # Mutants that live so far, and which tests they are still to meet.
        self._living: list[Mutant] = []
        self._later: dict[Mutant, list[str]] = {}
        # Which tests killed mutants, by module and by function: what one sees its neighbour will.
        self._killers: dict[str, Counter[str]] = defaultdict(Counter)
        self._failures: list[pytest.TestReport] = []
        self._directory = tempfile.TemporaryDirectory()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not _needs_a_server(item)]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items: Any = {item.nodeid: item for item in session.items}
        with_database = next(item for item in items.values() if "db" in item.fixturenames)
        # The first test makes the database and all that lasts a session, which every child then has; what lasts no
        # longer than its module must be gone, or the first test of every child would fail.
        self._fails(with_database, session)
        if list(session._setupstate.stack) != [session]:
            self.outcome.problem = f"more than the session is left of {with_database.nodeid}"
            return True
        self._look(items)
        if self.outcome.problem:
            return True
        self._look_beside(items)
        gc.collect()
        gc.freeze()
        functions = _functions({str(mutant.file) for mutant in self._waiting})
        running: dict[int, _Running] = {}
        total = len(self._waiting)
        while self._waiting or self._living or running:
            while (self._waiting or self._living) and len(running) < self._workers and time.monotonic() < self._ends_at:
                pid, started = self._start(self._next(), items, functions)
                running[pid] = started
            if not running:
                break
            self._reap(running)
            done = total - len(self._waiting) - len(self._living) - len(running)
            if done and done % 50 == 0 and len(running) < self._workers:
                print(f"{done} of {total}, {self.outcome.score:.1%}", file=sys.__stdout__, flush=True)
        self.outcome.left_out = self._waiting
        for mutant in self._living:
            self._survives(mutant)
        return True

    def _survives(self, mutant: Mutant) -> None:
        self.outcome.survived.append(mutant)
        print(f"{SURVIVED}{mutant.line} {mutant.name}", file=sys.__stdout__, flush=True)

    def _next(self) -> Mutant:
        """Take another mutant, or one that lives, so that when the time is over none is left half tried."""
        needed = sum(self._seconds[test] for mutant in self._living for test in self._later[mutant])
        is_first_round = bool(self._waiting) and self._waiting[-1].in_function
        if self._living and (not is_first_round or needed >= (self._ends_at - time.monotonic()) * self._workers):
            return self._living.pop(0)
        return self._waiting.pop()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failures.append(report)

    def _fails(self, item: pytest.Item, following: pytest.Item | pytest.Session | None) -> bool:
        before = len(self._failures)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return len(self._failures) > before

    def _look(self, items: dict[str, pytest.Item]) -> None:
        """Run all tests once, in a child, and note which lines each touches and how long it takes."""
        files = sorted({str(mutant.file) for mutant in self._waiting})
        with tempfile.TemporaryDirectory() as directory:
            data, times = Path(directory, "coverage"), Path(directory, "seconds")
            pid = os.fork()
            if pid == 0:
                _say_nothing()
                _end_with(lambda: self._watch(list(items.values()), files, data, times))
            _, status = os.waitpid(pid, 0)
            if os.waitstatus_to_exitcode(status) != 0:
                failure = times.read_text() if times.exists() else "they end without a word"
                self.outcome.problem = f"without any mutant the tests fail: {failure}"
                return
            for line in times.read_text().splitlines():
                seconds, _, nodeid = line.partition(" ")
                self._seconds[nodeid] = float(seconds)
            seen = coverage.CoverageData(str(data))
            seen.read()
            for file in files:
                lines: dict[int, set[str]] = defaultdict(set)
                for line_number, contexts in seen.contexts_by_lineno(file).items():
                    lines[line_number] = {context for context in contexts if context in items}
                self._touching[file] = lines

    def _look_beside(self, items: dict[str, pytest.Item]) -> None:
        """Run all tests again, in as many children at once as mutants: one that fails there would kill for nothing."""
        order = [items[test] for test in sorted(items, key=self._seconds.__getitem__)]
        with tempfile.TemporaryDirectory() as directory:
            failures = {}
            for number in range(self._workers):
                failed = Path(directory, str(number))
                pid = os.fork()
                if pid == 0:
                    _say_nothing()
                    _end_with(partial(self._name_failing, order, failed))
                failures[pid] = failed
            for pid, failed in failures.items():
                os.waitpid(pid, 0)
                for line in failed.read_text().splitlines():
                    print(f"not used, since it fails without a mutant: {line}", file=sys.__stdout__, flush=True)
                    self._seconds.pop(line.partition("\t")[0], None)
        for lines in self._touching.values():
            for touching in lines.values():
                touching.intersection_update(self._seconds)

    def _start(
        self, mutant: Mutant, items: dict[str, pytest.Item], functions: dict[tuple[str, str, int], list[FunctionType]]
    ) -> tuple[int, _Running]:
        tests = self._later.pop(mutant, None) or self._first_of(mutant)
        reading, writing = os.pipe()
        needed = sum(self._seconds[test] for test in tests) if mutant.in_function else _SECONDS_AT_IMPORT
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.close(reading)
            _say_nothing()
            if not mutant.in_function:
                command = self._at_import(mutant, self._order_of(mutant))
                os.execv(command[0], command)
            _end_with(lambda: self._try(mutant, [items[test] for test in tests], functions, writing))
        os.close(writing)
        return pid, _Running(mutant, time.monotonic() + _LEAST_SECONDS + _TIMES * needed, reading)

    def _first_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that a mutant meets at first, of those that run its lines, and note the others for later."""
        lines = self._touching[str(mutant.file)]
        touching = {test for line in range(mutant.line, mutant.last_line + 1) for test in lines.get(line, ())}
        near, nearest = self._killers[mutant.module], self._killers[f"{mutant.module} {mutant.where}"]
        first: list[str] = []
        later: list[str] = []
        seconds = 0.0
        for test in sorted(touching, key=lambda test: (-nearest[test], self._seconds[test] / (1 + near[test]))):
            seconds += self._seconds[test]
            (later if first and seconds > _SECONDS_AT_FIRST else first).append(test)
        if later and mutant.in_function:
            self._later[mutant] = later
        return first

    def _order_of(self, mutant: Mutant) -> Path:
        """Write down as many tests as there is time for: the quickest, and first those that killed its neighbours."""
        near = set().union(*self._touching[str(mutant.file)].values())
        killers = self._killers[mutant.module]
        tests = []
        seconds = 0.0
        for test in sorted(
            self._seconds,
            key=lambda test: self._seconds[test] / ((_NEARNESS if test in near else 1) * (1 + killers[test])),
        ):
            if seconds + self._seconds[test] <= _SECONDS_AT_IMPORT:
                seconds += self._seconds[test]
                tests.append(test)
        order = Path(self._directory.name, f"{mutant.module}.{mutant.number}")
        order.write_text("\n".join(tests))
        return order

    def _reap(self, running: dict[int, _Running]) -> None:
        time.sleep(0.01)
        for pid, one in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            late = not ended and time.monotonic() > one.ends_at
            if late:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            elif not ended:
                continue
            del running[pid]
            with os.fdopen(one.results, encoding="utf-8") as results:
                killer = "" if late else results.read()
            if late:
                self._later.pop(one.mutant, None)
                self.outcome.timed_out.append(one.mutant)
            elif os.waitstatus_to_exitcode(status) == _SURVIVED and one.mutant in self._later:
                self._living.append(one.mutant)
            elif os.waitstatus_to_exitcode(status) == _SURVIVED:
                self._survives(one.mutant)
            elif os.waitstatus_to_exitcode(status) == (_NO_MUTANT if one.mutant.in_function else _NO_TESTS):
                self.outcome.problem = f"{one.mutant.name} could not be put in"
            else:
                self.outcome.killed.append(one.mutant)
                self._later.pop(one.mutant, None)
                self._killers[one.mutant.module][killer] += 1
                self._killers[f"{one.mutant.module} {one.mutant.where}"][killer] += 1

    def _try(
        self,
        mutant: Mutant,
        items: list[pytest.Item],
        functions: dict[tuple[str, str, int], list[FunctionType]],
        results: int,
    ) -> int:
        if not _put_in(mutant, functions):
            return _NO_MUTANT
        for position, item in enumerate(items):
            following = items[position + 1] if position + 1 < len(items) else None
            if self._fails(item, following):
                os.write(results, item.nodeid.encode())
                return _KILLED
        return _SURVIVED

    def _name_failing(self, items: list[pytest.Item], failed: Path) -> int:
        lines = []
        for one, following in zip(items, [*items[1:], None], strict=True):
            if self._fails(one, following):
                said = self._failures[-1].longreprtext.splitlines() or [""]
                lines.append(f"{one.nodeid}\t{said[-1]}")
        failed.write_text("\n".join(lines))
        return _SURVIVED

    def _watch(self, items: list[pytest.Item], files: list[str], data: Path, times: Path) -> int:
        watching = coverage.Coverage(data_file=str(data), include=files, config_file=False)
        watching.start()
        lines = []
        for position, item in enumerate(items):
            watching.switch_context(item.nodeid)
            begin = time.monotonic()
            following = items[position + 1] if position + 1 < len(items) else None
            if self._fails(item, following):
                times.write_text(f"{item.nodeid}\n{self._failures[-1].longreprtext}")
                return _KILLED
            lines.append(f"{time.monotonic() - begin:.4f} {item.nodeid}\n")
        watching.stop()
        watching.save()
        times.write_text("".join(lines))
        return _SURVIVED


class AtImport(MetaPathFinder):
    """Imports a module as a mutant of itself."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        loader = _Loader(fullname, str(self._mutant.file))
        loader.mutant = self._mutant
        return importlib.util.spec_from_file_location(fullname, self._mutant.file, loader=loader)


class InOrder:
    """Runs the tests that a file names, in its order."""

    def __init__(self, order: Path) -> None:
        self._places = {test: place for place, test in enumerate(order.read_text().split("\n"))}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places), key=lambda item: self._places[item.nodeid]
        )


class _Loader(SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        return self.mutant.code()


def _needs_a_server(item: pytest.Item) -> bool:
    from tests.emulators.fixtures import EMULATORS  # not before pytest has rewritten its asserts

    # The one of CloudFront is a thread of the test itself: it begins and ends with the mutant's process.
    return (
        not (set(EMULATORS) - {"cloudfront"}).isdisjoint(getattr(item, "fixturenames", ())) or "postgres" in item.nodeid
    )


def _functions(files: set[str]) -> dict[tuple[str, str, int], list[FunctionType]]:
    found: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
    gc.unfreeze()
    for one in gc.get_objects():
        # Not isinstance(), which a lazy object answers by being made.
        if type(one) is FunctionType and one.__code__.co_filename in files:
            code = one.__code__
            found[code.co_filename, code.co_qualname, code.co_firstlineno].append(one)
    gc.freeze()
    return found


def _put_in(mutant: Mutant, functions: dict[tuple[str, str, int], list[FunctionType]]) -> bool:
    """Give the functions that are there already the code of the mutant, wherever they are referred to."""
    file = str(mutant.file)
    sound = functions_of(compile(mutant.text, file, "exec", dont_inherit=True))
    is_in = False
    for place, code in functions_of(mutant.code()).items():
        if code != sound[place]:
            for function in functions[(file, *place)]:
                function.__code__ = code
                is_in = True
    return is_in


def _say_nothing() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _end_with(work: Callable[[], int]) -> None:
    """End a child by what it found: nothing of the parent may run in it afterwards."""
    code = _KILLED
    try:
        code = work()
    finally:
        os._exit(code)
