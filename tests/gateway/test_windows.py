"""Stable links: one URL for a window, never beyond what was decided, signed once and recorded every time."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from gateway import links, windows
from gateway.errors import AccessDenied, StorageUnavailable
from gateway.links import IssuedURL, door, signing
from gateway.policies import Allow, Limits, Upload
from gateway.principals import ANONYMOUS, Principal
from gateway.resources import Resource
from gateway.storages.base import INLINE_TYPES
from providers import (
    AzureProvider,
    CloudFrontKey,
    CloudFrontProvider,
    Download,
    GCSProvider,
    LocalProvider,
    S3Provider,
    SecretKey,
    ServiceAccountKey,
    SharedKey,
    StaticCredentials,
)
from tests.emulators.s3 import send
from tests.gateway.conftest import issuances, new_document, new_file
from tests.providers import clouds

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)  # of a window of 100 s, and of one of 120
WINDOW, TTL = 120, 300


def s3(**credentials: Any) -> S3Provider:
    pair = StaticCredentials("AKIDEXAMPLE", "a secret", **credentials)
    return S3Provider(bucket="bucket", region="eu-central-1", credentials=pair)


# Every provider; made once, as a storage keeps its own.
PROVIDERS: dict[str, Callable[[], Any]] = {
    "s3": s3,
    "cloudfront": lambda: CloudFrontProvider(
        endpoint_url="https://cdn.example.com", key=CloudFrontKey(key_pair_id="K1", private_key=clouds.PEM)
    ),
    "gcs": lambda: GCSProvider(
        bucket="bucket",
        credentials=ServiceAccountKey(client_email="a@b.iam.gserviceaccount.com", private_key=clouds.PEM),
    ),
    "azure": lambda: AzureProvider(
        account_name="account", container="container", credentials=SharedKey("a2V5a2V5a2V5a2V5")
    ),
    "local": lambda: LocalProvider(base_url="/local/", secret_keys=[SecretKey(b"s" * 32)]),
}


class WindowStorage:
    """A private storage in memory, arranged by the test that uses it."""

    arrange: dict[str, Any] = {}
    url_mode = "presigned"
    max_ttl = None
    inline_types = INLINE_TYPES
    default_ttl = timedelta(seconds=TTL)
    url_window = property(lambda self: timedelta(seconds=self.arrange.get("window", WINDOW)))
    on_short_credentials = property(lambda self: self.arrange.get("on_short_credentials", "clamp"))

    @property
    def provider(self) -> Any:
        return self.arrange["provider"]

    def provider_for(self, kind: type) -> Any:
        return self.provider

    def object_key(self, name: str) -> str:
        return name


class Counting:
    """Hands on to a provider, and counts what it has to sign."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.signed = 0
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def sign(self, operation: Any, *, ttl: timedelta, now: datetime) -> Any:
        self.signed += 1
        return self.inner.sign(operation, ttl=ttl, now=now)

    def sign_many(self, operations: Any, *, ttl: timedelta, now: datetime) -> Any:
        self.signed += len(operations)
        self.asked += 1
        return self.inner.sign_many(operations, ttl=ttl, now=now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], datetime]]:
    """Let the door's clock show so many seconds after START."""
    shown = [START]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return shown[0]

    def show(seconds: float) -> datetime:
        shown[0] = START + timedelta(seconds=seconds)
        return shown[0]

    for room in (door, signing):
        monkeypatch.setattr(room, "datetime", Clock)
    yield show
    windows._kept.clear()


@pytest.fixture
def arranged(settings: Any, clock: Any) -> Iterator[Callable[..., Counting]]:
    backend = f"{__name__}.WindowStorage"
    settings.STORAGES = settings.STORAGES | {"windowed": {"BACKEND": backend}}

    def make(provider: Any = None, **arrangement: Any) -> Counting:
        counting = Counting(s3() if provider is None else provider)
        WindowStorage.arrange = {"provider": counting} | arrangement
        return counting

    yield make
    WindowStorage.arrange = {}


