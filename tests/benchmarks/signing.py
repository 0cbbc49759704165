"""Signing for S3 beside boto3 and obstore, and what a process pays that does nothing else."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any, TypeVar

import boto3
import obstore
from botocore.config import Config
from django.conf import settings
from storages.backends.s3 import S3Storage

from providers import Download, S3Provider, StaticCredentials
from tests.benchmarks.measuring import FIRST_CALLS, PROCESSOR_TIME, Row, Table, alternate, first_calls

BUCKET = "benchmark-bucket"
REGION = "eu-central-1"
ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TTL = timedelta(seconds=300)
LINKS = 1000
ROUNDS = 21
SINGLE_LINKS = 100
SINGLE_ROUNDS = 51

S = TypeVar("S")

PROCESSOR_TIME_OF_ONE = f"Of `sign`: {PROCESSOR_TIME[0].lower()}{PROCESSOR_TIME[1:]}"


def table() -> Table:
    provider = S3Provider(bucket=BUCKET, region=REGION, credentials=StaticCredentials(ACCESS_KEY_ID, SECRET))
    store = obstore.store.S3Store(BUCKET, region=REGION, access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET)
    client = _boto3_client()
    numbers = count()

    def downloads(links: int = LINKS) -> list[Download]:
        # New names each time: a cache of encoded values must not pass for speed.
        return [
            Download(f"uploads/2026/11/{n:026x}/report-{n}.pdf", filename=f"report {n}.pdf", disposition="attachment")
            for n in islice(numbers, links)
        ]

    def ours_singly() -> None:
        for n, download in enumerate(downloads(SINGLE_LINKS)):
            # A second apart: what links of one second share must not pass for speed either.
            provider.sign(download, ttl=TTL, now=_START + timedelta(seconds=n))

    def boto3_singly() -> None:
        for download in downloads(SINGLE_LINKS):
            parameters = {
                "Bucket": BUCKET,
                "Key": download.key,
                "ResponseContentDisposition": download.content_disposition,
            }
            client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=300)

    one, boto3_one = alternate(
        ours_singly, boto3_singly, rounds=SINGLE_ROUNDS, units=SINGLE_LINKS, clock=time.process_time
    )

    batches = iter([downloads() for _ in range(2 * (ROUNDS + 1))])
    paths = iter([[download.key for download in downloads()] for _ in range(ROUNDS + 1)])
    many, obstore_many = alternate(
        lambda: provider.sign_many(next(batches), ttl=TTL, now=datetime.now(UTC)),
        lambda: obstore.sign(store, "GET", next(paths), TTL),
        rounds=ROUNDS,
        units=LINKS,
    )
    result = Table("Signing for S3", notes=[PROCESSOR_TIME_OF_ONE])
    result.rows = [
        Row("`sign` with a file name, the operation built too", one, boto3_one, "boto3", 1 / 12, "at most 1/12"),
        Row(
            f"`sign_many` of {LINKS:,} links with a file name",
            many,
            obstore_many,
            "obstore, a list, without one",
            1,
            "no slower",
        ),
    ]
    return result


def thread_table() -> Table:
    """Compare what a thread pays that signs for the first time: servers make new ones all the time."""
    provider = S3Provider(bucket=BUCKET, region=REGION, credentials=StaticCredentials(ACCESS_KEY_ID, SECRET))
    storage = plain_storage(
        S3Storage,
        bucket_name=BUCKET, region_name=REGION, access_key=ACCESS_KEY_ID, secret_key=SECRET,
        signature_version="s3v4", addressing_style="virtual", querystring_expire=300,
    )  # fmt: skip

    def ours(number: int) -> None:
        provider.sign(Download(f"uploads/{number}/report.pdf", filename="report.pdf"), ttl=TTL, now=_START)

    times = first_calls(ours, threads=200)
    theirs = first_calls(lambda number: storage.url(f"uploads/{number}/report.pdf"), threads=8)
    what = "the first `sign` in a new thread"
    result = Table("Signing for S3 in a new thread")
    result.rows = [
        *times.rows(what),
        Row(what, times.new, theirs.new, "django-storages' first `.url`"),
        Row("the ones after it", times.warm, theirs.warm, "django-storages' `.url` after it"),
    ]
    result.notes = [FIRST_CALLS]
    return result


def plain_storage(backend: type[S], **options: Any) -> S:
    """Make a storage of django-storages in this process, which has no project around it."""
    if not settings.configured:
        settings.configure()
    return backend(**options)


def process_table() -> Table:
    ours, theirs = _processes(_OURS), _processes(_THEIRS)
    result = Table("A process that signs one link for S3 and ends")
    result.rows = [
        Row("time from start to end", ours[0], theirs[0], "boto3"),
    ]
    ours_mib, theirs_mib, bare_mib = (run[1] / 1024 for run in (ours, theirs, _processes("pass")))
    result.notes = [
        f"Largest memory: ours {ours_mib:.1f} MiB, boto3 {theirs_mib:.1f} MiB, bare Python {bare_mib:.1f} MiB."
    ]
    return result


_START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

_OURS = f"""
from datetime import UTC, datetime, timedelta
from providers.credentials import StaticCredentials
from providers.s3 import S3Provider
from providers.types import Download
p = S3Provider(bucket={BUCKET!r}, region={REGION!r}, credentials=StaticCredentials({ACCESS_KEY_ID!r}, {SECRET!r}))
p.sign(Download("a/b.pdf"), ttl=timedelta(seconds=300), now=datetime.now(UTC))
"""
_THEIRS = f"""
import boto3
from botocore.config import Config
c = boto3.client("s3", region_name={REGION!r}, aws_access_key_id={ACCESS_KEY_ID!r},
    aws_secret_access_key={SECRET!r}, config=Config(signature_version="s3v4"))
c.generate_presigned_url("get_object", Params={{"Bucket": {BUCKET!r}, "Key": "a/b.pdf"}}, ExpiresIn=300)
"""
_MEASURED = """
import resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _processes(code: str) -> tuple[float, float]:
    """Return the median seconds and kibibytes of five processes."""
    runs = []
    for _ in range(5):
        command = [sys.executable, "-c", _MEASURED, code]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds, kibibytes = output.split()
        runs.append((float(seconds), float(kibibytes)))
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def _boto3_client() -> Any:
    make: Callable[..., Any] = boto3.client
    return make(
        "s3",
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET,
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
    )
