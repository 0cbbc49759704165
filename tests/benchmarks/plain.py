"""What a careful developer writes without the gateway: log-in, row, owner, ``storage.url()``."""

from __future__ import annotations

import json
import uuid

from django.http import Http404, HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from storages.backends.s3 import S3Storage

from gateway.models import File, Issuance
from tests.benchmarks.signing import ACCESS_KEY_ID, BUCKET, REGION, SECRET

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
    now = timezone.now()
    Issuance.objects.create(
        at=now,
        decision=Issuance.Decision.ISSUED,
        principal=f"user:{request.user.pk}",
        operation="Download",
        resource="a file",
        key="a key",
        expires_at=now,
    )
    return JsonResponse({"url": url}, status=201)


def _url(request: HttpRequest) -> str:
    if not request.user.is_authenticated:
        raise Http404
    file = get_object_or_404(File, pk=uuid.UUID(json.loads(request.body)["file"]))
    if file.owner_id != request.user.pk:
        raise Http404
    url: str = storage.url(file.key)
    return url
