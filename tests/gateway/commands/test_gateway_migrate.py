"""Objects go from one storage to another: whole, once, verified, and deleted only where nothing means them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from gateway import outbox
from gateway.models import File, Grant, ObjectCopy, ObjectDeletion, UploadSession
from gateway.moving import copying
from gateway.moving.sides import Side, source_of, target_of
from gateway.policies import Authenticated
from tests.gateway.conftest import new_file
from tests.gateway.link_stores import Store
from tests.gateway.opened_stores import open_store
from tests.hostapp.models import Contract, Document, Invoice, Leaflet

pytestmark = pytest.mark.django_db

NAMES = ["a.txt", "reports/2026/März (final).pdf", "reports/data.csv.gz", "uploads/2026/11/x/large.bin"]
CONTENT = {name: name.encode() * (1 if name != NAMES[3] else 200_000) for name in NAMES}
FOUR_CLOUDS = ["ceph", "azure", "gcs"]


def local(root: Path) -> dict[str, Any]:
    return {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": root}}


@pytest.fixture(autouse=True)
def stores(settings: Any, tmp_path: Path) -> None:
    settings.STORAGES = settings.STORAGES | {
        "private": local(tmp_path / "private"),
        "old": local(tmp_path / "old"),
        "new": local(tmp_path / "new"),
        "media": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "media"},
        },
    }


@pytest.fixture(scope="module", params=FOUR_CLOUDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def cloud(opened: Store, request: pytest.FixtureRequest, settings: Any) -> Store:
    assert opened.emulator is not None
    request.getfixturevalue(opened.emulator)  # said for each test, so that the account of emulators counts it
    settings.STORAGES = settings.STORAGES | {"cloud": {"BACKEND": opened.backend, "OPTIONS": opened.options}}
    return opened


def put(alias: str, name: str, content: bytes = b"x") -> str:
    return str(storages[alias]._save(name, ContentFile(content, name=name)))


def fill(alias: str) -> None:
    for name, content in CONTENT.items():
        put(alias, name, content)


def contents(alias: str) -> dict[str, bytes]:
    side = source_of(alias)
    return {name: read(side, name) for name, _, _ in side.listed()}


def read(side: Side, name: str) -> bytes:
    stored = side.objects.stat(name)
    assert stored is not None
    return b"".join(side.objects.read(name, stored))


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    try:
        call_command("gateway_migrate", *arguments, stdout=output)
    finally:
        print(output.getvalue())  # noqa: T201  (shown where a test fails)
    return output.getvalue().splitlines()


def refused(*arguments: str) -> str:
    output = io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("gateway_migrate", *arguments, stdout=output)
    return f"{output.getvalue()}{raised.value}"


def test_without_execute_nothing_changes() -> None:
    fill("old")
    *lines, total = run("old", "new")
    assert sorted(lines) == sorted(f"to copy old: {name}" for name in NAMES)
    size_bytes = sum(map(len, CONTENT.values()))
    assert total == (
        f"4 to copy ({size_bytes} bytes), 0 copied before, 0 left, 0 files to switch."
        " Nothing was changed; --execute does it."
    )
    assert contents("new") == {}
    assert not ObjectCopy.objects.exists()


def test_every_object_arrives_and_is_recorded_and_not_copied_again() -> None:
    fill("old")
    assert run("old", "new", "--execute")[-1] == "4 copied."
    assert contents("new") == contents("old") == CONTENT
    before = {name: Path(storages["new"].path(name)).stat().st_ino for name in NAMES}
    assert run("old", "new", "--execute") == ["nothing to do."]
    put("old", "b.txt")
    assert run("old", "new", "--execute") == ["copied old: b.txt", "1 copied."]
    assert {name: Path(storages["new"].path(name)).stat().st_ino for name in NAMES} == before


def test_to_a_cloud_and_back_and_nothing_is_left_behind(cloud: Store) -> None:
    fill("old")
    names = [*NAMES, "empty.bin"]
    put("old", "empty.bin", b"")
    expected = contents("old")
    before = contents("cloud")
    assert before == {}
    assert run("old", "cloud", "--execute", "--delete-source")[-1] == "5 copied, 5 deleted."
    assert contents("old") == {}
    assert contents("cloud") == expected
    if cloud.alias != "gcs":  # its SDK's storage keeps what the name says, and a name with .gz has a type of its own
        assert cloud.get("a.txt")[1].startswith("text/plain")  # type: ignore[index]
    assert run("cloud", "new", "--execute", "--delete-source")[-1] == "5 copied, 5 deleted."
    assert contents("cloud") == {}
    assert contents("new") == expected
    assert sorted(expected) == sorted(names)


def test_the_verified_type_of_a_file_goes_with_it(alice: Any, cloud: Store) -> None:
    put("old", "x/file.bin", b"%PDF-1.7")
    new_file(alice, storage_alias="old", key="x/file.bin", content_type="application/pdf")
    run("old", "cloud", "--execute")
    if cloud.alias != "gcs":
        assert cloud.get("x/file.bin")[1] == "application/pdf"  # type: ignore[index]
    side = source_of("cloud")
    for name, _, _ in side.listed():
        side.storage.delete(name)


def test_an_object_that_is_there_already_is_found_and_another_one_is_not_touched() -> None:
    fill("old")
    put("new", NAMES[0], CONTENT[NAMES[0]])
    put("new", NAMES[1], b"another")
    said = refused("old", "new", "--execute")
    assert f"found old: {NAMES[0]}" in said
    assert "the target has another object of this name; nothing was overwritten" in said
    assert contents("new")[NAMES[1]] == b"another"
    assert set(ObjectCopy.objects.values_list("name", flat=True)) == set(NAMES) - {NAMES[1]}


def test_bytes_that_changed_on_their_way_are_not_recorded(monkeypatch: Any) -> None:
    fill("old")
    save = type(storages["new"])._save

    def spoil(self: Any, name: str, content: Any) -> str:
        return str(save(self, name, ContentFile(b"X" + content.read()[1:]) if name == "a.txt" else content))

    monkeypatch.setattr(type(storages["new"]), "_save", spoil)
    assert "failed old: a.txt" in refused("old", "new", "--execute")
    assert set(ObjectCopy.objects.values_list("name", flat=True)) == set(NAMES) - {"a.txt"}


def test_what_changed_since_it_was_copied_is_said_and_never_deleted() -> None:
    put("media", "a.txt", b"first")
    run("media", "new", "--execute")
    Path(storages["media"].path("a.txt")).write_bytes(b"second")
    assert "another object of this name" in refused("media", "new", "--execute", "--delete-source")
    assert contents("media") == {"a.txt": b"second"}


def test_a_copy_that_is_gone_keeps_its_source() -> None:
    put("old", "a.txt")
    run("old", "new", "--execute")
    storages["new"].delete("a.txt")
    assert "kept, since the copy is gone" in refused("old", "new", "--execute", "--delete-source")
    assert contents("old") == {"a.txt": b"x"}


def test_a_source_that_changes_at_the_last_moment_is_kept() -> None:
    put("media", "a.txt", b"first")
    source, target = source_of("media"), target_of("new")
    copied = copying.copy(source, target, "a.txt")
    Path(storages["media"].path("a.txt")).write_bytes(b"second")
    assert copying.delete(source, target, copied).detail == "kept, since it is another one than was copied"
    assert contents("media") == {"a.txt": b"second"}


def test_names_that_no_private_storage_would_open_are_refused_by_name(tmp_path: Path) -> None:
    root = tmp_path / "media"
    (root / "two  .d").mkdir(parents=True)
    for name in ("ok.txt", "two  .d/..txt", "new\nline.txt", "dot./x"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "link").symlink_to("/etc")
    said = refused("media", "new", "--execute")
    assert "copied media: ok.txt" in said
    assert r"refused media: new\nline.txt" in said
    assert "failed media: link" in said
    assert set(contents("new")) == set(ObjectCopy.objects.values_list("name", flat=True)) >= {"ok.txt"}
    assert "link" not in contents("new")


def test_a_prefix_is_all_that_goes() -> None:
    fill("old")
    assert run("old", "new", "--execute", "--prefix", "reports/")[-1] == "2 copied."
    assert set(contents("new")) == {NAMES[1], NAMES[2]}


def test_files_and_their_grants_are_switched_together(alice: Any) -> None:
    put("old", "x/a.pdf")
    file = new_file(alice, storage_alias="old", key="x/a.pdf", version="v")
    grant = Grant.objects.create(user=alice, storage_alias="old", key="x/a.pdf", operations=["Download"])
    assert run("old", "new", "--execute")[-1] == "1 copied, 1 file switched."
    file.refresh_from_db()
    grant.refresh_from_db()
    stored = storages["new"].objects.stat("x/a.pdf")
    assert (file.storage_alias, file.version, grant.storage_alias) == ("new", stored.version, "new")


def test_no_file_is_switched_before_all_are_copied(alice: Any) -> None:
    for key in ("x/a.pdf", "x/gone.pdf"):
        new_file(alice, storage_alias="old", key=key)
    put("old", "x/a.pdf")
    assert "1 files of 'old' are not copied, such as 'x/gone.pdf'" in refused("old", "new", "--execute")
    assert set(File.objects.values_list("storage_alias", flat=True)) == {"old"}


def test_what_is_to_be_deleted_is_left_and_its_copy_goes_too() -> None:
    put("old", "a.txt")
    put("old", "b.txt")
    outbox.enqueue("old", "a.txt")
    assert run("old", "new", "--execute") == [
        "left old: a.txt (it is to be deleted)", "copied old: b.txt", "1 copied, 1 left.",
    ]  # fmt: skip
    outbox.enqueue("old", "b.txt")
    for _ in range(2):
        run("old", "new", "--execute")
        assert [row.key for row in ObjectDeletion.objects.filter(storage_alias="new")] == ["b.txt"]


def test_an_upload_on_its_way_is_left(alice: Any) -> None:
    from django.utils import timezone

    put("old", "a.txt")
    UploadSession.objects.create(
        principal="user:1", storage_alias="old", key="a.txt", filename="a.txt", content_type="text/plain",
        size_bytes=1, strategy="single", expires_at=timezone.now(), links_end_at=timezone.now(),
    )  # fmt: skip
    assert run("old", "new", "--execute", "--delete-source")[0] == "left old: a.txt (its upload is not finished)"
    assert contents("old") == {"a.txt": b"x"}


def test_the_source_stays_until_the_fields_storage_is_the_target(settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": Authenticated()}}
    document = Document(title="t")
    document.file.save("a.pdf", ContentFile(b"bytes"))
    Invoice.objects.create(file=put("private", "invoices/1.pdf", b"invoice"))
    said = refused("private", "new", "--execute", "--delete-source")
    assert 'GATEWAY["FILE_STORAGE"] = "new"' in said
    assert 'GATEWAY["PATH_POLICIES"]["new"]' in said
    assert "hostapp.Document.file: storage=" in said
    assert "hostapp.Invoice.file: storage=" in said
    assert "nothing was deleted: 1 of hostapp.Document.file, 1 of hostapp.Invoice.file still mean" in said
    before = contents("private")
    assert len(before) == 2

    # Another alias of the same directory changes nothing about what the rows mean.
    settings.STORAGES = settings.STORAGES | {"same": settings.STORAGES["private"]}
    assert "still mean" in refused("same", "new", "--execute", "--delete-source")
    assert contents("private") == before

    # The change: the alias of the fields is the new place, the old place has another one.
    was = settings.STORAGES["private"]
    settings.STORAGES = settings.STORAGES | {"private": settings.STORAGES["new"], "same": was}
    assert run("same", "private", "--execute", "--delete-source")[-1] == "2 deleted."
    assert contents("same") == {}
    document.refresh_from_db()
    with document.file.open() as file:
        assert file.read() == b"bytes"


def test_a_row_below_another_start_of_the_same_directory_keeps_its_object(settings: Any, tmp_path: Path) -> None:
    settings.STORAGES = settings.STORAGES | {"private": local(tmp_path / "old" / "below")}
    put("old", "below/a.pdf")
    Invoice.objects.create(file="a.pdf")
    assert "1 of hostapp.Invoice.file still mean" in refused("old", "new", "--execute", "--delete-source")
    assert contents("old") == {"below/a.pdf": b"x"}


def test_a_field_whose_storage_tells_no_place_keeps_what_it_names() -> None:
    put("media", "leaflets/a.pdf")
    Leaflet.objects.create(file="leaflets/a.pdf")
    assert "1 of hostapp.Leaflet.file still mean" in refused("media", "new", "--execute", "--delete-source")
    assert contents("media") == {"leaflets/a.pdf": b"x"}


def test_two_names_of_one_store_lose_nothing(settings: Any, ceph: Any) -> None:
    bucket = ceph.create_bucket("one-store")
    options = {
        "bucket_name": bucket, "region_name": ceph.region, "access_key": ceph.access_key_id,
        "secret_key": ceph.secret_access_key,
    }  # fmt: skip
    backend = "gateway.storages.PrivateS3Storage"
    settings.STORAGES = settings.STORAGES | {
        alias: {"BACKEND": backend, "OPTIONS": options | {"endpoint_url": url}}
        for alias, url in (
            ("one", ceph.endpoint_url), ("other", re.sub("//[^:]+", "//localhost", ceph.endpoint_url)),
        )
    }  # fmt: skip
    put("one", "a.txt")
    assert "they are one store" in refused("one", "other", "--execute", "--delete-source")
    assert contents("one") == {"a.txt": b"x"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("none", "new"), "STORAGES has no alias 'none'", id="no-source"),
        pytest.param(("old", "none"), "STORAGES has no alias 'none'", id="no-target"),
        pytest.param(("old", "media"), "which is not a private one", id="public-target"),
        pytest.param(("default", "new"), "storage 'default' is InMemoryStorage", id="unknown-source"),
        pytest.param(("old", "old"), "two places", id="same"),
        pytest.param(("old", "new", "--workers=0"), "whole number from 1 to 64", id="no-workers"),
        pytest.param(("old", "new", "--workers=65"), "whole number from 1 to 64", id="many-workers"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


def test_a_target_that_compresses_is_refused(settings: Any) -> None:
    options = {"bucket_name": "b", "region_name": "eu-central-1", "access_key": "AK", "secret_key": "SK", "gzip": True}
    entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"gzip": entry}
    assert "would store other bytes" in refused("old", "gzip")


@pytest.mark.parametrize("knows", [True, False], ids=["knows its version", "knows none"])
def test_a_field_that_knows_versions_of_the_source_is_told_of(alice: Any, knows: bool) -> None:
    name = put("private", "uploads/a.pdf")
    row = Contract(owner=alice, file=name) if knows else Document(owner=alice, file=name)
    row.save_base(raw=True, force_insert=True)
    lines = run("private", "new", "--execute")
    line = """  hostapp.Contract.objects.update(file_version=""): it names versions in 'private'"""
    assert (line in lines) is knows
    assert any(row._meta.label in line for line in lines)
