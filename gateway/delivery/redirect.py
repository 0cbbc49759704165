"""Answers with a redirect to a link; and, where only headers are asked for, with what a link would say.

Must not lead anywhere but to the link that the door issued.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from gateway.delivery.files import described
from gateway.delivery.responses import BodilessResponse
from gateway.links import IssuedURL, Permit

__all__ = ["headers_of", "redirect_to"]


def redirect_to(link: IssuedURL) -> HttpResponseBase:
    """Answer GET with a redirect to a link."""
    # 302: the next time, the answer may be another one.
    return HttpResponse(status=302, headers={"Location": link.url})


def headers_of(request: HttpRequest, permit: Permit) -> HttpResponseBase:
    """Answer HEAD with what is known of the object; for it no link is made."""
    headers = described(permit.download) | {"X-Content-Type-Options": "nosniff"}
    if permit.size_bytes is not None:
        headers["Content-Length"] = str(permit.size_bytes)
    return BodilessResponse(request, headers=headers)
