"""S3 links: equal to botocore's byte for byte, judged by a verifier that shares no code with either."""

from __future__ import annotations

import base64
import itertools
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import botocore.session
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import (
    Checksum,
    CredentialsExpired,
    Download,
    InvalidConfiguration,
    InvalidTTL,
    Operation,
    S3Provider,
    SignedURL,
    StaticCredentials,
    Upload,
    UploadForm,
    UploadPart,
)
from tests.providers import examples, oracle
from tests.providers.examples import BUCKET, NOW, STATIC, TEMPORARY, TOKEN, TTL
from tests.verifiers.sigv4 import Identity, Refused, Verified, verify_post, verify_presigned

DOTTED = "my.dotted.bucket"
REGIONS = [
    (partition, region)
    for partition in oracle.session.get_available_partitions()
    for region in oracle.session.get_available_regions("s3", partition)
]
ENDPOINTS = [
    "https://store.example",
    "https://store.example/",
    "https://store.example:443",
    "https://store.example:8443",
    "http://store.example",
    "http://store.example:80",
    "http://store.example:443",
    "http://store.example:9000/",
    "https://store.example/base",
    "https://store.example:8443/base/path_1-2.3~/",
    "http://localhost:9000",
    "http://127.0.0.1:9000",
    "http://[::1]:9000",
    "https://account.r2.cloudflarestorage.com",
]


def provider(**changes: Any) -> S3Provider:
    arguments: dict[str, Any] = {"bucket": BUCKET, "region": "eu-central-1", "credentials": STATIC}
    return S3Provider(**arguments | changes)


def query_of(signed: SignedURL) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(signed.url).query, keep_blank_values=True, strict_parsing=True))


def verify(
    signed: SignedURL,
    operation: Operation,
    *,
    region: str = "eu-central-1",
    now: datetime = NOW,
    credentials: StaticCredentials = STATIC,
    **changes: Any,
) -> Verified:
    identities = {credentials.access_key_id: Identity(credentials.secret_access_key, credentials.session_token)}
    common: dict[str, Any] = {"identities": identities, "region": region, "now": now}
    if isinstance(operation, UploadForm):
        common |= {"fields": signed.fields, "bucket": BUCKET, "content_length": operation.max_bytes}
        return verify_post(**common | changes)
    body_length = None if isinstance(operation, Download) else operation.size_bytes
    common |= {"method": signed.method, "url": signed.url, "headers": signed.headers}
    return verify_presigned(**common | {"body_length": body_length} | changes)


# --- botocore as an oracle ---------------------------------------------------------------------------------


@st.composite
def targets(draw: st.DrawFn) -> dict[str, Any]:
    """Draw where to sign for, and as whom, as arguments of S3Provider."""
    endpoint_url = draw(st.one_of(st.none(), st.sampled_from(ENDPOINTS)))
    regions = ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"]
    return {
        "bucket": BUCKET,
        "region": draw(st.sampled_from(regions if endpoint_url is None else ["us-east-1", "auto", "garage"])),
        "credentials": draw(st.sampled_from([STATIC, TEMPORARY])),
        "endpoint_url": endpoint_url,
        "addressing_style": draw(st.sampled_from(["virtual", "path"])),
    }


instants = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
lifetimes = st.integers(1, 604_800).map(lambda seconds: timedelta(seconds=seconds))


def client_for(target: Mapping[str, Any]) -> Any:
    return oracle.client(target["region"], target["addressing_style"], target["endpoint_url"], target["credentials"])


@given(
    targets(),
    st.one_of(examples.cacheable_downloads, examples.uploads(), examples.parts),
    instants,
    lifetimes,
    st.data(),
)
@settings(max_examples=400, deadline=None)
def test_every_stage_and_the_url_are_botocores(
    target: dict[str, Any],
    operation: Download | Upload | UploadPart,
    now: datetime,
    ttl: timedelta,
    data: st.DataObject,
) -> None:
    order = data.draw(st.permutations(sorted(oracle.parameters(operation))), label="order")
    asked: dict[str, Any] = {"bucket": BUCKET, "seconds": int(ttl.total_seconds()), "now": now}
    ours = S3Provider(**target).stages(operation, ttl=ttl, now=now)

    theirs = oracle.presign(client_for(target), operation, **asked)
    assert ours.canonical_request == theirs.canonical_request
    assert ours.string_to_sign == theirs.string_to_sign
    assert ours.url == theirs.url

    # The order in which an application names its parameters moves them in the URL, never in what is signed.
    reordered = oracle.presign(client_for(target), operation, **asked, order=order)
    assert ours.canonical_request == reordered.canonical_request
    assert sorted(re.split("[?&]", ours.url)) == sorted(re.split("[?&]", reordered.url))

    assert S3Provider(**target).sign(operation, ttl=ttl, now=now).url == ours.url


def test_the_oracle_is_asked_in_every_order() -> None:
    operation = Download("a", filename="a b.txt", content_type="image/png", version="v1", link_id="l1")
    ours = provider().stages(operation, ttl=TTL, now=NOW)
    signer = oracle.client("eu-central-1", "virtual", None, STATIC)
    urls = set()
    for order in itertools.permutations(oracle.parameters(operation)):
        theirs = oracle.presign(signer, operation, bucket=BUCKET, seconds=300, now=NOW, order=order)
        assert theirs.canonical_request == ours.canonical_request
        urls.add(theirs.url)
    assert len(urls) == 6
    assert ours.url in urls


