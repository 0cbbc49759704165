"""Guarantees weakened on purpose, one at a time, each with the check that has to see it.

Must hold no mutant that terraform itself refuses: a broken file is no weakened guarantee.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.terraform import aws_requests, azure_requests, google_requests
from tests.terraform.commands import Applied
from tests.terraform.guarantees import broken

__all__ = ["MUTATIONS", "Mutation", "findings"]


@dataclass(frozen=True)
class Mutation:
    """One edit of a module.

    Args:
        id: what is weaker.
        variant: whose module is edited, and whose variables are given.
        file: in the module.
        old: what is replaced, each time it occurs; it has to be there.
        caught_by: a finding that has to be among those of the mutant, or the start of one.
    """

    id: str
    variant: str
    file: str
    old: str
    new: str
    caught_by: str

    def apply_to(self, module: Path) -> None:
        """Edit a copy of the module.

        Raises:
            LookupError: ``old`` is not in the file, so nothing would be weaker.
        """
        path = module / self.file
        text = path.read_text()
        if self.old not in text:
            raise LookupError(f"{self.id}: {self.file} has no {self.old!r}")
        path.write_text(text.replace(self.old, self.new))


def findings(variant: str, applied: Applied) -> list[str]:
    """Return all that the checks have against a bucket."""
    found = broken(variant, applied)
    if variant.startswith("aws"):
        found += aws_requests.wrong(applied)
        if variant == "aws":
            found += aws_requests.wrong_trust(applied)
        if variant == "aws-everything":
            found += aws_requests.wrong_federation(applied)
            found += aws_requests.wrong_distribution(applied)
        if applied.outputs["settings"]["encryption"]["mode"] == "sse-kms":
            found += aws_requests.wrong_key_use(applied) + aws_requests.wrong_encryption(applied)
    elif variant.startswith("gcp"):
        found += google_requests.wrong(applied)
        if variant == "gcp-everything":
            found += google_requests.wrong_impersonation(applied)
    else:
        found += azure_requests.wrong(applied)
    return found


_PUBLIC = "public access is blocked in all four ways"
_SID = 'sid       = "{}"\n    effect    = "Deny"'
_OFF = 'sid       = "{}"\n    effect    = "Allow"'


def _aws(id_: str, old: str, new: str, caught_by: str, file: str = "main.tf", variant: str = "aws") -> Mutation:
    return Mutation(f"aws: {id_}", variant, file, old, new, caught_by)


def _gcp(id_: str, old: str, new: str, caught_by: str, file: str = "main.tf", variant: str = "gcp") -> Mutation:
    return Mutation(f"gcp: {id_}", variant, file, old, new, caught_by)


def _azure(id_: str, old: str, new: str, caught_by: str, file: str = "main.tf", variant: str = "azure") -> Mutation:
    return Mutation(f"azure: {id_}", variant, file, old, new, caught_by)


def _statement_off(sid: str) -> tuple[str, str]:
    """Make a denial of everything one of a call that nobody makes."""
    return f'sid       = "{sid}"\n    effect    = "Deny"\n    actions   = ["s3:*"]', (
        f'sid       = "{sid}"\n    effect    = "Deny"\n    actions   = ["s3:DeleteBucketWebsite"]'
    )


MUTATIONS: tuple[Mutation, ...] = (
    # Amazon: the bucket
    *(
        _aws(f"{name} is off", f"{name}{' ' * (23 - len(name))} = true", f"{name} = false", _PUBLIC)
        for name in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    ),
    _aws("uploaders own objects", '"BucketOwnerEnforced"', '"ObjectWriter"', "the bucket's owner owns every object"),
    _aws("versions are suspended", '"Enabled"\n  }\n}', '"Suspended"\n  }\n}', "deleted and overwritten files"),
    _aws(
        "versions are gone in a day", "= var.lifecycle_days.expire_noncurrent", "= 1", "deleted and overwritten files"
    ),
    _aws("parts stay for years", "= var.lifecycle_days.abort_multipart", "= 3650", "unfinished multipart uploads"),
    _aws("the quarantine stays", "days = var.lifecycle_days.expire_quarantine", "days = 3650", "the quarantine is"),
    _aws(
        "uploads vanish",
        "[var.lifecycle_days.expire_uploads] : []",
        "[var.lifecycle_days.expire_uploads] : [30]",
        "uploads go by age only",
    ),
    _aws("files go with the bucket", "= var.force_destroy", "= true", "destroying the bucket keeps its files"),
    _aws(
        "probes' rule takes everything",
        'prefix = "${var.prefixes.uploads}gateway-probe"',
        "prefix = var.prefixes.uploads",
        "uploads go by age only",
    ),
    _aws("the bucket has no policy", "var.emulator ? 0 : 1", "0", "the bucket has its policy"),
    # Amazon: the bucket's policy
    _aws("plain http", *_statement_off("DenyInsecureTransport"), "plain http: GetObject"),
    _aws(
        "secure transport inverted",
        '"aws:SecureTransport"\n      values   = ["false"]',
        '"aws:SecureTransport"\n      values   = ["true"]',
        "plain http: GetObject",
    ),
    _aws("TLS 1.1", 'values   = ["1.2"]', 'values   = ["1.1"]', "TLS 1.1"),
    _aws("old TLS", *_statement_off("DenyOldTls"), "TLS 1.0"),
    _aws("SigV2", *_statement_off("DenyOtherSignatures"), "SigV2 link"),
    _aws("links of any age", *_statement_off("DenyStaleUrl"), "link a millisecond older"),
    _aws("forms of any age", *_statement_off("DenyStalePost"), "administrator's stale form"),
    _aws("the age in microseconds", "max_presign_ttl_seconds * 1000", "max_presign_ttl_seconds * 1000000", "link a"),
    _aws("the age in seconds", "max_presign_ttl_seconds * 1000", "max_presign_ttl_seconds * 1", "fresh download link"),
    _aws(
        "overwriting",
        '["s3:PutObject"]\n    resources = [local.uploads_arn]',
        '["s3:PutObjectAcl"]\n    resources = [local.uploads_arn]',
        "signer overwrites: PutObject",
    ),
    _aws(
        "overwriting by whom it is denied",
        'variable = "s3:if-none-match"\n      values   = ["true"]',
        'variable = "s3:if-none-match"\n      values   = ["false"]',
        "signer overwrites: PutObject",
    ),
    _aws(
        "keys of the client's own",
        _SID.format("DenyCustomerKeys"),
        _OFF.format("DenyCustomerKeys"),
        "administrator encrypts with a key of their own",
    ),
    _aws("everybody reads", _SID.format("DenyOldTls"), _OFF.format("DenyOldTls"), "TLS 1.0"),
    _aws(
        "another key",
        'variable = "s3:x-amz-server-side-encryption-aws-kms-key-id"\n        values   = ["false"]',
        'variable = "s3:x-amz-server-side-encryption-aws-kms-key-id"\n        values   = ["true"]',
        "upload that",
        variant="aws-everything",
    ),
    _aws(
        "S3's own key in place of the bucket's",
        "values   = [statement.value]\n      }\n\n      condition {\n"
        '        test     = "Null"\n        variable = "s3:x-amz-server-side-encryption"',
        'values   = ["aws:kms", "AES256"]\n      }\n\n      condition {\n'
        '        test     = "Null"\n        variable = "s3:x-amz-server-side-encryption"',
        "upload that asks for S3's own key",
        variant="aws-everything",
    ),
    _aws(
        "AES in place of the key",
        'sse_algorithm     = local.is_kms ? "aws:kms" : "AES256"',
        'sse_algorithm     = "AES256"',
        "files are encrypted with",
        variant="aws-everything",
    ),
    _aws(
        "the key is never rotated",
        "enable_key_rotation     = true",
        "enable_key_rotation     = false",
        "the key is rotated",
        variant="aws-own-key",
    ),
    # Amazon: identities
    *(
        _aws(
            f"the signer may {action}",
            '"s3:PutObject",\n',
            f'"s3:PutObject",\n        "s3:{action}",\n',
            finding,
            "identities.tf",
        )
        for action, finding in (
            ("DeleteObject", "signer: DeleteObject"),
            ("DeleteObjectVersion", "signer: s3:DeleteObjectVersion"),
            ("PutObjectAcl", "signer: s3:PutObjectAcl"),
            ("PutObjectTagging", "signer: s3:PutObjectTagging"),
        )
    ),
    _aws(
        "the signer may list",
        '"s3:PutObject",\n      ]\n      resources = [local.uploads_arn, local.quarantine_arn]',
        '"s3:PutObject",\n        "s3:ListBucket",\n      ]\n      resources = [local.uploads_arn,'
        " local.quarantine_arn, local.bucket_arn]",
        "signer: ListObjects",
        "identities.tf",
    ),
    _aws(
        "the signer writes everywhere",
        '"s3:PutObject",\n      ]\n      resources = [local.uploads_arn, local.quarantine_arn]',
        '"s3:PutObject",\n      ]\n      resources = ["${local.bucket_arn}/*"]',
        "signer creates other/a",
        "identities.tf",
    ),
    _aws(
        "the signer reads everywhere",
        '"s3:GetObjectVersionAttributes",\n      ]\n      resources = [local.uploads_arn, local.quarantine_arn]',
        '"s3:GetObjectVersionAttributes",\n      ]\n      resources = ["*"]',
        "signer reads other/a",
        "identities.tf",
    ),
    _aws(
        "a prefix without its slash",
        '"${local.bucket_arn}/${var.prefixes.uploads}*"',
        '"${local.bucket_arn}/${trimsuffix(var.prefixes.uploads, "/")}*"',
        "signer reads uploads2/a",
    ),
    _aws(
        "the sweeper creates",
        '"s3:DeleteObject",\n',
        '"s3:DeleteObject",\n      "s3:PutObject",\n',
        "sweeper creates nothing: PutObject",
        "identities.tf",
    ),
    _aws(
        "the sweeper removes versions",
        '["s3:DeleteObjectVersion"]\n    resources = ["${local.bucket_arn}/${var.prefixes.uploads}gateway-probe*"]',
        '["s3:DeleteObjectVersion"]\n    resources = [local.uploads_arn]',
        "sweeper: s3:DeleteObjectVersion",
        "identities.tf",
    ),
    _aws(
        "the sweeper lists all versions",
        'values   = ["${var.prefixes.uploads}gateway-probe*"]',
        'values   = ["*"]',
        "sweeper lists versions of",
        "identities.tf",
    ),
    _aws(
        "everybody becomes the signer",
        "identifiers = statement.value\n      }\n\n      dynamic",
        'identifiers = ["*"]\n      }\n\n      dynamic',
        "arn:aws:iam::999900001111:role/web may",
        "identities.tf",
    ),
    _aws(
        "the sweeper has the signer's trust",
        'trust["sweeper"]',
        'trust["signer"]',
        "arn:aws:iam::111122223333:role/web may",
        "identities.tf",
    ),
    _aws(
        "every subject",
        'test     = "StringEquals"\n        variable = "${statement.value.issuer}:sub"',
        'test     = "StringNotEquals"\n        variable = "${statement.value.issuer}:sub"',
        "federation:",
        "identities.tf",
        "aws-everything",
    ),
    _aws(
        "links from everywhere",
        "length(var.signer.source_cidrs) > 0",
        "false",
        "a link used from",
        "identities.tf",
        "aws-everything",
    ),
    _aws(
        "the key outside S3",
        'variable = "kms:ViaService"\n      values   = ["s3.',
        'variable = "kms:ViaService"\n      values   = ["ec2.',
        "signer: kms:",
        "identities.tf",
        "aws-everything",
    ),
    # Amazon: options
    _aws(
        "no signature at the edge",
        "trusted_key_groups",
        "trusted_signers",
        "CloudFront wants a signature",
        "cloudfront.tf",
        "aws-everything",
    ),
    _aws(
        "http at the edge",
        '"https-only"',
        '"allow-all"',
        "CloudFront wants a signature",
        "cloudfront.tf",
        "aws-everything",
    ),
    _aws(
        "every distribution",
        'variable = "AWS:SourceArn"\n        values   = [statement.value]',
        'variable = "AWS:SourceArn"\n        values   = ["arn:aws:cloudfront::111122223333:distribution/E3EXAMPLE"]',
        "another distribution reads",
        variant="aws-everything",
    ),
    _aws(
        "deletions are copied",
        'delete_marker_replication {\n      status = "Disabled"',
        'delete_marker_replication {\n      status = "Enabled"',
        "copies are encrypted",
        "options.tf",
        "aws-everything",
    ),
    _aws(
        "logs that may be changed",
        "enable_log_file_validation    = true",
        "enable_log_file_validation    = false",
        "every read and write of an object",
        "options.tf",
        "aws-everything",
    ),
    _aws(
        "any header of any origin",
        "allowed_headers = var.cors.allowed_headers",
        'allowed_headers = ["*"]',
        "browsers of the application's origin",
        variant="aws-everything",
    ),
    _aws(
        "any origin",
        "allowed_origins = var.cors.allowed_origins",
        'allowed_origins = ["*"]',
        "browsers of the application's origin",
        variant="aws-everything",
    ),
    _aws(
        "a secret in the settings",
        'provider        = "s3"',
        'provider        = "s3"\n    secret = "s"',
        "settings has its eleven keys",
        "outputs.tf",
    ),
    # Google
    _gcp("public access", '"enforced"', '"inherited"', "public access is prevented"),
    _gcp("ACLs", "uniform_bucket_level_access = true", "uniform_bucket_level_access = false", "public access is"),
    _gcp("no versions", "versioning {\n    enabled = true", "versioning {\n    enabled = false", "deleted and"),
    _gcp("no soft delete", "var.soft_delete_days * local.seconds_per_day", "0", "soft delete keeps everything"),
    _gcp("parts stay", "age = var.lifecycle_days.abort_multipart", "age = 3650", "unfinished multipart uploads"),
    _gcp("the quarantine stays", "= [var.prefixes.quarantine]", '= ["nowhere/"]', "the quarantine is emptied"),
    _gcp("files go with the bucket", "= var.force_destroy", "= true", "destroying the bucket keeps its files"),
    _gcp("any origin", "= cors.value.allowed_origins", '= ["*"]', "browsers of the application's origin"),
    _gcp(
        "the signer deletes",
        '"storage.objects.create",\n',
        '"storage.objects.create",\n      "storage.objects.delete",\n',
        "signer: a deletion or an overwrite",
        "identities.tf",
    ),
    _gcp(
        "the signer is Google's viewer",
        "role   = google_project_iam_custom_role.signer.id",
        'role   = "roles/storage.objectAdmin"',
        "signer: a deletion or an overwrite",
        "identities.tf",
    ),
    _gcp(
        "everybody reads",
        "member = google_service_account.signer.member\n\n  condition",
        'member = "allUsers"\n\n  condition',
        "allUsers: a download",
        "identities.tf",
    ),
    _gcp("the whole bucket", "/objects/${prefix}", "/objects/", "signer: a download from elsewhere", "identities.tf"),
    _gcp(
        "tokens in place of signatures",
        '["iam.serviceAccounts.signBlob"]',
        '["iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.signBlob"]',
        "user:developer@example.com",
        "identities.tf",
        "gcp-everything",
    ),
    _gcp(
        "another key",
        "default_kms_key_name = encryption.value",
        'default_kms_key_name = "k"',
        "files are encrypted with the key",
        variant="gcp-everything",
    ),
    _gcp(
        "probes' rule takes everything",
        '["${var.prefixes.uploads}gateway-probe"]',
        "[var.prefixes.uploads]",
        "uploads go by age only",
    ),
    # Azure
    _azure(
        "plain http",
        "https_traffic_only_enabled        = true",
        "https_traffic_only_enabled        = false",
        "https alone, TLS 1.2",
    ),
    _azure("TLS 1.0", '"TLS1_2"', '"TLS1_0"', "https alone, TLS 1.2"),
    _azure(
        "shared keys",
        "shared_access_key_enabled         = false",
        "shared_access_key_enabled         = true",
        "there are no keys to sign with",
    ),
    _azure(
        "local users",
        "local_user_enabled                = false",
        "local_user_enabled                = true",
        "there are no keys to sign with",
    ),
    _azure(
        "public containers",
        'container_access_type = "private"',
        'container_access_type = "blob"',
        "no container can be public",
    ),
    _azure(
        "containers may be public",
        "allow_nested_items_to_be_public   = false",
        "allow_nested_items_to_be_public   = true",
        "no container can be public",
    ),
    _azure(
        "another tenant",
        "cross_tenant_replication_enabled  = false",
        "cross_tenant_replication_enabled  = true",
        "nothing is copied out",
    ),
    _azure(
        "copies anywhere",
        'allowed_copy_scope                = "AAD"',
        "allowed_copy_scope                = null",
        "nothing is copied out",
    ),
    _azure("long SAS logged alone", '"Block"', '"Log"', "a longer SAS than the longest link"),
    _azure(
        "SAS of a week",
        "expiration_period = local.sas_period",
        'expiration_period = "07.00:00:00"',
        "a longer SAS than the longest link",
    ),
    _azure(
        "encrypted once",
        "infrastructure_encryption_enabled = true",
        "infrastructure_encryption_enabled = false",
        "files are encrypted twice",
    ),
    _azure("no versions", "versioning_enabled = true", "versioning_enabled = false", "earlier versions are kept"),
    _azure(
        "soft delete of a day",
        "days                     = var.soft_delete_days",
        "days                     = 1",
        "deleted files, versions and containers",
    ),
    _azure(
        "permanent deletions",
        "permanent_delete_enabled = false",
        "permanent_delete_enabled = true",
        "deleted files, versions and containers",
    ),
    _azure("any origin", "= sort(cors_rule.value.allowed_origins)", '= ["*"]', "browsers of the application's origin"),
    _azure(
        "the signer overwrites",
        '["${local.blobs}/add/action"]',
        '["${local.blobs}/write"]',
        "signer: a blob overwritten",
        "identities.tf",
    ),
    _azure(
        "the signer deletes",
        '["${local.blobs}/add/action"]',
        '["${local.blobs}/add/action", "${local.blobs}/delete"]',
        "signer: a deletion",
        "identities.tf",
    ),
    _azure("the signer lists", "nobody-lists", "uploads", "signer: a listing", "identities.tf"),
    _azure(
        "the signer contributes to the account",
        '"Storage Blob Delegator"',
        '"Storage Blob Data Contributor"',
        "signer: a deletion",
        "identities.tf",
    ),
    _azure(
        "the sweeper removes versions",
        '["${local.blobs}/delete", "${local.blobs}/read"]',
        '["${local.blobs}/delete", "${local.blobs}/read", "${local.blobs}/deleteBlobVersion/action"]',
        "sweeper: a version deleted",
        "identities.tf",
    ),
    _azure(
        "open to all networks",
        "= var.network.default_action",
        '= "Allow"',
        "nobody comes in but the networks",
        variant="azure-everything",
    ),
    _azure(
        "probes' rule takes everything",
        '"${var.containers.uploads}/uploads/gateway-probe"',
        '"${var.containers.uploads}/"',
        "the doctor's probes are gone after a day",
    ),
)
