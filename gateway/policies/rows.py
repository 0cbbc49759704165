"""A policy that is wholly conditions on the row and facts about the principal, and so one query for many rows.

Must not decide who may what: that is said by those built on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models, router
from django.db.models import Q

from gateway.policies.answers import Allow, Deny
from gateway.policies.branches import Branch, annotate_branch, branches_of, settled
from gateway.policies.combining import Composable
from gateway.policies.operations import Operation
from gateway.principals import Principal
from gateway.resources import Resource

__all__ = ["RowPolicy"]


class RowPolicy(Composable):
    """A policy that is wholly conditions on the row and facts about the principal."""

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        """Return the ways to be allowed; a condition must not repeat the row (see ``on_row``)."""
        raise TypeError(f"{type(self).__name__} does not say its branches")

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        return self.decide_many(principal, [resource], operation)[0]

    def decide_many(
        self, principal: Principal, resources: Sequence[Resource], operation: Operation
    ) -> list[Allow | Deny]:
        answers: dict[int, Allow | Deny] = {}
        by_model: dict[type[models.Model] | None, list[int]] = {}
        for number, resource in enumerate(resources):
            by_model.setdefault(resource.model, []).append(number)
        for model, numbers in by_model.items():
            branches = settled(branches_of(self, principal, type(operation), model))
            if branches and not branches[0].condition:
                answers |= dict.fromkeys(numbers, branches[0].allow)
            elif not branches or model is None:
                answers |= dict.fromkeys(numbers, Deny(str(self)))
            else:
                rows = model._base_manager.using(router.db_for_write(model))
                rows = rows.filter(pk__in={resources[number].pk for number in numbers})
                fits = dict(annotate_branch(rows, branches).values_list("pk", "gateway_branch"))
                for number in numbers:
                    fit = fits.get(resources[number].pk)
                    answers[number] = Deny(str(self)) if fit is None else branches[fit].allow
        return [answers[number] for number in range(len(resources))]

    def _everywhere(self) -> list[Branch]:
        return [Branch(Q(), Allow(policy=str(self)))]
