"""How each store signs: one bucket, one provider, no network, no clock and no idea who is asking.

Must not import Django, the gateway or an SDK.
"""

from __future__ import annotations

from providers.aws_credentials import AWSCredentialChain
from providers.azure import AzureCredentials, AzureProvider, SharedKey
from providers.azure_delegation import ManagedIdentity, TokenCredential, UserDelegation
from providers.cloudfront import CloudFrontKey, CloudFrontProvider, SignedCookies
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
from providers.gcs import GCSCredentials, GCSProvider, HMACKey, ServiceAccountKey, ServiceAccountSigner
from providers.google_iam import AccessToken, GoogleCredentials, IAMSigner, MetadataServer, TokenSource
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
    "AWSCredentialChain",
    "AWSCredentials",
    "AccessToken",
    "AzureCredentials",
    "AzureProvider",
    "Capabilities",
    "Checksum",
    "CloudFrontKey",
    "CloudFrontProvider",
    "ContractBroken",
    "CredentialError",
    "CredentialsExpired",
    "CredentialsUnavailable",
    "Download",
    "GCSCredentials",
    "GCSProvider",
    "GoogleCredentials",
    "HMACKey",
    "IAMSigner",
    "InvalidConfiguration",
    "InvalidInput",
    "InvalidKey",
    "InvalidOperation",
    "InvalidTTL",
    "LinkRefused",
    "LocalProvider",
    "ManagedIdentity",
    "MetadataServer",
    "Operation",
    "Provider",
    "ProviderError",
    "S3Provider",
    "SecretKey",
    "ServiceAccountKey",
    "ServiceAccountSigner",
    "SharedKey",
    "SignedCookies",
    "SignedURL",
    "StaticCredentials",
    "TokenCredential",
    "TokenSource",
    "UnsupportedOperation",
    "Upload",
    "UploadForm",
    "UploadPart",
    "UserDelegation",
    "VerifiedLink",
    "check_key",
    "check_prefix",
    "check_provider",
    "clean_filename",
    "content_disposition",
]
