"""Who asks: a user, nobody in particular, or the system; from the request, or said by code.

The request at hand is a lease: our own object, opened by the middleware, resolved when it is used, refused
once it is closed. Must not decide anything about a file, and never guesses: no principal is an error.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from gateway.errors import AccessDenied, ContextLost, LeaseClosed, NoPrincipal

if TYPE_CHECKING:
    from gateway.models import ApiToken, Issuance

__all__ = [
    "ANONYMOUS",
    "SESSION_EPOCH",
    "SYSTEM",
    "Lease",
    "Principal",
    "acting_as",
    "acurrent",
    "ambient_lease",
    "bind_principal",
    "close_lease",
    "current",
    "in_event_loop",
    "no_principal",
    "open_lease",
    "principal_of_user",
]

SESSION_EPOCH = "_gateway_epoch"  # key of a session


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Principal:
    """Who asks for something.

    Attributes:
        kind: ``user``, ``anonymous`` or ``system``.
        user: the Django user, for ``user`` alone.
        session_epoch: of gateway.epochs when the session began that proved it, where one did.
        token: the API token that proved it, where one did.
        reason: why the system acts.
        request: the request that asked, where one did.
        authority_ends_at: aware; no link outlives it.
        outer: who called :func:`acting_as`: an id, or the request where naming its user would have blocked
            the event loop.
    """

    kind: Literal["user", "anonymous", "system"]
    user: Any = None
    session_epoch: int | None = None
    token: ApiToken | None = None
    reason: str = ""
    request: HttpRequest | None = field(default=None, repr=False)
    authority_ends_at: datetime | None = None
    outer: str | Lease = field(default="", repr=False)

    @property
    def id(self) -> str:
        """Stable name for audit rows and memos: ``user:42``, ``anonymous``, ``system``."""
        return f"user:{self.user.pk}" if self.kind == "user" else self.kind

    @property
    def credential(self) -> str:
        """What proved the identity, for audit rows."""
        if self.token is not None:
            return f"token:{self.token.pk}"
        if self.session_epoch is not None:
            return "session"
        return "request" if self.request is not None else "code"

    @property
    def acted_by(self) -> str:
        """Id of the principal that called :func:`acting_as`, if there was one; may ask the database."""
        return self.outer if isinstance(self.outer, str) else _name_of_user(self.outer)

    @property
    def is_active(self) -> bool:
        """False for a user that was deactivated, deleted or never saved."""
        return self.kind != "user" or (self.user.pk is not None and bool(self.user.is_active))


ANONYMOUS = Principal(kind="anonymous")
SYSTEM = Principal(kind="system")


class Lease:
    """One request's right to ask, and what it has asked for so far.

    Attributes:
        bound, user: who :func:`bind_principal` named: a principal, or a user in place of ``request.user``.
        memo: links already issued to this request, by principal, resource and operation.
        failed: an exception escaped the view; nothing more is issued to the request's principal.
        pending: audit rows that the middleware commits before the response leaves.
        request_id: names the request in audit rows and in X-Request-ID.
        single_links: how many links were asked for one by one.
    """

    __slots__ = (
        "_lock", "bound", "closed", "failed", "memo", "pending", "request", "request_id", "single_links", "user",
    )  # fmt: skip

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.bound: Principal | None = None
        self.user: Any = None
        self.closed = False
        self.failed = False
        self.memo: dict[Any, Any] = {}
        self.pending: list[Issuance] = []
        self.request_id = uuid.uuid4().hex
        self.single_links = 0
        self._lock = threading.Lock()

    def keep(self, rows: Sequence[Issuance]) -> bool:
        """Keep audit rows for the middleware; False where it has been and gone, in a thread that stayed."""
        with self._lock:
            if not self.closed:
                self.pending.extend(rows)
            return not self.closed

    def close(self) -> None:
        with self._lock:
            self.closed = True
        self.memo.clear()

    def check_open(self) -> None:
        """Refuse when the request is over, or its view has failed (an error page mints nothing).

        Raises:
            LeaseClosed: it is.
        """
        if self.closed:
            raise LeaseClosed("the request that asked is over; make links before a stream starts")
        if self.failed:
            raise LeaseClosed("the view of this request raised; nothing more is issued for it")


@dataclass(slots=True, eq=False)
class _Acting:
    principal: Principal
    outer: Lease | _Acting | None
    ended: bool = False


_ambient: ContextVar[Lease | _Acting | None] = ContextVar("gateway_ambient", default=None)


def open_lease(request: HttpRequest) -> tuple[Lease, Token[Any]]:
    """Make ``request`` the one that asks; for the middleware alone."""
    lease = Lease(request)
    # For who writes a log once the lease is closed: Django names the request of a response that it logs.
    request.gateway_request_id = lease.request_id  # type: ignore[attr-defined]
    return lease, _ambient.set(lease)


def close_lease(lease: Lease, token: Token[Any]) -> None:
    """End the lease; every copy of the context that still holds it is refused from now on."""
    lease.close()
    try:
        _ambient.reset(token)
    except ValueError:
        # An adapter between sync and async ran us in another context, which ends with the request.
        _ambient.set(None)


def ambient_lease() -> Lease | None:
    """Return the request's lease until its response is done, also from within :func:`acting_as`."""
    ambient = _ambient.get()
    while isinstance(ambient, _Acting):
        ambient = ambient.outer
    return ambient if ambient is not None and not ambient.closed else None


