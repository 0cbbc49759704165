"""What a host's plain file field on a private storage becomes.

Must not change a migration, nor take the place of a value that somebody wrote.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from django.core.files.storage import default_storage
from django.db import models
from django.db.models.fields.files import FieldFile, ImageFieldFile

from gateway.errors import StorageUnavailable
from gateway.fields.values import PrivateFieldFile, PrivateImageFieldFile, is_private
from gateway.resources import alias_of
from gateway.storages import StorageByAlias

__all__ = ["adopt"]

_ADOPTED: dict[Any, Any] = {FieldFile: PrivateFieldFile, ImageFieldFile: PrivateImageFieldFile}


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
