"""Preconditions of a request against what is stored: the order of RFC 9110, and nothing beside it.

Must not guess: a validator that does not match to the letter does not match.
Source: https://www.rfc-editor.org/rfc/rfc9110#section-13
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.http import parse_http_date_safe

from gateway.storages.files import version_of

__all__ = ["Validators", "conditions_of", "precondition", "range_fits"]

_IN_META = {
    name: f"HTTP_{name.replace('-', '_').upper()}"
    for name in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What tells one state of a file from the next.

    Attributes:
        version: as a link may be bound to it.
        modified_at: whole seconds since 1970, UTC.
    """

    version: str
    modified_at: int

    @classmethod
    def of(cls, status: os.stat_result, *, now: int) -> Validators:
        # A date in the future would be no validator: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.1
        return cls(version=version_of(status), modified_at=min(status.st_mtime_ns // 10**9, now))

    @property
    def etag(self) -> str:
        """The version as a strong entity tag, in its quotes."""
        return f'"{self.version}"'


def conditions_of(request: HttpRequest) -> dict[str, str]:
    """Return the headers that this room reads; ``request.headers`` would be made of all that the client sent."""
    meta = request.META
    return {name: meta[key] for name, key in _IN_META.items() if key in meta}


def precondition(headers: Mapping[str, str], current: Validators | None, *, reading: bool) -> int | None:
    """Return 304 or 412 where a precondition ends the request, None where it goes on.

    Args:
        current: None where nothing is stored.
        reading: the method is GET or HEAD.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
    """
    if_match, if_none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if current is None:
        # There is nothing to match, and what there is not has neither tag nor date to be kept from.
        return None if if_match is None else 412
    if if_match is not None:
        # Strongly compared: a weak tag equals nothing.
        goes_on = _is_any(if_match) or current.etag in _tags(if_match)
    else:
        since = _date(headers, "If-Unmodified-Since")
        goes_on = since is None or current.modified_at <= since
    if not goes_on:
        return 412
    if if_none_match is not None:
        known = {tag.removeprefix("W/") for tag in _tags(if_none_match)}
        goes_on = not (_is_any(if_none_match) or current.etag in known)
    elif reading:
        since = _date(headers, "If-Modified-Since")
        goes_on = since is None or current.modified_at > since
    if goes_on:
        return None
    return 304 if reading else 412


def range_fits(headers: Mapping[str, str], current: Validators, *, now: int) -> bool:
    """Tell whether the client's part is of what is stored now, so that another part may be added to it.

    Args:
        now: whole seconds since 1970. A date counts only once its second is over: until then the file may
            change again without showing it.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
    """
    if_range = headers.get("If-Range")
    if if_range is None or if_range == current.etag:
        return True
    return _date(headers, "If-Range") == current.modified_at < now


def _is_any(value: str) -> bool:
    return value.strip(" \t") == "*"


def _tags(value: str) -> set[str]:
    # A foreign tag may hold a comma and fall apart here; its pieces never equal a whole tag of ours.
    return {tag.strip(" \t") for tag in value.split(",")}


def _date(headers: Mapping[str, str], name: str) -> int | None:
    """Return a header's date; None where there is none, or no valid one, which is then to be ignored."""
    value = headers.get(name)
    return None if value is None else parse_http_date_safe(value)
