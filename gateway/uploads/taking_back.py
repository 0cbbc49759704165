"""Open uploads of what was taken back: given up once that is committed, or by the sweeper where nobody came to it.

Must not decide what is taken back, and leaves alone what was finalized before: that is a file, or becomes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import router

from gateway.conf import conf
from gateway.epochs import object_targets
from gateway.models import Epoch, UploadSession, UploadState
from gateway.uploads.permission import sessions
from gateway.uploads.sessions import let_go

__all__ = ["GivenUp", "give_up", "open_uploads", "overtaken", "rows_of"]

Scope = Epoch.Scope
# Of these a store asks nobody, and takes what they are for as long as they live.
_LINKS_LIVE_ON = (UploadSession.Strategy.SINGLE, UploadSession.Strategy.FORM)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """What became of the uploads.

    Attributes:
        uploads: how many were given up.
        dead: alias and key of those whose store heard of it, so that no link of theirs writes any more.
    """

    uploads: int
    dead: frozenset[tuple[str, str]]


def give_up(scope: str, target: str) -> GivenUp:
    """Give up the open uploads that something concerns that was taken back, and tell their stores.

    A store that does not hear is not told of the others: the sweeper tells it, and nothing of them becomes a file.
    """
    count, dead, silent = 0, set(), set()
    for session in open_uploads(scope, target):
        if not let_go(session, UploadState.ABORTED, tell=session.storage_alias not in silent):
            continue
        count += 1
        if sessions().filter(pk=session.pk).exclude(store_upload_id="").exists():
            silent.add(session.storage_alias)
        elif session.strategy not in _LINKS_LIVE_ON:
            dead.add((session.storage_alias, session.key))
    return GivenUp(uploads=count, dead=frozenset(dead))


def open_uploads(scope: str, target: str) -> list[UploadSession]:
    """Return the uploads that links can still be had for, and that an epoch concerns."""
    found = rows_of(sessions().filter(state__in=(UploadState.ISSUED, UploadState.UPLOADING)), scope, target)
    # SQLite compares the beginnings of keys without regard to case.
    return [
        session
        for session in found.order_by("created_at", "pk")
        if scope != Scope.OBJECT or target in object_targets(session.storage_alias, session.key)
    ]


def overtaken(now: datetime) -> Iterator[UploadSession]:
    """Yield what is open though it was begun before something that concerns it was taken back, each once.

    Nobody came to it: the process ended between the two. Told by the clock, since an upload keeps no number.
    """
    known = set()
    # What is older has expired by itself.
    recent = Epoch.objects.using(router.db_for_write(Epoch)).filter(at__gte=now - conf().upload_lifetime)
    for epoch in recent.exclude(scope=Scope.COUNTER).order_by("number"):
        for session in open_uploads(epoch.scope, epoch.target):
            if session.created_at <= epoch.at and session.pk not in known:
                known.add(session.pk)
                yield session


def rows_of(rows: Any, scope: str, target: str) -> Any:
    """Filter rows that have ``storage_alias``, ``key``, ``principal`` and ``tenant`` by what an epoch concerns."""
    match scope:
        case Scope.OBJECT:
            alias, _, key = target.partition(":")
            return rows.filter(**{"storage_alias": alias, "key__startswith" if key.endswith("/") else "key": key})
        case Scope.STORAGE:
            return rows.filter(storage_alias=target)
        case Scope.PRINCIPAL | Scope.TENANT:
            return rows.filter(**{scope: target})
    return rows
