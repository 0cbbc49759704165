"""What a careful developer writes to serve private files without the gateway, by hand and with each peer.

Each view reads the session, loads the row and checks its owner; only one writes anything down.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django_downloadview import PathDownloadView
from django_downloadview.nginx import x_accel_redirect
from django_sendfile import sendfile
from private_storage.views import PrivateStorageView

from gateway.models import File
from gateway.policies import Allow, Composable, Deny, Operation
from gateway.principals import Principal
from gateway.resources import Resource
from tests.benchmarks.plain_record import record


class OwnKey(Composable):
    """The policy of ours that asks what :func:`asked` asks: whether a row with this key is the user's."""

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        is_own = principal.kind == "user" and File.objects.filter(key=resource.key, owner=principal.user).exists()
        return Allow(policy="own key") if is_own else Deny("not the user's")


def answered(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    _own_file(request, pk)
    return HttpResponse(status=204)


def x_accel(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    file = _own_file(request, pk)
    headers = _headers(file) | {"X-Accel-Redirect": f"{settings.DELIVERY_INTERNAL}{file.key}"}
    return HttpResponse(headers=headers)


def x_sendfile(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    file = _own_file(request, pk)
    return HttpResponse(headers=_headers(file) | {"X-Sendfile": str(_path_of(file))})


def file_response(request: HttpRequest, pk: uuid.UUID) -> FileResponse:
    file = _own_file(request, pk)
    return FileResponse(_path_of(file).open("rb"), filename=file.filename, content_type=file.content_type)


def recorded_file_response(request: HttpRequest, pk: uuid.UUID) -> FileResponse:
    record(request)
    return file_response(request, pk)


def sendfile2(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    file = _own_file(request, pk)
    answer: HttpResponseBase = sendfile(
        request, str(_path_of(file)), attachment_filename=file.filename, mimetype=file.content_type
    )
    return answer


class ByPrivateStorage(PrivateStorageView):  # type: ignore[misc]
    can_access_file = staticmethod(lambda private_file: True)  # its path was found by the owner

    def get_path(self) -> str:
        return _own_file(self.request, self.kwargs["pk"]).key


class ByDownloadView(PathDownloadView):  # type: ignore[misc]
    attachment = False

    def get_path(self) -> str:
        return str(_path_of(_own_file(self.request, self.kwargs["pk"])))


by_downloadview: Any = x_accel_redirect(
    ByDownloadView.as_view(), source_dir=settings.DELIVERY_ROOT, destination_url=settings.DELIVERY_INTERNAL
)


def asked(request: HttpRequest) -> HttpResponse:
    """Tell nginx's auth_request whether a row with this path is the user's."""
    key = request.headers.get("X-Original-URI", "").removeprefix("/asked/")
    if not request.user.is_authenticated or not File.objects.filter(key=key, owner=request.user).exists():
        return HttpResponse(status=403)
    return HttpResponse(status=204)


def _own_file(request: HttpRequest, pk: uuid.UUID) -> File:
    if not request.user.is_authenticated:
        raise Http404
    file = get_object_or_404(File, pk=pk)
    if file.owner_id != request.user.pk:
        raise Http404
    return file


def _path_of(file: File) -> Path:
    return Path(settings.DELIVERY_ROOT, file.key)


def _headers(file: File) -> dict[str, str]:
    return {
        "Content-Type": file.content_type,
        "Content-Disposition": f'inline; filename="{file.filename}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
