"""Django's ``FileSystemStorage`` made private: files under a root of their own, served by the data plane.

Must not follow a link out of the root, nor leave half a file behind.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from gateway.errors import ObjectExists
from gateway.resources import alias_of
from gateway.storages import keyring, own_links
from gateway.storages.base import PrivateStorageMixin, exact, exact_directory
from gateway.storages.files import list_beneath, open_beneath, remove_beneath, write_beneath
from gateway.storages.local_objects import LocalObjects
from providers.errors import InvalidConfiguration
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
            ``{"secret": text, "not_after": aware datetime or ISO text}``; or the path of a ``.json`` file with such a
            list, which ``manage.py gateway_keys`` makes and turns. Derived from ``SECRET_KEY`` and
            ``SECRET_KEY_FALLBACKS`` where none is given.

    Beside :class:`PrivateStorageMixin`'s. ``base_url`` is refused: links lead to where ``gateway.urls`` is
    included.
    """

    links_end_at_once = True
    own_options = (*PrivateStorageMixin.own_options, "secret_keys")
    deliveries = (
        *PrivateStorageMixin.deliveries, "x_sendfile", "x_lighttpd", "secure_link", "secure_link_address",
    )  # fmt: skip

    def __init__(
        self,
        location: Any = None,
        base_url: Any = None,
        file_permissions_mode: int | None = None,
        directory_permissions_mode: int | None = None,
        allow_overwrite: bool = False,
        **own: Any,
    ) -> None:
        if base_url is not None:
            raise ImproperlyConfigured(f"base_url is {base_url!r}; links lead to where gateway.urls is included")
        if not location:
            raise ImproperlyConfigured("location is empty; a private directory of its own")
        if type(allow_overwrite) is not bool:  # the text "false" is true
            raise ImproperlyConfigured(f"allow_overwrite is {allow_overwrite!r}; True or False")
        if unknown := set(own) - set(self.own_options):
            raise ImproperlyConfigured(f"unknown options {sorted(unknown)} for {type(self).__name__}")
        self.file_mode = _mode("file_permissions_mode", file_permissions_mode, FILE_MODE)
        self.directory_mode = _mode("directory_permissions_mode", directory_permissions_mode, DIRECTORY_MODE)
        self._overwrite = allow_overwrite
        self._made: tuple[Any, LocalProvider] | None = None
        super().__init__(
            location=location,
            file_permissions_mode=self.file_mode,
            directory_permissions_mode=self.directory_mode,
            allow_overwrite=allow_overwrite,
            **own,
        )

    def configure(self, own: dict[str, Any]) -> None:
        secret_keys = own.get("secret_keys")
        # A text of any other form may be a key that was meant to stand in a list, and is refused.
        self._key_file: Path | None = None
        if isinstance(secret_keys, (str, Path)) and str(secret_keys).endswith(".json"):
            self._key_file = Path(secret_keys)
        is_list = secret_keys is not None and self._key_file is None
        self._secret_keys = _secrets(secret_keys) if is_list else None

    @property
    def objects(self) -> LocalObjects:
        """The directory, as uploads look at it."""
        return LocalObjects(self)

    @property
    def provider(self) -> LocalProvider:
        """The signer of this directory's links, made again when an address or a key changes.

        Raises:
            InvalidConfiguration: it cannot be built; the message says why, and shows no key.
        """
        inputs = (own_links.surroundings(), self._key_version())
        made = self._made
        if made is None or made[0] != inputs:
            made = self._made = (inputs, own_links.make_signer(self, DATA_PLANE, self._keys(), use="local storage"))
        return made[1]

    def _key_version(self) -> Any:
        try:
            return None if self._key_file is None else keyring.version(self._key_file)
        except OSError as error:
            raise InvalidConfiguration(f"the file of secret_keys cannot be read: {type(error).__name__}") from None

    def _keys(self) -> list[SecretKey]:
        if self._key_file is None:
            return own_links.project_keys() if self._secret_keys is None else self._secret_keys
        try:
            return _secrets(keyring.read(self._key_file))
        except (OSError, ValueError, ImproperlyConfigured) as error:
            # The text of a JSON error may quote a key.
            raise InvalidConfiguration(f"the file of secret_keys is no ring: {type(error).__name__}") from None

    @property
    def secure_link_secret(self) -> str:
        """What nginx is told to check its own links with; derived from the first of the keys.

        Raises:
            InvalidConfiguration: a key is too short.
        """
        keys = own_links.project_keys() if self._secret_keys is None else self._secret_keys
        label = f"presign-gateway nginx secure_link {alias_of(self)}".encode()
        return hmac.digest(keys[0].secret, label, "sha256").hex()

    # Django's would be MEDIA_URL.
    @property
    def base_url(self) -> str:
        """What the storage's links start with."""
        return self.provider.base_url

    def path(self, name: str) -> str:
        return super().path(exact(name))

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
                file_mode=self.file_mode,
                directory_mode=self.directory_mode,
            )
        except FileExistsError as error:
            raise ObjectExists(f"the key {name!r} is taken; nothing was overwritten") from error
        return name

    def delete(self, name: str) -> None:
        if not name:
            raise ValueError("The name must be given to delete().")
        remove_beneath(str(self.location), exact(name))

    def exists(self, name: str) -> bool:
        try:
            self._stat(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return self._stat(name).st_size

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return list_beneath(str(self.location), exact_directory(path))

    def get_accessed_time(self, name: str) -> datetime:
        return _moment(self._stat(name).st_atime)

    def get_created_time(self, name: str) -> datetime:
        return _moment(self._stat(name).st_ctime)

    def get_modified_time(self, name: str) -> datetime:
        return _moment(self._stat(name).st_mtime)

    def object_key(self, name: str) -> str:
        return exact(name)

    def _stat(self, name: str) -> os.stat_result:
        descriptor = open_beneath(str(self.location), exact(name))
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)


def _chunks(content: Any) -> Iterator[bytes]:
    for chunk in content.chunks():
        yield chunk.encode() if isinstance(chunk, str) else chunk


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC if settings.USE_TZ else None)


def _mode(name: str, value: Any, default: int) -> int:
    if value is None:
        return default
    if type(value) is not int or not 0 < value <= 0o7777:
        raise ImproperlyConfigured(f"{name} is {value!r}; a number up to 0o7777, by default {default:#o}")
    return value


def _secrets(secret_keys: Any) -> list[SecretKey]:
    """Read the option. Messages show no value: these are secrets."""
    if not isinstance(secret_keys, (list, tuple)) or not secret_keys:
        raise ImproperlyConfigured("secret_keys is not a list of texts or of {'secret': …, 'not_after': …}")
    ring = []
    for entry in secret_keys:
        given = entry if isinstance(entry, Mapping) else {"secret": entry}
        secret, not_after = given.get("secret"), given.get("not_after")
        if set(given) - {"secret", "not_after"} or not isinstance(secret, str):
            raise ImproperlyConfigured("secret_keys holds an entry that is neither text nor secret and not_after")
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ImproperlyConfigured(
                f"secret_keys holds a key of {len(secret.encode())} bytes; at least {MIN_SECRET_BYTES}"
            )
        try:
            if isinstance(not_after, str):
                not_after = datetime.fromisoformat(not_after)
            ring.append(SecretKey(secret.encode(), not_after))
        except (ValueError, InvalidConfiguration) as error:
            raise ImproperlyConfigured(f"not_after in secret_keys is not an aware time: {error}") from None
    return ring
