"""Sign URLs and cookies for one Amazon CloudFront distribution, which reads from a bucket of its own.

Must not import an SDK, and must not sign what the distribution would let anybody change.
"""

from __future__ import annotations

import binascii
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from providers import rsa
from providers.endpoints import parse_endpoint
from providers.errors import InvalidConfiguration, InvalidKey, InvalidOperation, UnsupportedOperation
from providers.keys import check_key
from providers.sigv4 import encode_path, encode_value
from providers.types import (
    Capabilities,
    Download,
    Operation,
    SignedURL,
    Upload,
    UploadForm,
    UploadPart,
    check_lifetime,
    is_aware,
    matches,
)

__all__ = ["LINK_ID_PARAMETER", "CloudFrontKey", "CloudFrontProvider", "SignedCookies"]

# CloudFront's own logs hold the query; an S3 origin ignores parameters that start with x-.
LINK_ID_PARAMETER = "x-gateway-link"
_MAX_TTL = timedelta(days=7)  # CloudFront knows no limit: ours is that of the other stores
_PREFIX = re.compile(r".+/", re.DOTALL)
_KEY_PAIR_ID = re.compile(r"[A-Z0-9]{1,64}")
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-creating-signed-url-canned-policy.html
_URL_SAFE = bytes.maketrans(b"+=/", b"-_~")


class CloudFrontKey:
    """A private key whose public half is in a trusted key group; parsed once, its repr shows the id.

    Args:
        key_pair_id: of the public key, such as ``K2JCJMDEHXQW5F``; it stands in every link.
        private_key: RSA, in PEM.

    Raises:
        InvalidConfiguration: one of these cannot sign.
    """

    def __init__(self, *, key_pair_id: str, private_key: str) -> None:
        if not matches(_KEY_PAIR_ID, key_pair_id):
            raise InvalidConfiguration(f"key_pair_id is {key_pair_id!r}; upper-case letters and digits")
        if not isinstance(private_key, str):
            raise InvalidConfiguration(f"private_key is of type {type(private_key).__name__}; PEM text")
        self.key_pair_id = key_pair_id
        self._sign = rsa.load_signer(private_key, digest="SHA1", name="private_key")

    def __repr__(self) -> str:
        return f"<CloudFrontKey {self.key_pair_id}>"

    def sign(self, policy: str) -> str:
        """Return the signature of a policy as URLs and cookies hold it."""
        return _encode(self._sign(policy.encode()))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCookies:
    """Three cookies that open every object below one prefix until ``expires_at``; values are never shown.

    Attributes:
        values: by name; to be set for the distribution's domain with Secure and HttpOnly.
        resource: the URL that they open, its last character the wildcard.
        expires_at: aware UTC.
    """

    values: Mapping[str, str] = field(repr=False)
    resource: str
    expires_at: datetime


