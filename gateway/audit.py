"""What was issued, allowed and refused: rows that are committed before anything leaves, and never the link.

In a request the rows wait on the lease for the middleware; elsewhere they are written at once. Must not decide.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections, router
from django.utils import timezone

from gateway import epochs, overtaking, signals
from gateway.conf import conf
from gateway.errors import AuditUnavailable, DatabaseUnavailable
from gateway.models import Epoch, Issuance
from gateway.principals import Principal, ambient_lease
from gateway.resources import Resource

__all__ = ["columns_of", "hash_of", "plain", "record", "row_of", "stored", "write"]

logger = logging.getLogger(__name__)

_COUNTER = Epoch.digest_of(Epoch.Scope.COUNTER)


def columns_of(
    decision: str,
    principal: Principal,
    resource: Resource,
    operation: type,
    *,
    at: datetime,
    policy: str = "",
    reason: str = "",
    link_id: str = "",
    link_hash: str = "",
    expires_at: datetime | None = None,
    limited_by: str = "",
    tenant: str = "",
    delivery: str = "",
) -> dict[str, Any]:
    """Return what the row of one decision says; the texts are made plain and cut to what the columns hold."""
    lease = ambient_lease()
    return {
        "at": stored(at),
        "decision": decision,
        "principal": plain(principal.id, 255),
        "acted_by": plain(principal.acted_by, 255),
        "credential": principal.credential,
        "tenant": plain(tenant, 255),
        "operation": plain(operation.__name__, 32),
        "storage_alias": plain(resource.storage_alias, 64),
        "resource": plain(resource.id, 512),
        "key": plain(resource.key or "", 1024),
        "policy": plain(policy, 255),
        "reason": plain(reason or principal.reason, 255),
        "link_id": link_id,
        "link_hash": link_hash,
        "expires_at": None if expires_at is None else stored(expires_at),
        "limited_by": limited_by,
        "request_id": "" if lease is None else lease.request_id,
        "delivery": delivery,
    }


def row_of(decision: str, principal: Principal, resource: Resource, operation: type, **more: Any) -> Issuance:
    """Build the row of one decision, of what :func:`columns_of` takes."""
    return Issuance(**columns_of(decision, principal, resource, operation, **more))


def plain(text: str, length: int) -> str:
    """Spell out what no column or log line should hold: PostgreSQL takes no NUL, UTF-8 no lone surrogate."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text[:length]


def stored(instant: datetime) -> datetime:
    """Return an instant as the columns hold it."""
    return instant if settings.USE_TZ else timezone.make_naive(instant)


def record(rows: Sequence[Issuance]) -> None:
    """Keep rows for the end of the request, or write them now where there is none.

    Raises:
        AuditUnavailable: they could not be written, so nothing may leave.
    """
    lease = ambient_lease()
    if lease is None or not lease.keep(rows):
        write(rows)


def write(rows: Sequence[Issuance]) -> None:
    """Insert rows in one statement (split only by the database's limit of parameters), then tell the host.

    Raises:
        AuditUnavailable: the database did not take them.
        TakenBack, DatabaseUnavailable: what a link is for was taken back meanwhile, or this cannot be told.
    """
    if not rows:
        return
    using = conf().audit_database or router.db_for_write(Issuance)
    is_current = False
    try:
        fresh = _without_repeated_refusals(rows, using)
        if len(fresh) == 1:
            is_current = _insert(fresh[0], using)
        else:
            Issuance.objects.using(using).bulk_create(fresh)
    except Exception as error:
        # Whatever the reason, without the rows nothing leaves.
        logger.error("audit rows could not be written: %s", type(error).__name__)
        raise AuditUnavailable("the audit rows could not be written") from error
    try:
        if not is_current:
            epochs.check_not_overtaken(fresh)
    except DatabaseError as error:
        raise DatabaseUnavailable("what was taken back cannot be read") from error
    for row in fresh:
        refused = row.decision == Issuance.Decision.REFUSED
        if refused:
            # ascii(): a file name must not be able to write a second line.
            logger.info(
                "refused %s of %s to %s: %s",
                row.operation, ascii(row.resource), ascii(row.principal), ascii(row.reason),
            )  # fmt: skip
        signal = signals.access_refused if refused else signals.link_issued
        if signal.receivers and (refused or row.decision == Issuance.Decision.ISSUED):
            signal.send_robust(sender=Issuance, issuance=row)


def _insert(row: Issuance, using: str) -> bool:
    """Insert the one row of a link, in a statement that is its own transaction.

    bulk_create() would add a BEGIN and a COMMIT, and save() compiles anew what is the same for every row.

    Returns:
        Whether it is certain that nothing was taken back since its decision.
    """
    connection = connections[using]
    given = ((field, getattr(row, field.attname)) for field in Issuance._meta.local_concrete_fields)
    # A text is in every database what it is.
    values = [value if type(value) is str else field.get_db_prep_save(value, connection) for field, value in given]
    with connection.cursor() as cursor:
        if row.epoch is None or not overtaking.is_told_by_insert(using):
            cursor.execute(_insert_sql(using), values)
            return False
        cursor.execute(_insert_sql(using, overtaking.returned(using)), [*values, _COUNTER])
        (line,) = cursor.fetchall()
    return overtaking.is_current(using, line, row.epoch)


@lru_cache(maxsize=16)
def _insert_sql(using: str, returned: str = "") -> str:
    quote = connections[using].ops.quote_name
    columns = [str(field.column) for field in Issuance._meta.local_concrete_fields]
    names, places = ", ".join(map(quote, columns)), ", ".join(["%s"] * len(columns))
    inserted = f"INSERT INTO {quote(Issuance._meta.db_table)} ({names}) VALUES ({places})"  # noqa: S608 - our own names
    return f"{inserted} RETURNING {returned}" if returned else inserted


def hash_of(url: str) -> str:
    """Return a keyed digest by which a link found somewhere can be matched to its row."""
    mac = _mac(settings.SECRET_KEY).copy()
    mac.update(url.encode())
    return mac.hexdigest()


@lru_cache(maxsize=2)
def _mac(secret_key: str) -> hmac.HMAC:
    key = hmac.digest(secret_key.encode(), b"presign-gateway audit link v1", "sha256")
    return hmac.new(key, digestmod="sha256")


def _without_repeated_refusals(rows: Sequence[Issuance], using: str) -> list[Issuance]:
    """Leave out refusals that this minute has a row for: a client that keeps asking fills no table."""
    refused = [row for row in rows if row.decision == Issuance.Decision.REFUSED]
    if not refused:
        return list(rows)
    known = {
        (_minute(at), *what)
        for at, *what in Issuance.objects.using(using)
        .filter(
            decision=Issuance.Decision.REFUSED,
            at__gte=_minute(min(row.at for row in refused)),
            principal__in={row.principal for row in refused},
            resource__in={row.resource for row in refused},
        )
        .values_list("at", "principal", "resource", "operation", "reason")
    }
    fresh = []
    for row in rows:
        if row.decision == Issuance.Decision.REFUSED:
            key = (_minute(row.at), row.principal, row.resource, row.operation, row.reason)
            if key in known:
                continue
            known.add(key)
        fresh.append(row)
    return fresh


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)
