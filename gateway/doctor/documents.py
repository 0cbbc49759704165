"""The documents that mend a bucket of S3 or Cloud Storage, ready to be put there.

Must say what the Terraform modules say: a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

__all__ = [
    "bucket_policy",
    "cors",
    "encryption",
    "google_cors",
    "google_lifecycle",
    "lifecycle",
    "public_access_block",
    "signer_policy",
    "versioning",
]

Document = dict[str, Any]

_VERSION = "2012-10-17"


def bucket_policy(bucket: str, max_ttl: timedelta) -> Document:
    """Return a policy that denies plain http, old TLS, SigV2, old links and forms, and overwriting."""
    arn = f"arn:aws:s3:::{bucket}"
    everything = [f"{arn}/*", arn]
    age = {"NumericGreaterThan": {"s3:signatureAge": str(int(max_ttl.total_seconds()) * 1000)}}
    return {
        "Version": _VERSION,
        "Statement": [
            _deny("DenyInsecureTransport", "s3:*", everything, {"Bool": {"aws:SecureTransport": "false"}}),
            _deny("DenyOldTls", "s3:*", everything, {"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
            _deny(
                "DenyOtherSignatures",
                "s3:*",
                everything,
                {
                    "StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"},
                    "Null": {"s3:signatureversion": "false"},
                },
            ),
            _deny("DenyStaleUrl", "s3:*", everything, {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}} | age),
            _deny("DenyStalePost", "s3:*", everything, {"StringEquals": {"s3:authType": "POST"}} | age),
            _deny(
                "DenyOverwrite",
                "s3:PutObject",
                f"{arn}/uploads/*",
                {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
            ),
            _deny(
                "DenyCustomerKeys",
                "s3:PutObject",
                f"{arn}/*",
                {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
            ),
        ],
    }


def signer_policy(bucket: str) -> Document:
    """Return what the identity that signs may do: read and create below the prefixes, nothing else."""
    where = [f"arn:aws:s3:::{bucket}/{prefix}*" for prefix in ("uploads/", "staging/")]
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Sid": "Download",
                "Effect": "Allow",
                "Action": [
                    "s3:GetObjectVersionAttributes",
                    "s3:GetObjectVersion",
                    "s3:GetObjectAttributes",
                    "s3:GetObject",
                ],
                "Resource": where,
            },
            {
                "Sid": "Upload",
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"],
                "Resource": where,
            },
        ],
    }


def cors(origins: Sequence[str], methods: Sequence[str], headers: Sequence[str]) -> Document:
    """Return a configuration for ``put-bucket-cors``."""
    return {
        "CORSRules": [
            {
                "AllowedOrigins": list(origins),
                "AllowedMethods": list(methods),
                "AllowedHeaders": list(headers),
                "ExposeHeaders": ["Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "x-amz-version-id"],
                "MaxAgeSeconds": 3600,
            }
        ]
    }


def lifecycle() -> Document:
    """Return a configuration for ``put-bucket-lifecycle-configuration``."""
    return {
        "Rules": [
            {
                "ID": "abort-multipart",
                "Status": "Enabled",
                "Filter": {},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            },
            {
                "ID": "expire-noncurrent",
                "Status": "Enabled",
                "Filter": {"Prefix": "uploads/"},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
            },
            {
                "ID": "expire-probes",
                "Status": "Enabled",
                "Filter": {"Prefix": "uploads/gateway-probe"},
                "Expiration": {"Days": 1},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            },
        ]
    }


def google_cors(origins: Sequence[str], methods: Sequence[str], headers: Sequence[str]) -> list[Document]:
    """Return what ``gcloud storage buckets update --cors-file`` reads; headers are both allowed and shown."""
    shown = {"Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "x-goog-generation"}
    return [
        {
            "origin": list(origins),
            "method": list(methods),
            "responseHeader": sorted({*headers, *shown}),
            "maxAgeSeconds": 3600,
        }
    ]


def google_lifecycle() -> Document:
    """Return what ``gcloud storage buckets update --lifecycle-file`` reads."""
    return {
        "rule": [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}},
            {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30, "isLive": False}},
            {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["uploads/gateway-probe"]}},
        ]
    }


def versioning() -> Document:
    return {"Status": "Enabled"}


def encryption() -> Document:
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


def public_access_block() -> Document:
    return dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


def _deny(sid: str, action: str, resource: Any, condition: Mapping[str, Any]) -> Document:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Action": action,
        "Resource": resource,
        "Principal": "*",
        "Condition": dict(condition),
    }
