"""Policies of the principal alone: everyone, any user, staff.

Must not look at the row.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models

from gateway.policies.branches import Branch
from gateway.policies.operations import Download, check_operations
from gateway.policies.rows import RowPolicy
from gateway.principals import Principal

__all__ = ["Authenticated", "Everyone", "StaffOnly"]


class _ByPrincipal(RowPolicy):
    """Allows some operations on every object to some principals."""

    def __init__(self, *, operations: Iterable[type] = (Download,)) -> None:
        self.operations = check_operations(operations)

    def __str__(self) -> str:
        return type(self).__name__

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        return self._everywhere() if operation in self.operations and self._fits(principal) else []

    def _fits(self, principal: Principal) -> bool:
        return False


class Everyone(_ByPrincipal):
    """Anybody, the anonymous included; only reading unless ``operations`` says otherwise."""

    def _fits(self, principal: Principal) -> bool:
        return True


class Authenticated(_ByPrincipal):
    """Any user; only reading unless ``operations`` says otherwise."""

    def _fits(self, principal: Principal) -> bool:
        return principal.kind == "user"


class StaffOnly(_ByPrincipal):
    """Users with ``is_staff``; only reading unless ``operations`` says otherwise."""

    def _fits(self, principal: Principal) -> bool:
        return principal.kind == "user" and bool(principal.user.is_staff)
