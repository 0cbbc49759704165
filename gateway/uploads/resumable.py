"""Sessions of a store, in which one object is sent in pieces and taken up again: opened and ended by the server.

Whoever has the URL of a session may fill it, so it is kept sealed. Must not log it, nor let it out past the door.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.db import router
from django.utils import timezone

from gateway import links
from gateway.errors import StorageUnavailable, UploadConflict, UploadOver
from gateway.links import IssuedURL
from gateway.models import UploadSession, UploadState
from gateway.principals import Principal
from gateway.sealing import seal, unseal
from gateway.uploads.permission import operation_of, sessions
from gateway.uploads.places import Place
from gateway.uploads.planning import asking, resumable_store_of

__all__ = ["cancel", "issue", "received_bytes"]

_OPEN = (UploadState.ISSUED, UploadState.UPLOADING)


def issue(principal: Principal, session: UploadSession, place: Place, origin: str) -> IssuedURL:
    """Decide, and return the store's session of an upload: the one that is open, or a new one where none is.

    What the policy allows, and the authority to ask, end the upload too, and the session with it.

    Raises:
        AccessDenied: no.
        StorageUnavailable: the store opens none.
        UploadConflict, UploadOver: the upload has moved on meanwhile, or its time is over.
    """
    left = session.expires_at - timezone.now()
    if left < timedelta(seconds=1):
        raise UploadOver("the upload has expired")
    start, ttl = partial(_open, session, origin), timedelta(seconds=int(left.total_seconds()))
    link = links.issue_session(principal, place.resource(session.key), operation_of(session), start, ttl=ttl)
    ends_at = timezone.make_naive(link.expires_at) if timezone.is_naive(session.expires_at) else link.expires_at
    if link.limited_by:
        sessions().filter(pk=session.pk).update(expires_at=ends_at)
        session.expires_at = ends_at
    return link


def received_bytes(session: UploadSession) -> int:
    """Return how many bytes the session of an upload has; 0 where there is none.

    Raises:
        StorageUnavailable: the store cannot be asked.
    """
    url = _url_of(session)
    if url is None:
        return 0
    with asking(session.storage_alias):
        return resumable_store_of(session.storage_alias).session_bytes(url) or 0


def cancel(session: UploadSession) -> None:
    """End the session that was opened for an upload: nothing is written by it any more.

    Raises:
        StorageUnavailable: the store did not hear, or cannot be told.
    """
    if session.links_end_at <= timezone.now():
        return  # it has died by itself
    url = _url_of(session)
    assert url is not None  # one was opened
    with asking(session.storage_alias):
        resumable_store_of(session.storage_alias).cancel_session(url)


def _open(session: UploadSession, origin: str) -> str:
    store = resumable_store_of(session.storage_alias)
    with asking(session.storage_alias):
        url = _url_of(session)
        if url is not None and store.session_bytes(url) is not None:
            return store.shown_session(url)
        now = timezone.now()
        try:
            url = store.begin_session(
                session.key, content_type=session.content_type, size_bytes=session.size_bytes,
                md5=bytes.fromhex(session.md5) or None, origin=origin or None,
            )  # fmt: skip
        except FileExistsError as error:
            raise UploadConflict("all of it has come; finalize") from error
        shown = store.shown_session(url)
        # Known before anybody has it, so that the sweeper can end it whatever happens; and one for each upload:
        # whoever comes second takes what the first has.
        sealed, ends_at = seal(url, session.pk), now + store.session_lifetime
        first = sessions().filter(pk=session.pk, store_upload_id=session.store_upload_id, state__in=_OPEN)
        if first.update(store_upload_id=sealed, links_end_at=ends_at):
            session.store_upload_id, session.links_end_at = sealed, ends_at
            return shown
        store.cancel_session(url)
        session.refresh_from_db(using=router.db_for_write(UploadSession))
        url = _url_of(session)
        if url is None or session.state not in _OPEN:
            raise UploadConflict("the upload has moved on")
        return store.shown_session(url)


def _url_of(session: UploadSession) -> str | None:
    """Return the URL of the session; None where none was opened.

    Raises:
        StorageUnavailable: it is sealed under a key that is gone.
    """
    if not session.store_upload_id:
        return None
    url = unseal(session.store_upload_id, session.pk)
    if url is None:
        raise StorageUnavailable("the session is sealed under a key that is gone; it dies after a week")
    return url
