"""Objects that are to be deleted: noted in the transaction that lets go of them, removed by the sweeper.

Must not delete anything that a row still names, and nothing before its grace is over.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.core.files.storage import storages
from django.db import models, router, transaction
from django.utils import timezone

from gateway.conf import conf
from gateway.models import STAGING_PREFIX, File, FileState, ObjectDeletion, UploadSession, UploadState
from gateway.resources import alias_of, built, private_storage

__all__ = ["Swept", "enqueue", "file_fields", "named", "sweep", "sweep_entry"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Swept:
    """What became of one entry: ``deleted``, ``kept`` (a row names the key), ``failed`` or ``due`` (dry run)."""

    entry: ObjectDeletion
    outcome: str
    detail: str = ""


def enqueue(storage_alias: str, key: str, *, using: str | None = None, grace: timedelta | None = None) -> None:
    """Note an object for deletion, in the transaction that is open on ``using``.

    Args:
        using: the database of the row that lets go of the object.
        grace: in place of ``GATEWAY["DELETE_GRACE"]``.
    """
    entry = ObjectDeletion(
        storage_alias=storage_alias,
        key=key,
        not_before=timezone.now() + (conf().delete_grace if grace is None else grace),
    )
    outbox = router.db_for_write(ObjectDeletion)
    if using is None or using == outbox:
        entry.save(using=outbox)
    else:
        # Another database cannot share the transaction; a rollback must still leave no entry.
        transaction.on_commit(lambda: entry.save(using=outbox), using=using)


def sweep(*, now: datetime | None = None, execute: bool = False, limit: int = 1000) -> Iterator[Swept]:
    """Delete the objects whose grace is over and that no row names; without ``execute`` only say which.

    One that cannot be deleted stays noted, with the kind of the error and the number of attempts.
    """
    noted = ObjectDeletion.objects.using(router.db_for_write(ObjectDeletion))
    due = noted.filter(done_at=None, not_before__lte=now or timezone.now())
    # Those that failed come last, or a limit's worth of them would hold up all others for good.
    for entry in due.order_by("attempts", "not_before", "pk")[:limit]:
        yield sweep_entry(entry, execute=execute)


def file_fields() -> Iterator[models.FileField]:
    """Yield every file field of every model."""
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_concrete_fields:
            if isinstance(field, models.FileField):
                yield field


def sweep_entry(entry: ObjectDeletion, *, execute: bool) -> Swept:
    """Delete one object if no row names it; without ``execute`` only say what would become of it."""
    if _is_named(entry):
        if execute:
            _finish(entry)
        return Swept(entry, "kept", "a row names the key")
    if not execute:
        return Swept(entry, "due")
    try:
        _storage_of(entry.storage_alias).delete(entry.key)
    except Exception as error:
        # Whatever the store says, the entry is not lost: the next run tries again.
        entry.attempts += 1
        entry.last_error = type(error).__name__[:255]
        entry.save(update_fields=["attempts", "last_error"])
        logger.warning("could not delete an object of %s: %s", entry.storage_alias, entry.last_error)
        return Swept(entry, "failed", f"{entry.last_error}: {error}")
    _finish(entry)
    return Swept(entry, "deleted")


def _storage_of(alias: str) -> Any:
    # What was renamed or moved away from a public storage is noted, too.
    return built(alias) if alias in storages.backends else private_storage(alias)


def _finish(entry: ObjectDeletion) -> None:
    with transaction.atomic(using=entry._state.db):
        entry.done_at = timezone.now()
        entry.save(update_fields=["done_at"])
        File.objects.filter(storage_alias=entry.storage_alias, key=entry.key, state=FileState.DELETING).update(
            state=FileState.DELETED
        )


def named(storage_alias: str, keys: Collection[str]) -> set[str]:
    """Return those of some keys that a row names, or that an upload may still become a file under."""
    files = File.objects.using(router.db_for_write(File)).filter(state=FileState.READY)
    uploads = UploadSession.objects.using(router.db_for_write(UploadSession)).filter(state__in=UploadState.open())
    found: set[str] = set()
    for rows in (files, uploads):
        found.update(rows.filter(storage_alias=storage_alias, key__in=keys).values_list("key", flat=True))
    staged = {key.removeprefix(STAGING_PREFIX): key for key in keys if key.startswith(STAGING_PREFIX)}
    if staged:
        open_forms = uploads.filter(storage_alias=storage_alias, pk__in=staged, strategy=UploadSession.Strategy.FORM)
        found.update(staged[pk] for pk in open_forms.values_list("pk", flat=True))
    for field in file_fields():
        found.update(_named_by(field, storage_alias, keys))
    return found


def _is_named(entry: ObjectDeletion) -> bool:
    return entry.key in named(entry.storage_alias, [entry.key])


def _named_by(field: models.FileField, storage_alias: str, keys: Collection[str]) -> Iterator[str]:
    # A storage of no known alias, or one that cannot be built, might be the same bucket: ask its rows too.
    with suppress(Exception):
        if alias_of(field.storage) != storage_alias:
            return
    model: Any = field.model
    rows = model._base_manager.using(router.db_for_write(model)).filter(**{f"{field.attname}__in": keys})
    yield from map(str, rows.values_list(field.attname, flat=True))
