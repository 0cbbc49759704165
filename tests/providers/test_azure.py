"""Azure links: equal to azure-storage-blob's byte for byte, judged by a verifier of our own, and honest."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.storage.blob import BlobClient, UserDelegationKey, _shared_access_signature, generate_blob_sas
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import (
    AzureCredentials,
    AzureProvider,
    Checksum,
    CredentialsExpired,
    Download,
    InvalidConfiguration,
    InvalidKey,
    InvalidOperation,
    InvalidTTL,
    Operation,
    SharedKey,
    SignedURL,
    UnsupportedOperation,
    Upload,
    UploadForm,
    UploadPart,
    check_provider,
)
from providers.azure import SAS_VERSION, SASKey, block_id
from providers.mac import Mac
from tests.providers import clouds, examples
from tests.providers.clouds import query_of
from tests.providers.examples import NOW, TTL
from tests.verifiers.sas import Account, DelegationKey, Refused, Verified, verify_sas

ACCOUNT, CONTAINER = "account0", "my-box"
ACCOUNT_KEY = base64.b64encode(b"an account key of sixty-four bytes, which no account has at all!").decode()
HTTPS = f"https://{ACCOUNT}.blob.core.windows.net"
EMULATOR = f"http://127.0.0.1:10000/{ACCOUNT}"
DELEGATION = DelegationKey(
    oid="11111111-2222-3333-4444-555555555555",
    tid="66666666-7777-8888-9999-000000000000",
    start="1999-12-31T00:00:00Z",
    expiry="2100-01-01T00:00:00Z",
    service="b",
    version=SAS_VERSION,
    value=base64.b64encode(b"a delegation key of 32 bytes ...").decode(),
)


class Delegation:
    """What a UserDelegation hands out, without where it comes from."""

    offline = True
    account_name = ACCOUNT

    def __init__(self, expires_at: datetime = datetime(2100, 1, 1, tzinfo=UTC)) -> None:
        self.asked: list[tuple[datetime, timedelta]] = []
        self.key = SASKey(
            Mac(base64.b64decode(DELEGATION.value)),
            "".join(f"{field}\n" for field in DELEGATION.fields) + "\n\n\n",
            "".join(
                f"&{name}={value.replace(':', '%3A')}"
                for name, value in zip(("skoid", "sktid", "skt", "ske", "sks", "skv"), DELEGATION.fields, strict=True)
            ),
            expires_at,
        )

    def current(self, *, now: datetime, needed: timedelta) -> SASKey:
        self.asked.append((now, needed))
        return self.key


CREDENTIALS: dict[str, Any] = {"shared-key": SharedKey(ACCOUNT_KEY), "delegation": Delegation()}


def provider(**changes: Any) -> AzureProvider:
    arguments = {"account_name": ACCOUNT, "container": CONTAINER, "credentials": CREDENTIALS["shared-key"]}
    return AzureProvider(**arguments | changes)  # type: ignore[arg-type]


def verify(signed: SignedURL, *, endpoint: str = HTTPS, now: datetime = NOW, **changes: Any) -> Verified:
    # For these tests a key lives for a hundred years, which no service allows.
    short = replace(DELEGATION, start="2026-03-04T00:00:00Z", expiry="2026-03-11T00:00:00Z")
    account = Account(ACCOUNT, endpoint, (ACCOUNT_KEY,), (DELEGATION, short))
    common: dict[str, Any] = {"method": signed.method, "url": signed.url, "headers": signed.headers}
    return verify_sas(**common | {"account": account, "now": now} | changes)


@pytest.fixture(autouse=True)
def keys_for_a_century(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.verifiers.sas.MAX_KEY_LIFE", timedelta(days=40_000))


# --- azure-storage-blob as an oracle -----------------------------------------------------------------------


class NoLine(str):
    """The SDK puts this, and a newline, into what it signs; this keeps the newline out as well."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True

    def __add__(self, other: str) -> str:
        return ""


class OfThatVersion(_shared_access_signature._BlobSharedAccessHelper):  # type: ignore[misc]
    """The SDK's own builder, less the four fields that came with 2025-07-05 and 2026-04-06."""

    def __init__(self) -> None:
        super().__init__()
        self._sts_srh = self._sts_srq = NoLine("")

    def get_value_to_append(self, query: str) -> str:
        return "" if query in ("skdutid", "sduoid") else str(super().get_value_to_append(query))


