"""The contract that every provider must keep, as code that can be run against any of them.

Must need nothing but the provider: no pytest, no network, no knowledge of the store.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from providers.errors import InvalidTTL, UnsupportedOperation
from providers.types import (
    Checksum,
    Download,
    Operation,
    Provider,
    SignedURL,
    Upload,
    UploadForm,
    UploadPart,
)

__all__ = ["ContractBroken", "check_provider"]

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_TTL = timedelta(seconds=300)
_DAY = timedelta(days=1)

_DOWNLOADS: tuple[Operation, ...] = (
    Download("a"),
    Download("uploads/2026/01/report.pdf", filename="report.pdf", disposition="attachment"),
    Download("dir with space/plus+percent%/ques?hash#amp&quote'\"/ü/日本.txt", filename="日本 é.txt"),
    Download("x/~tilde-dash_dot.tar.gz", disposition="inline", content_type="image/png"),
    Download("a", method="HEAD"),
)
_UPLOADS: tuple[Operation, ...] = (
    Upload("uploads/new.bin", content_type="application/octet-stream", size_bytes=0),
    Upload("uploads/new.txt", content_type="text/plain; charset=utf-8", size_bytes=7, overwrite=True),
    UploadForm("uploads/form.png", content_type="image/png", min_bytes=1, max_bytes=2),
    UploadPart("uploads/parts.bin", upload_id="id", number=1, size_bytes=5 * 2**20),
)


class ContractBroken(AssertionError):
    """A provider breaks a clause; ``clause`` is its name."""

    def __init__(self, clause: str, problem: str) -> None:
        super().__init__(f"{clause}: {problem}")
        self.clause = clause


def check_provider(provider: Provider, *, now: datetime = _NOW) -> None:
    """Hold a provider to the contract.

    Args:
        provider: signs for any bucket, with any credential that lives a day beyond ``now``.
        now: aware; the instant to sign at.

    Raises:
        ContractBroken: the first clause that does not hold.
    """
    _is_a_provider(provider, now)  # what is none has no capabilities to look at
    with _no_network() if provider.capabilities.offline else _as_it_is():
        for clause in _CLAUSES[1:]:
            clause(provider, now)


def _is_a_provider(provider: Provider, now: datetime) -> None:
    if not isinstance(provider, Provider):
        raise ContractBroken("is_a_provider", f"{type(provider).__name__} lacks a part of the protocol")
    if not timedelta(0) < provider.capabilities.max_ttl <= timedelta(days=7):
        raise ContractBroken("is_a_provider", f"max_ttl is {provider.capabilities.max_ttl}; at most 7 days")


def _names_one_object(provider: Provider, now: datetime) -> None:
    """The link starts with the bucket, goes on with exactly this key, and is signed."""
    for operation in _supported(provider):
        signed = provider.sign(operation, ttl=_TTL, now=now)
        key = "" if isinstance(operation, UploadForm) else quote(operation.key, safe="/~")
        parts = urlsplit(signed.url)
        if signed.url.partition("?")[0] != provider.base_url + key or parts.fragment:
            raise ContractBroken("names_one_object", f"{signed!r} for key {operation.key!r}")
        if isinstance(operation, UploadForm):
            if signed.fields.get("key") != operation.key:
                raise ContractBroken("names_one_object", f"a form for another key than {operation.key!r}")
        elif not dict(parse_qsl(parts.query)).get(provider.capabilities.signature_parameter):
            raise ContractBroken("names_one_object", f"{signed!r} is unsigned")


def _method_is_what_was_asked(provider: Provider, now: datetime) -> None:
    for operation in _supported(provider):
        wanted = {Upload: "PUT", UploadPart: "PUT", UploadForm: "POST"}.get(type(operation))
        if isinstance(operation, Download):
            wanted = operation.method
        if (method := provider.sign(operation, ttl=_TTL, now=now).method) != wanted:
            raise ContractBroken("method_is_what_was_asked", f"{method} for {type(operation).__name__}")


def _tells_the_true_end(provider: Provider, now: datetime) -> None:
    for seconds in (1, 299, 3600):
        end = provider.sign(Download("a"), ttl=timedelta(seconds=seconds), now=now).expires_at
        wanted = now.replace(microsecond=0) + timedelta(seconds=seconds)
        if end.utcoffset() != timedelta(0) or end != wanted:
            raise ContractBroken("tells_the_true_end", f"{end!r} for {seconds} s from {now!r}")


def _is_deterministic(provider: Provider, now: datetime) -> None:
    for operation in _supported(provider):
        if provider.sign(operation, ttl=_TTL, now=now) != provider.sign(operation, ttl=_TTL, now=now):
            raise ContractBroken("is_deterministic", f"two answers for one {type(operation).__name__}")


def _binds_every_field(provider: Provider, now: datetime) -> None:
    """Whatever is asked for differently is signed differently."""
    base = Download("a/b", filename="n.txt", disposition="attachment", content_type="text/plain", version="1")
    variants: list[tuple[Download, timedelta, datetime]] = [
        (base, _TTL, now),
        (replace(base, key="a/c"), _TTL, now),
        (replace(base, filename="m.txt"), _TTL, now),
        (replace(base, disposition="inline"), _TTL, now),
        (replace(base, content_type="image/png"), _TTL, now),
        (replace(base, version="2"), _TTL, now),
        (base, _TTL * 2, now),
        (base, _TTL, now + timedelta(seconds=1)),
    ]
    if provider.capabilities.binds_method:
        variants.append((replace(base, method="HEAD"), _TTL, now))
    cached = replace(base, cache_control="private, max-age=60")
    if provider.capabilities.binds_cache_control:
        variants += [(cached, _TTL, now), (replace(cached, cache_control="no-store"), _TTL, now)]
    else:
        _refuses("binds_every_field", UnsupportedOperation, provider, cached, _TTL, now)
    _all_differ("binds_every_field", provider, [provider.sign(o, ttl=t, now=n) for o, t, n in variants])


def _binds_uploads_as_it_says(provider: Provider, now: datetime) -> None:
    """Every promise about an upload is part of the signature, and what cannot be bound is refused."""
    capabilities = provider.capabilities
    if Upload not in capabilities.operations:
        return
    base = Upload("a/b", content_type="image/png", size_bytes=7)
    variants = [base]
    if capabilities.binds_size:
        variants.append(replace(base, size_bytes=8))
    if capabilities.binds_content_type:
        variants.append(replace(base, content_type="image/gif"))
    if capabilities.binds_no_overwrite:
        variants.append(replace(base, overwrite=True))
    checksums = (
        Checksum("crc32", b"1234"),
        Checksum("crc32c", b"1234"),
        Checksum("crc64nvme", b"12345678"),
        Checksum("md5", b"m" * 16),
        Checksum("sha1", b"s" * 20),
        Checksum("sha256", b"s" * 32),
    )
    for checksum in checksums:
        upload = replace(base, checksum=checksum)
        if checksum.algorithm in capabilities.binds_checksum:
            variants.append(upload)
            variants.append(replace(base, checksum=replace(checksum, digest=bytes(len(checksum.digest)))))
        elif checksum.algorithm in capabilities.sends_checksum:
            _sends("binds_uploads_as_it_says", provider, upload, checksum, now)
        else:
            _refuses("binds_uploads_as_it_says", UnsupportedOperation, provider, upload, _TTL, now)
    _all_differ("binds_uploads_as_it_says", provider, [provider.sign(o, ttl=_TTL, now=now) for o in variants])


def _binds_parts_as_it_says(provider: Provider, now: datetime) -> None:
    """A link for one part of one upload is for no other, where the provider says so."""
    capabilities = provider.capabilities
    if UploadPart not in capabilities.operations or not capabilities.binds_part:
        return
    base = UploadPart("a/b", upload_id="id", number=1, size_bytes=7)
    variants = [base, replace(base, key="a/c"), replace(base, number=2), replace(base, upload_id="other")]
    _all_differ("binds_parts_as_it_says", provider, [provider.sign(o, ttl=_TTL, now=now) for o in variants])


def _refuses_what_it_cannot_sign(provider: Provider, now: datetime) -> None:
    for operation in (*_DOWNLOADS, *_UPLOADS):
        if type(operation) not in provider.capabilities.operations:
            _refuses("refuses_what_it_cannot_sign", UnsupportedOperation, provider, operation, _TTL, now)
    _refuses("refuses_what_it_cannot_sign", Exception, provider, _Impostor(), _TTL, now)


def _signs_many_as_one(provider: Provider, now: datetime) -> None:
    operations = _supported(provider)
    singly = [provider.sign(operation, ttl=_TTL, now=now) for operation in operations]
    if provider.sign_many(operations, ttl=_TTL, now=now) != singly:
        raise ContractBroken("signs_many_as_one", "sign_many differs from sign, in content or in order")
    if provider.sign_many([], ttl=_TTL, now=now) != []:
        raise ContractBroken("signs_many_as_one", "sign_many of nothing is not an empty list")


def _bounds_the_ttl(provider: Provider, now: datetime) -> None:
    too_long = provider.capabilities.max_ttl + timedelta(seconds=1)
    half = timedelta(milliseconds=1500)
    for ttl in (timedelta(0), timedelta(seconds=-1), half, too_long, timedelta.max):
        _refuses("bounds_the_ttl", InvalidTTL, provider, Download("a"), ttl, now)
    for bad in (300, 300.0, True, None, "300"):
        _refuses("bounds_the_ttl", TypeError, provider, Download("a"), bad, now)


def _needs_an_aware_instant(provider: Provider, now: datetime) -> None:
    for bad in (now.replace(tzinfo=None), now.timestamp(), None):
        _refuses("needs_an_aware_instant", TypeError, provider, Download("a"), _TTL, bad)


def _shows_no_signature(provider: Provider, now: datetime) -> None:
    for operation in _supported(provider):
        signed = provider.sign(operation, ttl=_TTL, now=now)
        secrets = [signed.fields[name] for name in signed.fields if "sign" in name or "policy" in name]
        if not isinstance(operation, UploadForm):
            secrets.append(dict(parse_qsl(urlsplit(signed.url).query))[provider.capabilities.signature_parameter])
        shown = f"{signed!r} {signed} {provider!r} {provider}"
        if any(secret in shown for secret in secrets):
            raise ContractBroken("shows_no_signature", f"repr or str of a {type(operation).__name__} link")


_CLAUSES: tuple[Callable[[Provider, datetime], None], ...] = (
    _is_a_provider,
    _names_one_object,
    _method_is_what_was_asked,
    _tells_the_true_end,
    _is_deterministic,
    _binds_every_field,
    _binds_uploads_as_it_says,
    _binds_parts_as_it_says,
    _refuses_what_it_cannot_sign,
    _signs_many_as_one,
    _bounds_the_ttl,
    _needs_an_aware_instant,
    _shows_no_signature,
)


class _Impostor:
    """Looks like an operation; only the four classes are."""

    key = "a"
    method = "DELETE"


def _supported(provider: Provider) -> list[Operation]:
    everything = (*_DOWNLOADS, *_UPLOADS)
    return [operation for operation in everything if type(operation) in provider.capabilities.operations]


def _all_differ(clause: str, provider: Provider, links: list[SignedURL]) -> None:
    parameter = provider.capabilities.signature_parameter
    signatures = [dict(parse_qsl(urlsplit(link.url).query))[parameter] for link in links]
    if len(set(signatures)) != len(signatures):
        raise ContractBroken(clause, "two different requests have one signature")


def _sends(clause: str, provider: Provider, upload: Upload, checksum: Checksum, now: datetime) -> None:
    digest = b64encode(checksum.digest).decode()
    if digest not in provider.sign(upload, ttl=_TTL, now=now).headers.values():
        raise ContractBroken(clause, f"the client is not told to send its {checksum.algorithm}")


def _refuses(clause: str, error: type[Exception], provider: Provider, operation: Any, ttl: Any, now: Any) -> None:
    try:
        provider.sign(operation, ttl=ttl, now=now)
    except error:
        return
    except Exception as other:
        raise ContractBroken(clause, f"{type(other).__name__} where {error.__name__} is due") from other
    raise ContractBroken(clause, f"signed where {error.__name__} is due: ttl {ttl!r}, now {now!r}")


@contextmanager
def _no_network() -> Iterator[None]:
    """Offline is a promise: a provider that opens a connection while signing breaks it."""

    def refuse(*_: object, **__: object) -> None:
        raise ContractBroken("offline", "a connection was opened while signing")

    original = socket.socket.connect
    socket.socket.connect = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.socket.connect = original  # type: ignore[method-assign]


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
