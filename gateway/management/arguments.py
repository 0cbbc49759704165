"""The forms of what commands are told, as types of argparse: what has another form is refused before anything is done.

Must not look anything up: that is for gateway.management.lookup.
"""

from __future__ import annotations

import uuid
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["instant", "row_id", "whole_number"]


def instant(text: str) -> datetime:
    """Return an instant in UTC; without a time zone it is none."""
    try:
        read = datetime.fromisoformat(text)
        if read.tzinfo is not None:
            return read.astimezone(UTC)
    except (OverflowError, ValueError):
        pass
    raise ArgumentTypeError(f"{text!a} is no instant with a time zone, such as 2026-11-01T00:00:00Z")


def row_id(text: str) -> uuid.UUID:
    """Return the id of a row that ``list`` shows."""
    try:
        return uuid.UUID(text)
    except ValueError:
        # What was given instead may be a token, and is not repeated.
        raise ArgumentTypeError("id is no UUID; one that list shows") from None


def whole_number(most: int) -> Callable[[str], int]:
    """Return the type of whole numbers from 1 to ``most``."""

    def read(text: str) -> int:
        # int() would take signs, spaces and other scripts' digits.
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) else 0
        if not 1 <= number <= most:
            raise ArgumentTypeError(f"{text!a} is not a whole number from 1 to {most}")
        return number

    return read
