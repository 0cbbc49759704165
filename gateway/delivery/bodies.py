"""Bodies of uploads: held to what their link was signed for, before and while they are read.

Must not hold one in memory.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress

from django.core.exceptions import BadRequest
from django.http import HttpRequest, UnreadablePostError

from gateway.delivery.responses import CHUNK_BYTES
from providers.types import Upload, UploadPart

__all__ = ["drain", "read_body", "refusal_of_headers"]

_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)


def refusal_of_headers(request: HttpRequest, upload: Upload | UploadPart) -> tuple[int, str] | None:
    """Hold what the client declares to what was signed, before a byte of the body is read."""
    # A part has no type: what a browser makes up for one is nobody's business.
    if isinstance(upload, Upload) and request.META.get("CONTENT_TYPE", "") != upload.content_type:
        return 415, "The Content-Type is not the one that the link is for."
    if "Content-Encoding" in request.headers:
        return 415, "A Content-Encoding would be lost."
    if "Content-Range" in request.headers:
        # https://www.rfc-editor.org/rfc/rfc9110#section-14.5
        return 400, "A part of a file cannot be stored."
    length = request.META.get("CONTENT_LENGTH") or ""
    # Of a body in chunks a length says nothing, and servers that believe it take the chunks' own lines for bytes:
    # https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    if not length or "Transfer-Encoding" in request.headers:
        return 411, "The Content-Length is missing, or not what ends the body."
    if not _DIGITS.fullmatch(length) or int(length) < upload.size_bytes:
        return 400, "The Content-Length is not the one that the link is for."
    if int(length) > upload.size_bytes:
        return 413, "The Content-Length is more than the link is for."
    if upload.checksum is not None:
        # https://www.rfc-editor.org/rfc/rfc9530#section-2
        signed = f"sha-256=:{b64encode(upload.checksum.digest).decode()}:"
        if request.headers.get("Content-Digest", signed) != signed:
            return 400, "The Content-Digest is not the one that the link is for."
    return None


def read_body(request: HttpRequest, upload: Upload | UploadPart) -> Iterator[bytes]:
    """Read the body as it comes; of one that is short, long or other than was signed the last bytes never do.

    Raises:
        BadRequest: it is one of these.
    """
    digest = hashlib.sha256()
    left_bytes = upload.size_bytes
    held = b""
    while left_bytes:
        chunk = _read(request, min(CHUNK_BYTES, left_bytes))
        if not chunk:
            raise BadRequest("The body ended too early.")
        left_bytes -= len(chunk)
        if upload.checksum is not None:
            digest.update(chunk)
        if held:
            yield held
        # Held back until the whole was looked at: what has been sent on cannot be taken back.
        held = chunk
    if _read(request, 1):
        raise BadRequest("The body is longer than it said.")
    if upload.checksum is not None and digest.digest() != upload.checksum.digest:
        raise BadRequest("The body is not the one that the link is for.")
    if held:
        yield held


def drain(request: HttpRequest, size_bytes: int) -> None:
    """Read what is left of a body, or the client is cut off while it sends and never hears why."""
    with suppress(BadRequest):
        while size_bytes > 0 and (chunk := _read(request, min(CHUNK_BYTES, size_bytes))):
            size_bytes -= len(chunk)


def _read(request: HttpRequest, size_bytes: int) -> bytes:
    try:
        return request.read(size_bytes)
    except UnreadablePostError:
        raise BadRequest("The body ended too early.") from None
