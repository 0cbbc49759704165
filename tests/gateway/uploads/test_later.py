"""Verification by tasks: the request answers at once, a worker gives the verdict, and one that died is followed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import transaction
from django.utils import timezone

from gateway import conf as gateway_conf
from gateway import uploads
from gateway.errors import AccessDenied, NotUploaded, SizeMismatch, UploadOver
from gateway.models import File, Issuance, ObjectDeletion, UploadSession
from gateway.uploads import later, worker
from gateway.uploads.later import take_up
from gateway.uploads.sweeping import expire
from tests.gateway.api.support import by_token
from tests.gateway.uploads.conftest import PDF, begin, principal_of

ROOT = Path(__file__).resolve().parents[3]
IMMEDIATE = "django_tasks.backends.immediate.ImmediateBackend"
DUMMY = "django_tasks.backends.dummy.DummyBackend"


class Scanner:
    """Says what it is told to."""

    answer: Any = None

    def scan(self, chunks: Iterator[bytes]) -> Any:
        assert b"".join(chunks)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture(params=["sqlite"])
def carol(request: Any, settings: Any, monkeypatch: Any) -> Any:
    """A user, on a database that really commits, whose every upload is verified by a task that waits."""
    request.getfixturevalue({"sqlite": "file_database", "postgres": "postgres_database"}[request.param])
    settings.TASKS = {"default": {"BACKEND": DUMMY}}
    settings.GATEWAY = settings.GATEWAY | {"VERIFY_LATER_BYTES": 0, "UPLOAD_SCANNER": f"{__name__}.Scanner"}
    monkeypatch.setattr(Scanner, "answer", None)
    return get_user_model().objects.create_user("carol")


def queued() -> list[str]:
    results = worker.verify_upload.get_backend().results
    return [result.args[0] for result in results]


def arrived(user: Any, content: bytes = PDF, declared: bytes = PDF) -> UploadSession:
    session = begin(user, declared).session
    storage: Any = storages["private"]
    storage._save(session.key, ContentFile(content))
    return session


def finalize(user: Any, session: UploadSession) -> Any:
    return uploads.finalize_later(principal_of(user), session.pk)


def run(session: UploadSession) -> str:
    return worker.verify_upload.call(session.pk)


def end_the_task(session: UploadSession) -> None:
    UploadSession.objects.filter(pk=session.pk).update(verify_until=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("carol", ["sqlite", "postgres"], indirect=True)
def test_a_large_upload_is_ready_when_its_task_has_run(carol: Any) -> None:
    session = arrived(carol)
    assert finalize(carol, session) is None
    assert finalize(carol, session) is None
    assert queued() == [session.pk]
    assert not File.objects.exists()
    assert uploads.look(principal_of(carol), session.pk).session.state == "verifying"
    assert run(session) == "ready"
    assert finalize(carol, session).reference == str(File.objects.get().pk)
    assert queued() == [session.pk]


def test_what_a_form_posts_is_left_to_the_task(carol: Any) -> None:
    session = arrived(carol)
    principal, signed_id = principal_of(carol), uploads.signed_id_of(session)
    with pytest.raises(AccessDenied):
        uploads.redeem_later(principal, signed_id, target="hostapp.document:1:file")
    assert uploads.redeem_later(principal, signed_id) is None
    assert queued() == [session.pk]
    run(session)
    finalized = uploads.redeem_later(principal, signed_id)
    assert finalized is not None
    assert finalized.reference == str(File.objects.get().pk)


def test_a_task_that_runs_again_changes_nothing(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    assert [run(session), run(session), worker.verify_upload.call("upl_none")] == ["ready", "ready", "gone"]
    assert File.objects.count() == 1
    assert Issuance.objects.filter(decision="allowed", operation="Upload").count() == 1


def test_the_worker_gives_the_verdict(carol: Any) -> None:
    session = arrived(carol, PDF[:-1])
    finalize(carol, session)
    assert run(session) == "rejected"
    with pytest.raises(SizeMismatch):
        finalize(carol, session)
    assert ObjectDeletion.objects.get().key == session.key


def test_the_scanner_is_asked_by_the_worker(carol: Any) -> None:
    session = arrived(carol)
    Scanner.answer = "Worm.Example"
    assert finalize(carol, session) is None
    assert run(session) == "rejected"
    assert UploadSession.objects.get().reason == "infected"


def test_a_scanner_that_is_down_leaves_the_upload_to_the_next_who_asks(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    Scanner.answer = OSError("down")
    with pytest.raises(Exception, match="scanner failed"):
        run(session)
    assert UploadSession.objects.get().state == "verifying"
    Scanner.answer = None
    assert finalize(carol, session) is None
    assert queued() == [session.pk] * 2
    assert run(session) == "ready"


def test_the_sweeper_queues_again_what_a_dead_worker_left(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    assert list(take_up(execute=True)) == []
    end_the_task(session)
    assert [left.what for left in take_up()] == ["left unverified"]
    assert queued() == [session.pk]
    assert [left.what for left in take_up(execute=True)] == ["verified again"]
    assert queued() == [session.pk] * 2
    assert list(take_up(execute=True)) == []


def test_what_is_being_verified_does_not_expire(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    hour = timedelta(hours=1)
    UploadSession.objects.update(expires_at=timezone.now() - hour, links_end_at=timezone.now() - hour)
    assert list(expire(execute=True)) == []
    assert finalize(carol, session) is None
    assert run(session) == "ready"


def test_it_expires_where_its_worker_died_and_its_time_is_over(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    end_the_task(session)
    hour = timedelta(hours=1)
    UploadSession.objects.update(expires_at=timezone.now() - hour, links_end_at=timezone.now() - hour)
    with pytest.raises(UploadOver):
        finalize(carol, session)
    assert list(take_up(execute=True)) == []
    assert len(list(expire(execute=True))) == 1
    assert run(session) == "expired"


@pytest.mark.parametrize("lost", ["deactivated", "deleted", "denied"])
def test_who_lost_the_right_meanwhile_gets_no_file(carol: Any, settings: Any, lost: str) -> None:
    session = arrived(carol)
    finalize(carol, session)
    if lost == "denied":
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_POLICY": "gateway.policies.DEFAULT_POLICY"}
    elif lost == "deleted":
        carol.delete()
    else:
        get_user_model().objects.update(is_active=False)
    assert run(session) == "aborted"
    assert not File.objects.exists()
    assert ObjectDeletion.objects.get().key == session.key


def test_given_up_while_it_waits_it_is_no_file(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    uploads.abort(principal_of(carol), session.pk)
    assert run(session) == "aborted"
    assert not File.objects.exists()


def test_before_the_bytes_nothing_is_queued(carol: Any) -> None:
    session = begin(carol).session
    with pytest.raises(NotUploaded):
        finalize(carol, session)
    assert queued() == []
    assert UploadSession.objects.get().state == "issued"


def test_an_object_that_went_meanwhile_can_come_again(carol: Any) -> None:
    session = arrived(carol)
    finalize(carol, session)
    storages["private"].delete(session.key)
    with pytest.raises(NotUploaded):
        later.make(principal_of(carol), session, later.place_of_session(session))
    run(session)
    storage: Any = storages["private"]
    storage._save(session.key, ContentFile(PDF))
    assert finalize(carol, session) is None
    assert run(session) == "ready"


@pytest.mark.parametrize("carol", ["sqlite", "postgres"], indirect=True)
def test_a_task_is_queued_when_its_claim_is_committed_and_not_before(carol: Any) -> None:
    session = arrived(carol)
    with transaction.atomic():
        finalize(carol, session)
        transaction.set_rollback(True)
    assert queued() == []
    with transaction.atomic():
        finalize(carol, session)
        assert queued() == []
    assert queued() == [session.pk]


def test_the_immediate_backend_answers_with_the_file(carol: Any, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    session = arrived(carol)
    assert finalize(carol, session).reference == str(File.objects.get().pk)


def test_small_uploads_are_verified_at_once(carol: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"VERIFY_LATER_BYTES": len(PDF)}
    assert finalize(carol, arrived(carol)).session.state == "ready"
    assert queued() == []


def test_over_http_it_is_202_and_then_the_answer_of_finalize(carol: Any) -> None:
    session = arrived(carol)
    client = by_token(carol)
    path = f"/api/v1/uploads/{session.pk}"
    answer = client.send(f"{path}/finalize", {})
    assert (answer.status_code, answer.json()) == (202, {"state": "verifying", "retry_after": 2})
    assert answer["Retry-After"] == "2"
    looked = client.get(path).json()
    assert (looked["state"], looked["file"], looked["reason"]) == ("verifying", None, None)
    run(session)
    assert client.get(path).json()["file"]["file"] == str(File.objects.get().pk)
    assert client.send(f"{path}/finalize", {}).status_code == 200


def test_over_http_a_verdict_is_told_by_the_look_and_by_finalize(carol: Any) -> None:
    session = arrived(carol, PDF[:-1])
    client = by_token(carol)
    path = f"/api/v1/uploads/{session.pk}"
    assert client.send(f"{path}/finalize", {}).status_code == 202
    run(session)
    looked = client.get(path).json()
    assert (looked["state"], looked["reason"]) == ("rejected", "size_mismatch")
    assert client.send(f"{path}/finalize", {}).json()["code"] == "size_mismatch"


def test_the_setting_needs_a_framework(settings: Any, monkeypatch: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"VERIFY_LATER_BYTES": 5}
    monkeypatch.setattr(gateway_conf, "find_spec", lambda _: None)
    with pytest.raises(ImproperlyConfigured, match="is 5; None, or install django-tasks"):
        gateway_conf.conf()


def in_a_process(tmp_path: Path, *arguments: str, status: int = 0) -> str:
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.gateway.uploads.worker_settings",
        "TEST_DATABASE_URL": f"sqlite:///{tmp_path}/database.sqlite3",
        "TEST_PRIVATE_ROOT": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == status, run.stderr
    return run.stdout


BEGINS = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.gateway.uploads.test_later import arrived, finalize
carol = get_user_model().objects.create_user("carol")
session = arrived(carol)
print(session.pk, finalize(carol, session))
"""
TELLS = """
import django
django.setup()
from gateway.models import File, UploadSession
from tests.gateway.uploads.test_later import end_the_task
session = UploadSession.objects.get()
print(session.state, File.objects.count())
end_the_task(session)
"""


def test_a_worker_of_the_database_queue_that_is_killed_is_followed_by_another(tmp_path: Path) -> None:
    """F21 in a process of its own: it dies by SIGKILL while the scanner reads."""
    works = ("manage.py", "db_worker", "--batch", "--no-startup-delay", "--interval", "0.1")
    pk, answer = in_a_process(tmp_path, "-c", BEGINS).split()
    assert answer == "None"
    in_a_process(tmp_path, *works, status=-9)
    assert in_a_process(tmp_path, "-c", TELLS) == "verifying 0\n"
    assert f"verified again private: {pk}" in in_a_process(tmp_path, "manage.py", "gateway_sweep", "--execute")
    in_a_process(tmp_path, *works)
    assert in_a_process(tmp_path, "-c", TELLS) == "ready 1\n"
