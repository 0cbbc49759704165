"""Credentials: refused where they cannot sign, silent about their secret, and never outlived by a link."""

from __future__ import annotations

import dataclasses
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from providers import AWSCredentials, CredentialsExpired, InvalidConfiguration, StaticCredentials
from providers.credentials import CREDENTIAL_MARGIN, covered_seconds
from tests.providers.examples import NOW, STATIC, TEMPORARY, TOKEN

SECRET = TEMPORARY.secret_access_key

# id -> the argument that is wrong, its value, a piece of the message
REFUSED: dict[str, tuple[str, Any, str]] = {
    "no-key-id": ("access_key_id", "", "access_key_id is empty"),
    "blank-key-id": ("access_key_id", "  ", "access_key_id is empty or has white space"),
    "key-id-with-line-end": ("access_key_id", "AKID\n", "access_key_id is empty or has white space"),
    "key-id-is-none": ("access_key_id", None, "access_key_id"),
    "key-id-is-bytes": ("access_key_id", b"AKID", "access_key_id"),
    "no-secret": ("secret_access_key", "", "secret_access_key is empty"),
    "blank-secret": ("secret_access_key", "\t\n", "secret_access_key is empty or has white space"),
    "secret-with-line-end": ("secret_access_key", f"{SECRET}\n", "secret_access_key is empty or has white"),
    "secret-with-space-before": (
        "secret_access_key",
        f" {SECRET}",
        "secret_access_key is empty or has white",
    ),
    "secret-is-none": ("secret_access_key", None, "secret_access_key"),
    "empty-token": ("session_token", "", "session_token is empty"),
    "blank-token": ("session_token", " ", "session_token is empty or has white space"),
    "token-with-line-end": ("session_token", f"{TOKEN}\n", "session_token is empty or has white space"),
    "token-is-bytes": ("session_token", b"token", "session_token"),
    "naive-end": ("expires_at", datetime(2026, 1, 1), "an aware datetime"),  # noqa: DTZ001
    "end-is-a-number": ("expires_at", 1767225600, "an aware datetime"),
    "end-is-text": ("expires_at", "2026-01-01T00:00:00Z", "an aware datetime"),
}


@pytest.mark.parametrize(("name", "value", "piece"), REFUSED.values(), ids=REFUSED)
def test_credentials_that_cannot_sign_are_refused(name: str, value: Any, piece: str) -> None:
    good = {"access_key_id": "AKID", "secret_access_key": SECRET}
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        StaticCredentials(**good | {name: value})
    assert SECRET not in str(refusal.value)
    assert TOKEN not in str(refusal.value)


def test_inner_white_space_is_not_ours_to_judge() -> None:
    assert StaticCredentials("A K", "s e c").secret_access_key == "s e c"


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(lambda shown: f"{shown} {shown!r}", id="f-string"),
        pytest.param(lambda shown: repr([shown]), id="in-a-list"),
        pytest.param(lambda shown: str(ValueError(shown)), id="in-an-exception"),
    ],
)
def test_no_secret_is_shown(show: Any) -> None:
    text = show(TEMPORARY)
    assert "ASIDEXAMPLE" in text
    assert SECRET not in text
    assert TOKEN not in text


def test_credentials_are_frozen_values() -> None:
    for field in dataclasses.fields(StaticCredentials):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(STATIC, field.name, "other")
    assert dataclasses.replace(STATIC) == STATIC
    assert dataclasses.replace(STATIC, secret_access_key="other") != STATIC
    assert pickle.loads(pickle.dumps(STATIC)) == STATIC  # a worker process is given its settings so


def test_static_credentials_are_a_source_of_themselves() -> None:
    assert isinstance(STATIC, AWSCredentials)
    assert STATIC.current(now=NOW, needed=timedelta(days=7)) is STATIC


# id -> seconds wanted, seconds of life left to the credential (None: no end), seconds covered (None: expired)
COVERED: dict[str, tuple[int, float | None, int | None]] = {
    "no-end": (300, None, 300),
    "no-end-longest": (604_800, None, 604_800),
    "far-end": (300, 86_400, 300),
    "just-enough": (300, 360, 300),
    "one-second-short": (300, 359, 299),
    "half-a-second-short": (300, 359.5, 299),
    "short": (300, 200, 140),
    "one-second-covered": (300, 61, 1),
    "almost-one-second": (300, 60.999, None),
    "only-the-margin": (300, 60, None),
    "within-the-margin": (300, 59, None),
    "ends-now": (300, 0, None),
    "ended": (1, -1, None),
    "ended-long-ago": (1, -86_400, None),
    "shortest": (1, 3600, 1),
}


@pytest.mark.parametrize(("wanted", "left", "covered"), COVERED.values(), ids=COVERED)
def test_lifetime_ends_a_minute_before_the_credential(wanted: int, left: float | None, covered: int | None) -> None:
    end = None if left is None else NOW + timedelta(seconds=left)
    if covered is None:
        assert end is not None
        with pytest.raises(CredentialsExpired, match=r"at least 61 s") as refusal:
            covered_seconds(wanted, now=NOW, expires_at=end)
        assert end.isoformat() in str(refusal.value)
    else:
        assert covered_seconds(wanted, now=NOW, expires_at=end) == covered
        assert end is None or NOW + timedelta(seconds=covered) + CREDENTIAL_MARGIN <= end


def test_the_zone_of_the_end_does_not_matter() -> None:
    end = NOW + timedelta(seconds=200)
    for hours in (-11, 0, 5.5, 14):
        there = end.astimezone(timezone(timedelta(hours=hours)))
        assert covered_seconds(300, now=NOW, expires_at=there) == 140
    assert end.tzinfo is UTC


def test_the_hour_that_the_clocks_show_twice_is_not_counted_twice() -> None:
    class ClocksGoBack(tzinfo):
        def utcoffset(self, dt: datetime | None) -> timedelta:
            return timedelta(hours=2 if dt is None or dt.fold == 0 else 1)

    # 02:30 comes at 00:30 UTC and again at 01:30 UTC.
    now = datetime(2026, 10, 25, 0, 20, tzinfo=UTC)
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=ClocksGoBack(), fold=fold) for fold in (0, 1))
    assert covered_seconds(7200, now=now, expires_at=first) == 9 * 60
    assert covered_seconds(7200, now=now, expires_at=second) == 69 * 60
