"""The permalink: an address that may be kept anywhere, because it decides anew whenever it is followed.

Must not tell a stranger what there is.
"""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway import links
from gateway.delivery.visits import visit
from gateway.errors import AccessDenied
from gateway.resources import Resource, parse_reference

__all__ = ["permalink"]


@login_not_required
def permalink(request: HttpRequest, reference: str) -> HttpResponseBase:
    """Answer about the object of a row: as :func:`gateway.delivery.visits.visit`."""
    return visit(request, lambda: _named_by(reference))


# ATOMIC_REQUESTS would open a transaction before the view runs, which then could not answer 503 without one.
permalink._non_atomic_requests = set(connections)  # type: ignore[attr-defined]


def _named_by(reference: str) -> Resource:
    resource = parse_reference(reference)
    if resource is None or not links.may_be_named(resource):
        raise AccessDenied("the reference names nothing that a client may name")
    return resource
