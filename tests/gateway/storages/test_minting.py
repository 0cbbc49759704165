"""Names that the server makes: as random as they say, valid for every store, and within their length."""

from __future__ import annotations

import base64
import posixpath
import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.db import migrations, models
from django.db.migrations.writer import MigrationWriter
from hypothesis import given
from hypothesis import strategies as st

from gateway.storages.minting import (
    MAX_NAME_BYTES,
    MintedName,
    hashed_key,
    mint,
    per_owner,
    random_key,
    random_segment,
    safe_name,
)
from providers import InvalidKey, check_key

RANDOM = "[a-z2-7]{26}"
DATED = r"uploads/\d{4}/\d{2}"
# Lone surrogates too: hypothesis leaves them out unless they are named.
FILENAMES = st.text(st.characters(), max_size=400) | st.text(max_size=12).map(lambda text: f"{text}.tar.gz")


def owned(pk: Any) -> Any:
    return SimpleNamespace(author=SimpleNamespace(pk=pk))


UPLOAD_TO = {"random": random_key, "hashed": hashed_key, "per-owner": per_owner("author")}


@pytest.fixture(params=UPLOAD_TO.values(), ids=UPLOAD_TO)
def upload_to(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestRandomness:
    def test_a_segment_is_128_bits_of_base32(self) -> None:
        segment = random_segment()
        assert re.fullmatch(RANDOM, segment)
        assert len(base64.b32decode(segment.upper() + "======")) * 8 == 128

    def test_every_bit_of_a_segment_varies(self) -> None:
        seen_set = seen_clear = 0
        for _ in range(200):
            number = int.from_bytes(base64.b32decode(random_segment().upper() + "======"))
            seen_set |= number
            seen_clear |= ~number
        every_bit = 2**128 - 1
        # 200 draws miss a value of one bit with a chance of 2**-192.
        assert seen_set & every_bit == seen_clear & every_bit == every_bit

    def test_no_two_names_are_the_same(self, upload_to: Any) -> None:
        names = {mint(upload_to(owned(7), "report.pdf")) for _ in range(2000)}
        assert len(names) == 2000

    def test_no_two_minted_names_of_one_directory_are_the_same(self) -> None:
        assert len({mint("invoices/report.pdf") for _ in range(2000)}) == 2000


class TestSafeName:
    @given(FILENAMES)
    def test_any_file_name_becomes_one_valid_segment_of_at_most_60_bytes(self, filename: str) -> None:
        name = safe_name(filename)
        assert "/" not in check_key(name)
        assert len(name.encode()) <= MAX_NAME_BYTES == 60
        assert not name.startswith(".")

    @given(FILENAMES, st.integers(8, 80))
    def test_the_room_is_kept(self, filename: str, max_bytes: int) -> None:
        assert len(check_key(safe_name(filename, max_bytes)).encode()) <= max_bytes

    @given(FILENAMES)
    def test_cleaning_a_clean_name_changes_nothing(self, filename: str) -> None:
        assert safe_name(safe_name(filename)) == safe_name(filename)

    @pytest.mark.parametrize(
        ("filename", "expected"),
        [
            pytest.param("report.pdf", "report.pdf", id="plain"),
            pytest.param("my report (final).pdf", "my_report_final_.pdf", id="spaces-and-brackets"),
            pytest.param("a__b.txt", "a__b.txt", id="own-underscores"),
            pytest.param("../../etc/passwd", "passwd", id="N5-unix-path"),
            pytest.param("C:\\a\\b.txt", "b.txt", id="N5-windows-path"),
            pytest.param("a\r\nSet-Cookie: x=1", "aSet-Cookie__x_1", id="N2-header"),
            pytest.param("a\x00b.txt", "ab.txt", id="N4-nul"),
            pytest.param(".htaccess", "download.htaccess", id="dot-file"),
            pytest.param("", "download", id="N10-empty"),
            pytest.param("...", "download", id="N10-dots"),
            pytest.param("\ud800.txt", "download.txt", id="N10-lone-surrogate"),
            pytest.param("日本語.txt", "日本語.txt", id="N6-japanese"),
            pytest.param("🎉.png", "_.png", id="N6-emoji"),
            pytest.param("हिन्दी.pdf", "हिन्दी.pdf", id="devanagari-keeps-its-vowels"),
            pytest.param("ภาษาไทย.pdf", "ภาษาไทย.pdf", id="thai-keeps-its-vowels"),
            pytest.param("عَرَبِيّ.pdf", "عَرَبِيّ.pdf", id="arabic-keeps-its-vowels"),
            pytest.param("cafe\u0301.txt", "café.txt", id="K28-composed"),
            pytest.param("a" * 300 + ".tar.gz", "a" * 57 + ".gz", id="N9-cut-before-the-extension"),
            pytest.param("é" * 300 + ".pdf", "é" * 28 + ".pdf", id="N9-cut-between-characters"),
            pytest.param("x." + "y" * 300, "x." + "y" * 58, id="N9-an-extension-that-is-none"),
            pytest.param("x" * 59 + "." + "y" * 99, "x" * 59, id="N9-cut-behind-a-dot"),
            pytest.param("con.txt", "_con.txt", id="N12-device"),
            pytest.param("a. . .", "a", id="N12-trailing-dots"),
        ],
    )
    def test_table(self, filename: str, expected: str) -> None:
        assert safe_name(filename) == expected


class TestUploadTo:
    @given(FILENAMES)
    def test_any_file_name_makes_a_valid_key(self, filename: str) -> None:
        for make in UPLOAD_TO.values():
            key = mint(make(owned(7), filename), 255)
            assert check_key(key) == key
            assert len(posixpath.basename(key).encode()) <= MAX_NAME_BYTES

    @pytest.mark.parametrize(
        ("make", "pattern"),
        [
            pytest.param(random_key, rf"{DATED}/{RANDOM}/Report\.pdf", id="random"),
            pytest.param(hashed_key, rf"{DATED}/{RANDOM}/[0-9a-f]{{32}}\.pdf", id="hashed"),
            pytest.param(per_owner("author"), rf"uploads/7/{RANDOM}/Report\.pdf", id="per-owner"),
        ],
    )
    def test_form(self, make: Any, pattern: str) -> None:
        assert re.fullmatch(pattern, make(owned(7), "Report.pdf"))

    def test_the_hash_tells_nothing_without_the_secret(self, settings: Any) -> None:
        digests = set()
        for number in range(2):
            settings.SECRET_KEY = f"{number}-" + "k" * 48
            digests.add(posixpath.basename(hashed_key(None, "Diagnosis of J. Doe.pdf")))
        assert len(digests) == 2

    def test_the_hash_of_one_name_is_one(self) -> None:
        assert posixpath.basename(hashed_key(None, "a.pdf")) == posixpath.basename(hashed_key(None, "a.pdf"))

    def test_per_owner_follows_a_path(self) -> None:
        row = SimpleNamespace(project=SimpleNamespace(owner=SimpleNamespace(pk="k1")))
        assert per_owner("project__owner")(row, "a.pdf").startswith("uploads/k1/")

    @pytest.mark.parametrize(
        ("path", "row"),
        [
            pytest.param("author", owned(None), id="owner-not-saved"),
            pytest.param("author", SimpleNamespace(author=None), id="no-owner"),
            pytest.param("project__author", SimpleNamespace(project=None), id="nothing-on-the-way"),
        ],
    )
    def test_per_owner_needs_a_saved_owner(self, path: str, row: Any) -> None:
        with pytest.raises(ValueError, match=f"{path} is empty or not saved"):
            per_owner(path)(row, "a.pdf")

    @pytest.mark.parametrize("pk", ["..", "../x", "a/../b", "/abs", "a\\b", "a\nb"])
    def test_per_owner_cannot_leave_its_directory(self, pk: str) -> None:
        with pytest.raises(InvalidKey):
            mint(per_owner("author")(owned(pk), "a.pdf"))

    def test_all_serialise_into_migrations_and_back(self, upload_to: Any) -> None:
        operation = migrations.AddField("Model", "file", models.FileField(upload_to=upload_to))
        migration = type("Migration", (migrations.Migration,), {"operations": [operation]})("0001_x", "app")
        namespace: dict[str, Any] = {}
        exec(MigrationWriter(migration, include_header=False).as_string(), namespace)
        restored = namespace["Migration"].operations[0].field.upload_to
        assert restored == upload_to or restored.path == upload_to.path
        assert check_key(mint(restored(owned(7), "a.pdf"))).endswith(posixpath.splitext("a.pdf")[1])


class TestMint:
    @pytest.mark.parametrize(
        ("name", "pattern"),
        [
            pytest.param("a.pdf", rf"{DATED}/{RANDOM}/a\.pdf", id="no-directory"),
            pytest.param("invoices/a.pdf", rf"invoices/{RANDOM}/a\.pdf", id="directory"),
            pytest.param("a/b/c/d.pdf", rf"a/b/c/{RANDOM}/d\.pdf", id="directories"),
            pytest.param(
                "companyconfidentialreports/a.pdf",
                rf"companyconfidentialreports/{RANDOM}/a\.pdf",
                id="directory-that-looks-random",
            ),
        ],
    )
    def test_random_bits_are_added(self, name: str, pattern: str) -> None:
        assert re.fullmatch(pattern, mint(name))

    def test_random_bits_are_not_doubled(self, upload_to: Any) -> None:
        name = upload_to(owned(7), "a.pdf")
        assert mint(name) == name

    def test_a_key_is_plain_text(self, upload_to: Any) -> None:
        # The grammar of keys trusts nothing else.
        assert type(mint(upload_to(owned(7), "a.pdf"))) is str

    @given(FILENAMES, st.integers(0, 300))
    def test_max_length_is_kept_or_refused(self, filename: str, max_length: int) -> None:
        name = f"invoices/{safe_name(filename)}"
        try:
            key = mint(name, max_length)
        except SuspiciousFileOperation:
            assert max_length < len("invoices/") + 26 + 1 + 8
        else:
            assert len(check_key(key)) <= max_length

    def test_a_short_max_length_is_refused_with_the_bound(self) -> None:
        directory = f"invoices/{random_segment()}"
        least = len(directory) + 9
        assert len(mint(MintedName(f"{directory}/a-long-name.pdf"), least)) <= least
        with pytest.raises(SuspiciousFileOperation, match=f"max_length is {least - 1}; .* needs {least}"):
            mint(MintedName(f"{directory}/a-long-name.pdf"), least - 1)

    def test_the_extension_survives_a_short_max_length(self) -> None:
        assert mint("invoices/a-very-long-name-indeed.pdf", 46).endswith(".pdf")

    @pytest.mark.parametrize("name", ["../a.pdf", "a/../b.pdf", "/abs/a.pdf", "a//b.pdf", "a\\b/c.pdf", "a\n/b.pdf"])
    def test_bad_directories_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidKey):
            mint(name)
