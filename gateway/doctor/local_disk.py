"""The local store: where its files are, who may read them, and what its links are signed with.

Must not look at any file but the probe.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from gateway.doctor.findings import Finding, fail, note, ok
from gateway.doctor.visit import Visit

__all__ = ["clean_up_local", "examine_disk"]

LEAST_FREE_BYTES = 100 * 2**20


def examine_disk(visit: Visit) -> Iterator[Finding]:
    root = Path(visit.storage.location)
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        public = getattr(settings, name, None)
        if public and root.resolve().is_relative_to(Path(public).resolve()):
            yield fail(
                visit.alias,
                "disk.public",
                f"files lie inside {name}, which is served",
                "Move them to a root of their own.",
            )
    try:
        mode = stat.S_IMODE(root.stat().st_mode)
        free_bytes = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    except OSError as error:
        yield fail(visit.alias, "disk", f"the root cannot be looked at ({error.strerror})", "Make it, for this user.")
        return
    if mode & 0o007:
        yield fail(
            visit.alias, "disk.mode", f"everybody on the machine may look into the root ({mode:04o})", "chmod 0700."
        )
    else:
        yield ok(visit.alias, "disk.mode", f"the root is closed to others ({mode:04o})")
    if free_bytes < LEAST_FREE_BYTES:
        yield fail(
            visit.alias,
            "disk.free",
            f"{free_bytes // 2**20} MiB are free; at least {LEAST_FREE_BYTES // 2**20} MiB",
            "Make room: uploads fail.",
        )
    else:
        yield ok(visit.alias, "disk.free", f"{free_bytes // 2**20} MiB are free")
    yield _ring(visit)


def _ring(visit: Visit) -> Finding:
    if visit.storage._secret_keys is None:
        older = len(getattr(settings, "SECRET_KEY_FALLBACKS", ()))
        return note(visit.alias, "keys", f"links are signed by SECRET_KEY, {older} older ones are still taken")
    return ok(visit.alias, "keys", f"links are signed by {len(visit.storage._secret_keys)} keys of their own")


def clean_up_local(visit: Visit) -> Iterator[Finding]:
    visit.storage.delete(visit.key)
    directory = Path(visit.storage.path(visit.key)).parent
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    yield ok(visit.alias, "probe", "nothing is left behind")
