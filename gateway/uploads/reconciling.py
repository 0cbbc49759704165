"""Do rows and objects agree: rows without objects, objects without rows, objects that are not the verified ones.

Only looks and tells. Must not change or delete anything, whatever it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import router

from gateway.models import File, FileState, UploadState
from gateway.outbox import file_fields
from gateway.resources import alias_of
from gateway.storages.objects import ListedObject
from gateway.uploads.permission import sessions
from gateway.uploads.planning import asking, store_of
from gateway.uploads.sweeping import Left, orphans_of

__all__ = ["reconcile"]


def reconcile(alias: str) -> Iterator[Left]:
    """Yield what does not agree in one storage: ``orphan``, ``missing`` and ``changed``.

    Every object of the storage is listed, and its name, size and ETag held in memory.

    Raises:
        StorageUnavailable: the store cannot be listed.
    """
    objects: dict[str, ListedObject] = {}
    with asking(alias):
        for listed, is_orphan in orphans_of(alias, store_of(alias)):
            objects[listed.name] = listed
            if is_orphan:
                yield Left("orphan", alias, listed.name)
    for label, key, size_bytes in _rows(alias):
        if key not in objects:
            yield Left("missing", alias, f"{key} of {label}")
        elif size_bytes not in (None, objects[key].size_bytes):
            yield Left("changed", alias, f"{key} of {label}")
    verified = sessions().filter(storage_alias=alias, state=UploadState.READY).exclude(etag="")
    for pk, key, size_bytes, etag in verified.values_list("pk", "key", "size_bytes", "etag").iterator():
        found = objects.get(key)
        if found is not None and (found.etag, found.size_bytes) != (etag, size_bytes):
            yield Left("changed", alias, f"{key} of {pk}")


def _rows(alias: str) -> Iterator[tuple[str, str, int | None]]:
    """Yield every row that names an object of a storage, with its size where the row has one."""
    files = File.objects.using(router.db_for_write(File)).filter(storage_alias=alias, state=FileState.READY)
    for pk, key, size_bytes in files.values_list("pk", "key", "size_bytes").iterator():
        yield f"{File._meta.label}:{pk}", key, size_bytes
    for field in file_fields():
        try:
            if alias_of(field.storage) != alias:
                continue
        except Exception:  # noqa: S112  (a storage that is none of ours, or cannot be built, has no alias)
            continue
        rows = field.model._base_manager.using(router.db_for_write(field.model)).exclude(**{field.attname: ""})
        for pk, name in rows.values_list("pk", field.attname).iterator():
            if name:
                yield f"{field.model._meta.label}:{pk}", str(name), None
