"""Django's handlers, with a Content-Type that Django cannot read taken for none: it would answer 500 before any view.

Must not look at anything else of a request, and is for the service's own entry points alone.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

__all__ = ["ServiceASGIHandler", "ServiceWSGIHandler"]

# A parameter in an encoding that does not exist; a charset that is a codec of Python's and none of text, or one in
# which the query cannot be read. A query with too many fields is read again by the view, which refuses it.
_UNREADABLE = (LookupError, ValueError, SuspiciousOperation)


def _wsgi_request(environ: dict[str, Any]) -> WSGIRequest:
    try:
        return WSGIRequest(environ)
    except _UNREADABLE:
        environ["CONTENT_TYPE"] = ""
        return WSGIRequest(environ)


def _asgi_request(scope: dict[str, Any], body_file: Any) -> ASGIRequest:
    try:
        return ASGIRequest(scope, body_file)
    except _UNREADABLE:
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-type"]
        return ASGIRequest(scope | {"headers": headers}, body_file)


class ServiceWSGIHandler(WSGIHandler):
    request_class: Any = staticmethod(_wsgi_request)


class ServiceASGIHandler(ASGIHandler):
    request_class: Any = staticmethod(_asgi_request)
