"""Makes each request the one that asks, and commits the audit before its response leaves.

Stands outside the view's transaction. Must not resolve the user: that happens when somebody asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.signals import got_request_exception
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control

from gateway import audit
from gateway.errors import Unavailable, problem
from gateway.models import Issuance
from gateway.principals import Lease, ambient_lease, close_lease, open_lease

__all__ = ["GatewayMiddleware"]


class GatewayMiddleware:
    """Place it directly after AuthenticationMiddleware; works in sync and async stacks."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._acall(request)
        lease, token = open_lease(request)
        try:
            response: HttpResponseBase = self.get_response(request)
        except BaseException:
            close_lease(lease, token)
            # What was decided before something outside the view broke is still true.
            audit.write(lease.pending)
            raise
        close_lease(lease, token)
        return self._complete(lease, response)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        lease, token = open_lease(request)
        try:
            response: HttpResponseBase = await self.get_response(request)
        except BaseException:
            close_lease(lease, token)
            await sync_to_async(audit.write)(lease.pending)
            raise
        close_lease(lease, token)
        if lease.pending:
            return await sync_to_async(self._complete)(lease, response)
        return self._complete(lease, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Issue nothing more once an exception escaped the view: error reports look at everything."""
        _fail()

    def _complete(self, lease: Lease, response: HttpResponseBase) -> HttpResponseBase:
        """Commit the audit, or answer 503 in place of the response; no database is asked without audit rows."""
        try:
            audit.write(lease.pending)
        except Unavailable as error:
            response.close()
            response = JsonResponse(
                problem(error),
                status=error.status,
                content_type="application/problem+json",
                headers={"Retry-After": str(error.retry_after_seconds)},
            )
        # On every response: what is missing has no audit row, and must look like what is refused.
        response["X-Request-ID"] = lease.request_id
        if any(row.decision == Issuance.Decision.ISSUED for row in lease.pending):
            _keep_out_of_caches(response)
        return response


def _fail(**_: Any) -> None:
    lease = ambient_lease()
    if lease is not None:
        lease.failed = True


# What another middleware raised reaches no process_exception(), only the report of it.
got_request_exception.connect(_fail, dispatch_uid="gateway.middleware")


def _keep_out_of_caches(response: HttpResponseBase) -> None:
    """Mark a response that carries a link: no cache stores it, no page that it leads to learns its address."""
    if response.headers.get("Cache-Control") != "no-store, private":  # as our own views answer
        patch_cache_control(response, private=True, no_store=True)
    response.headers.setdefault("Referrer-Policy", "no-referrer")
