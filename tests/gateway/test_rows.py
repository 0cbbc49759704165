"""One statement for a row and what was taken back: what the ORM and the epochs say by themselves."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, models
from django.test.utils import CaptureQueriesContext, isolate_apps

from gateway import epochs, rows
from gateway.models import Epoch
from gateway.principals import Principal
from gateway.resources import Resource, rows_of
from gateway.rows import row_and_epochs, row_of
from tests.gateway.conftest import new_document, new_file
from tests.gateway.test_epochs import AT, taken_back
from tests.hostapp.models import Document, Invoice


@pytest.fixture(autouse=True)
def nothing_written() -> None:
    """A statement is written once for a model: what another test has left there would be looked at."""
    rows._statement.cache_clear()


@pytest.fixture
def principal(alice: Any) -> Principal:
    return Principal(kind="user", user=alice)


@pytest.fixture(params=["document", "file", "invoice"])
def resource(request: Any, alice: Any) -> Resource:
    match request.param:
        case "document":
            return Resource.of_field(new_document(alice, title="a"), "file")
        case "file":
            return Resource.of_file(new_file(alice))
    invoice = Invoice(number="1", file="invoices/1.pdf")
    invoice.save_base(raw=True, force_insert=True)
    return Resource.of_field(invoice, "file")


def columns_of(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.django_db
class TestRow:
    def test_it_is_what_the_orm_reads(self, resource: Resource, principal: Principal) -> None:
        wanted = rows_of([resource]).get()
        for row in (row_of(resource), row_and_epochs(resource, principal, "")[0]):
            assert row is not None
            assert columns_of(row) == columns_of(wanted)
            assert type(row) is type(wanted)
            assert (row._state.db, row._state.adding) == ("default", False)

    def test_it_is_read_anew_each_time(self, alice: Any, principal: Principal) -> None:
        resource = Resource.of_field(new_document(alice, title="a"), "file")
        for title in ("b", "c"):
            Document.objects.update(title=title)
            for row in (row_of(resource), row_and_epochs(resource, principal, "")[0]):
                assert isinstance(row, Document)
                assert row.title == title

    @pytest.mark.parametrize("state", ["deleting", "deleted"])
    def test_a_file_that_is_not_ready_has_none(self, alice: Any, principal: Principal, state: str) -> None:
        resource = Resource.of_file(new_file(alice, state=state))
        assert row_of(resource) is None
        assert row_and_epochs(resource, principal, "")[0] is None

    @pytest.mark.parametrize("pk", [None, 2**63, -(2**63) - 1, "a", "1 or 1", 0], ids=repr)
    def test_a_key_that_could_not_be_has_none(self, alice: Any, principal: Principal, pk: Any) -> None:
        resource = replace(Resource.of_field(new_document(alice), "file"), pk=pk)
        taken_back("principal", principal.id, 4)
        assert row_of(resource) is None
        assert row_and_epochs(resource, principal, "") == (None, epochs.now(principal))

    def test_a_missing_one_costs_what_one_costs_that_is_there(self, resource: Resource, principal: Principal) -> None:
        taken_back("principal", principal.id, 4)
        missing = replace(resource, pk=uuid.uuid4() if isinstance(resource.pk, uuid.UUID) else resource.pk + 1)
        statements = []
        for asked in (resource, missing):
            with CaptureQueriesContext(connection) as queries:
                row, read = row_and_epochs(asked, principal, "")
            assert (row is None) == (asked is missing)
            assert read == epochs.now(principal)
            statements.append(queries.captured_queries)
        assert [len(asked) for asked in statements] == [1, 1]
        with CaptureQueriesContext(connection) as queries:
            assert row_of(missing) is None
        assert len(queries) == 1


@pytest.mark.django_db
class TestEpochs:
    @pytest.mark.parametrize("tenant", ["", "acme"])
    @pytest.mark.parametrize(
        "about",
        [("counter", ""), ("everything", ""), ("principal", "alice"), ("principal", "user:0"), ("tenant", "acme"),
         ("object", "private:uploads/"), ("storage", "private")],
        ids=":".join,
    )  # fmt: skip
    def test_they_are_what_is_read_alone(
        self, alice: Any, principal: Principal, about: tuple[str, str], tenant: str
    ) -> None:
        resource = Resource.of_field(new_document(alice), "file")
        assert row_and_epochs(resource, principal, tenant)[1] == epochs.Now() == epochs.now(principal, tenant)
        scope, target = about
        taken_back(scope, principal.id if target == "alice" else target, 7)
        read = row_and_epochs(resource, principal, tenant)[1]
        assert read == epochs.now(principal, tenant)
        assert read.number == 7


@pytest.mark.django_db
def test_without_the_counter_it_takes_two(resource: Resource, principal: Principal) -> None:
    Epoch.objects.all().delete()
    with CaptureQueriesContext(connection) as queries:
        row, read = row_and_epochs(resource, principal, "")
    assert (row, read, len(queries)) == (rows_of([resource]).get(), epochs.Now(), 2)


def test_in_another_database_epochs_are_read_first(file_database: Any, settings: Any) -> None:
    user = User.objects.create_user("alice")
    resource, principal = Resource.of_field(new_document(user), "file"), Principal(kind="user", user=user)
    taken_back("principal", principal.id, 3)
    connections.databases["archive"] = file_database | {"NAME": ":memory:"}
    settings.DATABASE_ROUTERS = ["tests.gateway.test_rows.Archive"]
    try:
        with connections["archive"].schema_editor() as editor:
            editor.create_model(Epoch)
        assert row_and_epochs(resource, principal, "") == (Document.objects.get(), epochs.Now())
        counter = Epoch(digest=Epoch.digest_of("counter"), scope="counter", number=5, at=AT)
        counter.save(using="archive")
        assert row_and_epochs(resource, principal, "") == (Document.objects.get(), epochs.Now(number=5))
    finally:
        connections["archive"].close()
        del connections["archive"]
        del connections.databases["archive"]


class Archive:
    """Keeps epochs elsewhere."""

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "archive" if model is Epoch else "default"

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


class OnlyTitled(models.Manager[Any]):
    """As a host narrows every reading of its rows, or not, by what it knows of the moment."""

    title: str | None = None

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        return rows if OnlyTitled.title is None else rows.filter(title=OnlyTitled.title)


class Marked(models.CharField[Any, Any]):
    """A field that is selected by an expression with a parameter of its own."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, list[Any]]:
        return f"{sql} || %s", [*params, "!"]


