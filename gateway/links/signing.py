"""The only place that asks a provider to sign, and only for what was decided.

Must not decide or record.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

from gateway import epochs, windows
from gateway.errors import (
    AccessDenied,
    GatewayError,
    InvalidRequest,
    StorageUnavailable,
    TTLTooLong,
    UnsafeLink,
)
from gateway.links.answers import IssuedURL
from gateway.links.asks import PROBE_KEY, Ask, AskedFor
from gateway.links.checking import check_link
from gateway.links.lifetimes import set_lifetime, set_session_lifetime
from gateway.principals import Principal
from gateway.resources import facts_of, private_storage
from gateway.tenants import tenant_name
from providers.cloudfront import SignedCookies
from providers.errors import InvalidInput, ProviderError
from providers.types import Download, Provider, SignedURL, Upload, UploadPart

__all__ = ["UNKNOWN_TYPE", "open_session", "prepare", "probe", "sign_asks", "sign_prefix", "signing_at"]

logger = logging.getLogger(__name__)

UNKNOWN_TYPE = "application/octet-stream"


def sign_asks(
    principal: Principal, asks: Sequence[Ask], ttl: timedelta | None, now: datetime, read: epochs.Now
) -> None:
    tenant = tenant_name(principal)
    stamps = cache(lambda who: epochs.stamp_of(who, tenant, read))
    groups: dict[tuple[str, type, int, datetime | None], list[Ask]] = {}
    for ask in asks:
        prepare(principal, ask, ttl, now, stamps)
        if ask.refusal is None:
            groups.setdefault((ask.resource.storage_alias, ask.kind, ask.seconds, ask.signed_at), []).append(ask)
    for (alias, kind, seconds, signed_at), group in groups.items():
        try:
            _sign_group(alias, kind, timedelta(seconds=seconds), group, signed_at or now)
        except StorageUnavailable as error:
            logger.error("storage %s cannot sign: %s", alias, error)
            for ask in group:
                ask.refuse(str(error), error)
        except InvalidInput as error:
            for ask in group:
                ask.refuse(str(error), InvalidRequest(str(error)))


def prepare(
    principal: Principal,
    ask: Ask,
    ttl: timedelta | None,
    now: datetime,
    stamps: Callable[[Principal | None], str] | None = None,
) -> None:
    """Give an allowed operation its lifetime and all that the caller does not decide, or refuse it."""
    alias = ask.resource.storage_alias
    try:
        with signing_at(alias):
            storage = private_storage(alias)
            set_lifetime(ask, principal, storage, ttl, now)
            ask.operation = _complete(ask, storage)
            if stamps is not None and _is_asked_about(storage, ask.kind):
                ask.operation = _stamped(ask, stamps(None if _is_anybodys(ask) else principal))
            if ask.window is not None:
                cacheable = storage.provider_for(ask.kind).capabilities.binds_cache_control
                ask.operation = ask.window.stable(ask.operation, ask.seconds, cacheable=cacheable)
                ask.link_id = ask.operation.link_id
    except (AccessDenied, StorageUnavailable, TTLTooLong) as error:
        ask.refuse(getattr(error, "reason", "") or str(error), error)
    except InvalidInput as error:
        # The caller's own part was checked before: this is of the row, or of the storage's location.
        logger.error("%s cannot be signed: %s", ascii(ask.resource.id), error)
        ask.refuse("what the row says of the object cannot be signed")


def _sign_group(alias: str, kind: type, ttl: timedelta, asks: Sequence[Ask], now: datetime) -> None:
    with signing_at(alias):
        storage = private_storage(alias)
        provider = storage.provider_for(kind)
        kept = [windows.recall(provider, ask.operation, ttl, now) if ask.window else None for ask in asks]
        missing = [ask.operation for ask, link in zip(asks, kept, strict=True) if link is None]
        links = provider.sign_many(missing, ttl=ttl, now=now) if missing else []
        if len(links) != len(missing):
            raise UnsafeLink(f"{len(links)} links for {len(missing)} objects")
        made = iter(links)
        for ask, link in zip(asks, kept, strict=True):
            signed = next(made) if link is None else link
            check_link(signed, ask.operation, provider)
            # A link cut by its credential is issued as it is, or refused where the storage says so.
            shortfall = now.replace(microsecond=0) + ttl - signed.expires_at
            if shortfall < timedelta(0):
                raise UnsafeLink("the link outlives what was decided")
            if shortfall > timedelta(0):
                if storage.on_short_credentials == "refuse":
                    raise StorageUnavailable(f"the credential ends {shortfall.total_seconds():.0f} s too early")
                ask.limited_by = "credential"
                if signed.expires_at <= datetime.now(UTC):
                    raise StorageUnavailable("the credential has ended")
            elif ask.window and link is None:
                windows.keep(provider, ask.operation, ttl, now, signed)
            ask.issued = _issued(ask, signed)


def sign_prefix(ask: Ask, principal: Principal, alias: str, ttl: timedelta | None, now: datetime) -> SignedCookies:
    with signing_at(alias):
        storage = private_storage(alias)
        provider = storage.provider
        if not hasattr(provider, "sign_cookies"):
            raise StorageUnavailable(f"storage {alias!r} has no distribution that takes cookies")
        set_lifetime(ask, principal, storage, ttl, now)
        prefix = f"{storage.object_key(ask.operation.key.removesuffix('/'))}/"
        cookies: SignedCookies = provider.sign_cookies(prefix, ttl=timedelta(seconds=ask.seconds), now=now)
        # The only wildcard is the last character, or the cookies would open more than was decided about.
        if cookies.resource != f"{provider.base_url}{quote(prefix, safe='/~')}*":
            raise UnsafeLink("the cookies are for another prefix than was asked for")
        ask.link_id = f"lnk_{secrets.token_hex(16)}"
        ask.issued = IssuedURL(
            # As a link would have it; the audit keeps a keyed digest of it alone.
            url=f"{cookies.resource}?Signature={cookies.values['CloudFront-Signature']}",
            method="GET",
            expires_at=cookies.expires_at,
            id=ask.link_id,
            resource=ask.resource,
            limited_by=ask.limited_by,
        )
        return cookies


def open_session(ask: Ask, principal: Principal, start: Callable[[], str], ttl: timedelta, now: datetime) -> None:
    """Have a store open a session for what was decided, which is a link like any other but that nobody signs."""
    set_session_lifetime(ask, principal, ttl, now)
    ask.link_id = f"lnk_{secrets.token_hex(16)}"
    expires_at = now.replace(microsecond=0) + timedelta(seconds=ask.seconds)
    ask.issued = _issued(ask, SignedURL(url=start(), method="PUT", expires_at=expires_at))


def _issued(ask: Ask, signed: SignedURL) -> IssuedURL:
    facts = facts_of(ask.resource)
    download = ask.operation if isinstance(ask.operation, Download) else None
    return IssuedURL(
        url=signed.url,
        method=signed.method,
        expires_at=signed.expires_at,
        headers=signed.headers,
        fields=signed.fields,
        id=ask.link_id,
        resource=ask.resource,
        limited_by=ask.limited_by,
        filename=download.filename if download else facts.filename,
        content_type=download.content_type if download else facts.content_type,
        content_disposition=download.content_disposition if download else None,
        size_bytes=facts.size_bytes,
    )


def _is_anybodys(ask: Ask) -> bool:
    """Tell whether the link may be another principal's too: it then names none, and is not taken back with one."""
    return ask.window is not None and ask.limits.shareable


