"""Files that are known by their path alone, as they were under MEDIA_URL: the storage's path policy decides.

The one place where a client names a path. Must not look for a row, nor serve what no policy was set for.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway.delivery.visits import visit
from gateway.resources import Resource

__all__ = ["paths"]


def paths(alias: str) -> Callable[[HttpRequest, str], HttpResponseBase]:
    """Return a view of the files of one storage: ``path("media/<path:key>", paths("private"))``.

    It answers as a permalink does, in the way that the storage's option ``delivery`` names.
    ``GATEWAY["PATH_POLICIES"]`` must have a policy for the alias, or everything is refused.
    """

    @login_not_required
    def by_path(request: HttpRequest, key: str) -> HttpResponseBase:
        return visit(request, lambda: Resource.of_key(alias, key))

    # ATOMIC_REQUESTS would open a transaction before the view runs, which then could not answer 503 without one.
    by_path._non_atomic_requests = set(connections)  # type: ignore[attr-defined]
    return by_path
