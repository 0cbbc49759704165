"""How often something may happen in a minute: failed authentications of an address, links of a principal.

Counts in Django's cache, which processes share, and always in this process too: with a cache that fails or is
slow the limits hold for each process by itself. Must not decide who somebody is, or what they may have.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from gateway.conf import conf
from gateway.errors import TooManyRequests

__all__ = ["check_failures", "client_address", "count_failure", "forget", "return_links", "spend_links"]

logger = logging.getLogger(__name__)

_WINDOW_SECONDS = 60
_IN_CACHE_SECONDS = 2 * _WINDOW_SECONDS  # the clocks of processes differ
_MAX_KEPT = 10_000  # counts of one process; the oldest go first
# Few backends can be told to give up in time, so one that was slow or failed is left alone for a while.
_SLOW_SECONDS = 0.05
_PAUSE_SECONDS = 30.0

_PREFIX_CHARACTERS = 12  # of an API token: pgw_ and 48 random bits
_IPV6_PREFIX_BITS = 64  # what one customer is given; within it addresses cost nothing


class _Counts:
    """Counts by key, of this process and of all that share the cache; the higher one is what counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local: dict[str, int] = {}
        self._cache_from = 0.0  # of time.monotonic()

    def highest(self, keys: Sequence[str], *, enough: int) -> int:
        """Return the highest of several counts; the cache is not asked where this process has ``enough``."""
        with self._lock:
            highest = max(self._local.get(key, 0) for key in keys)
        return highest if highest >= enough else max(highest, self._ask(_read, keys))

    def add(self, key: str, amount: int) -> int:
        """Count, or with a negative amount take back, and return the new count."""
        with self._lock:
            if key not in self._local and len(self._local) >= _MAX_KEPT:
                del self._local[next(iter(self._local))]
            count = self._local[key] = self._local.get(key, 0) + amount
        return max(count, self._ask(_increase, key, amount))

    def forget(self) -> None:
        with self._lock:
            self._local.clear()
            self._cache_from = 0.0

    def _ask(self, question: Callable[..., int], *arguments: Any) -> int:
        """Ask the cache, unless it has just been slow or failed; 0 where there is no answer."""
        began = time.monotonic()
        if began < self._cache_from:
            return 0
        answer, problem = 0, "slow"
        try:
            answer = question(*arguments)
        except Exception as error:
            # Whatever a backend raises, and whatever else stands under the key.
            problem = type(error).__name__
        else:
            if time.monotonic() - began <= _SLOW_SECONDS:
                return answer
        self._cache_from = time.monotonic() + _PAUSE_SECONDS
        logger.warning("each process counts by itself for %d s; the cache: %s", _PAUSE_SECONDS, problem)
        return answer


_counts = _Counts()


def check_failures(request: HttpRequest) -> None:
    """Refuse a request whose address or credential has failed too often, before anything is looked up.

    Raises:
        TooManyRequests: ``FAILED_LOGINS_PER_MINUTE`` are reached.
    """
    limit = conf().failed_logins_per_minute
    if limit and _counts.highest(list(_keys_of(request).values()), enough=limit) >= limit:
        raise TooManyRequests("too many failed authentications", retry_after_seconds=_seconds_left())


def count_failure(request: HttpRequest) -> None:
    """Count a failed authentication against the address and the credential of a request."""
    limit = conf().failed_logins_per_minute
    if not limit:
        return
    for who, key in _keys_of(request).items():
        if _counts.add(key, 1) == limit:
            logger.warning("%s failed to authenticate %d times this minute, and is refused", who, limit)


def spend_links(principal_id: str, items: int) -> None:
    """Count links against the quota of a principal, or refuse them all.

    Args:
        items: of one request; a batch counts each of its own.

    Raises:
        TooManyRequests: ``LINKS_PER_MINUTE`` would be exceeded; these are not counted.
    """
    limit = conf().links_per_minute
    if limit is None:
        return
    key = _key(f"links {principal_id}")
    # Counted before it is asked: of two requests at the same time at least one sees the other's.
    if _counts.add(key, items) > limit:
        _counts.add(key, -items)
        raise TooManyRequests("too many links", retry_after_seconds=_seconds_left())


def return_links(principal_id: str, items: int) -> None:
    """Take back what :func:`spend_links` has counted, of a request that turned out to be nobody's."""
    if conf().links_per_minute is not None:
        _counts.add(_key(f"links {principal_id}"), -items)


def client_address(request: HttpRequest) -> str:
    """Return the address that a request is counted by; of an IPv6 one the network of 64 bits.

    It is that of the connection, or with ``TRUSTED_PROXIES`` what the outermost of them has seen: so many from
    the right of X-Forwarded-For, since what stands further left is the client's to write.
    """
    proxies = conf().trusted_proxies
    candidates = [request.META.get("REMOTE_ADDR", "")]
    seen = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if 0 < proxies <= len(seen):
        candidates.insert(0, seen[-proxies].strip())
    for candidate in candidates:
        with suppress(ValueError):
            return _network(candidate)
    # Of a Unix socket all clients are one.
    return "unknown"


def forget() -> None:
    """Forget what this process has counted; what the cache holds stays."""
    _counts.forget()


def _network(text: str) -> str:
    """Return an address in its one spelling.

    Raises:
        ValueError: it is none.
    """
    # Some proxies add the port: 192.0.2.1:4711, [2001:db8::1]:4711.
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX_BITS), strict=False))


def _keys_of(request: HttpRequest) -> dict[str, str]:
    """Return the keys that a request's failures are counted by, under what a log may call them."""
    address = client_address(request)
    keys = {f"address {address}": _key(f"address {address}")}
    shown = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")[2]
    if shown:
        # All JSON web tokens of an issuer begin alike, and thirty forged ones would keep every other out.
        keys["a credential"] = _key(f"credential {shown if '.' in shown else shown[:_PREFIX_CHARACTERS]}")
    return keys


def _key(name: str) -> str:
    """Name a count of the running minute, so that neither the cache nor memory holds what it is about."""
    # A header of a client that is no UTF-8 holds lone surrogates.
    digest = salted_hmac("gateway.throttling", name.encode(errors="surrogatepass"), algorithm="sha256").hexdigest()
    return f"presign_gateway:{int(time.time() // _WINDOW_SECONDS)}:{digest}"


def _seconds_left() -> int:
    return math.ceil(_WINDOW_SECONDS - time.time() % _WINDOW_SECONDS)


def _read(keys: Sequence[str]) -> int:
    return max((_count(value) for value in cache.get_many(keys).values()), default=0)


def _increase(key: str, amount: int) -> int:
    try:
        return _count(cache.incr(key, amount))
    except ValueError:
        # There is none yet; between the two somebody else may be faster.
        if cache.add(key, amount, timeout=_IN_CACHE_SECONDS):
            return amount
        return _count(cache.incr(key, amount))


def _count(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"a count is of type {type(value).__name__}; int")
    return value
