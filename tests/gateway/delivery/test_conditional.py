"""Preconditions in the order of RFC 9110 section 13.2.2."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.utils.http import http_date

from gateway.delivery.conditional import Validators, precondition, range_fits

MODIFIED_AT = 1_700_000_000
CURRENT = Validators(version="abc", modified_at=MODIFIED_AT)
THEN, BEFORE, AFTER = (http_date(MODIFIED_AT + seconds) for seconds in (0, -1, 1))

# name: headers, answer to GET or HEAD, answer to PUT
CONDITIONS: dict[str, tuple[Mapping[str, str], int | None, int | None]] = {
    "none": ({}, None, None),
    "if-match-same": ({"If-Match": '"abc"'}, None, None),
    "if-match-in-a-list": ({"If-Match": '"x", "abc" ,"y"'}, None, None),
    "if-match-any": ({"If-Match": "*"}, None, None),
    "if-match-other": ({"If-Match": '"abd"'}, 412, 412),
    "if-match-weak": ({"If-Match": 'W/"abc"'}, 412, 412),
    "if-match-unquoted": ({"If-Match": "abc"}, 412, 412),
    "if-match-empty": ({"If-Match": ""}, 412, 412),
    "if-match-any-in-a-list": ({"If-Match": '*, "x"'}, 412, 412),
    "if-match-wins-over-date": ({"If-Match": '"abc"', "If-Unmodified-Since": BEFORE}, None, None),
    "if-unmodified-since-then": ({"If-Unmodified-Since": THEN}, None, None),
    "if-unmodified-since-after": ({"If-Unmodified-Since": AFTER}, None, None),
    "if-unmodified-since-before": ({"If-Unmodified-Since": BEFORE}, 412, 412),
    "if-unmodified-since-garbage": ({"If-Unmodified-Since": "yesterday"}, None, None),
    "if-none-match-same": ({"If-None-Match": '"abc"'}, 304, 412),
    "if-none-match-weak": ({"If-None-Match": 'W/"abc"'}, 304, 412),
    "if-none-match-in-a-list": ({"If-None-Match": '"x",W/"y", "abc"'}, 304, 412),
    "if-none-match-any": ({"If-None-Match": "*"}, 304, 412),
    "if-none-match-other": ({"If-None-Match": '"abd"'}, None, None),
    "if-none-match-garbage": ({"If-None-Match": "abc"}, None, None),
    "if-none-match-wins-over-date": ({"If-None-Match": '"abd"', "If-Modified-Since": AFTER}, None, None),
    "if-modified-since-then": ({"If-Modified-Since": THEN}, 304, None),
    "if-modified-since-after": ({"If-Modified-Since": AFTER}, 304, None),
    "if-modified-since-before": ({"If-Modified-Since": BEFORE}, None, None),
    "if-modified-since-garbage": ({"If-Modified-Since": "0"}, None, None),
    "if-modified-since-in-old-forms": ({"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, None, None),
    "412-before-304": ({"If-Match": '"x"', "If-None-Match": '"abc"'}, 412, 412),
    "both-hold": ({"If-Match": '"abc"', "If-None-Match": '"abc"'}, 304, 412),
    "date-then-tag": ({"If-Unmodified-Since": BEFORE, "If-None-Match": '"abc"'}, 412, 412),
}


@pytest.mark.parametrize(("headers", "read", "written"), CONDITIONS.values(), ids=CONDITIONS)
def test_preconditions_are_asked_in_order(headers: Mapping[str, str], read: int | None, written: int | None) -> None:
    assert precondition(headers, CURRENT, reading=True) == read
    assert precondition(headers, CURRENT, reading=False) == written


NOTHING_STORED: dict[str, tuple[Mapping[str, str], int | None]] = {
    "none": ({}, None),
    "if-none-match-any": ({"If-None-Match": "*"}, None),
    "if-none-match": ({"If-None-Match": '"abc"'}, None),
    "if-match-any": ({"If-Match": "*"}, 412),
    "if-match": ({"If-Match": '"abc"'}, 412),
    "if-unmodified-since": ({"If-Unmodified-Since": BEFORE}, None),
}


@pytest.mark.parametrize(("headers", "expected"), NOTHING_STORED.values(), ids=NOTHING_STORED)
def test_where_nothing_is_stored_only_if_match_fails(headers: Mapping[str, str], expected: int | None) -> None:
    assert precondition(headers, None, reading=False) == expected


RANGE_CONDITIONS: dict[str, tuple[Mapping[str, str], int, bool]] = {
    "none": ({}, MODIFIED_AT, True),
    "same-tag": ({"If-Range": '"abc"'}, MODIFIED_AT, True),
    "old-tag": ({"If-Range": '"abd"'}, MODIFIED_AT + 9, False),
    "weak-tag": ({"If-Range": 'W/"abc"'}, MODIFIED_AT + 9, False),
    "unquoted-tag": ({"If-Range": "abc"}, MODIFIED_AT + 9, False),
    "list-of-tags": ({"If-Range": '"x", "abc"'}, MODIFIED_AT + 9, False),
    "same-date": ({"If-Range": THEN}, MODIFIED_AT + 1, True),
    "same-date-within-its-second": ({"If-Range": THEN}, MODIFIED_AT, False),
    "earlier-date": ({"If-Range": BEFORE}, MODIFIED_AT + 9, False),
    "later-date": ({"If-Range": AFTER}, MODIFIED_AT + 9, False),
    "garbage": ({"If-Range": "soon"}, MODIFIED_AT + 9, False),
    "empty": ({"If-Range": ""}, MODIFIED_AT + 9, False),
}


@pytest.mark.parametrize(("headers", "now", "expected"), RANGE_CONDITIONS.values(), ids=RANGE_CONDITIONS)
def test_if_range_holds_only_for_exactly_what_is_stored(headers: Mapping[str, str], now: int, expected: bool) -> None:
    assert range_fits(headers, CURRENT, now=now) is expected


def test_validators_change_with_size_time_and_file(tmp_path: Path) -> None:
    path, twin = tmp_path / "a", tmp_path / "b"
    seen = set()
    for file, content, time_ns in [
        (path, b"1", 10**18),
        (path, b"12", 10**18),
        (path, b"12", 10**18 + 1),
        (twin, b"1", 10**18),
    ]:
        file.write_bytes(content)
        os.utime(file, ns=(time_ns, time_ns))
        seen.add(Validators.of(file.stat(), now=2 * 10**9).etag)
    assert len(seen) == 4


def test_the_entity_tag_is_strong_and_tells_no_inode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    etag = Validators.of(path.stat(), now=2 * 10**9).etag
    assert etag[0] == etag[-1] == '"'
    assert len(etag) == 34
    assert f"{path.stat().st_ino:x}" not in etag


def test_a_date_in_the_future_is_given_as_now(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    now = int(time.time())
    os.utime(path, (now + 1000, now + 1000))
    assert Validators.of(path.stat(), now=now).modified_at == now


def test_ten_thousand_tags_are_compared_within_20_ms() -> None:
    tags = ",".join(f'"{number}"' for number in range(10_000))
    best_seconds = 1.0
    for _ in range(5):
        started = time.perf_counter()
        assert precondition({"If-None-Match": tags}, CURRENT, reading=True) is None
        best_seconds = min(best_seconds, time.perf_counter() - started)
    assert best_seconds < 0.02
