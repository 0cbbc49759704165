"""django-storages' backends and Django's own, made private: they move bytes, and never sign on their own.

Names are resolved when they are used, so that a project on the local disk needs no SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gateway.conf import conf
from gateway.resources import built

__all__ = ["PrivateAzureStorage", "PrivateFileSystemStorage", "PrivateGCSStorage", "PrivateS3Storage", "StorageByAlias"]

_ROOMS = {
    "PrivateAzureStorage": "gateway.storages.azure",
    "PrivateFileSystemStorage": "gateway.storages.filesystem",
    "PrivateGCSStorage": "gateway.storages.gcs",
    "PrivateS3Storage": "gateway.storages.s3",
}


class StorageByAlias:
    """The storage that an alias names whenever it is used, so that changed ``STORAGES`` reach the fields.

    Args:
        alias: a key of ``STORAGES``; None is ``GATEWAY["FILE_STORAGE"]``.
    """

    def __init__(self, alias: str | None = None) -> None:
        self._alias = alias

    @property
    def alias(self) -> str:
        return self._alias or conf().file_storage

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # isinstance() asks here, and has to hear about the storage.
        return type(built(self.alias))

    def __getattr__(self, name: str) -> Any:
        return getattr(built(self.alias), name)

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied and pickled by the alias; __getattr__ would hand out the storage's own way.
        return StorageByAlias, (self._alias,)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return "gateway.storages.StorageByAlias", [self.alias], {}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
