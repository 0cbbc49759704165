"""Who may do what with the bucket of ``aws-s3``: the table that its planned policies have to answer.

One row is one request: who, which call of S3, on what, how signed, over which transport. A row's verdict is
written down here and never computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.terraform.aws_policies import NotJudged, Request, allows
from tests.terraform.commands import Applied
from tests.terraform.variants import CRON, WEB

BUCKET = "arn:aws:s3:::acme-files"
SIGNER = "arn:aws:iam::111122223333:role/acme-files-signer"
SWEEPER = "arn:aws:iam::111122223333:role/acme-files-sweeper"
DISTRIBUTION = "arn:aws:cloudfront::111122223333:distribution/E2EXAMPLE"
OUTSIDE = "198.51.100.7"  # in none of the networks of any variant
INSIDE = "203.0.113.9"

ADMINISTRATOR = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'

# What each call of the SDK asks IAM for: (action, on the object or the bucket, more context).
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_CREATES = {"s3:objectcreationoperation": "true"}
_ONE_OF_PARTS = {"s3:objectcreationoperation": "false"}
_NEW = _CREATES | {"s3:if-none-match": "*"}
CALLS: dict[str, tuple[tuple[str, str, dict[str, str]], ...]] = {
    "AbortMultipartUpload": (("s3:AbortMultipartUpload", "object", {}),),
    "CompleteMultipartUpload": (("s3:PutObject", "object", _NEW),),
    "CopyObject": (("s3:GetObject", "staged", {}), ("s3:PutObject", "object", _NEW)),
    "CreateMultipartUpload": (("s3:PutObject", "object", _ONE_OF_PARTS),),
    "DeleteObject": (("s3:DeleteObject", "object", {}),),
    "GetObject": (("s3:GetObject", "object", {}),),
    "GetObject of a version": (("s3:GetObjectVersion", "object", {}),),
    "GetObjectAttributes": (("s3:GetObjectAttributes", "object", {}), ("s3:GetObject", "object", {})),
    "HeadObject": (("s3:GetObject", "object", {}),),
    "HeadObject of a version": (("s3:GetObjectVersion", "object", {}),),
    "ListMultipartUploads": (("s3:ListBucketMultipartUploads", "bucket", {}),),
    "ListObjectVersions": (("s3:ListBucketVersions", "bucket", {"s3:prefix": "uploads/gateway-probe/a"}),),
    "ListObjects": (("s3:ListBucket", "bucket", {"s3:prefix": ""}),),
    "ListObjectsV2": (("s3:ListBucket", "bucket", {"s3:prefix": ""}),),
    "ListParts": (("s3:ListMultipartUploadParts", "object", {}),),
    "PutObject": (("s3:PutObject", "object", _NEW),),
    "UploadPart": (("s3:PutObject", "object", _ONE_OF_PARTS),),
}

# How a request reaches S3, as the SDK sends it. A row may say otherwise.
_HEADER_SIGNED = {
    "aws:securetransport": "true",
    "aws:sourceip": INSIDE,
    "s3:authtype": "REST-HEADER",
    "s3:signatureage": "200",
    "s3:signatureversion": "AWS4-HMAC-SHA256",
    "s3:tlsversion": "1.3",
}
_UNSIGNED = {name: _HEADER_SIGNED[name] for name in ("aws:securetransport", "aws:sourceip", "s3:tlsversion")}
LINK = {"s3:authtype": "REST-QUERY-STRING", "s3:signatureage": "60000"}
FORM = {"s3:authtype": "POST", "s3:signatureage": "60000"}
SIGV2 = {"s3:signatureversion": "AWS", "s3:signatureage": "0"}


@dataclass(frozen=True)
class Row:
    """One request and its verdict.

    Args:
        id: says what is tried.
        who: signer, sweeper, administrator, anonymous, stranger or cloudfront.
        call: a key of :data:`CALLS`, or an action of S3.
        allowed: the verdict.
        key: the object's; what the action is on where it has none is the bucket.
        how: condition keys that differ from a call of the SDK over TLS 1.3, None takes one away.
    """

    id: str
    who: str
    call: str
    allowed: bool
    key: str = "uploads/2026/11/abc/report.pdf"
    how: Mapping[str, str | None] = field(default_factory=dict)


def _rows(ttl_seconds: int) -> Iterator[Row]:
    fresh, stale = str(ttl_seconds * 1000), str(ttl_seconds * 1000 + 1)

    # Everything that the code calls, as the identity that calls it.
    for call in sorted(CALLS):
        may_sign = call not in (
            "DeleteObject",
            "ListMultipartUploads",
            "ListObjectVersions",
            "ListObjects",
            "ListObjectsV2",
        )
        yield Row(f"signer: {call}", "signer", call, may_sign)
    for call in (
        "AbortMultipartUpload",
        "DeleteObject",
        "GetObject",
        "HeadObject",
        "ListMultipartUploads",
        "ListObjectVersions",
        "ListObjects",
        "ListObjectsV2",
        "ListParts",
    ):
        yield Row(f"sweeper: {call}", "sweeper", call, True)
    for call in ("CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload", "PutObject", "UploadPart"):
        yield Row(f"sweeper creates nothing: {call}", "sweeper", call, False)

    # Links and forms.
    yield Row("fresh download link", "signer", "GetObject", True, how=LINK)
    yield Row("fresh link to a version", "signer", "GetObject of a version", True, how=LINK)
    yield Row("fresh upload link", "signer", "PutObject", True, how=LINK)
    yield Row("fresh link to a part", "signer", "UploadPart", True, how=LINK)
    yield Row("link as old as the maximum", "signer", "GetObject", True, how=LINK | {"s3:signatureage": fresh})
    yield Row("link a millisecond older", "signer", "GetObject", False, how=LINK | {"s3:signatureage": stale})
    yield Row("upload link too old", "signer", "PutObject", False, how=LINK | {"s3:signatureage": stale})
    yield Row("part link too old", "signer", "UploadPart", False, how=LINK | {"s3:signatureage": stale})
    week = LINK | {"s3:signatureage": "604800000"}
    yield Row("administrator's link of a week", "administrator", "GetObject", False, how=week)
    yield Row("listing by a stale link", "administrator", "ListObjectsV2", False, how=week)
    form = FORM | {"s3:if-none-match": None}
    yield Row("form into the quarantine", "signer", "PutObject", True, key="staging/a", how=form)
    yield Row("form into the uploads", "signer", "PutObject", False, how=form)
    old_form = form | {"s3:signatureage": stale}
    yield Row("stale form", "signer", "PutObject", False, key="staging/a", how=old_form)
    yield Row("administrator's stale form", "administrator", "PutObject", False, key="staging/a", how=old_form)
    yield Row("long call with headers", "signer", "HeadObject", True, how={"s3:signatureage": stale})

    # Signatures.
    yield Row("SigV2 link", "signer", "GetObject", False, how=LINK | SIGV2)
    yield Row("SigV2 header", "signer", "GetObject", False, how=SIGV2)
    yield Row("administrator's SigV2 link", "administrator", "GetObject", False, how=LINK | SIGV2)
    yield Row("administrator's SigV2 upload", "administrator", "PutObject", False, how=SIGV2)
    other = {"s3:signatureversion": "AWS4-ECDSA-P256-SHA256"}
    yield Row("other signature", "administrator", "GetObject", False, how=other)

    # Transport.
    plain = {"aws:securetransport": "false", "s3:tlsversion": None}
    for call in ("GetObject", "HeadObject", "ListObjectsV2", "PutObject"):
        yield Row(f"plain http: {call}", "administrator", call, False, how=plain)
    yield Row("plain http link", "signer", "GetObject", False, how=LINK | plain)
    for version in ("1.0", "1.1"):
        yield Row(f"TLS {version}", "administrator", "GetObject", False, how={"s3:tlsversion": version})
    yield Row("TLS 1.2", "signer", "GetObject", True, how={"s3:tlsversion": "1.2"})

    # Overwriting: nothing that is there is written over, by nobody.
    rewrite: dict[str, str | None] = {"s3:if-none-match": None}
    for call in ("CompleteMultipartUpload", "CopyObject", "PutObject"):
        yield Row(f"signer overwrites: {call}", "signer", call, False, how=rewrite)
    yield Row("administrator overwrites", "administrator", "PutObject", False, how=rewrite)
    yield Row("link that overwrites", "signer", "PutObject", False, how=LINK | rewrite)

    # Outside the prefixes.
    for key in ("report.pdf", "uploads", "uploads2/a", "other/a", "stagingx/a", ".well-known/a"):
        yield Row(f"signer reads {key}", "signer", "GetObject", False, key=key)
        yield Row(f"signer creates {key}", "signer", "PutObject", False, key=key)
        yield Row(f"sweeper deletes {key}", "sweeper", "DeleteObject", False, key=key)
    yield Row("signer reads the quarantine", "signer", "GetObject", True, key="staging/a")
    yield Row("sweeper empties the quarantine", "sweeper", "DeleteObject", True, key="staging/a")

    # What neither needs.
    for action in (
        "s3:BypassGovernanceRetention",
        "s3:DeleteObjectVersion",
        "s3:GetObjectAcl",
        "s3:GetObjectTagging",
        "s3:PutObjectAcl",
        "s3:PutObjectRetention",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionAcl",
        "s3:RestoreObject",
    ):
        yield Row(f"signer: {action}", "signer", action, False)
        yield Row(f"sweeper: {action}", "sweeper", action, False)
    for action in (
        "s3:DeleteBucket",
        "s3:DeleteBucketPolicy",
        "s3:GetBucketPolicy",
        "s3:PutBucketCORS",
        "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
    ):
        yield Row(f"signer: {action} of the bucket", "signer", action, False, key="")
        yield Row(f"sweeper: {action} of the bucket", "sweeper", action, False, key="")
    # Rows are compared with everything in the bucket; versions are listed of the doctor's own probes alone.
    for prefix in ("", "other/", "uploads/", "uploads/gateway"):
        foreign = {"s3:prefix": prefix}
        yield Row(f"signer lists {prefix!r}", "signer", "s3:ListBucket", False, key="", how=foreign)
        yield Row(f"sweeper lists {prefix!r}", "sweeper", "s3:ListBucket", True, key="", how=foreign)
        yield Row(
            f"sweeper lists versions of {prefix!r}", "sweeper", "s3:ListBucketVersions", False, key="", how=foreign
        )
    probe = "uploads/gateway-probe/abc"
    yield Row("sweeper removes a probe's version", "sweeper", "s3:DeleteObjectVersion", True, key=probe)
    yield Row("signer removes a probe's version", "signer", "s3:DeleteObjectVersion", False, key=probe)

    # Keys of the client's own.
    own_key = {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}
    yield Row("administrator encrypts with a key of their own", "administrator", "PutObject", False, how=own_key)

    # Everybody else.
    for who in ("anonymous", "stranger"):
        for call in ("DeleteObject", "GetObject", "GetObject of a version", "ListObjectsV2", "PutObject"):
            yield Row(f"{who}: {call}", who, call, False)
        yield Row(f"{who}: reads the quarantine", who, "GetObject", False, key="staging/a")
    yield Row("administrator reads", "administrator", "GetObject", True)
    yield Row("administrator restores", "administrator", "s3:DeleteObjectVersion", True)
    yield Row("administrator changes the policy", "administrator", "s3:PutBucketPolicy", True, key="")


def rows(ttl_seconds: int) -> list[Row]:
    """Return the table for a maximum ttl."""
    return list(_rows(ttl_seconds))


def wrong(applied: Applied) -> list[str]:
    """Return the rows that the policies of one bucket answer otherwise, each as a sentence."""
    found = []
    for row in rows(applied.outputs["settings"]["max_ttl_seconds"]):
        try:
            allowed = decide(applied, row)
        except (LookupError, NotJudged) as error:
            found.append(f"{row.id}: not judged: {error}")
            continue
        if allowed != row.allowed:
            found.append(f"{row.id}: {'allowed' if allowed else 'denied'}")
    return found


def decide(applied: Applied, row: Row) -> bool:
    """Tell whether every request that a call consists of is allowed."""
    bucket_policies = [policy["policy"] for policy in applied.all("aws_s3_bucket_policy", "this")]
    named = [row.call, "object" if row.key else "bucket", {}]
    parts: Any = CALLS.get(row.call, (named,))
    return all(
        allows(
            _request(row, action, where, context),
            identity_policies=_identity_policies(applied, row.who),
            resource_policies=bucket_policies,
        )
        for action, where, context in parts
    )


def _request(row: Row, action: str, where: str, context: Mapping[str, str]) -> Request:
    principals = {
        "administrator": "arn:aws:iam::111122223333:role/administrator",
        "anonymous": "anonymous",
        "cloudfront": "cloudfront.amazonaws.com",
        "signer": SIGNER,
        "stranger": "arn:aws:iam::999900001111:role/administrator",
        "sweeper": SWEEPER,
    }
    keys = {"bucket": BUCKET, "object": f"{BUCKET}/{row.key}", "staged": f"{BUCKET}/staging/a"}
    base = _UNSIGNED if row.who == "anonymous" else _HEADER_SIGNED
    # What the row says of creating goes for the part of the call that creates.
    how = {
        name: value for name, value in row.how.items() if name != "s3:if-none-match" or "s3:if-none-match" in context
    }
    merged = {name: value for name, value in {**base, **context, **how}.items() if value is not None}
    return Request(principals[row.who], action, keys[where], merged, is_same_account=row.who not in ("stranger",))


def _identity_policies(applied: Applied, who: str) -> list[str]:
    if who in ("administrator", "stranger"):
        return [ADMINISTRATOR]
    if who not in ("signer", "sweeper"):
        return []
    role = applied.one("aws_iam_role", who)["name"]
    return [policy["policy"] for policy in applied.all("aws_iam_role_policy") if policy["role"] == role]


def wrong_key_use(applied: Applied) -> list[str]:
    """Return what the roles may do with the bucket's key and should not, or the other way round."""
    through_s3 = {"kms:viaservice": "s3.eu-west-1.amazonaws.com"}
    key = applied.outputs["settings"]["encryption"]["key"]
    table = [
        ("signer", "kms:Decrypt", through_s3, True),
        ("signer", "kms:GenerateDataKey", through_s3, True),
        ("signer", "kms:Decrypt", {}, False),
        ("signer", "kms:GenerateDataKey", {"kms:viaservice": "ec2.eu-west-1.amazonaws.com"}, False),
        ("signer", "kms:ScheduleKeyDeletion", through_s3, False),
        ("sweeper", "kms:Decrypt", through_s3, True),
        ("sweeper", "kms:GenerateDataKey", through_s3, False),
        ("sweeper", "kms:Decrypt", {}, False),
    ]
    found = []
    for who, action, context, expected in table:
        request = Request(SIGNER if who == "signer" else SWEEPER, action, key, context)
        if allows(request, identity_policies=_identity_policies(applied, who)) != expected:
            found.append(f"{who}: {action} with {context or 'nothing'}: {'denied' if expected else 'allowed'}")
    return found


