"""Gives an object to whoever asks for it, in the way that its storage's option ``delivery`` names.

Must not decide, and must not choose by anything that a client says.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway import links
from gateway.delivery import redirect, secure_link, x_accel
from gateway.delivery.files import UNKNOWN_TYPE, content_security_policy, serve_file
from gateway.delivery.responses import EVERYWHERE
from gateway.delivery.stream import stream_link
from gateway.errors import StorageUnavailable
from gateway.links import IssuedURL, Permit, Way
from gateway.principals import Principal
from gateway.resources import Resource, private_storage
from gateway.storages.filesystem import PrivateFileSystemStorage
from providers.types import Download

__all__ = ["serve"]

logger = logging.getLogger(__name__)

# A browser may keep the bytes, and asks before it shows them again, so that every showing is decided about.
ASK_AGAIN = "private, no-cache"


def serve(request: HttpRequest, principal: Principal, resource: Resource) -> HttpResponseBase:
    """Decide, record a link or count what is served, and answer GET or HEAD with the object or a redirect to a link.

    Raises:
        AccessDenied: no.
        AuditUnavailable, DatabaseUnavailable, StorageUnavailable: as :func:`gateway.links.issue`.
    """
    operation = partial(Download, method="HEAD") if request.method == "HEAD" else Download
    answer = links.deliver(principal, resource, operation, lambda alias: _way_of(request, alias))
    alias = answer.resource.storage_alias
    storage = private_storage(alias)
    if isinstance(answer, Permit):
        if storage.delivery == "redirect":
            return redirect.headers_of(request, answer)
        if storage.delivery in secure_link.EXPRESSIONS:
            return secure_link.redirect_to_link(request, storage, answer)
        return _serve_file(request, storage, answer)
    if storage.delivery == "redirect":
        return redirect.redirect_to(answer)
    if storage.delivery == "x_accel":
        return x_accel.link_response(request, alias, answer.url, _headers(answer))
    return stream_link(request, answer.url, _headers(answer))


def _way_of(request: HttpRequest, alias: str) -> Way:
    """Tell how the storage's option has it; a storage that there is not fails to sign."""
    storage = _storage_of(alias)
    delivery = getattr(storage, "delivery", "redirect")
    if delivery == "redirect":
        # To HEAD the answer is what the link would say: none is made.
        return Way(delivery=delivery) if request.method == "HEAD" else Way(is_signed=True)
    if delivery in secure_link.EXPRESSIONS:
        return Way()
    # What a bucket is asked with is a link like any other, decided and limited, but no client sees it.
    return Way(delivery=delivery, is_signed=not isinstance(storage, PrivateFileSystemStorage))


def _storage_of(alias: str) -> Any:
    """Return a storage, or None where there is none: the door says so, to those alone whom it would let in."""
    try:
        return private_storage(alias)
    except Exception as error:
        # A backend that cannot be built fails in its own way.
        logger.error("storage %s cannot be used: %s", ascii(alias), type(error).__name__)
        return None


def _serve_file(request: HttpRequest, storage: Any, permit: Permit) -> HttpResponseBase:
    try:
        alias = permit.resource.storage_alias
        return serve_file(request, alias, storage, permit.download, cache_control=ASK_AGAIN)
    except OSError as error:
        raise StorageUnavailable(f"the files cannot be reached: {type(error).__name__}") from error


def _headers(link: IssuedURL) -> dict[str, str]:
    content_type = link.content_type or UNKNOWN_TYPE
    headers = EVERYWHERE | {
        "Cache-Control": ASK_AGAIN,
        "Content-Type": content_type,
        "Content-Security-Policy": content_security_policy(content_type),
    }
    if link.content_disposition is not None:
        headers["Content-Disposition"] = link.content_disposition
    return headers
