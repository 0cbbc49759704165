"""The modules with variables that between them use every option, for whatever looks at the result.

Must hold nothing that a plan would refuse.
"""

from __future__ import annotations

from typing import Any

_KEY = "arn:aws:kms:eu-west-1:111122223333:key/11111111-1111-1111-1111-111111111111"
_KEY_THERE = "arn:aws:kms:eu-central-1:111122223333:key/22222222-2222-2222-2222-222222222222"
_PEM = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----\n"
ORIGIN = "https://app.example.com"
WEB = "arn:aws:iam::111122223333:role/web"
CRON = "arn:aws:iam::111122223333:role/cron"

_AWS: dict[str, Any] = {
    "name": "acme-files",
    "signer": {"trusted_principal_arns": [WEB]},
    "sweeper": {"trusted_principal_arns": [CRON]},
}
_GCP: dict[str, Any] = {"name": "acme-files", "project_id": "acme-prod", "location": "europe-west1"}
_AZURE: dict[str, Any] = {"name": "acmefiles", "resource_group_name": "acme", "location": "westeurope"}

# Name of the variant: (module, variables).
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "aws": ("aws-s3", _AWS | {"cors": {"allowed_origins": [ORIGIN]}}),
    "aws-everything": (
        "aws-s3",
        _AWS
        | {
            "cors": {"allowed_origins": [ORIGIN]},
            "max_presign_ttl_seconds": 600,
            "signer": {
                "trusted_principal_arns": [WEB],
                "trusted_services": ["ecs-tasks.amazonaws.com"],
                "external_id": "acme",
                "permissions_boundary_arn": "arn:aws:iam::111122223333:policy/boundary",
                "source_cidrs": ["203.0.113.0/24"],
                "oidc": {
                    "provider_arn": "arn:aws:iam::111122223333:oidc-provider/token.example.com",
                    "issuer": "token.example.com",
                    "subjects": ["system:serviceaccount:files:web"],
                },
            },
            "encryption": {"mode": "sse-kms", "kms_key": {"arn": _KEY}},
            "lifecycle_days": {"expire_uploads": 400},
            "access_log": {"bucket": "acme-logs"},
            "data_events": {"trail_bucket": "acme-logs", "trail_prefix": "trail", "kms_key_arn": _KEY},
            "event_queue": {"arn": "arn:aws:sqs:eu-west-1:111122223333:created"},
            "replication": {"bucket_arn": "arn:aws:s3:::acme-files-copy", "kms_key_arn": _KEY_THERE},
            "cloudfront": {
                "public_keys": {"first": _PEM},
                "aliases": ["cdn.example.com"],
                "acm_certificate_arn": "arn:aws:acm:us-east-1:111122223333:certificate/1111-2222",
                "web_acl_arn": "arn:aws:wafv2:us-east-1:111122223333:global/webacl/acme/1111-2222",
            },
        },
    ),
    "aws-own-key": ("aws-s3", _AWS | {"encryption": {"mode": "sse-kms"}}),
    "aws-downloads-alone": ("aws-s3", _AWS | {"signer": {"trusted_principal_arns": [WEB], "allow": ["download"]}}),
    "gcp": ("gcp-gcs", _GCP | {"cors": {"allowed_origins": [ORIGIN]}}),
    "gcp-everything": (
        "gcp-gcs",
        _GCP
        | {
            "location": "EUR4",
            "cors": {"allowed_origins": [ORIGIN]},
            "signer": {
                "sign_blob_members": {"developer": "user:developer@example.com"},
                "workload_identity_users": {"web": "serviceAccount:acme-prod.svc.id.goog[files/web]"},
                "hmac_key": True,
            },
            "sweeper": {"workload_identity_users": {"cron": "serviceAccount:acme-prod.svc.id.goog[files/cron]"}},
            "encryption": {"kms_key": {"name": "projects/acme-prod/locations/eur4/keyRings/r/cryptoKeys/k"}},
            "lifecycle_days": {"expire_uploads": 400},
            "access_log_bucket": "acme-logs",
            "event_topic": {"id": "projects/acme-prod/topics/created"},
        },
    ),
    "azure": ("azure-blob", _AZURE | {"cors": {"allowed_origins": [ORIGIN]}}),
    "azure-everything": (
        "azure-blob",
        _AZURE
        | {
            "cors": {"allowed_origins": [ORIGIN]},
            "replication": "GZRS",
            "lifecycle_days": {"expire_uploads": 400},
            "signer": {"identity": {"principal_id": "11111111-1111-1111-1111-111111111111"}},
            "sweeper": {"identity": {"principal_id": "22222222-2222-2222-2222-222222222222"}},
            "customer_managed_key": {
                "key_vault_key_id": "https://acme.vault.azure.net/keys/files",
                "user_assigned_identity_id": "/subscriptions/s/identities/vault",
            },
            "network": {
                "default_action": "Deny",
                "ip_rules": ["203.0.113.9"],
                "subnet_ids": ["/subscriptions/s/resourceGroups/g/providers/M/virtualNetworks/n/subnets/web"],
                "bypass": ["None"],
            },
            "diagnostics": {"storage_account_id": "/subscriptions/s/storageAccounts/logs"},
            "event_queue": {"id": "/subscriptions/s/providers/Microsoft.ServiceBus/namespaces/n/queues/q"},
        },
    ),
}
