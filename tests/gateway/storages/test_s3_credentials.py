"""A private bucket under every kind of AWS credential: one fetch for links and bytes, true ends, bounded waits."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from gateway import links
from gateway.errors import StorageUnavailable
from gateway.links import IssuedURL
from gateway.models import Issuance
from gateway.principals import SYSTEM, acting_as
from gateway.resources import Resource
from gateway.storages import PrivateS3Storage
from providers import AWSCredentialChain, Download, InvalidConfiguration
from tests.emulators.aws_identities import KINDS, REGION, Machine, forget_this_machine, machine_of
from tests.emulators.s3 import send
from tests.emulators.token_endpoints import DISCONNECTS, DRIPS, EMPTY, GARBAGE, HANGS, Trouble, slow, status
from tests.gateway.api.support import by_session, file_of
from tests.gateway.conftest import new_file
from tests.providers import clouds
from tests.verifiers.sigv4 import Identity, verify_presigned

ENDING = [kind for kind, ends in KINDS.items() if ends]
LASTING = [kind for kind, ends in KINDS.items() if not ends]
ASKED = ["assume-role", "web-identity", "container", "machine"]  # an endpoint, which may fail
KEY = "uploads/2026/11/0123456789abcdef0123456789abcdef/report.pdf"
LINKS = "/api/v1/links"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    """Load botocore's data, which a first call on a busy machine has to wait for as well."""
    session = botocore.session.Session()
    session.get_component("credential_provider")
    session.create_client("sts", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any) -> Callable[..., Any]:
    """Be on a machine of a kind, with a storage ``cloud`` that finds its credentials there."""

    @contextmanager
    def enter(kind: str, *, life: timedelta = timedelta(hours=1), **options: Any) -> Iterator[Machine]:
        pair = options.pop("pair", ("AKIDGIVEN", "a secret"))
        with machine_of(kind, monkeypatch, tmp_path, pair=pair, life=life) as machine:
            given = {"bucket_name": "bucket", "region_name": REGION} | machine.options | options
            entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": given}
            settings.STORAGES = settings.STORAGES | {"cloud": entry}
            yield machine

    return enter


def issue(*, seconds: int | None = None) -> IssuedURL:
    ttl = None if seconds is None else timedelta(seconds=seconds)
    with acting_as(SYSTEM, reason="test") as system:
        return links.issue(system, Resource.of_key("cloud", KEY), ttl=ttl)


def issued_in_the_end() -> IssuedURL:
    """Ask until there is a link: loading a part of botocore for the first time may take longer than anybody waits."""
    end = time.monotonic() + 10
    while True:
        try:
            return issue()
        except StorageUnavailable:
            assert time.monotonic() < end
            time.sleep(0.02)


