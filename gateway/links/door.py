"""Decide, sign, record, in this order, and answer.

Must not answer what was not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from gateway.conf import conf
from gateway.errors import (
    AccessDenied,
    GatewayError,
    StorageUnavailable,
    TTLTooLong,
)
from gateway.links.answers import IssuedURL, Permit, Refusal, Rehearsal, Way
from gateway.links.asks import PROBE_KEY, SIGNABLE, Ask, AskedFor, check_asked, kind_of
from gateway.links.deciding import decide, reading
from gateway.links.lifetimes import aware, caps_of, check_ttl, ends_of
from gateway.links.recording import count_served, record_asks
from gateway.links.signing import open_session, prepare, sign_asks, sign_prefix, signing_at
from gateway.models import Issuance
from gateway.policies import (
    OPERATIONS,
    Allow,
    DownloadPrefix,
)
from gateway.principals import Principal, ambient_lease
from gateway.resources import Resource, facts_of, private_storage, resolved
from gateway.rows import row_of
from gateway.tenants import other_tenant
from providers.cloudfront import SignedCookies
from providers.errors import InvalidInput
from providers.types import Download, Upload

__all__ = [
    "allowed",
    "authorize",
    "deliver",
    "issue",
    "issue_cookies",
    "issue_many",
    "issue_session",
    "permit",
    "rehearse",
]


def authorize(principal: Principal, resource: Resource, operation: AskedFor) -> Allow:
    """Decide about one object, and record it either way.

    Args:
        operation: an operation on the resource's key, or a class or partial that makes one of it.

    Raises:
        AccessDenied: no.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    ask = Ask(resource, operation, kind_of(operation))
    check_asked([ask])
    now = datetime.now(UTC)
    read = decide(principal, [ask])
    record_asks(principal, [ask], now, Issuance.Decision.ALLOWED, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    return Allow(ask.limits, ask.policy)


def permit(principal: Principal, resource: Resource, operation: AskedFor = Download, *, delivery: str = "") -> Permit:
    """Decide about a download that the gateway carries out itself; nothing is signed.

    Args:
        delivery: how it is served here and now, which is counted; empty where something else than a presigned link
            leaves, which is recorded before it does.

    Raises:
        AccessDenied: no.
        StorageUnavailable: there is no such storage, or it is not one of ours.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked, counted or recorded.
    """
    answer = deliver(principal, resource, operation, lambda _: Way(delivery=delivery, is_signed=False))
    assert isinstance(answer, Permit)
    return answer


def deliver(
    principal: Principal,
    resource: Resource,
    operation: AskedFor,
    way_of: Callable[[str], Way],
) -> Permit | IssuedURL:
    """Decide about a download, then have it go the way that its storage has.

    Args:
        way_of: told the alias of the storage that the row names, after a yes alone.

    Raises:
        AccessDenied: no; whatever the way would have been, it is recorded as everywhere.
        StorageUnavailable: there is no such storage, it is not one of ours, or it cannot sign.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked, counted or recorded.
    """
    ask = Ask(resource, operation, kind_of(operation))
    if ask.kind is not Download:
        raise TypeError(f"{ask.kind.__name__} is not served; Download")
    check_asked([ask])
    now = datetime.now(UTC)
    read = decide(principal, [ask])
    way = Way() if ask.refusal is not None else way_of(ask.resource.storage_alias)
    if way.is_signed:
        sign_asks(principal, [ask], None, now, read)
    elif ask.refusal is None:
        prepare(principal, ask, None, now)
    if way.delivery and ask.refusal is None:
        count_served(principal, ask, now, way.delivery)
    else:
        decision = Issuance.Decision.ISSUED if way.is_signed else Issuance.Decision.ALLOWED
        record_asks(principal, [ask], now, decision, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    if ask.issued is not None:
        _keep_out_of_djangos_cache()
        return ask.issued
    ttl, size_bytes = timedelta(seconds=ask.seconds), facts_of(ask.resource).size_bytes
    return Permit(resource=ask.resource, download=ask.operation, ttl=ttl, size_bytes=size_bytes)


def rehearse(
    principal: Principal, resource: Resource, operation: AskedFor, *, asker: Principal | None = None, now: datetime
) -> Rehearsal:
    """Decide as for a link, for an explanation: nothing is signed, nothing recorded.

    Args:
        operation: how to make one of a key.
        asker: whom it is explained to; None is the operator.

    Raises:
        AccessDenied: the row is of another tenant than the asker's.
        DatabaseUnavailable: the question could not be asked.
    """
    kind = type(operation(PROBE_KEY))
    found = resource
    if resource.model is not None:
        with reading():
            row = row_of(resource)
        if row is not None and asker is not None and (problem := other_tenant(asker, row)):
            raise AccessDenied(problem, resource)
        found = (None if row is None else resolved(resource, row)) or resource
    ask = Ask(resource, operation, kind)
    decide(principal, [ask])
    limits: dict[str, int | datetime] = {}
    if ask.refusal is None and kind in SIGNABLE:
        prepare(principal, ask, None, now)
        with suppress(StorageUnavailable), signing_at(ask.resource.storage_alias):
            storage = private_storage(ask.resource.storage_alias)
            limits = {name: int(cap.total_seconds()) for name, cap in caps_of(ask, storage).items() if cap is not None}
            limits |= {f"{name} ends": aware(end) for name, end in ends_of(ask, principal) if end is not None}
    return Rehearsal(
        resource=found,
        operation=ask.operation,
        is_known=resource.model is None or found.instance is not None,
        refusal="" if ask.refusal is None else ask.refusal.reason,
        policy=ask.policy,
        limits=limits,
        limited_by=ask.limited_by,
        seconds=ask.seconds,
        signed_at=ask.signed_at,
    )


def allowed(principal: Principal, resources: Sequence[Resource], operation: AskedFor = Download) -> list[bool]:
    """Decide about objects together without recording it: for lists of what somebody may have.

    Only the decision is asked; no link is made, so nothing leaves that would have to be recorded.

    Args:
        operation: a class of operation, or one operation on the one key.

    Raises:
        DatabaseUnavailable: the question could not be asked.
    """
    asks = [Ask(resource, operation, kind_of(operation)) for resource in resources]
    decide(principal, asks)
    return [ask.refusal is None for ask in asks]


def issue(
    principal: Principal, resource: Resource, operation: AskedFor = Download, *, ttl: timedelta | None = None
) -> IssuedURL:
    """Decide about one object, sign, record, and return the link.

    Args:
        operation: Download, Upload, UploadForm or UploadPart on the resource's key, or a class or partial
            that makes one of it.
        ttl: whole seconds; None is the smallest of the default and every limit.

    Raises:
        AccessDenied: no.
        TTLTooLong: ``ttl`` is over a limit; the message names both.
        InvalidTTL: ``ttl`` is below 1 second, or not whole seconds.
        StorageUnavailable: the storage cannot sign, or not for any useful life.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    answer = issue_many(principal, [resource], operation, ttl=ttl)[0]
    if isinstance(answer, Refusal):
        raise answer.error
    return answer


def issue_many(
    principal: Principal,
    resources: Sequence[Resource],
    operation: AskedFor | Sequence[AskedFor] = Download,
    *,
    ttl: timedelta | None = None,
) -> list[IssuedURL | Refusal]:
    """Decide about objects together, sign together, record in one insert; answers in order.

    Args:
        operation: one class or partial for all, or a sequence with one for each.
        ttl: of every link; None is the smallest of the default and every limit.

    Raises:
        TTLTooLong: ``ttl`` is over the limit of all links; over the limit of one, it is that one's refusal.
        InvalidTTL: ``ttl`` is below 1 second, or not whole seconds.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    operations = list(operation) if isinstance(operation, (list, tuple)) else [operation] * len(resources)
    asks = [Ask(*about, kind_of(about[1])) for about in zip(resources, operations, strict=True)]
    for ask in asks:
        if ask.kind in OPERATIONS and ask.kind not in SIGNABLE:
            raise TypeError(f"{ask.kind.__name__} is decided, not signed; use authorize()")
    check_asked(asks)
    if ttl is not None:
        check_ttl(ttl, conf().max_ttl)
    now = datetime.now(UTC)
    read = decide(principal, asks)
    sign_asks(principal, [ask for ask in asks if ask.refusal is None], ttl, now, read)
    record_asks(principal, asks, now, Issuance.Decision.ISSUED, read)
    _keep_out_of_djangos_cache()
    answers: list[IssuedURL | Refusal] = []
    for ask in asks:
        # A refusal may come after the link was made, when another of the same storage turned out odd.
        answer = ask.refusal or ask.issued
        assert answer is not None
        answers.append(answer)
    return answers


def issue_session(
    principal: Principal, resource: Resource, upload: Upload, start: Callable[[], str], *, ttl: timedelta
) -> IssuedURL:
    """Decide about one upload, have its store open a session for it, record it, and return that as a link.

    Args:
        start: opens the session, or finds the one that is open, and returns its URL; asked after a yes alone.
        ttl: how long the upload may take; what caps links does not cap it.

    Raises:
        AccessDenied: no.
        GatewayError: as ``start`` raises; it is recorded, and nothing leaves.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    ask = Ask(resource, upload, kind_of(upload))
    check_asked([ask])
    now = datetime.now(UTC)
    read = decide(principal, [ask])
    if ask.refusal is None:
        try:
            open_session(ask, principal, start, ttl, now)
        except GatewayError as error:
            ask.refuse(getattr(error, "reason", "") or str(error), error)
    record_asks(principal, [ask], now, Issuance.Decision.ISSUED, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    assert ask.issued is not None
    return ask.issued


def _keep_out_of_djangos_cache() -> None:
    lease = ambient_lease()
    if lease is not None:
        # Django's cache middleware and cache_page look here before they store a response.
        lease.request._cache_update_cache = False  # type: ignore[attr-defined]


def issue_cookies(principal: Principal, alias: str, prefix: str, *, ttl: timedelta | None = None) -> SignedCookies:
    """Decide about everything below a prefix, sign cookies that open it, record it, and return them.

    ``GATEWAY["PATH_POLICIES"]`` is asked about :class:`gateway.policies.DownloadPrefix`, which no other yes implies.

    Args:
        alias: of a storage with a CloudFront distribution.
        prefix: ends in a slash; below the storage's location.

    Raises:
        AccessDenied: no, or only for some dispositions, which cookies cannot bind.
        TTLTooLong, InvalidTTL: as :func:`issue`.
        StorageUnavailable: the storage cannot sign cookies.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    ask = Ask(Resource.of_key(alias, prefix), DownloadPrefix, DownloadPrefix)
    if ttl is not None:
        check_ttl(ttl, conf().max_ttl)
    now = datetime.now(UTC)
    read = decide(principal, [ask])
    if ask.refusal is None and not prefix.endswith("/"):
        ask.refuse("the prefix does not end in a slash")
    if ask.refusal is None and ask.limits.dispositions is not None:
        ask.refuse("the policy limits the disposition, which cookies cannot bind")
    cookies: SignedCookies | None = None
    if ask.refusal is None:
        try:
            cookies = sign_prefix(ask, principal, alias, ttl, now)
        except (AccessDenied, StorageUnavailable, TTLTooLong) as error:
            ask.refuse(getattr(error, "reason", "") or str(error), error)
        except InvalidInput as error:
            ask.refuse(str(error))
    record_asks(principal, [ask], now, Issuance.Decision.ISSUED, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    assert cookies is not None
    return cookies
