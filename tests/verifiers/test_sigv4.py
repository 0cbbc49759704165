"""Prove that the verifier accepts what the specification and botocore sign, and refuses everything else.

It must not use the project's own signer: the verifier is judged first, and judges that one later.
"""

from __future__ import annotations

import ast
import base64
import functools
import hashlib
import hmac
import json
import string
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers import sigv4
from tests.verifiers.sigv4 import REASONS, Identity, Refused, Verified, verify_post, verify_presigned

# --- AWS's worked examples ---------------------------------------------------------------------------------

EXAMPLE_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
EXAMPLE_IDENTITIES = {EXAMPLE_KEY_ID: Identity("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, "An example"
EXAMPLE_HOST = "https://examplebucket.s3.amazonaws.com"
EXAMPLE_REST = (
    "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)
EXAMPLE_SIGNED_AT = datetime(2013, 5, 24, tzinfo=UTC)

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html; its line ends are CR LF
EXAMPLE_POLICY = base64.b64encode(
    b"""\
{ "expiration": "2015-12-30T12:00:00.000Z",
  "conditions": [
    {"bucket": "sigv4examplebucket"},
    ["starts-with", "$key", "user/user1/"],
    {"acl": "public-read"},
    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
    ["starts-with", "$Content-Type", "image/"],
    {"x-amz-meta-uuid": "14365123651274"},
    {"x-amz-server-side-encryption": "AES256"},
    ["starts-with", "$x-amz-meta-tag", ""],

    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-date": "20151229T000000Z" }
  ]
}""".replace(b"\n", b"\r\n")
).decode()
EXAMPLE_FORM = {
    "key": "user/user1/${filename}",
    "acl": "public-read",
    "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
    "Content-Type": "image/jpeg",
    "x-amz-meta-uuid": "14365123651274",
    "x-amz-server-side-encryption": "AES256",
    "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Date": "20151229T000000Z",
    "x-amz-meta-tag": "",
    "Policy": EXAMPLE_POLICY,
    "X-Amz-Signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
}
# The part of each field that the example's policy leaves to whoever fills in the form.
EXAMPLE_FORM_FREE = {"key": "user/user1/", "Content-Type": "image/", "x-amz-meta-tag": ""}


def verify_example(url: str = EXAMPLE_HOST + EXAMPLE_REST, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {
        "method": "GET",
        "headers": {},
        "identities": EXAMPLE_IDENTITIES,
        "region": "us-east-1",
        "now": EXAMPLE_SIGNED_AT,
    }
    return verify_presigned(url=url, **arguments | changes)


def verify_example_form(fields: Mapping[str, str] = EXAMPLE_FORM, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {
        "bucket": "sigv4examplebucket",
        "identities": EXAMPLE_IDENTITIES,
        "region": "us-east-1",
        "now": datetime(2015, 12, 29, tzinfo=UTC),
        "content_length": 1,
        "filename": "C:\\pictures\\me.jpg",
    }
    return verify_post(fields=fields, **arguments | changes)


def one_bit_mutants(text: str, start: int = 0) -> Iterator[str]:
    for at in range(start, len(text)):
        for bit in range(8):
            yield text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]


def test_accepts_the_published_presigned_url() -> None:
    assert verify_example() == Verified(
        access_key_id=EXAMPLE_KEY_ID,
        method="GET",
        path="/test.txt",
        expires_at=datetime(2013, 5, 25, tzinfo=UTC),
        signed_headers=("host",),
        query={},
    )


def test_accepts_the_published_presigned_url_until_its_last_second() -> None:
    verify_example(now=EXAMPLE_SIGNED_AT + timedelta(seconds=86_399))
    with pytest.raises(Refused, match=r"^expired:"):
        verify_example(now=EXAMPLE_SIGNED_AT + timedelta(seconds=86_400))


def test_refuses_every_one_bit_change_of_the_published_presigned_url() -> None:
    for mutant in one_bit_mutants(EXAMPLE_REST):
        with pytest.raises(Refused):
            verify_example(EXAMPLE_HOST + mutant)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"method": "HEAD"}, id="method"),
        pytest.param({"method": "get"}, id="method-in-lower-case"),
        pytest.param({"region": "us-east-2"}, id="region"),
        pytest.param({"service": "s4"}, id="service"),
        pytest.param({"identities": {EXAMPLE_KEY_ID: Identity("another secret")}}, id="secret"),
        pytest.param({"identities": {EXAMPLE_KEY_ID: Identity("", "token")}}, id="identity-with-a-token"),
        pytest.param({"url": "http://examplebucket2.s3.amazonaws.com" + EXAMPLE_REST}, id="host"),
        pytest.param({"url": EXAMPLE_HOST + ":8443" + EXAMPLE_REST}, id="port"),
        pytest.param({"url": EXAMPLE_HOST + EXAMPLE_REST + "&versionId=1"}, id="another-parameter"),
        pytest.param({"headers": {"Host": "examplebucket2.s3.amazonaws.com"}}, id="host-header"),
        pytest.param({"headers": {"x-amz-acl": "public-read"}}, id="x-amz-header"),
    ],
)
def test_refuses_the_published_presigned_url_in_another_request(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        verify_example(**changes)


def test_accepts_the_published_presigned_url_where_only_its_spelling_differs() -> None:
    for url in (
        "HTTPS://ExampleBucket.s3.amazonaws.COM" + EXAMPLE_REST,
        EXAMPLE_HOST + ":443" + EXAMPLE_REST,
        "http" + EXAMPLE_HOST.removeprefix("https") + EXAMPLE_REST,
    ):
        assert verify_example(url) == verify_example()


def test_accepts_the_published_form() -> None:
    assert verify_example_form() == Verified(
        access_key_id=EXAMPLE_KEY_ID,
        method="POST",
        path="/user/user1/me.jpg",
        expires_at=datetime(2015, 12, 30, 12, tzinfo=UTC),
        signed_headers=(),
        query={
            "acl": "public-read",
            "success_action_redirect": EXAMPLE_FORM["success_action_redirect"],
            "content-type": "image/jpeg",
            "x-amz-meta-uuid": "14365123651274",
            "x-amz-server-side-encryption": "AES256",
            "x-amz-meta-tag": "",
        },
    )


def test_accepts_what_the_published_policy_leaves_free() -> None:
    verify_example_form(
        EXAMPLE_FORM
        | {"key": "user/user1/other", "Content-Type": "image/png,image/gif", "x-amz-meta-tag": "any"}
        | {"x-ignore-button": "send", "file": "bytes"}
    )


@pytest.mark.parametrize("name", EXAMPLE_FORM, ids=str)
def test_refuses_every_one_bit_change_of_the_published_form(name: str) -> None:
    bound = EXAMPLE_FORM_FREE.get(name, EXAMPLE_FORM[name])
    for mutant in one_bit_mutants(bound):
        with pytest.raises(Refused):
            verify_example_form(EXAMPLE_FORM | {name: mutant + EXAMPLE_FORM[name].removeprefix(bound)})


@pytest.mark.parametrize("name", EXAMPLE_FORM, ids=str)
def test_refuses_the_published_form_without_any_one_field(name: str) -> None:
    with pytest.raises(Refused):
        verify_example_form({other: value for other, value in EXAMPLE_FORM.items() if other != name})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"bucket": "sigv4examplebucket2"}, id="bucket"),
        pytest.param({"region": "us-east-2"}, id="region"),
        pytest.param({"now": datetime(2015, 12, 30, 12, tzinfo=UTC)}, id="expired"),
        pytest.param({"identities": {EXAMPLE_KEY_ID: Identity("another secret")}}, id="secret"),
        pytest.param({"fields": EXAMPLE_FORM | {"x-amz-meta-more": ""}}, id="another-field"),
        pytest.param({"fields": EXAMPLE_FORM | {"Content-Type": "image/png,text/html"}}, id="mixed-type-list"),
    ],
)
def test_refuses_the_published_form_in_another_request(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        verify_example_form(**changes)


# --- botocore's own links ----------------------------------------------------------------------------------

KEY_ID = "AKIAVERIFIERTEST0001"
SECRET = "s3cr3t/Verifier+Key000000000000000000001"
BUCKET = "verifier-bucket"


@functools.cache
def botocore_client(region: str, style: str, endpoint_url: str | None, token: str | None) -> Any:
    return boto3.client(
        "s3",
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )


@st.composite
def clients(draw: st.DrawFn) -> tuple[Any, str, str | None]:
    """Draw a client, its region and its session token."""
    region = draw(st.sampled_from(["us-east-1", "eu-central-1", "ap-southeast-2"]))
    style = draw(st.sampled_from(["virtual", "path"]))
    endpoint_url = draw(
        st.sampled_from([None, "http://127.0.0.1:9000", "https://store.example", "https://store.example:8443"])
    )
    token = draw(st.sampled_from([None, "FwoGZXIvYXdzE//+token=="]))
    return botocore_client(region, style, endpoint_url, token), region, token


def ascii_words(max_size: int) -> st.SearchStrategy[str]:
    visible = "".join(character for character in string.printable if "!" <= character <= "~")
    return (
        st.lists(st.text(visible, min_size=1), min_size=1, max_size=3).map(" ".join).map(lambda t: t[:max_size].strip())
    )


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def digests(size_bytes: int) -> st.SearchStrategy[str]:
    raw = st.binary(min_size=size_bytes, max_size=size_bytes)
    return raw.map(lambda digest: base64.b64encode(digest).decode())


def optional(**parameters: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parameters)


# operation -> HTTP method, strategy for its parameters beside bucket and key
OPERATIONS: Mapping[str, tuple[str, st.SearchStrategy[dict[str, Any]]]] = {
    "get_object": (
        "GET",
        optional(
            ResponseContentDisposition=texts,
            ResponseContentType=texts,
            VersionId=texts,
            PartNumber=st.just(7),
        ),
    ),
    "head_object": ("HEAD", optional(VersionId=texts, ResponseContentType=texts)),
    "put_object": (
        "PUT",
        optional(
            ContentType=st.sampled_from(["image/png", "text/plain; charset=utf-8"]),
            ContentLength=st.integers(0, 5 * 2**30),
            ContentMD5=digests(16),
            ChecksumSHA256=digests(32),
            IfNoneMatch=st.just("*"),
            IfMatch=st.just('"etag"'),
            Metadata=st.fixed_dictionaries({"a-name": ascii_words(30)}, optional={"b": ascii_words(10)}),
        ),
    ),
    "upload_part": (
        "PUT",
        st.fixed_dictionaries(
            {"UploadId": texts, "PartNumber": st.integers(1, 10_000)},
            optional={"ContentLength": st.integers(0, 5 * 2**30)},
        ),
    ),
    "create_multipart_upload": ("POST", optional(ContentType=st.just("image/png"))),
    "delete_object": ("DELETE", optional(VersionId=texts)),
}
QUERY_NAMES = {
    "ResponseContentDisposition": "response-content-disposition",
    "ResponseContentType": "response-content-type",
    "VersionId": "versionId",
    "PartNumber": "partNumber",
    "UploadId": "uploadId",
}
HEADER_NAMES = {
    "ContentType": "Content-Type",
    "ContentLength": "Content-Length",
    "ContentMD5": "Content-MD5",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "IfNoneMatch": "If-None-Match",
    "IfMatch": "If-Match",
}


def headers_for(parameters: Mapping[str, Any]) -> dict[str, str]:
    headers = {HEADER_NAMES[name]: str(value) for name, value in parameters.items() if name in HEADER_NAMES}
    return headers | {f"x-amz-meta-{name}": value for name, value in parameters.get("Metadata", {}).items()}


def signed_at(url: str) -> datetime:
    """Tell when botocore's hidden clock said the link was signed."""
    date = dict(parse_qsl(urlsplit(url).query))["X-Amz-Date"]
    return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@given(data=st.data(), client=clients(), operation=st.sampled_from(sorted(OPERATIONS)), key=keys)
@settings(max_examples=300, deadline=None)
def test_accepts_what_botocore_signs(
    data: st.DataObject, client: tuple[Any, str, str | None], operation: str, key: str
) -> None:
    signer, region, token = client
    method, strategy = OPERATIONS[operation]
    parameters = data.draw(strategy, label="parameters")
    expires_seconds = data.draw(st.integers(1, 604_800), label="expires_seconds")
    url = signer.generate_presigned_url(
        operation, Params={"Bucket": BUCKET, "Key": key} | parameters, ExpiresIn=expires_seconds
    )
    headers = headers_for(parameters)

    verified = verify_presigned(
        method=method,
        url=url,
        headers=headers,
        identities={KEY_ID: Identity(SECRET, token)},
        region=region,
        now=signed_at(url),
    )

    assert verified.method == method
    assert verified.path.removeprefix(f"/{BUCKET}") == f"/{key}"
    assert verified.expires_at == signed_at(url) + timedelta(seconds=expires_seconds)
    assert set(verified.signed_headers) == {"host"} | {name.lower() for name in headers}
    expected = {QUERY_NAMES[name]: str(value) for name, value in parameters.items() if name in QUERY_NAMES}
    assert verified.query == expected | ({"uploads": ""} if operation == "create_multipart_upload" else {})


@given(client=clients(), key=keys, low=st.integers(0, 10), more=st.integers(0, 10), length=st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_accepts_what_botocore_signs_as_a_form(
    client: tuple[Any, str, str | None], key: str, low: int, more: int, length: int
) -> None:
    signer, region, token = client
    key = key.replace("${filename}", "") or "key"
    post = signer.generate_presigned_post(
        BUCKET,
        key,
        Fields={"Content-Type": "image/png"},
        Conditions=[{"Content-Type": "image/png"}, ["content-length-range", low, low + more]],
        ExpiresIn=60,
    )
    date = post["fields"]["x-amz-date"]

    def verify() -> Verified:
        return verify_post(
            fields=post["fields"],
            bucket=BUCKET,
            identities={KEY_ID: Identity(SECRET, token)},
            region=region,
            now=datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
            content_length=length,
        )

    if low <= length <= low + more:
        assert verify().path == f"/{key}"
    else:
        with pytest.raises(Refused, match=r"^content_length:"):
            verify()


MUTATED = {
    "virtual-host": (("eu-central-1", "virtual", None, None), "get_object", {"VersionId": "a+b/ü"}),
    "path-style-token": (
        ("us-east-1", "path", "http://127.0.0.1:9000", "FwoGZXIvYXdzE//+token=="),
        "get_object",
        {"ResponseContentDisposition": 'attachment; filename="a b.txt"', "ResponseContentType": "text/plain"},
    ),
    "signed-headers": (
        ("us-east-1", "path", "https://store.example:8443", None),
        "put_object",
        {"ContentType": "image/png", "ContentLength": 5, "IfNoneMatch": "*", "Metadata": {"a": "b"}},
    ),
    "part": (
        ("us-east-1", "virtual", "https://store.example", None),
        "upload_part",
        {"UploadId": "2~x", "PartNumber": 3},
    ),
}


@pytest.mark.parametrize("case", MUTATED, ids=str)
def test_refuses_every_one_bit_mutant_of_a_link(case: str) -> None:
    client, operation, parameters = MUTATED[case]
    key = "ä dir//x+y~z.txt"
    url = botocore_client(*client).generate_presigned_url(
        operation, Params={"Bucket": BUCKET, "Key": key} | parameters, ExpiresIn=600
    )
    verify = functools.partial(
        verify_presigned,
        method=OPERATIONS[operation][0],
        headers=headers_for(parameters),
        identities={KEY_ID: Identity(SECRET, client[3])},
        region=client[0],
        now=signed_at(url),
    )
    verify(url=url)
    origin_length = url.index("/", len("https://"))

    # The case of a percent-encoded digit is refused as well: the specification asks for upper case.
    for mutant in one_bit_mutants(url, start=origin_length):
        with pytest.raises(Refused):
            verify(url=mutant)

    # In scheme and host, a change of case is the same request; nothing else is.
    for mutant in one_bit_mutants(url[:origin_length]):
        if mutant.lower() == url[:origin_length].lower():
            verify(url=mutant + url[origin_length:])
        else:
            with pytest.raises(Refused):
                verify(url=mutant + url[origin_length:])


# --- every reason to refuse --------------------------------------------------------------------------------

NOW = datetime(2024, 2, 29, 12, tzinfo=UTC)
TOKEN = "FwoGZXIvYXdzE//+token=="
TOKEN_KEY_ID = "ASIAVERIFIERTEST0002"
IDENTITIES = {KEY_ID: Identity(SECRET), TOKEN_KEY_ID: Identity(SECRET, TOKEN)}
ORIGIN = "https://store.example"
PUT_HEADERS = {"Content-Type": "image/png"}


def hmac_chain(*messages: str) -> str:
    key = ("AWS4" + SECRET).encode()
    for message in messages:
        key = hmac.new(key, message.encode(), hashlib.sha256).digest()
    return key.hex()


def link(
    *,
    path: str = "/bucket/key",
    method: str = "PUT",
    parameters: Mapping[str, str | None] | None = None,
    headers: Mapping[str, str] | None = None,
    key_id: str = KEY_ID,
    scope: str = "20240229/us-east-1/s3/aws4_request",
    payload: str = "UNSIGNED-PAYLOAD",
) -> str:
    """Sign a link that is right in its signature and wrong in whatever the caller says.

    ``parameters`` changes the query: None takes a parameter out. ``path`` is signed and used as it is.
    """
    signed = {"host": "store.example"} | {
        name.lower(): value for name, value in (PUT_HEADERS if headers is None else headers).items()
    }
    query: dict[str, str | None] = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key_id}/{scope}",
        "X-Amz-Date": "20240229T120000Z",
        "X-Amz-Expires": "300",
        "X-Amz-SignedHeaders": ";".join(sorted(signed)),
    }
    query |= parameters or {}
    pairs = sorted((name, value) for name, value in query.items() if value is not None)
    canonical_query = urlencode(pairs, quote_via=quote, safe="~")
    names = str(query["X-Amz-SignedHeaders"])
    canonical_headers = "".join(f"{name}:{signed.get(name, '')}\n" for name in names.split(";"))
    canonical = "\n".join([method, path, canonical_query, canonical_headers, names, payload])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    return f"{ORIGIN}{path}?{canonical_query}&X-Amz-Signature={hmac_chain(*scope.split('/'), text)}"