@given(targets(), examples.forms(), instants, lifetimes)
@settings(max_examples=150, deadline=None)
def test_forms_are_botocores(target: dict[str, Any], form: UploadForm, now: datetime, ttl: timedelta) -> None:
    signed = S3Provider(**target).sign(form, ttl=ttl, now=now)
    url, fields = oracle.presign_form(
        client_for(target), form, bucket=BUCKET, seconds=int(ttl.total_seconds()), now=now
    )
    assert list(signed.fields.items()) == list(fields.items())
    assert base64.b64decode(signed.fields["policy"]) == base64.b64decode(fields["policy"])
    # A form goes to the bucket: ours always ends in a slash, botocore's only where no path is left.
    assert signed.url == url.removesuffix("/") + "/"
    assert signed.method == "POST"
    assert signed.headers == {}


@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize(("partition", "region"), REGIONS, ids=[region for _, region in REGIONS])
def test_every_region_has_the_host_that_botocore_knows(partition: str, region: str, style: Any) -> None:
    operation = Download("a b/ü.txt", version="1")
    theirs = oracle.presign(oracle.client(region, style), operation, bucket=BUCKET, seconds=300, now=NOW)
    credentials = StaticCredentials("AKID", "secret")
    ours = provider(region=region, addressing_style=style, credentials=credentials)
    assert tuple(ours.stages(operation, ttl=TTL, now=NOW)) == theirs


def test_all_partitions_are_in_the_table() -> None:
    assert {partition for partition, _ in REGIONS} >= {
        *("aws", "aws-cn", "aws-us-gov", "aws-eusc"),
        *("aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"),
    }
    # Every partition that botocore knows has regions here, or no bucket at all.
    assert {partition for partition, _ in REGIONS} == set(oracle.session.get_available_partitions())


@pytest.mark.parametrize("endpoint_url", [None, *(url for url in ENDPOINTS if url.startswith("https"))], ids=str)
@pytest.mark.parametrize("style", ["virtual", "path"])
def test_a_dotted_bucket_is_addressed_by_path_as_botocore_does_over_https(style: Any, endpoint_url: str | None) -> None:
    operation = Download("a b", filename="x.txt")
    target = {"region": "us-east-1", "endpoint_url": endpoint_url, "addressing_style": style}
    theirs = oracle.presign(
        client_for(target | {"credentials": STATIC}), operation, bucket=DOTTED, seconds=300, now=NOW
    )
    ours = S3Provider(bucket=DOTTED, credentials=STATIC, **target).stages(operation, ttl=TTL, now=NOW)
    assert tuple(ours) == theirs
    assert f"/{DOTTED}/a%20b?" in ours.url


# Where we differ from botocore on purpose: bucket, endpoint -> what our links start with, and botocore's
DIFFERENT = {
    "dotted-over-http": (DOTTED, "http://store.example", f"http://store.example/{DOTTED}/"),
    "dotted-at-an-ipv4-address": (DOTTED, "http://127.0.0.1:9000", f"http://127.0.0.1:9000/{DOTTED}/"),
    "dotted-at-an-ipv6-address": (DOTTED, "http://[::1]:9000", f"http://[::1]:9000/{DOTTED}/"),
}


