"""The one page of the standalone service: one's files with their permalinks, and a form to upload another.

Must not need a script, nor anything from another host; it holds no presigned link, so it can be kept open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from gateway.api import library
from gateway.api.cursors import read_cursor, write_cursor
from gateway.api.files import read_upload
from gateway.conf import conf
from gateway.errors import AccessDenied, InvalidRequest, Unavailable
from gateway.fields import permalink_of
from gateway.principals import current
from gateway.resources import Resource

__all__ = ["log_in", "log_out", "page"]

_PAGE_FILES = 50
_CSRF_FIELD = "csrfmiddlewaretoken"
_HEADERS = {
    "Cache-Control": "no-store, private",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
}

View = Callable[..., Any]


def _shown(view: View) -> View:
    """Keep a page private and without scripts, and answer 503 where it cannot be made at the moment."""

    @functools.wraps(view)
    def call(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = view(request, *args, **kwargs)
            if hasattr(response, "render"):
                response.render()
        except (OperationalError, InterfaceError, Unavailable):
            response = HttpResponse(f"{Unavailable.title}\n", status=Unavailable.status, content_type="text/plain")
            response["Retry-After"] = str(Unavailable.retry_after_seconds)
        for name, value in _HEADERS.items():
            response[name] = value
        return response

    # A database that is down must be met where it can be answered, not where ATOMIC_REQUESTS begins.
    call._non_atomic_requests = set(connections)  # type: ignore[attr-defined]
    return call


log_in = _shown(LoginView.as_view(template_name="gateway/log_in.html", next_page=reverse_lazy("page")))
log_out = _shown(LogoutView.as_view(next_page=reverse_lazy("login")))


@csrf_exempt
@_shown
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """List the files that one may download, newest first, or take another one."""
    if request.method == "POST":
        return _take(request)
    try:
        return _listed(request, cursor=request.GET.get("cursor"))
    except InvalidRequest as error:
        return _listed(request, error=error)


def _take(request: HttpRequest) -> HttpResponse:
    try:
        library.check_may_save(current())
        # Before Django looks for its token in the form, and would parse one of any length.
        upload = read_upload(request, also=frozenset({_CSRF_FIELD}))
    except (AccessDenied, InvalidRequest) as error:
        return _listed(request, error=error)
    return _keep(request, upload)


@csrf_protect
def _keep(request: HttpRequest, upload: Any) -> HttpResponse:
    try:
        library.save(current(), upload)
    except (AccessDenied, InvalidRequest) as error:
        return _listed(request, error=error)
    return redirect("page")


def _listed(
    request: HttpRequest, *, cursor: str | None = None, error: AccessDenied | InvalidRequest | None = None
) -> HttpResponse:
    after = None if not cursor else read_cursor(cursor)
    files = library.list_files(current(), limit=_PAGE_FILES, after=after)
    context = {
        "files": [(file, permalink_of(Resource.of_file(file))) for file in files.files],
        "next_cursor": None if files.end is None else write_cursor(files.end),
        "max_upload_bytes": conf().max_upload_bytes,
        "error": error,
    }
    return render(request, "gateway/page.html", context, status=200 if error is None else error.status)
