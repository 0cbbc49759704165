"""Lists which files anybody can fetch today, and which names no private storage would take; mends those if told to.

Without ``--rename`` it changes nothing, and it never speaks to a store. Must not rename what a private storage has.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway.management.base import GatewayCommand
from gateway.moving.auditing import invalid_names, public_files, public_storages
from gateway.moving.renaming import rename_all

_WORDS = {"public storage": "public storages", "public file": "public files", "invalid name": "invalid names"}


class Command(GatewayCommand):
    help = "List what is public today, and the names that private storages refuse, from settings, rows and this disk."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--rename",
            action="store_true",
            help="Copy the object of each refused name to a valid one, say so in the row, and note the old object for"
            " deletion by gateway_sweep.",
        )

    def handle(self, *args: Any, rename: bool, **options: Any) -> None:
        count: Counter[str] = Counter()
        for alias, reason in public_storages():
            count["public storage"] += 1
            self._say(f"public STORAGES[{alias!r}]: {reason}")
        for named in public_files():
            count["public file"] += 1
            self._say(f"public {named} ({named.detail})")
        # Held in memory: names change while they are gone through.
        invalid = list(invalid_names())
        for named in invalid:
            count["invalid name"] += 1
            self._say(f"invalid {named} ({named.detail})")
        if rename:
            for named, new, problem in rename_all(invalid):
                count["renamed" if new else "failed"] += 1
                self._say(f"renamed {named} to {new!r}" if new else f"failed {named} ({problem})")
        said = [f"{number} {word if number == 1 else _WORDS.get(word, word)}" for word, number in count.items()]
        self.stdout.write(f"{', '.join(said) or 'nothing found'}.")
        if count["failed"]:
            raise CommandError(f"{count['failed']} of {len(invalid)} could not be renamed")

    def _say(self, line: str) -> None:
        # One line for each, whatever characters a name has.
        self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])
