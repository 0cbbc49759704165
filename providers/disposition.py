"""One Content-Disposition builder and one file-name cleaner for every provider.

Must never let a name add a header, a parameter or a path: the name comes from whoever uploaded.
Source: RFC 6266 (https://www.rfc-editor.org/rfc/rfc6266), RFC 8187 (https://www.rfc-editor.org/rfc/rfc8187).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal
from urllib.parse import quote

from providers.errors import InvalidOperation

__all__ = ["MAX_FILENAME_CHARACTERS", "Disposition", "clean_filename", "content_disposition", "encoded_disposition"]

Disposition = Literal["inline", "attachment"]
_DISPOSITIONS = ("inline", "attachment")

MAX_FILENAME_CHARACTERS = 150
_MAX_EXTENSION_CHARACTERS = 20
_FALLBACK = "download"
_ATTR_CHAR = "!#$&+-.^_`|~"  # RFC 8187 section 3.2.1, beside letters and digits
_DROPPED = frozenset({"Cc", "Cf", "Cs"})
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file; spaces after the name are dropped first
_DEVICE = r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|\Z)"
_WINDOWS_DEVICE = re.compile(_DEVICE, re.IGNORECASE)
# Names that cleaning would not change and that every part of the header can hold as they are: words of ASCII with
# one dot or space between them.
_PLAIN = re.compile(rf"(?!(?i:{_DEVICE}))[\w\-]+(?:[. ][\w\-]+)*", re.ASCII)
_PLAIN_CHARACTERS = 100


def clean_filename(name: str) -> str:
    """Return a name that is safe to offer for saving: a base name, printable, at most 150 characters.

    Directories are cut off, control and format characters dropped, quotes and wildcards replaced, leading
    dots and trailing dots and spaces removed, device names of Windows prefixed. The extension survives
    shortening, and an unusable name becomes ``download`` with the extension it had.
    """
    base = re.split(r"[/\\]", name)[-1]
    base = "".join(character for character in base if unicodedata.category(character) not in _DROPPED)
    base = unicodedata.normalize("NFC", base)
    base = re.sub(r"\s", " ", base)
    base = re.sub(r'["<>:|?*]', "_", base).rstrip(". ").lstrip(" ")
    stem, dot, extension = base.rpartition(".")
    if not dot or " " in extension or len(extension) > _MAX_EXTENSION_CHARACTERS:
        stem, dot, extension = base, "", ""
    stem = stem.strip(". ") or _FALLBACK
    if _WINDOWS_DEVICE.match(stem):
        stem = "_" + stem
    if len(stem + dot + extension) <= MAX_FILENAME_CHARACTERS:
        return stem + dot + extension
    # The cut may lay bare a space, a dot or another extension: what is left is cleaned as any other name.
    return clean_filename(stem[: MAX_FILENAME_CHARACTERS - len(dot + extension)] + dot + extension)


def content_disposition(disposition: Disposition, filename: str | None = None) -> str:
    """Build the header value: ``attachment; filename="a.pdf"``, with ``filename*`` where ASCII cannot say it.

    Args:
        disposition: ``inline`` or ``attachment``.
        filename: cleaned with :func:`clean_filename` first; None leaves the parameter out.

    Raises:
        InvalidOperation: the disposition is neither of the two.
    """
    if disposition not in _DISPOSITIONS:
        raise InvalidOperation(f"disposition is {disposition!r}; inline or attachment")
    if filename is None:
        return disposition
    if _is_plain(filename):
        return f'{disposition}; filename="{filename}"'
    name = clean_filename(filename)
    # RFC 6266 appendix D: no percent sign and no escapes in the plain form, some browsers decode them.
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[%/\\]", "_", plain)
    if plain == name:
        return f'{disposition}; filename="{name}"'
    stem = plain.rpartition(".")[0] if "." in plain else plain
    if not stem.strip("_ ."):
        plain = _FALLBACK + plain[len(stem) :]
    # Decomposing may have made ASCII dots, colons or a device name of their full-width forms.
    plain = clean_filename(plain)
    return f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"


def encoded_disposition(disposition: Disposition, filename: str | None = None) -> tuple[str, str]:
    """Return what :func:`content_disposition` does, and the same percent-encoded for a query.

    Raises:
        InvalidOperation: the disposition is neither of the two.
    """
    if disposition in _DISPOSITIONS and filename is not None and _is_plain(filename):
        # Of a plain name only its spaces have to be encoded, in a third of the time that all of it takes.
        encoded = filename.replace(" ", "%20")
        return f'{disposition}; filename="{filename}"', f"{disposition}%3B%20filename%3D%22{encoded}%22"
    value = content_disposition(disposition, filename)
    return value, quote(value, safe="-._~")


def _is_plain(filename: str) -> bool:
    return len(filename) <= _PLAIN_CHARACTERS and _PLAIN.fullmatch(filename) is not None
