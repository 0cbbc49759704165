"""User delegation keys: one fetch for many links, never outlived, and an answer within a second in any trouble."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import BlobServiceClient

from providers import (
    AzureProvider,
    CredentialsExpired,
    CredentialsUnavailable,
    Download,
    InvalidConfiguration,
    ManagedIdentity,
    TokenCredential,
    UserDelegation,
    check_provider,
)
from providers.azure import SAS_VERSION
from tests.emulators.token_endpoints import (
    DISCONNECTS,
    DRIPS,
    EMPTY,
    GARBAGE,
    HANGS,
    AzureIdentity,
    DelegationKeys,
    Trouble,
    slow,
    status,
)
from tests.providers import clouds
from tests.providers.clouds import query_of
from tests.providers.examples import NOW, TTL
from tests.verifiers.sas import Account, DelegationKey, Verified, verify_sas

ACCOUNT, CONTAINER = "account0", "my-box"
HTTPS = f"https://{ACCOUNT}.blob.core.windows.net"
IDENTITY_PATH = "/metadata/identity/oauth2/token"


@pytest.fixture
def identity() -> Iterator[AzureIdentity]:
    with AzureIdentity() as server:
        yield server


@pytest.fixture
def blobs(identity: AzureIdentity) -> Iterator[DelegationKeys]:
    with DelegationKeys() as server:
        server.accepts = identity.tokens.__contains__
        yield server


def delegation(blobs: DelegationKeys, identity: AzureIdentity, **changes: Any) -> UserDelegation:
    token = ManagedIdentity(endpoint_url=identity.url + IDENTITY_PATH)
    return UserDelegation(**{"account_name": ACCOUNT, "token": token, "endpoint_url": blobs.url} | changes)


@pytest.fixture
def credentials(blobs: DelegationKeys, identity: AzureIdentity) -> UserDelegation:
    return delegation(blobs, identity)


def provider(credentials: Any) -> AzureProvider:
    return AzureProvider(account_name=ACCOUNT, container=CONTAINER, credentials=credentials)


def sign(credentials: Any, *, ttl: timedelta = TTL, now: datetime = NOW) -> Any:
    return provider(credentials).sign(Download("a b", filename="x.txt"), ttl=ttl, now=now)


def verify(signed: Any, blobs: DelegationKeys, *, now: datetime = NOW) -> Verified:
    query = query_of(signed)
    named = tuple(query[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv"))
    key = DelegationKey(*named, value=blobs.keys[query["ske"]])
    return verify_sas(method="GET", url=signed.url, account=Account(ACCOUNT, HTTPS, (), (key,)), now=now)


def refused(credentials: Any, piece: str | None = None) -> float:
    """Return how long it took to be told that there is no link."""
    began = time.monotonic()
    with pytest.raises(CredentialsUnavailable, match=piece):
        sign(credentials)
    return time.monotonic() - began


def age(credentials: UserDelegation) -> None:
    """Let enough time pass for a short key to be asked for again."""
    credentials._keys._repeat_at = 0.0


# --- good links, few calls ---------------------------------------------------------------------------------


def test_links_are_signed_with_the_key_that_the_service_gave(
    credentials: UserDelegation, blobs: DelegationKeys
) -> None:
    signed = sign(credentials)
    verified = verify(signed, blobs)
    assert verified.delegated
    assert verified.permissions == "r"
    assert verified.expires_at == signed.expires_at == NOW + TTL
    query = query_of(signed)
    assert (query["skoid"], query["sktid"], query["sks"]) == (blobs.oid, blobs.tid, "b")
    assert query["sv"] == query["skv"] == SAS_VERSION


def test_the_contract_is_kept(credentials: UserDelegation) -> None:
    check_provider(provider(credentials))
    assert not provider(credentials).capabilities.offline


def test_nothing_is_fetched_before_the_first_link_and_one_key_signs_many(
    credentials: UserDelegation, blobs: DelegationKeys, identity: AzureIdentity
) -> None:
    target = provider(credentials)
    assert (blobs.asked(), identity.asked()) == (0, 0)
    for minutes in range(0, 23 * 60, 30):
        target.sign(Download("a"), ttl=TTL, now=NOW + timedelta(minutes=minutes))
    assert (blobs.asked(), identity.asked()) == (1, 1)


def test_the_key_begins_early_and_lives_for_a_day(credentials: UserDelegation) -> None:
    query = query_of(sign(credentials))
    # A quarter of an hour, for a service whose clock is behind.
    assert query["skt"] == "2026-03-04T04:51:07Z"
    assert query["ske"] == "2026-03-05T05:06:07Z"


def test_a_key_for_days_is_asked_for_when_a_link_needs_it(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    sign(credentials)
    long = sign(credentials, ttl=timedelta(days=3))
    assert long.expires_at == NOW + timedelta(days=3)
    assert verify(long, blobs).delegated
    # The service gives no more than seven days, by its own clock; the link says when it really ends.
    longest = sign(credentials, ttl=timedelta(days=7))
    assert longest.expires_at == NOW + timedelta(days=7) - timedelta(minutes=16)
    assert verify(longest, blobs).delegated
    assert blobs.asked() == 3


def test_64_threads_that_sign_first_share_one_key(
    credentials: UserDelegation, blobs: DelegationKeys, identity: AzureIdentity
) -> None:
    blobs.trouble = slow(0.05)
    assert len(set(clouds.at_once(lambda: sign(credentials).url))) == 1
    assert (blobs.asked(), identity.asked()) == (1, 1)


def test_50_threads_that_need_a_longer_key_fetch_one(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    sign(credentials)
    age(credentials)
    late = NOW + timedelta(hours=23)  # one hour of the key is left
    ends = {
        link.expires_at
        for link in clouds.at_once(lambda: sign(credentials, ttl=timedelta(hours=2), now=late), threads=50)
    }
    assert ends == {late + timedelta(hours=2)}
    assert blobs.asked() == 2


def test_a_key_is_replaced_before_it_no_longer_covers_a_link(
    credentials: UserDelegation, blobs: DelegationKeys
) -> None:
    sign(credentials)
    age(credentials)
    # 8 minutes are left: enough for this link, and the next key is on its way.
    late = NOW + timedelta(hours=23, minutes=52)
    assert query_of(sign(credentials, now=late))["ske"] == "2026-03-05T05:06:07Z"
    end = time.monotonic() + 5
    while query_of(sign(credentials, now=late))["ske"] == "2026-03-05T05:06:07Z":
        assert time.monotonic() < end
    assert blobs.asked() == 2


def test_a_child_uses_its_parents_key_and_can_fetch_its_own(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    expected = sign(credentials).url

    def child() -> tuple[str, int]:
        first = sign(credentials).url
        credentials.forget()
        return first, len(set(clouds.at_once(lambda: sign(credentials).url)))

    assert clouds.in_a_fork(child) == (expected, 1)
    assert sign(credentials).url == expected
    assert blobs.asked() == 2


def test_a_key_that_was_revoked_is_replaced_when_that_is_said(
    credentials: UserDelegation, blobs: DelegationKeys
) -> None:
    before = sign(credentials).url
    credentials.forget()
    after = sign(credentials)
    assert after.url != before
    verify(after, blobs)


# --- the key is never outlived -----------------------------------------------------------------------------


def test_no_link_outlives_a_key_that_ends_sooner_than_asked(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    blobs.cut = timedelta(hours=23, minutes=56)  # four minutes are left
    signed = sign(credentials)
    assert signed.expires_at == NOW + timedelta(minutes=3)
    assert verify(signed, blobs).expires_at == signed.expires_at


def test_a_key_that_has_ended_signs_nothing(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    blobs.cut = timedelta(hours=24)
    with pytest.raises(CredentialsExpired, match="at least 61 s"):
        sign(credentials)


@pytest.mark.hurried
def test_the_old_key_is_used_while_it_lives(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    sign(credentials)
    blobs.refuse()
    for seconds_left, covered in ((361, 300), (200, 140), (61, 1)):
        age(credentials)
        signed = sign(credentials, now=NOW + timedelta(days=1, seconds=-seconds_left))
        assert signed.expires_at == NOW + timedelta(days=1, seconds=covered - seconds_left)
    with pytest.raises(CredentialsUnavailable):
        sign(credentials, now=NOW + timedelta(days=1, seconds=-60))


def test_a_clock_that_is_hours_off_is_not_waited_for(credentials: UserDelegation) -> None:
    sign(credentials, now=NOW)
    # The machine's clock jumps: the key is over by it, and a new one is asked for by the new time.
    age(credentials)
    for hours in (30, -30):
        assert sign(credentials, now=NOW + timedelta(hours=hours)).expires_at == NOW + timedelta(hours=hours) + TTL
        age(credentials)


# --- whatever the endpoints do -----------------------------------------------------------------------------

# id -> what goes wrong, a piece of the message
KEY_TROUBLES: dict[str, tuple[Trouble, str]] = {
    "hangs": (HANGS, r"none came in 0\.9 s"),
    "drips": (DRIPS, r"none came in 0\.9 s"),
    "slow": (slow(3), r"none came in 0\.9 s"),
    "disconnects": (DISCONNECTS, r"none came in 0\.9 s|RemoteDisconnected"),
    "429-for-long": (status(429, Retry_After="60"), "HTTP 429"),
    "500": (status(500), r"none came in 0\.9 s|HTTP 500"),
    "503": (status(503), r"none came in 0\.9 s|HTTP 503"),
    "not-allowed": (
        status(403, x_ms_error_code="AuthorizationPermissionMismatch"),
        "HTTP 403 AuthorizationPermissionMismatch",
    ),
    "token-over": (status(401), "HTTP 401"),
    "redirect": (status(302, Location="http://evil.example/"), "HTTP 302"),
    "garbage": (GARBAGE, "has no good SignedOid"),
    "empty": (EMPTY, "has no good SignedOid"),
}


def answer_with(**changes: str) -> Trouble:
    """Make an answer with fields of another content; None leaves one out."""
    fields = {
        "SignedOid": DelegationKeys.oid,
        "SignedTid": DelegationKeys.tid,
        "SignedStart": "2026-03-04T04:51:07Z",
        "SignedExpiry": "2026-03-05T05:06:07Z",
        "SignedService": "b",
        "SignedVersion": SAS_VERSION,
        "Value": "a2V5IG9mIHRoaXJ0eS10d28gYnl0ZXMgLi4uLi4uLi4=",
    } | changes
    body = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items() if value)
    return Trouble(body=f"<UserDelegationKey>{body}</UserDelegationKey>".encode())


KEY_TROUBLES |= {
    "oid-with-newline": (answer_with(SignedOid="a\nb"), "has no good SignedOid"),
    "no-tenant": (answer_with(SignedTid=""), "has no good SignedTid"),
    "start-is-text": (answer_with(SignedStart="now"), "has no good SignedStart"),
    "end-is-text": (answer_with(SignedExpiry="later"), "has no good SignedExpiry"),
    "end-twice": (
        answer_with(Value="</Value><SignedExpiry>2026-03-06T05:06:07Z</SignedExpiry><Value>a"),
        "has no good SignedExpiry",
    ),
    "no-such-end": (answer_with(SignedExpiry="2026-02-30T00:00:00Z"), "ended in ValueError"),
    "key-of-queues": (answer_with(SignedService="q"), "has no good SignedService"),
    "version-is-text": (answer_with(SignedVersion="latest"), "has no good SignedVersion"),
    "no-value": (answer_with(Value=""), "has no good Value"),
    "value-is-no-base64": (answer_with(Value="a" * 17), "is not base64"),
}


@pytest.mark.hurried
@pytest.mark.parametrize(("trouble", "piece"), KEY_TROUBLES.values(), ids=KEY_TROUBLES)
def test_whatever_the_service_does_there_is_an_answer_within_a_second(
    blobs: DelegationKeys, identity: AzureIdentity, trouble: Trouble, piece: str
) -> None:
    blobs.trouble = trouble

    def attempt() -> float:
        credentials = delegation(blobs, identity)
        first = refused(credentials, piece)
        # Those that come after it are not kept waiting.
        assert clouds.at_once_mostly(refused(credentials) for _ in range(20))
        return first

    assert clouds.within_a_second(attempt)


def test_a_good_answer_made_by_hand_is_taken(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    blobs.trouble = answer_with(SignedExpiry="2026-03-05T05:06:07.0000000Z")
    assert query_of(sign(credentials))["ske"] == "2026-03-05T05:06:07.0000000Z"


@pytest.mark.hurried
def test_a_refused_connection_is_said_within_a_second(blobs: DelegationKeys, identity: AzureIdentity) -> None:
    blobs.refuse()
    piece = r"ConnectionRefusedError|none came in 0\.9 s"
    assert clouds.within_a_second(lambda: refused(delegation(blobs, identity), piece))


def test_a_hiccup_is_not_noticed(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    blobs.troubles.extend([status(503), DISCONNECTS])
    verify(sign(credentials), blobs)
    assert blobs.asked() == 3


def test_it_recovers_by_itself(credentials: UserDelegation, blobs: DelegationKeys) -> None:
    blobs.trouble = status(403)
    refused(credentials)
    blobs.trouble = None
    end = time.monotonic() + 5
    while True:
        try:
            verify(sign(credentials), blobs)
            break
        except CredentialsUnavailable:
            assert time.monotonic() < end
            time.sleep(0.02)
    assert blobs.asked() == 2


TOKEN_TROUBLES: dict[str, tuple[Trouble, str]] = {
    "hangs": (HANGS, r"none came in 0\.9 s"),
    "drips": (DRIPS, r"none came in 0\.9 s"),
    "429-for-long": (status(429, Retry_After="60"), "HTTP 429"),
    "400": (status(400), "the managed identity endpoint answered with HTTP 400"),
    "garbage": (GARBAGE, "holds no access token"),
    "list": (Trouble(body=b"[]"), "holds no access token"),
    "token-of-two-lines": (Trouble(body=b'{"access_token": "a\\r\\nb"}'), "holds no access token"),
    "token-that-is-not-good": (Trouble(body=b'{"access_token": "other"}'), "HTTP 403 AuthorizationPermission"),
}


@pytest.mark.hurried
@pytest.mark.parametrize(("trouble", "piece"), TOKEN_TROUBLES.values(), ids=TOKEN_TROUBLES)
def test_whatever_the_identity_endpoint_does_there_is_an_answer_within_a_second(
    blobs: DelegationKeys, identity: AzureIdentity, trouble: Trouble, piece: str
) -> None:
    identity.trouble = trouble
    assert clouds.within_a_second(lambda: refused(delegation(blobs, identity), piece))


# --- where tokens come from --------------------------------------------------------------------------------


class Credential:
    """What azure-identity's credentials are like; what it does is a matter of the test."""

    def __init__(self, work: Callable[[], str]) -> None:
        self.work = work
        self.scopes: list[tuple[str, ...]] = []

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        self.scopes.append(scopes)
        return AccessToken(self.work(), int(time.time()) + 3600)