@contextmanager
def pinned() -> Iterator[None]:
    """Make the SDK sign as its earlier releases did, whose version is ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_shared_access_signature, "X_MS_VERSION", SAS_VERSION)
        patch.setattr(_shared_access_signature, "_BlobSharedAccessHelper", OfThatVersion)
        yield


def sdk_key() -> UserDelegationKey:
    key = UserDelegationKey()
    key.signed_oid, key.signed_tid = DELEGATION.oid, DELEGATION.tid
    key.signed_start, key.signed_expiry = DELEGATION.start, DELEGATION.expiry
    key.signed_service, key.signed_version, key.value = DELEGATION.service, DELEGATION.version, DELEGATION.value
    return key


def sdk_sign(
    operation: Operation,
    *,
    delegated: bool,
    endpoint: str,
    seconds: int,
    now: datetime,
    backdate: timedelta | None,
) -> tuple[str, str]:
    """Return what the SDK signs, and the whole link."""
    texts: list[str] = []
    wanted: dict[str, Any] = {}
    match operation:
        case Download():
            permission = "r"
            wanted = {
                "cache_control": operation.cache_control,
                "content_disposition": operation.content_disposition,
                "content_type": operation.content_type,
                "version_id": operation.version,
            }
        case Upload(overwrite=False):
            permission = "c"
        case _:
            permission = "w"
    with pinned():
        token = generate_blob_sas(
            ACCOUNT,
            CONTAINER,
            operation.key,
            account_key=None if delegated else ACCOUNT_KEY,
            user_delegation_key=sdk_key() if delegated else None,
            permission=permission,
            expiry=now + timedelta(seconds=seconds),
            start=None if backdate is None else now - backdate,
            protocol="https" if endpoint.startswith("https") else None,
            sts_hook=texts.append,
            **{name: value for name, value in wanted.items() if value is not None},
        )
    blob = BlobClient(endpoint, CONTAINER, operation.key, credential=token)
    return texts[0], str(blob.url)


operations = st.one_of(
    examples.cacheable_downloads,
    examples.uploads(st.binary(min_size=16, max_size=16).map(lambda digest: Checksum("md5", digest))),
    examples.parts.map(lambda part: replace(part, checksum=None)),
)
instants = st.datetimes(datetime(2000, 1, 2), datetime(2099, 11, 30), timezones=st.just(UTC))  # noqa: DTZ001
lifetimes = st.integers(1, 604_800).map(lambda seconds: timedelta(seconds=seconds))
backdates = st.one_of(st.none(), st.integers(0, 900).map(lambda seconds: timedelta(seconds=seconds)))


@given(
    operation=operations,
    kind=st.sampled_from(sorted(CREDENTIALS)),
    endpoint=st.sampled_from([HTTPS, EMULATOR, "https://files.example", "https://a.blob.core.chinacloudapi.cn"]),
    now=instants,
    ttl=lifetimes,
    backdate=backdates,
)
@settings(max_examples=400, deadline=None)
def test_what_is_signed_and_the_link_are_the_sdks(
    operation: Operation, kind: str, endpoint: str, now: datetime, ttl: timedelta, backdate: timedelta | None
) -> None:
    now = now.replace(microsecond=0)
    ours = provider(endpoint_url=endpoint, credentials=CREDENTIALS[kind], backdate=backdate)
    text, url = sdk_sign(
        operation,
        delegated=kind == "delegation",
        endpoint=endpoint,
        seconds=int(ttl.total_seconds()),
        now=now,
        backdate=backdate,
    )
    assert ours.string_to_sign(operation, ttl=ttl, now=now) == text
    signed = ours.sign(operation, ttl=ttl, now=now).url
    start, _, query = url.partition("?")
    assert signed.startswith(f"{start}?")
    # The parameters of the operation itself stand before the signature.
    assert signed.endswith(query)
    before = signed.removeprefix(f"{start}?").removesuffix(query).rstrip("&")
    expected = {}
    if isinstance(operation, Download) and operation.version is not None:
        expected = {"versionid": operation.version}
    if isinstance(operation, UploadPart):
        expected = {"comp": "block", "blockid": block_id(operation.upload_id, operation.number)}
    assert dict(parse_qsl(before, strict_parsing=bool(before))) == expected


def test_the_pinned_version_is_one_whose_order_is_known() -> None:
    assert "2020-12-06" <= SAS_VERSION < "2025-07-05"  # two fields more from then on, and two more from 2026-04-06
    assert SAS_VERSION <= "2026-02-06"


def test_unpinned_the_sdk_signs_four_fields_more() -> None:
    # Otherwise the oracle above would be patched for nothing.
    text, _ = sdk_sign(Download("a"), delegated=True, endpoint=HTTPS, seconds=300, now=NOW, backdate=None)
    texts: list[str] = []
    generate_blob_sas(
        ACCOUNT,
        CONTAINER,
        "a",
        user_delegation_key=sdk_key(),
        permission="r",
        expiry=NOW + TTL,
        protocol="https",
        sts_hook=texts.append,
    )
    assert texts[0].count("\n") == text.count("\n") + 4


# --- what a link is good for -------------------------------------------------------------------------------

OPERATIONS: dict[str, Operation] = {
    "download": Download("a b/ü.txt"),
    "download-with-everything": Download(
        "a", filename="ü.txt", content_type="image/png", version="2026-01-01T00:00:00.0000000Z", link_id="lnk_1"
    ),
    "head": Download("a", method="HEAD"),
    "upload": Upload("a", content_type="image/png", size_bytes=5, checksum=Checksum("md5", b"m" * 16)),
    "upload-over": Upload("a", content_type="image/png", size_bytes=0, overwrite=True),
    "part": UploadPart("a", upload_id="x", number=7, size_bytes=5),
}
SAS_PARAMETERS = {"sv", "sr", "se", "sp", "spr", "sig"}


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_link_is_for_one_blob_and_one_permission(credentials: Any, operation: Operation) -> None:
    signed = provider(credentials=credentials).sign(operation, ttl=TTL, now=NOW)
    verified = verify(signed)
    assert (verified.container, verified.blob) == (CONTAINER, operation.key)
    assert verified.permissions in ("r", "c", "w")
    assert verified.starts_at is None
    assert verified.expires_at == signed.expires_at == NOW + TTL
    delegation = {"skoid", "sktid", "skt", "ske", "sks", "skv"} if verified.delegated else set()
    assert set(query_of(signed)) - delegation - {"rscd", "rsct", "versionid", "comp", "blockid"} == SAS_PARAMETERS
    assert query_of(signed)["spr"] == "https"
    with pytest.raises(Refused, match=r"^expired:"):
        verify(signed, now=NOW + TTL)


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize(
    "operation", [OPERATIONS["download-with-everything"], OPERATIONS["upload"]], ids=["get", "put"]
)
def test_every_one_bit_mutant_of_a_link_fails(credentials: Any, operation: Operation) -> None:
    signed = provider(credentials=credentials).sign(operation, ttl=TTL, now=NOW)
    good = verify(signed)
    rest = signed.url.removeprefix(HTTPS)
    for mutant in clouds.one_bit_mutants(rest):
        # The hexadecimal digits of an escape have two cases; nothing else passes.
        try:
            passed = verify(signed, url=HTTPS + mutant)
        except Refused:
            continue
        assert passed == good
        assert mutant.lower() == rest.lower()


def test_downloads_bind_what_the_answer_is_called() -> None:
    verified = verify(provider().sign(OPERATIONS["download-with-everything"], ttl=TTL, now=NOW))
    assert verified.version == "2026-01-01T00:00:00.0000000Z"
    assert verified.answer == {
        "Content-Disposition": "attachment; filename=\"u.txt\"; filename*=UTF-8''%C3%BC.txt",
        "Content-Type": "image/png",
    }


def test_an_upload_creates_and_only_overwriting_writes() -> None:
    signed = provider().sign(OPERATIONS["upload"], ttl=TTL, now=NOW)
    assert verify(signed).permissions == "c"
    with pytest.raises(Refused, match=r"^permission:"):
        verify(signed, blob_exists=True)
    assert verify(provider().sign(OPERATIONS["upload-over"], ttl=TTL, now=NOW), blob_exists=True).permissions == "w"


def test_what_clients_have_to_send() -> None:
    def headers(operation: Operation) -> Mapping[str, str]:
        return provider().sign(operation, ttl=TTL, now=NOW).headers

    assert headers(OPERATIONS["download"]) == {}
    assert headers(OPERATIONS["upload"]) == {
        "x-ms-blob-type": "BlockBlob",
        "x-ms-blob-content-type": "image/png",
        "If-None-Match": "*",
        "x-ms-blob-content-md5": base64.b64encode(b"m" * 16).decode(),
    }
    assert headers(OPERATIONS["upload-over"]) == {
        "x-ms-blob-type": "BlockBlob",
        "x-ms-blob-content-type": "image/png",
    }
    part = UploadPart("a", upload_id="x", number=7, size_bytes=5, checksum=Checksum("md5", b"m" * 16))
    assert headers(part) == {"Content-MD5": base64.b64encode(b"m" * 16).decode()}


def test_capabilities_say_what_a_link_does_not_bind() -> None:
    capabilities = provider().capabilities
    base = Upload("a", content_type="image/png", size_bytes=5)
    link = provider().sign(base, ttl=TTL, now=NOW).url
    same = [
        replace(base, size_bytes=6),
        replace(base, content_type="a/b"),
        replace(base, checksum=Checksum("md5", b"m" * 16)),
    ]
    assert {provider().sign(other, ttl=TTL, now=NOW).url for other in same} == {link}
    assert not any((capabilities.binds_size, capabilities.binds_content_type, capabilities.binds_checksum))
    get, head = (provider().sign(OPERATIONS[name], ttl=TTL, now=NOW).url for name in ("download", "head"))
    assert urlsplit(get).query.partition("&sig=")[0] == urlsplit(head).query.partition("&sig=")[0]
    assert not any((capabilities.binds_method, capabilities.binds_part))
    # A link for one block may do all that writing the blob may.
    part = provider().sign(OPERATIONS["part"], ttl=TTL, now=NOW)
    whole = re.sub(r"\?comp=block&blockid=[^&]*&", "?", part.url)
    assert verify(part, url=whole, headers={"x-ms-blob-type": "BlockBlob"}, blob_exists=True).permissions == "w"


def test_block_names_are_of_one_length_and_differ() -> None:
    names = [block_id(upload_id, number) for upload_id in ("a", "b" * 1024, "ü") for number in (1, 2, 10_000)]
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {52}
    assert base64.b64decode(names[0]) == b"ca978112ca1bbdcafac231b39a23dc4d-00001"


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
def test_a_digest_that_azure_does_not_check_is_refused(algorithm: Any) -> None:
    checksum = Checksum(algorithm, bytes(examples.DIGEST_BYTES[algorithm]))
    for operation in (
        Upload("a", content_type="a/b", size_bytes=1, checksum=checksum),
        UploadPart("a", upload_id="x", number=1, size_bytes=1, checksum=checksum),
    ):
        with pytest.raises(UnsupportedOperation, match=f"checksum is {algorithm}; Azure checks md5"):
            provider().sign(operation, ttl=TTL, now=NOW)


def test_there_are_no_forms() -> None:
    with pytest.raises(UnsupportedOperation, match="UploadForm"):
        provider().sign(UploadForm("a", content_type="a/b", min_bytes=0, max_bytes=1), ttl=TTL, now=NOW)


# --- fields that could be cut another way -------------------------------------------------------------------


def test_one_signature_cannot_be_read_as_another_blobs() -> None:
    # Fields are joined as they are: this name would end the resource and begin the fields behind it.
    rest = f"\n\n\nhttps\n{SAS_VERSION}\nb\n\n\n\n\n\n\ntext/html"
    with pytest.raises(InvalidKey, match="no control"):
        Download(f"victim.pdf{rest}")
    # The same by a way that no caller has.
    crafted = Download("victim.pdf")
    object.__setattr__(crafted, "key", f"victim.pdf{rest}")
    with pytest.raises(InvalidOperation, match="holds a newline"):
        provider().sign(crafted, ttl=TTL, now=NOW)


@pytest.mark.parametrize("field", ["filename", "content_type", "version"])
@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x1f", "\x7f"], ids=["lf", "cr", "nul", "us", "del"])
def test_no_field_of_a_download_signs_a_control_character(field: str, character: str) -> None:
    value = f"a{character}text/html"
    try:
        operation = Download("a", **{field: value})  # type: ignore[arg-type]
    except InvalidOperation:
        return
    for credentials in CREDENTIALS.values():
        text = provider(credentials=credentials).string_to_sign(operation, ttl=TTL, now=NOW)
        # A file name is cleaned instead of refused: what is left of it is one field.
        assert character not in text.replace("\n", "")
        assert text.count("\n") == (23 if credentials is CREDENTIALS["delegation"] else 15)


# --- the contract and the configuration --------------------------------------------------------------------


@pytest.mark.parametrize("backdate", [None, timedelta(minutes=15)], ids=["no-start", "backdated"])
@pytest.mark.parametrize("endpoint_url", [None, EMULATOR, "https://files.example"], ids=["azure", "emulator", "domain"])
@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS)
def test_the_contract_is_kept(credentials: Any, endpoint_url: str | None, backdate: timedelta | None) -> None:
    target = provider(credentials=credentials, endpoint_url=endpoint_url, backdate=backdate)
    check_provider(target)
    check_provider(target, now=NOW.replace(microsecond=999_999))


ADDRESSES: dict[str, tuple[str | None, str, bool]] = {
    "azure": (None, f"{HTTPS}/{CONTAINER}/", True),
    "custom-domain": ("https://files.example/", f"https://files.example/{CONTAINER}/", True),
    "china": (
        f"https://{ACCOUNT}.blob.core.chinacloudapi.cn",
        f"https://{ACCOUNT}.blob.core.chinacloudapi.cn/{CONTAINER}/",
        True,
    ),
    "emulator": (EMULATOR, f"{EMULATOR}/{CONTAINER}/", False),
    "emulator-with-tls": (
        EMULATOR.replace("http", "https"),
        f"{EMULATOR.replace('http', 'https')}/{CONTAINER}/",
        True,
    ),
}


@pytest.mark.parametrize(("endpoint_url", "base_url", "https_only"), ADDRESSES.values(), ids=ADDRESSES)
def test_where_links_lead(endpoint_url: str | None, base_url: str, https_only: bool) -> None:
    target = provider(endpoint_url=endpoint_url)
    signed = target.sign(Download("a b/ü"), ttl=TTL, now=NOW)
    assert target.base_url == base_url
    assert signed.url.startswith(f"{base_url}a%20b/%C3%BC?")
    assert ("spr" in query_of(signed)) == https_only
    # Whatever the host, the account is what is signed.
    assert verify(signed, endpoint=base_url.removesuffix(f"/{CONTAINER}/")).blob == "a b/ü"


BAD_CONFIGURATION: dict[str, tuple[str, Any, str]] = {
    "account-empty": ("account_name", "", "account_name is ''"),
    "account-short": ("account_name", "ab", "3 to 24"),
    "account-upper-case": ("account_name", "Account", "account_name is 'Account'"),
    "account-with-newline": ("account_name", "account\n", "account_name is"),
    "account-none": ("account_name", None, "account_name is None"),
    "container-empty": ("container", "", "container is ''"),
    "container-short": ("container", "ab", "3 to 63"),
    "container-long": ("container", "a" * 64, "3 to 63"),
    "container-upper-case": ("container", "Box", "container is 'Box'"),
    "container-two-hyphens": ("container", "a--b", "single hyphens"),
    "container-ends-in-hyphen": ("container", "box-", "container is 'box-'"),
    "container-with-slash": ("container", "box/a", "container is 'box/a'"),
    "container-of-the-root": ("container", "$root", "container is '$root'"),
    "credentials-none": ("credentials", None, "credentials are of type NoneType"),
    "credentials-text": ("credentials", ACCOUNT_KEY, "credentials are of type str"),
    "endpoint-password": ("endpoint_url", "https://me:hunter2@files.example", "user name"),
    "endpoint-query": ("endpoint_url", "https://files.example?sv=1", "no query"),
    "backdate-negative": ("backdate", timedelta(seconds=-1), "backdate is"),
    "backdate-long": ("backdate", timedelta(days=2), "up to 1 day"),
}


@pytest.mark.parametrize(("name", "value", "piece"), BAD_CONFIGURATION.values(), ids=BAD_CONFIGURATION)
def test_configuration_that_cannot_work_is_refused(name: str, value: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        provider(**{name: value})
    assert ACCOUNT_KEY not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_the_key_of_another_account_signs_nothing() -> None:
    with pytest.raises(InvalidConfiguration, match="the credentials are of the account 'account0'; of 'other0'"):
        provider(account_name="other0", credentials=CREDENTIALS["delegation"])


@pytest.mark.parametrize("key", ["", "?", ACCOUNT_KEY + "\n", ACCOUNT_KEY[:-1], None, b"a2V5", "ключ"], ids=repr)
def test_an_account_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(InvalidConfiguration, match="account_key is not base64") as refusal:
        SharedKey(key)
    assert ACCOUNT_KEY[:20] not in str(refusal.value)


def test_neither_repr_nor_str_shows_a_secret() -> None:
    shown = " ".join(f"{each!r} {each}" for each in (*CREDENTIALS.values(), provider(), CREDENTIALS["delegation"].key))
    assert ACCOUNT_KEY[:20] not in shown
    assert DELEGATION.value[:20] not in shown
    assert "11111111" not in shown


# --- time, threads, processes ------------------------------------------------------------------------------


def test_a_start_is_only_there_where_it_is_wanted() -> None:
    assert "st" not in query_of(provider().sign(Download("a"), ttl=TTL, now=NOW))
    backdated = provider(backdate=timedelta(minutes=15)).sign(Download("a"), ttl=TTL, now=NOW)
    assert verify(backdated).starts_at == NOW - timedelta(minutes=15)
    with pytest.raises(Refused, match=r"^not_yet_valid:"):
        verify(backdated, now=NOW - timedelta(minutes=16))


def test_the_instant_is_cut_to_the_second_and_told_in_utc() -> None:
    there = NOW.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert provider().sign(Download("a"), ttl=TTL, now=there) == provider().sign(Download("a"), ttl=TTL, now=NOW)


def test_lifetimes_out_of_bounds() -> None:
    with pytest.raises(InvalidTTL, match="ttl is 604801 s; at least 1 s and at most 604800 s"):
        provider().sign(Download("a"), ttl=timedelta(seconds=604_801), now=NOW)


@pytest.mark.parametrize(("left", "covered"), [(86_400, 300), (361, 300), (360, 300), (359, 299), (61, 1)])
def test_no_link_outlives_its_key(left: int, covered: int) -> None:
    end = NOW + timedelta(seconds=left)
    signed = provider(credentials=Delegation(end)).sign(Download("a"), ttl=TTL, now=NOW)
    assert signed.expires_at == NOW + timedelta(seconds=covered)
    assert signed.expires_at < end
    assert query_of(signed)["se"] == signed.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("left", [60, 0, -1])
def test_a_key_that_ends_too_soon_signs_nothing(left: int) -> None:
    with pytest.raises(CredentialsExpired, match="at least 61 s"):
        provider(credentials=Delegation(NOW + timedelta(seconds=left))).sign(Download("a"), ttl=TTL, now=NOW)


def test_the_source_is_asked_for_each_signing_and_told_what_is_needed() -> None:
    source = Delegation()
    target = provider(credentials=source)
    target.sign(Download("a"), ttl=TTL, now=NOW)
    target.sign_many([Download("a")] * 3, ttl=TTL * 2, now=NOW)
    assert source.asked == [(NOW, TTL), (NOW, TTL * 2)]
    assert isinstance(source, AzureCredentials)
    # A new key is used from the next link on.
    before = target.sign(Download("a"), ttl=TTL, now=NOW).url
    source.key = replace(source.key, query="&skoid=other")
    assert "&skoid=other&sig=" in target.sign(Download("a"), ttl=TTL, now=NOW).url
    assert "&skoid=other" not in before


def test_64_threads_and_a_forked_child_sign_the_same() -> None:
    target = provider()
    expected = target.sign(Download("a"), ttl=TTL, now=NOW).url
    fresh = provider()
    assert set(clouds.at_once(lambda: fresh.sign(Download("a"), ttl=TTL, now=NOW).url)) == {expected}
    assert clouds.in_a_fork(lambda: fresh.sign(Download("a"), ttl=TTL, now=NOW).url) == expected


@given(st.lists(operations, max_size=5), st.sampled_from(sorted(CREDENTIALS)))
@settings(max_examples=50, deadline=None)
def test_signing_many_is_signing_each(many: list[Operation], kind: str) -> None:
    target = provider(credentials=CREDENTIALS[kind])
    assert target.sign_many(many, ttl=TTL, now=NOW) == [target.sign(one, ttl=TTL, now=NOW) for one in many]


SCRIPT = f"""
from datetime import timedelta, datetime, UTC
from providers import *
provider = AzureProvider(account_name="{ACCOUNT}", container="{CONTAINER}", credentials=SharedKey("{ACCOUNT_KEY}"))
operations = [
    Download("a b", filename="\\u00e9.txt", version="1"),
    Upload("a", content_type="image/png", size_bytes=1, checksum=Checksum("md5", bytes(16))),
    UploadPart("a", upload_id="x", number=1, size_bytes=1),
]
assert len(provider.sign_many(operations, ttl=timedelta(seconds=300), now=datetime.now(UTC))) == 3
UserDelegation(account_name="{ACCOUNT}", token=ManagedIdentity())
"""


def test_signing_loads_no_sdk() -> None:
    loaded = clouds.modules_after(SCRIPT)
    assert "providers" in loaded
    assert not loaded & {
        "azure",
        "msal",
        "requests",
        "urllib3",
        "django",
        "storages",
        "cryptography",
        "ssl",
        "http",
    }


# --- what the documentation says ---------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "azure.md").read_text()


def rows_of(heading: str) -> dict[str, list[str]]:
    """Read the first table below a heading, or of the page's beginning: what its lines say of their first cell."""
    text = PAGE.partition(f"## {heading}\n")[2] if heading else PAGE
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()]
    return {first: others for first, *others in lines[2:]}


