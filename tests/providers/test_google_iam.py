"""Signing through IAM: good links, few calls, and an answer within a second whatever Google's endpoints do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import google.auth
import google.auth.compute_engine
import google.auth.credentials
import pytest

from providers import (
    AccessToken,
    CredentialsUnavailable,
    Download,
    GCSProvider,
    GoogleCredentials,
    IAMSigner,
    InvalidConfiguration,
    InvalidTTL,
    MetadataServer,
    ServiceAccountKey,
    TokenSource,
    Upload,
    UploadForm,
    check_provider,
)
from tests.emulators.token_endpoints import (
    DISCONNECTS,
    DRIPS,
    EMPTY,
    GARBAGE,
    HANGS,
    GoogleMetadata,
    IAMCredentials,
    Trouble,
    slow,
    status,
)
from tests.providers import clouds
from tests.providers.clouds import MODULUS, PEM
from tests.providers.examples import BUCKET, NOW, TTL
from tests.verifiers.goog4 import RSAIdentity, verify_signed

EMAIL = "signer@project.iam.gserviceaccount.com"
OTHER = "other@project.iam.gserviceaccount.com"
DOWNLOAD = Download("a b/ü.txt", filename="x.txt")


@pytest.fixture
def metadata() -> Iterator[GoogleMetadata]:
    with GoogleMetadata(email=EMAIL) as server:
        yield server


@pytest.fixture
def iam(metadata: GoogleMetadata) -> Iterator[IAMCredentials]:
    with IAMCredentials(clouds.sign_rsa, accounts=frozenset({EMAIL, OTHER})) as server:
        server.accepts = metadata.tokens.__contains__
        yield server


def make(metadata: GoogleMetadata, iam: IAMCredentials) -> IAMSigner:
    return IAMSigner(tokens=MetadataServer(endpoint_url=metadata.url), endpoint_url=iam.url)


def patient(signer: IAMSigner) -> IAMSigner:
    """Let a signer wait long for what comes soon on an idle machine, where no wait is measured."""
    signer._timeout_seconds = 10.0
    return signer


@pytest.fixture
def signer(metadata: GoogleMetadata, iam: IAMCredentials) -> IAMSigner:
    return patient(make(metadata, iam))


def provider(signer: Any) -> GCSProvider:
    return GCSProvider(bucket=BUCKET, credentials=signer)


def sign(signer: Any, **changes: Any) -> str:
    return provider(signer).sign(DOWNLOAD, **{"ttl": TTL, "now": NOW} | changes).url


def verify(url: str, email: str = EMAIL) -> None:
    verify_signed(method="GET", url=url, headers={}, identities={email: RSAIdentity(MODULUS)}, now=NOW)


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def refused(signer: Any, piece: str | None = None) -> float:
    """Return how long it took to be told that there is no link."""
    began = time.monotonic()
    with pytest.raises(CredentialsUnavailable, match=piece):
        sign(signer)
    return time.monotonic() - began


# --- good links --------------------------------------------------------------------------------------------


def test_links_are_those_of_the_key_that_only_google_has(signer: IAMSigner) -> None:
    key = ServiceAccountKey(client_email=EMAIL, private_key=PEM)
    verify(sign(signer))
    for operation in (
        DOWNLOAD,
        Upload("a", content_type="image/png", size_bytes=1),
        UploadForm("a", content_type="image/png", min_bytes=0, max_bytes=1),
    ):
        assert provider(signer).sign(operation, ttl=TTL, now=NOW) == provider(key).sign(operation, ttl=TTL, now=NOW)


def test_the_contract_is_kept(signer: IAMSigner) -> None:
    check_provider(provider(signer))
    assert not provider(signer).capabilities.offline


def test_another_account_can_be_signed_as(metadata: GoogleMetadata, iam: IAMCredentials) -> None:
    tokens = MetadataServer(endpoint_url=metadata.url)
    signer = patient(IAMSigner(service_account_email=OTHER, tokens=tokens, endpoint_url=iam.url))
    verify(sign(signer), OTHER)
    assert iam.questions[0].path == f"/v1/projects/-/serviceAccounts/{OTHER}:signBlob"


def test_delegates_are_named_in_order(metadata: GoogleMetadata, iam: IAMCredentials) -> None:
    signer = IAMSigner(
        service_account_email=OTHER,
        tokens=MetadataServer(endpoint_url=metadata.url),
        delegates=["a@p.example", "b@p.example"],
        endpoint_url=iam.url,
    )
    sign(patient(signer))
    assert (
        b'"delegates": ["projects/-/serviceAccounts/a@p.example", "projects/-/serviceAccounts/b@p.example"]'
        in iam.questions[0].body
    )


def test_a_lifetime_over_what_googles_key_is_good_for_is_refused(signer: IAMSigner) -> None:
    verify(sign(signer, ttl=timedelta(hours=12)))
    with pytest.raises(InvalidTTL, match="ttl is 43201 s; at least 1 s and at most 43200 s"):
        sign(signer, ttl=timedelta(hours=12, seconds=1))


# --- few calls ---------------------------------------------------------------------------------------------


def test_a_token_is_fetched_once_and_the_account_too(
    signer: IAMSigner, metadata: GoogleMetadata, iam: IAMCredentials
) -> None:
    for _ in range(10):
        sign(signer)
    assert (metadata.asked("/token"), metadata.asked("/email"), iam.asked()) == (1, 1, 10)
    assert iam.connections == 1


def test_a_page_is_signed_concurrently_over_few_connections(signer: IAMSigner, iam: IAMCredentials) -> None:
    iam.trouble = slow(0.03)  # one after the other: 3 s
    downloads = [Download(f"key-{number}") for number in range(100)]
    links = provider(signer).sign_many(downloads, ttl=TTL, now=NOW)
    assert [link.url.partition("?")[0].rpartition("/")[2] for link in links] == [each.key for each in downloads]
    for link in links:
        verify(link.url)
    assert iam.asked() == 100
    assert 8 < iam.most_at_once <= 16
    assert iam.connections <= 16


def test_all_threads_together_ask_no_more_than_the_bound(metadata: GoogleMetadata, iam: IAMCredentials) -> None:
    tokens = MetadataServer(endpoint_url=metadata.url)
    signer = patient(IAMSigner(tokens=tokens, endpoint_url=iam.url, max_concurrency=3))
    iam.trouble = slow(0.005)
    clouds.at_once(lambda: verify(sign(signer)))
    assert iam.most_at_once <= 3


def test_64_threads_that_sign_first_share_one_token(
    signer: IAMSigner, metadata: GoogleMetadata, iam: IAMCredentials
) -> None:
    metadata.trouble = slow(0.05)
    assert len(set(clouds.at_once(lambda: sign(signer)))) == 1
    assert (metadata.asked("/token"), iam.asked()) == (1, 64)


def test_a_child_signs_with_its_parents_token_and_its_own_connections(
    signer: IAMSigner, metadata: GoogleMetadata
) -> None:
    expected = sign(signer)
    assert clouds.in_a_fork(lambda: sign(signer)) == expected
    assert clouds.in_a_fork(lambda: set(clouds.at_once(lambda: sign(signer)))) == {expected}
    assert sign(signer) == expected
    assert metadata.asked("/token") == 1


def test_a_token_that_ends_soon_is_replaced(signer: IAMSigner, metadata: GoogleMetadata) -> None:
    metadata.life_seconds = 20  # too little to be worth a call
    sign(signer)
    signer._tokens._repeat_at = 0.0
    sign(signer)
    assert metadata.asked("/token") == 2


def test_a_token_taken_back_is_replaced_within_the_same_link(
    signer: IAMSigner, metadata: GoogleMetadata, iam: IAMCredentials
) -> None:
    sign(signer)
    revoked = list(metadata.tokens)
    iam.accepts = lambda token: token in metadata.tokens and token not in revoked
    verify(sign(signer))
    assert metadata.asked("/token") == 2


def test_a_forgotten_token_is_fetched_anew(signer: IAMSigner, metadata: GoogleMetadata) -> None:
    sign(signer)
    signer.forget()
    sign(signer)
    assert metadata.asked("/token") == 2


# --- signBlob fails ----------------------------------------------------------------------------------------

# id -> what goes wrong, a piece of the message, whether it is tried again within the link
SIGN_TROUBLES: dict[str, tuple[Trouble, str, bool]] = {
    "hangs": (HANGS, "0 of 1 signatures in 0.9 s|TimeoutError", False),
    "drips": (DRIPS, "0 of 1 signatures in 0.9 s|TimeoutError", False),
    "slow": (slow(3), "0 of 1 signatures in 0.9 s|TimeoutError", False),
    "disconnects": (DISCONNECTS, "RemoteDisconnected", True),
    "429": (status(429), "HTTP 429", True),
    "429-for-long": (status(429, Retry_After="60"), "HTTP 429", False),
    "500": (status(500), "HTTP 500", True),
    "503": (status(503), "HTTP 503", True),
    "revoked-or-not-allowed": (status(403), "HTTP 403", False),
    "no-such-account": (status(404), "HTTP 404", False),
    "redirect": (status(302, Location="http://evil.example/"), "HTTP 302", False),
    "garbage": (GARBAGE, "something else than a JSON object", False),
    "empty": (EMPTY, "something else than a JSON object", False),
    "list": (Trouble(body=b"[]"), "something else than a JSON object", False),
    "no-signature": (Trouble(body=b"{}"), "without a signature", False),
    "signature-is-a-number": (Trouble(body=b'{"signedBlob": 1}'), "without a signature", False),
    "signature-is-no-base64": (Trouble(body=b'{"signedBlob": "?"}'), "without a signature", False),
    "signature-is-short": (Trouble(body=b'{"signedBlob": "AAAA"}'), "without a signature", False),
}


@pytest.mark.hurried
@pytest.mark.parametrize(("trouble", "piece", "again"), SIGN_TROUBLES.values(), ids=SIGN_TROUBLES)
def test_whatever_sign_blob_does_there_is_an_answer_within_a_second(
    metadata: GoogleMetadata, iam: IAMCredentials, trouble: Trouble, piece: str, again: bool
) -> None:
    def attempt() -> float:
        signer = make(metadata, iam)
        iam.trouble = None
        sign(signer)
        iam.trouble = trouble
        asked = iam.asked()
        seconds = refused(signer, piece)
        assert (iam.asked() - asked > 1) == again
        assert iam.asked() - asked <= 4  # three tries, the first over a connection that was closed meanwhile
        return seconds

    assert clouds.within_a_second(attempt)


def test_a_refused_connection_is_said(signer: IAMSigner, iam: IAMCredentials) -> None:
    sign(signer)
    iam.refuse()
    refused(signer, "ConnectionRefusedError")


def test_a_hiccup_is_not_noticed(signer: IAMSigner, iam: IAMCredentials) -> None:
    iam.troubles.extend([status(503), status(429)])
    verify(sign(signer))
    assert iam.asked() == 3


@pytest.mark.hurried
@pytest.mark.parametrize("trouble", [pytest.param(HANGS, id="hangs"), pytest.param(status(403), id="refused")])
def test_a_page_fails_whole_and_within_a_second(
    metadata: GoogleMetadata, iam: IAMCredentials, trouble: Trouble
) -> None:
    iam.trouble = trouble
    downloads = [Download(f"key-{number}") for number in range(100)]

    def attempt() -> float:
        target = provider(make(metadata, iam))
        began = time.monotonic()
        with pytest.raises(CredentialsUnavailable):
            target.sign_many(downloads, ttl=TTL, now=NOW)
        return time.monotonic() - began

    assert clouds.within_a_second(attempt)


def test_an_endpoint_that_keeps_failing_is_left_alone_and_probed_once(signer: IAMSigner, iam: IAMCredentials) -> None:
    sign(signer)
    iam.trouble = status(500)
    while signer._breaker.is_closed:
        refused(signer)
    asked = iam.asked()
    assert clouds.at_once_mostly(refused(signer, "keeps failing") for _ in range(50))
    assert iam.asked() == asked
    # The pause is over: one call goes out, for all that want to sign.
    signer._breaker._probe_at = 0.0
    clouds.at_once(lambda: refused(signer))
    assert iam.asked() == asked + 1
    # It has recovered: the probe closes the breaker, and the rest of its page follows.
    iam.trouble = None
    signer._breaker._probe_at = 0.0
    downloads = [Download(f"key-{number}") for number in range(20)]
    assert len(provider(signer).sign_many(downloads, ttl=TTL, now=NOW)) == 20
    assert signer._breaker.is_closed


@pytest.mark.hurried
def test_64_threads_on_an_endpoint_that_hangs_pile_up_nowhere(metadata: GoogleMetadata, iam: IAMCredentials) -> None:
    def attempt() -> float:
        signer = make(metadata, iam)
        iam.trouble = None
        sign(signer)
        iam.trouble = HANGS
        longest = max(clouds.at_once(lambda: refused(signer)))
        assert signer._executor is not None
        assert len(signer._executor._threads) == 16
        iam.trouble = None
        signer._breaker._probe_at = 0.0
        verify(sign(signer))
        return longest

    assert clouds.within_a_second(attempt)


# --- the metadata server fails -----------------------------------------------------------------------------

# id -> what goes wrong, a piece of the message
TOKEN_TROUBLES: dict[str, tuple[Trouble, str]] = {
    "hangs": (HANGS, "none came in 0.9 s"),
    "drips": (DRIPS, "none came in 0.9 s"),
    "slow": (slow(3), "none came in 0.9 s"),
    "disconnects": (DISCONNECTS, "none came in 0.9 s|RemoteDisconnected"),
    "429-for-long": (status(429, Retry_After="60"), "HTTP 429"),
    "500": (status(500), "none came in 0.9 s|HTTP 500"),
    "not-allowed": (status(403), "HTTP 403"),
    "no-such-account": (status(404), "HTTP 404"),
    "garbage": (GARBAGE, "something else than a JSON object"),
    "empty": (EMPTY, "something else than a JSON object"),
    "no-token": (Trouble(body=b'{"expires_in": 10}'), "holds no access token"),
    "token-of-two-lines": (Trouble(body=b'{"access_token": "a\\nb", "expires_in": 10}'), "holds no access token"),
    "no-end": (Trouble(body=b'{"access_token": "a"}'), "holds no expires_in"),
    "end-is-text": (Trouble(body=b'{"access_token": "a", "expires_in": "soon"}'), "holds no expires_in"),
    "another-server": (
        Trouble(headers={"Metadata-Flavor": "Other"}),
        "the metadata server answered with HTTP 200",
    ),
}


@pytest.mark.hurried
@pytest.mark.parametrize(("trouble", "piece"), TOKEN_TROUBLES.values(), ids=TOKEN_TROUBLES)
def test_whatever_the_metadata_server_does_there_is_an_answer_within_a_second(
    metadata: GoogleMetadata, iam: IAMCredentials, trouble: Trouble, piece: str
) -> None:
    metadata.trouble = trouble

    def attempt() -> float:
        signer = make(metadata, iam)
        first = refused(signer, piece)
        assert clouds.at_once_mostly(refused(signer) for _ in range(20))
        return first

    assert clouds.within_a_second(attempt)
    assert iam.asked() == 0


def test_a_token_in_hand_is_used_while_the_metadata_server_is_down(signer: IAMSigner, metadata: GoogleMetadata) -> None:
    sign(signer)
    metadata.refuse()
    signer._tokens._repeat_at = 0.0
    verify(sign(signer))


def test_a_workload_pool_is_no_account(metadata: GoogleMetadata, iam: IAMCredentials) -> None:
    metadata.email = "project.svc.id.goog"
    tokens = MetadataServer(endpoint_url=metadata.url)
    refused(patient(IAMSigner(tokens=tokens, endpoint_url=iam.url)), "give service_account_email")
    verify(sign(patient(IAMSigner(tokens=tokens, endpoint_url=iam.url, service_account_email=EMAIL))))


# --- google-auth -------------------------------------------------------------------------------------------


class Fake(google.auth.credentials.Credentials):  # type: ignore[misc]
    """Credentials of google-auth whose refresh is a matter of this test."""

    service_account_email = EMAIL

    def __init__(self, work: Callable[[Any], None]) -> None:
        super().__init__()
        self.work = work
        self.refreshed = 0

    def refresh(self, request: Any) -> None:
        self.refreshed += 1
        self.work(request)
        self.token = "a-token"
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)


def test_credentials_of_google_auth_bring_tokens(iam: IAMCredentials) -> None:
    credentials = Fake(lambda request: None)
    iam.accepts = "a-token".__eq__
    signer = patient(IAMSigner(tokens=GoogleCredentials(credentials), endpoint_url=iam.url))
    for _ in range(5):
        verify(sign(signer))
    assert credentials.refreshed == 1


@pytest.mark.hurried
def test_google_auth_is_bounded_too(iam: IAMCredentials) -> None:
    def attempt() -> float:
        slow_tokens = GoogleCredentials(Fake(lambda request: time.sleep(1.5)))
        return refused(IAMSigner(tokens=slow_tokens, endpoint_url=iam.url), r"none came in 0\.9 s")

    assert clouds.within_a_second(attempt)

    def fail(request: Any) -> None:
        raise google.auth.exceptions.RefreshError("invalid_grant")

    refused(IAMSigner(tokens=GoogleCredentials(Fake(fail)), endpoint_url=iam.url), "RefreshError")


def test_every_request_of_google_auth_has_a_timeout(metadata: GoogleMetadata) -> None:
    metadata.trouble = HANGS

    def ask(request: Any) -> None:
        request(f"{metadata.url}/", method="GET")

    began = time.monotonic()
    with pytest.raises(google.auth.exceptions.TransportError):
        GoogleCredentials(Fake(ask)).fetch(deadline=began + 0.3)
    assert time.monotonic() - began < 1


def test_application_default_credentials_are_looked_for_at_the_first_use(
    metadata: GoogleMetadata, iam: IAMCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []

    def default(scopes: Any) -> Any:
        looked.append(scopes)
        return google.auth.compute_engine.Credentials(), "project"

    monkeypatch.setattr(google.auth, "default", default)
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", metadata.url.removeprefix("http://"))
    tokens = GoogleCredentials()
    signer = patient(IAMSigner(tokens=tokens, endpoint_url=iam.url))
    assert looked == []
    # The library's own client against the same server, which shows that the server plays its part.
    verify(sign(signer))
    assert looked == [["https://www.googleapis.com/auth/cloud-platform"]]
    assert metadata.asked("/token") == 1


# --- configuration -----------------------------------------------------------------------------------------

BAD_CONFIGURATION: dict[str, tuple[dict[str, Any], str]] = {
    "email-without-at": ({"service_account_email": "project"}, "a service account is 'project'"),
    "email-is-none-of-text": ({"service_account_email": 1}, "a service account is 1"),
    "delegates-that-are-a-text": ({"delegates": "a@p.example"}, "delegates are 'a@p.example'; a list"),
    "delegates-that-are-a-number": ({"delegates": 5}, "delegates are 5; a list"),
    "delegate-without-at": ({"delegates": ["x"]}, "a service account is 'x'"),
    "tokens-are-text": ({"tokens": "ya29"}, "tokens are of type str"),
    "endpoint": ({"endpoint_url": "iamcredentials.googleapis.com"}, "a scheme of http or https"),
    "no-concurrency": ({"max_concurrency": 0}, "max_concurrency is 0; 1 to 64"),
    "too-much-concurrency": ({"max_concurrency": 65}, "max_concurrency is 65; 1 to 64"),
    "concurrency-is-true": ({"max_concurrency": True}, "max_concurrency is True"),
    "no-time": ({"timeout_seconds": 0}, "timeout_seconds is 0; over 0, under 1"),
    "a-second": ({"timeout_seconds": 1}, "timeout_seconds is 1; over 0, under 1"),
}


@pytest.mark.parametrize(("changes", "piece"), BAD_CONFIGURATION.values(), ids=BAD_CONFIGURATION)
def test_configuration_that_cannot_work_is_refused(changes: dict[str, Any], piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)):
        IAMSigner(**changes)


def test_a_bad_metadata_url_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="endpoint_url"):
        MetadataServer(endpoint_url="metadata.google.internal")


def test_no_token_is_shown(signer: IAMSigner, metadata: GoogleMetadata) -> None:
    sign(signer)
    shown = f"{signer!r} {signer} {AccessToken('ya29.secret', 1.0)!r} {signer._tokens._value!r}"
    assert "ya29" not in shown
    assert metadata.tokens[0] not in shown
    assert isinstance(MetadataServer(), TokenSource)
    assert isinstance(GoogleCredentials(), TokenSource)


SCRIPT = """
from providers import *
signer = IAMSigner(service_account_email="a@b.example", tokens=GoogleCredentials())
GCSProvider(bucket="my-bucket", credentials=signer)
"""


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    loaded = clouds.modules_after(SCRIPT)
    assert not loaded & {"google", "requests", "urllib3", "cryptography", "ssl", "http", "concurrent"}
