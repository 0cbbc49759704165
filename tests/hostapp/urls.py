"""The host's addresses, and the gateway's among them."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from tests.hostapp import views
from tests.hostapp.rest import router
from tests.hostapp.schemas import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("rest/", include(router.urls)),
    path("ninja/", api.urls),
    path("documents", views.documents),
    path("prefetched", views.prefetched_documents),
    path("async", views.async_documents),
    path("gateway/", include("gateway.urls")),
]
