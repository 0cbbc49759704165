"""What the tests of uploads share: files of known types, and the way of one to a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import uploads
from gateway.principals import Principal
from gateway.uploads import Begun, Wanted
from tests.emulators.gcs import CloudStorage
from tests.gateway.gcs_stores import GCSStore

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" + b"x" * 100
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 100


@pytest.fixture
def resumable_store(gcs: CloudStorage, settings: Any) -> Iterator[GCSStore]:
    """The stand-in for Cloud Storage, whose uploads are sessions that go on after a break."""
    store = GCSStore("gcs", gcs)
    options = store.options | {"resumable_uploads": True}
    settings.STORAGES = settings.STORAGES | {"gcs": {"BACKEND": store.backend, "OPTIONS": options}}
    settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "gcs"}
    yield store
    store.close()


def principal_of(user: Any) -> Principal:
    return Principal(kind="user", user=user)


def wanted(content: bytes = PDF, **fields: Any) -> Wanted:
    values = {"filename": "scan.pdf", "content_type": "application/pdf", "size_bytes": len(content)}
    return Wanted(**values | {"sha256": hashlib.sha256(content).digest()} | fields)  # type: ignore[arg-type]


def begin(user: Any, content: bytes = PDF, **fields: Any) -> Begun:
    return uploads.begin(principal_of(user), wanted(content, **fields))
