"""Whether a store of S3 still takes signatures of Version 2.

Must not be satisfied with what this project signs: a stolen key signs without it.
"""

from __future__ import annotations

from collections.abc import Iterator

from botocore.config import Config

from gateway.doctor.documents import bucket_policy
from gateway.doctor.findings import Finding, fail, ok, silent
from gateway.doctor.visit import Visit

__all__ = ["examine_sigv2"]


def examine_sigv2(visit: Visit) -> Iterator[Finding]:
    answer = visit.fetch("GET", _link(visit))
    if answer.is_success:
        yield fail(
            visit.alias,
            "link.sigv2",
            "the store takes Signature Version 2, whose links are of no age that a policy could see",
            "Deny every s3:signatureversion but AWS4-HMAC-SHA256.",
            bucket_policy(visit.bucket, visit.max_ttl),
        )
    elif answer.is_silence:
        yield silent(visit.alias, "link.sigv2", "a link of Signature Version 2", answer)
    else:
        yield ok(visit.alias, "link.sigv2", f"Signature Version 2 is refused ({answer})")


def _link(visit: Visit) -> str:
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
