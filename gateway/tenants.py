"""Whose tenant a principal and a row are of.

Must not take what cannot be told for the same.
"""

from __future__ import annotations

import logging

from django.db import InterfaceError, OperationalError, models

from gateway.conf import conf, resolve
from gateway.principals import Principal

__all__ = ["other_tenant", "tenant_name"]

logger = logging.getLogger(__name__)


def tenant_name(principal: Principal) -> str:
    """Return the name of a principal's tenant for the record; empty where there is none, or it cannot be told."""
    path = conf().tenant
    if path is None:
        return ""
    try:
        return str(resolve(path).of_principal(principal) or "")
    except Exception:
        # The decision has been made; a row without the tenant says more than none.
        logger.exception("the tenant of a principal cannot be told")
        return ""


def other_tenant(principal: Principal, row: models.Model) -> str:
    """Say why a row is out of the principal's tenant; empty where it is not."""
    path = conf().tenant
    if path is None or principal.kind == "system":
        return ""
    try:
        tenant = resolve(path)
        is_same = bool(tenant.of_principal(principal) == tenant.of_row(row))
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("the tenants of a principal and a row cannot be told")
        return f"the tenant cannot be told: {type(error).__name__}"
    return "" if is_same else "another tenant"
