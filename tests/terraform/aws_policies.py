"""Decide requests by IAM's rules: an explicit Deny, then an Allow, else no.

Knows the elements that the modules use, and refuses to judge a policy with any other.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import fnmatch
import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NotJudged", "Request", "allows"]


class NotJudged(Exception):
    """A policy has something in it that this does not know."""


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        principal: ARN of the role that asks, a service's name, or ``anonymous``.
        action: such as ``s3:GetObject``.
        resource: ARN.
        context: condition keys, in lower case.
        is_same_account: whether the principal belongs to the bucket's account.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)
    is_same_account: bool = True


def allows(request: Request, *, identity_policies: Iterable[str], resource_policies: Iterable[str] = ()) -> bool:
    """Tell whether a request is allowed.

    Args:
        identity_policies: JSON of what is attached to the principal.
        resource_policies: JSON of what is attached to the resource.

    Raises:
        NotJudged: a statement of them is not understood.
    """
    by_identity = _effects(request, identity_policies, is_resource_policy=False)
    by_resource = _effects(request, resource_policies, is_resource_policy=True)
    if "Deny" in by_identity | by_resource:
        return False
    if request.is_same_account:
        return "Allow" in by_identity | by_resource
    return "Allow" in by_identity and "Allow" in by_resource


def _effects(request: Request, policies: Iterable[str], *, is_resource_policy: bool) -> set[str]:
    effects = set()
    for policy in policies:
        document = json.loads(policy)
        if document.keys() != {"Version", "Statement"} or document["Version"] != "2012-10-17":
            raise NotJudged(f"a policy with {sorted(document)}")
        for statement in _list(document["Statement"]):
            if _applies(request, statement, is_resource_policy=is_resource_policy):
                effects.add(statement["Effect"])
    return effects


def _applies(request: Request, statement: Mapping[str, Any], *, is_resource_policy: bool) -> bool:
    needed = {"Effect", "Action", *({"Principal"} if is_resource_policy else {"Resource"})}
    if not needed <= statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}:
        raise NotJudged(f"a statement with {sorted(statement)}")
    if is_resource_policy != ("Principal" in statement):
        raise NotJudged(f"statement {statement.get('Sid')} has a principal in the wrong place")
    if is_resource_policy and not _is_principal(request, statement["Principal"]):
        return False
    if not any(_like(request.action.lower(), action.lower()) for action in _list(statement["Action"])):
        return False
    # A role's trust has no resource: it is the role's own.
    resources = _list(statement["Resource"]) if "Resource" in statement else ["*"]
    if not any(_like(request.resource, resource) for resource in resources):
        return False
    return all(
        _holds(request, operator, key, _list(values))
        for operator, pairs in statement.get("Condition", {}).items()
        for key, values in pairs.items()
    )


def _is_principal(request: Request, principal: Any) -> bool:
    if principal == "*":
        return True
    if not isinstance(principal, dict) or not principal.keys() <= {"AWS", "Service", "Federated"}:
        raise NotJudged(f"principal {principal}")
    named = [each for values in principal.values() for each in _list(values)]
    if any("*" in each and each != "*" for each in named):
        raise NotJudged(f"principal {principal}: a wildcard within a name")
    return "*" in named or request.principal in named


def _holds(request: Request, operator: str, key: str, values: list[str]) -> bool:
    actual = request.context.get(key.lower())
    if operator == "Null":
        return (actual is None) == (values == ["true"])
    if operator not in _OPERATORS:
        raise NotJudged(f"condition operator {operator}")
    is_negated, test = _OPERATORS[operator]
    if actual is None:
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
        return is_negated
    matched = any(test(actual, value) for value in values)
    return matched != is_negated


def _like(actual: str, pattern: str) -> bool:
    # fnmatch knows brackets, too, which policies do not.
    return fnmatch.fnmatchcase(actual, pattern.replace("[", "[[]"))


def _is_in(actual: str, network: str) -> bool:
    return ipaddress.ip_address(actual) in ipaddress.ip_network(network)


def _is_number(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda actual, value: test(float(actual), float(value))


_OPERATORS: dict[str, tuple[bool, Callable[[str, str], bool]]] = {
    "ArnEquals": (False, _like),
    "Bool": (False, lambda actual, value: actual.lower() == value.lower()),
    "IpAddress": (False, _is_in),
    "NotIpAddress": (True, _is_in),
    "NumericGreaterThan": (False, _is_number(lambda actual, value: actual > value)),
    "NumericLessThan": (False, _is_number(lambda actual, value: actual < value)),
    "StringEquals": (False, lambda actual, value: actual == value),
    "StringLike": (False, _like),
    "StringNotEquals": (True, lambda actual, value: actual == value),
}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
