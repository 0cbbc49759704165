"""One storage that is being examined: how to reach it, whom to ask, and what it is asked for.

Must not sign: the door's probe does, and only below the probe's own key.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from django.core.files.storage import FileSystemStorage

from gateway import links
from gateway.conf import conf
from gateway.doctor.transport import Fetch, in_process, over_network
from providers.azure import AzureProvider
from providers.gcs import GCSProvider
from providers.local import LocalProvider
from providers.s3 import S3Provider
from providers.types import Checksum, Download, SignedURL, Upload

__all__ = ["CONTENT", "CONTENT_TYPE", "Visit", "is_same_bucket"]

CONTENT = b"presign-gateway doctor\n"
CONTENT_TYPE = "text/plain"
TTL = timedelta(seconds=60)


@dataclass
class Visit:
    """One examination of one alias.

    Args:
        storage: the storage of ``alias``, with the credentials that the service has.
        sweeper: a storage of the same bucket (:func:`is_same_bucket`) as the identity that deletes; None where it is
            not known.
        auditor: a storage of the same bucket as an identity that reads its configuration.
        origins: whose pages upload and download.
        is_there: whether the probe is.
        answers: whether the store does.
    """

    alias: str
    storage: Any
    sweeper: Any = None
    auditor: Any = None
    origins: Sequence[str] = ()
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    is_there: bool = False
    answers: bool = True

    @property
    def provider(self) -> Any:
        return self.storage.provider

    @property
    def uploads(self) -> Any:
        """What signs uploads: the bucket's own signer, also where a distribution stands before it."""
        return self.storage.provider_for(Upload)

    @property
    def is_s3(self) -> bool:
        return isinstance(self.uploads, S3Provider)

    @property
    def is_gcs(self) -> bool:
        return isinstance(self.uploads, GCSProvider)

    @property
    def is_azure(self) -> bool:
        return isinstance(self.uploads, AzureProvider)

    @property
    def is_local(self) -> bool:
        return isinstance(self.provider, LocalProvider)

    @property
    def key(self) -> str:
        """The probe's name in the storage, without the storage's location."""
        return f"{links.PROBE_KEY}/{self.name}"

    @property
    def max_ttl(self) -> timedelta:
        """The longest life of a link of this storage."""
        return min(conf().max_ttl, self.storage.max_ttl or conf().max_ttl)

    @cached_property
    def fetch(self) -> Fetch:
        if self.is_local:
            public = urlsplit(conf().public_origin)
            return in_process(public.netloc or "localhost", is_secure=public.scheme == "https")
        # As S3's options have it, and as Azure's.
        return over_network(getattr(self.storage, "verify", None) or getattr(self.storage, "ca_file", None))

    def download(self, *, ttl: timedelta = TTL, now: datetime | None = None) -> SignedURL:
        return links.probe(self.alias, Download, name=self.name, ttl=ttl, now=now)

    def upload(self) -> SignedURL:
        def operation(key: str) -> Upload:
            checksum = Checksum("sha256", sha256(CONTENT).digest())
            binds = "sha256" in self.uploads.capabilities.binds_checksum
            return Upload(key, content_type=CONTENT_TYPE, size_bytes=len(CONTENT), checksum=checksum if binds else None)

        return links.probe(self.alias, operation, name=self.name, ttl=TTL, now=datetime.now(UTC))

    @property
    def address(self) -> str:
        """Where the probe is, without a signature."""
        return self.download().url.partition("?")[0]

    @property
    def listing_url(self) -> str:
        """Where the store lists what is there, without a signature."""
        base: str = self.provider.base_url
        # https://learn.microsoft.com/rest/api/storageservices/list-blobs
        return f"{base.rstrip('/')}?restype=container&comp=list" if self.is_azure else base

    @property
    def client(self) -> Any:
        """boto3's client with the credentials that the service has."""
        return self.storage.connection.meta.client

    @property
    def looking(self) -> Any:
        """boto3's client of whoever may read the configuration of the bucket."""
        return self.reader.connection.meta.client

    @property
    def reader(self) -> Any:
        """The storage of whoever may read the configuration."""
        return self.auditor or self.storage

    @property
    def bucket(self) -> str:
        return str(self.storage.bucket_name)

    @property
    def is_amazon(self) -> bool:
        """Whether the bucket is at Amazon itself, and not to a compatible store."""
        return ".amazonaws." in self._host

    @property
    def is_at_vendor(self) -> bool:
        """Whether the bucket is at Amazon, Google or Microsoft, and not at an emulator or a compatible store."""
        return self.is_amazon or self._host.endswith(".googleapis.com") or ".blob.core." in self._host

    @property
    def _host(self) -> str:
        return urlsplit(self.uploads.base_url).hostname or ""


def is_same_bucket(storage: Any, other: Any) -> bool:
    """Tell whether two storages reach the same objects, by whatever endpoint."""
    return _bucket_of(storage) == _bucket_of(other)


def _bucket_of(storage: Any) -> tuple[str, ...]:
    if isinstance(storage, FileSystemStorage):
        return ("directory", str(storage.location))
    if container := getattr(storage, "azure_container", None):
        return ("azure", str(storage.account_name), str(container))
    kind = "gs" if hasattr(storage, "iam_sign_blob") else "s3"
    return (kind, str(storage.bucket_name))
