"""The pytest plugin that watches every test: S3 links are verified as they are made, and no log tells a secret.

It must not change what it watches; what it finds fails the test at its end.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from providers import s3
from providers.types import Operation, SignedURL, Upload, UploadForm, UploadPart
from tests.verifiers.sigv4 import Identity, Refused, verify_post, verify_presigned

_found: list[str] = []
_identities: defaultdict[str, set[tuple[str, str | None]]] = defaultdict(set)

# Of its own, since gateway.redaction is among what it watches.
_SECRET = re.compile(
    r"(?:x-(?:amz|goog)-signature|x-amz-security-token|signature|\bsig|\bmac|md5|upload_id)=(?P<value>[A-Za-z0-9%+/_~.-]{16,})"
    r"|\bpgw_[A-Za-z0-9_-]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.IGNORECASE,
)


@pytest.fixture(autouse=True)
def _nothing_was_found(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test during which a link was no link, or a log told a secret."""
    _found.clear()
    yield
    found, _found[:] = list(_found), []
    if request.node.get_closest_marker("logs_secrets") is None:
        assert not found


@pytest.fixture(autouse=True, scope="session")
def _logs_tell_no_secret() -> Iterator[None]:
    sink = _Sink()
    logging.getLogger().addHandler(sink)
    for ours in ("gateway", "providers"):
        logging.getLogger(ours).setLevel(logging.DEBUG)
    yield
    logging.getLogger().removeHandler(sink)


class _Sink(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = logging.Formatter().format(record)
        except Exception:
            return  # logged wrongly; what it would say is not said
        # What is found is not repeated: it is a secret.
        if (secret := _SECRET.search(text)) is not None:
            _found.append(f"{record.name} logged {secret[0].partition('=')[0][:8]}… in {record.msg[:60]!r}")


@pytest.fixture(autouse=True, scope="session")
def _links_are_verified() -> Iterator[None]:
    """Let the independent verifier judge every request to S3 that anything signs."""
    with pytest.MonkeyPatch.context() as patched:
        make, sign, sign_many = s3._Day.__init__, s3.S3Provider.sign, s3.S3Provider.sign_many

        def made(self: Any, credentials: Any, *args: Any) -> None:
            _identities[credentials.access_key_id].add((credentials.secret_access_key, credentials.session_token))
            make(self, credentials, *args)

        def signed(self: s3.S3Provider, operation: Operation, *, ttl: timedelta, now: datetime) -> SignedURL:
            link = sign(self, operation, ttl=ttl, now=now)
            _judge(self, operation, link, now)
            return link

        def signed_many(
            self: s3.S3Provider, operations: Sequence[Operation], *, ttl: timedelta, now: datetime
        ) -> list[SignedURL]:
            links = sign_many(self, operations, ttl=ttl, now=now)
            for operation, link in zip(operations, links, strict=True):
                _judge(self, operation, link, now)
            return links

        patched.setattr(s3._Day, "__init__", made)
        patched.setattr(s3.S3Provider, "sign", signed)
        patched.setattr(s3.S3Provider, "sign_many", signed_many)
        yield


def _judge(provider: s3.S3Provider, operation: Operation, link: SignedURL, now: datetime) -> None:
    fault = "no identity is known"
    for identities in _candidates(link):
        try:
            if isinstance(operation, UploadForm):
                verify_post(
                    fields=link.fields,
                    bucket=provider.bucket,
                    identities=identities,
                    region=provider.region,
                    now=now,
                    content_length=operation.min_bytes,
                )
            else:
                verify_presigned(
                    method=link.method,
                    url=link.url,
                    headers=link.headers,
                    identities=identities,
                    region=provider.region,
                    now=now,
                    body_length=operation.size_bytes if isinstance(operation, Upload | UploadPart) else None,
                )
        except Refused as refused:
            fault = str(refused)
        else:
            return
    _found.append(f"{link!r} is none: {fault}")


def _candidates(link: SignedURL) -> Iterator[dict[str, Identity]]:
    """Yield each identity that has signed under the access key id of this link; tests give one id many secrets."""
    credential = link.fields.get("x-amz-credential") or parse_qs(urlsplit(link.url).query)["X-Amz-Credential"][0]
    key = credential.rsplit("/", 4)[0]
    for secret, token in tuple(_identities[key]):
        yield {key: Identity(secret, token)}
