"""From bytes in the store to a file that can be had: looked at by whoever asks, made by exactly one.

Looking changes nothing, so that a crash at any point leaves an upload that can be finalized again, and any
number of callers get one answer. Must not make a file of anything that was not verified.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import router, transaction
from django.utils import timezone

from gateway import audit, links
from gateway.errors import (
    BodyTooLarge,
    ChecksumMismatch,
    Infected,
    NotUploaded,
    SizeMismatch,
    TypeMismatch,
    TypeNotAllowed,
    UploadOver,
    UploadRejected,
)
from gateway.models import File, Issuance, UploadSession, UploadState
from gateway.principals import Principal
from gateway.resources import Resource
from gateway.storages.objects import ObjectStore, StoredObject
from gateway.uploads.permission import check, operation_of, own, place_of_session
from gateway.uploads.places import Place
from gateway.uploads.planning import asking, form_store_of, part_count, part_size, part_store_of, store_of
from gateway.uploads.scanning import scan
from gateway.uploads.sessions import end_session, note_object, note_staged, stop_parts, transition
from gateway.uploads.verification import Verified, verify
from providers.types import Upload

__all__ = ["Finalized", "arrived", "finalize", "make", "outcome_of"]

logger = logging.getLogger(__name__)

_VERDICTS: dict[str, type[UploadRejected]] = {
    verdict.code: verdict for verdict in (SizeMismatch, TypeMismatch, ChecksumMismatch, Infected)
}
_RULE = "verified upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalized:
    """A file that came of an upload; ``reference`` names it."""

    session: UploadSession
    reference: str


def finalize(principal: Principal, upload_id: str) -> Finalized:
    """Verify what arrived and make it a file; asked again, the answer is the same.

    Raises:
        AccessDenied: no (any more), or there is no such upload of this principal.
        NotUploaded: not all of it has arrived.
        UploadRejected: it is not what was declared; it is not kept.
        UploadOver: the upload has expired, or was given up.
        StorageUnavailable: the store cannot be asked.
    """
    session = own(principal, upload_id)
    if (known := outcome_of(session)) is not None:
        return known
    if session.expires_at <= timezone.now():
        raise UploadOver("the upload has expired")
    place = place_of_session(session)
    check(principal, place, operation_of(session))
    return make(principal, session, place)


def make(principal: Principal, session: UploadSession, place: Place) -> Finalized:
    """Make a file of an upload that may become one, or give the verdict; the policy was asked before.

    Raises:
        NotUploaded, UploadRejected, UploadOver, StorageUnavailable: as :func:`finalize`.
    """
    store = store_of(session.storage_alias)
    try:
        with asking(session.storage_alias):
            stored = arrived(session, store)
            if not transition(session, UploadState.open(), UploadState.VERIFYING):
                return _settled(session)
            if stored is None:
                stored = _complete(session)
            _check_limits(place, session)
            verified = verify(session, store, stored)
            scan(session, store, stored)
    except UploadRejected as verdict:
        _reject(principal, session, verdict)
        return _settled(session)
    except FileNotFoundError as error:
        # Gone, or replaced, while it was looked at: as if it had not come yet.
        transition(session, [UploadState.VERIFYING], UploadState.UPLOADING)
        session.refresh_from_db(using=router.db_for_write(UploadSession))
        if (known := outcome_of(session)) is not None:
            return known
        raise NotUploaded("the object is not there, or was replaced") from error
    _keep(principal, session, place, verified)
    return _settled(session)


def outcome_of(session: UploadSession) -> Finalized | None:
    """Return what an upload has become; None while that is open.

    Raises:
        UploadRejected: with the verdict that was given.
        UploadOver: it has expired, or was given up.
    """
    match session.state:
        case UploadState.READY:
            return Finalized(session=session, reference=session.target or str(session.file_id))
        case UploadState.REJECTED:
            raise _VERDICTS.get(session.reason, UploadRejected)(session.reason)
        case UploadState.ABORTED | UploadState.EXPIRED:
            raise UploadOver(f"the upload is {session.state}")
    return None


def _settled(session: UploadSession) -> Finalized:
    session.refresh_from_db(using=router.db_for_write(UploadSession))
    known = outcome_of(session)
    if known is None:
        raise NotUploaded("the upload moved while it was looked at")
    return known


def arrived(session: UploadSession, store: ObjectStore) -> StoredObject | None:
    """Return the object; None where all of its parts have come and are still to be joined.

    Raises:
        NotUploaded: not all of it has come.
    """
    stored = store.stat(session.key)
    if stored is not None:
        return stored
    if session.strategy in (UploadSession.Strategy.SINGLE, UploadSession.Strategy.RESUMABLE):
        raise NotUploaded("the object is not there")
    parts = part_store_of(session.storage_alias).parts(session.key, session.store_upload_id)
    if parts is None:
        # Joined by somebody else since we looked, or given up.
        stored = store.stat(session.key)
        if stored is None:
            raise NotUploaded("the store knows nothing of the upload")
        return stored
    if session.strategy == UploadSession.Strategy.FORM:
        if store.stat(session.staging_key) is None:
            raise NotUploaded("the form has not come")
        return None
    numbers = {part.number for part in parts}
    if not numbers >= set(range(1, part_count(session) + 1)):
        raise NotUploaded(f"{len(numbers)} of {part_count(session)} parts have come")
    return None


def _complete(session: UploadSession) -> StoredObject:
    store = part_store_of(session.storage_alias)
    if session.strategy == UploadSession.Strategy.FORM:
        _copy_staged(session)
    parts = store.parts(session.key, session.store_upload_id) or []
    for part in parts:
        if part.number > part_count(session) or part.size_bytes != part_size(session, part.number):
            raise SizeMismatch(f"part {part.number} has {part.size_bytes} bytes")
    try:
        if parts:
            store.complete_parts(session.key, session.store_upload_id, parts)
    except (FileNotFoundError, FileExistsError):
        # The key is of this upload alone: whoever made the object has made this one.
        logger.info("upload %s was completed by somebody else, or is incomplete", session.pk)
    stored = store.stat(session.key)
    if stored is None:
        raise FileNotFoundError("the parts made no object")
    return stored


def _copy_staged(session: UploadSession) -> None:
    try:
        form_store_of(session.storage_alias).copy_part(session.staging_key, session.key, session.store_upload_id)
    except FileNotFoundError:
        logger.info("upload %s was copied by somebody else, or its form's object went", session.pk)


def _check_limits(place: Place, session: UploadSession) -> None:
    """Hold an upload to what the field takes by now; what it declared is verified beside."""
    try:
        place.check_limits(session.content_type, session.size_bytes)
    except BodyTooLarge as error:
        raise SizeMismatch(str(error)) from error
    except TypeNotAllowed as error:
        raise TypeMismatch(str(error)) from error


def _keep(principal: Principal, session: UploadSession, place: Place, verified: Verified) -> None:
    """Make the file, in the one transaction that moves the upload on; whoever comes second changes nothing."""
    using = router.db_for_write(UploadSession)
    with ExitStack() as stack:
        for database in dict.fromkeys([using, place.database or using]):
            stack.enter_context(transaction.atomic(using=database))
        moved = transition(
            session, [UploadState.VERIFYING], UploadState.READY,
            etag=verified.etag, version=verified.version, finished_at=timezone.now(), store_upload_id="",
        )  # fmt: skip
        if not moved:
            return
        if place.field is None:
            file = File(
                owner=principal.user, storage_alias=session.storage_alias, key=session.key,
                filename=session.filename, content_type=session.content_type, size_bytes=session.size_bytes,
                version=verified.version,
            )  # fmt: skip
            file.save(using=using, force_insert=True)
            UploadSession.objects.using(using).filter(pk=session.pk).update(file=file)
        else:
            place.attach(session.key, verified.version)
        note_staged(session)
        _record(principal, session, Issuance.Decision.ALLOWED, policy=_RULE)


def _reject(principal: Principal, session: UploadSession, verdict: UploadRejected) -> None:
    end_session(session)
    with transaction.atomic(using=router.db_for_write(UploadSession)):
        moved = transition(
            session, [UploadState.VERIFYING], UploadState.REJECTED, reason=verdict.code, finished_at=timezone.now()
        )
        if not moved:
            return
        logger.warning("upload %s is rejected: %s", session.pk, verdict)
        note_object(session)
        _record(principal, session, Issuance.Decision.REFUSED, reason=verdict.code)
    stop_parts(session)


def _record(principal: Principal, session: UploadSession, decision: str, *, policy: str = "", reason: str = "") -> None:
    # Written here and not at the end of the request: what has become a file is on record, whatever comes after.
    row = audit.row_of(
        decision, principal, Resource.of_key(session.storage_alias, session.key), Upload,
        at=datetime.now(UTC), policy=policy, reason=reason, tenant=links.tenant_name(principal),
    )  # fmt: skip
    audit.write([row])