def wrong_encryption(applied: Applied) -> list[str]:
    """Return the uploads that a bucket with a key of its own takes and should not, or the other way round."""
    key = applied.outputs["settings"]["encryption"]["key"]
    algorithm, key_id = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    table: list[tuple[str, dict[str, str | None], bool]] = [
        ("says nothing of encryption", {}, True),
        ("names the bucket's key", {algorithm: "aws:kms", key_id: key}, True),
        ("names another key", {algorithm: "aws:kms", key_id: f"{key}0"}, False),
        ("asks for S3's own key", {algorithm: "AES256"}, False),
    ]
    rows = [Row(f"upload that {what}", "signer", "PutObject", expected, how=how) for what, how, expected in table]
    return [row.id for row in rows if decide(applied, row) != row.allowed]


def wrong_trust(applied: Applied) -> list[str]:
    """Return who may become one of the roles and should not, or the other way round."""
    table = [
        ("signer", WEB, True),
        ("signer", CRON, False),
        ("signer", "arn:aws:iam::111122223333:role/other", False),
        ("signer", "arn:aws:iam::999900001111:role/web", False),
        ("signer", "anonymous", False),
        ("signer", "lambda.amazonaws.com", False),
        ("sweeper", CRON, True),
        ("sweeper", WEB, False),
        ("sweeper", SIGNER, False),
        ("sweeper", "anonymous", False),
    ]
    found = []
    for role, principal, expected in table:
        trust = applied.one("aws_iam_role", role)["assume_role_policy"]
        request = Request(principal, "sts:AssumeRole", "*", {"sts:externalid": "acme"})
        if allows(request, identity_policies=(), resource_policies=[trust]) != expected:
            found.append(f"{principal} may {'not ' if expected else ''}become the {role}")
    return found


