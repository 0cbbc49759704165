"""The service's addresses, and those of the views that people write by hand."""

from django.urls import include, path

from tests.benchmarks import plain_azure, plain_cloudfront, plain_gcs, plain_upload
from tests.benchmarks.plain import link, page, prefetched_page, recorded_link, recorded_page

urlpatterns = [
    path("plain/link", link),
    path("plain/recorded", recorded_link),
    path("plain/page", page),
    path("plain/recorded_page", recorded_page),
    path("plain/gcs/page", plain_gcs.page),
    path("plain/gcs/recorded_page", plain_gcs.recorded_page),
    path("plain/azure/page", plain_azure.page),
    path("plain/azure/recorded_page", plain_azure.recorded_page),
    path("plain/cloudfront/page", plain_cloudfront.page),
    path("plain/cloudfront/recorded_page", plain_cloudfront.recorded_page),
    path("plain/upload", plain_upload.upload),
    path("prefetched/page", prefetched_page),
    path("", include("gateway.service_urls")),
]
