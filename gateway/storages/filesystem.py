"""Django's ``FileSystemStorage`` made private: files under a root of their own, served by the data plane.

Must not follow a link out of the root, nor leave half a file behind.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.urls import get_script_prefix, reverse

from gateway.conf import conf
from gateway.errors import ObjectExists
from gateway.resources import alias_of
from gateway.storages.base import PrivateStorageMixin
from gateway.storages.files import open_beneath, remove_beneath, write_beneath
from providers.keys import check_key
from providers.local import MIN_SECRET_BYTES, LocalProvider, SecretKey

__all__ = ["PrivateFileSystemStorage"]

DATA_PLANE = "presign_gateway:local"
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class PrivateFileSystemStorage(PrivateStorageMixin, FileSystemStorage):
    """A private directory; every option of Django's storage, and ours.

    Args:
        location: the root; needed, and not inside MEDIA_ROOT or STATIC_ROOT.
        secret_keys: the ring that links are signed with, first key first: texts of at least 32 bytes, or
            ``{"secret": text, "not_after": aware datetime or ISO text}``. Derived from ``SECRET_KEY`` and
            ``SECRET_KEY_FALLBACKS`` where none is given.

    Beside :class:`PrivateStorageMixin`'s. ``base_url`` is refused: links lead to where ``gateway.urls`` is
    included.
    """

    own_options = (*PrivateStorageMixin.own_options, "secret_keys")

    def __init__(self, location: Any = None, base_url: Any = None, *args: Any, **options: Any) -> None:
        names = ("file_permissions_mode", "directory_permissions_mode", "allow_overwrite")
        options |= dict(zip(names, args, strict=False))
        self._file_mode = options.get("file_permissions_mode") or FILE_MODE
        self._directory_mode = options.get("directory_permissions_mode") or DIRECTORY_MODE
        self._overwrite = bool(options.get("allow_overwrite", False))
        if base_url is not None:
            raise ImproperlyConfigured(f"base_url is {base_url!r}; links lead to where gateway.urls is included")
        if not location:
            raise ImproperlyConfigured("location is empty; a private directory of its own")
        self._provider: tuple[Any, LocalProvider] | None = None
        super().__init__(location=location, **options)

    def configure(self, own: dict[str, Any]) -> None:
        self._secret_keys = own.get("secret_keys")
        if self._secret_keys is not None:
            _ring(self._secret_keys)

    @property
    def provider(self) -> LocalProvider:
        """The signer of this directory's links, made again when an address or a key changes."""
        inputs = (conf(), get_script_prefix(), settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))
        if self._provider is None or self._provider[0] != inputs:
            alias = alias_of(self)
            path = reverse(DATA_PLANE, kwargs={"alias": alias, "key": "k"})[:-1]
            ring = _ring(self._secret_keys or [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS], alias)
            provider = LocalProvider(base_url=conf().public_origin + path, secret_keys=ring)
            self._provider = (inputs, provider)
        return self._provider[1]

    def path(self, name: str) -> str:
        return super().path(check_key(name))

    def _open(self, name: str, mode: str = "rb") -> File[Any]:
        if mode not in ("r", "rb", "rt"):
            raise ValueError(f"mode is {mode!r}; private files are opened for reading and written by save()")
        descriptor = open_beneath(str(self.location), name)
        return File(os.fdopen(descriptor, mode), name=name)

    def _save(self, name: str, content: Any) -> str:
        try:
            write_beneath(
                str(self.location),
                name,
                _chunks(content),
                overwrite=self._overwrite,
                file_mode=self._file_mode,
                directory_mode=self._directory_mode,
            )
        except FileExistsError as error:
            raise ObjectExists(f"the key {name!r} is taken; nothing was overwritten") from error
        return name

    def delete(self, name: str) -> None:
        if not name:
            raise ValueError("The name must be given to delete().")
        remove_beneath(str(self.location), name)

    def exists(self, name: str) -> bool:
        try:
            self._stat(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return self._stat(name).st_size

    def get_modified_time(self, name: str) -> datetime:
        timestamp = self._stat(name).st_mtime
        return datetime.fromtimestamp(timestamp, UTC if settings.USE_TZ else None)

    def object_key(self, name: str) -> str:
        return check_key(name)

    def _stat(self, name: str) -> os.stat_result:
        descriptor = open_beneath(str(self.location), name)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)


def _chunks(content: Any) -> Iterator[bytes]:
    for chunk in content.chunks():
        yield chunk.encode() if isinstance(chunk, str) else chunk


def _ring(secret_keys: Any, alias: str = "") -> list[SecretKey]:
    """Read the option and derive each alias its own keys, so that one's links are not another's."""
    if isinstance(secret_keys, (str, bytes, Mapping)) or not isinstance(secret_keys, Iterable):
        raise ImproperlyConfigured("secret_keys is not a list of texts or of {'secret': …, 'not_after': …}")
    ring = []
    for entry in secret_keys:
        given = entry if isinstance(entry, Mapping) else {"secret": entry}
        secret, not_after = given.get("secret"), given.get("not_after")
        if isinstance(not_after, str):
            not_after = datetime.fromisoformat(not_after)
        # The values are not shown: they are secrets.
        if set(given) - {"secret", "not_after"} or not isinstance(secret, str):
            raise ImproperlyConfigured("secret_keys holds an entry that is neither text nor secret and not_after")
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ImproperlyConfigured(
                f"secret_keys holds a key of {len(secret.encode())} bytes; at least {MIN_SECRET_BYTES}"
            )
        derived = hmac.digest(secret.encode(), f"presign-gateway local storage {alias}".encode(), "sha256")
        ring.append(SecretKey(derived, not_after))
    return ring
