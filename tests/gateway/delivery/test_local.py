"""The local data plane: a good link gets its bytes, every other gets the same refusal, nobody is asked for."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils.http import http_date

from gateway import counting
from gateway.counting import Counter
from gateway.errors import AuditUnavailable
from gateway.models import Issuance
from gateway.storages import openat2
from gateway.testing import counted_serving
from providers.types import Download, Upload
from tests.gateway.delivery.support import STACKS, Answer, follow, open_descriptors, put_file, sign

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.gateway.delivery.urls"),
    pytest.mark.parametrize("stack", STACKS),
]

KEY = "uploads/2026/11/report.pdf"
CONTENT = bytes(range(256)) * 1000
PLAIN = Download(KEY)
FULL = Download(KEY, content_type="image/png", disposition="inline", filename="Q3 “draft”.png", link_id="lnk_1")

REFUSAL = {
    "Cache-Control": "no-store",
    "Content-Length": "24",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Type": "text/plain; charset=utf-8",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Of each answer its own: what the middleware calls the request.
REQUEST_ID = "X-Request-ID"


def headers_of(answer: Answer, *without: str) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in (REQUEST_ID, *without)}


@pytest.fixture(autouse=True)
def stored(private_root: Path) -> Path:
    return put_file(KEY, CONTENT)


# --- what a good link gets ---------------------------------------------------------------------------------


def test_a_good_link_gets_the_file_and_these_headers_alone(stack: str, stored: Path) -> None:
    answer = follow(stack, sign(FULL).url)
    assert (answer.status, answer.body) == (200, CONTENT)
    headers = headers_of(answer)
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers.pop("ETag"))
    assert re.fullmatch(r"private, max-age=(299|300)", headers.pop("Cache-Control"))
    assert headers == {
        "Accept-Ranges": "bytes",
        "Content-Disposition": ("inline; filename=\"Q3 draft.png\"; filename*=UTF-8''Q3%20%E2%80%9Cdraft%E2%80%9D.png"),
        "Content-Length": str(len(CONTENT)),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Type": "image/png",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-site",
        "Last-Modified": http_date(int(stored.stat().st_mtime)),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def test_without_a_signed_type_the_file_is_bytes(stack: str) -> None:
    answer = follow(stack, sign(PLAIN).url)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "Content-Disposition" not in answer.headers


def test_head_has_the_headers_of_get_and_no_body(stack: str) -> None:
    got = follow(stack, sign(FULL).url)
    head = follow(stack, sign(Download(KEY, method="HEAD", content_type="image/png", disposition="inline",
                                       filename=FULL.filename)).url, method="HEAD")  # fmt: skip
    assert (head.status, head.body) == (200, b"")
    assert headers_of(head, "Cache-Control") == headers_of(got, "Cache-Control")


@pytest.mark.parametrize("size_bytes", [0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 3 * 64 * 1024], ids=str)
def test_files_of_every_size_come_whole(stack: str, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    put_file("a", content)
    answer = follow(stack, sign(Download("a")).url)
    assert (answer.body, answer.headers["Content-Length"]) == (content, str(size_bytes))


POLICIES = {
    "image": ("image/png", "sandbox; default-src 'none'"),
    "html": ("text/html", "sandbox; default-src 'none'"),
    "svg": ("image/svg+xml", "sandbox; default-src 'none'"),
    "nothing-signed": (None, "sandbox; default-src 'none'"),
    "pdf": ("application/pdf", "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"),
    "pdf-in-disguise": ("application/pdfx", "sandbox; default-src 'none'"),
    "video": ("video/mp4", "sandbox; default-src 'none'; media-src 'self'"),
    "audio": ("audio/mpeg", "sandbox; default-src 'none'; media-src 'self'"),
}


@pytest.mark.parametrize(("content_type", "policy"), POLICIES.values(), ids=POLICIES)
def test_only_a_pdf_is_outside_the_sandbox(stack: str, content_type: str | None, policy: str) -> None:
    answer = follow(stack, sign(Download(KEY, content_type=content_type)).url)
    assert answer.headers["Content-Security-Policy"] == policy


LIVES = {
    "new": (timedelta(), 300),
    "old": (timedelta(seconds=290), 10),
    "ending": (timedelta(seconds=295), 5),
}


@pytest.mark.parametrize(("ago", "left_seconds"), LIVES.values(), ids=LIVES)
def test_no_cache_keeps_the_file_longer_than_the_link_lives(stack: str, ago: timedelta, left_seconds: int) -> None:
    answer = follow(stack, sign(PLAIN, ago=ago).url)
    match = re.fullmatch(r"private, max-age=([0-9]+)", answer.headers["Cache-Control"])
    assert match is not None
    # The signing instant was cut to its second, and time goes on: less is right, more never is.
    assert max(left_seconds - 60, 0) <= int(match[1]) <= left_seconds


FILENAMES = {
    "header-injection": "a\r\nSet-Cookie: x=1",
    "quote": 'a"; filename=evil.exe; b=".txt',
    "path": "../../etc/passwd",
    "nul": "a\x00b.txt",
    "bidi": "photo\u202egpj.exe",
    "arabic": "تقرير.pdf",
    "long": "x" * 5000 + ".pdf",
    "empty": "",
}


@pytest.mark.parametrize("filename", FILENAMES.values(), ids=FILENAMES)
def test_no_file_name_gets_out_of_its_parameter(stack: str, filename: str) -> None:
    answer = follow(stack, sign(Download(KEY, filename=filename)).url)
    disposition = answer.headers["Content-Disposition"]
    assert re.fullmatch(
        r"""attachment; filename="[^"\\\x00-\x1f\x7f-\uffff/%]+"(; filename\*=UTF-8''[\w!#$&+.^`|~%-]+)?""",
        disposition,
    )
    assert "Set-Cookie" not in answer.headers


