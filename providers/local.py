"""Presign requests for the gateway's own data plane, where a file system is the store.

The MAC is checked before anything of a link is parsed. Must not touch a file: that is the data plane's.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, assert_never, cast
from urllib.parse import parse_qsl, urlsplit

from providers import sigv4
from providers.credentials import covered_seconds
from providers.disposition import Disposition, clean_filename
from providers.errors import InvalidConfiguration, InvalidInput, LinkRefused, UnsupportedOperation
from providers.mac import Mac
from providers.types import (
    Capabilities,
    Checksum,
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

__all__ = ["LocalProvider", "SecretKey", "VerifiedLink"]

MIN_SECRET_BYTES = 32
MAX_CLOCK_SKEW = timedelta(seconds=30)  # between the servers of one service
_MAX_TTL = timedelta(days=7)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEPARATOR = "&signature="
_QUERY = re.compile(r"[!-~]{1,8192}")
_DIGITS = re.compile(r"[0-9]{1,10}")
# As reverse() spells it: percent-encoded. A doubled slash would start a host name, a dot segment vanish.
_BASE_URL = re.compile(r"(?:https?://[^/?#@\\\s]+)?/(?:(?!\.{1,2}/)[\w\-.~%!$&'()*+,;=:@]+/)*", re.ASCII)
# Reading and writing are signed with keys of their own, so that no link can be taken for the other kind.
_PURPOSES = {"GET": b"read", "HEAD": b"read", "PUT": b"write"}


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of the ring.

    Args:
        secret: at least 32 bytes; never shown.
        not_after: aware; the instant from which nothing signed with it is believed.

    Raises:
        InvalidConfiguration: the secret is short, or the end naive.
    """

    secret: bytes = field(repr=False)
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        if type(self.secret) is not bytes or len(self.secret) < MIN_SECRET_BYTES:
            size = f"{len(self.secret)} bytes" if type(self.secret) is bytes else type(self.secret).__name__
            raise InvalidConfiguration(f"a secret key is {size}; at least {MIN_SECRET_BYTES} bytes")
        if self.not_after is not None and not is_aware(self.not_after):
            raise InvalidConfiguration(f"not_after is {self.not_after!r}; an aware datetime")


@dataclass(frozen=True, slots=True)
class VerifiedLink:
    """A link that this provider signed and that has not ended: what it is for, and until when."""

    operation: Download | Upload | UploadPart
    expires_at: datetime


