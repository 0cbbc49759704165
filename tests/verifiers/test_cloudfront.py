"""Prove that the verifier accepts what Amazon publishes and botocore signs, and refuses everything else.

It must not use the project's own signer: the verifier is judged first, and judges that one later.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.cloudfront import REASONS, PublicKey, Refused, Verified, verify_cookies, verify_url

# --- Amazon's examples -------------------------------------------------------------------------------------
# As its developer guide had them for years, with a key pair made for that:
# https://github.com/boto/boto/blob/develop/tests/unit/cloudfront/test_signed_urls.py

EXAMPLE_ID = "PK123456789754"
EXAMPLE_KEYS = {
    EXAMPLE_ID: PublicKey(
        int(
            "c0ee48bd808fe5472808a0e8d5d72ca6831e8560597327ecf501331a2e8e7b9cbe7b01abd685bebc1d863c100d06254f"
            "7141d315687068805dde8825985d251909633ff8ce7e65c750ada45149cb9c9a7ea0e04bd8d8ae16da9c5ba87f2f9948"
            "a43f18abe3511e04f2e330eccabdbcf3432f5eff3cc8415444292a7fef2d66cb",
            16,
        )
    )
}
EXAMPLE_URL = (
    "http://d604721fxaaqy9.cloudfront.net/horizon.jpg?large=yes&license=yes&Expires=1258237200&Signature="
    "Nql641NHEUkUaXQHZINK1FZ~SYeUSoBJMxjdgqrzIdzV2gyEXPDNv0pYdWJkflDKJ3xIu7lbwRpSkG98NBlgPi4ZJpRRnVX4kXAJ"
    "K6tdNx6FucDB7OVqzcxkxHsGFd8VCG1BkC-Afh9~lOCMIYHIaiOB6~5jt9w2EOwi6sIIqrg_"
    f"&Key-Pair-Id={EXAMPLE_ID}"
)
EXAMPLE_END = datetime.fromtimestamp(1_258_237_200, UTC)
# Every line ends in a space, the longest in six.
EXAMPLE_POLICY = (
    """{
   "Statement": [{
      "Resource":"http://d604721fxaaqy9.cloudfront.net/training/*",
      "Condition":{
         "IpAddress":{"AWS:SourceIp":"145.168.143.0/24"},
         "DateLessThan":{"AWS:EpochTime":1258237200}#####
      }
   }]
}""".replace("\n", " \n").replace("#", " ")
    + "\n"
)
EXAMPLE_POLICY_SIGNATURE = (
    "cPFtRKvUfYNYmxek6ZNs6vgKEZP6G3Cb4cyVt~FjqbHOnMdxdT7eT6pYmhHYzuDsFH4Jpsctke2Ux6PCXcKxUcTIm8SO4b29~1Qv"
    "hMl-CIojki3Hd3~Unxjw7Cpo1qRjtvrimW0DPZBZYHFZtiZXsaPt87yBP9GWnTQoaVysMxQ_"
)


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))


def example_cookies() -> dict[str, str]:
    return {
        "CloudFront-Policy": encode(EXAMPLE_POLICY.encode()),
        "CloudFront-Signature": EXAMPLE_POLICY_SIGNATURE,
        "CloudFront-Key-Pair-Id": EXAMPLE_ID,
    }


def one_bit_mutants(text: str) -> Iterator[str]:
    for at in range(len(text)):
        for bit in range(8):
            yield text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]


def test_accepts_the_published_url_until_its_last_second() -> None:
    verified = verify_url(EXAMPLE_URL, keys=EXAMPLE_KEYS, now=EXAMPLE_END - timedelta(seconds=1))
    assert verified.url == "http://d604721fxaaqy9.cloudfront.net/horizon.jpg?large=yes&license=yes"
    assert (verified.custom, verified.expires_at) == (False, EXAMPLE_END)
    with pytest.raises(Refused, match=r"^expired:"):
        verify_url(EXAMPLE_URL, keys=EXAMPLE_KEYS, now=EXAMPLE_END)


def test_refuses_every_one_bit_change_of_the_published_url() -> None:
    for mutant in one_bit_mutants(EXAMPLE_URL):
        with pytest.raises(Refused):
            verify_url(mutant, keys=EXAMPLE_KEYS, now=EXAMPLE_END - timedelta(hours=1))


@pytest.mark.parametrize("as_cookies", [False, True], ids=["url", "cookies"])
def test_accepts_the_published_policy_for_what_it_is_for(as_cookies: bool) -> None:
    own = example_cookies()

    def verify(url: str, source_ip: str) -> Verified:
        common: dict[str, Any] = {"keys": EXAMPLE_KEYS, "now": EXAMPLE_END - timedelta(1), "source_ip": source_ip}
        if as_cookies:
            return verify_cookies(own, url, **common)
        query = "&".join(f"{name.removeprefix('CloudFront-')}={value}" for name, value in own.items())
        return verify_url(f"{url}?{query}", **common)

    host = "http://d604721fxaaqy9.cloudfront.net"
    assert verify(f"{host}/training/orientation.pdf", "145.168.143.9").custom
    with pytest.raises(Refused, match=r"^resource:"):
        verify(f"{host}/other/orientation.pdf", "145.168.143.9")
    with pytest.raises(Refused, match=r"^source_ip:"):
        verify(f"{host}/training/orientation.pdf", "145.168.144.9")


@pytest.mark.parametrize("name", example_cookies(), ids=str)
def test_refuses_every_one_bit_change_of_the_published_policy(name: str) -> None:
    cookies = example_cookies()
    for mutant in one_bit_mutants(cookies[name]):
        with pytest.raises(Refused):
            verify_cookies(
                cookies | {name: mutant},
                "http://d604721fxaaqy9.cloudfront.net/training/a",
                keys=EXAMPLE_KEYS,
                now=EXAMPLE_END - timedelta(1),
                source_ip="145.168.143.9",
            )


# --- botocore's own links ----------------------------------------------------------------------------------

PRIVATE_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
KEYS = {"KEYPAIR": PublicKey(PRIVATE_KEY.public_key().public_numbers().n)}
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
END = NOW + timedelta(minutes=5)
HOST = "https://d111111abcdef8.cloudfront.net"


def rsa_sha1(message: bytes) -> bytes:
    return PRIVATE_KEY.sign(message, padding.PKCS1v15(), hashes.SHA1())


SDK = CloudFrontSigner("KEYPAIR", rsa_sha1)
paths = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map(quote)


@given(
    path=paths,
    query=st.sampled_from(["", "?a=b", "?a=b&c=d%20e"]),
    seconds=st.integers(1, 604_800),
    starts=st.one_of(st.none(), st.integers(1, 3600)),
    ip=st.sampled_from([None, "192.0.2.1", "192.0.2.0/24"]),
    custom=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_accepts_what_botocore_signs(
    path: str, query: str, seconds: int, starts: int | None, ip: str | None, custom: bool
) -> None:
    url = f"{HOST}/{path}{query}"
    end = NOW + timedelta(seconds=seconds)
    if custom:
        start = None if starts is None else NOW - timedelta(seconds=starts)
        policy = SDK.build_policy(url, end, date_greater_than=start, ip_address=ip)
        signed = SDK.generate_presigned_url(url, policy=policy)
    else:
        signed = SDK.generate_presigned_url(url, date_less_than=end)
    assert verify_url(signed, keys=KEYS, now=NOW) == Verified(url=url, resource=url, custom=custom, expires_at=end)


# --- every reason ------------------------------------------------------------------------------------------


def link(policy: Any = None, *, url: str = f"{HOST}/key", **changes: str) -> str:
    """Make a link that is signed properly, whatever it says."""
    epoch = int(END.timestamp())
    text = json.dumps(policy) if policy is not None else canned(url, epoch)
    own = {"Expires": str(epoch)} if policy is None else {"Policy": encode(text.encode())}
    own |= {"Signature": encode(rsa_sha1(text.encode())), "Key-Pair-Id": "KEYPAIR"}
    own |= {name.replace("_", "-"): value for name, value in changes.items()}
    return f"{url}?{'&'.join(f'{name}={value}' for name, value in own.items() if value)}"


def canned(url: str, epoch: int) -> str:
    return f'{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{epoch}}}}}}}]}}'


def policy(resource: str = f"{HOST}/*", **conditions: Any) -> dict[str, Any]:
    ends = {"DateLessThan": {"AWS:EpochTime": int(END.timestamp())}}
    return {"Statement": [{"Resource": resource, "Condition": ends | conditions}]}


STATEMENT = policy()["Statement"][0]

# id -> reason, link, what is different in the request
REFUSALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "signature-twice": ("duplicate", link() + "&Signature=a", {}),
    "plain-base64": ("encoding", link(Signature="a+b="), {}),
    "cut-base64": ("encoding", link(Signature="abc"), {}),
    "two-spellings": ("encoding", link(Signature="ab=="), {}),
    "bits-left-over": ("encoding", link(Signature="ab__"), {}),
    "over": ("expired", link(), {"now": END}),
    "custom-over": ("expired", link(policy()), {"now": END}),
    "other-key-id": ("key", link(Key_Pair_Id="OTHER"), {}),
    "no-key-id": ("kind", link(Key_Pair_Id=""), {}),
    "both-kinds": ("kind", link(policy(), Expires="1"), {}),
    "neither-kind": ("kind", link(Expires=""), {}),
    "too-early": ("not_yet_valid", link(policy(DateGreaterThan={"AWS:EpochTime": int(NOW.timestamp())})), {}),
    "padded-time": ("policy", link(Expires="0177"), {}),
    "not-json": ("policy", link("text"), {}),
    "two-statements": ("policy", link({"Statement": [STATEMENT, STATEMENT]}), {}),
    "no-end": ("policy", link({"Statement": [{"Resource": "*", "Condition": {}}]}), {}),
    "end-is-text": ("policy", link(policy(DateLessThan={"AWS:EpochTime": "1"})), {}),
    "resource-is-a-number": ("policy", link({"Statement": [{**STATEMENT, "Resource": 1}]}), {}),
    "unknown-condition": ("policy", link(policy(UserAgent={})), {}),
    "other-path": ("resource", link(policy(f"{HOST}/a/*")), {}),
    "sibling-prefix": ("resource", link(policy(f"{HOST}/key/*"), url=f"{HOST}/keys/a"), {}),
    "stretched": ("signature", link(Expires=str(int(END.timestamp()) + 1)), {}),
    "other-url": ("signature", link().replace("/key?", "/kez?"), {}),
    "more-in-the-query": ("signature", link() + "&response-content-disposition=inline", {}),
    "other-key": ("signature", link(), {"keys": {"KEYPAIR": PublicKey(KEYS["KEYPAIR"].modulus + 2)}}),
    "short-signature": ("signature", link(Signature="abcd"), {}),
    "other-address": ("source_ip", link(policy(IpAddress={"AWS:SourceIp": "198.51.100.0/24"})), {}),
    "fragment": ("url", link() + "#a", {}),
    "space": ("url", link() + " ", {}),
    "scheme": ("url", link().replace("https", "ftp"), {}),
}


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(link(), id="canned"),
        pytest.param(link(policy()), id="wildcard"),
        pytest.param(link(policy(f"{HOST}/k?y")), id="one-character"),
        pytest.param(link(policy(IpAddress={"AWS:SourceIp": "192.0.2.1/32"})), id="address"),
    ],
)
def test_accepts_a_link_made_by_hand(url: str) -> None:
    assert verify_url(url, keys=KEYS, now=NOW).expires_at == END


@pytest.mark.parametrize(("reason", "url", "changes"), REFUSALS.values(), ids=REFUSALS)
def test_refuses_the_link(reason: str, url: str, changes: Mapping[str, Any]) -> None:
    arguments: dict[str, Any] = {"keys": KEYS, "now": NOW}
    with pytest.raises(Refused) as refusal:
        verify_url(url, **arguments | dict(changes))
    assert refusal.value.reason == reason


def test_the_table_holds_every_reason() -> None:
    assert {reason for reason, *_ in REFUSALS.values()} == set(REASONS)


@given(message=st.binary(max_size=64), at=st.integers(0, 255), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_rsa_says_what_cryptography_says(message: bytes, at: int, bit: int) -> None:
    signature = rsa_sha1(message)
    wrong = bytearray(signature)
    wrong[at] ^= 1 << bit
    assert KEYS["KEYPAIR"].signed(signature, message)
    assert not KEYS["KEYPAIR"].signed(bytes(wrong), message)
    assert not KEYS["KEYPAIR"].signed(signature, message + b"a")
    assert not KEYS["KEYPAIR"].signed(signature + b"\x00", message)
