"""``/rails/direct_uploads``: begins an upload as the stock ``@rails/activestorage`` asks for one.

Must not decide, and takes no identity that the JSON API would not take.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from gateway import throttling, uploads
from gateway.api.parsing import read_json, read_query
from gateway.api.problems import answer, guarded
from gateway.api.schemas import RailsUploadRequest, UploadTarget
from gateway.authentication import authenticate
from gateway.errors import InvalidRequest

__all__ = ["direct_uploads"]

_CSRF_HEADER = "HTTP_X_CSRF_TOKEN"  # Rails' X-CSRF-Token, from <meta name="csrf-token">


def direct_uploads(*, files: bool) -> Callable[..., HttpResponse]:
    """Return the view; ``files`` tells whether there are files of the service's own."""

    @guarded
    @require_POST
    def direct_upload(request: HttpRequest) -> HttpResponse:
        if _CSRF_HEADER in request.META:
            # The same token under Rails' name of the header; Django's own check is made of it.
            request.META.setdefault(settings.CSRF_HEADER_NAME, request.META[_CSRF_HEADER])
        principal = authenticate(request)
        target = read_query(request, UploadTarget).target or ""
        asked = read_json(request, RailsUploadRequest).blob
        if not target and not files:
            raise InvalidRequest("target is missing; the reference of a field of the project")
        throttling.spend_links(principal.id, 1)
        wanted = uploads.Wanted(
            filename=asked.filename, content_type=asked.content_type, size_bytes=asked.byte_size,
            md5=b64decode(asked.checksum), target=target, strategy="single",
        )  # fmt: skip
        return answer(_blob(uploads.begin(principal, wanted), asked.checksum))

    return direct_upload


def _blob(begun: uploads.Begun, checksum: str) -> dict[str, Any]:
    session, link = begun.session, begun.link
    assert link is not None  # a new upload in one piece
    return {
        "id": session.pk,
        "key": session.pk,
        "filename": session.filename,
        "content_type": session.content_type,
        "byte_size": session.size_bytes,
        "checksum": checksum,
        "signed_id": uploads.signed_id_of(session),
        "direct_upload": {"url": link.url, "headers": dict(link.headers)},
    }
