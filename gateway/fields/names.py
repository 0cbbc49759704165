"""Which names a row may be saved with: those that its storage made for it; and which it lets go of.

Must not delete an object: what is let go of is written to the outbox.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, cast

from django.core.exceptions import ObjectDoesNotExist
from django.db import models, transaction
from django.db.models.fields.files import FieldFile, FileDescriptor, ImageFileDescriptor
from django.db.models.signals import class_prepared, post_save, pre_delete, pre_save

from gateway import outbox
from gateway.errors import KeyNotMinted
from gateway.resources import alias_of

__all__ = ["MintedNames", "OwnName", "PrivateFileDescriptor", "PrivateImageDescriptor"]

# Where an instance remembers which name it may be saved with: {attname: OwnName}.
_OWN_NAMES = "_gateway_own_names"
# Which names it had in its hands, and may have to let go of: {attname: frozenset of names}.
_HELD_NAMES = "_gateway_held_names"
# That its names come from a fixture.
_IS_RAW = "_gateway_is_raw"


@dataclass(slots=True, eq=False)
class OwnName:
    """A name that an instance may be saved with. Copies of the instance share it.

    Attributes:
        pk: the row that the name stays with; None for one that was made for this instance, and is in no row yet.
    """

    name: str
    pk: Any = None

    def __deepcopy__(self, memo: Any) -> OwnName:
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


class MintedNames(models.FileField):
    """A file field that holds only names that its storage made for the row, or that came with it."""

    delete_objects: bool
    descriptor_class: Any = PrivateFileDescriptor

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

    def remember(self, instance: models.Model, own: OwnName) -> None:
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
            self.remember(instance, OwnName(str(name), pk=self.pk_of(instance)))

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


def _watch(sender: type[models.Model], **_: Any) -> None:
    for field in sender._meta.concrete_fields:
        if isinstance(field, MintedNames):
            field.watch(sender)


class_prepared.connect(_watch, dispatch_uid="gateway.fields.watch")


def _own_names(instance: models.Model) -> dict[str, OwnName]:
    names: dict[str, OwnName] = instance.__dict__.get(_OWN_NAMES, {})
    return names


def _not_minted(field: models.FileField, name: object) -> KeyNotMinted:
    return KeyNotMinted(
        f"{field.model._meta.label}.{field.name} was given {name!r}, which its storage did not make for this"
        " row; save a file, or take another row's over with attach()"
    )
