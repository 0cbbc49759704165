"""Examines live stores and what the service stands on; a line for each thing, status 1 if one is wrong.

Must not decide what is wrong: that is the doctor's.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.core.files.storage import InvalidStorageError, storages
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.conf import conf
from gateway.doctor import Visit, examine, examine_site
from gateway.doctor.findings import Finding, fail
from gateway.resources import PrivateStorage

_MARKS = {"ok": "ok    ", "fail": "FAIL  ", "note": "note  ", "unseen": "unseen"}


class Command(BaseCommand):
    help = "Examine live stores with the credentials of the service, and say what is wrong and what mends it."
    # It says itself what is wrong, and must run where checks fail.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("aliases", nargs="*", metavar="ALIAS", help="Keys of STORAGES. Default: all private ones.")
        parser.add_argument("--sweeper", metavar="ALIAS", help="Storage of the same bucket whose identity deletes.")
        parser.add_argument("--auditor", metavar="ALIAS", help="Storage of the same bucket that reads its settings.")
        parser.add_argument(
            "--origin",
            action="append",
            type=_origin,
            default=[],
            dest="origins",
            help="Whose pages upload and download; again for more. Default: that of GATEWAY['PUBLIC_URL'].",
        )
        parser.add_argument("--json", action="store_true", help="Print one array.")

    def handle(self, *args: Any, aliases: list[str], **options: Any) -> None:
        count: Counter[str] = Counter()
        found = []
        for finding in self._findings(aliases, options):
            count[finding.verdict] += 1
            if options["json"]:
                found.append(finding.as_json())
            else:
                self._print(finding)
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=2))
        else:
            total = ", ".join(f"{count[verdict]} {verdict}" for verdict in _MARKS)
            self.stdout.write(f"{total}.")
        if count["fail"]:
            raise SystemExit(1)

    def _findings(self, aliases: list[str], options: dict[str, Any]) -> Iterator[Finding]:
        sweeper, auditor = (_storage(options[name]) if options[name] else None for name in ("sweeper", "auditor"))
        helping = {options["sweeper"], options["auditor"]}
        origins = options["origins"] or ([conf().public_origin] if conf().public_origin else [])
        yield from examine_site()
        for alias in aliases or [alias for alias in sorted(storages.backends) if alias not in helping]:
            try:
                storage = storages[alias]
            except InvalidStorageError as error:
                raise CommandError(f"{alias!a} is no alias of STORAGES: {error}") from None
            except Exception as error:
                yield fail(alias, "storage", f"it cannot be built: {error}", "Mend its OPTIONS.")
                continue
            if isinstance(storage, PrivateStorage):
                yield from examine(Visit(alias, storage, sweeper, auditor, origins))
            elif aliases:
                raise CommandError(f"{alias!a} is no private storage")

    def _print(self, finding: Finding) -> None:
        line = f"{_MARKS[finding.verdict]} {finding.subject}: {finding.check}: {finding.found}"
        # One line for each finding, whatever a store answered.
        self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])
        if finding.remedy:
            self.stdout.write(f"       {finding.remedy}")
        if finding.document is not None:
            self.stdout.write(json.dumps(finding.document, indent=2))


def _storage(alias: str) -> Any:
    try:
        storage = storages[alias]
    except InvalidStorageError as error:
        raise CommandError(f"{alias!a} is no alias of STORAGES: {error}") from None
    if not isinstance(storage, PrivateStorage):
        raise CommandError(f"{alias!a} is no private storage")
    return storage


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query or parts.fragment:
        raise ArgumentTypeError(f"{text!a} is no origin; https://host[:port]")
    return text