@pytest.fixture
def resource(alice: Any) -> Resource:
    return Resource.of_file(new_file(alice, storage_alias="windowed"))


def user_of(user: Any, **fields: Any) -> Principal:
    return Principal(kind="user", user=user, **fields)


class Shareable:
    """Allows everybody, and one's link to another."""

    limits: Limits = Limits(shareable=True)

    def decide(self, principal: Any, resource: Any, operation: Any) -> Allow:
        return Allow(self.limits)


@pytest.fixture
def by_path(settings: Any) -> Callable[[Limits], Resource]:
    """Let everybody have a bare key, within limits."""

    def allow(limits: Limits) -> Resource:
        policy = Shareable()
        policy.limits = limits
        settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"windowed": policy}}
        return Resource.of_key("windowed", "a/report.pdf")

    return allow


class TestOneURL:
    @pytest.mark.parametrize("name", PROVIDERS)
    def test_of_every_provider_stays_while_the_window_lasts(
        self, name: str, alice: Any, resource: Resource, arranged: Any, clock: Any
    ) -> None:
        counting = arranged(PROVIDERS[name]())
        issued = []
        for seconds in (0, 0.4, 37, 119.9):
            now = clock(seconds)
            link = links.issue(user_of(alice), resource)
            assert link.expires_at == START + timedelta(seconds=TTL)
            assert link.expires_at - now >= timedelta(seconds=TTL - WINDOW)
            issued.append(link)
        assert len({link.url for link in issued}) == 1
        assert (counting.signed, counting.asked) == (1, 1)
        clock(WINDOW)
        later = links.issue(user_of(alice), resource)
        assert later.url != issued[0].url
        assert later.id != issued[0].id
        assert later.expires_at == START + timedelta(seconds=WINDOW + TTL)

    def test_is_recorded_every_time(self, alice: Any, resource: Resource, arranged: Any, clock: Any) -> None:
        arranged()
        for seconds in (1, 2, 3):
            clock(seconds)
            links.issue(user_of(alice), resource)
        rows = issuances(decision="issued")
        assert [row.at for row in rows] == [START + timedelta(seconds=seconds) for seconds in (1, 2, 3)]
        assert len({(row.link_id, row.link_hash, row.expires_at) for row in rows}) == 1
        assert {row.limited_by for row in rows} == {"url_window"}

    def test_names_what_shortened_it_further(self, by_path: Any, arranged: Any) -> None:
        arranged()
        life = timedelta(seconds=TTL - 1)
        first = links.issue(ANONYMOUS, by_path(Limits(max_ttl=life)))
        again = links.issue(ANONYMOUS, by_path(Limits(max_ttl=life)))
        assert (first.url, first.expires_at) == (again.url, START + life)
        assert {first.limited_by, again.limited_by} == {"policy"}

    def test_is_decided_about_every_time(self, alice: Any, arranged: Any, clock: Any) -> None:
        arranged()
        file = new_file(alice, storage_alias="windowed")
        asked = Resource.of_file(file)
        links.issue(user_of(alice), asked)
        type(file).objects.filter(pk=file.pk).delete()
        with pytest.raises(AccessDenied):
            links.issue(user_of(alice), asked)

    def test_is_another_for_another_download_of_the_object(self, alice: Any, resource: Resource, arranged: Any) -> None:
        arranged()
        variants = [
            Download,
            partial(Download, method="HEAD"),
            partial(Download, filename="other.pdf"),
            partial(Download, disposition="attachment"),
        ]
        issued = [links.issue(user_of(alice), resource, asked) for asked in variants]
        assert len({link.url for link in issued}) == len({link.id for link in issued}) == len(variants)

    def test_of_another_credential_is_another(self, alice: Any, resource: Resource, arranged: Any) -> None:
        arranged()
        first = links.issue(user_of(alice), resource)
        arranged(S3Provider(bucket="bucket", region="eu-central-1", credentials=StaticCredentials("AK2", "other")))
        assert links.issue(user_of(alice), resource).url != first.url

    def test_is_not_kept_for_uploads(self, arranged: Any, by_path: Any, alice: Any, clock: Any) -> None:
        arranged()
        clock(7)
        asked = partial(Upload, content_type="image/png", size_bytes=3)
        resource = by_path(Limits())
        issued = [links.issue(user_of(alice), resource, asked) for _ in range(2)]
        assert len({link.id for link in issued}) == 2
        assert "X-Amz-Date=20261122T100007Z" in issued[0].url
        assert not windows._kept

    def test_a_batch_signs_only_what_is_new(self, alice: Any, arranged: Any) -> None:
        counting = arranged()
        files = [Resource.of_file(new_file(alice, storage_alias="windowed")) for _ in range(3)]
        first = links.issue(user_of(alice), files[1])
        answers = links.issue_many(user_of(alice), files)
        assert [answer.url == first.url for answer in answers if isinstance(answer, IssuedURL)] == [False, True, False]
        assert counting.signed == 3