@pytest.mark.parametrize(("bucket", "endpoint_url", "ours"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_dotted_bucket_is_always_addressed_by_path(bucket: str, endpoint_url: str, ours: str) -> None:
    target: dict[str, Any] = {
        "region": "us-east-1",
        "endpoint_url": endpoint_url,
        "addressing_style": "virtual",
    }
    theirs = oracle.presign(
        client_for(target | {"credentials": STATIC}), Download("a"), bucket=bucket, seconds=300, now=NOW
    )
    # No address has names below it, and a wildcard record or certificate covers one label only.
    assert theirs.url.startswith(f"http://{bucket}.")
    signed = S3Provider(bucket=bucket, credentials=STATIC, **target).sign(Download("a"), ttl=TTL, now=NOW)
    assert signed.url.startswith(f"{ours}a?")
    verify(signed, Download("a"), region="us-east-1")


# --- what is published, what is shown -----------------------------------------------------------------------


def test_the_published_example() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, "An example"
    example = S3Provider(
        bucket="examplebucket",
        region="us-east-1",
        credentials=StaticCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        endpoint_url="https://s3.amazonaws.com",  # the example's host is from before regional ones
    )
    day, start = timedelta(days=1), datetime(2013, 5, 24, tzinfo=UTC)
    stages = example.stages(Download("test.txt"), ttl=day, now=start)
    assert stages.canonical_request == (
        "GET\n/test.txt\n"
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\n"
        "host:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD"
    )
    assert stages.string_to_sign == (
        "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
        "3bfa292879f6447bbcda7001decf97f4a54dc650c8942174ae0a9121cf58ad04"
    )
    assert stages.url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_neither_repr_nor_str_shows_a_secret() -> None:
    shown = f"{provider(credentials=TEMPORARY)!r} {provider(credentials=TEMPORARY)}"
    assert "https://my-bucket.s3.eu-central-1.amazonaws.com/ eu-central-1" in shown
    assert TEMPORARY.secret_access_key not in shown
    assert TOKEN not in shown


# id -> what a provider is built from, what its links start with, the Host that clients send
ADDRESSES: dict[str, tuple[dict[str, Any], str, str]] = {
    "regional": (
        {},
        "https://my-bucket.s3.eu-central-1.amazonaws.com/",
        "my-bucket.s3.eu-central-1.amazonaws.com",
    ),
    "regional-by-path": (
        {"addressing_style": "path"},
        "https://s3.eu-central-1.amazonaws.com/my-bucket/",
        "s3.eu-central-1.amazonaws.com",
    ),
    "first-region-is-regional-too": (
        {"region": "us-east-1"},
        "https://my-bucket.s3.us-east-1.amazonaws.com/",
        "my-bucket.s3.us-east-1.amazonaws.com",
    ),
    "china": (
        {"region": "cn-northwest-1"},
        "https://my-bucket.s3.cn-northwest-1.amazonaws.com.cn/",
        "my-bucket.s3.cn-northwest-1.amazonaws.com.cn",
    ),
    "dotted-bucket": (
        {"bucket": DOTTED},
        f"https://s3.eu-central-1.amazonaws.com/{DOTTED}/",
        "s3.eu-central-1.amazonaws.com",
    ),
    "upper-case-bucket": (
        {"bucket": "My_Bucket", "endpoint_url": "https://store.example"},
        "https://store.example/My_Bucket/",
        "store.example",
    ),
    "endpoint": (
        {"endpoint_url": "https://store.example"},
        "https://my-bucket.store.example/",
        "my-bucket.store.example",
    ),
    "endpoint-with-its-default-port": (
        {"endpoint_url": "https://store.example:443"},
        "https://my-bucket.store.example:443/",
        "my-bucket.store.example",
    ),
    "endpoint-with-the-other-schemes-port": (
        {"endpoint_url": "https://store.example:80"},
        "https://my-bucket.store.example:80/",
        "my-bucket.store.example:80",
    ),
    "endpoint-with-a-path": (
        {"endpoint_url": "http://store.example:9000/s3/", "addressing_style": "path"},
        "http://store.example:9000/s3/my-bucket/",
        "store.example:9000",
    ),
    "ipv4-address-has-no-subdomains": (
        {"endpoint_url": "http://127.0.0.1:9000"},
        "http://127.0.0.1:9000/my-bucket/",
        "127.0.0.1:9000",
    ),
    "ipv6-address-has-no-subdomains": (
        {"endpoint_url": "http://[::1]:9000"},
        "http://[::1]:9000/my-bucket/",
        "[::1]:9000",
    ),
    "region-of-a-compatible-store": (
        {"endpoint_url": "https://account.r2.cloudflarestorage.com", "region": "auto"},
        "https://my-bucket.account.r2.cloudflarestorage.com/",
        "my-bucket.account.r2.cloudflarestorage.com",
    ),
    "region-that-is-no-region": (
        {"endpoint_url": "http://localhost:3900", "region": "garage", "addressing_style": "path"},
        "http://localhost:3900/my-bucket/",
        "localhost:3900",
    ),
}


@pytest.mark.parametrize(("changes", "base_url", "host"), ADDRESSES.values(), ids=ADDRESSES)
def test_where_links_lead(changes: dict[str, Any], base_url: str, host: str) -> None:
    built = provider(**changes)
    assert built.base_url == base_url
    signed = built.sign(Download("a/b"), ttl=TTL, now=NOW)
    assert signed.url.startswith(f"{base_url}a/b?")
    region = changes.get("region", "eu-central-1")
    assert f"/{region}/s3/aws4_request" in query_of(signed)["X-Amz-Credential"]
    assert verify(signed, Download("a/b"), region=region, headers={"Host": host})


# --- the independent verifier ------------------------------------------------------------------------------


@given(targets(), st.one_of(examples.cacheable_downloads, examples.uploads(), examples.parts), lifetimes)
@settings(max_examples=200, deadline=None)
def test_every_link_is_good_for_exactly_what_was_asked(
    target: dict[str, Any], operation: Download | Upload | UploadPart, ttl: timedelta
) -> None:
    built = S3Provider(**target)
    signed = built.sign(operation, ttl=ttl, now=NOW)
    known = {"region": target["region"], "credentials": target["credentials"]}
    verified = verify(signed, operation, **known)

    assert signed.url.startswith(built.base_url + quote(operation.key, safe="/~") + "?")
    assert verified.method == signed.method
    assert verified.path == unquote(urlsplit(built.base_url).path) + operation.key
    assert verified.expires_at == signed.expires_at == NOW + ttl
    assert signed.fields == {}
    match operation:
        case Download():
            assert signed.method == operation.method
            assert signed.headers == {}
            assert verified.signed_headers == ("host",)
            wanted = {
                "response-cache-control": operation.cache_control,
                "response-content-disposition": operation.content_disposition,
                "response-content-type": operation.content_type,
                "versionId": operation.version,
                "x-gateway-link": operation.link_id,
            }
            assert verified.query == {name: value for name, value in wanted.items() if value is not None}
        case Upload():
            assert signed.headers["Content-Type"] == operation.content_type
            assert signed.headers.get("If-None-Match") == (None if operation.overwrite else "*")
            assert verified.query == {}
        case UploadPart():
            assert verified.query == {"partNumber": str(operation.number), "uploadId": operation.upload_id}
    if not isinstance(operation, Download):
        assert signed.method == "PUT"
        assert {name.lower() for name in signed.headers} | {"host", "content-length"} == set(verified.signed_headers)
        assert (operation.checksum is not None) == bool(
            {"content-md5", *(f"x-amz-checksum-{name}" for name in examples.DIGEST_BYTES)}
            & set(verified.signed_headers)
        )
    last = signed.expires_at - timedelta(seconds=1)
    assert verify(signed, operation, **known, now=last)
    with pytest.raises(Refused, match=r"^expired"):
        verify(signed, operation, **known, now=signed.expires_at)


UPLOAD = Upload("a/b", content_type="image/png", size_bytes=7, checksum=Checksum("sha256", bytes(32)))
UPLOAD_HEADERS = {
    "Content-Type": "image/png",
    "If-None-Match": "*",
    "x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode(),
}
# id -> what the client does otherwise than it was told
DISOBEDIENCE: dict[str, dict[str, Any]] = {
    "method": {"method": "POST"},
    "longer-body": {"body_length": 8},
    "shorter-body": {"body_length": 6},
    "no-length": {"body_length": None},
    "other-type": {"headers": UPLOAD_HEADERS | {"Content-Type": "text/html"}},
    "no-type": {"headers": {k: v for k, v in UPLOAD_HEADERS.items() if k != "Content-Type"}},
    "overwrites": {"headers": {k: v for k, v in UPLOAD_HEADERS.items() if k != "If-None-Match"}},
    "overwrites-another": {"headers": UPLOAD_HEADERS | {"If-None-Match": '"etag"'}},
    "other-checksum": {"headers": UPLOAD_HEADERS | {"x-amz-checksum-sha256": base64.b64encode(b"\1" * 32).decode()}},
    "no-checksum": {"headers": {k: v for k, v in UPLOAD_HEADERS.items() if "checksum" not in k}},
    "public-acl": {"headers": UPLOAD_HEADERS | {"x-amz-acl": "public-read"}},
    "metadata": {"headers": UPLOAD_HEADERS | {"x-amz-meta-a": "b"}},
}


@pytest.mark.parametrize("changes", DISOBEDIENCE.values(), ids=DISOBEDIENCE)
def test_an_upload_is_good_for_the_declared_bytes_only(changes: dict[str, Any]) -> None:
    signed = provider().sign(UPLOAD, ttl=TTL, now=NOW)
    assert signed.headers == UPLOAD_HEADERS
    verify(signed, UPLOAD)
    with pytest.raises(Refused):
        verify(signed, UPLOAD, **changes)


@pytest.mark.parametrize("algorithm", examples.DIGEST_BYTES)
def test_each_checksum_has_its_own_header(algorithm: Any) -> None:
    digest = bytes(range(examples.DIGEST_BYTES[algorithm]))
    upload = replace(UPLOAD, checksum=Checksum(algorithm, digest), overwrite=True)
    signed = provider().sign(upload, ttl=TTL, now=NOW)
    name = "Content-MD5" if algorithm == "md5" else f"x-amz-checksum-{algorithm}"
    assert signed.headers == {"Content-Type": "image/png", name: base64.b64encode(digest).decode()}
    assert name.lower() in verify(signed, upload).signed_headers


LINKS: dict[str, tuple[dict[str, Any], Download | Upload | UploadPart]] = {
    "download": ({}, Download("a b/ü/x+y~z.txt")),
    "download-with-everything": (
        {"credentials": TEMPORARY, "addressing_style": "path"},
        Download("k", method="HEAD", filename="é .txt", content_type="a/b", version="v+/=", link_id="l"),
    ),
    "upload": ({"endpoint_url": "http://store.example:9000/base"}, UPLOAD),
    "part": ({"credentials": TEMPORARY}, UploadPart("k", upload_id="2~x", number=3, size_bytes=1)),
}


@pytest.mark.parametrize(("changes", "operation"), LINKS.values(), ids=LINKS)
def test_every_one_bit_mutant_of_a_link_fails(changes: dict[str, Any], operation: Any) -> None:
    credentials = changes.get("credentials", STATIC)
    signed = provider(**changes).sign(operation, ttl=TTL, now=NOW)
    verify(signed, operation, credentials=credentials)
    origin = urlsplit(signed.url).scheme + "://" + urlsplit(signed.url).netloc
    good = 0
    for at, character in enumerate(signed.url):
        for bit in range(8):
            mutant = signed.url[:at] + chr(ord(character) ^ 1 << bit) + signed.url[at + 1 :]
            # Clients write scheme and host in lower case before anything is sent: the request stays the same.
            if at < len(origin) and mutant.lower() == signed.url.lower():
                verify(replace(signed, url=mutant), operation, credentials=credentials)
                good += 1
            else:
                with pytest.raises(Refused):
                    verify(replace(signed, url=mutant), operation, credentials=credentials)
    assert good == sum(character.isalpha() for character in origin)


@pytest.mark.parametrize("name", LINKS)
def test_no_parameter_can_be_dropped_doubled_or_added(name: str) -> None:
    changes, operation = LINKS[name]
    credentials = changes.get("credentials", STATIC)
    signed = provider(**changes).sign(operation, ttl=TTL, now=NOW)
    base, _, query = signed.url.partition("?")
    pairs = query.split("&")
    mutants = [pairs[:i] + pairs[i + 1 :] for i in range(len(pairs))]
    mutants += [[*pairs, pair] for pair in pairs]
    mutants += [[*pairs, extra] for extra in ("versionId=other", "response-content-type=text%2Fhtml", "acl", "x=y")]
    for mutant in mutants:
        with pytest.raises(Refused):
            verify(replace(signed, url=f"{base}?{'&'.join(mutant)}"), operation, credentials=credentials)


FORM = UploadForm("uploads/a b/ü.png", content_type="image/png", min_bytes=1, max_bytes=5)


@pytest.mark.parametrize("credentials", [STATIC, TEMPORARY], ids=["static", "temporary"])
def test_a_form_is_good_for_one_key_one_type_and_the_size_between_its_bounds(
    credentials: StaticCredentials,
) -> None:
    signed = provider(credentials=credentials).sign(FORM, ttl=TTL, now=NOW)
    for length in (1, 5):
        verified = verify(signed, FORM, credentials=credentials, content_length=length)
        assert verified.path == "/uploads/a b/ü.png"
        assert verified.expires_at == signed.expires_at == NOW + TTL
        assert verified.query == {"content-type": "image/png", "success_action_status": "201"}
    for length in (0, 6):
        with pytest.raises(Refused, match=r"^content_length"):
            verify(signed, FORM, credentials=credentials, content_length=length)
    with pytest.raises(Refused, match=r"^expired"):
        verify(signed, FORM, credentials=credentials, now=signed.expires_at)
    with pytest.raises(Refused, match=r"^condition"):
        verify(signed, FORM, credentials=credentials, bucket="other-bucket")


@pytest.mark.parametrize("credentials", [STATIC, TEMPORARY], ids=["static", "temporary"])
def test_every_field_of_a_form_is_bound(credentials: StaticCredentials) -> None:
    signed = provider(credentials=credentials).sign(FORM, ttl=TTL, now=NOW)
    for name, value in signed.fields.items():
        without = {other: kept for other, kept in signed.fields.items() if other != name}
        with pytest.raises(Refused):
            verify(replace(signed, fields=without), FORM, credentials=credentials)
        for at in range(len(value)):
            for bit in range(8):
                mutant = value[:at] + chr(ord(value[at]) ^ 1 << bit) + value[at + 1 :]
                with pytest.raises(Refused):
                    verify(replace(signed, fields={**signed.fields, name: mutant}), FORM, credentials=credentials)


def test_a_policy_binds_every_field_by_equality() -> None:
    policy = json.loads(base64.b64decode(provider().sign(FORM, ttl=TTL, now=NOW).fields["policy"]))
    assert "starts-with" not in json.dumps(policy)
    assert [c for c in policy["conditions"] if isinstance(c, list)] == [["content-length-range", 1, 5]]
    assert {"bucket": BUCKET} in policy["conditions"]
    assert {"key": FORM.key} in policy["conditions"]


def test_links_are_of_version_4_in_every_region() -> None:
    for region in ("us-east-1", "eu-central-1", "us-gov-west-1"):
        for operation in (Download("a"), UPLOAD):
            query = query_of(provider(region=region).sign(operation, ttl=TTL, now=NOW))
            assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
            assert not query.keys() & {"AWSAccessKeyId", "Signature", "Expires"}


# --- time and credentials ----------------------------------------------------------------------------------


def test_the_instant_is_cut_to_the_second_and_told_in_utc() -> None:
    there = NOW.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=-9)))
    signed = provider().sign(Download("a"), ttl=TTL, now=there)
    assert query_of(signed)["X-Amz-Date"] == "20260304T050607Z"
    assert signed.expires_at == NOW + TTL
    assert signed.expires_at.tzinfo is UTC
    assert signed == provider().sign(Download("a"), ttl=TTL, now=NOW)