class LocalProvider:
    """A directory behind the gateway's own URLs that can sign, and verify what it signed.

    Args:
        base_url: what stands before the percent-encoded key, ``/path/`` or ``http(s)://host/path/``.
        secret_keys: the ring; the first key signs, every key that has not ended verifies.

    Raises:
        InvalidConfiguration: there is no key, or the base URL does not end in a slash.
    """

    capabilities = Capabilities(
        max_ttl=_MAX_TTL,
        offline=True,
        operations=frozenset({Download, Upload, UploadPart}),
        signature_parameter="signature",
        binds_size=True,
        binds_content_type=True,
        binds_checksum=frozenset({"sha256"}),
        binds_no_overwrite=True,
    )

    def __init__(self, *, base_url: str, secret_keys: Sequence[SecretKey]) -> None:
        if not matches(_BASE_URL, base_url):
            raise InvalidConfiguration(f"base_url is {base_url!r}; /path/ or http(s)://host/path/")
        if not secret_keys:
            raise InvalidConfiguration("secret_keys is empty; at least one key")
        self.base_url = base_url
        self._path = urlsplit(base_url).path
        self._ring = [
            (key, {purpose: _derive(key.secret, purpose) for purpose in set(_PURPOSES.values())}) for key in secret_keys
        ]

    def __repr__(self) -> str:
        return f"<LocalProvider {self.base_url}>"

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL:
        """Presign one operation of the local data plane.

        Args:
            operation: Download, Upload or UploadPart.
            ttl: whole seconds, 1 second to 7 days.
            now: signing instant, aware.

        Raises:
            InvalidTTL: ``ttl`` is out of bounds.
            CredentialsExpired: the signing key has less than 61 seconds left.
            UnsupportedOperation: a form.
        """
        key, macs = self._ring[0]
        seconds, now = check_lifetime(ttl, now, maximum=_MAX_TTL)
        seconds = covered_seconds(seconds, now=now, expires_at=key.not_after)
        issued = int(now.timestamp())
        window = f"expires={issued + seconds}&issued={issued}"
        expires_at = now + timedelta(seconds=seconds)
        match operation:
            case Download():
                method: str = operation.method
                parameters = _download_parameters(operation)
                headers: dict[str, str] = {}
            case Upload():
                method, parameters = "PUT", _upload_parameters(operation)
                headers = _upload_headers(operation)
            case UploadPart():
                method, parameters = "PUT", _part_parameters(operation)
                headers = _digest_header(operation.checksum)
            case UploadForm():
                raise UnsupportedOperation(
                    "UploadForm cannot be signed for the local store; Download, Upload or UploadPart"
                )
            case _:
                assert_never(operation)
        query = f"{window}{parameters}"
        key_path = sigv4.encode_path(operation.key)
        signature = _sign(macs[_PURPOSES[method]], method, self._path, key_path, query)
        url = f"{self.base_url}{key_path}?{query}{_SEPARATOR}{signature}"
        return SignedURL(url=url, method=method, expires_at=expires_at, headers=headers)

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> list[SignedURL]:
        """Presign operations for one instant, in order."""
        return [self.sign(operation, ttl=ttl, now=now) for operation in operations]

    def verify(self, *, method: str, key: str, query: str, now: datetime) -> VerifiedLink:
        """Believe a link, or refuse it.

        Args:
            method: as the client sent it.
            key: decoded from the path.
            query: the raw query string.
            now: aware.

        Raises:
            LinkRefused: it was not signed here for this method and key, or it has ended.
        """
        purpose = _PURPOSES.get(method)
        signed, _, signature = query.rpartition(_SEPARATOR)
        # The shape is fixed before comparing: compare_digest raises on text that is not ASCII.
        if purpose is None or not _SHA256.fullmatch(signature) or not _QUERY.fullmatch(signed):
            raise LinkRefused("malformed")
        try:
            key_path = sigv4.encode_path(key)
        except UnicodeEncodeError:
            raise LinkRefused("malformed") from None
        genuine = False
        for secret_key, macs in self._ring:
            alive = secret_key.not_after is None or now < secret_key.not_after
            expected = _sign(macs[purpose], method, self._path, key_path, signed)
            genuine |= alive and hmac.compare_digest(expected, signature)
        if not genuine:
            raise LinkRefused("signature")
        return _parse(method, key, signed, now)


def _derive(secret: bytes, purpose: bytes) -> Mac:
    # One block of HKDF-Expand with a label of our own: https://www.rfc-editor.org/rfc/rfc5869#section-2.3
    key = hmac.digest(secret, b"presign-gateway local v1 " + purpose + b"\x01", "sha256")
    return Mac(key)


def _sign(mac: Mac, method: str, path: str, key_path: str, query: str) -> str:
    # None of the four can hold a newline, so they cannot be cut another way: b/c in /a/ is not c in /a/b/.
    return sigv4.signature(mac, f"{method}\n{path}\n{key_path}\n{query}")


def _download_parameters(download: Download) -> str:
    if download.cache_control is not None:
        raise UnsupportedOperation("cache_control cannot be signed; the data plane lets nothing outlive its link")
    named = {
        "content-type": download.content_type,
        "disposition": download.disposition,
        "filename": None if download.filename is None else clean_filename(download.filename),
        "link": download.link_id,
        "stamp": download.stamp,
        "version": download.version,
    }
    return "".join(f"&{name}={sigv4.encode_value(value)}" for name, value in named.items() if value is not None)


def _upload_parameters(upload: Upload) -> str:
    parameters = (
        f"&content-length={upload.size_bytes}&content-type={sigv4.encode_value(upload.content_type)}"
        f"&overwrite={'yes' if upload.overwrite else 'no'}"
    )
    return parameters + _digest_parameter(upload.checksum) + _stamp_parameter(upload.stamp)


