"""Who may do what with the bucket of ``gcp-gcs``: the table, and Google's IAM as far as the module uses it.

Source: https://cloud.google.com/storage/docs/access-control/iam-permissions
"""

from __future__ import annotations

import re
from typing import Any

from tests.terraform.commands import Applied

_BUCKET = "projects/_/buckets/acme-files"
_CLAUSE = re.compile(r'resource\.name(\.startsWith\("(?P<start>[^"]+)"\)| == "(?P<name>[^"]+)")')

# Google's own roles that the module gives, and those that a mistake would give.
_PREDEFINED: dict[str, set[str]] = {
    "roles/iam.serviceAccountTokenCreator": {"iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.signBlob"},
    "roles/iam.workloadIdentityUser": {"iam.serviceAccounts.getAccessToken"},
    "roles/storage.admin": {"storage.buckets.update", "storage.objects.delete", "storage.objects.list"},
    "roles/storage.objectAdmin": {"storage.objects.delete", "storage.objects.get", "storage.objects.list"},
    "roles/storage.objectCreator": {"storage.objects.create"},
    "roles/storage.objectUser": {"storage.objects.create", "storage.objects.delete", "storage.objects.list"},
    "roles/storage.objectViewer": {"storage.objects.get", "storage.objects.list"},
}

_GET, _CREATE = "storage.objects.get", "storage.objects.create"
_DELETE, _LIST = "storage.objects.delete", "storage.objects.list"
_FILE, _STAGED = f"{_BUCKET}/objects/uploads/2026/a.pdf", f"{_BUCKET}/objects/staging/a"

# (what is tried, who, permission, on what, verdict)
TABLE: list[tuple[str, str, str, str, bool]] = [
    ("a download", "signer", _GET, _FILE, True),
    ("a download from the quarantine", "signer", _GET, _STAGED, True),
    ("an upload", "signer", _CREATE, _FILE, True),
    ("an upload into the quarantine", "signer", _CREATE, _STAGED, True),
    ("an upload in parts begins", "signer", "storage.multipartUploads.create", _FILE, True),
    ("its parts are listed", "signer", "storage.multipartUploads.listParts", _FILE, True),
    ("it is given up", "signer", "storage.multipartUploads.abort", _FILE, True),
    # Overwriting takes storage.objects.delete, too.
    ("a deletion or an overwrite", "signer", _DELETE, _FILE, False),
    ("a listing", "signer", _LIST, _BUCKET, False),
    ("a listing, asked of an object", "signer", _LIST, _FILE, False),
    ("new metadata", "signer", "storage.objects.update", _FILE, False),
    ("an ACL", "signer", "storage.objects.setIamPolicy", _FILE, False),
    ("a retention", "signer", "storage.objects.setRetention", _FILE, False),
    ("a restore", "signer", "storage.objects.restore", _FILE, False),
    ("the bucket changed", "signer", "storage.buckets.update", _BUCKET, False),
    ("the bucket's policy", "signer", "storage.buckets.setIamPolicy", _BUCKET, False),
    ("a download from elsewhere", "signer", _GET, f"{_BUCKET}/objects/other/a", False),
    ("a download next to the prefix", "signer", _GET, f"{_BUCKET}/objects/uploads2/a", False),
    ("an upload elsewhere", "signer", _CREATE, f"{_BUCKET}/objects/a", False),
    ("another bucket", "signer", _GET, "projects/_/buckets/acme-files2/objects/uploads/a", False),
    ("a deletion", "sweeper", _DELETE, _FILE, True),
    ("a deletion in the quarantine", "sweeper", _DELETE, _STAGED, True),
    ("the listing", "sweeper", _LIST, _BUCKET, True),
    ("a look", "sweeper", _GET, _FILE, True),
    ("an upload given up", "sweeper", "storage.multipartUploads.abort", _FILE, True),
    ("an upload", "sweeper", _CREATE, _FILE, False),
    ("a deletion elsewhere", "sweeper", _DELETE, f"{_BUCKET}/objects/other/a", False),
    ("the bucket deleted", "sweeper", "storage.buckets.delete", _BUCKET, False),
    ("a download", "allUsers", _GET, _FILE, False),
    ("a listing", "allUsers", _LIST, _BUCKET, False),
    ("a download", "allAuthenticatedUsers", _GET, _FILE, False),
]


def wrong(applied: Applied) -> list[str]:
    """Return the rows that the bindings answer otherwise, each as a sentence."""
    found = []
    for what, who, permission, resource, expected in TABLE:
        try:
            allowed = decide(applied, who, permission, resource)
        except LookupError as error:
            found.append(f"{who}: {what}: not judged: {error}")
            continue
        if allowed != expected:
            found.append(f"{who}: {what}: {'allowed' if allowed else 'denied'}")
    return found


def decide(applied: Applied, who: str, permission: str, resource: str) -> bool:
    """Tell whether a permission is given on a bucket or an object.

    Raises:
        LookupError: a role or condition is not known here.
    """
    members = {name: applied.one("google_service_account", name)["member"] for name in ("signer", "sweeper")}
    return any(
        binding["member"] == members.get(who, who)
        and permission in _permissions(applied, binding["role"])
        and _holds(binding["condition"], resource)
        for binding in applied.all("google_storage_bucket_iam_member")
    )


def wrong_impersonation(applied: Applied) -> list[str]:
    """Return who may sign or act as the accounts and should not, or the other way round."""
    signer = applied.one("google_service_account", "signer")
    sweeper = applied.one("google_service_account", "sweeper")
    sign, act = "iam.serviceAccounts.signBlob", "iam.serviceAccounts.getAccessToken"
    developer = "user:developer@example.com"
    web, cron = (f"serviceAccount:acme-prod.svc.id.goog[files/{name}]" for name in ("web", "cron"))
    table = [
        (signer["member"], sign, signer, True),
        (developer, sign, signer, True),
        (developer, act, signer, False),
        (signer["member"], act, signer, False),
        (signer["member"], act, sweeper, False),
        (signer["member"], sign, sweeper, False),
        (web, act, signer, True),
        (web, act, sweeper, False),
        (cron, act, sweeper, True),
        (cron, act, signer, False),
        ("allUsers", sign, signer, False),
    ]
    found = []
    for member, permission, account, expected in table:
        allowed = any(
            binding["member"] == member
            and binding["service_account_id"] == account["name"]
            and permission in _permissions(applied, binding["role"])
            for binding in applied.all("google_service_account_iam_member")
        )
        if allowed != expected:
            found.append(f"{member}: {permission} of {account['account_id']}: {'denied' if expected else 'allowed'}")
    return found


def _permissions(applied: Applied, role: str) -> set[str]:
    for custom in applied.all("google_project_iam_custom_role"):
        if role == custom["id"]:
            return set(custom["permissions"])
    if role not in _PREDEFINED:
        raise LookupError(f"role {role}")
    return _PREDEFINED[role]


def _holds(conditions: Any, resource: str) -> bool:
    """Evaluate a condition: clauses of resource.name with ``||`` between them.

    Raises:
        LookupError: it is another one.
    """
    if not conditions:
        return True
    for clause in conditions[0]["expression"].split(" || "):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise LookupError(f"condition {clause}")
        if resource == match["name"] or (match["start"] and resource.startswith(match["start"])):
            return True
    return False
