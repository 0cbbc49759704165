"""How each store signs: one bucket, one provider, no network, no clock and no idea who is asking.

Must not import Django, the gateway or an SDK.
"""

from __future__ import annotations

from providers.contract import ContractBroken, check_provider
from providers.credentials import AWSCredentials, StaticCredentials
from providers.disposition import clean_filename, content_disposition
from providers.errors import (
    CredentialError,
    CredentialsExpired,
    CredentialsUnavailable,
    InvalidConfiguration,
    InvalidInput,
    InvalidKey,
    InvalidOperation,
    InvalidTTL,
    LinkRefused,
    ProviderError,
    UnsupportedOperation,
)
from providers.keys import check_key, check_prefix
from providers.local import LocalProvider, SecretKey, VerifiedLink
from providers.s3 import S3Provider
from providers.types import (
    Capabilities,
    Checksum,
    Download,
    Operation,
    Provider,
    SignedURL,
    Upload,
    UploadForm,
    UploadPart,
)

__all__ = [
    "AWSCredentials",
    "Capabilities",
    "Checksum",
    "ContractBroken",
    "CredentialError",
    "CredentialsExpired",
    "CredentialsUnavailable",
    "Download",
    "InvalidConfiguration",
    "InvalidInput",
    "InvalidKey",
    "InvalidOperation",
    "InvalidTTL",
    "LinkRefused",
    "LocalProvider",
    "Operation",
    "Provider",
    "ProviderError",
    "S3Provider",
    "SecretKey",
    "SignedURL",
    "StaticCredentials",
    "UnsupportedOperation",
    "Upload",
    "UploadForm",
    "UploadPart",
    "VerifiedLink",
    "check_key",
    "check_prefix",
    "check_provider",
    "clean_filename",
    "content_disposition",
]