class CloudFrontProvider:
    """One distribution that can sign downloads.

    The link binds the whole URL: the key, the version, and what the answer shall be called, for which the
    cache policy has to hand the query string on to the origin. It does not bind the method.

    Args:
        endpoint_url: ``https://host[/path]`` of the distribution, or of an alternate domain name.
        key: a :class:`CloudFrontKey`.
        source_ip: an IPv4 address or network that every link is bound to; links then carry a custom policy. None
            binds to none, and the policy is the canned one.

    Raises:
        InvalidConfiguration: one of these cannot work; the message names the value.

    Source: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html
    """

    capabilities = Capabilities(
        max_ttl=_MAX_TTL,
        offline=True,
        operations=frozenset({Download}),
        signature_parameter="Signature",
        binds_size=False,
        binds_content_type=False,
        binds_checksum=frozenset(),
        binds_no_overwrite=False,
        binds_method=False,
        binds_part=False,
        binds_cache_control=True,
    )

    def __init__(self, *, endpoint_url: str, key: CloudFrontKey, source_ip: str | None = None) -> None:
        endpoint = parse_endpoint(endpoint_url)
        if not isinstance(key, CloudFrontKey):
            raise InvalidConfiguration(f"key is of type {type(key).__name__}; a CloudFrontKey")
        self.base_url = f"{endpoint.origin}{endpoint.path}/"
        self._key = key
        try:
            self._source_ip = None if source_ip is None else _network(source_ip)
        except InvalidOperation as error:
            raise InvalidConfiguration(str(error)) from None

    def __repr__(self) -> str:
        return f"<CloudFrontProvider {self.base_url} {self._key.key_pair_id}>"

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL:
        """Sign a download with a canned policy, or with a custom one where the provider is bound to addresses.

        Args:
            operation: a Download.
            ttl: whole seconds, 1 second to 7 days.
            now: signing instant, aware.

        Raises:
            InvalidTTL: ``ttl`` is out of bounds.
            UnsupportedOperation: anything but a download.
        """
        seconds, now = check_lifetime(ttl, now, maximum=_MAX_TTL)
        download = _only_download(operation)
        if self._source_ip is not None:
            return self.sign_restricted(download, ttl=ttl, now=now, source_ip=self._source_ip)
        expires_at = now + timedelta(seconds=seconds)
        url = self._url(download)
        epoch = int(expires_at.timestamp())
        signature = self._key.sign(_policy(url, epoch))
        return self._signed(download, url, f"Expires={epoch}&Signature={signature}", expires_at)

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> list[SignedURL]:
        """Sign downloads for one instant, in order."""
        return [self.sign(operation, ttl=ttl, now=now) for operation in operations]

    def sign_restricted(
        self,
        download: Download,
        *,
        ttl: timedelta,
        now: datetime,
        starts_at: datetime | None = None,
        source_ip: str | None = None,
    ) -> SignedURL:
        """Sign a download with a custom policy, which travels in the link.

        Args:
            starts_at: aware; the link is refused before.
            source_ip: an IPv4 address, or a network such as ``192.0.2.0/24``; all others are refused. None is
                the provider's own.

        Raises:
            InvalidTTL: ``ttl`` is out of bounds.
            InvalidOperation: a restriction is none, or nothing would be left of the lifetime.
        """
        seconds, now = check_lifetime(ttl, now, maximum=_MAX_TTL)
        download = _only_download(download)
        expires_at = now + timedelta(seconds=seconds)
        url = self._url(download)
        source_ip = self._source_ip if source_ip is None else source_ip
        policy = _policy(url, int(expires_at.timestamp()), starts_at=starts_at, source_ip=source_ip)
        parameters = f"Policy={_encode(policy.encode())}&Signature={self._key.sign(policy)}"
        return self._signed(download, url, parameters, expires_at)

    def sign_cookies(
        self, prefix: str, *, ttl: timedelta, now: datetime, source_ip: str | None = None
    ) -> SignedCookies:
        """Sign cookies for every object below a prefix.

        Args:
            prefix: ends in a slash; ``a/`` opens ``a/b`` and ``a/b/c``, and not ``ab``.
            ttl: whole seconds, 1 second to 7 days.
            now: signing instant, aware.
            source_ip: as for :meth:`sign_restricted`.

        Raises:
            InvalidKey: the prefix is empty, does not end in a slash, or breaks the grammar of keys.
            InvalidTTL: ``ttl`` is out of bounds.

        Source: https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-cookies.html
        """
        seconds, now = check_lifetime(ttl, now, maximum=_MAX_TTL)
        if not matches(_PREFIX, prefix):
            raise InvalidKey(f"prefix is {prefix!r}; it ends in a slash, and is not empty")
        check_key(prefix[:-1])
        expires_at = now + timedelta(seconds=seconds)
        # An asterisk of a key is percent-encoded: the only wildcard is the last character.
        resource = f"{self.base_url}{encode_path(prefix)}*"
        source_ip = self._source_ip if source_ip is None else source_ip
        policy = _policy(resource, int(expires_at.timestamp()), source_ip=source_ip)
        values = {
            "CloudFront-Policy": _encode(policy.encode()),
            "CloudFront-Signature": self._key.sign(policy),
            "CloudFront-Key-Pair-Id": self._key.key_pair_id,
        }
        return SignedCookies(values=values, resource=resource, expires_at=expires_at)

    def _url(self, download: Download) -> str:
        parameters = ""
        if download.cache_control is not None:
            parameters = f"&response-cache-control={encode_value(download.cache_control)}"
        if (disposition := download.encoded_disposition) is not None:
            parameters += f"&response-content-disposition={disposition[1]}"
        if download.content_type is not None:
            parameters += f"&response-content-type={encode_value(download.content_type)}"
        if download.version is not None:
            parameters += f"&versionId={encode_value(download.version)}"
        if download.link_id is not None:
            parameters += f"&{LINK_ID_PARAMETER}={download.link_id}"
        url = f"{self.base_url}{encode_path(download.key)}"
        return f"{url}?{parameters[1:]}" if parameters else url

    def _signed(self, download: Download, url: str, parameters: str, expires_at: datetime) -> SignedURL:
        separator = "&" if "?" in url else "?"
        url = f"{url}{separator}{parameters}&Key-Pair-Id={self._key.key_pair_id}"
        return SignedURL(url=url, method=download.method, expires_at=expires_at)


def _only_download(operation: Operation) -> Download:
    match operation:
        case Download():
            return operation
        case Upload() | UploadForm() | UploadPart():
            raise UnsupportedOperation(f"{type(operation).__name__} cannot be signed for CloudFront; Download")
        case _:
            assert_never(operation)


def _policy(resource: str, epoch: int, *, starts_at: datetime | None = None, source_ip: str | None = None) -> str:
    """Build the one statement, in the order and without the white space that a canned policy has to have."""
    # Written by hand: json.dumps() of it all takes longer than anything but RSA. The resource alone is free text.
    condition = f'"DateLessThan":{{"AWS:EpochTime":{epoch}}}'
    if source_ip is not None:
        condition += f',"IpAddress":{{"AWS:SourceIp":"{_network(source_ip)}"}}'
    if starts_at is not None:
        if not is_aware(starts_at) or starts_at.timestamp() >= epoch:
            raise InvalidOperation(f"starts_at is {starts_at!r}; an aware datetime before the end of the link")
        condition += f',"DateGreaterThan":{{"AWS:EpochTime":{int(starts_at.timestamp())}}}'
    return f'{{"Statement":[{{"Resource":{json.dumps(resource)},"Condition":{{{condition}}}}}]}}'


def _network(source_ip: str) -> str:
    try:
        # A number would be an address, too: True is 0.0.0.1.
        if type(source_ip) is str:
            return str(ipaddress.IPv4Network(source_ip))
    except ValueError:
        pass
    raise InvalidOperation(f"source_ip is {source_ip!r}; an IPv4 address or network")


def _encode(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).decode()
