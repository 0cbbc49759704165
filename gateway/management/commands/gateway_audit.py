"""Exports audit rows as JSON lines, and removes those that are older than they have to be kept.

Must not hold a table in memory, and must not remove a row of a link that may still be alive.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from gateway.audit import stored
from gateway.conf import conf
from gateway.management.arguments import instant
from gateway.management.base import GatewayCommand
from gateway.management.lookup import text_of
from gateway.models import Issuance

# A link lives for a week at most, and gateway_revoke has to find all that live.
MIN_DAYS = 8
_CHUNK = 1000


class Command(GatewayCommand):
    help = "Export audit rows, or remove old ones."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        export = actions.add_parser(
            "export", help="Write rows to standard output, one JSON object a line, oldest first."
        )
        export.add_argument("--since", type=instant, help="From this instant on, as 2026-11-01T00:00:00Z.")
        export.add_argument("--until", type=instant, help="Before this instant.")
        export.add_argument("--principal", help="Of one principal, such as user:42.")
        prune = actions.add_parser("prune", help="Remove rows that are older. Without --execute it only counts.")
        prune.add_argument("--days", type=_days, required=True, help=f"Keep this many days; at least {MIN_DAYS}.")
        prune.add_argument("--execute", action="store_true", help="Remove. Without it nothing changes.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        using = conf().audit_database or router.db_for_write(Issuance)
        # Not through the manager of the model, which removes nothing.
        rows: QuerySet[Issuance] = QuerySet(Issuance, using=using)
        if action == "export":
            self._export(rows, options["since"], options["until"], options["principal"])
        else:
            self._prune(rows, options["days"], using, execute=options["execute"])

    def _export(
        self, rows: QuerySet[Issuance], since: datetime | None, until: datetime | None, principal: str | None
    ) -> None:
        if since is not None:
            rows = rows.filter(at__gte=stored(since))
        if until is not None:
            rows = rows.filter(at__lt=stored(until))
        if principal is not None:
            text_of(principal)
            rows = rows.filter(principal=principal)
        for row in rows.order_by("at", "pk").values().iterator(chunk_size=_CHUNK):
            self.stdout.write(json.dumps({name: _plain(value) for name, value in row.items()}))

    def _prune(self, rows: QuerySet[Issuance], days: int, using: str, *, execute: bool) -> None:
        before = timezone.now() - timedelta(days=days)
        old = rows.filter(at__lt=before)
        if not execute:
            self.stdout.write(f"{old.count()} rows are older than {days} days. Nothing was changed; --execute does it.")
            return
        removed = 0
        # In parts, each committed by itself, so that no lock is held for long.
        while keys := list(old.order_by("at").values_list("pk", flat=True)[:_CHUNK]):
            with transaction.atomic(using=using):
                count, _ = rows.filter(pk__in=keys).delete()
            if not count:
                raise CommandError(f"{len(keys)} rows could not be removed; {removed} were")
            removed += count
        self.stdout.write(f"{removed} rows were removed, all older than {days} days.")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        aware = timezone.make_aware(value) if timezone.is_naive(value) else value
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value if value is None or isinstance(value, (int, str)) else str(value)


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if days < MIN_DAYS:
        raise ArgumentTypeError(f"days is {text!a}; a whole number of at least {MIN_DAYS}")
    return days