class TestWhose:
    @pytest.mark.parametrize("name", PROVIDERS)
    def test_two_principals_have_two_links_unless_the_policy_says_shareable(
        self, name: str, alice: Any, bob: Any, arranged: Any, by_path: Any
    ) -> None:
        arranged(PROVIDERS[name]())
        for shareable in (False, True):
            resource = by_path(Limits(shareable=shareable))
            one, other = (links.issue(user_of(user), resource) for user in (alice, bob))
            assert (one.id == other.id) == shareable
            # Azure has no parameter that it signs and does not know.
            assert (one.url == other.url) == (shareable or name == "azure")

    def test_acting_as_somebody_is_not_being_them(self, alice: Any, arranged: Any, by_path: Any) -> None:
        arranged()
        resource = by_path(Limits())
        own, acted = (links.issue(user_of(alice, outer=outer), resource) for outer in ("", "user:99"))
        assert own.url != acted.url

    def test_tenants_share_nothing(self, alice: Any, arranged: Any, by_path: Any, settings: Any) -> None:
        arranged()
        urls = set()
        for tenant in ("TenantA", "TenantB"):
            resource = by_path(Limits(shareable=True))
            settings.GATEWAY = settings.GATEWAY | {"TENANT": f"{__name__}.{tenant}"}
            urls.add(links.issue(user_of(alice), resource).url)
        assert len(urls) == 2

    def test_the_id_tells_nobody_who_asked(self, alice: Any, resource: Resource, arranged: Any, settings: Any) -> None:
        arranged()
        first = links.issue(user_of(alice), resource)
        assert re.fullmatch(r"lnk_[0-9a-f]{32}", first.id)
        settings.SECRET_KEY = secrets.token_urlsafe(40)
        # Whoever knows all that goes in cannot make it without the secret.
        assert links.issue(user_of(alice), resource).id != first.id


class TenantA:
    def of_principal(self, principal: Any) -> str:
        return type(self).__name__

    of_row = of_principal


class TenantB(TenantA):
    pass


