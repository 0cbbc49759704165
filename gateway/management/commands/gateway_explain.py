"""Explains one decision: every policy asked, every limit and which one won, the signer. No link is made.

Must not print what proves an identity, or anything that could be fetched with.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from gateway.explanations import ASKABLE, Explanation, explain
from gateway.management.base import GatewayCommand
from gateway.management.lookup import resource_of, user_of
from gateway.principals import ANONYMOUS, acting_as


class Command(GatewayCommand):
    help = "Say what would be answered if a user asked, and why. No link is made, and nothing is recorded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="Or - for somebody who is not logged in.")
        parser.add_argument("reference", help="UUID of a file, or app_label.model:pk:field.")
        parser.add_argument("operation", nargs="?", choices=sorted(ASKABLE), default="Download")

    def handle(self, *args: Any, username: str, reference: str, operation: str, **options: Any) -> None:
        who = ANONYMOUS if username == "-" else user_of(username)
        with acting_as(who) as principal:
            self._tell(explain(principal, resource_of(reference), operation))

    def _tell(self, explanation: Explanation) -> None:
        answer = f"yes, by {explanation.policy}" if explanation.is_allowed else f"no: {explanation.reason}"
        self._line(f"{explanation.operation} of {explanation.resource} by {explanation.principal}: {answer}")
        for asked in explanation.asked:
            limits = "".join(f", {name} {_text(value)}" for name, value in asked.limits.items())
            self._line(f"{'  ' * (asked.depth + 1)}{asked.policy}: {asked.answer} ({asked.reason}){limits}")
        for name, value in explanation.limits.items():
            won = "  <- this one" if name.removesuffix(" ends") == explanation.limited_by else ""
            self._line(f"  limit {name}: {_text(value)}{won}")
        if explanation.expires_at is not None:
            by = f", limited by {explanation.limited_by}" if explanation.limited_by else ""
            self._line(f"  a link made now: {explanation.ttl_seconds} s, until {_text(explanation.expires_at)}{by}")
        if (signer := explanation.signer) is not None:
            end = signer.credential_ends_at
            told = signer.problem or (f"its credential ends {_text(end)}" if end else "its credential has no end")
            self._line(f"  signer: {signer.provider} of {signer.storage_alias}; {told}")

    def _line(self, text: str) -> None:
        self.stdout.write(text if text.isprintable() else ascii(text)[1:-1])


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{value} s" if type(value) is int else " or ".join(value) if isinstance(value, list) else str(value)
