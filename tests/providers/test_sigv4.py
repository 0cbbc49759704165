"""The stages of Signature Version 4, each against botocore's, the specification and AWS's examples."""

from __future__ import annotations

import hashlib
import hmac
import string
from typing import Any

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers import sigv4
from tests.providers import examples, oracle

EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

# What scopes, dispositions and tokens are made of, so that the fast path and the slow one get their share.
texts = st.one_of(
    st.text(string.printable, max_size=20),
    st.text(st.sampled_from("aZ0-._~%/ \";=+&?#'é日\n"), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
names = st.text(string.ascii_letters + "-_.~ /", min_size=1, max_size=12)
header_names = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=12).filter(
    lambda name: name not in {"host", *SIGNED_HEADERS_BLACKLIST}  # what proxies change is never signed
)
header_values = st.lists(st.text(string.ascii_letters + string.digits + "/;=*+", min_size=1), min_size=1).map(" ".join)


def encoded_by_the_specification(text: str, unreserved: str) -> str:
    """URI-encode byte by byte, as the specification words it."""
    plain = unreserved.encode()
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in text.encode())


UNRESERVED = string.ascii_letters + string.digits + "-._~"


@given(texts)
@settings(max_examples=400, deadline=None)
@example("%")
@example("%25")
@example("%2F/")
@example("AKID/20260304/eu-central-1/s3/aws4_request")
@example("attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A9.txt")
def test_values_are_encoded_as_the_specification_says_and_botocore_does(text: str) -> None:
    assert sigv4.encode_value(text) == encoded_by_the_specification(text, UNRESERVED)
    assert sigv4.encode_value(text) == percent_encode(text, safe="-._~")


@given(st.one_of(texts, examples.keys))
@settings(max_examples=400, deadline=None)
@example("a//b/../%2F")
def test_paths_keep_their_slashes(key: str) -> None:
    assert sigv4.encode_path(key) == encoded_by_the_specification(key, UNRESERVED + "/")
    assert sigv4.encode_path(key) == percent_encode(key, safe="/-._~")


def test_every_single_character_is_encoded_as_the_specification_says() -> None:
    # Alone, so that a fast path that lets one character too many through is the path that is taken.
    for character in map(chr, [*range(0x180), 0x2028, 0xFFFD, 0x1F600]):
        text = f"a{character}b"
        assert sigv4.encode_value(text) == encoded_by_the_specification(text, UNRESERVED)
        assert sigv4.encode_path(text) == encoded_by_the_specification(text, UNRESERVED + "/")


@pytest.mark.parametrize("encode", [sigv4.encode_path, sigv4.encode_value], ids=lambda f: f.__name__)
@pytest.mark.parametrize("text", ["\ud800", "a/\udfff;="], ids=["alone", "among-others"])
def test_a_lone_surrogate_cannot_be_encoded(encode: Any, text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode(text)


def direct_request(
    method: str, path: str, query: str, headers: dict[str, str], seconds: int = 300
) -> tuple[oracle.Recorder, AWSRequest]:
    """Sign a request with botocore's signer alone, no client, no service model."""
    credentials = Credentials(examples.TEMPORARY.access_key_id, examples.TEMPORARY.secret_access_key)
    signer = oracle.Recorder(credentials, "s3", "eu-central-1", expires=seconds)
    request = AWSRequest(method=method, url=f"https://store.example{path}?{query}", headers=headers)
    with oracle.stopped(examples.NOW):
        signer.add_auth(request)
    return signer, request


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_each_stage_is_botocores(data: st.DataObject) -> None:
    query = data.draw(st.dictionaries(names, st.text(string.printable, max_size=8), max_size=5), label="query")
    headers = data.draw(st.dictionaries(header_names, header_values, max_size=5), label="headers")
    path = "/" + sigv4.encode_path(data.draw(examples.keys, label="key"))
    method = data.draw(st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]))

    shuffled_query = data.draw(st.permutations(list(query.items())))
    shuffled_headers = dict(data.draw(st.permutations(list(headers.items()))))
    theirs, request = direct_request(
        method,
        path,
        "&".join(f"{sigv4.encode_value(name)}={sigv4.encode_value(value)}" for name, value in shuffled_query),
        shuffled_headers,
    )

    canonical, names_signed = sigv4.canonical_headers(headers | {"host": "store.example"})
    scope = "20260304/eu-central-1/s3/aws4_request"
    parameters = query | {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{examples.TEMPORARY.access_key_id}/{scope}",
        "X-Amz-Date": "20260304T050607Z",
        "X-Amz-Expires": "300",
        "X-Amz-SignedHeaders": names_signed,
    }
    pairs = sorted((sigv4.encode_value(name), sigv4.encode_value(value)) for name, value in parameters.items())
    canonical_request = sigv4.canonical_request(
        method, path, "&".join(f"{name}={value}" for name, value in pairs), canonical, names_signed
    )
    assert canonical_request == theirs.canonical

    text = sigv4.string_to_sign("AWS4-HMAC-SHA256", "20260304T050607Z", scope, canonical_request)
    assert text == theirs.text

    mac = sigv4.signing_mac(examples.TEMPORARY.secret_access_key, scope)
    assert request.url.endswith(f"&X-Amz-Signature={sigv4.signature(mac, text)}")


