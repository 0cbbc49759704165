"""Signing for CloudFront beside django-storages and the bare RSA operation, and pages of links with a window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from providers import CloudFrontKey, CloudFrontProvider, Download
from tests.benchmarks import pages
from tests.benchmarks.measuring import Row, Table, alternate, in_new_threads
from tests.benchmarks.signing import plain_storage
from tests.emulators.postgres import Postgres

DOMAIN = "files.example.com"
KEY_PAIR_ID = "K2JCJMDEHXQW5F"
TTL = timedelta(seconds=300)
LINKS = 100
ROUNDS = 15
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
        bucket_name="benchmark-bucket", custom_domain=DOMAIN, cloudfront_key_id=KEY_PAIR_ID, cloudfront_key=pem_of(key)
    )
    scheme, algorithm = padding.PKCS1v15(), hashes.SHA1()

    def ours() -> None:
        for n in range(LINKS):
            provider.sign(Download(f"uploads/{n}/report.pdf", filename=f"report {n}.pdf"), ttl=TTL, now=START)

    def theirs() -> None:
        for n in range(LINKS):
            storage.url(
                f"uploads/{n}/report.pdf",
                parameters={"response-content-disposition": f'attachment; filename="report {n}.pdf"'},
                expire=300,
            )

    def bare() -> None:
        for n in range(LINKS):
            key.sign(b"a policy of the usual length, which is 200 bytes or so %d" % n, scheme, algorithm)

    one, storages_one, bare_one = alternate(ours, theirs, bare, rounds=ROUNDS, units=LINKS)
    first, steady = in_new_threads(lambda n: provider.sign(Download(f"uploads/{n}"), ttl=TTL, now=START), threads=200)
    result = Table("Signing for CloudFront")
    what = "`sign` with a file name, RSA-2048"
    result.rows = [
        Row(what, one, bare_one, "the RSA operation alone", 1.15, "at most 1.15"),
        Row(what, one, storages_one, "django-storages' `.url`", 1, "no slower"),
        Row("the first `sign` in a new thread", first, steady, "the ones after it", 2, "at most 2"),
    ]
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
