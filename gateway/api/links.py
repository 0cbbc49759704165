"""``POST /links`` and ``POST /links/batch``: references in, presigned URLs out.

Must not decide: every reference goes through the door, one that names nothing included.
"""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway import links, throttling
from gateway.api.document import json_body, problems
from gateway.api.identity import Identity, principal_of
from gateway.api.parsing import MAX_BODY_BYTES, read_json, refuse_query, shortened
from gateway.api.problems import answer
from gateway.api.schemas import BatchRequest, BatchResults, Link, LinkItem, LinkRequest
from gateway.authentication import identify, refusals_explained
from gateway.conf import conf
from gateway.errors import BatchTooLarge, NotAuthenticated, TTLTooLong
from gateway.links import IssuedURL, Refusal
from gateway.models import File
from gateway.resources import Resource, parse_reference
from providers.disposition import clean_filename
from providers.types import Download

__all__ = ["batch_body_bytes", "router"]

logger = logging.getLogger(__name__)

# A reference of 400 and a file name of 255 characters, each escaped as 12 bytes, and what stands around them.
_ITEM_BYTES = 8 * 2**10
# Under it version 5 makes UUIDs that no file has: theirs are of version 4.
_NOTHING = uuid.UUID("b1d0a1f6-9d0e-4b32-8a44-5f0c7d6e3c11")

router = Router(tags=["links"])


@router.post(
    "/links",
    url_name="create_link",
    operation_id="create_link",
    summary="Link to one file",
    response={201: Link} | problems(400, 401, 403, 404, 413, 415, 429, 500, 503),
    openapi_extra=json_body(LinkRequest),
    auth=Identity(identify),
)
def create_link(request: HttpRequest) -> HttpResponse:
    """Decide about one file for whoever asks, and answer with a presigned URL that lives shortly."""
    principal = principal_of(request)
    with refusals_explained(request, principal):
        refuse_query(request)
        asked = read_json(request, LinkRequest)
        ttl = _ttl(asked.ttl_seconds)
        throttling.spend_links(principal.id, 1)
    try:
        with refusals_explained(request, principal):
            issued = links.issue(principal, _named(asked.file), _download(asked), ttl=ttl)
    except NotAuthenticated:
        # What was taken back spends nothing of what its user has left.
        throttling.return_links(principal.id, 1)
        raise
    return answer(_link(asked.file, issued), 201)


@router.post(
    "/links/batch",
    url_name="create_links",
    operation_id="create_links",
    summary="Link to many files",
    response={200: BatchResults} | problems(400, 401, 403, 413, 415, 429, 500, 503),
    openapi_extra=json_body(BatchRequest),
)
def create_links(request: HttpRequest) -> HttpResponse:
    """Decide about each file by itself; one answer for each item, in order. A malformed item refuses all."""
    refuse_query(request)
    asked = read_json(request, BatchRequest, max_bytes=batch_body_bytes())
    limit = conf().batch_limit
    if len(asked.items) > limit:
        raise BatchTooLarge(f"the batch has {len(asked.items)} items; at most {limit}")
    ttl = _ttl(asked.ttl_seconds)
    principal = principal_of(request)
    throttling.spend_links(principal.id, len(asked.items))
    named = [_named(item.file) for item in asked.items]
    answers = links.issue_many(principal, named, [_download(item) for item in asked.items], ttl=ttl)
    results = [_result(item.file, one) for item, one in zip(asked.items, answers, strict=True)]
    issued = sum(isinstance(one, IssuedURL) for one in answers)
    summary = {"requested": len(answers), "issued": issued, "refused": len(answers) - issued}
    return answer({"results": results, "summary": summary})


def batch_body_bytes() -> int:
    """Return how many bytes of a batch are read, so that a full one has room."""
    return max(MAX_BODY_BYTES, conf().batch_limit * _ITEM_BYTES)


def _ttl(seconds: int | None) -> timedelta | None:
    """Check the limit of all links before any file is looked up, so that it tells nothing about one."""
    if seconds is None:
        return None
    limit = int(conf().max_ttl.total_seconds())
    if seconds > limit:
        raise TTLTooLong(f"ttl_seconds is {shortened(seconds)}; at most {limit}")
    return timedelta(seconds=seconds)


def _named(reference: str) -> Resource:
    """Return what a reference names; where that is nothing, a file that is not there.

    The same questions are then asked and recorded as for any missing file, and the answer is the same.
    """
    resource = parse_reference(reference)
    if resource is not None and links.may_be_named(resource):
        return resource
    logger.info("reference %s names nothing that may be asked for", ascii(reference))
    return Resource(storage_alias="", key=None, model=File, pk=uuid.uuid5(_NOTHING, reference))


def _download(item: LinkItem) -> Any:
    filename = None if item.filename is None else clean_filename(item.filename)
    return partial(Download, method=item.method, disposition=item.disposition, filename=filename)


def _link(reference: str, issued: IssuedURL) -> dict[str, Any]:
    left = issued.expires_at - datetime.now(UTC)
    return {
        "file": reference,
        "url": issued.url,
        "method": issued.method,
        "headers": dict(issued.headers),
        "expires_at": f"{issued.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "expires_in": max(0, ceil(left.total_seconds())),
        "filename": issued.filename,
        "content_type": issued.content_type,
        "size": issued.size_bytes,
        "id": issued.id,
        "limited_by": issued.limited_by or None,
    }


def _result(reference: str, answered: IssuedURL | Refusal) -> dict[str, Any]:
    if isinstance(answered, IssuedURL):
        return {"file": reference, "link": _link(reference, answered), "error": None}
    error = {"code": answered.code, "status": answered.status, "title": answered.title}
    return {"file": reference, "link": None, "error": error}
