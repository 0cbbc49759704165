"""The page that people write by hand on Azure: rows of the owner, ``storage.url()`` of each."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest, JsonResponse
from storages.backends.azure_storage import AzureStorage

from tests.benchmarks.plain import rows_of
from tests.benchmarks.plain_record import record
from tests.benchmarks.signing_azure import ACCOUNT, CONTAINER, KEY


@cache
def _storage() -> AzureStorage:
    return AzureStorage(account_name=ACCOUNT, account_key=KEY, azure_container=CONTAINER, expiration_secs=300)


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
