"""Answers Apache's mod_wsgi before Apache sends a file: who asks by password, or by session.

Must not say yes to a user alone, always to a user and the file that is asked for; must not believe an address that a
header names.
Source: https://modwsgi.readthedocs.io/en/master/user-guides/access-control-mechanisms.html
"""

from __future__ import annotations

import hashlib
import hmac
import io
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django import db
from django.contrib.auth import authenticate as authenticate_password
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse

from gateway import links, throttling
from gateway.authentication import authenticate
from gateway.conf import conf
from gateway.delivery.raw_paths import named_by
from gateway.delivery.visits import is_sent_by_another_site
from gateway.errors import AccessDenied, GatewayError, NotAuthenticated
from gateway.policies import DATABASE_DOWN
from gateway.principals import Principal, no_principal, principal_of_user
from gateway.resources import Resource
from providers.types import Download

__all__ = ["allow_access", "check_password"]

logger = logging.getLogger(__name__)

_VERIFIED_SECONDS = 60
_MAX_VERIFIED = 1000
# Of headers alone Apache makes these; what stands in front of it is Apache's to know (mod_remoteip).
_BELIEVED_OF_PROXIES = ("HTTP_X_FORWARDED_FOR",)


def check_password(environ: Mapping[str, Any], user: str, password: str) -> bool:
    """Tell whether this is a Django user's password, and the user may have the file: ``WSGIAuthUserScript``.

    A password that was verified is not hashed again for 60 seconds, while the user's stored hash stays as it is.
    """
    return _answer(environ, lambda request: _of_password(request, user, password))


def allow_access(environ: Mapping[str, Any], host: str) -> bool:
    """Tell whether a request's session is of one who may have the file: ``WSGIAccessScript``.

    Apache keeps the Authorization header to itself, so API tokens prove nothing here.
    """
    return _answer(environ, _of_session)


def _answer(environ: Mapping[str, Any], find: Callable[[HttpRequest], Principal]) -> bool:
    """Decide and record; whatever goes wrong is no. No request of Django's begins or ends here, so this does it."""
    db.reset_queries()
    db.close_old_connections()
    try:
        request = _request(environ)
        with no_principal():
            _permit(request, find)
    except (AccessDenied, NotAuthenticated, ValueError) as error:
        logger.info("refused: %s", getattr(error, "reason", "") or error)
    except (GatewayError, *DATABASE_DOWN) as error:
        logger.error("could not decide: %s", type(error).__name__)
    except Exception:
        logger.exception("could not decide")
    else:
        return True
    finally:
        db.close_old_connections()
    return False


def _request(environ: Mapping[str, Any]) -> HttpRequest:
    """Return the question as Django sees requests, without a body."""
    kept = {name: value for name, value in environ.items() if name not in _BELIEVED_OF_PROXIES}
    return WSGIRequest(kept | {"wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0"})


def _permit(request: HttpRequest, find: Callable[[HttpRequest], Principal]) -> None:
    given = conf().forward_auth
    if not given or given["proxy"] != "apache":
        raise AccessDenied("FORWARD_AUTH is not Apache's")
    if request.method not in ("GET", "HEAD"):
        raise AccessDenied("the method is not one of a download")
    # As the client wrote it; PATH_INFO and SCRIPT_NAME have been decoded.
    alias, key = named_by(request.META.get("REQUEST_URI", ""), given["paths"])
    if is_sent_by_another_site(request):
        raise AccessDenied("a cross-site request that is no navigation")
    operation = partial(Download, method="HEAD" if request.method == "HEAD" else "GET")
    links.permit(find(request), Resource.of_key(alias, key), operation, delivery="mod_wsgi")


def _of_session(request: HttpRequest) -> Principal:
    def get_response(_: HttpRequest) -> HttpResponse:
        return HttpResponse()

    SessionMiddleware(get_response).process_request(request)
    AuthenticationMiddleware(get_response).process_request(request)
    return authenticate(request)


class _Verified:
    """Passwords that were right a short while ago, as digests under a key that only this process knows."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._until: dict[bytes, float] = {}  # of time.monotonic()

    def has(self, user: Any, password: str) -> bool:
        with self._lock:
            return self._until.get(self._name(user, password), 0.0) > time.monotonic()

    def add(self, user: Any, password: str) -> None:
        name, now = self._name(user, password), time.monotonic()
        with self._lock:
            # One is only ever written anew once it has ended, so the first is the next to end.
            self._until.pop(name, None)
            if len(self._until) >= _MAX_VERIFIED:
                del self._until[next(iter(self._until))]
            self._until[name] = now + _VERIFIED_SECONDS

    def _name(self, user: Any, password: str) -> bytes:
        # The stored hash is part of it: another password is another name at once.
        said = repr((user._meta.label, user.pk, user.password, password))
        return hmac.digest(self._key, said.encode(errors="surrogatepass"), "sha256")


_verified = _Verified()


def _of_password(request: HttpRequest, name: str, password: str) -> Principal:
    model: Any = get_user_model()
    try:
        user = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        user = None
    # Known ones are not counted, or strangers' guesses would keep a user out of what is being read.
    if user is None or not _verified.has(user, password):
        user = _verify(request, name, password)
        _verified.add(user, password)
    if not user.is_active:
        raise NotAuthenticated("the user is not active")
    return principal_of_user(request, user)


def _verify(request: HttpRequest, name: str, password: str) -> Any:
    # Guesses are counted by address and by user name, where other requests have their Authorization header.
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    request.META["HTTP_AUTHORIZATION"] = f"Basic {digest}"
    throttling.check_failures(request)
    user = authenticate_password(request, username=name, password=password)
    if user is None:
        throttling.count_failure(request)
        raise NotAuthenticated("not the user's password")
    return user
