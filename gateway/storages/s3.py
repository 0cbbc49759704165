"""``storages.backends.s3.S3Storage`` made private: the SDK moves the bytes, our signer makes the links.

Must not let the environment move a link, and never makes an unsigned one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, cast

from botocore.config import Config
from botocore.exceptions import ClientError
from django.core.exceptions import ImproperlyConfigured
from storages.backends.s3 import S3Storage
from storages.utils import setting

from gateway.errors import ObjectExists
from gateway.storages.base import PrivateStorageMixin, seconds
from providers.credentials import StaticCredentials
from providers.errors import InvalidConfiguration
from providers.s3 import AddressingStyle, S3Provider

__all__ = ["PrivateS3Storage"]

_PUBLIC_ACLS = frozenset({"public-read", "public-read-write", "authenticated-read"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_COMPATIBLE_REGION = "us-east-1"  # what boto3 signs for where a compatible store was given no region


class PrivateS3Storage(PrivateStorageMixin, S3Storage):  # type: ignore[misc]
    """A private bucket of Amazon S3 or a compatible store; every option of django-storages, and ours.

    Args:
        public_endpoint_url: sign for the host that browsers see, while ``endpoint_url`` moves the bytes.

    Beside :class:`PrivateStorageMixin`'s. What would make a link unsigned, public or valid elsewhere is
    refused: ``querystring_auth=False``, public ACLs, ``custom_domain``, SigV2.
    """

    own_options: ClassVar[tuple[str, ...]] = (*PrivateStorageMixin.own_options, "public_endpoint_url")

    def get_default_settings(self) -> dict[str, Any]:
        # Names are never used twice, so there is nothing that a save should replace; and an hour is
        # django-storages' default lifetime, not ours.
        return {
            **super().get_default_settings(),
            "file_overwrite": setting("AWS_S3_FILE_OVERWRITE", False),
            "querystring_expire": setting("AWS_QUERYSTRING_EXPIRE", None),
        }

    def configure(self, own: dict[str, Any]) -> None:
        self.public_endpoint_url: str | None = own.get("public_endpoint_url")
        if problem := self._problem():
            raise ImproperlyConfigured(problem)
        if self.querystring_expire is not None:
            self.default_ttl = seconds("querystring_expire", self.querystring_expire)
        given: Config = self.client_config  # type: ignore[has-type]
        self.client_config = given.merge(
            Config(
                # AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3 must not send private bytes elsewhere.
                ignore_configured_endpoint_urls=True,
                signature_version="s3v4",
                s3={**(given.s3 or {}), "addressing_style": self._addressing_style},
            )
        )

    @cached_property
    def provider(self) -> S3Provider:
        """The signer of this bucket, for the host that browsers see.

        Raises:
            InvalidConfiguration: it cannot be built; the message names the value.
        """
        if not (self.access_key and self.secret_key):
            raise InvalidConfiguration("access_key and secret_key are empty; links need a key pair to sign with")
        endpoint_url = self.public_endpoint_url or self.endpoint_url
        region = self.region_name or (_COMPATIBLE_REGION if endpoint_url else None)
        if region is None:
            raise InvalidConfiguration("region_name is empty; links are signed for the bucket's own region")
        return S3Provider(
            bucket=self.bucket_name,
            region=region,
            credentials=StaticCredentials(self.access_key, self.secret_key, self.security_token or None),
            endpoint_url=endpoint_url,
            addressing_style=self._addressing_style,
        )

    @property
    def connection(self) -> Any:
        connection = super().connection
        if not self.file_overwrite and getattr(self._connections, "guarded", None) is not connection:
            # upload_fileobj() takes no IfNoneMatch, so it is added where every write passes.
            events = connection.meta.client.meta.events
            for operation in ("PutObject", "CompleteMultipartUpload"):
                events.register(f"provide-client-params.s3.{operation}", _create_only)
            self._connections.guarded = connection
        return connection

    @property
    def _addressing_style(self) -> AddressingStyle:
        if self.addressing_style in ("virtual", "path"):
            return cast("AddressingStyle", self.addressing_style)
        # As boto3 does where nothing is said: compatible stores seldom have a host for each bucket.
        return "path" if self.endpoint_url else "virtual"

    def _problem(self) -> str | None:
        acl = self.default_acl or self.object_parameters.get("ACL")
        if not self.bucket_name:
            return "bucket_name is empty; the bucket that links are signed for"
        if not self.querystring_auth:
            return "querystring_auth is False; a private storage makes no unsigned link"
        if acl in _PUBLIC_ACLS:
            return f"the ACL is {acl!r}; a private storage writes no public object"
        if self.custom_domain or self.cloudfront_signer:
            return "custom_domain is set; S3 signs for its own hosts and for public_endpoint_url alone"
        if self.signature_version not in (None, "s3v4"):
            return f"signature_version is {self.signature_version!r}; s3v4, no other link can be held to an age"
        if not self.use_ssl and not self.endpoint_url:
            return "use_ssl is False; Amazon S3 is spoken to over https alone"
        if self.querystring_expire is not None and self.default_ttl is not None:
            return "querystring_expire and default_ttl say the same; give one"
        return None

    def _normalize_name(self, name: str) -> str:
        return self.object_key(name) if name else super()._normalize_name(name)

    def _save(self, name: str, content: Any) -> str:
        try:
            return str(super()._save(name, content))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _TAKEN:
                raise ObjectExists(f"the key {name!r} is taken; nothing was overwritten") from error
            raise


def _create_only(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {"IfNoneMatch": "*"} | params