def test_any_token_credential_will_do(blobs: DelegationKeys, identity: AzureIdentity) -> None:
    blobs.accepts = "a-token".__eq__
    credential = Credential(lambda: "a-token")
    assert isinstance(credential, TokenCredential)
    for _ in range(3):
        verify(sign(delegation(blobs, identity, token=credential)), blobs)
    assert credential.scopes == [("https://storage.azure.com/.default",)] * 3


@pytest.mark.hurried
def test_a_token_credential_is_bounded_too(blobs: DelegationKeys, identity: AzureIdentity) -> None:
    released = threading.Event()

    def hang() -> str:
        released.wait()
        return "late"

    def attempt() -> float:
        return refused(delegation(blobs, identity, token=Credential(hang)), r"none came in 0\.9 s")

    assert clouds.within_a_second(attempt)
    released.set()

    def fail() -> str:
        raise RuntimeError("no account in the cache")

    refused(delegation(blobs, identity, token=Credential(fail)), "ended in RuntimeError")
    refused(delegation(blobs, identity, token=Credential(lambda: "")), "holds no access token")


def test_app_service_is_asked_as_it_says(blobs: DelegationKeys) -> None:
    with AzureIdentity(identity_header="app-secret", client_id="user-assigned") as identity:
        blobs.accepts = identity.tokens.__contains__
        environ = {"IDENTITY_ENDPOINT": f"{identity.url}/msi/token", "IDENTITY_HEADER": "app-secret"}
        token = ManagedIdentity.from_environment(client_id="user-assigned", environ=environ)
        verify(sign(delegation(blobs, identity, token=token)), blobs)
        assert identity.questions[0].path == "/msi/token"
        assert "app-secret" not in f"{token!r} {token}"


