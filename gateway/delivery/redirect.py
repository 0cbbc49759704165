"""Answers with a redirect to a link; and, where only headers are asked for, with what a link would say.

Must not lead anywhere but to the link that the door issued.
"""

from __future__ import annotations

from functools import partial

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from gateway import links
from gateway.delivery.files import described
from gateway.delivery.responses import BodilessResponse
from gateway.principals import Principal
from gateway.resources import Resource
from providers.types import Download

__all__ = ["redirect"]


def redirect(request: HttpRequest, principal: Principal, resource: Resource) -> HttpResponseBase:
    """Answer GET with a redirect, HEAD with what is known of the object; for HEAD no link is made.

    Raises:
        AccessDenied: no; and all that :func:`gateway.links.issue` raises.
    """
    if request.method == "HEAD":
        permit = links.permit_to_serve(principal, resource, partial(Download, method="HEAD"), delivery="redirect")
        headers = described(permit.download) | {"X-Content-Type-Options": "nosniff"}
        if permit.size_bytes is not None:
            headers["Content-Length"] = str(permit.size_bytes)
        return BodilessResponse(request, headers=headers)
    link = links.issue(principal, resource)
    # 302: the next time, the answer may be another one.
    return HttpResponse(status=302, headers={"Location": link.url})
