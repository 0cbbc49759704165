"""From questions and answers to rows of the audit, and to counts of what is served.

Must not let a link into a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway import audit, counting, epochs
from gateway.links.asks import Ask
from gateway.models import Issuance
from gateway.principals import Principal
from gateway.tenants import tenant_name

__all__ = ["count_served", "record_asks"]


def record_asks(principal: Principal, asks: Sequence[Ask], now: datetime, decision: str, read: epochs.Now) -> None:
    rows = []
    tenant = tenant_name(principal)
    for ask in asks:
        if ask.refusal is not None:
            row = audit.row_of(
                Issuance.Decision.REFUSED, principal, ask.resource, ask.kind,
                at=now, reason=ask.refusal.reason, tenant=tenant,
            )  # fmt: skip
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


def count_served(principal: Principal, ask: Ask, now: datetime, delivery: str) -> None:
    """Count a yes that is served here and now.

    Raises:
        AuditUnavailable: it can be neither counted nor written.
    """
    served = audit.columns_of(
        Issuance.Decision.ALLOWED, principal, ask.resource, ask.kind,
        at=now, policy=ask.policy, tenant=tenant_name(principal), limited_by=ask.limited_by, delivery=delivery,
    )  # fmt: skip
    counting.count(served)
