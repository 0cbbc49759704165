"""Checks of where thumbnails go: a small copy of a private image is as private as the image.

Must not import a library of thumbnails, nor build a storage that is not ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.db import models

from gateway.checks.messages import check, found
from gateway.checks.reading import Alias, aliases, file_fields, imported, is_private
from gateway.resources import is_private_storage

__all__ = ["LIBRARIES"]

# App, the setting that names a storage by alias or dotted path, and the alias without it. Each library takes
# "default" where STORAGES has no such alias.
LIBRARIES = (
    ("easy_thumbnails", "THUMBNAIL_DEFAULT_STORAGE_ALIAS", "easy_thumbnails"),
    ("sorl.thumbnail", "THUMBNAIL_STORAGE", "default"),
    ("imagekit", "IMAGEKIT_DEFAULT_FILE_STORAGE", "default"),
)


@check()
def check_thumbnails() -> Iterator[CheckMessage]:
    images = [one for one in file_fields() if isinstance(one, models.ImageField) and is_private(one)]
    if not images:
        return
    names = ", ".join(f"{one.model._meta.label}.{one.name}" for one in images)
    for app, setting, usual in LIBRARIES:
        if not apps.is_installed(app):
            continue
        value = getattr(settings, setting, None) or usual
        if not _is_private(value):
            yield found("E070", f"{app} keeps thumbnails on {value!r} ({setting}), and private images are {names}.")
    for one in images:
        for name, storage in _own_storages(one):
            if not is_private_storage(storage):
                text = f"{one.model._meta.label}.{name}, made of {one.name}, is kept on a {type(storage).__name__}."
                yield found("E070", text, one)


def _is_private(value: Any) -> bool:
    by_name = {alias.name: alias for alias in aliases()}
    if value not in by_name and "." in str(value):
        return Alias(value, imported(value)).is_private
    alias = by_name.get(value) or by_name.get("default")
    return alias is not None and alias.is_private


def _own_storages(image: models.FileField) -> Iterator[tuple[str, Any]]:
    """Yield what ImageKit's fields make of an image on a storage of their own."""
    for name, value in vars(image.model).items():
        if not type(value).__module__.startswith("imagekit.") or getattr(value, "source_field_name", "") != image.name:
            continue
        storage = getattr(getattr(value.field, "_original_spec", None), "cachefile_storage", None)
        if storage is not None:
            yield name, storage() if callable(storage) else storage
