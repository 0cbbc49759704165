"""What the door answers: a link, a permit, a refusal, or what it would have answered.

Must not be stored, cached or shown by accident where it holds a link.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from gateway.errors import (
    GatewayError,
)
from gateway.resources import Resource
from providers.types import Download, SignedURL

__all__ = ["IssuedURL", "LinkText", "Permit", "Refusal", "Rehearsal", "Way"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IssuedURL(SignedURL):
    """A link with what the client is told beside it.

    Attributes:
        id: names the link in the audit, and in the store's access log where it has one.
        limited_by: what shortened the lifetime below what was asked or set; empty if nothing did.
    """

    id: str
    resource: Resource
    limited_by: str = ""
    filename: str | None = None
    content_type: str | None = None
    content_disposition: str | None = None
    size_bytes: int | None = None

    @property
    def text(self) -> LinkText:
        """The URL as text that does not show its signature by accident."""
        return LinkText(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """A yes to one download that the gateway carries out itself.

    Attributes:
        download: all of it: the key in the store, type, disposition, version.
        ttl: the longest that an answer may be of use: the default, under every limit.
        size_bytes: as the row says; None where it does not.
    """

    resource: Resource
    download: Download
    ttl: timedelta
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a download goes that was allowed.

    Attributes:
        delivery: how it is served here and now, which is counted under this name; empty where something leaves that
            may be used later, which is recorded before it does.
        is_signed: by a link: for the client where it leaves, else for this process or the server in front alone.
    """

    delivery: str = ""
    is_signed: bool = False


class LinkText(str):
    """A presigned URL as text: usable wherever a str is, but neither pickled, cached nor shown by repr()."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<LinkText {self.partition('?')[0]}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a presigned URL is a bearer credential; it is not pickled, cached or stored")

    def __copy__(self) -> LinkText:
        return self

    def __deepcopy__(self, memo: Any) -> LinkText:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One item of a batch that got no link. ``reason`` is for the log, never for the client."""

    resource: Resource
    error: GatewayError
    reason: str

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def title(self) -> str:
        return self.error.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What the door would have answered; no link was made, and nothing recorded.

    Attributes:
        refusal: why not; empty where it would have been yes.
        is_known: the object was found, so that a policy can be asked about it.
        limits: every limit on the life of a link: seconds, or an instant.
    """

    resource: Resource
    operation: Any
    is_known: bool
    refusal: str
    policy: str
    limits: dict[str, int | datetime]
    limited_by: str
    seconds: int
    signed_at: datetime | None
