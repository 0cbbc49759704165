"""django-guardian's permissions on objects, asked for a whole page together.

Asks guardian alone: must not be used where another backend's answers count too, which ObjectPermission asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from guardian.core import ObjectPermissionChecker
from guardian.shortcuts import get_objects_for_user

from gateway.policies import Allow, Deny, ObjectPermission, Operation
from gateway.principals import Principal
from gateway.resources import Resource

__all__ = ["GuardianPermission"]


class GuardianPermission(ObjectPermission):
    """As :class:`~gateway.policies.ObjectPermission`, with as many queries for a page as for one row."""

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        return self.decide_many(principal, [resource], operation)[0]

    def decide_many(
        self, principal: Principal, resources: Sequence[Resource], operation: Operation
    ) -> list[Allow | Deny]:
        """Answer about all of them; guardian fetches the permissions of each model at once."""
        if principal.kind != "user":
            return [Deny(str(self)) for _ in resources]
        rows: dict[type[models.Model], Any] = {}
        for resource in resources:
            if resource.model is not None and resource.instance is not None:
                rows.setdefault(resource.model, []).append(resource.instance)
        checker = ObjectPermissionChecker(principal.user)
        for of_model in rows.values():
            checker.prefetch_perms(of_model)
        return [self._answer(checker, resource, operation) for resource in resources]

    def visible(self, principal: Principal, queryset: models.QuerySet[Any], operation: type) -> models.QuerySet[Any]:
        """Return the rows that guardian knows the user may have."""
        permission = self.permission_of(operation, queryset.model)
        if principal.kind != "user" or permission is None:
            return queryset.none()
        rows: models.QuerySet[Any] = get_objects_for_user(
            principal.user, permission, klass=queryset, accept_global_perms=False
        )
        return rows

    def _answer(self, checker: Any, resource: Resource, operation: Operation) -> Allow | Deny:
        permission = self.permission_of(type(operation), resource.model)
        if permission is None or resource.instance is None:
            return Deny(str(self))
        has = checker.has_perm(permission.partition(".")[2], resource.instance)
        return Allow(policy=str(self)) if has else Deny(f"no {permission} on the object")
