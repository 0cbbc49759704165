"""Makes and turns the ring of keys that local links are signed with; no link that is valid is refused by it.

Must not print a key.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway.management.base import GatewayCommand
from gateway.storages import keyring


class Command(GatewayCommand):
    help = "Make, turn or show the key ring of a local storage, the file that its option secret_keys names."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("init", help="Make a ring where there is none.").add_argument("file", type=Path)
        rotate = actions.add_parser("rotate", help="Let the next key sign; the old one verifies for 7 days more.")
        rotate.add_argument("file", type=Path)
        rotate.add_argument("--drop", action="store_true", help="End all old keys, and with them their links, now.")
        actions.add_parser("show", help="Tell how many keys there are and when they end.").add_argument(
            "file", type=Path
        )

    def handle(self, *args: Any, action: str, file: Path, **options: Any) -> None:
        try:
            if file.exists() and not file.is_file():
                # A device may have no end.
                raise CommandError(f"{str(file)!a} is a directory or a device; a file")
            if action == "init":
                if file.exists():
                    raise CommandError(f"{file} is there; rotate turns it")
                keyring.write(file, keyring.fresh())
        except OSError as error:
            raise CommandError(f"{str(file)!a} cannot be written: {type(error).__name__}") from None
        if action != "init":
            try:
                ring = keyring.read(file)
                if action == "rotate":
                    ring = keyring.turned(ring, now=datetime.now(UTC))
                    keyring.write(file, keyring.drop(ring) if options["drop"] else ring)
            except (OSError, ValueError, TypeError) as error:
                # The text of a JSON error may quote a key.
                raise CommandError(f"{file} is no key ring: {type(error).__name__}") from None
        for number, entry in enumerate(keyring.read(file)):
            what = "verifies" if entry.get("not_after") else ("signs", "is the next")[min(number, 1)]
            self.stdout.write(f"key {number + 1} {what}, until {entry.get('not_after') or 'it is turned'}")
