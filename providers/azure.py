"""Presign requests for one container of Azure Blob Storage: service SAS for one blob, one permission.

Must not import an SDK, and must not issue what reaches further than one blob. Only a user delegation key that
is due for renewal opens a connection.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple, Protocol, assert_never, runtime_checkable
from urllib.parse import quote

from providers.credentials import CREDENTIAL_MARGIN, covered_seconds
from providers.endpoints import parse_endpoint
from providers.errors import InvalidConfiguration, InvalidOperation, UnsupportedOperation
from providers.instants import extended
from providers.mac import Mac
from providers.sigv4 import encode_path, encode_value
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

__all__ = ["SAS_VERSION", "AzureCredentials", "AzureProvider", "SASKey", "SharedKey", "block_id", "block_name"]

# Pinned: each version orders the fields in its own way, and 2025-07-05 and 2026-04-06 add some to delegation.
# https://learn.microsoft.com/rest/api/storageservices/create-service-sas#version-2020-12-06-and-later
SAS_VERSION = "2025-05-05"
_MAX_TTL = timedelta(days=7)
_MAX_BACKDATE = timedelta(days=1)
_NEWLINES = 11  # in a string to sign, beside those that a key's fields bring
# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name
ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}")
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class SASKey:
    """What signs at this moment; shows no secret.

    Args:
        mac: of the decoded key.
        signed: the fields of a user delegation key, empty or each followed by a newline.
        query: the same fields, empty or each as ``&name=value``.
        expires_at: the end of a user delegation key.
    """

    mac: Mac
    signed: str = ""
    query: str = ""
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<SASKey until {self.expires_at}>"


@runtime_checkable
class AzureCredentials(Protocol):
    """A source of keys. ``current`` may fetch one first, so that ``needed`` from ``now`` is covered."""

    @property
    def offline(self) -> bool: ...

    @property
    def account_name(self) -> str | None:
        """The account whose keys these are, None where the credentials cannot know."""
        ...

    def current(self, *, now: datetime, needed: timedelta) -> SASKey: ...


class SharedKey:
    """One of the account's two keys; its repr shows nothing.

    Args:
        account_key: base64, as the portal shows it.

    Raises:
        InvalidConfiguration: it is not base64.
    """

    offline: ClassVar[bool] = True
    account_name: ClassVar[None] = None

    def __init__(self, account_key: str) -> None:
        key = decode_key(account_key)
        if key is None:
            raise InvalidConfiguration("account_key is not base64; copy it whole, without white space")
        self._key = SASKey(Mac(key))

    def __repr__(self) -> str:
        return "<SharedKey>"

    def current(self, *, now: datetime, needed: timedelta) -> SASKey:
        """Return what signs; it has no end."""
        return self._key


class _Fixed(NamedTuple):
    """What one key puts into every link: the fields behind the resource, and the parameters behind ``sp``."""

    key: SASKey
    signed: str
    query: str
    newlines: int


class AzureProvider:
    """One container of Blob Storage that can sign.

    A SAS binds the blob, the permission, the times, the protocol and the headers of a download's answer. It
    binds neither the method, nor anything of an upload but that it creates the blob; a link for one block
    writes the whole blob. Azure has no parameter that it signs, ignores and logs: link ids are left out.

    Args:
        account_name: names the blobs in what is signed, whatever host the links go to.
        container: of ``account_name``.
        credentials: a :class:`SharedKey`, a ``UserDelegation``, or anything alike.
        endpoint_url: of the account's blob service where it is not ``https://<account>.blob.core.windows.net``:
            a custom domain, a sovereign cloud, an emulator (plain http is for emulators alone).
        backdate: let links begin so long before they are signed; None leaves the start out. The SAS expiration
            policy of an account wants a start, and clocks differ: 15 minutes are customary.

    Raises:
        InvalidConfiguration: one of these cannot work; the message names the value.

    Source: https://learn.microsoft.com/rest/api/storageservices/create-service-sas
    """

    def __init__(
        self,
        *,
        account_name: str,
        container: str,
        credentials: AzureCredentials,
        endpoint_url: str | None = None,
        backdate: timedelta | None = None,
    ) -> None:
        if not matches(ACCOUNT_NAME, account_name):
            raise InvalidConfiguration(f"account_name is {account_name!r}; 3 to 24 lower-case letters and digits")
        if not matches(_CONTAINER, container):
            raise InvalidConfiguration(
                f"container is {container!r}; 3 to 63 lower-case letters, digits and single hyphens"
            )
        if not isinstance(credentials, AzureCredentials):
            raise InvalidConfiguration(f"credentials are of type {type(credentials).__name__}; AzureCredentials")
        if credentials.account_name not in (None, account_name):
            raise InvalidConfiguration(
                f"the credentials are of the account {credentials.account_name!r}; of {account_name!r}"
            )
        if backdate is not None and not timedelta(0) <= backdate <= _MAX_BACKDATE:
            raise InvalidConfiguration(f"backdate is {backdate!r}; up to {_MAX_BACKDATE}, or None")
        self.account_name = account_name
        self.container = container
        self.credentials = credentials
        self._backdate = backdate
        default_url = f"https://{account_name}.blob.core.windows.net"
        endpoint = parse_endpoint(default_url if endpoint_url is None else endpoint_url)
        self._protocol = "https" if endpoint.scheme == "https" else ""
        self._resource = f"/blob/{account_name}/{container}/"
        self.base_url = f"{endpoint.origin}{endpoint.path}/{container}/"
        self._fixed: _Fixed | None = None
        self.capabilities = Capabilities(
            max_ttl=_MAX_TTL,
            offline=credentials.offline,
            operations=frozenset({Download, Upload, UploadPart}),
            signature_parameter="sig",
            binds_size=False,
            binds_content_type=False,
            binds_checksum=frozenset(),
            binds_no_overwrite=True,
            binds_method=False,
            binds_part=False,
            binds_cache_control=True,
            sends_checksum=frozenset({"md5"}),
        )

    def __repr__(self) -> str:
        return f"<AzureProvider {self.base_url}>"

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL:
        """Presign one operation of Blob Storage.

        Args:
            operation: Download, Upload (Put Blob) or UploadPart (Put Block; see :func:`block_id`).
            ttl: whole seconds, 1 second to 7 days.
            now: signing instant, aware.

        Returns:
            A link that ends with ``ttl``, or a minute before the user delegation key does.

        Raises:
            InvalidTTL: ``ttl`` is out of bounds.
            UnsupportedOperation: a form, or a checksum other than MD5.
            CredentialError: there is no user delegation key, or it has less than 61 seconds left.
        """
        fixed, signed, query, expires_at = self._moment(ttl, now)
        return self._sign(operation, fixed, signed, query, expires_at)

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> list[SignedURL]:
        """Presign operations for one instant, in order; as :meth:`sign`, cheaper for each."""
        fixed, signed, query, expires_at = self._moment(ttl, now)
        return [self._sign(operation, fixed, signed, query, expires_at) for operation in operations]

    def string_to_sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> str:
        """Show what is signed, for comparison with another signer."""
        return self._parts(operation, *self._moment(ttl, now)[:3])[0]

    def _sign(
        self, operation: Operation, fixed: _Fixed, signed_times: str, query_times: str, expires_at: datetime
    ) -> SignedURL:
        text, query, method, headers = self._parts(operation, fixed, signed_times, query_times)
        digest = fixed.key.mac.digest(text.encode())
        # 32 bytes: 43 digits and one "=".
        signature = binascii.b2a_base64(digest).decode()[:43].replace("+", "%2B")
        url = f"{self.base_url}{encode_path(operation.key)}?{query}&sig={signature}%3D"
        return SignedURL(url=url, method=method, expires_at=expires_at, headers=headers, fields=NO_HEADERS)

    def _parts(
        self, operation: Operation, fixed: _Fixed, signed_times: str, query_times: str
    ) -> tuple[str, str, str, Mapping[str, str]]:
        """Return the string to sign, the query without the signature, the method, and the headers to send."""
        headers: Mapping[str, str] = NO_HEADERS
        version = cache_control = disposition = content_type = before = answer = ""
        method, permission = "PUT", "w"
        match operation:
            case Download():
                method, permission = operation.method, "r"
                if operation.version is not None:
                    version = operation.version
                    before = f"versionid={encode_value(version)}&"
                if (value := operation.cache_control) is not None:
                    cache_control = value
                    answer = f"&rscc={_quote(value)}"
                if (named := operation.encoded_disposition) is not None:
                    disposition, encoded = named
                    answer += f"&rscd={encoded}"
                if (value := operation.content_type) is not None:
                    content_type = value
                    answer += f"&rsct={_quote(value)}"
            case Upload():
                # Only "c" refuses a blob that exists; the header tells honest clients before they send.
                permission = "w" if operation.overwrite else "c"
                headers = _upload_headers(operation)
            case UploadPart():
                before = f"comp=block&blockid={encode_value(block_id(operation.upload_id, operation.number))}&"
                headers = _md5_header("Content-MD5", operation.checksum)
            case UploadForm():
                raise UnsupportedOperation("UploadForm cannot be signed for Azure, which has none")
            case _:
                assert_never(operation)
        resource = "bv" if version else "b"
        # After the version: an encryption scope, then five headers of the answer, of which three are used.
        text = (
            f"{permission}\n{signed_times}{self._resource}{operation.key}\n{fixed.signed}"
            f"{resource}\n{version}\n\n{cache_control}\n{disposition}\n\n\n{content_type}"
        )
        # Operations hold no control characters. A newline would cut the fields another way under the same
        # signature: it is looked for again where that matters.
        if text.count("\n") != fixed.newlines:
            raise InvalidOperation("a field of the operation holds a newline, which no SAS can sign")
        query = f"{before}{query_times}&sp={permission}{fixed.query}&sr={resource}{answer}{fixed.key.query}"
        return text, query, method, headers

    def _moment(self, ttl: timedelta, now: datetime) -> tuple[_Fixed, str, str, datetime]:
        """Return what one key puts into all links, the times as signed and as in the query, and the end."""
        seconds, now = check_lifetime(ttl, now, maximum=_MAX_TTL)
        key = self.credentials.current(now=now, needed=ttl)
        fixed = self._fixed
        if fixed is None or fixed.key is not key:
            # The identifier of a stored access policy stands where a delegation key has its fields; no IP range.
            signed = f"{key.signed or chr(10)}\n{self._protocol}\n{SAS_VERSION}\n"
            query = f"{f'&spr={self._protocol}' if self._protocol else ''}&sv={SAS_VERSION}"
            fixed = self._fixed = _Fixed(key, signed, query, signed.count("\n") + _NEWLINES)
        expires_at = now + ttl
        if key.expires_at is not None and key.expires_at - expires_at < CREDENTIAL_MARGIN:
            expires_at = now + timedelta(seconds=covered_seconds(seconds, now=now, expires_at=key.expires_at))
        end = extended(expires_at)
        if self._backdate is None:
            return fixed, f"\n{end}\n", f"se={end.replace(':', '%3A')}", expires_at
        start = extended(now - self._backdate)
        return fixed, f"{start}\n{end}\n", f"st={start}&se={end}".replace(":", "%3A"), expires_at


def block_id(upload_id: str, number: int) -> str:
    """Name the block of one part as Put Block and the list that commits blocks spell it: in base64.

    Source: https://learn.microsoft.com/rest/api/storageservices/put-block#uri-parameters
    """
    return base64.b64encode(block_name(upload_id, number).encode()).decode()


def block_name(upload_id: str, number: int) -> str:
    """Name the block of one part, as SDKs take it.

    All names of one blob have one length, as Azure wants it.
    """
    digest = hashlib.sha256(upload_id.encode()).hexdigest()[:32]
    return f"{digest}-{number:05d}"


def decode_key(text: object) -> bytes | None:
    """Return the key that base64 text holds, None where it holds none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _upload_headers(upload: Upload) -> dict[str, str]:
    # https://learn.microsoft.com/rest/api/storageservices/put-blob#request-headers-all-blob-types
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-blob-content-type": upload.content_type}
    if not upload.overwrite:
        headers["If-None-Match"] = "*"
    return headers | _md5_header("x-ms-blob-content-md5", upload.checksum)


def _md5_header(name: str, checksum: Checksum | None) -> dict[str, str]:
    if checksum is None:
        return {}
    if checksum.algorithm != "md5":
        raise UnsupportedOperation(f"checksum is {checksum.algorithm}; Azure checks md5")
    return {name: base64.b64encode(checksum.digest).decode()}


@functools.lru_cache(maxsize=256)  # a service answers with a handful of types, and of ways to keep them
def _quote(value: str) -> str:
    # As azure-storage-blob writes a SAS: slashes stay.
    return quote(value, safe="/-._~")
