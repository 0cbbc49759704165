"""The addresses of the standalone service: the gateway's own with its files, health, log-in and the page."""

from __future__ import annotations

from django.urls import include, path

from gateway.api.health import healthz, readyz
from gateway.api.mount import api_urls
from gateway.api.page import log_in, log_out, page
from gateway.delivery.forward_auth import forward_auth
from gateway.delivery.local import data_plane
from gateway.delivery.permalink import permalink
from gateway.delivery.relay import relay

# As gateway.urls, in the same namespace, so that everything is reversed alike.
_gateway = [
    # First, since they are asked for most, and addresses are tried in turn.
    path("f/<path:reference>", permalink, name="permalink"),
    path("forward-auth", forward_auth, name="forward_auth"),
    path("local/<slug:alias>/<path:key>", data_plane, name="local"),
    path("relay/<slug:alias>/<path:key>", relay, name="relay"),
    *api_urls(files=True),
]

urlpatterns = [
    path("", include((_gateway, "presign_gateway"))),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("log-in", log_in, name="login"),
    path("log-out", log_out, name="logout"),
    path("", page, name="page"),
]
