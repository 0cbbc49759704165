"""Render the data source ``aws_iam_policy_document`` as the aws provider does.

Must know nothing of what a policy means. A test holds it to the real provider's output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["render"]


def render(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy of the arguments of one data source.

    Raises:
        ValueError: an argument is used that this does not know.
    """
    unknown = {"source_json", "override_json", "source_policy_documents", "override_policy_documents", "policy_id"}
    if used := sorted(name for name in unknown if document.get(name)):
        raise ValueError(f"aws_iam_policy_document has {', '.join(used)}; not known here")
    version = document.get("version") or "2012-10-17"
    return {"Version": version, "Statement": [_statement(each) for each in document.get("statement") or ()]}


def _statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    if statement.get("sid"):
        rendered["Sid"] = statement["sid"]
    rendered["Effect"] = statement.get("effect") or "Allow"
    for name, argument in (
        ("Action", "actions"),
        ("NotAction", "not_actions"),
        ("Resource", "resources"),
        ("NotResource", "not_resources"),
    ):
        if statement.get(argument):
            rendered[name] = _one_or_more(sorted(statement[argument], reverse=True))
    for name, argument in (("Principal", "principals"), ("NotPrincipal", "not_principals")):
        if statement.get(argument):
            rendered[name] = _principals(statement[argument])
    conditions: dict[str, dict[str, Any]] = {}
    for condition in statement.get("condition") or ():
        conditions.setdefault(condition["test"], {})[condition["variable"]] = _one_or_more(condition["values"])
    if conditions:
        rendered["Condition"] = conditions
    return rendered


def _principals(principals: Sequence[Mapping[str, Any]]) -> Any:
    if [(each["type"], list(each["identifiers"])) for each in principals] == [("*", ["*"])]:
        return "*"
    return {each["type"]: _one_or_more(sorted(each["identifiers"], reverse=True)) for each in principals}


def _one_or_more(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
