"""Read the endpoint URL that an operator configured, by one grammar for every store.

Must not ask the environment for one, and must never show what stands before an ``@``.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from providers.errors import InvalidConfiguration

__all__ = ["Endpoint", "is_virtual_hostable", "parse_endpoint"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9.\-]+|\[[0-9a-f:.]+\]")
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_\-](?:[A-Za-z0-9_\-.~]*[A-Za-z0-9_\-~])?)*")
_ADDRESS = re.compile(r"(?:[0-9.]+|\[.*\])(?::[0-9]+)?")
_DNS_LABEL = re.compile(r"[a-z0-9][a-z0-9\-]{1,61}[a-z0-9]")


class Endpoint(NamedTuple):
    """The parts of an endpoint; ``path`` starts with a slash, or is empty, and never ends in one."""

    scheme: str
    netloc: str
    path: str

    @property
    def host(self) -> str:
        """The Host header that clients send: without the scheme's default port."""
        return self.netloc.removesuffix(f":{_DEFAULT_PORTS[self.scheme]}")

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"


def parse_endpoint(endpoint_url: str) -> Endpoint:
    """Split ``http(s)://host[:port][/path]``.

    Raises:
        InvalidConfiguration: it is anything else; a user name is refused without being shown.
    """
    if not isinstance(endpoint_url, str):
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; http(s)://host[:port]")
    if "@" in endpoint_url:
        # What stands before the @ is a password: the value is not shown, here or below.
        raise InvalidConfiguration("endpoint_url holds a user name; credentials are an argument of their own")
    if not endpoint_url.isprintable() or endpoint_url != endpoint_url.strip():
        # urlsplit() would take it away, and whoever reads the same value elsewhere would not.
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; it needs no white space around or in it")
    try:
        parts = urlsplit(endpoint_url)
        port = parts.port
    except ValueError:
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; http(s)://host[:port]") from None
    path = parts.path.removesuffix("/")
    problem = None
    if parts.scheme not in _DEFAULT_PORTS:
        problem = "a scheme of http or https"
    elif not _HOST.fullmatch(parts.netloc.removesuffix(f":{port}")):
        problem = "a lower-case host name, with a port at most"
    elif parts.query or parts.fragment or not _BASE_PATH.fullmatch(path):
        problem = "no query and only a plain path"
    if problem is not None:
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; it needs {problem}")
    return Endpoint(parts.scheme, parts.netloc, path)


def is_virtual_hostable(bucket: str, endpoint: Endpoint) -> bool:
    """Tell whether ``bucket.host`` is a name that one wildcard certificate covers."""
    # A dotted name is several labels, and an address has no subdomains.
    return _DNS_LABEL.fullmatch(bucket) is not None and not _ADDRESS.fullmatch(endpoint.netloc)
