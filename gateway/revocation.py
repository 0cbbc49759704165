"""Taking back what was given: one object or all below a prefix, all of a principal, a tenant, a storage, everything.

Says what has ended and what cannot be ended before its time. Must not change who may ask anew: that is for
policies, grants and accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import router, transaction
from django.db.models import Count, F, Max
from django.utils import timezone

from gateway import audit, overtaking
from gateway.conf import conf
from gateway.errors import InvalidRequest, StorageUnavailable
from gateway.models import ApiToken, Epoch, Grant, Issuance
from gateway.principals import Principal, ambient_lease
from gateway.resources import private_storage
from gateway.uploads.taking_back import give_up, open_uploads, rows_of
from providers.keys import key_error
from providers.types import Download, UploadPart

__all__ = ["Living", "Revoked", "end_grant", "revoke"]

Scope = Epoch.Scope
_LONGEST = timedelta(days=7)  # that any store lets a link live


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """Links of one storage that nobody can end before their time, and when the last of them ends."""

    storage_alias: str
    links: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What became of it.

    Attributes:
        number: of the epoch; what was given under a lower one is void.
        ended: local links, which end now.
        tokens: API tokens, which are refused from now on; so are sessions, which are not counted.
        uploads: open uploads, which are given up; inside a transaction of the caller's that is done, with what it
            ends, once that is committed.
        living: cloud links, by storage: a store asks nobody, and serves them until they end.
    """

    scope: str
    target: str
    number: int
    at: datetime
    ended: int
    tokens: int
    uploads: int
    living: tuple[Living, ...]


def revoke(scope: str, target: str = "", *, by: Principal, reason: str = "") -> Revoked:
    """Take back what was given until now; what is asked for after it is decided as ever.

    Args:
        scope: ``object`` (``alias:key``, or ``alias:prefix/`` for all that is below), ``principal``
            (``user:42``), ``tenant``, ``storage`` (an alias) or ``everything``, which has no target.
            A principal's tokens and sessions end with its links, and so with a tenant's and with everything.
        by: who does it, for the audit.
        reason: for the audit.

    Raises:
        InvalidRequest: there is no such scope, or the target is none.
        AuditUnavailable: it could not be recorded, and was not done.
    """
    _check(scope, target)
    at = datetime.now(UTC)
    using = router.db_for_write(Epoch)
    with transaction.atomic(using=using):
        number = _next_number(using, at)
        Epoch.objects.using(using).update_or_create(
            digest=Epoch.digest_of(scope, target),
            defaults={"scope": scope, "target": target, "number": number, "at": at, "reason": reason[:255]},
        )
        audit.record([_row(scope, target, by, reason, at)])
    # Now that it is committed: a link that is recorded later finds the epoch before it leaves, and so does an upload.
    overtaking.await_records(conf().audit_database or router.db_for_write(Issuance))
    uploads, dead = _give_up(using, scope, target)
    ended, living = _links_of(scope, target, at, dead)
    return Revoked(
        scope=scope, target=target, number=number, at=at, ended=ended, tokens=_tokens_of(scope, target, number),
        uploads=uploads, living=living,
    )  # fmt: skip


def end_grant(grant: Grant, *, by: Principal, reason: str = "") -> Revoked:
    """Delete a grant, and take back the links to what it was for; who may still have them asks again."""
    reason = reason or f"grant {grant.pk}"
    grant.delete()
    return revoke(Scope.OBJECT, f"{grant.storage_alias}:{grant.key}", by=by, reason=reason)


def _check(scope: str, target: str) -> None:
    if scope not in (Scope.EVERYTHING, Scope.STORAGE, Scope.TENANT, Scope.PRINCIPAL, Scope.OBJECT):
        raise InvalidRequest(f"scope is {scope!r}; object, principal, tenant, storage or everything")
    if (scope == Scope.EVERYTHING) == bool(target):
        raise InvalidRequest(f"target is {target!r}; one, except of everything")
    alias, separator, key = target.partition(":")
    if scope == Scope.OBJECT and (not alias or not separator or key_error(key.removesuffix("/"))):
        raise InvalidRequest(f"target is {target!r}; alias:key, or alias:prefix/")


