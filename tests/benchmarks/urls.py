"""The service's addresses, and those of the views that people write by hand."""

from django.urls import include, path

from tests.benchmarks.plain import link, recorded_link

urlpatterns = [
    path("plain/link", link),
    path("plain/recorded", recorded_link),
    path("", include("gateway.service_urls")),
]