def current() -> Principal:
    """Return who asks now.

    Raises:
        NoPrincipal: outside a request and outside :func:`acting_as`.
        LeaseClosed: the request is over, or its view has failed.
        ContextLost: the :func:`acting_as` block that this code began in is over.
        AccessDenied: ``request.user`` and ``request.auth`` name two users.
    """
    ambient = _ambient.get()
    if isinstance(ambient, Lease):
        ambient.check_open()
        user = _user_of(ambient)
        if ambient.bound is None and user is None:
            # An AttributeError would be taken for a file without a link.
            raise NoPrincipal("the request has no user; AuthenticationMiddleware stands before GatewayMiddleware")
        return ambient.bound or principal_of_user(ambient.request, user)
    return _explicit(ambient)


async def acurrent() -> Principal:
    """Return who asks now, without a query that blocks the event loop; as :func:`current`."""
    # Not request.auser(): it keeps the user that it knew first, over log-in, log-out and authentication
    # inside the view, all of which set request.user.
    return await sync_to_async(current)()


def bind_principal(who: Any) -> None:
    """Say who asks for the rest of this request, over whatever ``request.user`` says.

    Args:
        who: a Django user or a :class:`Principal`; for authentication that runs inside the view.

    Raises:
        NoPrincipal: there is no open request.
        TypeError: it is neither.
        ValueError: ``SYSTEM``, which only :func:`acting_as` may name.
    """
    lease = ambient_lease()
    if lease is None:
        raise NoPrincipal("bind_principal() needs a request; is gateway.middleware.GatewayMiddleware installed?")
    if isinstance(who, Principal):
        if who.kind == "system":
            raise ValueError("bind_principal() takes no SYSTEM; use acting_as(SYSTEM, reason=…)")
        lease.bound = who if who.request is lease.request else replace(who, request=lease.request)
    elif isinstance(who, LazyObject) or hasattr(who, "is_authenticated"):
        # What is still to be known of it is asked at use: here may be an event loop.
        lease.user, lease.bound = who, None
    else:
        raise _nobody(who)


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
    principal = who if isinstance(who, Principal) else principal_of_user(None, who)
    if principal.kind == "system":
        if not reason:
            raise ValueError("acting_as(SYSTEM) needs a reason")
        if ambient_lease() is not None and not allow_in_request:
            raise ValueError("acting_as(SYSTEM) inside a request needs allow_in_request=True")
    acting = _Acting(replace(principal, reason=reason, outer=_name_of(outer)), outer)
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
        with suppress(ValueError):  # in another context there is nothing to restore
            _ambient.reset(token)