def judge(link: IssuedURL, machine: Machine) -> datetime | None:
    """Hold a link to its specification as the store would, which knows the session token; return the pair's end."""
    identities = {key_id: Identity(secret, token) for key_id, (secret, token, _) in machine.issued.items()}
    now = datetime.now(UTC)
    verified = verify_presigned(method="GET", url=link.url, headers={}, identities=identities, region=REGION, now=now)
    assert verified.expires_at == link.expires_at
    (key_id,) = (key_id for key_id in machine.issued if f"{key_id}%2F" in link.url)
    return machine.issued[key_id][2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_under_every_kind_is_one_that_the_store_takes(kind: str, on: Any) -> None:
    with on(kind) as machine:
        link = issued_in_the_end()
        end = judge(link, machine)
    assert (end is not None) == KINDS[kind]
    assert link.limited_by == ""
    assert timedelta(seconds=298) <= link.expires_at - datetime.now(UTC) <= timedelta(seconds=300)


@pytest.mark.parametrize("kind", ENDING)
def test_a_link_ends_a_minute_before_its_credential_and_says_so(kind: str, on: Any) -> None:
    with on(kind, life=timedelta(seconds=200)) as machine:
        link = issued_in_the_end()
        end = judge(link, machine)
    assert end is not None
    assert link.expires_at == end - timedelta(seconds=60)
    assert link.limited_by == "credential"
    row = Issuance.objects.get(link_id=link.id)
    assert (row.limited_by, row.expires_at) == ("credential", link.expires_at)


@pytest.mark.parametrize("kind", ENDING)
def test_where_the_option_says_so_a_short_credential_issues_nothing(kind: str, on: Any) -> None:
    with on(kind, life=timedelta(seconds=200), on_short_credentials="refuse"):
        end = time.monotonic() + 10
        while True:
            with pytest.raises(StorageUnavailable) as raised:
                issue()
            if "ends" in str(raised.value) or time.monotonic() > end:
                break
        assert "the credential ends" in str(raised.value)
        # A shorter link is covered.
        assert issue(seconds=100).limited_by == ""


@pytest.mark.parametrize("kind", LASTING)
def test_bytes_and_links_of_lasting_kinds_on_a_real_store(kind: str, on: Any, ceph: Any) -> None:
    bucket = ceph.create_bucket(f"bucket-{secrets.token_hex(6)}")
    pair = (ceph.access_key_id, ceph.secret_access_key)
    with on(kind, pair=pair, bucket_name=bucket, endpoint_url=ceph.endpoint_url, region_name=ceph.region):
        storages["cloud"].save(KEY, ContentFile(b"the bytes"))
        key = next(iter(storages["cloud"].bucket.objects.all())).key
        with acting_as(SYSTEM, reason="test") as system:
            link = links.issue(system, Resource.of_key("cloud", key))
        assert send(link.url).body == b"the bytes"
        assert send(link.url.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status == 403


class TestOneFetch:
    def test_links_and_bytes_share_it(self, on: Any, moto_server: Any) -> None:
        bucket = moto_server.create_bucket(f"bucket-{secrets.token_hex(6)}")
        with on("machine", bucket_name=bucket, endpoint_url=moto_server.endpoint_url) as machine:
            issued_in_the_end()
            name = storages["cloud"].save(KEY, ContentFile(b"x"))
            assert storages["cloud"].size(name) == 1
            issue()
            assert machine.server.asked("/api/token") == 1

    def test_64_threads_that_ask_first_share_it(self, on: Any) -> None:
        with on("machine") as machine:
            machine.server.trouble = slow(0.02)
            storage: Any = storages["cloud"]

            def first() -> str:
                now = datetime.now(UTC)
                return str(storage.provider.sign(Download("a"), ttl=timedelta(seconds=60), now=now).url)

            assert len(clouds.at_once(first)) == 64
            assert machine.server.asked("/api/token") == 1

    def test_the_store_is_asked_under_the_role(self, on: Any, moto_server: Any) -> None:
        bucket = moto_server.create_bucket(f"bucket-{secrets.token_hex(6)}")
        with on("container", bucket_name=bucket, endpoint_url=moto_server.endpoint_url) as machine:
            issued_in_the_end()
            sent: list[Any] = []
            events = storages["cloud"].connection.meta.client.meta.events
            events.register_first("before-send.s3", lambda request, **_: sent.append(request))
            storages["cloud"].exists("a/b")
        ((key_id, (_, token, _)),) = machine.issued.items()
        assert sent[0].headers["X-Amz-Security-Token"] in (token, token.encode())
        assert key_id in str(sent[0].headers["Authorization"])

    def test_nothing_is_fetched_before_a_link_is_asked_for(self, on: Any) -> None:
        with on("machine") as machine:
            assert storages["cloud"].provider.capabilities.offline is False
            assert machine.server.asked() == 0


class TestWhichCredentials:
    @pytest.fixture(autouse=True)
    def nothing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        forget_this_machine(monkeypatch, tmp_path)

    def make(self, **options: Any) -> PrivateS3Storage:
        return PrivateS3Storage(bucket_name="bucket", region_name=REGION, **options)

    def test_a_key_pair_is_no_chain(self) -> None:
        storage = self.make(access_key="AK", secret_key="SK")
        assert storage.provider.capabilities.offline

    @pytest.mark.parametrize(
        ("options", "missing"), [({"access_key": "AK"}, "secret_key"), ({"secret_key": "SK"}, "access_key")],
        ids=["no-secret", "no-id"],
    )  # fmt: skip
    def test_half_a_pair_is_not_completed_from_elsewhere(self, options: dict[str, str], missing: str) -> None:
        with pytest.raises(InvalidConfiguration, match=f"{missing} is empty"):
            _ = self.make(**options).provider

    def test_a_profile_that_is_no_name(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="session_profile: profile is"):
            self.make(session_profile="a\n")

    def test_the_end_in_the_environment_is_of_its_own_token_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of the environment")
        own = self.make(access_key="AK", secret_key="SK", security_token="own")
        assert own._credentials().current(now=datetime.now(UTC), needed=timedelta(0)).expires_at is None
        theirs = self.make()
        end = theirs._credentials().current(now=datetime.now(UTC), needed=timedelta(0)).expires_at
        assert end == datetime(2026, 1, 1, tzinfo=UTC)

    def test_an_end_that_is_no_instant_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "soon")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SK")
        with pytest.raises(InvalidConfiguration, match="AWS_CREDENTIAL_EXPIRATION is 'soon'"):
            _ = self.make().provider

    def test_neither_storage_nor_session_shows_a_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        storage = self.make()
        assert isinstance(storage._chain, AWSCredentialChain)
        session = storage._create_session()
        credentials = session.get_credentials()
        assert (credentials.access_key, credentials.secret_key) == ("", "")


# id -> what goes wrong; None is that nothing listens
TROUBLES: dict[str, Trouble | None] = {
    "down": None,
    "hangs": HANGS,
    "drips": DRIPS,
    "slow": slow(3),
    "disconnects": DISCONNECTS,
    "429": status(429),
    "500": status(500),
    "403": status(403),
    "garbage": GARBAGE,
    "empty": EMPTY,
    "no-fields": Trouble(body=b"{}"),
}


class TestFailures:
    """Through the JSON API: 503 with Retry-After within a second, for this storage alone."""

    @pytest.mark.parametrize("trouble", TROUBLES)
    @pytest.mark.parametrize("kind", ASKED)
    def test_an_endpoint_in_trouble(self, kind: str, trouble: str, on: Any, alice: Any) -> None:
        cloud = str(new_file(alice, storage_alias="cloud", key=KEY).pk)
        local = str(file_of(alice).pk)
        client = by_session(alice)

        def attempt() -> float:
            with on(kind) as machine:
                wrong = TROUBLES[trouble]
                machine.server.trouble = wrong
                if wrong is None:
                    machine.server.refuse()
                began = time.monotonic()
                response = client.send(LINKS, {"file": cloud})
                took = time.monotonic() - began
                assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
                assert response["Retry-After"] == "5"
                assert client.send(LINKS, {"file": local}).status_code == 201
                batch = client.send(f"{LINKS}/batch", {"items": [{"file": cloud}, {"file": local}]}).json()["results"]
                assert [one["error"] and one["error"]["status"] for one in batch] == [503, None]
                return took

        assert clouds.within_a_second(attempt)

    def test_it_comes_back_by_itself(self, on: Any, alice: Any) -> None:
        cloud = {"file": str(new_file(alice, storage_alias="cloud", key=KEY).pk)}
        client = by_session(alice)
        with on("container") as machine:
            machine.server.trouble = status(500)
            assert client.send(LINKS, cloud).status_code == 503
            machine.server.trouble = None
            end = time.monotonic() + 10
            while (response := client.send(LINKS, cloud)).status_code != 201:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert response.json()["limited_by"] is None

    def test_a_refresh_that_fails_does_not_matter_while_the_credential_lives(self, on: Any, alice: Any) -> None:
        cloud = {"file": str(new_file(alice, storage_alias="cloud", key=KEY).pk)}
        client = by_session(alice)
        with on("machine", life=timedelta(seconds=200)) as machine:
            issued_in_the_end()
            machine.server.refuse()
            storages["cloud"]._chain._credentials._repeat_at = 0.0
            response = client.send(LINKS, cloud)
            assert (response.status_code, response.json()["limited_by"]) == (201, "credential")

    @pytest.mark.parametrize("life", [timedelta(hours=-10), timedelta(seconds=50)], ids=["clock-ahead", "too-short"])
    def test_a_clock_that_is_ahead_of_the_credential_is_503(self, on: Any, alice: Any, life: timedelta) -> None:
        # What a machine sees whose clock is ten hours ahead: everything that is fetched is over.
        cloud = {"file": str(new_file(alice, storage_alias="cloud", key=KEY).pk)}
        with on("container", life=life) as machine:
            response = by_session(alice).send(LINKS, cloud)
            assert (response.status_code, response["Retry-After"]) == (503, "5")
            assert machine.server.asked() <= 2
