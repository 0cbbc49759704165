"""File fields whose ``.url`` is a link that was decided for whoever is asking.

Must not decide or sign, and never takes a name that no storage made.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial, update_wrapper
from types import CodeType
from typing import Any, Self, cast

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.files.storage import default_storage, storages
from django.db import models, transaction
from django.db.models.fields.files import FieldFile, FileDescriptor, ImageFieldFile, ImageFileDescriptor
from django.db.models.signals import class_prepared, post_save, pre_delete, pre_save
from django.template.base import Variable
from django.urls import reverse
from django.utils.functional import cached_property

from gateway import links, outbox
from gateway.conf import conf
from gateway.errors import AccessDenied, KeyNotMinted, StorageUnavailable, SyncOnly
from gateway.models import File
from gateway.policies import Share
from gateway.principals import current
from gateway.resources import Resource, alias_of, facts_of_name, is_private_storage, reference_to
from gateway.sniffing import HEAD_BYTES, is_of_type
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

# Where an instance remembers which name it may be saved with: {attname: _OwnName}.
_OWN_NAMES = "_gateway_own_names"
# Which names it had in its hands, and may have to let go of: {attname: frozenset of names}.
_HELD_NAMES = "_gateway_held_names"
# That its names come from a fixture.
_IS_RAW = "_gateway_is_raw"
# The one caller for whom a refusal is silent: {{ document.file.url }} in a template.
_TEMPLATE_LOOKUP = Variable._resolve_lookup.__code__  # type: ignore[attr-defined]
# Functions of frameworks that look ``url`` up only to show it, and what each is told instead.
_TOLD: dict[CodeType, Callable[[PrivateFieldFile], str | None]] = {}


class PrivateFieldFile(FieldFile):
    """The value of a file field on a private storage."""

    field: Any
    _other_storage: Any = None
    # A copy that a form shows.
    _is_shown = False

    @property
    def storage(self) -> Any:
        """The storage itself, since libraries look for it in ``storages``; the field has a stand-in for an alias."""
        storage = self.field.storage if self._other_storage is None else self._other_storage
        return storages[storage.alias] if type(storage) is StorageByAlias else storage

    @storage.setter
    def storage(self, storage: Any) -> None:
        self._other_storage = None if storage is self.field.storage else storage

    @property
    def url(self) -> str:
        """A presigned link for whoever is asking; the permalink where the storage's ``url_mode`` says so.

        The admin's lists and read-only fields are told the permalink; so are forms, by :meth:`as_shown`.

        Raises:
            AccessDenied: no; silent only where a template looked ``url`` up directly.
            NoPrincipal: nobody is asking.
            StorageUnavailable: the storage cannot sign, or is not a private one.
            SyncOnly: in a running event loop, unless it was prefetched; use ``await file.aurl()``.
        """
        told = _shown_url if self._is_shown else _TOLD.get(sys._getframe(1).f_code)
        if told is not None:
            return cast("str", told(self))
        try:
            if self._url_mode == "permalink":
                return self.permalink
            return self._link("url", "aurl()")
        except AccessDenied as denied:
            denied.silent_variable_failure = sys._getframe(1).f_code is _TEMPLATE_LOOKUP
            raise

    @property
    def permalink(self) -> str:
        """The stable URL that decides when it is followed, and then redirects. It needs nobody to ask.

        Raises:
            AccessDenied: the row is not saved, so that nothing stable could name it.
        """
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
            SyncOnly: in a running event loop, unless it was prefetched; use ``await file.asigned_url()``.
        """
        return self._link("signed_url()", "asigned_url()", _download(disposition, filename), ttl)

    async def aurl(self) -> str:
        """Async form of :attr:`url`."""
        if self._url_mode == "permalink":
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
            NoPrincipal: nobody is asking.
        """
        source = _holder_of(key, from_)
        if source.storage_alias != alias_of(self.storage):
            raise KeyNotMinted(f"the object is on {source.storage_alias!r}, the field on another storage")
        links.authorize(current(), source, Share)
        setattr(self.instance, self.field.attname, key)
        self.remember_minted(key)

    def save(self, name: str, content: Any, save: bool = True) -> None:
        super().save(name, content, save=False)
        self.remember_minted(str(self.name))
        if save:
            self.instance.save()

    def delete(self, save: bool = True) -> None:
        """Let go of the object: it is deleted by the sweeper, when the grace is over and no row names it.

        Raises:
            KeyNotMinted: the name was assigned, so that the object is not this row's to delete.
        """
        if not self:
            return
        name = str(self.name)
        if isinstance(self.field, PrivateFileField):
            self.field.check_own(self)
            self.field.hold(self.instance, self.field.held_by(self.instance) - {name})
        if hasattr(self, "_file"):
            self.close()
            del self.file
        outbox.enqueue(alias_of(self.storage), name, using=self.instance._state.db)
        self.name = None
        setattr(self.instance, self.field.attname, None)
        self._committed = False
        if save:
            self.instance.save()

    def as_shown(self) -> Self:
        """Return a copy for pages that show a file without asking for it: its ``.url`` is the permalink.

        It is empty where there is none: then nothing is stored that could be shown.
        """
        # Not copy.copy(), which goes by __getstate__() and would read an image's dimensions again.
        shown = type(self).__new__(type(self))
        shown.__dict__.update(self.__dict__, _is_shown=True)
        return shown

    @property
    def _url_mode(self) -> str:
        if not is_private_storage(self.storage):
            raise StorageUnavailable(f"{self.field} is on a {self.storage.__class__.__name__}, which is not private")
        return cast("str", self.storage.url_mode)

    def _link(self, called: str, instead: str, operation: Any = Download, ttl: timedelta | None = None) -> str:
        resource = self._resource()
        if _in_event_loop():
            link = links.issued_before(resource, operation, ttl=ttl)
            if link is None:
                raise SyncOnly(f".{called} asks the database and would block the event loop; use await .{instead}")
        else:
            link = links.issue_once(resource, operation, ttl=ttl)
        return link.text

    def remember_minted(self, name: str) -> None:
        """Let the row be saved with a name that its storage has just made for it."""
        if isinstance(self.field, PrivateFileField):
            self.field.remember(self.instance, _OwnName(name))

    def _resource(self) -> Resource:
        self._require_file()  # type: ignore[attr-defined]
        return Resource.of_field(self.instance, self.field.name, key=str(self.name))


class PrivateImageFieldFile(PrivateFieldFile, ImageFieldFile):
    """The value of an image field on a private storage."""

    def save(self, name: str, content: Any, save: bool = True) -> None:
        convert = getattr(self.field, "convert", None)
        if convert is None:
            super().save(name, content, save)
            return
        from gateway.pictures import FORMATS, encoded, opened

        directory, slash, filename = name.rpartition("/")
        stem = f"{directory}{slash}{filename.rpartition('.')[0] or filename}"
        with opened(content) as picture:
            sizes = {size: encoded(picture, convert, size) for size in self.field.sizes.values()}
            whole = encoded(picture, convert)
        super().save(f"{stem}{FORMATS[convert]}", whole, save=False)
        for rendition, size in self.field.renditions.items():
            getattr(self.instance, rendition).save(f"{stem}{FORMATS[convert]}", sizes[size], save=False)
        if save:
            self.instance.save()

    def delete(self, save: bool = True) -> None:
        if hasattr(self, "_dimensions_cache"):
            del self._dimensions_cache
        if self:
            for rendition in getattr(self.field, "renditions", ()):
                getattr(self.instance, rendition).delete(save=False)
        super().delete(save)

    def attach(self, key: str, *, from_: models.Model) -> None:
        super().attach(key, from_=from_)
        # They show what was here before.
        for rendition in getattr(self.field, "renditions", ()):
            setattr(self.instance, rendition, None)


@dataclass(slots=True, eq=False)
class _OwnName:
    """A name that an instance may be saved with. Copies of the instance share it.

    Attributes:
        pk: the row that the name stays with; None for one that was made for this instance, and is in no row yet.
    """

    name: str
    pk: Any = None

    def __deepcopy__(self, memo: Any) -> _OwnName:
        return self


class _CheckedName(str):
    """A name that pre_save() has checked, on its way into the database."""

    __slots__ = ()


class PrivateFileDescriptor(FileDescriptor):
    """Lets a name come with its row, and forgets where one came from that was only assigned."""

    field: Any

    def __set__(self, instance: models.Model, value: Any) -> None:
        if isinstance(value, FieldFile) and value.instance is not instance and value._committed:  # type: ignore[attr-defined]
            # refresh_from_db() and deferred loading copy from a second instance of the row.
            own = _own_names(value.instance).get(self.field.attname)
            if own is not None and own.pk == self.field.pk_of(instance) is not None:
                self.field.remember(instance, own)
            value = value.name
        super().__set__(instance, value)


class PrivateImageDescriptor(PrivateFileDescriptor, ImageFileDescriptor):
    """The same for image fields, which also keep their dimensions."""


class PrivateFileField(models.FileField):
    """A file field that holds only names that its storage made.

    Args:
        policy: dotted path or instance; decides in place of ``GATEWAY["POLICIES"]`` and the default.
        delete_objects: let the sweeper delete the object some time after its row or name is gone.
        max_bytes: the largest file that is taken.
        content_types: the media types that are taken; of a form's upload, the one that its name and its bytes say.

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
        max_bytes: int | None = None,
        content_types: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.policy = policy
        self.delete_objects = delete_objects
        if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
            raise ValueError(f"max_bytes is {max_bytes!r}; a whole number from 1")
        if isinstance(content_types, str):
            raise ValueError(f"content_types is {content_types!r}; several media types")
        self.max_bytes = max_bytes
        self.content_types = None if content_types is None else frozenset(content_types)
        self._storage_is_default = storage is None
        kwargs.setdefault("max_length", 255)
        super().__init__(
            verbose_name=verbose_name,
            name=name,
            upload_to=upload_to,
            storage=cast("Any", StorageByAlias()) if storage is None else storage,
            **kwargs,
        )

    @cached_property
    def validators(self) -> list[Any]:
        """The field's own limits beside those that it was given: forms and serializers hold new files to them."""
        own = [] if self.max_bytes is None and self.content_types is None else [self.check_limits]
        return [*super().validators, *own]

    def check_limits(self, file: Any) -> None:
        """Hold a file that is to be saved to ``max_bytes`` and ``content_types``: by its name and by its bytes.

        Raises:
            ValidationError: it is not taken.
        """
        if getattr(file, "_committed", False):
            return  # it was here before
        if self.max_bytes is not None and file.size > self.max_bytes:
            raise ValidationError(
                "The file has %(size)s bytes; at most %(limit)s.",
                code="file_too_large", params={"size": file.size, "limit": self.max_bytes},
            )  # fmt: skip
        if self.content_types is not None:
            claimed = facts_of_name(str(file.name)).content_type or ""
            file.seek(0)
            head = file.read(HEAD_BYTES)
            file.seek(0)
            if claimed not in self.content_types or not is_of_type(head, claimed, is_whole=file.size <= HEAD_BYTES):
                raise ValidationError(
                    "Files of this type are not taken here; one of %(types)s.",
                    code="type_not_allowed", params={"types": ", ".join(sorted(self.content_types))},
                )  # fmt: skip

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        if self._storage_is_default:
            kwargs.pop("storage", None)
        return name, path, args, kwargs

    def contribute_to_class(self, cls: type[models.Model], name: str, **kwargs: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **kwargs)
        if cls._meta.abstract:
            return
        make: Any = cls.from_db.__func__  # type: ignore[attr-defined]

        def from_db(model: type[models.Model], *args: Any, **kwargs: Any) -> models.Model:
            instance: models.Model = make(model, *args, **kwargs)
            self._remember_loaded(instance)
            return instance

        # The one place that knows that a name came with its row; a converter also serves values_list().
        cls.from_db = classmethod(update_wrapper(from_db, make))  # type: ignore[assignment]

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        file = super().pre_save(model_instance, add)
        if not file:
            return file
        self.check_own(file)
        return _CheckedName(file.name)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        # Where QuerySet.update() and bulk_update() pass too, which ask no pre_save(). An expression passes: it
        # is code, no client can send one.
        is_raw = isinstance(value, FieldFile) and value.instance.__dict__.get(_IS_RAW)
        if isinstance(value, (FieldFile, str)) and value and not (is_raw or isinstance(value, _CheckedName)):
            raise _not_minted(self, str(value))
        return super().get_db_prep_save(value, connection)

    # What an instance knows of its names. Each change makes a new mapping, since copies share the old one.

    def check_own(self, file: Any) -> None:
        """Hold a file to the name that its instance may have.

        Raises:
            KeyNotMinted: neither was it made for this instance, nor did it come with this row.
        """
        own = _own_names(file.instance).get(self.attname)
        if own is None or own.name != file.name or own.pk not in (None, self.pk_of(file.instance)):
            raise _not_minted(self, file.name)

    def remember(self, instance: models.Model, own: _OwnName) -> None:
        """Let an instance be saved with a name, and note that it has it in its hands."""
        instance.__dict__[_OWN_NAMES] = {**_own_names(instance), self.attname: own}
        self.hold(instance, self.held_by(instance) | {own.name})

    def hold(self, instance: models.Model, names: frozenset[str]) -> None:
        """Note which names an instance may have to let go of."""
        instance.__dict__[_HELD_NAMES] = {**instance.__dict__.get(_HELD_NAMES, {}), self.attname: names}

    def held_by(self, instance: models.Model) -> frozenset[str]:
        names: frozenset[str] = instance.__dict__.get(_HELD_NAMES, {}).get(self.attname, frozenset())
        return names

    def pk_of(self, instance: models.Model) -> Any:
        """Return the primary key of the row that this field is in; a child model's row has another."""
        return getattr(instance, cast("Any", self.model._meta.pk).attname)

    def _remember_loaded(self, instance: models.Model) -> None:
        value = instance.__dict__.get(self.attname)
        name = value.name if isinstance(value, FieldFile) else value
        if name:
            self.remember(instance, _OwnName(str(name), pk=self.pk_of(instance)))

    # What happens to the row, heard by signals: connected for each model class that has the field.

    def watch(self, model: type[models.Model]) -> None:
        """Hear when rows of a model are saved and deleted, which may be a proxy or a child of this field's."""
        uid = ("gateway.fields", self.model._meta.label_lower, self.name)
        pre_save.connect(self._before_save, sender=model, dispatch_uid=uid)
        post_save.connect(self._after_save, sender=model, dispatch_uid=uid)
        # A child's deletion is heard for its parent's row, too.
        if self.delete_objects and self in model._meta.concrete_model._meta.local_concrete_fields:  # type: ignore[union-attr]
            pre_delete.connect(self._before_delete, sender=model, dispatch_uid=uid)

    def _before_save(self, instance: models.Model, raw: bool = False, **_: Any) -> None:
        # loaddata restores what a database held; there is no client behind it.
        if raw:
            instance.__dict__[_IS_RAW] = True

    def _after_save(
        self, instance: models.Model, raw: bool = False, using: str | None = None,
        update_fields: frozenset[str] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        if raw:
            instance.__dict__.pop(_IS_RAW, None)
            self._remember_loaded(instance)
        if self.attname not in instance.__dict__ or (
            update_fields is not None and update_fields.isdisjoint((self.name, self.attname))
        ):
            return
        name = getattr(instance, self.attname).name
        own = _own_names(instance).get(self.attname)
        if own is not None and own.name == name:
            own.pk = self.pk_of(instance)
        if let_go := self.held_by(instance) - {name}:
            self._enqueue(instance, let_go, using)

    def _before_delete(self, instance: models.Model, using: str | None = None, **_: Any) -> None:
        # A deferred name is read while there is a row to read it from.
        with suppress(ObjectDoesNotExist):
            getattr(instance, self.attname)
        self._enqueue(instance, self.held_by(instance), using)

    def _enqueue(self, instance: models.Model, names: frozenset[str], using: str | None) -> None:
        if not self.delete_objects:
            return
        for name in sorted(names):
            outbox.enqueue(alias_of(self.storage), name, using=using)
        # A rollback takes the entries away, and the next try has to write them again.
        transaction.on_commit(lambda: self.hold(instance, self.held_by(instance) - names), using=using)


class PrivateImageField(PrivateFileField, models.ImageField):
    """An image field that holds only names that its storage made; as :class:`PrivateFileField`.

    Args:
        convert: ``jpeg``, ``png`` or ``webp``: what is saved is made anew in this format by Pillow, upright and
            without metadata. Uploads straight to the store are refused, since they would come as they are.
        sizes: ``{"small": (200, 200)}``: the field ``NAME_small`` is added to the model and holds the picture of at
            most so many pixels, on the same storage and under the policy of this field. Needs ``convert``.

    Raises:
        ValueError: one of both is none of these.
    """

    attr_class: Any = PrivateImageFieldFile
    descriptor_class: Any = PrivateImageDescriptor
    # The field that this one holds a smaller picture of, and whose policy decides.
    rendition_of = ""

    def __init__(
        self, *args: Any, convert: str | None = None, sizes: Mapping[str, tuple[int, int]] | None = None, **kwargs: Any
    ) -> None:
        if convert not in (None, "jpeg", "png", "webp"):
            raise ValueError(f"convert is {convert!r}; jpeg, png or webp")
        if sizes and convert is None:
            raise ValueError("sizes needs convert, the format that they are made in")
        for name, size in (sizes or {}).items():
            if not name.isidentifier() or [type(side) is int and side > 0 for side in size] != [True, True]:
                raise ValueError(f"sizes holds {name!r}: {size!r}; a name, and two numbers of pixels from 1")
        self.convert = convert
        self.sizes = dict(sizes or {})
        super().__init__(*args, **kwargs)

    @property
    def renditions(self) -> dict[str, tuple[int, int]]:
        """The fields of the smaller pictures, with their sizes."""
        return {f"{self.name}_{size}": pixels for size, pixels in self.sizes.items()}

    @cached_property
    def validators(self) -> list[Any]:
        return super().validators if self.convert is None else [*super().validators, self.check_picture]

    def check_picture(self, file: Any) -> None:
        """Hold a file that is to be saved to what can be converted.

        Raises:
            ValidationError: it is no picture, or larger than Pillow unpacks.
        """
        if not getattr(file, "_committed", False):
            from gateway.pictures import check_picture

            check_picture(file)

    def contribute_to_class(self, cls: type[models.Model], name: str, **kwargs: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **kwargs)
        if cls._meta.abstract:
            return
        # Migrations know them as fields of their own: neither option is deconstructed.
        for rendition in self.renditions:
            field = PrivateImageField(
                upload_to=self.upload_to, storage=None if self._storage_is_default else self.storage,
                policy=self.policy, delete_objects=self.delete_objects, max_length=self.max_length,
                blank=True, editable=False,
            )  # fmt: skip
            field.rendition_of = name
            cls.add_to_class(rendition, field)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        if not getattr(model_instance, self.attname):
            for rendition in self.renditions:
                setattr(model_instance, rendition, None)
        return super().pre_save(model_instance, add)

    def _after_save(
        self, instance: models.Model, raw: bool = False, using: str | None = None,
        update_fields: frozenset[str] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super()._after_save(instance, raw=raw, using=using, update_fields=update_fields, **options)
        if raw or update_fields is None or self.name not in update_fields:
            return
        # Who saves this column alone has made new ones of the others, too.
        if missing := [name for name in self.renditions if name not in update_fields]:
            instance.save(using=using, update_fields=missing)


def tell_permalink(function: Any) -> None:
    """Let a function that only shows links be told the permalink, for which nobody is asked."""
    _TOLD[inspect.unwrap(function).__code__] = _shown_url


def tell_none(function: Any) -> None:
    """Let a function be told None where ``url`` is refused: for serializers, where one row must not fail all."""
    _TOLD[inspect.unwrap(function).__code__] = _url_or_none


def permalink_of(resource: Resource) -> str:
    """Return the stable URL of an object that a reference can name.

    Raises:
        AccessDenied: its row is not saved.
    """
    if resource.pk is None:
        raise AccessDenied("a row that is not saved has no permalink", resource)
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
        # Django's default storage is one of the kind already; migrations leave it out for what it is.
        if type(cast("Any", field.storage)) is not StorageByAlias and field.storage is not default_storage:
            with suppress(StorageUnavailable):  # a system check names a storage that has no alias
                field.storage = cast("Any", StorageByAlias(alias_of(field.storage)))


def is_private(field: models.FileField) -> bool:
    """Tell whether a field's storage is one of ours; one that cannot be built is for the system check."""
    try:
        return is_private_storage(field.storage)
    except Exception:
        # Whatever an option made its backend raise.
        return False


_ADOPTED: dict[Any, Any] = {FieldFile: PrivateFieldFile, ImageFieldFile: PrivateImageFieldFile}


def _watch(sender: type[models.Model], **_: Any) -> None:
    for field in sender._meta.concrete_fields:
        if isinstance(field, PrivateFileField):
            field.watch(sender)


class_prepared.connect(_watch, dispatch_uid="gateway.fields.watch")


def _own_names(instance: models.Model) -> dict[str, _OwnName]:
    names: dict[str, _OwnName] = instance.__dict__.get(_OWN_NAMES, {})
    return names


def _not_minted(field: models.FileField, name: object) -> KeyNotMinted:
    return KeyNotMinted(
        f"{field.model._meta.label}.{field.name} was given {name!r}, which its storage did not make for this"
        " row; save a file, or take another row's over with attach()"
    )


def _holder_of(key: str, row: models.Model) -> Resource:
    if isinstance(row, File):
        # The door looks the row up by the key that is asked for, whatever the caller's instance says.
        return replace(Resource.of_file(row), key=key)
    for field in row._meta.concrete_fields:
        if isinstance(field, models.FileField) and is_private(field) and getattr(row, field.attname).name == key:
            return Resource.of_field(row, field.name)
    raise AccessDenied("the row holds no such key", None)


def _shown_url(file: PrivateFieldFile) -> str:
    try:
        return file.permalink
    except AccessDenied:
        return ""


def _url_or_none(file: PrivateFieldFile) -> str | None:
    try:
        return file.url
    except AccessDenied:
        return None


def _download(disposition: Disposition | None, filename: str | None) -> Any:
    return partial(Download, disposition=disposition, filename=filename)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
