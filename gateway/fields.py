"""File fields whose ``.url`` is a link that was decided for whoever is asking.

Must not decide or sign, and never takes a name that no storage made.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.fields.files import FieldFile, FileDescriptor, ImageFieldFile, ImageFileDescriptor
from django.db.models.signals import post_delete, post_save, pre_save
from django.template.base import Variable
from django.urls import reverse

from gateway import links, outbox
from gateway.conf import conf
from gateway.errors import AccessDenied, KeyNotMinted, StorageUnavailable, SyncOnly
from gateway.models import File
from gateway.policies import Share
from gateway.principals import current
from gateway.resources import PrivateStorage, Resource, alias_of, reference_to
from gateway.storages import StorageByAlias
from gateway.storages.minting import random_key
from providers.disposition import Disposition
from providers.types import Download

__all__ = [
    "PrivateFieldFile",
    "PrivateFileField",
    "PrivateImageField",
    "PrivateImageFieldFile",
]

# Where an instance remembers which names it may hold: {attname: _OwnName}.
_OWN_NAMES = "_gateway_own_names"
_REPLACED = "_gateway_replaced_names"
# The one caller for whom a refusal is silent: {{ document.file.url }} in a template.
_TEMPLATE_LOOKUP = Variable._resolve_lookup.__code__  # type: ignore[attr-defined]


class PrivateFieldFile(FieldFile):
    """The value of a file field on a private storage."""

    field: Any
    storage: Any

    @property
    def url(self) -> str:
        """A presigned link for whoever is asking; the permalink where the storage's ``url_mode`` says so.

        Raises:
            AccessDenied: no; silent only where a template looked ``url`` up directly.
            NoPrincipal: nobody is asking.
            SyncOnly: in a running event loop; use ``await file.aurl()``.
        """
        if self.storage.url_mode == "permalink":
            return self.permalink
        _refuse_event_loop("url", "aurl()")
        try:
            return links.issue_once(self._resource()).text
        except AccessDenied as denied:
            denied.silent_variable_failure = sys._getframe(1).f_code is _TEMPLATE_LOOKUP
            raise

    @property
    def permalink(self) -> str:
        """The stable URL that decides when it is followed, and then redirects. It needs nobody to ask."""
        return permalink_of(self._resource())

    def signed_url(
        self,
        *,
        ttl: timedelta | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """Return a presigned link for whoever is asking, in both modes of the storage.

        Args:
            ttl: whole seconds; None is the smallest of the default and every limit.
            disposition: ``inline`` is granted only for the storage's ``inline_types``.
            filename: the name that browsers save under.

        Raises:
            AccessDenied, NoPrincipal, TTLTooLong: as :func:`gateway.links.issue`.
            SyncOnly: in a running event loop; use ``await file.asigned_url()``.
        """
        _refuse_event_loop("signed_url()", "asigned_url()")
        return links.issue_once(self._resource(), _download(disposition, filename), ttl=ttl).text

    async def aurl(self) -> str:
        """Async form of :attr:`url`."""
        if self.storage.url_mode == "permalink":
            return self.permalink
        return (await links.aissue_once(self._resource())).text

    async def asigned_url(
        self,
        *,
        ttl: timedelta | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """Async form of :meth:`signed_url`."""
        link = await links.aissue_once(self._resource(), _download(disposition, filename), ttl=ttl)
        return link.text

    def attach(self, key: str, *, from_: models.Model) -> None:
        """Take over the object of another row, whose *share* policy is asked.

        Args:
            key: the name that ``from_`` holds.
            from_: a row with a private file field on the same storage, or a ``File``.

        Raises:
            AccessDenied: no, or ``from_`` does not hold the key.
            KeyNotMinted: the two are not on the same storage.
        """
        source = _holder_of(key, from_)
        if source.storage_alias != alias_of(self.storage):
            raise KeyNotMinted(f"the object is on {source.storage_alias!r}, the field on another storage")
        links.authorize(current(), source, Share)
        setattr(self.instance, self.field.attname, key)
        _own_names(self.instance)[self.field.attname] = _OwnName(key, minted=True)

    def save(self, name: str, content: Any, save: bool = True) -> None:
        previous = _own_names(self.instance).get(self.field.attname)
        super().save(name, content, save=False)
        _own_names(self.instance)[self.field.attname] = _OwnName(str(self.name), minted=True)
        if previous is not None:
            _replaced_names(self.instance).setdefault(self.field.attname, []).append(previous.name)
        if save:
            self.instance.save()

    def delete(self, save: bool = True) -> None:
        """Let go of the object: it is deleted by the sweeper, once the row is saved and the grace over."""
        if not self:
            return
        if hasattr(self, "_file"):
            self.close()
            del self.file
        outbox.enqueue(alias_of(self.storage), str(self.name), using=self.instance._state.db)
        self.name = None
        setattr(self.instance, self.field.attname, None)
        self._committed = False
        if save:
            self.instance.save()

    def _resource(self) -> Resource:
        self._require_file()  # type: ignore[attr-defined]
        return Resource.of_field(self.instance, self.field.name, key=str(self.name))


class PrivateImageFieldFile(PrivateFieldFile, ImageFieldFile):
    """The value of an image field on a private storage."""

    def delete(self, save: bool = True) -> None:
        if hasattr(self, "_dimensions_cache"):
            del self._dimensions_cache
        super().delete(save)


@dataclass(frozen=True, slots=True)
class _OwnName:
    """A name that an instance may be saved with.

    Attributes:
        minted: made for this instance; one that was only read from its row stays with that row.
        pk: the row that a minted name went into, so that a copy of the instance cannot take it along.
    """

    name: str
    minted: bool = False
    pk: Any = None


class _LoadedName(str):
    """A name as the database gave it, on its way into the instance."""

    __slots__ = ()


class PrivateFileDescriptor(FileDescriptor):
    """Tells a name that came with the row from one that code, or a client through it, assigned."""

    field: Any

    def __set__(self, instance: models.Model, value: Any) -> None:
        attname = self.field.attname
        if isinstance(value, _LoadedName):
            if attname not in instance.__dict__:
                _own_names(instance)[attname] = _OwnName(str.__str__(value))
            value = str.__str__(value)
        elif isinstance(value, FieldFile) and value.instance is not instance and value._committed:  # type: ignore[attr-defined]
            if _is_same_row(value.instance, instance):
                # refresh_from_db() and deferred loading copy from a second instance of the row.
                _own_names(instance)[attname] = _OwnName(str(value.name))
            value = value.name
        super().__set__(instance, value)


class PrivateImageDescriptor(PrivateFileDescriptor, ImageFileDescriptor):
    """The same for image fields, which also keep their dimensions."""


class PrivateFileField(models.FileField):
    """A file field that holds only names that its storage made.

    Args:
        policy: dotted path or instance; decides in place of ``GATEWAY["POLICIES"]`` and the default.
        delete_objects: let the sweeper delete the object some time after its row or name is gone.

    The storage is ``STORAGES["private"]`` and the key random unless said otherwise. Neither policy nor storage
    options enter a migration.
    """

    attr_class: Any = PrivateFieldFile
    descriptor_class: Any = PrivateFileDescriptor

    def __init__(
        self,
        verbose_name: Any = None,
        name: str | None = None,
        upload_to: Any = random_key,
        storage: Any = None,
        *,
        policy: Any = None,
        delete_objects: bool = False,
        **kwargs: Any,
    ) -> None:
        self.policy = policy
        self.delete_objects = delete_objects
        self._storage_is_default = storage is None
        kwargs.setdefault("max_length", 255)
        super().__init__(
            verbose_name=verbose_name,
            name=name,
            upload_to=upload_to,
            storage=cast("Any", StorageByAlias()) if storage is None else storage,
            **kwargs,
        )

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        if self._storage_is_default:
            kwargs.pop("storage", None)
        return name, path, args, kwargs

    def contribute_to_class(self, cls: type[models.Model], name: str, **kwargs: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **kwargs)
        if cls._meta.abstract:
            return
        uid = ("gateway.fields", cls._meta.label_lower, name)
        pre_save.connect(self._trust_fixture, sender=cls, dispatch_uid=uid)
        post_save.connect(self._settle, sender=cls, dispatch_uid=uid)
        if self.delete_objects:
            post_delete.connect(self._let_go, sender=cls, dispatch_uid=uid)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return _LoadedName(value) if value else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        file = super().pre_save(model_instance, add)
        self._check_minted(file, add=add)
        return file

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        # Where QuerySet.update() and bulk_update() pass, which ask no pre_save().
        if isinstance(value, FieldFile):
            self._check_minted(value, add=False)
        elif isinstance(value, str) and value:
            raise _not_minted(self, value)
        return super().get_db_prep_save(value, connection)

    def _check_minted(self, file: Any, *, add: bool) -> None:
        if not file:
            return
        own = _own_names(file.instance).get(self.attname)
        if own is None or own.name != file.name:
            raise _not_minted(self, file.name)
        if add and not (own.minted and own.pk in (None, file.instance.pk)):
            raise _not_minted(self, file.name)

    def _trust_fixture(self, instance: models.Model, raw: bool = False, **_: Any) -> None:
        # loaddata restores what a database held; there is no client behind it.
        if raw and (file := getattr(instance, self.attname)):
            _own_names(instance)[self.attname] = _OwnName(str(file.name), minted=True)

    def _settle(self, instance: models.Model, using: str | None = None, **_: Any) -> None:
        own = _own_names(instance).get(self.attname)
        if own is not None and own.minted and own.pk is None:
            _own_names(instance)[self.attname] = replace(own, pk=instance.pk)
        for name in _replaced_names(instance).pop(self.attname, ()):
            if self.delete_objects:
                outbox.enqueue(alias_of(self.storage), name, using=using)

    def _let_go(self, instance: models.Model, using: str | None = None, **_: Any) -> None:
        if file := getattr(instance, self.attname):
            outbox.enqueue(alias_of(self.storage), str(file.name), using=using)


class PrivateImageField(PrivateFileField, models.ImageField):
    """An image field that holds only names that its storage made; as :class:`PrivateFileField`."""

    attr_class: Any = PrivateImageFieldFile
    descriptor_class: Any = PrivateImageDescriptor


def permalink_of(resource: Resource) -> str:
    """Return the stable URL of an object that a reference can name."""
    path = reverse("presign_gateway:permalink", kwargs={"reference": reference_to(resource)})
    return f"{conf().public_origin}{path}"


def adopt(model: type[models.Model]) -> None:
    """Give a host's file fields on a private storage the value whose ``.url`` is decided.

    And let them find their storage by its alias, so that it can change under ``override_settings``.
    """
    for field in model._meta.local_concrete_fields:
        if not isinstance(field, models.FileField) or not is_private(field):
            continue
        field.attr_class = _ADOPTED.get(field.attr_class, field.attr_class)
        if type(cast("Any", field.storage)) is not StorageByAlias:
            with suppress(StorageUnavailable):  # a system check names a storage that has no alias
                field.storage = cast("Any", StorageByAlias(alias_of(field.storage)))


def is_private(field: models.FileField) -> bool:
    """Tell whether a field's storage is one of ours; one that cannot be built is for the system check."""
    try:
        return isinstance(field.storage, PrivateStorage)
    except ImproperlyConfigured:
        return False


