"""The key ring of local links: turned under links that are out, and none of them is refused."""

from __future__ import annotations

import io
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway.storages import PrivateFileSystemStorage
from providers.errors import InvalidConfiguration, LinkRefused
from providers.types import Download

NOW = datetime.now(UTC)
TTL = timedelta(minutes=15)


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.json"
    run("init", path)
    return path


def run(action: str, path: Path, *options: str) -> str:
    output = io.StringIO()
    call_command("gateway_keys", action, str(path), *options, stdout=output)
    for entry in json.loads(path.read_text()):
        assert entry["secret"] not in output.getvalue()
    return output.getvalue()


def storage_at(path: Path) -> Any:
    return PrivateFileSystemStorage(location="/nowhere", alias="private", secret_keys=str(path))


def sign(storage: Any) -> str:
    return str(storage.provider.sign(Download("a"), ttl=TTL, now=NOW).url)


def is_good(storage: Any, url: str, *, now: datetime = NOW) -> bool:
    try:
        storage.provider.verify(method="GET", key="a", query=url.partition("?")[2], now=now)
    except LinkRefused:
        return False
    return True


def test_a_ring_is_readable_by_its_owner_alone(ring: Path) -> None:
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600
    run("rotate", ring)
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600
    assert [path.name for path in ring.parent.iterdir()] == ["ring.json"]


def test_no_valid_link_is_refused_however_often_it_is_turned(ring: Path) -> None:
    storage, other = storage_at(ring), storage_at(ring)
    urls = []
    for _ in range(5):
        urls.append(sign(storage))
        run("rotate", ring)
        assert all(is_good(other, url) for url in urls)
    assert len({url.rpartition("=")[2] for url in urls}) == 5


def test_a_server_that_has_the_file_of_before_knows_the_key_that_signs_now(ring: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.json"
    late.write_bytes(ring.read_bytes())
    run("rotate", ring)
    assert is_good(storage_at(late), sign(storage_at(ring)))
    assert is_good(storage_at(ring), sign(storage_at(late)))


def test_old_keys_end_in_7_days_or_when_they_are_dropped(ring: Path) -> None:
    storage = storage_at(ring)
    url = sign(storage)
    now = datetime.now(UTC)
    run("rotate", ring)
    ends = [entry["not_after"] for entry in json.loads(ring.read_text())]
    assert ends[:2] == [None, None]
    assert timedelta(days=7) <= datetime.fromisoformat(ends[2]) - now < timedelta(days=7, minutes=5)
    assert "key 1 signs" in run("show", ring)
    run("rotate", ring, "--drop")
    assert not is_good(storage, url)
    assert len(json.loads(ring.read_text())) == 2


def test_keys_that_have_ended_are_cleared_away(ring: Path) -> None:
    entries = json.loads(ring.read_text())
    ring.write_text(json.dumps([*entries, entries[0] | {"not_after": "2020-01-01T00:00:00+00:00"}]))
    run("rotate", ring)
    assert len(json.loads(ring.read_text())) == 3


def test_a_ring_that_is_there_is_not_made_anew(ring: Path) -> None:
    before = ring.read_bytes()
    with pytest.raises(CommandError, match="is there"):
        run("init", ring)
    assert ring.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", '["secret"]', '[{"secret": "short"}]', "[]"],
                         ids=["empty", "object", "texts", "short", "none"])  # fmt: skip
def test_what_is_no_ring_signs_nothing_and_is_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ring.json"
    path.write_text(content)
    with pytest.raises(InvalidConfiguration) as refused:
        sign(storage_at(path))
    assert "short" not in str(refused.value)
    if content not in ("[]", '[{"secret": "short"}]'):
        with pytest.raises(CommandError, match="is no key ring"):
            run("rotate", path)


def test_a_file_that_is_gone_signs_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration):
        sign(storage_at(tmp_path / "none.json"))


@pytest.mark.parametrize("action", ["init", "rotate", "show"])
@pytest.mark.parametrize("place", ["/dev/zero", "/"], ids=["device without an end", "directory"])
def test_what_is_no_file_is_neither_read_nor_written(action: str, place: str) -> None:
    with pytest.raises(CommandError, match="a directory or a device; a file"):
        run(action, Path(place))


@pytest.mark.parametrize("name", ["nowhere/ring.json", "a" * 300], ids=["no such directory", "too long a name"])
def test_a_ring_that_cannot_be_written_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        run("init", tmp_path / name)
