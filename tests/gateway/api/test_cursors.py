"""Cursors: read by the service that wrote them, and by nobody else."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.signing import Signer
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.cursors import Position, read_cursor, write_cursor
from gateway.errors import InvalidRequest

POSITION = Position(datetime(2026, 11, 22, 6, 0, 0, 123456, tzinfo=UTC), uuid.uuid4())
INSTANTS = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(INSTANTS, st.uuids())
def test_what_was_written_is_read_to_the_microsecond(created_at: datetime, pk: uuid.UUID) -> None:
    assert read_cursor(write_cursor(Position(created_at, pk))) == (created_at, pk)


def test_it_shows_nothing_of_the_row_it_stands_on() -> None:
    first, second = write_cursor(POSITION), write_cursor(POSITION)
    assert first != second
    content = base64.urlsafe_b64decode(first.partition(".")[0])
    assert POSITION.id.bytes not in content
    assert POSITION.id.hex not in first
    microseconds = (POSITION.created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert microseconds.to_bytes(8, "big") not in content


def test_it_fits_into_the_query_it_is_for() -> None:
    assert len(write_cursor(POSITION)) <= 200


GOOD = write_cursor(POSITION)
BAD = {
    "empty": "",
    "nonsense": "x",
    "dot": ".",
    "no signature": GOOD.partition(".")[0],
    "empty signature": GOOD.partition(".")[0] + ".",
    "signature alone": "." + GOOD.partition(".")[2],
    "another position": write_cursor(Position(POSITION.created_at, uuid.uuid4())).partition(".")[0]
    + "."
    + GOOD.partition(".")[2],
    "cut": GOOD[:-1],
    "longer": GOOD + "A",
    "longer in front": "A" + GOOD,
    "white space": GOOD + " ",
    "newline": GOOD + "\n",
    "not ascii": GOOD.replace(GOOD[0], "é", 1),
    "signed for something else": Signer(salt="another", sep=".").sign(GOOD.partition(".")[0]),
    "a uuid": str(uuid.uuid4()),
    "sql": "' OR 1=1 --",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_cursor(text)


def test_each_bit_counts() -> None:
    for number in range(len(GOOD)):
        other = "A" if GOOD[number] != "A" else "B"
        with pytest.raises(InvalidRequest):
            read_cursor(GOOD[:number] + other + GOOD[number + 1 :])


def test_one_of_a_key_of_before_is_refused(settings: object) -> None:
    before = settings.SECRET_KEY  # type: ignore[attr-defined]
    cursor = write_cursor(POSITION)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [before]  # type: ignore[attr-defined]
    with pytest.raises(InvalidRequest):
        read_cursor(cursor)