# --- the one refusal ---------------------------------------------------------------------------------------


def _signature(url: str) -> str:
    return url.rpartition("=")[2]


def _without(name: str) -> Callable[[], str]:
    return lambda: re.sub(rf"([?&]){name}=[^&]*&?", r"\1", sign(FULL).url)


def _replaced(old: str, new: str) -> Callable[[], str]:
    def make() -> str:
        url = sign(FULL).url
        changed = re.sub(old, lambda _: new, url, count=1)
        assert changed != url
        return changed

    return make


UPLOAD = Upload(KEY, content_type="text/plain", size_bytes=1, overwrite=True)
OTHER_HEX = str.maketrans("0123456789abcdef", "123456789abcdef0")

# name: method, how the URL is made
BAD_LINKS: dict[str, tuple[str, Callable[[], str]]] = {
    "expired": ("GET", lambda: sign(FULL, ago=timedelta(seconds=301)).url),
    "expired-this-second": ("GET", lambda: sign(FULL, ttl=timedelta(seconds=1), ago=timedelta(seconds=1)).url),
    "issued-in-the-future": ("GET", lambda: sign(FULL, ago=timedelta(minutes=-10)).url),
    "no-query": ("GET", lambda: sign(FULL).url.partition("?")[0]),
    "no-signature": ("GET", lambda: sign(FULL).url.rpartition("&")[0]),
    "empty-signature": ("GET", lambda: sign(FULL).url.rpartition("=")[0] + "="),
    "other-signature": ("GET", lambda: sign(FULL).url[:-64] + _signature(sign(FULL).url).translate(OTHER_HEX)),
    "short-signature": ("GET", lambda: sign(FULL).url[:-1]),
    "long-signature": ("GET", lambda: sign(FULL).url + "0"),
    "signature-in-capitals": ("GET", lambda: sign(FULL).url[:-64] + "A" * 64),
    "signature-of-10-kB": ("GET", lambda: sign(FULL).url[:-64] + "a" * 10_000),
    "signature-not-ascii": ("GET", lambda: sign(FULL).url[:-2] + "%C3%A9"),
    "signature-doubled": ("GET", lambda: sign(FULL).url + "&signature=" + "0" * 64),
    "something-after": ("GET", lambda: sign(FULL).url + "&x=1"),
    "something-before": ("GET", _replaced(r"\?", "?x=1&")),
    "doubled-expiry": ("GET", _replaced(r"\?expires=", "?expires=9999999999&expires=")),
    "later-expiry": ("GET", _replaced(r"expires=[0-9]+", "expires=9999999999")),
    "expiry-not-ascii": ("GET", _replaced(r"expires=[0-9]+", "expires=%D9%A1%D9%A2%D9%A3")),
    "expiry-with-plus": ("GET", _replaced(r"expires=", "expires=+")),
    "expiry-with-underscore": ("GET", _replaced(r"expires=1", "expires=1_")),
    "no-expiry": ("GET", _without("expires")),
    "no-disposition": ("GET", _without("disposition")),
    "no-type": ("GET", _without("content-type")),
    "other-type": ("GET", _replaced(r"image%2Fpng", "text%2Fhtml")),
    "other-name": ("GET", _replaced(r"draft", "final")),
    "other-key": ("GET", _replaced(r"report\.pdf", "other.pdf")),
    "longer-key": ("GET", _replaced(r"report\.pdf", "report.pdf/x")),
    "shorter-key": ("GET", _replaced(r"/report\.pdf", "")),
    "traversal": ("GET", _replaced(r"report\.pdf", "../../etc/passwd")),
    "encoded-traversal": ("GET", _replaced(r"report\.pdf", "%2e%2e/%2e%2e/etc/passwd")),
    "nul": ("GET", _replaced(r"report\.pdf", "report.pdf%00")),
    "bad-utf-8": ("GET", _replaced(r"report\.pdf", "report%FF.pdf")),
    "lone-surrogate": ("GET", _replaced(r"report\.pdf", "report%ED%A0%80.pdf")),
    "replacement-character": ("GET", _replaced(r"report\.pdf", "report%EF%BF%BD.pdf")),
    "unknown-alias": ("GET", _replaced(r"/private/", "/nowhere/")),
    "alias-of-a-public-storage": ("GET", _replaced(r"/private/", "/default/")),
    "alias-of-another-private-storage": ("GET", _replaced(r"/private/", "/second/")),
    "alias-of-a-cloud": ("GET", _replaced(r"/private/", "/cloud/")),
    "get-link-for-head": ("HEAD", lambda: sign(FULL).url),
    "get-link-for-put": ("PUT", lambda: sign(FULL).url),
    "head-link-for-get": ("GET", lambda: sign(Download(KEY, method="HEAD")).url),
    "head-link-for-put": ("PUT", lambda: sign(Download(KEY, method="HEAD")).url),
    "put-link-for-get": ("GET", lambda: sign(UPLOAD).url),
    "put-link-for-head": ("HEAD", lambda: sign(UPLOAD).url),
    "missing-file-without-a-link": ("GET", lambda: "/local/private/no/such/file"),
}


