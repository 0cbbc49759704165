"""``/uppy/{grant}/s3/…``: uploads as the stock ``@uppy/aws-s3`` asks a Companion for them.

Must not decide, nor believe a client about parts: what it says of them is read and left aside.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from gateway import throttling, uploads
from gateway.api.parsing import read_json, read_query, refuse_query, validated
from gateway.api.problems import answer, guarded
from gateway.api.schemas import UppyComplete, UppyKey, UppyWish
from gateway.api.uploads import file_of, known
from gateway.authentication import authenticate
from gateway.errors import AccessDenied, InvalidRequest
from gateway.models import UploadSession
from gateway.principals import Principal
from gateway.uploads.uppy import PART_BYTES, read_grant

__all__ = ["uppy_urls"]

# A line for each of 1024 parts, the most of 5 GiB.
_MAX_COMPLETE_BYTES = 256 * 2**10
_METADATA = re.compile(r"metadata\[(.{1,100})\]", re.DOTALL)

View = Callable[..., HttpResponse]


def uppy_urls(*, files: bool) -> list[URLPattern]:
    """Return the addresses; ``files`` tells whether there are files of the service's own."""
    below = "uppy/<str:grant>/s3/"
    one = f"{below}multipart/<str:upload_id>"
    params, create = (_uppy(functools.partial(view, files=files)) for view in (_params, _create))
    return [
        path(f"{below}params", params, name="uppy_params"),
        path(f"{below}multipart", create, name="uppy_multipart"),
        path(one, _uppy(_list_or_abort), name="uppy_upload"),
        path(f"{one}/complete", _uppy(_complete), name="uppy_complete"),
        path(f"{one}/<int:number>", _uppy(_sign), name="uppy_part"),
    ]


def _uppy(view: View) -> View:
    """Make errors what Uppy shows: 4 and 5 a ``message``, 6 the reason phrase."""
    inner = guarded(view)

    @functools.wraps(inner)
    def call(request: HttpRequest, **arguments: Any) -> HttpResponse:
        response: HttpResponse = inner(request, **arguments)
        if response.status_code >= 400:
            problem = json.loads(response.content)
            response.content = json.dumps(problem | {"message": problem["detail"]})
            response.reason_phrase = problem["title"]
        return response

    return call


def _who(request: HttpRequest, grant: str) -> tuple[Principal, str]:
    """Return who asks and where uploads of this address go.

    Raises:
        AccessDenied: the address was not made here, is another user's, or a page of another origin uses it.
        NotAuthenticated: as everywhere.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise AccessDenied("a page of another origin uses the address")
    known_grant = read_grant(grant)
    # Uppy 6 sends no header, so no token: that the address was made here for this very user is what another site
    # cannot forge. Django's mark of a request that needs no further check.
    request.csrf_processing_done = True  # type: ignore[attr-defined]
    principal = authenticate(request)
    if principal.id != known_grant.principal:
        raise AccessDenied("the address is another user's")
    return principal, known_grant.target


@require_GET
def _params(request: HttpRequest, grant: str, *, files: bool) -> HttpResponse:
    """Begin an upload in one request."""
    principal, target = _who(request, grant)
    given: dict[str, Any] = {"metadata": {}}
    for name, values in request.GET.lists():
        if len(values) > 1:
            raise InvalidRequest("a parameter is there more than once; once at most")
        if match := _METADATA.fullmatch(name):
            given["metadata"][match[1]] = values[0]
        else:
            given[name] = values[0]
    begun = _begin(principal, target, validated(UppyWish, given), "single", files=files)
    link = begun.link
    assert link is not None  # a new upload in one piece
    # Versions 4 and 5 hand fields["key"] to the page; with PUT they send no fields.
    return answer(
        {
            "method": link.method,
            "url": link.url,
            "headers": dict(link.headers),
            "fields": {"key": begun.session.pk},
        }
    )


@require_POST
def _create(request: HttpRequest, grant: str, *, files: bool) -> HttpResponse:
    """Begin an upload in parts."""
    principal, target = _who(request, grant)
    refuse_query(request)
    begun = _begin(principal, target, read_json(request, UppyWish), "multipart", files=files)
    return answer({"key": begun.session.pk, "uploadId": begun.session.pk})


@require_GET
def _sign(request: HttpRequest, grant: str, upload_id: str, number: int) -> HttpResponse:
    """Sign a part; it is decided again."""
    principal, session = _of_upload(request, grant, upload_id)
    throttling.spend_links(principal.id, 1)
    (link,) = uploads.sign_parts(principal, upload_id, [uploads.planned_part(session, number)])
    return answer({"method": link.method, "url": link.url, "headers": dict(link.headers)})


@require_http_methods(["GET", "DELETE"])
def _list_or_abort(request: HttpRequest, grant: str, upload_id: str) -> HttpResponse:
    """List the parts that the store has, or give the upload up."""
    principal, _ = _of_upload(request, grant, upload_id)
    if request.method == "DELETE":
        uploads.abort(principal, upload_id)
        return answer({})
    parts = uploads.look(principal, upload_id).parts or []
    # A directory gives parts no ETag; Uppy wants one to say that a part is there, and says it back.
    return answer(
        [
            {"PartNumber": part.number, "Size": part.size_bytes, "ETag": f'"{part.etag or part.number}"'}
            for part in parts
        ]
    )


@require_POST
def _complete(request: HttpRequest, grant: str, upload_id: str) -> HttpResponse:
    """Finalize: what the store has is verified, and becomes a file; large ones a little later."""
    principal, _ = _of_upload(request, grant, upload_id)
    read_json(request, UppyComplete, max_bytes=_MAX_COMPLETE_BYTES)
    finalized = uploads.finalize_later(principal, upload_id)
    if finalized is None:
        return answer({"location": None, "key": upload_id, "file": None})
    file = file_of(finalized.session)
    return answer({"location": file["permalink"], "key": upload_id, "file": file["file"]})


def _of_upload(request: HttpRequest, grant: str, upload_id: str) -> tuple[Principal, UploadSession]:
    principal, target = _who(request, grant)
    if read_query(request, UppyKey).key != known(upload_id):
        raise AccessDenied("the key is not that of the upload")
    session = uploads.own(principal, upload_id)
    if session.target != target:
        raise AccessDenied("the address is for another target than the upload")
    return principal, session


def _begin(principal: Principal, target: str, wish: UppyWish, strategy: Any, *, files: bool) -> uploads.Begun:
    if not target and not files:
        raise InvalidRequest("the address names no target; the reference of a field of the project")
    size = wish.metadata.get("size")
    if isinstance(size, str) and re.fullmatch("[0-9]{1,16}", size):
        size = int(size)  # in a query everything is text
    if type(size) is not int or size < 0:
        raise InvalidRequest("metadata.size is missing or no whole number; the size of the file in bytes")
    throttling.spend_links(principal.id, 1)
    wanted = uploads.Wanted(
        filename=wish.filename, content_type=wish.type, size_bytes=size, target=target, strategy=strategy,
        part_bytes=PART_BYTES,
    )  # fmt: skip
    return uploads.begin(principal, wanted)
