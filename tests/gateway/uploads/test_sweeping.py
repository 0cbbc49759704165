"""What is left behind goes, after its last link and its grace, and nothing else does."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from gateway import uploads
from gateway.errors import UploadOver
from gateway.management.locks import one_run
from gateway.models import File, ObjectDeletion, UploadSession
from gateway.storages import parts as part_files
from gateway.uploads import PartWanted, sweeping
from gateway.uploads.sweeping import TooManyOrphans, expire, note_orphans, stop_stray_parts
from tests.gateway.conftest import in_a_thread, new_file
from tests.gateway.uploads.conftest import PDF, begin, principal_of
from tests.hostapp.models import Document

DAYS = timedelta(days=3)


def command(name: str, *arguments: str) -> list[str]:
    output = io.StringIO()
    call_command(name, *arguments, stdout=output)
    return output.getvalue().splitlines()


def put(name: str, content: bytes = PDF, *, age: timedelta = DAYS) -> Path:
    storage: Any = storages["private"]
    storage._save(name, ContentFile(content))
    path = Path(storage.path(name))
    moment = (timezone.now() - age).timestamp()
    os.utime(path, (moment, moment))
    return path


def overdue(user: Any, *, links_ended: timedelta = timedelta(hours=1)) -> UploadSession:
    session = begin(user).session
    now = timezone.now()
    UploadSession.objects.filter(pk=session.pk).update(
        expires_at=now - timedelta(seconds=1), links_end_at=now - links_ended
    )
    return session


@pytest.mark.django_db
class TestExpiring:
    def test_an_overdue_upload_expires_and_its_object_is_noted(self, alice: Any) -> None:
        session = overdue(alice)
        assert [left.what for left in expire()] == ["overdue upload"]
        assert UploadSession.objects.get().state == "issued"
        assert [left.what for left in expire(execute=True)] == ["expired upload"]
        assert UploadSession.objects.get().state == "expired"
        assert ObjectDeletion.objects.get().key == session.key
        assert list(expire(execute=True)) == []

    def test_not_while_a_link_lives(self, alice: Any) -> None:
        overdue(alice, links_ended=timedelta(minutes=-1))
        assert list(expire(execute=True)) == []

    def test_not_while_a_link_may_still_live_by_another_clock(self, alice: Any) -> None:
        overdue(alice, links_ended=timedelta(minutes=4))
        assert list(expire(execute=True)) == []

    def test_one_that_was_left_while_it_was_verified_expires_too(self, alice: Any) -> None:
        overdue(alice)
        UploadSession.objects.update(state="verifying")
        assert len(list(expire(execute=True))) == 1

    @pytest.mark.parametrize("state", ["ready", "rejected", "aborted", "expired"])
    def test_what_is_over_stays_what_it_is(self, alice: Any, state: str) -> None:
        overdue(alice)
        UploadSession.objects.update(state=state)
        assert list(expire(execute=True)) == []

    def test_who_comes_after_the_sweeper_is_too_late(self, alice: Any) -> None:
        """F24."""
        session = overdue(alice)
        UploadSession.objects.update(expires_at=timezone.now() + DAYS)
        put(session.key)
        claimed = UploadSession.objects.get()
        assert uploads.sessions.let_go(claimed, "expired")
        with pytest.raises(UploadOver):
            uploads.finalize(principal_of(alice), session.pk)
        assert not File.objects.exists()

    def test_who_comes_before_the_sweeper_keeps_the_file(self, alice: Any) -> None:
        """F24: the sweeper read the row before it was finalized."""
        session = begin(alice).session
        put(session.key)
        stale = UploadSession.objects.get()
        uploads.finalize(principal_of(alice), session.pk)
        assert not uploads.sessions.let_go(stale, "expired")
        assert not ObjectDeletion.objects.exists()
        assert File.objects.get().key == session.key

    def test_parts_go_with_their_upload(self, alice: Any, settings: Any, private_root: Path) -> None:
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": 50}
        session = begin(alice).session
        uploads.sign_parts(principal_of(alice), session.pk, [PartWanted(number=1, size_bytes=50)])
        UploadSession.objects.update(expires_at=timezone.now() - DAYS, links_end_at=timezone.now() - DAYS)
        assert len(list(part_files.list_uploads(str(private_root)))) == 1
        list(expire(execute=True))
        assert list(part_files.list_uploads(str(private_root))) == []
        assert UploadSession.objects.get().store_upload_id == ""

    def test_a_store_that_did_not_hear_is_told_again(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": 50}
        begin(alice)
        UploadSession.objects.update(state="aborted")
        assert [left.what for left in expire()] == ["unstopped parts"]
        assert [left.what for left in expire(execute=True)] == ["stopped parts"]
        assert list(expire(execute=True)) == []


@pytest.mark.django_db
class TestOrphans:
    def test_an_orphan_is_seen_twice_before_it_goes(self) -> None:
        path = put("uploads/orphan.pdf")
        assert command("gateway_sweep", "--orphans=private")[0] == "orphan private: uploads/orphan.pdf"
        assert not ObjectDeletion.objects.exists()
        assert (
            command("gateway_sweep", "--orphans=private", "--execute")[0] == "noted orphan private: uploads/orphan.pdf"
        )
        assert path.exists()
        assert command("gateway_sweep", "--orphans=private", "--execute") == ["nothing to do."]
        ObjectDeletion.objects.update(not_before=timezone.now())
        assert command("gateway_sweep", "--execute")[0] == "deleted private: uploads/orphan.pdf"
        assert not path.exists()

    def test_a_row_that_comes_between_the_sightings_keeps_the_object(self, alice: Any) -> None:
        path = put("uploads/orphan.pdf")
        list(note_orphans("private", execute=True))
        new_file(alice, key="uploads/orphan.pdf")
        ObjectDeletion.objects.update(not_before=timezone.now())
        command("gateway_sweep", "--execute")
        assert path.exists()

    def test_what_is_named_or_young_is_no_orphan(self, alice: Any) -> None:
        put("uploads/named.pdf")
        new_file(alice, key="uploads/named.pdf")
        document = Document(owner=alice)
        document.file.save("a.pdf", ContentFile(PDF))
        session = begin(alice).session
        put(session.key)
        put("uploads/young.pdf", age=timedelta(hours=1))
        assert list(note_orphans("private", execute=True)) == []

    def test_a_bucket_of_strangers_aborts_the_run(self) -> None:
        """F29: the wrong bucket, or an empty database."""
        for number in range(12):
            put(f"uploads/{number}.pdf")
        with pytest.raises(TooManyOrphans, match="12 of the 12 objects"):
            list(note_orphans("private", execute=True))
        with pytest.raises(CommandError, match="right database"):
            command("gateway_sweep", "--orphans=private", "--execute")
        assert not ObjectDeletion.objects.exists()

    def test_half_of_a_bucket_is_the_limit(self, alice: Any) -> None:
        for number in range(24):
            put(f"uploads/{number}.pdf")
            if number % 2:
                new_file(alice, key=f"uploads/{number}.pdf")
        assert len(list(note_orphans("private"))) == 12
        File.objects.filter(key="uploads/1.pdf").delete()
        with pytest.raises(TooManyOrphans):
            list(note_orphans("private"))

    def test_pages_of_names_are_asked_about_one_by_one(self, alice: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(sweeping, "_PAGE", 2)
        for number in range(7):
            put(f"uploads/{number}.pdf")
        new_file(alice, key="uploads/3.pdf")
        assert len(list(note_orphans("private"))) == 6

    def test_parts_that_no_upload_knows_are_given_up(self, alice: Any, settings: Any, private_root: Path) -> None:
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": 50}
        known = begin(alice).session.store_upload_id
        stray = part_files.begin_parts(str(private_root), directory_mode=0o700)
        assert list(stop_stray_parts("private", execute=True)) == []
        moment = (timezone.now() - DAYS).timestamp()
        for upload_id in (known, stray):
            os.utime(private_root / ".parts" / upload_id, (moment, moment))
        assert [left.name for left in stop_stray_parts("private", execute=True)] == [stray]
        assert [name for name, _ in part_files.list_uploads(str(private_root))] == [known]


@pytest.mark.django_db
class TestReconciling:
    def test_what_agrees_is_said_to(self, alice: Any) -> None:
        session = begin(alice).session
        put(session.key)
        uploads.finalize(principal_of(alice), session.pk)
        assert command("gateway_reconcile", "private") == ["rows and objects agree."]

    def test_what_does_not_is_told_and_nothing_is_changed(self, alice: Any) -> None:
        """F26, F27."""
        session = begin(alice).session
        path = put(session.key)
        uploads.finalize(principal_of(alice), session.pk)
        path.write_bytes(PDF[:-1] + b"y")
        missing = new_file(alice, key="uploads/missing.pdf")
        document = Document(owner=alice)
        document.file.save("a.pdf", ContentFile(PDF))
        Path(storages["private"].path(document.file.name)).unlink()
        put("uploads/orphan.pdf")
        output = io.StringIO()
        with pytest.raises(CommandError, match="1 changed, 2 missing, 1 orphan"):
            call_command("gateway_reconcile", "private", stdout=output)
        assert sorted(output.getvalue().splitlines()) == sorted(
            [
                "orphan private: uploads/orphan.pdf",
                f"missing private: uploads/missing.pdf of presign_gateway.File:{missing.pk}",
                f"missing private: {document.file.name} of hostapp.Document:{document.pk}",
                f"changed private: {session.key} of {session.pk}",
            ]
        )
        assert File.objects.filter(state="ready").count() == 2
        assert not ObjectDeletion.objects.exists()


class TestOneRun:
    def test_a_second_run_leaves_at_once(self, real_database: Any) -> None:
        """F30."""
        with one_run("gateway_sweep"), pytest.raises(CommandError, match="one at a time"):
            in_a_thread(lambda: command("gateway_sweep"))
        assert command("gateway_sweep", "--execute") == ["nothing to do."]

    @pytest.mark.django_db
    def test_beside_a_database_in_memory_no_other_process_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with one_run("a"):
            assert list(tmp_path.iterdir()) == []
            # A connection of PostgreSQL may take its own lock twice.
            if connection.vendor == "sqlite":
                with pytest.raises(CommandError, match="another a is running"), one_run("a"):
                    pass
        with one_run("a"):
            pass

    @pytest.mark.parametrize("real_database", ["postgres"], indirect=True)
    def test_a_run_that_was_killed_is_taken_up_by_the_next(self, real_database: Any, private_root: Path) -> None:
        """F30: every entry is in a transaction of its own, and the lock goes with the connection."""
        carol = get_user_model().objects.create_user("carol")
        for _ in range(3):
            overdue(carol)
        swept = expire(execute=True)
        next(swept)
        swept.close()
        assert UploadSession.objects.filter(state="expired").count() == 1
        assert len(list(expire(execute=True))) == 2


def test_the_lock_of_a_killed_process_is_free(real_database: dict[str, Any]) -> None:
    """F30."""
    script = """
import json, os, signal, sys
from django.conf import settings
settings.DATABASES["default"] = json.loads(sys.argv[1])
import django
django.setup()
from gateway.management.locks import one_run
with one_run("test"):
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""
    for way, status in (("die", -9), ("live", 0)):
        run = subprocess.run(
            [sys.executable, "-c", script, json.dumps(real_database, default=str), way],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "settings.test"},
            cwd=Path(__file__).resolve().parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == status, run.stderr
