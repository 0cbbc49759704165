"""The service's own files: list, look up, save, rename, remove. The API and the page are its callers.

Must not answer a request, and asks the door before it shows or changes a file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import router, transaction
from django.db.models import Q, QuerySet

from gateway import audit, links, outbox
from gateway.api.cursors import Position
from gateway.conf import conf
from gateway.errors import AccessDenied, BodyTooLarge, StorageUnavailable
from gateway.models import File, FileState, Issuance, ObjectDeletion
from gateway.policies import DATABASE_DOWN, Delete, Download, Update, Upload, visible
from gateway.principals import Principal
from gateway.resources import Resource, facts_of_name, private_storage
from gateway.storages.minting import unnamed_key
from providers.disposition import clean_filename

__all__ = ["Page", "check_may_save", "find", "list_files", "remove", "rename", "save"]

logger = logging.getLogger(__name__)

# A policy that cannot be asked as a query is asked row by row, this many times a page at most.
_MAX_STEPS = 20
_UNKNOWN_TYPE = "application/octet-stream"
_UPLOAD_RULE = "any active user; a token with the scope Upload"


@dataclass(frozen=True, slots=True)
class Page:
    """Some files, newest first; ``end`` is where the next page starts, None after the last."""

    files: list[File]
    end: Position | None


def list_files(principal: Principal, *, limit: int, after: Position | None = None, part_of_name: str = "") -> Page:
    """Return a page of the files that the principal may download, and of no others.

    Where the policy has to be asked about each row, a page may be short, or empty, with more to follow.

    Args:
        limit: the most files of a page.
        after: the ``end`` of the page before.
        part_of_name: part of the file name, in any case.

    Raises:
        DatabaseUnavailable: the question could not be asked.
    """
    rows = _ready().order_by("-created_at", "-id")
    if part_of_name:
        rows = rows.filter(filename__icontains=part_of_name)
    rows = _narrowed(principal, rows)
    found: list[File] = []
    for _ in range(_MAX_STEPS):
        step = list((rows if after is None else rows.filter(_behind(after)))[: limit + 1])
        # The door is asked even where the query has said it all: its rules are more than the policy.
        answers = links.allowed(principal, [Resource.of_file(file) for file in step], Download)
        for file, is_allowed in zip(step, answers, strict=True):
            if is_allowed and len(found) == limit:
                return Page(found, _position(found[-1]))
            if is_allowed:
                found.append(file)
        if len(step) <= limit:
            return Page(found, None)
        after = _position(step[-1])
    return Page(found, after)


def find(principal: Principal, pk: UUID) -> File:
    """Return a file that the principal may download; the question is recorded.

    Raises:
        AccessDenied: denied, missing or deleted.
    """
    links.authorize(principal, _resource(pk), Download)
    return _present(pk)


def rename(principal: Principal, pk: UUID, filename: str) -> File:
    """Give a file another name; its type stays what it was.

    Raises:
        AccessDenied: the principal may not *update* it, or it is missing or deleted.
    """
    links.authorize(principal, _resource(pk), Update)
    _ready().filter(pk=pk).update(filename=clean_filename(filename))
    return _present(pk)


def remove(principal: Principal, pk: UUID) -> None:
    """Delete a file: at once for everybody who asks, and its object after the commit.

    The object is tried once here; one that a signer cannot delete stays in the outbox for the sweeper.

    Raises:
        AccessDenied: the principal may not *delete* it, or it is missing or deleted.
    """
    links.authorize(principal, _resource(pk), Delete)
    using = router.db_for_write(File)
    with transaction.atomic(using=using):
        file = _present(pk)
        if not _ready().filter(pk=pk).update(state=FileState.DELETING):
            raise AccessDenied("somebody else has just deleted it")
        outbox.enqueue(file.storage_alias, file.key, using=using, grace=timedelta(0))
        # A function: Django logs the name of one that fails, and a partial has none.
        transaction.on_commit(lambda: _delete_object(file.storage_alias, file.key), using=using, robust=True)


def check_may_save(principal: Principal) -> None:
    """Decide about an upload before a byte of it is read: any active user keeps files of their own.

    Raises:
        AccessDenied: nobody in particular asks, or a token without the scope ``Upload``.
    """
    if principal.kind != "user" or not principal.is_active:
        reason = "only users keep files"
    elif principal.token is not None and Upload.__name__ not in principal.token.scopes:
        reason = "the token has no scope Upload"
    else:
        return
    nothing_yet = Resource.of_key(conf().file_storage, "")
    refused = audit.row_of(
        Issuance.Decision.REFUSED, principal, nothing_yet, Upload, at=datetime.now(UTC), reason=reason
    )
    audit.record([refused])
    raise AccessDenied(reason, nothing_yet)


def save(principal: Principal, upload: UploadedFile[Any]) -> File:
    """Store an upload as the principal's own file: first the object, then its row.

    The type is guessed from the name and never taken from the client; of the name, the key keeps the
    extension alone.

    Raises:
        AccessDenied: as :func:`check_may_save`.
        BodyTooLarge: it is larger than ``MAX_UPLOAD_BYTES``.
        StorageUnavailable: the storage did not take it.
    """
    check_may_save(principal)
    size_bytes = upload.size or 0
    if size_bytes > conf().max_upload_bytes:
        raise BodyTooLarge(f"the file has {size_bytes} bytes; at most {conf().max_upload_bytes}")
    alias = conf().file_storage
    filename = clean_filename(upload.name or "")
    guessed = facts_of_name(filename).content_type
    key = unnamed_key(filename)
    file = File(
        owner=principal.user, storage_alias=alias, key=key, filename=filename,
        content_type=guessed or _UNKNOWN_TYPE, size_bytes=size_bytes,
    )  # fmt: skip
    # SDKs would tell the store what the client said.
    upload.content_type = file.content_type
    try:
        file.key = _store(alias, key, upload)
        _insert(principal, file)
    except BaseException:
        _let_go(alias, file.key)
        raise
    return file


def _store(alias: str, key: str, upload: UploadedFile[Any]) -> str:
    storage = private_storage(alias)
    try:
        return str(storage.save(key, upload, max_length=255))
    except Exception as error:
        # Each SDK has errors of its own; whatever it was, nothing is known to be stored.
        logger.error("storage %s did not take a file: %s", alias, type(error).__name__)
        raise StorageUnavailable(f"storage {alias!r} did not take the file") from error


def _insert(principal: Principal, file: File) -> None:
    using = router.db_for_write(File)
    with transaction.atomic(using=using):
        file.save(using=using, force_insert=True)
        allowed = audit.row_of(
            Issuance.Decision.ALLOWED, principal, Resource.of_file(file), Upload,
            at=datetime.now(UTC), policy=_UPLOAD_RULE,
        )  # fmt: skip
        audit.record([allowed])


def _let_go(alias: str, key: str) -> None:
    """Note an object that got no row; the outbox deletes it, unless a row turns out to name it."""
    try:
        outbox.enqueue(alias, key)
    except DATABASE_DOWN as error:
        logger.error("an object of %s has no row: %s (%s)", alias, ascii(key), type(error).__name__)


def _delete_object(alias: str, key: str) -> None:
    outbox_rows = ObjectDeletion.objects.using(router.db_for_write(ObjectDeletion))
    for entry in outbox_rows.filter(storage_alias=alias, key=key, done_at=None):
        outbox.sweep_entry(entry, execute=True)


def _ready() -> QuerySet[File]:
    return File.objects.using(router.db_for_write(File)).filter(state=FileState.READY)


def _present(pk: UUID) -> File:
    file = _ready().filter(pk=pk).first()
    if file is None:
        raise AccessDenied("it was deleted between the decision and now", _resource(pk))
    return file


def _resource(pk: UUID) -> Resource:
    return Resource(storage_alias="", key=None, model=File, pk=pk)


def _narrowed(principal: Principal, rows: QuerySet[File]) -> QuerySet[File]:
    """Leave out what the policy denies, where it can say so as a query."""
    policy = links.policy_for(_resource(UUID(int=0)))
    try:
        narrowed: QuerySet[Any] | None = visible(policy, principal, rows, Download)
    except DATABASE_DOWN:
        raise
    except Exception:
        logger.exception("policy %s cannot be asked as a query", policy)
        narrowed = None
    return rows if narrowed is None else narrowed


def _behind(position: Position) -> Q:
    same_instant = Q(created_at=position.created_at, id__lt=position.id)
    return Q(created_at__lt=position.created_at) | same_instant


def _position(file: File) -> Position:
    return Position(file.created_at, file.id)
