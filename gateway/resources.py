"""What is asked for: one object, named by a model row and a field, or by a storage alias and a key.

Must not decide. A row is always read again from the database that writes go to; the caller's instance only
says which row and which key it means.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import threading
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable
from weakref import WeakSet

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.files.storage import storages
from django.db import models, router

from gateway.errors import InvalidReference, StorageUnavailable
from gateway.models import File, FileState

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = [
    "Facts",
    "PrivateStorage",
    "Resource",
    "alias_of",
    "built",
    "could_be",
    "facts_of",
    "facts_of_name",
    "is_private_storage",
    "parse_reference",
    "pin_of",
    "private_storage",
    "reference_to",
    "resolved",
    "rows_of",
]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_FIELD_REFERENCE = re.compile(rf"({_NAME})\.({_NAME}):([^\x00-\x1f\x7f]{{1,255}}):({_NAME})")
MAX_REFERENCE_CHARACTERS = 400
# Python's own table: what the machine's /etc/mime.types says must not change what is signed.
_TYPES = mimetypes.MimeTypes()


@runtime_checkable
class PrivateStorage(Protocol):
    """What the door needs of a storage, beside ``provider``; the classes are in gateway.storages.

    ``provider`` is left out because isinstance() asks the instance for each member (Python 3.11), and would
    build the signer, which needs the URLs and a key pair, wherever a storage is only looked at.
    """

    url_mode: str
    default_ttl: timedelta | None
    max_ttl: timedelta | None
    inline_types: frozenset[str]
    on_short_credentials: str
    url_window: timedelta | None

    def object_key(self, name: str) -> str: ...

    def provider_for(self, kind: type) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One object that may be asked for.

    Attributes:
        storage_alias: key of ``STORAGES``.
        key: the name that the row holds; None where a reference means whatever the row says now.
        model, pk, field: the row and the field that name it; None for a bare key.
        instance: the row as the database has it, for policies; never the caller's own object.
        is_new: the object is still to come, under a key of the server's that no row names yet; all that can be
            decided about it are uploads.
    """

    storage_alias: str
    key: str | None
    model: type[models.Model] | None = None
    pk: Any = None
    field: str = ""
    instance: models.Model | None = None
    is_new: bool = False

    @classmethod
    def of_field(cls, instance: models.Model, field_name: str, *, key: str | None = None) -> Resource:
        """Name the object of a file field: the row by its primary key, the object by the name it holds.

        Raises:
            TypeError: it is no row, such as one of ``values()``, or no file field.
        """
        # Said here, since frameworks take an AttributeError for a file without a link.
        if not isinstance(instance, models.Model):
            raise TypeError(f"a row is of type {type(instance).__name__}; a model instance")
        field = instance._meta.get_field(field_name)
        if not isinstance(field, models.FileField):
            raise TypeError(f"{field_name} is of type {type(field).__name__}; a file field")
        if key is None:
            key = getattr(instance, field.attname).name or ""
        model = cast("type[models.Model]", field.model._meta.concrete_model)
        # Of an inherited field the row is the parent's, whose key need not be the child's.
        pk = getattr(instance, cast("Any", model._meta.pk).attname)
        return cls(storage_alias=alias_of(field.storage), key=key, model=model, pk=pk, field=field.attname)

    @classmethod
    def of_file(cls, file: File) -> Resource:
        return cls(storage_alias=file.storage_alias, key=file.key, model=File, pk=file.pk)

    @classmethod
    def of_key(cls, storage_alias: str, key: str) -> Resource:
        """Name an object that no row is known for; its storage's path policy decides."""
        return cls(storage_alias=storage_alias, key=key)

    @property
    def label(self) -> str:
        """``app.Model.field``, ``app.Model`` for the service's own files, empty for a bare key."""
        if self.model is None:
            return ""
        return f"{self.model._meta.label}.{self.field}" if self.field else self.model._meta.label

    @property
    def id(self) -> str:
        """Stable name for audit rows and memos."""
        if self.model is None and self.is_new:
            # A key is new each time, and a client that keeps being refused must not fill the audit.
            return f"{self.storage_alias}:(new)"
        return f"{self.label}:{self.pk}" if self.model is not None else f"{self.storage_alias}:{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an object without asking the store."""

    filename: str
    content_type: str | None
    size_bytes: int | None = None
    version: str | None = None


