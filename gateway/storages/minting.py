"""Names that the server makes: unguessable, never used twice, and safe for every store.

A hard name is a second fence, never the permission. Must not look into a store: a save never asks
whether a name is taken.
"""

from __future__ import annotations

import base64
import posixpath
import re
import secrets
import unicodedata
from typing import Any

from django.core.exceptions import SuspiciousFileOperation
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.deconstruct import deconstructible

from providers.disposition import clean_filename
from providers.keys import check_key

__all__ = ["MintedName", "hashed_key", "mint", "per_owner", "random_key", "random_segment", "safe_name", "unnamed_key"]

MAX_NAME_BYTES = 60
_RANDOM_BITS = 128
# What comes after the last dot may be most of a name, and keys stand in links and logs.
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,16}\Z")


class MintedName(str):
    """A name whose directory holds 128 random bits already.

    Said by its type, since its text cannot tell: a directory of 26 letters looks like random ones.
    """

    __slots__ = ()


def random_segment() -> str:
    """Return 128 random bits as 26 lower-case letters and digits."""
    return base64.b32encode(secrets.token_bytes(_RANDOM_BITS // 8)).decode().rstrip("=").lower()


def safe_name(filename: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a file name as the last segment of a key: letters, marks, digits, ``-_.``, cut before its extension.

    Args:
        max_bytes: of UTF-8, at least 8.
    """
    name = unicodedata.normalize("NFC", clean_filename(filename))
    # Marks stay with their letters: without them no name in Hindi, Thai or vocalised Arabic can be read.
    name = "".join(c if c in "-._" or unicodedata.category(c)[0] in "LMN" else " " for c in name)
    name = re.sub(" +", "_", name)
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) >= max_bytes // 2:
        stem, dot, extension = name, "", ""
    room = max_bytes - len((dot + extension).encode())
    # A cut may leave half a character, or a dot at the end.
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(".")
    return unicodedata.normalize("NFC", (stem or "file") + dot + extension)


def mint(name: str, max_length: int | None = None) -> str:
    """Return a key of this name that nobody can guess and that no save will make again.

    Directories are kept, and 128 random bits added, unless the name is a :class:`MintedName`, which has them.
    Without directories the key is ``uploads/<yyyy>/<mm>/<128 random bits>/<safe name>``.

    Raises:
        InvalidKey: the directories break the grammar of keys.
        SuspiciousFileOperation: ``max_length`` leaves no room for the name.
    """
    # Not posixpath.split(), which makes one slash of two.
    directory, slash, filename = name.rpartition("/")
    if not slash:
        directory = _dated("uploads")
    if not isinstance(name, MintedName):
        directory = f"{directory}/{random_segment()}"
    room = MAX_NAME_BYTES if max_length is None else min(MAX_NAME_BYTES, max_length - len(directory) - 1)
    if room < 8:
        raise SuspiciousFileOperation(
            f"max_length is {max_length}; a private key needs {len(directory) + 9} at least, 255 is usual"
        )
    return check_key(f"{directory}/{safe_name(filename, room)}")


def random_key(instance: Any, filename: str) -> str:
    """``upload_to``: ``uploads/<yyyy>/<mm>/<128 random bits>/<safe name>``."""
    return MintedName(f"{_dated('uploads')}/{random_segment()}/{safe_name(filename)}")


def unnamed_key(filename: str) -> str:
    """Return a key as :func:`random_key`, of which the file name gives the extension alone."""
    extension = _EXTENSION.search(filename)
    return random_key(None, f"file{extension[0].lower() if extension else ''}")


def hashed_key(instance: Any, filename: str) -> str:
    """``upload_to``: as :func:`random_key`, with a keyed hash in place of the name; the extension stays.

    For names that say too much: keys stand in access logs and in links.
    """
    extension = posixpath.splitext(safe_name(filename))[1]
    # A name that is no UTF-8 has a hash, too.
    spelt = filename.encode(errors="backslashreplace")
    digest = salted_hmac("gateway.storages.minting", spelt, algorithm="sha256").hexdigest()[:32]
    return MintedName(f"{_dated('uploads')}/{random_segment()}/{digest}{extension}")


@deconstructible
class per_owner:  # noqa: N801  (used as a callable: upload_to=per_owner("author"))
    """``upload_to``: ``uploads/<owner's primary key>/<128 random bits>/<safe name>``.

    Args:
        path: attribute path from the row to its owner, ``author`` or ``project__owner``.

    Raises:
        ValueError: when a file is saved, and the row has no saved owner.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, instance: Any, filename: str) -> str:
        owner = instance
        for name in self.path.split("__"):
            # An empty relation on the way is no AttributeError, which frameworks swallow.
            owner = None if owner is None else getattr(owner, name)
        if owner is None or owner.pk is None:
            raise ValueError(f"{self.path} is empty or not saved; its primary key is part of the name")
        return MintedName(f"uploads/{owner.pk}/{random_segment()}/{safe_name(filename)}")


def _dated(prefix: str) -> str:
    return f"{prefix}/{timezone.now():%Y/%m}"
