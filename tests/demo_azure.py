"""The demo's two stores on Azurite: one signed for by an account key, one by an identity's user delegation keys.

It must not know the story that is told on them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.emulators.azurite import Azurite, AzuriteOAuth
from tests.emulators.token_endpoints import AzureIdentity


@contextmanager
def azure(directory: Path) -> Iterator[dict[str, Any]]:
    with Azurite() as server:
        print("  the store is azurite, over http; an account key signs")
        yield _storage(server, account_key=server.account_key)


@contextmanager
def azure_delegated(directory: Path) -> Iterator[dict[str, Any]]:
    """The service runs as a managed identity: its token endpoint is a server of its own, as on App Service."""
    header = secrets.token_urlsafe(16)
    with AzuriteOAuth() as server, AzureIdentity(identity_header=header) as identity:
        identity.make_token = server.token
        print("  the store is azurite, over https; a user delegation key of a managed identity signs")
        environment = {
            "IDENTITY_ENDPOINT": f"{identity.url}/msi/token",
            "IDENTITY_HEADER": header,
            "SSL_CERT_FILE": str(server.ca_file),  # for whoever fetches the links
        }
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            yield _storage(server, managed_identity=True, ca_file=str(server.ca_file))
        finally:
            os.environ.clear()
            os.environ.update(before)


def _storage(server: Azurite, **credential: Any) -> dict[str, Any]:
    return {
        "BACKEND": "gateway.storages.PrivateAzureStorage",
        "OPTIONS": {
            "account_name": server.account_name,
            "azure_container": server.create_container("demo"),
            "endpoint_url": server.endpoint_url,
            **credential,
        },
    }
