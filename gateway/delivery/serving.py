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
from gateway.conf import conf
from gateway.delivery import secure_link, x_accel
from gateway.delivery.files import UNKNOWN_TYPE, content_security_policy, serve_file
from gateway.delivery.redirect import redirect
from gateway.delivery.responses import EVERYWHERE
from gateway.delivery.stream import stream_link
from gateway.errors import StorageUnavailable
from gateway.links import IssuedURL, Permit
from gateway.models import File
from gateway.principals import Principal
from gateway.resources import Resource, private_storage, rows_of
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
    alias = _alias_of(resource)
    storage = _storage_of(alias)
    delivery = getattr(storage, "delivery", "redirect")
    if delivery == "redirect":
        return redirect(request, principal, resource)
    operation = partial(Download, method="HEAD" if request.method == "HEAD" else "GET")
    if isinstance(storage, PrivateFileSystemStorage):
        if delivery in secure_link.EXPRESSIONS:
            permit = links.permit(principal, resource, operation)
            _check_place(permit, alias)
            return secure_link.redirect_to_link(request, storage, permit)
        permit = links.permit_to_serve(principal, resource, operation, delivery=delivery)
        _check_place(permit, alias)
        return _serve_file(request, storage, permit)
    # What the store is asked with is a link like any other, decided and limited, but no client sees it.
    link = links.issue_to_serve(principal, resource, operation, delivery=delivery)
    _check_place(link, alias)
    if delivery == "x_accel":
        return x_accel.link_response(request, alias, link.url, _headers(link))
    return stream_link(request, link.url, _headers(link))


def _alias_of(resource: Resource) -> str:
    """Return where a resource is; for a missing file of the service, where such files usually are."""
    alias: str | None = resource.storage_alias
    if not alias and resource.model is File:
        # Only the row says in which storage a file of the service is.
        alias = rows_of([resource]).values_list("storage_alias", flat=True).first()
    return alias or conf().file_storage


def _storage_of(alias: str) -> Any:
    """Return a storage, or None where there is none: the door says so, to those alone whom it would let in."""
    try:
        return private_storage(alias)
    except Exception as error:
        # A backend that cannot be built fails in its own way.
        logger.error("storage %s cannot be used: %s", ascii(alias), type(error).__name__)
        return None


def _check_place(decided: Permit | IssuedURL, alias: str) -> None:
    if decided.resource.storage_alias != alias:
        raise StorageUnavailable("the row moved to another storage while it was asked for")


def _serve_file(request: HttpRequest, storage: Any, permit: Permit) -> HttpResponseBase:
    try:
        return serve_file(request, storage, permit.download, cache_control=ASK_AGAIN)
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
