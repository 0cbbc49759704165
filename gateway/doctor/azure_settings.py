"""How a container of Azure and its account are configured, as far as the data plane tells.

Must not change anything, and must not take "may not look" for "is right".
"""

from __future__ import annotations

from collections.abc import Iterator

from azure.core.exceptions import AzureError, HttpResponseError

from gateway.doctor.findings import Finding, fail, note, ok, unseen
from gateway.doctor.visit import Visit

__all__ = ["examine_azure"]

_AS_WHO = "Run it with --auditor ALIAS, a storage of the same container whose identity may."


def examine_azure(visit: Visit) -> Iterator[Finding]:
    """Read what the container and the service say of themselves, and what the probe shows."""
    yield from _public_access(visit)
    yield from _soft_delete(visit)
    yield from _versioning(visit)
    yield _parts(visit)
    account = visit.storage.account_name
    yield unseen(
        visit.alias,
        "azure.account",
        "shared keys, the SAS policy and lifecycle rules are told to the management plane alone",
        f"az storage account show --name {account};"
        f" az storage account management-policy show --account-name {account} --resource-group GROUP",
    )


def _public_access(visit: Visit) -> Iterator[Finding]:
    try:
        found = visit.reader.client.get_container_properties(timeout=visit.storage.timeout)
    except HttpResponseError as error:
        yield _unseen(visit, "azure.public-access", error)
        return
    if found.public_access:
        remedy = f"az storage container set-permission --name {found.name} --public-access off"
        yield fail(visit.alias, "azure.public-access", f"everybody reads: access is {found.public_access}", remedy)
    else:
        yield ok(visit.alias, "azure.public-access", "the container is private")


def _soft_delete(visit: Visit) -> Iterator[Finding]:
    try:
        found = visit.reader.service_client.get_service_properties(timeout=visit.storage.timeout)
    except HttpResponseError as error:
        yield _unseen(visit, "azure.soft-delete", error)
        return
    policy = found["delete_retention_policy"]
    if policy is not None and policy.enabled:
        yield ok(visit.alias, "azure.soft-delete", f"deleted blobs can be restored for {policy.days} days")
    else:
        yield fail(
            visit.alias,
            "azure.soft-delete",
            "deleted blobs are gone at once",
            _properties(visit, "--enable-delete-retention true --delete-retention-days 7"),
        )


def _versioning(visit: Visit) -> Iterator[Finding]:
    stored = visit.storage.objects.stat(visit.key) if visit.is_there else None
    if stored is None:
        yield unseen(visit.alias, "azure.versioning", "a blob's version would tell, and there is no probe")
    elif stored.version:
        yield ok(visit.alias, "azure.versioning", "blobs have versions")
    else:
        yield fail(
            visit.alias,
            "azure.versioning",
            "blobs have no versions: what is replaced or deleted by mistake is gone",
            _properties(visit, "--enable-versioning true"),
        )


def _parts(visit: Visit) -> Finding:
    """Write a block beside the probe's own: no blob is made or changed by it, and it goes with the probe."""
    what = "whether uploads in parts, which the gateway passes on, can be written"
    if not visit.is_there:
        return unseen(visit.alias, "azure.parts", f"{what}: there is no probe")
    store = visit.storage.objects
    try:
        store.pass_on_part(visit.key, store.begin_parts(visit.key, "text/plain"), 1, [b"x"], size_bytes=1)
    except AzureError as error:
        if getattr(error, "status_code", None) not in (401, 403):
            return unseen(visit.alias, "azure.parts", f"{what}: the store gave no answer")
        return note(
            visit.alias,
            "azure.parts",
            "the identity of the service writes no blocks: uploads in parts, such as Uppy's, are answered with 503",
            "Where they are wanted, give it .../containers/blobs/write as well: docs/azure.md.",
        )
    return ok(visit.alias, "azure.parts", "uploads in parts can be passed on")


def _properties(visit: Visit, options: str) -> str:
    account = visit.storage.account_name
    return f"az storage account blob-service-properties update --account-name {account} {options}"


def _unseen(visit: Visit, check: str, error: HttpResponseError) -> Finding:
    if error.status_code in (401, 403):
        return unseen(visit.alias, check, "this identity may not read it", _AS_WHO)
    return unseen(visit.alias, check, f"it cannot be read ({error.status_code})")