_ADOPTED: dict[Any, Any] = {FieldFile: PrivateFieldFile, ImageFieldFile: PrivateImageFieldFile}


def _own_names(instance: models.Model) -> dict[str, _OwnName]:
    names: dict[str, _OwnName] = instance.__dict__.setdefault(_OWN_NAMES, {})
    return names


def _replaced_names(instance: models.Model) -> dict[str, list[str]]:
    names: dict[str, list[str]] = instance.__dict__.setdefault(_REPLACED, {})
    return names


def _is_same_row(one: models.Model, other: models.Model) -> bool:
    return type(one) is type(other) and one.pk is not None and one.pk == other.pk and not one._state.adding


def _not_minted(field: models.FileField, name: object) -> KeyNotMinted:
    return KeyNotMinted(
        f"{field.model._meta.label}.{field.name} was given {name!r}, which its storage did not make for this"
        " row; save a file, or take another row's over with attach()"
    )


def _holder_of(key: str, row: models.Model) -> Resource:
    if isinstance(row, File):
        return Resource.of_file(row)
    for field in row._meta.concrete_fields:
        if isinstance(field, models.FileField) and is_private(field) and getattr(row, field.attname).name == key:
            return Resource.of_field(row, field.name)
    raise AccessDenied("the row holds no such key", None)


def _download(disposition: Disposition | None, filename: str | None) -> Any:
    return partial(Download, disposition=disposition, filename=filename)


def _refuse_event_loop(called: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SyncOnly(f".{called} asks the database and would block the event loop; use await .{instead}")
