"""``python -m tests.benchmarks``: run all comparisons, print the tables, keep them in docs/benchmarks.md."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import serving_links, signing, signing_azure, signing_cloudfront, signing_gcs, uploading
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
    uploading.table,
    signing_cloudfront.page_table,
    signing_gcs.page_table,
    signing_azure.page_table,
]


def main() -> int:
    tables = []
    for make in TABLES:
        table = make()
        print(table.markdown(), flush=True)
        tables.append(table)
    head = f"# Benchmarks\n\nFrom one run of `make bench`: {machine()}. Medians of alternating rounds.\n"
    PAGE.write_text("\n".join([head, *(table.markdown() for table in tables)]))
    missed = [row for table in tables for row in table.rows if not row.reached]
    for row in missed:
        print(f"not reached: {row.what}: {row.ratio:.3f}, {row.wanted}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
