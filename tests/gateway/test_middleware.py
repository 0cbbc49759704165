"""The middleware: what it adds to a response, what it keeps out of caches, and what it commits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.views.decorators.cache import cache_page

from gateway import links
from gateway.errors import AccessDenied, AuditUnavailable
from gateway.middleware import GatewayMiddleware
from gateway.principals import Lease, acting_as, ambient_lease, current
from gateway.resources import Resource
from providers.types import Download
from tests.gateway.conftest import issuances, new_document
from tests.gateway.site import VISITS, views, visit
from tests.hostapp.models import Document

pytestmark = pytest.mark.django_db

GATEWAY = "gateway.middleware.GatewayMiddleware"
UPDATE, FETCH = (f"django.middleware.cache.{name}CacheMiddleware" for name in ("Update", "FetchFrom"))


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[Any]:
    settings.ROOT_URLCONF = "tests.gateway.site"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    before = dict(vars(views))
    yield views
    vars(views).clear()
    vars(views).update(before)


@pytest.fixture
def resource(alice: Any) -> Resource:
    return Resource.of_field(new_document(alice), "file")


@contextmanager
def audit_that_cannot_be_written() -> Iterator[None]:
    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("INSERT") and "issuance" in sql:
            raise OperationalError("disk full")
        return execute(sql, *args)

    with connection.execute_wrapper(refuse):
        yield


def answers(do: Callable[[], Any]) -> None:
    """Let both views do something."""

    async def ado(request: HttpRequest) -> Any:
        return await sync_to_async(do)()

    views.sync, views.asynchronous = lambda request: do(), ado


BOTH = pytest.mark.parametrize(("way", "view"), [("wsgi", "sync"), ("asgi", "async"), ("asgi", "sync")])


# Headers.


@BOTH
def test_a_response_with_a_link_is_kept_out_of_caches(alice: Any, resource: Resource, way: str, view: str) -> None:
    answers(lambda: links.issue_once(resource).text)

    response = VISITS[way](f"/{view}", alice)

    assert response["Cache-Control"] == "private, no-store"
    assert response["Referrer-Policy"] == "no-referrer"


@BOTH
@pytest.mark.parametrize("what", ["nothing", "a refusal", "a decision alone"])
def test_a_response_without_a_link_is_left_alone(
    alice: Any, bob: Any, resource: Resource, way: str, view: str, what: str
) -> None:
    def do() -> str:
        if what == "a refusal":
            with pytest.raises(AccessDenied):
                links.issue_once(resource)
        elif what == "a decision alone":
            with acting_as(alice):
                links.authorize(current(), resource, Download)
        return "page"

    answers(do)

    response = VISITS[way](f"/{view}", bob)

    assert "Cache-Control" not in response
    assert response.get("Referrer-Policy", "same-origin") == "same-origin"


BEFORE = {
    "nothing": ("", {"private", "no-store"}),
    "public": ("public, max-age=600", {"private", "no-store", "max-age=600"}),
    "no-cache": ("no-cache", {"no-cache", "private", "no-store"}),
    "shared": ("s-maxage=600", {"s-maxage=600", "private", "no-store"}),
    "already": ("private, no-store", {"private", "no-store"}),
}


@pytest.mark.parametrize(("before", "after"), BEFORE.values(), ids=BEFORE)
def test_whatever_the_view_said_of_caches_none_may_store(
    alice: Any, resource: Resource, before: str, after: set[str]
) -> None:
    headers = {"Cache-Control": before} if before else {}
    answers(lambda: HttpResponse(links.issue_once(resource).text, headers=headers))

    assert set(visit("/sync", alice)["Cache-Control"].split(", ")) == after


def test_a_stricter_referrer_policy_of_the_view_stays(alice: Any, resource: Resource) -> None:
    answers(lambda: HttpResponse(links.issue_once(resource).text, headers={"Referrer-Policy": "origin"}))

    assert visit("/sync", alice)["Referrer-Policy"] == "origin"


@BOTH
def test_every_response_names_its_request_and_the_audit_too(
    alice: Any, resource: Resource, way: str, view: str
) -> None:
    answers(lambda: "page")
    plain = VISITS[way](f"/{view}")["X-Request-ID"]
    answers(lambda: links.issue_once(resource).method)
    issuing = VISITS[way](f"/{view}", alice)["X-Request-ID"]

    assert len(plain) == len(issuing) == 32
    assert plain != issuing
    assert [row.request_id for row in issuances()] == [issuing]


def test_a_page_that_asked_for_nothing_asks_no_database(django_assert_num_queries: Any) -> None:
    answers(lambda: "page")

    with django_assert_num_queries(0):
        visit("/sync")


def test_what_is_refused_and_what_was_never_asked_have_the_same_headers(bob: Any, resource: Resource) -> None:
    def refused() -> str:
        with pytest.raises(AccessDenied):
            links.issue_once(resource)
        return "no"

    def headers(do: Callable[[], Any]) -> set[str]:
        answers(do)
        return {name for name in visit("/sync", bob).headers if name != "Vary"}

    assert headers(refused) == headers(lambda: "no")


# Django's caches.


def stack(settings: Any, where: str) -> None:
    others = [name for name in settings.MIDDLEWARE if name != GATEWAY]
    settings.MIDDLEWARE = {
        "outside": [UPDATE, *others, GATEWAY, FETCH],
        "inside": [*others, GATEWAY, UPDATE, FETCH],
        "cache_page": [*others, GATEWAY],
    }[where]


@pytest.mark.parametrize("makes_a_link", [True, False], ids=["with a link", "without"])
@pytest.mark.parametrize("where", ["outside", "inside", "cache_page"])
@BOTH
def test_djangos_cache_never_stores_a_link_and_stores_others(
    alice: Any, settings: Any, resource: Resource, way: str, view: str, where: str, makes_a_link: bool
) -> None:
    stack(settings, where)
    calls = []

    def do() -> HttpResponse:
        calls.append(1)
        return HttpResponse(links.issue(by_alice(alice), resource).text if makes_a_link else "page")

    answers(do)
    if where == "cache_page":
        sync, asynchronous = views.sync, views.asynchronous
        views.sync = cache_page(60)(lambda request: sync(request))

        async def cached(request: HttpRequest) -> Any:
            return await asynchronous(request)

        views.asynchronous = cache_page(60)(cached)

    bodies = [VISITS[way](f"/{view}").content for _ in range(2)]

    assert len(calls) == (2 if makes_a_link else 1)
    assert (bodies[0] == bodies[1]) is not makes_a_link


def by_alice(alice: Any) -> Any:
    """Ask for somebody without the session, whose cookie alone would keep the page out of the cache."""
    with acting_as(alice) as principal:
        return principal


# The audit cannot be written.


COMMITS = pytest.mark.django_db(transaction=True)


@COMMITS
@BOTH
def test_without_its_record_no_link_leaves(alice: Any, resource: Resource, way: str, view: str) -> None:
    made = []
    answers(lambda: made.append(links.issue_once(resource)) or HttpResponse(made[0].url, headers={"X-Link": "1"}))

    with audit_that_cannot_be_written():
        response = VISITS[way](f"/{view}", alice)

    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert response["Retry-After"] == "5"
    assert response["Cache-Control"] == "private, no-store"
    assert len(response["X-Request-ID"]) == 32
    assert "X-Link" not in response
    assert json.loads(response.content) == {
        "type": "about:blank", "title": "This cannot be done at the moment.", "status": 503,
        "code": "audit_unavailable", "detail": "This cannot be done at the moment.",
    }  # fmt: skip
    assert issuances() == []


@COMMITS
def test_a_refusal_without_its_record_is_unavailable_too(bob: Any, resource: Resource) -> None:
    def do() -> str:
        with pytest.raises(AccessDenied):
            links.issue_once(resource)
        return "no"

    answers(do)

    with audit_that_cannot_be_written():
        response = visit("/sync", bob)

    assert response.status_code == 503
    assert "no-store" not in response.get("Cache-Control", "")


@COMMITS
def test_the_response_that_is_not_sent_is_closed(alice: Any, resource: Resource, tmp_path: Any) -> None:
    path = tmp_path / "body"
    path.write_text("body")
    file = path.open("rb")

    def do() -> FileResponse:
        links.issue_once(resource)
        return FileResponse(file)

    answers(do)

    with audit_that_cannot_be_written():
        visit("/sync", alice)

    assert file.closed


@COMMITS
def test_what_else_the_view_did_is_not_undone(alice: Any, resource: Resource) -> None:
    def do() -> str:
        Document.objects.create(title="made")
        return links.issue_once(resource).method

    answers(do)

    with audit_that_cannot_be_written():
        visit("/sync", alice)

    assert Document.objects.filter(title="made").exists()


# Exceptions that pass through.


def test_what_was_decided_is_recorded_though_everything_broke(alice: Any, resource: Resource) -> None:
    def get_response(request: HttpRequest) -> Any:
        links.issue(by_alice(alice), resource)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GatewayMiddleware(get_response)(RequestFactory().get("/"))

    assert len(issuances(decision="issued")) == 1
    assert ambient_lease() is None


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError], ids=lambda e: e.__name__)
def test_what_was_decided_is_recorded_though_an_async_stack_broke(
    alice: Any, resource: Resource, error: type[BaseException]
) -> None:
    async def get_response(request: HttpRequest) -> Any:
        await links.aissue(by_alice(alice), resource)
        raise error

    async def scenario() -> str:
        try:
            await GatewayMiddleware(get_response)(AsyncRequestFactory().get("/"))  # type: ignore[misc]
        except BaseException as raised:
            return type(raised).__name__
        return "nothing"

    assert async_to_sync(scenario)() == error.__name__
    assert len(issuances(decision="issued")) == 1


@COMMITS
def test_where_the_record_fails_as_well_that_is_what_is_told(alice: Any, resource: Resource) -> None:
    def get_response(request: HttpRequest) -> Any:
        links.issue(by_alice(alice), resource)
        raise ZeroDivisionError

    with audit_that_cannot_be_written(), pytest.raises(AuditUnavailable) as raised:
        GatewayMiddleware(get_response)(RequestFactory().get("/"))

    behind: BaseException | None = raised.value
    while behind is not None and not isinstance(behind, ZeroDivisionError):
        behind = behind.__context__
    assert isinstance(behind, ZeroDivisionError)


def test_a_thread_that_stayed_behind_records_for_itself(alice: Any, resource: Resource) -> None:
    kept: list[Lease] = []

    def get_response(request: HttpRequest) -> HttpResponse:
        lease = ambient_lease()
        assert lease is not None
        kept.append(lease)
        return HttpResponse()

    GatewayMiddleware(get_response)(RequestFactory().get("/"))

    assert kept[0].keep([]) is False
    assert kept[0].pending == []


def test_requests_within_a_request_have_leases_of_their_own(alice: Any, bob: Any) -> None:
    def inner() -> str:
        return current().id

    def outer() -> str:
        answers(inner)
        within = visit("/sync", bob).content.decode()
        return f"{within} {current().id}"

    answers(outer)

    assert visit("/sync", alice).content.decode() == f"user:{bob.pk} user:{alice.pk}"


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.parametrize("way", VISITS)
def test_links_made_before_a_stream_starts_are_recorded_before_it(alice: Any, resource: Resource, way: str) -> None:
    rows_at_start = []

    def body(text: str) -> Iterator[str]:
        rows_at_start.append(len(issuances()))
        yield text

    answers(lambda: StreamingHttpResponse(body(str(links.issue_once(resource).text))))

    response = VISITS[way]("/sync", alice)
    if response.is_async:

        async def read() -> bytes:
            return b"".join([part async for part in response.streaming_content])

        content = async_to_sync(read)()
    else:
        content = b"".join(response.streaming_content)

    assert b"signature=" in content
    assert rows_at_start == [1]
    assert response["Cache-Control"] == "private, no-store"


def test_one_insert_for_all_that_a_request_asked(
    alice: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [Resource.of_field(new_document(alice), "file") for _ in range(3)]
    foreign = [Resource.of_field(new_document(None), "file") for _ in range(3)]
    inserts = []

    def count(execute: Any, sql: str, *args: Any) -> Any:
        inserts.extend([sql] if sql.startswith("INSERT") and "issuance" in sql else [])
        return execute(sql, *args)

    def do() -> str:
        for resource in own:
            links.issue_once(resource)
        for resource in foreign:
            with pytest.raises(AccessDenied):
                links.issue_once(resource)
        links.authorize(current(), own[0], Download)
        return ""

    answers(do)
    with connection.execute_wrapper(count):
        visit("/sync", alice)

    assert len(inserts) == 1
    assert sorted(row.decision for row in issuances()) == ["allowed"] + ["issued"] * 3 + ["refused"] * 3


def test_it_is_of_the_kind_of_what_it_stands_before() -> None:
    async def get_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(GatewayMiddleware(get_response))
    assert not iscoroutinefunction(GatewayMiddleware(lambda request: HttpResponse()))
