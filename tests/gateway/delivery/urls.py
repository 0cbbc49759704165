"""A host project's addresses: the gateway's own, and a log-in page to be sent to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from gateway.delivery import paths


def log_in(request: HttpRequest) -> HttpResponse:
    return HttpResponse("log in")


urlpatterns = [
    path("", include("gateway.urls")),
    path("by-path/<path:key>", paths("private")),
    path("guarded-by-us/<path:key>", paths("guarded")),
    path("log-in", log_in, name="login"),
]
