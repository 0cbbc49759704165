"""How long a link may live: what is asked for or the default, under every limit and every end.

Must not lengthen what anything shortens.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from gateway import windows
from gateway.conf import conf
from gateway.errors import (
    AccessDenied,
    TTLTooLong,
)
from gateway.links.asks import Ask
from gateway.principals import Principal
from gateway.tenants import tenant_name
from providers.errors import InvalidTTL
from providers.types import Download

__all__ = ["aware", "caps_of", "check_ttl", "ends_of", "set_lifetime", "set_session_lifetime"]


def set_lifetime(ask: Ask, principal: Principal, storage: Any, ttl: timedelta | None, now: datetime) -> None:
    """Refuse an explicit ttl over a limit; without one take the smallest; never outlive the authority."""
    default = storage.default_ttl or conf().default_ttl
    wanted = default if ttl is None else ttl
    for name, cap in caps_of(ask, storage).items():
        if cap is not None and wanted > cap:
            if ttl is not None:
                check_ttl(ttl, cap)
            wanted, ask.limited_by = cap, name
    if ask.kind is Download and storage.url_window is not None:
        ask.window = windows.of(principal, ask.limits, storage.url_window, wanted, now, tenant=tenant_name(principal))
    if ask.window is not None:
        ask.signed_at = ask.window.start
        ask.limited_by = ask.limited_by or "url_window"
    _end(ask, principal, wanted, now)


def set_session_lifetime(ask: Ask, principal: Principal, wanted: timedelta, now: datetime) -> None:
    """Let a store's session be good for as long as its upload, under the policy's limit and every end.

    What caps the life of links does not cap it: a project has switched sessions on, knowing that they live longer.
    """
    cap = ask.limits.max_ttl
    if cap is not None and wanted > cap:
        wanted, ask.limited_by = cap, "policy"
    _end(ask, principal, wanted, now)


def _end(ask: Ask, principal: Principal, wanted: timedelta, now: datetime) -> None:
    for name, end in ends_of(ask, principal):
        # From the start of the window, so that the end of the link is the same while it lasts.
        if end is not None and (left := aware(end) - (ask.signed_at or now)) < wanted:
            wanted, ask.limited_by = timedelta(seconds=int(left.total_seconds())), name
            if aware(end) - now < timedelta(seconds=1):
                raise AccessDenied("the authority to ask has ended", ask.resource)
    ask.seconds = int(wanted.total_seconds())


def caps_of(ask: Ask, storage: Any) -> dict[str, timedelta | None]:
    """Return the longest lives that are allowed, by who says so."""
    return {
        "max_ttl": conf().max_ttl,
        "storage": storage.max_ttl,
        "store": storage.provider.capabilities.max_ttl,
        "policy": ask.limits.max_ttl,
    }


def ends_of(ask: Ask, principal: Principal) -> list[tuple[str, datetime | None]]:
    """Return the instants that no link outlives, by whose end they are."""
    name = principal.credential.partition(":")[0]
    ends = [("policy", ask.limits.until), (name, principal.authority_ends_at)]
    if principal.token is not None:
        ends.append((name, principal.token.expires_at))
    return ends


def check_ttl(ttl: timedelta, cap: timedelta) -> None:
    if not isinstance(ttl, timedelta):
        raise TypeError(f"ttl is of type {type(ttl).__name__}; timedelta")
    if ttl > cap:
        raise TTLTooLong(f"ttl is {ttl.total_seconds():.0f} s; at most {cap.total_seconds():.0f} s")
    if ttl < timedelta(seconds=1) or ttl.microseconds:
        raise InvalidTTL(f"ttl is {ttl.total_seconds():g} s; whole seconds, at least 1")


def aware(instant: datetime) -> datetime:
    # As sessions and columns give it where USE_TZ is off.
    return timezone.make_aware(instant) if timezone.is_naive(instant) else instant
