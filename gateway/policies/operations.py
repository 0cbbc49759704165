"""What may be asked for: what is signed, and what is decided alone. One operation never implies another.

Must not know who asks, nor of what row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, get_args

from providers.keys import check_key
from providers.types import Download, Upload, UploadForm, UploadPart

__all__ = [
    "OPERATIONS",
    "UPLOADS",
    "Delete",
    "Download",
    "DownloadPrefix",
    "Operation",
    "Share",
    "Update",
    "Upload",
    "UploadForm",
    "UploadPart",
    "check_operations",
]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the object and its row."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is known of the object, such as its file name."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class Share:
    """Hand the object on: attach it to another row, or make a share of it."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class DownloadPrefix:
    """Read everything below a prefix that ends in ``/``; never implied by reading one object."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key.removesuffix("/"))


Operation: TypeAlias = Download | Upload | UploadForm | UploadPart | Delete | Update | Share | DownloadPrefix
OPERATIONS: tuple[type, ...] = get_args(Operation)
UPLOADS = (Upload, UploadForm, UploadPart)


def check_operations(operations: Iterable[type]) -> frozenset[type]:
    """Return the operations of a policy.

    Raises:
        TypeError: one is none.
    """
    chosen = frozenset(operations)
    if unknown := chosen - frozenset(OPERATIONS):
        names = ", ".join(operation.__name__ for operation in OPERATIONS)
        raise TypeError(f"operations hold {sorted(map(repr, unknown))}; only {names}")
    return chosen
