"""Stores that are no S3: what the identity that signs can do and should not, and the probe taken away.

Must not leave anything behind: what it asks for elsewhere could never be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from gateway.doctor.findings import Finding, fail, note, ok, silent
from gateway.doctor.visit import Visit

__all__ = ["clean_up_other", "examine_others"]

ELSEWHERE = "gateway-doctor-elsewhere"
_TWO_IDENTITIES = "Give the service an identity that reads and creates, and the sweeper another one: terraform/modules."


def examine_others(visit: Visit) -> Iterator[Finding]:
    """List, and try to write elsewhere, as the identity that signs, which should be able to do neither."""
    may_list = _may(lambda: next(iter(visit.storage.objects.objects()), None))
    yield _finding(visit, "signer.list", "list the bucket", may_list)
    if visit.is_gcs:
        yield _finding(visit, "signer.elsewhere", "create objects outside uploads/", _may(_create_elsewhere(visit)))
    elif visit.is_azure:
        may = _may(_create_in_another_container(visit))
        yield _finding(visit, "signer.elsewhere", "write into other containers of the account", may)


def clean_up_other(visit: Visit) -> Iterator[Finding]:
    if not visit.is_there:
        return
    may_delete = _may(lambda: visit.storage.delete(visit.key))
    yield _finding(visit, "signer.delete", "delete objects", may_delete)
    if may_delete or (visit.sweeper is not None and _may(lambda: visit.sweeper.delete(_name_to_sweeper(visit)))):
        yield ok(visit.alias, "probe", "nothing is left behind")
    else:
        yield note(
            visit.alias,
            "probe",
            f"{visit.key} is left behind; our Terraform modules have a rule, expire-probes, that takes it",
            "Run it with --sweeper ALIAS, a storage of the same bucket whose identity deletes.",
        )


def _create_elsewhere(visit: Visit) -> Callable[[], None]:
    """Ask for a new generation of an object that has none: refused before it is looked at, or made by nobody."""

    def create() -> None:
        from google.api_core.exceptions import PreconditionFailed

        blob = visit.storage.bucket.blob(ELSEWHERE)
        with suppress(PreconditionFailed):
            blob.upload_from_string(b"", if_generation_match=1, timeout=10, retry=None)

    return create


def _create_in_another_container(visit: Visit) -> Callable[[], None]:
    """Write into a container that is not there: refused before it is looked for, or found by nobody."""

    def create() -> None:
        from azure.core.exceptions import ResourceNotFoundError

        blob = visit.storage.service_client.get_blob_client(ELSEWHERE, ELSEWHERE)
        with suppress(ResourceNotFoundError):
            blob.upload_blob(b"", overwrite=False, timeout=visit.storage.timeout)

    return create


def _name_to_sweeper(visit: Visit) -> str:
    """Return what the sweeper calls the probe, where its names begin at another place in the bucket."""
    location = str(getattr(visit.sweeper, "location", "")).strip("/")
    return str(visit.storage.object_key(visit.key)).removeprefix(f"{location}/" if location else "")


def _may(call: Callable[[], Any]) -> bool | None:
    """Call; None where the store neither did it nor said no."""
    try:
        call()
    except Exception as error:
        # google-api-core has the status as code, azure-core as status_code.
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        return False if status in (401, 403) else None
    return True


def _finding(visit: Visit, check: str, what: str, may: bool | None) -> Finding:
    if may is None:
        return silent(visit.alias, check, f"whether the identity that signs can {what}", "the store gave no answer")
    if not may:
        return ok(visit.alias, check, f"the identity that signs cannot {what}")
    return fail(visit.alias, check, f"the identity that signs can {what}", _TWO_IDENTITIES)
