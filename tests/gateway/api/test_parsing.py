"""The strict reading by itself; that every address uses it is tested where the addresses are."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Literal

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from gateway.api.parsing import MAX_DEPTH, loads, read_json, read_query, refuse_query, shortened
from gateway.errors import BodyTooLarge, GatewayError, InvalidRequest, UnsupportedMediaType

# What no JSON body may be, whatever its fields.
BAD_JSON: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n",
    "nothing but a comma": b",",
    "two values": b"{} {}",
    "cut": b'{"file": "a"',
    "comment": b'{"file": "a" /* */}',
    "trailing comma": b'{"file": "a",}',
    "single quotes": b"{'file': 'a'}",
    "no quotes": b"{file: 1}",
    "NaN": b'{"ttl_seconds": NaN}',
    "Infinity": b'{"ttl_seconds": Infinity}',
    "-Infinity": b'{"ttl_seconds": -Infinity}',
    "byte order mark": b'\xef\xbb\xbf{"file": "a"}',
    "UTF-16": '{"file": "a"}'.encode("utf-16"),
    "UTF-32": '{"file": "a"}'.encode("utf-32"),
    "latin-1": b'{"file": "\xe9"}',
    "overlong UTF-8": b'{"file": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"file": "\xed\xa0\x80"}',
    "duplicate field": b'{"file": "a", "file": "b"}',
    "duplicate field, escaped": b'{"file": "a", "fil\\u0065": "b"}',
    "duplicate field below": b'{"items": [{"file": "a", "file": "b"}]}',
    "lone surrogate": b'{"file": "\\ud800"}',
    "lone surrogate in a list": b'{"items": ["\\udfff"]}',
    "surrogates in the wrong order": b'{"file": "\\ude00\\ud83d"}',
    "lone surrogate as a name": b'{"\\ud800": 1}',
    "NUL": b'{"file": "a\\u0000b"}',
    "NUL as a name": b'{"\\u0000": 1}',
    "NUL as it is": b'{"file": "a\x00b"}',
    "newline in a text": b'{"file": "a\nb"}',
    "unknown escape": b'{"file": "\\x41"}',
    "5000 digits": b'{"ttl_seconds": ' + b"1" * 5000 + b"}",
    "leading zero": b'{"ttl_seconds": 060}',
    "plus": b'{"ttl_seconds": +60}',
    "hexadecimal": b'{"ttl_seconds": 0x3c}',
    "underscore": b'{"ttl_seconds": 1_000}',
    "other digits": '{"ttl_seconds": １２}'.encode(),
    "true in capitals": b'{"ttl_seconds": True}',
    "too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "too deep in objects": b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    "deeper than Python goes": b"[" * 30_000,
    "deeper than Python goes, closed": b"[" * 30_000 + b"]" * 30_000,
    "form": b"file=a",
    "XML": b"<file>a</file>",
    "python": b"{'file': None}",
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_what_is_not_plain_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        loads(body)


GOOD_JSON = {
    "object": (b'{"a": [1, null, true]}', {"a": [1, None, True]}),
    "escaped pair of surrogates": (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
    "utf-8": ('"日本"'.encode(), "日本"),
    "as deep as may be": (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
    "large number": (b"1" * 4300, int("1" * 4300)),
    "same field in two objects": (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize(("body", "value"), GOOD_JSON.values(), ids=GOOD_JSON)
def test_plain_json_is_read(body: bytes, value: Any) -> None:
    assert loads(body) == value


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3), max_leaves=5)
)
def test_what_json_writes_is_read_or_refused_for_its_text(value: Any) -> None:
    body = json.dumps(value).encode()
    if "\x00" in str(value) or "\\x00" in repr(value):
        with pytest.raises(InvalidRequest):
            loads(body)
    else:
        assert loads(body) == value


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        json.dumps(loads(body))


class Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    kind: Literal["a", "b"] = "a"
    number: int | None = None


def posted(body: bytes, content_type: str = "application/json") -> Any:
    return RequestFactory().generic("POST", "/", body, content_type=content_type)


DETAILS = {
    "missing": (b"{}", "'name'; it is needed"),
    "unknown": (b'{"name": "a", "key": "t2/x"}', "'key' is 't2/x'; there is no such field"),
    "text for a number": (b'{"name": "a", "number": "60"}', "'number' is '60'; input should be a valid integer"),
    "none of the values": (b'{"name": "a", "kind": "c"}', "'kind' is 'c'; input should be 'a' or 'b'"),
    "no object": (b"[]", "the body is []; a JSON object"),
    "long": (
        b'{"name": "a", "kind": "%s"}' % (b"x" * 5000),
        f"'kind' is '{'x' * 56}...; input should be 'a' or 'b'",
    ),
    "line break": (b'{"name": "a", "a\\nb": 1}', "'a\\nb' is 1; there is no such field"),
}


@pytest.mark.parametrize(("body", "detail"), DETAILS.values(), ids=DETAILS)
def test_the_detail_names_the_value_and_the_bound(body: bytes, detail: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_json(posted(body), Asked)
    assert str(refused.value) == detail


MEDIA_TYPES: dict[str, tuple[str, type[GatewayError] | None]] = {
    "json": ("application/json", None),
    "capitals": ("Application/JSON", None),
    "utf-8": ("application/json; charset=utf-8", None),
    "UTF-8 in capitals": ("application/json; charset=UTF-8", None),
    "latin-1": ("application/json; charset=latin-1", UnsupportedMediaType),
    "unknown charset": ("application/json; charset=nonsense", UnsupportedMediaType),
    "none": ("", UnsupportedMediaType),
    "text": ("text/plain", UnsupportedMediaType),
    "html": ("text/html", UnsupportedMediaType),
    "form": ("application/x-www-form-urlencoded", UnsupportedMediaType),
    "form data": ("multipart/form-data; boundary=x", UnsupportedMediaType),
    "problem": ("application/problem+json", UnsupportedMediaType),
    "vendor": ("application/vnd.api+json", UnsupportedMediaType),
    "two": ("application/json, text/plain", UnsupportedMediaType),
    "longer": ("application/jsonx", UnsupportedMediaType),
    "text/json": ("text/json", UnsupportedMediaType),
}


@pytest.mark.parametrize(("media_type", "error"), MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_only_json_is_read(media_type: str, error: type[GatewayError] | None) -> None:
    request = posted(b'{"name": "a"}', media_type)
    if error is None:
        assert read_json(request, Asked).name == "a"
    else:
        with pytest.raises(error):
            read_json(request, Asked)


def test_a_long_body_is_neither_read_to_its_end_nor_parsed() -> None:
    request = posted(b"not json " * 1000)
    with pytest.raises(BodyTooLarge, match="at most 100"):
        read_json(request, Asked, max_bytes=100)
    assert request.read(1) != b""


def test_a_body_as_long_as_may_be_is_read() -> None:
    body = b'{"name": "a"}'
    assert read_json(posted(body), Asked, max_bytes=len(body)).name == "a"


def test_a_body_that_somebody_has_read_before_is_read_again() -> None:
    request = posted(b'{"name": "a"}')
    assert request.body
    assert read_json(request, Asked).name == "a"


class Query(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    q: str = ""


QUERIES = {
    "unknown": "x=1",
    "unknown beside a known": "q=1&x=1",
    "twice": "q=1&q=1",
    "twice, encoded": "q=1&%71=2",
    "NUL": "q=%00",
    "empty name": "=1",
    "list": "q[]=1",
    "more than Django counts": "&".join(f"a{number}=1" for number in range(1001)),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_odd_queries_are_refused(query: str) -> None:
    from django.core.exceptions import TooManyFieldsSent

    with pytest.raises((InvalidRequest, TooManyFieldsSent)):
        read_query(RequestFactory().get(f"/?{query}"), Query)


def test_a_query_is_read() -> None:
    assert read_query(RequestFactory().get("/?q=a%20b"), Query).q == "a b"


@pytest.mark.parametrize("query", ["?x=1", "?q", "?=", "?x=1&x=2"])
def test_parameters_without_a_meaning_are_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        refuse_query(RequestFactory().get(f"/{query}"))


@pytest.mark.parametrize("query", ["", "?", "?&"])
def test_no_parameters_are_none(query: str) -> None:
    refuse_query(RequestFactory().get(f"/{query}"))


@given(st.text() | st.integers() | st.binary())
def test_what_is_repeated_is_short_plain_and_on_one_line(value: Any) -> None:
    shown = shortened(value)
    assert len(shown) <= 60
    assert shown.isascii()
    assert shown.isprintable()