def verify_link(url: str, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {
        "method": "PUT",
        "headers": PUT_HEADERS,
        "identities": IDENTITIES,
        "region": "us-east-1",
        "now": NOW,
    }
    return verify_presigned(url=url, **arguments | changes)


FORM_CONDITIONS: list[Any] = [
    {"bucket": "bucket"},
    ["eq", "$key", "key"],
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-credential": f"{KEY_ID}/20240229/us-east-1/s3/aws4_request"},
    {"x-amz-date": "20240229T120000Z"},
    ["content-length-range", 1, 5],
]


def form_policy(conditions: list[Any] = FORM_CONDITIONS, expiration: str = "2024-02-29T12:05:00Z") -> bytes:
    return json.dumps({"expiration": expiration, "conditions": conditions}).encode()


def loose_base64(raw: bytes) -> bytes:
    """Encode so that the last digit has a bit that belongs to no byte."""
    encoded = base64.b64encode(raw + b" " * (-len(raw) % 3 + 1))
    assert encoded.endswith(b"A==")
    return encoded[:-3] + bytes([encoded[-3] + 1]) + b"=="


def form(
    *,
    policy: bytes | None = None,
    conditions: list[Any] = FORM_CONDITIONS,
    expiration: str = "2024-02-29T12:05:00Z",
    fields: Mapping[str, str | None] | None = None,
    encode: Callable[[bytes], bytes] = base64.b64encode,
) -> dict[str, str]:
    """Sign a form that is right in its signature and wrong in whatever the caller says."""
    if policy is None:
        policy = form_policy(conditions, expiration)
    encoded = encode(policy).decode()
    whole: dict[str, str | None] = {
        "key": "key",
        "policy": encoded,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{KEY_ID}/20240229/us-east-1/s3/aws4_request",
        "x-amz-date": "20240229T120000Z",
        "x-amz-signature": hmac_chain("20240229", "us-east-1", "s3", "aws4_request", encoded),
    }
    whole |= fields or {}
    return {name: value for name, value in whole.items() if value is not None}


def verify_form(fields: Mapping[str, str], **changes: Any) -> Verified:
    arguments: dict[str, Any] = {
        "bucket": "bucket",
        "identities": IDENTITIES,
        "region": "us-east-1",
        "now": NOW,
        "content_length": 5,
    }
    return verify_post(fields=fields, **arguments | changes)


def without(*names: str) -> list[Any]:
    """Return the form's conditions but those on the named fields."""
    return [
        condition
        for condition in FORM_CONDITIONS
        if not (isinstance(condition, dict) and set(condition) & set(names))
        and not (isinstance(condition, list) and condition[1] in [f"${name}" for name in names])
    ]


def test_accepts_the_link_and_the_form_that_the_tables_start_from() -> None:
    assert verify_link(link(), body_length=5).path == "/bucket/key"
    assert verify_link(link(key_id=TOKEN_KEY_ID, parameters={"X-Amz-Security-Token": TOKEN}))
    assert verify_form(form()).path == "/key"


def test_reads_a_parameter_without_equals_sign_as_empty() -> None:
    url = link(parameters={"uploads": ""}).replace("uploads=", "uploads")
    assert verify_link(url).query == {"uploads": ""}


def test_accepts_a_header_that_need_not_be_signed() -> None:
    assert verify_link(link(), headers=PUT_HEADERS | {"Range": "bytes=0-9", "User-Agent": "a b"})


def test_takes_the_signed_content_length_from_the_header_or_the_body() -> None:
    url = link(headers=PUT_HEADERS | {"Content-Length": "5"})
    assert verify_link(url, body_length=5)
    assert verify_link(url, headers=PUT_HEADERS | {"Content-Length": "5"})
    assert verify_link(url, headers=PUT_HEADERS | {"Content-Length": "5"}, body_length=5)


def long_link(seconds: str) -> str:
    return link(parameters={"X-Amz-Expires": seconds})


def scoped(scope: str) -> str:
    return link(scope=scope)


# id -> reason, the link, and what else is unlike verify_link's defaults
LINK_REFUSALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no-url": ("url", "store.example/bucket/key", {}),
    "other-scheme": ("url", link().replace("https", "ftp"), {}),
    "user-information": ("url", link().replace("//", "//someone@"), {}),
    "port-zero": ("url", link().replace("example/", "example:0/"), {}),
    "port-too-high": ("url", link().replace("example/", "example:65536/"), {}),
    "fragment": ("url", link() + "#top", {}),
    "space": ("url", link().replace("/key", "/k ey"), {}),
    "line-feed-at-the-end": ("url", link() + "\n", {}),
    "non-ascii": ("url", link().replace("/key", "/k\u00e9y"), {}),
    "lower-case-escape": ("encoding", link(path="/bucket/k%2b"), {}),
    "needless-escape": ("encoding", link(path="/bucket/%6Bey"), {}),
    "missing-escape": ("encoding", link(path="/bucket/k+y"), {}),
    "broken-escape": ("encoding", link(path="/bucket/k%2"), {}),
    "escape-of-no-utf-8": ("encoding", link(path="/bucket/k%FF"), {}),
    "escaped-slash-in-path": ("encoding", link(path="/bucket%2Fkey"), {}),
    "bare-slash-in-query": ("encoding", link().replace("%2F", "/"), {}),
    "second-question-mark": ("encoding", link() + "&a=b?c", {}),
    "empty-parameter": ("encoding", link() + "&", {}),
    "nameless-parameter": ("encoding", link() + "&=1", {}),
    "expires-twice": ("duplicate_parameter", link() + "&X-Amz-Expires=300", {}),
    "signature-twice": ("duplicate_parameter", link() + "&X-Amz-Signature=" + "0" * 64, {}),
    "version-twice": ("duplicate_parameter", link(parameters={"versionId": "1"}) + "&versionId=2", {}),
    "hoisted-header": ("unknown_parameter", link(parameters={"x-amz-acl": "private"}), {}),
    "undocumented": ("unknown_parameter", link(parameters={"X-Amz-Foo": "1"}), {}),
    "parameter-in-other-case": ("unknown_parameter", link(parameters={"x-amz-expires": "300"}), {}),
    "no-query": ("missing_parameter", ORIGIN + "/bucket/key", {}),
    "no-expires": ("missing_parameter", link(parameters={"X-Amz-Expires": None}), {}),
    "empty-expires": ("missing_parameter", long_link(""), {}),
    "no-signature": ("missing_parameter", link().partition("&X-Amz-Signature")[0], {}),
    "authorization": ("two_mechanisms", link(), {"headers": PUT_HEADERS | {"Authorization": "Bearer x"}}),
    "version-2-signature": ("two_mechanisms", link(parameters={"Signature": "x"}), {}),
    "sha-1": ("algorithm", link(parameters={"X-Amz-Algorithm": "AWS4-HMAC-SHA1"}), {}),
    "lower-case-algorithm": ("algorithm", link(parameters={"X-Amz-Algorithm": "aws4-hmac-sha256"}), {}),
    "short-credential": ("credential", scoped("20240229/us-east-1/s3"), {}),
    "long-credential": ("credential", scoped("20240229/us-east-1/s3/aws4_request/x"), {}),
    "no-key-id": ("credential", link(key_id=""), {}),
    "extended-date": ("date", link(parameters={"X-Amz-Date": "2024-02-29T12:00:00Z"}), {}),
    "no-such-day": ("date", link(parameters={"X-Amz-Date": "20240230T120000Z"}), {}),
    "leap-second": ("date", link(parameters={"X-Amz-Date": "20240229T115960Z"}), {}),
    "date-in-arabic-digits": ("date", link(parameters={"X-Amz-Date": "2024022\u0669T120000Z"}), {}),
    "other-day-in-scope": ("scope_date", scoped("20240228/us-east-1/s3/aws4_request"), {}),
    "other-region-in-scope": ("scope_region", scoped("20240229/us-east-2/s3/aws4_request"), {}),
    "other-service-in-scope": ("scope_service", scoped("20240229/us-east-1/sts/aws4_request"), {}),
    "other-end-of-scope": ("scope_terminator", scoped("20240229/us-east-1/s3/aws5_request"), {}),
    "signed-ahead": ("not_yet_valid", link(), {"now": NOW - timedelta(minutes=15, seconds=1)}),
    "zero-seconds": ("expires_range", long_link("0"), {}),
    "negative-seconds": ("expires_range", long_link("-1"), {}),
    "plus-sign": ("expires_range", long_link("+300"), {}),
    "leading-zero": ("expires_range", long_link("0300"), {}),
    "fraction": ("expires_range", long_link("300.0"), {}),
    "arabic-digits": ("expires_range", long_link("\u0663\u0660\u0660"), {}),
    "over-seven-days": ("expires_range", long_link("604801"), {}),
    "over-seven-digits": ("expires_range", long_link("9" * 30), {}),
    "at-expiry": ("expired", link(), {"now": NOW + timedelta(seconds=300)}),
    "unknown-key-id": ("access_key", link(key_id="AKIANOBODY"), {}),
    "token-not-sent": ("token", link(key_id=TOKEN_KEY_ID), {}),
    "token-empty": ("token", link(parameters={"X-Amz-Security-Token": ""}), {}),
    "token-empty-for-its-owner": (
        "token",
        link(key_id=TOKEN_KEY_ID, parameters={"X-Amz-Security-Token": ""}),
        {},
    ),
    "token-empty-as-the-identity-has-it": (
        "token",
        link(parameters={"X-Amz-Security-Token": ""}),
        {"identities": {KEY_ID: Identity(SECRET, "")}},
    ),
    "token-of-nobody": ("token", link(parameters={"X-Amz-Security-Token": TOKEN}), {}),
    "token-of-another": ("token", link(key_id=TOKEN_KEY_ID, parameters={"X-Amz-Security-Token": "x"}), {}),
    "header-in-two-cases": ("duplicate_header", link(), {"headers": PUT_HEADERS | {"content-type": "a/b"}}),
    "header-with-line-feed": ("header_value", link(), {"headers": {"Content-Type": "a/b\nx: y"}}),
    "header-with-two-spaces": ("header_value", link(), {"headers": {"Content-Type": "a/b;  c"}}),
    "header-with-space-before": ("header_value", link(), {"headers": {"Content-Type": " a/b"}}),
    "header-with-non-ascii": ("header_value", link(), {"headers": {"Content-Type": "a/\u00e9"}}),
    "other-host": ("host", link(), {"headers": PUT_HEADERS | {"Host": "other.example"}}),
    "signed-headers-unsorted": (
        "signed_headers",
        link(parameters={"X-Amz-SignedHeaders": "host;content-type"}),
        {},
    ),
    "signed-headers-twice": ("signed_headers", link(parameters={"X-Amz-SignedHeaders": "host;host"}), {}),
    "signed-headers-upper-case": ("signed_headers", link(parameters={"X-Amz-SignedHeaders": "Host"}), {}),
    "signed-headers-open-end": ("signed_headers", link(parameters={"X-Amz-SignedHeaders": ";host"}), {}),
    "host-unsigned": ("unsigned_header", link(parameters={"X-Amz-SignedHeaders": "content-type"}), {}),
    "type-unsigned": ("unsigned_header", link(headers={}), {}),
    "md5-unsigned": ("unsigned_header", link(), {"headers": PUT_HEADERS | {"Content-MD5": "x"}}),
    "if-none-match-unsigned": ("unsigned_header", link(), {"headers": PUT_HEADERS | {"If-None-Match": "*"}}),
    "if-match-unsigned": ("unsigned_header", link(), {"headers": PUT_HEADERS | {"If-Match": '"e"'}}),
    "metadata-unsigned": ("unsigned_header", link(), {"headers": PUT_HEADERS | {"X-Amz-Meta-A": "b"}}),
    "header-not-sent": ("missing_header", link(), {"headers": {}}),
    "length-not-sent": ("missing_header", link(headers=PUT_HEADERS | {"Content-Length": "5"}), {}),
    "length-unlike-body": (
        "content_length",
        link(headers=PUT_HEADERS | {"Content-Length": "5"}),
        {"headers": PUT_HEADERS | {"Content-Length": "5"}, "body_length": 6},
    ),
    "signed-payload": (
        "payload",
        link(headers=PUT_HEADERS | {"x-amz-content-sha256": "0" * 64}, payload="0" * 64),
        {"headers": PUT_HEADERS | {"x-amz-content-sha256": "0" * 64}},
    ),
    "body-of-other-length": (
        "signature",
        link(headers=PUT_HEADERS | {"Content-Length": "5"}),
        {"body_length": 6},
    ),
    "other-method": ("signature", link(), {"method": "POST"}),
    "other-header-value": ("signature", link(), {"headers": {"Content-Type": "image/gif"}}),
    "added-parameter": ("signature", link() + "&versionId=1", {}),
    "other-secret": ("signature", link(), {"identities": {KEY_ID: Identity("x")}}),
    "signature-in-upper-case": (
        "signature",
        link()[:-64] + link()[-64:].upper(),
        {},
    ),
    "signature-cut": ("signature", link()[:-1], {}),
    "explicit-host-port-signed-without": ("signature", link().replace("example/", "example:8443/"), {}),
}

