"""Where an upload goes: the service's own files, or one field of one row of the project's.

Must not decide; it says what is to be decided about, which limits the field has, and puts the file there.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import models, router

from gateway import links
from gateway.conf import conf
from gateway.errors import AccessDenied, BodyTooLarge, TypeNotAllowed
from gateway.fields import PrivateFieldFile
from gateway.models import File
from gateway.resources import Resource, parse_reference, pin_of
from gateway.storages.minting import random_key, unnamed_key

__all__ = ["Place", "place_of"]

# Under it version 5 makes UUIDs that no file has: theirs are of version 4.
_NOTHING = uuid.UUID("6a5f6b0e-5b0c-4b53-9a83-0b8a0f6f8c5d")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is to go. ``field`` is None for the service's own files."""

    storage_alias: str
    model: type[models.Model] | None = None
    pk: Any = None
    field: Any = None

    def resource(self, key: str) -> Resource:
        """Return what is decided about: a new object in this place."""
        field = "" if self.field is None else self.field.attname
        return Resource(
            storage_alias=self.storage_alias, key=key, model=self.model, pk=self.pk, field=field, is_new=True
        )

    def provisional_key(self) -> str:
        """Return a key to decide about before the row is read that may be part of the name."""
        return str.__str__(random_key(None, "file"))

    def mint(self, filename: str) -> str:
        """Return the key of a new file; of the service's own, the name gives the extension alone.

        Raises:
            AccessDenied: the row is gone.
        """
        if self.field is None:
            return str.__str__(unnamed_key(filename))
        name = self.field.generate_filename(self._row(), filename)
        return str.__str__(self.field.storage.get_available_name(name, max_length=self.field.max_length))

    def check_limits(self, content_type: str, size_bytes: int) -> None:
        """Hold a file to what the field takes.

        Raises:
            TypeNotAllowed, BodyTooLarge: it does not take this one.
        """
        if getattr(self.field, "convert", None) or getattr(self.field, "rendition_of", ""):
            raise TypeNotAllowed("what this field holds is made by the server; nothing is uploaded past it")
        content_types = getattr(self.field, "content_types", None)
        if content_types is not None and content_type.partition(";")[0] not in content_types:
            raise TypeNotAllowed(f"content_type is {content_type!r}; one of {', '.join(sorted(content_types))}")
        max_bytes = getattr(self.field, "max_bytes", None)
        if max_bytes is not None and size_bytes > max_bytes:
            raise BodyTooLarge(f"size is {size_bytes}; at most {max_bytes}")

    def attach(self, key: str, version: str) -> None:
        """Put a verified file into the field, in the transaction that is open; the replaced one is let go of.

        Args:
            version: of the object, as its store names it; empty where it has none.

        Raises:
            AccessDenied: the row is gone.
        """
        row = self._row(lock=True)
        setattr(row, self.field.attname, key)
        file = getattr(row, self.field.attname)
        if isinstance(file, PrivateFieldFile):
            file.remember_minted(key)
        version_field = getattr(self.field, "version_field", None)
        if version_field is not None:
            column: Any = row._meta.get_field(version_field)
            pin = pin_of(key, version)
            setattr(row, version_field, pin if column.max_length is None or len(pin) <= column.max_length else "")
        beside = (getattr(self.field, name, None) for name in ("width_field", "height_field", "version_field"))
        row.save(update_fields=[self.field.name, *filter(None, beside)])

    @property
    def database(self) -> str | None:
        """The alias of the database that the row is in."""
        return None if self.model is None else router.db_for_write(self.model)

    def _row(self, *, lock: bool = False) -> models.Model:
        assert self.model is not None
        rows = self.model._base_manager.using(self.database)
        row: models.Model | None = (rows.select_for_update() if lock else rows).filter(pk=self.pk).first()
        if row is None:
            raise AccessDenied("the row is gone", self.resource(self.provisional_key()))
        return row


def place_of(target: str) -> Place:
    """Return the place that a reference names; empty is the service's own files.

    A reference that names nothing is a place that nothing can be put into, about which the same is asked and
    recorded as about a row that is not there.

    Raises:
        InvalidReference: it is no reference at all.
    """
    if not target:
        return Place(conf().file_storage)
    resource = parse_reference(target)
    if resource is None or resource.model in (None, File) or not links.may_be_named(resource):
        return Place("", File, uuid.uuid5(_NOTHING, target))
    assert resource.model is not None
    field = resource.model._meta.get_field(resource.field)
    return Place(resource.storage_alias, resource.model, resource.pk, field)
