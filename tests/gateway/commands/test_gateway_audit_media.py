"""What is public today is told, and names that no private storage takes are mended without losing a byte."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway import outbox
from gateway.models import ObjectDeletion
from gateway.moving import renaming
from gateway.moving.auditing import why_public
from gateway.moving.renaming import valid_name
from providers.keys import check_key
from tests.hostapp.models import Document, Invoice, Leaflet

pytestmark = pytest.mark.django_db

DISK = "django.core.files.storage.FileSystemStorage"
PLAIN_S3 = "storages.backends.s3.S3Storage"
PLAIN_GCS = "storages.backends.gcloud.GoogleCloudStorage"
PLAIN_AZURE = "storages.backends.azure_storage.AzureStorage"
AZURE: dict[str, Any] = {"account_name": "a", "account_key": "a2V5", "azure_container": "c"}
S3: dict[str, Any] = {"bucket_name": "b", "region_name": "eu-central-1", "access_key": "AK", "secret_key": "SK"}
BAD_NAMES = [
    "leaflets/two\nlines.txt",
    "leaflets/dot.",
    "./leaflets/here.txt",
    "leaflets//twice.txt",
    "leaflets/\u202egnp.exe",
]


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT, settings.MEDIA_URL = str(tmp_path / "media"), "/media/"
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": DISK}}
    return tmp_path / "media"


def put(media: Path, name: str, content: bytes = b"x") -> None:
    path = media / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def run(*arguments: str) -> list[str]:
    output = io.StringIO()
    call_command("gateway_audit_media", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_public_files_are_those_of_this_disk_that_a_row_names(media: Path) -> None:
    put(media, "leaflets/a.txt")
    leaflet = Leaflet.objects.create(file="leaflets/a.txt")
    Leaflet.objects.create(file="leaflets/gone.txt")
    document = Document(title="t")
    document.file.save("private.txt", ContentFile(b"x"))
    assert run() == [
        f"public STORAGES['default']: {media} is in MEDIA_ROOT",
        f"public hostapp.Leaflet:{leaflet.pk}:file: 'leaflets/a.txt' ({media} is in MEDIA_ROOT)",
        "1 public storage, 1 public file.",
    ]


def test_a_private_directory_below_media_root_is_public(settings: Any, media: Path) -> None:
    entry = {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": media / "private"}}
    settings.STORAGES = settings.STORAGES | {"private": entry}
    document = Document(title="t")
    document.file.save("private.txt", ContentFile(b"x"))
    said = run()
    assert f"public STORAGES['private']: {media}/private is in MEDIA_ROOT" in said
    assert any(line.startswith(f"public hostapp.Document:{document.pk}:file: ") for line in said)


@pytest.mark.parametrize(
    ("backend", "options", "reason"),
    [
        pytest.param(PLAIN_S3, S3, None, id="s3"),
        pytest.param(PLAIN_S3, S3 | {"querystring_auth": False}, "querystring_auth", id="s3-unsigned"),
        pytest.param(PLAIN_S3, S3 | {"default_acl": "public-read"}, "'public-read'", id="s3-acl"),
        pytest.param(PLAIN_S3, S3 | {"custom_domain": "c.example"}, "without a key", id="s3-domain"),
        pytest.param(PLAIN_GCS, {"bucket_name": "b"}, None, id="gcs"),
        pytest.param(
            PLAIN_GCS, {"bucket_name": "b", "default_acl": "publicRead"},
            "'publicRead'", id="gcs-acl",
        ),
        pytest.param(
            PLAIN_AZURE,
            AZURE, "expiration_secs", id="azure-unsigned",
        ),
        pytest.param(
            PLAIN_AZURE,
            AZURE | {"expiration_secs": 60}, None, id="azure",
        ),
        pytest.param("gateway.storages.PrivateS3Storage", S3, None, id="private"),
        pytest.param(DISK, {"location": "/srv/elsewhere"}, None, id="unserved"),
        pytest.param(DISK, {"location": "/srv/elsewhere", "base_url": "/d/"}, "served at /d/", id="served"),
        pytest.param("django.core.files.storage.InMemoryStorage", {}, "cannot tell", id="unknown"),
        pytest.param("no.such.Storage", {}, "cannot tell: it cannot be built", id="broken"),
    ],
)  # fmt: skip
def test_what_settings_say_of_a_storage(settings: Any, backend: str, options: Any, reason: str | None) -> None:
    settings.STORAGES = settings.STORAGES | {"it": {"BACKEND": backend, "OPTIONS": options}}
    said = [line for line in run() if line.startswith("public STORAGES['it']")]
    assert (reason is None and said == []) or (reason is not None and reason in said[0])


def test_names_that_private_storages_refuse_are_listed_and_nothing_changes(media: Path) -> None:
    for name in BAD_NAMES:
        put(media, name)
        Leaflet.objects.create(file=name)
    before = list(Leaflet.objects.values())
    said = run()
    assert sum(line.startswith("invalid hostapp.Leaflet:") for line in said) == len(BAD_NAMES)
    assert said[-1] == "1 public storage, 5 public files, 5 invalid names."
    assert list(Leaflet.objects.values()) == before
    assert not ObjectDeletion.objects.exists()


def test_renamed_files_keep_their_bytes_and_the_old_ones_go_after_the_grace(media: Path) -> None:
    rows = {}
    for name in BAD_NAMES:
        put(media, name, name.encode())
        rows[Leaflet.objects.create(file=name).pk] = name
    assert run("--rename")[-1] == "1 public storage, 5 public files, 5 invalid names, 5 renamed."
    for leaflet in Leaflet.objects.all():
        assert leaflet.file.read() == rows[leaflet.pk].encode()
        assert check_key(leaflet.file.name).startswith("leaflets/")
        leaflet.file.close()
    assert all((media / name).exists() for name in BAD_NAMES)
    assert {entry.storage_alias for entry in ObjectDeletion.objects.all()} == {"default"}
    swept = list(outbox.sweep(now=timezone.now() + timedelta(days=2), execute=True))
    assert {one.outcome for one in swept} == {"deleted"}
    assert not any((media / name).exists() for name in BAD_NAMES)
    assert "invalid" not in run()[-1]


def test_a_file_that_a_good_name_means_too_is_never_deleted(media: Path) -> None:
    put(media, "leaflets/a.txt", b"shared")
    Leaflet.objects.create(file="leaflets//a.txt")
    good = Leaflet.objects.create(file="leaflets/a.txt")
    run("--rename")
    list(outbox.sweep(now=timezone.now() + timedelta(days=2), execute=True))
    assert good.file.read() == b"shared"
    good.file.close()


def test_one_of_two_bad_names_that_stays_keeps_the_file(media: Path, monkeypatch: Any) -> None:
    put(media, "leaflets/a.txt", b"shared")
    first, second = (Leaflet.objects.create(file=name) for name in ("leaflets//a.txt", "leaflets/./a.txt"))
    say = renaming._say_in_row

    def fail(field: Any, named: Any, new: str, **options: Any) -> None:
        if named.pk == first.pk:
            raise LookupError("changed")
        say(field, named, new, **options)

    monkeypatch.setattr(renaming, "_say_in_row", fail)
    with pytest.raises(CommandError, match="1 of 2 could not be renamed"):
        run("--rename")
    assert not ObjectDeletion.objects.exists()
    second.refresh_from_db()
    assert check_key(str(second.file))
    # The copy that no row took is not left lying about.
    assert len([path for path in media.rglob("*") if path.is_file()]) == 2


def test_a_name_that_changed_in_between_is_not_overruled(media: Path, monkeypatch: Any) -> None:
    put(media, "leaflets//a.txt")
    leaflet = Leaflet.objects.create(file="leaflets//a.txt")
    save = FileSystemStorage.save

    def change(self: Any, *args: Any, **options: Any) -> str:
        Leaflet.objects.filter(pk=leaflet.pk).update(file="leaflets/newer.txt")
        return save(self, *args, **options)

    monkeypatch.setattr(FileSystemStorage, "save", change)
    with pytest.raises(CommandError, match="could not be renamed"):
        run("--rename")
    leaflet.refresh_from_db()
    assert leaflet.file.name == "leaflets/newer.txt"
    assert not ObjectDeletion.objects.exists()
    assert [path.name for path in media.rglob("*") if path.is_file()] == ["a.txt"]


def test_what_cannot_be_read_or_is_private_already_is_said(media: Path) -> None:
    Leaflet.objects.create(file="../outside.txt")
    Leaflet.objects.create(file="leaflets//gone.txt")
    Invoice.objects.create(file="invoices//1.pdf")
    output = io.StringIO()
    with pytest.raises(CommandError, match="3 of 3 could not be renamed"):
        call_command("gateway_audit_media", "--rename", stdout=output)
    assert "its storage is private and opens no such name" in output.getvalue()
    assert "SuspiciousFileOperation" in output.getvalue()
    assert "FileNotFoundError" in output.getvalue()


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        pytest.param("a//b/../c.txt", "a/b/", "/c.txt", id="dots"),
        pytest.param("a\\b.txt", "a/", "/b.txt", id="backslash"),
        pytest.param("two words/x?.pdf", "two_words/", "/x_.pdf", id="words"),
        pytest.param("bad\n.txt", "uploads/", ".txt", id="no-directory"),
    ],
)
def test_a_valid_name_keeps_what_it_can_of_the_old_one(name: str, start: str, end: str) -> None:
    new = valid_name(name)
    assert check_key(new) == new
    assert new.startswith(start)
    assert new.endswith(end)
    assert valid_name(name) != new


def test_djangos_own_default_storage_is_told_by_what_it_is() -> None:
    assert why_public(default_storage) is not None
