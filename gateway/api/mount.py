"""The one factory of the API: for a host project, and with the service's own files for the service.

A URLconf holds one of the two: both have the namespace ``presign_gateway:api``, so that what links to one
links to the other. Must not know any address but by its name.
"""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, URLResolver, include, path, re_path
from ninja import NinjaAPI

from gateway import __version__
from gateway.api import explaining, links
from gateway.api import files as files_module
from gateway.api.document import complete
from gateway.api.identity import Identity
from gateway.api.problems import guarded, not_found, refuse
from gateway.api.rails import direct_uploads
from gateway.api.service import service_router
from gateway.api.uploads import begin_router
from gateway.api.uploads import router as uploads_router
from gateway.api.uppy import uppy_urls

__all__ = ["GatewayAPI", "api_urls", "build_api"]

_DESCRIPTION = (
    "Presigned URLs for private files, issued only after a permission check. Errors are RFC 9457 problem"
    " details; every answer names its request in the header X-Request-ID."
)


class GatewayAPI(NinjaAPI):
    """django-ninja, with every error a problem and the document completed."""

    def create_temporal_response(self, request: Any) -> Any:
        """Make none: every operation answers with a response of its own."""

    def on_exception(self, request: Any, exc: Any) -> Any:
        return refuse(request, exc)

    def get_openapi_schema(self, **options: Any) -> Any:
        document = super().get_openapi_schema(**options)
        complete(document)
        return document


def build_api(*, files: bool) -> GatewayAPI:
    """Return the API of a host project, or with ``files`` that of the standalone service."""
    api = GatewayAPI(
        title="Presign gateway",
        version=__version__,
        description=_DESCRIPTION,
        urls_namespace="presign_gateway:api",
        auth=Identity(),
    )
    api.add_router("", links.router)
    api.add_router("", begin_router(files=files))
    api.add_router("", uploads_router)
    if files:
        api.add_router("", files_module.router)
        api.add_router("", explaining.router)
    api.add_router("", service_router(files=files))
    return api


def api_urls(*, files: bool) -> list[URLPattern | URLResolver]:
    """Return what a URLconf of the namespace ``presign_gateway`` includes: all below ``api/``, and the facades."""
    patterns, _, namespace = build_api(files=files).urls
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        pattern.callback = guarded(pattern.callback)
    return [
        path("api/v1/", include((patterns, "ninja"), namespace=namespace)),
        re_path("^api/", not_found),
        path("rails/direct_uploads", direct_uploads(files=files), name="rails_direct_uploads"),
        *uppy_urls(files=files),
    ]
