"""Signing for CloudFront beside django-storages and the bare RSA operation, and pages of links with a window."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from storages.backends.s3 import S3Storage

from providers import CloudFrontKey, CloudFrontProvider, Download
from tests.benchmarks import pages
from tests.benchmarks.measuring import FIRST_CALLS, PROCESSOR_TIME, Row, Table, alternate, first_calls
from tests.benchmarks.signing import plain_storage
from tests.emulators.postgres import Postgres

DOMAIN = "files.example.com"
KEY_PAIR_ID = "K2JCJMDEHXQW5F"
TTL = timedelta(seconds=300)
LINKS = 20
ROUNDS = 101
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pem_of(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def table() -> Table:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    provider = CloudFrontProvider(
        endpoint_url=f"https://{DOMAIN}", key=CloudFrontKey(key_pair_id=KEY_PAIR_ID, private_key=pem_of(key))
    )
    storage = plain_storage(
        S3Storage, bucket_name="benchmark-bucket", custom_domain=DOMAIN, cloudfront_key_id=KEY_PAIR_ID,
        cloudfront_key=pem_of(key),
    )  # fmt: skip
    scheme, algorithm = padding.PKCS1v15(), hashes.SHA1()

    numbers = count()

    def downloads() -> list[Download]:
        return [Download(f"uploads/{n}/report.pdf", filename=f"report {n}.pdf") for n in islice(numbers, LINKS)]

    def ours(made: list[Download]) -> None:
        for download in made:
            provider.sign(download, ttl=TTL, now=START)

    def theirs() -> None:
        for n in islice(numbers, LINKS):
            storage.url(
                f"uploads/{n}/report.pdf",
                parameters={"response-content-disposition": f'attachment; filename="report {n}.pdf"'},
                expire=300,
            )

    def bare() -> None:
        for n in islice(numbers, LINKS):
            key.sign(b"a policy of the usual length, %d".ljust(200) % n, scheme, algorithm)

    made = iter([downloads() for _ in range(ROUNDS + 1)])
    one, built, storages_one, bare_one = alternate(
        lambda: ours(next(made)), lambda: ours(downloads()), theirs, bare,
        rounds=ROUNDS, units=LINKS, clock=time.process_time,
    )  # fmt: skip
    times = first_calls(lambda n: provider.sign(Download(f"uploads/{n}"), ttl=TTL, now=START), threads=200)
    result = Table("Signing for CloudFront")
    what = "`sign` with a file name, RSA-2048"
    result.rows = [
        Row(what, one, bare_one, "the RSA operation alone", 1.15, "at most 1.15"),
        Row(f"{what}, the operation built too", built, storages_one, "django-storages' `.url`", 1, "no slower"),
        *times.rows("the first `sign` in a new thread"),
    ]
    result.notes = [PROCESSOR_TIME, FIRST_CALLS]
    return result


def page_table() -> Table:
    pem = pem_of(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    options: dict[str, Any] = {
        "bucket_name": "benchmark-bucket", "region_name": "eu-central-1", "access_key": "AK", "secret_key": "SK",
        "custom_domain": DOMAIN, "cloudfront_key_id": KEY_PAIR_ID, "cloudfront_key": pem,
    }  # fmt: skip
    variants = {"": {}, ", `url_window`": {"url_window": 150}}
    result = Table("A page of links for CloudFront, with its audit rows")
    with Postgres() as postgres:
        for name, more in variants.items():
            entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options | more}
            measured = pages.measured(postgres.url, entry, "cloudfront", {"BENCHMARK_KEY": pem})
            what = f"a page of {pages.LINKS} links, `prefetch()`{name}"
            peer = "django-storages' `.url` of each"
            result.rows += [
                Row(what, measured["page"], measured["recorded"], f"{peer}, writing one row for each", 1, "no slower"),
                Row(what, measured["page"], measured["plain"], f"{peer}, nothing decided or written"),
            ]
    result.notes = ["With a window RSA is paid at the first view; decisions and audit rows at every one."]
    return result
