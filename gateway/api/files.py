"""``/files`` of the standalone service: parses and renders what ``library`` does.

Must not take a key, a bucket or a media type from a client.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway.api import library
from gateway.api.cursors import read_cursor, write_cursor
from gateway.api.document import json_body, problems, query, upload_body
from gateway.api.identity import principal_of
from gateway.api.parsing import check_media_type, read_json, read_query, refuse_query, shortened
from gateway.api.problems import answer
from gateway.api.schemas import FileInfo, FilePage, FileQuery, FileUpdate
from gateway.conf import conf
from gateway.errors import BodyTooLarge, InvalidReference, InvalidRequest
from gateway.fields import permalink_of
from gateway.models import File
from gateway.resources import Resource, parse_reference

__all__ = ["file_pk", "read_upload", "router"]

# Boundaries, headers and the other fields of a form around the file itself.
_ENVELOPE_BYTES = 64 * 2**10
_LENGTH = re.compile("[0-9]{1,18}")  # int() would take signs, spaces and underscores

router = Router(tags=["files"])


@router.post(
    "/files",
    url_name="create_file",
    operation_id="create_file",
    summary="Upload a file",
    response={201: FileInfo} | problems(400, 401, 403, 404, 413, 415, 429, 500, 503),
    openapi_extra=upload_body(),
)
def create_file(request: HttpRequest) -> HttpResponse:
    """Keep a file as one's own. Any active user may; a token needs the scope Upload."""
    refuse_query(request)
    library.check_may_save(principal_of(request))
    upload = read_upload(request)
    return answer(_file(library.save(principal_of(request), upload)), 201)


@router.get(
    "/files",
    url_name="list_files",
    operation_id="list_files",
    summary="List files",
    response={200: FilePage} | problems(400, 401, 429, 500, 503),
    openapi_extra=query(FileQuery),
)
def list_files(request: HttpRequest) -> HttpResponse:
    """List the files that one may download, newest first, and no others."""
    asked = read_query(request, FileQuery)
    after = read_cursor(asked.cursor) if asked.cursor else None
    page = library.Page([], None)
    if asked.state == "ready":
        page = library.list_files(principal_of(request), limit=asked.limit, after=after, part_of_name=asked.q)
    items = [_file(file) for file in page.files]
    return answer({"items": items, "next_cursor": None if page.end is None else write_cursor(page.end)})


@router.get(
    "/files/{file_id}",
    url_name="read_file",
    operation_id="read_file",
    summary="Look a file up",
    response={200: FileInfo} | problems(400, 401, 404, 429, 500, 503),
)
def read_file(request: HttpRequest, file_id: str) -> HttpResponse:
    """Show what is known of a file that one may download."""
    refuse_query(request)
    return answer(_file(library.find(principal_of(request), file_pk(file_id))))


@router.patch(
    "/files/{file_id}",
    url_name="update_file",
    operation_id="update_file",
    summary="Rename a file",
    response={200: FileInfo} | problems(400, 401, 403, 404, 413, 415, 429, 500, 503),
    openapi_extra=json_body(FileUpdate),
)
def update_file(request: HttpRequest, file_id: str) -> HttpResponse:
    """Give a file another name. Needs the update permission; the type stays what it was."""
    refuse_query(request)
    pk = file_pk(file_id)
    asked = read_json(request, FileUpdate)
    return answer(_file(library.rename(principal_of(request), pk, asked.filename)))


@router.delete(
    "/files/{file_id}",
    url_name="delete_file",
    operation_id="delete_file",
    summary="Delete a file",
    response={204: None} | problems(400, 401, 403, 404, 429, 500, 503),
)
def delete_file(request: HttpRequest, file_id: str) -> HttpResponse:
    """Delete a file for good. Needs the delete permission; the object goes after the commit."""
    refuse_query(request)
    library.remove(principal_of(request), file_pk(file_id))
    response = HttpResponse(status=204)
    del response["Content-Type"]
    return response


def read_upload(request: HttpRequest, *, also: frozenset[str] = frozenset()) -> UploadedFile[Any]:
    """Read the one file of a form, with Django's upload handlers, so that a large one is never in memory.

    Args:
        also: other fields of the form, which are of no interest here.

    Raises:
        UnsupportedMediaType: it is no form data.
        BodyTooLarge: before a byte of it is read.
        InvalidRequest: not exactly one file, named ``file``.
    """
    check_media_type(request, "multipart/form-data")
    limit = conf().max_upload_bytes
    # A form without a length is an empty one to Django, so none is longer than it says.
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not _LENGTH.fullmatch(length):
        raise InvalidRequest(f"Content-Length is {shortened(length)}; digits alone, at most 18")
    if int(length) > limit + _ENVELOPE_BYTES:
        raise BodyTooLarge(f"the body has {length} bytes; a file of at most {limit}")
    for name in [*request.POST, *request.FILES]:
        if name != "file" and name not in also:
            raise InvalidRequest(f"field {shortened(name)} is unknown; a form with one file, named file")
    uploads = request.FILES.getlist("file")
    if len(uploads) != 1 or "file" in request.POST:
        raise InvalidRequest(f"the form has {len(uploads)} files named file; exactly 1, and no text of that name")
    upload: UploadedFile[Any] = uploads[0]
    return upload


def file_pk(text: str) -> UUID:
    """Read the id of a file of the service.

    Raises:
        InvalidReference: it is none.
    """
    resource = parse_reference(text)
    if resource is None or resource.model is not File:
        raise InvalidReference("the service's own files are named by a lower-case UUID")
    pk: UUID = resource.pk
    return pk


def _file(file: File) -> dict[str, Any]:
    return {
        "id": str(file.pk),
        "filename": file.filename,
        "content_type": file.content_type,
        "size": file.size_bytes,
        "state": file.state,
        "created_at": f"{file.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "permalink": permalink_of(Resource.of_file(file)),
    }
