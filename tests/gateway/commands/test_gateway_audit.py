"""The audit on the way out: every row as it is, in order, as a stream; and old rows removed, never young ones."""

from __future__ import annotations

import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway import links
from gateway.models import Issuance
from gateway.principals import Principal
from gateway.resources import Resource
from tests.gateway.conftest import new_file

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    call_command("gateway_audit", *arguments, stdout=output)
    return output.getvalue().splitlines()


def row(days: float, **fields: Any) -> Issuance:
    at = timezone.now() - timedelta(days=days)
    return Issuance(**{"at": at, "decision": "issued", "principal": "user:1", "operation": "Download"} | fields)


def keep(*rows: Issuance) -> None:
    Issuance.objects.bulk_create(rows)


def test_every_column_is_exported_and_no_link(alice: Any) -> None:
    issued = links.issue(Principal(kind="user", user=alice), Resource.of_file(new_file(alice)))
    (line,) = run("export")
    exported, stored = json.loads(line), Issuance.objects.get()
    assert set(exported) == {field.attname for field in Issuance._meta.concrete_fields}
    assert exported["link_id"] == issued.id
    assert datetime.fromisoformat(exported["expires_at"]) == issued.expires_at
    assert datetime.fromisoformat(exported["at"]) == stored.at
    assert exported["id"] == str(stored.pk)
    assert "signature" not in line


def test_rows_come_oldest_first_and_as_asked_for() -> None:
    keep(row(1, reason="b"), row(2, reason="a\n\x00"[:2]), row(0, reason="c", principal="user:2"))
    assert [json.loads(line)["reason"] for line in run("export")] == ["a\n", "b", "c"]
    since = (timezone.now() - timedelta(days=1.5)).astimezone(UTC).isoformat()
    assert [json.loads(line)["reason"] for line in run("export", "--since", since)] == ["b", "c"]
    assert [json.loads(line)["reason"] for line in run("export", "--until", since)] == ["a\n"]
    assert [json.loads(line)["reason"] for line in run("export", "--principal", "user:2")] == ["c"]


def test_an_export_is_a_stream() -> None:
    keep(*(row(1, reason="x" * 255, resource="y" * 500, key="z" * 1000) for _ in range(4000)))

    class Sink:
        bytes_written = 0

        def write(self, text: str) -> None:
            self.bytes_written += len(text)

    sink: Any = Sink()
    tracemalloc.start()
    try:
        call_command("gateway_audit", "export", stdout=sink)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sink.bytes_written > 8_000_000
    assert peak_bytes < sink.bytes_written


def test_only_what_is_old_enough_is_removed_and_only_with_execute() -> None:
    keep(row(29), row(31), row(400), row(1), *(row(50) for _ in range(2500)))
    assert run("prune", "--days", "30") == ["2502 rows are older than 30 days. Nothing was changed; --execute does it."]
    assert Issuance.objects.count() == 2504
    assert run("prune", "--days", "30", "--execute") == ["2502 rows were removed, all older than 30 days."]
    assert Issuance.objects.count() == 2
    assert run("prune", "--days", "30", "--execute") == ["0 rows were removed, all older than 30 days."]


REFUSED: dict[str, tuple[list[str], str]] = {
    "young": (["prune", "--days", "7"], "at least 8"),
    "no-days": (["prune"], "required"),
    "negative": (["prune", "--days", "-1"], "days"),
    "no-instant": (["export", "--since", "yesterday"], "no instant with a time zone"),
    "before-the-first-year": (["export", "--since", "0001-01-01T00:00:00+14:00"], "no instant with a time zone"),
    "after-the-last-year": (["export", "--until", "9999-12-31T23:59:59-12:00"], "no instant with a time zone"),
    "no-time-zone": (["export", "--until", "2026-01-01T00:00:00"], "no instant with a time zone"),
    "principal-that-is-no-text": (["export", "--principal", "\udcff"], "is no text"),
    "nothing": ([], "required"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_done(arguments: list[str], message: str) -> None:
    keep(row(400))
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert Issuance.objects.count() == 1
