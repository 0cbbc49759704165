"""Stores by name, each in front of its real server, and how a test has the gateway use one.

Must not know what is asked of a store: ``link_stores`` and its neighbours have an adapter for each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.azure_stores import AzureStore, DelegatedAzureStore
from tests.gateway.cloudfront_stores import BoundCloudFrontStore, CloudFrontStore
from tests.gateway.gcs_stores import GCSStore, HMACGCSStore, KeylessGCSStore
from tests.gateway.link_stores import LocalStore, S3Store, Store

__all__ = ["CLOUDFRONT_STORES", "UPLOADING", "open_store", "serve_from"]

_RCLONE_LACKS = frozenset({"form", "206", "refusal to overwrite", "a stored type"})
_GCS_STORES = {"gcs": GCSStore, "gcs-hmac": HMACGCSStore, "gcs-keyless": KeylessGCSStore}
CLOUDFRONT_STORES = {"cloudfront": CloudFrontStore, "cloudfront-bound": BoundCloudFrontStore}
UPLOADING = ["local", "rclone", "ceph", "azure", "azure-delegated", *_GCS_STORES]


@contextmanager
def open_store(name: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Store]:
    """Open a store for the tests of a module.

    Args:
        directory: of the files of a local one.
    """
    store: Store
    if name == "local":
        store = LocalStore(directory / "root")
    elif name == "azure":
        store = AzureStore(name, request.getfixturevalue("azurite"))
    elif name == "azure-delegated":
        store = DelegatedAzureStore(name, request.getfixturevalue("azurite_oauth"))
    elif name in _GCS_STORES:
        store = _GCS_STORES[name](name, request.getfixturevalue("gcs"))
    elif name in CLOUDFRONT_STORES:
        store = CLOUDFRONT_STORES[name](name, request.getfixturevalue("cloudfront"))
    else:
        lacks = _RCLONE_LACKS if name == "rclone" else frozenset()
        store = S3Store(name, request.getfixturevalue(name), lacks)
    try:
        yield store
    finally:
        store.close()


def serve_from(store: Store, request: pytest.FixtureRequest, settings: Any, **gateway: Any) -> Store:
    """Let an open store stand in ``STORAGES`` for one test, under its name.

    Args:
        gateway: of the setting ``GATEWAY``, beside what the store needs.
    """
    if store.emulator is not None:
        request.getfixturevalue(store.emulator)  # said for each test, so that the account of emulators counts it
    if isinstance(store, LocalStore):
        gateway["PUBLIC_URL"] = store.public_url
    settings.STORAGES = settings.STORAGES | {store.alias: {"BACKEND": store.backend, "OPTIONS": store.options}}
    settings.GATEWAY = settings.GATEWAY | gateway
    return store
