"""Who may do what with the account of ``azure-blob``: the table, and Azure's roles as far as the module uses them.

Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
"""

from __future__ import annotations

import re
from typing import Any

from tests.terraform.commands import Applied

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_READ, _WRITE, _DELETE, _ADD = (f"{_BLOBS}/{name}" for name in ("read", "write", "delete", "add/action"))
_DELEGATE = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"

# Azure's own roles that the module gives, and those that a mistake would give.
_BUILT_IN: dict[str, set[str]] = {
    "Storage Blob Delegator": {_DELEGATE},
    "Storage Blob Data Reader": {_READ, _DELEGATE},
    "Storage Blob Data Contributor": {_READ, _WRITE, _ADD, _DELETE, _DELEGATE},
    "Storage Blob Data Owner": {_READ, _WRITE, _ADD, _DELETE, _DELEGATE},
}

# One shape of condition: an action, or part of one, is for containers of one name alone.
_CONDITION = re.compile(
    r"\(\s*\(\s*!\(ActionMatches\{'(?P<action>[^']+)'\} AND SubOperationMatches\{'(?P<part>[^']+)'\}\)\s*\)"
    r"\s*OR\s*\(\s*@Resource\[Microsoft\.Storage/storageAccounts/blobServices/containers:name\]"
    r" StringEquals '(?P<name>[^']+)'\s*\)\s*\)\s*"
)

# (what is tried, who, data action, container or None for the account, suboperation, verdict)
TABLE: list[tuple[str, str, str, str | None, str | None, bool]] = [
    ("a download", "signer", _READ, "uploads", None, True),
    ("a download from the quarantine", "signer", _READ, "staging", None, True),
    # Put Blob, Put Block List, Copy Blob of a blob that is not there yet.
    ("a new blob", "signer", _ADD, "uploads", None, True),
    ("a blob overwritten", "signer", _WRITE, "uploads", None, False),
    ("a block", "signer", _WRITE, "staging", None, True),
    ("a delegation key", "signer", _DELEGATE, None, None, True),
    ("a listing", "signer", _READ, "uploads", "Blob.List", False),
    ("a listing of the quarantine", "signer", _READ, "staging", "Blob.List", False),
    ("a deletion", "signer", _DELETE, "uploads", None, False),
    ("a deletion in the quarantine", "signer", _DELETE, "staging", None, False),
    ("a version deleted", "signer", f"{_BLOBS}/deleteBlobVersion/action", "uploads", None, False),
    ("tags", "signer", f"{_BLOBS}/tags/write", "uploads", None, False),
    ("a blob moved", "signer", f"{_BLOBS}/move/action", "uploads", None, False),
    ("another container", "signer", _READ, "other", None, False),
    ("the whole account", "signer", _READ, None, None, False),
    (
        "a container deleted",
        "signer",
        "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
        "uploads",
        None,
        False,
    ),
    ("a deletion", "sweeper", _DELETE, "uploads", None, True),
    ("a deletion in the quarantine", "sweeper", _DELETE, "staging", None, True),
    ("the listing", "sweeper", _READ, "uploads", "Blob.List", True),
    ("a new blob", "sweeper", _ADD, "uploads", None, False),
    ("a blob overwritten", "sweeper", _WRITE, "uploads", None, False),
    ("a version deleted", "sweeper", f"{_BLOBS}/deleteBlobVersion/action", "uploads", None, False),
    ("a permanent deletion", "sweeper", f"{_BLOBS}/permanentDelete/action", "uploads", None, False),
    ("a delegation key", "sweeper", _DELEGATE, None, None, False),
    ("another container", "sweeper", _DELETE, "other", None, False),
    ("a download", "somebody", _READ, "uploads", None, False),
]


def wrong(applied: Applied) -> list[str]:
    """Return the rows that the role assignments answer otherwise, each as a sentence."""
    signer = applied.outputs["settings"]["signer"]
    principals = {"signer": signer["principal_id"], "sweeper": signer["sweeper_principal_id"]}
    account = applied.one("azurerm_storage_account")["id"]
    found = []
    for what, who, action, container, part, expected in TABLE:
        scope = account if container is None else f"{account}/blobServices/default/containers/{container}"
        try:
            allowed = any(
                assignment["principal_id"] == principals.get(who, who)
                and f"{scope}/".startswith(f"{assignment['scope']}/")
                and action in _actions(applied, assignment)
                and _holds(assignment["condition"], action, part, container)
                for assignment in applied.all("azurerm_role_assignment")
            )
        except LookupError as error:
            found.append(f"{who}: {what}: not judged: {error}")
            continue
        if allowed != expected:
            found.append(f"{who}: {what}: {'allowed' if allowed else 'denied'}")
    return found


def _actions(applied: Applied, assignment: dict[str, Any]) -> set[str]:
    for role in applied.all("azurerm_role_definition"):
        if role["role_definition_resource_id"] == assignment["role_definition_id"]:
            (permissions,) = role["permissions"]
            if permissions["actions"]:
                raise LookupError(f"role {role['name']} may {permissions['actions']}")
            return set(permissions["data_actions"])
    name = assignment["role_definition_name"]
    if name not in _BUILT_IN:
        raise LookupError(f"role {name}")
    return _BUILT_IN[name]


def _holds(condition: str | None, action: str, part: str | None, container: str | None) -> bool:
    if condition is None:
        return True
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise LookupError(f"condition {condition}")
    return (action, part) != (match["action"], match["part"]) or container == match["name"]
