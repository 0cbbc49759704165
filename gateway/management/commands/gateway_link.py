"""Issues one link in a user's name and prints it, once its audit row is committed.

Goes through the door like everybody: must not decide, and what the user may not have is not printed.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from typing import Any, NoReturn

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, router, transaction

from gateway import links
from gateway.conf import conf
from gateway.errors import AccessDenied, InvalidReference, InvalidRequest, Unavailable
from gateway.links import IssuedURL
from gateway.management.base import GatewayCommand
from gateway.management.lookup import user_of
from gateway.models import Issuance
from gateway.principals import acting_as, ambient_lease
from gateway.resources import Resource, parse_reference
from providers.disposition import clean_filename
from providers.errors import InvalidInput
from providers.types import Download

REASON = "manage.py gateway_link"


class Command(GatewayCommand):
    help = "Issue one link in a user's name: the policy decides as for anybody, and the audit says who and why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("reference", help="UUID of a file, or app_label.model:pk:field.")
        parser.add_argument("--ttl", type=_seconds, help="Seconds. Default: the smallest of all limits.")
        parser.add_argument("--method", choices=("GET", "HEAD"), default="GET")
        parser.add_argument("--disposition", choices=("inline", "attachment"))
        parser.add_argument("--filename", help="What browsers save under.")
        parser.add_argument("--json", action="store_true", help="Print what POST /links answers.")

    def handle(self, *args: Any, username: str, reference: str, **options: Any) -> None:
        if ambient_lease() is not None:
            raise CommandError("a request commits its audit when it ends; in one, use gateway.links.issue()")
        user = user_of(username)
        try:
            resource = parse_reference(reference)
        except InvalidReference as error:
            raise CommandError(f"{reference!a} is no reference: {error}") from None
        if resource is None:
            self._refuse()
        filename = options["filename"] and clean_filename(options["filename"])
        operation = partial(Download, method=options["method"], disposition=options["disposition"], filename=filename)
        issued = _issue(user, resource, operation, options["ttl"])
        if issued is None:
            self._refuse()
        self._print(reference, issued, as_json=options["json"])

    def _refuse(self) -> NoReturn:
        self.stderr.write(AccessDenied.title)
        raise SystemExit(1)

    def _print(self, reference: str, issued: IssuedURL, *, as_json: bool) -> None:
        expires_at = f"{issued.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        expires_in = max(0, ceil((issued.expires_at - datetime.now(UTC)).total_seconds()))
        if not as_json:
            limited = f", limited by {issued.limited_by}" if issued.limited_by else ""
            self.stdout.write(issued.url)
            # Beside it, so that $(manage.py gateway_link …) is the link alone.
            self.stderr.write(f"until {expires_at}, {expires_in} s{limited}", lambda text: text)
            return
        link = {
            "file": reference,
            "url": issued.url,
            "method": issued.method,
            "headers": dict(issued.headers),
            "expires_at": expires_at,
            "expires_in": expires_in,
            "filename": issued.filename,
            "content_type": issued.content_type,
            "size": issued.size_bytes,
            "id": issued.id,
            "limited_by": issued.limited_by or None,
        }
        self.stdout.write(json.dumps(link))


def _issue(user: Any, resource: Resource, operation: Any, ttl: timedelta | None) -> IssuedURL | None:
    """Issue, and commit what was issued or refused; None where it was refused.

    Raises:
        CommandError: a value is out of bounds, or something needed is missing.
        RuntimeError: an outer transaction could still take the record back.
    """
    audit_database = conf().audit_database or router.db_for_write(Issuance)
    try:
        with transaction.atomic(using=audit_database, durable=True):
            try:
                with acting_as(user, reason=REASON) as principal:
                    return links.issue(principal, resource, operation, ttl=ttl)
            except AccessDenied:
                return None  # recorded, and so not an exception that would roll the record back
    except (InvalidInput, InvalidRequest, Unavailable) as error:
        raise CommandError(str(error)) from error
    except DatabaseError as error:
        raise CommandError(f"the record could not be committed: {type(error).__name__}") from error


def _seconds(text: str) -> timedelta:
    # Longer numbers are over every limit, and more than a duration holds.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ArgumentTypeError(f"ttl is {text!a}; a whole number of seconds")
    return timedelta(seconds=int(text))
