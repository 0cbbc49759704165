"""What every address of one object answers to a visitor: it decides anew whenever it is followed.

Must not tell a stranger what there is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver, get_urlconf
from django.utils.encoding import escape_uri_path

from gateway.authentication import identify, refusals_explained
from gateway.delivery.serving import serve
from gateway.errors import (
    AccessDenied,
    DatabaseUnavailable,
    GatewayError,
    InvalidReference,
    NotAuthenticated,
    TooManyRequests,
    Unavailable,
)
from gateway.policies import DATABASE_DOWN
from gateway.resources import Resource

__all__ = ["is_sent_by_another_site", "visit"]

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")
_TEXT = "text/plain; charset=utf-8"


def visit(request: HttpRequest, find: Callable[[], Resource]) -> HttpResponseBase:
    """Give whoever may have it the object, or a redirect to a presigned link of it.

    Without a valid identity the answer is the log-in page, or 401 to what is no browser, whatever is asked for.
    With one, everything that is not the object is the same 404.

    Args:
        find: returns what is asked for; only called once somebody is known to ask.
    """
    if request.method not in METHODS:
        response: HttpResponseBase = HttpResponse(status=405, headers={"Allow": ", ".join(METHODS)})
    else:
        try:
            response = _answer(request, find)
        except (AccessDenied, InvalidReference):
            response = _not_found(request)
        except NotAuthenticated:
            response = _who_are_you(request)
        except (TooManyRequests, Unavailable) as error:
            response = _later(error, error.retry_after_seconds)
        except DATABASE_DOWN as error:
            logger.error("the database cannot be reached: %s", type(error).__name__)
            response = _later(DatabaseUnavailable(), DatabaseUnavailable.retry_after_seconds)
    # What carries the object itself says so; everything else is for nobody to keep.
    response.headers.setdefault("Cache-Control", "no-store, private")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response


def _answer(request: HttpRequest, find: Callable[[], Resource]) -> HttpResponseBase:
    if is_sent_by_another_site(request):
        raise AccessDenied("a cross-site request that is no navigation")
    principal = identify(request)
    with refusals_explained(request, principal):
        if request.META.get("QUERY_STRING"):
            # There is nothing to choose here, and what is not understood is not ignored.
            raise AccessDenied("there are no parameters")
        return serve(request, principal, find())


def is_sent_by_another_site(request: HttpRequest) -> bool:
    """Tell whether a page of another site uses the visitor's cookies to load a file into itself.

    Following a link to a file is a navigation of the whole window, and stays possible; images, frames and
    fetches of strangers are not. Browsers of 2023 and later say which it is, on https and loopback; a page
    cannot change what they say. A client that says nothing is an older browser, or none at all: it brings its
    own credentials, or the cookie that SameSite=Lax kept from other sites' images already.

    Source: https://www.w3.org/TR/fetch-metadata/
    """
    # Of META, since request.headers would be made of all that the client sent, for this one.
    if request.META.get("HTTP_SEC_FETCH_SITE") != "cross-site":
        return False
    mode, destination = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest", "document")
    return mode != "navigate" or destination != "document"


def _who_are_you(request: HttpRequest) -> HttpResponseBase:
    if _is_browser(request):
        # The path alone comes back as ``next``, spelt as it was asked for.
        return redirect_to_login(escape_uri_path(request.path))
    return HttpResponse(
        f"{NotAuthenticated.title}\n",
        status=NotAuthenticated.status,
        content_type=_TEXT,
        headers={"WWW-Authenticate": "Bearer"},
    )


def _is_browser(request: HttpRequest) -> bool:
    """Tell whether somebody sits there who could log in: it asks for HTML by name, and has no token to show."""
    asks_for_html = any(
        (accepted.main_type, accepted.sub_type) == ("text", "html") for accepted in request.accepted_types
    )
    navigates = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    return asks_for_html and navigates and "Authorization" not in request.headers


def _not_found(request: HttpRequest) -> HttpResponseBase:
    """Answer as the host does where there is nothing; raised instead, the error would end the request's lease."""
    handler: Any = get_resolver(get_urlconf()).resolve_error_handler(404)
    response: HttpResponseBase = handler(request, exception=Http404(AccessDenied.title))
    return response


def _later(error: GatewayError, seconds: int) -> HttpResponseBase:
    return HttpResponse(
        f"{error.title}\n",
        status=error.status,
        content_type=_TEXT,
        headers={"Retry-After": str(seconds)},
    )
