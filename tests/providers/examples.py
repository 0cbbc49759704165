"""What the tests of the signers share: an instant, credentials, and strategies for valid operations.

It must hold no expectation: what is right is said by each test.
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from providers import Checksum, Download, StaticCredentials, Upload, UploadForm, UploadPart
from providers.keys import key_error
from providers.types import MAX_PART_NUMBER, MAX_SINGLE_UPLOAD_BYTES

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TTL = timedelta(seconds=300)
BUCKET = "my-bucket"
TOKEN = "FwoGZXIvYXdzEJr//+token=="
STATIC = StaticCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = StaticCredentials("ASIDEXAMPLE", "bPxRfiCYEXAMPLEKEY/wJalrXUtnFEMI+K7MDENG", TOKEN)

DIGEST_BYTES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "md5": 16, "sha1": 20, "sha256": 32}

_PRINTABLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_VISIBLE = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])
_KEY_CHARACTERS = st.one_of(st.sampled_from(_PRINTABLE_ASCII.replace("/", "").replace("\\", "") + " "), _VISIBLE)

keys = (
    st.lists(st.text(_KEY_CHARACTERS, min_size=1, max_size=8), min_size=1, max_size=4)
    .map("/".join)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: key_error(text) is None)
)
filenames = st.one_of(
    st.sampled_from(["report.pdf", "a b.txt", "日本 é.txt", 'a"b.txt', "../../x", "con.txt", "50% of it.csv", ""]),
    st.text(max_size=20),
)
content_types = st.sampled_from(
    ["image/png", "text/plain; charset=utf-8", "application/vnd.ms-excel.sheet+xml", "a/b!#$&^_.+-"]
)
tokens = st.text(_PRINTABLE_ASCII, min_size=1, max_size=20)  # versions and upload ids
link_ids = st.from_regex(r"[A-Za-z0-9_\-]{1,64}", fullmatch=True)
sizes = st.integers(0, MAX_SINGLE_UPLOAD_BYTES)


def optional(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.one_of(st.none(), strategy)


@st.composite
def checksums(draw: st.DrawFn) -> Checksum:
    algorithm: Any = draw(st.sampled_from(sorted(DIGEST_BYTES)))
    length = DIGEST_BYTES[algorithm]
    return Checksum(algorithm, draw(st.binary(min_size=length, max_size=length)))


sha256s = st.binary(min_size=32, max_size=32).map(lambda digest: Checksum("sha256", digest))
downloads = st.builds(
    Download,
    keys,
    method=st.sampled_from(["GET", "HEAD"]),
    filename=optional(filenames),
    disposition=optional(st.sampled_from(["inline", "attachment"])),
    content_type=optional(content_types),
    version=optional(tokens),
    link_id=optional(link_ids),
)
cacheable_downloads = st.builds(
    replace, downloads, cache_control=optional(st.sampled_from(["private, max-age=60", "no-store"]))
)


def uploads(checksum: st.SearchStrategy[Checksum] | None = None) -> st.SearchStrategy[Upload]:
    return st.builds(
        Upload,
        keys,
        content_type=content_types,
        size_bytes=sizes,
        checksum=st.one_of(st.none(), checksums() if checksum is None else checksum),
        overwrite=st.booleans(),
    )


parts = st.builds(
    UploadPart,
    keys,
    upload_id=tokens,
    number=st.integers(1, MAX_PART_NUMBER),
    size_bytes=st.integers(1, MAX_SINGLE_UPLOAD_BYTES),
    checksum=st.one_of(st.none(), checksums()),
)


@st.composite
def forms(draw: st.DrawFn) -> UploadForm:
    least = draw(st.integers(0, 2**20))
    return UploadForm(
        draw(keys.filter(lambda key: "${filename}" not in key)),
        content_type=draw(content_types),
        min_bytes=least,
        max_bytes=draw(st.integers(least, 2**30)),
    )
