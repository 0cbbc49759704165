"""Storages whose store binds no link to one part: the links of parts lead to the gateway, which passes them on.

Must not pass a byte on by itself, nor believe a link that is not for a part.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.storages import own_links
from providers.errors import LinkRefused
from providers.local import LocalProvider
from providers.types import Provider, UploadPart

__all__ = ["RELAY", "RelayedParts"]

RELAY = "presign_gateway:relay"


class RelayedParts:
    """What makes a private storage one whose parts go through the gateway; its other links stay the store's own."""

    _relay: tuple[Any, LocalProvider] | None = None

    @property
    def relay(self) -> LocalProvider:
        """The signer of links to the relay, made again when an address or a key changes.

        Raises:
            InvalidConfiguration: it cannot be built; the message says why, and shows no key.
        """
        inputs, made = own_links.surroundings(), self._relay
        if made is None or made[0] != inputs:
            made = self._relay = (
                inputs, own_links.make_signer(self, RELAY, own_links.project_keys(), use="relayed parts")
            )  # fmt: skip
        return made[1]

    def provider_for(self, kind: type) -> Provider:
        """Return what signs operations of a class: parts are for the relay."""
        if kind is UploadPart:
            return self.relay
        provider: Provider = super().provider_for(kind)  # type: ignore[misc]
        return provider

    def ends_at_once(self, kind: type) -> bool:
        """Tell whether a link of a class is asked about when it is used: those to the relay are."""
        return kind is UploadPart

    def relayed_part(self, *, method: str, key: str, query: str, now: datetime) -> UploadPart:
        """Believe a link to the relay, or refuse it; what a method, a key and a query are is said by the signer.

        Raises:
            LinkRefused: it was not signed here for this part, or it has ended.
        """
        operation = self.relay.verify(method=method, key=key, query=query, now=now).operation
        if not isinstance(operation, UploadPart):
            raise LinkRefused("not of a part")
        return operation
