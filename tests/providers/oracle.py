"""botocore as an oracle: its clock stopped, its intermediate stages kept, its parameters in any order.

It must not use anything of ``providers`` but the operations, which say what botocore is to be asked for.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import botocore.auth
import botocore.session
import botocore.signers
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.config import Config

from providers import Download, StaticCredentials, Upload, UploadForm, UploadPart

_CHECKSUM_PARAMETERS = {
    "crc32": "ChecksumCRC32",
    "crc32c": "ChecksumCRC32C",
    "crc64nvme": "ChecksumCRC64NVME",
    "md5": "ContentMD5",
    "sha1": "ChecksumSHA1",
    "sha256": "ChecksumSHA256",
}
session = botocore.session.Session()


class Signed(NamedTuple):
    """What botocore made of one request, stage by stage."""

    canonical_request: str
    string_to_sign: str
    url: str


class Recorder(S3SigV4QueryAuth):
    """botocore's own signer for links; only what it computes is kept."""

    canonical = ""
    text = ""

    def canonical_request(self, request: Any) -> str:
        Recorder.canonical = super().canonical_request(request)
        return Recorder.canonical

    def string_to_sign(self, request: Any, canonical_request: str) -> str:
        Recorder.text = super().string_to_sign(request, canonical_request)
        return Recorder.text


@contextmanager
def stopped(now: datetime) -> Iterator[None]:
    """Stop the clock that botocore hides, and record."""
    there = now.astimezone(UTC).replace(tzinfo=None)
    with pytest.MonkeyPatch.context() as patch:
        for module in (botocore.auth, botocore.signers):
            patch.setattr(module, "get_current_datetime", lambda: there)
        patch.setitem(botocore.auth.AUTH_TYPE_MAPS, "s3v4-query", Recorder)
        yield


@functools.cache
def client(
    region: str, style: str, endpoint_url: str | None = None, credentials: StaticCredentials | None = None
) -> Any:
    """Build a client that signs as the bucket's own region does; building one is slow, so it is kept."""
    credentials = credentials or StaticCredentials("AKID", "secret")
    return session.create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"},
            request_checksum_calculation="when_required",
            ignore_configured_endpoint_urls=True,
        ),
    )


def parameters(operation: Download | Upload | UploadPart) -> dict[str, Any]:
    """Say an operation in botocore's words, in the order in which a sorted query has them."""
    wanted: dict[str, Any] = {}
    match operation:
        case Download():
            wanted["ResponseCacheControl"] = operation.cache_control
            wanted["ResponseContentDisposition"] = operation.content_disposition
            wanted["ResponseContentType"] = operation.content_type
            wanted["VersionId"] = operation.version
        case Upload():
            wanted["ContentType"] = operation.content_type
            wanted["IfNoneMatch"] = None if operation.overwrite else "*"
        case UploadPart():
            wanted["PartNumber"] = operation.number
            wanted["UploadId"] = operation.upload_id
    if not isinstance(operation, Download):
        wanted["ContentLength"] = operation.size_bytes
        if operation.checksum is not None:
            digest = base64.b64encode(operation.checksum.digest).decode()
            wanted[_CHECKSUM_PARAMETERS[operation.checksum.algorithm]] = digest
    return {name: value for name, value in wanted.items() if value is not None}


def client_method(operation: Download | Upload | UploadPart) -> str:
    match operation:
        case Download(method="HEAD"):
            return "head_object"
        case Download():
            return "get_object"
        case Upload():
            return "put_object"
        case UploadPart():
            return "upload_part"


def presign(
    signer: Any,
    operation: Download | Upload | UploadPart,
    *,
    bucket: str,
    seconds: int,
    now: datetime,
    order: Sequence[str] | None = None,
) -> Signed:
    """Let botocore presign; ``order`` is that of its parameters, None being ours."""
    wanted = parameters(operation)
    wanted = {name: wanted[name] for name in order or wanted}
    link_id = operation.link_id if isinstance(operation, Download) else None

    def add_link_id(request: Any, **_: Any) -> None:
        if link_id is not None:
            request.params = {"x-gateway-link": link_id}

    signer.meta.events.register("before-sign.s3", add_link_id)
    try:
        with stopped(now):
            url = signer.generate_presigned_url(
                client_method(operation),
                Params={"Bucket": bucket, "Key": operation.key} | wanted,
                ExpiresIn=seconds,
            )
            return Signed(Recorder.canonical, Recorder.text, url)
    finally:
        signer.meta.events.unregister("before-sign.s3", add_link_id)


def presign_form(
    signer: Any, form: UploadForm, *, bucket: str, seconds: int, now: datetime
) -> tuple[str, Mapping[str, str]]:
    """Let botocore make a POST policy; return the URL and the form fields."""
    fields = {"Content-Type": form.content_type, "success_action_status": "201"}
    with stopped(now):
        post = signer.generate_presigned_post(
            bucket,
            form.key,
            Fields=fields,
            Conditions=[
                {"Content-Type": form.content_type},
                {"success_action_status": "201"},
                ["content-length-range", form.min_bytes, form.max_bytes],
            ],
            ExpiresIn=seconds,
        )
    return post["url"], post["fields"]
