"""Gives objects names that private storages take: copied first, then said in the row, then noted for deletion.

Must not touch an object that any row may still mean, nor a name that changed in between.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.files.base import File as Content
from django.db import models, router, transaction
from django.db.models import CharField, Value

from gateway import outbox
from gateway.checks.places import Place, place_of
from gateway.moving.auditing import Named
from gateway.moving.rows import fields_meaning
from gateway.resources import alias_of, is_private_storage
from gateway.storages.minting import mint, safe_name
from providers.keys import check_key

__all__ = ["rename_all", "valid_name"]

_CHUNK_BYTES = 2**20


def rename_all(invalid: Iterable[Named]) -> Iterator[tuple[Named, str, str]]:
    """Give each name's object a valid one, and yield the name, the new one and why not; one of both is empty."""
    groups: dict[str, list[Named]] = defaultdict(list)
    for named in invalid:
        # Spellings that storages may take for one and the same object: it goes when the last of them is gone.
        groups[_as_stored(named.name)].append(named)
    for group in groups.values():
        failed = False
        for number, named in enumerate(group, start=1):
            try:
                new, problem = _rename(named, is_last=number == len(group) and not failed), ""
            except Exception as error:
                new, problem = "", f"{type(error).__name__}: {error}"
            failed = failed or not new
            yield named, new, problem


def valid_name(name: str, max_length: int | None = None) -> str:
    """Return a name that the grammar of keys takes, and that nothing has: the old one cleaned, below 128 random bits.

    Raises:
        SuspiciousFileOperation: ``max_length`` leaves no room.
    """
    directory, _, filename = name.replace("\\", "/").rpartition("/")
    segments = [safe_name(segment) for segment in directory.split("/") if segment not in ("", ".", "..")]
    return mint("/".join([*segments, safe_name(filename)]), max_length)


def _rename(named: Named, *, is_last: bool) -> str:
    field, storage = named.field, named.field.storage
    if is_private_storage(storage):
        raise ValueError(
            "its storage is private and opens no such name; rename it while the field is on the one before"
        )
    alias = alias_of(storage)
    with storage.open(named.name) as content:
        new = check_key(storage.save(valid_name(named.name, field.max_length), Content(content)))
    try:
        with storage.open(named.name) as before, storage.open(new) as after:
            if _digest(before) != _digest(after):
                raise OSError("the copy has other bytes")
        _say_in_row(field, named, new, alias=alias if is_last else None)
    except BaseException:
        storage.delete(new)
        raise
    return new


def _say_in_row(field: models.FileField, named: Named, new: str, *, alias: str | None) -> None:
    using = router.db_for_write(field.model)
    storage = field.storage
    with transaction.atomic(using=using):
        rows: Any = field.model._base_manager.using(using)
        # Private fields take no text from anywhere else; this one was made here.
        value = Value(new, output_field=CharField())
        if rows.filter(**{"pk": named.pk, field.attname: named.name}).update(**{field.attname: value}) != 1:
            raise LookupError("the row is gone, or has another name by now")
        stored = _as_stored(named.name)
        # The sweeper asks once more who names it by this spelling and alias; here others of the place are asked.
        if alias is not None and not fields_meaning(_place(storage), [stored]):
            outbox.enqueue(alias, stored, using=using)


def _place(storage: Any) -> Place:
    place = place_of(storage)
    if place is None:
        raise ValueError(f"a {type(storage).__name__} does not say where its objects are")
    return place


def _as_stored(name: str) -> str:
    """Return the spelling that Django's storages and django-storages make of a name."""
    return posixpath.normpath(name.replace("\\", "/"))


def _digest(file: Any) -> bytes:
    digest = hashlib.sha256()
    for chunk in file.chunks(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()
