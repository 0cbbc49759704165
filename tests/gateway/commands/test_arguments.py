"""The forms of what commands are told: one reading for each, and everything else refused."""

from __future__ import annotations

import uuid
from argparse import ArgumentTypeError
from datetime import UTC, datetime

import pytest

from gateway.management.arguments import instant, row_id, whole_number

ID = "0b6e2f0e-8f4b-4c36-9d0a-0d5ce3b1f0aa"


@pytest.mark.parametrize("text", ["2026-11-01T12:00:00Z", "2026-11-01T13:00:00+01:00", "20261101T120000Z"])
def test_an_instant_is_read_in_utc(text: str) -> None:
    assert instant(text) == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-01",
        "2026-11-01T12:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "\udcff",
    ],
    ids=ascii,
)
def test_what_is_no_instant_is_refused_by_its_value(text: str) -> None:
    with pytest.raises(ArgumentTypeError) as raised:
        instant(text)
    assert str(raised.value) == f"{text!a} is no instant with a time zone, such as 2026-11-01T00:00:00Z"


def test_an_id_is_read() -> None:
    assert row_id(ID) == uuid.UUID(ID)


@pytest.mark.parametrize("text", ["", "1", ID[:-1], "pgw_secret"])
def test_what_is_no_id_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ArgumentTypeError) as raised:
        row_id(text)
    assert str(raised.value) == "id is no UUID; one that list shows"


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("16", 16), ("07", 7)])
def test_a_whole_number_is_read(text: str, number: int) -> None:
    assert whole_number(16)(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "17", "-1", "+1", " 1", "1_0", "1.0", "1e1", "٣", "²", "1" * 5000],
    ids=lambda text: ascii(text)[:20],
)
def test_every_other_number_is_refused_with_the_bound(text: str) -> None:
    with pytest.raises(ArgumentTypeError) as raised:
        whole_number(16)(text)
    assert str(raised.value) == f"{text!a} is not a whole number from 1 to 16"