@pytest.fixture
def more_storages(settings: Any, tmp_path: Path) -> None:
    """Another directory with keys of its own, and a bucket, beside the private alias."""
    second = {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": tmp_path / "second"}}
    cloud = {
        "BACKEND": "gateway.storages.PrivateS3Storage",
        "OPTIONS": {
            "bucket_name": "bucket",
            "region_name": "eu-central-1",
            "access_key": "AKIAIOSFODNN7EXAMPLE",
            "secret_key": "a secret key of no account at all",
        },
    }
    private = {
        "BACKEND": "gateway.storages.PrivateFileSystemStorage",
        "OPTIONS": {"location": tmp_path / "private"},
    }
    settings.STORAGES = django_settings.STORAGES | {"private": private, "second": second, "cloud": cloud}


@pytest.mark.usefixtures("more_storages")
@pytest.mark.parametrize(("method", "make_url"), BAD_LINKS.values(), ids=BAD_LINKS)
def test_every_bad_link_gets_the_same_refusal(stack: str, method: str, make_url: Callable[[], str]) -> None:
    answer = follow(stack, make_url(), method=method)
    assert answer.status == 403
    assert answer.body == (b"" if method == "HEAD" else b"This link is not valid.\n")
    assert headers_of(answer) == REFUSAL


def test_each_character_of_the_signature_counts(stack: str) -> None:
    url = sign(FULL).url
    for place in range(1, 65):
        changed = url[:-place] + url[-place].translate(OTHER_HEX) + url[len(url) - place + 1 :]
        assert follow(stack, changed).status == 403
    assert follow(stack, url).status == 200


@pytest.mark.usefixtures("more_storages")
def test_each_directory_serves_its_own_links(stack: str) -> None:
    put_file(KEY, b"second", alias="second")
    assert follow(stack, sign(PLAIN, alias="second").url).body == b"second"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "MKCOL"])
