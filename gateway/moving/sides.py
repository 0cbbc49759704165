"""The two storages of a migration: what is listed in them, read from them and written to them.

Must not know a row, and never writes over an object.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages

from gateway.checks.places import Place, place_of
from gateway.errors import StorageUnavailable
from gateway.resources import built, is_private_storage, private_storage
from gateway.storages.files import PARTS_DIRECTORY, version_of
from gateway.storages.local_objects import LocalObjects
from gateway.storages.minting import mint
from gateway.storages.objects import ObjectStore

__all__ = ["Side", "are_one_store", "source_of", "target_of"]

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.part")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two storages.

    Attributes:
        place: the directory, or the bucket and the start of its keys.
    """

    alias: str
    storage: Any
    objects: ObjectStore
    place: Place

    def listed(self, prefix: str = "") -> Iterator[tuple[str, int, str]]:
        """Yield the name, the size in bytes and the ETag of every object, whatever its name is like.

        Raises:
            OSError: a directory cannot be looked into; what is in it would be passed over in silence.
        """
        found: Iterator[tuple[str, int, str]]
        if not isinstance(self.storage, FileSystemStorage):
            found = ((listed.name, listed.size_bytes, listed.etag) for listed in self.objects.objects())
        elif is_private_storage(self.storage) and not Path(self.storage.location).exists():
            found = iter(())  # made with the first file
        else:
            found = _walk(Path(self.storage.location))
        return (one for one in found if one[0].startswith(prefix))


def source_of(alias: str) -> Side:
    """Return the storage that objects come from: a private one, or a directory of Django's own storage.

    Raises:
        StorageUnavailable: there is none, or it is neither.
    """
    if alias not in storages.backends:
        raise StorageUnavailable(f"STORAGES has no alias {alias!r}")
    storage = built(alias)
    if isinstance(storage, FileSystemStorage):
        # It only reads, and asks the storage for nothing but its directory.
        return _side(alias, storage, LocalObjects(storage))  # type: ignore[arg-type]
    if not is_private_storage(storage):
        kind = type(storage).__name__
        raise StorageUnavailable(
            f"storage {alias!r} is {kind}; a private storage of the same bucket, or a FileSystemStorage"
        )
    return _side(alias, storage, storage.objects)


def target_of(alias: str) -> Side:
    """Return the storage that objects go to, which is a private one.

    Raises:
        StorageUnavailable: it is not, or it would store other bytes than it is given.
    """
    storage = private_storage(alias)
    if getattr(storage, "gzip", False):
        raise StorageUnavailable(f"storage {alias!r} has gzip switched on, and would store other bytes")
    return _side(alias, storage, storage.objects)


def are_one_store(source: Side, target: Side) -> bool:
    """Tell whether what is written to the target is seen in the source, whatever their addresses say.

    An object of a random name is written to the target, looked for in the source, and deleted again.
    """
    name = mint("gateway-migrate/probe.txt")
    target.storage._save(name, ContentFile(b"probe", name=name))
    try:
        return source.objects.stat(name) is not None
    finally:
        target.storage.delete(name)


def _side(alias: str, storage: Any, objects: ObjectStore) -> Side:
    place = place_of(storage)
    if place is None:
        raise StorageUnavailable(f"storage {alias!r} does not say where its objects are")
    return Side(alias, storage, objects, place)


def _walk(root: Path) -> Iterator[tuple[str, int, str]]:
    """Yield all files, also of names that no private storage would open: they have to be told of."""
    for directory, directories, files in os.walk(root, onerror=_raise):
        here = Path(directory)
        if here == root and PARTS_DIRECTORY in directories:
            directories.remove(PARTS_DIRECTORY)
        directories.sort()
        # os.walk() does not follow a link to a directory, and would pass it over in silence.
        links = [name for name in directories if (here / name).is_symlink()]
        for name in sorted([*files, *links]):
            if not _TEMPORARY.fullmatch(name):
                path = here / name
                status = path.lstat()
                yield path.relative_to(root).as_posix(), status.st_size, version_of(status)


def _raise(error: OSError) -> None:
    raise error
