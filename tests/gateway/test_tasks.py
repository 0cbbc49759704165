"""Django's tasks: one that runs inside a request at once does not borrow who is asking there."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.dispatch import Signal
from django.http import HttpRequest
from django_tasks import task

from gateway import tasks
from gateway.errors import AccessDenied, NoPrincipal
from gateway.principals import SYSTEM, acting_as, acurrent, current
from gateway.tasks import with_principal
from tests.gateway.conftest import issuances, new_document, request_of
from tests.gateway.site import avisit, views, visit
from tests.hostapp.models import Document

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[Any]:
    settings.ROOT_URLCONF = "tests.gateway.site"
    settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}
    before = dict(vars(views))
    yield views
    vars(views).clear()
    vars(views).update(before)
    assert tasks._running == {}


def who() -> str:
    try:
        return current().id
    except NoPrincipal as error:
        return type(error).__name__


@task()
def say() -> str:
    return who()


@task()
async def asay() -> str:
    try:
        return (await acurrent()).id
    except NoPrincipal as error:
        return type(error).__name__


@task()
def nest() -> str:
    return f"{say.enqueue().return_value} {who()}"


@task()
def say_for_the_system() -> str:
    with acting_as(SYSTEM, reason="task"):
        return current().id


@task()
def fail() -> str:
    raise ZeroDivisionError


SAID = {
    "plain": (say, "NoPrincipal"),
    "async": (asay, "NoPrincipal"),
    "a task within a task": (nest, "NoPrincipal NoPrincipal"),
    "one that says who asks": (say_for_the_system, "system"),
}


@pytest.mark.parametrize(("one", "said"), SAID.values(), ids=SAID)
def test_a_task_that_runs_at_once_does_not_borrow_the_request(alice: Any, one: Any, said: str) -> None:
    views.sync = lambda request: f"{one.enqueue().return_value}, then {current().id}"

    assert visit("/sync", alice).content.decode() == f"{said}, then user:{alice.pk}"


def test_a_task_does_not_borrow_acting_as_either(alice: Any) -> None:
    with acting_as(alice):
        assert say.enqueue().return_value == "NoPrincipal"
        assert current().id == f"user:{alice.pk}"


def test_a_task_that_fails_gives_the_request_back(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    views.sync = lambda request: f"{fail.enqueue().status} {current().id}"

    assert visit("/sync", alice).content.decode() == f"FAILED user:{alice.pk}"


def test_a_task_enqueued_in_an_async_view_does_not_borrow_the_request(alice: Any) -> None:
    async def ask(request: HttpRequest) -> str:
        result = await asay.aenqueue()
        return f"{result.return_value}, then {(await acurrent()).id}"

    views.asynchronous = ask

    assert avisit("/async", alice).content.decode() == f"NoPrincipal, then user:{alice.pk}"


def test_the_end_of_a_task_that_was_not_seen_to_begin_changes_nothing(alice: Any) -> None:
    with request_of(alice):
        tasks._finished(SimpleNamespace(backend="default", id="unknown"))

        assert current().id == f"user:{alice.pk}"


def test_a_task_that_ends_in_another_context_gives_it_no_principal(alice: Any) -> None:
    result = SimpleNamespace(backend="default", id="wanders")
    with request_of(alice):
        contextvars.copy_context().run(tasks._started, result)
        tasks._finished(result)

        assert current().id == f"user:{alice.pk}"
    assert who() == "NoPrincipal"


def test_every_framework_that_is_installed_is_listened_to(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # django.tasks comes with Django 6; its signals are the same two.
    signals = ModuleType("django.tasks.signals")
    signals.task_started, signals.task_finished = Signal(), Signal()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.tasks", ModuleType("django.tasks"))
    monkeypatch.setitem(sys.modules, "django.tasks.signals", signals)
    tasks.hide_requests_from_tasks()
    result = SimpleNamespace(backend="default", id="r")

    with request_of(alice):
        signals.task_started.send(sender=None, task_result=result)  # type: ignore[attr-defined]
        within = who()
        signals.task_finished.send(sender=None, task_result=result)  # type: ignore[attr-defined]

        assert (within, who()) == ("NoPrincipal", f"user:{alice.pk}")


def test_connecting_again_changes_nothing(alice: Any) -> None:
    tasks.hide_requests_from_tasks()
    with request_of(alice):
        assert say.enqueue().return_value == "NoPrincipal"
        assert who() == f"user:{alice.pk}"


# @with_principal


@with_principal("user_pk")
def ask(document_pk: int, user_pk: int) -> str:
    """Ask for a link."""
    return Document.objects.get(pk=document_pk).file.url


@with_principal("user_pk")
async def aask(document_pk: int, *, user_pk: int = 0) -> str:
    document = await Document.objects.aget(pk=document_pk)
    return await document.file.aurl()


@task()
@with_principal("user_pk")
def task_that_asks(document_pk: int, user_pk: int) -> str:
    return str.__str__(Document.objects.get(pk=document_pk).file.url)


CALLED = {
    "by place": lambda document, user: ask(document.pk, user.pk),
    "by name": lambda document, user: ask(user_pk=user.pk, document_pk=document.pk),
    "in the event loop": lambda document, user: async_to_sync(aask)(document.pk, user_pk=user.pk),
    "as a task": lambda document, user: task_that_asks.enqueue(document.pk, user.pk).return_value,
}


class TestWithPrincipal:
    @pytest.mark.parametrize("call", CALLED.values(), ids=CALLED)
    def test_asks_as_the_user_of_an_argument(self, alice: Any, call: Any) -> None:
        assert call(new_document(alice), alice).startswith("http://testserver/local/")
        (row,) = issuances()
        assert (row.principal, row.credential) == (f"user:{alice.pk}", "code")

    @pytest.mark.parametrize("call", [CALLED["by name"], CALLED["in the event loop"]], ids=["sync", "async"])
    def test_the_user_is_refused_what_is_not_theirs(self, alice: Any, bob: Any, call: Any) -> None:
        with pytest.raises(AccessDenied):
            call(new_document(alice), bob)

    @pytest.mark.parametrize("call", [CALLED["by name"], CALLED["in the event loop"]], ids=["sync", "async"])
    @pytest.mark.parametrize("gone", ["deactivated", "deleted"])
    def test_who_went_away_since_it_was_queued_is_refused(self, alice: Any, call: Any, gone: str) -> None:
        document = new_document(None)
        pk = alice.pk
        if gone == "deleted":
            alice.delete()
        else:
            type(alice).objects.update(is_active=False)
        with pytest.raises(AccessDenied) as raised:
            call(document, SimpleNamespace(pk=pk))
        assert raised.value.reason == f"user {pk} is {'not there' if gone == 'deleted' else 'not active'}"
        assert not issuances()

    def test_inside_a_request_it_is_the_users_and_says_who_called(self, alice: Any, bob: Any) -> None:
        document = new_document(alice)
        with request_of(bob) as lease:
            assert ask(document.pk, alice.pk)
            assert current().user is bob
        (row,) = lease.pending
        assert (row.principal, row.acted_by) == (f"user:{alice.pk}", f"user:{bob.pk}")

    def test_afterwards_nobody_asks(self, alice: Any) -> None:
        ask(new_document(alice).pk, alice.pk)
        assert who() == "NoPrincipal"

    def test_stays_the_function_that_it_was(self) -> None:
        assert (ask.__name__, ask.__doc__) == ("ask", "Ask for a link.")
        assert iscoroutinefunction(aask)
        assert not iscoroutinefunction(ask)

    def test_an_argument_that_is_missing_is_pythons_error(self, alice: Any) -> None:
        with pytest.raises(TypeError, match="user_pk"):
            ask(1)  # type: ignore[call-arg]
        with pytest.raises(AccessDenied):
            async_to_sync(aask)(new_document(alice).pk)  # the default names nobody

    def test_no_such_argument_is_an_error_at_once(self) -> None:
        with pytest.raises(TypeError, match="nobody"):
            with_principal("nobody")(lambda user_pk: None)

    def test_a_generator_is_an_error_at_once(self) -> None:
        def steps(user_pk: int) -> Iterator[int]:
            yield user_pk

        async def asteps(user_pk: int) -> Any:
            yield user_pk

        for function in (steps, asteps):
            with pytest.raises(TypeError, match="generator"):
                with_principal("user_pk")(function)