# id -> reason, the form, and what else is unlike verify_form's defaults
FORM_REFUSALS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "field-in-two-cases": ("duplicate_parameter", form(fields={"Key": "other"}), {}),
    "no-policy": ("missing_parameter", form(fields={"policy": None}), {}),
    "no-key": ("missing_parameter", form(fields={"key": None}), {}),
    "no-signature": ("missing_parameter", form(fields={"x-amz-signature": None}), {}),
    "other-algorithm": ("algorithm", form(fields={"x-amz-algorithm": "AWS4-HMAC-SHA1"}), {}),
    "short-credential": ("credential", form(fields={"x-amz-credential": KEY_ID}), {}),
    "other-date": ("date", form(fields={"x-amz-date": "20240229"}), {}),
    "other-day": ("scope_date", form(fields={"x-amz-date": "20240228T120000Z"}), {}),
    "other-region": ("scope_region", form(), {"region": "us-east-2"}),
    "other-service": ("scope_service", form(), {"service": "sts"}),
    "signed-ahead": ("not_yet_valid", form(), {"now": NOW - timedelta(minutes=16)}),
    "unknown-key-id": ("access_key", form(), {"identities": {}}),
    "token-not-sent": ("token", form(), {"identities": {KEY_ID: Identity(SECRET, TOKEN)}}),
    "token-empty": ("token", form(fields={"x-amz-security-token": ""}), {}),
    "other-secret": ("signature", form(), {"identities": {KEY_ID: Identity("x")}}),
    "other-policy": ("signature", form(fields={"policy": form(conditions=[])["policy"]}), {}),
    "expired": ("expired", form(), {"now": NOW + timedelta(minutes=5)}),
    "over-seven-days": ("expires_range", form(expiration="2024-03-07T12:00:01Z"), {}),
    "not-base64": ("policy", form(encode=lambda raw: b"*" + raw), {}),
    "base64-with-line-feed": ("policy", form(encode=base64.encodebytes), {}),
    "base64-with-loose-bits": ("policy", form(encode=loose_base64), {}),
    "not-json": ("policy", form(policy=b"{"), {}),
    "not-utf-8": ("policy", form(policy=b'{"\xff": 1}'), {}),
    "too-deep": ("policy", form(policy=b"[" * 100_000), {}),
    "not-an-object": ("policy", form(policy=b"[]"), {}),
    "no-expiration": ("policy", form(policy=b'{"conditions": []}'), {}),
    "more-members": (
        "policy",
        form(policy=b'{"expiration": "2024-02-29T12:05:00Z", "conditions": [], "version": 1}'),
        {},
    ),
    "member-twice": (
        "policy",
        form(policy=form_policy().replace(b'{"bucket"', b'{"bucket": "other", "bucket"')),
        {},
    ),
    "expiration-is-a-number": ("policy", form(policy=b'{"expiration": 1, "conditions": []}'), {}),
    "conditions-are-an-object": (
        "policy",
        form(policy=b'{"expiration": "2024-02-29T12:05:00Z", "conditions": {}}'),
        {},
    ),
    "expiration-without-zone": ("policy", form(expiration="2024-02-29T12:05:00"), {}),
    "expiration-on-no-day": ("policy", form(expiration="2024-02-30T12:05:00Z"), {}),
    "unknown-operator": ("policy", form(conditions=[*FORM_CONDITIONS, ["ends-with", "$key", ""]]), {}),
    "reference-without-dollar": ("policy", form(conditions=[*FORM_CONDITIONS, ["eq", "key", "key"]]), {}),
    "two-in-one": ("policy", form(conditions=[{"bucket": "bucket", "key": "key"}]), {}),
    "value-is-a-number": ("policy", form(conditions=[*FORM_CONDITIONS, {"key": 1}]), {}),
    "range-of-text": ("policy", form(conditions=[["content-length-range", "1", "5"]]), {}),
    "range-of-truth": ("policy", form(conditions=[["content-length-range", False, True]]), {}),
    "range-reversed": ("policy", form(conditions=[["content-length-range", 5, 1]]), {}),
    "range-below-zero": ("policy", form(conditions=[["content-length-range", -1, 5]]), {}),
    "too-small": ("content_length", form(), {"content_length": 0}),
    "too-large": ("content_length", form(), {"content_length": 6}),
    "other-bucket": ("condition", form(), {"bucket": "other"}),
    "form-for-another-bucket": (
        "condition",
        form(conditions=[{"bucket": "other"}, *without("bucket")], fields={"bucket": "other"}),
        {},
    ),
    "other-key": ("condition", form(fields={"key": "other"}), {}),
    "other-prefix": (
        "condition",
        form(conditions=[*without("key"), ["starts-with", "$key", "user/"]]),
        {},
    ),
    "file-name-out-of-bounds": ("condition", form(fields={"key": "${filename}"}), {"filename": "x"}),
    "field-not-sent": ("condition", form(conditions=[*FORM_CONDITIONS, ["starts-with", "$acl", ""]]), {}),
    "bucket-unbound": ("uncovered_field", form(conditions=without("bucket")), {}),
    "key-unbound": ("uncovered_field", form(conditions=without("key")), {}),
    "date-unbound": ("uncovered_field", form(conditions=without("x-amz-date")), {}),
    "date-bound-by-prefix": (
        "uncovered_field",
        form(conditions=[*without("x-amz-date"), ["starts-with", "$x-amz-date", "2024"]]),
        {},
    ),
    "field-unbound": ("uncovered_field", form(fields={"acl": "public-read"}), {}),
}


