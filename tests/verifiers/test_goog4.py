"""Prove that the verifier accepts what Google publishes and its SDK signs, and refuses everything else.

It must not use the project's own signer: the verifier is judged first, and judges that one later.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import google.cloud.storage
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.cloud.storage import _signing, client
from google.oauth2 import service_account
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.goog4 import (
    REASONS,
    HMACIdentity,
    Refused,
    RSAIdentity,
    Verified,
    verify_form,
    verify_signed,
)

# --- Google's conformance tests ----------------------------------------------------------------------------
# https://github.com/googleapis/conformance-tests/tree/main/storage/v1: signatures, and the account of their key.
# Left out: header values and names that no client sends as they are, and the link for localhost:8080, which is
# signed for the host localhost; clients send the port, and google-cloud-storage signs it.

EXAMPLE_EMAIL = "test-iam-credentials@dummy-project-id.iam.gserviceaccount.com"
EXAMPLE_KEY = RSAIdentity(
    int(
        "ac3f3322ac8a2db5f436af28d098f5a871211e1a8edfed0e3fb4c4171e55c5ce8f77006814dadf9c9448fd2f99683612"
        "d5abebe4faa9a7c83cf9434e32f23556c8c633cc634dac6456ff2698aa7aa52990b2d4eddb9a736357b1036c2fe31356"
        "4b058d14dc76921df9fa4bd343f0c5dd803d3fba54535b0ababd4f3fc3a8b9b58b14ee7d8b2e54139757d0eff7a63bd9"
        "d87021497b31d955ad0799e5ac747c16b28934b24c10610348ccfdc917d0694798094f680d81ee8aa290deb0978ba0bc"
        "da5fb7149c39fe0809e72ee2c3c304ac2152b257184116c1573e9960a5a411c261b3c046dffd7a6df6aa36eb0d943209"
        "f7d23b0e68a9527805fc712e95885fad",
        16,
    )
)
EXAMPLE_IDENTITIES: dict[str, Any] = {EXAMPLE_EMAIL: EXAMPLE_KEY}
EXAMPLE_SIGNED_AT = datetime(2019, 2, 1, 9, tzinfo=UTC)
ENCRYPTION = {
    "X-Goog-Encryption-Algorithm": "AES256",
    "X-Goog-Encryption-Key": "key",
    "X-Goog-Encryption-Key-Sha256": "key-hash",
}

# id -> method, start of the URL, signed headers beside the host, further parameters, headers sent, signature
EXAMPLES: dict[str, tuple[str, str, str, str, dict[str, str], str]] = {
    "simple-get": (
        "GET",
        "https://storage.googleapis.com/test-bucket/test-object",
        "host",
        "",
        {},
        (
            "95e6a13d43a1d1962e667f17397f2b80ac9bdd1669210d5e08e0135df9dff4e56113485dbe429ca2266487b9d1796ebd"
            "ee2d7cf682a6ef3bb9fbb4c351686fba90d7b621cf1c4eb1fdf126460dd25fa0837dfdde0a9fd98662ce60844c458448"
            "fb2b352c203d9969cb74efa4bdb742287744a4f2308afa4af0e0773f55e32e92973619249214b97283b2daa141952444"
            "44e33f938138d1e5f561088ce8011f4986dda33a556412594db7c12fc40e1ff3f1bedeb7a42f5bcda0b9567f17f65855"
            "f65071fabb88ea12371877f3f77f10e1466fff6ff6973b74a933322ff0949ce357e20abe96c3dd5cfab42c9c83e740a4"
            "d32b9e11e146f0eb3404d2e975896f74"
        ),
    ),
    "default-port-in-the-url": (
        "GET",
        "https://storage.googleapis.com:443/test-bucket/test-object",
        "host",
        "",
        {},
        (
            "95e6a13d43a1d1962e667f17397f2b80ac9bdd1669210d5e08e0135df9dff4e56113485dbe429ca2266487b9d1796ebd"
            "ee2d7cf682a6ef3bb9fbb4c351686fba90d7b621cf1c4eb1fdf126460dd25fa0837dfdde0a9fd98662ce60844c458448"
            "fb2b352c203d9969cb74efa4bdb742287744a4f2308afa4af0e0773f55e32e92973619249214b97283b2daa141952444"
            "44e33f938138d1e5f561088ce8011f4986dda33a556412594db7c12fc40e1ff3f1bedeb7a42f5bcda0b9567f17f65855"
            "f65071fabb88ea12371877f3f77f10e1466fff6ff6973b74a933322ff0949ce357e20abe96c3dd5cfab42c9c83e740a4"
            "d32b9e11e146f0eb3404d2e975896f74"
        ),
    ),
    "simple-put": (
        "PUT",
        "https://storage.googleapis.com/test-bucket/test-object",
        "host",
        "",
        {},
        (
            "8adff1d4285739e31aa68e73767a46bc5511fde377497dbe08481bf5ceb34e29cc9a59921748d8ec3dd4085b7e9b7772"
            "a952afedfcdaecb3ae8352275b8b7c867f204e3db85076220a3127a8a9589302fc1181eae13b9b7fe41109ec8cdc93c1"
            "e8bac2d7a0cc32a109ca02d06957211326563ab3d3e678a0ba296e298b5fc5e14593c99d444c94724cc4be97015dbff1"
            "dca377b508fa0cb7169195de98d0e4ac96c42b918d28c8d92d33e1bd125ce0fb3cd7ad2c45dae65c22628378f6584971"
            "b8bf3945b26f2611eb651e9b6a8648970c1ecf386bb71327b082e7296c4e1ee2fc0bdd8983da80af375c817fb1ad491d"
            "0bc22c0f51dba0d66e2cffbc90803e47"
        ),
    ),
    "resumable-upload": (
        "POST",
        "https://storage.googleapis.com/test-bucket/test-object",
        "host%3Bx-goog-resumable",
        "",
        {"X-goog-resumable": "start"},
        (
            "4a6d39b23343cedf4c30782aed4b384001828c79ffa3a080a481ea01a640dea0a0ceb58d67a12cef3b243c3f036bb379"
            "9c6ee88e8db3eaf7d0bdd4b70a228d0736e07eaa1ee076aff5c6ce09dff1f1f03a0d8ead0d2893408dd3604fdabff553"
            "aa6d7af2da67cdba6790006a70240f96717b98f1a6ccb24f00940749599be7ef72aaa5358db63ddd54b2de9e2d6d6a58"
            "6eac4fe25f36d86fc6ab150418e9c6fa01b732cded226c6d62fc95b72473a4cc55a8257482583fe66d9ab6ede909eb41"
            "516a8690946c3e87b0f2052eb0e97e012a14b2f721c42e6e19b8a1cd5658ea36264f10b9b1ada66b8ed5bf7ed7d17083"
            "77ac6e5fe608ae361fb594d2e5b24c54"
        ),
    ),
    "encryption-key": (
        "GET",
        "https://storage.googleapis.com/test-bucket/test-object",
        "host%3Bx-goog-encryption-algorithm%3Bx-goog-encryption-key%3Bx-goog-encryption-key-sha256",
        "",
        ENCRYPTION,
        (
            "278a1c5a3bad248637054a047014760353942433955871031ed08f515b54588654ad033e91f046ab202b68673030e117"
            "d1b786c325e870238b035ba75b3feed560a17aff9bab6bddebd4a31a52cb68b214e27d3b0bd886502c6b36b164306fe8"
            "8b5a07c6063592afe746b2a5d205dbe90dd5386b94f0a78f75d9f53ee884e18f476e8fc2eb1dd910ce0b4ae1f5d7b098"
            "76ef9bf983f539c028429e14bad3c75dbd4ed1ae37856f6d6f8a1805eaf8b52a0d6fc993902e4c1ee8de477661f7b67c"
            "3663000474cb00e178189789b2a3ed6bd21b4ade684fca8108ac4dd106acb17f5954d045775f7aa5a98ebda5d3075e11"
            "a8ea49c64c6ad1481e463e8c9f11f704"
        ),
    ),
    "encoded-parameter": (
        "GET",
        "https://storage.googleapis.com/test-bucket/test-object",
        "host",
        "&aA0%C3%A9%2F%3D%25-_.~=~%20._-%25%3D%2F%C3%A90Aa",
        {},
        (
            "0e4f289c28626a32af95d78f5a0d2c75e5f0bef1cfe5035a532a8185e3ad45b1d5e8ad5ae0fb1898420e40a157647986"
            "1c6579db7e3b28ef8386160995ac1374be85e780ac3dfcc62538e9b2e2c51555950fb6fd0d7ecc509d3ccd9c02af5a6c"
            "6eb930d21a7383792300eb50a093a597c1da2a290ed56b01844251f8271d0d5e61fc3f4273a0c26f80e061c06124d933"
            "46ea1c50388e3fe73494c05ac27a54caedc04d1476c276c7602554e4cc1933e41df31ea523f4009e879c92333f98b431"
            "3755470d7e400bbbde9f5bef36f40b2a1c4a85edbd62aaa84a516e3df055d5d3f575b9ea0f1c24f057240852d9e61840"
            "3e1dd2cd0fa7fc16b071b07322172256"
        ),
    ),
    "virtual-hosted": (
        "GET",
        "https://test-bucket.storage.googleapis.com/test-object",
        "host",
        "",
        {},
        (
            "06c633ea060b0eda81ee58dd3337b01b0d243a44f18cb03ec948861f533a129e579c7fd4c856d187f1c7b86e5715ea0a"
            "bf6a1c6ba32b69274d22b1b0406df6847dc87f0d289fe8dc0682351574849b8b13e4b66922f39441af96becb73ea4c56"
            "cd5e3eeb30bc91fe84e8bd205adca8639253bdb65b2fcaf2598a230c6d8f6d8177c9e58a61b6e826767f594056b49018"
            "4d676897c4bbedc15d6fbf08c3fa82a406c62e74db661e6c5d7d3ced29e0619ee719dce4b8136360345b8dce120b9f1d"
            "ebd511c8dac3e6d874ee05bfda8c8f1c4fedd0c07fc6d98f5f18a349bb204d8ff401402a025194e2792df8a092821411"
            "57e4ca51d26a8d0d142a01c805321911"
        ),
    ),
    "bucket-bound": (
        "GET",
        "https://mydomain.tld/test-object",
        "host",
        "",
        {},
        (
            "7115a77f8c7ed1a8b74bca8b520904fca7f3bab90d69ea052687a94efd9b3a4e2a7fb7135d40e295e0a21958194c55da"
            "7e106227957c22ed6edc9d8b3d2a8133bc8af84fc9695dda8081d53f0db5ea9f28e5bfc225d78f873e9f571fd287bb7a"
            "95330e726aebd8eb4623cdb0b1a7ceb210b2ce1351b6be0191c2ad7b38f7ceb6c5ce2f98dbfb5a5a649050585e46e97f"
            "72f1f5407de657a56e34a3fdc80cdaa0598bd47f3e8af5ff22d0916b19b106890bff8c3f6587f1d3b076b16cd0ba0508"
            "607a672be33b9c75d537e15258450b43d22a21c4d528090acbb8e5bae7b31fc394e61394106ef1d6a8ed43074ab05bce"
            "c65674cd8113fb3de388da4d97e62f56"
        ),
    ),
    "universe-domain": (
        "GET",
        "https://storage.domain.com/test-bucket/test-object",
        "host",
        "",
        {},
        (
            "8cd0d479a88fb7d791a2dcc8fc5b5f020ca817eeef5b5a5cb3260eb63cf47ecd271faa238d0fa31efca35bc2a9244bd1"
            "22178c520749f922c0235726a5a6be099bf4f33a0d54187eee2e0208964c2a13104b03e235cdeb4f07b3eb566b8a3325"
            "9cf7540a3fe823be601ace2a54a79acd6834cb646380c4cfc7ef0fd95d3ebbc1f97d840f6fe1dceed4269ecb4e91ff7e"
            "6633f38adab82049a965968367b9e7c362cec868d804bd42abbb6d2e837ce5d45ee9e1d92c7acc09623acaae3df6128c"
            "a15f9f80bb6543944e8c997f691c35113b9e9f44e86fd343524343b08dd8f887685588acc103e0b432f24912e7e1c63e"
            "086aeed1890e41b75beb64164fe6bfcf"
        ),
    ),
}
EXAMPLE_FORM_SIGNED_AT = datetime(2020, 1, 23, 4, 35, 30, tzinfo=UTC)
EXAMPLE_FORM_BUCKET = "rsaposttest-1579902672-lpd47iogn6hx4sle"
EXAMPLE_FORM = {
    "key": "test-object",
    "x-goog-algorithm": "GOOG4-RSA-SHA256",
    "x-goog-credential": f"{EXAMPLE_EMAIL}/20200123/auto/storage/goog4_request",
    "x-goog-date": "20200123T043530Z",
    "x-goog-signature": (
        "7f81e41a67c60dda3578c3e4f6457692e9cdb7b920da30204de893dac10e625fabea5f8002c8e1891bedc47e6136c8a0"
        "12dbb8df4e532aea3e186b6c98050cdaf8d82d6cf01495ed87d97af6909589e456cd4d1a624462166cdd4c3bb3a6f945"
        "a69d69768bef4d8542add6c2971c3d9993af805f9e4cf2ad8abc69cf8dc3a99eb658eb51030d84037583a5991de29cad"
        "34edf7c0d88f6e904f8a00b86022394cc35e9552ed7bdcec3f04e46165952f78cd8bfcabb2def569b6076d0009f6ccc7"
        "9b94fd67497481711dea1351e82f9e2626c9de374c81aa418000bff039f97367d021afb85d228230b4f3cd5ffe58ccb1"
        "40bebc62a34e45fc42ba75aec4335035"
    ),
    "policy": base64.b64encode(
        json.dumps(
            {
                "conditions": [
                    ["content-length-range", 246, 266],
                    {"bucket": EXAMPLE_FORM_BUCKET},
                    {"key": "test-object"},
                    {"x-goog-date": "20200123T043530Z"},
                    {"x-goog-credential": f"{EXAMPLE_EMAIL}/20200123/auto/storage/goog4_request"},
                    {"x-goog-algorithm": "GOOG4-RSA-SHA256"},
                ],
                "expiration": "2020-01-23T04:35:40Z",
            },
            separators=(",", ":"),
        ).encode()
    ).decode(),
}


def example_url(name: str) -> str:
    _, start, signed_headers, more, _, signature = EXAMPLES[name]
    credential = f"{quote(EXAMPLE_EMAIL, safe='')}%2F20190201%2Fauto%2Fstorage%2Fgoog4_request"
    return (
        f"{start}?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential={credential}&X-Goog-Date=20190201T090000Z"
        f"&X-Goog-Expires=10&X-Goog-SignedHeaders={signed_headers}{more}&X-Goog-Signature={signature}"
    )


def verify_example(name: str, url: str | None = None, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {
        "method": EXAMPLES[name][0],
        "headers": EXAMPLES[name][4],
        "identities": EXAMPLE_IDENTITIES,
        "now": EXAMPLE_SIGNED_AT,
    }
    return verify_signed(url=example_url(name) if url is None else url, **arguments | changes)


def verify_example_form(fields: Mapping[str, str] = EXAMPLE_FORM, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {
        "bucket": EXAMPLE_FORM_BUCKET,
        "identities": EXAMPLE_IDENTITIES,
        "now": EXAMPLE_FORM_SIGNED_AT,
        "content_length": 250,
    }
    return verify_form(fields=fields, **arguments | changes)


def one_bit_mutants(text: str) -> Iterator[str]:
    for at in range(len(text)):
        for bit in range(8):
            yield text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]


@pytest.mark.parametrize("name", EXAMPLES)
def test_accepts_the_published_signed_url(name: str) -> None:
    method, start, signed_headers, _, _, _ = EXAMPLES[name]
    verified = verify_example(name)
    assert (verified.authorizer, verified.method) == (EXAMPLE_EMAIL, method)
    assert verified.path == urlsplit(start).path
    assert verified.expires_at == EXAMPLE_SIGNED_AT + timedelta(seconds=10)
    assert ";".join(verified.signed_headers) == signed_headers.replace("%3B", ";")


@pytest.mark.parametrize("name", ["encoded-parameter", "encryption-key"])
def test_refuses_every_one_bit_change_of_the_published_signed_url(name: str) -> None:
    url = example_url(name)
    start = url.index("/", 8)
    for mutant in one_bit_mutants(url[start:]):
        with pytest.raises(Refused):
            verify_example(name, url[:start] + mutant)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        pytest.param("signature", {"method": "HEAD"}, id="method"),
        pytest.param("signature", {"method": "get"}, id="method-in-lower-case"),
        pytest.param("host", {"headers": {"Host": "storage.example"}}, id="host-header"),
        pytest.param("unsigned_header", {"headers": {"x-goog-acl": "public-read"}}, id="extension-header"),
        pytest.param("expired", {"now": EXAMPLE_SIGNED_AT + timedelta(seconds=10)}, id="last-second-over"),
        pytest.param("not_yet_valid", {"now": EXAMPLE_SIGNED_AT - timedelta(minutes=16)}, id="too-early"),
        pytest.param("identity", {"identities": {}}, id="nobody"),
        pytest.param("algorithm", {"identities": {EXAMPLE_EMAIL: HMACIdentity("s")}}, id="other-kind-of-key"),
        pytest.param(
            "signature", {"identities": {EXAMPLE_EMAIL: RSAIdentity(EXAMPLE_KEY.modulus + 2)}}, id="other-key"
        ),
    ],
)
def test_refuses_the_published_signed_url_in_another_request(reason: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=f"^{reason}:"):
        verify_example("simple-get", **changes)


def test_accepts_the_published_form() -> None:
    assert verify_example_form() == Verified(
        authorizer=EXAMPLE_EMAIL,
        method="POST",
        host="",
        path="/test-object",
        expires_at=EXAMPLE_FORM_SIGNED_AT + timedelta(seconds=10),
        signed_headers=(),
        query={},
    )


@pytest.mark.parametrize("name", EXAMPLE_FORM, ids=str)
def test_refuses_every_one_bit_change_of_the_published_form(name: str) -> None:
    for mutant in one_bit_mutants(EXAMPLE_FORM[name]):
        with pytest.raises(Refused):
            verify_example_form(EXAMPLE_FORM | {name: mutant})


# --- google-cloud-storage's own links ----------------------------------------------------------------------

EMAIL = "signer@project.iam.gserviceaccount.com"
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
PUBLIC = RSAIdentity(PRIVATE_KEY.public_key().public_numbers().n)
INFO = {
    "type": "service_account",
    "client_email": EMAIL,
    "token_uri": "https://oauth2.googleapis.com/token",
    "private_key": PRIVATE_KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode(),
}
SDK = google.cloud.storage.Client(
    project="project", credentials=service_account.Credentials.from_service_account_info(INFO)
)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ACCESS_ID, SECRET = "GOOG1EACCESS", "secret/of+the=key"
IDENTITIES: dict[str, Any] = {EMAIL: PUBLIC, ACCESS_ID: HMACIdentity(SECRET)}

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
words = st.text("".join(map(chr, range(0x21, 0x7F))), min_size=1, max_size=20)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_signing, client):
        monkeypatch.setattr(module, "_NOW", lambda zone=None: NOW)


@given(
    key=texts,
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    seconds=st.integers(1, 604_800),
    headers=st.dictionaries(st.sampled_from(["content-type", "content-md5", "x-goog-hash", "x-goog-meta-a"]), words),
    more=st.fixed_dictionaries(
        {}, optional={"response_disposition": texts, "response_type": texts, "generation": words}
    ),
    style=st.sampled_from([{"virtual_hosted_style": True}, {}, {"api_access_endpoint": "http://127.0.0.1:9000"}]),
)
@settings(max_examples=200, deadline=None)
def test_accepts_what_the_sdk_signs(
    key: str, method: str, seconds: int, headers: dict[str, str], more: dict[str, str], style: dict[str, Any]
) -> None:
    url = (
        SDK.bucket("bucket")
        .blob(key)
        .generate_signed_url(
            version="v4",
            method=method,
            expiration=timedelta(seconds=seconds),
            headers=dict(headers) or None,
            **more,
            **style,
        )
    )
    verified = verify_signed(method=method, url=url, headers=headers, identities=IDENTITIES, now=NOW)
    assert verified.path == (f"/{key}" if "virtual_hosted_style" in style else f"/bucket/{key}")
    assert verified.expires_at == NOW + timedelta(seconds=seconds)
    assert set(verified.signed_headers) == {"host", *headers}
    assert set(verified.query.values()) == set(more.values())


@given(key=texts, low=st.integers(0, 9), more=st.integers(0, 9), length=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_accepts_what_the_sdk_signs_as_a_form(key: str, low: int, more: int, length: int) -> None:
    made = SDK.generate_signed_post_policy_v4(
        "bucket",
        key,
        timedelta(seconds=60),
        conditions=[["content-length-range", low, low + more]],
        fields={"Content-Type": "image/png"},
    )
    arguments: dict[str, Any] = {
        "fields": made["fields"],
        "bucket": "bucket",
        "identities": IDENTITIES,
        "now": NOW,
        "content_length": length,
    }
    if low <= length <= low + more:
        verified = verify_form(**arguments)
        assert (verified.path, verified.query) == (f"/{key}", {"content-type": "image/png"})
    else:
        with pytest.raises(Refused, match=r"^content_length:"):
            verify_form(**arguments)


# --- every reason ------------------------------------------------------------------------------------------


def sign(text: str, scope: str, algorithm: str) -> str:
    """Sign by the specification, with the library for RSA and step by step for HMAC."""
    if algorithm == "GOOG4-RSA-SHA256":
        return PRIVATE_KEY.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()).hex()
    key = f"GOOG4{SECRET}".encode()
    for part in scope.split("/"):  # day, location, service, terminator
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def link(
    *,
    algorithm: str = "GOOG4-HMAC-SHA256",
    who: str = ACCESS_ID,
    scope: str = "20260304/auto/storage/goog4_request",
    date: str = "20260304T050607Z",
    expires: str = "300",
    headers: Mapping[str, str] | None = None,
    signed_headers: str | None = None,
    parameters: str = "",
    url: str = "https://storage.googleapis.com/bucket/key",
) -> str:
    """Make a link that is signed properly, whatever it says."""
    named = {"host": "storage.googleapis.com"} | {name.lower(): value for name, value in (headers or {}).items()}
    listed = ";".join(sorted(named)) if signed_headers is None else signed_headers
    query = (
        f"X-Goog-Algorithm={algorithm}&X-Goog-Credential={quote(f'{who}/{scope}', safe='')}&X-Goog-Date={date}"
        f"&X-Goog-Expires={expires}&X-Goog-SignedHeaders={quote(listed, safe='')}{parameters}"
    )
    canonical = "&".join(sorted(query.split("&")))
    lines = "".join(f"{name}:{named.get(name, '')}\n" for name in listed.split(";"))
    payload = named.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD")
    request = f"GET\n{urlsplit(url).path}\n{canonical}\n{lines}\n{listed}\n{payload}"
    text = f"{algorithm}\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    return f"{url}?{query}&X-Goog-Signature={sign(text, scope, algorithm)}"


def verify_link(url: str, **changes: Any) -> Verified:
    arguments: dict[str, Any] = {"method": "GET", "headers": {}, "identities": IDENTITIES, "now": NOW}
    return verify_signed(url=url, **arguments | changes)


RANGE = {"x-goog-content-length-range": "5,5"}
GOOD = link()

# id -> reason, link, what is different in the request
LINK_REFUSALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "rsa-identity-hmac-link": ("algorithm", link(who=EMAIL), {}),
    "algorithm-of-amazon": ("algorithm", link(algorithm="AWS4-HMAC-SHA256"), {}),
    "no-authorizer": ("credential", link(who=""), {}),
    "five-parts": ("credential", link(scope="20260304/auto/storage/goog4_request/more"), {}),
    "other-service": ("credential", link(scope="20260304/auto/s3/goog4_request"), {}),
    "other-terminator": ("credential", link(scope="20260304/auto/storage/aws4_request"), {}),
    "no-such-day": ("date", link(date="20260230T050607Z", scope="20260230/auto/storage/goog4_request"), {}),
    "scope-of-another-day": ("date", link(scope="20260303/auto/storage/goog4_request"), {}),
    "date-with-a-space": ("date", link(date="20260304T05060%20Z"), {}),
    "parameter-twice": ("duplicate", link(parameters="&generation=1&generation=2"), {}),
    "header-twice": ("duplicate", link(headers={"a": "1"}), {"headers": {"a": "1", "A": "1"}}),
    "lower-case-escape": ("encoding", link(parameters="&a=%c3%a9"), {}),
    "needless-escape": ("encoding", link(parameters="&a=%41"), {}),
    "plus-for-space": ("encoding", link(parameters="&a=b+c"), {}),
    "not-utf-8": ("encoding", link(parameters="&a=%FF"), {}),
    "path-not-utf-8": ("encoding", link(url="https://storage.googleapis.com/bucket/%FF"), {}),
    "over": ("expired", GOOD, {"now": NOW + timedelta(seconds=300)}),
    "no-time": ("expires_range", link(expires="0"), {}),
    "padded": ("expires_range", link(expires="0300"), {}),
    "too-long": ("expires_range", link(expires="604801"), {}),
    "negative": ("expires_range", link(expires="-1"), {}),
    "two-spaces": ("header_value", link(headers={"a": "b"}), {"headers": {"a": "b  c"}}),
    "range-that-is-none": (
        "header_value",
        link(headers={"x-goog-content-length-range": "5"}),
        {"headers": {"x-goog-content-length-range": "5"}, "body_length": 5},
    ),
    "other-host": ("host", GOOD, {"headers": {"Host": "other"}}),
    "nobody": ("identity", link(who="GOOG1EOTHER"), {}),
    "no-date": ("missing", link().replace("&X-Goog-Date=20260304T050607Z", ""), {}),
    "empty-signature": ("missing", re.sub("Signature=.*", "Signature=", GOOD), {}),
    "header-not-sent": ("missing_header", link(headers=RANGE), {}),
    "too-early": ("not_yet_valid", GOOD, {"now": NOW - timedelta(minutes=15, seconds=1)}),
    "too-short": ("content_length", link(headers=RANGE), {"headers": RANGE, "body_length": 4}),
    "too-much": ("content_length", link(headers=RANGE), {"headers": RANGE, "body_length": 6}),
    "no-length": ("content_length", link(headers=RANGE), {"headers": RANGE}),
    "upper-case-signature": ("signature", GOOD[:-64] + GOOD[-64:].upper(), {}),
    "half-a-signature": ("signature", GOOD[:-32], {}),
    "odd-signature": ("signature", GOOD[:-1], {}),
    "other-value": (
        "signature",
        link(headers=RANGE),
        {"headers": {"x-goog-content-length-range": "5,6"}, "body_length": 5},
    ),
    "more-parameters": ("signature", GOOD + "&generation=1", {}),
    "without-host": ("signed_headers", link(signed_headers="range"), {}),
    "unsorted": ("signed_headers", link(signed_headers="host;a"), {}),
    "host-twice": ("signed_headers", link(signed_headers="host;host"), {}),
    "upper-case-name": ("signed_headers", link(signed_headers="Host;host"), {}),
    "authorization": ("two_mechanisms", GOOD, {"headers": {"Authorization": "Bearer x"}}),
    "signature-of-v2": ("two_mechanisms", link(parameters="&Signature=x"), {}),
    "unknown-x-goog": ("unknown_parameter", link(parameters="&X-Goog-Else=1"), {}),
    "amazons": ("unknown_parameter", link(parameters="&X-Amz-Expires=1"), {}),
    "content-type": ("unsigned_header", GOOD, {"headers": {"Content-Type": "text/html"}}),
    "precondition": ("unsigned_header", GOOD, {"headers": {"x-goog-if-generation-match": "1"}}),
    "no-query": ("url", "https://storage.googleapis.com/bucket/key", {}),
    "fragment": ("url", GOOD + "#a", {}),
    "user": ("url", GOOD.replace("https://", "https://user@"), {}),
    "space": ("url", GOOD.replace("key?", "k y?"), {}),
    "scheme": ("url", GOOD.replace("https", "ftp"), {}),
}


def form(
    *, conditions: list[Any] | None = None, fields: Mapping[str, str] | None = None, **changes: Any
) -> dict[str, str]:
    """Make a form that is signed properly, whatever it says."""
    scope = "20260304/auto/storage/goog4_request"
    signing = {
        "x-goog-algorithm": "GOOG4-HMAC-SHA256",
        "x-goog-credential": f"{ACCESS_ID}/{scope}",
        "x-goog-date": "20260304T050607Z",
    }
    document = {
        "conditions": [*CONDITIONS, *({name: value} for name, value in signing.items())]
        if conditions is None
        else conditions,
        "expiration": "2026-03-04T05:11:07Z",
    } | changes
    policy = base64.b64encode(json.dumps(document).encode()).decode()
    made = {"key": "key", **signing, "policy": policy, **(fields or {})}
    return made | {"x-goog-signature": sign(policy, scope, "GOOG4-HMAC-SHA256")}


CONDITIONS: list[Any] = [{"bucket": "bucket"}, {"key": "key"}, ["content-length-range", 1, 5]]
SIGNING: list[Any] = [["starts-with", f"$x-goog-{name}", ""] for name in ("algorithm", "credential", "date")]

FORM_REFUSALS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "other-bucket": ("condition", form(), {"bucket": "other"}),
    "other-key": ("condition", form(fields={"key": "other"}), {}),
    "other-prefix": ("condition", form(conditions=[["starts-with", "$key", "user/"]]), {}),
    "field-not-sent": ("condition", form(conditions=[{"acl": "private"}]), {}),
    "too-small": ("content_length", form(), {"content_length": 0}),
    "too-large": ("content_length", form(), {"content_length": 6}),
    "over": ("expired", form(), {"now": NOW + timedelta(seconds=300)}),
    "over-seven-days": ("expires_range", form(expiration="2026-03-11T05:06:08Z"), {}),
    "field-twice": ("duplicate", form() | {"KEY": "key"}, {}),
    "no-policy": ("missing", form() | {"policy": ""}, {}),
    "not-base64": ("signature", form() | {"policy": "?"}, {}),
    "expiration-that-is-none": ("policy", form(expiration="soon"), {}),
    "expiration-is-a-number": ("policy", form(expiration=1), {}),
    "more-in-the-policy": ("policy", form(more=1), {}),
    "conditions-are-text": ("policy", form(conditions="all"), {}),  # type: ignore[arg-type]
    "unknown-operator": ("policy", form(conditions=[["ends-with", "$key", ""]]), {}),
    "two-in-one": ("policy", form(conditions=[{"bucket": "bucket", "key": "key"}]), {}),
    "key-bound-by-prefix": (
        "uncovered_field",
        form(conditions=[{"bucket": "bucket"}, ["starts-with", "$key", ""], *SIGNING]),
        {},
    ),
    "signing-bound-by-prefix": ("uncovered_field", form(conditions=[*CONDITIONS, *SIGNING]), {}),
    "unbound-field": ("uncovered_field", form(fields={"acl": "public-read"}), {}),
}


@pytest.mark.parametrize("algorithm", ["GOOG4-RSA-SHA256", "GOOG4-HMAC-SHA256"])
def test_accepts_a_link_made_by_hand(algorithm: str) -> None:
    who = EMAIL if algorithm == "GOOG4-RSA-SHA256" else ACCESS_ID
    headers = RANGE | {"content-type": "image/png"}
    audit = "&x-goog-custom-audit-who=me"
    made = link(algorithm=algorithm, who=who, headers=headers, parameters=audit)
    verified = verify_link(made, headers=headers, body_length=5)
    assert verified.query == {"x-goog-custom-audit-who": "me"}
    assert verified.signed_headers == ("content-type", "host", "x-goog-content-length-range")


def test_a_hash_of_the_payload_takes_the_place_of_none() -> None:
    headers = {"x-goog-content-sha256": "0" * 64}
    verify_link(link(headers=headers), headers=headers)


def test_accepts_a_form_made_by_hand() -> None:
    assert verify_form(
        fields=form(conditions=None), bucket="bucket", identities=IDENTITIES, now=NOW, content_length=5
    ).expires_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(("reason", "url", "changes"), LINK_REFUSALS.values(), ids=LINK_REFUSALS)
def test_refuses_the_link(reason: str, url: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        verify_link(url, **changes)
    assert refusal.value.reason == reason


@pytest.mark.parametrize(("reason", "fields", "changes"), FORM_REFUSALS.values(), ids=FORM_REFUSALS)
def test_refuses_the_form(reason: str, fields: dict[str, str], changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"bucket": "bucket", "identities": IDENTITIES, "now": NOW, "content_length": 5}
    with pytest.raises(Refused) as refusal:
        verify_form(fields=fields, **arguments | changes)
    assert refusal.value.reason == reason


def test_the_tables_hold_every_reason() -> None:
    assert {reason for reason, *_ in [*LINK_REFUSALS.values(), *FORM_REFUSALS.values()]} == set(REASONS)


@pytest.mark.parametrize("key", [st.binary(min_size=1, max_size=8)], ids=["hypothesis"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_rsa_says_what_cryptography_says(data: st.DataObject, key: st.SearchStrategy[bytes]) -> None:
    message = data.draw(key).hex()
    signature = PRIVATE_KEY.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert PUBLIC.signed(signature, "", message)
    at, bit = data.draw(st.integers(0, len(signature) - 1)), data.draw(st.integers(0, 7))
    wrong = bytearray(signature)
    wrong[at] ^= 1 << bit
    assert not PUBLIC.signed(bytes(wrong), "", message)
    assert not PUBLIC.signed(signature, "", message + "a")
    assert not PUBLIC.signed(b"\x00" + signature, "", message)
    # The same signature one modulus higher is the same number to arithmetic, and no signature.
    higher = int.from_bytes(signature, "big") + PUBLIC.modulus
    assert higher.bit_length() > 2048 or not PUBLIC.signed(higher.to_bytes(256, "big"), "", message)


def test_no_secret_is_shown() -> None:
    assert SECRET not in repr(IDENTITIES)
    for bad in (GOOD[:-2], GOOD + "&x=1"):
        with pytest.raises(Refused) as refusal:
            verify_link(bad)
        assert dict(parse_qsl(urlsplit(GOOD).query))["X-Goog-Signature"][:40] not in str(refusal.value)