def _is_asked_about(storage: Any, kind: type) -> bool:
    """Tell whether a link is asked about when it is used; of a storage that does not say so none is."""
    asks = getattr(storage, "ends_at_once", None)
    return asks is not None and bool(asks(kind))


def _stamped(ask: Ask, stamp: str) -> Any:
    if isinstance(ask.operation, (Download, Upload, UploadPart)):
        return dataclasses.replace(ask.operation, stamp=stamp)
    return ask.operation


def _complete(ask: Ask, storage: Any) -> Any:
    """Add what the caller does not decide: the object's key in the store, type, disposition, version, id."""
    operation = ask.operation
    key = storage.object_key(operation.key)
    ask.link_id = f"lnk_{secrets.token_hex(16)}"
    if not isinstance(operation, Download):
        return dataclasses.replace(operation, key=key)
    facts = facts_of(ask.resource)
    content_type = operation.content_type or facts.content_type or UNKNOWN_TYPE
    disposition = operation.disposition or "inline"
    media_type = content_type.partition(";")[0]
    if media_type not in storage.inline_types:
        # What a browser might run is neither named nor shown.
        content_type, disposition = UNKNOWN_TYPE, "attachment"
    elif content_type != f"{media_type}; charset=utf-8":
        content_type = media_type
    allowed = ask.limits.dispositions
    if allowed is not None and disposition not in allowed:
        if "attachment" not in allowed:
            raise AccessDenied("the policy allows no disposition that this type may have", ask.resource)
        disposition = "attachment"
    return Download(
        key,
        method=operation.method,
        filename=operation.filename if operation.filename is not None else facts.filename,
        disposition=disposition,
        content_type=content_type,
        version=operation.version or facts.version,
        link_id=ask.link_id,
    )


def probe(
    alias: str,
    operation: AskedFor = Download,
    *,
    name: str = "",
    ttl: timedelta = timedelta(seconds=60),
    now: datetime | None = None,
) -> SignedURL:
    """Sign the probe's key, or one below it, to see whether a storage can; decides nothing.

    Args:
        operation: how to make one of the key.
        name: what stands below the probe's key.
        ttl: past every limit of the gateway where it is to be seen whether the store has its own.

    Raises:
        StorageUnavailable: it cannot.
    """
    with signing_at(alias):
        storage = private_storage(alias)
        asked = operation(storage.object_key(f"{PROBE_KEY}/{name}" if name else PROBE_KEY))
        provider: Provider = storage.provider_for(type(asked))
        signed = provider.sign(asked, ttl=ttl, now=now or datetime.now(UTC))
        check_link(signed, asked, provider)
    return signed


@contextmanager
def signing_at(alias: str) -> Iterator[None]:
    """A storage that cannot sign is unavailable; what the caller can mend stays the caller's error."""
    try:
        yield
    except (GatewayError, InvalidInput):
        raise
    except ProviderError as error:
        raise StorageUnavailable(f"storage {alias!r}: {error}") from _without_frames(error)
    except Exception as error:
        # An AttributeError would be taken for a file without a link; an SDK's text is nobody's to see.
        raise StorageUnavailable(f"storage {alias!r}: {type(error).__name__}") from _without_frames(error)


def _without_frames(error: BaseException) -> BaseException:
    # The locals of its frames are a storage's options and keys, and error pages and trackers show them.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
