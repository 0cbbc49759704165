"""CloudFront's cookies: decided about by prefix, recorded, and good for nothing above or beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote

import pytest
from django.http import HttpResponse

from gateway import links
from gateway.delivery.signed_cookies import set_signed_cookies
from gateway.errors import AccessDenied, NoPrincipal, StorageUnavailable, TTLTooLong
from gateway.policies import Allow, Deny, Download, DownloadPrefix, Limits
from gateway.principals import SYSTEM, Principal, acting_as
from providers import InvalidTTL
from tests.emulators.cloudfront import Distribution
from tests.emulators.s3 import Response, send
from tests.gateway.cloudfront_stores import CloudFrontStore
from tests.gateway.conftest import issuances, request_of

pytestmark = pytest.mark.django_db

COOKIES = {"CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id"}


class Courses:
    """Lets everybody have what lies below ``courses/``, all together."""

    limits = Limits()

    def decide(self, principal: Any, resource: Any, operation: Any) -> Allow | Deny:
        if type(operation) is DownloadPrefix and operation.key.startswith("courses/"):
            return Allow(self.limits)
        return Deny("not a course")


class FilesAlone(Courses):
    def decide(self, principal: Any, resource: Any, operation: Any) -> Allow | Deny:
        return Allow() if type(operation) is Download else Deny("one by one")


@pytest.fixture
def store(cloudfront: Distribution, settings: Any) -> CloudFrontStore:
    store = CloudFrontStore("videos", cloudfront)
    settings.STORAGES = settings.STORAGES | {"videos": {"BACKEND": store.backend, "OPTIONS": store.options}}
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"videos": Courses()}}
    for key in ("courses/1/a b.ts", "courses/1/part/2.ts", "courses/10/a.ts", "courses/1", "secret/x.ts"):
        if key != "courses/1":
            store.put(key, key.encode())
    return store


def user_of(user: Any, **fields: Any) -> Principal:
    return Principal(kind="user", user=user, **fields)


def fetch(store: CloudFrontStore, key: str, cookies: dict[str, str]) -> Response:
    url = f"http://{store.distribution.domain}/{quote(store.LOCATION)}/{quote(key)}"
    return send(url, headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())})


class TestDoor:
    def test_everything_below_the_prefix_is_opened_and_nothing_else(self, store: CloudFrontStore, alice: Any) -> None:
        cookies = dict(links.issue_cookies(user_of(alice), "videos", "courses/1/").values)
        assert set(cookies) == COOKIES
        for key in ("courses/1/a b.ts", "courses/1/part/2.ts"):
            assert (fetch(store, key, cookies).status, fetch(store, key, cookies).body) == (200, key.encode())
        for key in ("courses/10/a.ts", "secret/x.ts", "courses/1/../../secret/x.ts"):
            assert fetch(store, key, cookies).status in (403, 404)
        assert fetch(store, "courses/1/a b.ts", {}).status == 403

    @pytest.mark.parametrize("name", sorted(COOKIES))
    def test_changed_or_missing_cookies_open_nothing(self, store: CloudFrontStore, alice: Any, name: str) -> None:
        cookies = dict(links.issue_cookies(user_of(alice), "videos", "courses/1/").values)
        other = dict(links.issue_cookies(user_of(alice), "videos", "courses/10/").values)
        without = {key: value for key, value in cookies.items() if key != name}
        assert fetch(store, "courses/1/a b.ts", without).status == 403
        changed = cookies | {name: other[name] if name != "CloudFront-Key-Pair-Id" else "KOTHER"}
        assert fetch(store, "courses/1/a b.ts", changed).status == 403

    def test_they_end(self, store: CloudFrontStore, alice: Any) -> None:
        before = datetime.now(UTC)
        cookies = links.issue_cookies(user_of(alice), "videos", "courses/1/", ttl=timedelta(seconds=60))
        assert before + timedelta(seconds=58) <= cookies.expires_at <= before + timedelta(seconds=61)
        ends = before + timedelta(seconds=30)
        asker = user_of(alice, authority_ends_at=ends)
        assert links.issue_cookies(asker, "videos", "courses/1/").expires_at <= ends

    def test_it_is_recorded_and_the_cookies_are_not(self, store: CloudFrontStore, alice: Any) -> None:
        cookies = links.issue_cookies(user_of(alice), "videos", "courses/1/")
        (row,) = issuances()
        assert (row.decision, row.operation, row.key) == ("issued", "DownloadPrefix", "courses/1/")
        assert row.expires_at == cookies.expires_at
        assert len(row.link_hash) == 64
        signature = cookies.values["CloudFront-Signature"]
        assert signature not in f"{vars(row)} {cookies!r}"

    @pytest.mark.parametrize(
        ("prefix", "policy"),
        [
            pytest.param("secret/", Courses(), id="another-prefix"),
            pytest.param("courses/1/", FilesAlone(), id="files-one-by-one-are-no-prefix"),
            pytest.param("courses/1", Courses(), id="no-slash"),
            pytest.param("courses/../secret/", Courses(), id="dots"),
            pytest.param("courses//", Courses(), id="empty-segment"),
            pytest.param("/", Courses(), id="everything"),
            pytest.param("", Courses(), id="nothing"),
        ],
    )
    def test_refused(self, store: CloudFrontStore, alice: Any, settings: Any, prefix: str, policy: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"videos": policy}}
        with pytest.raises(AccessDenied):
            links.issue_cookies(user_of(alice), "videos", prefix)
        assert [row.decision for row in issuances()] == ["refused"]

    def test_an_authority_that_has_ended_is_recorded_as_such(self, store: CloudFrontStore, alice: Any) -> None:
        with pytest.raises(AccessDenied):
            links.issue_cookies(
                user_of(alice, authority_ends_at=datetime.now(UTC) - timedelta(hours=1)), "videos", "courses/1/"
            )
        assert [row.reason for row in issuances()] == ["the authority to ask has ended"]

    def test_a_prefix_that_is_too_long_below_the_location_is_refused(self, store: CloudFrontStore, alice: Any) -> None:
        with pytest.raises(AccessDenied):
            links.issue_cookies(user_of(alice), "videos", "courses/" + f"{'x' * 202}/" * 5)
        (row,) = issuances()
        assert row.decision == "refused"
        assert "at most 1024" in row.reason

    def test_a_policy_that_limits_the_disposition_is_refused(
        self, store: CloudFrontStore, alice: Any, settings: Any
    ) -> None:
        policy = Courses()
        policy.limits = Limits(dispositions=frozenset({"attachment"}))
        settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"videos": policy}}
        with pytest.raises(AccessDenied) as raised:
            links.issue_cookies(user_of(alice), "videos", "courses/1/")
        assert "cookies cannot bind" in raised.value.reason
        with pytest.raises(AccessDenied) as raised:
            links.issue_cookies(user_of(alice), "videos", "courses/1")
        assert raised.value.reason == "the prefix does not end in a slash"

    def test_a_storage_without_a_distribution(self, store: CloudFrontStore) -> None:
        with acting_as(SYSTEM, reason="test") as system, pytest.raises(StorageUnavailable, match="no distribution"):
            links.issue_cookies(system, "private", "courses/1/")
        assert [row.reason for row in issuances()] == ["storage 'private' has no distribution that takes cookies"]

    @pytest.mark.parametrize(("seconds", "error"), [(901, TTLTooLong), (0, InvalidTTL)], ids=["long", "none"])
    def test_a_ttl_out_of_bounds(self, store: CloudFrontStore, alice: Any, seconds: int, error: type) -> None:
        with pytest.raises(error):
            links.issue_cookies(user_of(alice), "videos", "courses/1/", ttl=timedelta(seconds=seconds))

    def test_a_wildcard_in_a_prefix_opens_that_prefix_alone(
        self, store: CloudFrontStore, alice: Any, settings: Any
    ) -> None:
        cookies = dict(links.issue_cookies(user_of(alice), "videos", "courses/*/").values)
        assert fetch(store, "courses/10/a.ts", cookies).status == 403
        store.put("courses/*/a.ts", b"star")
        assert fetch(store, "courses/*/a.ts", cookies).body == b"star"


class TestResponse:
    @pytest.fixture
    def response(self, store: CloudFrontStore, alice: Any) -> Callable[..., Any]:
        def answer(prefix: str = "courses/1/") -> HttpResponse:
            response = HttpResponse("page")
            with request_of(alice):
                set_signed_cookies(response, "videos", prefix, domain="example.com")
            return response

        return answer

    def test_sets_three_cookies_for_the_prefix_alone(self, response: Any) -> None:
        made = response()
        assert set(made.cookies) == COOKIES
        for morsel in made.cookies.values():
            assert morsel["path"] == "/tenant%201/files/courses/1/"
            assert (morsel["domain"], morsel["samesite"]) == ("example.com", "Lax")
            assert morsel["secure"] is True
            assert morsel["httponly"] is True
        assert made["Cache-Control"] == "no-store, private"

    def test_what_a_browser_sends_back_opens_the_files(self, response: Any, store: CloudFrontStore) -> None:
        sent = SimpleCookie(response().cookies.output(header="", sep=";"))
        cookies = {name: morsel.value for name, morsel in sent.items()}
        assert fetch(store, "courses/1/a b.ts", cookies).status == 200

    def test_sets_none_where_the_answer_is_no(self, response: Any, store: CloudFrontStore) -> None:
        with pytest.raises(AccessDenied):
            response("secret/")

    def test_asks_for_somebody_who_asks(self, store: CloudFrontStore) -> None:
        with pytest.raises(NoPrincipal):
            set_signed_cookies(HttpResponse(), "videos", "courses/1/", domain="example.com")
