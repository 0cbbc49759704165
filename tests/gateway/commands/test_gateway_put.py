"""Files of this machine, sent to a server as any client would: whole, in parts, resumed, refused."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway import uploads
from gateway.api import library
from gateway.models import File, UploadSession
from gateway.uploads import PartWanted, sending
from tests.gateway.link_stores import LocalStore
from tests.gateway.uploads.conftest import PDF, principal_of
from tests.hostapp.models import Document, Scan

pytestmark = pytest.mark.django_db

LARGE = b"%PDF-1.7\n" + secrets.token_bytes(1000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStore]:
    store = LocalStore(tmp_path_factory.mktemp("put") / "root")
    yield store
    store.close()


@pytest.fixture(autouse=True)
def store(server: LocalStore, settings: Any) -> LocalStore:
    settings.STORAGES = settings.STORAGES | {server.alias: {"BACKEND": server.backend, "OPTIONS": server.options}}
    settings.GATEWAY = settings.GATEWAY | {
        "FILE_STORAGE": server.alias, "PUBLIC_URL": server.public_url, "UPLOAD_PART_BYTES": 100,
    }  # fmt: skip
    return server


def file_at(directory: Path, content: bytes = LARGE, name: str = "large.pdf") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def put(*arguments: Any) -> list[str]:
    output = io.StringIO()
    call_command("gateway_put", *map(str, arguments), stdout=output)
    return output.getvalue().splitlines()


def test_files_go_whole_and_in_parts(alice: Any, tmp_path: Path, store: LocalStore) -> None:
    paths = [file_at(tmp_path), file_at(tmp_path, PDF[:90], "small.pdf"), file_at(tmp_path, b"", "empty.txt")]
    references = put("alice", *paths)
    for path, reference in zip(paths, references, strict=True):
        file = File.objects.get(pk=reference)
        assert (file.owner, file.filename) == (alice, path.name)
        assert store.get(file.key)[0] == path.read_bytes()  # type: ignore[index]
    assert set(UploadSession.objects.values_list("strategy", flat=True)) == {"single", "multipart"}


def test_it_waits_for_the_verdict_though_a_task_could_give_it(alice: Any, tmp_path: Path, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}  # works off nothing
    settings.GATEWAY = settings.GATEWAY | {"VERIFY_LATER_BYTES": 1}
    (reference,) = put("alice", file_at(tmp_path))
    assert UploadSession.objects.get().state == "ready"
    assert str(File.objects.get().pk) == reference


def test_the_same_file_again_is_the_same_file(alice: Any, tmp_path: Path) -> None:
    path = file_at(tmp_path)
    assert put("alice", path) == put("alice", path)
    assert File.objects.count() == 1
    path.write_bytes(LARGE + b"x")
    put("alice", path)
    assert File.objects.count() == 2


def test_an_interrupted_upload_goes_on_with_what_is_missing(
    alice: Any, tmp_path: Path, store: LocalStore, monkeypatch: Any
) -> None:
    path = file_at(tmp_path)
    sent: list[int] = []
    send = sending._Sender.send

    def break_down(self: Any, link: Any, start: int, size_bytes: int) -> None:
        if start >= 500:
            raise KeyboardInterrupt
        send(self, link, start, size_bytes)

    def count(self: Any, link: Any, start: int, size_bytes: int) -> None:
        sent.append(start)
        send(self, link, start, size_bytes)

    with monkeypatch.context() as patched:
        patched.setattr(sending._Sender, "send", break_down)
        with pytest.raises(KeyboardInterrupt):
            put("alice", path, "--parallel=1")
    monkeypatch.setattr(sending._Sender, "send", count)
    (reference,) = put("alice", path)
    assert sorted(sent) == [500, 600, 700, 800, 900, 1000]
    assert store.get(File.objects.get(pk=reference).key)[0] == LARGE  # type: ignore[index]


def test_what_changed_on_its_way_is_found_by_its_checksum(alice: Any, tmp_path: Path, store: LocalStore) -> None:
    path = file_at(tmp_path)
    principal = principal_of(alice)
    digest, size_bytes = sending._digest(path)
    wanted = uploads.Wanted(filename=path.name, content_type="application/pdf", size_bytes=size_bytes, sha256=digest)
    session = sending._begin(principal, path, wanted).session
    (part,) = uploads.sign_parts(principal, session.pk, [PartWanted(number=1, size_bytes=100)])
    assert store.send(part.url, method="PUT", body=b"%PDF-1.7\n".ljust(100)).status == 201
    # The part that somebody else sent is there already, and is not sent again.
    with pytest.raises(CommandError, match="another checksum"):
        put("alice", path)
    # The next run begins anew.
    assert len(put("alice", path)) == 1


def test_progress_is_told_byte_for_byte(alice: Any, tmp_path: Path) -> None:
    told: list[int] = []
    sending.send_file(principal_of(alice), file_at(tmp_path), progress=told.append)
    assert sum(told) == len(LARGE)


def test_it_goes_into_a_field(alice: Any, tmp_path: Path) -> None:
    scan = Scan.objects.create(owner=alice)
    target = f"hostapp.scan:{scan.pk}:file"
    path = file_at(tmp_path, PDF[:90])
    with pytest.raises(CommandError, match="2 files for one field"):
        put("alice", path, path, f"--target={target}")
    assert put("alice", path, f"--target={target}") == [target]
    scan.refresh_from_db()
    with scan.file.open() as stored:
        assert stored.read() == PDF[:90]


def test_who_may_not_does_not(alice: Any, bob: Any, tmp_path: Path) -> None:
    document = Document.objects.create(owner=bob)
    with pytest.raises(CommandError, match="no such file"):
        put("alice", file_at(tmp_path), f"--target=hostapp.document:{document.pk}:file")
    with pytest.raises(CommandError, match="there is no user"):
        put("mallory", file_at(tmp_path))
    assert not UploadSession.objects.exists()


def test_a_file_that_is_not_there_is_said(alice: Any, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        put("alice", tmp_path / "none.pdf")


@pytest.mark.parametrize("place", ["/dev/zero", "/"], ids=["device without an end", "directory"])
def test_what_is_no_file_is_not_read(alice: Any, place: str) -> None:
    with pytest.raises(CommandError, match="a directory or a device; a file"):
        put("alice", Path(place))
    assert not UploadSession.objects.exists()


def test_a_server_that_is_down_is_said_and_no_link_is_shown(alice: Any, tmp_path: Path, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": "http://127.0.0.1:1"}
    with pytest.raises(CommandError) as raised:
        put("alice", file_at(tmp_path))
    assert "signature" not in str(raised.value) + repr(raised.value.__cause__)


@pytest.mark.parametrize("value", ["0", "33", "-1", "x", "٣"])
def test_a_number_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(CommandError, match="whole number from 1 to 32"):
        call_command("gateway_put", "alice", "a.pdf", f"--parallel={value}")


def test_what_was_killed_while_it_was_verified_is_finalized(alice: Any, tmp_path: Path, monkeypatch: Any) -> None:
    path = file_at(tmp_path)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gateway.uploads.finalizing.verify", killed)
        with pytest.raises(KeyboardInterrupt):
            put("alice", path)
    assert UploadSession.objects.get().state == "verifying"
    (reference,) = put("alice", path)
    assert str(File.objects.get().pk) == reference


@pytest.mark.parametrize("content", [PDF[:90], LARGE], ids=["whole", "in-parts"])
def test_an_upload_that_ran_out_is_begun_anew(alice: Any, tmp_path: Path, monkeypatch: Any, content: bytes) -> None:
    path = file_at(tmp_path, content)

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sending._Sender, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put("alice", path)
    UploadSession.objects.update(expires_at=timezone.now())
    (reference,) = put("alice", path)
    assert str(File.objects.get().pk) == reference


def test_a_file_that_was_deleted_meanwhile_goes_again(alice: Any, tmp_path: Path, store: LocalStore) -> None:
    path = file_at(tmp_path)
    (first,) = put("alice", path)
    library.remove(principal_of(alice), UUID(first))
    (second,) = put("alice", path)
    assert second != first
    assert store.get(File.objects.get(pk=second).key)[0] == LARGE  # type: ignore[index]


def test_a_field_that_got_another_file_meanwhile_gets_this_one_again(
    alice: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sending, "_ATTEMPTS", 2)  # of those that came to nothing, which these are not
    scan = Scan.objects.create(owner=alice)
    target = f"--target=hostapp.scan:{scan.pk}:file"
    paths = [file_at(tmp_path, PDF[:90], "one.pdf"), file_at(tmp_path, PDF[:80], "two.pdf")]
    for path in [*paths] * 4:
        put("alice", path, target)
        scan.refresh_from_db()
        with scan.file.open() as stored:
            assert stored.read() == path.read_bytes()
