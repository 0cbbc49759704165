"""Presign requests for one bucket of Google Cloud Storage, in its own V4 signing.

Must not import an SDK. Only credentials without a key of their own open a connection to sign.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, assert_never, runtime_checkable

from providers import rsa, sigv4
from providers.endpoints import is_virtual_hostable, parse_endpoint
from providers.errors import InvalidConfiguration, UnsupportedOperation
from providers.instants import basic, extended
from providers.mac import Mac
from providers.types import (
    NO_HEADERS,
    Capabilities,
    Checksum,
    Download,
    Operation,
    SignedURL,
    Upload,
    UploadForm,
    UploadPart,
    check_lifetime,
    matches,
)

__all__ = [
    "LINK_ID_PARAMETER",
    "GCSCredentials",
    "GCSProvider",
    "HMACKey",
    "ServiceAccountKey",
    "ServiceAccountSigner",
]

# Cloud Storage ignores these parameters and writes them to its Data Access audit logs.
# https://cloud.google.com/storage/docs/audit-logging#add-custom-metadata
LINK_ID_PARAMETER = "x-goog-custom-audit-gateway-link"
_MAX_TTL = timedelta(days=7)  # X-Goog-Expires: at most 604800
_ENDPOINT_URL = "https://storage.googleapis.com"
# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9._\-]{1,220}[a-z0-9]")
_NOT_BLANK = re.compile(r"\S(?:.*\S)?")
_CHECKSUMS = frozenset({"crc32c", "md5"})  # all that Cloud Storage knows


@runtime_checkable
class GCSCredentials(Protocol):
    """Who signs. ``ready`` may look for a token first; the function that it returns takes a scope and texts,
    and gives their signatures in lower-case hexadecimal."""

    @property
    def algorithm(self) -> str: ...

    @property
    def offline(self) -> bool: ...

    @property
    def max_ttl(self) -> timedelta: ...

    def ready(self, now: datetime) -> tuple[str, Callable[[str, Sequence[str]], list[str]]]: ...


class ServiceAccountSigner:
    """A service account whose key somebody else holds in this process, such as google-auth.

    Args:
        client_email: the account.
        sign: RSASSA-PKCS1-v1_5 with SHA-256, a text in, a signature out; must not open a connection.

    Raises:
        InvalidConfiguration: ``client_email`` is none.
    """

    algorithm: ClassVar[str] = "GOOG4-RSA-SHA256"
    offline: ClassVar[bool] = True
    max_ttl: ClassVar[timedelta] = _MAX_TTL

    def __init__(self, *, client_email: str, sign: Callable[[bytes], bytes]) -> None:
        if not matches(_NOT_BLANK, client_email) or "@" not in client_email:
            raise InvalidConfiguration(f"client_email is {client_email!r}; the e-mail of a service account")
        self.client_email = client_email
        self._sign = sign

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.client_email}>"

    def ready(self, now: datetime) -> tuple[str, Callable[[str, Sequence[str]], list[str]]]:
        return self.client_email, self._sign_all

    def _sign_all(self, scope: str, texts: Sequence[str]) -> list[str]:
        return [self._sign(text.encode()).hex() for text in texts]


class ServiceAccountKey(ServiceAccountSigner):
    """A key of a service account, parsed once; its repr shows the account.

    Args:
        client_email: the account.
        private_key: RSA, in PEM.

    Raises:
        InvalidConfiguration: one of these cannot sign.
    """

    def __init__(self, *, client_email: str, private_key: str) -> None:
        if not isinstance(private_key, str):
            raise InvalidConfiguration(f"private_key is of type {type(private_key).__name__}; PEM text")
        sign = rsa.load_signer(private_key, digest="SHA256", name="private_key")
        super().__init__(client_email=client_email, sign=sign)

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> ServiceAccountKey:
        """Take the content of the JSON file that Google hands out.

        Raises:
            InvalidConfiguration: it is no key of a service account.
        """
        if not isinstance(info, Mapping):
            raise InvalidConfiguration(f"the key is of type {type(info).__name__}; the parsed JSON of a key file")
        if info.get("type", "service_account") != "service_account":
            raise InvalidConfiguration("the key is not of type service_account")
        for name in ("client_email", "private_key"):
            if not isinstance(info.get(name), str):
                raise InvalidConfiguration(f"the service account key has no {name}")
        return cls(client_email=info["client_email"], private_key=info["private_key"])


class HMACKey:
    """An HMAC key of a service account or user; its repr shows the access id.

    Args:
        access_id: not secret; it stands in every link.
        secret: never shown.

    Raises:
        InvalidConfiguration: one of these is empty, or has white space around it.

    Source: https://cloud.google.com/storage/docs/authentication/signatures
    """

    algorithm: ClassVar[str] = "GOOG4-HMAC-SHA256"
    offline: ClassVar[bool] = True
    max_ttl: ClassVar[timedelta] = _MAX_TTL

    def __init__(self, access_id: str, secret: str) -> None:
        for name, value in (("access_id", access_id), ("secret", secret)):
            if not matches(_NOT_BLANK, value):
                raise InvalidConfiguration(f"{name} is empty or has white space around it; a link needs one")
        self.access_id = access_id
        self._secret = secret
        self._last: tuple[str, Mac | None] = ("", None)

    def __repr__(self) -> str:
        return f"<HMACKey {self.access_id}>"

    def ready(self, now: datetime) -> tuple[str, Callable[[str, Sequence[str]], list[str]]]:
        return self.access_id, self._sign_all

    def _sign_all(self, scope: str, texts: Sequence[str]) -> list[str]:
        last, mac = self._last
        if mac is None or last != scope:
            mac = sigv4.signing_mac(self._secret, scope, prefix="GOOG4")
            self._last = scope, mac
        return [sigv4.signature(mac, text) for text in texts]


class _Day:
    """What all links share that one identity signs on one day."""

    def __init__(self, algorithm: str, identity: str, date: str) -> None:
        self.key = (identity, date)
        self.scope = f"{date}/auto/storage/goog4_request"
        self.credential = f"{identity}/{self.scope}"
        self.query = (
            f"X-Goog-Algorithm={algorithm}&X-Goog-Credential={sigv4.encode_value(self.credential)}&X-Goog-Date="
        )


class _Moment(NamedTuple):
    """What all links share that one identity signs at one instant for one lifetime."""

    day: _Day
    algorithm: str
    timestamp: str
    query: str
    expires_at: datetime


class _Unsigned(NamedTuple):
    """A link that only lacks its signature, which belongs to ``text``."""

    canonical_request: str
    text: str
    url: str
    method: str
    headers: Mapping[str, str] = NO_HEADERS
    fields: Mapping[str, str] = NO_HEADERS

    def signed(self, signature: str, expires_at: datetime) -> SignedURL:
        url, fields = f"{self.url}&X-Goog-Signature={signature}", self.fields
        if fields:
            url, fields = self.url, {**fields, "x-goog-signature": signature, "policy": self.text}
        return SignedURL(url=url, method=self.method, expires_at=expires_at, headers=self.headers, fields=fields)


class GCSProvider:
    """One bucket of Cloud Storage that can sign.

    A link id travels as a custom audit entry. The type and disposition that a link asks for are signed, but
    Cloud Storage lets the Content-Type and Content-Disposition that an object was stored with win over them.

    Args:
        bucket: 3 to 222 characters; one with a dot is addressed by path, no certificate covers it otherwise.
        credentials: a :class:`ServiceAccountKey`, an :class:`HMACKey`, an ``IAMSigner``, or anything alike.
        endpoint_url: ``http(s)://host[:port]`` of another universe domain, an emulator, or the bucket's own
            host; None is storage.googleapis.com.
        addressing_style: ``virtual`` (bucket in the host), ``path``, or ``bound`` where ``endpoint_url`` is a
            host that serves this bucket alone.

    Raises:
        InvalidConfiguration: one of these cannot work; the message names the value.

    Source: https://cloud.google.com/storage/docs/authentication/canonical-requests
    """

    def __init__(
        self,
        *,
        bucket: str,
        credentials: GCSCredentials,
        endpoint_url: str | None = None,
        addressing_style: Literal["virtual", "path", "bound"] = "virtual",
    ) -> None:
        if not matches(_BUCKET, bucket):
            raise InvalidConfiguration(
                f"bucket is {bucket!r}; 3 to 222 lower-case letters, digits, dots, hyphens, underscores"
            )
        if addressing_style not in ("virtual", "path", "bound"):
            raise InvalidConfiguration(f"addressing_style is {addressing_style!r}; virtual, path or bound")
        if addressing_style == "bound" and endpoint_url is None:
            raise InvalidConfiguration("addressing_style is bound; it needs the endpoint_url of the bucket")
        if not isinstance(credentials, GCSCredentials):
            raise InvalidConfiguration(f"credentials are of type {type(credentials).__name__}; GCSCredentials")
        self.bucket = bucket
        self._credentials = credentials
        endpoint = parse_endpoint(_ENDPOINT_URL if endpoint_url is None else endpoint_url)
        if addressing_style == "virtual" and is_virtual_hostable(bucket, endpoint):
            endpoint = endpoint._replace(netloc=f"{bucket}.{endpoint.netloc}")
        elif addressing_style != "bound":
            endpoint = endpoint._replace(path=f"{endpoint.path}/{bucket}")
        self._origin = endpoint.origin
        self._path = endpoint.path + "/"
        # Clients send the host without a default port, and that is what Google signs.
        # https://github.com/googleapis/conformance-tests/blob/main/storage/v1/v4_signatures.json
        self._host = endpoint.host
        self._host_header = f"host:{self._host}\n"
        self._algorithm = credentials.algorithm
        self._max_ttl = credentials.max_ttl
        self._day: _Day | None = None
        self.capabilities = Capabilities(
            max_ttl=self._max_ttl,
            offline=credentials.offline,
            operations=frozenset({Download, Upload, UploadForm, UploadPart}),
            signature_parameter="X-Goog-Signature",
            binds_size=True,
            binds_content_type=True,
            binds_checksum=_CHECKSUMS,
            binds_no_overwrite=True,
        )

    def __repr__(self) -> str:
        return f"<GCSProvider {self.base_url}>"

    @property
    def base_url(self) -> str:
        """What every link of this bucket starts with, before the key."""
        return self._origin + self._path

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL:
        """Presign one operation of Cloud Storage.

        Args:
            operation: Download, Upload, UploadForm or UploadPart (of an XML multipart upload).
            ttl: whole seconds, 1 second to 7 days; to 12 hours without a key.
            now: signing instant, aware; becomes ``X-Goog-Date``.

        Raises:
            InvalidTTL: ``ttl`` is out of bounds.
            UnsupportedOperation: a checksum other than MD5 and CRC32C.
            CredentialsUnavailable: credentials that sign over the network could not, in under a second.
        """
        moment, sign = self._ready(ttl, now)
        link = self._prepare(operation, moment)
        return link.signed(sign(moment.day.scope, (link.text,))[0], moment.expires_at)

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> list[SignedURL]:
        """Presign operations for one instant, in order: as :meth:`sign`, over the network all at once."""
        moment, sign = self._ready(ttl, now)
        unsigned = [self._prepare(operation, moment) for operation in operations]
        signatures = sign(moment.day.scope, [link.text for link in unsigned])
        return [link.signed(signature, moment.expires_at) for link, signature in zip(unsigned, signatures, strict=True)]

    def stages(self, operation: Download | Upload | UploadPart, *, ttl: timedelta, now: datetime) -> sigv4.Stages:
        """Show how a link comes about, for comparison with another signer; holds the signature."""
        moment, sign = self._ready(ttl, now)
        link = self._prepare(operation, moment)
        signature = sign(moment.day.scope, [link.text])[0]
        return sigv4.Stages(link.canonical_request, link.text, link.signed(signature, moment.expires_at).url)

    def _ready(self, ttl: timedelta, now: datetime) -> tuple[_Moment, Callable[[str, Sequence[str]], list[str]]]:
        seconds, now = check_lifetime(ttl, now, maximum=self._max_ttl)
        identity, sign = self._credentials.ready(now)
        timestamp = basic(now)
        day, date = self._day, timestamp[:8]
        if day is None or day.key != (identity, date):
            day = self._day = _Day(self._algorithm, identity, date)
        query = f"{day.query}{timestamp}&X-Goog-Expires={seconds}&X-Goog-SignedHeaders="
        return _Moment(day, self._algorithm, timestamp, query, now + ttl), sign

    def _prepare(self, operation: Operation, moment: _Moment) -> _Unsigned:
        match operation:
            case Download():
                return self._presign(moment, operation.method, operation.key, _download_parameters(operation))
            case Upload():
                sent = {"Content-Type": operation.content_type, **_upload_headers(operation)}
                if not operation.overwrite:
                    sent["x-goog-if-generation-match"] = "0"
                return self._presign(moment, "PUT", operation.key, "", sent)
            case UploadPart():
                # https://cloud.google.com/storage/docs/xml-api/put-object-multipart
                upload_id = sigv4.encode_value(operation.upload_id)
                parameters = f"&partNumber={operation.number}&uploadId={upload_id}"
                sent = {} if operation.checksum is None else _checksum_header(operation.checksum)
                # Of parts no range is documented; and this header every client sends by itself, when it can send
                # no other: https://cloud.google.com/storage/docs/authentication/canonical-requests#required-headers
                length = {"content-length": str(operation.size_bytes)}
                return self._presign(moment, "PUT", operation.key, parameters, sent, length)
            case UploadForm():
                return self._form(operation, moment)
            case _:
                assert_never(operation)

    def _presign(
        self,
        moment: _Moment,
        method: str,
        key: str,
        parameters: str,
        sent: Mapping[str, str] = NO_HEADERS,
        own: Mapping[str, str] = NO_HEADERS,
    ) -> _Unsigned:
        """``parameters`` are sorted, and all sort behind those of the signature; ``sent`` and ``own`` are signed,
        and ``own`` is what clients say without being told."""
        if not sent and not own:
            headers, names = self._host_header, "host"
        else:
            headers, names = sigv4.canonical_headers(
                {"host": self._host, **own} | {name.lower(): value for name, value in sent.items()}
            )
        query = f"{moment.query}{names.replace(';', '%3B')}{parameters}"
        path = self._path + sigv4.encode_path(key)
        request = sigv4.canonical_request(method, path, query, headers, names)
        text = sigv4.string_to_sign(moment.algorithm, moment.timestamp, moment.day.scope, request)
        return _Unsigned(request, text, f"{self._origin}{path}?{query}", method, sent)

    def _form(self, form: UploadForm, moment: _Moment) -> _Unsigned:
        # https://cloud.google.com/storage/docs/authentication/signatures#policy-document
        fields = {"Content-Type": form.content_type, "success_action_status": "201"}
        conditions: list[object] = [
            ["content-length-range", form.min_bytes, form.max_bytes],
            *({name: value} for name, value in fields.items()),
            {"bucket": self.bucket},
            {"key": form.key},
            {"x-goog-date": moment.timestamp},
            {"x-goog-credential": moment.day.credential},
            {"x-goog-algorithm": moment.algorithm},
        ]
        document = {"conditions": conditions, "expiration": extended(moment.expires_at)}
        policy = base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()
        fields |= {
            "key": form.key,
            "x-goog-algorithm": moment.algorithm,
            "x-goog-credential": moment.day.credential,
            "x-goog-date": moment.timestamp,
        }
        return _Unsigned("", policy, self.base_url, "POST", fields=fields)


def _download_parameters(download: Download) -> str:
    """Sorted by name, as the canonical request wants them."""
    if download.cache_control is not None:
        # https://cloud.google.com/storage/docs/xml-api/reference-headers#query names two response- parameters.
        raise UnsupportedOperation("cache_control cannot be signed; the object's own metadata say it")
    parameters = ""
    if download.version is not None:
        parameters = f"&generation={sigv4.encode_value(download.version)}"
    if (disposition := download.encoded_disposition) is not None:
        parameters += f"&response-content-disposition={disposition[1]}"
    if download.content_type is not None:
        parameters += f"&response-content-type={sigv4.encode_value(download.content_type)}"
    if download.link_id is not None:
        parameters += f"&{LINK_ID_PARAMETER}={download.link_id}"
    return parameters


def _upload_headers(upload: Upload) -> dict[str, str]:
    # https://cloud.google.com/storage/docs/xml-api/reference-headers: the client has to send all of them
    sent = {"x-goog-content-length-range": f"{upload.size_bytes},{upload.size_bytes}"}
    if upload.checksum is not None:
        sent |= _checksum_header(upload.checksum)
    return sent


def _checksum_header(checksum: Checksum) -> dict[str, str]:
    digest = base64.b64encode(checksum.digest).decode()
    if checksum.algorithm == "md5":
        return {"Content-MD5": digest}
    if checksum.algorithm == "crc32c":
        return {"x-goog-hash": f"crc32c={digest}"}
    raise UnsupportedOperation(f"checksum is {checksum.algorithm}; Cloud Storage knows md5 and crc32c")
