"""Whether the store itself ends old links.

Must not be satisfied with what the gateway promises: a stolen key signs without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from gateway.doctor.documents import bucket_policy
from gateway.doctor.findings import Finding, fail, note, ok, silent
from gateway.doctor.visit import Visit

__all__ = ["examine_ages"]


def examine_ages(visit: Visit) -> Iterator[Finding]:
    """Use a link that is older than the maximum."""
    seconds = visit.max_ttl.total_seconds()
    longest = visit.provider.capabilities.max_ttl
    age = visit.max_ttl + timedelta(minutes=2)
    if age + timedelta(minutes=2) > longest:
        yield note(visit.alias, "link.too-old", f"no link is older than the maximum, {seconds:.0f} s")
        return
    old = visit.download(ttl=age + timedelta(minutes=2), now=datetime.now(UTC) - age)
    answer = visit.fetch("GET", old.url)
    if old.expires_at < datetime.now(UTC):
        yield note(visit.alias, "link.too-old", "the credential ends before such a link would be too old")
    elif answer.is_success:
        yield _taken(visit, seconds)
    elif answer.is_silence:
        yield silent(visit.alias, "link.too-old", f"a link older than {seconds:.0f} s", answer)
    else:
        yield ok(visit.alias, "link.too-old", f"a link older than {seconds:.0f} s is refused ({answer})")


def _taken(visit: Visit, seconds: float) -> Finding:
    found = f"the store takes links older than {seconds:.0f} s"
    if visit.is_gcs:
        # No condition of Google's sees how old a link is, so there is nothing that would mend it.
        return note(
            visit.alias,
            "link.too-old",
            f"{found}: Cloud Storage knows no such bound, the gateway alone keeps it",
            "Let nobody but the service sign as its account: no key, and signBlob for the account itself.",
        )
    if visit.is_s3:
        remedy = (
            "Deny by s3:signatureAge in the bucket's policy; where the store knows no such condition,"
            " refuse old links in a proxy before it."
        )
    else:
        remedy = "Give the account a SAS policy that blocks: expiration_action Block in terraform/modules/azure-blob."
    document = bucket_policy(visit.bucket, visit.max_ttl) if visit.is_s3 else None
    return fail(visit.alias, "link.too-old", f"{found}: whoever has the key signs for a week", remedy, document)
