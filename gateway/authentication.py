"""Who sends a request to the JSON API: each authenticator looks for its own kind of credential.

Must not decide about a file, and must not read what the request asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError, router
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone

from gateway import epochs, throttling
from gateway.conf import conf, resolve
from gateway.errors import (
    AccessDenied,
    CSRFFailed,
    DatabaseUnavailable,
    InvalidRequest,
    NotAuthenticated,
    TooManyRequests,
)
from gateway.models import ApiToken
from gateway.principals import Principal, ambient_lease, bind_principal, principal_of_user
from gateway.tenants import tenant_name

__all__ = [
    "ApiTokenAuthenticator",
    "Authenticator",
    "SessionAuthenticator",
    "authenticate",
    "identify",
    "refusals_explained",
]

_TOKEN = re.compile(rf"{ApiToken.PREFIX}[A-Za-z0-9_\-]{{43}}")  # 256 bits in base64
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


class Authenticator(Protocol):
    """Recognises one kind of credential; named by dotted path in ``GATEWAY["AUTHENTICATORS"]``.

    Attributes:
        reads_authorization: what proves the identity is the Authorization header. One that no such
            authenticator accepts is refused, whatever else the request carries.
    """

    reads_authorization: bool

    def authenticate(self, request: HttpRequest) -> Principal | None:
        """Return who it is; None where the request has no credential of this kind.

        Raises:
            NotAuthenticated: it has one, and it does not hold.
        """
        ...


def authenticate(request: HttpRequest) -> Principal:
    """Return the one identity that a request proves, and make it the one that asks.

    Raises:
        NotAuthenticated: none, one that fails or was taken back, or two that differ.
        CSRFFailed: a session alone, on an unsafe method, without the token of its pages.
        TooManyRequests: its Authorization header, or others from its address, have failed too often.
        DatabaseUnavailable: tokens or sessions cannot be read.
    """
    principal = _proved(request)
    _check_not_taken_back(request, principal)
    return _bound(principal)


def identify(request: HttpRequest) -> Principal:
    """Return the identity as :func:`authenticate` does, for one decision that follows at once.

    Whether what proves it was taken back that decision reads, together with its row, and refuses. What follows stands
    in :func:`refusals_explained`.
    """
    return _bound(_proved(request))


@contextmanager
def refusals_explained(request: HttpRequest, principal: Principal) -> Iterator[None]:
    """Tell those whose credential was taken back from those who may not have the file, or asked for it wrongly.

    Raises:
        NotAuthenticated: in place of a refusal.
    """
    try:
        yield
    except (AccessDenied, InvalidRequest, TooManyRequests):
        _check_not_taken_back(request, principal)
        raise


def _proved(request: HttpRequest) -> Principal:
    # Sessions are not counted: nobody guesses one, and who is logged in need not suffer for a neighbour.
    has_header = "HTTP_AUTHORIZATION" in request.META
    if has_header:
        throttling.check_failures(request)
    try:
        return _one_identity(request)
    except NotAuthenticated:
        if has_header:
            throttling.count_failure(request)
        raise
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable("tokens and sessions cannot be read") from error


def _check_not_taken_back(request: HttpRequest, principal: Principal) -> None:
    if principal.token is None and principal.session_epoch is None:
        return
    tenant = tenant_name(principal)
    try:
        problem = epochs.void_credential(principal, tenant, epochs.now(principal, tenant))
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable("what was taken back cannot be read") from error
    if problem:
        if "HTTP_AUTHORIZATION" in request.META:
            throttling.count_failure(request)
        raise NotAuthenticated(problem)


def _bound(principal: Principal) -> Principal:
    if ambient_lease() is not None:
        bind_principal(principal)
    return principal


class ApiTokenAuthenticator:
    """``Authorization: Bearer pgw_…``, looked up by digest together with its user."""

    reads_authorization = True

    def authenticate(self, request: HttpRequest) -> Principal | None:
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not text.startswith(ApiToken.PREFIX):
            return None
        if not _TOKEN.fullmatch(text):
            raise NotAuthenticated("this is not the form of a token")
        tokens: Any = ApiToken.objects.using(router.db_for_write(ApiToken))
        try:
            token = tokens.select_related("user").get(digest=ApiToken.digest_of(text))
        except ApiToken.DoesNotExist:
            raise NotAuthenticated("there is no such token") from None
        now = timezone.now()
        if token.expires_at <= now:
            raise NotAuthenticated("the token has expired")
        if token.last_used_at is None or token.last_used_at <= now - _USE_IS_NOTED_EVERY:
            tokens.filter(pk=token.pk).update(last_used_at=now)
        return Principal(kind="user", user=token.user, token=token, request=request, authority_ends_at=token.expires_at)


class SessionAuthenticator:
    """Django's session; on unsafe methods with the CSRF token in its header.

    Beside an Authorization header the session proves nothing, and so needs no token: a request of another
    site can carry the cookie, but not the header.
    """

    reads_authorization = False

    def authenticate(self, request: HttpRequest) -> Principal | None:
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        if "HTTP_AUTHORIZATION" not in request.META:
            _check_csrf(request)
        return principal_of_user(request, user)


def _one_identity(request: HttpRequest) -> Principal:
    found: Principal | None = None
    header_is_accepted = "HTTP_AUTHORIZATION" not in request.META
    for path in conf().authenticators:
        authenticator: Authenticator = resolve(path)
        principal = authenticator.authenticate(request)
        if principal is None:
            continue
        if found is not None and found.id != principal.id:
            raise NotAuthenticated("the request proves two identities that differ")
        found = found or principal
        header_is_accepted |= authenticator.reads_authorization
    if found is None or not header_is_accepted:
        raise NotAuthenticated("no credential was accepted")
    if not found.is_active:
        raise NotAuthenticated("the user is not active")
    return found


class _CSRFCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


_CSRF_CHECK = _CSRFCheck(lambda _: HttpResponse())
_NO_FORM = QueryDict()


def _check_csrf(request: HttpRequest) -> None:
    """Ask Django's own check, about the header alone.

    Django would look for a form field first, and so parse the whole upload of a request that may be forged.
    """
    headers_only: Any = HttpRequest.__new__(type(request))
    vars(headers_only).update(vars(request), _post=_NO_FORM)
    reason: Any = _CSRF_CHECK.process_view(headers_only, None, (), {})  # type: ignore[arg-type]
    if reason is not None:
        raise CSRFFailed(str(reason))