@pytest.mark.parametrize("seconds", [1, 604_800])
def test_lifetimes_at_the_bounds(seconds: int) -> None:
    signed = provider().sign(Download("a"), ttl=timedelta(seconds=seconds), now=NOW)
    assert query_of(signed)["X-Amz-Expires"] == str(seconds)


@pytest.mark.parametrize("operation", [Download("a"), UPLOAD, FORM], ids=["download", "upload", "form"])
@pytest.mark.parametrize("seconds", [0, -1, 604_801], ids=str)
def test_lifetimes_out_of_bounds(operation: Operation, seconds: int) -> None:
    with pytest.raises(InvalidTTL, match=f"ttl is {seconds} s; at least 1 s and at most 604800 s"):
        provider().sign(operation, ttl=timedelta(seconds=seconds), now=NOW)
    with pytest.raises(InvalidTTL):
        provider().sign_many([operation], ttl=timedelta(seconds=seconds), now=NOW)


@pytest.mark.parametrize(
    ("left", "covered"),
    [(86_400, 300), (360, 300), (359, 299), (200, 140), (61, 1)],
    ids=["long", "just-enough", "one-short", "short", "one-second"],
)
def test_no_link_outlives_its_credential(left: int, covered: int) -> None:
    credentials = replace(TEMPORARY, expires_at=NOW + timedelta(seconds=left))
    built = provider(credentials=credentials)
    end = NOW + timedelta(seconds=covered)
    for signed in (
        built.sign(Download("a"), ttl=TTL, now=NOW),
        *built.sign_many([Download("b"), UPLOAD], ttl=TTL, now=NOW),
    ):
        assert signed.expires_at == end
        assert query_of(signed)["X-Amz-Expires"] == str(covered)
    form = built.sign(FORM, ttl=TTL, now=NOW)
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert form.expires_at == end
    assert policy["expiration"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("left", [60, 0, -1, -86_400], ids=str)
def test_a_credential_that_ends_too_soon_signs_nothing(left: int) -> None:
    built = provider(credentials=replace(TEMPORARY, expires_at=NOW + timedelta(seconds=left)))
    for operation in (Download("a"), UPLOAD, FORM):
        with pytest.raises(CredentialsExpired, match="at least 61 s"):
            built.sign(operation, ttl=TTL, now=NOW)
    with pytest.raises(CredentialsExpired):
        built.sign_many([Download("a")], ttl=TTL, now=NOW)


class Rotating:
    """Credentials that are others whenever asked, as a refreshing chain may return."""

    def __init__(self, *ring: StaticCredentials) -> None:
        self._ring = itertools.cycle(ring)
        self.asked: list[tuple[datetime, timedelta]] = []

    def current(self, *, now: datetime, needed: timedelta) -> StaticCredentials:
        self.asked.append((now, needed))
        return next(self._ring)


def test_the_source_is_asked_for_each_signing_and_told_what_is_needed() -> None:
    source = Rotating(STATIC, TEMPORARY)
    built = provider(credentials=source)
    first, second = (built.sign(Download("a"), ttl=TTL, now=NOW) for _ in range(2))
    assert query_of(first)["X-Amz-Credential"].startswith(STATIC.access_key_id)
    assert query_of(second)["X-Amz-Credential"].startswith(TEMPORARY.access_key_id)
    verify(first, Download("a"))
    verify(second, Download("a"), credentials=TEMPORARY)
    built.sign_many([Download("a"), Download("b")], ttl=TTL, now=NOW)
    assert source.asked == [(NOW, TTL)] * 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from([NOW, NOW + timedelta(seconds=1), NOW + timedelta(days=1), NOW - timedelta(days=400)]),
            st.sampled_from([TTL, TTL * 2]),
            st.sampled_from(
                [
                    STATIC,
                    replace(STATIC, secret_access_key="another"),
                    replace(STATIC, session_token=TOKEN),
                    replace(STATIC, access_key_id="OTHER"),
                    replace(STATIC, expires_at=NOW + timedelta(days=2, seconds=400)),
                ]
            ),
            st.sampled_from([Download("a"), UPLOAD, FORM]),
        ),
        max_size=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_what_was_signed_before_changes_nothing(
    history: list[tuple[datetime, timedelta, StaticCredentials, Operation]],
) -> None:
    source = Rotating(*(credentials for _, _, credentials, _ in history)) if history else STATIC
    built = provider(credentials=source)
    for now, ttl, credentials, operation in history:
        fresh = provider(credentials=credentials)
        assert built.sign(operation, ttl=ttl, now=now) == fresh.sign(operation, ttl=ttl, now=now)


