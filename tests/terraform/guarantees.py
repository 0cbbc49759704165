"""What each bucket promises, held against the values that terraform would set.

Must not ask of a policy what it means: that is for the tables of requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.terraform.commands import Applied
from tests.terraform.variants import ORIGIN

SETTINGS_KEYS = {
    "bucket",
    "cors_origins",
    "encryption",
    "headers",
    "max_ttl_seconds",
    "operations",
    "provider",
    "quarantine",
    "region",
    "signer",
    "uploads_prefix",
}
PROBES = "uploads/gateway-probe"
_SECRET = re.compile(r"secret|password|token|private_key|access_key", re.IGNORECASE)


@dataclass(frozen=True)
class Guarantee:
    """One promise: ``holds`` is asked of a variant, and only of those whose name starts with ``of``."""

    of: str
    statement: str
    holds: Callable[[Applied], bool]


def broken(variant: str, applied: Applied) -> list[str]:
    """Return the statements that a variant does not keep; one that cannot be looked at is not kept."""
    return [each.statement for each in GUARANTEES if variant.startswith(each.of) and not _is_kept(each, applied)]


def _is_kept(guarantee: Guarantee, applied: Applied) -> bool:
    try:
        return bool(guarantee.holds(applied))
    except (IndexError, KeyError, LookupError, TypeError, ValueError):
        # What is looked for is not there.
        return False


def _is(values: dict[str, Any], **expected: Any) -> bool:
    return all(values[name] == value for name, value in expected.items())


def _rules(applied: Applied, type_name: str, rules: str = "rule") -> dict[str, dict[str, Any]]:
    return {rule.get("id") or rule["name"]: rule for rule in applied.one(type_name)[rules]}


def _safe_cors(rule: dict[str, Any], origins: str, methods: str, headers: str) -> bool:
    allowed = rule[headers]
    return (
        list(rule[origins]) == [ORIGIN]
        and set(rule[methods]) <= {"GET", "HEAD", "PUT", "POST"}
        and "*" not in allowed
        and bool(allowed)
    )


# Amazon


def _lifecycle(applied: Applied) -> dict[str, dict[str, Any]]:
    rules = _rules(applied, "aws_s3_bucket_lifecycle_configuration")
    return {name: rule for name, rule in rules.items() if rule["status"] == "Enabled"}


def _aws_aborts(applied: Applied) -> bool:
    rule = _lifecycle(applied)["abort-multipart"]
    (scope,) = rule["filter"]
    return rule["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == 1 and not scope["prefix"]


def _aws_quarantine(applied: Applied) -> bool:
    rule = _lifecycle(applied)["expire-quarantine"]
    return rule["filter"][0]["prefix"] == "staging/" and rule["expiration"][0]["days"] == 7


def _aws_keeps_versions(applied: Applied) -> bool:
    rule = _lifecycle(applied)["expire-noncurrent"]
    return (
        applied.one("aws_s3_bucket_versioning")["versioning_configuration"][0]["status"] == "Enabled"
        and rule["noncurrent_version_expiration"][0]["noncurrent_days"] >= 7
        and not rule["expiration"][0]["days"]
        and rule["filter"][0]["prefix"] == "uploads/"
    )


def _aws_expires_uploads_only_if_asked(applied: Applied) -> bool:
    days = [
        rule["expiration"][0]["days"]
        for rule in _lifecycle(applied).values()
        if rule["expiration"]
        and rule["expiration"][0]["days"]
        and rule["filter"][0]["prefix"] not in ("staging/", PROBES)
    ]
    return days in ([], [400])


def _aws_encrypts(algorithm: str) -> Callable[[Applied], bool]:
    def holds(applied: Applied) -> bool:
        (rule,) = applied.one("aws_s3_bucket_server_side_encryption_configuration")["rule"]
        (default,) = rule["apply_server_side_encryption_by_default"]
        key = applied.outputs["settings"]["encryption"]["key"]
        return bool(default["sse_algorithm"] == algorithm and (default["kms_master_key_id"] or None) == key)

    return holds


def _data_events(applied: Applied) -> bool:
    trail = applied.one("aws_cloudtrail")
    (selector,) = trail["advanced_event_selector"]
    fields = {field["field"]: field["equals"] or field["starts_with"] for field in selector["field_selector"]}
    return trail["enable_log_file_validation"] and fields == {
        "eventCategory": ["Data"],
        "resources.type": ["AWS::S3::Object"],
        "resources.ARN": ["arn:aws:s3:::acme-files/"],
    }


def _distribution(applied: Applied) -> bool:
    distribution = applied.one("aws_cloudfront_distribution")
    (behaviour,) = distribution["default_cache_behavior"]
    (certificate,) = distribution["viewer_certificate"]
    group = applied.one("aws_cloudfront_key_group")
    return (
        behaviour["viewer_protocol_policy"] == "https-only"
        and behaviour["trusted_key_groups"] == [group["id"]]
        and bool(group["items"])
        and set(behaviour["allowed_methods"]) == {"GET", "HEAD"}
        and certificate["minimum_protocol_version"] == "TLSv1.2_2021"
        and not certificate["cloudfront_default_certificate"]
        and not distribution["ordered_cache_behavior"]
    )


def _origin(applied: Applied) -> bool:
    access = applied.one("aws_cloudfront_origin_access_control")
    (origin,) = applied.one("aws_cloudfront_distribution")["origin"]
    return (
        _is(access, signing_behavior="always", signing_protocol="sigv4", origin_access_control_origin_type="s3")
        and origin["origin_access_control_id"] == access["id"]
        and origin["domain_name"] == "acme-files.s3.eu-west-1.amazonaws.com"
    )


def _cache_key(applied: Applied) -> bool:
    (forwarded,) = applied.one("aws_cloudfront_cache_policy")["parameters_in_cache_key_and_forwarded_to_origin"]
    (strings,) = forwarded["query_strings_config"]
    # Two links that ask for different answers must not share one.
    return (
        strings["query_string_behavior"] == "whitelist"
        and {"response-content-disposition", "response-content-type", "versionId"}
        <= set(strings["query_strings"][0]["items"])
        and forwarded["cookies_config"][0]["cookie_behavior"] == "none"
    )


def _replication(applied: Applied) -> bool:
    (rule,) = applied.one("aws_s3_bucket_replication_configuration")["rule"]
    (destination,) = rule["destination"]
    return (
        rule["status"] == "Enabled"
        and rule["delete_marker_replication"][0]["status"] == "Disabled"
        and destination["bucket"] == "arn:aws:s3:::acme-files-copy"
        and bool(destination["encryption_configuration"][0]["replica_kms_key_id"])
    )


def _replication_role(applied: Applied) -> bool:
    policy = json.loads(applied.one("aws_iam_role_policy", "replication")["policy"])
    actions = {action for statement in policy["Statement"] for action in _listed(statement["Action"])}
    return not any(action.startswith("s3:Delete") or "*" in action or "ReplicateDelete" in action for action in actions)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


_AWS_TYPES = {
    "aws_cloudfront_cache_policy",
    "aws_cloudfront_distribution",
    "aws_cloudfront_key_group",
    "aws_cloudfront_origin_access_control",
    "aws_cloudfront_public_key",
    "aws_cloudtrail",
    "aws_iam_policy_document",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_kms_alias",
    "aws_kms_key",
    "aws_partition",
    "aws_region",
    "aws_s3_bucket",
    "aws_s3_bucket_cors_configuration",
    "aws_s3_bucket_lifecycle_configuration",
    "aws_s3_bucket_logging",
    "aws_s3_bucket_notification",
    "aws_s3_bucket_ownership_controls",
    "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block",
    "aws_s3_bucket_replication_configuration",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning",
}


# Google


def _google_lifecycle(applied: Applied) -> list[tuple[str, dict[str, Any]]]:
    """Return (type of action, what of its condition is set) of every rule."""
    return [
        (
            rule["action"][0]["type"],
            {name: value for name, value in rule["condition"][0].items() if value not in (None, "", 0, False, [])},
        )
        for rule in applied.one("google_storage_bucket")["lifecycle_rule"]
    ]


def _google_keeps_versions(applied: Applied) -> bool:
    kept = [
        condition["days_since_noncurrent_time"]
        for action, condition in _google_lifecycle(applied)
        if action == "Delete" and "days_since_noncurrent_time" in condition
    ]
    bucket = applied.one("google_storage_bucket")
    return bucket["versioning"][0]["enabled"] and bool(kept) and min(kept) >= 7


def _google_deletes_only(applied: Applied) -> bool:
    """Nothing else goes by age than the quarantine, and uploads where that was asked for."""
    by_age = [
        condition for action, condition in _google_lifecycle(applied) if action == "Delete" and "age" in condition
    ]
    return all(
        condition
        in (
            {"age": 7, "matches_prefix": ["staging/"], "with_state": "ANY"},
            {"age": 1, "matches_prefix": [PROBES], "with_state": "ANY"},
        )
        or condition == {"age": 400, "matches_prefix": ["uploads/"], "with_state": "LIVE"}
        for condition in by_age
    )


# Azure


def _azure_rule(name: str) -> Callable[[Applied], dict[str, Any]]:
    def rule(applied: Applied) -> dict[str, Any]:
        found = _rules(applied, "azurerm_storage_management_policy")[name]
        if not found["enabled"]:
            raise LookupError(name)
        return found

    return rule


def _azure_quarantine(applied: Applied) -> bool:
    rule = _azure_rule("expire-quarantine")(applied)
    (base,) = rule["actions"][0]["base_blob"]
    return (
        rule["filters"][0]["prefix_match"] == ["staging/"]
        and base["delete_after_days_since_modification_greater_than"] == 7
    )


def _azure_versions(applied: Applied) -> bool:
    (version,) = _azure_rule("expire-noncurrent")(applied)["actions"][0]["version"]
    (properties,) = applied.one("azurerm_storage_account")["blob_properties"]
    return properties["versioning_enabled"] and version["delete_after_days_since_creation"] >= 7


def _azure_soft_delete(applied: Applied) -> bool:
    (properties,) = applied.one("azurerm_storage_account")["blob_properties"]
    (blobs,) = properties["delete_retention_policy"]
    (containers,) = properties["container_delete_retention_policy"]
    return blobs["days"] >= 7 and containers["days"] >= 7 and not blobs["permanent_delete_enabled"]


def _azure_sas(applied: Applied) -> bool:
    (policy,) = applied.one("azurerm_storage_account")["sas_policy"]
    days, clock = policy["expiration_period"].split(".")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    total = int(days) * 86_400 + hours * 3600 + minutes * 60 + seconds
    settings = applied.outputs["settings"]
    return (
        policy["expiration_action"] == "Block"
        and total == settings["max_ttl_seconds"] + settings["signer"]["clock_skew_seconds"]
        and settings["signer"]["signed_start"] is True
    )


def _account(**expected: Any) -> Callable[[Applied], bool]:
    return lambda applied: _is(applied.one("azurerm_storage_account"), **expected)


def _azure_logs(applied: Applied) -> bool:
    setting = applied.one("azurerm_monitor_diagnostic_setting")
    categories = {log["category"] for log in setting["enabled_log"]}
    target = f"{applied.one('azurerm_storage_account')['id']}/blobServices/default"
    return categories == {"StorageDelete", "StorageRead", "StorageWrite"} and setting["target_resource_id"] == target


# All


def _settings(applied: Applied) -> bool:
    settings = applied.outputs["settings"]
    more = {"account", "endpoint"} if settings["provider"] == "azure" else set()
    return settings.keys() == SETTINGS_KEYS | more and not _SECRET.search(json.dumps(settings))


GUARANTEES: tuple[Guarantee, ...] = (
    *(Guarantee(cloud, "settings has its eleven keys and no secret", _settings) for cloud in ("aws", "gcp", "azure")),
    Guarantee(
        "aws",
        "public access is blocked in all four ways",
        lambda applied: _is(
            applied.one("aws_s3_bucket_public_access_block"),
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        ),
    ),
    Guarantee(
        "aws",
        "the bucket's owner owns every object, and ACLs mean nothing",
        lambda applied: (
            applied.one("aws_s3_bucket_ownership_controls")["rule"][0]["object_ownership"] == "BucketOwnerEnforced"
        ),
    ),
    Guarantee("aws", "deleted and overwritten files can be restored for 7 days at least", _aws_keeps_versions),
    Guarantee("aws", "unfinished multipart uploads end after a day", _aws_aborts),
    Guarantee("aws", "the quarantine is emptied after 7 days", _aws_quarantine),
    Guarantee("aws", "uploads go by age only where that was asked for", _aws_expires_uploads_only_if_asked),
    Guarantee(
        "aws",
        "the doctor's probes are gone after a day",
        lambda applied: (
            _lifecycle(applied)["expire-probes"]["filter"][0]["prefix"] == PROBES
            and _lifecycle(applied)["expire-probes"]["expiration"][0]["days"] == 1
        ),
    ),
    Guarantee(
        "gcp",
        "the doctor's probes are gone after a day",
        lambda applied: (
            ("Delete", {"age": 1, "matches_prefix": [PROBES], "with_state": "ANY"}) in _google_lifecycle(applied)
        ),
    ),
    Guarantee(
        "azure",
        "the doctor's probes are gone after a day",
        lambda applied: _azure_rule("expire-probes")(applied)["filters"][0]["prefix_match"] == [f"uploads/{PROBES}"],
    ),
    Guarantee("aws", "the bucket has its policy", lambda applied: bool(applied.one("aws_s3_bucket_policy", "this"))),
    Guarantee(
        "aws",
        "destroying the bucket keeps its files",
        lambda applied: _is(applied.one("aws_s3_bucket"), force_destroy=False),
    ),
    Guarantee(
        "aws",
        "the signer's session covers the longest link",
        lambda applied: (
            applied.one("aws_iam_role", "signer")["max_session_duration"]
            >= applied.outputs["settings"]["max_ttl_seconds"]
        ),
    ),
    Guarantee(
        "aws",
        "nothing is made but what is listed: no user, no key, no ACL, no website",
        lambda applied: applied.types <= _AWS_TYPES,
    ),
    Guarantee(
        "aws",
        "a role has only the policies listed here",
        lambda applied: (
            {
                (policy["name"], policy["role"].removeprefix("acme-files-"))
                for policy in applied.all("aws_iam_role_policy")
            }
            <= {
                ("sign", "signer"),
                ("sweep", "sweeper"),
                ("key", "signer"),
                ("key", "sweeper"),
                ("replicate", "replication"),
            }
        ),
    ),
    *(
        Guarantee(
            variant,
            "browsers of the application's origin alone may read the answer",
            lambda applied: _safe_cors(
                applied.one("aws_s3_bucket_cors_configuration")["cors_rule"][0],
                "allowed_origins",
                "allowed_methods",
                "allowed_headers",
            ),
        )
        for variant in ("aws-everything",)
    ),
    Guarantee("aws-everything", "files are encrypted with the key that was given", _aws_encrypts("aws:kms")),
    Guarantee("aws-own-key", "files are encrypted with a key of the bucket's own", _aws_encrypts("aws:kms")),
    Guarantee("aws-downloads-alone", "files are encrypted", _aws_encrypts("AES256")),
    Guarantee(
        "aws-own-key",
        "the key is rotated, and can be saved for 7 days at least",
        lambda applied: (
            applied.one("aws_kms_key")["enable_key_rotation"] is True
            and applied.one("aws_kms_key")["deletion_window_in_days"] >= 7
        ),
    ),
    Guarantee(
        "aws-everything",
        "each request is logged in another bucket",
        lambda applied: _is(applied.one("aws_s3_bucket_logging"), target_bucket="acme-logs"),
    ),
    Guarantee("aws-everything", "every read and write of an object is a data event", _data_events),
    Guarantee(
        "aws-everything",
        "the queue hears of both prefixes",
        lambda applied: (
            {
                (queue["filter_prefix"], tuple(queue["events"]))
                for queue in applied.one("aws_s3_bucket_notification")["queue"]
            }
            == {("staging/", ("s3:ObjectCreated:*",)), ("uploads/", ("s3:ObjectCreated:*",))}
        ),
    ),
    Guarantee("aws-everything", "copies are encrypted, and outlive the deletion of their source", _replication),
    Guarantee("aws-everything", "what copies cannot delete", _replication_role),
    Guarantee("aws-everything", "CloudFront wants a signature, https and TLS 1.2, and only reads", _distribution),
    Guarantee("aws-everything", "CloudFront signs what it asks the bucket", _origin),
    Guarantee("aws-everything", "CloudFront keeps answers of different links apart", _cache_key),
    Guarantee(
        "gcp",
        "public access is prevented, and access is uniform",
        lambda applied: _is(
            applied.one("google_storage_bucket"),
            public_access_prevention="enforced",
            uniform_bucket_level_access=True,
        ),
    ),
    Guarantee("gcp", "deleted and overwritten files can be restored for 7 days at least", _google_keeps_versions),
    Guarantee(
        "gcp",
        "soft delete keeps everything for 7 days at least",
        lambda applied: (
            applied.one("google_storage_bucket")["soft_delete_policy"][0]["retention_duration_seconds"] >= 7 * 86_400
        ),
    ),
    Guarantee(
        "gcp",
        "unfinished multipart uploads end after a day",
        lambda applied: ("AbortIncompleteMultipartUpload", {"age": 1}) in _google_lifecycle(applied),
    ),
    Guarantee(
        "gcp",
        "the quarantine is emptied after 7 days",
        lambda applied: (
            ("Delete", {"age": 7, "matches_prefix": ["staging/"], "with_state": "ANY"}) in _google_lifecycle(applied)
        ),
    ),
    Guarantee("gcp", "uploads go by age only where that was asked for", _google_deletes_only),
    Guarantee(
        "gcp",
        "destroying the bucket keeps its files",
        lambda applied: _is(applied.one("google_storage_bucket"), force_destroy=False),
    ),
    Guarantee(
        "gcp",
        "browsers of the application's origin alone may read the answer",
        lambda applied: _safe_cors(
            applied.one("google_storage_bucket")["cors"][0], "origin", "method", "response_header"
        ),
    ),
    Guarantee(
        "gcp-everything",
        "files are encrypted with the key that was given",
        lambda applied: (
            applied.one("google_storage_bucket")["encryption"][0]["default_kms_key_name"]
            == applied.outputs["settings"]["encryption"]["key"]
            == applied.one("google_kms_crypto_key_iam_member")["crypto_key_id"]
        ),
    ),
    Guarantee(
        "gcp-everything",
        "usage is logged in another bucket",
        lambda applied: applied.one("google_storage_bucket")["logging"][0]["log_bucket"] == "acme-logs",
    ),
    Guarantee(
        "gcp-everything",
        "the topic hears of both prefixes",
        lambda applied: (
            {
                (each["object_name_prefix"], tuple(each["event_types"]))
                for each in applied.all("google_storage_notification")
            }
            == {("staging/", ("OBJECT_FINALIZE",)), ("uploads/", ("OBJECT_FINALIZE",))}
        ),
    ),
    Guarantee(
        "azure",
        "https alone, TLS 1.2 at least",
        _account(https_traffic_only_enabled=True, min_tls_version="TLS1_2"),
    ),
    Guarantee(
        "azure",
        "there are no keys to sign with, and no local users",
        _account(shared_access_key_enabled=False, local_user_enabled=False, default_to_oauth_authentication=True),
    ),
    Guarantee(
        "azure",
        "no container can be public, and none is",
        lambda applied: (
            applied.one("azurerm_storage_account")["allow_nested_items_to_be_public"] is False
            and {each["container_access_type"] for each in applied.all("azurerm_storage_container")} == {"private"}
        ),
    ),
    Guarantee(
        "azure",
        "nothing is copied out of the tenant",
        _account(cross_tenant_replication_enabled=False, allowed_copy_scope="AAD"),
    ),
    Guarantee("azure", "files are encrypted twice", _account(infrastructure_encryption_enabled=True)),
    Guarantee("azure", "a longer SAS than the longest link is blocked", _azure_sas),
    Guarantee("azure", "earlier versions are kept", _azure_versions),
    Guarantee(
        "azure", "deleted files, versions and containers can be restored for 7 days at least", _azure_soft_delete
    ),
    Guarantee("azure", "the quarantine is emptied after 7 days", _azure_quarantine),
    Guarantee(
        "azure",
        "browsers of the application's origin alone may read the answer",
        lambda applied: _safe_cors(
            applied.one("azurerm_storage_account")["blob_properties"][0]["cors_rule"][0],
            "allowed_origins",
            "allowed_methods",
            "allowed_headers",
        ),
    ),
    Guarantee(
        "azure",
        "uploads go by age only where that was asked for",
        lambda applied: (
            all(
                rule["name"] in ("expire-probes", "expire-quarantine", "expire-uploads")
                for rule in applied.one("azurerm_storage_management_policy")["rule"]
                if rule["actions"][0]["base_blob"]
            )
            and (
                "expire-uploads" not in _rules(applied, "azurerm_storage_management_policy")
                or _azure_rule("expire-uploads")(applied)["actions"][0]["base_blob"][0][
                    "delete_after_days_since_modification_greater_than"
                ]
                == 400
            )
        ),
    ),
    Guarantee(
        "azure-everything",
        "files are encrypted with the key that was given",
        lambda applied: (
            applied.one("azurerm_storage_account")["customer_managed_key"][0]["key_vault_key_id"]
            == applied.outputs["settings"]["encryption"]["key"]
        ),
    ),
    Guarantee(
        "azure-everything",
        "nobody comes in but the networks that were given",
        lambda applied: (
            applied.one("azurerm_storage_account")["network_rules"][0]["default_action"] == "Deny"
            and list(applied.one("azurerm_storage_account")["network_rules"][0]["ip_rules"]) == ["203.0.113.9"]
        ),
    ),
    Guarantee("azure-everything", "every read, write and deletion is logged", _azure_logs),
    Guarantee(
        "azure-everything",
        "the queue hears of both containers",
        lambda applied: (
            {
                each["subject_filter"][0]["subject_begins_with"].rstrip("/").rpartition("/")[2]
                for each in applied.all("azurerm_eventgrid_event_subscription")
            }
            == {"staging", "uploads"}
        ),
    ),
)
