"""Stable links: within a window of time, the same download for the same principal has the same URL.

Must not decide and must not record: both are done for every link, only its signature is used again. What is kept
is kept in this process alone, since it is a bearer credential.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings

from gateway.policies import Limits
from gateway.principals import Principal
from providers.types import Download, Provider, SignedURL

__all__ = ["MAX_KEPT", "Window", "keep", "of", "recall"]

MAX_KEPT = 4096  # links of about 1 kB
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Window:
    """The window that a link is asked for in.

    Attributes:
        start: the instant that every link of the window is signed at.
        length: until the URL changes.
        asker: whose link it is; empty where one principal's may be another's.
    """

    start: datetime
    length: timedelta
    asker: tuple[str, ...] = field(repr=False)

    def stable(self, download: Download, seconds: int, *, cacheable: bool) -> Download:
        """Give a download the id that it has for this asker in this window, and leave to browsers to keep it.

        The id is a keyed digest: it tells nobody who asked, and two principals never have the same.
        """
        if cacheable:
            length_seconds = int(self.length.total_seconds())
            download = replace(download, cache_control=f"private, max-age={length_seconds}")
        download = replace(download, link_id=None)
        mac = _mac(settings.SECRET_KEY).copy()
        mac.update(repr((self.asker, self.start.isoformat(), seconds, download)).encode())
        return replace(download, link_id=f"lnk_{mac.hexdigest()[: 2 * _ID_BYTES]}")


def of(
    principal: Principal, limits: Limits, length: timedelta, ttl: timedelta, now: datetime, *, tenant: str
) -> Window | None:
    """Return the window of a link that is to live for ``ttl``; None where that is under twice the window.

    Such a short link would have too little of its life left at the end of the window: it is signed for itself.
    """
    if ttl < 2 * length:
        return None
    length_seconds = int(length.total_seconds())
    since_epoch = int(now.timestamp())
    start = datetime.fromtimestamp(since_epoch - since_epoch % length_seconds, UTC)
    asker = () if limits.shareable else (principal.id, principal.acted_by)
    return Window(start, length, (tenant, *asker))


@lru_cache(maxsize=2)
def _mac(secret_key: str) -> hmac.HMAC:
    key = hmac.digest(secret_key.encode(), b"presign-gateway link id v1", "sha256")
    return hmac.new(key, digestmod="sha256")


# Compared by identity: a storage that is made anew, with other settings or another key, has a provider of its own.
_kept: OrderedDict[tuple[Provider, Any, timedelta, datetime], SignedURL] = OrderedDict()
_lock = threading.Lock()


def recall(provider: Provider, operation: Any, ttl: timedelta, now: datetime) -> SignedURL | None:
    """Return the link that was kept for the same question, None where there is none."""
    asked = (provider, operation, ttl, now)
    with _lock:
        link = _kept.get(asked)
        if link is not None:
            _kept.move_to_end(asked)
    return link


def keep(provider: Provider, operation: Any, ttl: timedelta, now: datetime, link: SignedURL) -> None:
    """Keep a link for the same question, in place of the one that was longest not asked for."""
    with _lock:
        _kept[provider, operation, ttl, now] = link
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)


def _forget_lock() -> None:
    # A thread of the parent process may hold it, and is not here to let go.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
