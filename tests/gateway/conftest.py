"""What the tests of the core share: rows with private files, a request that asks, real databases.

Must not replace anything of the gateway by a double.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.core.management.color import no_style
from django.core.management.sql import sql_flush
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.test import RequestFactory

from gateway import epochs
from gateway.models import File, Issuance
from gateway.principals import Lease, close_lease, open_lease
from tests.emulators.process import require_programs
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
    """Let the alias ``default`` be another database in every thread; no test transaction is open there."""
    before = connections.databases["default"]
    here = connections["default"]
    mine = connections.databases["default"] = before | settings
    del connections["default"]
    try:
        yield mine
    finally:
        connections["default"].close()
        connections.databases["default"] = before
        connections["default"] = here


def sqlite_at(path: Path) -> dict[str, Any]:
    # As servers run it: readers do not keep writers out. What a power cut would lose is not looked at.
    options = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "migrated.sqlite3"
    with django_db_blocker.unblock(), database_at(sqlite_at(path)):
        call_command("migrate", verbosity=0)
    return path


@pytest.fixture
def file_database(tmp_path: Path, migrated_file: Path, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A file of SQLite, which threads share as servers' threads do."""
    path = tmp_path / "database.sqlite3"
    shutil.copy(migrated_file, path)
    with django_db_blocker.unblock(), database_at(sqlite_at(path)) as settings:
        yield settings


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Any, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    name = f"gateway_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    parts = psycopg.conninfo.conninfo_to_dict(postgres.url)
    settings = {
        "ENGINE": "django.db.backends.postgresql", "HOST": parts["host"], "PORT": parts["port"],
        "USER": parts["user"], "NAME": name, "OPTIONS": {"options": "-c synchronous_commit=off"},
    }  # fmt: skip
    with django_db_blocker.unblock(), database_at(settings):
        call_command("migrate", verbosity=0)
    return settings


@pytest.fixture
def postgres_database(migrated_postgres: dict[str, Any], django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A database of PostgreSQL, emptied afterwards."""
    with django_db_blocker.unblock(), database_at(migrated_postgres) as settings:
        try:
            yield settings
        finally:
            connection = connections["default"]
            connection.ops.execute_sql_flush(sql_flush(no_style(), connection, allow_cascade=True))
            epochs.begin_to_count(using="default")


@pytest.fixture
def one_connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As Django's own test client has it: the end of a request ends no connection, nor the rows of the test."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    monkeypatch.setattr("django.db.close_old_connections", lambda **_: None)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture(params=["sqlite", "postgres"])
def real_database(request: Any) -> Any:
    """A database that really commits: a file of SQLite, a database of PostgreSQL."""
    return request.getfixturevalue({"sqlite": "file_database", "postgres": "postgres_database"}[request.param])


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


@pytest.fixture
def chromium() -> str:
    require_programs("chromium", ["chromium"])
    return "chromium"


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a short name: the browser makes a socket in it, whose path may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)
