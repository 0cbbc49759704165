"""The AWS chain: every kind that boto3 finds, fetched once, never outlived, and an answer within a second."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.credentials
import botocore.session
import pytest

from providers import (
    AWSCredentialChain,
    AWSCredentials,
    CredentialsExpired,
    CredentialsUnavailable,
    Download,
    InvalidConfiguration,
    S3Provider,
    StaticCredentials,
    check_provider,
)
from tests.emulators.token_endpoints import (
    DISCONNECTS,
    DRIPS,
    EMPTY,
    GARBAGE,
    HANGS,
    AWSEndpoint,
    ContainerCredentials,
    InstanceMetadata,
    SecurityTokenService,
    Trouble,
    slow,
    status,
)
from tests.providers import clouds
from tests.providers.clouds import query_of
from tests.providers.examples import BUCKET, TTL
from tests.verifiers.sigv4 import Identity, verify_presigned

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    """Import botocore and load its data, which a first call on a busy machine has to wait for as well."""
    session = botocore.session.Session()
    session.get_component("credential_provider")
    session.create_client("sts", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, file or machine of whoever runs the tests is found."""
    for name in tuple(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InstanceMetadata]:
    with InstanceMetadata() as server:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        yield server


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[ContainerCredentials]:
    with ContainerCredentials() as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", server.authorization)
        yield server


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecurityTokenService]:
    with SecurityTokenService() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        yield server


@pytest.fixture
def web_identity(sts: SecurityTokenService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SecurityTokenService:
    (tmp_path / "token").write_text("web-identity")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    return sts


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def current(
    chain: AWSCredentialChain, *, after: timedelta = timedelta(0), needed: timedelta = TTL
) -> StaticCredentials:
    return chain.current(now=now() + after, needed=needed)


def provider(chain: AWSCredentials) -> S3Provider:
    return S3Provider(bucket=BUCKET, region=REGION, credentials=chain)


def age(chain: AWSCredentialChain) -> None:
    """Let enough time pass for short credentials to be asked for again."""
    chain._credentials._repeat_at = 0.0


def refused(chain: AWSCredentialChain, piece: str | None = None) -> float:
    """Return how long it took to be told that there are no credentials."""
    began = time.monotonic()
    with pytest.raises(CredentialsUnavailable, match=piece):
        current(chain)
    return time.monotonic() - began


def refused_at_first_and_then_at_once() -> float:
    """Return how long the first caller waited; those that come after it do not."""
    chain = AWSCredentialChain()
    first = refused(chain)
    assert clouds.at_once_mostly(refused(chain) for _ in range(20))
    return first


def found(chain: AWSCredentialChain) -> StaticCredentials:
    """Return what is found in the end: loading botocore for the first time may take longer than anybody waits."""
    end = time.monotonic() + 10
    while True:
        try:
            return current(chain)
        except CredentialsUnavailable:
            assert time.monotonic() < end
            time.sleep(0.02)


# --- every kind --------------------------------------------------------------------------------------------


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert found(AWSCredentialChain()) == StaticCredentials("AKIDENV", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert found(AWSCredentialChain()) == StaticCredentials("AKIDENV", "secret", "token")


def test_the_environment_may_say_when_its_keys_end(monkeypatch: pytest.MonkeyPatch) -> None:
    end = now() + timedelta(hours=1)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "ASIAENV",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_CREDENTIAL_EXPIRATION": end.isoformat(),
    }.items():
        monkeypatch.setenv(name, value)
    assert found(AWSCredentialChain()).expires_at == end


def test_profiles_of_the_shared_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = a\n"
        "[other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = b\n"
    )
    (tmp_path / "config").write_text("[profile third]\naws_access_key_id = AKIDTHIRD\naws_secret_access_key = c\n")
    assert found(AWSCredentialChain()).access_key_id == "AKIDDEFAULT"
    assert found(AWSCredentialChain("other")).access_key_id == "AKIDOTHER"
    assert found(AWSCredentialChain(profile="third")).access_key_id == "AKIDTHIRD"
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert found(AWSCredentialChain()).access_key_id == "AKIDOTHER"


