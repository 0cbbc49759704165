"""Finds each row, and answers each question by limits or a refusal, in as few queries as there are models and policies.

Must not sign, and must not take an instance's word for what its row says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

from django.db import DatabaseError, models

from gateway import epochs
from gateway.errors import (
    DatabaseUnavailable,
)
from gateway.links.asks import Ask, make_operation
from gateway.links.choosing import policy_for
from gateway.models import File
from gateway.policies import (
    DATABASE_DOWN,
    OPERATIONS,
    UPLOADS,
    Allow,
    Branch,
    Deny,
    Failure,
    Fitting,
    annotate_branch,
    branches_of,
    evaluate_many,
    number_by_row,
)
from gateway.principals import Principal
from gateway.resources import Resource, resolved, rows_of
from gateway.rows import row_and_epochs, row_of
from gateway.tenants import other_tenant, tenant_name
from providers.keys import key_error

__all__ = ["decide", "reading"]

logger = logging.getLogger(__name__)


def decide(principal: Principal, asks: Sequence[Ask]) -> epochs.Now:
    """Find each row, and answer each question by a refusal or by limits.

    Returns:
        What had been taken back before the first question was asked: an answer is no newer than that.
    """
    nothing = epochs.Now()
    if not isinstance(principal, Principal):
        raise TypeError(f"principal is of type {type(principal).__name__}; Principal")
    problem = "" if principal.is_active else "the user is not active"
    if principal.kind == "system" and not principal.reason:
        problem = "SYSTEM gave no reason; use acting_as(SYSTEM, reason=…)"
    if problem:
        for ask in asks:
            ask.refuse(problem)
        return nothing
    if not asks:
        return nothing
    tenant = tenant_name(principal)
    known: list[models.Model | None] | None = None
    with reading():
        if len(asks) == 1 and asks[0].resource.model is not None:
            row, read = row_and_epochs(asks[0].resource, principal, tenant)
            known = [row]
        else:
            read = epochs.now(principal, tenant)
        problem = epochs.void_credential(principal, tenant, read)
    if problem:
        for ask in asks:
            ask.refuse(problem)
        return read
    groups: dict[tuple[Any, str, type], list[Ask]] = {}
    for ask in asks:
        if ask.kind not in OPERATIONS:
            logger.error("an unknown operation was asked for: %s", ask.kind.__name__)
            ask.refuse("unknown operation")
        elif not _is_in_scope(principal, ask.kind):
            ask.refuse(f"the token has no scope {ask.kind.__name__}")
        elif ask.resource.is_new and (ask.kind not in UPLOADS or ask.resource.model is File):
            ask.refuse("there is no object yet")
        else:
            groups.setdefault((ask.resource.model, ask.resource.field, ask.kind), []).append(ask)
    with reading():
        for (model, _, kind), group in groups.items():
            if model is None:
                _decide_by_path(principal, group)
            else:
                _decide_by_row(principal, model, kind, group, known)
    return read


def _decide_by_path(principal: Principal, asks: Sequence[Ask]) -> None:
    for ask in asks:
        policy = policy_for(ask.resource)
        if principal.kind == "system":
            ask.policy = "system"
        elif policy is None:
            ask.refuse("no row is known for the key, and PATH_POLICIES has no policy for the alias")
        elif make_operation(ask):
            _apply(ask, evaluate_many(policy, principal, [ask.resource], [ask.operation])[0])
        if ask.refusal is None and ask.operation is None:
            make_operation(ask)


def _decide_by_row(
    principal: Principal,
    model: type[models.Model],
    kind: type,
    asks: Sequence[Ask],
    known: Sequence[models.Model | None] | None,
) -> None:
    """Decide about rows of one model.

    Args:
        known: the rows where they are read already; None where they are not.
    """
    policy = policy_for(asks[0].resource)
    branches = _branches(policy, principal, kind, model)
    if branches == []:
        for ask in asks:
            ask.refuse(f"{policy} denies")
        return
    for ask in asks:
        key = ask.resource.key
        if key is not None and key_error(str.__str__(key)):
            ask.refuse("the key is not valid")
    asks = [ask for ask in asks if ask.refusal is None]
    if not asks:
        return
    resources = [ask.resource for ask in asks]
    fitting, number_of, annotated = _fitting(policy, branches, model, resources)
    if annotated is not None:
        rows: Iterable[models.Model | None] = annotated
    elif known is not None:
        rows = known
    else:
        rows = rows_of(resources) if len(resources) > 1 else [row_of(resources[0])]
    found = {row.pk: row for row in rows if row is not None}
    undecided: list[Ask] = []
    for ask in asks:
        row: Any = found.get(ask.resource.pk)
        resource = None if row is None else resolved(ask.resource, row)
        if resource is None:
            ask.refuse("no such row, or it names another object")
            # What is asked about the principal is asked here too, so that missing costs what denied does.
            _fitting_branch(fitting, None)
            continue
        ask.resource = resource
        if problem := other_tenant(principal, row):
            ask.refuse(problem)
        elif make_operation(ask):
            branch = None if fitting is None else _fitting_branch(fitting, number_of(row))
            if fitting is None or isinstance(branch, Failure):
                undecided.append(ask)
            else:
                _apply(ask, Deny(f"{policy} denies") if branch is None else branch.allow)
    if undecided:
        answers = evaluate_many(
            policy, principal, [ask.resource for ask in undecided], [ask.operation for ask in undecided]
        )
        for ask, answer in zip(undecided, answers, strict=True):
            _apply(ask, answer)


def _branches(policy: Any, principal: Principal, kind: type, model: type[models.Model]) -> list[Branch] | None:
    if principal.kind == "system":
        return [Branch(models.Q(), Allow(policy="system"))]
    try:
        return branches_of(policy, principal, kind, model)
    except DATABASE_DOWN:
        raise
    except Exception:
        # Asked one by one, the part that fails is a failure and the others keep their say.
        logger.exception("policy %s cannot be asked as a query", policy)
        return None


def _fitting(
    policy: Any, branches: Sequence[Branch] | None, model: type[models.Model], resources: Sequence[Resource]
) -> tuple[Fitting | None, Callable[[Any], int | None], models.QuerySet[Any] | None]:
    """Return who finds the branch of a row, how to number a row for it, and the rows where their query numbers them.

    Of a policy that is no query nobody finds a branch: it is asked one by one.
    """
    if branches is not None:
        try:
            number_of = number_by_row(model, branches)
            if number_of is not None:
                return Fitting(branches), number_of, None
            return Fitting(branches), attrgetter("gateway_branch"), annotate_branch(rows_of(resources), branches)
        except Exception:
            logger.exception("policy %s has a condition that is no query", policy)
    return None, lambda _: None, None


def _fitting_branch(fitting: Fitting | None, number: int | None) -> Branch | Failure | None:
    try:
        return None if fitting is None else fitting.branch(number)
    except DATABASE_DOWN:
        raise
    except Exception as error:
        # Asked one by one, the part that fails is a failure and the others keep their say.
        return Failure(error)


def _is_in_scope(principal: Principal, kind: type) -> bool:
    if principal.token is None:
        return True
    # In a text, as a JSON column may hold, "Upload" would be found in "UploadPart".
    scopes = principal.token.scopes
    return isinstance(scopes, (list, tuple)) and kind.__name__ in scopes


def _apply(ask: Ask, decided: Any) -> None:
    match decided:
        case Allow():
            ask.limits, ask.policy = decided.limits, decided.policy
        case Deny():
            ask.refuse(decided.reason or "denied")
        case Failure():
            logger.error("a policy failed about %s", ascii(ask.resource.id), exc_info=decided.error)
            ask.refuse(f"the policy failed: {type(decided.error).__name__}")
        case _:
            ask.refuse(f"the policy answered {type(decided).__name__}")


@contextmanager
def reading() -> Iterator[None]:
    """The permission data could not be read: no answer is no, and not the client's fault."""
    try:
        yield
    except (DatabaseError, *DATABASE_DOWN) as error:
        logger.error("the permission data cannot be read: %s", type(error).__name__)
        raise DatabaseUnavailable("the permission data cannot be read") from error
