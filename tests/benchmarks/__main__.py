"""``python -m tests.benchmarks``: run all comparisons, print the tables, keep them in docs/benchmarks.md.

Named ones alone, such as ``signing_azure`` or ``signing.thread_table``, are printed and not kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import delivery, serving_links, signing, signing_azure, signing_cloudfront, signing_gcs, uploading
from tests.benchmarks.measuring import Table, machine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
TABLES: list[Callable[[], Table]] = [
    signing.table,
    signing.process_table,
    signing.thread_table,
    signing_cloudfront.table,
    signing_gcs.table,
    signing_azure.table,
    serving_links.table,
    delivery.table,
    delivery.speeds,
    uploading.table,
    signing_cloudfront.page_table,
    signing_gcs.page_table,
    signing_azure.page_table,
]


def main(names: Sequence[str] = ()) -> int:
    chosen = [make for make in TABLES if not names or not _names_of(make).isdisjoint(names)]
    if unknown := set(names).difference(*map(_names_of, TABLES)):
        sys.exit(f"no such table: {', '.join(sorted(unknown))}; {', '.join(max(_names_of(make)) for make in TABLES)}")
    tables = []
    for make in chosen:
        table = make()
        print(table.markdown(), flush=True)
        tables.append(table)
    if not names:
        head = f"# Benchmarks\n\nFrom one run of `make bench`: {machine()}. Medians of alternating rounds.\n"
        PAGE.write_text("\n".join([head, *(table.markdown() for table in tables)]))
    missed = [row for table in tables for row in table.rows if not row.reached]
    for row in missed:
        print(f"not reached: {row.what}: {row.ratio:.3f}, {row.wanted}")
    return 1 if missed else 0


def _names_of(make: Callable[[], Table]) -> set[str]:
    """Return the module's name, and the one that no other table has."""
    module = make.__module__.rpartition(".")[2]
    return {module, f"{module}.{make.__name__}"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