# Classes whose instances were found to be private: isinstance() asks a protocol's members one by one.
_PRIVATE_CLASSES: WeakSet[type] = WeakSet()


def is_private_storage(storage: Any) -> bool:
    """Tell whether a storage is one of ours."""
    kind = storage.__class__  # type() would see the stand-in that looks a storage up by its alias
    if kind in _PRIVATE_CLASSES:
        return True
    if not isinstance(storage, PrivateStorage):
        return False
    _PRIVATE_CLASSES.add(kind)
    return True


# One thread may ask for a storage while it builds another.
_building = threading.RLock()


def _forget_lock() -> None:
    # A thread of the parent process may hold it, and is not here to let go.
    global _building
    _building = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)


def built(alias: str) -> Any:
    """Return the storage of an alias, the same to all threads.

    Django would build one for each thread that comes first, and each would fetch credentials of its own.
    """
    with _building:
        return storages[alias]


def private_storage(alias: str) -> Any:
    """Return the private storage of an alias.

    Raises:
        StorageUnavailable: there is none, or it is not one of ours.
    """
    if alias not in storages.backends:
        raise StorageUnavailable(f"STORAGES has no alias {alias!r}")
    storage = built(alias)
    if not is_private_storage(storage):
        raise StorageUnavailable(f"storage {alias!r} is {type(storage).__name__}, which is not a private one")
    return storage


def alias_of(storage: Any) -> str:
    """Return the alias of a storage: the one it was given, else the one it is registered under.

    Raises:
        StorageUnavailable: it is not registered and was given no ``alias``.
    """
    alias = getattr(storage, "alias", None)
    if isinstance(alias, str) and alias in storages.backends:
        return alias
    for name in storages.backends:
        # Another alias that cannot be built is not this one.
        with suppress(Exception):
            if built(name) is storage or getattr(storage, "_wrapped", None) is built(name):
                return name
    raise StorageUnavailable(
        f"a {type(storage).__name__} outside STORAGES needs the option alias, naming one of"
        f" {', '.join(sorted(storages.backends))}"
    )


def reference_to(resource: Resource) -> str:
    """Write a reference: a UUID for the service's own file, else ``app_label.model:pk:field``."""
    if resource.model is File:
        return str(resource.pk)
    if resource.model is None:
        raise InvalidReference("a bare key has no reference")
    return f"{resource.model._meta.label_lower}:{resource.pk}:{resource.field}"


def parse_reference(reference: Any) -> Resource | None:
    """Read a reference; None where it has the right form but names nothing that could exist.

    Raises:
        InvalidReference: it is no reference at all.
    """
    if not isinstance(reference, str) or len(reference) > MAX_REFERENCE_CHARACTERS:
        raise InvalidReference(f"a reference is at most {MAX_REFERENCE_CHARACTERS} characters of text")
    if not reference.isascii() and any("\ud800" <= character <= "\udfff" for character in reference):
        raise InvalidReference("a reference holds a lone surrogate; only text that UTF-8 can encode")
    if _UUID.fullmatch(reference):
        # The row says in which storage; until it is read there is none to name.
        return Resource(storage_alias="", key=None, model=File, pk=uuid.UUID(reference))
    match = _FIELD_REFERENCE.fullmatch(reference)
    if match is None:
        raise InvalidReference("a reference is a lower-case UUID or app_label.model:pk:field")
    app_label, model_name, pk_text, field_name = match.groups()
    try:
        field = apps.get_model(app_label, model_name)._meta.get_field(field_name)
        if not isinstance(field, models.FileField):
            return None
        model = cast("type[models.Model]", field.model._meta.concrete_model)
        pk = cast("Any", model._meta.pk).to_python(pk_text)
        if str(pk) != pk_text or not _fits(pk):
            return None
        alias = alias_of(field.storage)
    except (LookupError, FieldDoesNotExist, ValidationError, ValueError, OverflowError, StorageUnavailable):
        return None
    return Resource(storage_alias=alias, key=None, model=model, pk=pk, field=field.attname)