def test_the_documentation_says_what_a_signature_binds() -> None:
    def said(value: bool) -> str:
        return "yes" if value else "no"

    told = {what: bound for what, (bound, _) in rows_of("What the signature binds").items()}
    capabilities = provider().capabilities
    assert capabilities.binds_checksum == frozenset()
    assert capabilities.sends_checksum == {"md5"}
    assert {
        "method": said(capabilities.binds_method),
        "cache control of a download": said(capabilities.binds_cache_control),
        "size of an upload": said(capabilities.binds_size),
        "type of an upload": said(capabilities.binds_content_type),
        "checksum of an upload": said(bool(capabilities.binds_checksum)),
        "no overwriting": said(capabilities.binds_no_overwrite),
        "part of an upload": said(capabilities.binds_part),
    }.items() <= told.items()
    # The other rows are those that the links show.
    operation = Download(
        "a", filename="a.txt", content_type="text/plain", version="v1", cache_control="private, max-age=5"
    )
    starting = provider(backdate=timedelta(minutes=15)).sign(operation, ttl=TTL, now=NOW)
    upload = provider().sign(Upload("a", content_type="text/plain", size_bytes=1), ttl=TTL, now=NOW)
    named = {name for _, by in rows_of("What the signature binds").values() for name in re.findall("`([^`]+)`", by)}
    shown = query_of(starting).keys() | {f"{name}={value}" for name, value in query_of(starting).items()}
    assert named - {"ske", "sp=c"} <= shown
    assert query_of(upload)["sp"] == "c"
    assert f"`sv`, is pinned to {SAS_VERSION}" in PAGE


def test_the_documentation_says_how_long_links_may_live() -> None:
    rows = rows_of("")
    assert len(rows) == 4
    assert {lifetime for _, _, lifetime in rows.values()} == {f"{provider().capabilities.max_ttl.days} days"}
    offline = {name: asks == "no" for name, (_, asks, _) in rows.items()}
    assert offline == {name: name.startswith("[account key]") for name in rows}
    assert provider().capabilities.offline
