"""The page that people write by hand on Google Cloud Storage: rows of the owner, ``storage.url()`` of each."""

from __future__ import annotations

import json
import os
from functools import cache

from django.http import HttpRequest, JsonResponse
from google.oauth2 import service_account
from storages.backends.gcloud import GoogleCloudStorage

from tests.benchmarks.plain import rows_of
from tests.benchmarks.plain_record import record


@cache
def _storage() -> GoogleCloudStorage:
    key = service_account.Credentials.from_service_account_info(json.loads(os.environ["BENCHMARK_KEY"]))
    return GoogleCloudStorage(bucket_name="benchmark-bucket", project_id="project", credentials=key, expiration=300)


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
