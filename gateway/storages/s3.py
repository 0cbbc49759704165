"""``storages.backends.s3.S3Storage`` made private: the SDK moves the bytes, our signer makes the links.

Must not let the environment move a link, and never makes an unsigned one.
"""

from __future__ import annotations

import io
import os
import re
import threading
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, cast

from botocore.config import Config
from botocore.exceptions import ClientError
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from storages.backends.s3 import S3Storage
from storages.utils import lookup_env, setting

from gateway.errors import ObjectExists
from gateway.storages.base import CLOUD_OPTION_TYPES, PrivateStorageMixin, exact, seconds
from gateway.storages.s3_objects import S3Objects
from gateway.storages.s3_session import session_of_chain, session_of_keys
from providers.aws_credentials import AWSCredentialChain
from providers.cloudfront import CloudFrontKey, CloudFrontProvider
from providers.credentials import AWSCredentials, StaticCredentials
from providers.errors import InvalidConfiguration
from providers.keys import key_error
from providers.s3 import AddressingStyle, S3Provider
from providers.types import Download, Provider

__all__ = ["PrivateS3Storage"]

_PUBLIC_ACLS = frozenset({"public-read", "public-read-write", "authenticated-read"})
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#specifying-grantee-predefined-groups
_PUBLIC_GROUPS = re.compile("groups/global/(AllUsers|AuthenticatedUsers)")
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
# Where django-storages looks.
_ACCESS_KEY_VARIABLES = ["AWS_S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"]
_TOKEN_VARIABLES = ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"]
_COMPATIBLE_REGION = "us-east-1"  # what boto3 signs for where a compatible store was given no region

_connecting = threading.Lock()


def _forget_lock() -> None:
    # A thread of the parent process may hold it, and is not here to let go.
    global _connecting
    _connecting = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


