"""From questions and answers to rows of the audit, and to counts of what is served.

Must not let a link into a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway import audit, counting, epochs
from gateway.links.asks import Ask
from gateway.links.tenants import tenant_name
from gateway.models import Issuance
from gateway.principals import Principal

__all__ = ["record_asks", "record_served"]


def record_asks(principal: Principal, asks: Sequence[Ask], now: datetime, decision: str, read: epochs.Now) -> None:
    rows = []
    tenant = tenant_name(principal)
    for ask in asks:
        if ask.refusal is not None:
            row = _refused(principal, ask, now, tenant)
        else:
            issued = ask.issued
            row = audit.row_of(
                decision, principal, ask.resource, ask.kind,
                at=now, policy=ask.policy, tenant=tenant, limited_by=ask.limited_by,
                link_id=issued.id if issued else "",
                link_hash=audit.hash_of(issued.url) if issued else "",
                expires_at=issued.expires_at if issued else None,
            )  # fmt: skip
            row.epoch = read.number
        rows.append(row)
    audit.record(rows)


def record_served(principal: Principal, ask: Ask, now: datetime, delivery: str) -> None:
    """Count a yes that is served here and now; a no has its row, as everywhere.

    Raises:
        AuditUnavailable: it can be neither counted nor written.
    """
    tenant = tenant_name(principal)
    if ask.refusal is not None:
        audit.record([_refused(principal, ask, now, tenant)])
        return
    served = audit.row_of(
        Issuance.Decision.ALLOWED, principal, ask.resource, ask.kind,
        at=now, policy=ask.policy, tenant=tenant, limited_by=ask.limited_by, delivery=delivery,
    )  # fmt: skip
    counting.count(served)


def _refused(principal: Principal, ask: Ask, now: datetime, tenant: str) -> Issuance:
    assert ask.refusal is not None
    return audit.row_of(
        Issuance.Decision.REFUSED, principal, ask.resource, ask.kind, at=now, reason=ask.refusal.reason, tenant=tenant
    )
