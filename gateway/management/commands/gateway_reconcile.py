"""Compares rows and objects, and tells what does not agree.

Must not change or delete anything: a list of what is missing is no reason to lose more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway.management.base import GatewayCommand
from gateway.uploads.reconciling import reconcile


class Command(GatewayCommand):
    help = "Report rows without objects, objects without rows, and changed objects. Nothing is changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("alias", nargs="+", help="Storages to list, by their alias.")

    def handle(self, *args: Any, alias: list[str], **options: Any) -> None:
        count: Counter[str] = Counter()
        for one in dict.fromkeys(alias):
            for left in reconcile(one):
                count[left.what] += 1
                line = f"{left.what} {left.storage_alias}: {left.name}"
                self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])
        if count:
            raise CommandError(", ".join(f"{number} {what}" for what, number in sorted(count.items())))
        self.stdout.write("rows and objects agree.")
