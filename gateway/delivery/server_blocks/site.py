"""What a server block is about: addresses, and the private storages whose bytes the server sends.

Must not print anything; the servers' own files do.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.files.storage import storages

from gateway.delivery.secure_link import EXPRESSIONS
from gateway.resources import PrivateStorage, private_storage
from gateway.storages.filesystem import PrivateFileSystemStorage

__all__ = ["Asking", "Site", "SiteError", "Store", "inline_types", "quoted", "stores"]

# Python's own table, which is what the gateway goes by.
EXTENSIONS = mimetypes.MimeTypes().types_map[True]
_ADDRESS = re.compile(r"[A-Za-z0-9.\-:\[\]*_]+")
_SOCKET = re.compile(r"unix:/[A-Za-z0-9._/\-]+")
_RESOLVER = re.compile(r"[A-Za-z0-9.\-:\[\] ]+")
# Beside what a quoted text cannot hold: what servers expand in it.
_NO_VALUE = re.compile(r"[\x00-\x1f\x7f\"\\$%{}`\ud800-\udfff]")
_MOST_PORT = 65535
_MOST_SOCKET_CHARACTERS = 107  # unix(7): sun_path has 108 bytes, one of them the end


class SiteError(ValueError):
    """A value that a server would read as more than a value, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What ``GATEWAY["FORWARD_AUTH"]`` says, and where the gateway is asked.

    Attributes:
        proxy: the server that asks.
        address: path on the gateway.
        paths: ``{prefix: alias}``.
        script: path of the project's file that Apache asks.
        identity: what Apache asks by: ``password`` or ``session``.
    """

    proxy: str
    address: str
    secret: str = field(repr=False)
    paths: Mapping[str, str]
    script: str = ""
    identity: str = "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the server listens, and where the gateway does.

    Attributes:
        listen: ``host:port`` or a port.
        server_name: one host name.
        upstream: ``host:port``, or ``unix:/path`` of the gateway's socket.
        access_log: path of a log without query strings.
        resolver: address of a name server, for nginx to find stores with.
        certificates: path of the authorities that stores are trusted by.
        asking: how the server asks the gateway before it sends a file; None where it does not.
    """

    listen: str
    server_name: str
    upstream: str
    access_log: str
    resolver: str = ""
    certificates: str = "/etc/ssl/certs/ca-certificates.crt"
    asking: Asking | None = None

    def __post_init__(self) -> None:
        for name in ("listen", "server_name"):
            if not _is_address(getattr(self, name)):
                raise SiteError(f"{name} is {getattr(self, name)!r}; a host, a port, or both")
        if not (_is_address(self.upstream) or _is_socket(self.upstream)):
            raise SiteError(f"upstream is {self.upstream!r}; host:port or unix:/path")
        if not self.access_log:
            raise SiteError("access_log is ''; a path")
        if self.resolver and not _RESOLVER.fullmatch(self.resolver):
            raise SiteError(f"resolver is {self.resolver!r}; addresses of name servers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A private storage as a server sees it.

    Attributes:
        root: of a directory; empty for a bucket.
        base_url: what links to a bucket start with.
        secret: that nginx checks its own links with, where that is the way of delivery.
    """

    alias: str
    delivery: str
    root: str
    base_url: str
    secret: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """Scheme and host of a bucket."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc

    @property
    def is_named(self) -> bool:
        """Tell whether the host is a name, which a resolver must find."""
        return not re.fullmatch(r"[0-9.]+|\[[0-9a-fA-F:.]+\]", re.sub(r":[0-9]+$", "", self.host))


def _is_address(text: str) -> bool:
    _, _, last = text.rpartition(":")
    has_port = last.isdecimal() and not text.endswith("]")
    return (
        _ADDRESS.fullmatch(text) is not None
        and not text.startswith(("-", "unix:"))
        and (not has_port or (len(last) <= len(str(_MOST_PORT)) and 1 <= int(last) <= _MOST_PORT))
    )


def _is_socket(text: str) -> bool:
    return _SOCKET.fullmatch(text) is not None and len(text.removeprefix("unix:")) <= _MOST_SOCKET_CHARACTERS


def stores() -> Iterator[Store]:
    """Yield the project's private storages."""
    for alias in storages.backends:
        storage: Any = storages[alias]
        if not isinstance(storage, PrivateStorage):
            continue
        delivery = getattr(storage, "delivery", "redirect")
        if isinstance(storage, PrivateFileSystemStorage):
            root = str(Path(storage.location).resolve())
            secret = storage.secure_link_secret if delivery in EXPRESSIONS else ""
            yield Store(alias=alias, delivery=delivery, root=root, base_url="", secret=secret)
        else:
            base_url = private_storage(alias).provider.base_url
            yield Store(alias=alias, delivery=delivery, root="", base_url=base_url)


def inline_types(alias: str) -> dict[str, list[str]]:
    """Return the types that a storage's files may be shown as, each with the endings that mean it."""
    types: dict[str, list[str]] = {}
    for ending, content_type in sorted(EXTENSIONS.items()):
        if content_type in private_storage(alias).inline_types:
            types.setdefault(content_type, []).append(ending.removeprefix("."))
    return types


def quoted(value: str) -> str:
    """Return a value in double quotes, as all four servers read it.

    Raises:
        SiteError: it holds what they would expand or end at.
    """
    if _NO_VALUE.search(value):
        raise SiteError(f"{value!r} holds a character that a server would read as more than a name")
    return f'"{value}"'