class TestNeverBeyond:
    def test_the_policys_end(self, alice: Any, arranged: Any, by_path: Any, clock: Any) -> None:
        arranged()
        until = START + timedelta(seconds=150.5)
        resource = by_path(Limits(until=until))
        issued = []
        for seconds in (0, 60, 119):
            clock(seconds)
            issued.append(links.issue(user_of(alice), resource))
        assert {link.expires_at for link in issued} == {START + timedelta(seconds=150)}
        assert {link.limited_by for link in issued} == {"policy"}
        assert len({link.url for link in issued}) == 1

    @pytest.mark.parametrize("seconds", [49.6, 50, 60])
    def test_an_end_that_has_come_within_the_window(
        self, alice: Any, arranged: Any, by_path: Any, clock: Any, seconds: float
    ) -> None:
        arranged()
        resource = by_path(Limits(until=START + timedelta(seconds=50)))
        links.issue(user_of(alice), resource)
        clock(seconds)
        with pytest.raises(AccessDenied):
            links.issue(user_of(alice), resource)

    def test_the_credential_that_asked(self, alice: Any, resource: Resource, arranged: Any, clock: Any) -> None:
        arranged()
        clock(100)
        link = links.issue(user_of(alice, authority_ends_at=START + timedelta(seconds=130)), resource)
        assert link.expires_at == START + timedelta(seconds=130)

    @pytest.mark.parametrize(
        ("limits", "ttl"),
        [
            pytest.param(Limits(max_ttl=timedelta(seconds=239)), None, id="policy"),
            pytest.param(Limits(), timedelta(seconds=239), id="asked-for"),
            pytest.param(Limits(), timedelta(seconds=1), id="asked-for-least"),
        ],
    )
    def test_a_lifetime_under_twice_the_window_is_counted_from_now(
        self, alice: Any, arranged: Any, by_path: Any, clock: Any, limits: Limits, ttl: timedelta | None
    ) -> None:
        arranged()
        resource = by_path(limits)
        now = clock(119)
        one, other = (links.issue(user_of(alice), resource, ttl=ttl) for _ in range(2))
        assert one.expires_at == now + (ttl or timedelta(seconds=239))
        assert one.limited_by == ("policy" if ttl is None else "")
        assert one.id != other.id
        assert "cache-control" not in one.url

    def test_the_signing_credential(self, alice: Any, resource: Resource, arranged: Any, clock: Any) -> None:
        end = datetime.now(UTC) + timedelta(days=400)
        start = end - timedelta(seconds=200)
        since = int(start.timestamp()) - int(START.timestamp())
        counting = arranged(s3(expires_at=end))
        clock(since)
        one, other = (links.issue(user_of(alice), resource) for _ in range(2))
        assert one.limited_by == other.limited_by == "credential"
        assert one.expires_at <= end - timedelta(seconds=60)
        # A link that was cut is not kept: the next may be whole.
        assert counting.signed == 2
        arranged(s3(expires_at=end), on_short_credentials="refuse")
        with pytest.raises(StorageUnavailable):
            links.issue(user_of(alice), resource)

    def test_a_credential_that_ended_within_the_window_signs_nothing(
        self, alice: Any, resource: Resource, arranged: Any, clock: Any
    ) -> None:
        arranged(s3(expires_at=START + timedelta(seconds=100)))
        clock(30)
        assert links.issue(user_of(alice), resource).expires_at == START + timedelta(seconds=40)
        clock(40)
        with pytest.raises(StorageUnavailable, match="the credential has ended"):
            links.issue(user_of(alice), resource)


