"""Who asks: in requests of every kind, after them, beside them, and where code says so."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import alogin, alogout, login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSessions
from django.core.exceptions import SynchronousOnlyOperation
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, RequestFactory
from django.utils.functional import SimpleLazyObject

from gateway import links
from gateway.errors import AccessDenied, ContextLost, LeaseClosed, NoPrincipal
from gateway.principals import (
    ANONYMOUS,
    SYSTEM,
    Principal,
    acting_as,
    acurrent,
    ambient_lease,
    bind_principal,
    close_lease,
    current,
    no_principal,
    open_lease,
)
from gateway.resources import Resource
from tests.gateway.conftest import in_a_thread, issuances, new_document, request_of
from tests.gateway.site import VISITS, avisit, converse, session_of, views, visit

pytestmark = pytest.mark.django_db

GATEWAY = "gateway.middleware.GatewayMiddleware"


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[Any]:
    settings.ROOT_URLCONF = "tests.gateway.site"
    before = dict(vars(views))
    yield views
    vars(views).clear()
    vars(views).update(before)
    assert ambient_lease() is None, "a request left its lease behind"


async def name_of_current(request: Any = None) -> str:
    return (await acurrent()).id


def outcome(function: Callable[[], Any]) -> str:
    """Return what a function says, or what it raises."""
    try:
        return str(function())
    except Exception as error:
        return type(error).__name__


# Middleware of other people, above and below.


def sync_only(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        return get_response(request)

    return middleware


def async_only(get_response: Any) -> Any:
    async def middleware(request: Any) -> Any:
        return await get_response(request)

    return middleware


sync_only.async_capable = False  # type: ignore[attr-defined]
async_only.sync_capable, async_only.async_capable = False, True  # type: ignore[attr-defined]

SYNC, ASYNC = f"{__name__}.sync_only", f"{__name__}.async_only"
STACKS = {
    "none": ([], []), "sync above": ([SYNC], []), "sync below": ([], [SYNC]), "sync around": ([SYNC], [SYNC]),
    "async above": ([ASYNC], []), "async below": ([], [ASYNC]), "sync above, async below": ([SYNC], [ASYNC]),
    "async above, sync below": ([ASYNC], [SYNC]), "alternating": ([SYNC, ASYNC, SYNC], [ASYNC, SYNC, ASYNC]),
}  # fmt: skip


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("way", VISITS)
@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_the_logged_in_user_asks_whatever_stands_around(
    alice: Any, settings: Any, way: str, view: str, stack: tuple[list[str], list[str]]
) -> None:
    above, below = stack
    place = settings.MIDDLEWARE.index(GATEWAY)
    settings.MIDDLEWARE = [
        *above, *settings.MIDDLEWARE[:place], *above, GATEWAY, *below, *settings.MIDDLEWARE[place + 1 :]
    ]  # fmt: skip
    resource = Resource.of_field(new_document(alice), "file")
    views.sync = lambda request: f"{current().id} {links.issue_once(resource).method}"

    async def ask(request: HttpRequest) -> str:
        return f"{await name_of_current()} {(await links.aissue_once(resource)).method}"

    views.asynchronous = ask

    response = VISITS[way](f"/{view}", alice)

    assert response.content.decode() == f"user:{alice.pk} GET"
    assert [row.principal for row in issuances(decision="issued")] == [f"user:{alice.pk}"]
    assert outcome(current) == "NoPrincipal"


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("way", VISITS)
def test_nobody_in_particular_asks_where_nobody_is_logged_in(way: str, view: str) -> None:
    views.sync = lambda request: current().id
    views.asynchronous = name_of_current

    assert VISITS[way](f"/{view}").content == b"anonymous"


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_through_asgi_itself(file_database: Any, path: str) -> None:
    user = User.objects.create_user("asgi")
    cookie = session_of(user)
    resource = Resource.of_field(new_document(user), "file")
    views.sync = lambda request: f"{current().id} {links.issue_once(resource).method}"

    async def ask(request: HttpRequest) -> str:
        return f"{await name_of_current()} {(await links.aissue_once(resource)).method}"

    views.asynchronous = ask

    status, body, headers = async_to_sync(converse)(path, cookie)

    assert (status, body.decode()) == (200, f"user:{user.pk} GET")
    assert headers["cache-control"] == "private, no-store"
    assert [row.principal for row in issuances()] == [f"user:{user.pk}"]


def test_two_requests_at_once_are_asked_by_two(file_database: Any) -> None:
    one, other = User.objects.create_user("one"), User.objects.create_user("other")
    both_are_here = asyncio.Event()
    seen: list[str] = []

    async def ask(request: HttpRequest) -> str:
        before = await name_of_current()
        seen.append(before)
        if len(seen) == 2:
            both_are_here.set()
        await asyncio.wait_for(both_are_here.wait(), 10)
        return f"{before} {await name_of_current()}"

    views.asynchronous = ask

    async def visits() -> list[Any]:
        return await asyncio.gather(*(converse("/async", cookie) for cookie in cookies))

    cookies = [session_of(one), session_of(other)]
    bodies = [body.decode() for _, body, _ in async_to_sync(visits)()]

    assert bodies == [f"user:{user.pk} user:{user.pk}" for user in (one, other)]


# Beside and after the request.


def in_a_pool() -> str:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(outcome, current).result()


@pytest.mark.parametrize("way", VISITS)
def test_threads_and_pools_have_no_principal(alice: Any, way: str) -> None:
    views.sync = lambda request: f"{in_a_thread(lambda: outcome(current))} {in_a_pool()}"

    assert VISITS[way]("/sync", alice).content == b"NoPrincipal NoPrincipal"


@pytest.mark.parametrize("way", VISITS)
@pytest.mark.parametrize("view", ["sync", "async"])
def test_a_copied_context_is_refused_once_the_response_is_done(alice: Any, way: str, view: str) -> None:
    contexts: list[contextvars.Context] = []

    def copy(request: HttpRequest) -> str:
        contexts.append(contextvars.copy_context())
        return str(contexts[0].run(outcome, lambda: current().id))

    async def acopy(request: HttpRequest) -> str:
        contexts.append(contextvars.copy_context())
        return await name_of_current()

    views.sync, views.asynchronous = copy, acopy

    inside = VISITS[way](f"/{view}", alice).content.decode()

    assert inside == f"user:{alice.pk}"
    assert contexts[0].run(outcome, lambda: current().id) == "LeaseClosed"
    assert in_a_thread(lambda: contexts[0].run(outcome, lambda: current().id)) == "LeaseClosed"


def test_a_link_for_a_copied_context_is_refused_too(alice: Any) -> None:
    contexts: list[contextvars.Context] = []
    resource = Resource.of_field(new_document(alice), "file")
    views.sync = lambda request: contexts.append(contextvars.copy_context())

    visit("/sync", alice)

    with pytest.raises(LeaseClosed, match="make links before a stream starts"):
        contexts[0].run(links.issue_once, resource)
    assert issuances() == []


def sync_body() -> Iterator[str]:
    yield outcome(lambda: current().id)


async def async_body() -> AsyncIterator[str]:
    try:
        yield await name_of_current()
    except NoPrincipal as error:
        yield type(error).__name__


REFUSED = {"NoPrincipal", "LeaseClosed"}


@pytest.mark.parametrize("way", VISITS)
@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("body", [sync_body, async_body], ids=["sync iterator", "async iterator"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_streaming_body_has_no_principal(alice: Any, way: str, view: str, body: Any) -> None:
    views.sync = lambda request: StreamingHttpResponse(body())

    async def stream(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(body())

    views.asynchronous = stream

    response = VISITS[way](f"/{view}", alice)
    if response.is_async:

        async def read() -> bytes:
            return b"".join([part async for part in response.streaming_content])

        said = async_to_sync(read)().decode()
    else:
        said = b"".join(response.streaming_content).decode()

    assert said in REFUSED


@pytest.mark.parametrize("body", [sync_body, async_body], ids=["sync iterator", "async iterator"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_streaming_body_through_asgi_itself(file_database: Any, body: Any) -> None:
    cookie = session_of(User.objects.create_user("asgi"))
    views.sync = lambda request: StreamingHttpResponse(body())

    _, said, _ = async_to_sync(converse)("/sync", cookie)

    assert said.decode() in REFUSED


def test_a_generator_that_began_in_the_view_is_refused_after_it(alice: Any) -> None:
    def names() -> Iterator[str]:
        while True:
            yield outcome(lambda: current().id)

    generator = names()
    views.sync = lambda request: next(generator)

    assert visit("/sync", alice).content.decode() == f"user:{alice.pk}"
    assert next(generator) == "NoPrincipal"


def test_a_task_that_outlives_the_request_is_refused(alice: Any) -> None:
    async def scenario() -> tuple[str, str]:
        release = asyncio.Event()
        left_behind: list[asyncio.Task[str]] = []

        async def stay() -> str:
            before = await name_of_current()
            await release.wait()
            try:
                return f"{before} {await name_of_current()}"
            except LeaseClosed as error:
                return f"{before} {type(error).__name__}"

        async def ask(request: HttpRequest) -> str:
            left_behind.append(asyncio.create_task(stay()))
            await asyncio.sleep(0)
            return await name_of_current()

        views.asynchronous = ask
        client = AsyncClient()
        await client.aforce_login(alice)
        response = await client.get("/async")
        release.set()
        return response.content.decode(), await left_behind[0]

    inside, outside = async_to_sync(scenario)()

    assert inside == f"user:{alice.pk}"
    assert outside == f"user:{alice.pk} LeaseClosed"


def test_links_may_be_gathered_within_the_view(alice: Any) -> None:
    resources = [Resource.of_field(new_document(alice), "file") for _ in range(5)]

    async def ask(request: HttpRequest) -> int:
        made = await asyncio.gather(*(links.aissue_once(resource) for resource in resources * 2))
        return len({link.url for link in made})

    views.asynchronous = ask

    assert avisit("/async", alice).content == b"5"
    assert len(issuances(decision="issued", principal=f"user:{alice.pk}")) == 5


class RecordingSessions(DatabaseSessions):
    """Notes whether a session is loaded where it would block an event loop."""

    loaded_in_event_loop: list[bool] = []

    def load(self) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.loaded_in_event_loop.append(False)
        else:
            self.loaded_in_event_loop.append(True)
        return super().load()


SessionStore = RecordingSessions  # the name that SESSION_ENGINE is looked up under


@pytest.mark.parametrize("how", ["acurrent", "acting_as", "aprefetch"])
def test_the_lazy_user_never_blocks_the_event_loop(alice: Any, settings: Any, how: str) -> None:
    settings.SESSION_ENGINE = __name__
    RecordingSessions.loaded_in_event_loop = []
    document = new_document(alice)

    async def ask(request: HttpRequest) -> str:
        if how == "aprefetch":
            await links.aprefetch([document], "file")
        elif how == "acting_as":
            with acting_as(alice):
                await links.aissue_once(Resource.of_field(document, "file"))
        return await name_of_current()

    views.asynchronous = ask

    assert avisit("/async", alice).content.decode() == f"user:{alice.pk}"
    assert RecordingSessions.loaded_in_event_loop
    assert not any(RecordingSessions.loaded_in_event_loop)


def test_the_blocking_form_is_refused_in_an_event_loop_by_django_itself(alice: Any) -> None:
    async def ask(request: HttpRequest) -> str:
        return outcome(current)

    views.asynchronous = ask

    assert avisit("/async", alice).content.decode() == SynchronousOnlyOperation.__name__


# request.user is what is asked, whenever it is set.


def test_who_logs_in_or_out_within_the_view_asks_from_then_on(alice: Any, bob: Any) -> None:
    bob.backend = "django.contrib.auth.backends.ModelBackend"

    def ask(request: HttpRequest) -> str:
        said = [current().id]
        login(request, bob)
        said.append(current().id)
        logout(request)
        return " ".join([*said, current().id])

    async def aask(request: HttpRequest) -> str:
        said = [await name_of_current()]
        await alogin(request, bob)
        said.append(await name_of_current())
        await alogout(request)
        return " ".join([*said, await name_of_current()])

    views.sync, views.asynchronous = ask, aask
    wanted = f"user:{alice.pk} user:{bob.pk} anonymous"

    assert visit("/sync", alice).content.decode() == wanted
    assert avisit("/async", alice).content.decode() == wanted


def test_a_user_set_by_authentication_in_the_view_asks(alice: Any, bob: Any) -> None:
    def ask(request: HttpRequest) -> str:
        request.user = bob
        return current().id

    async def aask(request: HttpRequest) -> str:
        request.user = bob
        return await name_of_current()

    views.sync, views.asynchronous = ask, aask

    assert visit("/sync", alice).content.decode() == f"user:{bob.pk}"
    assert avisit("/async", alice).content.decode() == f"user:{bob.pk}"


def test_what_is_kept_is_the_user_and_nothing_lazy(alice: Any) -> None:
    with request_of(SimpleLazyObject(lambda: alice)):
        assert type(current().user) is User


def test_a_request_without_a_user_says_which_middleware_is_missing() -> None:
    lease, token = open_lease(RequestFactory().get("/"))
    try:
        with pytest.raises(NoPrincipal, match="AuthenticationMiddleware stands before GatewayMiddleware"):
            current()
    finally:
        close_lease(lease, token)


def test_outside_of_everything_nobody_asks() -> None:
    with pytest.raises(NoPrincipal, match=r"gateway\.middleware\.GatewayMiddleware, or acting_as"):
        current()
    with pytest.raises(NoPrincipal):
        async_to_sync(acurrent)()


# request.auth.

AUTH: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "none": (lambda alice, bob: None, True),
    "the text of a token": (lambda alice, bob: "token", True),
    "claims": (lambda alice, bob: {"user": 5, "sub": "bob"}, True),
    "the user": (lambda alice, bob: alice, True),
    "the user, lazily": (lambda alice, bob: SimpleLazyObject(lambda: alice), True),
    "the same user, loaded again": (lambda alice, bob: User.objects.get(pk=alice.pk), True),
    "a proxy of the user": (lambda alice, bob: _proxy()(pk=alice.pk), True),
    "a token of the user": (lambda alice, bob: SimpleNamespace(user=alice, key="k"), True),
    "a token of the user, lazily": (
        lambda alice, bob: SimpleNamespace(user=SimpleLazyObject(lambda: alice)), True),
    "a token of nobody": (lambda alice, bob: SimpleNamespace(user=None), True),
    "another user": (lambda alice, bob: bob, False),
    "another user, lazily": (lambda alice, bob: SimpleLazyObject(lambda: bob), False),
    "a token of another": (lambda alice, bob: SimpleNamespace(user=bob, key="k"), False),
    "a token of another, lazily": (lambda alice, bob: SimpleNamespace(user=SimpleLazyObject(lambda: bob)), False),
    "nobody in particular": (lambda alice, bob: AnonymousUser(), False),
    "a user of another kind with the same number": (
        lambda alice, bob: SimpleNamespace(is_authenticated=True, pk=alice.pk), False),
    "a user without a number": (lambda alice, bob: SimpleNamespace(is_authenticated=True), False),
    "a token of a row of another kind": (lambda alice, bob: SimpleNamespace(user=_group()(pk=alice.pk)), False),
}  # fmt: skip


def _proxy() -> Any:
    from django.contrib.auth.models import User

    if not hasattr(_proxy, "made"):
        meta = type("Meta", (), {"proxy": True, "app_label": "hostapp_unmigrated"})
        _proxy.made = type("Somebody", (User,), {"__module__": __name__, "Meta": meta})  # type: ignore[attr-defined]
    return _proxy.made  # type: ignore[attr-defined]


def _group() -> Any:
    from django.contrib.auth.models import Group

    return Group


@pytest.mark.parametrize(("auth", "is_same"), AUTH.values(), ids=AUTH)
def test_what_proved_the_identity_must_be_of_the_same_user(alice: Any, bob: Any, auth: Any, is_same: bool) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    with request_of(alice, auth=auth(alice, bob)) as lease:
        if is_same:
            assert links.issue_once(resource).resource.key == resource.key
        else:
            with pytest.raises(AccessDenied) as denied:
                links.issue_once(resource)
            assert denied.value.reason == "request.auth names another user than request.user"
            assert lease.pending == []


def test_a_proven_identity_beside_nobody_is_two_identities(alice: Any) -> None:
    # As ninja leaves it: request.auth is the user, request.user the session's, which is none.
    with request_of(auth=alice), pytest.raises(AccessDenied):
        current()


def test_djangos_rest_framework_and_ninja_by_their_hook(alice: Any, bob: Any) -> None:
    with request_of(bob, auth=alice):
        bind_principal(bob)
        with pytest.raises(AccessDenied):
            current()
        bind_principal(alice)
        assert current().id == f"user:{alice.pk}"


# bind_principal.


def test_who_is_bound_asks_for_the_rest_of_the_request(alice: Any, bob: Any) -> None:
    def ask(request: HttpRequest) -> str:
        bind_principal(bob)
        return f"{current().id} {current().request is request}"

    async def aask(request: HttpRequest) -> str:
        bind_principal(bob)
        return f"{await name_of_current()} {(await acurrent()).request is request}"

    views.sync, views.asynchronous = ask, aask

    for way, view in (("wsgi", "sync"), ("asgi", "async")):
        assert VISITS[way](f"/{view}", alice).content.decode() == f"user:{bob.pk} True"


def test_a_bound_principal_keeps_its_authority(alice: Any) -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    with request_of() as lease:
        bind_principal(Principal(kind="user", user=alice, authority_ends_at=end))

        assert current().authority_ends_at == end
        assert current().request is lease.request


def test_nobody_is_bound_outside_a_request(alice: Any) -> None:
    with pytest.raises(NoPrincipal, match=r"is gateway\.middleware.GatewayMiddleware installed"):
        bind_principal(alice)


@pytest.mark.parametrize("who", [SYSTEM, Principal(kind="system", reason="because")], ids=["bare", "reasoned"])
def test_the_system_is_not_bound_to_a_request(who: Principal) -> None:
    with request_of() as lease:
        with pytest.raises(ValueError, match="takes no SYSTEM"):
            bind_principal(who)
        assert lease.bound is None


@pytest.mark.parametrize("who", [None, "alice", 5, object()], ids=["None", "text", "number", "object"])
def test_what_is_no_user_is_nobody(who: Any) -> None:
    for ask in (lambda: acting_as(who).__enter__(), lambda: bind_principal(who)):
        with request_of(), pytest.raises(TypeError, match="a user, ANONYMOUS or SYSTEM"):
            ask()


# acting_as.


def test_acting_as_ends_where_it_ends(alice: Any) -> None:
    with acting_as(alice) as principal:
        assert current() is principal
        assert principal.id == f"user:{alice.pk}"
        assert principal.credential == "code"
    with pytest.raises(NoPrincipal):
        current()


def test_acting_as_ends_with_an_exception_too(alice: Any) -> None:
    with pytest.raises(ZeroDivisionError), acting_as(alice):
        raise ZeroDivisionError
    with pytest.raises(NoPrincipal):
        current()


def test_blocks_within_blocks_name_who_called_them(alice: Any, bob: Any) -> None:
    with acting_as(alice) as outer, acting_as(bob) as inner, acting_as(ANONYMOUS) as innermost:
        assert (outer.acted_by, inner.acted_by, innermost.acted_by) == ("", f"user:{alice.pk}", f"user:{bob.pk}")
        assert current().id == "anonymous"


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("way", VISITS)
@pytest.mark.parametrize("outer", ["session", "bound", "set", "nobody"])
def test_acting_as_in_a_request_records_who_asked(alice: Any, bob: Any, way: str, view: str, outer: str) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    def prepare(request: HttpRequest) -> None:
        if outer == "bound":
            bind_principal(bob)
        elif outer == "set":
            request.user = bob

    def ask(request: HttpRequest) -> str:
        prepare(request)
        with acting_as(alice):
            return links.issue_once(resource).method

    async def aask(request: HttpRequest) -> str:
        prepare(request)
        with acting_as(alice):
            return (await links.aissue_once(resource)).method

    views.sync, views.asynchronous = ask, aask

    VISITS[way](f"/{view}", bob if outer == "session" else None)

    acted_by = "anonymous" if outer == "nobody" else f"user:{bob.pk}"
    assert [(row.principal, row.acted_by, row.credential) for row in issuances()] == [
        (f"user:{alice.pk}", acted_by, "code")
    ]


def test_who_asked_is_named_as_of_the_block_and_not_of_a_later_log_out(alice: Any, bob: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    def ask(request: HttpRequest) -> str:
        with acting_as(alice):
            logout(request)
            return links.issue_once(resource).method

    views.sync = ask

    visit("/sync", bob)

    assert [row.acted_by for row in issuances()] == [f"user:{bob.pk}"]


def test_the_wrong_exit_of_a_generator_is_told(alice: Any) -> None:
    def reports() -> Iterator[str]:
        with acting_as(alice):
            yield current().id

    generator = reports()
    contextvars.copy_context().run(next, generator)  # begins in a context of its own

    with pytest.raises(ContextLost, match="do not use it in a generator"):
        next(generator)
    assert outcome(current) == "NoPrincipal"


def test_the_exit_in_a_copy_of_the_context_is_told_and_ends_the_block_there(alice: Any) -> None:
    def reports() -> Iterator[str]:
        with acting_as(alice):
            yield current().id

    generator = reports()
    began_in = contextvars.copy_context()
    began_in.run(next, generator)
    ends_in = began_in.run(contextvars.copy_context)

    with pytest.raises(ContextLost):
        ends_in.run(next, generator)
    assert ends_in.run(outcome, current) == "NoPrincipal"
    assert began_in.run(outcome, current) == "ContextLost"


def test_blocks_that_end_out_of_order_are_told_and_leave_nobody_behind(alice: Any, bob: Any) -> None:
    def reports() -> Iterator[None]:
        with acting_as(alice):
            yield

    generator = reports()
    next(generator)
    with acting_as(bob):
        with pytest.raises(ContextLost):
            next(generator)
        assert current().id == f"user:{bob.pk}"

    # Where bob's block began, alice's had not ended yet.
    with pytest.raises(ContextLost, match="is over"):
        current()


@pytest.fixture(autouse=True)
def _clean_context() -> Iterator[None]:
    """Some tests leave an ended block in the context, which the next must not inherit."""
    with no_principal():
        yield


def test_a_task_that_outlives_the_block_is_refused(alice: Any) -> None:
    async def scenario() -> str:
        release = asyncio.Event()

        async def stay() -> str:
            await release.wait()
            try:
                return await name_of_current()
            except ContextLost as error:
                return type(error).__name__

        with acting_as(alice):
            within = await asyncio.gather(name_of_current(), name_of_current())
            task = asyncio.create_task(stay())
        release.set()
        return f"{within[0]} {await task}"

    assert async_to_sync(scenario)() == f"user:{alice.pk} ContextLost"


def test_acting_as_reaches_threads_that_asyncio_starts(alice: Any) -> None:
    async def scenario() -> list[str]:
        with acting_as(alice):
            return [await sync_to_async(lambda: current().id)(), await asyncio.to_thread(lambda: current().id)]

    assert async_to_sync(scenario)() == [f"user:{alice.pk}"] * 2


def test_the_system_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"), acting_as(SYSTEM):
        pass
    with acting_as(SYSTEM, reason="nightly report") as principal:
        assert (principal.id, principal.reason) == ("system", "nightly report")


@pytest.mark.parametrize("failed", [False, True], ids=["in the view", "after it failed"])
def test_the_system_needs_more_than_a_reason_in_a_request(alice: Any, failed: bool) -> None:
    with request_of(alice) as lease:
        lease.failed = failed
        with pytest.raises(ValueError, match="allow_in_request=True"), acting_as(SYSTEM, reason="report"):
            pass
        with (
            acting_as(alice),
            pytest.raises(ValueError, match="allow_in_request=True"),
            acting_as(SYSTEM, reason="report"),
        ):
            pass
        with acting_as(SYSTEM, reason="report", allow_in_request=True) as principal:
            assert principal.acted_by == f"user:{alice.pk}"


def test_the_reason_of_the_system_is_recorded(alice: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    with acting_as(SYSTEM, reason="nightly report"):
        links.issue_once(resource)

    assert [(row.principal, row.reason, row.policy) for row in issuances()] == [("system", "nightly report", "system")]


@pytest.mark.parametrize("principal", [SYSTEM, Principal(kind="system")], ids=["constant", "made"])
def test_the_system_gets_nothing_by_the_back_door(alice: Any, principal: Principal) -> None:
    with pytest.raises(AccessDenied) as denied:
        links.issue(principal, Resource.of_field(new_document(alice), "file"))

    assert "gave no reason" in denied.value.reason


UNFIT: dict[str, Callable[[Any], Any]] = {
    "deactivated": lambda user: setattr(user, "is_active", False),
    "deleted": lambda user: User.objects.get(pk=user.pk).delete() and setattr(user, "pk", None),
    "never saved": lambda user: setattr(user, "pk", None),
}


@pytest.mark.parametrize("spoil", UNFIT.values(), ids=UNFIT)
def test_a_user_that_is_not_active_gets_nothing_anywhere(alice: Any, bob: Any, spoil: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")
    alice.is_superuser = True
    spoil(alice)

    with acting_as(alice) as principal:
        assert not principal.is_active
        with pytest.raises(AccessDenied) as denied:
            links.issue_once(resource)
    with request_of(alice), pytest.raises(AccessDenied):
        links.issue_once(resource)
    with request_of() as lease:
        bind_principal(alice)
        with pytest.raises(AccessDenied):
            links.issue_once(resource)
        assert lease.pending[0].decision == "refused"

    assert denied.value.reason == "the user is not active"


# Names and ends.


def test_principals_have_stable_names(alice: Any) -> None:
    token = SimpleNamespace(pk="t1")

    assert Principal(kind="user", user=alice).id == f"user:{alice.pk}"
    assert (ANONYMOUS.id, SYSTEM.id) == ("anonymous", "system")
    assert Principal(kind="user", user=alice, token=token).credential == "token:t1"  # type: ignore[arg-type]
    assert Principal(kind="anonymous", request=HttpRequest()).credential == "request"
    assert ANONYMOUS.credential == "code"


def test_a_principal_shows_no_request(alice: Any) -> None:
    request = RequestFactory().get("/", {"token": "secret"})
    with acting_as(Principal(kind="user", user=alice, request=request)) as principal:
        assert "secret" not in repr(principal)


def test_a_session_with_an_end_of_its_own_ends_the_authority(alice: Any) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    session = CookieSessions()
    with request_of(alice, session=session):
        session["_auth_user_id"] = str(alice.pk)
        assert current().authority_ends_at is None
        session.set_expiry(end)
        assert current().authority_ends_at == end
        bind_principal(alice)
        assert current().authority_ends_at == end
        session["_auth_user_id"] = str(alice.pk + 1)
        assert current().authority_ends_at is None  # the user was proved by something else


def test_no_principal_hides_the_request(alice: Any) -> None:
    with request_of(alice):
        with no_principal():
            assert outcome(current) == "NoPrincipal"
            assert ambient_lease() is None
        assert current().id == f"user:{alice.pk}"


# After the view failed.


def failing(request: HttpRequest) -> Any:
    raise ZeroDivisionError


async def afailing(request: HttpRequest) -> Any:
    raise ZeroDivisionError


def failing_template(request: HttpRequest) -> TemplateResponse:
    template = engines["django"].from_string("{{ failing }}")
    return TemplateResponse(request, template, {"failing": lambda: 1 / 0})


async def afailing_template(request: HttpRequest) -> TemplateResponse:
    return failing_template(request)


def breaking_below(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        get_response(request)
        raise ZeroDivisionError

    return middleware


def missing(request: HttpRequest) -> Any:
    raise Http404


async def amissing(request: HttpRequest) -> Any:
    raise Http404


FAILURES: dict[str, tuple[Any, Any, int]] = {
    "in the view": (failing, afailing, 500),
    "that is an answer": (missing, amissing, 404),
    "in the template": (failing_template, afailing_template, 500),
    "in another middleware": (lambda request: "", views.nothing, 500),
}


@pytest.mark.parametrize("view", ["sync", "async"])
@pytest.mark.parametrize("way", VISITS)
@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_is_issued_once_an_exception_escaped(
    alice: Any, settings: Any, way: str, view: str, failure: str
) -> None:
    resource = Resource.of_field(new_document(alice), "file")
    if failure == "in another middleware":
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.breaking_below"]
    views.sync, views.asynchronous, status = FAILURES[failure]
    views.on_error = lambda request: outcome(lambda: links.issue_once(resource))

    response = VISITS[way](f"/{view}", alice)

    assert (response.status_code, response.content) == (status, b"LeaseClosed")
    assert issuances() == []


def test_code_that_says_who_asks_may_still_ask_and_is_recorded(alice: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")
    views.sync = failing

    def explicit(request: HttpRequest) -> str:
        with acting_as(alice):
            return links.issue_once(resource).method

    views.on_error = explicit

    response = visit("/sync", alice)

    assert response.content == b"GET"
    assert response["Cache-Control"] == "private, no-store"
    assert len(issuances(decision="issued")) == 1
