"""Each row of the tables "What the signature binds" is tried: a request that differs in this is refused, or is not.

The judges are the verifiers that were written from the specifications.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from providers import Checksum, Download, Operation, SignedURL, UnsupportedOperation, Upload, UploadPart
from providers.types import Provider
from tests.providers import test_azure, test_cloudfront, test_gcs, test_s3
from tests.providers.examples import BUCKET, DIGEST_BYTES, NOW, TTL
from tests.verifiers import cloudfront, goog4, sas, sigv4
from tests.verifiers.sas import Account

DOCS = Path(__file__).parents[2] / "docs"
REFUSED = (cloudfront.Refused, goog4.Refused, sas.Refused, sigv4.Refused)
# What a request is made with that differs, as the verifiers' arguments.
Change = Callable[[SignedURL], Mapping[str, Any]]

DOWNLOAD = Download("a/b", filename="a.txt", disposition="attachment", content_type="text/plain", version="123")
UPLOAD = Upload("a/b", content_type="image/png", size_bytes=7)
PART = UploadPart("a/b", upload_id="upload", number=7, size_bytes=5 * 2**20)


class Store(NamedTuple):
    """One column of a page; ``limited`` signs as the page says where something is bound "where asked for"."""

    page: str
    column: int
    plain: Provider
    limited: Provider
    verify: Callable[..., object]


def cloudfront_verify(signed: SignedURL, operation: Operation, **changes: Any) -> object:
    known = {"url": signed.url, "keys": test_cloudfront.KEYS, "now": NOW}
    # It looks neither at the method nor at what a client sends.
    return cloudfront.verify_url(**known | {k: v for k, v in changes.items() if k not in ("method", "headers")})


def azure_verify(signed: SignedURL, operation: Operation, **changes: Any) -> object:
    # A SAS is not asked how long the body is.
    return test_azure.verify(signed, **{k: v for k, v in changes.items() if k != "body_length"})


STORES = {
    "s3": Store("aws", 0, test_s3.provider(), test_s3.provider(), test_s3.verify),
    "cloudfront": Store(
        "aws", 1, test_cloudfront.provider(), test_cloudfront.provider(source_ip="192.0.2.1"), cloudfront_verify
    ),
    "gcs": Store("google-cloud", 0, test_gcs.provider(), test_gcs.provider(), test_gcs.verify),
    "azure": Store("azure", 0, test_azure.provider(), test_azure.provider(backdate=timedelta(minutes=5)), azure_verify),
}


def rows_of(store: Store) -> dict[str, str]:
    text = (DOCS / f"{store.page}.md").read_text().partition("## What the signature binds\n")[2]
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()]
    return {first: others[store.column] for first, *others in lines[2:]}


def url(pattern: str, replacement: str) -> Change:
    """Ask for another URL."""

    def change(signed: SignedURL) -> Mapping[str, Any]:
        other = re.sub(pattern, replacement, signed.url, count=1)
        assert other != signed.url
        return {"url": other}

    return change


def header(name: str, value: str | None) -> Change:
    """Send another header, or leave it out."""

    def change(signed: SignedURL) -> Mapping[str, Any]:
        others = {known: text for known, text in signed.headers.items() if known.lower() != name.lower()}
        return {"headers": others if value is None else others | {name: value}}

    return change


def given(**changes: Any) -> Change:
    return lambda signed: changes


KEY = url(r"/a/b\?", "/a/c?")
METHOD = [(DOWNLOAD, given(method="HEAD")), (Download("a/b", method="HEAD"), given(method="GET"))]
ANSWER = [
    (DOWNLOAD, url(r"(response-content-disposition=|rscd=)attachment", r"\1inline")),
    (DOWNLOAD, url(r"(response-content-type=|rsct=)text(%2F|/)plain", r"\1text\2html")),
]
VERSION = [(DOWNLOAD, url(r"(versionId|generation|versionid)=123", r"\1=124"))]
END = [
    (DOWNLOAD, given(now=NOW + TTL)),
    (DOWNLOAD, url(r"([-?&]Expires|[?&]se)=(20)?[0-9]", r"\1=\g<2>9")),
]
CACHED = Download("a/b", cache_control="private, max-age=60")
CACHE_CONTROL = [(CACHED, url(r"max-age(%3D|=)60", r"max-age\g<1>61"))]
SIZE = [(UPLOAD, given(body_length=8)), (UPLOAD, given(body_length=6))]
PARTS = [(PART, url(r"partNumber=7", "partNumber=8")), (PART, url(r"uploadId=upload", "uploadId=other"))]
ANYBODY = [(DOWNLOAD, given())]

TRIALS: dict[str, dict[str, list[tuple[Operation, Change]]]] = {
    "s3": {
        "key, bucket and host": [
            (DOWNLOAD, KEY),
            (DOWNLOAD, url(BUCKET, "other-bucket")),
            (DOWNLOAD, header("Host", "other.example")),
        ],
        "method": METHOD,
        "end of life": END,
        "name and type that a download is given": ANSWER,
        "version": VERSION,
        "cache control of a download": CACHE_CONTROL,
        "address of the client": ANYBODY,
        "size of an upload": SIZE,
        "type of an upload": [(UPLOAD, header("Content-Type", "text/html"))],
        "no overwriting": [(UPLOAD, header("If-None-Match", None))],
        "part of an upload": PARTS,
        "user or number of uses": ANYBODY,
    },
    "cloudfront": {
        "key, bucket and host": [(DOWNLOAD, KEY), (DOWNLOAD, url(r"//[^/]+", "//other.example"))],
        "method": METHOD,
        "end of life": END,
        "name and type that a download is given": ANSWER,
        "version": VERSION,
        "cache control of a download": CACHE_CONTROL,
        "address of the client": [(DOWNLOAD, given(source_ip="192.0.2.2"))],
        "size of an upload": SIZE,
        "type of an upload": [(UPLOAD, header("Content-Type", "text/html"))],
        "no overwriting": [(UPLOAD, header("If-None-Match", None))],
        "part of an upload": PARTS,
        "user or number of uses": ANYBODY,
    },
    "gcs": {
        "key, bucket and host": [
            (DOWNLOAD, KEY),
            (DOWNLOAD, url(BUCKET, "other-bucket")),
            (DOWNLOAD, header("Host", "other.example")),
        ],
        "method": METHOD,
        "end of life": END,
        "name and type that a download is given": ANSWER,
        "version": VERSION,
        "cache control of a download": CACHE_CONTROL,
        "size of an upload": SIZE,
        "type of an upload": [(UPLOAD, header("Content-Type", "text/html"))],
        "no overwriting": [(UPLOAD, header("x-goog-if-generation-match", None))],
        "part of an upload, and its size": [*PARTS, (PART, given(body_length=PART.size_bytes + 1))],
        "user, address or number of uses": ANYBODY,
    },
    "azure": {
        "account, container and key": [
            (DOWNLOAD, KEY),
            (DOWNLOAD, url(f"/{test_azure.CONTAINER}/", "/other/")),
            (DOWNLOAD, given(account=Account("account1", test_azure.HTTPS, (test_azure.ACCOUNT_KEY,), ()))),
        ],
        "host": [
            (DOWNLOAD, lambda signed: {
                "url": signed.url.replace(test_azure.HTTPS, "https://files.example"), "endpoint": "https://files.example",
            }),
        ],
        "method": METHOD,
        "protocol": [
            (DOWNLOAD, lambda signed: {
                "url": signed.url.replace("https://", "http://"), "endpoint": test_azure.HTTPS.replace("https", "http"),
            }),
        ],
        "end of life": END,
        "start of life": [(DOWNLOAD, given(now=NOW - timedelta(minutes=6)))],
        "name and type that a download is given": ANSWER,
        "cache control of a download": CACHE_CONTROL,
        "version": VERSION,
        "size of an upload": SIZE,
        "type of an upload": [(UPLOAD, header("x-ms-blob-content-type", "text/html"))],
        "no overwriting": [(UPLOAD, given(blob_exists=True))],
        "part of an upload": [
            (PART, lambda signed: {
                "url": re.sub(r"comp=block&blockid=[^&]*&", "", signed.url), "headers": {"x-ms-blob-type": "BlockBlob"},
            }),
        ],
        "user, address or number of uses": ANYBODY,
    },
}  # fmt: skip
CHECKSUMS = "checksum of an upload"


def is_bound(store: Store, provider: Provider, operation: Operation, change: Change) -> bool | None:
    """Tell whether a request that differs is refused; None where there is no such link at all."""
    try:
        signed = provider.sign(operation, ttl=TTL, now=NOW)
    except UnsupportedOperation:
        return None
    store.verify(signed, operation)  # what was given is let through
    try:
        store.verify(signed, operation, **change(signed))
    except REFUSED:
        return True
    return False


def other_checksum(signed: SignedURL) -> Mapping[str, Any]:
    name = next(name for name in signed.headers if re.search("checksum|md5|hash", name, re.IGNORECASE))
    return header(name, f"{signed.headers[name]}1")(signed)


@pytest.mark.parametrize("name", STORES)
def test_every_row_is_tried(name: str) -> None:
    assert rows_of(STORES[name]).keys() == {*TRIALS[name], CHECKSUMS}


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, trials in TRIALS.items() for what in trials], ids=str
)
def test_the_page_says_what_is_bound(name: str, what: str) -> None:
    store, trials = STORES[name], TRIALS[name][what]
    told = rows_of(store)[what]
    bound = [is_bound(store, store.plain, operation, change) for operation, change in trials]
    if told.startswith("where "):
        assert not any(bound)
        assert all(is_bound(store, store.limited, operation, change) for operation, change in trials)
    else:
        assert all(one in {"yes": [True], "no": [False, None], "–": [None]}[told] for one in bound), bound


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("algorithm", DIGEST_BYTES)
def test_the_page_says_which_checksums_are_bound(name: str, algorithm: Any) -> None:
    store = STORES[name]
    upload = Upload(
        "a/b", content_type="a/b", size_bytes=7, checksum=Checksum(algorithm, bytes(DIGEST_BYTES[algorithm]))
    )
    bound = is_bound(store, store.plain, upload, other_checksum)
    assert bool(bound) == (algorithm in rows_of(store)[CHECKSUMS].split(", "))
