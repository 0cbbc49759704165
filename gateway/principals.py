"""Who asks: a user, nobody in particular, or the system; from the request, or said by code.

The request at hand is a lease: our own object, opened by the middleware, resolved when it is used, refused
once it is closed. Must not decide anything about a file, and never guesses: no principal is an error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from gateway.errors import AccessDenied, ContextLost, LeaseClosed, NoPrincipal

if TYPE_CHECKING:
    from gateway.models import ApiToken, Issuance

__all__ = [
    "ANONYMOUS",
    "SYSTEM",
    "Lease",
    "Principal",
    "acting_as",
    "acurrent",
    "ambient_lease",
    "bind_principal",
    "close_lease",
    "current",
    "no_principal",
    "open_lease",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Principal:
    """Who asks for something.

    Attributes:
        kind: ``user``, ``anonymous`` or ``system``.
        user: the Django user, for ``user`` alone.
        token: the API token that proved it, where one did.
        reason: why the system acts.
        request: the request that asked, where one did.
        authority_ends_at: aware; no link outlives it.
        acted_by: id of the principal that called :func:`acting_as`, if there was one.
    """

    kind: Literal["user", "anonymous", "system"]
    user: Any = None
    token: ApiToken | None = None
    reason: str = ""
    request: HttpRequest | None = field(default=None, repr=False)
    authority_ends_at: datetime | None = None
    acted_by: str = ""

    @property
    def id(self) -> str:
        """Stable name for audit rows and memos: ``user:42``, ``anonymous``, ``system``."""
        return f"user:{self.user.pk}" if self.kind == "user" else self.kind

    @property
    def credential(self) -> str:
        """What proved the identity, for audit rows."""
        if self.token is not None:
            return f"token:{self.token.pk}"
        return "request" if self.request is not None else "code"

    @property
    def is_active(self) -> bool:
        return self.kind != "user" or bool(self.user.is_active)


ANONYMOUS = Principal(kind="anonymous")
SYSTEM = Principal(kind="system")


class Lease:
    """One request's right to ask, and what it has asked for so far.

    Attributes:
        memo: links already issued to this request, by principal, resource and operation.
        pending: audit rows that the middleware commits before the response leaves.
        request_id: names the request in audit rows and in X-Request-ID.
        single_links: how many links were asked for one by one.
    """

    __slots__ = ("bound", "closed", "failed", "memo", "pending", "request", "request_id", "single_links")

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.bound: Principal | None = None
        self.closed = False
        self.failed = False
        self.memo: dict[Any, Any] = {}
        self.pending: list[Issuance] = []
        self.request_id = uuid.uuid4().hex
        self.single_links = 0

    @property
    def is_open(self) -> bool:
        return not self.closed and not self.failed

    def check_open(self) -> None:
        """Refuse when the request is over, or its view has failed (an error page mints nothing).

        Raises:
            LeaseClosed: it is.
        """
        if self.closed:
            raise LeaseClosed("the request that asked is over; make links before a stream starts")
        if self.failed:
            raise LeaseClosed("the view of this request raised; nothing more is issued for it")


@dataclass(frozen=True, slots=True, eq=False)
class _Acting:
    principal: Principal
    outer: Lease | _Acting | None


_ambient: ContextVar[Lease | _Acting | None] = ContextVar("gateway_ambient", default=None)


def open_lease(request: HttpRequest) -> tuple[Lease, Token[Any]]:
    """Make ``request`` the one that asks; for the middleware alone."""
    lease = Lease(request)
    return lease, _ambient.set(lease)


def close_lease(lease: Lease, token: Token[Any]) -> None:
    """End the lease; every copy of the context that still holds it is refused from now on."""
    lease.closed = True
    lease.memo.clear()
    try:
        _ambient.reset(token)
    except ValueError:
        # An adapter between sync and async ran us in another context, which ends with the request.
        _ambient.set(None)


def ambient_lease() -> Lease | None:
    """Return the request's lease while it is open, also from within :func:`acting_as`."""
    ambient = _ambient.get()
    while isinstance(ambient, _Acting):
        ambient = ambient.outer
    return ambient if ambient is not None and ambient.is_open else None


def current() -> Principal:
    """Return who asks now.

    Raises:
        NoPrincipal: outside a request and outside :func:`acting_as`.
        LeaseClosed: the request is over, or its view has failed.
        AccessDenied: ``request.user`` and ``request.auth`` name two users.
    """
    ambient = _ambient.get()
    if isinstance(ambient, Lease):
        ambient.check_open()
        return ambient.bound or _of_user(ambient.request, ambient.request.user)
    return _explicit(ambient)


