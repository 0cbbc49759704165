"""A ring of keys in a file, for local links: read again when it changes, turned by ``manage.py gateway_keys``.

Must not show a key. The first signs, all that have not ended verify; the second is the next, which every server
knows before any signs with it.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["drop", "fresh", "read", "turned", "version", "write"]

_LONGEST = timedelta(days=7)  # that a local link may live


def version(path: Path) -> tuple[int, int, int]:
    """Return what changes whenever the file does.

    Raises:
        OSError: it cannot be read.
    """
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def read(path: Path) -> list[dict[str, Any]]:
    """Return the ring; what it holds, the storage checks.

    Raises:
        OSError, ValueError: it cannot be read, or is no list.
    """
    ring = json.loads(path.read_text())
    if not isinstance(ring, list) or not all(isinstance(entry, dict) for entry in ring):
        raise ValueError("not a list of objects")
    return ring


def write(path: Path, ring: list[dict[str, Any]]) -> None:
    """Put a ring in place of the file as a whole, readable by its owner alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(ring, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def fresh() -> list[dict[str, Any]]:
    """Return a new ring: a key that signs, and the next."""
    return [_key(), _key()]


def turned(ring: list[dict[str, Any]], *, now: datetime) -> list[dict[str, Any]]:
    """Let the next key sign; the one before verifies until the last of its links has ended."""
    alive = [entry for entry in ring if entry.get("not_after") is None]
    ending = [entry for entry in ring if (end := entry.get("not_after")) is not None and _instant(end) > now]
    if not alive:
        raise ValueError("no key of the ring is without an end")
    old = alive[0] | {"not_after": (now + _LONGEST).astimezone(UTC).isoformat()}
    following = alive[1:] or [_key()]
    return [following[0], _key(), *following[1:], old, *ending]


def drop(ring: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out every key that has an end: links that they signed are refused at once."""
    return [entry for entry in ring if entry.get("not_after") is None]


def _key() -> dict[str, Any]:
    return {"secret": secrets.token_urlsafe(48), "not_after": None}


def _instant(text: Any) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("not_after has no time zone")
    return instant
