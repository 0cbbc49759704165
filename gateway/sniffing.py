"""What the first bytes of a file say of its type.

Must not read a file, nor believe a name: whoever has bytes and a claim asks whether the two fit.
"""

from __future__ import annotations

from functools import lru_cache

import puremagic

__all__ = ["HEAD_BYTES", "is_of_type"]

HEAD_BYTES = 16 * 2**10  # what is looked at
# puremagic's own measure: what is below it rests on one or two bytes.
_LEAST_CONFIDENCE = 0.3
# One format under several names, and containers whose first bytes do not tell what they contain.
_FAMILIES = (
    {"audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"},
    {"audio/mp4", "video/mp4", "audio/x-m4a", "video/x-m4v", "application/mp4"},
    {"audio/ogg", "video/ogg", "application/ogg"},
    {"audio/webm", "video/webm", "video/x-matroska"},
    {"audio/flac", "audio/x-flac"},
    {"audio/aac", "audio/x-aac", "audio/aacp"},
    {"application/zip", "application/x-zip-compressed"},
    {"application/gzip", "application/x-gzip"},
    {"application/xml", "text/xml"},
)


def is_of_type(head: bytes, content_type: str, *, is_whole: bool) -> bool:
    """Tell whether bytes may be of a media type; a type that has no signature is held to no bytes.

    Args:
        head: the first bytes.
        is_whole: they are all there are.
    """
    media_type = content_type.partition(";")[0]
    if media_type == "application/octet-stream":
        return True
    if media_type.startswith("text/") and media_type != "text/xml":
        return _is_text(head, is_whole=is_whole)
    names = _family(media_type)
    if names.isdisjoint(_known_types()):
        return True
    return not names.isdisjoint(_types_of(head))


def _types_of(head: bytes) -> set[str]:
    if not head:
        return set()
    try:
        matches = puremagic.magic_string(head)
    except puremagic.PureError:
        return set()
    found = [(match.mime_type.lower(), match.confidence) for match in matches if match.mime_type]
    sure = {mime_type for mime_type, confidence in found if confidence >= _LEAST_CONFIDENCE}
    # Some formats begin with two bytes and no more; they count where nothing better is known.
    return sure or {mime_type for mime_type, _ in found}


def _is_text(head: bytes, *, is_whole: bool) -> bool:
    if b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut where the head ends.
        return not is_whole and len(head) - error.start < 4 and error.reason == "unexpected end of data"
    return True


def _family(media_type: str) -> set[str]:
    return next((family for family in _FAMILIES if media_type in family), {media_type})


@lru_cache(maxsize=1)
def _known_types() -> frozenset[str]:
    headers = puremagic.main.magic_header_array
    return frozenset(entry.mime_type.lower() for entry in headers if entry.mime_type)
