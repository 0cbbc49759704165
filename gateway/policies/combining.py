"""How policies are asked and combined: ``&``, ``|`` and ``~`` over three values, Allow, Deny and Failure.

Must not say who may what itself; the truth table holds however a policy is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import models
from django.db.models import Q

from gateway.policies.answers import DATABASE_DOWN, Allow, Decided, Deny, Failure, checked
from gateway.policies.branches import Branch, any_of, branches_of, check_conditions, on_row, settled
from gateway.policies.operations import Operation
from gateway.principals import Principal
from gateway.resources import Resource

__all__ = ["And", "Composable", "Not", "Or", "Policy", "evaluate", "evaluate_many", "visible"]

logger = logging.getLogger(__name__)


class Policy(Protocol):
    """Decides. Inherit from :class:`Composable` for the operators.

    A policy may also have ``decide_many(principal, resources, operation)``, which answers about all of them in
    order; of the operation only the class is then common to all. And it may have
    ``visible(principal, queryset, operation)``, the rows that it allows.
    """

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny: ...


class Composable:
    """``a & b``, ``a | b`` and ``~a`` for policies."""

    def __and__(self, other: Any) -> And:
        return And(self, other)

    def __or__(self, other: Any) -> Or:
        return Or(self, other)

    def __invert__(self) -> Not:
        return Not(self)


def evaluate(policy: Any, principal: Principal, resource: Resource, operation: Operation) -> Decided:
    """Ask one policy about one object; whatever is neither Allow nor Deny is a Failure."""
    try:
        return checked(policy, policy.decide(principal, resource, operation))
    except DATABASE_DOWN:
        raise
    except Exception as error:
        return Failure(error)


def evaluate_many(
    policy: Any, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
) -> list[Decided]:
    """Ask one policy about many objects, together where it can be asked so.

    Args:
        operations: one for each resource, all of one class.
    """
    if isinstance(policy, (And, Or, Not)):
        return policy.evaluate_many(principal, resources, operations)
    decide_many = getattr(policy, "decide_many", None)
    if decide_many is None or not resources:
        return [evaluate(policy, principal, *about) for about in zip(resources, operations, strict=True)]
    try:
        answers = list(decide_many(principal, resources, operations[0]))
        if len(answers) != len(resources):
            raise TypeError(f"{policy} answered {len(answers)} times about {len(resources)} objects")
    except DATABASE_DOWN:
        raise
    except Exception as error:
        return [Failure(error)] * len(resources)
    decided: list[Decided] = []
    for answer in answers:
        try:
            decided.append(checked(policy, answer))
        except Exception as error:
            decided.append(Failure(error))
    return decided


def visible(
    policy: Any, principal: Principal, queryset: models.QuerySet[Any], operation: type
) -> models.QuerySet[Any] | None:
    """Return the rows that the policy allows, as a query; None where it cannot be said so."""
    own = getattr(policy, "visible", None)
    if own is not None:
        rows: models.QuerySet[Any] = own(principal, queryset, operation)
        return rows
    branches = settled(branches_of(policy, principal, operation, queryset.model))
    if branches is not None:
        return queryset.filter(any_of(branches))
    if not isinstance(policy, (And, Or)):
        return None
    left, right = (visible(side, principal, queryset, operation) for side in (policy.left, policy.right))
    if left is None or right is None:
        return None
    one, other = (Q(pk__in=rows.order_by().values("pk")) for rows in (left, right))
    return queryset.filter(one & other if isinstance(policy, And) else one | other)


@dataclass(frozen=True, slots=True, eq=False)
class And(Composable):
    """Both allow, within the tightest limits of both. A failure of either is a failure."""

    left: Any
    right: Any

    def __str__(self) -> str:
        return f"({self.left} & {self.right})"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        left = evaluate(self.left, principal, resource, operation)
        return _answer(_and(left, evaluate(self.right, principal, resource, operation)))

    def evaluate_many(
        self, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
    ) -> list[Decided]:
        left = evaluate_many(self.left, principal, resources, operations)
        return list(map(_and, left, evaluate_many(self.right, principal, resources, operations)))

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch] | None:
        left = settled(branches_of(self.left, principal, operation, model))
        right = settled(branches_of(self.right, principal, operation, model))
        if left is None or right is None:
            return None
        if not (left and right):
            # No row will be asked, but a condition that is no query must not pass for a Deny: ~ would turn it.
            check_conditions([*left, *right], model)
        return [
            Branch(one.condition & other.condition, _both(one.allow, other.allow)) for one in left for other in right
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Or(Composable):
    """The first that allows, with its limits alone. A failure is logged, and counts where none allows."""

    left: Any
    right: Any

    def __str__(self) -> str:
        return f"({self.left} | {self.right})"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        left = evaluate(self.left, principal, resource, operation)
        if isinstance(left, Allow):
            return left
        return _answer(_or(left, evaluate(self.right, principal, resource, operation)))

    def evaluate_many(
        self, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
    ) -> list[Decided]:
        decided = evaluate_many(self.left, principal, resources, operations)
        open_ = [number for number, left in enumerate(decided) if not isinstance(left, Allow)]
        right = evaluate_many(self.right, principal, [resources[n] for n in open_], [operations[n] for n in open_])
        for number, answer in zip(open_, right, strict=True):
            decided[number] = _or(decided[number], answer)
        return decided

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch] | None:
        left = branches_of(self.left, principal, operation, model)
        right = branches_of(self.right, principal, operation, model)
        return None if left is None or right is None else left + right


@dataclass(frozen=True, slots=True, eq=False)
class Not(Composable):
    """Allows what the other denies. A failure stays a failure."""

    policy: Any

    def __str__(self) -> str:
        return f"~{self.policy}"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        return _answer(self._not(evaluate(self.policy, principal, resource, operation)))

    def evaluate_many(
        self, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
    ) -> list[Decided]:
        return list(map(self._not, evaluate_many(self.policy, principal, resources, operations)))

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch] | None:
        inner = settled(branches_of(self.policy, principal, operation, model))
        if inner is None:
            return None
        if any(not branch.condition for branch in inner):
            return []
        if model is None or not inner:
            return [Branch(Q(), Allow(policy=str(self)))]
        # Of a row, a condition may be unknown (null), and so would be its negation; no row exists by halves.
        return [Branch(~on_row(model, any_of(inner)), Allow(policy=str(self)))]

    def _not(self, decided: Decided) -> Decided:
        match decided:
            case Allow():
                return Deny(f"{decided.policy} allows")
            case Deny():
                return Allow(policy=str(self))
            case Failure():
                return decided


def _and(left: Decided, right: Decided) -> Decided:
    for decided in (left, right):
        if isinstance(decided, Failure):
            return decided
    for decided in (left, right):
        if isinstance(decided, Deny):
            return decided
    assert isinstance(left, Allow)
    assert isinstance(right, Allow)
    return _both(left, right)


def _or(left: Decided, right: Decided) -> Decided:
    if isinstance(left, Failure) and isinstance(right, Allow):
        logger.error("a policy failed beside one that allows: %s", type(left.error).__name__)
    for decided in (left, right):
        if isinstance(decided, Allow):
            return decided
    for decided in (left, right):
        if isinstance(decided, Failure):
            return decided
    return left


def _both(left: Allow, right: Allow) -> Allow:
    return Allow(left.limits & right.limits, f"({left.policy} & {right.policy})")


def _answer(decided: Decided) -> Allow | Deny:
    if isinstance(decided, Failure):
        raise decided.error
    return decided