@pytest.mark.django_db
class TestModels:
    @isolate_apps("tests.hostapp")
    def test_a_field_that_is_selected_with_a_parameter(self, alice: Any, principal: Principal) -> None:
        class Shouted(models.Model):
            title = Marked(max_length=50)

            class Meta:
                app_label, managed = "hostapp", False
                db_table = Document._meta.db_table

        pk = new_document(alice, title="a").pk
        resource = Resource(storage_alias="private", key=None, model=Shouted, pk=pk, field="file")
        for row in (row_of(resource), row_and_epochs(resource, principal, "")[0]):
            assert isinstance(row, Shouted)
            assert row.title == "a!"

    @isolate_apps("tests.hostapp")
    def test_a_base_manager_of_its_own_is_asked_each_time(
        self, alice: Any, principal: Principal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Titled(models.Model):
            title = models.CharField(max_length=50)
            mine = OnlyTitled()

            class Meta:
                app_label, managed = "hostapp", False
                db_table, base_manager_name = Document._meta.db_table, "mine"

        pk = new_document(alice, title="a").pk
        resource = Resource(storage_alias="private", key=None, model=Titled, pk=pk, field="file")
        assert row_of(resource) is not None
        assert row_and_epochs(resource, principal, "")[0] is not None
        monkeypatch.setattr(OnlyTitled, "title", "b")
        assert row_of(resource) is None
        assert row_and_epochs(resource, principal, "")[0] is None

    @isolate_apps("tests.hostapp")
    def test_a_key_of_another_kind(self, alice: Any, principal: Principal) -> None:
        class Person(models.Model):
            username = models.CharField(max_length=50, primary_key=True)

            class Meta:
                app_label, managed = "hostapp", False
                db_table = User._meta.db_table

        there = Resource(storage_alias="private", key=None, model=Person, pk=alice.username, field="file")
        assert row_of(there) == Person(username=alice.username)
        taken_back("principal", principal.id, 2)
        assert row_and_epochs(there, principal, "") == (Person(username=alice.username), epochs.now(principal))
        assert row_of(replace(there, pk="nobody")) is None

    @isolate_apps("tests.hostapp")
    def test_a_model_that_another_one_widens(self, alice: Any, principal: Principal) -> None:
        class Widened(Document):
            class Meta:
                app_label, proxy = "hostapp", True

        pk = new_document(alice, title="a").pk
        resource = Resource(storage_alias="private", key=None, model=Widened, pk=pk, field="file")
        for row in (row_of(resource), row_and_epochs(resource, principal, "")[0]):
            assert isinstance(row, Widened)
            assert row.title == "a"

    @isolate_apps("tests.hostapp")
    def test_no_model_meets_a_row_that_is_not_there(self, alice: Any, principal: Principal) -> None:
        class Strict(models.Model):
            title = models.CharField(max_length=50)

            class Meta:
                app_label, managed = "hostapp", False
                db_table = Document._meta.db_table

            @classmethod
            def from_db(cls, db: Any, field_names: Any, values: Any) -> Any:
                row = super().from_db(db, field_names, values)
                row.shown = row.title.upper()  # type: ignore[attr-defined]
                return row

        resource = Resource(storage_alias="private", key=None, model=Strict, pk=0, field="file")
        assert row_and_epochs(resource, principal, "")[0] is None
        row: Any = row_and_epochs(replace(resource, pk=new_document(alice, title="a").pk), principal, "")[0]
        assert row.shown == "A"
