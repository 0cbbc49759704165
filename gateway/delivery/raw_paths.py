"""The path of a request as the client wrote it, and the one name that it can mean.

Must not normalise: a path that a server in front could take for another one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from providers.keys import check_key

__all__ = ["name_in", "named_by"]

_ESCAPE = re.compile(r"%([0-9A-F]{2})")
# What URLs may hold unescaped, and what browsers leave so: https://url.spec.whatwg.org/#path-percent-encode-set
_PLAIN = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]^|]|%[0-9A-F]{2})*", re.ASCII)
# Escaped, these are another way to write the same path, or the way to write another one.
_NEVER_ESCAPED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/\\\x00")


def named_by(raw_uri: str, paths: Mapping[str, str]) -> tuple[str, str]:
    """Return the storage alias and the key that a raw request target names.

    Args:
        paths: ``{prefix: alias}``, none of them below another.

    Raises:
        ValueError: it is below none of the prefixes, or as :func:`name_in`.
    """
    for prefix, alias in paths.items():
        if raw_uri.startswith(prefix):
            return alias, name_in(raw_uri, prefix)
    raise ValueError("the path is not below any of FORWARD_AUTH's")


def name_in(raw_uri: str, prefix: str) -> str:
    """Return the key that a raw request target names below a prefix.

    Args:
        raw_uri: path and query as they stood on the request line; a query is refused.
        prefix: starts and ends with ``/``, in plain characters.

    Raises:
        ValueError: it is not below the prefix, not canonical, or names no key. InvalidKey is one.
    """
    if not raw_uri.startswith(prefix):
        raise ValueError("the path is not below the prefix")
    rest = raw_uri[len(prefix) :]
    if not _PLAIN.fullmatch(rest):
        raise ValueError("the path holds what a path never holds unescaped, or an escape that is not canonical")
    if any(int(digits, 16) in _NEVER_ESCAPED for digits in _ESCAPE.findall(rest)):
        raise ValueError("the path escapes what is never escaped")
    return check_key(unquote_to_bytes(rest).decode())