def test_a_machine_is_asked_at_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    assert ManagedIdentity.from_environment()._endpoint_url == ("http://169.254.169.254/metadata/identity/oauth2/token")


@pytest.mark.hurried
def test_over_https_only_a_trusted_service_is_asked(identity: AzureIdentity, tmp_path: Path) -> None:
    certificate = clouds.certificate(tmp_path)
    with DelegationKeys(tls=clouds.server_context(certificate)) as server:
        server.accepts = identity.tokens.__contains__
        refused(delegation(server, identity), r"SSLCertVerificationError|none came")
        assert server.asked() == 0
        verify(sign(delegation(server, identity, ca_file=str(certificate))), server)


def test_the_fake_service_speaks_to_the_sdk_as_well(tmp_path: Path) -> None:
    # Otherwise all of this would only prove that two of our programs agree.
    certificate = clouds.certificate(tmp_path)
    with DelegationKeys(tls=clouds.server_context(certificate)) as server:
        now = datetime.now(UTC)
        with BlobServiceClient(
            server.url, credential=Credential(lambda: "t"), retry_total=0, connection_verify=str(certificate)
        ) as client:
            key = client.get_user_delegation_key(now, now + timedelta(hours=1))
        assert key.value == server.keys[key.signed_expiry]
        assert key.signed_oid == server.oid


