"""Examines live stores and what the service stands on; a line for each thing, status 1 if one is wrong.

Must not decide what is wrong: that is the doctor's.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

from django.core.files.storage import storages
from django.core.management.base import CommandError, CommandParser

from gateway.conf import conf
from gateway.doctor import Visit, examine, examine_site
from gateway.doctor.findings import Finding, fail
from gateway.doctor.visit import is_same_bucket
from gateway.management.base import GatewayCommand
from gateway.resources import PrivateStorage

# https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:(?P<port>[0-9]{1,5}))?")
_MARKS = {"ok": "ok    ", "fail": "FAIL  ", "note": "note  ", "unseen": "unseen"}


class Command(GatewayCommand):
    help = "Examine live stores with the credentials of the service, and say what is wrong and what mends it."
    # It says itself what is wrong, and must run where checks fail.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("aliases", nargs="*", metavar="ALIAS", help="Keys of STORAGES. Default: all private ones.")
        for name, what in (("sweeper", "whose identity deletes"), ("auditor", "that reads its settings")):
            parser.add_argument(
                f"--{name}",
                action="append",
                default=[],
                metavar="ALIAS",
                help=f"Storage of the same bucket {what}; again for another bucket.",
            )
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
        # Closed at once where the output is: a probe must not wait for the collector.
        with closing(self._findings(aliases, options)) as findings:
            for finding in findings:
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

    def _findings(self, aliases: list[str], options: dict[str, Any]) -> Generator[Finding, None, None]:
        sweepers, auditors = ({alias: _storage(alias) for alias in options[name]} for name in ("sweeper", "auditor"))
        examined, broken = _built(aliases, {*sweepers, *auditors})
        for name, helpers in (("sweeper", sweepers), ("auditor", auditors)):
            for alias, helper in helpers.items():
                if not any(is_same_bucket(helper, storage) for storage in examined.values()):
                    raise CommandError(f"--{name} {alias!a} is a storage of none of the buckets that are examined")
        origins = options["origins"] or ([conf().public_origin] if conf().public_origin else [])
        yield from examine_site()
        yield from broken
        for alias, storage in examined.items():
            yield from examine(
                Visit(alias, storage, _of_bucket(sweepers, storage), _of_bucket(auditors, storage), origins)
            )

    def _print(self, finding: Finding) -> None:
        line = f"{_MARKS[finding.verdict]} {finding.subject}: {finding.check}: {finding.found}"
        # One line for each finding, whatever a store answered.
        self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])
        if finding.remedy:
            self.stdout.write(f"       {finding.remedy}")
        if finding.document is not None:
            self.stdout.write(json.dumps(finding.document, indent=2))


def _built(aliases: list[str], helping: set[str]) -> tuple[dict[str, Any], list[Finding]]:
    """Return the storages to examine by their aliases, and what is said of those that cannot be built."""
    found, broken = {}, []
    for alias in dict.fromkeys(aliases) or [alias for alias in sorted(storages.backends) if alias not in helping]:
        if alias not in storages.backends:
            raise CommandError(f"{alias!a} is no alias of STORAGES; {', '.join(sorted(storages.backends))}")
        try:
            storage = storages[alias]
        except Exception as error:
            broken.append(fail(alias, "storage", f"it cannot be built: {error}", "Mend its OPTIONS."))
            continue
        if isinstance(storage, PrivateStorage):
            found[alias] = storage
        elif aliases:
            raise CommandError(f"{alias!a} is no private storage")
    if not found and not broken:
        raise CommandError("no alias of STORAGES is a private storage")
    return found, broken


def _of_bucket(helpers: Mapping[str, Any], storage: Any) -> Any:
    return next((helper for helper in helpers.values() if is_same_bucket(helper, storage)), None)


def _storage(alias: str) -> Any:
    if alias not in storages.backends:
        raise CommandError(f"{alias!a} is no alias of STORAGES; {', '.join(sorted(storages.backends))}")
    try:
        storage = storages[alias]
    except Exception as error:
        raise CommandError(f"storage {alias!a} cannot be built: {error}") from error
    if not isinstance(storage, PrivateStorage):
        raise CommandError(f"{alias!a} is no private storage")
    return storage


def _origin(text: str) -> str:
    found = _ORIGIN.fullmatch(text)
    if found is None or not 1 <= int(found["port"] or 1) <= 65535:
        raise ArgumentTypeError(f"{text!a} is no origin; https://host[:port] in lower case, as browsers send it")
    return text
