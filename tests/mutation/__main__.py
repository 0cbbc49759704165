"""``python -m tests.mutation``: put small faults into what decides, and count those that no test sees.

    python -m tests.mutation [--minutes 20] [--module gateway.policies]... [--workers 2] [--seed 1] [--again OUTPUT]

The score is printed, and so is each survivor that docs/mutation.md does not explain; under 90 % the command fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.session import SURVIVED, AtImport, Examples, InOrder, Mutating, Outcome
from tests.mutation.targets import ROOT, TARGETS, Target, files_of

LEAST_SCORE = 0.90
PAGE = ROOT / "docs" / "mutation.md"
# In the order they are written, since the quickest are run first anyway; sys, since children share descriptors.
PYTEST = [
    "-q",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "--capture=sys",
    "-o",
    "tmp_path_retention_policy=failed",
]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--module", action="append", default=[], help="a dotted name; again for another")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--seed", type=int, default=1, help="of the order, and so of the sample")
    parser.add_argument("--again", type=Path, metavar="OUTPUT", help="of a run: try what survived it, and nothing else")
    parser.add_argument(
        "--at-import", metavar=("MODULE:NUMBER", "ORDER"), nargs=2, help="try one mutant from its import on"
    )
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    if options.at_import:
        return _run_at_import(*options.at_import)
    wanted = [(target, module) for target in TARGETS for module in target.modules()]
    if unknown := set(options.module) - {module for _, module in wanted}:
        parser.error(f"not mutated: {', '.join(sorted(unknown))}; one of {', '.join(name for _, name in wanted)}")
    wanted = [about for about in wanted if not options.module or about[1] in options.module]
    mutants = [mutant for target, module in wanted for mutant in target.mutants(module)]
    if options.again:
        mutants = survivors(options.again.read_text(), mutants)
    mutating = Mutating(
        mutants,
        at_import=lambda mutant, order: [
            sys.executable, "-m", "tests.mutation", "--at-import", f"{mutant.module}:{mutant.number}", str(order),
        ],
        seconds=options.minutes * 60,
        workers=options.workers,
        seed=options.seed,
    )  # fmt: skip
    pytest.main([*PYTEST, *files_of(tuple(target for target, _ in wanted))], plugins=[Examples(), mutating])
    outcome = mutating.outcome
    print(report(outcome, [module for _, module in wanted], options.seed, PAGE))
    if outcome.problem:
        print(outcome.problem)
    return 1 if outcome.problem or outcome.score < LEAST_SCORE else 0


def survivors(output: str, mutants: list[Mutant]) -> list[Mutant]:
    """Return those that a run's output names as survivors, whatever line they have moved to."""
    said = [line.partition(SURVIVED)[2] for line in output.splitlines() if SURVIVED in line]
    names = {about.partition(" ")[2] for about in said}
    return [mutant for mutant in mutants if mutant.name in names]


def report(outcome: Outcome, modules: list[str], seed: int, page: Path) -> str:
    """Return the table of the modules, and the survivors that the page does not explain."""
    columns = {
        "killed": outcome.killed,
        "timed out": outcome.timed_out,
        "survived": outcome.survived,
        "left out": outcome.left_out,
    }
    lines = ["", f"| Module | mutants | {' | '.join(columns)} |", "|---|--:|--:|--:|--:|--:|"]
    for name in [*modules, "all"]:
        counts = [sum(name in ("all", one.module) for one in mutants) for mutants in columns.values()]
        lines.append(f"| {name} | {sum(counts)} | {' | '.join(map(str, counts))} |")
    explained = page.read_text() if page.exists() else ""
    unexplained = [one for one in outcome.survived if f"`{_on_a_page(one)}`" not in explained]
    lines.append("")
    lines += [
        f"survived, not explained: line {one.line}, `{_on_a_page(one)}`"
        for one in sorted(unexplained, key=lambda one: (one.module, one.line))
    ]
    lines.append(f"score {outcome.score:.1%}; at least {LEAST_SCORE:.0%}")
    if outcome.left_out:
        at_import = sum(not one.in_function for one in outcome.left_out)
        lines.append(
            f"the time was over: {len(outcome.left_out)} mutants were left out, drawn with --seed {seed};"
            f" {at_import} of them show at import"
        )
    return "\n".join(lines)


def _on_a_page(mutant: Mutant) -> str:
    return mutant.name.replace("|", "\\|").replace("`", "'")


def _run_at_import(name: str, order: str) -> int:
    module, _, number = name.partition(":")
    target: Target = next(target for target in TARGETS if module in target.modules())
    mutant = target.mutants(module)[int(number)]
    sys.meta_path.insert(0, AtImport(mutant))
    return int(pytest.main([*PYTEST, "-x", *target.tests], plugins=[Examples(), InOrder(Path(order))]))


if __name__ == "__main__":
    sys.exit(main())
