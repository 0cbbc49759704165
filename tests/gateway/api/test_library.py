"""The service's own files, asked for in code: what is listed, and what becomes of an upload that half fails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway.api import library
from gateway.errors import AccessDenied, BodyTooLarge, DatabaseUnavailable, StorageUnavailable
from gateway.models import ApiToken, File, FileState, Issuance, ObjectDeletion
from gateway.policies import Allow, Deny
from gateway.principals import ANONYMOUS, Principal
from gateway.resources import Resource
from tests.gateway.api.support import database_down_for, file_of, token_of
from tests.gateway.conftest import new_file

pytestmark = pytest.mark.django_db


def of(user: Any, *scopes: str) -> Principal:
    if not scopes:
        return Principal(kind="user", user=user)
    token_of(user, *scopes)
    return Principal(kind="user", user=user, token=ApiToken.objects.latest("created_at"))


def upload(name: str = "a.txt", content: bytes = b"content", content_type: str = "text/html") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, content_type)


def names(page: library.Page) -> list[str]:
    return [file.filename for file in page.files]


def files_of(owner: Any, count: int, **fields: Any) -> list[File]:
    """Make files one second apart, the newest last."""
    start = timezone.now() - timedelta(days=1)
    return [
        new_file(owner, filename=f"{number:03}.pdf", created_at=start + timedelta(seconds=number), **fields)
        for number in range(count)
    ]


class TestList:
    def test_the_newest_comes_first(self, alice: Any) -> None:
        files_of(alice, 3)
        assert names(library.list_files(of(alice), limit=10)) == ["002.pdf", "001.pdf", "000.pdf"]

    def test_pages_hold_every_file_once(self, alice: Any) -> None:
        files_of(alice, 7)
        page = library.list_files(of(alice), limit=3)
        seen = names(page)
        while page.end is not None:
            page = library.list_files(of(alice), limit=3, after=page.end)
            seen += names(page)
        assert seen == [f"{number:03}.pdf" for number in reversed(range(7))]

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6])
    def test_there_is_a_next_page_only_where_there_are_more_files(self, alice: Any, count: int) -> None:
        files_of(alice, count)
        page = library.list_files(of(alice), limit=3)
        assert (len(page.files), page.end is not None) == (min(count, 3), count > 3)

    def test_files_of_one_instant_are_all_listed(self, alice: Any) -> None:
        instant = timezone.now()
        expected = {new_file(alice, created_at=instant).pk for _ in range(7)}
        seen: list[Any] = []
        page = library.Page([], None)
        for _ in range(4):
            page = library.list_files(of(alice), limit=2, after=page.end)
            seen += [file.pk for file in page.files]
        assert (len(seen), set(seen), page.end) == (7, expected, None)

    def test_a_new_file_moves_nothing(self, alice: Any) -> None:
        files_of(alice, 4)
        page = library.list_files(of(alice), limit=2)
        new_file(alice, filename="new.pdf")
        assert names(library.list_files(of(alice), limit=2, after=page.end)) == ["001.pdf", "000.pdf"]

    def test_a_file_that_the_next_page_starts_at_may_be_gone(self, alice: Any) -> None:
        files = files_of(alice, 4)
        page = library.list_files(of(alice), limit=2)
        File.objects.filter(pk=files[2].pk).update(state=FileState.DELETED)
        assert names(library.list_files(of(alice), limit=2, after=page.end)) == ["001.pdf", "000.pdf"]

    def test_only_ones_own_are_listed(self, alice: Any, bob: Any) -> None:
        new_file(bob)
        assert names(library.list_files(of(alice), limit=10)) == []

    @pytest.mark.parametrize("state", [FileState.DELETING, FileState.DELETED])
    def test_what_is_deleted_is_not(self, alice: Any, state: str) -> None:
        new_file(alice, state=state)
        assert names(library.list_files(of(alice), limit=10)) == []

    @pytest.mark.parametrize("part", ["report", "REPORT", "port 1", ".PDF"])
    def test_by_part_of_the_name(self, alice: Any, part: str) -> None:
        new_file(alice, filename="Report 1.pdf")
        new_file(alice, filename="other.txt")
        assert names(library.list_files(of(alice), limit=10, part_of_name=part)) == ["Report 1.pdf"]

    @pytest.mark.parametrize("part", ["%", "_", "\\", "'", "*", "a%b"])
    def test_patterns_of_the_database_are_plain_text(self, alice: Any, part: str) -> None:
        new_file(alice, filename="plain.pdf")
        new_file(alice, filename=f"x{part}y.pdf")
        assert names(library.list_files(of(alice), limit=10, part_of_name=part)) == [f"x{part}y.pdf"]

    def test_a_token_that_may_not_download_sees_nothing(self, alice: Any) -> None:
        new_file(alice)
        assert names(library.list_files(of(alice, "Update"), limit=10)) == []

    def test_the_number_of_queries_does_not_grow(self, alice: Any) -> None:
        counted = []
        for _ in range(2):
            files_of(alice, 10)
            with CaptureQueriesContext(connection) as queries:
                library.list_files(of(type(alice).objects.get(pk=alice.pk)), limit=100)
            counted.append(len(queries))
        assert counted[0] == counted[1]

    def test_nothing_is_recorded(self, alice: Any) -> None:
        new_file(alice)
        library.list_files(of(alice), limit=10)
        assert Issuance.objects.count() == 0

    def test_the_database_is_needed(self, alice: Any) -> None:
        new_file(alice)
        new_file(alice)
        # The door's question, after the page's own.
        with database_down_for('"presign_gateway_file"."id" IN') as met, pytest.raises(DatabaseUnavailable):
            library.list_files(of(alice), limit=10)
        assert met


class EvenNumbers:
    """A policy that can only be asked about each row."""

    asked = 0

    def decide(self, principal: Principal, resource: Resource, operation: Any) -> Allow | Deny:
        type(self).asked += 1
        row: Any = resource.instance
        return Allow() if int(row.filename[:3]) % 2 == 0 else Deny("odd")


class Nobody:
    def decide(self, *_: Any) -> Deny:
        return Deny("nobody")


class Broken:
    """A query that fails, and a decision that does not."""

    def visible(self, *_: Any) -> Any:
        raise ValueError("cannot be said")

    def decide(self, *_: Any) -> Allow:
        return Allow()


class TooWide:
    """A query that shows more than is allowed."""

    def visible(self, principal: Principal, rows: models.QuerySet[Any], operation: type) -> models.QuerySet[Any]:
        return rows

    def decide_many(self, principal: Any, resources: Sequence[Any], operation: Any) -> list[Any]:
        return [Deny("no")] * len(resources)

    def decide(self, *_: Any) -> Deny:
        return Deny("no")


class Tenants:
    def of_principal(self, principal: Principal) -> str:
        return str(principal.user.username)

    def of_row(self, row: Any) -> str:
        return "alice" if row.filename == "000.pdf" else "another"


def decided_by(settings: Any, policy: type) -> None:
    path = f"tests.gateway.api.test_library.{policy.__name__}"
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": path}}


class TestListByDecision:
    """Where the policy is no query, rows are decided step by step; none is listed that could not be linked."""

    def test_pages_are_filled(self, alice: Any, bob: Any, settings: Any) -> None:
        decided_by(settings, EvenNumbers)
        files_of(bob, 20)
        first = library.list_files(of(alice), limit=4)
        assert names(first) == ["018.pdf", "016.pdf", "014.pdf", "012.pdf"]
        second = library.list_files(of(alice), limit=4, after=first.end)
        third = library.list_files(of(alice), limit=4, after=second.end)
        assert names(second) + names(third) == ["010.pdf", "008.pdf", "006.pdf", "004.pdf", "002.pdf", "000.pdf"]
        assert third.end is None

    def test_no_page_follows_where_only_denied_rows_do(self, alice: Any, bob: Any, settings: Any) -> None:
        decided_by(settings, EvenNumbers)
        File.objects.filter(pk=files_of(bob, 6)[0].pk).update(state=FileState.DELETED)
        page = library.list_files(of(alice), limit=2)
        assert (names(page), page.end) == (["004.pdf", "002.pdf"], None)

    def test_the_work_of_a_page_is_bounded(self, alice: Any, bob: Any, settings: Any) -> None:
        decided_by(settings, Nobody)
        files_of(bob, 50)
        with CaptureQueriesContext(connection) as queries:
            page = library.list_files(of(alice), limit=1)
        assert (page.files, page.end is not None) == ([], True)
        assert len(queries) <= 3 * 20 + 2

    def test_a_page_without_a_file_leads_to_the_next(self, alice: Any, bob: Any, settings: Any) -> None:
        decided_by(settings, Nobody)
        files_of(bob, 100)
        page = library.list_files(of(alice), limit=1)
        for _ in range(10):
            if page.end is None:
                break
            page = library.list_files(of(alice), limit=1, after=page.end)
        assert page == library.Page([], None)

    def test_a_query_that_fails_is_not_the_end(self, alice: Any, settings: Any, caplog: Any) -> None:
        decided_by(settings, Broken)
        new_file(alice, filename="a.pdf")
        assert names(library.list_files(of(alice), limit=10)) == ["a.pdf"]
        assert "cannot be asked as a query" in caplog.text

    def test_the_door_has_the_last_word(self, alice: Any, settings: Any) -> None:
        decided_by(settings, TooWide)
        new_file(alice)
        assert names(library.list_files(of(alice), limit=10)) == []

    def test_files_of_another_tenant_are_not_listed(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.api.test_library.Tenants"}
        files_of(alice, 3)
        assert names(library.list_files(of(alice), limit=10)) == ["000.pdf"]


class TestSave:
    def test_the_bytes_are_stored_and_the_row_says_what_the_server_knows(self, alice: Any) -> None:
        file = library.save(of(alice), upload("My report.PDF", b"the bytes"))
        assert (file.owner, file.filename, file.content_type, file.size_bytes, file.state) == (
            alice,
            "My report.PDF",
            "application/pdf",
            9,
            "ready",
        )
        with storages["private"].open(file.key) as stored:
            assert stored.read() == b"the bytes"

    # The name as a client sends it; the name, the end of the key and the type that are kept.
    NAMES = {
        "plain": ("a.txt", "a.txt", "file.txt", "text/plain"),
        "no extension": ("readme", "readme", "file", None),
        "html": ("a.html", "a.html", "file.html", "text/html"),
        "unknown": ("a.xyz123", "a.xyz123", "file.xyz123", None),
        "capitals": ("A.JPEG", "A.JPEG", "file.jpeg", "image/jpeg"),
        "words after a dot": ("notes.about the lawsuit", "notes.about the lawsuit", "file", None),
        "compressed": ("a.csv.gz", "a.csv.gz", "file.gz", None),
        "two extensions": ("a.php.jpg", "a.php.jpg", "file.jpg", "image/jpeg"),
        "not ascii": ("日本.pdf", "日本.pdf", "file.pdf", "application/pdf"),
        "device": ("con.txt", "_con.txt", "file.txt", "text/plain"),
        "dots": ("...", "download", "file", None),
        "wildcard": ("a*.txt", "a_.txt", "file.txt", "text/plain"),
        "long": ("a" * 300 + ".txt", "a" * 146 + ".txt", "file.txt", "text/plain"),
        "long extension": ("a." + "b" * 100, "a." + "b" * 100, "file", None),
    }

    @pytest.mark.parametrize(("sent", "name", "last", "content_type"), NAMES.values(), ids=NAMES)
    def test_names(self, alice: Any, sent: str, name: str, last: str, content_type: str | None) -> None:
        file = library.save(of(alice), upload(sent))
        assert (file.filename, file.content_type) == (name, content_type or "application/octet-stream")
        directory, random, end = file.key.rsplit("/", 2)
        assert (directory, len(random), end) == (f"uploads/{timezone.now():%Y/%m}", 26, last)

    def test_the_same_name_is_another_key(self, alice: Any) -> None:
        assert library.save(of(alice), upload()).key != library.save(of(alice), upload()).key

    def test_the_storage_hears_the_type_of_the_server(self, alice: Any) -> None:
        sent = upload("a.txt")
        library.save(of(alice), sent)
        assert sent.content_type == "text/plain"

    def test_it_is_recorded(self, alice: Any) -> None:
        file = library.save(of(alice), upload())
        row = Issuance.objects.get()
        assert (row.decision, row.operation, row.key) == ("allowed", "Upload", file.key)

    @pytest.mark.parametrize("scopes", [["Download"], ["Download", "Update", "Delete", "Share"]], ids=["one", "most"])
    def test_a_token_needs_the_scope(self, alice: Any, scopes: list[str]) -> None:
        with pytest.raises(AccessDenied):
            library.save(of(alice, *scopes), upload())
        row = Issuance.objects.get()
        assert (row.decision, row.operation) == ("refused", "Upload")
        assert File.objects.count() == 0

    def test_a_token_with_the_scope_is_enough(self, alice: Any) -> None:
        assert library.save(of(alice, "Upload"), upload()).owner == alice

    def test_nobody_in_particular_keeps_no_file(self) -> None:
        with pytest.raises(AccessDenied):
            library.save(ANONYMOUS, upload())

    def test_somebody_who_was_deactivated_keeps_no_file(self, alice: Any) -> None:
        alice.is_active = False
        with pytest.raises(AccessDenied):
            library.save(of(alice), upload())

    def test_a_large_file_is_refused(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"MAX_UPLOAD_BYTES": 6}
        with pytest.raises(BodyTooLarge, match="the file has 7 bytes; at most 6"):
            library.save(of(alice), upload(content=b"content"))
        assert library.save(of(alice), upload(content=b"conten")).size_bytes == 6

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("statement", ['INSERT INTO "presign_gateway_file"', '"presign_gateway_issuance"'])
    def test_an_object_whose_row_fails_is_noted_for_deletion(self, alice: Any, statement: str) -> None:
        with database_down_for(statement) as met, pytest.raises(Exception, match=r"."):
            library.save(of(alice), upload())
        assert met
        entry = ObjectDeletion.objects.get()
        assert storages["private"].exists(entry.key)
        assert entry.not_before > timezone.now() + timedelta(hours=23)
        assert File.objects.count() == 0

    @pytest.mark.django_db(transaction=True)
    def test_an_object_that_cannot_even_be_noted_is_logged(self, alice: Any, caplog: Any) -> None:
        with database_down_for("INSERT"), pytest.raises(Exception, match=r"."):
            library.save(of(alice), upload())
        assert "has no row: 'uploads/" in caplog.text

    def test_a_storage_that_takes_nothing_is_unavailable(self, alice: Any, private_root: Any) -> None:
        private_root.write_bytes(b"a file where the directory should be")
        with pytest.raises(StorageUnavailable):
            library.save(of(alice), upload())
        assert File.objects.count() == 0
        assert ObjectDeletion.objects.count() == 1

    def test_a_storage_that_is_not_there_is_unavailable(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "gone"}
        with pytest.raises(StorageUnavailable):
            library.save(of(alice), upload())

    def test_a_storage_that_is_not_private_is_unavailable(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "default"}
        with pytest.raises(StorageUnavailable):
            library.save(of(alice), upload())


class TestRename:
    def test_the_type_stays_what_it_was(self, alice: Any) -> None:
        file = new_file(alice)
        renamed = library.rename(of(alice), file.pk, "../b.html")
        assert (renamed.filename, renamed.content_type, renamed.key) == ("b.html", "application/pdf", file.key)

    def test_reading_is_not_enough(self, alice: Any) -> None:
        file = new_file(alice)
        with pytest.raises(AccessDenied):
            library.rename(of(alice, "Download"), file.pk, "b.pdf")
        assert File.objects.get().filename == "report.pdf"


class TestRemove:
    @pytest.mark.django_db(transaction=True)
    def test_row_and_object_go(self, alice: Any) -> None:
        file = file_of(alice)
        library.remove(of(alice), file.pk)
        assert File.objects.get().state == FileState.DELETED
        assert not storages["private"].exists(file.key)
        assert ObjectDeletion.objects.get().done_at is not None

    @pytest.mark.django_db(transaction=True)
    def test_a_rollback_keeps_both(self, alice: Any) -> None:
        file = file_of(alice)
        with transaction.atomic():
            library.remove(of(alice), file.pk)
            transaction.set_rollback(True)
        assert File.objects.get().state == FileState.READY
        assert storages["private"].exists(file.key)
        assert ObjectDeletion.objects.count() == 0

    @pytest.mark.django_db(transaction=True)
    def test_an_object_that_cannot_be_deleted_is_left_to_the_sweeper(self, alice: Any, monkeypatch: Any) -> None:
        def refuse(*_: Any) -> None:
            raise PermissionError("the signer may not delete")

        file = file_of(alice)
        monkeypatch.setattr(type(storages["private"]), "delete", refuse)
        library.remove(of(alice), file.pk)
        entry = ObjectDeletion.objects.get()
        assert (entry.done_at, entry.attempts, entry.last_error) == (None, 1, "PermissionError")
        assert entry.not_before <= timezone.now()
        assert File.objects.get().state == FileState.DELETING
        with pytest.raises(AccessDenied):
            library.find(of(alice), file.pk)

    @pytest.mark.django_db(transaction=True)
    def test_what_fails_after_the_commit_is_left_to_the_sweeper(self, alice: Any, caplog: Any) -> None:
        file = file_of(alice)
        with database_down_for('FROM "presign_gateway_objectdeletion"') as met:
            library.remove(of(alice), file.pk)
        assert met
        assert File.objects.get().state == FileState.DELETING
        assert ObjectDeletion.objects.get().done_at is None

    @pytest.mark.django_db(transaction=True)
    def test_a_second_time_it_is_missing(self, alice: Any) -> None:
        file = file_of(alice)
        library.remove(of(alice), file.pk)
        with pytest.raises(AccessDenied):
            library.remove(of(alice), file.pk)
        assert ObjectDeletion.objects.count() == 1

    def test_reading_is_not_enough(self, alice: Any) -> None:
        file = file_of(alice)
        with pytest.raises(AccessDenied):
            library.remove(of(alice, "Download", "Update"), file.pk)
        assert File.objects.get().state == FileState.READY

    @pytest.mark.django_db(transaction=True)
    def test_a_database_that_fails_half_way_keeps_both(self, alice: Any) -> None:
        file = file_of(alice)
        with database_down_for("presign_gateway_objectdeletion") as met, pytest.raises(Exception, match=r"."):
            library.remove(of(alice), file.pk)
        assert met
        assert File.objects.get().state == FileState.READY
        assert storages["private"].exists(file.key)
