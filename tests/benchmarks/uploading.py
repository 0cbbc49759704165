"""What an upload costs the web process, beside a Django view that streams it to the same bucket.

Both pass the whole WSGI handler, on PostgreSQL and Ceph; what counts is the processor time of the web process. The
client's bytes go from another process. Run as a module it is the process that measures.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.measuring import Row, Table, alternate
from tests.benchmarks.production import measured_by
from tests.benchmarks.serving_links import Site
from tests.benchmarks.signing import ACCESS_KEY_ID, BUCKET, REGION, SECRET
from tests.emulators.ceph import CephGateway
from tests.emulators.gcs import CloudStorage
from tests.emulators.postgres import Postgres

FILE_BYTES = 256 * 2**20
LARGE_BYTES = 64 * 2**20
SMALL_BYTES = 2**20
PART_BYTES = 16 * 2**20
PARTS = 1000
ROUNDS = 2
_CLIENT = """
import http.client, json, sys
from urllib.parse import urlsplit
for request, size in json.load(sys.stdin):
    url = urlsplit(request["url"])
    connection = http.client.HTTPConnection(url.netloc)
    connection.request(request["method"], f"{url.path}?{url.query}", bytes(size), request["headers"])
    assert connection.getresponse().status == 200
"""


def table() -> Table:
    with CephGateway() as ceph:
        options = {
            "bucket_name": ceph.create_bucket("uploads"),
            "region_name": ceph.region,
            "endpoint_url": ceph.endpoint_url,
            "access_key": ceph.access_key_id,
            "secret_key": ceph.secret_access_key,
        }
        measured = _measured("measure", "gateway.storages.PrivateS3Storage", options)
    with CloudStorage() as gcs:
        options = {
            "bucket_name": gcs.create_bucket("uploads"),
            "endpoint_url": gcs.endpoint_url,
            "service_account_key": gcs.service_account_info(),
        }
        counted = _measured("measure_counted", "gateway.storages.PrivateGCSStorage", options)
    result = Table("Uploads straight to the store")
    view = "a view that saves `request.FILES` by django-storages"
    of_small = f"finalize of {SMALL_BYTES // 2**20} MiB"
    result.rows = [
        Row("processor time for each GiB", measured["ours"], measured["view"], view, 1 / 20, "at most 1/20"),
        Row(f"signing {PARTS:,} parts for S3", _signing(), 0.05, "the limit", 1, "at most 50 ms"),
        Row(
            f"finalize of {LARGE_BYTES // 2**20} MiB in parts", measured["large"], measured["small"], of_small,
            1.5, "the same, within 1.5",
        ),
        Row(
            f"processor time, finalize of {LARGE_BYTES // 2**20} MiB with its MD5", counted["large"], counted["small"],
            of_small, 1.5, "the same, within 1.5",
        ),
    ]  # fmt: skip
    result.notes = [
        f"Files of {FILE_BYTES // 2**20} MiB in parts of {PART_BYTES // 2**20} MiB: begin, sign, finalize."
        f" The view's files have {LARGE_BYTES // 2**20} MiB: its costs grow with the bytes, ours with the parts.",
        "Finalize of parts on Ceph, where no checksum was declared; with an MD5 on the stand-in for Cloud Storage,"
        " which counts it as Google does.",
    ]
    return result


def _measured(what: str, backend: str, options: dict[str, Any]) -> Any:
    """Return what one of the functions below measures, in a process of its own under production settings."""
    entry = {"BACKEND": backend, "OPTIONS": options}
    with Postgres() as postgres:
        return measured_by("tests.benchmarks.uploading", what, database_url=postgres.url, entry=entry)


def _signing() -> float:
    from providers import S3Provider, StaticCredentials, UploadPart

    provider = S3Provider(bucket=BUCKET, region=REGION, credentials=StaticCredentials(ACCESS_KEY_ID, SECRET))
    ttl = timedelta(seconds=300)

    def sign() -> None:
        key, upload_id = f"uploads/{uuid.uuid4().hex}/file.bin", uuid.uuid4().hex
        parts = [UploadPart(key, upload_id=upload_id, number=n, size_bytes=PART_BYTES) for n in range(1, PARTS + 1)]
        provider.sign_many(parts, ttl=ttl, now=datetime.now(UTC))

    (seconds,) = alternate(sign, rounds=21)
    return seconds


def measure() -> dict[str, float]:
    from django.test.client import BOUNDARY, MULTIPART_CONTENT

    gateway, plain = _sites()
    spent = 0.0

    def ask(path: str, body: Any, expected: int) -> Any:
        nonlocal spent
        began = time.process_time()
        answer = gateway.post(path, json.dumps(body).encode(), expected)
        spent += time.process_time() - began
        return json.loads(answer)

    def uploaded(size: int) -> str:
        """Upload a file, and return the address that finalizes it."""
        wish = {"filename": "a.bin", "content_type": "application/octet-stream", "size": size, "strategy": "multipart"}
        upload = ask("/api/v1/uploads", wish, 201)
        sizes = [PART_BYTES] * (size // PART_BYTES) + [size % PART_BYTES] * (size % PART_BYTES > 0)
        wanted = [{"number": n, "size": part} for n, part in enumerate(sizes, start=1)]
        signed = ask(f"/api/v1/uploads/{upload['id']}/parts", {"parts": wanted}, 200)["parts"]
        client_process = [sys.executable, "-c", _CLIENT]
        subprocess.run(client_process, input=json.dumps(list(zip(signed, sizes, strict=True))), text=True, check=True)
        return f"/api/v1/uploads/{upload['id']}/finalize"

    def straight() -> float:
        nonlocal spent
        spent = 0.0
        ask(uploaded(FILE_BYTES), {}, 200)
        return spent

    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'.encode()
    form = head + bytes(LARGE_BYTES) + f"\r\n--{BOUNDARY}--\r\n".encode()

    def through() -> float:
        began = time.process_time()
        plain.post("/plain/upload", form, 201, content_type=MULTIPART_CONTENT)
        return time.process_time() - began

    def finalizing(size: int) -> float:
        path = uploaded(size)
        began = time.perf_counter()
        ask(path, {}, 200)
        return time.perf_counter() - began

    ours, view, large, small = medians(
        straight, through, lambda: finalizing(LARGE_BYTES), lambda: finalizing(SMALL_BYTES)
    )
    gib = 2**30
    return {"ours": ours * gib / FILE_BYTES, "view": view * gib / LARGE_BYTES, "large": large, "small": small}


def measure_counted() -> dict[str, float]:
    gateway, _ = _sites()

    def finalizing(size: int) -> float:
        content = secrets.token_bytes(size)
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        wish = {
            "filename": "a.bin", "content_type": "application/octet-stream", "size": size, "strategy": "single",
            "checksum": {"algorithm": "md5", "value": digest},
        }  # fmt: skip
        upload = json.loads(gateway.post("/api/v1/uploads", json.dumps(wish).encode(), 201))
        request = upload["request"]
        url = urlsplit(request["url"])
        connection = http.client.HTTPConnection(url.netloc)
        connection.request(request["method"], f"{url.path}?{url.query}", content, request["headers"])
        assert connection.getresponse().status == 200
        # The stand-in loads a whole object for its first bytes; the time that counts is the web process's own.
        began = time.process_time()
        gateway.post(f"/api/v1/uploads/{upload['id']}/finalize", b"{}", 200)
        return time.process_time() - began

    large, small = medians(lambda: finalizing(LARGE_BYTES), lambda: finalizing(SMALL_BYTES))
    return {"large": large, "small": small}


def _sites() -> tuple[Site, Site]:
    """Return the service and the views written by hand, to one who is logged in."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.middleware.csrf import _get_new_csrf_string  # the value that a browser would have been given
    from django.test import Client

    call_command("migrate", verbosity=0)
    client = Client()
    client.force_login(get_user_model().objects.create_user("owner"))
    token = _get_new_csrf_string()
    cookies = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}; {settings.CSRF_COOKIE_NAME}={token}"
    return Site(settings.MIDDLEWARE, cookies, token), Site(settings.PLAIN_MIDDLEWARE, cookies, token)


def medians(*works: Callable[[], float]) -> list[float]:
    """Return the median of what each work says of itself; in turn, after one run that does not count."""
    said = [[work() for work in works] for _ in range(ROUNDS + 1)][1:]
    return [statistics.median(column) for column in zip(*said, strict=True)]


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps({"measure": measure, "measure_counted": measure_counted}[sys.argv[1]]()))
