"""Django's tasks: one that runs inside a request at once does not borrow who is asking there."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.dispatch import Signal
from django.http import HttpRequest
from django_tasks import task

from gateway import tasks
from gateway.errors import NoPrincipal
from gateway.principals import SYSTEM, acting_as, acurrent, current
from tests.gateway.conftest import request_of
from tests.gateway.site import avisit, views, visit

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