@pytest.mark.parametrize(("reason", "url", "changes"), LINK_REFUSALS.values(), ids=LINK_REFUSALS)
def test_refuses_the_link(reason: str, url: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        verify_link(url, **changes)
    assert refusal.value.reason == reason


@pytest.mark.parametrize(("reason", "fields", "changes"), FORM_REFUSALS.values(), ids=FORM_REFUSALS)
def test_refuses_the_form(reason: str, fields: dict[str, str], changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        verify_form(fields, **changes)
    assert refusal.value.reason == reason


def test_the_tables_hold_every_reason() -> None:
    assert {reason for reason, *_ in [*LINK_REFUSALS.values(), *FORM_REFUSALS.values()]} == set(REASONS)


def test_a_naive_clock_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="naive"):
        verify_link(link(), now=NOW.replace(tzinfo=None))


def test_no_message_holds_a_signature_token_or_secret() -> None:
    url = link(key_id=TOKEN_KEY_ID, parameters={"X-Amz-Security-Token": TOKEN})
    for bad in (url[:-1], url.replace("%2F%2F", "%2F"), url + "&" + url[-30:]):
        with pytest.raises(Refused) as refusal:
            verify_link(bad)
        assert url[-63:-1] not in str(refusal.value)
        assert "FwoG" not in str(refusal.value)
    assert SECRET not in repr(IDENTITIES)
    assert TOKEN not in repr(IDENTITIES)


# --- independence ------------------------------------------------------------------------------------------


def test_the_verifiers_import_the_standard_library_only() -> None:
    folder = Path(sigv4.__file__).parent
    modules = [path for path in folder.rglob("*.py") if not path.name.startswith("test_")]
    assert folder / "sigv4.py" in modules
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module.name} imports from beside itself"
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.partition(".")[0] in sys.stdlib_module_names, f"{module.name} imports {name}"
            # importlib and __import__ would get round the check above
            assert not (isinstance(node, ast.Name) and node.id == "__import__")
            assert "importlib" not in names
