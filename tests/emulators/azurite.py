"""Azurite, Microsoft's emulator of Blob Storage: checks shared access signatures, their times and permissions.

It must not be what a link is judged by alone: it checks neither IP ranges, nor versions, nor roles, and lets
through what Azure refuses.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from tests.emulators.certificates import certificate
from tests.emulators.process import LOOPBACK, Emulator, Unavailable, free_port

PACKAGES_PATH = Path(__file__).with_name("npm") / "node_modules"
SCRIPT = Path("azurite/dist/src/blob/main.js")


def azurite_command(packages_path: Path = PACKAGES_PATH) -> list[str]:
    """Find Node and the script.

    Raises:
        Unavailable: either is missing.
    """
    node, script = shutil.which("node"), packages_path / SCRIPT
    missing = [name for name, found in {"node": node, "azurite": script.is_file()}.items() if not found]
    if node is None or missing:
        raise Unavailable(Azurite.name, missing, remedy="make node-packages")
    return [node, str(script)]


class Azurite(Emulator):
    """Run the blob service for one account that no other server knows, over plain http.

    Attributes:
        account_name: the account.
        account_key: base64.
        endpoint_url: of the account: ``http://127.0.0.1:<port>/<account>``.
    """

    name = "azurite"

    account_name: str
    account_key: str
    endpoint_url: str
    ca_file: Path | None = None

    def client(self, **options: Any) -> BlobServiceClient:
        """Make a client that may do everything and does nothing twice."""
        credential = {"account_name": self.account_name, "account_key": self.account_key}
        verify: Any = True if self.ca_file is None else str(self.ca_file)
        given = {"credential": credential, "retry_total": 0, "connection_verify": verify} | options
        return BlobServiceClient(self.endpoint_url, **given)

    def create_container(self, name: str) -> str:
        """Create a private container and return its name."""
        with self.client() as client:
            client.create_container(name)
        return name

    def _check_installed(self) -> None:
        azurite_command()

    def _start(self) -> None:
        self._port = free_port()
        self.account_name = f"account{secrets.token_hex(6)}"
        self.account_key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.endpoint_url = f"{self._scheme()}://{LOOPBACK}:{self._port}/{self.account_name}"
        self.spawn(
            self.name,
            [
                *azurite_command(), "--blobHost", LOOPBACK, "--blobPort", str(self._port), "--inMemoryPersistence",
                "--disableTelemetry", "--silent",
                "--skipApiVersionCheck",  # it would refuse the versions of the current SDK
                *self._arguments(),
            ],
            extra_environment={"AZURITE_ACCOUNTS": f"{self.account_name}:{self.account_key}"},
        )  # fmt: skip
        with self.client() as client:
            self.wait_until(lambda: _answers(client), what="the blob service")

    def _scheme(self) -> str:
        return "http"

    def _arguments(self) -> list[str]:
        return []


class AzuriteOAuth(Azurite):
    """Run it over https, where it takes tokens too, and hands out user delegation keys for them.

    Attributes:
        ca_file: the certificate to trust.
        tenant_id: of the identity that :meth:`token` speaks for.
        object_id: the identity.
    """

    name = "azurite_oauth"

    ca_file: Path
    tenant_id: str
    object_id: str

    def token(self, *, life_seconds: int = 3600, audience: str = "https://storage.azure.com") -> str:
        """Make an access token; its claims are checked, its signature is not."""
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self.tenant_id}/",
            "nbf": now - 300,
            "iat": now - 300,
            "exp": now + life_seconds,
            "oid": self.object_id,
            "tid": self.tenant_id,
        }
        header = {"typ": "JWT", "alg": "RS256", "kid": "none"}
        parts = [json.dumps(part).encode() for part in (header, claims)] + [b"no signature"]
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

    def credential(self) -> Identity:
        """Return what azure-identity's credentials are like, for an identity of this server."""
        return Identity(self)

    def _start(self) -> None:
        self.ca_file = certificate(self.directory)
        self.tenant_id, self.object_id = str(uuid.uuid4()), str(uuid.uuid4())
        super()._start()

    def _scheme(self) -> str:
        return "https"

    def _arguments(self) -> list[str]:
        return ["--oauth", "basic", "--cert", str(self.ca_file), "--key", str(self.ca_file)]


class Identity:
    """A TokenCredential, which counts what it is asked for."""

    def __init__(self, server: AzuriteOAuth) -> None:
        self._server = server
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes.extend(scopes)
        return AccessToken(self._server.token(), int(time.time()) + 3600)


def _answers(client: BlobServiceClient) -> bool:
    try:
        client.get_service_properties()
    except AzureError:
        return False
    return True
