"""Cloud Storage for the suite of fetched links: one adapter for each way in which its links are signed.

It must not sign. The server is this project's own verifier before an emulator: no independent one exists.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from providers import MetadataServer
from providers.types import SignedURL
from tests.emulators.gcs import CloudStorage
from tests.emulators.s3 import send
from tests.emulators.token_endpoints import GoogleMetadata, IAMCredentials
from tests.gateway.link_stores import FormStore
from tests.verifiers.goog4 import verify_form, verify_signed


class GCSStore(FormStore):
    """A bucket of the server, with a location, signed for by the key of a service account."""

    LOCATION = "tenant 1/files"
    backend = "gateway.storages.PrivateGCSStorage"
    signature = "X-Goog-Signature"
    expiry = "X-Goog-Expires"
    condition = "x-goog-if-generation-match"
    other_condition = "1"
    form_names: Mapping[str, str] = {"x-amz-meta-a": "x-goog-meta-a", "x-amz-signature": "x-goog-signature"}

    def __init__(self, alias: str, server: CloudStorage) -> None:
        self.alias = alias
        self.emulator = server.name
        self.server = server
        self.bucket = server.create_bucket(f"links-{secrets.token_hex(6)}")
        self._stack = ExitStack()
        self.options: dict[str, Any] = {
            "bucket_name": self.bucket,
            "endpoint_url": server.endpoint_url,
            "location": self.LOCATION,
            **self.credential(),
        }

    def credential(self) -> dict[str, Any]:
        return {"service_account_key": self.server.service_account_info()}

    def key(self, key: str) -> str:
        return f"{self.LOCATION}/{key}"

    def put(self, key: str, content: bytes) -> None:
        self.server.objects.write(self.bucket, self.key(key), content)

    def get(self, key: str) -> tuple[bytes, str] | None:
        about = self.server.objects.about(self.bucket, self.key(key))
        if about is None:
            return None
        return self.server.objects.read(self.bucket, self.key(key)), about["contentType"]

    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        now, identities = datetime.now(UTC), self.server.identities
        if link.fields:
            assert size_bytes is not None
            verified = verify_form(
                fields=link.fields, bucket=self.bucket, identities=identities, now=now, content_length=size_bytes
            )
        else:
            verified = verify_signed(
                method=link.method, url=link.url, headers=link.headers, identities=identities, now=now,
                body_length=size_bytes,
            )  # fmt: skip
            assert verified.path.startswith(f"/{self.bucket}/{self.LOCATION}/")
        assert verified.expires_at == link.expires_at

    def begin_upload(self, key: str) -> str:
        return self.server.uploads.begin(self.bucket, self.key(key), "application/pdf")

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> None:
        assert len(etags) == len(self.server.uploads.parts(upload_id))
        self.server.uploads.complete(upload_id)

    def part_numbers(self, key: str, upload_id: str) -> list[int]:
        return sorted(self.server.uploads.parts(upload_id))

    def count(self) -> int:
        return len(self.server.objects.names(self.bucket))

    def let_in(self, origin: str, *headers: str) -> None:
        """Let pages of an origin put, with these headers, and see these of the answers."""
        rule = {"origin": [origin], "method": ["PUT"], "responseHeader": list(headers), "maxAgeSeconds": 60}
        sent = {"Authorization": f"Bearer {self.server.new_token()}", "Content-Type": "application/json"}
        url = f"{self.server.endpoint_url}/storage/v1/b/{self.bucket}"
        answer = send(url, method="PATCH", headers=sent, body=json.dumps({"cors": [rule]}).encode())
        assert answer.status == 200

    def close(self) -> None:
        self._stack.close()


class HMACGCSStore(GCSStore):
    """The same, signed for with an HMAC key."""

    def credential(self) -> dict[str, Any]:
        return {"hmac_access_id": self.server.access_id, "hmac_secret": self.server.secret}


class KeylessGCSStore(GCSStore):
    """The same, signed for by IAM's signBlob, with tokens of a metadata server."""

    def credential(self) -> dict[str, Any]:
        metadata = self._stack.enter_context(GoogleMetadata(email=self.server.email))
        iam = self._stack.enter_context(IAMCredentials(self.server.sign, accounts=frozenset({self.server.email})))
        iam.accepts = metadata.tokens.__contains__
        return {"signer_tokens": MetadataServer(endpoint_url=metadata.url), "iam_endpoint_url": iam.url}
