"""Stores that are no S3: whether the identity that signs deletes, and the probe taken away.

Must not list: neither identity is known to be able to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.doctor.findings import Finding, fail, note, ok
from gateway.doctor.visit import Visit

__all__ = ["clean_up_other"]


def clean_up_other(visit: Visit) -> Iterator[Finding]:
    if not visit.is_there:
        return
    is_gone = _deletes(visit.storage, visit.key)
    if is_gone:
        yield fail(
            visit.alias,
            "signer.delete",
            "the identity that signs can delete objects",
            "Give the service an identity that reads and creates, and the sweeper another one: terraform/modules.",
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
