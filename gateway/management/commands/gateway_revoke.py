"""Takes back what was given, and says what ended now and what lives on in a cloud until when.

Must not change who may ask anew: end a grant, an account or a permission for that, before this.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.core.files.storage import storages
from django.core.management.base import CommandError, CommandParser

from gateway.conf import conf
from gateway.errors import GatewayError
from gateway.management.base import GatewayCommand
from gateway.management.lookup import object_of, text_of, user_of
from gateway.principals import SYSTEM, acting_as
from gateway.revocation import Revoked, revoke

REASON = "manage.py gateway_revoke"


class Command(GatewayCommand):
    help = "Take back links, and with them a user's tokens and sessions: local links and open uploads end now."

    def add_arguments(self, parser: CommandParser) -> None:
        scopes = parser.add_subparsers(dest="scope", required=True)
        file = scopes.add_parser("file", help="Links to one file.")
        file.add_argument("target", help="UUID of a file, or app_label.model:pk:field.")
        object_ = scopes.add_parser("object", help="Links to one key, or with a slash at the end to all below it.")
        object_.add_argument("target", help="alias:key or alias:prefix/")
        user = scopes.add_parser("user", help="A user's links, tokens and sessions.")
        user.add_argument("target", help="User name.")
        tenant = scopes.add_parser("tenant", help="A tenant's links, tokens and sessions.")
        tenant.add_argument("target", help="As GATEWAY['TENANT'] names it.")
        storage = scopes.add_parser("storage", help="Links of one storage.")
        storage.add_argument("target", help="Alias in STORAGES.")
        everything = scopes.add_parser("everything", help="All links, tokens and sessions.")
        for one in (file, object_, user, tenant, storage, everything):
            one.add_argument("--reason", default="", help="For the audit.")

    def handle(self, *args: Any, scope: str, reason: str, target: str = "", **options: Any) -> None:
        text_of(reason)
        text_of(target)
        match scope:
            case "file":
                scope, target = "object", object_of(target)
            case "user":
                scope, target = "principal", f"user:{user_of(target).pk}"
            case "storage":
                _check_alias(target)
            case "object" if ":" in target:
                # A reference of a row has a colon, too, and nothing lies there: what was meant would live on.
                _check_alias(target.partition(":")[0])
            case "tenant" if conf().tenant is None:
                raise CommandError("GATEWAY['TENANT'] is not set; there are no tenants to take back from")
        with acting_as(SYSTEM, reason=REASON) as principal:
            try:
                self._tell(revoke(scope, target, by=principal, reason=reason or REASON))
            except GatewayError as error:
                raise CommandError(str(error)) from error

    def _tell(self, revoked: Revoked) -> None:
        self.stdout.write(f"Taken back: {ascii(revoked.target)[1:-1] or 'everything'} (epoch {revoked.number}).")
        self.stdout.write(f"Ended now: {revoked.ended} local links, {revoked.uploads} open uploads.")
        if revoked.scope in ("principal", "everything"):
            self.stdout.write(f"Refused from now on: {revoked.tokens} API tokens, and every session begun before.")
        for living in revoked.living:
            self.stdout.write(
                f"Lives on: {living.links} links of {living.storage_alias}, the last until"
                f" {living.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}. The store serves them; only new credentials"
                " of the signer would end them sooner."
            )


def _check_alias(alias: str) -> None:
    if alias not in storages.backends:
        raise CommandError(f"STORAGES has no alias {alias!a}; {', '.join(sorted(storages.backends))}")
