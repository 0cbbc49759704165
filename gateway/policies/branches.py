"""Policies as conditions on the row, so that they are asked in the statement that reads it.

Must not combine policies, and must not pass for a condition what is none: a query would take it for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models, router
from django.db.models import Q

from gateway.policies.answers import Allow, checked
from gateway.principals import Principal

__all__ = [
    "Branch",
    "Fitting",
    "annotate_branch",
    "any_of",
    "asked",
    "branches_of",
    "check_conditions",
    "number_by_row",
    "on_row",
    "settled",
]


_COMPARABLE = {
    *((field, int) for field in (models.AutoField, models.BigAutoField, models.IntegerField, models.BigIntegerField)),
    (models.UUIDField, UUID),
}


class Branch(NamedTuple):
    """One way to be allowed: rows that fit the condition are allowed within the limits.

    Attributes:
        when: a question about the principal that costs queries of its own, on a branch without condition;
            asked only where no branch before it fits.
    """

    condition: Q
    allow: Allow
    when: Callable[[], bool] | None = None


def branches_of(
    policy: Any, principal: Principal, operation: type, model: type[models.Model] | None
) -> list[Branch] | None:
    """Return the policy as conditions on the row, first match wins; None where it cannot be said so.

    Args:
        operation: the class of the operation, since no row and so no key is known yet.
    """
    branches = getattr(policy, "branches", None)
    answer: list[Branch] | None = None if branches is None else branches(principal, operation, model)
    return None if answer is None else [_checked_branch(policy, branch) for branch in answer]


class Fitting:
    """Finds the branch that allows a row: the first it fits, questions about the principal asked last and once."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._branches = branches
        self._answers: dict[int, bool] = {}

    def branch(self, number: int | None) -> Branch | None:
        """Return the branch for a row whose first fitting condition is ``number``; for no row, ask as for one."""
        for position, branch in enumerate(self._branches):
            if branch.when is None:
                if position == number:
                    return branch
            elif self._answer(position, branch.when):
                return branch
        return None

    def _answer(self, position: int, when: Callable[[], bool]) -> bool:
        if position not in self._answers:
            self._answers[position] = asked(when)
        return self._answers[position]


def number_by_row(model: type[models.Model], branches: Sequence[Branch]) -> Callable[[Any], int | None] | None:
    """Return how to tell of a row the number of the first branch whose condition it fits; None where a query must.

    A whole number or a UUID in a column of the row's own is compared here, which takes a fraction of the time that
    the ORM needs to put it into the query.
    """
    conditions, otherwise = _conditions(branches)
    columns = [_column_value(model, condition) for condition in conditions.values()]
    if None in columns:
        return None
    values = [(number, *column) for number, column in zip(conditions, columns, strict=True) if column is not None]
    return lambda row: next((number for number, name, value in values if getattr(row, name) == value), otherwise)


def annotate_branch(rows: models.QuerySet[Any], branches: Sequence[Branch]) -> models.QuerySet[Any]:
    """Add ``gateway_branch``: the number of the first branch whose condition the row fits, or null."""
    conditions, otherwise = _conditions(branches)
    cases = [models.When(condition, then=models.Value(number)) for number, condition in conditions.items()]
    annotated: models.QuerySet[Any] = rows.annotate(
        gateway_branch=models.Case(*cases, default=models.Value(otherwise), output_field=models.IntegerField())
    )
    return annotated


def _conditions(branches: Sequence[Branch]) -> tuple[dict[int, Q], int | None]:
    """Return conditions by the number of their branch, and the number of the branch that has none and ends them."""
    conditions: dict[int, Q] = {}
    for number, branch in enumerate(branches):
        if branch.when is None:
            if not branch.condition:
                return conditions, number
            conditions[number] = branch.condition
    return conditions, None


def _column_value(model: type[models.Model], condition: Q) -> tuple[str, int | UUID] | None:
    """Return the attribute and the value where all that a condition says is that they are equal."""
    if condition.negated or len(condition.children) != 1 or not isinstance(condition.children[0], tuple):
        return None
    name, value = condition.children[0]
    field: Any = next((field for field in model._meta.concrete_fields if name in (field.name, field.attname)), None)
    column = field
    if isinstance(field, models.ForeignKey):
        column = field.target_field
        if isinstance(value, column.model):
            value = getattr(value, column.attname)
    # How a field of another class puts its values into the database, nobody knows here.
    return (field.attname, value) if (type(column), type(value)) in _COMPARABLE else None


def settled(branches: Sequence[Branch] | None) -> list[Branch] | None:
    """Ask the questions about the principal now, where a query needs their answers."""
    if branches is None:
        return None
    return [Branch(b.condition, b.allow) for b in branches if b.when is None or asked(b.when)]


def asked(when: Callable[[], bool]) -> bool:
    """Ask a question about the principal.

    Raises:
        TypeError: the answer is neither True nor False.
    """
    answer: Any = when()
    if type(answer) is not bool:
        # "no" is true.
        raise TypeError(f"a question about the principal was answered {type(answer).__name__}; True or False")
    return bool(answer)


def any_of(branches: Iterable[Branch]) -> Q:
    """Return one condition for all branches, whose questions are settled; that of no branch fits no row."""
    condition = Q(pk__in=[])
    for branch in branches:
        if not branch.condition:
            return Q()
        condition |= branch.condition
    return condition


def on_row(model: type[models.Model], condition: Q) -> Q:
    """Say a condition without joins: a join to many would repeat the row, or mix two conditions."""
    rows = model._base_manager.using(router.db_for_write(model)).filter(pk=models.OuterRef("pk"))
    return Q(models.Exists(rows.filter(condition)))


def check_conditions(branches: Iterable[Branch], model: type[models.Model] | None) -> None:
    """Raise what a condition raises that is no query on the model; nothing is asked."""
    for branch in branches:
        if model is not None:
            model._base_manager.filter(branch.condition)  # not carried out


def _checked_branch(policy: Any, branch: Any) -> Branch:
    if not isinstance(branch, Branch) or not isinstance(branch.condition, Q):
        raise TypeError(f"{policy} has a branch that is {type(branch).__name__}; Branch(Q, Allow)")
    allow = checked(policy, branch.allow)
    if not isinstance(allow, Allow):
        raise TypeError(f"{policy} has a branch that answers {type(allow).__name__}; Allow")
    condition = Q() if _is_empty(branch.condition) else branch.condition
    if branch.when is not None and condition:
        raise TypeError(f"{policy} has a branch with both a condition and a question; one of the two")
    return Branch(condition, allow, branch.when)


def _is_empty(condition: Q) -> bool:
    """Tell whether a condition is none, also in ``Q(Q())``, which is true and yet asks nothing."""
    if not all(isinstance(child, Q) and _is_empty(child) for child in condition.children):
        return False
    if condition.negated:
        raise TypeError("a condition is the opposite of nothing, which a query takes for everything")
    return True
