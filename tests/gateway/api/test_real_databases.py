"""The API on databases that really commit: what SQLite in memory would forgive, PostgreSQL does not."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway.models import ApiToken, File, Issuance
from tests.gateway.api.support import NOBODYS, by_session, by_token, file_of, issued
from tests.gateway.conftest import new_file

LINKS = "/api/v1/links"
BATCH = "/api/v1/links/batch"


@pytest.fixture
def carol(real_database: Any) -> Iterator[Any]:
    return get_user_model().objects.create_user("carol", password="carol-password")


def test_a_link_is_committed_with_its_row(carol: Any) -> None:
    response = by_session(carol).send(LINKS, {"file": str(file_of(carol).pk)})
    assert response.status_code == 201
    assert Issuance.objects.get().link_id == response.json()["id"]
    assert not connection.in_atomic_block


def test_a_refusal_is_committed_too(carol: Any) -> None:
    assert by_token(carol).send(LINKS, {"file": NOBODYS}).status_code == 404
    assert Issuance.objects.get().decision == "refused"


HOSTILE: dict[str, dict[str, Any]] = {
    "NUL in a reference": {"file": "hostapp.document:a\x00:file"},
    "NUL in a name": {"filename": "a\x00b"},
    "lone surrogate": {"filename": "\ud800"},
    "NUL as a field": {"\x00": 1},
}


def test_text_that_the_database_could_not_hold_never_reaches_it(carol: Any) -> None:
    client, good = by_token(carol), {"file": str(file_of(carol).pk)}
    for name, fields in HOSTILE.items():
        assert client.send(LINKS, good | fields).status_code == 400, name
    for query in ("q=%00", "cursor=%00", "state=%00"):
        assert client.get(f"/api/v1/files?{query}").status_code == 400, query
    assert issued() == 0


def test_a_batch_takes_as_many_statements_whatever_its_size(carol: Any) -> None:
    client = by_token(carol)
    counted = []
    for count in (2, 10, 100):
        items = [{"file": str(file_of(carol).pk)} for _ in range(count)]
        ApiToken.objects.update(last_used_at=timezone.now())
        with CaptureQueriesContext(connection) as queries:
            body = client.send(BATCH, {"items": items}).json()
        assert body["summary"]["issued"] == count
        counted.append(len(queries))
    # SQLite takes 999 parameters a statement, and so the rows of a hundred in parts.
    assert counted[0] == counted[1]
    at_once = connection.ops.bulk_batch_size(list(Issuance._meta.concrete_fields), [Issuance()] * 100)
    assert counted[2] - counted[1] == math.ceil(100 / at_once) - 1


def test_pages_hold_files_of_one_instant_once_each(carol: Any) -> None:
    instant = timezone.now()
    expected = {str(new_file(carol, id=uuid.uuid4(), created_at=instant).pk) for _ in range(9)}
    client = by_token(carol)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get("/api/v1/files", {"limit": 2, "cursor": cursor}).json()
        seen += [file["id"] for file in page["items"]]
        cursor = page["next_cursor"]
    assert (len(seen), set(seen)) == (9, expected)


def test_a_deletion_is_committed_before_the_object_goes(carol: Any) -> None:
    file = file_of(carol)
    assert by_token(carol).delete(f"/api/v1/files/{file.pk}").status_code == 204
    assert File.objects.get().state == "deleted"


def test_a_commit_that_fails_delivers_nothing_and_the_next_request_works(carol: Any, monkeypatch: Any) -> None:
    def fail() -> None:
        raise OperationalError("the connection was lost at COMMIT")

    # Of two links, since the row of one is a statement that commits itself.
    client, asked = by_token(carol), {"items": [{"file": str(file_of(carol).pk)} for _ in range(2)]}
    ApiToken.objects.update(last_used_at=timezone.now())
    with monkeypatch.context() as patched:
        patched.setattr(connection, "_commit", fail)
        response = client.send(BATCH, asked)
    assert (response.status_code, response.json()["code"], issued()) == (503, "audit_unavailable", 0)
    assert client.send(BATCH, asked).json()["summary"]["issued"] == 2


@pytest.mark.parametrize("real_database", ["postgres"], indirect=True)
def test_a_connection_that_was_cut_is_503_and_the_next_request_works(carol: Any) -> None:
    client, asked = by_session(carol), {"file": str(file_of(carol).pk)}
    connection.connection.close()
    response = client.send(LINKS, asked)
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    # As Django does before each request of a server.
    connection.close_if_unusable_or_obsolete()
    assert issued() == 0
    assert client.send(LINKS, asked).status_code == 201
