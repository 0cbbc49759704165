"""Who signs: for good or for an hour, and whether that covers the longest link.

Must not show more of a credential than its kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from gateway.doctor.findings import Finding, fail, note, ok
from gateway.doctor.visit import Visit
from providers.errors import ProviderError

__all__ = ["examine_credentials", "why_unsigned"]


def why_unsigned(visit: Visit) -> Finding | None:
    """Say why no link can be made at all; None where one can."""
    try:
        visit.download()
        visit.upload()
    except Exception as error:
        # What our providers say holds no secret; of what SDKs say, nobody knows.
        cause = error.__cause__ if isinstance(error.__cause__, ProviderError) else error
        why = str(cause) if isinstance(cause, ProviderError) else type(error.__cause__ or error).__name__
        return fail(
            visit.alias,
            "credential",
            f"no link can be signed: {why}",
            "Give whoever runs this the identity of the service, or its keys; then look at its OPTIONS.",
        )
    return None


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
    if not visit.is_local:
        yield _kind(visit)


def _kind(visit: Visit) -> Finding:
    # Of the bucket's own signer: a distribution knows nothing but keys for good.
    url = visit.upload().url
    if visit.is_s3:
        is_for_good, what, remedy = "X-Amz-Security-Token=" not in url, "temporary credentials sign", "as a role"
    elif visit.is_azure:
        is_for_good, what, remedy = "skoid=" not in url, "a delegation key of an identity signs", "as an identity"
    else:
        # Whoever signs without asking Google has a key.
        is_for_good = visit.uploads.capabilities.offline
        what, remedy = "Google signs for the service account", "as its service account, which signs by IAM"
    if not is_for_good:
        return ok(visit.alias, "credential.kind", what)
    if visit.is_at_vendor:
        found = "a key for good signs: it works until somebody ends it"
        return fail(visit.alias, "credential.kind", found, f"Run the service {remedy}.")
    return note(visit.alias, "credential.kind", "a key for good signs", "Change it now and then.")
