"""The two addresses of delivery, and a log-in page to be sent to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from gateway.delivery.local import data_plane
from gateway.delivery.redirect import permalink

delivery = [
    path("f/<path:reference>", permalink, name="permalink"),
    path("local/<slug:alias>/<path:key>", data_plane, name="local"),
]


def log_in(request: HttpRequest) -> HttpResponse:
    return HttpResponse("log in")


urlpatterns = [
    path("", include((delivery, "presign_gateway"))),
    path("log-in", log_in, name="login"),
]
