"""The local provider's data plane: what a bucket's own address is to the clouds, for files on this disk.

The signature is checked before anything else is looked at. Must not ask who is there: a link is all the
authority there is, so no session and no cookie is touched; only whether it was taken back is asked.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from datetime import UTC, datetime

from django.db import DatabaseError, InterfaceError, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt

from gateway.delivery.conditional import Validators, precondition, range_fits
from gateway.delivery.ranges import byte_range
from gateway.delivery.receiving import receive
from gateway.delivery.responses import EVERYWHERE, SANDBOX, FileBytesResponse, FileHeadersResponse, words
from gateway.epochs import is_void
from gateway.errors import StorageUnavailable, Unavailable
from gateway.resources import private_storage
from gateway.storages.files import open_beneath
from gateway.storages.filesystem import PrivateFileSystemStorage
from providers.errors import InvalidKey, LinkRefused, ProviderError
from providers.local import VerifiedLink
from providers.types import Download

__all__ = ["data_plane"]

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "PUT")
UNKNOWN_TYPE = "application/octet-stream"

# The browsers' own viewer is a page with a plug-in and inline styles, and no sandbox lets a plug-in in. A PDF
# is no HTML, and nosniff keeps it so: it has no use for more than these (https://crbug.com/271452).
_PDF = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"
# Opened by itself, a film is a page made by the browser, which loads the film a second time.
_MEDIA = f"{SANDBOX}; media-src 'self'"


@csrf_exempt
def data_plane(request: HttpRequest, alias: str, key: str) -> HttpResponseBase:
    """Serve, or take, the one object that the request's link is for.

    Answers 405 to other methods and the same 403 to every link that is not good, whatever is wrong with it.
    """
    if request.method not in METHODS:
        return words(request, 405, "This method is not one of links.", {"Allow": ", ".join(METHODS)})
    # What is sent are the bytes as they are stored: a part of a file that GZipMiddleware compressed would be
    # no part of it any more.
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    now = datetime.now(UTC)
    genuine = _genuine(request, alias, key, now)
    if genuine is None:
        return words(request, 403, "This link is not valid.")
    storage, link = genuine
    try:
        if is_void(alias, key, link.operation.stamp):
            logger.info("refused a link of %s: taken back", ascii(alias))
            return words(request, 403, "This link is not valid.")
    except (DatabaseError, InterfaceError) as error:
        # Not to be able to tell is no yes.
        logger.error("what was taken back cannot be read: %s", type(error).__name__)
        return words(request, 503, "Try again later.", {"Retry-After": str(Unavailable.retry_after_seconds)})
    try:
        if isinstance(link.operation, Download):
            response = _serve(request, storage, link.operation, now, link.expires_at)
        else:
            response = receive(request, storage, link.operation)
    except OSError as error:
        # Not re-raised: Django would report the request, and with it the link.
        logger.error("the files of %s cannot be reached: %s", ascii(alias), type(error).__name__)
        response = words(request, 503, "Try again later.", {"Retry-After": str(Unavailable.retry_after_seconds)})
    # Every request with a good link, and what became of it, comes by here: the place to count serving.
    return response


# ATOMIC_REQUESTS would open a transaction, and so need the database, before the signature is looked at.
data_plane._non_atomic_requests = set(connections)  # type: ignore[attr-defined]


def _genuine(
    request: HttpRequest, alias: str, key: str, now: datetime
) -> tuple[PrivateFileSystemStorage, VerifiedLink] | None:
    """Return the storage and what its key signed; None for a link that is not good, or not of a directory."""
    assert request.method is not None
    try:
        storage = private_storage(alias)
        if not isinstance(storage, PrivateFileSystemStorage):
            return None
        query = request.META.get("QUERY_STRING", "")
        return storage, storage.provider.verify(method=request.method, key=key, query=query, now=now)
    except LinkRefused as refused:
        logger.info("refused a link of %s: %s", ascii(alias), refused.reason)
    except (StorageUnavailable, ProviderError):
        logger.info("refused a link of %s, which serves none", ascii(alias))
    return None


def _serve(
    request: HttpRequest,
    storage: PrivateFileSystemStorage,
    download: Download,
    now: datetime,
    expires_at: datetime,
) -> HttpResponseBase:
    try:
        descriptor = open_beneath(str(storage.location), download.key)
    except (FileNotFoundError, InvalidKey):
        return words(request, 404, "There is no such file.")
    with ExitStack() as unless_served:
        unless_served.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        current = Validators.of(status, now=int(now.timestamp()))
        if download.version not in (None, current.version):
            return words(request, 404, "There is no such file.")
        headers = _headers(download, current, now, expires_at)
        match precondition(request.headers, current, reading=True):
            case 412:
                return words(request, 412, "The file is another one by now.")
            case 304:
                return FileHeadersResponse(request, status=304, headers=headers)
        headers |= {
            "Accept-Ranges": "bytes",
            "Content-Length": str(status.st_size),
            "Content-Type": download.content_type or UNKNOWN_TYPE,
        }
        if download.content_disposition is not None:
            headers["Content-Disposition"] = download.content_disposition
        if request.method == "HEAD":
            # Ranges are defined for GET alone: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
            return FileHeadersResponse(request, headers=headers)
        span = None
        if range_fits(request.headers, current, now=int(now.timestamp())):
            span = byte_range(request.headers.get("Range", ""), status.st_size)
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


def _headers(download: Download, current: Validators, now: datetime, expires_at: datetime) -> dict[str, str]:
    """Return what a full, a partial and a 304 answer have in common."""
    return EVERYWHERE | {
        "ETag": current.etag,
        "Last-Modified": http_date(current.modified_at),
        # No copy outlives the link: not even in the cache of the one who held it.
        "Cache-Control": f"private, max-age={max(0, int((expires_at - now).total_seconds()))}",
        "Content-Security-Policy": _content_security_policy(download.content_type or UNKNOWN_TYPE),
    }


def _content_security_policy(content_type: str) -> str:
    if content_type == "application/pdf":
        return _PDF
    return _MEDIA if content_type.startswith(("audio/", "video/")) else SANDBOX
