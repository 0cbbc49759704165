"""Makes, lists and revokes API tokens. A token's text is printed once, when it is made, and kept nowhere."""

from __future__ import annotations

import uuid
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from gateway.management.arguments import row_id
from gateway.management.base import GatewayCommand
from gateway.management.lookup import text_of, user_of
from gateway.models import ApiToken

SCOPES = ("Download", "Upload", "Update", "Delete", "Share")
MAX_DAYS = 3660


class Command(GatewayCommand):
    help = "Make, list or revoke API tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="Make a token and print it, once.")
        create.add_argument("username")
        create.add_argument("--name", required=True, type=_name, help="What the token is for.")
        create.add_argument(
            "--scopes",
            type=_scopes,
            default=["Download"],
            help=f"What the token may ask for, separated by commas: {', '.join(SCOPES)}. Default: Download.",
        )
        create.add_argument("--days", type=_days, default=90, help="Days until it expires. Default: 90.")
        listing = actions.add_parser("list", help="List tokens, without their texts.")
        listing.add_argument("username", nargs="?")
        revoke = actions.add_parser("revoke", help="Delete a token; it is refused from then on.")
        revoke.add_argument("id", type=row_id)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        match action:
            case "create":
                self._create(**_only(options, "username", "name", "scopes", "days"))
            case "list":
                self._list(options["username"])
            case "revoke":
                self._revoke(options["id"])

    def _create(self, *, username: str, name: str, scopes: list[str], days: int) -> None:
        user = user_of(username)
        text_of(name)
        if not user.is_active:
            raise CommandError(f"user {username!r} is not active; its tokens would be refused")
        expires_at = timezone.now() + timedelta(days=days)
        token, text = ApiToken.mint(user=user, name=name, scopes=scopes, expires_at=expires_at)
        self.stderr.write(f"Token {token.pk} for {username}, until {expires_at:%Y-%m-%d}. It is shown this once:")
        # Alone on standard output, so that a script can keep it.
        self.stdout.write(text)

    def _list(self, username: str | None) -> None:
        tokens = ApiToken.objects.select_related("user").order_by("created_at", "pk")
        if username is not None:
            tokens = tokens.filter(user=user_of(username))
        for token in tokens:
            used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
            state = "expired" if token.expires_at <= timezone.now() else "until"
            self.stdout.write(
                f"{token.pk}  {token.user.get_username()}  {token.name}  {','.join(token.scopes)}"
                f"  {state} {token.expires_at:%Y-%m-%d}  used {used}"
            )

    def _revoke(self, pk: uuid.UUID) -> None:
        deleted, _ = ApiToken.objects.filter(pk=pk).delete()
        if not deleted:
            raise CommandError(f"there is no token {pk}")
        self.stdout.write(f"Token {pk} is revoked.")


def _only(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names}


def _scopes(text: str) -> list[str]:
    scopes = text.split(",")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise ArgumentTypeError(f"scopes hold {', '.join(map(repr, unknown))}; only {', '.join(SCOPES)}")
    return sorted(set(scopes))


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= days <= MAX_DAYS:
        raise ArgumentTypeError(f"days is {text!r}; a whole number from 1 to {MAX_DAYS}")
    return days


def _name(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= 100:
        raise ArgumentTypeError(f"name is {text!a}; 1 to 100 printable characters")
    return text