def rows_of(resources: Iterable[Resource]) -> models.QuerySet[Any]:
    """Return the rows that resources of one model and field mean, from the database that is written to."""
    wanted = list(resources)
    model, field = wanted[0].model, wanted[0].field
    assert model is not None
    pks = {resource.pk for resource in wanted if could_be(model, resource.pk)}
    conditions: dict[str, Any] = {"pk": pks.pop()} if len(pks) == 1 else {"pk__in": pks}
    if len(wanted) == 1 and wanted[0].key is not None and not wanted[0].is_new:
        conditions[field or "key"] = wanted[0].key
    if model is File:
        conditions["state"] = FileState.READY
    return model._base_manager.using(router.db_for_write(model)).filter(**conditions)


def resolved(resource: Resource, row: models.Model) -> Resource | None:
    """Return the resource as its row has it now; None where the row names another object or none."""
    if isinstance(row, File):
        alias, key = row.storage_alias, row.key
        if resource.storage_alias not in ("", alias):
            return None
    else:
        field = row._meta.get_field(resource.field)
        # A name means an object of the field's own storage, whatever the resource was made with.
        if not isinstance(field, models.FileField) or alias_of(field.storage) != resource.storage_alias:
            return None
        if resource.is_new:
            return replace(resource, instance=row)
        alias, key = resource.storage_alias, str(getattr(row, resource.field) or "")
    if not key or (resource.key is not None and resource.key != key):
        return None
    return replace(resource, storage_alias=alias, key=key, instance=row)


def facts_of(resource: Resource) -> Facts:
    """Return what the row says of the object; for a host's row, what the key's extension suggests."""
    row = resource.instance
    if isinstance(row, File):
        return Facts(
            filename=row.filename,
            content_type=row.content_type,
            size_bytes=row.size_bytes,
            version=row.version or None,
        )
    assert resource.key is not None
    return replace(facts_of_name(resource.key.rpartition("/")[2]), version=_pinned_version(resource))


def pin_of(key: str, version: str) -> str:
    """Return what a field's ``version_field`` holds: the version, and of which object it is."""
    return f"{_mark(key)}:{version}" if version else ""


def _pinned_version(resource: Resource) -> str | None:
    """Return the version that a row's column says of the very object that the row names; None where it says none."""
    row = resource.instance
    column = None if row is None else getattr(row._meta.get_field(resource.field), "version_field", None)
    if column is None:
        return None
    mark, _, version = str(getattr(row, column) or "").partition(":")
    # What the name has become of since, this column knows nothing of.
    return version if version and mark == _mark(str(resource.key)) else None


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def facts_of_name(filename: str) -> Facts:
    """Return what a file name alone suggests."""
    content_type, encoding = _TYPES.guess_type(filename)
    # report.csv.gz is no CSV: the encoding is part of what is stored.
    return Facts(filename=filename, content_type=None if encoding else content_type)


def could_be(model: type[models.Model], pk: Any) -> bool:
    """Tell whether a column could hold what an instance says its primary key is."""
    try:
        return _fits(cast("Any", model._meta.pk).to_python(pk))
    except (ValidationError, ValueError, TypeError, OverflowError):
        return False


def _fits(pk: Any) -> bool:
    """A number that no column can hold names no row, and SQLite would fail on it."""
    return not isinstance(pk, int) or -(2**63) <= pk < 2**63
