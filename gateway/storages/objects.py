"""What uploads need to know of a bucket and do in it, said once for every store.

Each store has a file of its own that does it through its SDK. Must not decide, sign, or know a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

__all__ = [
    "FormStore",
    "ListedObject",
    "ObjectStore",
    "PartStore",
    "ReceivedPart",
    "RelayedPartStore",
    "ResumableStore",
    "StoredObject",
    "UnfinishedUpload",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What a store says of an object.

    Attributes:
        content_type: as it is stored; None where the store keeps none.
        etag: changes with the bytes; without quotes.
        version: the store's version or generation, by which a link can be bound to these bytes; empty for none.
        sha256, md5: of the whole object, where the store itself has counted it.
        content_encoding: as it is stored; empty for none.
    """

    size_bytes: int
    content_type: str | None
    etag: str
    version: str = ""
    sha256: bytes | None = None
    md5: bytes | None = None
    content_encoding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPart:
    """A part that the store has."""

    number: int
    size_bytes: int
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """One line of a listing; ``name`` is what a row would hold."""

    name: str
    size_bytes: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedUpload:
    """A part-wise upload that was neither completed nor aborted."""

    name: str
    upload_id: str
    began_at: datetime


class ObjectStore(Protocol):
    """One bucket, by the names that rows hold. Errors of the SDK pass; the caller knows none of them."""

    def stat(self, name: str) -> StoredObject | None:
        """Return what the store says of an object; None where there is none."""
        ...

    def read(self, name: str, stored: StoredObject, *, first_bytes: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object that was looked at, or its first ones.

        Raises:
            FileNotFoundError: there is none, or it is another one by now.
        """
        ...

    def objects(self) -> Iterator[ListedObject]:
        """Yield every object below the storage's location."""
        ...


@runtime_checkable
class PartStore(ObjectStore, Protocol):
    """A bucket that takes an object in parts, of which the server alone makes it.

    Attributes:
        joins_under_free_names: the store itself refuses to make an object where there is one.
    """

    least_part_bytes: int
    joins_under_free_names: bool

    def begin_parts(self, name: str, content_type: str) -> str:
        """Begin a part-wise upload and return the store's id of it."""
        ...

    def parts(self, name: str, upload_id: str) -> list[ReceivedPart] | None:
        """Return the parts that have come, by number; None where the upload is over or was none."""
        ...

    def complete_parts(self, name: str, upload_id: str, parts: Sequence[ReceivedPart]) -> None:
        """Make the object of its parts, unless the name is taken.

        Raises:
            FileNotFoundError: the upload is over, or a part is missing.
            FileExistsError: the name is taken.
        """
        ...

    def abort_parts(self, name: str, upload_id: str) -> None:
        """Give a part-wise upload up; one that is over is no error."""
        ...

    def unfinished(self) -> Iterator[UnfinishedUpload]:
        """Yield every part-wise upload below the storage's location; a name may be unknown and so empty."""
        ...


@runtime_checkable
class RelayedPartStore(PartStore, Protocol):
    """A bucket whose parts the gateway passes on, since no client can be given a link that is good for one alone.

    Attributes:
        most_single_bytes: the largest object that one request brings straight to it.
        most_part_bytes: the largest part.
    """

    most_single_bytes: int
    most_part_bytes: int

    def pass_on_part(self, name: str, upload_id: str, number: int, chunks: Iterable[bytes], *, size_bytes: int) -> None:
        """Send a part on while it comes, in place of the same part that came before.

        What an iteration raises passes, and nothing of the part is kept then.
        """
        ...


@runtime_checkable
class FormStore(PartStore, Protocol):
    """A bucket that takes forms, and makes an object of what one brought without sending the bytes anywhere."""

    def copy_part(self, source: str, name: str, upload_id: str) -> None:
        """Let another object of the bucket be the only part of an upload.

        Raises:
            FileNotFoundError: there is no such object, or the upload is over.
        """
        ...


@runtime_checkable
class ResumableStore(ObjectStore, Protocol):
    """A bucket that opens a session for one object, which is sent in pieces by whoever has the session's URL.

    The URL is a bearer credential: must not be logged, nor stored as it is.

    Attributes:
        session_lifetime: after it a session is dead whatever happens.
        opens_sessions: the project wants them; those that are open can be ended in any case.
    """

    session_lifetime: timedelta

    @property
    def opens_sessions(self) -> bool: ...

    def begin_session(
        self, name: str, *, content_type: str, size_bytes: int, md5: bytes | None, origin: str | None
    ) -> str:
        """Open a session for an object of this type, of at most this size, under a name that stays free until then.

        Args:
            md5: of the whole; the store makes no object of other bytes.
            origin: of the page that sends; None where it is none.

        Raises:
            FileExistsError: the name is taken.
        """
        ...

    def shown_session(self, url: str) -> str:
        """Return the URL of a session as clients reach it."""
        ...

    def session_bytes(self, url: str) -> int | None:
        """Return how many bytes a session has; None where there is none (any more)."""
        ...

    def cancel_session(self, url: str) -> None:
        """End a session: nothing is written by it any more. One that is over is no error."""
        ...
