"""Stores that are no S3: whether the identity that signs lists or deletes, and the probe taken away.

Must not touch any object but the probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.doctor.findings import Finding, fail, note, ok
from gateway.doctor.visit import Visit

__all__ = ["clean_up_other", "examine_listing"]

_TWO_IDENTITIES = "Give the service an identity that reads and creates, and the sweeper another one: terraform/modules."


def examine_listing(visit: Visit) -> Iterator[Finding]:
    """List as the identity that signs, which should not be able to."""
    try:
        next(iter(visit.storage.objects.objects()), None)
    except Exception:
        # Each SDK has its own word for no.
        yield ok(visit.alias, "signer.list", "the identity that signs cannot list the bucket")
    else:
        yield fail(visit.alias, "signer.list", "the identity that signs can list the bucket", _TWO_IDENTITIES)


def clean_up_other(visit: Visit) -> Iterator[Finding]:
    if not visit.is_there:
        return
    is_gone = _deletes(visit.storage, visit.key)
    if is_gone:
        yield fail(
            visit.alias,
            "signer.delete",
            "the identity that signs can delete objects",
            _TWO_IDENTITIES,
        )
    else:
        yield ok(visit.alias, "signer.delete", "the identity that signs cannot delete objects")
    if is_gone or (visit.sweeper is not None and _deletes(visit.sweeper, visit.key)):
        yield ok(visit.alias, "probe", "nothing is left behind")
    else:
        yield note(
            visit.alias,
            "probe",
            f"{visit.key} is left behind; our Terraform modules have a rule, expire-probes, that takes it",
            "Run it with --sweeper ALIAS, a storage of the same bucket whose identity deletes.",
        )


def _deletes(storage: Any, key: str) -> bool:
    try:
        storage.delete(key)
    except Exception:
        # Each SDK has its own word for no.
        return False
    return True
