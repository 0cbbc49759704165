"""The object-key grammar: what may be signed, stored, served or deleted, and nothing else.

A key is refused, never normalised: a permission checked on one spelling and a signature made over
another is how files leak (django-storages #1558, CVE-2021-45452, CVE-2024-39330).
"""

from __future__ import annotations

import os
import re
import unicodedata

from providers.errors import InvalidKey

__all__ = ["MAX_KEY_BYTES", "MAX_SEGMENTS", "MAX_SEGMENT_BYTES", "check_key", "check_prefix", "key_error"]

MAX_KEY_BYTES = 1024  # S3, GCS and Azure alike: docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_SEGMENT_BYTES = 255  # NAME_MAX of every common file system
MAX_SEGMENTS = 200

# Nearly every real key is of this shape, and none of these can break a rule below:
# a slash or a mark always stands between two words, so there are no empty and no dot segments.
_PLAIN = re.compile(r"[\w\-]+(?:[.+=@,!~/][\w\-]+)*", re.ASCII)
_PLAIN_LENGTH = MAX_SEGMENT_BYTES

# Unicode categories that are invisible, unprintable or re-order the text around them.
_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Noncharacters by list: the whole of category Cn would change with every Unicode version.
# https://www.unicode.org/faq/private_use.html#nonchar4
_NONCHARACTERS = frozenset(range(0xFDD0, 0xFDF0)) | frozenset(
    plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)
)
# A browser treats these spellings as dot segments: https://url.spec.whatwg.org/#double-dot-path-segment
_DOT_SEGMENTS = frozenset({".", "%2e", "..", ".%2e", "%2e.", "%2e%2e"})
_RESERVED_PREFIX = ".well-known/acme-challenge/"  # https://cloud.google.com/storage/docs/objects#naming
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_WINDOWS_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?: *\..*)?", re.IGNORECASE)
_WINDOWS_CHARACTERS = frozenset('<>:"|?*')


def check_key(key: str, *, windows: bool = os.name == "nt") -> str:
    """Return ``key`` unchanged, or refuse it.

    Args:
        key: 1 to 1024 bytes of UTF-8 in at most 200 segments of 1 to 255 bytes.
        windows: also refuse device names and characters that Windows file systems reserve.

    Raises:
        InvalidKey: the key breaks a rule; the message names the rule and the value.
    """
    if type(key) is str and len(key) <= _PLAIN_LENGTH and not windows and _PLAIN.fullmatch(key):
        return key
    problem = key_error(key, windows=windows)
    if problem is not None:
        raise InvalidKey(problem)
    return key


def key_error(key: object, *, windows: bool = os.name == "nt") -> str | None:
    """Say which rule of the grammar ``key`` breaks, or None."""
    # A subclass may compare or encode differently from what it shows: only plain text is trusted.
    if type(key) is not str:
        return f"key is of type {type(key).__name__}; only str is a key"
    if not key:
        return "key is empty; at least 1 byte"
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        return f"key {_shown(key)} holds a lone surrogate; only text that UTF-8 can encode"
    if size_bytes > MAX_KEY_BYTES:
        return f"key is {size_bytes} bytes; at most {MAX_KEY_BYTES}"
    if "\\" in key:
        return f"key {_shown(key)} holds a backslash, which browsers turn into a slash"
    # Of ASCII all that is not printable is a control character.
    for character in "" if key.isascii() and key.isprintable() else key:
        if unicodedata.category(character) in _BAD_CATEGORIES or ord(character) in _NONCHARACTERS:
            return f"key {_shown(key)} holds U+{ord(character):04X}; no control, format or noncharacters"
    if not unicodedata.is_normalized("NFC", key):
        return f"key {_shown(key)} is not in Unicode normalisation form C"
    if key.startswith(_RESERVED_PREFIX):
        return f"key {_shown(key)} starts with the reserved {_RESERVED_PREFIX}"
    segments = key.split("/")
    if len(segments) > MAX_SEGMENTS:
        return f"key has {len(segments)} segments; at most {MAX_SEGMENTS}"
    for segment in segments:
        if problem := _segment_error(segment, windows=windows):
            return f"key {_shown(key)} {problem}"
    return None


def check_prefix(key: str, prefix: str) -> str:
    """Return ``key`` if it lies below ``prefix``, which is empty or ends in ``/``.

    Raises:
        InvalidKey: the key is the prefix itself or lies elsewhere (``t10/x`` is not below ``t1/``).
    """
    if prefix and (not prefix.endswith("/") or not key.startswith(prefix) or key == prefix):
        raise InvalidKey(f"key {_shown(key)} is not below the prefix {_shown(prefix)}")
    return key


def _segment_error(segment: str, *, windows: bool) -> str | None:
    if not segment:
        return "has an empty segment (a leading, trailing or doubled slash)"
    if segment.lower() in _DOT_SEGMENTS:
        return "has a dot segment"
    if (size_bytes := len(segment.encode())) > MAX_SEGMENT_BYTES:
        return f"has a segment of {size_bytes} bytes; at most {MAX_SEGMENT_BYTES}"
    # Azure and Windows drop these when they store the name.
    if segment[0] == " " or segment[-1] in " .":
        return "has a segment that starts with a space or ends with a space or a dot"
    if windows and (_WINDOWS_DEVICE.fullmatch(segment) or not _WINDOWS_CHARACTERS.isdisjoint(segment)):
        return "has a segment that is reserved on Windows"
    return None


def _shown(key: str) -> str:
    return ascii(key if len(key) <= 80 else key[:77] + "...")
