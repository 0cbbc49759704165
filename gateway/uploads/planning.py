"""How an upload is to go: in one piece or in parts, what is signed of it, and what the store can be held to.

Must not sign, ask a store, or change a row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Literal

from django.core.exceptions import BadRequest

from gateway.conf import conf
from gateway.errors import GatewayError, InvalidRequest, StorageUnavailable
from gateway.models import UploadSession
from gateway.resources import private_storage
from gateway.storages.objects import FormStore, ObjectStore, PartStore, RelayedPartStore, ResumableStore
from gateway.uploads.permission import operation_of
from providers.errors import InvalidInput
from providers.types import MAX_PART_NUMBER, Capabilities, Checksum, Upload, UploadForm, UploadPart

__all__ = [
    "Guarantees",
    "PartWanted",
    "Wanted",
    "asking",
    "bound",
    "check_part",
    "form_of",
    "form_store_of",
    "guarantees_of",
    "part_count",
    "part_of",
    "part_size",
    "part_store_of",
    "plan",
    "planned_part",
    "resumable_store_of",
    "store_of",
    "whole",
]

logger = logging.getLogger(__name__)

# Decided about before the store has given an id.
_NO_UPLOAD_ID = "none-yet"

Promise = Literal["signed", "verified", "none", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a client wants to upload.

    Args:
        content_type: canonical, in lower case.
        sha256, md5: of the whole file, one of them; None leaves it unchecked.
        target: reference to the field that is to get the file; empty is the service's own files.
        strategy: ``single``, ``multipart``, ``form`` for a browser's form, ``resumable`` for a session of the store,
            or ``auto`` for the gateway's choice, which is one of the first two.
        part_bytes: size of a part, of a client that chooses it itself; 0 is the gateway's choice.
        origin: of the page that sends to a resumable session, to which it is bound; empty for no page.
    """

    filename: str
    content_type: str
    size_bytes: int
    sha256: bytes | None = None
    md5: bytes | None = None
    target: str = ""
    strategy: Literal["auto", "single", "multipart", "form", "resumable"] = "auto"
    part_bytes: int = 0
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What holds for an upload, and by whom: ``signed`` and ``refused`` are the store's doing, at once."""

    size: Promise
    content_type: Promise
    checksum: Promise
    overwrite: Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class PartWanted:
    """A part to sign: its number from 1, its exact size, and its digest where the client has one."""

    number: int
    size_bytes: int
    sha256: bytes | None = None


def part_count(session: UploadSession) -> int:
    """Return how many parts an upload has; 0 for one in one piece."""
    return ceil(session.size_bytes / session.part_bytes) if session.part_bytes else 0


def planned_part(session: UploadSession, number: int) -> PartWanted:
    """Return a part as it is planned.

    Raises:
        InvalidRequest: the plan has no such part.
    """
    part = PartWanted(number=number, size_bytes=part_size(session, number))
    check_part(session, part)
    return part


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
    except (GatewayError, FileNotFoundError, FileExistsError, BadRequest):
        raise
    except Exception as error:
        logger.error("storage %s cannot be asked: %s", alias, type(error).__name__)
        raise StorageUnavailable(f"storage {alias!r}: {type(error).__name__}") from error


def plan(wanted: Wanted, alias: str, store: ObjectStore) -> tuple[str, int]:
    """Return the strategy and the size of a part, 0 where there are none."""
    usual = conf().upload_part_bytes
    strategy = wanted.strategy
    if strategy == "auto":
        # What can go straight to the store does not go through the gateway.
        most = store.most_single_bytes if isinstance(store, RelayedPartStore) else usual
        strategy = "multipart" if wanted.size_bytes > most and _takes_parts(alias, store) else "single"
    if strategy == "single":
        if isinstance(store, RelayedPartStore) and wanted.size_bytes > store.most_single_bytes:
            raise InvalidRequest(
                f"strategy is single, size is {wanted.size_bytes}; this storage takes at most"
                f" {store.most_single_bytes} in one request"
            )
        return UploadSession.Strategy.SINGLE, 0
    if strategy == "form":
        if not isinstance(store, FormStore) or UploadForm not in _capabilities(alias).operations:
            raise InvalidRequest("strategy is form; this storage takes no forms")
        if wanted.size_bytes == 0:
            raise InvalidRequest("strategy is form; an empty file is uploaded by single")
        return UploadSession.Strategy.FORM, wanted.size_bytes
    if strategy == "resumable":
        if not isinstance(store, ResumableStore) or not store.opens_sessions:
            raise InvalidRequest("strategy is resumable; this storage opens no sessions")
        if wanted.size_bytes == 0:
            raise InvalidRequest("strategy is resumable; an empty file is uploaded by single")
        return UploadSession.Strategy.RESUMABLE, 0
    if not isinstance(store, PartStore) or not _takes_parts(alias, store):
        raise InvalidRequest("strategy is multipart; this storage takes no parts")
    if wanted.size_bytes == 0:
        raise InvalidRequest("strategy is multipart; an empty file has no parts")
    least = max(store.least_part_bytes, ceil(wanted.size_bytes / MAX_PART_NUMBER))
    if wanted.part_bytes and wanted.part_bytes < least:
        raise InvalidRequest(f"a part has {wanted.part_bytes} bytes; at least {least}")
    part_bytes = wanted.part_bytes or max(usual, least)
    if isinstance(store, RelayedPartStore) and part_bytes > store.most_part_bytes:
        if wanted.part_bytes:
            raise InvalidRequest(f"a part has {part_bytes} bytes; at most {store.most_part_bytes}")
        part_bytes = store.most_part_bytes
    return UploadSession.Strategy.MULTIPART, part_bytes


