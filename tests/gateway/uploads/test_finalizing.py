"""Finalize by many at once, and against everything that may happen beside it, on databases that really commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connections

from gateway import uploads
from gateway.errors import GatewayError, UploadFinished, UploadOver
from gateway.models import File, Issuance, ObjectDeletion, UploadSession
from gateway.uploads import finalizing
from tests.gateway.uploads.conftest import PDF, begin, principal_of, wanted

AT_ONCE = 50


@pytest.fixture
def carol(postgres_database: Any) -> Iterator[Any]:
    return get_user_model().objects.create_user("carol")


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Start functions at one moment in threads with connections of their own; errors are answers, too."""
    barrier = threading.Barrier(len(functions))
    answers: list[Any] = [None] * len(functions)

    def run(number: int, function: Callable[[], Any]) -> None:
        try:
            barrier.wait(30)
            answers[number] = function()
        except GatewayError as error:
            answers[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def arrived(user: Any, content: bytes = PDF) -> UploadSession:
    session = begin(user).session
    storage: Any = storages["private"]
    storage._save(session.key, ContentFile(content))
    return session


def test_fifty_finalizes_at_once_are_one_file_one_row_and_one_answer(carol: Any) -> None:
    """F23, U7."""
    session = arrived(carol)
    answers = together(*[lambda: uploads.finalize(principal_of(carol), session.pk).reference] * AT_ONCE)
    file = File.objects.get()
    assert answers == [str(file.pk)] * AT_ONCE
    assert Issuance.objects.filter(decision="allowed", operation="Upload").count() == 1
    assert UploadSession.objects.get().state == "ready"


def test_fifty_finalizes_of_what_is_wrong_are_one_verdict_and_one_deletion(carol: Any) -> None:
    session = arrived(carol, PDF[:-1])
    answers = together(*[lambda: uploads.finalize(principal_of(carol), session.pk)] * AT_ONCE)
    assert {answer.code for answer in answers} == {"size_mismatch"}
    assert Issuance.objects.filter(decision="refused", reason="size_mismatch").count() == 1
    assert ObjectDeletion.objects.count() == 1
    assert not File.objects.exists()


def test_finalize_and_abort_at_once_leave_a_file_or_none_and_never_both(carol: Any) -> None:
    """F25."""
    for _ in range(5):
        session = arrived(carol)
        principal = principal_of(carol)
        calls = [lambda: uploads.finalize(principal, session.pk), lambda: uploads.abort(principal, session.pk)]  # noqa: B023
        finalized, aborted = together(*calls)
        session.refresh_from_db()
        made = File.objects.filter(key=session.key).exists()
        going = ObjectDeletion.objects.filter(key=session.key).exists()
        assert made is not going
        if made:
            assert session.state == "ready"
            assert isinstance(aborted, UploadFinished)
        else:
            assert session.state == "aborted"
            assert isinstance(finalized, UploadOver)


def test_beginning_twice_at_once_with_one_key_is_one_upload(carol: Any) -> None:
    wish = wanted()
    answers = together(*[lambda: uploads.begin(principal_of(carol), wish, idempotency_key="k").session.pk] * 10)
    assert len(set(answers)) == 1
    assert UploadSession.objects.count() == 1


class Killed(BaseException):
    """What nobody catches, as of a process that is gone."""


@pytest.mark.parametrize("where", ["verify", "_keep", "_record"])
def test_a_crash_at_any_point_is_mended_by_asking_again(carol: Any, monkeypatch: Any, where: str) -> None:
    """F21, F22."""
    session = arrived(carol)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(finalizing, where, die)
        with pytest.raises(Killed):
            uploads.finalize(principal_of(carol), session.pk)
    assert not File.objects.exists()
    assert uploads.finalize(principal_of(carol), session.pk).reference == str(File.objects.get().pk)
    assert Issuance.objects.filter(decision="allowed", operation="Upload").count() == 1
