"""``POST /links`` beside a view written by hand, on PostgreSQL that commits to the disk, under production settings.

The requests pass the whole WSGI handler in this process; the network and the web server, which are the same for
both, are left out. Run as a module it is the process that measures; ``table()`` starts that process.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.measuring import Row, Table, alternate
from tests.benchmarks.production import HOST, measured_by
from tests.benchmarks.signing import ACCESS_KEY_ID, BUCKET, REGION, SECRET
from tests.emulators.postgres import Postgres

BATCH = 1000
ROUNDS = 400


def table() -> Table:
    options = {
        "bucket_name": BUCKET,
        "region_name": REGION,
        "access_key": ACCESS_KEY_ID,
        "secret_key": SECRET,
    }
    entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options}
    with Postgres() as postgres:
        measured = measured_by("tests.benchmarks.serving_links", database_url=postgres.url, entry=entry)
    single, plain, recorded = measured["single"], measured["plain"], measured["recorded"]
    result = Table("A link over HTTP, with its audit row")
    result.rows = [
        Row("`POST /links`", single, plain, "a view that writes nothing", 1.5, "at most 1.5"),
        Row("`POST /links`", single, recorded, "the same view writing one row", 1, "no slower"),
        Row(f"one link of a batch of {BATCH:,}", measured["batch"], single, "`POST /links`", 0.1, "at most 0.1"),
        Row(
            f"a page of {measured['page_links']} links, `prefetch()`",
            measured["page"],
            measured["recorded_page"],
            "django-storages' `.url` of each, writing one row for each",
            1 / 3,
            "at most 1/3",
        ),
        Row(
            f"a page of {measured['page_links']} links, `prefetch()`",
            measured["page"],
            measured["plain_page"],
            "django-storages' `.url` of each, nothing decided or written",
            1,
            "no slower",
        ),
        Row(
            "`.url` outside a request, row committed",
            measured["url"],
            measured["boto3_url"],
            "boto3's `.url`, no row",
        ),
    ]
    result.notes = [
        f"Database: {measured['database']}.",
        "The peer is a Django view that reads the session, loads the row, checks the owner and returns"
        " django-storages' `.url` (boto3, SigV4).",
    ]
    return result


class Site:
    """One WSGI handler with a logged-in session."""

    def __init__(self, middleware: list[str], cookies: str, csrf_token: str) -> None:
        from django.core.handlers.wsgi import WSGIHandler
        from django.test import override_settings

        with override_settings(MIDDLEWARE=middleware):
            self._handler = WSGIHandler()
        self._cookies = cookies
        self._csrf_token = csrf_token

    def post(self, path: str, body: bytes, expected: int, *, content_type: str = "application/json") -> bytes:
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": HOST,
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": HOST,
            "HTTP_COOKIE": self._cookies,
            "HTTP_X_CSRFTOKEN": self._csrf_token,
            "HTTP_REFERER": f"https://{HOST}/",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "https",
            "wsgi.version": (1, 0),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        seen: list[str] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            seen.append(status)
            return lambda _: None

        response = self._handler(environ, start_response)
        try:
            content = b"".join(response)
        finally:
            response.close()
        if not seen[0].startswith(str(expected)):
            raise AssertionError(f"{path}: {seen[0]} in place of {expected}: {content[:500]!r}")
        return content


def measure() -> dict[str, Any]:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from django.middleware.csrf import _get_new_csrf_string  # the value that a browser would have been given
    from django.test import Client

    from gateway import links
    from gateway.models import File, Issuance
    from gateway.policies import Download
    from gateway.principals import acting_as
    from gateway.resources import Resource
    from tests.benchmarks.plain import PAGE, storage
    from tests.hostapp.models import Document

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("owner")
    files = File.objects.bulk_create(
        File(
            owner=user,
            storage_alias="private",
            key=f"uploads/2026/11/{number:026x}/file.pdf",
            filename=f"report {number}.pdf",
            content_type="application/pdf",
            size_bytes=1000,
        )
        for number in range(BATCH)
    )
    client = Client()
    client.force_login(user)
    token = _get_new_csrf_string()
    cookies = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}; {settings.CSRF_COOKIE_NAME}={token}"
    gateway = Site(settings.MIDDLEWARE, cookies, token)
    plain = Site(settings.PLAIN_MIDDLEWARE, cookies, token)
    one = json.dumps({"file": str(files[0].pk)}).encode()
    many = json.dumps({"items": [{"file": str(file.pk)} for file in files]}).encode()

    single, plain_time, recorded = alternate(
        lambda: gateway.post("/api/v1/links", one, 201),
        lambda: plain.post("/plain/link", one, 201),
        lambda: plain.post("/plain/recorded", one, 201),
        rounds=ROUNDS,
    )
    (batch,) = alternate(lambda: gateway.post("/api/v1/links/batch", many, 200), rounds=10, units=BATCH)
    for file in files[:PAGE]:
        # As a fixture: there is no store that could take the bytes.
        Document(owner=user, file=file.key).save_base(raw=True, force_insert=True)
    page, plain_page, recorded_page = alternate(
        lambda: gateway.post("/prefetched/page", b"", 201),
        lambda: plain.post("/plain/page", b"", 201),
        lambda: plain.post("/plain/recorded_page", b"", 201),
        rounds=30,
    )
    resource = Resource.of_file(files[0])

    def url() -> None:
        with acting_as(user):
            links.issue_once(resource, Download)

    url_time, boto3_url = alternate(url, lambda: storage.url(files[0].key), rounds=ROUNDS)
    issued = Issuance.objects.filter(decision=Issuance.Decision.ISSUED).count()
    assert issued > BATCH + ROUNDS, issued
    with connection.cursor() as cursor:
        shown = {}
        for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method"):
            cursor.execute(f"SHOW {name}")
            shown[name] = cursor.fetchone()[0]
    return {
        "single": single,
        "plain": plain_time,
        "recorded": recorded,
        "batch": batch,
        "page": page,
        "page_links": PAGE,
        "plain_page": plain_page,
        "recorded_page": recorded_page,
        "url": url_time,
        "boto3_url": boto3_url,
        "database": f"PostgreSQL {shown.pop('server_version').split()[0]} on loopback, persistent connections, "
        + ", ".join(f"{name}={value}" for name, value in shown.items()),
    }


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(measure()))
