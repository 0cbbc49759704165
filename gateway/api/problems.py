"""Every error of the API as RFC 9457 problem details, and the headers that every answer carries.

Must not tell a client why the answer is no, nor what broke inside.
"""

from __future__ import annotations

import functools
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError, connections
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from gateway.errors import (
    AccessDenied,
    BodyTooLarge,
    DatabaseUnavailable,
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    StorageUnavailable,
    TooManyRequests,
    Unavailable,
    problem,
)
from gateway.principals import ambient_lease
from providers.errors import InvalidTTL, ProviderError

__all__ = ["PROBLEM_TYPE", "answer", "guarded", "not_found", "refuse"]

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
# On every answer alike, so that they tell nothing: what an answer holds is for its client alone.
_HEADERS = {
    "Cache-Control": "no-store, private",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

View = Callable[..., Any]


def answer(
    payload: Any,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Render a JSON answer whose shape the caller has already made right."""
    return HttpResponse(json.dumps(payload), status=status, content_type=media_type, headers=headers)


def refuse(request: HttpRequest, error: Exception) -> HttpResponse:
    """Render whatever was raised as problem details."""
    known = _as_gateway_error(error)
    if known.status >= 500 and not isinstance(known, Unavailable):
        _report(request, error)
    # What the client can mend is told to it; of everything else it reads the fixed title.
    body = problem(known, str(known) if isinstance(known, InvalidRequest) else "")
    headers: dict[str, str] = {}
    if isinstance(known, (TooManyRequests, Unavailable)):
        headers["Retry-After"] = str(known.retry_after_seconds)
    elif known.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(body, known.status, PROBLEM_TYPE, headers)


def guarded(view: View) -> View:
    """Make a view answer errors as problems, with the headers of the API, outside any transaction.

    It is exempt from CSRF checks and from LoginRequiredMiddleware, because authentication is made inside,
    and from ``ATOMIC_REQUESTS``, because a database that is down must be met where it can be answered.
    """

    @functools.wraps(view)
    def call(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        lease = ambient_lease()
        try:
            response: HttpResponse = view(request, *args, **kwargs)
        except Exception as error:
            response = refuse(request, error)
        if isinstance(response, HttpResponseNotAllowed):
            response = _not_allowed(request, response["Allow"].split(", "))
        response["X-Request-ID"] = uuid.uuid4().hex if lease is None else lease.request_id
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    call.csrf_exempt = True  # type: ignore[attr-defined]
    call.login_required = False  # type: ignore[attr-defined]
    call._non_atomic_requests = set(connections)  # type: ignore[attr-defined]
    return call


@guarded
def not_found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer at addresses that the API does not have."""
    raise NotFound("no such address")


def _not_allowed(request: HttpRequest, methods: Sequence[str]) -> HttpResponse:
    response = refuse(request, MethodNotAllowed("not on this address"))
    response["Allow"] = ", ".join(sorted(methods))
    return response


def _as_gateway_error(error: Exception) -> GatewayError:
    match error:
        case GatewayError():
            return error
        case OperationalError() | InterfaceError():
            logger.error("the database cannot be reached: %s", type(error).__name__)
            return DatabaseUnavailable("the database cannot be reached")
        case Http404():
            return NotFound("no such address")
        case PermissionDenied():
            return AccessDenied("permission denied")
        case InvalidTTL():
            return InvalidRequest(str(error))
        case ProviderError():
            logger.error("a storage cannot be used: %s", type(error).__name__)
            return StorageUnavailable("a storage cannot be used")
        case RequestDataTooBig():
            return BodyTooLarge("the body is larger than DATA_UPLOAD_MAX_MEMORY_SIZE")
        case MultiPartParserError() | UnreadablePostError() | SuspiciousOperation() | BadRequest():
            return InvalidRequest("the request cannot be read")
        case _:
            return GatewayError(type(error).__name__)


def _report(request: HttpRequest, error: Exception) -> None:
    """Tell the log and Django's error reporters; having heard, the middleware lets nothing more be issued."""
    lease = ambient_lease()
    request_id = "" if lease is None else lease.request_id
    logger.error("the API failed in request %s", request_id, exc_info=error)
    got_request_exception.send(sender=None, request=request)
