"""The vocabulary of signing: what can be asked for, what comes back, what a provider is.

Operations are valid by construction, so no provider ever sees a bad key, size or name. Nothing here signs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal, NoReturn, Protocol, TypeAlias, runtime_checkable
from urllib.parse import urlsplit

from providers.disposition import Disposition, content_disposition, encoded_disposition
from providers.errors import InvalidOperation, InvalidTTL
from providers.keys import check_key

__all__ = [
    "MAX_PART_NUMBER",
    "MAX_SINGLE_UPLOAD_BYTES",
    "NO_HEADERS",
    "Capabilities",
    "Checksum",
    "Download",
    "Operation",
    "Provider",
    "SignedURL",
    "Upload",
    "UploadForm",
    "UploadPart",
    "check_lifetime",
    "is_aware",
    "matches",
]

MAX_SINGLE_UPLOAD_BYTES = 5 * 2**30  # 5 GiB, S3 maximum of one PUT, POST or part
MAX_PART_NUMBER = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_SECOND = timedelta(seconds=1)
_DIGEST_BYTES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "md5": 16, "sha1": 20, "sha256": 32}
# RFC 6838 section 4.2 in lower case, and the one parameter that text needs.
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+\-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+\-]{0,126}(?:; charset=utf-8)?")
_VERSION = re.compile(r"[\x21-\x7e]{1,1024}")
_LINK_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_CACHE_CONTROL = re.compile(r"[a-z][a-z0-9=, \-]{0,126}[a-z0-9]")
_STAMP = re.compile(r"[A-Za-z0-9_\-]{1,128}")


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest of the whole body: ``algorithm`` is crc32, crc32c, crc64nvme, md5, sha1 or sha256.

    Raises:
        InvalidOperation: the algorithm is unknown or the digest has the wrong length.
    """

    algorithm: Literal["crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256"]
    digest: bytes

    def __post_init__(self) -> None:
        # A tuple compares where a mapping would hash, and fail on a list with another error.
        if self.algorithm not in tuple(_DIGEST_BYTES):
            raise InvalidOperation(f"checksum algorithm is {self.algorithm!r}; one of {', '.join(_DIGEST_BYTES)}")
        length = _DIGEST_BYTES[self.algorithm]
        if type(self.digest) is not bytes or len(self.digest) != length:
            raise InvalidOperation(f"{self.algorithm} digest is {self.digest!r}; exactly {length} bytes")


@dataclass(frozen=True, slots=True)
class Download:
    """Read one object.

    Args:
        key: the object key.
        method: ``GET`` or ``HEAD``; a link signed for one is refused for the other.
        filename: the name that browsers save under.
        disposition: ``inline`` or ``attachment``; with a file name alone it is ``attachment``.
        content_type: the type the store must answer with.
        version: the store's version or generation of the object.
        link_id: carried in the link for the store's access log, where the store logs it.
        cache_control: the Cache-Control that the store must answer with.
        stamp: carried in the link where the gateway itself is the store, which hands it back; no other has it.

    Raises:
        InvalidKey, InvalidOperation: a field is out of bounds.
    """

    key: str
    _: KW_ONLY
    method: Literal["GET", "HEAD"] = "GET"
    filename: str | None = None
    disposition: Disposition | None = None
    content_type: str | None = None
    version: str | None = None
    link_id: str | None = None
    cache_control: str | None = None
    stamp: str | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        if self.method not in ("GET", "HEAD"):
            raise InvalidOperation(f"method is {self.method!r}; GET or HEAD")
        if self.disposition not in (None, "inline", "attachment"):
            raise InvalidOperation(f"disposition is {self.disposition!r}; inline or attachment")
        if self.filename is not None and type(self.filename) is not str:
            raise InvalidOperation(f"filename is of type {type(self.filename).__name__}; str")
        if self.content_type is not None:
            _check_content_type(self.content_type)
        if self.version is not None and not matches(_VERSION, self.version):
            raise InvalidOperation(f"version is {self.version!r}; 1 to 1024 printable ASCII characters")
        if self.link_id is not None and not matches(_LINK_ID, self.link_id):
            raise InvalidOperation(f"link_id is {self.link_id!r}; 1 to 64 letters, digits, _ or -")
        if self.cache_control is not None and not matches(_CACHE_CONTROL, self.cache_control):
            raise InvalidOperation(f"cache_control is {self.cache_control!r}; lower-case directives, comma-separated")
        _check_stamp(self.stamp)

    @property
    def content_disposition(self) -> str | None:
        """The Content-Disposition value to sign, None where neither name nor disposition was asked for."""
        if self.filename is None and self.disposition is None:
            return None
        return content_disposition(self.disposition or "attachment", self.filename)

    @property
    def encoded_disposition(self) -> tuple[str, str] | None:
        """The same value, and what stands for it in a query."""
        if self.filename is None and self.disposition is None:
            return None
        return encoded_disposition(self.disposition or "attachment", self.filename)


