"""How a bucket of Cloud Storage is configured, as far as the identity may read it.

Must not change anything, and must not take "may not look" for "is right".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.api_core.exceptions import Forbidden, GoogleAPICallError

from gateway.doctor.documents import google_lifecycle
from gateway.doctor.findings import Finding, fail, note, ok, unseen
from gateway.doctor.visit import Visit

__all__ = ["examine_gcs"]

MOST_ABORT_DAYS = 7
TIMEOUT_SECONDS = 10
_AS_WHO = "Run it with --auditor ALIAS, a storage of the same bucket whose identity has {permission}."
_OF_BUCKET = ("gcs.public-access", "gcs.uniform-access", "gcs.versioning", "gcs.lifecycle")
_EVERYBODY = {"allUsers", "allAuthenticatedUsers"}


def examine_gcs(visit: Visit) -> Iterator[Finding]:
    """Read the bucket's configuration, and who it is open to."""
    bucket = visit.reader.bucket
    try:
        bucket.reload(timeout=TIMEOUT_SECONDS, retry=None)
    except GoogleAPICallError as error:
        for check in _OF_BUCKET:
            yield _unseen(visit, check, error, "storage.buckets.get")
    else:
        yield from _access(visit, bucket)
        yield from _keeping(visit, bucket)
    yield from _policy(visit, bucket)


def _access(visit: Visit, bucket: Any) -> Iterator[Finding]:
    for check, what, is_right, option in (
        (
            "gcs.public-access",
            "public access prevention",
            bucket.iam_configuration.public_access_prevention == "enforced",
            "--public-access-prevention",
        ),
        (
            "gcs.uniform-access",
            "uniform access, without which ACLs of single objects count,",
            bucket.iam_configuration.uniform_bucket_level_access_enabled,
            "--uniform-bucket-level-access",
        ),
    ):
        if is_right:
            yield ok(visit.alias, check, f"{what.partition(',')[0]} is enforced")
        else:
            yield fail(visit.alias, check, f"{what} is not enforced", _update(bucket, option))


def _keeping(visit: Visit, bucket: Any) -> Iterator[Finding]:
    if bucket.versioning_enabled:
        yield ok(visit.alias, "gcs.versioning", "earlier versions are kept")
    else:
        remedy = f"What is deleted by mistake is gone otherwise: {_update(bucket, '--versioning')}"
        yield fail(visit.alias, "gcs.versioning", "earlier versions are not kept", remedy)
    rules = list(bucket.lifecycle_rules)
    days = [
        rule["condition"]["age"]
        for rule in rules
        if rule["action"]["type"] == "AbortIncompleteMultipartUpload" and rule["condition"].keys() == {"age"}
    ]
    if not days or min(days) > MOST_ABORT_DAYS:
        found = f"end after {min(days)} days; at most {MOST_ABORT_DAYS}" if days else "stay, and are paid for"
        remedy = _update(bucket, "--lifecycle-file=FILE")
        yield fail(visit.alias, "gcs.lifecycle", f"unfinished uploads {found}", remedy, google_lifecycle())
    else:
        yield ok(visit.alias, "gcs.lifecycle", f"unfinished uploads end after {min(days)} days")
    uploads = visit.storage.object_key("uploads/k").removesuffix("k")
    for rule in rules:
        given = rule["condition"]
        prefixes = given.get("matchesPrefix", [""])
        takes_uploads = any(uploads.startswith(prefix) for prefix in prefixes)
        if rule["action"]["type"] == "Delete" and "age" in given and given.get("isLive", True) and takes_uploads:
            yield note(visit.alias, "gcs.lifecycle.age", f"a rule deletes uploads after {given['age']} days")


def _policy(visit: Visit, bucket: Any) -> Iterator[Finding]:
    try:
        policy = bucket.get_iam_policy(requested_policy_version=3, timeout=TIMEOUT_SECONDS, retry=None)
    except GoogleAPICallError as error:
        yield _unseen(visit, "gcs.policy", error, "storage.buckets.getIamPolicy")
        return
    public = sorted({binding["role"] for binding in policy.bindings if _EVERYBODY & set(binding["members"])})
    if public:
        remedy = "Remove allUsers and allAuthenticatedUsers from the bucket's policy."
        yield fail(visit.alias, "gcs.policy", f"everybody has {', '.join(public)}", remedy)
    else:
        yield ok(visit.alias, "gcs.policy", "the policy gives everybody nothing")


def _update(bucket: Any, option: str) -> str:
    return f"gcloud storage buckets update gs://{bucket.name} {option}"


def _unseen(visit: Visit, check: str, error: GoogleAPICallError, permission: str) -> Finding:
    found = "this identity may not read it" if isinstance(error, Forbidden) else f"it cannot be read ({error.code})"
    return unseen(visit.alias, check, found, _AS_WHO.format(permission=permission))
