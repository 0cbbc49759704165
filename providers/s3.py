"""Presign requests for one bucket of Amazon S3, or of a store that speaks its protocol.

Signature Version 4 always, for the region's own host, with no SDK: must not import boto3, and must not ask
the environment for an endpoint (``AWS_ENDPOINT_URL`` moves the links of boto3).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, assert_never
from urllib.parse import SplitResult, urlsplit

from providers import sigv4
from providers.credentials import AWSCredentials, StaticCredentials, covered_seconds
from providers.errors import InvalidConfiguration
from providers.instants import basic, extended
from providers.types import (
    Capabilities,
    Download,
    Operation,
    SignedURL,
    Upload,
    UploadForm,
    UploadPart,
    check_lifetime,
    matches,
)

__all__ = ["LINK_ID_PARAMETER", "AddressingStyle", "S3Provider"]

AddressingStyle = Literal["virtual", "path"]

ALGORITHM = "AWS4-HMAC-SHA256"
# S3 ignores query parameters that start with x- and writes them to its access log.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
LINK_ID_PARAMETER = "x-gateway-link"
_MAX_TTL = timedelta(days=7)  # X-Amz-Expires: 1 to 604800

# https://docs.aws.amazon.com/general/latest/gr/s3.html; the first prefix that fits wins.
_DNS_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("", "amazonaws.com"),
)
_REGION = re.compile(r"[a-z0-9][a-z0-9\-]{0,62}")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; others take more in paths
_BUCKET = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._\-]{1,61}[A-Za-z0-9]")
_DNS_LABEL = re.compile(r"[a-z0-9][a-z0-9\-]{1,61}[a-z0-9]")
_HOST = re.compile(r"[a-z0-9.\-]+|\[[0-9a-f:.]+\]")
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_\-](?:[A-Za-z0-9_\-.~]*[A-Za-z0-9_\-~])?)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_CHECKSUM_HEADERS = {
    "crc32": "x-amz-checksum-crc32",
    "crc32c": "x-amz-checksum-crc32c",
    "crc64nvme": "x-amz-checksum-crc64nvme",
    "md5": "Content-MD5",
    "sha1": "x-amz-checksum-sha1",
    "sha256": "x-amz-checksum-sha256",
}


class _Day:
    """What all links share that one credential signs on one day."""

    def __init__(self, credentials: StaticCredentials, region: str, date: str) -> None:
        self.credentials = credentials
        self.date = date
        self.scope = f"{date}/{region}/s3/aws4_request"
        self.credential = f"{credentials.access_key_id}/{self.scope}"
        self.mac = sigv4.signing_mac(credentials.secret_access_key, self.scope)
        self.query = f"X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={sigv4.encode_value(self.credential)}&X-Amz-Date="
        token = credentials.session_token
        self.token = "" if token is None else f"&X-Amz-Security-Token={sigv4.encode_value(token)}"


class _Moment:
    """What all links share that one credential signs at one instant for one lifetime."""

    def __init__(self, day: _Day, now: datetime, timestamp: str, seconds: int) -> None:
        self.day = day
        self.now = now
        self.timestamp = timestamp
        self.seconds = seconds
        self.expires_at = now + timedelta(seconds=seconds)
        self._start = f"{day.query}{timestamp}&X-Amz-Expires={seconds}"
        self.host_only = self.authorization("host")

    def authorization(self, signed_headers: str) -> tuple[str, str]:
        """Return the X-Amz-* query as botocore orders it in a URL, and sorted for the canonical request."""
        headers = f"&X-Amz-SignedHeaders={signed_headers.replace(';', '%3B')}"
        token = self.day.token
        return self._start + headers + token, self._start + token + headers


class S3Provider:
    """One S3 bucket that can sign.

    Args:
        bucket: 3 to 63 characters; one with a dot is addressed by path, no certificate covers it otherwise.
        region: the bucket's own region, which the signature names.
        credentials: a :class:`StaticCredentials` or anything with its ``current``.
        endpoint_url: of a compatible store, ``http(s)://host[:port][/path]``; None is Amazon's regional host.
        addressing_style: ``virtual`` (bucket in the host) or ``path``.

    Raises:
        InvalidConfiguration: one of these cannot work; the message names the value.
    """

    capabilities = Capabilities(
        max_ttl=_MAX_TTL,
        offline=True,
        operations=frozenset({Download, Upload, UploadForm, UploadPart}),
        signature_parameter="X-Amz-Signature",
        binds_size=True,
        binds_content_type=True,
        binds_checksum=frozenset(_CHECKSUM_HEADERS),
        binds_no_overwrite=True,
        binds_cache_control=True,
    )

    def __init__(
        self,
        *,
        bucket: str,
        region: str,
        credentials: AWSCredentials,
        endpoint_url: str | None = None,
        addressing_style: AddressingStyle = "virtual",
    ) -> None:
        if not matches(_BUCKET, bucket):
            raise InvalidConfiguration(f"bucket is {bucket!r}; 3 to 63 letters, digits, dots, hyphens")
        if not matches(_REGION, region):
            raise InvalidConfiguration(f"region is {region!r}; the bucket's own region, such as eu-central-1")
        if addressing_style not in ("virtual", "path"):
            raise InvalidConfiguration(f"addressing_style is {addressing_style!r}; virtual or path")
        if not isinstance(credentials, AWSCredentials):
            raise InvalidConfiguration(f"credentials are of type {type(credentials).__name__}; AWSCredentials")
        self.bucket = bucket
        self.region = region
        self._credentials = credentials
        endpoint = _endpoint(region, endpoint_url)
        virtual = addressing_style == "virtual" and _is_virtual_hostable(bucket, endpoint)
        netloc = f"{bucket}.{endpoint.netloc}" if virtual else endpoint.netloc
        self._path = f"{endpoint.path}/" if virtual else f"{endpoint.path}/{bucket}/"
        self._origin = f"{endpoint.scheme}://{netloc}"
        # The Host header that clients send has no default port.
        default_port = f":{_DEFAULT_PORTS[endpoint.scheme]}"
        self._host = netloc.removesuffix(default_port)
        self._host_header = f"host:{self._host}\n"
        self._last_moment: _Moment | None = None
        if not getattr(credentials, "offline", True):
            self.capabilities = replace(self.capabilities, offline=False)

    def __repr__(self) -> str:
        return f"<S3Provider {self.base_url} {self.region}>"

    @property
    def base_url(self) -> str:
        """What every link of this bucket starts with, before the key."""
        return self._origin + self._path

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL:
        """Presign one S3 operation.

        Args:
            operation: Download, Upload, UploadForm or UploadPart.
            ttl: whole seconds, 1 second to 7 days.
            now: signing instant, aware; becomes ``X-Amz-Date``.

        Returns:
            A link that ends with ``ttl``, or a minute before the credential does.

        Raises:
            InvalidTTL: ``ttl`` is out of bounds.
            CredentialError: there is no credential, or it has less than 61 seconds left.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
        """
        return self._sign(operation, self._moment(ttl, now))

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> list[SignedURL]:
        """Presign operations for one instant, in order; as :meth:`sign`, cheaper for each."""
        moment = self._moment(ttl, now)
        return [self._sign(operation, moment) for operation in operations]

    def stages(self, operation: Download | Upload | UploadPart, *, ttl: timedelta, now: datetime) -> sigv4.Stages:
        """Show how a link comes about, for comparison with another signer; holds the signature."""
        moment = self._moment(ttl, now)
        if isinstance(operation, Download):
            parameters = _download_parameters(operation)
            return sigv4.Stages(*self._presign(moment, operation.method, operation.key, parameters))
        parameters, _, signed = self._put(operation)
        return sigv4.Stages(*self._presign(moment, "PUT", operation.key, parameters, signed))

    def _sign(self, operation: Operation, moment: _Moment) -> SignedURL:
        match operation:
            case Download():
                method = operation.method
                url = self._presign(moment, method, operation.key, _download_parameters(operation))[2]
                return SignedURL(url=url, method=method, expires_at=moment.expires_at)
            case Upload() | UploadPart():
                parameters, sent, signed = self._put(operation)
                url = self._presign(moment, "PUT", operation.key, parameters, signed)[2]
                return SignedURL(url=url, method="PUT", expires_at=moment.expires_at, headers=sent)
            case UploadForm():
                return self._form(operation, moment)
            case _:
                assert_never(operation)

    def _put(self, operation: Upload | UploadPart) -> tuple[str, dict[str, str], dict[str, str]]:
        """Return the query of a PUT, the headers that the client must send, and all that are signed."""
        parameters = ""
        sent: dict[str, str] = {}
        if isinstance(operation, Upload):
            sent["Content-Type"] = operation.content_type
            if not operation.overwrite:
                # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
                sent["If-None-Match"] = "*"
        else:
            upload_id = sigv4.encode_value(operation.upload_id)
            parameters = f"partNumber={operation.number}&uploadId={upload_id}"
        if (checksum := operation.checksum) is not None:
            sent[_CHECKSUM_HEADERS[checksum.algorithm]] = base64.b64encode(checksum.digest).decode()
        # Signed but never listed: clients set the length themselves, and browsers forbid scripts to.
        signed = {"content-length": str(operation.size_bytes), "host": self._host}
        signed |= {name.lower(): value for name, value in sent.items()}
        return parameters, sent, signed

    def _presign(
        self, moment: _Moment, method: str, key: str, parameters: str, signed: Mapping[str, str] | None = None
    ) -> tuple[str, str, str]:
        """Return canonical request, string to sign and URL; ``signed`` is None for the host alone."""
        if signed is None:
            headers, names = self._host_header, "host"
            in_url, query = moment.host_only
        else:
            headers, names = sigv4.canonical_headers(signed)
            in_url, query = moment.authorization(names)
        if parameters:
            # Sorted: the parameters of an operation start with a lower-case letter, after all of X-Amz-*.
            query = f"{query}&{parameters}"
            in_url = f"{parameters}&{in_url}"
        path = self._path + sigv4.encode_path(key)
        request = sigv4.canonical_request(method, path, query, headers, names)
        text = sigv4.string_to_sign(ALGORITHM, moment.timestamp, moment.day.scope, request)
        signature = sigv4.signature(moment.day.mac, text)
        return request, text, f"{self._origin}{path}?{in_url}&X-Amz-Signature={signature}"

    def _form(self, form: UploadForm, moment: _Moment) -> SignedURL:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
        fields = {"Content-Type": form.content_type, "success_action_status": "201", "key": form.key}
        signing = {
            "x-amz-algorithm": ALGORITHM,
            "x-amz-credential": moment.day.credential,
            "x-amz-date": moment.timestamp,
        }
        if (token := moment.day.credentials.session_token) is not None:
            signing["x-amz-security-token"] = token
        conditions: list[object] = [
            {"Content-Type": form.content_type},
            {"success_action_status": "201"},
            ["content-length-range", form.min_bytes, form.max_bytes],
            {"bucket": self.bucket},
            {"key": form.key},
            *({name: value} for name, value in signing.items()),
        ]
        document = {"expiration": extended(moment.expires_at), "conditions": conditions}
        policy = base64.b64encode(json.dumps(document).encode()).decode()
        fields |= signing
        fields["policy"] = policy
        fields["x-amz-signature"] = sigv4.signature(moment.day.mac, policy)
        # The bucket itself, with a slash in both styles; botocore writes none after a bucket in the path.
        return SignedURL(url=self.base_url, method="POST", expires_at=moment.expires_at, fields=fields)

    def _moment(self, ttl: timedelta, now: datetime) -> _Moment:
        seconds, now = check_lifetime(ttl, now, maximum=_MAX_TTL)
        credentials = self._credentials.current(now=now, needed=ttl)
        seconds = covered_seconds(seconds, now=now, expires_at=credentials.expires_at)
        last = self._last_moment
        # Pages ask for many links in one second; all of them are of one moment.
        if last is not None and (last.now, last.seconds, last.day.credentials) == (now, seconds, credentials):
            return last
        timestamp = basic(now)
        if last is not None and (last.day.date, last.day.credentials) == (timestamp[:8], credentials):
            day = last.day
        else:
            day = _Day(credentials, self.region, timestamp[:8])
        moment = self._last_moment = _Moment(day, now, timestamp, seconds)
        return moment


def _download_parameters(download: Download) -> str:
    """Sorted by name, as the canonical request wants them."""
    parameters = ""
    if download.cache_control is not None:
        parameters = f"&response-cache-control={sigv4.encode_value(download.cache_control)}"
    if (disposition := download.encoded_disposition) is not None:
        parameters += f"&response-content-disposition={disposition[1]}"
    if download.content_type is not None:
        parameters += f"&response-content-type={sigv4.encode_value(download.content_type)}"
    if download.version is not None:
        parameters += f"&versionId={sigv4.encode_value(download.version)}"
    if download.link_id is not None:
        parameters += f"&{LINK_ID_PARAMETER}={download.link_id}"
    return parameters[1:]


def _endpoint(region: str, endpoint_url: str | None) -> SplitResult:
    if endpoint_url is None:
        suffix = next(suffix for prefix, suffix in _DNS_SUFFIXES if region.startswith(prefix))
        return urlsplit(f"https://s3.{region}.{suffix}")
    if not isinstance(endpoint_url, str):
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; http(s)://host[:port]")
    if "@" in endpoint_url:
        # The value is not shown, here or below: what stands before the @ is a password.
        raise InvalidConfiguration("endpoint_url holds a user name; credentials are an argument of their own")
    problem = None
    try:
        parts = urlsplit(endpoint_url)
        port = parts.port
    except ValueError:
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; http(s)://host[:port]") from None
    host = parts.netloc.removesuffix(f":{port}")
    if parts.scheme not in _DEFAULT_PORTS:
        problem = "a scheme of http or https"
    elif not _HOST.fullmatch(host):
        problem = "a lower-case host name, with a port at most"
    elif parts.query or parts.fragment or not _BASE_PATH.fullmatch(parts.path.removesuffix("/")):
        problem = "no query and only a plain path"
    if problem is not None:
        raise InvalidConfiguration(f"endpoint_url is {endpoint_url!r}; it needs {problem}")
    return parts._replace(path=parts.path.removesuffix("/"))


def _is_virtual_hostable(bucket: str, endpoint: SplitResult) -> bool:
    # A dotted name is several labels, which no wildcard certificate covers; an address has no subdomains.
    is_address = endpoint.netloc.startswith("[") or re.fullmatch(r"[0-9.]+", endpoint.hostname or "") is not None
    return _DNS_LABEL.fullmatch(bucket) is not None and not is_address
