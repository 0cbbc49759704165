"""How a bucket of S3 is configured, as far as the identity may read it.

Must not change anything, and must not take "may not look" for "is right".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from gateway import links
from gateway.doctor import documents
from gateway.doctor.findings import Finding, fail, note, ok, unseen
from gateway.doctor.visit import Visit

__all__ = ["examine_settings", "rule_for_probes"]

MOST_ABORT_DAYS = 7
_GROUPS = "groups/global/"
_AS_WHO = "Run it with --auditor ALIAS, a storage of the same bucket whose identity may read the configuration."
_ABSENT = {
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}
_UNKNOWN = {"MethodNotAllowed", "NotImplemented", "InvalidArgument", "405", "501"}


class _Unseen(Exception):
    """The configuration cannot be read; the message says why."""


def examine_settings(visit: Visit) -> Iterator[Finding]:
    for check, examine in _EXAMINED.items():
        try:
            yield from examine(visit, check)
        except _Unseen as error:
            yield unseen(visit.alias, check, str(error), _AS_WHO if "may not" in str(error) else "")


def rule_for_probes(visit: Visit) -> str:
    """Return the name of the lifecycle rule that will take the probe; empty where there is none, or none is seen."""
    key = visit.storage.object_key(links.PROBE_KEY)
    try:
        rules = _rules(visit)
    except _Unseen:
        return ""
    for rule in rules:
        if "Days" in rule.get("Expiration", {}) and key.startswith(_prefix(rule)):
            return str(rule.get("ID", "without a name"))
    return ""


def _ask(call: Callable[..., Any], visit: Visit) -> dict[str, Any] | None:
    """Return the configuration; None where there is none.

    Raises:
        _Unseen: this identity may not read it, or the store does not know it.
    """
    try:
        answer: dict[str, Any] = call(Bucket=visit.bucket)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _ABSENT:
            return None
        if code in _UNKNOWN:
            raise _Unseen(f"the store does not know this configuration ({code})") from None
        raise _Unseen(f"this identity may not read it ({code})") from None
    return answer


def _known(found: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """Return the configuration, unless it is the answer to another question: Ceph lists objects where it is lost.

    Raises:
        _Unseen: it is.
    """
    if found is not None and not found.get(name):
        raise _Unseen("the store does not know this configuration")
    return found


def _public_access(visit: Visit, check: str) -> Iterator[Finding]:
    found = _ask(visit.looking.get_public_access_block, visit)
    given = (found or {}).get("PublicAccessBlockConfiguration", {})
    wanted = documents.public_access_block()
    off = [name for name in wanted if not given.get(name)]
    if not off:
        yield ok(visit.alias, check, "public access is blocked in all four ways")
        return
    off_are = f"{', '.join(off)} {'is' if len(off) == 1 else 'are'} off"
    if visit.is_amazon:
        yield fail(visit.alias, check, off_are, "Block public access in all four ways.", wanted)
    else:
        # Ceph counts every policy as public, and a signer whom a policy allows something would be shut out.
        yield note(visit.alias, check, off_are, "Switch them on if the store can tell public policies from others.")


def _ownership(visit: Visit, check: str) -> Iterator[Finding]:
    found = _known(_ask(visit.looking.get_bucket_ownership_controls, visit), "OwnershipControls")
    rules = (found or {}).get("OwnershipControls", {}).get("Rules", [])
    owner = rules[0].get("ObjectOwnership") if rules else "not set"
    if owner == "BucketOwnerEnforced":
        yield ok(visit.alias, check, "the bucket's owner owns every object")
    else:
        yield fail(
            visit.alias,
            check,
            f"object ownership is {owner}: ACLs mean something",
            "Set ObjectOwnership to BucketOwnerEnforced.",
            {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        )


def _acl(visit: Visit, check: str) -> Iterator[Finding]:
    found = _ask(visit.looking.get_bucket_acl, visit) or {}
    groups = [grant.get("Grantee", {}).get("URI", "") for grant in found.get("Grants", [])]
    if public := sorted(uri.rpartition("/")[2] for uri in groups if _GROUPS in uri):
        yield fail(visit.alias, check, f"the bucket's ACL grants to {', '.join(public)}", "Set the ACL to private.")
    else:
        yield ok(visit.alias, check, "the bucket's ACL grants nothing to the public")


def _policy(visit: Visit, check: str) -> Iterator[Finding]:
    found = _ask(visit.looking.get_bucket_policy, visit)
    statements = json.loads(found["Policy"])["Statement"] if found else []
    public = [
        str(statement.get("Sid", "without a name"))
        for statement in (statements if isinstance(statements, list) else [statements])
        if statement["Effect"] == "Allow" and _is_everybody(statement.get("Principal"))
    ]
    document = documents.bucket_policy(visit.bucket, visit.max_ttl)
    if public:
        yield fail(
            visit.alias, check, f"the policy allows everybody something: {', '.join(public)}", "Remove it.", document
        )
    elif not statements and visit.is_amazon:
        yield fail(visit.alias, check, "the bucket has no policy", "Refuse old links, SigV2 and plain http.", document)
    else:
        yield ok(visit.alias, check, "the policy allows everybody nothing")


def _is_everybody(principal: Any) -> bool:
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    return "*" in ([named] if isinstance(named, str) else named or [])


def _encryption(visit: Visit, check: str) -> Iterator[Finding]:
    found = _known(_ask(visit.looking.get_bucket_encryption, visit), "ServerSideEncryptionConfiguration")
    rules = (found or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    kinds = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for rule in rules]
    if any(kinds):
        yield ok(visit.alias, check, f"new objects are encrypted ({kinds[0]})")
    else:
        remedy = "Set a default encryption."
        yield fail(visit.alias, check, "new objects are not encrypted", remedy, documents.encryption())


def _versioning(visit: Visit, check: str) -> Iterator[Finding]:
    status = (_ask(visit.looking.get_bucket_versioning, visit) or {}).get("Status", "off")
    if status == "Enabled":
        yield ok(visit.alias, check, "earlier versions are kept")
    else:
        remedy = "Enable versioning: what is deleted by mistake is gone otherwise."
        yield fail(visit.alias, check, f"versioning is {status}", remedy, documents.versioning())


def _lifecycle(visit: Visit, check: str) -> Iterator[Finding]:
    days = [
        rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        for rule in _rules(visit)
        if "AbortIncompleteMultipartUpload" in rule and not _prefix(rule)
    ]
    if not days or min(days) > MOST_ABORT_DAYS:
        found = f"end after {min(days)} days; at most {MOST_ABORT_DAYS}" if days else "stay, and are paid for"
        remedy = "Abort unfinished uploads after a day."
        yield fail(visit.alias, check, f"unfinished uploads {found}", remedy, documents.lifecycle())
    else:
        yield ok(visit.alias, check, f"unfinished uploads end after {min(days)} {'day' if min(days) == 1 else 'days'}")
    by_age = [rule for rule in _rules(visit) if _takes_uploads(visit, rule)]
    for rule in by_age:
        name = rule.get("ID", "without a name")
        yield note(
            visit.alias, f"{check}.age", f"the rule {name} deletes uploads after {rule['Expiration']['Days']} days"
        )


def _takes_uploads(visit: Visit, rule: dict[str, Any]) -> bool:
    uploads = visit.storage.object_key("uploads/k").removesuffix("k")
    return "Days" in rule.get("Expiration", {}) and uploads.startswith(_prefix(rule))


def _rules(visit: Visit) -> list[dict[str, Any]]:
    found = _ask(visit.looking.get_bucket_lifecycle_configuration, visit) or {}
    return [rule for rule in found.get("Rules", []) if rule["Status"] == "Enabled"]


def _prefix(rule: dict[str, Any]) -> str:
    selected = rule.get("Filter", {})
    return str(selected.get("Prefix") or selected.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


_EXAMINED: dict[str, Callable[[Visit, str], Iterator[Finding]]] = {
    "s3.public-access": _public_access,
    "s3.ownership": _ownership,
    "s3.acl": _acl,
    "s3.policy": _policy,
    "s3.encryption": _encryption,
    "s3.versioning": _versioning,
    "s3.lifecycle": _lifecycle,
}
