"""Signing for Google Cloud Storage beside google-cloud-storage and the bare RSA operation, and pages of links."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.cloud.storage import Client
from google.oauth2 import service_account

from providers import Download, GCSProvider, HMACKey, ServiceAccountKey
from tests.benchmarks import pages
from tests.benchmarks.measuring import CALLS, FIRST_CALLS, PROCESSOR_TIME, Row, Table, alternate, first_calls
from tests.emulators.postgres import Postgres

BUCKET = "benchmark-bucket"
EMAIL = "signer@project.iam.gserviceaccount.com"
HMAC = {"hmac_access_id": "GOOG1EXAMPLEEXAMPLEEXAMPLE", "hmac_secret": "bGoa+V7g/yqDXvKRqq+JTFn4uQZbPiQJo4pf9RzJ"}
TTL = timedelta(seconds=300)
LINKS = 20
ROUNDS = 101
THREADS = 200


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

    def downloads(links: int) -> list[Download]:
        # New names each time: a cache of encoded values must not pass for speed.
        return [
            Download(f"uploads/2026/11/{n:026x}/report-{n}.pdf", filename=f"report {n}.pdf", disposition="attachment")
            for n in islice(numbers, links)
        ]

    def ours(provider: GCSProvider, made: list[Download]) -> None:
        for n, download in enumerate(made):
            # A second apart: what links of one second share must not pass for speed either.
            provider.sign(download, ttl=TTL, now=_START + timedelta(seconds=n))

    def bare() -> None:
        for n in islice(numbers, LINKS):
            key.sign(b"a string to sign of the usual length, %d".ljust(140) % n, scheme, algorithm)

    def theirs(made: list[Download]) -> None:
        for download in made:
            bucket.blob(download.key).generate_signed_url(
                version="v4", expiration=TTL, response_disposition=download.content_disposition
            )

    made = [iter([downloads(LINKS) for _ in range(ROUNDS + 1)]) for _ in range(3)]
    rsa_one, hmac_one, bare_one, google_one = alternate(
        lambda: ours(with_key, next(made[0])), lambda: ours(with_hmac, next(made[1])), bare,
        lambda: theirs(next(made[2])), rounds=ROUNDS, units=LINKS, clock=time.process_time,
    )  # fmt: skip
    singles = downloads(CALLS * THREADS)
    times = first_calls(lambda n: with_key.sign(singles[n], ttl=TTL, now=_START), threads=THREADS)
    hmac_times = first_calls(lambda n: with_hmac.sign(singles[n], ttl=TTL, now=_START), threads=THREADS)
    result = Table("Signing for Google Cloud Storage")
    what = "`sign` with a file name"
    result.rows = [
        Row(f"{what}, RSA-2048", rsa_one, bare_one, "the RSA operation alone", 1.15, "at most 1.15"),
        Row(f"{what}, RSA-2048", rsa_one, google_one, "google-cloud-storage", 1, "no slower"),
        Row(f"{what}, HMAC", hmac_one, google_one, "google-cloud-storage", 1 / 15, "at most 1/15"),
        *times.rows("the first `sign` in a new thread, RSA-2048"),
        *hmac_times.rows("the first `sign` in a new thread, HMAC"),
    ]
    result.notes = [PROCESSOR_TIME, FIRST_CALLS]
    return result


def page_table() -> Table:
    info = key_info()
    signers: dict[str, dict[str, Any]] = {"RSA-2048": {"service_account_key": info}, "HMAC": HMAC}
    result = Table("A page of links for Google Cloud Storage, with its audit rows")
    with Postgres() as postgres:
        for name, options in signers.items():
            entry = {"BACKEND": "gateway.storages.PrivateGCSStorage", "OPTIONS": {"bucket_name": BUCKET, **options}}
            measured = pages.measured(postgres.url, entry, "gcs", {"BENCHMARK_KEY": json.dumps(info)})
            what = f"a page of {pages.LINKS} links, `prefetch()`, {name}"
            plain, recorded = measured["plain"], measured["recorded"]
            peer = "django-storages' `.url` of each"
            result.rows += [
                Row(what, measured["page"], recorded, f"{peer}, writing one row for each", 1, "no slower"),
                Row(what, measured["page"], plain, f"{peer}, nothing decided or written"),
            ]
    result.notes = ["django-storages signs with the same RSA key; it knows no HMAC keys."]
    return result


_START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