def test_other_methods_are_not_allowed(stack: str, method: str) -> None:
    answer = follow(stack, sign(FULL).url, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, PUT")


def test_method_overrides_are_ignored(stack: str) -> None:
    answer = follow(stack, sign(FULL).url, headers={"X-HTTP-Method-Override": "DELETE", "X-Method": "PUT"})
    assert (answer.status, answer.body) == (200, CONTENT)


def test_a_refusal_is_logged_without_the_signature(stack: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    url = sign(FULL, ago=timedelta(hours=1)).url
    follow(stack, url)
    assert "expired" in caplog.text
    assert _signature(url) not in caplog.text


# --- what is not there -------------------------------------------------------------------------------------


def _missing(root: Path) -> str:
    return "uploads/missing"


def _missing_directory(root: Path) -> str:
    return "missing/missing"


def _missing_root(root: Path) -> str:
    root.rename(root.with_name("moved"))
    return KEY


def _below_a_file(root: Path) -> str:
    return f"{KEY}/below"


def _directory(root: Path) -> str:
    return "uploads/2026"


def _link_to_a_file(root: Path) -> str:
    (root / "link").symlink_to(root / KEY)
    return "link"


def _link_out(root: Path) -> str:
    (root.parent / "outside").write_bytes(b"outside")
    (root / "link").symlink_to("../outside")
    return "link"


def _link_on_the_way(root: Path) -> str:
    outside = root.parent / "elsewhere"
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    (root / "directory").symlink_to(outside)
    return "directory/file"


def _dangling_link(root: Path) -> str:
    (root / "link").symlink_to("nowhere")
    return "link"


def _fifo(root: Path) -> str:
    os.mkfifo(root / "fifo")
    return "fifo"


def _unix_socket(root: Path) -> str:
    here = Path.cwd()
    os.chdir(root)  # the address of a socket has room for a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(here)
    return "socket"


def _half_written(root: Path) -> str:
    name = f".{'0a' * 16}.part"
    (root / name).write_bytes(b"half a fi")
    return name


NOT_FILES: dict[str, Callable[[Path], str]] = {
    "missing": _missing,
    "missing-directory": _missing_directory,
    "missing-root": _missing_root,
    "below-a-file": _below_a_file,
    "directory": _directory,
    "link-to-a-file": _link_to_a_file,
    "link-out-of-the-root": _link_out,
    "link-on-the-way": _link_on_the_way,
    "dangling-link": _dangling_link,
    "fifo": _fifo,
    "socket": _unix_socket,
    "half-written-file": _half_written,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("make", NOT_FILES.values(), ids=NOT_FILES)
def test_what_is_no_file_of_the_root_is_not_there(
    stack: str, method: Any, private_root: Path, make: Callable[[Path], str]
) -> None:
    key = make(private_root)
    before, started = open_descriptors(), time.monotonic()
    answer = follow(stack, sign(Download(key, method=method, filename="a.txt")).url, method=method)
    assert answer.status == 404
    assert answer.body == (b"" if method == "HEAD" else b"There is no such file.\n")
    assert headers_of(answer) == REFUSAL | {"Content-Length": "23"}
    assert time.monotonic() - started < 1
    assert open_descriptors() <= before + (1 if stack == "asgi" else 0)


def test_a_version_that_was_signed_must_be_the_one_stored(stack: str) -> None:
    etag = follow(stack, sign(PLAIN).url).headers["ETag"]
    bound = sign(Download(KEY, version=etag.strip('"'))).url
    assert follow(stack, bound).status == 200
    put_file(KEY, CONTENT)
    assert follow(stack, bound).status == 404
    assert follow(stack, sign(Download(KEY, version=etag)).url).status == 404


# --- parts of it -------------------------------------------------------------------------------------------

SIZE = len(CONTENT)
# name: Range, status, the bytes, Content-Range
PARTS: dict[str, tuple[str, int, slice, str | None]] = {
    "first-byte": ("bytes=0-0", 206, slice(0, 1), f"bytes 0-0/{SIZE}"),
    "to-the-end": ("bytes=5-", 206, slice(5, None), f"bytes 5-{SIZE - 1}/{SIZE}"),
    "suffix": ("bytes=-5", 206, slice(-5, None), f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}"),
    "over-a-chunk": ("bytes=65530-65545", 206, slice(65530, 65546), f"bytes 65530-65545/{SIZE}"),
    "clamped": ("bytes=0-99999999999999999999", 206, slice(None), f"bytes 0-{SIZE - 1}/{SIZE}"),
    "capitals": ("BYTES=0-5", 206, slice(0, 6), f"bytes 0-5/{SIZE}"),
    "beyond": ("bytes=99999999999999999999-", 416, slice(0), f"bytes */{SIZE}"),
    "start-at-size": (f"bytes={SIZE}-", 416, slice(0), f"bytes */{SIZE}"),
    "no-suffix": ("bytes=-0", 416, slice(0), f"bytes */{SIZE}"),
    "other-unit": ("items=0-5", 200, slice(None), None),
    "two-ranges": ("bytes=0-0,2-3", 200, slice(None), None),
    "ten-thousand-ranges": ("bytes=" + ",".join(["0-0"] * 10_000), 200, slice(None), None),
    "malformed": ("bytes=a-b", 200, slice(None), None),
    "backwards": ("bytes=5-4", 200, slice(None), None),
}


@pytest.mark.parametrize(("header", "status", "part", "content_range"), PARTS.values(), ids=PARTS)
def test_one_range_of_bytes_is_served(
    stack: str, header: str, status: int, part: slice, content_range: str | None
) -> None:
    answer = follow(stack, sign(PLAIN).url, headers={"Range": header})
    assert (answer.status, answer.headers.get("Content-Range")) == (status, content_range)
    if status != 416:
        assert answer.body == CONTENT[part]
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Accept-Ranges"] == "bytes"
    else:
        assert answer.body == b"The file has no such bytes.\n"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_part_has_the_headers_of_the_whole(stack: str) -> None:
    whole, part = follow(stack, sign(FULL).url), follow(stack, sign(FULL).url, headers={"Range": "bytes=1-2"})
    different = ("Content-Length", "Cache-Control", "Content-Range")
    assert set(part.headers) == {*whole.headers, "Content-Range"}
    assert headers_of(part, *different) == headers_of(whole, *different)


def test_an_empty_file_has_no_part(stack: str) -> None:
    put_file("empty", b"")
    answer = follow(stack, sign(Download("empty")).url, headers={"Range": "bytes=0-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */0")
    answer = follow(stack, sign(Download("empty")).url, headers={"Range": "bytes=-5"})
    assert (answer.status, answer.body) == (200, b"")


def test_a_range_means_nothing_to_head(stack: str) -> None:
    url = sign(Download(KEY, method="HEAD")).url
    for header in ("bytes=0-0", "bytes=99999999-"):
        answer = follow(stack, url, method="HEAD", headers={"Range": header})
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
        assert "Content-Range" not in answer.headers


# name: headers, with {etag} and {date} of the file; status and size of the body
CONDITIONS: dict[str, tuple[dict[str, str], int, int]] = {
    "if-range-same-tag": ({"Range": "bytes=0-9", "If-Range": "{etag}"}, 206, 10),
    "if-range-same-date": ({"Range": "bytes=0-9", "If-Range": "{date}"}, 206, 10),
    "if-range-old-tag": ({"Range": "bytes=0-9", "If-Range": '"old"'}, 200, SIZE),
    "if-range-weak-tag": ({"Range": "bytes=0-9", "If-Range": "W/{etag}"}, 200, SIZE),
    "if-range-old-date": ({"Range": "bytes=0-9", "If-Range": http_date(0)}, 200, SIZE),
    "if-range-old-and-beyond": ({"Range": "bytes=999999999-", "If-Range": '"old"'}, 200, SIZE),
    "if-range-alone": ({"If-Range": "{etag}"}, 200, SIZE),
    "if-none-match": ({"If-None-Match": "{etag}"}, 304, 0),
    "if-none-match-any": ({"If-None-Match": "*"}, 304, 0),
    "if-none-match-weak": ({"If-None-Match": "W/{etag}"}, 304, 0),
    "if-none-match-other": ({"If-None-Match": '"other"'}, 200, SIZE),
    "if-none-match-and-range": ({"If-None-Match": "{etag}", "Range": "bytes=0-9"}, 304, 0),
    "if-none-match-and-no-such-range": ({"If-None-Match": "{etag}", "Range": "bytes=999999999-"}, 304, 0),
    "if-modified-since": ({"If-Modified-Since": "{date}"}, 304, 0),
    "if-modified-since-long-ago": ({"If-Modified-Since": http_date(0)}, 200, SIZE),
    "if-match": ({"If-Match": "{etag}"}, 200, SIZE),
    "if-match-other": ({"If-Match": '"other"'}, 412, 32),
    "if-match-other-and-range": ({"If-Match": '"other"', "Range": "bytes=0-9"}, 412, 32),
    "if-unmodified-since-long-ago": ({"If-Unmodified-Since": http_date(0)}, 412, 32),
}


@pytest.mark.parametrize(("headers", "status", "size_bytes"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditional_requests(stack: str, stored: Path, headers: dict[str, str], status: int, size_bytes: int) -> None:
    modified_at = int(time.time()) - 1000
    os.utime(stored, (modified_at, modified_at))
    now = follow(stack, sign(PLAIN).url).headers
    sent = {n: v.replace("{etag}", now["ETag"]).replace("{date}", now["Last-Modified"]) for n, v in headers.items()}
    answer = follow(stack, sign(PLAIN).url, headers=sent)
    assert (answer.status, len(answer.body)) == (status, size_bytes)


def test_not_modified_says_what_a_cache_may_keep_and_no_length(stack: str) -> None:
    etag = follow(stack, sign(PLAIN).url).headers["ETag"]
    answer = follow(stack, sign(PLAIN).url, headers={"If-None-Match": etag})
    assert answer.headers["ETag"] == etag
    assert answer.headers["Cache-Control"].startswith("private, max-age=")
    assert not {"Content-Length", "Content-Type", "Content-Disposition"} & set(answer.headers)


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_condition_opens_nothing_without_a_good_link(stack: str, header: str) -> None:
    assert follow(stack, sign(FULL).url[:-1] + "!", headers={header: "*"}).status == 403
    assert follow(stack, sign(Download("missing")).url, headers={header: "*"}).status == 404


BODILESS = {
    "not-modified": ("GET", {"If-None-Match": "*"}, 304),
    "precondition-failed": ("GET", {"If-Match": '"x"'}, 412),
    "no-such-range": ("GET", {"Range": "bytes=999999999-"}, 416),
    "head": ("HEAD", {}, 200),
    "other-version": ("GET", {}, 404),
}


@pytest.mark.parametrize(("method", "headers", "status"), BODILESS.values(), ids=BODILESS)
def test_an_answer_without_the_file_leaves_no_descriptor_open(
    stack: str, method: Any, headers: dict[str, str], status: int
) -> None:
    url = sign(Download(KEY, method=method, version="other" if status == 404 else None)).url
    follow(stack, url, method=method, headers=headers)
    before = open_descriptors()
    for _ in range(5):
        assert follow(stack, url, method=method, headers=headers).status == status
    assert open_descriptors() <= before


# --- nothing beside it -------------------------------------------------------------------------------------


class ModifiesSession:
    """A host's middleware that keeps something in the session of every request, and a cookie of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.session["seen"] = True
        response = self.get_response(request)
        response.set_cookie("seen", "yes")
        response.cookies["also"] = "yes"
        return response


MODIFYING = f"{__name__}.ModifiesSession"
CASES = {"good": (PLAIN, 200), "missing": (Download("missing"), 404)}


@pytest.mark.parametrize(("download", "status"), CASES.values(), ids=CASES)
def test_no_cookie_leaves_even_with_a_modified_session(
    stack: str, settings: Any, download: Download, status: int
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.SESSION_SAVE_EVERY_REQUEST = True
    index = django_settings.MIDDLEWARE.index("django.contrib.sessions.middleware.SessionMiddleware")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[: index + 1], MODIFYING, *settings.MIDDLEWARE[index + 1 :]]
    answer = follow(stack, sign(download).url)
    assert answer.status == status
    assert "Set-Cookie" not in answer.headers
    assert "Set-Cookie" in follow(stack, "/log-in").headers


def test_a_cookie_that_comes_with_the_request_changes_nothing(stack: str) -> None:
    answer = follow(stack, sign(FULL).url, cookies=dict.fromkeys(("sessionid", "csrftoken"), "a" * 32))
    assert (answer.status, answer.body) == (200, CONTENT)
    assert not {"Set-Cookie", "Vary"} & set(answer.headers)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9999"}], ids=["whole", "part"])
def test_what_is_stored_is_sent_uncompressed(stack: str, settings: Any, headers: dict[str, str]) -> None:
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    put_file("text", b"a" * 10_000)
    answer = follow(stack, sign(Download("text")).url, headers=headers | {"Accept-Encoding": "gzip"})
    assert answer.body == b"a" * 10_000
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["ETag"].startswith('"')


@pytest.mark.parametrize(
    "headers",
    [{"X-Accel-Redirect": "/etc/passwd"}, {"X-Sendfile-Type": "X-Accel-Redirect", "X-Accel-Mapping": "/=/x/"},
     {"X-Forwarded-Host": "evil.example"}, {"Origin": "null"}, {"Origin": "https://evil.example"}],
    ids=["x-accel-redirect", "x-sendfile-type", "x-forwarded-host", "null-origin", "foreign-origin"],
)  # fmt: skip
def test_headers_of_proxies_and_strangers_change_nothing(stack: str, headers: dict[str, str]) -> None:
    plain, answer = follow(stack, sign(FULL).url), follow(stack, sign(FULL).url, headers=headers)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert set(answer.headers) == set(plain.headers)


def test_what_protects_the_file_does_not_come_from_middleware(stack: str, settings: Any) -> None:
    settings.MIDDLEWARE = []
    for url in (sign(FULL).url, sign(FULL).url[:-1]):
        headers = follow(stack, url).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-site"
        assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_atomic_requests_open_no_transaction(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with counted_serving(), CaptureQueriesContext(connections["default"]) as queries:
        assert follow(stack, sign(FULL).url).status == 200
        # Whether it was taken back, and nothing else: what was served is written later.
        assert len(queries) == 1
        assert "epoch" in queries[0]["sql"]


def test_what_is_served_is_counted_by_link(stack: str) -> None:
    with counted_serving():
        for headers in ({}, {"Range": "bytes=0-9"}):
            assert follow(stack, sign(FULL).url, headers=headers).status in (200, 206)
        assert follow(stack, sign(replace(FULL, method="HEAD")).url, method="HEAD").status == 200
        assert follow(stack, sign(replace(FULL, link_id="lnk_2")).url).status == 200
        assert follow(stack, sign(replace(FULL, version="another")).url).status == 404
        assert follow(stack, sign(FULL).url[:-1] + "x").status == 403
        assert not Issuance.objects.exists()
    rows = Issuance.objects.order_by("link_id").values_list("decision", "principal", "credential", "key", "link_id")
    assert {*rows} == {("allowed", "anonymous", "link", KEY, f"lnk_{number}") for number in (1, 2)}
    assert {*Issuance.objects.values_list("delivery")} == {("local",)}
    assert sum(Issuance.objects.values_list("count", flat=True)) == 4


def test_what_can_be_neither_counted_nor_written_is_not_served(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []

    def fail(rows: object) -> None:
        if not written:
            raise AuditUnavailable("no")

    monkeypatch.setattr(counting._writer, "counter", Counter(fail, max_kinds=1))
    before = open_descriptors()
    with counted_serving():
        statuses = [follow(stack, sign(replace(FULL, link_id=f"lnk_{number}")).url).status for number in (1, 2, 1)]
        written.append("the database is there again")
    # For the first link's there is room.
    assert statuses == [200, 503, 200]
    assert open_descriptors() == before


def test_a_link_that_is_not_good_asks_no_database(stack: str) -> None:
    with CaptureQueriesContext(connections["default"]) as queries:
        assert follow(stack, sign(FULL).url[:-1] + "x").status == 403
    assert not queries


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO, errno.EACCES], ids=errno.errorcode.__getitem__)
def test_what_the_system_cannot_tell_is_not_called_missing(
    stack: str, error: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system_open = os.open

    def failing_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if path == "report.pdf":
            raise OSError(error, os.strerror(error))
        return system_open(path, flags, *args, **kwargs)

    def failing_openat2(directory: int, path: str, flags: int) -> int:
        return failing_open(path.rpartition("/")[2], flags)

    url = sign(FULL).url
    monkeypatch.setattr(os, "open", failing_open)
    monkeypatch.setattr(openat2, "open_beneath", failing_openat2)
    answer = follow(stack, url)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "cannot be reached" in caplog.text
    assert _signature(url) not in caplog.text
    # Django's own report would hand the request, and the link in it, to whoever reads errors.
    assert not [record for record in caplog.records if hasattr(record, "request")]
