"""Reads settings, STORAGES and models so that a broken one is nothing, rather than an exception.

Must not build a storage that is not ours: other backends may connect when they are built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.apps import apps
from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.db import models
from django.utils.module_loading import import_string

from gateway.conf import Conf, conf
from gateway.resources import PrivateStorage
from gateway.storages.base import PrivateStorageMixin

__all__ = [
    "Alias",
    "aliases",
    "conf_or_none",
    "directory_of",
    "file_fields",
    "imported",
    "is_private",
    "items_of",
    "local_aliases",
    "private_aliases",
    "split",
]


@dataclass(frozen=True, slots=True)
class Alias:
    """One entry of STORAGES.

    Attributes:
        name: its key, of whatever type.
        backend: its class; None where it cannot be imported.
        options: its OPTIONS.
        storage: built; None for one that is not private, or cannot be built.
        error: why it cannot be built.
    """

    name: Any
    backend: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    storage: Any = None
    error: Exception | None = None

    @property
    def is_private(self) -> bool:
        """Told by its class, so also of one that cannot be built."""
        return isinstance(self.backend, type) and (
            issubclass(self.backend, PrivateStorageMixin)
            or all(hasattr(self.backend, name) for name in ("provider", "object_key"))
        )

    def __str__(self) -> str:
        return f"STORAGES[{self.name!r}]"


def aliases() -> list[Alias]:
    """Return every entry of STORAGES."""
    entries = getattr(settings, "STORAGES", None)
    return [_alias(name, entry) for name, entry in entries.items()] if isinstance(entries, Mapping) else []


def private_aliases() -> list[Alias]:
    """Return the entries of STORAGES whose storage is private and built."""
    return [alias for alias in aliases() if alias.storage is not None]


def local_aliases() -> list[Alias]:
    return [alias for alias in private_aliases() if isinstance(alias.storage, FileSystemStorage)]


def conf_or_none() -> Conf | None:
    """Return the settings of the gateway; None where they cannot be read, which a check of its own says."""
    try:
        return conf()
    except Exception:
        return None


def items_of(name: str) -> list[Any]:
    """Return a setting that should be a list; anything else is an empty one."""
    value = getattr(settings, name, None)
    return list(value) if isinstance(value, (list, tuple)) else []


def imported(path: Any) -> Any:
    """Return what a dotted path names, or None."""
    try:
        return import_string(path)
    except Exception:
        return None


def split(url: Any) -> SplitResult | None:
    """Return the parts of a URL with a host, or None."""
    try:
        parts = urlsplit(url)
        return parts if parts.hostname else None
    except (AttributeError, TypeError, ValueError):
        return None


def directory_of(path: Any) -> Path | None:
    """Return a directory as the system finds it, links followed; None where nothing is named."""
    try:
        return Path(path).resolve() if path else None
    except (TypeError, ValueError, OSError, RuntimeError):
        return None


def file_fields() -> Iterator[models.FileField]:
    """Yield the file fields of all models, each with the model that has its column."""
    for model in apps.get_models(include_auto_created=True):
        for one in model._meta.local_concrete_fields:
            if isinstance(one, models.FileField):
                yield one


def is_private(one: models.FileField) -> bool | None:
    """Tell whether a field's storage is a private one; None where it cannot be built."""
    try:
        return isinstance(one.storage, PrivateStorage)
    except Exception:
        return None


def _alias(name: Any, entry: Any) -> Alias:
    given = entry.get("OPTIONS") if isinstance(entry, Mapping) else None
    options = given if isinstance(given, Mapping) else {}
    try:
        alias = Alias(name, import_string(entry["BACKEND"]), options)
    except Exception as error:
        return Alias(name, options=options, error=error)
    if not alias.is_private:
        return alias
    try:
        return Alias(name, alias.backend, options, storages[name])
    except Exception as error:
        return Alias(name, alias.backend, options, error=error)