def wrong_federation(applied: Applied) -> list[str]:
    """Return the tokens that make a signer and should not, or the other way round; and links from elsewhere."""
    provider = "arn:aws:iam::111122223333:oidc-provider/token.example.com"
    subject, audience = "token.example.com:sub", "token.example.com:aud"
    right = {subject: "system:serviceaccount:files:web", audience: "sts.amazonaws.com"}
    table: list[tuple[str, dict[str, str], bool]] = [
        ("the right token", right, True),
        ("another subject", right | {subject: "system:serviceaccount:files:cron"}, False),
        ("another audience", right | {audience: "somebody"}, False),
        ("no subject", {audience: "sts.amazonaws.com"}, False),
    ]
    trust = applied.one("aws_iam_role", "signer")["assume_role_policy"]
    found = [
        f"federation: {what}"
        for what, context, expected in table
        if allows(
            Request(provider, "sts:AssumeRoleWithWebIdentity", "*", context),
            identity_policies=(),
            resource_policies=[trust],
        )
        != expected
    ]
    without_id = Request(WEB, "sts:AssumeRole", "*", {})
    if allows(without_id, identity_policies=(), resource_policies=[trust]):
        found.append("the signer is had without the external id")
    for address, expected in ((INSIDE, True), (OUTSIDE, False)):
        row = Row("link", "signer", "GetObject", expected, how=LINK | {"aws:sourceip": address})
        if decide(applied, row) != expected:
            found.append(f"a link used from {address}")
    return found


def wrong_distribution(applied: Applied) -> list[str]:
    """Return what CloudFront may do and should not, or the other way round."""
    ours: dict[str, str | None] = {"aws:sourcearn": DISTRIBUTION}
    other: dict[str, str | None] = {"aws:sourcearn": DISTRIBUTION.replace("E2", "E3")}
    table = [
        Row("distribution reads", "cloudfront", "GetObject", True, how=ours),
        Row("distribution reads a version", "cloudfront", "GetObject of a version", True, how=ours),
        Row("distribution reads the quarantine", "cloudfront", "GetObject", False, key="staging/a", how=ours),
        Row("distribution lists", "cloudfront", "ListObjectsV2", False, how=ours),
        Row("distribution writes", "cloudfront", "PutObject", False, how=ours),
        Row("another distribution reads", "cloudfront", "GetObject", False, how=other),
        Row("no distribution reads", "cloudfront", "GetObject", False),
    ]
    return [row.id for row in table if decide(applied, row) != row.allowed]
