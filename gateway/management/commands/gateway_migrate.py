"""Copies the objects of one storage to another, verified at both ends, and goes on where it was interrupted.

Says what it would do, and does it if told to. Must not change a setting, nor delete what a row still means.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Self

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.conf import conf
from gateway.errors import GatewayError
from gateway.management.arguments import whole_number
from gateway.management.base import GatewayCommand
from gateway.management.locks import one_run
from gateway.management.lookup import text_of
from gateway.models import Grant
from gateway.moving.copying import Copied
from gateway.moving.migrating import Plan, copy_all, delete_all, plan_of
from gateway.moving.rows import NotAllCopied, fields_meaning, files_of, rows_meaning, switch
from gateway.moving.sides import Side, are_one_store, source_of, target_of
from gateway.uploads.planning import asking
from providers.errors import ProviderError

DEFAULT_WORKERS = 8
MOST_WORKERS = 64


class Command(GatewayCommand):
    help = (
        "Copy every object of a storage to another, and let the service's files mean the copies. A dry run without"
        " --execute; run again, it goes on where it was interrupted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source", help="An alias of STORAGES: a private storage, or a directory such as MEDIA_ROOT."
        )
        parser.add_argument("target", help="An alias of STORAGES: a private storage.")
        parser.add_argument("--execute", action="store_true", help="Copy. Without it nothing changes.")
        parser.add_argument("--prefix", default="", help="Only the objects whose names start like this.")
        parser.add_argument(
            "--workers",
            type=whole_number(MOST_WORKERS),
            default=DEFAULT_WORKERS,
            help=f"Objects at once. Default: {DEFAULT_WORKERS}.",
        )
        parser.add_argument(
            "--delete-source",
            action="store_true",
            help="Delete what was copied and verified from the source; only once no field and no row means it there.",
        )

    def handle(
        self, *args: Any, source: str, target: str, execute: bool, prefix: str, workers: int, delete_source: bool,
        **options: Any,
    ) -> None:  # fmt: skip
        text_of(prefix)
        here, there = _sides(source, target)
        with one_run("gateway_migrate"):
            with asking(source):
                plan = plan_of(here, there, prefix)
            if not execute:
                self._tell(here, plan, prefix, delete_source)
                return
            count = self._copy(here, there, plan, prefix, workers)
            try:
                count["file switched"] = switch(here, there, plan.done | plan.gone, prefix)
            except NotAllCopied as error:
                raise CommandError(f"{_total(count)}. {error}. No file was switched; run it again") from error
            if not count["failed"]:
                self._settings(here, there, [*plan.done, *plan.gone])
            if delete_source:
                count += self._delete(here, there, plan, workers)
        self.stdout.write(f"{_total(count)}.")
        if failed := count["failed"] + count["refused"]:
            raise CommandError(f"{failed} of {count.total()} failed; what was copied is recorded, and not done again")

    def _copy(self, here: Side, there: Side, plan: Plan, prefix: str, workers: int) -> Counter[str]:
        for name, reason in plan.left.items():
            self._say(f"left {here.alias}: {name} ({reason})")
        with _Bar(sum(plan.to_copy.values()), self) as bar:
            copied = copy_all(here, there, plan, workers=workers, prefix=prefix, progress=bar.add)
            return Counter({"left": len(plan.left)}) + self._told(here, copied, bar)

    def _delete(self, here: Side, there: Side, plan: Plan, workers: int) -> Counter[str]:
        names = [*plan.done, *plan.gone]
        if namers := fields_meaning(here.place, names) | rows_meaning(here.place, names):
            raise CommandError(
                f"nothing was deleted: {_listed(namers)} still mean objects of {here.alias!r}. Make the change of"
                " settings above, restart what runs with the old ones, and run it again"
            )
        if are_one_store(here, there):
            raise CommandError(
                f"nothing was deleted: what is written to {there.alias!r} is seen in {here.alias!r}; they are one store"
            )
        return self._told(here, delete_all(here, there, plan, workers=workers))

    def _told(self, here: Side, outcomes: Iterable[Copied], bar: _Bar | None = None) -> Counter[str]:
        count: Counter[str] = Counter()
        for done in outcomes:
            count[done.what] += 1
            line = f"{done.what} {here.alias}: {done.name}" + (f" ({done.detail})" if done.detail else "")
            self._say(line, bar)
        return count

    def _tell(self, here: Side, plan: Plan, prefix: str, delete_source: bool) -> None:
        for name in plan.to_copy:
            self._say(f"to copy {here.alias}: {name}")
        for name, reason in plan.left.items():
            self._say(f"left {here.alias}: {name} ({reason})")
        self.stdout.write(
            f"{len(plan.to_copy)} to copy ({sum(plan.to_copy.values())} bytes), {len(plan.done)} copied before,"
            f" {len(plan.left)} left, {files_of(here, prefix).count()} files to switch."
            " Nothing was changed; --execute does it."
        )
        if namers := fields_meaning(here.place, [*plan.done, *plan.gone, *plan.to_copy]):
            refused = "; --delete-source would be refused" if delete_source else ""
            self.stdout.write(f"{_listed(namers)} mean objects of {here.alias!r} now{refused}.")

    def _settings(self, here: Side, there: Side, names: list[str]) -> None:
        """Print which settings still lead to the source."""
        old, new = here.alias, there.alias
        lines = []
        if conf().file_storage == old:
            lines.append(f'GATEWAY["FILE_STORAGE"] = "{new}"')
        for setting, policies in (("PATH", conf().path_policies), ("STORAGE", conf().storage_policies)):
            if old in policies and new not in policies:
                lines.append(f'GATEWAY["{setting}_POLICIES"]["{new}"] = what "{old}" has there')
        for label in fields_meaning(here.place, names):
            lines.append(f'{label}: storage=StorageByAlias("{new}"), or STORAGES["{new}"]\'s entry for its alias')
            model_label, _, name = label.rpartition(".")
            if column := getattr(apps.get_model(model_label)._meta.get_field(name), "version_field", None):
                lines.append(f'{model_label}.objects.update({column}=""): it names versions in {old!r}')
        if grants := Grant.objects.filter(storage_alias=old).count():
            lines.append(f"{grants} grants name {old!r}: grant again for {new!r}")
        if lines:
            self.stdout.write("Settings to change; names stay as they are, and no data migration is needed:")
            for line in lines:
                self._say(f"  {line}")

    def _say(self, line: str, bar: _Bar | None = None) -> None:
        # One line for each object, whatever characters its name or the store's answer has.
        line = line if line.isprintable() else ascii(line)[1:-1]
        if bar is None:
            self.stdout.write(line)
        else:
            bar.say(line)


class _Bar:
    """How far it is: bytes, their rate, and the time that is left; on a terminal alone."""

    def __init__(self, total_bytes: int, command: BaseCommand) -> None:
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise CommandError(f"{error.name} is missing; install presign-gateway[migrate]") from error
        self._stdout = command.stdout
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=total_bytes, unit="B", unit_scale=True, unit_divisor=1024, disable=not sys.stderr.isatty()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._bar.update(size_bytes)

    def say(self, line: str) -> None:
        with self._lock, self._bar.external_write_mode():
            self._stdout.write(line)


def _sides(source: str, target: str) -> tuple[Side, Side]:
    here, there = _built(source_of, source), _built(target_of, target)
    if here.place.overlaps(there.place):
        raise CommandError(f"{source!r} is in {here.place} and {target!r} in {there.place}; two places")
    return here, there


def _built(side_of: Callable[[str], Side], alias: str) -> Side:
    try:
        return side_of(alias)
    except (GatewayError, ImproperlyConfigured, ProviderError):
        raise
    except Exception as error:
        # What SDKs make of wrong options.
        raise CommandError(f"storage {alias!a} cannot be built: {type(error).__name__}") from error


def _total(count: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(count.items()) if number) or "nothing to do"


def _listed(namers: dict[str, int]) -> str:
    return ", ".join(f"{count} of {label}" for label, count in namers.items())
