"""Parts on a disk: out of sight and out of reach by name, joined whole or not at all, gone when given up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from gateway.storages.parts import begin_parts, discard_parts, join_parts, list_parts, list_uploads, store_part
from providers.errors import InvalidKey

MODES: dict[str, int] = {"file_mode": 0o600, "directory_mode": 0o700}


@pytest.fixture
def root(private_root: Path) -> str:
    return str(private_root)


def begun(root: str, *parts: bytes) -> str:
    upload_id = begin_parts(root, directory_mode=0o700)
    for number, content in enumerate(parts, start=1):
        store_part(root, upload_id, number, [content], file_mode=0o600)
    return upload_id


def join(root: str, upload_id: str, key: str, *numbers: int) -> None:
    join_parts(root, upload_id, key, numbers, **MODES)


def test_parts_are_joined_in_the_order_that_is_said(root: str) -> None:
    upload_id = begun(root, b"one", b"two")
    join(root, upload_id, "a/b.txt", 2, 1)
    assert (Path(root) / "a/b.txt").read_bytes() == b"twoone"
    assert list_parts(root, upload_id) == {1: 3, 2: 3}


def test_a_part_that_comes_again_takes_the_place_of_the_first(root: str) -> None:
    upload_id = begun(root, b"one")
    store_part(root, upload_id, 1, [b"other"], file_mode=0o600)
    assert list_parts(root, upload_id) == {1: 5}


def test_only_the_owner_of_the_process_reads_them(root: str) -> None:
    before = os.umask(0)
    try:
        upload_id = begun(root, b"one")
    finally:
        os.umask(before)
    directory = Path(root) / ".parts"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (directory, *directory.rglob("*"))}
    assert modes == {".parts": 0o700, upload_id: 0o700, "1": 0o600}


def test_no_name_leads_to_a_part(root: str) -> None:
    upload_id = begun(root, b"secret")
    storage: Any = storages["private"]
    name = f".parts/{upload_id}/1"
    for attempt in (
        lambda: storage.open(name),
        lambda: storage.delete(name),
        lambda: storage.size(name),
        lambda: storage._save(f".parts/{upload_id}/2", ContentFile(b"x")),
        lambda: storage._save(".parts/x", ContentFile(b"x")),
    ):
        with pytest.raises((InvalidKey, FileNotFoundError)):
            attempt()
    assert list_parts(root, upload_id) == {1: 6}
    assert storage.listdir("") == ([], [])
    assert list(storage.objects.objects()) == []


def test_a_name_that_is_taken_is_not_overwritten(root: str) -> None:
    storage: Any = storages["private"]
    storage._save("a.txt", ContentFile(b"first"))
    with pytest.raises(FileExistsError):
        join(root, begun(root, b"one"), "a.txt", 1)
    assert (Path(root) / "a.txt").read_bytes() == b"first"


def test_what_lacks_a_part_is_no_file(root: str) -> None:
    with pytest.raises(FileNotFoundError):
        join(root, begun(root, b"one"), "a.txt", 1, 2)
    assert storages["private"].listdir("") == ([], [])


def test_given_up_nothing_is_left_and_nothing_comes_any_more(root: str) -> None:
    upload_id = begun(root, b"one")
    discard_parts(root, upload_id)
    discard_parts(root, upload_id)
    assert list((Path(root) / ".parts").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        store_part(root, upload_id, 1, [b"x"], file_mode=0o600)
    with pytest.raises(FileNotFoundError):
        list_parts(root, upload_id)
    assert list(list_uploads(root)) == []


def test_a_part_that_breaks_off_is_none(root: str) -> None:
    upload_id = begun(root)

    def broken() -> Any:
        yield b"half"
        raise OSError("the client is gone")

    with pytest.raises(OSError, match="gone"):
        store_part(root, upload_id, 1, broken(), file_mode=0o600)
    assert list_parts(root, upload_id) == {}


@pytest.mark.parametrize("upload_id", ["", "x", "../" * 4 + "etc", "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n"])
def test_what_is_no_id_leads_nowhere(root: str, upload_id: str) -> None:
    for attempt in (
        lambda: list_parts(root, upload_id),
        lambda: discard_parts(root, upload_id),
        lambda: store_part(root, upload_id, 1, [b"x"], file_mode=0o600),
        lambda: join(root, upload_id, "a.txt", 1),
    ):
        with pytest.raises(FileNotFoundError):
            attempt()
    assert not (Path(root) / "a.txt").exists()
