"""The page that people write by hand with CloudFront: rows of the owner, ``storage.url()`` of each."""

from __future__ import annotations

import os
from functools import cache

from django.http import HttpRequest, JsonResponse
from storages.backends.s3 import S3Storage

from tests.benchmarks.plain import rows_of
from tests.benchmarks.plain_record import record


@cache
def _storage() -> S3Storage:
    return S3Storage(
        bucket_name="benchmark-bucket",
        custom_domain="files.example.com",
        cloudfront_key_id="K2JCJMDEHXQW5F",
        cloudfront_key=os.environ["BENCHMARK_KEY"],
        querystring_expire=300,
    )


def page(request: HttpRequest) -> JsonResponse:
    """Show a page of rows with django-storages' links, with neither a decision about each nor a record."""
    return JsonResponse({"urls": [_storage().url(row.file.name) for row in rows_of(request)]}, status=201)


def recorded_page(request: HttpRequest) -> JsonResponse:
    """Show the same page, and record each link as it is made."""
    urls = []
    for row in rows_of(request):
        urls.append(_storage().url(row.file.name))
        record(request)
    return JsonResponse({"urls": urls}, status=201)
