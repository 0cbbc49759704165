"""Which rows mean objects of a place, under whatever alias, and the switch of the service's own files.

Must not touch a store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from django.core.files.storage import storages
from django.db import models, router, transaction

from gateway import outbox
from gateway.checks.places import Place, place_of
from gateway.models import File, FileState, Grant, ObjectDeletion, UploadSession, UploadState
from gateway.moving.copying import Copied
from gateway.moving.sides import Side
from gateway.outbox import file_fields
from gateway.resources import built

__all__ = ["NotAllCopied", "content_types", "fields_meaning", "files_of", "left_alone", "rows_meaning", "switch"]

_PAGE = 500  # names in one question to the database


class NotAllCopied(Exception):
    """Files of the service are in the source whose objects are not copied; nothing was switched."""


def fields_meaning(source: Place, names: Collection[str]) -> dict[str, int]:
    """Return the fields whose rows mean some of these objects, and how many, under whatever alias.

    A storage that cannot be built, or does not say where its objects are, may be the same place and is asked, too.
    """
    found = {}
    for field in file_fields():
        place = _place_of_field(field)
        if count := _count(_rows(field.model), field.attname, source, names, place):
            found[f"{field.model._meta.label}.{field.name}"] = count
    return found


def rows_meaning(source: Place, names: Collection[str]) -> dict[str, int]:
    """Return whether the service's own files and open uploads mean some of these objects, and how many."""
    found = {}
    for rows in (_rows(File).filter(state=FileState.READY), _rows(UploadSession).filter(state__in=UploadState.open())):
        for alias in rows.order_by().values_list("storage_alias", flat=True).distinct():
            if count := _count(rows.filter(storage_alias=alias), "key", source, names, _place_of_alias(alias)):
                found[f"{rows.model._meta.label} of {alias!r}"] = count
    return found


def left_alone(source: Side, names: Collection[str]) -> dict[str, str]:
    """Return the objects that are not copied, each with the reason: not uploaded yet, or about to be deleted."""
    left: dict[str, str] = {}
    uploads = _rows(UploadSession).filter(state__in=UploadState.open(), storage_alias=source.alias)
    noted = _rows(ObjectDeletion).filter(done_at=None, storage_alias=source.alias)
    for page in _pages(names):
        dying = set(noted.filter(key__in=page).values_list("key", flat=True))
        left |= dict.fromkeys(dying - outbox.named(source.alias, dying), "it is to be deleted")
        left |= dict.fromkeys(uploads.filter(key__in=page).values_list("key", flat=True), "its upload is not finished")
    return left


def files_of(source: Side, prefix: str) -> models.QuerySet[File]:
    """Return the service's own files of a storage."""
    return _rows(File).filter(storage_alias=source.alias, state=FileState.READY, key__startswith=prefix)


def content_types(source: Side, prefix: str) -> dict[str, str]:
    """Return the verified media type of each of the service's own files, by its name."""
    return dict(files_of(source, prefix).values_list("key", "content_type"))


def switch(source: Side, target: Side, done: Mapping[str, Copied], prefix: str) -> int:
    """Let the service's files mean the copies, with the grants that name them: all in one transaction, or none.

    Raises:
        NotAllCopied: a file's object is not copied.
    """
    using = router.db_for_write(File)
    with transaction.atomic(using=using):
        files = list(files_of(source, prefix).order_by("pk").values_list("pk", "key"))
        missing = [key for _, key in files if key not in done]
        if missing:
            raise NotAllCopied(f"{len(missing)} files of {source.alias!r} are not copied, such as {missing[0]!r}")
        for pk, key in files:
            # Compared again as it is written: who lets go of a file at this moment is not overruled.
            still = _rows(File).filter(pk=pk, storage_alias=source.alias, key=key, state=FileState.READY)
            still.update(storage_alias=target.alias, version=done[key].target_version)
        for page in _pages([key for _, key in files]):
            _rows(Grant).filter(storage_alias=source.alias, key__in=page).update(storage_alias=target.alias)
        _delete_copies_too(source, target, done, using)
    return len(files)


def _delete_copies_too(source: Side, target: Side, done: Mapping[str, Copied], using: str) -> None:
    """Note the copy of what was noted for deletion after it was copied: the sweeper looks again who names it."""
    for page in _pages(done):
        noted = set(_noted(source, page))
        for name in sorted(noted - set(_noted(target, noted))):
            outbox.enqueue(target.alias, name, using=using)


def _noted(side: Side, names: Collection[str]) -> Iterator[str]:
    noted = _rows(ObjectDeletion).filter(storage_alias=side.alias, key__in=names)
    yield from noted.values_list("key", flat=True)


def _count(rows: models.QuerySet[Any], column: str, source: Place, names: Collection[str], place: Place | None) -> int:
    if place is None:
        asked: Collection[str] = names
    elif place.overlaps(source):
        # The same object may be called otherwise, where the two begin their names at another directory.
        keys = [f"{source.start}{name}" for name in names]
        asked = [key.removeprefix(place.start) for key in keys if key.startswith(place.start)]
    else:
        return 0
    return sum(rows.filter(**{f"{column}__in": page}).count() for page in _pages(asked))


def _place_of_field(field: models.FileField) -> Place | None:
    try:
        return place_of(field.storage)
    except Exception:
        return None


def _place_of_alias(alias: str) -> Place | None:
    try:
        return place_of(built(alias)) if alias in storages.backends else None
    except Exception:
        return None


def _rows(model: type[models.Model]) -> models.QuerySet[Any]:
    return model._base_manager.using(router.db_for_write(model))


def _pages(names: Collection[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while page := list(islice(rest, _PAGE)):
        yield page
