"""An upload link takes exactly what was signed, whole or not at all."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from gateway.storages.files import version_of
from providers.types import Checksum, Download, Upload
from tests.gateway.delivery.support import STACKS, Answer, follow, put_file, sign

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.gateway.delivery.urls"),
    pytest.mark.parametrize("stack", STACKS),
]

KEY = "uploads/2026/11/new.bin"
BODY = os.urandom(200_000)
DIGEST = hashlib.sha256(BODY).digest()
UPLOAD = Upload(KEY, content_type="image/png", size_bytes=len(BODY))
CHECKED = replace(UPLOAD, checksum=Checksum("sha256", DIGEST))
OVERWRITE = replace(UPLOAD, overwrite=True)
DIGEST_FIELD = f"sha-256=:{base64.b64encode(DIGEST).decode()}:"


def put(
    stack: str,
    upload: Upload = UPLOAD,
    body: bytes | BytesIO = BODY,
    *,
    headers: dict[str, str] | None = None,
    content_type: str | None = "image/png",
    length: str | None = "",
) -> Answer:
    """Send a body; an empty ``length`` is its own, and for None there is no such header at all."""
    if length == "":
        length = str(len(body) if isinstance(body, bytes) else upload.size_bytes)
    said = {"Content-Type": content_type, "Content-Length": length, **(headers or {})}
    sent = {name: value for name, value in said.items() if value is not None}
    return follow(stack, sign(upload).url, method="PUT", body=body, headers=sent)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()) if root.exists() else []


# --- what was signed is stored -----------------------------------------------------------------------------

SENT: dict[str, dict[str, str]] = {
    "as-signed": {"If-None-Match": "*", "Content-Digest": DIGEST_FIELD},
    "without-headers-that-the-link-implies": {},
}


@pytest.mark.parametrize("headers", SENT.values(), ids=SENT)
def test_a_good_upload_is_stored_and_can_be_read(stack: str, private_root: Path, headers: dict[str, str]) -> None:
    answer = put(stack, CHECKED, headers=headers)
    assert (answer.status, answer.body) == (201, b"")
    stored = private_root / KEY
    assert stored.read_bytes() == BODY
    assert answer.headers["ETag"] == f'"{version_of(stored.stat())}"'
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Cache-Control"] == "no-store"
    got = follow(stack, sign(Download(KEY)).url)
    assert (got.body, got.headers["ETag"]) == (BODY, answer.headers["ETag"])


def test_the_headers_of_the_link_are_the_ones_that_are_asked_for(stack: str) -> None:
    signed = dict(sign(CHECKED).headers)
    content_type = signed.pop("Content-Type")
    assert put(stack, CHECKED, headers=signed, content_type=content_type).status == 201


@pytest.mark.parametrize("size_bytes", [0, 1, 64 * 1024, 64 * 1024 + 1], ids=str)
def test_files_of_every_size_are_stored(stack: str, private_root: Path, size_bytes: int) -> None:
    body = os.urandom(size_bytes)
    assert put(stack, replace(UPLOAD, size_bytes=size_bytes), body).status == 201
    assert (private_root / KEY).read_bytes() == body


def test_uploads_are_not_held_to_the_limits_of_forms(stack: str, settings: Any, private_root: Path) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
    assert put(stack).status == 201


def test_a_stored_file_is_private_to_the_service(stack: str, private_root: Path) -> None:
    old = os.umask(0)
    try:
        assert put(stack).status == 201
    finally:
        os.umask(old)
    assert (private_root / KEY).stat().st_mode & 0o777 == 0o600
    assert (private_root / KEY).parent.stat().st_mode & 0o777 == 0o700


def test_an_option_of_the_storage_says_other_modes(
    stack: str, private_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages["private"], "file_mode", 0o640)
    assert put(stack).status == 201
    assert (private_root / KEY).stat().st_mode & 0o777 == 0o640


# --- what was not signed is refused, and leaves nothing ----------------------------------------------------

HTML = replace(UPLOAD, content_type="text/html")
# name: what is sent, status
REFUSALS: dict[str, tuple[Callable[[str], Answer], int]] = {
    "other-type": (lambda s: put(s, content_type="text/html"), 415),
    "type-with-parameter": (lambda s: put(s, content_type="image/png; charset=utf-8"), 415),
    "type-in-capitals": (lambda s: put(s, content_type="IMAGE/PNG"), 415),
    "type-with-a-space": (lambda s: put(s, content_type="image/png "), 415),
    "no-type": (lambda s: put(s, content_type=None), 415),
    "image-on-a-link-for-html": (lambda s: put(s, HTML), 415),
    "compressed": (lambda s: put(s, headers={"Content-Encoding": "gzip"}), 415),
    "no-length": (lambda s: put(s, length=None), 411),
    "length-and-chunks": (lambda s: put(s, headers={"Transfer-Encoding": "chunked"}), 411),
    "empty-body": (lambda s: put(s, body=b""), 400),
    "shorter-body": (lambda s: put(s, body=BODY[:-1]), 400),
    "longer-body": (lambda s: put(s, body=BODY + b"x"), 413),
    "much-longer": (lambda s: put(s, length="9" * 20), 413),
    "negative-length": (lambda s: put(s, length="-1"), 400),
    "length-with-plus": (lambda s: put(s, length=f"+{len(BODY)}"), 400),
    "length-with-underscore": (lambda s: put(s, length="200_000"), 400),
    "length-of-5000-digits": (lambda s: put(s, length="9" * 5000), 400),
    "length-in-hexadecimal": (lambda s: put(s, length=hex(len(BODY))), 400),
    "length-in-words": (lambda s: put(s, length="many"), 400),
    "body-shorter-than-its-length": (lambda s: put(s, body=BODY[:-1], length=str(len(BODY))), 400),
    "part-of-a-file": (lambda s: put(s, headers={"Content-Range": "bytes 0-199999/400000"}), 400),
    "other-bytes": (lambda s: put(s, CHECKED, body=bytes(len(BODY))), 400),
    "other-digest": (
        lambda s: put(s, CHECKED, headers={"Content-Digest": DIGEST_FIELD.replace("=:", "=:A")}),
        400,
    ),
    "digest-of-another-kind": (lambda s: put(s, CHECKED, headers={"Content-Digest": "md5=:AA==:"}), 400),
    "if-match": (lambda s: put(s, headers={"If-Match": "*"}), 412),
}


@pytest.mark.parametrize(("send", "status"), REFUSALS.values(), ids=REFUSALS)
def test_what_was_not_signed_is_refused_and_leaves_no_file(
    stack: str, private_root: Path, send: Callable[[str], Answer], status: int
) -> None:
    answer = send(stack)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "ETag" not in answer.headers
    assert KEY.encode() not in answer.body
    assert files_below(private_root) == []
    assert put(stack).status == 201


def test_a_link_without_overwriting_leaves_what_is_there(stack: str, private_root: Path) -> None:
    put_file(KEY, b"first")
    for headers in ({}, {"If-None-Match": "*"}, {"If-None-Match": '"other"'}):
        assert put(stack, headers=headers).status == 412
    assert (private_root / KEY).read_bytes() == b"first"
    assert files_below(private_root) == [KEY]


def test_the_same_link_stores_once(stack: str, private_root: Path) -> None:
    assert [put(stack).status for _ in range(2)] == [201, 412]


def test_a_link_that_overwrites_replaces_the_file(stack: str, private_root: Path) -> None:
    put_file(KEY, b"first")
    with (private_root / KEY).open("rb") as reader:
        assert put(stack, OVERWRITE).status == 201
        # Whoever was reading the old file still reads the old file.
        assert reader.read() == b"first"
    assert (private_root / KEY).read_bytes() == BODY
    assert files_below(private_root) == [KEY]


# name: headers, with {etag} of what is there; status
CAREFUL: dict[str, tuple[dict[str, str], int]] = {
    "if-none-match-any": ({"If-None-Match": "*"}, 412),
    "if-none-match-same": ({"If-None-Match": "{etag}"}, 412),
    "if-none-match-other": ({"If-None-Match": '"other"'}, 201),
    "if-match-same": ({"If-Match": "{etag}"}, 201),
    "if-match-other": ({"If-Match": '"other"'}, 412),
    "if-unmodified-since-long-ago": ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
    "if-modified-since-is-for-reading": ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 201),
}


@pytest.mark.parametrize(("headers", "status"), CAREFUL.values(), ids=CAREFUL)
def test_a_client_may_be_more_careful_than_its_link(stack: str, headers: dict[str, str], status: int) -> None:
    stored = put_file(KEY, b"first")
    etag = f'"{version_of(stored.stat())}"'
    answer = put(stack, OVERWRITE, headers={name: value.format(etag=etag) for name, value in headers.items()})
    assert answer.status == status
    assert stored.read_bytes() == (BODY if status == 201 else b"first")


# --- names that are taken by something else ----------------------------------------------------------------


def _directory(root: Path) -> None:
    (root / KEY).mkdir(parents=True)


def _file_on_the_way(root: Path) -> None:
    (root / "uploads").mkdir(parents=True)
    (root / "uploads/2026").write_bytes(b"")


def _link(root: Path) -> None:
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).symlink_to(root.parent / "outside")


def _link_on_the_way(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    root.mkdir()
    (root / "uploads").symlink_to(root.parent / "elsewhere")


TAKEN = {
    "directory": (_directory, UPLOAD, 412),
    "directory-overwriting": (_directory, OVERWRITE, 409),
    "file-on-the-way": (_file_on_the_way, UPLOAD, 409),
    "link": (_link, UPLOAD, 412),
    "link-overwriting": (_link, OVERWRITE, 201),
    "link-on-the-way": (_link_on_the_way, UPLOAD, 409),
    "link-on-the-way-overwriting": (_link_on_the_way, OVERWRITE, 409),
}


@pytest.mark.parametrize(("prepare", "upload", "status"), TAKEN.values(), ids=TAKEN)
def test_nothing_is_written_outside_or_through_a_link(
    stack: str, private_root: Path, prepare: Callable[[Path], None], upload: Upload, status: int
) -> None:
    prepare(private_root)
    assert put(stack, upload).status == status
    assert not (private_root.parent / "outside").exists()
    assert not [path for path in private_root.parent.rglob("*") if path.name.endswith(".part")]
    assert not list(private_root.parent.glob("elsewhere/*"))


def test_nothing_is_stored_under_the_name_of_a_half_written_file(stack: str, private_root: Path) -> None:
    assert put(stack, replace(UPLOAD, key=f"uploads/.{'0a' * 16}.part")).status == 400
    assert files_below(private_root) == []


# --- when it breaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_full_disk_is_said_and_leaves_nothing(
    stack: str, private_root: Path, call: str, error: int, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(error, os.strerror(error))

    (private_root / KEY).parent.mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        answer = put(stack)
    assert (answer.status, answer.body) == (507, b"There is no room for this file.\n")
    assert files_below(private_root) == []
    assert errno.errorcode[error] in caplog.text
    assert "signature" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR" and hasattr(record, "request")]
    assert put(stack).status == 201


def test_a_failing_disk_is_said_and_leaves_nothing(
    stack: str, private_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        assert put(stack).status == 503
    assert files_below(private_root) == []