# --- configuration -----------------------------------------------------------------------------------------

BAD_CONFIGURATION: dict[str, tuple[dict[str, Any], str]] = {
    "account": ({"account_name": "Account"}, "account_name is 'Account'"),
    "token-is-text": ({"token": "eyJ0"}, "token is of type str"),
    "token-is-none": ({"token": None}, "token is of type NoneType"),
    "endpoint": ({"endpoint_url": "account0.blob.core.windows.net"}, "a scheme of http or https"),
    "short-life": ({"key_lifetime": timedelta(minutes=59)}, "an hour to 7 days"),
    "long-life": ({"key_lifetime": timedelta(days=7, seconds=1)}, "an hour to 7 days"),
}


@pytest.mark.parametrize(("changes", "piece"), BAD_CONFIGURATION.values(), ids=BAD_CONFIGURATION)
def test_configuration_that_cannot_work_is_refused(changes: dict[str, Any], piece: str) -> None:
    arguments: dict[str, Any] = {"account_name": ACCOUNT, "token": ManagedIdentity()}
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        UserDelegation(**arguments | changes)
    assert "eyJ0" not in str(refusal.value)


def test_a_bad_identity_endpoint_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="no query"):
        ManagedIdentity(endpoint_url="http://169.254.169.254/token?x=1")


@pytest.mark.hurried
def test_an_authority_file_that_is_missing_is_said(blobs: DelegationKeys, identity: AzureIdentity) -> None:
    target = delegation(blobs, identity, endpoint_url="https://127.0.0.1:1", ca_file="/no/such/file.pem")
    refused(target)


def test_no_key_and_no_token_is_shown(
    credentials: UserDelegation, blobs: DelegationKeys, identity: AzureIdentity
) -> None:
    signed = sign(credentials)
    shown = f"{credentials!r} {credentials} {credentials._keys._value!r} {provider(credentials)!r} {signed!r}"
    for secret in (*blobs.keys.values(), *identity.tokens, query_of(signed)["sig"]):
        assert secret not in shown
    blobs.trouble = status(403)
    credentials.forget()
    with pytest.raises(CredentialsUnavailable) as refusal:
        sign(credentials)
    assert not any(token in str(refusal.value) for token in identity.tokens)
