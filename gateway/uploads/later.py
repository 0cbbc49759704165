"""Verification of large uploads by a task: queued once, taken up again where its worker died.

Who asks is decided about in the request and again by the worker. Must not verify by itself, and never makes two
files: any number of workers may look, and the row moves once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone

from gateway.conf import conf
from gateway.errors import AccessDenied, NotUploaded, UploadOver, UploadRejected
from gateway.models import UploadSession, UploadState
from gateway.principals import Principal
from gateway.uploads.finalizing import Finalized, arrived, finalize, make, outcome_of
from gateway.uploads.permission import check, operation_of, own, place_of_session, sessions
from gateway.uploads.planning import asking, store_of
from gateway.uploads.sessions import let_go, transition
from gateway.uploads.sweeping import Left

__all__ = ["RETRY_SECONDS", "finalize_later", "take_up", "verify_now"]

RETRY_SECONDS = 2
# A worker that is slower than this is not dead, and is met by another that does the same work: a waste, no harm.
_LEAST_SECONDS = 300
_BYTES_A_SECOND = 4 * 2**20


def finalize_later(principal: Principal, upload_id: str) -> Finalized | None:
    """Finalize an upload; None while a task verifies it, which large ones are left to.

    Raises:
        AccessDenied, NotUploaded, UploadRejected, UploadOver, StorageUnavailable: as
            :func:`gateway.uploads.finalize`.
    """
    session = own(principal, upload_id)
    least = conf().verify_later_bytes
    if least is None or session.size_bytes <= least:
        return finalize(principal, upload_id)
    now = timezone.now()
    if session.state == UploadState.VERIFYING and session.verify_until is not None and session.verify_until > now:
        return None
    if (known := outcome_of(session)) is not None:
        return known
    if session.expires_at <= now:
        raise UploadOver("the upload has expired")
    check(principal, place_of_session(session), operation_of(session))
    with asking(session.storage_alias):
        arrived(session, store_of(session.storage_alias))
    _queue(session, now)
    session.refresh_from_db(using=router.db_for_write(UploadSession))
    # A task of the immediate backend has run by now.
    return outcome_of(session)


def take_up(*, now: datetime | None = None, execute: bool = False, limit: int = 1000) -> Iterator[Left]:
    """Queue the uploads once more whose task did not end in its time."""
    at = now or timezone.now()
    left = sessions().filter(state=UploadState.VERIFYING, verify_until__lte=at, expires_at__gt=at)
    for session in left.order_by("verify_until")[:limit]:
        if not execute or _queue(session, at):
            yield Left("verified again" if execute else "left unverified", session.storage_alias, session.pk)


def verify_now(upload_id: str) -> str:
    """Verify an upload as a task does, and return the state that it has come to.

    Raises:
        StorageUnavailable: the store, or the scanner, cannot be asked; the upload stays as it is.
    """
    session = sessions().filter(pk=upload_id, state=UploadState.VERIFYING).first()
    if session is not None:
        transition(session, [UploadState.VERIFYING], UploadState.VERIFYING, verify_until=_until(session))
        try:
            principal = _principal_of(session)
            place = place_of_session(session)
            check(principal, place, operation_of(session))
            make(principal, session, place)
        except AccessDenied:
            # The right ended while it waited; nothing is made of it any more.
            let_go(session, UploadState.ABORTED)
        except (NotUploaded, UploadOver, UploadRejected):
            pass  # the row tells
        except Exception:
            # The next who asks, or the sweeper, need not wait for one that is over.
            transition(session, [UploadState.VERIFYING], UploadState.VERIFYING, verify_until=timezone.now())
            raise
    return sessions().values_list("state", flat=True).filter(pk=upload_id).first() or "gone"


def _queue(session: UploadSession, now: datetime) -> bool:
    """Claim an upload for a task, and queue that when the claim is committed; False where another has."""
    # Imported where a task is queued: a project may have no task framework.
    from gateway.uploads.worker import verify_upload

    unclaimed = sessions().filter(
        Q(state__in=(UploadState.ISSUED, UploadState.UPLOADING))
        | Q(state=UploadState.VERIFYING) & (Q(verify_until=None) | Q(verify_until__lte=now)),
        pk=session.pk,
    )
    using = router.db_for_write(UploadSession)
    with transaction.atomic(using=using):
        claimed = unclaimed.update(state=UploadState.VERIFYING, verify_until=_until(session)) == 1
        if claimed:
            transaction.on_commit(lambda: verify_upload.enqueue(session.pk), using=using)
    return claimed


def _until(session: UploadSession) -> datetime:
    return timezone.now() + timedelta(seconds=_LEAST_SECONDS + session.size_bytes // _BYTES_A_SECOND)


def _principal_of(session: UploadSession) -> Principal:
    """Return who began an upload, with the rights of now and without a request.

    Raises:
        AccessDenied: a user that is gone, or not active.
    """
    kind = session.principal.partition(":")[0]
    if kind == "user":
        principal = Principal(kind="user", user=session.user)
        if session.user is None or not principal.is_active:
            raise AccessDenied("the user is gone, or not active")
        return principal
    if kind == "anonymous":
        return Principal(kind="anonymous")
    return Principal(kind="system", reason="verification of an upload")
