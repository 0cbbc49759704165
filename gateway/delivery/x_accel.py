"""Hands an answer over to nginx: a file on its disk, or a presigned request that it sends to the store itself.

Must not be reachable by a client's word: the locations are internal, and only our answers name them.
Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ignore_headers
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from django.http import HttpRequest

from gateway.delivery.responses import HandedOverResponse

__all__ = ["FILES", "LINKS", "REQUEST_HEADER", "file_response", "link_response", "request_target"]

# Where the printed configuration (gateway_conf nginx) has its internal locations.
FILES = "/.gateway/files/"
LINKS = "/.gateway/links/"
REQUEST_HEADER = "X-Gateway-Request"


def file_response(request: HttpRequest, alias: str, key: str, headers: dict[str, str]) -> HandedOverResponse:
    """Name a file; nginx decodes the address once, so everything that it would read as more is encoded."""
    address = f"{FILES}{alias}/{quote(key, safe='/')}"
    return HandedOverResponse(request, headers=headers | {"X-Accel-Redirect": address})


def link_response(request: HttpRequest, alias: str, url: str, headers: dict[str, str]) -> HandedOverResponse:
    """Name a store, and the signed request beside it, which nginx sends as it stands here.

    In the address itself nginx would decode the path and encode it again in its own way, which is not the one
    that was signed.
    """
    handed = {"X-Accel-Redirect": f"{LINKS}{alias}", REQUEST_HEADER: request_target(url)}
    return HandedOverResponse(request, headers=headers | handed)


def request_target(url: str) -> str:
    """Return path and query of a link, as they stand on the request line."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
