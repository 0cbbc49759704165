"""The outbox: what is noted with a transaction, and what the sweeper deletes, keeps and tries again."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connections, models, transaction
from django.utils import timezone

from gateway import outbox
from gateway.models import File, ObjectDeletion
from gateway.outbox import file_fields, sweep
from gateway.principals import acting_as
from gateway.storages import StorageByAlias
from tests.hostapp.models import Document, Invoice, Minutes, Photo, Project

DAY = timedelta(days=1)


def stored(name: str, alias: str = "private") -> str:
    return str(storages[alias]._save(name, ContentFile(b"x")))


def note(key: str, alias: str = "private") -> ObjectDeletion:
    outbox.enqueue(alias, key, grace=timedelta(0))
    return ObjectDeletion.objects.latest("pk")


def swept(*, execute: bool = True, **options: Any) -> dict[str, str]:
    """Sweep, and return the outcome of each key."""
    return {one.entry.key: one.outcome for one in sweep(execute=execute, **options)}


def is_stored(name: str, alias: str = "private") -> bool:
    return bool(storages[alias].exists(name))


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.django_db
class TestEnqueue:
    def test_the_grace_is_a_day(self) -> None:
        outbox.enqueue("private", "a/b")
        entry = ObjectDeletion.objects.get()
        assert abs(entry.not_before - timezone.now() - DAY) < timedelta(seconds=5)
        assert (entry.done_at, entry.attempts, entry.last_error) == (None, 0, "")

    def test_the_grace_is_a_setting(self, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"DELETE_GRACE": 60}
        outbox.enqueue("private", "a/b")
        entry = ObjectDeletion.objects.get()
        assert abs(entry.not_before - timezone.now() - timedelta(seconds=60)) < timedelta(seconds=5)

    def test_a_rollback_takes_the_entry_along(self) -> None:
        with rolled_back():
            outbox.enqueue("private", "a/b")
        assert not ObjectDeletion.objects.exists()

    def test_nothing_is_deleted_at_once(self) -> None:
        name = stored("a/b")
        outbox.enqueue("private", name)
        assert is_stored(name)


class TestAnotherDatabase:
    """Rows of another database than the outbox's: they cannot share a transaction."""

    @pytest.fixture(autouse=True)
    def other(self, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
        other = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        connections.databases["other"] = connections.databases["default"] | other
        with django_db_blocker.unblock():
            try:
                yield
            finally:
                ObjectDeletion.objects.all().delete()
                connections["other"].close()
                del connections["other"], connections.databases["other"]

    def test_the_entry_is_written_when_the_other_commits(self) -> None:
        with transaction.atomic(using="other"):
            outbox.enqueue("private", "a/b", using="other")
            assert not ObjectDeletion.objects.exists()
        assert ObjectDeletion.objects.get().key == "a/b"

    def test_and_not_when_it_rolls_back(self) -> None:
        with transaction.atomic(using="other"):
            outbox.enqueue("private", "a/b", using="other")
            transaction.set_rollback(True, using="other")
        assert not ObjectDeletion.objects.exists()


@pytest.mark.django_db
class TestSweep:
    def test_an_object_that_nothing_names_is_deleted(self) -> None:
        entry = note(stored("a/b"))
        assert swept() == {"a/b": "deleted"}
        assert not is_stored("a/b")
        entry.refresh_from_db()
        assert entry.done_at is not None

    def test_without_execute_nothing_changes(self) -> None:
        note(stored("a/b"))
        before = list(ObjectDeletion.objects.values())
        assert swept(execute=False) == {"a/b": "due"}
        assert next(sweep()).outcome == "due"
        assert is_stored("a/b")
        assert list(ObjectDeletion.objects.values()) == before

    def test_the_grace_is_kept(self) -> None:
        name = stored("a/b")
        outbox.enqueue("private", name)
        soon, later = timezone.now() + DAY - timedelta(minutes=1), timezone.now() + DAY + timedelta(minutes=1)
        assert swept() == swept(now=soon) == {}
        assert is_stored(name)
        assert swept(now=later) == {name: "deleted"}

    def test_an_entry_is_done_once(self) -> None:
        note(stored("a/b"))
        assert swept() == {"a/b": "deleted"}
        assert swept() == {}

    def test_an_object_that_is_gone_already_is_done(self) -> None:
        stored("a/there")
        note("a/never-there")
        assert swept() == {"a/never-there": "deleted"}

    def test_on_a_disk_that_is_not_mounted_no_object_is_taken_for_gone(self, private_root: Path) -> None:
        note(stored("a/1"))
        private_root.rename(private_root.with_name("unmounted"))
        assert swept() == {"a/1": "failed"}
        private_root.with_name("unmounted").rename(private_root)
        assert swept() == {"a/1": "deleted"}

    def test_the_limit_is_kept_and_the_oldest_come_first(self) -> None:
        for name in ("a/1", "a/2", "a/3"):
            note(stored(name))
        assert swept(limit=2) == {"a/1": "deleted", "a/2": "deleted"}
        assert swept(limit=2) == {"a/3": "deleted"}

    @pytest.mark.parametrize("names", [("d/a*", "d/ab"), ("d/a[b]", "d/ab"), ("d/a?", "d/ab"), ("d/a", "d/ab")])
    def test_only_the_exact_key_is_deleted(self, names: tuple[str, str]) -> None:
        deleted, left = (stored(name) for name in names)
        note(deleted)
        assert swept() == {deleted: "deleted"}
        assert not is_stored(deleted)
        assert is_stored(left)

    def test_a_key_of_a_directory_deletes_nothing_below_it(self) -> None:
        name = stored("d/a/b")
        note("d/a")
        assert swept() == {"d/a": "failed"}
        assert is_stored(name)

    @pytest.mark.parametrize("key", ["", "/", "../x", "a/../b", "a//b", "*\n"])
    def test_a_key_that_is_none_fails(self, key: str) -> None:
        note(key)
        assert swept() == {key: "failed"}


@pytest.mark.django_db
class TestWhatRowsName:
    """A key that a row of any registered field names stays, whatever the outbox says."""

    def of_document(self, key: str) -> None:
        restored(Document(file=key))

    def of_minutes(self, key: str) -> None:
        restored(Minutes(project=Project.objects.create(name="p"), file=key))

    def of_a_plain_field(self, key: str) -> None:
        Invoice.objects.create(file=key)

    def of_a_plain_image_field(self, key: str) -> None:
        Invoice.objects.create(scan=key)

    def of_an_image_field(self, key: str, owner: Any) -> None:
        restored(Photo(owner=owner, image=key, width=1, height=1))

    @pytest.mark.parametrize("kind", ["document", "minutes", "a_plain_field", "a_plain_image_field", "an_image_field"])
    def test_a_row_keeps_it(self, kind: str, alice: Any) -> None:
        name = stored("a/b")
        note(name)
        arguments = (name, alice) if kind == "an_image_field" else (name,)
        getattr(self, f"of_{kind}")(*arguments)
        assert swept(execute=False) == {name: "kept"}
        assert ObjectDeletion.objects.filter(done_at=None).exists()
        assert swept() == {name: "kept"}
        assert is_stored(name)
        assert swept() == {}, "an entry that a row contradicts is done"

    def test_a_file_of_the_service_keeps_it(self, alice: Any) -> None:
        name = stored("a/b")
        file = service_file(alice, name)
        note(name)
        assert swept() == {name: "kept"}
        assert is_stored(name)
        assert file.state == "ready"

    def test_a_file_that_is_being_deleted_does_not(self, alice: Any) -> None:
        name = stored("a/b")
        file = service_file(alice, name, state="deleting")
        note(name)
        assert swept() == {name: "deleted"}
        file.refresh_from_db()
        assert file.state == "deleted"
        assert not is_stored(name)

    def test_the_same_key_of_another_storage_does_not(self, settings: Any, tmp_path: Any) -> None:
        settings.STORAGES = settings.STORAGES | {
            "second": {
                "BACKEND": "gateway.storages.PrivateFileSystemStorage",
                "OPTIONS": {"location": tmp_path / "second"},
            }
        }
        name = stored("a/b", "second")
        self.of_document(name)
        note(name, "second")
        assert swept() == {name: "deleted"}
        assert not is_stored(name, "second")

    def test_a_field_whose_storage_is_not_known_keeps_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name = stored("a/b")
        self.of_a_plain_field(name)
        note(name)
        field: Any = Invoice._meta.get_field("file")
        for storage in (StorageByAlias("nowhere"), storages.create_storage(storages.backends["private"])):
            monkeypatch.setattr(field, "storage", storage)
            assert swept(execute=False) == {name: "kept"}

    def test_a_row_that_comes_back_keeps_its_object(self, alice: Any) -> None:
        document = Document(owner=alice)
        document.file.save("a.txt", ContentFile(b"x"))
        name, pk = document.file.name, document.pk
        document.delete()
        restored(Document(pk=pk, owner=alice, file=name))
        assert swept(now=timezone.now() + 2 * DAY) == {name: "kept"}

    def test_two_rows_that_share_an_object_delete_it_together(self, alice: Any) -> None:
        first, second = Document(owner=alice), Document(owner=alice)
        first.file.save("a.txt", ContentFile(b"x"))
        name = first.file.name
        with acting_as(alice):
            second.file.attach(name, from_=first)
        second.save()
        later = timezone.now() + 2 * DAY
        first.delete()
        assert swept(now=later) == {name: "kept"}
        second.delete()
        assert swept(now=later) == {name: "deleted"}

    def test_every_field_is_asked(self) -> None:
        asked = {f"{field.model._meta.label}.{field.name}" for field in file_fields()}
        assert asked >= {
            "hostapp.Document.file", "hostapp.Minutes.file", "hostapp.Photo.image", "hostapp.Invoice.file",
            "hostapp.Invoice.scan", "hostapp.Leaflet.file",
        }  # fmt: skip
        assert all(isinstance(field, models.FileField) for field in file_fields())


def restored(instance: Any) -> None:
    instance.save_base(raw=True, force_insert=True)


def service_file(owner: Any, key: str, **fields: Any) -> File:
    return File.objects.create(
        owner=owner, storage_alias="private", key=key, filename="a", content_type="text/plain", size_bytes=1,
        **fields,
    )  # fmt: skip


@pytest.mark.django_db
class TestFailure:
    def test_an_unknown_storage_keeps_the_entry(self, caplog: pytest.LogCaptureFixture) -> None:
        entry = note("a/b", "nowhere")
        with caplog.at_level(logging.WARNING, logger="gateway.outbox"):
            for attempt in (1, 2):
                assert swept() == {"a/b": "failed"}
                entry.refresh_from_db()
                assert (entry.done_at, entry.attempts, entry.last_error) == (None, attempt, "StorageUnavailable")
        assert "could not delete an object of nowhere: StorageUnavailable" in caplog.text

    def test_a_store_that_answers_403_keeps_the_entry(self, ceph: Any, settings: Any) -> None:
        bucket = ceph.create_bucket(f"bucket-{secrets.token_hex(6)}")
        ceph.grant_uploads(bucket)

        def on_ceph(credentials: Any) -> dict[str, Any]:
            options = {
                "bucket_name": bucket, "endpoint_url": ceph.endpoint_url,
                "access_key": credentials.access_key_id, "secret_key": credentials.secret_access_key,
            }  # fmt: skip
            return {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options}

        settings.STORAGES = settings.STORAGES | {"web": on_ceph(ceph.restricted_credentials)}
        name = stored("uploads/a.txt", "web")
        entry = note(name, "web")
        (failed,) = sweep(execute=True)
        assert failed.outcome == "failed"
        assert "AccessDenied" in failed.detail
        entry.refresh_from_db()
        assert (entry.done_at, entry.attempts, entry.last_error) == (None, 1, "AccessDenied")
        assert storages["web"].size(name) == 1
        # The sweeper's process has the credentials that the web process has not.
        settings.STORAGES = settings.STORAGES | {"web": on_ceph(ceph.credentials)}
        assert swept() == {name: "deleted"}
        assert not is_stored(name, "web")

    def test_one_failure_holds_up_nobody(self) -> None:
        note("a/b", "nowhere")
        note(stored("a/c"))
        assert swept() == {"a/b": "failed", "a/c": "deleted"}

    def test_failures_of_a_whole_run_hold_up_nobody_either(self) -> None:
        for number in range(3):
            note(f"bad/{number}", "nowhere")
        note(stored("a/c"))
        assert set(swept(limit=3).values()) == {"failed"}
        assert swept(limit=3)["a/c"] == "deleted"

    def test_an_error_of_any_kind_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = note(stored("a/b"))

        def delete(name: str) -> None:
            raise TimeoutError("no answer")

        monkeypatch.setattr(storages["private"], "delete", delete)
        (failed,) = sweep(execute=True)
        assert (failed.outcome, failed.detail) == ("failed", "TimeoutError: no answer")
        entry.refresh_from_db()
        assert entry.last_error == "TimeoutError"


@pytest.mark.django_db
class TestFromEndToEnd:
    def test_rollback_after_delete_leaves_the_object(self, alice: Any) -> None:
        document = Document(owner=alice)
        document.file.save("a.txt", ContentFile(b"x"))
        name = document.file.name
        with rolled_back():
            document.delete()
        assert swept(now=timezone.now() + 2 * DAY) == {}
        assert is_stored(name)

    def test_rollback_after_save_touches_nothing_else(self, alice: Any) -> None:
        document = Document(owner=alice)
        with rolled_back():
            document.file.save("a.txt", ContentFile(b"x"))
        assert swept(now=timezone.now() + 2 * DAY) == {}
        assert is_stored(document.file.name), "an orphan, which nothing names and nothing deletes"

    def test_a_key_is_never_used_again(self, alice: Any) -> None:
        first = Document(owner=alice)
        first.file.save("a.txt", ContentFile(b"x"))
        first.delete()
        second = Document(owner=alice)
        second.file.save("a.txt", ContentFile(b"y"))
        assert swept(now=timezone.now() + 2 * DAY) == {first.file.name: "deleted"}
        assert is_stored(second.file.name)
