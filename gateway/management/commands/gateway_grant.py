"""Makes, lists and ends grants; ending one takes back the links to what it was for.

Must not decide: whether a grant is asked for, the policies in the settings say.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.core.management.base import CommandError, CommandParser

from gateway.management.arguments import instant, row_id
from gateway.management.base import GatewayCommand
from gateway.management.lookup import object_of, text_of, user_of
from gateway.models import ApiToken, Grant
from gateway.principals import SYSTEM, acting_as
from gateway.revocation import end_grant

REASON = "manage.py gateway_grant"


class Command(GatewayCommand):
    help = "Make, list or end grants to a file, or to all files below a prefix."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="Make a grant and print its id.")
        to = add.add_mutually_exclusive_group(required=True)
        to.add_argument("--user", help="User name.")
        to.add_argument("--group", help="Name of a group.")
        to.add_argument("--token", type=row_id, help="Id of an API token.")
        what = add.add_mutually_exclusive_group(required=True)
        what.add_argument("--file", help="UUID of a file, or app_label.model:pk:field.")
        what.add_argument("--object", help="alias:key, or alias:prefix/ for all that is below.")
        add.add_argument("--operations", default="Download", help="Separated by commas. Default: Download.")
        add.add_argument("--max-ttl", type=int, help="The longest life of a link, in seconds.")
        add.add_argument("--disposition", choices=("inline", "attachment"), help="The only one a link may have.")
        add.add_argument("--until", type=instant, help="When it ends, as 2030-12-31T12:00:00Z.")
        add.add_argument("--reason", default="", help="Why, for whoever reads it later.")
        listing = actions.add_parser("list", help="List grants.")
        listing.add_argument("--user", help="Only those to this user.")
        end = actions.add_parser("end", help="Delete a grant and take back the links to what it was for.")
        end.add_argument("id", type=row_id)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        match action:
            case "add":
                self._add(options)
            case "list":
                self._list(options["user"])
            case "end":
                self._end(options["id"])

    def _add(self, options: dict[str, Any]) -> None:
        for name in ("object", "group", "reason"):
            text_of(options[name] or "")
        alias, _, key = (object_of(options["file"]) if options["object"] is None else options["object"]).partition(":")
        if alias not in storages.backends:
            raise CommandError(f"STORAGES has no alias {alias!a}; {', '.join(sorted(storages.backends))}")
        until = options["until"]
        if until is not None and until <= datetime.now(UTC):
            raise CommandError(f"until is {until:%Y-%m-%dT%H:%M:%SZ}, which is over; an instant to come")
        grant = Grant(
            user=None if options["user"] is None else user_of(options["user"]),
            group=None if options["group"] is None else _found(Group, name=options["group"]),
            token=None if options["token"] is None else _found(ApiToken, pk=options["token"]),
            storage_alias=alias,
            key=key,
            operations=options["operations"].split(","),
            max_ttl_seconds=options["max_ttl"],
            dispositions=None if options["disposition"] is None else [options["disposition"]],
            until=until,
            reason=options["reason"],
        )
        try:
            grant.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        grant.save()
        self.stdout.write(str(grant.pk))

    def _list(self, username: str | None) -> None:
        grants = Grant.objects.select_related("user", "group", "token").order_by("created_at", "pk")
        for grant in grants if username is None else grants.filter(user=user_of(username)):
            to = grant.user or grant.group or grant.token
            until = f" until {grant.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if grant.until else ""
            line = f"{grant.pk}  {to}  {grant}{until}"
            self.stdout.write(line if line.isprintable() else ascii(line)[1:-1])

    def _end(self, pk: uuid.UUID) -> None:
        grant = _found(Grant, pk=pk)
        with acting_as(SYSTEM, reason=REASON) as principal:
            ended = end_grant(grant, by=principal)
        self.stdout.write(f"Grant {pk} has ended, and with it {ended.ended} local links.")
        for living in ended.living:
            end = living.until.astimezone(UTC)
            self.stdout.write(f"{living.links} links of {living.storage_alias} live on until {end:%Y-%m-%dT%H:%M:%SZ}.")


def _found(model: Any, **condition: Any) -> Any:
    row = model._default_manager.filter(**condition).first()
    if row is None:
        raise CommandError(f"there is no {model._meta.verbose_name} {next(iter(condition.values()))!s}")
    return row
