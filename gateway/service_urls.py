"""The addresses of the standalone service: the gateway's own, files, health, log-in and the page."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("gateway.urls")),
]