def _restore(acting: _Acting, token: Token[Any]) -> bool:
    # Copies of the context, and blocks that ended out of order, may still hold it.
    acting.ended = True
    if _ambient.get() is not acting:
        return False
    try:
        _ambient.reset(token)
    except ValueError:
        _ambient.set(acting.outer)
        return False
    return True


def _explicit(ambient: _Acting | None) -> Principal:
    if ambient is None:
        raise NoPrincipal("nobody is asking: use a request with gateway.middleware.GatewayMiddleware, or acting_as()")
    if ambient.ended:
        raise ContextLost("the acting_as() block that this code began in is over")
    return ambient.principal


def _name_of(ambient: Lease | _Acting | None) -> str | Lease:
    """Name the principal that calls acting_as(); the request itself where its user is still to be loaded."""
    if isinstance(ambient, _Acting):
        return ambient.principal.id
    if ambient is None or ambient.closed:
        return ""
    if ambient.bound is None and getattr(_user_of(ambient), "_wrapped", None) is empty and in_event_loop():
        return ambient
    return _name_of_user(ambient)


def _name_of_user(lease: Lease) -> str:
    if lease.bound is not None:
        return lease.bound.id
    user = _user_of(lease)
    return f"user:{user.pk}" if getattr(user, "is_authenticated", False) else "anonymous"


def in_event_loop() -> bool:
    """Tell whether a query here would block an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _user_of(lease: Lease) -> Any:
    """Return the user as it is, perhaps still to be loaded: not even its truth may be asked here."""
    return getattr(lease.request, "user", None) if lease.user is None else lease.user


def principal_of_user(request: HttpRequest | None, user: Any) -> Principal:
    """Return a user as a principal, with what a session of the request says of it.

    Raises:
        AccessDenied: ``request.auth`` names another user.
        TypeError: it is no user.
    """
    # request.user is lazy; what is kept must be the user itself, or a copied context would load it again.
    is_authenticated = getattr(user, "is_authenticated", None)
    user = getattr(user, "_wrapped", user)
    if is_authenticated is None:
        raise _nobody(user)
    if request is not None:
        _check_one_identity(request, user)
    if not is_authenticated:
        return replace(ANONYMOUS, request=request)
    session = None if request is None else _session_of(request, user)
    if session is None:
        return Principal(kind="user", user=user, request=request)
    return Principal(
        kind="user",
        user=user,
        session_epoch=_epoch_of(session),
        request=request,
        # Without an end of its own a session lives SESSION_COOKIE_AGE from its last use.
        authority_ends_at=None if session.get("_session_expiry") is None else session.get_expiry_date(),
    )


def _nobody(who: Any) -> TypeError:
    return TypeError(f"who asks is of type {type(who).__name__}; a user, ANONYMOUS or SYSTEM")


def _check_one_identity(request: HttpRequest, user: Any) -> None:
    """DRF and ninja put what proved the identity into ``request.auth``; it must be of the same user."""
    auth = getattr(request, "auth", None)
    named = auth if hasattr(auth, "is_authenticated") else getattr(auth, "user", None)
    if named is not None and _identity(named) != _identity(user):
        raise AccessDenied("request.auth names another user than request.user")


def _identity(user: Any) -> tuple[type, Any]:
    pk = getattr(user, "pk", None)  # first: it loads a lazy user
    user = getattr(user, "_wrapped", user)
    return getattr(getattr(user, "_meta", None), "concrete_model", type(user)), pk


def _session_of(request: HttpRequest, user: Any) -> Any:
    """Return the session that proves the user; None where none does."""
    session = getattr(request, "session", None)
    if session is None or not hasattr(user, "_meta"):
        return None
    return session if session.get(SESSION_KEY) == user._meta.pk.value_to_string(user) else None


def _epoch_of(session: Any) -> int:
    """Return under which number a session began; one that does not say is older than all."""
    number = session.get(SESSION_EPOCH, 0)
    return number if type(number) is int and number > 0 else 0
