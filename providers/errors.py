"""Everything a provider can refuse with, one tree with stable codes.

Must not know who was asking or why: that is the gateway's tree::

    ProviderError
    ├── InvalidInput (also ValueError)
    │   ├── InvalidKey            the object key breaks the grammar of providers.keys
    │   ├── InvalidTTL            the lifetime is not whole seconds within the bounds
    │   └── InvalidOperation      another field of the operation is out of bounds
    ├── UnsupportedOperation      this store cannot bind what was asked for
    ├── InvalidConfiguration      the provider was built from values that cannot work
    ├── CredentialError
    │   ├── CredentialsUnavailable    none could be had in time
    │   └── CredentialsExpired        too little life left for a useful link
    └── LinkRefused               a local link that is forged, expired or for something else
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CredentialError",
    "CredentialsExpired",
    "CredentialsUnavailable",
    "InvalidConfiguration",
    "InvalidInput",
    "InvalidKey",
    "InvalidOperation",
    "InvalidTTL",
    "LinkRefused",
    "ProviderError",
    "UnsupportedOperation",
]


class ProviderError(Exception):
    """Base of all errors of a provider; ``code`` is stable and documented."""

    code: ClassVar[str] = "provider_error"


class InvalidInput(ProviderError, ValueError):
    code = "invalid_input"


class InvalidKey(InvalidInput):
    code = "invalid_key"


class InvalidTTL(InvalidInput):
    code = "invalid_ttl"


class InvalidOperation(InvalidInput):
    code = "invalid_operation"


class UnsupportedOperation(ProviderError):
    code = "unsupported_operation"


class InvalidConfiguration(ProviderError):
    code = "invalid_configuration"


class CredentialError(ProviderError):
    code = "credential_error"


class CredentialsUnavailable(CredentialError):
    code = "credentials_unavailable"


class CredentialsExpired(CredentialError):
    code = "credentials_expired"


class LinkRefused(ProviderError):
    """A local link was refused; ``reason`` is for the log, never for the client."""

    code = "link_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
