"""The gateway's addresses in a host project: links, the permalink, the local data plane; nothing else."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import path

app_name = "presign_gateway"

urlpatterns = [
    path("f/<path:reference>", lambda r, reference: HttpResponse(), name="permalink"),
    path("local/<slug:alias>/<path:key>", lambda r, alias, key: HttpResponse(), name="local"),
]