class TestMemo:
    def test_holds_no_more_than_it_says_and_drops_what_nobody_asked_for(
        self, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(windows, "MAX_KEPT", 3)
        provider, ttl = s3(), timedelta(seconds=TTL)
        for number in range(4):
            download = Download(f"k{number}")
            windows.keep(provider, download, ttl, START, provider.sign(download, ttl=ttl, now=START))
            assert windows.recall(provider, Download("k0"), ttl, START) is not None
        assert {operation.key for _, operation, _, _ in windows._kept} == {"k0", "k2", "k3"}

    def test_64_threads_disturb_each_other_in_nothing(self, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(windows, "MAX_KEPT", 3)
        provider, ttl = s3(), timedelta(seconds=TTL)
        made = [provider.sign(Download(f"k{number}"), ttl=ttl, now=START) for number in range(8)]

        def work() -> bool:
            for _ in range(20):
                for number, link in enumerate(made):
                    windows.keep(provider, Download(f"k{number}"), ttl, START, link)
                    kept = windows.recall(provider, Download(f"k{number}"), ttl, START)
                    assert kept is None or kept is link
            return True

        assert all(clouds.at_once(work))
        assert len(windows._kept) == 3

    def test_is_of_the_process(self, arranged: Any) -> None:
        windows._lock.acquire()  # as a thread of the parent might hold it
        try:
            child = clouds.in_a_fork(lambda: windows.recall(s3(), Download("a"), timedelta(1), START) is None)
        finally:
            windows._lock.release()
        assert child is True

    def test_shows_nothing(self, alice: Any, arranged: Any, resource: Resource) -> None:
        arranged()
        link = links.issue(user_of(alice), resource)
        signature = link.url.rpartition("=")[2]
        assert signature not in repr(windows._kept)


class TestBrowserCache:
    def test_a_store_answers_what_was_signed(self, ceph: Any, settings: Any, alice: Any) -> None:
        bucket = ceph.create_bucket(f"bucket-{secrets.token_hex(6)}")
        options = {
            "bucket_name": bucket, "region_name": ceph.region, "endpoint_url": ceph.endpoint_url,
            "access_key": ceph.access_key_id, "secret_key": ceph.secret_access_key, "url_window": WINDOW,
        }  # fmt: skip
        entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options}
        settings.STORAGES = settings.STORAGES | {"windowed": entry}
        file = new_file(alice, storage_alias="windowed")
        storages["windowed"].bucket.Object(file.key).put(Body=b"the bytes", CacheControl="no-store")
        url = links.issue(user_of(alice), Resource.of_file(file)).url
        answer = send(url)
        assert (answer.status, answer.body) == (200, b"the bytes")
        assert answer.headers["cache-control"] == f"private, max-age={WINDOW}"
        for was, becomes in (("max-age%3D120", "max-age%3D9999"), ("private", "public"), ("cache-control", "expires")):
            assert url.count(was) == 1
            assert send(url.replace(was, becomes)).status == 403

    @pytest.mark.parametrize(
        ("name", "parameter"),
        [("s3", "response-cache-control"), ("cloudfront", "response-cache-control"), ("azure", "rscc"),
         ("gcs", None), ("local", None)],
    )  # fmt: skip
    def test_is_signed_where_the_store_takes_it(
        self, name: str, parameter: str | None, alice: Any, resource: Resource, arranged: Any
    ) -> None:
        provider = PROVIDERS[name]()
        arranged(provider)
        url = links.issue(user_of(alice), resource).url
        assert provider.capabilities.binds_cache_control == (parameter is not None)
        assert (f"{parameter}=private%2C%20max-age%3D120" in url) if parameter else ("max-age" not in url)


def test_without_the_option_every_link_is_its_own(alice: Any) -> None:
    document = Resource.of_field(new_document(alice), "file")
    issued = [links.issue(user_of(alice), document) for _ in range(2)]
    assert len({link.url for link in issued}) == 2


STORAGES: dict[str, dict[str, Any]] = {
    "PrivateS3Storage": {
        "bucket_name": "bucket",
        "region_name": "eu-central-1",
        "access_key": "AK",
        "secret_key": "SK",
    },
    "PrivateGCSStorage": {"bucket_name": "bucket", "hmac_access_id": "GOOG1", "hmac_secret": "c2VjcmV0"},
    "PrivateAzureStorage": {"account_name": "account", "azure_container": "files", "account_key": "a2V5a2V5a2V5a2V5"},
    "PrivateFileSystemStorage": {"location": "private-files"},
}


@pytest.mark.parametrize("name", STORAGES)
def test_every_storage_takes_the_option(name: str, alice: Any, settings: Any, clock: Any, tmp_path: Path) -> None:
    options = STORAGES[name] | {"url_window": 60}
    if name == "PrivateFileSystemStorage":
        options["location"] = tmp_path
    entry = {"BACKEND": f"gateway.storages.{name}", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"windowed": entry}
    resource = Resource.of_file(new_file(alice, storage_alias="windowed"))
    urls = []
    for seconds in (0, 59, 60):
        clock(seconds)
        urls.append(links.issue(user_of(alice), resource).url)
    assert [url == urls[0] for url in urls] == [True, True, False]
