"""What one request has had answered is not asked again, and a page is asked for together.

Must not keep an answer beyond the request, nor for another principal.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from gateway.conf import conf
from gateway.errors import (
    AccessDenied,
)
from gateway.links.answers import IssuedURL, Refusal
from gateway.links.asks import AskedFor
from gateway.links.door import issue, issue_many
from gateway.principals import Lease, Principal, ambient_lease, current
from gateway.resources import Resource
from gateway.tenants import tenant_name
from providers.types import Download

__all__ = ["issue_once", "issued_before", "prefetch"]

logger = logging.getLogger(__name__)


def issue_once(resource: Resource, operation: AskedFor = Download, *, ttl: timedelta | None = None) -> IssuedURL:
    """Issue to whoever is asking; the same link asked for again in one request is the same link.

    Raises:
        NoPrincipal: nobody is asking; and all that :func:`issue` raises.
    """
    return _issue_once(current(), resource, operation, ttl)


def issued_before(
    resource: Resource, operation: AskedFor = Download, *, ttl: timedelta | None = None
) -> IssuedURL | None:
    """Return the answer that this request has already had to the same question; None where it has had none.

    It asks no database, so that a page made in an event loop shows what was prefetched for it.

    Raises:
        AccessDenied: the answer was no.
        NoPrincipal: nobody is asking.
    """
    lease = ambient_lease()
    if lease is None or not lease.memo:
        return None
    try:
        principal = current()
    except SynchronousOnlyOperation:
        return None  # the user is still to be loaded, so the answer was somebody else's
    return _remembered(lease, _memo_key(principal, resource, operation, ttl))


def prefetch(objects: Iterable[Any], field_name: str, *, ttl: timedelta | None = None) -> list[Any]:
    """Decide and sign the links of a page of rows together; ``.url`` of these rows then costs nothing.

    Args:
        objects: model instances or a queryset.
        field_name: the file field.

    Returns:
        The instances, as a list. Outside a request nothing could keep the links, so none are made.

    Raises:
        NoPrincipal: nobody is asking.
        TypeError: they are no rows, such as those of ``values()``, or the field is no file field.
    """
    principal = current()
    rows = list(objects)
    lease = ambient_lease()
    if lease is None:
        return rows  # there is no request that could keep the links
    named = [resource for row in rows if (resource := Resource.of_field(row, field_name)).key]
    for resource, answer in zip(named, issue_many(principal, named, ttl=ttl), strict=True):
        lease.memo[_memo_key(principal, resource, Download, ttl)] = answer
    return rows


def _issue_once(principal: Principal, resource: Resource, operation: AskedFor, ttl: timedelta | None) -> IssuedURL:
    lease = ambient_lease()
    if lease is None:
        return issue(principal, resource, operation, ttl=ttl)
    memo_key = _memo_key(principal, resource, operation, ttl)
    known = _remembered(lease, memo_key)
    if known is not None:
        return known
    lease.single_links += 1
    if lease.single_links == conf().warn_unprefetched + 1:
        logger.warning(
            "more than %d links asked for one by one in a request; gateway.links.prefetch() does it together",
            conf().warn_unprefetched,
        )
    link = lease.memo[memo_key] = issue(principal, resource, operation, ttl=ttl)
    return link


def _remembered(lease: Lease, memo_key: Any) -> IssuedURL | None:
    known: IssuedURL | Refusal | None = lease.memo.get(memo_key)
    if isinstance(known, Refusal):
        if isinstance(known.error, AccessDenied):
            raise AccessDenied(known.reason, known.resource)
        return None  # a storage that was unavailable is asked again
    if known is not None and known.expires_at <= datetime.now(UTC):
        return None  # the request takes longer than its links live
    return known


def _memo_key(principal: Principal, resource: Resource, operation: AskedFor, ttl: timedelta | None) -> Any:
    if isinstance(operation, functools.partial):
        given = tuple(sorted((name, value) for name, value in operation.keywords.items() if value is not None))
        operation = (operation.func, operation.args, given) if given or operation.args else operation.func
    asker = (principal.id, principal.credential, principal.acted_by, tenant_name(principal))
    return asker, resource.id, resource.key, operation, ttl