def _part_parameters(part: UploadPart) -> str:
    parameters = (
        f"&content-length={part.size_bytes}&part-number={part.number}&upload={sigv4.encode_value(part.upload_id)}"
    )
    return parameters + _digest_parameter(part.checksum) + _stamp_parameter(part.stamp)


def _digest_parameter(checksum: Checksum | None) -> str:
    return "" if checksum is None else f"&sha256={_sha256(checksum).hex()}"


def _stamp_parameter(stamp: str | None) -> str:
    return "" if stamp is None else f"&stamp={sigv4.encode_value(stamp)}"


def _upload_headers(upload: Upload) -> dict[str, str]:
    headers = {"Content-Type": upload.content_type}
    if not upload.overwrite:
        headers["If-None-Match"] = "*"
    return headers | _digest_header(upload.checksum)


def _digest_header(checksum: Checksum | None) -> dict[str, str]:
    if checksum is None:
        return {}
    # https://www.rfc-editor.org/rfc/rfc9530#section-2
    return {"Content-Digest": f"sha-256=:{base64.b64encode(_sha256(checksum)).decode()}:"}


def _sha256(checksum: Checksum) -> bytes:
    if checksum.algorithm != "sha256":
        raise UnsupportedOperation(f"checksum is {checksum.algorithm}; the local store binds sha256")
    return checksum.digest


def _parse(method: str, key: str, query: str, now: datetime) -> VerifiedLink:
    """Read a query that bears our MAC, as strictly as if it did not."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
        values = dict(pairs)
        if len(values) != len(pairs):
            raise LinkRefused("duplicate parameter")
        expires_at = _instant(values.pop("expires"))
        issued_at = _instant(values.pop("issued"))
        operation: Download | Upload | UploadPart
        if method != "PUT":
            operation = _download(method, key, values)
        elif "upload" in values:
            operation = _part(key, values)
        else:
            operation = _upload(key, values)
    except (KeyError, ValueError, OverflowError, InvalidInput) as error:
        raise LinkRefused(f"malformed: {type(error).__name__}") from error
    if values:
        raise LinkRefused("unknown parameter")
    if now >= expires_at:
        raise LinkRefused("expired")
    if issued_at > now + MAX_CLOCK_SKEW or expires_at - issued_at > _MAX_TTL:
        raise LinkRefused("not of this time")
    return VerifiedLink(operation, expires_at)


def _download(method: str, key: str, values: dict[str, str]) -> Download:
    # Download checks each of these again; the casts only tell the type checker so.
    return Download(
        key,
        method=cast("Literal['GET', 'HEAD']", method),
        content_type=values.pop("content-type", None),
        disposition=cast("Disposition | None", values.pop("disposition", None)),
        filename=values.pop("filename", None),
        link_id=values.pop("link", None),
        stamp=values.pop("stamp", None),
        version=values.pop("version", None),
    )


def _upload(key: str, values: dict[str, str]) -> Upload:
    return Upload(
        key,
        content_type=values.pop("content-type"),
        size_bytes=_number(values.pop("content-length")),
        checksum=_checksum(values),
        overwrite={"yes": True, "no": False}[values.pop("overwrite")],
        stamp=values.pop("stamp", None),
    )


def _part(key: str, values: dict[str, str]) -> UploadPart:
    return UploadPart(
        key,
        upload_id=values.pop("upload"),
        number=_number(values.pop("part-number")),
        size_bytes=_number(values.pop("content-length")),
        checksum=_checksum(values),
        stamp=values.pop("stamp", None),
    )


def _checksum(values: dict[str, str]) -> Checksum | None:
    sha256 = values.pop("sha256", None)
    if sha256 is None:
        return None
    if not _SHA256.fullmatch(sha256):
        raise ValueError("not a plain digest")  # fromhex() takes white space and upper case
    return Checksum("sha256", bytes.fromhex(sha256))


def _number(text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ValueError("not a plain number")
    return int(text)


def _instant(text: str) -> datetime:
    return datetime.fromtimestamp(_number(text), UTC)
