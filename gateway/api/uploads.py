"""``/uploads``: parses and renders what ``gateway.uploads`` does.

Must not take a key or a bucket from a client, and never decides.
"""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from ninja import Router

from gateway import throttling, uploads
from gateway.api.document import header, json_body, problems
from gateway.api.identity import principal_of
from gateway.api.parsing import read_json, refuse_query, shortened
from gateway.api.problems import answer
from gateway.api.schemas import (
    Md5,
    Nothing,
    Sha256,
    UploadBegun,
    UploadFinalized,
    UploadInfo,
    UploadPartsRequest,
    UploadPartsSigned,
    UploadRequest,
    UploadVerifying,
)
from gateway.conf import conf
from gateway.errors import AccessDenied, InvalidRequest
from gateway.fields import permalink_of
from gateway.links import IssuedURL
from gateway.models import UploadSession, UploadState
from gateway.resources import parse_reference

__all__ = ["begin_router", "file_of", "known", "router"]

MAX_IDEMPOTENCY_CHARACTERS = 255
# A store that has the object already says so: the upload that a client tried again was done.
_DONE = [409, 412]
_ID = re.compile(r"upl_[0-9a-f]{32}")
# RFC 6454 section 6.2 in ASCII; "null" is any page's
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.\-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_IDEMPOTENCY_KEY = re.compile(rf"[!-~]{{1,{MAX_IDEMPOTENCY_CHARACTERS}}}")
_IDEMPOTENCY = header(
    "Idempotency-Key", "A repeat with the same body returns the same upload, signed anew.", MAX_IDEMPOTENCY_CHARACTERS
)

router = Router(tags=["uploads"])


def begin_router(*, files: bool) -> Router:
    """Return the router of the beginning; ``files`` tells whether this API has the service's own files."""
    begin = Router(tags=["uploads"])

    @begin.post(
        "/uploads",
        url_name="begin_upload",
        operation_id="begin_upload",
        summary="Begin an upload",
        response={201: UploadBegun} | problems(400, 401, 403, 404, 409, 410, 413, 415, 429, 500, 503),
        openapi_extra=json_body(UploadRequest) | _IDEMPOTENCY,
    )
    def begin_upload(request: HttpRequest) -> HttpResponse:
        """Decide about a file that is to come, and answer with the request that brings it to the store."""
        refuse_query(request)
        asked = read_json(request, UploadRequest)
        if asked.target is None and not files:
            raise InvalidRequest("target is null; the reference of a field of the project")
        principal = principal_of(request)
        throttling.spend_links(principal.id, 1)
        return answer(
            _begun(uploads.begin(principal, _wanted(request, asked), idempotency_key=_idempotency_key(request))), 201
        )

    return begin


@router.post(
    "/uploads/{upload_id}/parts",
    url_name="sign_parts",
    operation_id="sign_parts",
    summary="Sign parts",
    response={200: UploadPartsSigned} | problems(400, 401, 403, 404, 409, 410, 413, 415, 429, 500, 503),
    openapi_extra=json_body(UploadPartsRequest),
)
def sign_parts(request: HttpRequest, upload_id: str) -> HttpResponse:
    """Decide again, and sign up to a hundred parts of an upload."""
    refuse_query(request)
    asked = read_json(request, UploadPartsRequest)
    principal = principal_of(request)
    throttling.spend_links(principal.id, len(asked.parts))
    wanted = [
        uploads.PartWanted(number=part.number, size_bytes=part.size, sha256=_digest(part.checksum, "sha256"))
        for part in asked.parts
    ]
    issued = uploads.sign_parts(principal, known(upload_id), wanted)
    signed = [
        {"number": part.number} | _request(link) | {"treat_as_done": []}
        for part, link in zip(wanted, issued, strict=True)
    ]
    return answer({"parts": signed})


@router.get(
    "/uploads/{upload_id}",
    url_name="read_upload",
    operation_id="read_upload",
    summary="Look an upload up",
    response={200: UploadInfo} | problems(400, 401, 404, 429, 500, 503),
)
def read_upload(request: HttpRequest, upload_id: str) -> HttpResponse:
    """Show an upload of one's own, with the parts that the store has: enough to go on with it."""
    refuse_query(request)
    found = uploads.look(principal_of(request), known(upload_id))
    session = found.session
    received = None
    if found.parts is not None:
        received = [{"number": part.number, "size": part.size_bytes} for part in found.parts]
    body = {
        "id": session.pk,
        "state": session.state,
        "strategy": session.strategy,
        "parts": _parts(session),
        "received": received,
        "received_bytes": found.size_bytes,
        "file": file_of(session) if session.state == UploadState.READY else None,
        "reason": session.reason or None,
        "expires_at": _instant(session.expires_at),
    }
    return answer(body)


