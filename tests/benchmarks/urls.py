"""The service's addresses, and those of the views that people write by hand."""

from django.urls import include, path

from gateway.service_urls import urlpatterns as service_urls
from tests.benchmarks import plain_azure, plain_cloudfront, plain_gcs, plain_upload
from tests.benchmarks.plain import link, page, prefetched_page, recorded_link, recorded_page

urlpatterns = [
    path(
        "plain/",
        include(
            [
                path("link", link),
                path("recorded", recorded_link),
                path("page", page),
                path("recorded_page", recorded_page),
                path("gcs/page", plain_gcs.page),
                path("gcs/recorded_page", plain_gcs.recorded_page),
                path("azure/page", plain_azure.page),
                path("azure/recorded_page", plain_azure.recorded_page),
                path("cloudfront/page", plain_cloudfront.page),
                path("cloudfront/recorded_page", plain_cloudfront.recorded_page),
                path("upload", plain_upload.upload),
            ]
        ),
    ),
    path("prefetched/page", prefetched_page),
    *service_urls,
]
