"""Real stores for the suite of fetched links: one small adapter each, so that another store is one more.

An adapter puts and reads bytes past the gateway, and says what its store is known not to enforce; it must not
sign.
"""

from __future__ import annotations

import re
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from django.core.files.storage import storages
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from providers.types import SignedURL
from tests.emulators.process import LOOPBACK
from tests.emulators.s3 import Response, send
from tests.verifiers.sigv4 import Identity, verify_post, verify_presigned


class Store(ABC):
    """A store that links are fetched from.

    Attributes:
        alias: its key in ``STORAGES``.
        emulator: the fixture of its server, where it has one.
        options: what stands there.
        signature: the query parameter that holds the signature.
        expiry: the query parameter that a holder would like to raise.
        checksum: an algorithm that the store holds the bytes to.
        condition: the header that keeps an upload from overwriting.
        other_condition: a value of it that would not.
        lacks: what the store is known not to do, by the names that the suite uses.
    """

    alias: str
    emulator: str | None = None
    backend = "gateway.storages.PrivateS3Storage"
    options: dict[str, Any]
    signature = "X-Amz-Signature"
    expiry = "X-Amz-Expires"
    checksum = "md5"
    condition = "If-None-Match"
    other_condition = '"etag"'
    lacks: frozenset[str] = frozenset()

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Store an object past the gateway."""

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str] | None:
        """Read an object and its type past the gateway; None where there is none."""

    def send(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        """Send one request exactly as it is."""
        return send(url, method=method, headers=headers, body=body)

    @abstractmethod
    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        """Hold a link to its specification, more strictly than the store does."""

    def stretched(self, url: str) -> str:
        """Give a link a later end, without another signature."""
        changed, count = re.subn(rf"([?&]{self.expiry}=)([0-9]+)", lambda m: f"{m[1]}{int(m[2]) + 600}", url)
        assert count == 1
        return changed

    def unsigned(self, name: str) -> str:
        """Spell a parameter of S3 as this store knows it."""
        return name

    @abstractmethod
    def close(self) -> None:
        """End what the adapter started."""


class FormStore(Store):
    """A store that takes browser forms, and uploads in parts.

    Attributes:
        bucket: where they go.
        form_names: how it spells fields of S3's forms.
    """

    LOCATION: str
    bucket: str
    form_names: Mapping[str, str] = {}

    @abstractmethod
    def begin_upload(self, key: str) -> str:
        """Begin an upload in parts past the gateway, and return its id."""

    @abstractmethod
    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> None:
        """Make an object of the parts."""

    @abstractmethod
    def part_numbers(self, key: str, upload_id: str) -> list[int]:
        """Return the numbers of the parts that are there."""

    @abstractmethod
    def count(self) -> int:
        """Return how many objects there are, whatever they are called."""


class S3Store(FormStore):
    """A bucket of an S3 emulator, with a location, so that the prefix stands in every link."""

    LOCATION = "tenant 1/files"

    def __init__(self, alias: str, server: Any, lacks: frozenset[str] = frozenset()) -> None:
        self.alias = self.emulator = alias
        self.lacks = lacks
        self.bucket = server.create_bucket(f"links-{secrets.token_hex(6)}")
        self.client = server.client()
        self.region = server.region
        self.identities = {server.access_key_id: Identity(server.secret_access_key)}
        self.options = {
            "bucket_name": self.bucket,
            "region_name": server.region,
            "endpoint_url": server.endpoint_url,
            "access_key": server.access_key_id,
            "secret_key": server.secret_access_key,
            "location": self.LOCATION,
        }

    def key(self, key: str) -> str:
        return f"{self.LOCATION}/{key}"

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.key(key), Body=content)

    def get(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.key(key))
        except ClientError:
            return None
        return answer["Body"].read(), answer["ContentType"]

    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        now = datetime.now(UTC)
        if link.fields:
            assert size_bytes is not None
            verified = verify_post(
                fields=link.fields, bucket=self.bucket, identities=self.identities, region=self.region, now=now,
                content_length=size_bytes,
            )  # fmt: skip
        else:
            verified = verify_presigned(
                method=link.method, url=link.url, headers=link.headers, identities=self.identities,
                region=self.region, now=now, body_length=size_bytes,
            )  # fmt: skip
            assert verified.path.startswith(f"/{self.bucket}/{self.LOCATION}/")
        assert verified.expires_at == link.expires_at

    def begin_upload(self, key: str) -> str:
        answer = self.client.create_multipart_upload(
            Bucket=self.bucket, Key=self.key(key), ContentType="application/pdf"
        )
        return str(answer["UploadId"])

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> None:
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
        self.client.complete_multipart_upload(
            Bucket=self.bucket, Key=self.key(key), UploadId=upload_id, MultipartUpload={"Parts": parts}
        )

    def part_numbers(self, key: str, upload_id: str) -> list[int]:
        listed = self.client.list_parts(Bucket=self.bucket, Key=self.key(key), UploadId=upload_id)
        return [part["PartNumber"] for part in listed.get("Parts", ())]

    def count(self) -> int:
        return int(self.client.list_objects_v2(Bucket=self.bucket)["KeyCount"])

    def close(self) -> None:
        self.client.close()


class LocalStore(Store):
    """A directory, served by the gateway's own data plane through the whole Django stack over HTTP."""

    alias = "local"
    backend = "gateway.storages.PrivateFileSystemStorage"
    signature = "signature"
    expiry = "expires"
    checksum = "sha256"
    lacks = frozenset({"form", "parts", "conditional header in the signature"})

    def __init__(self, root: Path) -> None:
        self.options = {"location": root}
        self._server = ThreadedWSGIServer((LOOPBACK, 0), _QuietHandler)
        self._server.set_app(WSGIHandler())
        self.public_url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def put(self, key: str, content: bytes) -> None:
        path = Path(storages[self.alias].path(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, key: str) -> tuple[bytes, str] | None:
        path = Path(storages[self.alias].path(key))
        return (path.read_bytes(), "") if path.exists() else None

    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        assert link.url.startswith(f"{self.public_url}/local/local/")
        assert urlsplit(link.url).query.count("signature=") == 1

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _QuietHandler(WSGIRequestHandler):
    # Its line would hold the whole link.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return
