"""What a careful developer writes without the gateway: log-in, row, owner, ``storage.url()``."""

from __future__ import annotations

import json
import uuid

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from storages.backends.s3 import S3Storage

from gateway.links import prefetch
from gateway.models import File
from tests.benchmarks.plain_record import record
from tests.benchmarks.signing import ACCESS_KEY_ID, BUCKET, REGION, SECRET
from tests.hostapp.models import Document

PAGE = 100

storage = S3Storage(
    bucket_name=BUCKET,
    region_name=REGION,
    access_key=ACCESS_KEY_ID,
    secret_key=SECRET,
    signature_version="s3v4",
    addressing_style="virtual",
    querystring_expire=300,
)


def link(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"url": _url(request)}, status=201)


def recorded_link(request: HttpRequest) -> JsonResponse:
    url = _url(request)
    record(request)
    return JsonResponse({"url": url}, status=201)


def page(request: HttpRequest) -> JsonResponse:
    """Show a page of rows with django-storages' links, with neither a decision about each nor a record."""
    return JsonResponse({"urls": [storage.url(row.file.name) for row in rows_of(request)]}, status=201)


def recorded_page(request: HttpRequest) -> JsonResponse:
    """Show the same page, and record each link as it is made."""
    urls = []
    for row in rows_of(request):
        urls.append(storage.url(row.file.name))
        record(request)
    return JsonResponse({"urls": urls}, status=201)


def prefetched_page(request: HttpRequest) -> JsonResponse:
    """Show the same page with ours: each is decided, and recorded before the page leaves."""
    return JsonResponse({"urls": [row.file.url for row in prefetch(rows_of(request), "file")]}, status=201)


def rows_of(request: HttpRequest) -> QuerySet[Document]:
    if not request.user.is_authenticated:
        raise Http404
    return Document.objects.filter(owner=request.user.pk).order_by("pk")[:PAGE]


def _url(request: HttpRequest) -> str:
    if not request.user.is_authenticated:
        raise Http404
    file = get_object_or_404(File, pk=uuid.UUID(json.loads(request.body)["file"]))
    if file.owner_id != request.user.pk:
        raise Http404
    url: str = storage.url(file.key)
    return url
