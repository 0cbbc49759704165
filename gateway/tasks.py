"""Takes the request away from tasks that run inside it, as those of the immediate backend do.

A task has no principal of its own: it says who asks with acting_as(). Must not run or queue anything.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

from gateway.principals import no_principal

__all__ = ["hide_requests_from_tasks"]

# Django 6 and later, and the package that gives the same to older versions.
_FRAMEWORKS = ("django.tasks", "django_tasks")
_running: dict[tuple[str, str], AbstractContextManager[None]] = {}


def hide_requests_from_tasks() -> None:
    """Connect to the signals of each task framework that is installed."""
    for framework in _FRAMEWORKS:
        try:
            signals = import_module(f"{framework}.signals")
        except ImportError:
            continue
        signals.task_started.connect(_started, dispatch_uid="gateway.tasks")
        signals.task_finished.connect(_finished, dispatch_uid="gateway.tasks")


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