def _takes_parts(alias: str, store: ObjectStore) -> bool:
    return isinstance(store, PartStore) and UploadPart in _capabilities(alias, UploadPart).operations


def guarantees_of(session: UploadSession) -> Guarantees:
    binds = _capabilities(session.storage_alias)
    checksum = operation_of(session).checksum
    checked: Promise = "none" if checksum is None else "verified"
    if session.strategy == UploadSession.Strategy.FORM:
        # The form's own object may be replaced while the form lives; the file is made of it once, by the server.
        return Guarantees(size="signed", content_type="signed", checksum=checked, overwrite="refused")
    if session.strategy == UploadSession.Strategy.RESUMABLE:
        # Bound when the session was opened; the size is the most that it takes, and MD5 all that it compares.
        return Guarantees(
            size="verified", content_type="signed", checksum="signed" if session.md5 else checked, overwrite="refused"
        )
    if session.strategy == UploadSession.Strategy.MULTIPART:
        # The server alone completes it, under a name that is free, with a type of its own saying. To a relay the
        # gateway itself holds a part to what was signed.
        parts = _capabilities(session.storage_alias, UploadPart)
        refuses = part_store_of(session.storage_alias).joins_under_free_names
        return Guarantees(
            size="signed" if parts.binds_part else "verified", content_type="verified", checksum=checked,
            overwrite="refused" if refuses else "verified",
        )  # fmt: skip
    return Guarantees(
        size="signed" if binds.binds_size else "verified",
        content_type="signed" if binds.binds_content_type else "verified",
        checksum="signed" if checksum is not None and checksum.algorithm in binds.binds_checksum else checked,
        overwrite="refused" if binds.binds_no_overwrite else "verified",
    )


def _capabilities(alias: str, kind: type = Upload) -> Capabilities:
    try:
        capabilities: Capabilities = private_storage(alias).provider_for(kind).capabilities
    except GatewayError:
        raise
    except Exception as error:
        raise StorageUnavailable(f"storage {alias!r}: {type(error).__name__}") from error
    return capabilities


def bound(session: UploadSession) -> Upload:
    """Return the operation to sign, with the checksum where the store can be bound to it, or at least be told it."""
    operation = operation_of(session)
    known = _capabilities(session.storage_alias)
    if operation.checksum is None or operation.checksum.algorithm in known.binds_checksum | known.sends_checksum:
        return operation
    return Upload(operation.key, content_type=operation.content_type, size_bytes=operation.size_bytes)


def form_of(session: UploadSession) -> UploadForm:
    size = session.size_bytes
    return UploadForm(session.staging_key, content_type=session.content_type, min_bytes=size, max_bytes=size)


def form_store_of(alias: str) -> FormStore:
    """Return what uploads by form need of a storage.

    Raises:
        StorageUnavailable: it takes no forms.
    """
    store = store_of(alias)
    if not isinstance(store, FormStore):
        raise StorageUnavailable(f"storage {alias!r} takes no forms")
    return store


def resumable_store_of(alias: str) -> ResumableStore:
    """Return what resumable uploads need of a storage.

    Raises:
        StorageUnavailable: it has none.
    """
    store = store_of(alias)
    if not isinstance(store, ResumableStore):
        raise StorageUnavailable(f"storage {alias!r} has no sessions")
    return store


def part_of(session: UploadSession, part: PartWanted) -> UploadPart:
    # A store that does not know the digest is not told it; that of the whole is verified at the end.
    known = _capabilities(session.storage_alias, UploadPart)
    knows = "sha256" in known.binds_checksum | known.sends_checksum
    return UploadPart(
        session.key,
        upload_id=session.store_upload_id or _NO_UPLOAD_ID,
        number=part.number,
        size_bytes=part.size_bytes,
        checksum=None if part.sha256 is None or not knows else Checksum("sha256", part.sha256),
    )


def whole(key: str, wanted: Wanted) -> Upload:
    try:
        checksum = None if wanted.sha256 is None else Checksum("sha256", wanted.sha256)
        if wanted.md5 is not None:
            checksum = Checksum("md5", wanted.md5)
        return Upload(key, content_type=wanted.content_type, size_bytes=wanted.size_bytes, checksum=checksum)
    except InvalidInput as error:
        raise InvalidRequest(str(error)) from error


def check_part(session: UploadSession, part: PartWanted) -> None:
    count = part_count(session)
    if not 1 <= part.number <= count:
        raise InvalidRequest(f"part number is {part.number}; 1 to {count}")
    if part.size_bytes != part_size(session, part.number):
        raise InvalidRequest(
            f"part {part.number} has size {part.size_bytes}; exactly {part_size(session, part.number)}"
        )
