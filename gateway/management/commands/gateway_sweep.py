"""Deletes the objects that nothing names any more, once their grace is over; says which, and does it if told to.

Must not decide what may go: that is the outbox's. Run it with credentials that may delete; the web process
needs none.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.outbox import sweep

DEFAULT_LIMIT = 1000


class Command(BaseCommand):
    help = "Delete objects whose rows are gone, after their grace. Without --execute it only says which."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--execute", action="store_true", help="Delete. Without it nothing changes.")
        parser.add_argument(
            "--limit",
            type=_positive,
            default=DEFAULT_LIMIT,
            help=f"The most objects of one run. Default: {DEFAULT_LIMIT}.",
        )

    def handle(self, *args: Any, execute: bool, limit: int, **options: Any) -> None:
        count: Counter[str] = Counter()
        for swept in sweep(execute=execute, limit=limit):
            count[swept.outcome] += 1
            entry = swept.entry
            line = f"{swept.outcome} {entry.storage_alias}: {entry.key}" + (
                f" ({swept.detail})" if swept.detail else ""
            )
            # One line for each object, whatever characters its key or the store's answer has.
            self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])
        total = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items())) or "nothing to do"
        self.stdout.write(f"{total}." if execute else f"{total}. Nothing was changed; --execute does it.")
        if count["failed"]:
            raise CommandError(f"{count['failed']} of {count.total()} could not be deleted; the next run tries again")


def _positive(text: str) -> int:
    # int() would take signs, spaces and other scripts' digits.
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
