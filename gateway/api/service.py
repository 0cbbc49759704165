"""``GET /service``: what the service grants, and which storages it has.

Must not show where a storage is, nor anything of its credentials.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.files.storage import storages
from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway import __version__
from gateway.api.document import problems
from gateway.api.links import batch_body_bytes
from gateway.api.parsing import MAX_BODY_BYTES, refuse_query
from gateway.api.problems import answer
from gateway.api.schemas import ServiceInfo
from gateway.conf import conf
from gateway.resources import PrivateStorage, built
from providers.errors import ProviderError
from providers.types import Download, Upload

__all__ = ["private_storages", "service_router"]

logger = logging.getLogger(__name__)


def service_router(*, files: bool) -> Router:
    """Return the router; ``files`` tells whether this API has the service's own files."""
    router = Router(tags=["service"])

    @router.get(
        "/service",
        url_name="service",
        operation_id="read_service",
        summary="Limits, storages, version",
        response={200: ServiceInfo} | problems(400, 401, 429, 500, 503),
    )
    def read_service(request: HttpRequest) -> HttpResponse:
        """Show the limits, the storages by alias with what their signatures can promise, and the version."""
        refuse_query(request)
        settings = conf()
        return answer(
            {
                "version": __version__,
                "limits": {
                    "default_ttl_seconds": int(settings.default_ttl.total_seconds()),
                    "max_ttl_seconds": int(settings.max_ttl.total_seconds()),
                    "batch_items": settings.batch_limit,
                    "body_bytes": MAX_BODY_BYTES,
                    "batch_body_bytes": batch_body_bytes(),
                    "upload_bytes": settings.max_upload_bytes if files else None,
                },
                "storages": {alias: _storage(storage) for alias, storage in private_storages().items() if storage},
                "file_storage": settings.file_storage if files else None,
            }
        )

    return router


def private_storages() -> dict[str, Any]:
    """Return the private storages by alias; None for one that cannot be built, which may be meant as one."""
    found: dict[str, Any] = {}
    for alias in sorted(storages.backends):
        try:
            storage = built(alias)
        except Exception as error:
            # Whatever an option made its backend raise.
            logger.error("storage %s cannot be built: %s", alias, type(error).__name__)
            found[alias] = None
        else:
            if isinstance(storage, PrivateStorage):
                found[alias] = storage
    return found


def _storage(storage: Any) -> dict[str, Any]:
    settings = conf()
    try:
        capabilities = _capabilities(storage)
    except ProviderError:
        capabilities = None
    most = min(storage.max_ttl or settings.max_ttl, settings.max_ttl)
    usual = min(storage.default_ttl or settings.default_ttl, most)
    return {
        "default_ttl_seconds": int(usual.total_seconds()),
        "max_ttl_seconds": int(most.total_seconds()),
        "url_mode": storage.url_mode,
        "capabilities": capabilities,
    }


def _capabilities(storage: Any) -> dict[str, Any]:
    # Another than the one of downloads may sign uploads, and what is bound is said of those.
    downloads, uploads = (storage.provider_for(kind).capabilities for kind in (Download, Upload))
    return {
        "max_ttl_seconds": int(min(downloads.max_ttl, uploads.max_ttl).total_seconds()),
        "offline": downloads.offline and uploads.offline,
        "operations": sorted(operation.__name__ for operation in downloads.operations | uploads.operations),
        "binds_size": uploads.binds_size,
        "binds_content_type": uploads.binds_content_type,
        "binds_checksum": sorted(uploads.binds_checksum),
        "binds_no_overwrite": uploads.binds_no_overwrite,
    }
