"""The only door: decide, sign, record. Nothing else in the gateway asks a provider to sign.

Every link passes one post-condition before it leaves; whatever is missing or odd is a refusal.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, models
from django.utils import timezone

from gateway import audit, epochs, windows
from gateway.conf import conf, resolve
from gateway.errors import (
    AccessDenied,
    DatabaseUnavailable,
    GatewayError,
    InvalidRequest,
    StorageUnavailable,
    TTLTooLong,
    UnsafeLink,
)
from gateway.models import File, Issuance
from gateway.policies import (
    DATABASE_DOWN,
    FILE_POLICY,
    NO_LIMITS,
    OPERATIONS,
    UPLOADS,
    Allow,
    Branch,
    Deny,
    DownloadPrefix,
    Failure,
    Fitting,
    Limits,
    annotate_branch,
    branches_of,
    evaluate_many,
)
from gateway.principals import Lease, Principal, ambient_lease, current
from gateway.resources import Resource, facts_of, private_storage, resolved, rows_of
from providers.cloudfront import SignedCookies
from providers.errors import InvalidInput, InvalidTTL, ProviderError
from providers.keys import key_error
from providers.types import Download, Provider, SignedURL, Upload, UploadForm, UploadPart

__all__ = [
    "IssuedURL",
    "LinkText",
    "Permit",
    "Refusal",
    "aauthorize",
    "aissue",
    "aissue_many",
    "aissue_once",
    "allowed",
    "aprefetch",
    "aprobe",
    "authorize",
    "check_link",
    "issue",
    "issue_cookies",
    "issue_many",
    "issue_once",
    "issued_before",
    "may_be_named",
    "permit",
    "policy_for",
    "prefetch",
    "probe",
    "rehearse",
    "tenant_name",
]

logger = logging.getLogger(__name__)

SIGNABLE = (Download, Upload, UploadForm, UploadPart)
UNKNOWN_TYPE = "application/octet-stream"
PROBE_KEY = "uploads/gateway-probe"

# An operation, or how to make one of the key that the row holds: Download, partial(Download, filename="a.pdf").
AskedFor = Any


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IssuedURL(SignedURL):
    """A link with what the client is told beside it.

    Attributes:
        id: names the link in the audit, and in the store's access log where it has one.
        limited_by: what shortened the lifetime below what was asked or set; empty if nothing did.
    """

    id: str
    resource: Resource
    limited_by: str = ""
    filename: str | None = None
    content_type: str | None = None
    content_disposition: str | None = None
    size_bytes: int | None = None

    @property
    def text(self) -> LinkText:
        """The URL as text that does not show its signature by accident."""
        return LinkText(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """A yes to one download that the gateway carries out itself.

    Attributes:
        download: all of it: the key in the store, type, disposition, version.
        ttl: the longest that an answer may be of use: the default, under every limit.
        size_bytes: as the row says; None where it does not.
    """

    resource: Resource
    download: Download
    ttl: timedelta
    size_bytes: int | None


class LinkText(str):
    """A presigned URL as text: usable wherever a str is, but neither pickled, cached nor shown by repr()."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<LinkText {self.partition('?')[0]}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a presigned URL is a bearer credential; it is not pickled, cached or stored")

    def __copy__(self) -> LinkText:
        return self

    def __deepcopy__(self, memo: Any) -> LinkText:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One item of a batch that got no link. ``reason`` is for the log, never for the client."""

    resource: Resource
    error: GatewayError
    reason: str

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def title(self) -> str:
        return self.error.title


@dataclass(slots=True)
class _Ask:
    """One question on its way through the door."""

    resource: Resource
    asked: AskedFor
    kind: type
    operation: Any = None
    limits: Limits = NO_LIMITS
    policy: str = ""
    refusal: Refusal | None = None
    seconds: int = 0
    limited_by: str = ""
    signed_at: datetime | None = None
    window: windows.Window | None = None
    link_id: str = ""
    issued: IssuedURL | None = field(default=None, repr=False)

    def refuse(self, reason: str, error: GatewayError | None = None) -> None:
        self.refusal = Refusal(
            resource=self.resource, error=error or AccessDenied(reason, self.resource), reason=reason
        )


def authorize(principal: Principal, resource: Resource, operation: AskedFor) -> Allow:
    """Decide about one object, and record it either way.

    Args:
        operation: an operation on the resource's key, or a class or partial that makes one of it.

    Raises:
        AccessDenied: no.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    ask = _Ask(resource, operation, _kind_of(operation))
    _check_asked([ask])
    now = datetime.now(UTC)
    read = _decide(principal, [ask])
    _record(principal, [ask], now, Issuance.Decision.ALLOWED, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    return Allow(ask.limits, ask.policy)


def permit(principal: Principal, resource: Resource, operation: AskedFor = Download) -> Permit:
    """Decide about a download that is served here and now, and record it as allowed; nothing is signed.

    Raises:
        AccessDenied: no.
        StorageUnavailable: there is no such storage, or it is not one of ours.
        AuditUnavailable, DatabaseUnavailable: the question could not be asked or recorded.
    """
    ask = _Ask(resource, operation, _kind_of(operation))
    if ask.kind is not Download:
        raise TypeError(f"{ask.kind.__name__} is not served; Download")
    _check_asked([ask])
    now = datetime.now(UTC)
    read = _decide(principal, [ask])
    if ask.refusal is None:
        _prepare(principal, ask, None, now)
    _record(principal, [ask], now, Issuance.Decision.ALLOWED, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    ttl, size_bytes = timedelta(seconds=ask.seconds), facts_of(ask.resource).size_bytes
    return Permit(resource=ask.resource, download=ask.operation, ttl=ttl, size_bytes=size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What the door would have answered; no link was made, and nothing recorded.

    Attributes:
        refusal: why not; empty where it would have been yes.
        is_known: the object was found, so that a policy can be asked about it.
        limits: every limit on the life of a link: seconds, or an instant.
    """

    resource: Resource
    operation: Any
    is_known: bool
    refusal: str
    policy: str
    limits: dict[str, int | datetime]
    limited_by: str
    seconds: int
    signed_at: datetime | None


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
        with _reading():
            row = rows_of([resource]).first()
        if row is not None and asker is not None and (problem := _other_tenant(asker, row)):
            raise AccessDenied(problem, resource)
        found = (None if row is None else resolved(resource, row)) or resource
    ask = _Ask(resource, operation, kind)
    _decide(principal, [ask])
    limits: dict[str, int | datetime] = {}
    if ask.refusal is None and kind in SIGNABLE:
        _prepare(principal, ask, None, now)
        with suppress(StorageUnavailable), _signing(ask.resource.storage_alias):
            storage = private_storage(ask.resource.storage_alias)
            limits = {name: int(cap.total_seconds()) for name, cap in _caps_of(ask, storage).items() if cap is not None}
            limits |= {f"{name} ends": _aware(end) for name, end in _ends_of(ask, principal) if end is not None}
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
    asks = [_Ask(resource, operation, _kind_of(operation)) for resource in resources]
    _decide(principal, asks)
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
    asks = [_Ask(*about, _kind_of(about[1])) for about in zip(resources, operations, strict=True)]
    for ask in asks:
        if ask.kind in OPERATIONS and ask.kind not in SIGNABLE:
            raise TypeError(f"{ask.kind.__name__} is decided, not signed; use authorize()")
    _check_asked(asks)
    if ttl is not None:
        _check_ttl(ttl, conf().max_ttl)
    now = datetime.now(UTC)
    read = _decide(principal, asks)
    _sign(principal, [ask for ask in asks if ask.refusal is None], ttl, now, read)
    _record(principal, asks, now, Issuance.Decision.ISSUED, read)
    lease = ambient_lease()
    if lease is not None:
        # Django's cache middleware and cache_page look here before they store a response.
        lease.request._cache_update_cache = False  # type: ignore[attr-defined]
    answers: list[IssuedURL | Refusal] = []
    for ask in asks:
        # A refusal may come after the link was made, when another of the same storage turned out odd.
        answer = ask.refusal or ask.issued
        assert answer is not None
        answers.append(answer)
    return answers


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
    ask = _Ask(Resource.of_key(alias, prefix), DownloadPrefix, DownloadPrefix)
    if ttl is not None:
        _check_ttl(ttl, conf().max_ttl)
    now = datetime.now(UTC)
    read = _decide(principal, [ask])
    if ask.refusal is None and not prefix.endswith("/"):
        ask.refuse("the prefix does not end in a slash")
    if ask.refusal is None and ask.limits.dispositions is not None:
        ask.refuse("the policy limits the disposition, which cookies cannot bind")
    cookies: SignedCookies | None = None
    if ask.refusal is None:
        try:
            cookies = _sign_cookies(ask, principal, alias, ttl, now)
        except (AccessDenied, StorageUnavailable, TTLTooLong) as error:
            ask.refuse(getattr(error, "reason", "") or str(error), error)
        except InvalidInput as error:
            ask.refuse(str(error))
    _record(principal, [ask], now, Issuance.Decision.ISSUED, read)
    if ask.refusal is not None:
        raise ask.refusal.error
    assert cookies is not None
    return cookies


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
    """
    principal = current()
    rows = list(objects)
    lease = ambient_lease()
    if lease is None:
        return rows  # there is no request that could keep the links
    named = [Resource.of_field(row, field_name) for row in rows if getattr(row, field_name)]
    for resource, answer in zip(named, issue_many(principal, named, ttl=ttl), strict=True):
        lease.memo[_memo_key(principal, resource, Download, ttl)] = answer
    return rows


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
    with _signing(alias):
        storage = private_storage(alias)
        asked = operation(storage.object_key(f"{PROBE_KEY}/{name}" if name else PROBE_KEY))
        provider: Provider = storage.provider_for(type(asked))
        signed = provider.sign(asked, ttl=ttl, now=now or datetime.now(UTC))
        check_link(signed, asked, provider)
    return signed


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


def policy_for(resource: Resource) -> Any:
    """Return the policy that decides about a resource: of its field, its model, its storage, or the default.

    Only a host's rows are asked about by storage: in which one a file of the service lies, its row says.
    """
    settings = conf()
    if resource.model is None:
        by_path = settings.upload_policy if resource.is_new else settings.path_policies.get(resource.storage_alias)
        return resolve(by_path)
    own = None
    if resource.field:
        own = getattr(resource.model._meta.get_field(resource.field), "policy", None)
    for label in (resource.label, resource.model._meta.label):
        own = own if own is not None else settings.policies.get(label)
    if own is None and resource.model is File:
        own = FILE_POLICY
    elif own is None:
        own = settings.storage_policies.get(resource.storage_alias)
    return resolve(settings.default_policy if own is None else own)


def may_be_named(resource: Resource) -> bool:
    """Tell whether a client's reference may name this field: only where a policy was chosen for it."""
    if resource.model is File:
        return True
    assert resource.model is not None
    field_ = resource.model._meta.get_field(resource.field)
    return getattr(field_, "policy", None) is not None or any(
        label in conf().policies for label in (resource.label, resource.model._meta.label)
    )


def check_link(signed: SignedURL, operation: Any, provider: Provider) -> None:
    """Hold a link to what was asked for: this object, this method, this store, and signed.

    Raises:
        UnsafeLink: it is anything else.
    """
    # Pieces of the link stay in functions that have returned: a report of the error shows local variables.
    if not isinstance(signed, SignedURL):
        raise UnsafeLink(f"the link is of type {type(signed).__name__}; SignedURL")
    form = isinstance(operation, UploadForm)
    # Encoded here by another function than the signers use.
    key = "" if form else quote(operation.key, safe="/~")
    if not _leads_to(signed, provider.base_url + key):
        raise UnsafeLink("the link is for another address than the object's")
    method = operation.method if isinstance(operation, Download) else "POST" if form else "PUT"
    if signed.method != method:
        raise UnsafeLink(f"the link is for {signed.method} where {method} was asked for")
    if form and signed.fields.get("key") != operation.key:
        raise UnsafeLink("the form is for another key than the object's")
    if not (_is_signed_form(signed) if form else _is_signed(signed, provider.capabilities.signature_parameter)):
        raise UnsafeLink("the link is not signed")


def _leads_to(signed: SignedURL, address: str) -> bool:
    return signed.url.partition("?")[0] == address and "#" not in signed.url


def _is_signed(signed: SignedURL, parameter: str) -> bool:
    query = signed.url.partition("?")[2]
    return any(pair.startswith(f"{parameter}=") and pair != f"{parameter}=" for pair in query.split("&"))


def _is_signed_form(signed: SignedURL) -> bool:
    return any(name.endswith("signature") and value for name, value in signed.fields.items())


# Deciding.


def _decide(principal: Principal, asks: Sequence[_Ask]) -> epochs.Now:
    """Find each row, and answer each question by a refusal or by limits.

    Returns:
        What had been taken back before the first question was asked: an answer is no newer than that.
    """
    nothing = epochs.Now()
    if not isinstance(principal, Principal):
        raise TypeError(f"principal is of type {type(principal).__name__}; Principal")
    problem = "" if principal.is_active else "the user is not active"
    if principal.kind == "system" and not principal.reason:
        problem = "SYSTEM gave no reason; use acting_as(SYSTEM, reason=…)"
    if problem:
        for ask in asks:
            ask.refuse(problem)
        return nothing
    if not asks:
        return nothing
    with _reading():
        read = epochs.now(principal, tenant_name(principal))
    if problem := epochs.void_credential(principal, read):
        for ask in asks:
            ask.refuse(problem)
        return read
    groups: dict[tuple[Any, str, type], list[_Ask]] = {}
    for ask in asks:
        if ask.kind not in OPERATIONS:
            logger.error("an unknown operation was asked for: %s", ask.kind.__name__)
            ask.refuse("unknown operation")
        elif not _is_in_scope(principal, ask.kind):
            ask.refuse(f"the token has no scope {ask.kind.__name__}")
        elif ask.resource.is_new and (ask.kind not in UPLOADS or ask.resource.model is File):
            ask.refuse("there is no object yet")
        else:
            groups.setdefault((ask.resource.model, ask.resource.field, ask.kind), []).append(ask)
    with _reading():
        for (model, _, kind), group in groups.items():
            if model is None:
                _decide_by_path(principal, group)
            else:
                _decide_by_row(principal, model, kind, group)
    return read


def _decide_by_path(principal: Principal, asks: Sequence[_Ask]) -> None:
    for ask in asks:
        policy = policy_for(ask.resource)
        if principal.kind == "system":
            ask.policy = "system"
        elif policy is None:
            ask.refuse("no row is known for the key, and PATH_POLICIES has no policy for the alias")
        elif _make_operation(ask):
            _apply(ask, evaluate_many(policy, principal, [ask.resource], [ask.operation])[0])
        if ask.refusal is None and ask.operation is None:
            _make_operation(ask)


def _decide_by_row(principal: Principal, model: type[models.Model], kind: type, asks: Sequence[_Ask]) -> None:
    policy = policy_for(asks[0].resource)
    branches = _branches(policy, principal, kind, model)
    if branches == []:
        for ask in asks:
            ask.refuse(f"{policy} denies")
        return
    for ask in asks:
        key = ask.resource.key
        if key is not None and key_error(str.__str__(key)):
            ask.refuse("the key is not valid")
    asks = [ask for ask in asks if ask.refusal is None]
    if not asks:
        return
    rows = rows_of([ask.resource for ask in asks])
    fitting = None if branches is None else Fitting(branches)
    if branches is not None:
        try:
            rows = annotate_branch(rows, branches)
        except Exception:
            logger.exception("policy %s has a condition that is no query", policy)
            fitting = None
    found = {row.pk: row for row in rows}
    undecided: list[_Ask] = []
    for ask in asks:
        row: Any = found.get(ask.resource.pk)
        resource = None if row is None else resolved(ask.resource, row)
        if resource is None:
            ask.refuse("no such row, or it names another object")
            # What is asked about the principal is asked here too, so that missing costs what denied does.
            _fitting_branch(fitting, None)
            continue
        ask.resource = resource
        if problem := _other_tenant(principal, row):
            ask.refuse(problem)
        elif _make_operation(ask):
            branch = None if fitting is None else _fitting_branch(fitting, row.gateway_branch)
            if fitting is None or isinstance(branch, Failure):
                undecided.append(ask)
            else:
                _apply(ask, Deny(f"{policy} denies") if branch is None else branch.allow)
    if undecided:
        answers = evaluate_many(
            policy, principal, [ask.resource for ask in undecided], [ask.operation for ask in undecided]
        )
        for ask, answer in zip(undecided, answers, strict=True):
            _apply(ask, answer)


def _branches(policy: Any, principal: Principal, kind: type, model: type[models.Model]) -> list[Branch] | None:
    if principal.kind == "system":
        return [Branch(models.Q(), Allow(policy="system"))]
    try:
        return branches_of(policy, principal, kind, model)
    except DATABASE_DOWN:
        raise
    except Exception:
        # Asked one by one, the part that fails is a failure and the others keep their say.
        logger.exception("policy %s cannot be asked as a query", policy)
        return None


def _fitting_branch(fitting: Fitting | None, number: int | None) -> Branch | Failure | None:
    try:
        return None if fitting is None else fitting.branch(number)
    except DATABASE_DOWN:
        raise
    except Exception as error:
        # Asked one by one, the part that fails is a failure and the others keep their say.
        return Failure(error)


def _is_in_scope(principal: Principal, kind: type) -> bool:
    if principal.token is None:
        return True
    # In a text, as a JSON column may hold, "Upload" would be found in "UploadPart".
    scopes = principal.token.scopes
    return isinstance(scopes, (list, tuple)) and kind.__name__ in scopes


def _other_tenant(principal: Principal, row: models.Model) -> str:
    """Say why a row is out of the principal's tenant; empty where it is not."""
    path = conf().tenant
    if path is None or principal.kind == "system":
        return ""
    try:
        tenant = resolve(path)
        is_same = bool(tenant.of_principal(principal) == tenant.of_row(row))
    except DATABASE_DOWN:
        raise
    except Exception as error:
        logger.exception("the tenants of a principal and a row cannot be told")
        return f"the tenant cannot be told: {type(error).__name__}"
    return "" if is_same else "another tenant"


def _check_asked(asks: Sequence[_Ask]) -> None:
    """Let what the caller can mend be told before anything is looked up, and so for every row alike."""
    for asked in {id(ask.asked): ask.asked for ask in asks}.values():
        if isinstance(asked, functools.partial) and _kind_of(asked) in OPERATIONS:
            asked(PROBE_KEY)


def _make_operation(ask: _Ask) -> bool:
    """Build the operation on the key that the row holds; refuse one that was made for another."""
    key = ask.resource.key
    try:
        operation = ask.asked(key) if callable(ask.asked) else ask.asked
    except InvalidInput:
        logger.error("%s holds a key that cannot be signed: %s", ascii(ask.resource.id), ascii(key))
        ask.refuse("the key is not valid")
        return False
    if (made := type(operation)) != ask.kind:
        ask.refuse(f"the operation is {made.__name__} where {ask.kind.__name__} was decided")
        return False
    if operation.key != key:
        ask.refuse("the operation names another key than the row")
        return False
    ask.operation = operation
    return True


def _apply(ask: _Ask, decided: Any) -> None:
    match decided:
        case Allow():
            ask.limits, ask.policy = decided.limits, decided.policy
        case Deny():
            ask.refuse(decided.reason or "denied")
        case Failure():
            logger.error("a policy failed about %s", ascii(ask.resource.id), exc_info=decided.error)
            ask.refuse(f"the policy failed: {type(decided.error).__name__}")
        case _:
            ask.refuse(f"the policy answered {type(decided).__name__}")


def _kind_of(asked: AskedFor) -> type:
    if isinstance(asked, functools.partial):
        asked = asked.func
    return asked if isinstance(asked, type) else type(asked)


# Signing.


def _sign(principal: Principal, asks: Sequence[_Ask], ttl: timedelta | None, now: datetime, read: epochs.Now) -> None:
    stamps = {who: epochs.stamp_of(who, tenant_name(principal), read) for who in (principal, None)}
    groups: dict[tuple[str, type, int, datetime | None], list[_Ask]] = {}
    for ask in asks:
        _prepare(principal, ask, ttl, now, stamps)
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


def _prepare(
    principal: Principal,
    ask: _Ask,
    ttl: timedelta | None,
    now: datetime,
    stamps: Mapping[Principal | None, str] | None = None,
) -> None:
    """Give an allowed operation its lifetime and all that the caller does not decide, or refuse it."""
    alias = ask.resource.storage_alias
    try:
        with _signing(alias):
            storage = private_storage(alias)
            _set_lifetime(ask, principal, storage, ttl, now)
            ask.operation = _complete(ask, storage)
            if stamps is not None and getattr(storage, "links_end_at_once", False):
                ask.operation = _stamped(ask, stamps[None if _is_anybodys(ask) else principal])
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


def _sign_group(alias: str, kind: type, ttl: timedelta, asks: Sequence[_Ask], now: datetime) -> None:
    with _signing(alias):
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


def _sign_cookies(ask: _Ask, principal: Principal, alias: str, ttl: timedelta | None, now: datetime) -> SignedCookies:
    with _signing(alias):
        storage = private_storage(alias)
        provider = storage.provider
        if not hasattr(provider, "sign_cookies"):
            raise StorageUnavailable(f"storage {alias!r} has no distribution that takes cookies")
        _set_lifetime(ask, principal, storage, ttl, now)
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


def _issued(ask: _Ask, signed: SignedURL) -> IssuedURL:
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


def _set_lifetime(ask: _Ask, principal: Principal, storage: Any, ttl: timedelta | None, now: datetime) -> None:
    """Refuse an explicit ttl over a limit; without one take the smallest; never outlive the authority."""
    default = storage.default_ttl or conf().default_ttl
    wanted = default if ttl is None else ttl
    for name, cap in _caps_of(ask, storage).items():
        if cap is not None and wanted > cap:
            if ttl is not None:
                _check_ttl(ttl, cap)
            wanted, ask.limited_by = cap, name
    if ask.kind is Download and storage.url_window is not None:
        ask.window = windows.of(principal, ask.limits, storage.url_window, wanted, now, tenant=tenant_name(principal))
    if ask.window is not None:
        ask.signed_at = ask.window.start
        ask.limited_by = ask.limited_by or "url_window"
    for name, end in _ends_of(ask, principal):
        # From the start of the window, so that the end of the link is the same while it lasts.
        if end is not None and (left := _aware(end) - (ask.signed_at or now)) < wanted:
            wanted, ask.limited_by = timedelta(seconds=int(left.total_seconds())), name
            if _aware(end) - now < timedelta(seconds=1):
                raise AccessDenied("the authority to ask has ended", ask.resource)
    ask.seconds = int(wanted.total_seconds())


def _caps_of(ask: _Ask, storage: Any) -> dict[str, timedelta | None]:
    """Return the longest lives that are allowed, by who says so."""
    return {
        "max_ttl": conf().max_ttl,
        "storage": storage.max_ttl,
        "store": storage.provider.capabilities.max_ttl,
        "policy": ask.limits.max_ttl,
    }


def _ends_of(ask: _Ask, principal: Principal) -> list[tuple[str, datetime | None]]:
    """Return the instants that no link outlives, by whose end they are."""
    name = principal.credential.partition(":")[0]
    ends = [("policy", ask.limits.until), (name, principal.authority_ends_at)]
    if principal.token is not None:
        ends.append((name, principal.token.expires_at))
    return ends


def _aware(instant: datetime) -> datetime:
    # As sessions and columns give it where USE_TZ is off.
    return timezone.make_aware(instant) if timezone.is_naive(instant) else instant


def _check_ttl(ttl: timedelta, cap: timedelta) -> None:
    if not isinstance(ttl, timedelta):
        raise TypeError(f"ttl is of type {type(ttl).__name__}; timedelta")
    if ttl > cap:
        raise TTLTooLong(f"ttl is {ttl.total_seconds():.0f} s; at most {cap.total_seconds():.0f} s")
    if ttl < timedelta(seconds=1) or ttl.microseconds:
        raise InvalidTTL(f"ttl is {ttl.total_seconds():g} s; whole seconds, at least 1")


def _is_anybodys(ask: _Ask) -> bool:
    """Tell whether the link may be another principal's too: it then names none, and is not taken back with one."""
    return ask.window is not None and ask.limits.shareable


def _stamped(ask: _Ask, stamp: str) -> Any:
    if isinstance(ask.operation, (Download, Upload, UploadPart)):
        return dataclasses.replace(ask.operation, stamp=stamp)
    return ask.operation


def _complete(ask: _Ask, storage: Any) -> Any:
    """Add what the caller does not decide: the object's key in the store, type, disposition, version, id."""
    operation = ask.operation
    key = storage.object_key(operation.key)
    ask.link_id = f"lnk_{secrets.token_hex(16)}"
    if not isinstance(operation, Download):
        return operation if key == operation.key else dataclasses.replace(operation, key=key)
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
    return known


def _memo_key(principal: Principal, resource: Resource, operation: AskedFor, ttl: timedelta | None) -> Any:
    if isinstance(operation, functools.partial):
        given = tuple(sorted((name, value) for name, value in operation.keywords.items() if value is not None))
        operation = (operation.func, operation.args, given) if given or operation.args else operation.func
    asker = (principal.id, principal.credential, principal.acted_by, tenant_name(principal))
    return asker, resource.id, resource.key, operation, ttl


# Recording.


def _record(principal: Principal, asks: Sequence[_Ask], now: datetime, decision: str, read: epochs.Now) -> None:
    rows = []
    tenant = tenant_name(principal)
    for ask in asks:
        if ask.refusal is not None:
            row = audit.row_of(
                Issuance.Decision.REFUSED, principal, ask.resource, ask.kind,
                at=now, reason=ask.refusal.reason, tenant=tenant,
            )  # fmt: skip
        else:
            issued = ask.issued
            row = audit.row_of(
                decision, principal, ask.resource, ask.kind,
                at=now, policy=ask.policy, tenant=tenant, limited_by=ask.limited_by,
                link_id=issued.id if issued else "",
                link_hash=audit.hash_of(issued.url) if issued else "",
                expires_at=issued.expires_at if issued else None,
            )  # fmt: skip
            row.epoch = read.number
        rows.append(row)
    audit.record(rows)


def tenant_name(principal: Principal) -> str:
    """Return the name of a principal's tenant for the record; empty where there is none, or it cannot be told."""
    path = conf().tenant
    if path is None:
        return ""
    try:
        return str(resolve(path).of_principal(principal) or "")
    except Exception:
        # The decision has been made; a row without the tenant says more than none.
        logger.exception("the tenant of a principal cannot be told")
        return ""


@contextmanager
def _reading() -> Iterator[None]:
    """The permission data could not be read: no answer is no, and not the client's fault."""
    try:
        yield
    except (DatabaseError, *DATABASE_DOWN) as error:
        logger.error("the permission data cannot be read: %s", type(error).__name__)
        raise DatabaseUnavailable("the permission data cannot be read") from error


@contextmanager
def _signing(alias: str) -> Iterator[None]:
    """A storage that cannot sign is unavailable; what the caller can mend stays the caller's error."""
    try:
        yield
    except (GatewayError, InvalidInput):
        raise
    except ProviderError as error:
        raise StorageUnavailable(f"storage {alias!r}: {error}") from error
    except Exception as error:
        # An AttributeError would be taken for a file without a link; an SDK's text is nobody's to see.
        raise StorageUnavailable(f"storage {alias!r}: {type(error).__name__}") from error
