"""What anybody can fetch today, and which names no private storage would take: told from settings, rows and this disk.

Must not speak to a store, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, storages
from django.db import models, router

from gateway.checks.reading import directory_of
from gateway.outbox import file_fields
from gateway.resources import built, is_private_storage
from providers.keys import key_error

__all__ = ["Named", "invalid_names", "public_files", "public_storages", "why_public"]

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl
# https://cloud.google.com/storage/docs/access-control/lists#predefined-acl
_PUBLIC_ACLS = frozenset(
    {"public-read", "public-read-write", "authenticated-read", "publicRead", "publicReadWrite", "authenticatedRead"}
)


@dataclass(frozen=True, slots=True)
class Named:
    """A name that a row holds; ``detail`` is what is the matter with it."""

    field: models.FileField
    pk: Any
    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.field.model._meta.label}:{self.pk}:{self.field.name}: {self.name!r}"


def public_storages() -> Iterator[tuple[str, str]]:
    """Yield each alias of ``STORAGES`` whose files anybody can fetch, or of which nobody can tell, and why."""
    for alias in storages.backends:
        if alias == "staticfiles":
            continue
        try:
            storage = built(alias)
        except Exception as error:
            yield alias, f"cannot tell: it cannot be built: {type(error).__name__}"
            continue
        reason = why_public(storage)
        if reason is None and not is_private_storage(storage) and not _is_known(storage):
            reason = f"cannot tell: nothing is known of a {type(storage).__name__}"
        if reason:
            yield alias, reason


def public_files() -> Iterator[Named]:
    """Yield the names of rows whose files anybody can fetch who knows or guesses them."""
    for field in file_fields():
        reason = None
        with suppress(Exception):  # a storage that cannot be built shows nothing to anybody
            reason = why_public(field.storage)
        if reason is None:
            continue
        for named in _names_of(field):
            if _is_there(field.storage, named.name):
                yield Named(field, named.pk, named.name, reason)


def invalid_names() -> Iterator[Named]:
    """Yield the names of rows that the grammar of keys refuses, with the rule."""
    for field in file_fields():
        for named in _names_of(field):
            if problem := key_error(named.name):
                yield Named(field, named.pk, named.name, f"the name {problem}")


def why_public(storage: Any) -> str | None:
    """Say why anybody can fetch what a storage holds; None where nothing says so."""
    if isinstance(storage, FileSystemStorage):
        return _why_public_directory(storage)
    if is_private_storage(storage):
        return None
    if getattr(storage, "querystring_auth", None) is False:
        return "querystring_auth is False: its links are not signed, and work only where anybody may read"
    acl = getattr(storage, "default_acl", None)
    if acl in _PUBLIC_ACLS:
        return f"default_acl is {acl!r}"
    if getattr(storage, "custom_domain", None) and not getattr(storage, "cloudfront_signer", None):
        return f"custom_domain is {storage.custom_domain!r} without a key: its links are not signed"
    if hasattr(storage, "azure_container") and not getattr(storage, "expiration_secs", None):
        return "expiration_secs is not set: its links are not signed, and work only where anybody may read"
    return None


def _why_public_directory(storage: Any) -> str | None:
    directory = directory_of(storage.location)
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        public = directory_of(getattr(settings, name, None))
        if directory is not None and public is not None and directory.is_relative_to(public):
            return f"{directory} is in {name}"
    own_url = None if is_private_storage(storage) else getattr(storage, "_base_url", None)
    return f"{directory} is served at {own_url}" if own_url else None


def _is_known(storage: Any) -> bool:
    known = ("storages.backends.s3", "storages.backends.gcloud", "storages.backends.azure_storage")
    return isinstance(storage, FileSystemStorage) or any(base.__module__ in known for base in type(storage).__mro__)


def _is_there(storage: Any, name: str) -> bool:
    """Look at this disk; of any other store the row's word is taken."""
    if not isinstance(storage, FileSystemStorage):
        return True
    try:
        # Not storage.path(), which a private one refuses for a name that the web server would still hand out.
        return Path(FileSystemStorage(storage.location).path(name)).is_file()
    except (SuspiciousFileOperation, ValueError, OSError):
        return False


def _names_of(field: models.FileField) -> Iterator[Named]:
    rows: Any = field.model._base_manager.using(router.db_for_write(field.model))
    for pk, name in rows.exclude(**{field.attname: ""}).values_list("pk", field.attname).iterator():
        if name:
            yield Named(field, pk, str(name))
