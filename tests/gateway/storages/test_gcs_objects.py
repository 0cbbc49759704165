"""What uploads need of a bucket of Cloud Storage: objects as they are, one generation of each."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile

from gateway.storages import PrivateGCSStorage
from tests.emulators.gcs import CloudStorage
from tests.gateway.storages.test_gcs import on

MINUTE = timedelta(minutes=1)


@pytest.fixture
def storage(gcs: CloudStorage) -> PrivateGCSStorage:
    return on(gcs, location="tenant 1")


class TestObjects:
    def test_one_is_as_it_was_stored(self, storage: PrivateGCSStorage) -> None:
        content = secrets.token_bytes(3 * 2**20)
        name = storage.save("a.pdf", ContentFile(content))
        stored = storage.objects.stat(name)
        assert stored is not None
        assert (stored.size_bytes, stored.content_type, stored.sha256) == (len(content), "application/pdf", None)
        assert stored.md5 == hashlib.md5(content, usedforsecurity=False).digest()
        assert stored.etag == stored.version
        assert int(stored.version) > 0
        assert b"".join(storage.objects.read(name, stored)) == content
        assert b"".join(storage.objects.read(name, stored, first_bytes=10)) == content[:10]

    def test_one_that_is_missing_is_none(self, storage: PrivateGCSStorage) -> None:
        assert storage.objects.stat("nothing") is None

    def test_an_empty_one_has_no_first_byte(self, storage: PrivateGCSStorage) -> None:
        name = storage.save("a.txt", ContentFile(b""))
        stored = storage.objects.stat(name)
        assert stored is not None
        for first in (None, 10):
            assert b"".join(storage.objects.read(name, stored, first_bytes=first)) == b""

    def test_one_that_was_replaced_meanwhile_is_not_read(self, gcs: CloudStorage, storage: PrivateGCSStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"old"))
        stored = storage.objects.stat(name)
        assert stored is not None
        gcs.objects.write(storage.bucket_name, storage.object_key(name), b"new")
        for first in (None, 3):
            with pytest.raises(FileNotFoundError, match="another one by now"):
                list(storage.objects.read(name, stored, first_bytes=first))

    def test_what_is_said_to_be_gzip_is_not_unpacked(self, gcs: CloudStorage, storage: PrivateGCSStorage) -> None:
        gcs.objects.write(storage.bucket_name, storage.object_key("a"), b"no gzip", contentEncoding="gzip")
        stored = storage.objects.stat("a")
        assert stored is not None
        assert b"".join(storage.objects.read("a", stored, first_bytes=7)) == b"no gzip"

    def test_all_are_listed_by_the_names_of_rows(self, gcs: CloudStorage, storage: PrivateGCSStorage) -> None:
        names = {storage.save(f"{number}.txt", ContentFile(b"x")) for number in range(3)}
        gcs.objects.write(storage.bucket_name, "tenant 10/other", b"x")
        assert {one.name for one in storage.objects.objects()} == names
        assert {one.size_bytes for one in storage.objects.objects()} == {1}
        assert all(one.modified_at.tzinfo is not None for one in storage.objects.objects())
