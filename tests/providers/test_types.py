"""Operations that cannot be built wrong, links that cannot be shown or stored, bounded lifetimes."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import marshal
import math
import pickle
import pprint
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, get_args

import pytest

from providers import (
    Capabilities,
    Checksum,
    Download,
    InvalidInput,
    InvalidKey,
    InvalidOperation,
    InvalidTTL,
    LocalProvider,
    Operation,
    Provider,
    S3Provider,
    SecretKey,
    SignedURL,
    Upload,
    UploadForm,
    UploadPart,
)
from providers.types import MAX_PART_NUMBER, MAX_SINGLE_UPLOAD_BYTES, check_lifetime
from tests.providers import examples


class LazyText(str):
    """Text that could show one value and encode as another."""

    __slots__ = ()


GOOD: dict[type, dict[str, Any]] = {
    Download: {"key": "a"},
    Upload: {"key": "a", "content_type": "image/png", "size_bytes": 1},
    UploadForm: {"key": "a", "content_type": "image/png", "min_bytes": 0, "max_bytes": 1},
    UploadPart: {"key": "a", "upload_id": "id", "number": 1, "size_bytes": 1},
    Checksum: {"algorithm": "sha256", "digest": bytes(32)},
}

ASCII = "1 to 1024 printable ASCII characters"
TYPE = "a lower-case type/subtype"
SIZE = "a whole number from 0 to 5368709120"
LINK_ID = "1 to 64 letters, digits, _ or -"
CACHE_CONTROL = "lower-case directives"

# class, field, bad value -> the bound that the message names; the value is always named too
REFUSED: list[tuple[type, str, Any, str]] = [
    (Download, "key", "", "at least 1 byte"),
    (Download, "key", "../x", "dot segment"),
    (Download, "key", None, "only str is a key"),
    (Download, "method", "PUT", "GET or HEAD"),
    (Download, "method", "get", "GET or HEAD"),
    (Download, "method", "", "GET or HEAD"),
    (Download, "method", None, "GET or HEAD"),
    (Download, "method", b"GET", "GET or HEAD"),
    (Download, "filename", 1, "str"),
    (Download, "filename", b"a", "str"),
    (Download, "filename", LazyText("a"), "str"),
    (Download, "disposition", "Inline", "inline or attachment"),
    (Download, "disposition", "", "inline or attachment"),
    (Download, "disposition", "inline\r\nX: y", "inline or attachment"),
    (Download, "disposition", ["inline"], "inline or attachment"),
    (Download, "content_type", "", TYPE),
    (Download, "content_type", "image", TYPE),
    (Download, "content_type", "IMAGE/PNG", TYPE),
    (Download, "content_type", "image/*", TYPE),
    (Download, "content_type", "image/png\r\nX: y", TYPE),
    (Download, "content_type", "image/png\n", TYPE),
    (Download, "content_type", " image/png", TYPE),
    (Download, "content_type", "image/png, text/html", TYPE),
    (Download, "content_type", 'image/png; x="', TYPE),
    (Download, "content_type", "text/html; charset=UTF-7", TYPE),
    (Download, "content_type", "image/" + "x" * 128, TYPE),
    (Download, "content_type", "im\u0131ge/png", TYPE),
    (Download, "content_type", 1, TYPE),
    (Download, "content_type", LazyText("image/png"), TYPE),
    (Download, "version", "", ASCII),
    (Download, "version", "a b", ASCII),
    (Download, "version", "é", ASCII),
    (Download, "version", "a\n", ASCII),
    (Download, "version", "x" * 1025, ASCII),
    (Download, "version", 1, ASCII),
    (Download, "link_id", "", LINK_ID),
    (Download, "link_id", "a&b", LINK_ID),
    (Download, "link_id", "é", LINK_ID),
    (Download, "link_id", "a\n", LINK_ID),
    (Download, "link_id", "x" * 65, LINK_ID),
    (Download, "link_id", 1, LINK_ID),
    (Download, "cache_control", "", CACHE_CONTROL),
    (Download, "cache_control", "private\r\nSet-Cookie: x=1", CACHE_CONTROL),
    (Download, "cache_control", "private\n", CACHE_CONTROL),
    (Download, "cache_control", 'private="x"', CACHE_CONTROL),
    (Download, "cache_control", "x" * 129, CACHE_CONTROL),
    (Download, "cache_control", 60, CACHE_CONTROL),
    (Download, "stamp", "a&b", "stamp is"),
    (Download, "stamp", "x" * 129, "stamp is"),
    (Download, "stamp", 1, "stamp is"),
    (Upload, "stamp", "", "stamp is"),
    (Upload, "key", "a/", "empty segment"),
    (Upload, "content_type", None, TYPE),
    (Upload, "content_type", "IMAGE/PNG", TYPE),
    (Upload, "size_bytes", -1, SIZE),
    (Upload, "size_bytes", MAX_SINGLE_UPLOAD_BYTES + 1, SIZE),
    (Upload, "size_bytes", 1.0, SIZE),
    (Upload, "size_bytes", math.nan, SIZE),
    (Upload, "size_bytes", "10", SIZE),
    (Upload, "size_bytes", True, SIZE),
    (Upload, "size_bytes", None, SIZE),
    (Upload, "checksum", "sha256", "Checksum"),
    (Upload, "checksum", b"0" * 32, "Checksum"),
    (Upload, "overwrite", "no", "True or False"),
    (Upload, "overwrite", 0, "True or False"),
    (Upload, "overwrite", None, "True or False"),
    (UploadForm, "key", "a\\b", "backslash"),
    (UploadForm, "key", "${filename}", "one exact key"),
    (UploadForm, "key", "uploads/${filename}", "one exact key"),
    (UploadForm, "key", "a/${filename}/b", "one exact key"),
    (UploadForm, "content_type", "", TYPE),
    (UploadForm, "min_bytes", -1, "a whole number from 0 to 1"),
    (UploadForm, "min_bytes", 2, "a whole number from 0 to 1"),
    (UploadForm, "min_bytes", True, "a whole number from 0 to 1"),
    (UploadForm, "max_bytes", -1, SIZE),
    (UploadForm, "max_bytes", MAX_SINGLE_UPLOAD_BYTES + 1, SIZE),
    (UploadForm, "max_bytes", "1", SIZE),
    (UploadPart, "key", "a\n", "U+000A"),
    (UploadPart, "upload_id", "", ASCII),
    (UploadPart, "upload_id", "a b", ASCII),
    (UploadPart, "upload_id", None, ASCII),
    (UploadPart, "number", 0, "a whole number from 1 to 10000"),
    (UploadPart, "number", MAX_PART_NUMBER + 1, "a whole number from 1 to 10000"),
    (UploadPart, "number", True, "a whole number from 1 to 10000"),
    (UploadPart, "number", "1", "a whole number from 1 to 10000"),
    (UploadPart, "size_bytes", 0, "a whole number from 1 to 5368709120"),
    (UploadPart, "size_bytes", MAX_SINGLE_UPLOAD_BYTES + 1, "a whole number from 1 to 5368709120"),
    (UploadPart, "checksum", ("md5", bytes(16)), "Checksum"),
    (UploadPart, "stamp", "é", "stamp is"),
    (Checksum, "algorithm", "SHA256", "one of crc32, crc32c, crc64nvme, md5, sha1, sha256"),
    (Checksum, "algorithm", "sha512", "one of crc32, crc32c, crc64nvme, md5, sha1, sha256"),
    (Checksum, "algorithm", None, "one of crc32, crc32c, crc64nvme, md5, sha1, sha256"),
    (Checksum, "algorithm", ["sha256"], "one of crc32, crc32c, crc64nvme, md5, sha1, sha256"),
    (Checksum, "digest", b"", "exactly 32 bytes"),
    (Checksum, "digest", bytes(31), "exactly 32 bytes"),
    (Checksum, "digest", bytes(33), "exactly 32 bytes"),
    (Checksum, "digest", "0" * 32, "exactly 32 bytes"),
    (Checksum, "digest", bytearray(32), "exactly 32 bytes"),
    (Checksum, "digest", None, "exactly 32 bytes"),
]

ACCEPTED: list[tuple[type, str, Any]] = [
    (Download, "method", "HEAD"),
    (Download, "filename", ""),
    (Download, "filename", "x" * 5000),
    (Download, "disposition", "inline"),
    (Download, "content_type", "text/plain; charset=utf-8"),
    (Download, "content_type", "x" * 127 + "/" + "x" * 127),
    (Download, "version", "null"),
    (Download, "version", "x" * 1024),
    (Download, "version", "a&b=c/%25+"),
    (Download, "link_id", "x" * 64),
    (Download, "cache_control", "private, max-age=60"),
    (Download, "cache_control", "x" * 128),
    (Download, "stamp", "x" * 128),
    (Upload, "stamp", "0-a"),
    (Upload, "size_bytes", 0),
    (Upload, "size_bytes", MAX_SINGLE_UPLOAD_BYTES),
    (Upload, "overwrite", True),
    (Upload, "key", "${filename}"),
    (UploadForm, "min_bytes", 1),
    (UploadForm, "max_bytes", MAX_SINGLE_UPLOAD_BYTES),
    (UploadPart, "number", MAX_PART_NUMBER),
    (UploadPart, "size_bytes", MAX_SINGLE_UPLOAD_BYTES),
    (UploadPart, "key", "${filename}"),
    (UploadPart, "stamp", "0-a"),
]


def row_id(row: tuple[Any, ...]) -> str:
    kind, field, value = row[:3]
    return f"{kind.__name__}-{field}-{type(value).__name__}-{ascii(value)[:24]}"


@pytest.mark.parametrize(("kind", "field", "value", "bound"), REFUSED, ids=map(row_id, REFUSED))
def test_bad_field_is_refused_with_value_and_bound(kind: type, field: str, value: Any, bound: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        kind(**GOOD[kind] | {field: value})

    expected = InvalidKey if field == "key" and bound != "one exact key" else InvalidOperation
    assert type(refusal.value) is expected
    assert refusal.value.code == {InvalidKey: "invalid_key", InvalidOperation: "invalid_operation"}[expected]
    message = str(refusal.value)
    assert bound in message
    assert field.removesuffix("_bytes") in message
    assert repr(value) in message or type(value).__name__ in message or value == ""


@pytest.mark.parametrize(("kind", "field", "value"), ACCEPTED, ids=map(row_id, ACCEPTED))
def test_values_at_the_bounds_are_accepted(kind: type, field: str, value: Any) -> None:
    assert getattr(kind(**GOOD[kind] | {field: value}), field) == value


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_every_field_of_every_operation_is_in_the_table(kind: type) -> None:
    assert {field.name for field in dataclasses.fields(kind)} == {row[1] for row in REFUSED if row[0] is kind}


@pytest.mark.parametrize("algorithm", examples.DIGEST_BYTES)
def test_each_algorithm_has_its_own_digest_length(algorithm: Any) -> None:
    length = examples.DIGEST_BYTES[algorithm]
    assert Checksum(algorithm, bytes(length)).digest == bytes(length)
    for wrong in (length - 1, length + 1):
        with pytest.raises(InvalidOperation, match=f"exactly {length} bytes"):
            Checksum(algorithm, bytes(wrong))


@pytest.mark.parametrize("kind", get_args(Operation), ids=lambda kind: kind.__name__)
def test_operations_are_frozen_and_keyword_only(kind: type) -> None:
    operation = kind(**GOOD[kind])
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(operation, field.name, "other")
    assert not hasattr(operation, "__dict__")
    key, *rest = GOOD[kind].values()
    assert kind(key, **{name: value for name, value in GOOD[kind].items() if name != "key"}) == operation
    with pytest.raises(TypeError, match="positional"):
        kind(key, *rest, "one more")


def test_operations_are_values() -> None:
    for kind, fields in GOOD.items():
        assert kind(**fields) == kind(**fields)
        assert hash(kind(**fields)) == hash(kind(**fields))


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="bucket"):
        Download("a", bucket="other")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        pytest.param({}, None, id="neither"),
        pytest.param({"disposition": "inline"}, "inline", id="inline"),
        pytest.param({"filename": "a.txt"}, 'attachment; filename="a.txt"', id="name-alone-is-an-attachment"),
        pytest.param({"filename": "a.txt", "disposition": "inline"}, 'inline; filename="a.txt"', id="inline-with-name"),
        pytest.param({"filename": ""}, 'attachment; filename="download"', id="empty-name"),
    ],
)
def test_download_knows_its_content_disposition(fields: dict[str, Any], value: str | None) -> None:
    assert Download("a", **fields).content_disposition == value


# --- SignedURL ---------------------------------------------------------------------------------------------

SIGNATURE = "5f1e0f00d5ecre7"
LINK = SignedURL(
    url=f"https://store.example:8443/bucket/a%20b?X-Amz-Date=1&X-Amz-Signature={SIGNATURE}",
    method="GET",
    expires_at=examples.NOW,
    headers={"x-secret-header": SIGNATURE},
    fields={"x-amz-signature": SIGNATURE},
)

SHOWN: dict[str, Callable[[], str]] = {
    "repr": lambda: repr(LINK),
    "str": lambda: str(LINK),
    "ascii": lambda: ascii(LINK),
    "format": lambda: format(LINK),
    "format-method": lambda: "{} {!r} {!s:>200}".format(LINK, LINK, LINK),  # noqa: UP032
    "f-string": lambda: f"{LINK} {LINK!r} {LINK!s} {LINK!a}",
    "debug-f-string": lambda: f"{LINK=}",
    "percent": lambda: "%s %r" % (LINK, LINK),  # noqa: UP031
    "in-a-list": lambda: repr([LINK]),
    "in-a-dict": lambda: f"{ {'link': LINK} }",
    "pretty-printed": lambda: pprint.pformat({"links": [LINK] * 9}),
    "in-an-exception": lambda: f"{ValueError(LINK)} {ValueError(LINK)!r}",
    "in-a-log-record": lambda: logging.LogRecord("", 0, "", 0, "%s %r", (LINK, LINK), None).getMessage(),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_a_link_shows_what_it_is_for_and_never_its_signature(show: Callable[[], str]) -> None:
    text = show()
    assert SIGNATURE not in text
    assert "X-Amz" not in text
    assert "?" not in text
    assert "GET https://store.example:8443/bucket/a%20b" in text.replace("'\n", "")


def test_a_link_shows_neither_headers_nor_fields_nor_a_fragment() -> None:
    link = dataclasses.replace(LINK, url="https://h/p#secret")
    assert repr(link) == "<SignedURL GET https://h/p until 2026-03-04T05:06:07+00:00>"


@pytest.mark.parametrize(
    "store",
    [
        *(
            pytest.param(lambda link, p=protocol: pickle.dumps(link, protocol=p), id=f"pickle-{protocol}")
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
        pytest.param(lambda link: pickle.dumps({"link": link}), id="pickle-in-a-dict"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda link: copy.deepcopy([link]), id="deepcopy-in-a-list"),
        pytest.param(json.dumps, id="json"),
        pytest.param(vars, id="vars"),
        pytest.param(lambda link: link.__getstate__(), id="state"),
        pytest.param(hash, id="hash"),
    ],
)
def test_a_link_cannot_be_stored(store: Callable[[SignedURL], Any]) -> None:
    with pytest.raises(TypeError) as refusal:
        store(LINK)
    assert SIGNATURE not in str(refusal.value)


def test_a_link_cannot_be_marshalled() -> None:
    with pytest.raises(ValueError, match="unmarshallable"):
        marshal.dumps(LINK)  # type: ignore[arg-type]


def test_a_link_is_frozen_keyword_only_and_empty_where_nothing_was_said() -> None:
    link = SignedURL(url="https://h/p?s=1", method="GET", expires_at=examples.NOW)
    assert link.headers == {}
    assert link.fields == {}
    for mapping in (link.headers, link.fields):
        with pytest.raises(TypeError):
            mapping["x"] = "y"  # type: ignore[index]
    for field in dataclasses.fields(link):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(link, field.name, "other")
    with pytest.raises(TypeError):
        SignedURL("https://h/p?s=1", "GET", examples.NOW)  # type: ignore[call-arg]


# --- lifetimes ---------------------------------------------------------------------------------------------

MAXIMUM = timedelta(days=7)


class ZoneThatDoesNotKnow(tzinfo):
    """A zone without an offset: such a datetime is naive, though its tzinfo is set."""

    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def dst(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> None:
        return None


# id -> ttl -> error, a piece of the message
LIFETIMES: dict[str, tuple[Any, type[Exception], str]] = {
    "V1-zero": (timedelta(0), InvalidTTL, "ttl is 0 s; at least 1 s and at most 604800 s"),
    "V2-negative": (timedelta(seconds=-1), InvalidTTL, "ttl is -1 s; at least 1 s"),
    "V2-most-negative": (timedelta.min, InvalidTTL, "at least 1 s"),
    "V3-one-too-many": (timedelta(seconds=604_801), InvalidTTL, "ttl is 604801 s;"),
    "V3-a-day-too-many": (timedelta(days=8), InvalidTTL, "at most 604800 s"),
    "V4-centuries": (timedelta(seconds=10**12), InvalidTTL, "ttl is 1000000000000 s;"),
    "V4-longest": (timedelta.max, InvalidTTL, "whole seconds"),
    "V5-float": (1.5, TypeError, "ttl is of type float; timedelta"),
    "V6-whole-float": (60.0, TypeError, "float"),
    "V7-not-a-number": (math.nan, TypeError, "float"),
    "V8-infinite": (math.inf, TypeError, "float"),
    "V8-minus-infinite": (-math.inf, TypeError, "float"),
    "V10-true": (True, TypeError, "bool"),
    "V12-exponent": (1e3, TypeError, "float"),
    "int": (300, TypeError, "int"),
    "V13-text": ("60", TypeError, "str"),
    "V15-text-with-sign": ("+60", TypeError, "str"),
    "V17-none": (None, TypeError, "NoneType"),
    "V18-list": ([], TypeError, "list"),
    "V18-dict": ({}, TypeError, "dict"),
    "V21-half-a-second": (timedelta(milliseconds=1500), InvalidTTL, "ttl is 1.5 s; whole seconds only"),
    "V21-a-microsecond": (timedelta(microseconds=1), InvalidTTL, "whole seconds only"),
    "datetime": (examples.NOW, TypeError, "datetime"),
}


@pytest.mark.parametrize(("ttl", "error", "piece"), LIFETIMES.values(), ids=LIFETIMES)
def test_lifetime_is_refused(ttl: Any, error: type[Exception], piece: str) -> None:
    with pytest.raises(error, match=re.escape(piece)):
        check_lifetime(ttl, examples.NOW, maximum=MAXIMUM)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(examples.NOW.replace(tzinfo=None), id="V19-naive"),
        pytest.param(examples.NOW.replace(tzinfo=ZoneThatDoesNotKnow()), id="V19-naive-in-disguise"),
        pytest.param(examples.NOW.date(), id="date"),
        pytest.param(examples.NOW.timestamp(), id="float"),
        pytest.param("2026-03-04T05:06:07Z", id="text"),
        pytest.param(None, id="none"),
    ],
)
def test_instant_without_a_zone_is_refused(now: Any) -> None:
    with pytest.raises(TypeError, match="an aware datetime"):
        check_lifetime(examples.TTL, now, maximum=MAXIMUM)


@pytest.mark.parametrize("seconds", [1, 300, 86_400, 604_800])
def test_lifetime_within_the_bounds_is_counted_in_seconds(seconds: int) -> None:
    assert check_lifetime(timedelta(seconds=seconds), examples.NOW, maximum=MAXIMUM) == (
        seconds,
        examples.NOW,
    )


def test_a_lower_maximum_is_the_bound() -> None:
    with pytest.raises(InvalidTTL, match="ttl is 901 s; at least 1 s and at most 900 s"):
        check_lifetime(timedelta(seconds=901), examples.NOW, maximum=timedelta(seconds=900))


def test_instant_is_cut_to_the_second_in_utc() -> None:
    there = examples.NOW.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=5, minutes=30)))
    _, now = check_lifetime(examples.TTL, there, maximum=MAXIMUM)
    assert now == examples.NOW
    assert now.tzinfo is UTC


# --- the protocol ------------------------------------------------------------------------------------------


def test_both_stores_are_providers() -> None:
    for provider in (
        S3Provider(bucket="bucket", region="eu-central-1", credentials=examples.STATIC),
        LocalProvider(base_url="/files/", secret_keys=[SecretKey(b"k" * 32)]),
    ):
        assert isinstance(provider, Provider)
        assert isinstance(provider.capabilities, Capabilities)


def test_capabilities_are_frozen_and_keyword_only() -> None:
    capabilities = S3Provider.capabilities
    for field in dataclasses.fields(capabilities):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(capabilities, field.name, None)
    with pytest.raises(TypeError):
        Capabilities(*dataclasses.astuple(capabilities))  # type: ignore[call-arg]
