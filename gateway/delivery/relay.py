"""The way of parts to stores whose links are good for more than one: through the gateway, as they come.

As in the local data plane a link is all the authority there is, and it is checked before anything else is looked
at; then whether it was taken back, and whether its upload is still open. Must not hold a part in memory.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest
from django.db import DatabaseError, InterfaceError, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from gateway.delivery.bodies import drain, read_body, refusal_of_headers
from gateway.delivery.responses import EVERYWHERE, NO_STORE, TextResponse, words
from gateway.epochs import is_void
from gateway.errors import StorageUnavailable, Unavailable
from gateway.models import UploadSession
from gateway.resources import private_storage
from gateway.storages.relayed import RelayedParts
from gateway.uploads.relaying import name_of, open_upload, pass_on
from providers.errors import LinkRefused, ProviderError
from providers.types import MAX_SINGLE_UPLOAD_BYTES, UploadPart

__all__ = ["relay"]

logger = logging.getLogger(__name__)

_INVALID = "This link is not valid."
# S3's words, and said of genuine links alone: by them Uppy 4 and 5 know that another link will do.
_ENDED = "<Message>Request has expired</Message>"


@csrf_exempt
@login_not_required
def relay(request: HttpRequest, alias: str, key: str) -> HttpResponseBase:
    """Pass on the one part that the request's link is for.

    Answers 405 to other methods, 403 to every link that is not good, with other words only where a genuine one has
    ended, and 404 once the upload is over.
    """
    if request.method != "PUT":
        return words(request, 405, "This method is not one of links.", {"Allow": "PUT"})
    try:
        part = _genuine(request, alias, key)
    except LinkRefused as refused:
        logger.info("refused a link of %s: %s", ascii(alias), refused.reason)
        if refused.reason != "expired":
            return words(request, 403, _INVALID)
        drain(request, MAX_SINGLE_UPLOAD_BYTES)
        return words(request, 403, _ENDED)
    response = _answer(request, alias, part)
    if response.status_code not in (201, 411, 413):
        drain(request, part.size_bytes)
    return response


# ATOMIC_REQUESTS would open a transaction, and keep it open for as long as the part comes.
relay._non_atomic_requests = set(connections)  # type: ignore[attr-defined]


def _genuine(request: HttpRequest, alias: str, key: str) -> UploadPart:
    """Return the part that a link was signed for.

    Raises:
        LinkRefused: it is not good, or of no such storage.
    """
    query = request.META.get("QUERY_STRING", "")
    try:
        storage = private_storage(alias)
        if isinstance(storage, RelayedParts):
            return storage.relayed_part(method="PUT", key=key, query=query, now=datetime.now(UTC))
    except LinkRefused:
        raise
    except (StorageUnavailable, ProviderError) as error:
        raise LinkRefused(f"its storage cannot tell: {type(error).__name__}") from error
    raise LinkRefused("its storage has no relay")


def _answer(request: HttpRequest, alias: str, part: UploadPart) -> HttpResponseBase:
    try:
        if is_void(alias, name_of(alias, part), part.stamp):
            logger.info("refused a link of %s: taken back", ascii(alias))
            return words(request, 403, _INVALID)
        session = open_upload(alias, part)
    except (DatabaseError, InterfaceError) as error:
        # Not to be able to tell is no yes.
        logger.error("what is open and what was taken back cannot be read: %s", type(error).__name__)
        return _later(request)
    if session is None:
        return words(request, 404, "There is no such upload, or it is over.")
    if (refusal := refusal_of_headers(request, part)) is not None:
        return words(request, *refusal)
    return _pass_on(request, session, part)


def _pass_on(request: HttpRequest, session: UploadSession, part: UploadPart) -> HttpResponseBase:
    # What Uppy wants to read, and sends back; nobody believes it.
    etag = hashlib.md5(usedforsecurity=False)

    def chunks() -> Iterator[bytes]:
        for chunk in read_body(request, part):
            etag.update(chunk)
            yield chunk

    try:
        pass_on(session, part, chunks())
    except BadRequest as error:
        return words(request, 400, str(error))
    except StorageUnavailable:
        return _later(request)
    headers = EVERYWHERE | NO_STORE | {"ETag": f'"{etag.hexdigest()}"'}
    return TextResponse(request, "", status=201, headers=headers)


def _later(request: HttpRequest) -> HttpResponseBase:
    return words(request, 503, "Try again later.", {"Retry-After": str(Unavailable.retry_after_seconds)})
