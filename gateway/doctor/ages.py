"""Whether the store itself ends old links, and refuses signatures that have no age.

Must not be satisfied with what the gateway promises: a stolen key signs without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from botocore.config import Config

from gateway.doctor.documents import bucket_policy
from gateway.doctor.findings import Finding, fail, note, ok
from gateway.doctor.visit import Visit

__all__ = ["examine_ages"]


def examine_ages(visit: Visit) -> Iterator[Finding]:
    """Use a link that is older than the maximum, and one of Signature Version 2."""
    seconds = visit.max_ttl.total_seconds()
    longest = visit.provider.capabilities.max_ttl
    age = visit.max_ttl + timedelta(minutes=2)
    document = bucket_policy(visit.bucket, visit.max_ttl)
    if age + timedelta(minutes=2) > longest:
        yield note(visit.alias, "link.too-old", f"no link is older than the maximum, {seconds:.0f} s")
    else:
        old = visit.download(ttl=age + timedelta(minutes=2), now=datetime.now(UTC) - age)
        answer = visit.fetch("GET", old.url)
        if old.expires_at < datetime.now(UTC):
            yield note(visit.alias, "link.too-old", "the credential ends before such a link would be too old")
        elif answer.is_success:
            yield fail(
                visit.alias,
                "link.too-old",
                f"the store takes links older than {seconds:.0f} s: whoever has the key signs for a week",
                "Deny by s3:signatureAge in the bucket's policy; where the store knows no such condition,"
                " refuse old links in a proxy before it.",
                document,
            )
        else:
            yield ok(visit.alias, "link.too-old", f"a link older than {seconds:.0f} s is refused ({answer})")
    answer = visit.fetch("GET", _sigv2_link(visit))
    if answer.is_success:
        yield fail(
            visit.alias,
            "link.sigv2",
            "the store takes Signature Version 2, whose links are of no age that a policy could see",
            "Deny every s3:signatureversion but AWS4-HMAC-SHA256.",
            document,
        )
    else:
        yield ok(visit.alias, "link.sigv2", f"Signature Version 2 is refused ({answer})")


def _sigv2_link(visit: Visit) -> str:
    """Return a link as SDKs made them long ago; it is the store's turn to refuse it."""
    storage = visit.storage
    client = storage._create_session().client(
        "s3",
        region_name=storage.region_name,
        endpoint_url=storage.public_endpoint_url or storage.endpoint_url,
        config=storage.client_config.merge(Config(signature_version="s3")),
        verify=storage.verify,
    )
    parameters = {"Bucket": visit.bucket, "Key": storage.object_key(visit.key)}
    return str(client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=60))
