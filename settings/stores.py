"""``STORAGES`` from a JSON file: entries as Django has them, or what the Terraform modules put out, in any mixture.

Must hold no credential and look for none: whoever runs the process gives it its identity.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

__all__ = ["read_storages"]

NAME = "GATEWAY_STORAGES_FILE"


def read_storages(path: str, *, max_ttl_seconds: int) -> dict[str, dict[str, Any]]:
    """Read a file of ``{alias: {"BACKEND": …, "OPTIONS": {…}}}``, or the output of terraform as it is.

    Args:
        path: ``terraform output -json storages > FILE`` writes such a file; with every output in it, it is one too.
        max_ttl_seconds: ``GATEWAY["MAX_TTL"]``; a bucket that takes older links is held to it, a stricter one keeps
            its own.

    Raises:
        ImproperlyConfigured: the file cannot be read, or an entry is neither of both.
    """
    try:
        given = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{NAME} {path!r} cannot be read: {error}") from error
    given = _storages_output(given)
    if not isinstance(given, dict) or not all(isinstance(entry, dict) for entry in given.values()):
        raise ImproperlyConfigured(f"{NAME} {path!r} is not {{alias: {{BACKEND, OPTIONS}}}}")
    return {
        alias: entry if "BACKEND" in entry else _from_terraform(alias, entry, max_ttl_seconds)
        for alias, entry in given.items()
    }


def _storages_output(given: Any) -> Any:
    """Return the output named storages where the file holds all of them."""
    match given:
        case {"storages": {"sensitive": _, "type": _, "value": value}}:
            return value
    return given


def _from_terraform(alias: str, entry: Mapping[str, Any], max_ttl_seconds: int) -> dict[str, Any]:
    provider = entry.get("provider")
    if provider not in _PROVIDERS:
        known = ", ".join(sorted(_PROVIDERS))
        raise ImproperlyConfigured(
            f"{NAME}: {alias!r} has neither a BACKEND nor a provider of {known}; its provider is {provider!r}"
        )
    backend, options = _PROVIDERS[provider]
    try:
        return {
            "BACKEND": f"gateway.storages.{backend}",
            "OPTIONS": options(entry) | {"max_ttl": min(entry["max_ttl_seconds"], max_ttl_seconds)},
        }
    except (KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"{NAME}: {alias!r} is not the output of a module: {error}") from error


def _s3(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"bucket_name": entry["bucket"], "region_name": entry["region"]}


def _gcs(entry: Mapping[str, Any]) -> dict[str, Any]:
    # The account may sign as itself: the module gives whoever runs as it no key.
    return {"bucket_name": entry["bucket"], "signer_email": entry["signer"]["service_account_email"]}


def _azure(entry: Mapping[str, Any]) -> dict[str, Any]:
    signer = entry["signer"]
    return {
        "account_name": entry["account"],
        "azure_container": entry["bucket"],
        "endpoint_url": entry["endpoint"].rstrip("/"),
        # Without an identity of the module's own the process's one signs.
        "managed_identity": signer["client_id"] or True,
        # The account blocks links that do not say when they begin.
        "backdate": signer["clock_skew_seconds"],
    }


_PROVIDERS: dict[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "azure": ("PrivateAzureStorage", _azure),
    "gcs": ("PrivateGCSStorage", _gcs),
    "s3": ("PrivateS3Storage", _s3),
}