def _next_number(using: str, at: datetime) -> int:
    """Count on. The row stays locked until the commit, so that no lower number becomes visible later."""
    rows = Epoch.objects.using(using)
    digest = Epoch.digest_of(Scope.COUNTER)
    rows.get_or_create(digest=digest, defaults={"scope": Scope.COUNTER, "number": 0, "at": at})
    rows.filter(digest=digest).update(number=F("number") + 1, at=at)
    number: int = rows.values_list("number", flat=True).get(digest=digest)
    return number


def _row(scope: str, target: str, by: Principal, reason: str, at: datetime) -> Issuance:
    alias, _, key = target.partition(":") if scope == Scope.OBJECT else ("", "", "")
    lease = ambient_lease()
    return Issuance(
        at=audit.stored(at),
        decision=Issuance.Decision.REVOKED,
        principal=audit.plain(by.id, 255),
        acted_by=audit.plain(by.acted_by, 255),
        credential=by.credential,
        operation="Revoke",
        storage_alias=target[:64] if scope == Scope.STORAGE else alias[:64],
        resource=audit.plain(f"{scope}:{target}" if target else scope, 512),
        key=audit.plain(key, 1024),
        reason=audit.plain(reason or by.reason, 255),
        request_id="" if lease is None else lease.request_id,
    )


def _give_up(using: str, scope: str, target: str) -> tuple[int, frozenset[tuple[str, str]]]:
    """Give open uploads up; inside a transaction later, since no store takes back what it was told."""
    if transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(partial(give_up, scope, target), using=using, robust=True)
        return len(open_uploads(scope, target)), frozenset()
    given_up = give_up(scope, target)
    return given_up.uploads, given_up.dead


def _links_of(
    scope: str, target: str, at: datetime, dead: frozenset[tuple[str, str]]
) -> tuple[int, tuple[Living, ...]]:
    using = conf().audit_database or router.db_for_write(Issuance)
    rows: Any = Issuance.objects.using(using).filter(
        decision=Issuance.Decision.ISSUED, at__gt=audit.stored(at - _LONGEST), expires_at__gt=audit.stored(at)
    )
    rows = rows_of(rows, scope, target)
    for alias in {alias for alias, _ in dead if not _end_at_once(alias, UploadPart.__name__)}:
        rows = rows.exclude(storage_alias=alias, key__in=[key for of, key in dead if of == alias])
    counted = rows.order_by("storage_alias").values_list("storage_alias", "operation")
    ended, living = 0, dict[str, Living]()
    for name, operation, links, until in counted.annotate(Count("pk"), Max("expires_at")):
        if _end_at_once(name, operation):
            ended += links
            continue
        end = timezone.make_aware(until) if timezone.is_naive(until) else until
        before = living.get(name, Living(storage_alias=name, links=0, until=end))
        living[name] = Living(storage_alias=name, links=before.links + links, until=max(before.until, end))
    return ended, tuple(living.values())


def _end_at_once(alias: str, operation: str) -> bool:
    # Of links to parts alone a storage may answer otherwise than of the others.
    kind = UploadPart if operation == UploadPart.__name__ else Download
    try:
        ends_at_once = getattr(private_storage(alias), "ends_at_once", None)
        return ends_at_once is not None and bool(ends_at_once(kind))
    except StorageUnavailable:
        return False  # of a storage that is gone nothing is known


def _tokens_of(scope: str, target: str, number: int) -> int:
    tokens: Any = ApiToken.objects.using(router.db_for_write(ApiToken)).filter(expires_at__gt=timezone.now())
    if scope == Scope.PRINCIPAL and target.startswith("user:"):
        tokens = tokens.filter(user=target.removeprefix("user:"))
    elif scope != Scope.EVERYTHING:
        return 0  # whose a tenant is, only its own code can tell
    count: int = tokens.exclude(epoch__gte=number).count()
    return count
