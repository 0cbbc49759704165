"""The adapter of CloudFront for the suite of fetched links: downloads lead there, uploads to the bucket itself.

An adapter must not sign.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

from providers.types import SignedURL
from tests.emulators.cloudfront import Distribution
from tests.gateway.link_stores import Store
from tests.verifiers.cloudfront import verify_url
from tests.verifiers.sigv4 import Identity, verify_presigned


class CloudFrontStore(Store):
    """A distribution in front of a directory, and a bucket that no test reaches."""

    emulator = "cloudfront"
    signature = "Signature"
    expiry = "Expires"
    lacks = frozenset({"method", "upload", "form", "parts"})
    custom = False

    LOCATION = "tenant 1/files"

    def __init__(self, alias: str, distribution: Distribution) -> None:
        self.alias = alias
        self.distribution = distribution
        self.options: dict[str, Any] = {
            "bucket_name": "bucket",
            "region_name": "eu-central-1",
            "access_key": "AKIDEXAMPLE",
            "secret_key": "a secret",
            "location": self.LOCATION,
            "custom_domain": distribution.domain,
            "url_protocol": "http:",
            "cloudfront_key_id": distribution.key_pair_id,
            "cloudfront_key": distribution.private_key,
        }

    def put(self, key: str, content: bytes) -> None:
        path = self.distribution.root / self.LOCATION / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, key: str) -> tuple[bytes, str] | None:
        path = self.distribution.root / self.LOCATION / key
        return (path.read_bytes(), "") if path.exists() else None

    def judge(self, link: SignedURL, *, size_bytes: int | None = None) -> None:
        now = datetime.now(UTC)
        if link.method == "PUT":
            assert link.url.startswith("https://bucket.s3.eu-central-1.amazonaws.com/tenant%201/files/")
            identities = {"AKIDEXAMPLE": Identity("a secret")}
            end = verify_presigned(
                method="PUT", url=link.url, headers=link.headers, identities=identities, region="eu-central-1",
                now=now, body_length=size_bytes,
            ).expires_at  # fmt: skip
        else:
            verified = verify_url(link.url, keys=self.distribution.public_keys, now=now, source_ip="127.0.0.1")
            assert verified.custom == self.custom
            end = verified.expires_at
        assert end == link.expires_at

    def close(self) -> None:
        """Leave the distribution to its fixture."""


class BoundCloudFrontStore(CloudFrontStore):
    """The same with links for one network, and so with a custom policy."""

    custom = True
    expiry = "Policy"

    def __init__(self, alias: str, distribution: Distribution) -> None:
        super().__init__(alias, distribution)
        self.options["cloudfront_source_ip"] = "127.0.0.0/8"

    def stretched(self, url: str) -> str:
        """Let the policy end later: another one, under the same signature."""
        later = re.sub(r"([?&]Policy=)([^&]+)", lambda match: match[1] + _with_a_later_end(match[2]), url)
        assert later != url
        return later


def _with_a_later_end(encoded: str) -> str:
    policy = base64.b64decode(encoded.translate(str.maketrans("-_~", "+=/"))).decode()
    policy = re.sub(r'("AWS:EpochTime":)(\d+)', lambda match: f"{match[1]}{int(match[2]) + 600}", policy)
    return base64.b64encode(policy.encode()).decode().translate(str.maketrans("+=/", "-_~"))
