"""Signing for Google Cloud Storage beside google-cloud-storage and the bare RSA operation, and pages of links.

The pages pass the whole WSGI handler, on PostgreSQL that commits to the disk. Run as a module it is the process
that measures them; ``page_table()`` starts that process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.cloud.storage import Client
from google.oauth2 import service_account

from providers import Download, GCSProvider, HMACKey, ServiceAccountKey
from tests.benchmarks.measuring import Row, Table, alternate
from tests.emulators.postgres import Postgres

BUCKET = "benchmark-bucket"
EMAIL = "signer@project.iam.gserviceaccount.com"
HMAC = {"hmac_access_id": "GOOG1EXAMPLEEXAMPLEEXAMPLE", "hmac_secret": "bGoa+V7g/yqDXvKRqq+JTFn4uQZbPiQJo4pf9RzJ"}
TTL = timedelta(seconds=300)
LINKS = 100
ROUNDS = 21
THREADS = 200
HOST = "files.example.com"


def key_info() -> dict[str, str]:
    """Return what Google's key file holds, with a new key of 2048 bits."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {"type": "service_account", "client_email": EMAIL, "private_key": pem, "token_uri": "http://127.0.0.1:9"}


def table() -> Table:
    info = key_info()
    key = serialization.load_pem_private_key(info["private_key"].encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    with_key = GCSProvider(bucket=BUCKET, credentials=ServiceAccountKey.from_info(info))
    with_hmac = GCSProvider(bucket=BUCKET, credentials=HMACKey(HMAC["hmac_access_id"], HMAC["hmac_secret"]))
    google = service_account.Credentials.from_service_account_info(info)
    bucket = Client(project="project", credentials=google).bucket(BUCKET)
    scheme, algorithm = padding.PKCS1v15(), hashes.SHA256()
    numbers = count()

    def downloads() -> list[Download]:
        # New names each time: a cache of encoded values must not pass for speed.
        return [
            Download(f"uploads/2026/11/{n:026x}/report-{n}.pdf", filename=f"report {n}.pdf", disposition="attachment")
            for n in (next(numbers) for _ in range(LINKS))
        ]

    made = [iter([downloads() for _ in range(ROUNDS + 1)]) for _ in range(3)]

    def ours(provider: GCSProvider, batches: Iterator[list[Download]]) -> None:
        for n, download in enumerate(next(batches)):
            # A second apart: what links of one second share must not pass for speed either.
            provider.sign(download, ttl=TTL, now=_START + timedelta(seconds=n))

    def bare() -> None:
        for n in range(LINKS):
            key.sign(b"a string to sign of the usual length, which is 140 bytes or so %d" % n, scheme, algorithm)

    def theirs() -> None:
        for download in next(made[2]):
            bucket.blob(download.key).generate_signed_url(
                version="v4", expiration=TTL, response_disposition=download.content_disposition
            )

    rsa_one, hmac_one, bare_one, google_one = alternate(
        lambda: ours(with_key, made[0]), lambda: ours(with_hmac, made[1]), bare, theirs, rounds=ROUNDS, units=LINKS
    )
    threads = [downloads()[:4] for _ in range(THREADS)]
    first, steady = _in_new_threads(with_key, threads)
    hmac_first, hmac_steady = _in_new_threads(with_hmac, threads)
    result = Table("Signing for Google Cloud Storage")
    what = "`sign` with a file name"
    result.rows = [
        Row(f"{what}, RSA-2048", rsa_one, bare_one, "the RSA operation alone", 1.15, "at most 1.15"),
        Row(f"{what}, RSA-2048", rsa_one, google_one, "google-cloud-storage", 1, "no slower"),
        Row(f"{what}, HMAC", hmac_one, google_one, "google-cloud-storage", 1 / 15, "at most 1/15"),
        Row("the first `sign` in a new thread, RSA-2048", first, steady, "the ones after it", 2, "at most 2"),
        Row("the first `sign` in a new thread, HMAC", hmac_first, hmac_steady, "the ones after it"),
    ]
    return result


def _in_new_threads(provider: GCSProvider, operations: Sequence[Sequence[Download]]) -> tuple[float, float]:
    """Return the median seconds of a thread's first signature, and of its later ones."""
    firsts: list[float] = []
    later: list[float] = []

    def run(downloads: Sequence[Download]) -> None:
        for number, download in enumerate(downloads):
            began = time.perf_counter()
            provider.sign(download, ttl=TTL, now=_START)
            (later if number else firsts).append(time.perf_counter() - began)

    for downloads in operations:
        thread = threading.Thread(target=run, args=(downloads,))
        thread.start()
        thread.join()
    return statistics.median(firsts), statistics.median(later)


def page_table() -> Table:
    info = key_info()
    signers: dict[str, dict[str, Any]] = {"RSA-2048": {"service_account_key": info}, "HMAC": HMAC}
    result = Table("A page of links for Google Cloud Storage, with its audit rows")
    with Postgres() as postgres:
        for name, options in signers.items():
            measured = _measured(postgres.url, options, info)
            what = f"a page of {LINKS} links, `prefetch()`, {name}"
            plain, recorded = measured["plain"], measured["recorded"]
            peer = "django-storages' `.url` of each"
            result.rows += [
                Row(what, measured["page"], recorded, f"{peer}, writing one row for each", 1, "no slower"),
                Row(what, measured["page"], plain, f"{peer}, nothing decided or written"),
            ]
    result.notes = ["django-storages signs with the same RSA key; it knows no HMAC keys."]
    return result


def _measured(database_url: str, options: dict[str, Any], info: dict[str, str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        storages = Path(temporary) / "storages.json"
        entry = {"BACKEND": "gateway.storages.PrivateGCSStorage", "OPTIONS": {"bucket_name": BUCKET, **options}}
        storages.write_text(json.dumps({"private": entry}))
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "SECRET_KEY": "benchmark-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz",
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": database_url,
            "GATEWAY_PUBLIC_URL": f"https://{HOST}",
            "GATEWAY_STORAGES_FILE": str(storages),
            "BENCHMARK_KEY": json.dumps(info),
        }
        command = [sys.executable, "-m", "tests.benchmarks.signing_gcs"]
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def measure() -> dict[str, float]:
    import uuid

    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.middleware.csrf import _get_new_csrf_string
    from django.test import Client as Browser

    from gateway.models import Issuance
    from tests.benchmarks.serving_links import Site
    from tests.hostapp.models import Document

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user(f"owner-{uuid.uuid4().hex}")
    browser = Browser()
    browser.force_login(user)
    token = _get_new_csrf_string()
    cookies = f"{settings.SESSION_COOKIE_NAME}={browser.session.session_key}; {settings.CSRF_COOKIE_NAME}={token}"
    ours, plain = (Site(middleware, cookies, token) for middleware in (settings.MIDDLEWARE, settings.PLAIN_MIDDLEWARE))
    for number in range(LINKS):
        key = f"uploads/2026/11/{number:026x}/file.pdf"
        # As a fixture: there is no store that could take the bytes.
        Document(owner=user, file=key).save_base(raw=True, force_insert=True)
    before = Issuance.objects.count()
    page, plain_page, recorded_page = alternate(
        lambda: ours.post("/prefetched/page", b"", 201),
        lambda: plain.post("/plain/gcs/page", b"", 201),
        lambda: plain.post("/plain/gcs/recorded_page", b"", 201),
        rounds=15,
    )
    assert Issuance.objects.count() - before == 2 * 16 * LINKS  # ours and the recorded peer, every round
    return {"page": page, "plain": plain_page, "recorded": recorded_page}


_START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(measure()))
