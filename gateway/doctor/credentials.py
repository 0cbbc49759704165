"""Who signs: for good or for an hour, and whether that covers the longest link.

Must not show more of a credential than its kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from gateway.doctor.findings import Finding, fail, note, ok
from gateway.doctor.visit import Visit

__all__ = ["examine_credentials"]


def examine_credentials(visit: Visit) -> Iterator[Finding]:
    now = datetime.now(UTC)
    link = visit.download(ttl=visit.max_ttl, now=now)
    covered = link.expires_at - now.replace(microsecond=0)
    short = visit.max_ttl - covered
    seconds = f"{visit.max_ttl.total_seconds():.0f} s"
    if short > timedelta(seconds=1):
        yield fail(
            visit.alias,
            "credential.life",
            f"the credential ends {short.total_seconds():.0f} s before a link of {seconds} would",
            "Let sessions last longer than GATEWAY['MAX_TTL'], or refresh them earlier.",
        )
    else:
        yield ok(visit.alias, "credential.life", f"the credential covers a link of {seconds}")
    if not visit.is_s3:
        return
    if "X-Amz-Security-Token=" in link.url:
        yield ok(visit.alias, "credential.kind", "temporary credentials sign")
    elif visit.is_amazon:
        yield fail(
            visit.alias,
            "credential.kind",
            "a key for good signs: it works until somebody ends it",
            "Run the service as a role.",
        )
    else:
        yield note(visit.alias, "credential.kind", "a key for good signs", "Change it now and then.")
