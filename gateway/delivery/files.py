"""A file on this disk in answer to GET and HEAD: the bytes themselves, or a word to the server in front.

Must not decide: whoever calls has a link that was verified, or a permit. What the answer says of the file comes
from there, never from the file's name.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import http_date

from gateway.delivery import x_accel, x_sendfile
from gateway.delivery.conditional import Validators, conditions_of, precondition, range_fits
from gateway.delivery.ranges import byte_range
from gateway.delivery.responses import EVERYWHERE, SANDBOX, FileBytesResponse, FileHeadersResponse, words
from gateway.storages.files import open_beneath, version_of
from gateway.storages.filesystem import PrivateFileSystemStorage
from providers.errors import InvalidKey
from providers.types import Download

__all__ = ["UNKNOWN_TYPE", "content_security_policy", "described", "serve_file"]

UNKNOWN_TYPE = "application/octet-stream"

# The browsers' own viewer is a page with a plug-in and inline styles, and no sandbox lets a plug-in in. A PDF
# is no HTML, and nosniff keeps it so: it has no use for more than these (https://crbug.com/271452).
_PDF = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"
# Opened by itself, a film is a page made by the browser, which loads the film a second time.
_MEDIA = f"{SANDBOX}; media-src 'self'"


def serve_file(
    request: HttpRequest, alias: str, storage: PrivateFileSystemStorage, download: Download, *, cache_control: str
) -> HttpResponseBase:
    """Answer with one file, as the storage's option ``delivery`` says.

    Args:
        alias: of the storage; to ask the storage itself takes a look at all that there are.
        cache_control: of every answer that is about the file.

    Raises:
        OSError: the disk fails, or its files cannot be reached.
    """
    try:
        descriptor = open_beneath(str(storage.location), download.key)
    except (FileNotFoundError, InvalidKey):
        return words(request, 404, "There is no such file.")
    with ExitStack() as unless_served:
        unless_served.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if download.version is not None and download.version != version_of(status):
            return words(request, 404, "There is no such file.")
        headers = EVERYWHERE | {
            "Cache-Control": cache_control,
            "Content-Security-Policy": content_security_policy(download.content_type or UNKNOWN_TYPE),
        }
        match storage.delivery:
            # Ranges and preconditions are the server's, which has validators of its own.
            case "x_accel":
                return x_accel.file_response(request, alias, download.key, headers | described(download))
            case "x_sendfile":
                path = f"{storage.location}/{download.key}"
                return x_sendfile.apache_response(request, path, headers | described(download))
            case "x_lighttpd":
                path = f"{storage.location}/{download.key}"
                return x_sendfile.lighttpd_response(request, path, headers | described(download))
        now = int(datetime.now(UTC).timestamp())
        current = Validators.of(status, now=now)
        headers |= {"ETag": current.etag, "Last-Modified": http_date(current.modified_at)}
        conditions = conditions_of(request)
        match precondition(conditions, current, reading=True):
            case 412:
                return words(request, 412, "The file is another one by now.")
            case 304:
                return FileHeadersResponse(request, status=304, headers=headers)
        headers |= {"Accept-Ranges": "bytes", "Content-Length": str(status.st_size)} | described(download)
        if request.method == "HEAD":
            # Ranges are defined for GET alone: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
            return FileHeadersResponse(request, headers=headers)
        span = None
        if range_fits(conditions, current, now=now):
            span = byte_range(request.META.get("HTTP_RANGE", ""), status.st_size)
        if span is not None and not span:
            content_range = {"Content-Range": f"bytes */{status.st_size}"}
            return words(request, 416, "The file has no such bytes.", content_range)
        code = 200
        if span is not None:
            code = 206
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{status.st_size}"
            headers["Content-Length"] = str(len(span))
        unless_served.pop_all()
        return FileBytesResponse(
            request, descriptor, range(status.st_size) if span is None else span, status=code, headers=headers
        )


def described(download: Download) -> dict[str, str]:
    """Return what was decided about how a browser treats the bytes."""
    headers = {"Content-Type": download.content_type or UNKNOWN_TYPE}
    if download.content_disposition is not None:
        headers["Content-Disposition"] = download.content_disposition
    return headers


def content_security_policy(content_type: str) -> str:
    """Return what a browser lets such a file do: nothing, but what its own viewer needs."""
    if content_type == "application/pdf":
        return _PDF
    return _MEDIA if content_type.startswith(("audio/", "video/")) else SANDBOX