@dataclass(frozen=True, slots=True)
class Upload:
    """Write one whole object with one request.

    Args:
        key: the object key.
        content_type: lower-case media type, the only one the client may send.
        size_bytes: exact size, 0 to 5 GiB.
        checksum: digest of the bytes, the only ones the client may send.
        overwrite: False makes the store refuse a key that exists.
        stamp: as a :class:`Download` has it.

    Raises:
        InvalidKey, InvalidOperation: a field is out of bounds.
    """

    key: str
    _: KW_ONLY
    content_type: str
    size_bytes: int
    checksum: Checksum | None = None
    overwrite: bool = False
    stamp: str | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        _check_content_type(self.content_type)
        _check_number("size_bytes", self.size_bytes, 0, MAX_SINGLE_UPLOAD_BYTES)
        _check_checksum(self.checksum)
        if type(self.overwrite) is not bool:
            # "no" is true, and would let a client replace what is there.
            raise InvalidOperation(f"overwrite is {self.overwrite!r}; True or False")
        _check_stamp(self.stamp)


@dataclass(frozen=True, slots=True)
class UploadForm:
    """Write one object with an HTML form (a POST policy) under exactly this key.

    Args:
        key: the object key, taken literally.
        content_type: the only type the form may name.
        min_bytes, max_bytes: inclusive bounds of the size, 0 to 5 GiB.

    Raises:
        InvalidKey, InvalidOperation: a field is out of bounds, or the key holds ``${filename}``.
    """

    key: str
    _: KW_ONLY
    content_type: str
    min_bytes: int
    max_bytes: int

    def __post_init__(self) -> None:
        check_key(self.key)
        if "${filename}" in self.key:
            # S3 would put the client's own name here: the signature would cover many keys.
            raise InvalidOperation(f"key {self.key!r} holds ${{filename}}; a form is for one exact key")
        _check_content_type(self.content_type)
        _check_number("max_bytes", self.max_bytes, 0, MAX_SINGLE_UPLOAD_BYTES)
        _check_number("min_bytes", self.min_bytes, 0, self.max_bytes)


@dataclass(frozen=True, slots=True)
class UploadPart:
    """Write one part of a multipart upload that the server began.

    Args:
        key: the object key.
        upload_id: the store's own id of the upload.
        number: 1 to 10,000.
        size_bytes: exact size, 1 byte to 5 GiB.
        checksum: digest of the part's bytes.
        stamp: as a :class:`Download` has it.

    Raises:
        InvalidKey, InvalidOperation: a field is out of bounds.
    """

    key: str
    _: KW_ONLY
    upload_id: str
    number: int
    size_bytes: int
    checksum: Checksum | None = None
    stamp: str | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        if not matches(_VERSION, self.upload_id):
            raise InvalidOperation(f"upload_id is {self.upload_id!r}; 1 to 1024 printable ASCII characters")
        _check_number("number", self.number, 1, MAX_PART_NUMBER)
        _check_number("size_bytes", self.size_bytes, 1, MAX_SINGLE_UPLOAD_BYTES)
        _check_checksum(self.checksum)
        _check_stamp(self.stamp)


