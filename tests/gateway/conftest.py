"""What the tests of the core share: rows with private files, a request that asks, real databases.

Must not replace anything of the gateway by a double.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.db import connections
from django.test import RequestFactory

from gateway.models import File, Issuance
from gateway.principals import Lease, close_lease, open_lease
from tests.hostapp.models import Document


def new_document(owner: Any, key: str | None = None, **fields: Any) -> Document:
    """Make a row whose object is not looked at, as a restored fixture would be."""
    key = key or f"uploads/{uuid.uuid4().hex}/report.pdf"
    document = Document(owner=owner, file=key, **fields)
    document.save_base(raw=True, force_insert=True)
    return Document.objects.get(pk=document.pk)


def new_file(owner: Any, **fields: Any) -> File:
    """Make a file of the service itself, with no object behind it."""
    fields = {
        "storage_alias": "private",
        "key": f"uploads/{uuid.uuid4().hex}.pdf",
        "filename": "report.pdf",
        "content_type": "application/pdf",
        "size_bytes": 7,
    } | fields
    return File.objects.create(owner=owner, **fields)


def issuances(**conditions: Any) -> list[Issuance]:
    return list(Issuance.objects.filter(**conditions).order_by("at", "resource"))


@contextmanager
def request_of(user: Any = None, **attributes: Any) -> Iterator[Lease]:
    """Be inside a request of ``user``, whose audit nobody commits."""
    request = RequestFactory().get("/")
    request.user = AnonymousUser() if user is None else user
    for name, value in attributes.items():
        setattr(request, name, value)
    lease, token = open_lease(request)
    try:
        yield lease
    finally:
        close_lease(lease, token)


@contextmanager
def database_at(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Let the alias ``default`` be another database, migrated, in every thread; no test transaction is open."""
    before = connections.databases["default"]
    mine = before | {"TEST": before["TEST"]} | settings
    connections["default"].close()
    here = connections["default"]
    connections.databases["default"] = mine
    del connections["default"]
    try:
        call_command("migrate", verbosity=0)
        yield mine
    finally:
        connections["default"].close()
        connections.databases["default"] = before
        connections["default"] = here


@pytest.fixture
def file_database(tmp_path: Path, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A file of SQLite, which threads share as servers' threads do."""
    engine = "django.db.backends.sqlite3"
    with (
        django_db_blocker.unblock(),
        database_at({"ENGINE": engine, "NAME": str(tmp_path / "file.sqlite3")}) as settings,
    ):
        yield settings


@pytest.fixture(params=["sqlite", "postgres"])
def real_database(request: Any, tmp_path: Path, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A database that really commits: a file of SQLite, a database of PostgreSQL."""
    with django_db_blocker.unblock():
        manager: AbstractContextManager[dict[str, Any]]
        if request.param == "sqlite":
            engine = "django.db.backends.sqlite3"
            manager = database_at({"ENGINE": engine, "NAME": str(tmp_path / "real.sqlite3")})
            with manager as settings:
                yield settings
            return
        server = request.getfixturevalue("postgres")
        name = f"gateway_{uuid.uuid4().hex}"
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
            where = psycopg.conninfo.conninfo_to_dict(server.url)
            parts = {"HOST": where["host"], "PORT": where["port"], "USER": where["user"], "NAME": name}
            try:
                with database_at({"ENGINE": "django.db.backends.postgresql"} | parts) as settings:
                    yield settings
            finally:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def in_a_thread(function: Callable[[], Any]) -> Any:
    """Run something in a thread of its own, with connections of its own and no ambient principal."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
