"""Signing for Azure Blob Storage beside azure-storage-blob and django-storages, and pages of links.

Both kinds of key sign; a page has an account key.
"""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas
from storages.backends.azure_storage import AzureStorage

from providers import AzureProvider, Download, SharedKey, UserDelegation
from tests.benchmarks import pages
from tests.benchmarks.measuring import FIRST_CALLS, PROCESSOR_TIME, Row, Table, alternate, first_calls
from tests.benchmarks.signing import plain_storage
from tests.emulators.postgres import Postgres
from tests.emulators.token_endpoints import DelegationKeys

ACCOUNT = "benchmarkaccount"
CONTAINER = "benchmark-container"
KEY = base64.b64encode(bytes(range(64))).decode()
TTL = timedelta(seconds=300)
LINKS = 100
ROUNDS = 51
THREADS = 200


class _Token:
    def get_token(self, *scopes: str, **_: Any) -> Any:
        return type("Token", (), {"token": "token"})


def table() -> Table:
    numbers = count()
    storage = plain_storage(
        AzureStorage, account_name=ACCOUNT, account_key=KEY, azure_container=CONTAINER, expiration_secs=300
    )
    shared = AzureProvider(account_name=ACCOUNT, container=CONTAINER, credentials=SharedKey(KEY))

    def downloads() -> list[Download]:
        # New names each time: a cache of encoded values must not pass for speed.
        return [
            Download(f"uploads/2026/11/{n:026x}/report-{n}.pdf", filename=f"report {n}.pdf", disposition="attachment")
            for n in (next(numbers) for _ in range(LINKS))
        ]

    # A second apart: what links of one second share must not pass for speed either.
    instants = [datetime.now(UTC) + timedelta(seconds=n) for n in range(LINKS)]

    def ours(provider: AzureProvider, made: list[Download]) -> None:
        for download, now in zip(made, instants, strict=True):
            provider.sign(download, ttl=TTL, now=now)

    def sdk(**key: Any) -> None:
        for n, now in zip((next(numbers) for _ in range(LINKS)), instants, strict=True):
            name = f"uploads/2026/11/{n:026x}/report-{n}.pdf"
            query = generate_blob_sas(
                ACCOUNT, CONTAINER, name, permission=BlobSasPermissions(read=True), expiry=now + TTL, protocol="https",
                content_disposition=f'attachment; filename="report {n}.pdf"', **key,
            )  # fmt: skip
            _ = f"https://{ACCOUNT}.blob.core.windows.net/{CONTAINER}/{quote(name)}?{query}"

    def by_storage() -> None:
        for n in (next(numbers) for _ in range(LINKS)):
            disposition = f'attachment; filename="report {n}.pdf"'
            storage.url(f"uploads/2026/11/{n:026x}/report-{n}.pdf", parameters={"content_disposition": disposition})

    with DelegationKeys() as blobs:
        credentials = UserDelegation(account_name=ACCOUNT, token=_Token(), endpoint_url=blobs.url)
        delegated = AzureProvider(account_name=ACCOUNT, container=CONTAINER, credentials=credentials)
        delegated.sign(downloads()[0], ttl=TTL, now=instants[0])
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid, key.signed_service, key.signed_version = blobs.oid, blobs.tid, "b", "2025-05-05"
        key.signed_start, key.signed_expiry, key.value = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", KEY
        made = [downloads() for _ in range(2 * (ROUNDS + 1))]
        for_shared, for_delegated = iter(made[: ROUNDS + 1]), iter(made[ROUNDS + 1 :])
        one, built, sdk_one, delegated_one, sdk_delegated, django_storages = alternate(
            lambda: ours(shared, next(for_shared)),
            lambda: ours(shared, downloads()),
            lambda: sdk(account_key=KEY),
            lambda: ours(delegated, next(for_delegated)),
            lambda: sdk(user_delegation_key=key),
            by_storage,
            rounds=ROUNDS,
            units=LINKS,
            clock=time.process_time,
        )
        times = first_calls(lambda n: shared.sign(Download(f"uploads/{n}"), ttl=TTL, now=instants[0]), threads=THREADS)
        delegated_times = first_calls(
            lambda n: delegated.sign(Download(f"uploads/{n}"), ttl=TTL, now=instants[0]), threads=THREADS
        )
        assert blobs.asked() == 1
    what = "`sign` with a file name"
    sdks, peer = "azure-storage-blob", "django-storages' `.url`"
    result = Table("Signing for Azure Blob Storage", notes=[PROCESSOR_TIME, FIRST_CALLS])
    result.rows = [
        Row(f"{what}, account key", one, sdk_one, sdks, 1 / 3, "at most 1/3"),
        Row(f"{what}, account key", one, django_storages, peer, 1 / 30, "at most 1/30"),
        Row(f"{what}, the operation built too", built, sdk_one, sdks),
        Row(f"{what}, user delegation key", delegated_one, sdk_delegated, sdks, 1 / 3, "at most 1/3"),
        Row(f"{what}, user delegation key", delegated_one, django_storages, peer, 1 / 30, "at most 1/30"),
        *times.rows("the first `sign` in a new thread, account key"),
        *delegated_times.rows("the first `sign` in a new thread, user delegation key"),
    ]
    return result


def page_table() -> Table:
    options = {"account_name": ACCOUNT, "account_key": KEY, "azure_container": CONTAINER}
    entry = {"BACKEND": "gateway.storages.PrivateAzureStorage", "OPTIONS": options}
    with Postgres() as postgres:
        times = pages.measured(postgres.url, entry, "azure")
    what, peer = f"a page of {pages.LINKS} links, `prefetch()`", "django-storages' `.url` of each"
    result = Table("A page of links for Azure Blob Storage, with its audit rows")
    result.rows = [
        Row(what, times["page"], times["recorded"], f"{peer}, writing one row for each", 1, "no slower"),
        Row(what, times["page"], times["plain"], f"{peer}, nothing decided or written"),
    ]
    return result
