"""What uploads leave behind: sessions that ran out, parts that nobody joined, objects that no row names.

An object is only ever noted here, for the outbox to look at again and delete after its grace: two sightings and
a second look at the rows. Must not delete an object itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db.models import Q
from django.utils import timezone

from gateway import outbox
from gateway.conf import conf
from gateway.models import ObjectDeletion, UploadSession, UploadState
from gateway.storages.objects import ListedObject, ObjectStore, PartStore
from gateway.uploads.permission import sessions
from gateway.uploads.planning import asking, store_of
from gateway.uploads.sessions import LINK_SKEW, let_go, stop_parts
from gateway.uploads.taking_back import overtaken

__all__ = ["Left", "TooManyOrphans", "expire", "note_orphans", "orphans_of", "stop_stray_parts"]

_PAGE = 500  # names in one question to the database
# A bucket with hardly an object in it says nothing by its share of orphans.
_FEW = 10
_MOST_ORPHANS = 0.5


@dataclass(frozen=True, slots=True)
class Left:
    """One thing that was found: ``what`` it is, and which."""

    what: str
    storage_alias: str
    name: str


class TooManyOrphans(Exception):
    """Most objects of a storage have no row: it is the wrong bucket, or the wrong database. Nothing was noted."""


def expire(*, now: datetime | None = None, execute: bool = False, limit: int = 1000) -> Iterator[Left]:
    """End the uploads that were taken back, or ran out and whose last link has died, and tell the stores once more."""
    at = now or timezone.now()
    for session in islice(overtaken(at), limit):
        if not execute or let_go(session, UploadState.ABORTED):
            yield Left("ended upload" if execute else "taken back upload", session.storage_alias, session.pk)
    # A resumable session outlives its upload, and is what the server can end.
    ended = Q(links_end_at__lte=at - LINK_SKEW) | Q(strategy=UploadSession.Strategy.RESUMABLE)
    overdue = sessions().filter(ended, state__in=UploadState.open(), expires_at__lte=at)
    # What a task is still verifying was finalized in time.
    overdue = overdue.exclude(state=UploadState.VERIFYING, verify_until__gt=at)
    for session in overdue.order_by("expires_at")[:limit]:
        # Claimed by the one statement that moves it: who finalizes at this moment is first, or too late.
        if not execute or let_go(session, UploadState.EXPIRED):
            yield Left("expired upload" if execute else "overdue upload", session.storage_alias, session.pk)
    over = (UploadState.ABORTED, UploadState.EXPIRED, UploadState.REJECTED)
    unheard = sessions().filter(state__in=over).exclude(store_upload_id="")
    for session in unheard.order_by("pk")[:limit]:
        if not execute or stop_parts(session):
            yield Left("stopped parts" if execute else "unstopped parts", session.storage_alias, session.pk)


def stop_stray_parts(alias: str, *, now: datetime | None = None, execute: bool = False) -> Iterator[Left]:
    """Abort the part-wise uploads of a storage that no open upload knows, and that are older than any could be."""
    with asking(alias):
        store = store_of(alias)
    if not isinstance(store, PartStore):
        return
    before = aware(now or timezone.now()) - conf().upload_lifetime - LINK_SKEW
    known = set(
        sessions().filter(storage_alias=alias, state__in=UploadState.open()).values_list("store_upload_id", flat=True)
    )
    with asking(alias):
        for unfinished in list(store.unfinished()):
            if unfinished.upload_id in known or unfinished.began_at > before:
                continue
            if execute:
                store.abort_parts(unfinished.name, unfinished.upload_id)
            what = "stopped stray parts" if execute else "stray parts"
            yield Left(what, alias, unfinished.name or unfinished.upload_id)


def note_orphans(
    alias: str, *, now: datetime | None = None, execute: bool = False, limit: int = 1000
) -> Iterator[Left]:
    """Note the objects of a storage that no row names for deletion after the grace, at the sweeper's next sight.

    Raises:
        TooManyOrphans: more than half of the objects, and more than ten, have no row.
    """
    at = aware(now or timezone.now())
    total, orphans = 0, []
    with asking(alias):
        for listed, is_orphan in orphans_of(alias, store_of(alias)):
            total += 1
            if is_orphan and listed.modified_at <= at - conf().delete_grace:
                orphans.append(listed.name)
    if len(orphans) > max(_FEW, total * _MOST_ORPHANS):
        raise TooManyOrphans(
            f"{len(orphans)} of the {total} objects of {alias!r} have no row; at most half: is this the right bucket"
            " and the right database? Nothing was noted"
        )
    noted = set(
        ObjectDeletion.objects.filter(storage_alias=alias, done_at=None, key__in=orphans[:limit]).values_list(
            "key", flat=True
        )
    )
    for name in orphans[:limit]:
        if name in noted:
            continue
        if execute:
            outbox.enqueue(alias, name)
        yield Left("noted orphan" if execute else "orphan", alias, name)


def orphans_of(alias: str, store: ObjectStore) -> Iterator[tuple[ListedObject, bool]]:
    """Yield every object of a storage, and whether no row names it."""
    objects = iter(store.objects())
    while page := list(islice(objects, _PAGE)):
        named = outbox.named(alias, [listed.name for listed in page])
        for listed in page:
            yield listed, listed.name not in named


def aware(instant: datetime) -> datetime:
    return timezone.make_aware(instant) if timezone.is_naive(instant) else instant