@router.post(
    "/uploads/{upload_id}/finalize",
    url_name="finalize_upload",
    operation_id="finalize_upload",
    summary="Finalize an upload",
    response={200: UploadFinalized, 202: UploadVerifying}
    | problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 500, 503),
    openapi_extra=json_body(Nothing),
)
def finalize_upload(request: HttpRequest, upload_id: str) -> HttpResponse:
    """Verify what arrived and make it a file. To ask again changes nothing."""
    refuse_query(request)
    read_json(request, Nothing)
    finalized = uploads.finalize_later(principal_of(request), known(upload_id))
    if finalized is None:
        body = {"state": "verifying", "retry_after": uploads.RETRY_SECONDS}
        return answer(body, 202, headers={"Retry-After": str(uploads.RETRY_SECONDS)})
    return answer({"state": "ready", "file": file_of(finalized.session)})


@router.delete(
    "/uploads/{upload_id}",
    url_name="abort_upload",
    operation_id="abort_upload",
    summary="Give an upload up",
    response={204: None} | problems(400, 401, 403, 404, 409, 429, 500, 503),
)
def abort_upload(request: HttpRequest, upload_id: str) -> HttpResponse:
    """Give an upload of one's own up; one that has become a file stays one."""
    refuse_query(request)
    uploads.abort(principal_of(request), known(upload_id))
    response = HttpResponse(status=204)
    del response["Content-Type"]
    return response


def _wanted(request: HttpRequest, asked: UploadRequest) -> uploads.Wanted:
    return uploads.Wanted(
        filename=asked.filename,
        content_type=asked.content_type,
        size_bytes=asked.size,
        sha256=_digest(asked.checksum, "sha256"),
        md5=_digest(asked.checksum, "md5"),
        target=asked.target or "",
        strategy=asked.strategy,
        origin=_origin(request) if asked.strategy == "resumable" else "",
    )


def _origin(request: HttpRequest) -> str:
    """Return the origin of the page that asks, as its browser says; empty where no browser does."""
    origin = request.headers.get("Origin", "")
    if origin and not _ORIGIN.fullmatch(origin):
        raise InvalidRequest(f"Origin is {shortened(origin)}; that of a page, to which the session is bound")
    return str(origin)


def _begun(begun: uploads.Begun) -> dict[str, Any]:
    session, promised = begun.session, begun.guarantees
    # A form takes the same bytes again.
    done = [] if session.strategy == UploadSession.Strategy.FORM else _DONE
    return {
        "id": session.pk,
        "state": session.state,
        "strategy": session.strategy,
        "request": None if begun.link is None else _request(begun.link) | {"treat_as_done": done},
        "guarantees": {name: getattr(promised, name) for name in ("size", "content_type", "checksum", "overwrite")},
        "parts": _parts(session),
        "finalize_url": _url("finalize_upload", session.pk),
        "abort_url": _url("abort_upload", session.pk),
        "expires_at": _instant(session.expires_at),
    }


def known(upload_id: str) -> str:
    """Return the id of an upload; one that is not of the form names none.

    Raises:
        AccessDenied: it is not.
    """
    if not _ID.fullmatch(upload_id):
        raise AccessDenied("no upload has such an id")
    return upload_id


def _idempotency_key(request: HttpRequest) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(
            f"Idempotency-Key is {shortened(key)}; 1 to {MAX_IDEMPOTENCY_CHARACTERS} printable ASCII characters"
        )
    return key


def _digest(checksum: Sha256 | Md5 | None, algorithm: str) -> bytes | None:
    return b64decode(checksum.value) if checksum is not None and checksum.algorithm == algorithm else None


def _request(link: IssuedURL) -> dict[str, Any]:
    return {
        "method": link.method,
        "url": link.url,
        "headers": dict(link.headers),
        "fields": dict(link.fields),
        "expires_at": _instant(link.expires_at),
    }


def _parts(session: UploadSession) -> dict[str, Any] | None:
    if session.strategy != UploadSession.Strategy.MULTIPART:
        return None
    return {
        "size": session.part_bytes,
        "count": uploads.part_count(session),
        "url": _url("sign_parts", session.pk),
    }


def file_of(session: UploadSession) -> dict[str, Any]:
    """Return the file that an upload has become, as the API shows it."""
    reference = session.target or str(session.file_id)
    resource = parse_reference(reference)
    assert resource is not None
    return {
        "file": reference,
        "filename": session.filename,
        "content_type": session.content_type,
        "size": session.size_bytes,
        "permalink": permalink_of(resource),
    }


def _url(name: str, upload_id: str) -> str:
    return f"{conf().public_origin}{reverse(f'presign_gateway:api:{name}', kwargs={'upload_id': upload_id})}"


def _instant(instant: datetime) -> str:
    aware = timezone.make_aware(instant) if timezone.is_naive(instant) else instant
    return f"{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
