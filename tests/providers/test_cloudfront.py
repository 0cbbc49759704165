"""CloudFront links and cookies: equal to botocore's byte for byte, judged by a verifier of our own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import (
    CloudFrontKey,
    CloudFrontProvider,
    Download,
    InvalidConfiguration,
    InvalidKey,
    InvalidOperation,
    InvalidTTL,
    Operation,
    SignedCookies,
    UnsupportedOperation,
    Upload,
    UploadForm,
    UploadPart,
    check_provider,
)
from tests.providers import clouds, examples
from tests.providers.clouds import MODULUS, PEM, query_of
from tests.providers.examples import NOW, TTL
from tests.verifiers.cloudfront import PublicKey, Refused, verify_cookies, verify_url

KEY_PAIR_ID = "K2JCJMDEHXQW5F"
KEY = CloudFrontKey(key_pair_id=KEY_PAIR_ID, private_key=PEM)
KEYS = {KEY_PAIR_ID: PublicKey(MODULUS)}
ENDPOINT = "https://d111111abcdef8.cloudfront.net"
SDK = CloudFrontSigner(KEY_PAIR_ID, lambda message: clouds.PRIVATE_KEY.sign(message, padding.PKCS1v15(), hashes.SHA1()))


def provider(**changes: Any) -> CloudFrontProvider:
    return CloudFrontProvider(**{"endpoint_url": ENDPOINT, "key": KEY} | changes)


instants = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
lifetimes = st.integers(1, 604_800).map(lambda seconds: timedelta(seconds=seconds))
addresses = st.sampled_from(["192.0.2.1", "192.0.2.0/24", "10.0.0.0/8"])


def resource_of(url: str) -> str:
    """Cut off what CloudFront itself reads: everything from its first parameter on."""
    return re.split(r"[?&](?:Expires|Policy)=", url)[0]


# --- botocore as an oracle ---------------------------------------------------------------------------------


@given(
    examples.cacheable_downloads, instants, lifetimes, st.sampled_from([ENDPOINT, "https://files.example:8443/base"])
)
@settings(max_examples=200, deadline=None)
def test_canned_links_are_botocores(download: Download, now: datetime, ttl: timedelta, endpoint_url: str) -> None:
    now = now.replace(microsecond=0)
    signed = provider(endpoint_url=endpoint_url).sign(download, ttl=ttl, now=now)
    assert signed.url == SDK.generate_presigned_url(resource_of(signed.url), date_less_than=now + ttl)
    assert signed.method == download.method
    assert signed.expires_at == now + ttl


@given(
    examples.cacheable_downloads,
    instants,
    lifetimes,
    st.one_of(st.none(), st.integers(1, 3600)),
    st.one_of(st.none(), addresses),
)
@settings(max_examples=150, deadline=None)
def test_custom_links_are_botocores(
    download: Download, now: datetime, ttl: timedelta, starts: int | None, source_ip: str | None
) -> None:
    now = now.replace(microsecond=0)
    start = None if starts is None else now - timedelta(seconds=starts)
    signed = provider().sign_restricted(download, ttl=ttl, now=now, starts_at=start, source_ip=source_ip)
    url = resource_of(signed.url)
    policy = SDK.build_policy(url, now + ttl, date_greater_than=start, ip_address=source_ip)
    assert signed.url == SDK.generate_presigned_url(url, policy=policy)


@given(examples.keys, instants, lifetimes, st.one_of(st.none(), addresses))
@settings(max_examples=100, deadline=None)
def test_cookies_are_botocores(key: str, now: datetime, ttl: timedelta, source_ip: str | None) -> None:
    now = now.replace(microsecond=0)
    cookies = provider().sign_cookies(f"{key}/", ttl=ttl, now=now, source_ip=source_ip)
    policy = SDK.build_policy(cookies.resource, now + ttl, ip_address=source_ip)
    signed = SDK.generate_presigned_url("https://any.example/", policy=policy)
    named = dict(pair.split("=") for pair in signed.partition("?")[2].split("&"))
    assert cookies.values == {f"CloudFront-{name}": value for name, value in named.items()}
    assert cookies.expires_at == now + ttl


# --- what a link is good for -------------------------------------------------------------------------------

DOWNLOADS: dict[str, Download] = {
    "plain": Download("a b/ü*?.txt"),
    "with-everything": Download("a", filename="ü.txt", content_type="image/png", version="3/L4", link_id="lnk_1"),
    "head": Download("a", method="HEAD"),
}


@pytest.mark.parametrize("download", DOWNLOADS.values(), ids=DOWNLOADS)
def test_every_link_is_good_for_exactly_what_was_asked(download: Download) -> None:
    signed = provider().sign(download, ttl=TTL, now=NOW)
    verified = verify_url(signed.url, keys=KEYS, now=NOW)
    assert verified.url == verified.resource == resource_of(signed.url)
    assert (verified.custom, verified.expires_at) == (False, signed.expires_at)
    assert signed.expires_at == NOW + TTL
    with pytest.raises(Refused, match=r"^expired:"):
        verify_url(signed.url, keys=KEYS, now=NOW + TTL)


def test_what_a_link_says_to_the_origin() -> None:
    query = query_of(provider().sign(DOWNLOADS["with-everything"], ttl=TTL, now=NOW))
    assert query["response-content-disposition"] == "attachment; filename=\"u.txt\"; filename*=UTF-8''%C3%BC.txt"
    assert query["response-content-type"] == "image/png"
    assert query["versionId"] == "3/L4"
    assert query["x-gateway-link"] == "lnk_1"


@pytest.mark.parametrize("custom", [False, True], ids=["canned", "custom"])
def test_every_one_bit_mutant_of_a_link_fails(custom: bool) -> None:
    download = DOWNLOADS["with-everything"]
    sign = provider().sign_restricted if custom else provider().sign
    signed = sign(download, ttl=TTL, now=NOW)
    verify_url(signed.url, keys=KEYS, now=NOW)
    for mutant in clouds.one_bit_mutants(signed.url):
        with pytest.raises(Refused):
            verify_url(mutant, keys=KEYS, now=NOW)


def test_a_restricted_link_is_refused_early_and_elsewhere() -> None:
    signed = provider().sign_restricted(
        Download("a"), ttl=TTL, now=NOW, starts_at=NOW + timedelta(minutes=1), source_ip="192.0.2.0/24"
    )
    later = NOW + timedelta(minutes=2)
    assert verify_url(signed.url, keys=KEYS, now=later, source_ip="192.0.2.7").expires_at == NOW + TTL
    with pytest.raises(Refused, match=r"^not_yet_valid:"):
        verify_url(signed.url, keys=KEYS, now=NOW, source_ip="192.0.2.7")
    with pytest.raises(Refused, match=r"^source_ip:"):
        verify_url(signed.url, keys=KEYS, now=later, source_ip="192.0.3.7")


def test_cookies_open_what_is_below_the_prefix_and_nothing_beside_it() -> None:
    cookies = provider().sign_cookies("t1/a b*/", ttl=TTL, now=NOW)
    assert cookies.resource == f"{ENDPOINT}/t1/a%20b%2A/*"

    def verify(path: str, now: datetime = NOW) -> object:
        return verify_cookies(cookies.values, f"{ENDPOINT}/{path}", keys=KEYS, now=now)

    for path in ("t1/a%20b%2A/c", "t1/a%20b%2A/c/d?version=1"):
        verify(path)
    for path in ("t1/a%20b%2A", "t1/a%20b%2Ac", "t1/a%20bX/c", "t10/a%20b%2A/c", "t1/c"):
        with pytest.raises(Refused, match=r"^resource:"):
            verify(path)
    with pytest.raises(Refused, match=r"^expired:"):
        verify("t1/a%20b%2A/c", NOW + TTL)


@pytest.mark.parametrize(
    "prefix",
    [None, b"a/", "", "/", "a", "//", "a//", "../", "a/../", "a\n/", "*", "a\\/", "/a/"],
    ids=repr,
)
def test_a_prefix_that_would_open_more_is_refused(prefix: Any) -> None:
    with pytest.raises(InvalidKey):
        provider().sign_cookies(prefix, ttl=TTL, now=NOW)


@pytest.mark.parametrize(
    "source_ip", ["", "192.0.2", "192.0.2.1/33", "192.0.2.1/24", "::1", "*", None.__class__], ids=repr
)
def test_an_address_that_is_none_is_refused(source_ip: Any) -> None:
    with pytest.raises(InvalidOperation, match="an IPv4 address or network"):
        provider().sign_cookies("a/", ttl=TTL, now=NOW, source_ip=source_ip)
    with pytest.raises(InvalidOperation, match="an IPv4 address or network"):
        provider().sign_restricted(Download("a"), ttl=TTL, now=NOW, source_ip=source_ip)


@pytest.mark.parametrize(
    "starts_at",
    [
        pytest.param(NOW + TTL, id="at-the-end"),
        pytest.param(NOW.replace(tzinfo=None), id="naive"),
        pytest.param(1, id="number"),
    ],
)
def test_a_start_that_leaves_nothing_is_refused(starts_at: Any) -> None:
    with pytest.raises(InvalidOperation, match="an aware datetime before the end"):
        provider().sign_restricted(Download("a"), ttl=TTL, now=NOW, starts_at=starts_at)


# --- the contract and the configuration --------------------------------------------------------------------


@pytest.mark.parametrize("endpoint_url", [ENDPOINT, "https://files.example/", "https://files.example:8443/base"])
def test_the_contract_is_kept(endpoint_url: str) -> None:
    check_provider(provider(endpoint_url=endpoint_url))
    check_provider(provider(endpoint_url=endpoint_url), now=NOW.replace(microsecond=999_999))


@pytest.mark.parametrize(
    "operation",
    [
        Upload("a", content_type="a/b", size_bytes=1),
        UploadForm("a", content_type="a/b", min_bytes=0, max_bytes=1),
        UploadPart("a", upload_id="x", number=1, size_bytes=1),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_only_downloads_are_signed(operation: Any) -> None:
    for sign in (provider().sign, provider().sign_restricted):
        with pytest.raises(UnsupportedOperation, match=type(operation).__name__):
            sign(operation, ttl=TTL, now=NOW)


@pytest.mark.parametrize("seconds", [0, 604_801])
def test_lifetimes_out_of_bounds(seconds: int) -> None:
    ttl = timedelta(seconds=seconds)
    for sign in (
        lambda: provider().sign(Download("a"), ttl=ttl, now=NOW),
        lambda: provider().sign_restricted(Download("a"), ttl=ttl, now=NOW),
        lambda: provider().sign_cookies("a/", ttl=ttl, now=NOW),
    ):
        with pytest.raises(InvalidTTL, match=f"ttl is {seconds} s; at least 1 s and at most 604800 s"):
            sign()


BAD_CONFIGURATION: dict[str, tuple[dict[str, Any], str]] = {
    "key-is-text": ({"key": PEM}, "key is of type str; a CloudFrontKey"),
    "key-is-none": ({"key": None}, "key is of type NoneType"),
    "no-scheme": ({"endpoint_url": "d111111abcdef8.cloudfront.net"}, "a scheme of http or https"),
    "query": ({"endpoint_url": f"{ENDPOINT}?a=b"}, "no query"),
    "source_ip-that-is-true": ({"source_ip": True}, "source_ip is True; an IPv4 address or network"),
    "source_ip-that-is-a-number": ({"source_ip": 3221225985}, "source_ip is 3221225985"),
    "source_ip-that-is-empty": ({"source_ip": ""}, "source_ip is ''"),
    "password": ({"endpoint_url": "https://me:hunter2@files.example"}, "user name"),
}


@pytest.mark.parametrize(("changes", "piece"), BAD_CONFIGURATION.values(), ids=BAD_CONFIGURATION)
def test_configuration_that_cannot_work_is_refused(changes: dict[str, Any], piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        provider(**changes)
    assert "hunter2" not in str(refusal.value)
    assert PEM[100:130] not in str(refusal.value)


@pytest.mark.parametrize(
    ("key_pair_id", "private_key", "piece"),
    [
        pytest.param("", PEM, "key_pair_id is ''", id="no-id"),
        pytest.param("k2jc", PEM, "upper-case letters and digits", id="lower-case-id"),
        pytest.param("K2&Expires=1", PEM, "key_pair_id is 'K2&", id="id-with-a-parameter"),
        pytest.param(None, PEM, "key_pair_id is None", id="id-is-none"),
        pytest.param(KEY_PAIR_ID, PEM.encode(), "private_key is of type bytes", id="key-is-bytes"),
        *(pytest.param(KEY_PAIR_ID, key, piece, id=f"key-{name}") for name, (key, piece) in clouds.BAD_KEYS.items()),
    ],
)
def test_a_key_that_cannot_sign_is_refused(key_pair_id: Any, private_key: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        CloudFrontKey(key_pair_id=key_pair_id, private_key=private_key)
    assert PEM[100:130] not in str(refusal.value)


def test_neither_repr_nor_str_shows_a_secret() -> None:
    cookies = provider().sign_cookies("a/", ttl=TTL, now=NOW)
    assert isinstance(cookies, SignedCookies)
    shown = f"{KEY!r} {KEY} {provider()!r} {provider()} {cookies!r} {cookies}"
    assert KEY_PAIR_ID in shown
    assert PEM[100:130] not in shown
    assert not any(value in shown for name, value in cookies.values.items() if name != "CloudFront-Key-Pair-Id")


@given(st.lists(examples.downloads, max_size=5))
@settings(max_examples=25, deadline=None)
def test_signing_many_is_signing_each(many: list[Operation]) -> None:
    target = provider()
    assert target.sign_many(many, ttl=TTL, now=NOW) == [target.sign(one, ttl=TTL, now=NOW) for one in many]


def test_64_threads_and_a_forked_child_sign_the_same() -> None:
    expected = provider().sign(Download("a"), ttl=TTL, now=NOW).url
    fresh = provider()
    assert set(clouds.at_once(lambda: fresh.sign(Download("a"), ttl=TTL, now=NOW).url)) == {expected}
    assert clouds.in_a_fork(lambda: fresh.sign(Download("a"), ttl=TTL, now=NOW).url) == expected


SCRIPT = f"""
from datetime import timedelta, datetime, UTC
from providers import *
key = CloudFrontKey(key_pair_id={KEY_PAIR_ID!r}, private_key={PEM!r})
provider = CloudFrontProvider(endpoint_url={ENDPOINT!r}, key=key)
provider.sign(Download("a"), ttl=timedelta(seconds=300), now=datetime.now(UTC))
provider.sign_cookies("a/", ttl=timedelta(seconds=300), now=datetime.now(UTC))
"""


def test_signing_loads_no_sdk() -> None:
    loaded = clouds.modules_after(SCRIPT)
    assert "cryptography" in loaded
    assert not loaded & {"boto3", "botocore", "rsa", "requests", "urllib3", "django", "storages", "ssl", "http"}