Operation: TypeAlias = Download | Upload | UploadForm | UploadPart


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedURL:
    """A bearer credential: whoever holds it is its user until ``expires_at``.

    Attributes:
        url: the whole URL, signature included; never shown by repr() or str().
        method: ``GET``, ``HEAD``, ``PUT`` or ``POST``.
        expires_at: aware UTC, the true end of the link.
        headers: what the client must send unchanged (Content-Length, where signed, is the client's own).
        fields: form fields of a POST policy, to be sent before the file; empty otherwise.
    """

    url: str
    method: str
    expires_at: datetime
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    fields: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        return (
            f"<SignedURL {self.method} {parts._replace(query='', fragment='').geturl()}"
            f" until {self.expires_at.isoformat()}>"
        )

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SignedURL is a bearer credential; it is not pickled, cached or stored")

    __getstate__ = __reduce__


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider's signature can promise.

    Attributes:
        max_ttl: the longest lifetime the store accepts.
        offline: signing never opens a connection.
        operations: what can be signed at all, by class.
        signature_parameter: the query parameter without which a link of this store is unsigned.
        binds_size, binds_content_type, binds_checksum, binds_no_overwrite: what the store enforces
            for an :class:`Upload` because it is signed.
        binds_method: a link for GET is refused for HEAD, and the other way round.
        binds_part: a link for one part writes no other part, and nothing else.
        binds_cache_control: a download may say how long its answer may be kept.
        sends_checksum: algorithms whose digest the client is told to send and the store then checks, though
            no signature makes a client send it.
    """

    max_ttl: timedelta
    offline: bool
    operations: frozenset[type]
    signature_parameter: str
    binds_size: bool
    binds_content_type: bool
    binds_checksum: frozenset[str]
    binds_no_overwrite: bool
    binds_method: bool = True
    binds_part: bool = True
    binds_cache_control: bool = False
    sends_checksum: frozenset[str] = frozenset()


@runtime_checkable
class Provider(Protocol):
    """One bucket that can sign. Opens no connection, keeps no clock, knows nobody."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def base_url(self) -> str:
        """What every link starts with, before the percent-encoded key."""
        ...

    def sign(self, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL: ...

    def sign_many(self, operations: Sequence[Operation], *, ttl: timedelta, now: datetime) -> list[SignedURL]: ...


def check_lifetime(ttl: timedelta, now: datetime, *, maximum: timedelta) -> tuple[int, datetime]:
    """Return the lifetime in whole seconds and the signing instant cut to the second.

    Raises:
        InvalidTTL: ``ttl`` is not whole seconds, or outside 1 second to ``maximum``.
        TypeError: ``ttl`` is no timedelta, or ``now`` is no aware datetime.
    """
    if not isinstance(ttl, timedelta):
        raise TypeError(f"ttl is of type {type(ttl).__name__}; timedelta")
    if type(now) is not datetime or now.tzinfo is not UTC:
        if not is_aware(now):
            raise TypeError(f"now is {now!r}; an aware datetime")
        now = now.astimezone(UTC)
    if ttl.microseconds:
        raise InvalidTTL(f"ttl is {ttl.total_seconds()} s; whole seconds only")
    if not _SECOND <= ttl <= maximum:
        raise InvalidTTL(
            f"ttl is {ttl.total_seconds():.0f} s; at least 1 s and at most {maximum.total_seconds():.0f} s"
        )
    if now.microsecond:
        # In a third of the time that replace() takes.
        now = datetime(now.year, now.month, now.day, now.hour, now.minute, now.second, 0, UTC)
    return ttl.days * 86_400 + ttl.seconds, now


def is_aware(value: object) -> bool:
    """Tell whether a value is a datetime that knows its offset; one with a ``tzinfo`` need not."""
    return isinstance(value, datetime) and value.utcoffset() is not None


def matches(pattern: re.Pattern[str], value: object) -> bool:
    """Tell whether a value is text, of no subclass, that the whole of ``pattern`` fits."""
    return type(value) is str and pattern.fullmatch(value) is not None


def _check_stamp(value: str | None) -> None:
    if value is not None and not matches(_STAMP, value):
        raise InvalidOperation(f"stamp is {value!r}; 1 to 128 letters, digits, _ or -")


def _check_content_type(value: object) -> None:
    if not matches(_MEDIA_TYPE, value):
        raise InvalidOperation(f"content_type is {value!r}; a lower-case type/subtype, with '; charset=utf-8' at most")


def _check_number(name: str, value: object, least: int, most: int) -> None:
    # bool is an int to isinstance, and True bytes is a mistake.
    if type(value) is not int or not least <= value <= most:
        raise InvalidOperation(f"{name} is {value!r}; a whole number from {least} to {most}")


def _check_checksum(value: object) -> None:
    if value is not None and not isinstance(value, Checksum):
        raise InvalidOperation(f"checksum is of type {type(value).__name__}; Checksum")
