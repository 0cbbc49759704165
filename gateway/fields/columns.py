"""The file fields of models: what they take, and what they add to a model.

Must not enter a policy or a storage's options into a migration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.functional import cached_property

from gateway.fields.names import MintedNames, PrivateImageDescriptor
from gateway.fields.values import PrivateFieldFile, PrivateImageFieldFile
from gateway.resources import facts_of_name
from gateway.sniffing import HEAD_BYTES, is_of_type
from gateway.storages import StorageByAlias
from gateway.storages.minting import random_key

__all__ = ["PrivateFileField", "PrivateImageField"]


class PrivateFileField(MintedNames):
    """A file field that holds only names that its storage made.

    Args:
        policy: dotted path or instance; decides in place of ``GATEWAY["POLICIES"]`` and the default.
        delete_objects: let the sweeper delete the object some time after its row or name is gone.
        max_bytes: the largest file that is taken.
        content_types: the media types that are taken; of a form's upload, the one that its name and its bytes say.
        version_field: name of a ``CharField`` of the model that an upload straight to the store writes the version
            of its object to, once it is verified; links are bound to that version then.

    The storage is ``STORAGES["private"]`` and the key random unless said otherwise. Neither policy nor storage
    options enter a migration.
    """

    attr_class: Any = PrivateFieldFile

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
        version_field: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.policy = policy
        self.version_field = version_field
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
        # Where hosts import them from.
        return name, path.replace(f"{__name__}.", "gateway.fields."), args, kwargs


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
