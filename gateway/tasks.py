"""Takes the request away from tasks that run inside it, as those of the immediate backend do.

A task has no principal of its own: acting_as() says who asks, or with_principal() by an argument of the task.
Must not run or queue anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import router

from gateway.errors import AccessDenied
from gateway.principals import acting_as, no_principal

__all__ = ["framework", "hide_requests_from_tasks", "with_principal"]

Task = TypeVar("Task", bound=Callable[..., Any])

# Django 6 and later, and the package that gives the same to older versions.
_FRAMEWORKS = ("django.tasks", "django_tasks")
_running: dict[tuple[str, str], AbstractContextManager[None]] = {}


def framework() -> ModuleType:
    """Return the task framework that the project has: Django's own where there is one.

    Raises:
        ImportError: it has none.
    """
    try:
        return import_module(_FRAMEWORKS[0])
    except ImportError:
        return import_module(_FRAMEWORKS[1])


def hide_requests_from_tasks() -> None:
    """Connect to the signals of each task framework that is installed."""
    for framework in _FRAMEWORKS:
        try:
            signals = import_module(f"{framework}.signals")
        except ImportError:
            continue
        signals.task_started.connect(_started, dispatch_uid="gateway.tasks")
        signals.task_finished.connect(_finished, dispatch_uid="gateway.tasks")


def with_principal(user_pk: str) -> Callable[[Task], Task]:
    """Let a function ask for links as the user whose primary key one of its arguments is::

        @with_principal("user_pk")
        def send_report(report_pk, user_pk): ...

    The user is loaded when the function is called, from the database that is written to: who was deactivated or
    deleted since the task was queued is refused. Works on functions and coroutine functions; below the decorator
    that makes a task of them.

    Args:
        user_pk: name of the argument.

    Raises:
        TypeError: at once, where there is no such argument, or the function is a generator, which would ask for
            somebody else's links between its steps.
        AccessDenied: when called, for a user that is not there or not active.
    """

    def decorate(function: Task) -> Task:
        signature = inspect.signature(function)
        if user_pk not in signature.parameters:
            raise TypeError(f"{function.__name__}() has no argument {user_pk!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__name__}() is a generator; make its links before it starts")

        def asker(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return _active_user(bound.arguments[user_pk])

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with acting_as(asker(*args, **kwargs)):
                return function(*args, **kwargs)

        @wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            with acting_as(await sync_to_async(asker)(*args, **kwargs)):
                return await function(*args, **kwargs)

        return cast("Task", arun if inspect.iscoroutinefunction(function) else run)

    return decorate


def _active_user(pk: Any) -> Any:
    model = get_user_model()
    user = model._base_manager.using(router.db_for_write(model)).filter(pk=pk).first()
    if user is None or not user.is_active:
        raise AccessDenied(f"user {pk} is {'not there' if user is None else 'not active'}")
    return user


def _started(task_result: Any, **_: Any) -> None:
    hidden = _running[_name_of(task_result)] = no_principal()
    hidden.__enter__()


def _finished(task_result: Any, **_: Any) -> None:
    # A worker may be told of the end of a task that it did not see begin.
    hidden = _running.pop(_name_of(task_result), None)
    if hidden is not None:
        hidden.__exit__(None, None, None)


def _name_of(task_result: Any) -> tuple[str, str]:
    return task_result.backend, task_result.id
