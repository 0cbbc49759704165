"""Who may do what with the account of ``azure-blob``: the table, and Azure's roles as far as the module uses them.

Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
"""

from __future__ import annotations

import re
from typing import Any

from tests.terraform.commands import Applied

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
READ, WRITE, DELETE, ADD = (f"{_BLOBS}/{name}" for name in ("read", "write", "delete", "add/action"))
DELEGATE = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"

# Azure's own roles that the module gives, and those that a mistake would give.
_BUILT_IN: dict[str, set[str]] = {
    "Storage Blob Delegator": {DELEGATE},
    "Storage Blob Data Reader": {READ, DELEGATE},
    "Storage Blob Data Contributor": {READ, WRITE, ADD, DELETE, DELEGATE},
    "Storage Blob Data Owner": {READ, WRITE, ADD, DELETE, DELEGATE},
}

# One shape of condition: an action, or part of one, is for containers of one name alone.
_CONDITION = re.compile(
    r"\(\s*\(\s*!\(ActionMatches\{'(?P<action>[^']+)'\} AND SubOperationMatches\{'(?P<part>[^']+)'\}\)\s*\)"
    r"\s*OR\s*\(\s*@Resource\[Microsoft\.Storage/storageAccounts/blobServices/containers:name\]"
    r" StringEquals '(?P<name>[^']+)'\s*\)\s*\)\s*"
)

# (what is tried, who, data action, container or None for the account, suboperation, verdict)
TABLE: list[tuple[str, str, str, str | None, str | None, bool]] = [
    ("a download", "signer", READ, "uploads", None, True),
    ("a download from the quarantine", "signer", READ, "staging", None, True),
    # Put Blob, Put Block List, Copy Blob of a blob that is not there yet.
    ("a new blob", "signer", ADD, "uploads", None, True),
    ("a blob overwritten", "signer", WRITE, "uploads", None, False),
    ("a block", "signer", WRITE, "uploads", None, False),
    ("a block in the quarantine", "signer", WRITE, "staging", None, True),
    ("a delegation key", "signer", DELEGATE, None, None, True),
    ("a listing", "signer", READ, "uploads", "Blob.List", False),
    ("a listing of the quarantine", "signer", READ, "staging", "Blob.List", False),
    ("a deletion", "signer", DELETE, "uploads", None, False),
    ("a deletion in the quarantine", "signer", DELETE, "staging", None, False),
    ("a version deleted", "signer", f"{_BLOBS}/deleteBlobVersion/action", "uploads", None, False),
    ("tags", "signer", f"{_BLOBS}/tags/write", "uploads", None, False),
    ("a blob moved", "signer", f"{_BLOBS}/move/action", "uploads", None, False),
    ("another container", "signer", READ, "other", None, False),
    ("the whole account", "signer", READ, None, None, False),
    (
        "a container deleted",
        "signer",
        "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
        "uploads",
        None,
        False,
    ),
    ("a deletion", "sweeper", DELETE, "uploads", None, True),
    ("a deletion in the quarantine", "sweeper", DELETE, "staging", None, True),
    ("the listing", "sweeper", READ, "uploads", "Blob.List", True),
    ("a new blob", "sweeper", ADD, "uploads", None, False),
    ("a blob overwritten", "sweeper", WRITE, "uploads", None, False),
    ("a version deleted", "sweeper", f"{_BLOBS}/deleteBlobVersion/action", "uploads", None, False),
    ("a permanent deletion", "sweeper", f"{_BLOBS}/permanentDelete/action", "uploads", None, False),
    ("a delegation key", "sweeper", DELEGATE, None, None, False),
    ("another container", "sweeper", DELETE, "other", None, False),
    ("a download", "somebody", READ, "uploads", None, False),
]


def wrong(applied: Applied) -> list[str]:
    """Return the rows that the role assignments answer otherwise, each as a sentence."""
    found = []
    for what, who, action, container, part, expected in TABLE:
        try:
            allowed = decide(applied, who, action, part, container)
        except LookupError as error:
            found.append(f"{who}: {what}: not judged: {error}")
            continue
        if allowed != expected:
            found.append(f"{who}: {what}: {'allowed' if allowed else 'denied'}")
    return found


def decide(applied: Applied, who: str, action: str, part: str | None, container: str | None) -> bool:
    """Tell whether an action is allowed; without a container it is on the account.

    Raises:
        LookupError: a role or condition is not known here.
    """
    signer = applied.outputs["settings"]["signer"]
    principals = {"signer": signer["principal_id"], "sweeper": signer["sweeper_principal_id"]}
    account = applied.one("azurerm_storage_account")["id"]
    scope = f"{account}/blobServices/default/containers/{container}" if container else account
    return any(
        assignment["principal_id"] == principals.get(who, who)
        and f"{scope}/".startswith(f"{assignment['scope']}/")
        and action in _actions(applied, assignment)
        and _holds(assignment["condition"], action, part, container)
        for assignment in applied.all("azurerm_role_assignment")
    )


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