@given(st.dictionaries(header_names, header_values, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_headers_are_sorted_however_they_come(headers: dict[str, str], random: Any) -> None:
    shuffled = list(headers.items())
    random.shuffle(shuffled)
    signer = S3SigV4QueryAuth(Credentials("AKID", "secret"), "s3", "eu-central-1")
    request = AWSRequest(method="GET", url="https://store.example/", headers=dict(shuffled))
    theirs = signer.headers_to_sign(request)

    canonical, signed = sigv4.canonical_headers(dict(shuffled) | {"host": "store.example"})
    assert canonical == signer.canonical_headers(theirs) + "\n"
    assert signed == signer.signed_headers(theirs)


def test_the_payload_of_a_link_is_never_signed() -> None:
    assert sigv4.canonical_request("GET", "/a", "b=c", "host:h\n", "host") == (
        "GET\n/a\nb=c\nhost:h\n\nhost\nUNSIGNED-PAYLOAD"
    )


def test_the_published_signature_of_a_string_to_sign() -> None:
    # https://docs.aws.amazon.com/general/latest/gr/sigv4-calculate-signature.html
    scope = "20150830/us-east-1/iam/aws4_request"
    digest = "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    text = f"AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{digest}"
    assert sigv4.signature(sigv4.signing_mac(EXAMPLE_SECRET, scope), text) == (
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_the_published_canonical_request_of_a_link() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, "An example"
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    )
    headers, signed = sigv4.canonical_headers({"host": "examplebucket.s3.amazonaws.com"})
    request = sigv4.canonical_request("GET", "/test.txt", query, headers, signed)
    scope = "20130524/us-east-1/s3/aws4_request"
    text = sigv4.string_to_sign("AWS4-HMAC-SHA256", "20130524T000000Z", scope, request)
    assert text == (
        "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
        "3bfa292879f6447bbcda7001decf97f4a54dc650c8942174ae0a9121cf58ad04"
    )
    mac = sigv4.signing_mac("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", scope)
    assert sigv4.signature(mac, text) == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.lists(header_names, min_size=1, max_size=5),
    st.sampled_from(["AWS4", "GOOG4"]),
    texts,
)
@settings(max_examples=100, deadline=None)
def test_the_key_is_derived_one_part_of_the_scope_at_a_time(
    secret: str, scope: list[str], prefix: str, text: str
) -> None:
    key = (prefix + secret).encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    mac = sigv4.signing_mac(secret, "/".join(scope), prefix=prefix)
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    # Twice: signing must not use the key up.
    assert [sigv4.signature(mac, text) for _ in range(2)] == [expected] * 2
