"""Gives log records the id of the request that they were written for, which X-Request-ID and audit rows name too.

Must not ask who the principal is.
"""

from __future__ import annotations

import logging

from gateway.principals import ambient_lease

__all__ = ["RequestIDFilter"]


class RequestIDFilter(logging.Filter):
    """Set ``request_id`` on every record: 32 hexadecimal digits, or ``-`` outside a request. It drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        lease = ambient_lease()
        request = getattr(record, "request", None)
        record.request_id = lease.request_id if lease is not None else getattr(request, "gateway_request_id", "-")
        return True