def test_sixteen_threads_sign_good_links_while_credentials_rotate() -> None:
    ring = [StaticCredentials(f"AKID{n}", f"secret-{n}", None if n % 2 else f"token-{n}") for n in range(5)]
    identities = {c.access_key_id: Identity(c.secret_access_key, c.session_token) for c in ring}

    class Source:
        """Safe to ask from threads: ``next`` of a counter is one step."""

        counter = itertools.count()

        def current(self, *, now: datetime, needed: timedelta) -> StaticCredentials:
            # Equal and never the same, as from a chain that builds them anew: then threads meet in __eq__.
            return replace(ring[next(self.counter) // 50 % len(ring)])

    built = provider(credentials=Source())
    barrier = threading.Barrier(16)

    def work(worker: int) -> list[tuple[datetime, str, SignedURL]]:
        barrier.wait()
        links = []
        for n in range(120):
            now = NOW + timedelta(seconds=n // 40, days=worker % 2)
            key = f"{worker}/{n}"
            if n % 4:
                links.append((now, key, built.sign(Download(key), ttl=TTL, now=now)))
            else:
                links += [(now, key, link) for link in built.sign_many([Download(key)] * 3, ttl=TTL, now=now)]
        return links

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(work, range(16)))
    finally:
        sys.setswitchinterval(interval)

    for now, key, link in itertools.chain.from_iterable(results):
        verified = verify_presigned(
            method="GET", url=link.url, headers={}, identities=identities, region="eu-central-1", now=now
        )
        assert verified.path == f"/{key}"
        assert verified.expires_at == link.expires_at == now + TTL
    assert len({verified_key(link) for _, _, link in itertools.chain.from_iterable(results)}) == len(ring)


def verified_key(link: SignedURL) -> str:
    return query_of(link)["X-Amz-Credential"].partition("/")[0]


def sign_in_a_child(built: S3Provider, answers: Any) -> None:
    answers.send([built.sign(Download("a"), ttl=TTL, now=NOW + timedelta(seconds=n)).url for n in range(3)])
    answers.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # from Python 3.12 on
def test_a_provider_signs_the_same_after_a_fork() -> None:
    built = provider(credentials=TEMPORARY)
    urls = [built.sign(Download("a"), ttl=TTL, now=NOW + timedelta(seconds=n)).url for n in range(3)]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=sign_in_a_child, args=(built, sender))
    child.start()
    sender.close()
    try:
        assert receiver.recv() == urls
    finally:
        child.join(timeout=30)
        receiver.close()
    assert child.exitcode == 0


@given(
    st.lists(st.one_of(examples.cacheable_downloads, examples.uploads(), examples.parts, examples.forms()), max_size=4)
)
@settings(max_examples=50, deadline=None)
def test_signing_many_is_signing_each(operations: list[Operation]) -> None:
    many = provider(credentials=TEMPORARY).sign_many(operations, ttl=TTL, now=NOW)
    assert many == [provider(credentials=TEMPORARY).sign(each, ttl=TTL, now=NOW) for each in operations]


def test_what_is_no_operation_is_not_signed() -> None:
    class Delete:
        key = "a"
        method = "DELETE"

    for impostor in (Delete(), None, "a", {"key": "a"}):
        with pytest.raises(AssertionError):
            provider().sign(impostor, ttl=TTL, now=NOW)  # type: ignore[arg-type]


# --- configuration -----------------------------------------------------------------------------------------

# id -> argument, value, a piece of the message
BAD_CONFIGURATION: dict[str, tuple[str, Any, str]] = {
    "bucket-empty": ("bucket", "", "bucket is ''; 3 to 63"),
    "bucket-short": ("bucket", "ab", "bucket is 'ab'; 3 to 63"),
    "bucket-long": ("bucket", "b" * 64, "3 to 63"),
    "bucket-with-slash": ("bucket", "a/b", "bucket is 'a/b'"),
    "bucket-with-a-query": ("bucket", "bucket?acl", "bucket is"),
    "bucket-with-space": ("bucket", "my bucket", "bucket is"),
    "bucket-with-line-feed": ("bucket", "bucket\n", "bucket is 'bucket\\n'"),
    "bucket-with-two-dots": ("bucket", "a..b", "bucket is"),
    "bucket-of-dots": ("bucket", "...", "bucket is"),
    "bucket-starts-with-a-hyphen": ("bucket", "-bucket", "bucket is"),
    "bucket-ends-with-a-dot": ("bucket", "bucket.", "bucket is"),
    "bucket-not-ascii": ("bucket", "bückét", "bucket is"),
    "bucket-as-arn": ("bucket", "arn:aws:s3:::bucket", "bucket is"),
    "bucket-none": ("bucket", None, "bucket is None"),
    "bucket-bytes": ("bucket", b"bucket", "bucket is b'bucket'"),
    "region-empty": ("region", "", "region is ''; the bucket's own region"),
    "region-none": ("region", None, "region is None"),
    "region-upper-case": ("region", "EU-central-1", "region is 'EU-central-1'"),
    "region-with-space": ("region", "eu central", "region is"),
    "region-with-slash": ("region", "eu/central", "region is"),
    "region-with-line-feed": ("region", "eu-central-1\n", "region is"),
    "region-that-is-a-host": ("region", "x.evil.example/", "region is"),
    "region-long": ("region", "a" * 64, "region is"),
    "style-auto": ("addressing_style", "auto", "addressing_style is 'auto'; virtual or path"),
    "style-none": ("addressing_style", None, "addressing_style is None"),
    "style-list": ("addressing_style", ["path"], "addressing_style is ['path']"),
    "credentials-none": ("credentials", None, "credentials are of type NoneType"),
    "credentials-tuple": ("credentials", ("AKID", "secret"), "credentials are of type tuple"),
    "credentials-dict": ("credentials", {"access_key_id": "AKID"}, "credentials are of type dict"),
    "endpoint-empty": ("endpoint_url", "", "a scheme of http or https"),
    "endpoint-host-only": ("endpoint_url", "store.example", "a scheme of http or https"),
    "endpoint-host-and-port-only": ("endpoint_url", "store.example:9000", "a scheme of http or https"),
    "endpoint-other-scheme": ("endpoint_url", "ftp://store.example", "a scheme of http or https"),
    "endpoint-file": ("endpoint_url", "file:///etc", "a scheme of http or https"),
    "endpoint-no-scheme": ("endpoint_url", "//store.example", "a scheme of http or https"),
    "endpoint-no-host": ("endpoint_url", "https://", "a lower-case host name"),
    "endpoint-port-only": ("endpoint_url", "https://:9000", "a lower-case host name"),
    "endpoint-empty-port": ("endpoint_url", "https://store.example:", "a lower-case host name"),
    "endpoint-upper-case": ("endpoint_url", "https://Store.example", "a lower-case host name"),
    "endpoint-space": ("endpoint_url", "https://store example", "a lower-case host name"),
    "endpoint-backslash": ("endpoint_url", "https://store.example\\@evil.example", "user name"),
    "endpoint-percent": ("endpoint_url", "https://store%2eexample", "a lower-case host name"),
    "endpoint-not-ascii": ("endpoint_url", "https://störe.example", "a lower-case host name"),
    "endpoint-port-too-high": ("endpoint_url", "https://store.example:65536", "http(s)://host[:port]"),
    "endpoint-port-no-number": ("endpoint_url", "https://store.example:abc", "http(s)://host[:port]"),
    "endpoint-port-padded": ("endpoint_url", "https://store.example:0443", "a lower-case host name"),
    "endpoint-open-bracket": ("endpoint_url", "https://[::1", "http(s)://host[:port]"),
    "endpoint-query": ("endpoint_url", "https://store.example?a=b", "no query and only a plain path"),
    "endpoint-fragment": ("endpoint_url", "https://store.example#a", "no query and only a plain path"),
    "endpoint-dot-segments": ("endpoint_url", "https://store.example/a/../b", "only a plain path"),
    "endpoint-doubled-slash": ("endpoint_url", "https://store.example//", "only a plain path"),
    "endpoint-encoded-path": ("endpoint_url", "https://store.example/a%20b", "only a plain path"),
    "endpoint-bytes": ("endpoint_url", b"https://store.example", "endpoint_url is b'https"),
    "endpoint-number": ("endpoint_url", 9000, "endpoint_url is 9000"),
}
PASSWORDS = {
    "plain": "https://someone:hunter2@store.example",
    "user-only": "https://hunter2@store.example",
    "other-scheme": "ftp://someone:hunter2@store.example",
    "no-scheme": "someone:hunter2@store.example",
    "bad-port": "https://someone:hunter2@store.example:abc",
    "bad-brackets": "https://someone:hunter2@[::1",
    "at-sign-in-it": "https://someone:hunter2@hunter2@store.example",
    "with-query": "https://someone:hunter2@store.example?x",
}


@pytest.mark.parametrize(("name", "value", "piece"), BAD_CONFIGURATION.values(), ids=BAD_CONFIGURATION)
def test_configuration_that_cannot_work_is_refused(name: str, value: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)):
        provider(**{name: value})