def test_a_role_that_a_profile_assumes(sts: SecurityTokenService, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = a\n")
    (tmp_path / "config").write_text(f"[profile reader]\nrole_arn = {ROLE}\nsource_profile = base\n")
    check_issued(found(AWSCredentialChain("reader")), sts)
    assert b"Action=AssumeRole&" in sts.questions[0].body


def test_a_web_identity(web_identity: SecurityTokenService) -> None:
    check_issued(found(AWSCredentialChain()), web_identity)


def test_a_container(container: ContainerCredentials) -> None:
    check_issued(found(AWSCredentialChain()), container)


def test_a_machine(machine: InstanceMetadata) -> None:
    check_issued(found(AWSCredentialChain()), machine)


def test_a_program(tmp_path: Path) -> None:
    end = now() + timedelta(hours=1)
    document = {
        "Version": 1,
        "AccessKeyId": "ASIAPROGRAM",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": end.isoformat(),
    }
    script = tmp_path / "program.py"
    script.write_text(f"print({json.dumps(document)!r})")
    (tmp_path / "config").write_text(f"[profile program]\ncredential_process = {sys.executable} {script}\n")
    assert found(AWSCredentialChain("program")) == StaticCredentials("ASIAPROGRAM", "secret", "token", end)


def check_issued(credentials: StaticCredentials, server: AWSEndpoint) -> None:
    secret, token, end = server.issued[credentials.access_key_id]
    assert credentials == StaticCredentials(credentials.access_key_id, secret, token, end)


def test_a_provider_signs_with_them(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    assert isinstance(chain, AWSCredentials)
    found(chain)
    signed_at = now()
    signed = provider(chain).sign(Download("a b"), ttl=TTL, now=signed_at)
    ((key_id, (secret, token, _)),) = machine.issued.items()
    verified = verify_presigned(
        method="GET",
        url=signed.url,
        headers={},
        identities={key_id: Identity(secret, token)},
        region=REGION,
        now=signed_at,
    )
    assert verified.expires_at == signed.expires_at == signed_at + TTL


def test_the_contract_is_kept(machine: InstanceMetadata) -> None:
    machine.life = timedelta(days=30)
    target = provider(AWSCredentialChain())
    assert not target.capabilities.offline
    check_provider(target, now=now())


# --- fetched once, replaced in time ------------------------------------------------------------------------


def test_nothing_is_looked_for_before_it_is_asked_for(machine: InstanceMetadata) -> None:
    provider(AWSCredentialChain())
    assert machine.asked() == 0


def test_64_threads_that_ask_first_share_one_fetch(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    machine.trouble = slow(0.02)
    assert len({credentials.access_key_id for credentials in clouds.at_once(lambda: current(chain))}) == 1
    assert machine.asked("/api/token") == 1


def test_what_covers_the_need_is_used_without_a_fetch(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    for minutes in range(0, 49, 4):
        current(chain, after=timedelta(minutes=minutes))
    assert len(machine.issued) == 1


def test_they_are_replaced_before_they_no_longer_cover_the_need(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    first = current(chain)
    age(chain)
    second = current(chain, after=timedelta(minutes=55))
    assert first.access_key_id != second.access_key_id
    assert len(machine.issued) == 2


def test_a_machine_that_goes_on_giving_the_same_is_not_asked_for_every_link(machine: InstanceMetadata) -> None:
    machine.rotates = False
    machine.life = timedelta(minutes=5)
    chain = AWSCredentialChain()
    for _ in range(50):
        current(chain)
    assert machine.asked("/api/token") == 1


def test_no_link_fails_while_credentials_rotate(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    target = provider(chain)
    signed_at = now()
    stop = threading.Event()

    def rotate() -> None:
        while not stop.is_set():
            chain.forget()
            time.sleep(0.005)

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        links = [
            link
            for _ in range(5)
            for link in clouds.at_once(lambda: target.sign(Download("a"), ttl=TTL, now=signed_at), threads=8)
        ]
    finally:
        stop.set()
        thread.join()
    assert len(machine.issued) > 1
    identities = {key_id: Identity(secret, token) for key_id, (secret, token, _) in machine.issued.items()}
    for link in links:
        verify_presigned(method="GET", url=link.url, headers={}, identities=identities, region=REGION, now=signed_at)


def test_a_child_uses_what_its_parent_has_and_fetches_for_itself(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    kept = current(chain).access_key_id

    def child() -> tuple[str, int]:
        first = current(chain).access_key_id
        chain.forget()
        return first, len({each.access_key_id for each in clouds.at_once(lambda: current(chain))})

    assert clouds.in_a_fork(child) == (kept, 1)
    assert len(machine.issued) == 2
    assert current(chain).access_key_id == kept


@pytest.mark.hurried
def test_a_child_born_during_a_fetch_does_not_wait_for_it(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    machine.trouble = HANGS
    refused(chain)
    machine.trouble = None
    assert clouds.in_a_fork(lambda: bool(current(chain).session_token)) is True


# --- the end is the true one -------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "covered"), [(3600, 300), (540, 300), (200, 140), (90, 30)])
def test_a_link_ends_before_its_credential_and_says_so(machine: InstanceMetadata, left: int, covered: int) -> None:
    machine.life = timedelta(seconds=left)
    signed_at = now()
    signed = provider(AWSCredentialChain()).sign(Download("a"), ttl=TTL, now=signed_at)
    ((_, _, end),) = machine.issued.values()
    assert signed.expires_at <= end - timedelta(seconds=60)
    assert abs((signed.expires_at - signed_at).total_seconds() - covered) <= 2
    assert query_of(signed)["X-Amz-Expires"] == str(int((signed.expires_at - signed_at).total_seconds()))


def test_botocore_alone_would_move_the_end(machine: InstanceMetadata) -> None:
    # Otherwise the test above would prove nothing of 540 s, 200 s and 90 s.
    machine.life = timedelta(seconds=200)
    credentials = botocore.session.Session().get_credentials()
    ((_, _, end),) = machine.issued.values()
    assert credentials._expiry_time > end + timedelta(minutes=5)


def test_credentials_that_are_over_sign_nothing(machine: InstanceMetadata) -> None:
    machine.life = timedelta(seconds=-1)
    with pytest.raises(CredentialsExpired, match="at least 61 s"):
        provider(AWSCredentialChain()).sign(Download("a"), ttl=TTL, now=now())


def test_a_clock_that_is_hours_off_is_said_and_typed(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    with pytest.raises(CredentialsExpired):
        provider(chain).sign(Download("a"), ttl=TTL, now=now() + timedelta(hours=10))
    assert machine.asked("/api/token") == 1


# --- a refresh fails ---------------------------------------------------------------------------------------


def test_what_is_alive_is_used_where_botocore_raises(machine: InstanceMetadata) -> None:
    machine.life = timedelta(seconds=540)
    chain = AWSCredentialChain()
    alive = current(chain)
    assert alive.expires_at is not None
    machine.refuse()
    for seconds_left, covered in ((500, 300), (200, 140), (62, 2)):
        age(chain)
        signed_at = alive.expires_at - timedelta(seconds=seconds_left)
        signed = provider(chain).sign(Download("a"), ttl=TTL, now=signed_at)
        assert signed.expires_at == signed_at + timedelta(seconds=covered)
    with pytest.raises(CredentialsUnavailable):
        provider(chain).sign(Download("a"), ttl=TTL, now=alive.expires_at - timedelta(seconds=60))


def test_botocore_alone_would_raise() -> None:
    # Otherwise the test above would prove nothing.
    def fail() -> Any:
        raise OSError("no route")

    credentials = botocore.credentials.RefreshableCredentials(
        "AKID", "secret", "token", datetime.now(UTC) + timedelta(seconds=540), fail, "test"
    )
    with pytest.raises(OSError, match="no route"):
        credentials.get_frozen_credentials()


@pytest.mark.hurried
def test_what_is_alive_is_used_while_a_refresh_hangs(machine: InstanceMetadata) -> None:
    def attempt() -> float:
        machine.trouble = None
        chain = AWSCredentialChain()
        alive = current(chain)
        age(chain)
        machine.trouble = HANGS
        began = time.monotonic()
        for _ in range(10):
            assert current(chain, after=timedelta(minutes=57)) == alive
        return time.monotonic() - began

    assert clouds.within_a_second(attempt)


# id -> what goes wrong
TROUBLES: dict[str, Trouble] = {
    "hangs": HANGS,
    "drips": DRIPS,
    "slow": slow(3),
    "disconnects": DISCONNECTS,
    "429": status(429),
    "500": status(500),
    "revoked-or-not-allowed": status(403),
    "garbage": GARBAGE,
    "empty": EMPTY,
    "no-fields": Trouble(body=b"{}"),
}
ENDPOINTS = ["machine", "container", "web_identity"]


@pytest.mark.hurried
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_whatever_the_endpoint_does_there_is_an_answer_within_a_second(
    endpoint: str, trouble: Trouble, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(endpoint).trouble = trouble
    assert clouds.within_a_second(refused_at_first_and_then_at_once)


@pytest.mark.hurried
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_that_is_down_is_said_within_a_second(endpoint: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(endpoint).refuse()
    assert clouds.within_a_second(refused_at_first_and_then_at_once)


@pytest.mark.hurried
def test_64_threads_wait_together_and_no_longer_than_one(machine: InstanceMetadata) -> None:
    machine.trouble = HANGS

    def attempt() -> float:
        chain, connections = AWSCredentialChain(), machine.connections
        longest = max(clouds.at_once(lambda: refused(chain)))
        assert machine.connections == connections + 1
        return longest

    assert clouds.within_a_second(attempt)


@pytest.mark.hurried
def test_it_recovers_by_itself(container: ContainerCredentials) -> None:
    container.trouble = status(403)
    chain = AWSCredentialChain()
    refused(chain)
    container.trouble = None
    check_issued(found(chain), container)


def test_a_machine_without_any_is_said() -> None:
    refused(AWSCredentialChain(), "boto3's chain found none")


def test_a_profile_that_is_missing_is_said() -> None:
    refused(AWSCredentialChain("missing"), "ended in ProfileNotFound")


@pytest.mark.parametrize("profile", ["", " ", "a\n", 1, b"a"], ids=repr)
def test_a_profile_that_is_no_name_is_refused(profile: Any) -> None:
    with pytest.raises(InvalidConfiguration, match="profile is"):
        AWSCredentialChain(profile)


# --- what is shown, what is loaded -------------------------------------------------------------------------


def test_no_secret_is_shown(machine: InstanceMetadata) -> None:
    chain = AWSCredentialChain()
    credentials = current(chain)
    shown = f"{chain!r} {chain} {AWSCredentialChain('reader')!r} {credentials!r} {provider(chain)!r}"
    assert credentials.secret_access_key not in shown
    assert credentials.session_token is not None
    assert credentials.session_token not in shown
    assert "reader" in shown


SCRIPT = """
from datetime import timedelta, datetime, UTC
from providers import *
chain = AWSCredentialChain()
S3Provider(bucket="my-bucket", region="eu-central-1", credentials=chain)
"""
ASKED = """
from providers import refresh
refresh.WAIT_SECONDS = 10.0  # to load botocore takes longer than anybody waits, where the machine is busy
chain.current(now=datetime.now(UTC), needed=timedelta(seconds=300))
"""


def test_botocore_is_imported_when_it_is_asked_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not clouds.modules_after(SCRIPT) & {"boto3", "botocore", "urllib3", "ssl", "http"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert "botocore" in clouds.modules_after(SCRIPT + ASKED)
