"""An upload from its beginning to the moment before it is finalized: begin, sign parts, look, give up.

Every change of state is one compare-and-swap. Must not believe a client about what has arrived.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any, Literal

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
from gateway.resources import private_storage
from gateway.storages.objects import ObjectStore, PartStore, ReceivedPart
from gateway.uploads.permission import check, operation_of, own, place_of_session, sessions
from gateway.uploads.places import Place, place_of
from providers.disposition import clean_filename
from providers.errors import InvalidInput
from providers.types import MAX_PART_NUMBER, Capabilities, Checksum, Upload, UploadPart

__all__ = [
    "LINK_SKEW",
    "Begun",
    "Guarantees",
    "PartWanted",
    "Received",
    "Wanted",
    "abort",
    "begin",
    "let_go",
    "look",
    "part_count",
    "part_size",
    "part_store_of",
    "sign_parts",
    "stop_parts",
    "store_of",
    "transition",
]

logger = logging.getLogger(__name__)

# A store's clock may be behind ours, and what was on its way when a link died may still arrive.
LINK_SKEW = timedelta(minutes=5)
_OPEN_TO_LINKS = (UploadState.ISSUED, UploadState.UPLOADING)
# Decided about before the store has given an id.
_NO_UPLOAD_ID = "none-yet"

Promise = Literal["signed", "verified", "none", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a client wants to upload.

    Args:
        content_type: canonical, in lower case.
        sha256: of the whole file; None leaves it unchecked.
        target: reference to the field that is to get the file; empty is the service's own files.
        strategy: ``single``, ``multipart``, or ``auto`` for the gateway's choice.
    """

    filename: str
    content_type: str
    size_bytes: int
    sha256: bytes | None = None
    target: str = ""
    strategy: Literal["auto", "single", "multipart"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What holds for an upload, and by whom: ``signed`` and ``refused`` are the store's doing, at once."""

    size: Promise
    content_type: Promise
    checksum: Promise
    overwrite: Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An upload that may go ahead; ``link`` is None for one in parts, and for one that is over."""

    session: UploadSession
    guarantees: Guarantees
    link: IssuedURL | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartWanted:
    """A part to sign: its number from 1, its exact size, and its digest where the client has one."""

    number: int
    size_bytes: int
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An upload as it stands, with the parts that the store has."""

    session: UploadSession
    parts: list[ReceivedPart] | None


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
    check(principal, place, _whole(place.provisional_key(), wanted))
    place.check_limits(wanted.content_type, wanted.size_bytes)
    tenant = links.tenant_name(principal)
    idempotency, digest = _idempotency(principal, tenant, idempotency_key), _digest(wanted)
    if idempotency is not None and (known := sessions().filter(idempotency=idempotency).first()):
        return _again(principal, known, digest)
    store = store_of(place.storage_alias)
    strategy, part_bytes = _plan(wanted, place.storage_alias, store)
    now = timezone.now()
    session = UploadSession(
        principal=principal.id, tenant=tenant, user=principal.user if principal.kind == "user" else None,
        storage_alias=place.storage_alias, key=place.mint(wanted.filename),
        filename=clean_filename(wanted.filename), content_type=wanted.content_type, size_bytes=wanted.size_bytes,
        sha256="" if wanted.sha256 is None else wanted.sha256.hex(), target=wanted.target,
        strategy=strategy, part_bytes=part_bytes, idempotency=idempotency, request_digest=digest,
        created_at=now, links_end_at=now, expires_at=now + conf().upload_lifetime,
    )  # fmt: skip
    if strategy == UploadSession.Strategy.MULTIPART:
        check(principal, place, _part(session, PartWanted(number=1, size_bytes=1)))
    try:
        with transaction.atomic(using=router.db_for_write(UploadSession)):
            session.save(using=router.db_for_write(UploadSession), force_insert=True)
    except IntegrityError:
        # Somebody was quicker with the same idempotency key.
        winner = None if idempotency is None else sessions().filter(idempotency=idempotency).first()
        if winner is None:
            raise
        return _again(principal, winner, digest)
    try:
        return _start(principal, session, place)
    except GatewayError:
        # Nothing of it has left, and its key is in no link.
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
    if session.strategy != UploadSession.Strategy.MULTIPART:
        raise UploadConflict("the upload is in one piece")
    for part in wanted:
        _check_part(session, part)
    if len({part.number for part in wanted}) != len(wanted):
        raise InvalidRequest("a part is there more than once")
    resource = place_of_session(session).resource(session.key)
    answers = links.issue_many(principal, [resource] * len(wanted), [_part(session, part) for part in wanted])
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


def let_go(session: UploadSession, state: UploadState) -> bool:
    """End an open upload without a file: its object is noted for deletion once no link can write it any more.

    Returns:
        False where it was not open any more.
    """
    with transaction.atomic(using=router.db_for_write(UploadSession)):
        moved = transition(session, UploadState.open(), state, finished_at=timezone.now())
        if moved:
            note_object(session)
    if moved:
        stop_parts(session)
    return moved


def note_object(session: UploadSession) -> None:
    """Note the object of an upload for deletion; a link that still lives could make it again after that."""
    grace = max(session.links_end_at + LINK_SKEW - timezone.now(), timedelta(0))
    outbox.enqueue(session.storage_alias, session.key, using=router.db_for_write(UploadSession), grace=grace)


def stop_parts(session: UploadSession) -> bool:
    """Tell the store that the parts of an upload that is over are not wanted; False where it did not hear."""
    if not session.store_upload_id:
        return True
    try:
        with asking(session.storage_alias):
            part_store_of(session.storage_alias).abort_parts(session.key, session.store_upload_id)
    except StorageUnavailable:
        return False  # the sweeper tries again
    sessions().filter(pk=session.pk).update(store_upload_id="")
    return True


def transition(session: UploadSession, sources: Sequence[str], state: str, **values: Any) -> bool:
    """Move an upload from one of some states to another, in one statement; False where it was in none of them."""
    moved = sessions().filter(pk=session.pk, state__in=sources).update(state=state, **values)
    return moved == 1


def part_count(session: UploadSession) -> int:
    """Return how many parts an upload has; 0 for one in one piece."""
    return ceil(session.size_bytes / session.part_bytes) if session.part_bytes else 0


def part_size(session: UploadSession, number: int) -> int:
    """Return the exact size in bytes of a part."""
    return min(session.part_bytes, session.size_bytes - (number - 1) * session.part_bytes)


def store_of(alias: str) -> ObjectStore:
    """Return what uploads need of a storage.

    Raises:
        StorageUnavailable: it has none of it.
    """
    store: ObjectStore | None = getattr(private_storage(alias), "objects", None)
    if store is None:
        raise StorageUnavailable(f"storage {alias!r} takes no uploads")
    return store


def part_store_of(alias: str) -> PartStore:
    """Return what uploads in parts need of a storage.

    Raises:
        StorageUnavailable: it takes no parts.
    """
    store = store_of(alias)
    if not isinstance(store, PartStore):
        raise StorageUnavailable(f"storage {alias!r} takes no parts")
    return store


@contextmanager
def asking(alias: str) -> Iterator[None]:
    """Whatever an SDK raises while a store is asked: it is unavailable. What is said by type passes."""
    try:
        yield
    except (GatewayError, FileNotFoundError, FileExistsError):
        raise
    except Exception as error:
        logger.error("storage %s cannot be asked: %s", alias, type(error).__name__)
        raise StorageUnavailable(f"storage {alias!r}: {type(error).__name__}") from error


def _start(principal: Principal, session: UploadSession, place: Place) -> Begun:
    guarantees = _guarantees(session)
    if session.strategy == UploadSession.Strategy.MULTIPART:
        with asking(session.storage_alias):
            store = part_store_of(session.storage_alias)
            session.store_upload_id = store.begin_parts(session.key, session.content_type)
        sessions().filter(pk=session.pk).update(store_upload_id=session.store_upload_id)
        return Begun(session=session, guarantees=guarantees)
    link = links.issue(principal, place.resource(session.key), _bound(session))
    _let_out(session, [link], UploadState.ISSUED)
    return Begun(session=session, guarantees=guarantees, link=link)


def _again(principal: Principal, session: UploadSession, digest: str) -> Begun:
    if session.request_digest != digest:
        raise IdempotencyConflict("the idempotency key was used for another body")
    guarantees = _guarantees(session)
    if session.state not in _OPEN_TO_LINKS or session.strategy == UploadSession.Strategy.MULTIPART:
        return Begun(session=session, guarantees=guarantees)
    _check_open(session)
    link = links.issue(principal, place_of_session(session).resource(session.key), _bound(session))
    _let_out(session, [link], session.state)
    return Begun(session=session, guarantees=guarantees, link=link)


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


def _check_part(session: UploadSession, part: PartWanted) -> None:
    count = part_count(session)
    if not 1 <= part.number <= count:
        raise InvalidRequest(f"part number is {part.number}; 1 to {count}")
    if part.size_bytes != part_size(session, part.number):
        raise InvalidRequest(
            f"part {part.number} has size {part.size_bytes}; exactly {part_size(session, part.number)}"
        )


def _plan(wanted: Wanted, alias: str, store: ObjectStore) -> tuple[str, int]:
    """Return the strategy and the size of a part, 0 where there are none."""
    takes_parts = isinstance(store, PartStore) and UploadPart in _capabilities(alias).operations
    usual = conf().upload_part_bytes
    strategy = wanted.strategy
    if strategy == "auto":
        strategy = "multipart" if wanted.size_bytes > usual and takes_parts else "single"
    if strategy == "single":
        return UploadSession.Strategy.SINGLE, 0
    if not isinstance(store, PartStore) or not takes_parts:
        raise InvalidRequest("strategy is multipart; this storage takes no parts")
    if wanted.size_bytes == 0:
        raise InvalidRequest("strategy is multipart; an empty file has no parts")
    least = max(usual, store.least_part_bytes, ceil(wanted.size_bytes / MAX_PART_NUMBER))
    return UploadSession.Strategy.MULTIPART, least


def _guarantees(session: UploadSession) -> Guarantees:
    binds = _capabilities(session.storage_alias)
    checked: Promise = "verified" if session.sha256 else "none"
    if session.strategy == UploadSession.Strategy.MULTIPART:
        # The server alone completes it, under a name that is free, with a type of its own saying.
        return Guarantees(
            size="signed" if binds.binds_part else "verified", content_type="verified", checksum=checked,
            overwrite="refused",
        )  # fmt: skip
    return Guarantees(
        size="signed" if binds.binds_size else "verified",
        content_type="signed" if binds.binds_content_type else "verified",
        checksum="signed" if session.sha256 and "sha256" in binds.binds_checksum else checked,
        overwrite="refused" if binds.binds_no_overwrite else "verified",
    )


def _capabilities(alias: str) -> Capabilities:
    try:
        capabilities: Capabilities = private_storage(alias).provider_for(Upload).capabilities
    except GatewayError:
        raise
    except Exception as error:
        raise StorageUnavailable(f"storage {alias!r}: {type(error).__name__}") from error
    return capabilities


def _bound(session: UploadSession) -> Upload:
    """Return the operation to sign, with the checksum where the store can be bound to it."""
    operation = operation_of(session)
    if "sha256" in _capabilities(session.storage_alias).binds_checksum:
        return operation
    return Upload(operation.key, content_type=operation.content_type, size_bytes=operation.size_bytes)


def _part(session: UploadSession, part: PartWanted) -> UploadPart:
    return UploadPart(
        session.key,
        upload_id=session.store_upload_id or _NO_UPLOAD_ID,
        number=part.number,
        size_bytes=part.size_bytes,
        checksum=None if part.sha256 is None else Checksum("sha256", part.sha256),
    )


def _whole(key: str, wanted: Wanted) -> Upload:
    checksum = None if wanted.sha256 is None else Checksum("sha256", wanted.sha256)
    try:
        return Upload(key, content_type=wanted.content_type, size_bytes=wanted.size_bytes, checksum=checksum)
    except InvalidInput as error:
        raise InvalidRequest(str(error)) from error


def _idempotency(principal: Principal, tenant: str, key: str | None) -> str | None:
    return None if key is None else _hash([tenant, principal.id, key])


def _digest(wanted: Wanted) -> str:
    sha256 = None if wanted.sha256 is None else wanted.sha256.hex()
    return _hash([wanted.filename, wanted.content_type, wanted.size_bytes, sha256, wanted.target, wanted.strategy])


def _hash(value: list[Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
