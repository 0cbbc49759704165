"""Nothing is ready before the scanner has said so; what it finds never is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from gateway import uploads
from gateway.contrib.clamav import ClamAVScanner
from gateway.errors import Infected, ScannerUnavailable
from gateway.models import File, ObjectDeletion, UploadSession
from tests.emulators.clamd import EICAR, STREAM_MAX_MIB, Clamd
from tests.emulators.process import LOOPBACK, free_port
from tests.gateway.uploads.conftest import begin, principal_of

pytestmark = pytest.mark.django_db


class Answers:
    """A project's own scanner, which says what it is told to."""

    answer: Any = None
    seen = b""

    def scan(self, chunks: Iterator[bytes]) -> Any:
        type(self).seen = b"".join(chunks)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def scanner(settings: Any, monkeypatch: Any) -> type[Answers]:
    settings.GATEWAY = settings.GATEWAY | {"UPLOAD_SCANNER": f"{__name__}.Answers"}
    monkeypatch.setattr(Answers, "answer", None)
    return Answers


def finalize(user: Any, content: bytes = b"text") -> Any:
    session = begin(user, content, content_type="text/plain", filename="a.txt").session
    storage: Any = storages["private"]
    storage._save(session.key, ContentFile(content))
    return uploads.finalize(principal_of(user), session.pk)


def test_what_the_scanner_lets_pass_is_ready(alice: Any, scanner: type[Answers]) -> None:
    finalize(alice, b"every byte of it")
    assert scanner.seen == b"every byte of it"
    assert File.objects.count() == 1


def test_what_it_finds_is_rejected(alice: Any, scanner: type[Answers]) -> None:
    scanner.answer = "Worm.Example"
    with pytest.raises(Infected):
        finalize(alice)
    session = UploadSession.objects.get()
    assert (session.state, session.reason) == ("rejected", "infected")
    assert ObjectDeletion.objects.get().key == session.key
    with pytest.raises(Infected):
        uploads.finalize(principal_of(alice), session.pk)


@pytest.mark.parametrize(
    "answer", [True, False, 0, b"x", [], RuntimeError("x"), OSError("x")],
    ids=["true", "false", "zero", "bytes", "list", "error", "os-error"],
)  # fmt: skip
def test_a_scanner_that_cannot_tell_is_no_yes(alice: Any, scanner: type[Answers], answer: Any) -> None:
    scanner.answer = answer
    with pytest.raises(ScannerUnavailable):
        finalize(alice)
    session = UploadSession.objects.get()
    assert session.state == "verifying"
    assert not File.objects.exists()
    scanner.answer = None
    assert uploads.finalize(principal_of(alice), session.pk).session.state == "ready"


class TestClamAV:
    @staticmethod
    def scan(clamd: Clamd, content: bytes) -> str | None:
        return ClamAVScanner(host=LOOPBACK, port=clamd.port, timeout_seconds=10).scan(iter([content[:7], content[7:]]))

    def test_the_test_file_is_found(self, clamd: Clamd) -> None:
        assert self.scan(clamd, EICAR) == "Eicar-Test-Signature.UNOFFICIAL"

    def test_in_an_archive_too(self, clamd: Clamd) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.txt", EICAR)
        assert self.scan(clamd, archive.getvalue()) is not None

    @pytest.mark.parametrize("content", [b"", b"harmless", bytes(2**18)], ids=["empty", "text", "large"])
    def test_nothing_is_found_where_nothing_is(self, clamd: Clamd, content: bytes) -> None:
        assert self.scan(clamd, content) is None

    def test_more_than_the_daemon_takes_is_no_yes(self, clamd: Clamd) -> None:
        with pytest.raises(ScannerUnavailable):
            self.scan(clamd, bytes(STREAM_MAX_MIB * 2**20 + 1))

    @pytest.mark.parametrize("way", ["port", "socket"])
    def test_a_daemon_that_is_down_is_no_yes(self, way: str, tmp_path: Any) -> None:
        options: Any = {"host": LOOPBACK, "port": free_port()} if way == "port" else {"unix_socket": tmp_path / "none"}
        with pytest.raises(ScannerUnavailable):
            ClamAVScanner(**options).scan(iter([b"x"]))

    def test_an_infected_upload_is_never_ready(self, clamd: Clamd, alice: Any, settings: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(
            f"{__name__}.clamav_of_the_project", ClamAVScanner(host=LOOPBACK, port=clamd.port), raising=False
        )
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_SCANNER": f"{__name__}.clamav_of_the_project"}
        with pytest.raises(Infected):
            finalize(alice, EICAR)
        assert finalize(alice, b"harmless").session.state == "ready"
        assert File.objects.count() == 1


clamav_of_the_project: Any = None