async def acurrent() -> Principal:
    """Return who asks now, without a blocking query; as :func:`current`."""
    ambient = _ambient.get()
    if isinstance(ambient, Lease):
        ambient.check_open()
        return ambient.bound or _of_user(ambient.request, await ambient.request.auser())
    return _explicit(ambient)


def bind_principal(who: Any) -> None:
    """Say who asks for the rest of this request, over whatever ``request.user`` says.

    Args:
        who: a Django user or a :class:`Principal`; for authentication that runs inside the view.

    Raises:
        NoPrincipal: there is no open request.
    """
    lease = ambient_lease()
    if lease is None:
        raise NoPrincipal("bind_principal() needs a request; is gateway.middleware.GatewayMiddleware installed?")
    principal = who if isinstance(who, Principal) else _of_user(lease.request, who)
    lease.bound = replace(principal, request=lease.request)


@contextmanager
def acting_as(who: Any, *, reason: str = "", allow_in_request: bool = False) -> Iterator[Principal]:
    """Ask in somebody's name: ``with acting_as(user):``, ``with acting_as(SYSTEM, reason="report"):``.

    Args:
        who: a Django user, ``ANONYMOUS`` or ``SYSTEM``.
        reason: why; needed for ``SYSTEM``, and recorded.
        allow_in_request: needed for ``SYSTEM`` inside a request.

    Raises:
        ValueError: ``SYSTEM`` without a reason, or inside a request without ``allow_in_request``.
        ContextLost: the block ended in another context than it began (a generator, a task).
    """
    outer = _ambient.get()
    principal = who if isinstance(who, Principal) else _of_user(None, who)
    if principal.kind == "system":
        if not reason:
            raise ValueError("acting_as(SYSTEM) needs a reason")
        if ambient_lease() is not None and not allow_in_request:
            raise ValueError("acting_as(SYSTEM) inside a request needs allow_in_request=True")
    acting = _Acting(replace(principal, reason=reason, acted_by=_name_of(outer)), outer)
    token = _ambient.set(acting)
    try:
        yield acting.principal
    except BaseException:
        _restore(acting, token)
        raise
    if not _restore(acting, token):
        raise ContextLost("acting_as() ended in another context than it began; do not use it in a generator")


@contextmanager
def no_principal() -> Iterator[None]:
    """Hide the request from code that only happens to run inside it, such as an immediate task."""
    token = _ambient.set(None)
    try:
        yield
    finally:
        _ambient.reset(token)


def _restore(acting: _Acting, token: Token[Any]) -> bool:
    if _ambient.get() is not acting:
        return False
    try:
        _ambient.reset(token)
    except ValueError:
        return False
    return True


def _explicit(ambient: _Acting | None) -> Principal:
    if ambient is None:
        raise NoPrincipal(
            "nobody is asking: use a request with gateway.middleware.GatewayMiddleware, or acting_as()"
        )
    return ambient.principal


def _name_of(ambient: Lease | _Acting | None) -> str:
    """Name the principal that calls acting_as(), without a query that might block an event loop."""
    if isinstance(ambient, _Acting):
        return ambient.principal.id
    if ambient is None or not ambient.is_open:
        return ""
    if ambient.bound is not None:
        return ambient.bound.id
    session = getattr(ambient.request, "session", None)
    user_pk = None if session is None else session.get(SESSION_KEY)
    return "anonymous" if user_pk is None else f"user:{user_pk}"


def _of_user(request: HttpRequest | None, user: Any) -> Principal:
    # request.user is lazy; what is kept must be the user itself, or a copied context would load it again.
    is_authenticated = user.is_authenticated
    user = getattr(user, "_wrapped", user)
    if request is not None:
        _check_one_identity(request, user)
    if not is_authenticated:
        return replace(ANONYMOUS, request=request)
    return Principal(
        kind="user", user=user, request=request, authority_ends_at=_session_end(request) if request else None
    )


def _check_one_identity(request: HttpRequest, user: Any) -> None:
    """DRF and ninja put what proved the identity into ``request.auth``; it must be of the same user."""
    auth = getattr(request, "auth", None)
    named = auth if hasattr(auth, "is_authenticated") else getattr(auth, "user", None)
    if named is not None and (named.pk != user.pk or type(getattr(named, "_wrapped", named)) is not type(user)):
        raise AccessDenied("request.auth names another user than request.user")


def _session_end(request: HttpRequest) -> datetime | None:
    session = getattr(request, "session", None)
    # Without an end of its own a session lives SESSION_COOKIE_AGE from its last use.
    if session is None or session.get("_session_expiry") is None or SESSION_KEY not in session:
        return None
    end: datetime = session.get_expiry_date()
    return end