class PrivateS3Storage(PrivateStorageMixin, S3Storage):  # type: ignore[misc]
    """A private bucket of Amazon S3 or a compatible store; every option of django-storages, and ours.

    Args:
        public_endpoint_url: sign for the host that browsers see, while ``endpoint_url`` moves the bytes.
        cloudfront_source_ip: an IPv4 address or network; CloudFront refuses its links to all others.

    Beside :class:`PrivateStorageMixin`'s. With ``custom_domain``, ``cloudfront_key_id`` and ``cloudfront_key``
    downloads lead to CloudFront, and uploads to the bucket. Without a key pair or a profile boto3's chain finds
    the credentials. What would make a link unsigned, public or valid elsewhere is refused:
    ``querystring_auth=False``, public ACLs, ``custom_domain`` without a key, SigV2.
    """

    own_options: ClassVar[tuple[str, ...]] = (
        *PrivateStorageMixin.own_options,
        "public_endpoint_url",
        "cloudfront_source_ip",
    )
    option_types = CLOUD_OPTION_TYPES

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
        self.cloudfront_source_ip: str | None = own.get("cloudfront_source_ip")
        if problem := self._problem():
            raise ImproperlyConfigured(problem)
        if self.querystring_expire is not None:
            self.default_ttl = seconds("querystring_expire", self.querystring_expire)
        if self.endpoint_url and not self.region_name:  # type: ignore[has-type]
            # Said here, or AWS_DEFAULT_REGION would say it for the bytes and not for the links.
            self.region_name = _COMPATIBLE_REGION
        self.security_token: str | None = self._own_token(self.security_token)
        given: Config = self.client_config  # type: ignore[has-type]
        # django-storages does not use its own option where it was given a client_config.
        self._style = self.addressing_style or (given.s3 or {}).get("addressing_style")
        self.client_config = given.merge(
            Config(
                # AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3 must not send private bytes elsewhere.
                ignore_configured_endpoint_urls=True,
                signature_version="s3v4",
                s3={**(given.s3 or {}), "addressing_style": self._addressing_style(self.endpoint_url)},
            )
        )
        self._connected: tuple[int, Any] | None = None
        # Made here, where one thread is: two chains would fetch twice. It asks nobody until a link is.
        self._chain = None if self.access_key or self.secret_key else self._make_chain()

    @property
    def provider(self) -> Provider:
        """The signer of downloads: of the bucket, or of the CloudFront distribution before it.

        Raises:
            InvalidConfiguration: it cannot be built; the message names the value.
        """
        return self._distribution if self.custom_domain else self._bucket_provider

    def provider_for(self, kind: type) -> Provider:
        """Return what signs operations of a class: a distribution knows downloads alone."""
        return self.provider if kind is Download else self._bucket_provider

    @property
    def cloudfront_url(self) -> str | None:
        """Where the links of a distribution lead."""
        return f"{self.url_protocol}//{self.custom_domain}" if self.custom_domain else None

    @cached_property
    def _distribution(self) -> CloudFrontProvider:
        return CloudFrontProvider(
            endpoint_url=str(self.cloudfront_url), key=self.cloudfront_signer, source_ip=self.cloudfront_source_ip
        )

    def get_cloudfront_signer(self, key_id: str, key: str | bytes) -> CloudFrontKey:
        """Parse the key, once; django-storages would keep the text of every key in a class attribute."""
        try:
            return CloudFrontKey(key_pair_id=key_id, private_key=key.decode() if isinstance(key, bytes) else key)
        except InvalidConfiguration as error:
            raise ImproperlyConfigured(f"cloudfront_key: {error}") from None

    @cached_property
    def _bucket_provider(self) -> S3Provider:
        """The signer of this bucket, for the host that browsers see."""
        endpoint_url = self.public_endpoint_url or self.endpoint_url
        if not self.region_name:
            raise InvalidConfiguration("region_name is empty; links are signed for the bucket's own region")
        return S3Provider(
            bucket=self.bucket_name,
            region=self.region_name,
            credentials=self._credentials(),
            endpoint_url=endpoint_url,
            addressing_style=self._addressing_style(endpoint_url),
        )

    @property
    def objects(self) -> S3Objects:
        """The bucket, as uploads look at it."""
        return S3Objects(self)

    @property
    def connection(self) -> Any:
        """The SDK's connection: one for all threads, for it takes 0.1 s to make; a new one after a fork."""
        connected = self._connected
        if connected is None or connected[0] != os.getpid():
            with _connecting:
                connected = self._connected
                if connected is None or connected[0] != os.getpid():
                    connected = self._connected = (os.getpid(), self._connect())
        return connected[1]

    @property
    def bucket(self) -> Any:
        # django-storages keeps one for good, with the sockets of the process that it was made in.
        return self.connection.Bucket(self.bucket_name)

    def _connect(self) -> Any:
        self._connections = threading.local()
        connection = super().connection
        if not self.file_overwrite:
            # upload_fileobj() takes no IfNoneMatch, so it is added where every write passes.
            events = connection.meta.client.meta.events
            for operation in ("PutObject", "CompleteMultipartUpload"):
                events.register(f"provide-client-params.s3.{operation}", _create_only)
        return connection

    def _create_session(self) -> Any:
        if self._chain is not None:
            return session_of_chain(self._chain, profile=self.session_profile or None)
        return session_of_keys(self.access_key, self.secret_key, self.security_token)

    def _credentials(self) -> AWSCredentials:
        if self._chain is not None:
            return self._chain
        if not (self.access_key and self.secret_key):
            missing = "secret_key" if self.access_key else "access_key"
            raise InvalidConfiguration(
                f"{missing} is empty; a link needs the whole key pair, or none for boto3's chain"
            )
        token = self.security_token or None
        return StaticCredentials(self.access_key, self.secret_key, token, _end_of(token))

    def _make_chain(self) -> AWSCredentialChain:
        try:
            return AWSCredentialChain(self.session_profile or None)
        except InvalidConfiguration as error:
            raise ImproperlyConfigured(f"session_profile: {error}") from None

    def _addressing_style(self, endpoint_url: str | None) -> AddressingStyle:
        if self._style in ("virtual", "path"):
            return cast("AddressingStyle", self._style)
        # As boto3 does where nothing is said: compatible stores seldom have a host for each bucket.
        return "path" if endpoint_url else "virtual"

    def _own_token(self, token: str | None) -> str | None:
        # The environment's token belongs to the environment's key, and makes any other one's links invalid.
        if token == lookup_env(_TOKEN_VARIABLES) and self.access_key != lookup_env(_ACCESS_KEY_VARIABLES):
            return None
        return token

    def _problem(self) -> str | None:
        # What object_parameters say is what a write sends; default_acl is only asked where they are silent.
        acl = self.object_parameters.get("ACL") or self.default_acl
        if not self.bucket_name:
            return "bucket_name is empty; the bucket that links are signed for"
        if not self.querystring_auth:
            return "querystring_auth is False; a private storage makes no unsigned link"
        if acl in _PUBLIC_ACLS:
            return f"the ACL is {acl!r}; a private storage writes no public object"
        if any(_PUBLIC_GROUPS.search(str(value)) for value in self.object_parameters.values()):
            return "object_parameters grant to everybody; a private storage writes no public object"
        if self.custom_domain and not self.cloudfront_signer:
            return "custom_domain is set without a CloudFront key; links there would be unsigned"
        if not self.custom_domain and (self.cloudfront_signer or self.cloudfront_source_ip):
            return "CloudFront is to sign, and custom_domain does not say for which distribution"
        if not isinstance(self.cloudfront_signer, CloudFrontKey | None):
            kind = type(self.cloudfront_signer).__name__
            return f"cloudfront_signer is of type {kind}; cloudfront_key_id and cloudfront_key"
        if not isinstance(self.client_config, Config):
            return f"client_config is of type {type(self.client_config).__name__}; botocore.config.Config"
        for version in (self.signature_version, self.client_config.signature_version):
            if version not in (None, "s3v4"):
                return f"signature_version is {version!r}; s3v4, no other link can be held to an age"
        if self.addressing_style not in (None, "auto", "path", "virtual"):
            return f"addressing_style is {self.addressing_style!r}; auto, path or virtual"
        if problem := key_error(f"{self.location.strip('/')}/k".lstrip("/")):
            return f"location is {self.location!r}; its {problem}"
        if not self.use_ssl and not self.endpoint_url:
            return "use_ssl is False; Amazon S3 is spoken to over https alone"
        if self.querystring_expire is not None and self.default_ttl is not None:
            return "querystring_expire and default_ttl say the same; give one"
        return None

    def _normalize_name(self, name: str) -> str:
        return self.object_key(name) if name else super()._normalize_name(name)

    def _save(self, name: str, content: Any) -> str:
        if isinstance(getattr(content, "file", None), io.TextIOBase):
            # The SDK counts a text by its characters, and would cut it short by the bytes that are more.
            content.seek(0)
            content = ContentFile(content.read().encode(), name=content.name)
        try:
            return str(super()._save(exact(name), content))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _TAKEN:
                raise ObjectExists(f"the key {name!r} is taken; nothing was overwritten") from error
            raise


def _end_of(token: str | None) -> datetime | None:
    """Return when the environment says that its own token ends, as botocore reads it."""
    end = os.environ.get("AWS_CREDENTIAL_EXPIRATION")
    if not end or token is None or token != lookup_env(_TOKEN_VARIABLES):
        return None
    try:
        instant = datetime.fromisoformat(end)
    except ValueError:
        raise InvalidConfiguration(f"AWS_CREDENTIAL_EXPIRATION is {end!r}; an ISO 8601 instant") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def _create_only(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {"IfNoneMatch": "*"} | params
