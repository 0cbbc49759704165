"""The policy of owners: the user that a path from the row leads to.

Must not believe a path that leads elsewhere: the number of a project is no user's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Q

from gateway.policies.answers import Allow
from gateway.policies.branches import Branch, on_row
from gateway.policies.operations import Download, check_operations
from gateway.policies.rows import RowPolicy
from gateway.principals import Principal

__all__ = ["Owner", "path_to_user"]


class Owner(RowPolicy):
    """The user that the row's path leads to: ``Owner("author")``, ``Owner("project__members")``.

    Args:
        path: Django lookup path from the row to a user; one that leads elsewhere is a failure.
        operations: what an owner may do; only reading unless said otherwise.
    """

    def __init__(self, path: str, *, operations: Iterable[type] = (Download,)) -> None:
        self.path = path
        self.operations = check_operations(operations)

    def __str__(self) -> str:
        return f"Owner({self.path!r})"

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        if principal.kind != "user" or operation not in self.operations or model is None:
            return []
        fields = path_to_user(model, self.path)
        user = principal.user
        if user.pk is None:
            return []  # to a query, None is every row without an owner
        # A foreign key may refer to another field than the key: the query takes it from the user.
        by_user = fields[-1].is_relation and isinstance(user, models.Model)
        condition = Q(**{self.path: user if by_user else user.pk})
        direct = len(fields) == 1 and not (fields[0].many_to_many or fields[0].one_to_many)
        return [Branch(condition if direct else on_row(model, condition), Allow(policy=str(self)))]


def path_to_user(model: type[models.Model], path: str) -> list[Any]:
    """Return the fields of a lookup path that ends at a user, or at a user's key.

    Raises:
        FieldDoesNotExist: there is no such path.
        TypeError: it ends elsewhere; the number of a project is no user's.
    """
    target: Any = model
    fields: list[Any] = []
    for name in path.split("__"):
        field: Any = target._meta.pk if name == "pk" else target._meta.get_field(name)
        fields.append(field)
        if field.is_relation:
            target = field.related_model
        elif not field.primary_key:
            raise TypeError(f"{path!r} leads to {field}; a user")
    if target._meta.concrete_model is not get_user_model()._meta.concrete_model:
        raise TypeError(f"{path!r} leads to {target._meta.label}; a user")
    return fields
