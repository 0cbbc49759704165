"""An upload from its beginning to the moment before it is finalized: begin, sign parts, look, give up.

Every change of state is one compare-and-swap. Must not believe a client about what has arrived.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils import timezone

from gateway import links, outbox
from gateway.conf import conf
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    IdempotencyConflict,
    InvalidRequest,
    StorageUnavailable,
    UploadConflict,
    UploadFinished,
    UploadOver,
)
from gateway.links import IssuedURL
from gateway.models import UploadSession, UploadState
from gateway.principals import Principal
from gateway.storages.objects import ReceivedPart
from gateway.uploads import resumable
from gateway.uploads.permission import check, own, place_of_session, sessions
from gateway.uploads.places import Place, place_of
from gateway.uploads.planning import (
    Guarantees,
    PartWanted,
    Wanted,
    asking,
    bound,
    check_part,
    form_of,
    guarantees_of,
    part_of,
    part_store_of,
    plan,
    store_of,
    whole,
)
from providers.disposition import clean_filename

__all__ = [
    "LINK_SKEW",
    "Begun",
    "Received",
    "abort",
    "begin",
    "end_session",
    "let_go",
    "look",
    "note_object",
    "note_staged",
    "sign_parts",
    "stop_parts",
    "transition",
]

# A store's clock may be behind ours, and what was on its way when a link died may still arrive.
LINK_SKEW = timedelta(minutes=5)
_OPEN_TO_LINKS = (UploadState.ISSUED, UploadState.UPLOADING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An upload that may go ahead; ``link`` is None for one in parts, and for one that is over."""

    session: UploadSession
    guarantees: Guarantees
    link: IssuedURL | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An upload as it stands, with the parts, or of a resumable one the bytes from the first on, that the store has."""

    session: UploadSession
    parts: list[ReceivedPart] | None
    size_bytes: int | None = None


def begin(principal: Principal, wanted: Wanted, *, idempotency_key: str | None = None) -> Begun:
    """Decide about an upload, and sign it or prepare its parts.

    Args:
        idempotency_key: a repeat by the same principal with the same wish returns the same upload, signed anew.

    Raises:
        AccessDenied: no.
        BodyTooLarge, TypeNotAllowed, InvalidRequest: it breaks a limit; those of a field are told only to who
            may upload there.
        IdempotencyConflict: the key was used for another wish.
        StorageUnavailable: the storage cannot sign, or does not take uploads.
    """
    if wanted.size_bytes > conf().max_direct_upload_bytes:
        raise BodyTooLarge(f"size is {wanted.size_bytes}; at most {conf().max_direct_upload_bytes}")
    place = place_of(wanted.target)
    check(principal, place, whole(place.provisional_key(), wanted))
    place.check_limits(wanted.content_type, wanted.size_bytes)
    tenant = links.tenant_name(principal)
    idempotency, digest = _idempotency(principal, tenant, idempotency_key), _digest(wanted)
    if idempotency is not None and (known := sessions().filter(idempotency=idempotency).first()):
        return _again(principal, known, digest, wanted.origin)
    store = store_of(place.storage_alias)
    strategy, part_bytes = plan(wanted, place.storage_alias, store)
    now = timezone.now()
    session = UploadSession(
        principal=principal.id, tenant=tenant, user=principal.user if principal.kind == "user" else None,
        storage_alias=place.storage_alias, key=place.mint(wanted.filename),
        filename=clean_filename(wanted.filename), content_type=wanted.content_type, size_bytes=wanted.size_bytes,
        sha256="" if wanted.sha256 is None else wanted.sha256.hex(),
        md5="" if wanted.md5 is None else wanted.md5.hex(), target=wanted.target,
        strategy=strategy, part_bytes=part_bytes, idempotency=idempotency, request_digest=digest,
        created_at=now, links_end_at=now, expires_at=now + conf().upload_lifetime,
    )  # fmt: skip
    if strategy == UploadSession.Strategy.MULTIPART:
        check(principal, place, part_of(session, PartWanted(number=1, size_bytes=1)))
    elif strategy == UploadSession.Strategy.FORM:
        check(principal, place, form_of(session))
    try:
        with transaction.atomic(using=router.db_for_write(UploadSession)):
            session.save(using=router.db_for_write(UploadSession), force_insert=True)
    except IntegrityError:
        # Somebody was quicker with the same idempotency key.
        winner = None if idempotency is None else sessions().filter(idempotency=idempotency).first()
        if winner is None:
            raise
        return _again(principal, winner, digest, wanted.origin)
    try:
        return _start(principal, session, place, wanted.origin)
    except GatewayError:
        # Nothing of it has left, and its key is in no link.
        if session.strategy == UploadSession.Strategy.RESUMABLE:
            stop_parts(session)  # no store lists its sessions
        sessions().filter(pk=session.pk).delete()
        raise


def sign_parts(principal: Principal, upload_id: str, wanted: Sequence[PartWanted]) -> list[IssuedURL]:
    """Decide again, and sign some parts; in order.

    Raises:
        AccessDenied: no, or there is no such upload of this principal.
        InvalidRequest: a part that is not of the plan.
        UploadConflict: the upload is in one piece, or is being finalized, or has become a file.
        UploadOver: it has expired, or was given up.
    """
    session = own(principal, upload_id)
    _check_open(session)
    if session.strategy != UploadSession.Strategy.MULTIPART or not session.store_upload_id:
        raise UploadConflict("the upload is in one piece, or its beginning was interrupted")
    for part in wanted:
        check_part(session, part)
    if len({part.number for part in wanted}) != len(wanted):
        raise InvalidRequest("a part is there more than once")
    resource = place_of_session(session).resource(session.key)
    answers = links.issue_many(principal, [resource] * len(wanted), [part_of(session, part) for part in wanted])
    issued: list[IssuedURL] = []
    for answer in answers:
        if not isinstance(answer, IssuedURL):
            raise answer.error
        issued.append(answer)
    _let_out(session, issued, UploadState.UPLOADING)
    return issued


def look(principal: Principal, upload_id: str) -> Received:
    """Return an upload with the parts that the store has, as far as it is still to be finished.

    Raises:
        AccessDenied: there is no such upload of this principal.
        StorageUnavailable: the store cannot be asked.
    """
    session = own(principal, upload_id)
    if session.state in _OPEN_TO_LINKS and session.strategy == UploadSession.Strategy.RESUMABLE:
        return Received(session=session, parts=None, size_bytes=resumable.received_bytes(session))
    if session.strategy != UploadSession.Strategy.MULTIPART or session.state not in _OPEN_TO_LINKS:
        return Received(session=session, parts=None)
    store = part_store_of(session.storage_alias)
    with asking(session.storage_alias):
        return Received(session=session, parts=store.parts(session.key, session.store_upload_id) or [])


def abort(principal: Principal, upload_id: str) -> None:
    """Give an upload up; one that is over already stays so.

    Raises:
        AccessDenied: there is no such upload of this principal.
        UploadFinished: it has become a file.
    """
    session = own(principal, upload_id)
    let_go(session, UploadState.ABORTED)
    session.refresh_from_db(using=router.db_for_write(UploadSession))
    if session.state == UploadState.READY:
        raise UploadFinished("it has become a file; delete that")


def let_go(session: UploadSession, state: UploadState, *, tell: bool = True) -> bool:
    """End an open upload without a file: its object is noted for deletion once no link can write it any more.

    Args:
        tell: the store, too; what it was not told the sweeper tells it.

    Returns:
        False where it was not open any more.
    """
    if tell and session.state in UploadState.open():
        end_session(session)
    with transaction.atomic(using=router.db_for_write(UploadSession)):
        moved = transition(session, UploadState.open(), state, finished_at=timezone.now())
        if moved:
            note_object(session)
    if moved and tell:
        # Somebody may have begun again in between.
        session.refresh_from_db(using=router.db_for_write(UploadSession), fields=["store_upload_id", "links_end_at"])
        stop_parts(session)
    return moved


def end_session(session: UploadSession) -> None:
    """End the store's session of a resumable upload, before its object is noted.

    What nothing writes any more need not wait for a week, which is what a session lives.
    """
    if session.strategy == UploadSession.Strategy.RESUMABLE and stop_parts(session):
        session.links_end_at = min(session.links_end_at, timezone.now())


def note_object(session: UploadSession) -> None:
    """Note the objects of an upload for deletion; a link that still lives could make them again after that."""
    _note(session, session.key)
    note_staged(session)


def note_staged(session: UploadSession) -> None:
    """Note what a form brought for deletion, if the upload is one; its file was made of it, or never will be."""
    if session.strategy == UploadSession.Strategy.FORM:
        _note(session, session.staging_key)


def _note(session: UploadSession, key: str) -> None:
    grace = max(session.links_end_at + LINK_SKEW - timezone.now(), timedelta(0))
    outbox.enqueue(session.storage_alias, key, using=router.db_for_write(UploadSession), grace=grace)


def stop_parts(session: UploadSession) -> bool:
    """Tell the store that the parts, or the session, of an upload are not wanted; False where it did not hear."""
    if not session.store_upload_id:
        return True
    try:
        if session.strategy == UploadSession.Strategy.RESUMABLE:
            resumable.cancel(session)
        else:
            with asking(session.storage_alias):
                part_store_of(session.storage_alias).abort_parts(session.key, session.store_upload_id)
    except StorageUnavailable:
        return False  # the sweeper tries again
    # Of what was begun meanwhile it says nothing.
    sessions().filter(pk=session.pk, store_upload_id=session.store_upload_id).update(store_upload_id="")
    return True


def transition(session: UploadSession, sources: Sequence[str], state: str, **values: Any) -> bool:
    """Move an upload from one of some states to another, in one statement; False where it was in none of them."""
    moved = sessions().filter(pk=session.pk, state__in=sources).update(state=state, **values)
    return moved == 1


def _start(principal: Principal, session: UploadSession, place: Place, origin: str) -> Begun:
    if session.strategy == UploadSession.Strategy.RESUMABLE:
        link = resumable.issue(principal, session, place, origin)
        return Begun(session=session, guarantees=guarantees_of(session), link=link)
    if session.strategy == UploadSession.Strategy.MULTIPART:
        _begin_parts(session)
        return Begun(session=session, guarantees=guarantees_of(session))
    if session.strategy == UploadSession.Strategy.FORM:
        if not session.store_upload_id:
            _begin_parts(session)
        link = links.issue(principal, place.resource(session.staging_key), form_of(session))
    else:
        link = links.issue(principal, place.resource(session.key), bound(session))
    _let_out(session, [link], session.state)
    return Begun(session=session, guarantees=guarantees_of(session), link=link)


def _begin_parts(session: UploadSession) -> None:
    """Have the store begin, once for each upload: whoever comes second takes what the first has."""
    store = part_store_of(session.storage_alias)
    with asking(session.storage_alias):
        upload_id = store.begin_parts(session.key, session.content_type)
        first = sessions().filter(pk=session.pk, store_upload_id="", state__in=_OPEN_TO_LINKS)
        if first.update(store_upload_id=upload_id):
            session.store_upload_id = upload_id
            return
        store.abort_parts(session.key, upload_id)
    session.refresh_from_db(using=router.db_for_write(UploadSession))


def _again(principal: Principal, session: UploadSession, digest: str, origin: str) -> Begun:
    if session.request_digest != digest:
        raise IdempotencyConflict("the idempotency key was used for another body")
    has_parts = session.strategy == UploadSession.Strategy.MULTIPART and session.store_upload_id
    if session.state not in _OPEN_TO_LINKS or has_parts:
        return Begun(session=session, guarantees=guarantees_of(session))
    _check_open(session)
    return _start(principal, session, place_of_session(session), origin)


def _let_out(session: UploadSession, issued: Sequence[IssuedURL], state: str) -> None:
    """Note until when links live before they leave; none leaves where the upload has moved on meanwhile."""
    ends_at = max(link.expires_at for link in issued)
    if timezone.is_naive(timezone.now()):
        ends_at = timezone.make_naive(ends_at)
    ends_at = max(ends_at, session.links_end_at)
    later = sessions().filter(pk=session.pk, state__in=_OPEN_TO_LINKS, links_end_at__gt=ends_at)
    if not (transition(session, _OPEN_TO_LINKS, state, links_end_at=ends_at) or later.exists()):
        raise UploadConflict("the upload has moved on")
    session.state, session.links_end_at = state, ends_at


def _check_open(session: UploadSession) -> None:
    if session.state in (UploadState.ABORTED, UploadState.EXPIRED) or session.expires_at <= timezone.now():
        raise UploadOver("the upload is over")
    if session.state not in _OPEN_TO_LINKS:
        raise UploadConflict(f"the upload is {session.state}")


def _idempotency(principal: Principal, tenant: str, key: str | None) -> str | None:
    return None if key is None else _hash([tenant, principal.id, key])


def _digest(wanted: Wanted) -> str:
    sha256 = None if wanted.sha256 is None else wanted.sha256.hex()
    md5 = None if wanted.md5 is None else wanted.md5.hex()
    said = [
        wanted.filename, wanted.content_type, wanted.size_bytes, sha256, md5, wanted.target, wanted.strategy,
        wanted.part_bytes,
    ]  # fmt: skip
    # A session is bound to its page: to one of another origin it would be of no use.
    return _hash([*said, wanted.origin] if wanted.strategy == "resumable" else said)


def _hash(value: list[Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