@pytest.mark.parametrize("endpoint_url", PASSWORDS.values(), ids=PASSWORDS)
def test_a_password_in_the_endpoint_is_refused_and_not_shown(endpoint_url: str) -> None:
    with pytest.raises(InvalidConfiguration, match="user name") as refusal:
        provider(endpoint_url=endpoint_url)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


def test_arguments_are_keywords() -> None:
    with pytest.raises(TypeError):
        S3Provider(BUCKET, "eu-central-1", STATIC)  # type: ignore[call-arg]


@pytest.fixture
def hostile_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "AWS_ENDPOINT_URL": "http://evil.example",
        "AWS_ENDPOINT_URL_S3": "http://evil.example",
        "AWS_PROFILE": "no-such-profile",
        "AWS_REGION": "ap-south-1",
        "AWS_DEFAULT_REGION": "ap-south-1",
        "AWS_ACCESS_KEY_ID": "EVIL",
        "AWS_SECRET_ACCESS_KEY": "evil",
        "AWS_SESSION_TOKEN": "evil",
        "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "HTTPS_PROXY": "http://evil.example",
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)


SCRIPT = """
import sys
from datetime import timedelta, datetime, UTC
import providers.s3
from providers.credentials import StaticCredentials
from providers.types import *
s3 = providers.s3.S3Provider(
    bucket="my-bucket", region="us-east-1", credentials=StaticCredentials("AKID", "secret", "token")
)
now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
operations = [
    Download("a b", filename="\\u00e9.txt", version="1"),
    Upload("a", content_type="image/png", size_bytes=1, checksum=Checksum("md5", bytes(16))),
    UploadForm("a", content_type="image/png", min_bytes=0, max_bytes=1),
    UploadPart("a", upload_id="x", number=1, size_bytes=1),
]
for signed in s3.sign_many(operations, ttl=timedelta(seconds=300), now=now):
    print(signed.url)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_environment_moves_no_link_and_signing_loads_no_sdk(hostile_environment: None) -> None:
    operations: list[Operation] = [
        Download("a b", filename="é.txt", version="1"),
        Upload("a", content_type="image/png", size_bytes=1, checksum=Checksum("md5", bytes(16))),
        UploadForm("a", content_type="image/png", min_bytes=0, max_bytes=1),
        UploadPart("a", upload_id="x", number=1, size_bytes=1),
    ]
    here = S3Provider(
        bucket=BUCKET, region="us-east-1", credentials=StaticCredentials("AKID", "secret", "token")
    ).sign_many(operations, ttl=TTL, now=NOW)
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{SCRIPT}"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *urls, modules = result.stdout.splitlines()
    assert urls == [signed.url for signed in here]
    assert all(urlsplit(url).netloc == "my-bucket.s3.us-east-1.amazonaws.com" for url in urls)
    assert "providers" in modules.split()
    forbidden = {"boto3", "botocore", "s3transfer", "django", "storages", "requests", "urllib3", "httpx"}
    assert not forbidden & set(modules.split())
    assert not {"gateway", "settings", "cryptography", "asyncio", "pytest"} & set(modules.split())


def test_an_sdk_would_have_followed_the_environment(hostile_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise the test above would prove nothing.
    monkeypatch.delenv("AWS_PROFILE")  # it is followed as well: to an error
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    client = botocore.session.Session().create_client("s3", region_name="us-east-1")
    url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a"})
    assert urlsplit(url).hostname == "evil.example"
