"""The local provider's data plane: what a bucket's own address is to the clouds, for files on this disk.

The signature is checked before anything else is looked at. Must not ask who is there: a link is all the
authority there is, so no session and no cookie is touched; only whether it was taken back is asked. What is served
is counted by link.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from gateway import audit, counting
from gateway.delivery.files import serve_file
from gateway.delivery.receiving import receive
from gateway.delivery.responses import words
from gateway.epochs import is_void
from gateway.errors import AuditUnavailable, StorageUnavailable, Unavailable
from gateway.models import Issuance
from gateway.principals import ANONYMOUS
from gateway.resources import Resource, private_storage
from gateway.storages.filesystem import PrivateFileSystemStorage
from providers.errors import LinkRefused, ProviderError
from providers.local import VerifiedLink
from providers.types import Download

__all__ = ["data_plane"]

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "PUT")


@csrf_exempt
@login_not_required
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
        return _later(request)
    try:
        if isinstance(link.operation, Download):
            # No copy outlives the link: not even in the cache of the one who held it.
            left_seconds = max(0, int((link.expires_at - now).total_seconds()))
            cache_control = f"private, max-age={left_seconds}"
            response = serve_file(request, alias, storage, link.operation, cache_control=cache_control)
            _count(request, alias, link.operation, response, now)
        else:
            response = receive(request, storage, link.operation)
    except AuditUnavailable:
        response.close()
        response = _later(request)
    except OSError as error:
        # Not re-raised: Django would report the request, and with it the link.
        logger.error("the files of %s cannot be reached: %s", ascii(alias), type(error).__name__)
        response = _later(request)
    return response


# ATOMIC_REQUESTS would open a transaction, and so need the database, before the signature is looked at.
data_plane._non_atomic_requests = set(connections)  # type: ignore[attr-defined]


def _count(request: HttpRequest, alias: str, download: Download, response: HttpResponseBase, now: datetime) -> None:
    """Count what was served, by its link: whoever holds one, nobody in particular asked.

    Raises:
        AuditUnavailable: it can be neither counted nor written.
    """
    if response.status_code >= 400:
        return
    served = audit.columns_of(
        Issuance.Decision.ALLOWED, replace(ANONYMOUS, request=request), Resource.of_key(alias, download.key), Download,
        at=now, link_id=download.link_id or "", delivery="local",
    )  # fmt: skip
    counting.count(served | {"credential": "link"})


def _later(request: HttpRequest) -> HttpResponseBase:
    return words(request, 503, "Try again later.", {"Retry-After": str(Unavailable.retry_after_seconds)})


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
