"""Hands an answer over to Apache (mod_xsendfile) or lighttpd, which send the file from the path that is named.

Must not name a path outside the storage's root: the server is told to refuse that, too.
Sources: https://tn123.org/mod_xsendfile/ and https://redmine.lighttpd.net/projects/lighttpd/wiki/X-LIGHTTPD-send-file
"""

from __future__ import annotations

from urllib.parse import quote

from django.http import HttpRequest

from gateway.delivery.responses import HandedOverResponse

__all__ = ["apache_response", "lighttpd_response"]


def apache_response(request: HttpRequest, path: str, headers: dict[str, str]) -> HandedOverResponse:
    """Name a file by its path as it is: mod_xsendfile 0.12 decodes nothing."""
    # Headers are sent as Latin-1, byte for byte, and the file system's names are UTF-8.
    return HandedOverResponse(request, headers=headers | {"X-Sendfile": path.encode().decode("latin-1")})


def lighttpd_response(request: HttpRequest, path: str, headers: dict[str, str]) -> HandedOverResponse:
    """Name a file by its path, percent-encoded: lighttpd decodes it once."""
    return HandedOverResponse(request, headers=headers | {"X-Sendfile": quote(path, safe="/")})
