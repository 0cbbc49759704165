"""What the identity that signs can do and should not: whoever steals its key can do it, too.

Must not leave anything behind: what it could begin elsewhere is given up at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from gateway.doctor.documents import signer_policy
from gateway.doctor.findings import Finding, fail, note, ok, silent
from gateway.doctor.s3_settings import rule_for_probes
from gateway.doctor.visit import Visit

__all__ = ["clean_up", "examine_rights"]

ELSEWHERE = "gateway-doctor-elsewhere"


def examine_rights(visit: Visit) -> Iterator[Finding]:
    """List, and begin an upload outside the prefixes."""
    listing = {"Bucket": visit.bucket, "MaxKeys": 1}
    yield _finding(visit, "signer.list", "list the bucket", _may(visit.client.list_objects_v2, **listing))
    yield _finding(visit, "signer.elsewhere", "create objects outside uploads/", _may(_begin_elsewhere, visit=visit))


def _begin_elsewhere(visit: Visit) -> None:
    place = {"Bucket": visit.bucket, "Key": ELSEWHERE}
    begun = visit.client.create_multipart_upload(**place)
    with suppress(ClientError, BotoCoreError):
        visit.client.abort_multipart_upload(**place, UploadId=begun["UploadId"])


def clean_up(visit: Visit) -> Iterator[Finding]:
    """Delete the probe: first as the service, which should not be able to, then as the sweeper."""
    key = visit.storage.object_key(visit.key)
    may_delete = _may(visit.client.delete_object, Bucket=visit.bucket, Key=key)
    yield _finding(visit, "signer.delete", "delete objects", may_delete)
    for storage in (visit.sweeper, visit.storage):
        if storage is not None and _purge(storage.connection.meta.client, visit.bucket, key):
            yield ok(visit.alias, "probe", "nothing is left behind")
            return
    rule = rule_for_probes(visit)
    if rule:
        yield note(visit.alias, "probe", f"{key} is left behind; the lifecycle rule {rule} takes it")
    else:
        yield note(
            visit.alias,
            "probe",
            f"{key} is left behind; the rule expire-probes takes it where the bucket is that of our Terraform module",
            "Run it with --sweeper ALIAS, a storage of the same bucket whose identity deletes.",
        )


def _purge(client: Any, bucket: str, key: str) -> bool:
    """Delete every version and every marker of one key; tell whether nothing is left."""
    try:
        for _ in range(2):  # the first round may leave markers, where it could list no versions
            listed = client.list_object_versions(Bucket=bucket, Prefix=key)
            found = [each for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, ())]
            for each in found:
                client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
            if not found:
                return True
        return not client.list_object_versions(Bucket=bucket, Prefix=key).get("Versions")
    except (ClientError, BotoCoreError):
        return False


def _may(call: Callable[..., Any], **parameters: Any) -> bool | None:
    """Call; None where the store neither did it nor said no."""
    try:
        call(**parameters)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return False if status in (401, 403, 405) else None
    except BotoCoreError:
        return None
    return True


def _finding(visit: Visit, check: str, what: str, may: bool | None) -> Finding:
    if may is None:
        return silent(visit.alias, check, f"whether the identity that signs can {what}", "the store gave no answer")
    if not may:
        return ok(visit.alias, check, f"the identity that signs cannot {what}")
    return fail(
        visit.alias,
        check,
        f"the identity that signs can {what}",
        "Give the service an identity that reads and creates below its prefixes, and the sweeper another one.",
        signer_policy(visit.bucket),
    )
