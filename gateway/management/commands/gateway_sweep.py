"""Deletes what nothing names any more, once its grace is over, and ends uploads that ran out.

Says what it would do, and does it if told to. Must not decide what may go: that is the outbox's and the uploads'.
Run it with credentials that may delete and list; the web process needs neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway.management.arguments import whole_number
from gateway.management.base import GatewayCommand
from gateway.management.locks import one_run
from gateway.outbox import sweep
from gateway.uploads.later import take_up
from gateway.uploads.sweeping import Left, TooManyOrphans, expire, note_orphans, stop_stray_parts

DEFAULT_LIMIT = 1000
MOST_LIMIT = 1_000_000


class Command(GatewayCommand):
    help = (
        "Delete objects whose rows are gone, after their grace, and end overdue uploads. A dry run without --execute."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--execute", action="store_true", help="Delete. Without it nothing changes.")
        parser.add_argument(
            "--limit",
            type=whole_number(MOST_LIMIT),
            default=DEFAULT_LIMIT,
            help=f"The most objects of one run. Default: {DEFAULT_LIMIT}.",
        )
        parser.add_argument(
            "--orphans",
            action="append",
            default=[],
            metavar="ALIAS",
            help="List this storage, and note objects that no row names; a later run deletes them after the grace."
            " Parts that no upload knows are given up. May be repeated.",
        )

    def handle(self, *args: Any, execute: bool, limit: int, orphans: list[str], **options: Any) -> None:
        count: Counter[str] = Counter()
        with one_run("gateway_sweep"):
            # What is noted in this run is not deleted in it.
            for swept in sweep(execute=execute, limit=limit):
                count[swept.outcome] += 1
                entry = swept.entry
                self._say(
                    f"{swept.outcome} {entry.storage_alias}: {entry.key}"
                    + (f" ({swept.detail})" if swept.detail else "")
                )
            for left in _left(orphans, execute=execute, limit=limit):
                count[left.what] += 1
                self._say(f"{left.what} {left.storage_alias}: {left.name}")
        total = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items())) or "nothing to do"
        self.stdout.write(f"{total}." if execute else f"{total}. Nothing was changed; --execute does it.")
        if count["failed"]:
            raise CommandError(f"{count['failed']} of {count.total()} could not be deleted; the next run tries again")

    def _say(self, line: str) -> None:
        # One line for each object, whatever characters its key or the store's answer has.
        self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])


def _left(aliases: list[str], *, execute: bool, limit: int) -> Iterator[Left]:
    yield from take_up(execute=execute, limit=limit)
    yield from expire(execute=execute, limit=limit)
    for alias in dict.fromkeys(aliases):
        yield from stop_stray_parts(alias, execute=execute)
        try:
            yield from note_orphans(alias, execute=execute, limit=limit)
        except TooManyOrphans as error:
            raise CommandError(str(error)) from error
