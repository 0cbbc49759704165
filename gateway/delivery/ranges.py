"""The Range header, of which one range of bytes is served and everything else is ignored.

Must not take longer the more ranges a client names: a list of them is never looked into.
"""

from __future__ import annotations

import re

__all__ = ["byte_range"]

# Units are compared without case: https://www.rfc-editor.org/rfc/rfc9110#section-14.1
_SINGLE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 20  # 10**20 bytes is more than any file has; int() refuses texts of more than 4300 digits


def byte_range(header: str, size_bytes: int) -> range | None:
    """Return the bytes that a Range header selects, clamped to the file.

    Returns:
        None where the whole file is the answer: the header asks for several ranges, has another unit or is
        malformed. An empty range where the file has no byte of what is asked for.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
    """
    match = _SINGLE.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length_bytes = _number(suffix)
        if length_bytes and not size_bytes:
            # Satisfiable by the rule, yet Content-Range has no words for no bytes.
            return None
        return range(max(size_bytes - length_bytes, 0), size_bytes)
    start = _number(first)
    if not last:
        return range(start, size_bytes)
    if _number(last) < start:
        return None
    return range(start, min(_number(last) + 1, size_bytes))


def _number(digits: str) -> int:
    return int(digits.lstrip("0")[:_MAX_DIGITS] or "0")
