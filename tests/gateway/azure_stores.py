"""Azurite for the suite of fetched links: one adapter for an account key, one for user delegation keys.

It must not sign. Every link is judged by the verifier, too, since Azurite is laxer than Azure.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from azure.core.exceptions import ResourceNotFoundError
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from providers.types import SignedURL
from tests.emulators.azurite import Azurite, AzuriteOAuth
from tests.emulators.certificates import client_context
from tests.emulators.s3 import Response, send
from tests.gateway.delivery.support import follow
from tests.gateway.link_stores import Store
from tests.verifiers.sas import Account, DelegationKey, verify_sas

RELAY = "/relay/"
# A SAS binds neither of these; see docs/azure.md.
LACKS = frozenset({"method", "size", "type", "checksum", "link id", "the last bytes", "412"})


@contextmanager
def keeping_connections() -> Iterator[None]:
    """Let requests leave the test's connection to the database open, which is in the midst of a transaction."""
    ended = [end for end in (request_started, request_finished) if end.disconnect(close_old_connections)]
    try:
        yield
    finally:
        for end in ended:
            end.connect(close_old_connections)


class AzureStore(Store):
    """A container of Azurite, with a location, signed for by the account key."""

    LOCATION = "tenant 1/files"
    backend = "gateway.storages.PrivateAzureStorage"
    signature = "sig"
    expiry = "se"
    lacks = LACKS

    def __init__(self, alias: str, server: Azurite) -> None:
        self.alias = alias
        self.emulator = server.name
        self.server = server
        self.container = server.create_container(f"links-{secrets.token_hex(6)}")
        self.client = server.client()
        self.options: dict[str, Any] = {
            "account_name": server.account_name,
            "azure_container": self.container,
            "endpoint_url": server.endpoint_url,
            "location": self.LOCATION,
            **self.credential(),
        }

    def credential(self) -> dict[str, Any]:
        return {"account_key": self.server.account_key}

    def account(self, link: SignedURL) -> Account:
        """What the service knows."""
        return Account(self.server.account_name, self.server.endpoint_url, keys=(self.server.account_key,))

    def blob(self, key: str) -> Any:
        return self.client.get_blob_client(self.container, f"{self.LOCATION}/{key}")

    def put(self, key: str, content: bytes) -> None:
        self.blob(key).upload_blob(content, overwrite=True)

    def get(self, key: str) -> tuple[bytes, str] | None:
        try:
            loader = self.blob(key).download_blob()
        except ResourceNotFoundError:
            return None
        return loader.readall(), loader.properties.content_settings.content_type

    def send(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        if urlsplit(url).path.startswith(RELAY):
            # The gateway itself, with the test's own connection to the database.
            sent = {"Content-Length": str(len(body or b""))} | dict(headers or {})
            with keeping_connections():
                answer = follow("wsgi", url, method=method, headers=sent, body=body or b"")
            return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.body)
        return send(url, method=method, headers=headers, body=body, tls=self.tls())

    def tls(self) -> Any:
        return None

    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        verified = verify_sas(
            method=link.method, url=link.url, headers=link.headers, account=self.account(link), now=datetime.now(UTC)
        )
        assert verified.container == self.container
        assert verified.blob.startswith(f"{self.LOCATION}/")
        assert verified.permissions in ("r", "c", "w")
        assert verified.expires_at == link.expires_at

    def stretched(self, url: str) -> str:
        end = re.search(r"[?&]se=([^&]+)", url)
        assert end is not None
        later = datetime.fromisoformat(unquote(end[1])) + timedelta(minutes=10)
        return url.replace(end[1], quote(f"{later:%Y-%m-%dT%H:%M:%SZ}"))

    def unsigned(self, name: str) -> str:
        return {
            "response-content-type": "rscl", "response-cache-control": "rscc", "content-type": "rsce", "x": "si",
        }[name]  # fmt: skip

    def close(self) -> None:
        self.client.close()


class DelegatedAzureStore(AzureStore):
    """The same over https, signed for by the user delegation keys of an identity."""

    server: AzuriteOAuth

    def credential(self) -> dict[str, Any]:
        return {"token_credential": self.server.credential(), "ca_file": str(self.server.ca_file)}

    def account(self, link: SignedURL) -> Account:
        # The server makes the same key of the same times again: this one was fetched by the SDK.
        query = dict(parse_qsl(urlsplit(link.url).query))
        start, end = (datetime.fromisoformat(query[name]) for name in ("skt", "ske"))
        with self.server.client(credential=self.server.credential()) as client:
            key = client.get_user_delegation_key(start, end)
        fields = (
            key.signed_oid, key.signed_tid, key.signed_start, key.signed_expiry, key.signed_service,
            key.signed_version, key.value,
        )  # fmt: skip
        assert all(isinstance(field, str) for field in fields)
        issued = DelegationKey(*fields)  # type: ignore[arg-type]
        return Account(self.server.account_name, self.server.endpoint_url, delegation_keys=(issued,))

    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        super().judge(link, size_bytes=size_bytes)
        assert "&spr=https&" in link.url

    def tls(self) -> Any:
        return client_context(self.server.ca_file)
