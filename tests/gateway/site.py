"""A site whose views do what a test says, and every way of visiting it: WSGI and ASGI, through real handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client
from django.urls import include, path


class Views:
    """What the next visit does: a function of the request for each kind of view."""

    def __init__(self) -> None:
        self.sync: Callable[[HttpRequest], Any] = lambda request: ""
        self.asynchronous: Callable[[HttpRequest], Any] = self.nothing
        self.on_error: Callable[[HttpRequest], Any] = lambda request: "error"

    @staticmethod
    async def nothing(request: HttpRequest) -> str:
        return ""


views = Views()


def _response(answer: Any) -> HttpResponseBase:
    return answer if isinstance(answer, HttpResponseBase) else HttpResponse(str(answer))


def sync_view(request: HttpRequest) -> HttpResponseBase:
    return _response(views.sync(request))


async def async_view(request: HttpRequest) -> HttpResponseBase:
    return _response(await views.asynchronous(request))


def error_page(request: HttpRequest, exception: Exception | None = None) -> HttpResponseBase:
    response = HttpResponse(str(views.on_error(request)))
    response.status_code = 404 if exception else 500
    return response


handler404 = handler500 = error_page
urlpatterns = [
    path("sync", sync_view),
    path("async", async_view),
    path("", include("gateway.urls")),
]


def visit(path: str, user: Any = None, **options: Any) -> Any:
    """Visit through WSGI's handler."""
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return client.get(path, **options)


def avisit(path: str, user: Any = None, **options: Any) -> Any:
    """Visit through ASGI's handler, in an event loop that ends with the visit."""
    client = AsyncClient(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return async_to_sync(client.get)(path, **options)


VISITS: dict[str, Callable[..., Any]] = {"wsgi": visit, "asgi": avisit}


def session_of(user: Any) -> str:
    """Log in without a client, and return the cookie."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"sessionid={session.session_key}"


async def converse(path: str, cookie: str = "") -> tuple[int, bytes, dict[str, str]]:
    """Speak ASGI with the application as a server does: status, body and headers."""
    headers = [(b"host", b"testserver")] + ([(b"cookie", cookie.encode())] if cookie else [])
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path,
        "raw_path": path.encode(), "query_string": b"", "headers": headers, "server": ("testserver", 80),
    }  # fmt: skip
    communicator = ApplicationCommunicator(get_asgi_application(), scope)
    await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
    start = await communicator.receive_output(timeout=10)
    body = b""
    while True:
        part = await communicator.receive_output(timeout=10)
        body += part.get("body", b"")
        if not part.get("more_body", False):
            break
    await communicator.wait(timeout=10)
    return start["status"], body, {name.decode().lower(): value.decode() for name, value in start["headers"]}
