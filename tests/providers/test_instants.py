"""Instants: what strftime() writes, for every year that it writes in four digits."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from providers.instants import basic, extended

instants = st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(instants)
def test_it_is_what_strftime_writes(instant: datetime) -> None:
    assert basic(instant) == instant.strftime("%Y%m%dT%H%M%SZ")
    assert extended(instant) == instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_years_have_four_digits() -> None:
    assert basic(datetime(1, 2, 3, 4, 5, 6, 999_999, tzinfo=UTC)) == "00010203T040506Z"
    assert extended(datetime(1, 2, 3, 4, 5, 6, 999_999, tzinfo=UTC)) == "0001-02-03T04:05:06Z"
