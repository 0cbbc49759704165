"""The door for code in an event loop.

Must not do anything of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async

from gateway.links.answers import IssuedURL, Refusal
from gateway.links.asks import AskedFor
from gateway.links.door import authorize, issue, issue_many
from gateway.links.remembering import issue_once, prefetch
from gateway.links.signing import probe
from gateway.policies import (
    Allow,
)
from gateway.principals import Principal
from gateway.resources import Resource
from providers.types import Download, SignedURL

__all__ = ["aauthorize", "aissue", "aissue_many", "aissue_once", "aprefetch", "aprobe"]


async def aauthorize(principal: Principal, resource: Resource, operation: AskedFor) -> Allow:
    """Async form of :func:`authorize`."""
    return await sync_to_async(authorize)(principal, resource, operation)


async def aissue(
    principal: Principal, resource: Resource, operation: AskedFor = Download, *, ttl: timedelta | None = None
) -> IssuedURL:
    """Async form of :func:`issue`."""
    return await sync_to_async(issue)(principal, resource, operation, ttl=ttl)


async def aissue_many(
    principal: Principal,
    resources: Sequence[Resource],
    operation: AskedFor | Sequence[AskedFor] = Download,
    *,
    ttl: timedelta | None = None,
) -> list[IssuedURL | Refusal]:
    """Async form of :func:`issue_many`."""
    return await sync_to_async(issue_many)(principal, resources, operation, ttl=ttl)


async def aissue_once(resource: Resource, operation: AskedFor = Download, *, ttl: timedelta | None = None) -> IssuedURL:
    """Async form of :func:`issue_once`."""
    return await sync_to_async(issue_once)(resource, operation, ttl=ttl)


async def aprefetch(objects: Iterable[Any], field_name: str, *, ttl: timedelta | None = None) -> list[Any]:
    """Async form of :func:`prefetch`."""
    return await sync_to_async(prefetch)(objects, field_name, ttl=ttl)


async def aprobe(alias: str, *, now: datetime | None = None) -> SignedURL:
    """Async form of :func:`probe`: signing may have to refresh a credential."""
    return await sync_to_async(probe)(alias, now=now)
