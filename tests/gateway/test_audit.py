"""The audit: committed before anything leaves, on databases that really commit, and never holding a link."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.http import HttpRequest

from gateway import links
from gateway.audit import hash_of, record, row_of, write
from gateway.errors import AccessDenied, AuditUnavailable
from gateway.models import Issuance
from gateway.policies import Delete, Download
from gateway.principals import ANONYMOUS, SYSTEM, Principal, acting_as
from gateway.resources import Resource
from gateway.signals import access_refused, link_issued
from tests.gateway.conftest import in_a_thread, issuances, new_document, request_of
from tests.gateway.site import converse, session_of, views, visit
from tests.hostapp.models import Document

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def site(settings: Any) -> Iterator[Any]:
    settings.ROOT_URLCONF = "tests.gateway.site"
    before = dict(vars(views))
    yield views
    vars(views).clear()
    vars(views).update(before)


def committed(**conditions: Any) -> list[Issuance]:
    """What another connection sees."""
    rows: list[Issuance] = in_a_thread(lambda: issuances(**conditions))
    return rows


class Scene:
    """A user with a row, and a row of nobody, in the database at hand."""

    def __init__(self) -> None:
        self.user = User.objects.create_user("scene")
        self.own = Resource.of_field(new_document(self.user), "file")
        self.foreign = Resource.of_field(new_document(None), "file")
        self.principal = Principal(kind="user", user=self.user)


@contextmanager
def atomic_requests(database: dict[str, Any], *, on: bool) -> Iterator[None]:
    database["ATOMIC_REQUESTS"] = on
    try:
        yield
    finally:
        database["ATOMIC_REQUESTS"] = False


# Within a request.


def returns(scene: Scene) -> str:
    Document.objects.create(title="of the view")
    return links.issue_once(scene.own).method


def raises(scene: Scene) -> str:
    returns(scene)
    raise ZeroDivisionError


def rolls_back(scene: Scene) -> str:
    with suppress(ZeroDivisionError), transaction.atomic():
        returns(scene)
        raise ZeroDivisionError
    return ""


def rolls_back_by_name(scene: Scene) -> str:
    with transaction.atomic():
        returns(scene)
        transaction.set_rollback(True)
    return ""


def is_denied(scene: Scene) -> str:
    Document.objects.create(title="of the view")
    links.issue_once(scene.foreign)
    return ""


def breaks_the_transaction(scene: Scene) -> str:
    with transaction.atomic():
        returns(scene)
        connection.cursor().execute("SELECT nothing FROM nowhere")
    return ""


# what the view does, with ATOMIC_REQUESTS or not; is its own row there, what is recorded, the status
ENDS: dict[str, tuple[Callable[[Scene], str], bool, bool, str, int]] = {
    "returns": (returns, False, True, "issued", 200),
    "returns, atomic": (returns, True, True, "issued", 200),
    "raises": (raises, False, True, "issued", 500),
    "raises, atomic": (raises, True, False, "issued", 500),
    "rolls back": (rolls_back, False, False, "issued", 200),
    "rolls back, atomic": (rolls_back, True, False, "issued", 200),
    "rolls back by name": (rolls_back_by_name, False, False, "issued", 200),
    "rolls back by name, atomic": (rolls_back_by_name, True, False, "issued", 200),
    "is denied": (is_denied, False, True, "refused", 403),
    "is denied, atomic": (is_denied, True, False, "refused", 403),
    "breaks the transaction": (breaks_the_transaction, False, False, "issued", 500),
    "breaks the transaction, atomic": (breaks_the_transaction, True, False, "issued", 500),
}


@pytest.mark.parametrize(("do", "is_atomic", "view_is_kept", "decision", "status"), ENDS.values(), ids=ENDS)
def test_the_record_is_committed_however_the_view_ends(
    real_database: dict[str, Any],
    do: Callable[[Scene], str],
    is_atomic: bool,
    view_is_kept: bool,
    decision: str,
    status: int,
) -> None:
    scene = Scene()
    views.sync = lambda request: do(scene)

    with atomic_requests(real_database, on=is_atomic):
        response = visit("/sync", scene.user)

    assert response.status_code == status
    assert [row.decision for row in committed()] == [decision]
    assert in_a_thread(Document.objects.filter(title="of the view").exists) is view_is_kept


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_the_record_is_committed_before_asgi_answers(real_database: dict[str, Any], path: str) -> None:
    scene = Scene()
    cookie = session_of(scene.user)

    async def ask(request: HttpRequest) -> str:
        return (await links.aissue_once(scene.own)).method

    views.sync, views.asynchronous = (lambda request: links.issue_once(scene.own).method), ask

    status, _, _ = async_to_sync(converse)(path, cookie)

    assert status == 200
    assert [row.principal for row in committed(decision="issued")] == [scene.principal.id]


def test_nothing_is_written_before_the_view_ends(real_database: dict[str, Any]) -> None:
    scene = Scene()
    seen = []

    def ask(request: HttpRequest) -> str:
        links.issue_once(scene.own)
        seen.append(len(committed()))
        return ""

    views.sync = ask
    visit("/sync", scene.user)

    assert (seen, len(committed())) == ([0], 1)


@contextmanager
def no_table() -> Iterator[None]:
    def rename(one: str, other: str) -> None:
        connection.cursor().execute(f"ALTER TABLE {one} RENAME TO {other}")

    table = Issuance._meta.db_table
    rename(table, "elsewhere")
    try:
        yield
    finally:
        rename("elsewhere", table)


@pytest.mark.parametrize("is_atomic", [False, True], ids=["plain", "atomic"])
def test_without_the_table_the_answer_is_unavailable_and_no_link_leaves(
    real_database: dict[str, Any], is_atomic: bool
) -> None:
    scene = Scene()
    made = []

    def ask(request: HttpRequest) -> str:
        made.append(links.issue_once(scene.own))
        return made[0].url

    views.sync = ask
    with no_table(), atomic_requests(real_database, on=is_atomic):
        response = visit("/sync", scene.user)

    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response["Content-Type"] == "application/problem+json"
    assert b"signature" not in response.content
    assert committed() == []


# Outside of a request.


def test_code_outside_a_request_commits_at_once(real_database: dict[str, Any]) -> None:
    scene = Scene()

    links.issue(scene.principal, scene.own)

    assert [row.decision for row in committed()] == ["issued"]


def test_a_refusal_outside_a_request_commits_at_once(real_database: dict[str, Any]) -> None:
    scene = Scene()

    with pytest.raises(AccessDenied):
        links.issue(scene.principal, scene.foreign)

    assert [row.decision for row in committed()] == ["refused"]


@pytest.mark.parametrize("is_rolled_back", [False, True], ids=["commits", "rolls back"])
def test_within_an_open_transaction_the_record_joins_it(real_database: dict[str, Any], is_rolled_back: bool) -> None:
    scene = Scene()

    with transaction.atomic():
        links.issue(scene.principal, scene.own)
        assert committed() == []
        transaction.set_rollback(is_rolled_back)

    assert len(committed()) == (0 if is_rolled_back else 1)


def test_a_connection_of_its_own_survives_the_transaction(real_database: dict[str, Any], settings: Any) -> None:
    scene = Scene()
    settings.GATEWAY = settings.GATEWAY | {"AUDIT_DATABASE": "audit"}
    connections.databases["audit"] = dict(real_database)
    try:
        with transaction.atomic():
            links.issue(scene.principal, scene.own)
            assert len(committed()) == 1
            transaction.set_rollback(True)
    finally:
        connections["audit"].close()
        del connections["audit"]
        del connections.databases["audit"]

    assert len(committed()) == 1


def test_an_audit_database_that_is_not_there_is_unavailable(db: None, alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"AUDIT_DATABASE": "nowhere"}

    with pytest.raises(AuditUnavailable):
        links.issue(Principal(kind="user", user=alice), Resource.of_field(new_document(alice), "file"))


def test_without_the_record_code_gets_no_link(real_database: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()

    with no_table(), pytest.raises(AuditUnavailable) as unavailable:
        links.issue(scene.principal, scene.own)

    assert unavailable.value.status == 503
    assert "audit rows could not be written" in caplog.text
    assert "signature" not in caplog.text


def test_a_transaction_that_is_broken_gets_no_link(real_database: dict[str, Any]) -> None:
    scene = Scene()
    principal = Principal(kind="system", reason="report")  # so that nothing is read from the broken transaction

    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(AuditUnavailable):
            record([row_of("issued", principal, scene.own, Download, at=NOW)])


# What a row holds.

HOSTILE = {
    "a line end": "a\n2026 issued admin",
    "a carriage return": "a\r\nissued",
    "an escape": "a\x1b[2K",
    "NUL": "a\x00b",
    "a lone surrogate": "a\ud800b",
    "a line separator": "a\u2028b",
    "a bidirectional override": "a\u202eb",
    "an overlong text": "a" * 5000,
    "overlong in bytes": "ü" * 2000,
    "emoji": "a😀" * 800,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_recorded_and_forges_no_line(
    real_database: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    user = User.objects.create_user("scene")
    principal = Principal(kind="system", reason=text)
    resource = Resource(storage_alias=text, key=text, model=Document, pk=text, field="file")
    operation = type(text.replace("\x00", "").encode(errors="replace").decode()[:300], (), {})

    write([row_of("refused", principal, resource, operation, at=NOW, policy=text, reason=text, tenant=text)])

    row = committed()[0]
    for field in Issuance._meta.concrete_fields:
        value = getattr(row, field.name)
        if isinstance(value, str):
            assert value.isprintable()
            assert len(value) <= (field.max_length or 0)
    assert row.reason.startswith(text[:1])
    messages = [message for message in caplog.messages if message.startswith("refused")]
    assert len(messages) == 1
    assert messages[0].isprintable()
    assert user.pk


def test_a_forged_name_is_refused_and_recorded_on_one_line(
    db: None, alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    document = new_document(alice)
    document.file.name = "uploads/a\n2026 issued admin.pdf"

    with request_of(alice) as lease:
        with pytest.raises(AccessDenied):
            document.file.url  # noqa: B018
        write(lease.pending)

    assert [row.key for row in issuances()] == ["uploads/a\\n2026 issued admin.pdf"]
    assert not any("\n" in message for message in caplog.messages)


def test_a_row_that_was_made_by_hand_forges_no_line(db: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    hostile = "a\n2026 issued admin"

    texts = dict.fromkeys(["principal", "resource", "reason"], hostile)
    write([Issuance(at=NOW, decision="refused", operation="x", **texts)])

    assert len(caplog.messages) == 1
    assert caplog.messages[0].isprintable()


@pytest.mark.parametrize("disposition", [None, "inline", "attachment"])
def test_no_column_holds_the_link_or_its_signature(alice: Any, disposition: Any) -> None:
    document = new_document(alice)
    with acting_as(alice):
        url = str(document.file.signed_url(disposition=disposition, filename="a.pdf"))
    query = dict(parse_qsl(urlsplit(url).query))

    stored = Issuance.objects.values().get()

    for value in map(str, stored.values()):
        assert "http" not in value
        assert query["signature"] not in value
        assert urlsplit(url).query not in value
    assert stored["link_id"] == query["link"]
    assert stored["expires_at"] == datetime.fromtimestamp(int(query["expires"]), UTC)
    assert stored["key"] == document.file.name


def test_a_link_that_was_found_is_matched_to_its_row(alice: Any) -> None:
    issued = links.issue(Principal(kind="user", user=alice), Resource.of_field(new_document(alice), "file"))

    row = Issuance.objects.get(link_hash=hash_of(issued.url))

    assert row.link_id == issued.id
    assert not Issuance.objects.filter(link_hash=hash_of(issued.url + "x")).exists()


def test_the_hash_of_a_link_is_keyed_under_a_label_of_its_own(settings: Any) -> None:
    url = "https://store.example/k?signature=s"
    key = hmac.digest(settings.SECRET_KEY.encode(), b"presign-gateway audit link v1", "sha256")

    assert hash_of(url) == hmac.digest(key, url.encode(), "sha256").hex()
    assert hash_of(url) != hashlib.sha256(url.encode()).hexdigest()
    before = hash_of(url)
    settings.SECRET_KEY = "another-0123456789abcdefghijklmnopqrstuvwxyz"
    assert hash_of(url) != before


def test_a_row_says_who_what_until_when_and_why(alice: Any) -> None:
    document = new_document(alice)
    with request_of(alice) as lease:
        issued = links.issue_once(Resource.of_field(document, "file"))
    row = lease.pending[0]

    assert (row.decision, row.principal, row.credential, row.operation) == (
        "issued", f"user:{alice.pk}", "request", "Download"
    )  # fmt: skip
    assert (row.storage_alias, row.resource) == ("private", f"hostapp.Document.file:{document.pk}")
    assert (row.key, row.policy, row.reason) == (document.file.name, "Owner('owner')", "")
    assert (row.link_id, row.expires_at, row.limited_by) == (issued.id, issued.expires_at, "")
    assert row.request_id == lease.request_id
    assert abs(datetime.now(UTC) - row.at) < timedelta(minutes=1)


def test_without_time_zones_rows_are_written_in_local_time(alice: Any, settings: Any) -> None:
    document = new_document(alice)
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Tokyo"

    issued = links.issue(Principal(kind="user", user=alice), Resource.of_field(document, "file"))
    with pytest.raises(AccessDenied):
        links.issue(ANONYMOUS, Resource.of_field(document, "file"))

    row = Issuance.objects.get(decision="issued")
    assert issued.expires_at.tzinfo is UTC
    assert row.expires_at == (issued.expires_at + timedelta(hours=9)).replace(tzinfo=None)


# Refusals are counted once a minute.

RESOURCE = Resource.of_key("private", "uploads/a")
USER_1, USER_2 = (Principal(kind="user", user=User(pk=pk)) for pk in (1, 2))


def refusal(**changes: Any) -> Issuance:
    given = {"principal": USER_1, "resource": RESOURCE, "operation": Download, "at": NOW, "reason": "no"} | changes
    return row_of("refused", **given)


SAME_MINUTE = {
    "the same again": ({}, 1),
    "the end of the minute": ({"at": NOW.replace(second=59, microsecond=999_999)}, 1),
    "the beginning of the minute": ({"at": NOW.replace(second=0)}, 1),
    "another credential": ({"principal": Principal(kind="user", user=User(pk=1), request=HttpRequest())}, 1),
    "the next minute": ({"at": NOW + timedelta(minutes=1)}, 2),
    "the minute before": ({"at": NOW - timedelta(minutes=1)}, 2),
    "another principal": ({"principal": USER_2}, 2),
    "another resource": ({"resource": Resource.of_key("private", "uploads/b")}, 2),
    "another operation": ({"operation": Delete}, 2),
    "another reason": ({"reason": "still no"}, 2),
}


@pytest.mark.parametrize("together", [True, False], ids=["together", "one after the other"])
@pytest.mark.parametrize(("changes", "rows"), SAME_MINUTE.values(), ids=SAME_MINUTE)
def test_a_refusal_is_written_once_a_minute(db: None, changes: dict[str, Any], rows: int, together: bool) -> None:
    one, other = refusal(), refusal(**changes)

    for batch in [[one, other]] if together else [[one], [other]]:
        write(batch)

    assert Issuance.objects.count() == rows


def test_a_late_row_of_a_long_request_is_not_taken_for_an_earlier_one(db: None) -> None:
    write([refusal()])

    write([refusal(), refusal(at=NOW + timedelta(minutes=3))])

    assert sorted(row.at for row in issuances()) == [NOW, NOW + timedelta(minutes=3)]


def test_what_is_issued_is_written_every_time(db: None) -> None:
    for _ in range(2):
        write([row_of("issued", USER_1, RESOURCE, Download, at=NOW) for _ in range(2)])

    assert Issuance.objects.count() == 4


def test_a_client_that_keeps_asking_fills_no_table(alice: Any, bob: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    resource = Resource.of_field(new_document(alice), "file")

    def ask(request: HttpRequest) -> str:
        for _ in range(3):
            with pytest.raises(AccessDenied):
                links.issue_once(resource)
        return ""

    views.sync = ask
    for _ in range(3):
        visit("/sync", bob)

    minutes = {row.at.replace(second=0, microsecond=0) for row in issuances()}
    assert len(issuances()) == len(minutes) <= 2  # a minute may have ended between
    assert len([message for message in caplog.messages if message.startswith("refused")]) == len(minutes)


def test_no_rows_ask_nothing(django_assert_num_queries: Any, db: None) -> None:
    with django_assert_num_queries(0):
        write([])
        record([])


def test_rows_wait_for_the_end_of_a_request(alice: Any) -> None:
    row = row_of("issued", SYSTEM, RESOURCE, Download, at=NOW)
    with request_of(alice) as lease:
        record([row])
        assert lease.pending == [row]
        assert issuances() == []


# Signals.


@contextmanager
def receiving() -> Iterator[list[tuple[str, Any, bool]]]:
    heard: list[tuple[str, Any, bool]] = []

    def receiver_of(name: str) -> Callable[..., None]:
        def receive(sender: Any, issuance: Any, **_: Any) -> None:
            assert sender is Issuance
            heard.append((name, issuance, Issuance.objects.filter(pk=issuance.pk).exists()))

        return receive

    receivers = [(link_issued, receiver_of("issued")), (access_refused, receiver_of("refused"))]
    for signal, receiver in receivers:
        signal.connect(receiver)
    try:
        yield heard
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)


def test_receivers_get_the_row_once_it_is_written(alice: Any, bob: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    with receiving() as heard:
        issued = links.issue(Principal(kind="user", user=alice), resource)
        links.authorize(Principal(kind="user", user=alice), resource, Download)
        for _ in range(2):
            with pytest.raises(AccessDenied):
                links.issue(Principal(kind="user", user=bob), resource)

    assert [(name, there) for name, _, there in heard] == [("issued", True), ("refused", True)]
    assert heard[0][1].link_id == issued.id
    assert not any("signature" in str(value) for value in vars(heard[0][1]).values())


def test_receivers_hear_nothing_of_a_link_that_never_left(real_database: dict[str, Any]) -> None:
    scene = Scene()
    views.sync = lambda request: links.issue_once(scene.own).method

    with receiving() as heard, no_table():
        visit("/sync", scene.user)

    assert heard == []


def test_a_receiver_that_raises_is_logged_and_changes_nothing(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    link_issued.connect(broken)
    try:
        with receiving() as heard:
            views.sync = lambda request: links.issue_once(resource).method
            response = visit("/sync", alice)
    finally:
        link_issued.disconnect(broken)

    assert (response.status_code, response.content) == (200, b"GET")
    assert len(issuances(decision="issued")) == len(heard) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_receiver_may_ask_for_links_itself(alice: Any) -> None:
    resource = Resource.of_field(new_document(alice), "file")

    def asking(issuance: Any, **_: Any) -> None:
        if issuance.principal != "system":
            with acting_as(SYSTEM, reason="receiver"):
                links.issue_once(resource)

    link_issued.connect(asking)
    try:
        views.sync = lambda request: links.issue_once(resource).method
        visit("/sync", alice)
    finally:
        link_issued.disconnect(asking)

    assert sorted(row.principal for row in issuances()) == ["system", f"user:{alice.pk}"]
