"""The private directory: its options, its modes, names that are refused, and the keys that its links have."""

from __future__ import annotations

import inspect
import os
import pickle
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, storages
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.test import override_settings
from django.urls import set_script_prefix
from django.utils.safestring import mark_safe

from gateway.errors import ObjectExists, StorageUnavailable
from gateway.links import probe
from gateway.storages import PrivateFileSystemStorage, StorageByAlias
from gateway.storages.minting import random_key
from providers import Download, InvalidConfiguration, InvalidKey, LinkRefused, LocalProvider
from providers.local import SecretKey
from tests.providers.test_keys import KEYS

BACKEND = "gateway.storages.PrivateFileSystemStorage"
BAD_KEYS = {name: key for name, (key, problem) in KEYS.items() if problem is not None and name != "K48-lazy-text"}
SECRETS = ["first-" + "s" * 32, "second-" + "s" * 32]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def make(location: Any = "unused", **options: Any) -> PrivateFileSystemStorage:
    return PrivateFileSystemStorage(location=location, **{"alias": "private"} | options)


@pytest.fixture
def storage(root: Path) -> PrivateFileSystemStorage:
    return make(root)


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def everything_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


class TestOptions:
    def test_every_option_of_django_is_one_that_somebody_decided_about(self) -> None:
        # A new one of Django's fails here, until somebody has decided whether it is kept or refused.
        kept = {"location", "file_permissions_mode", "directory_permissions_mode", "allow_overwrite"}
        assert set(inspect.signature(FileSystemStorage.__init__).parameters) - {"self"} == kept | {"base_url"}

    def test_positional_order_is_djangos(self) -> None:
        ours = list(inspect.signature(PrivateFileSystemStorage.__init__).parameters)
        assert ours[:-1] == list(inspect.signature(FileSystemStorage.__init__).parameters)

    def test_options_are_kept(self, root: Path) -> None:
        storage = make(root, file_permissions_mode=0o640, directory_permissions_mode=0o750, allow_overwrite=True)
        name = storage.save("a/b.txt", ContentFile(b"x"))
        assert storage.file_permissions_mode == stat.S_IMODE((root / name).stat().st_mode) == 0o640
        assert storage.directory_permissions_mode == stat.S_IMODE((root / "a").stat().st_mode) == 0o750
        storage._save(name, ContentFile(b"y"))
        assert (root / name).read_bytes() == b"y"

    def test_djangos_settings_for_public_files_are_not_ours(self, root: Path) -> None:
        with override_settings(FILE_UPLOAD_PERMISSIONS=0o644, FILE_UPLOAD_DIRECTORY_PERMISSIONS=0o755):
            storage = make(root)
            name = storage.save("a/b.txt", ContentFile(b"x"))
        assert storage.file_permissions_mode == stat.S_IMODE((root / name).stat().st_mode) == 0o600
        assert storage.directory_permissions_mode == stat.S_IMODE((root / "a").stat().st_mode) == 0o700

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"location": None}, "location is empty", id="no-location"),
            pytest.param({"location": ""}, "location is empty", id="empty-location"),
            pytest.param({"base_url": "/media/"}, "base_url is '/media/'", id="base-url"),
            pytest.param({"base_url": ""}, "base_url is ''", id="empty-base-url"),
            pytest.param({"base_urll": "/"}, r"unknown options \['base_urll'\]", id="misspelt"),
            pytest.param({"public_endpoint_url": "https://x"}, "unknown options", id="another-storages"),
            pytest.param({"allow_overwrite": "false"}, "allow_overwrite is 'false'; True or", id="overwrite-as-text"),
            pytest.param({"file_permissions_mode": "0600"}, "file_permissions_mode is '0600'", id="mode-as-text"),
            pytest.param({"file_permissions_mode": 0}, "file_permissions_mode is 0", id="mode-of-nobody"),
            pytest.param({"directory_permissions_mode": True}, "directory_permissions_mode is True", id="mode-bool"),
            pytest.param({"directory_permissions_mode": 0o17777}, "up to 0o7777", id="mode-too-large"),
        ],
    )
    def test_what_cannot_work_is_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message):
            make(**options)

    def test_media_root_is_no_fallback(self, tmp_path: Path) -> None:
        with (
            override_settings(MEDIA_ROOT=tmp_path),
            pytest.raises(ImproperlyConfigured, match="location is empty"),
        ):
            PrivateFileSystemStorage()

    def test_media_url_is_not_its_base_url(self, settings: Any) -> None:
        settings.MEDIA_URL = "/media/"
        assert make().base_url == "http://testserver/local/private/"


class TestSaving:
    def test_round_trip(self, storage: PrivateFileSystemStorage, root: Path) -> None:
        name = storage.save("invoices/Rechnung März.pdf", ContentFile(b"%PDF"))
        assert name.startswith("invoices/")
        assert name.endswith("/Rechnung_März.pdf")
        assert (root / name).read_bytes() == read(storage, name) == b"%PDF"
        assert storage.exists(name)
        assert storage.size(name) == 4
        assert storage.path(name) == str(root / name)
        storage.delete(name)
        assert not storage.exists(name)

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(lambda: ContentFile(b"h\xc3\xa9"), id="bytes"),
            pytest.param(lambda: ContentFile("hé"), id="text"),
            pytest.param(lambda: SimpleUploadedFile("a.txt", b"h\xc3\xa9"), id="upload-in-memory"),
            pytest.param(lambda: on_disk(b"h\xc3\xa9"), id="upload-on-disk"),
        ],
    )
    def test_contents_of_every_kind(self, storage: PrivateFileSystemStorage, root: Path, content: Any) -> None:
        with content() as file:
            name = storage.save("a.txt", file)
        assert (root / name).read_bytes() == "hé".encode()
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600

    def test_a_taken_name_is_refused_and_keeps_its_bytes(self, storage: PrivateFileSystemStorage, root: Path) -> None:
        name = random_key(None, "a.txt")
        assert storage.save(name, ContentFile(b"old")) == name
        with pytest.raises(ObjectExists, match="taken; nothing was overwritten"):
            storage.save(name, ContentFile(b"new"))
        assert (root / name).read_bytes() == b"old"
        assert everything_below(root) == [name]

    def test_a_content_that_fails_leaves_nothing(self, storage: PrivateFileSystemStorage, root: Path) -> None:
        class Broken(ContentFile[bytes]):
            def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
                yield b"half"
                raise ConnectionError("the client is gone")

        with pytest.raises(ConnectionError):
            storage.save("a/b.txt", Broken(b""))
        assert everything_below(root) == []

    def test_a_save_never_asks_whether_a_name_is_taken(
        self, storage: PrivateFileSystemStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "exists", lambda name: pytest.fail("exists() was asked"))
        monkeypatch.setattr(storage, "is_name_available", lambda name, max_length: pytest.fail("it was asked"))
        storage.save("a.txt", ContentFile(b"x"))

    def test_64_threads_saving_under_one_directory(self, root: Path) -> None:
        storage = make(root)
        before = os.umask(0)
        try:
            with ThreadPoolExecutor(64) as pool:
                names = list(pool.map(lambda n: storage.save(f"d/{n}.txt", ContentFile(f"{n}")), range(64)))
        finally:
            os.umask(before)
        assert {(root / name).read_text() for name in names} == {str(number) for number in range(64)}
        for path in (root, *root.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def on_disk(content: bytes) -> TemporaryUploadedFile:
    file = TemporaryUploadedFile("a.txt", "text/plain", len(content), None)
    file.write(content)
    file.seek(0)
    return file


DOORS = {
    "save": lambda storage, name: storage._save(name, ContentFile(b"x")),
    "open": lambda storage, name: storage.open(name),
    "delete": lambda storage, name: storage.delete(name),
    "exists": lambda storage, name: storage.exists(name),
    "size": lambda storage, name: storage.size(name),
    "path": lambda storage, name: storage.path(name),
    "url": lambda storage, name: storage.url(name),
    "object-key": lambda storage, name: storage.object_key(name),
    "accessed": lambda storage, name: storage.get_accessed_time(name),
    "created": lambda storage, name: storage.get_created_time(name),
    "modified": lambda storage, name: storage.get_modified_time(name),
}


@pytest.fixture(params=DOORS.values(), ids=DOORS)
def door(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestNames:
    @pytest.mark.parametrize("name", BAD_KEYS.values(), ids=BAD_KEYS)
    def test_bad_names_are_refused_at_every_door(
        self, storage: PrivateFileSystemStorage, root: Path, door: Any, name: Any
    ) -> None:
        # Django's own ValueError for deleting nothing is one, too.
        with pytest.raises((InvalidKey, ValueError)):
            door(storage, name)
        assert not root.exists()

    @pytest.mark.parametrize("name", ["../x", "a/../b", "/abs", "a//b", "a\\b", "a/", "%2e%2e/x", "a\nb/c"])
    def test_bad_names_are_refused_by_listdir(self, storage: PrivateFileSystemStorage, name: str) -> None:
        if name == "a/":
            storage.save("a/b", ContentFile(b"x"))
            assert storage.listdir(name) == storage.listdir("a")
        else:
            with pytest.raises(InvalidKey):
                storage.listdir(name)

    def test_a_subclass_of_text_counts_by_its_characters(self, storage: PrivateFileSystemStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"x"))
        safe = mark_safe(name)
        assert storage.exists(safe)
        assert storage.size(safe) == 1
        assert storage.path(safe) == storage.path(name)
        storage.delete(safe)
        assert not storage.exists(name)

    def test_no_link_is_followed(self, storage: PrivateFileSystemStorage, root: Path, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_bytes(b"secret")
        root.mkdir()
        (root / "link.txt").symlink_to(tmp_path / "secret.txt")
        (root / "out").symlink_to(tmp_path)
        for name in ("link.txt", "out/secret.txt"):
            assert not storage.exists(name)
            for ask in ("open", "size", "accessed", "created", "modified"):
                with pytest.raises(FileNotFoundError):
                    DOORS[ask](storage, name)
        with pytest.raises(FileNotFoundError):
            storage._save("out/new.txt", ContentFile(b"x"))
        assert not (tmp_path / "new.txt").exists()

    @pytest.mark.parametrize("mode", ["w", "wb", "a", "r+", "rb+", "x"])
    def test_only_save_writes(self, storage: PrivateFileSystemStorage, mode: str) -> None:
        name = storage.save("a.txt", ContentFile(b"x"))
        with pytest.raises(ValueError, match="written by save"):
            storage.open(name, mode)
        assert read(storage, name) == b"x"

    def test_text_can_be_read(self, storage: PrivateFileSystemStorage) -> None:
        name = storage.save("a.txt", ContentFile("hé"))
        with storage.open(name, "r") as file:
            assert isinstance(file, File)
            assert file.read() == "hé"

    def test_deleting_nothing_is_refused_as_by_django(self, storage: PrivateFileSystemStorage) -> None:
        with pytest.raises(ValueError, match="name must be given"):
            storage.delete("")


class TestListing:
    def test_directories_and_files(self, storage: PrivateFileSystemStorage) -> None:
        for name in ("a/x", "a/y", "a/d/z"):
            storage._save(name, ContentFile(b""))
        assert storage.listdir("") == (["a"], [])
        directories, files = storage.listdir("a")
        assert (directories, sorted(files)) == (["d"], ["x", "y"])

    def test_a_directory_that_is_not_there(self, storage: PrivateFileSystemStorage) -> None:
        with pytest.raises(FileNotFoundError):
            storage.listdir("a")


class TestTimes:
    @pytest.mark.parametrize("ask", ["get_accessed_time", "get_created_time", "get_modified_time"])
    def test_aware_and_utc_with_use_tz(self, storage: PrivateFileSystemStorage, settings: Any, ask: str) -> None:
        settings.USE_TZ, settings.TIME_ZONE = True, "Asia/Tokyo"
        name = storage.save("a.txt", ContentFile(b"x"))
        moment = getattr(storage, ask)(name)
        assert moment.tzinfo is UTC
        assert abs(moment - datetime.now(UTC)) < MINUTE

    @pytest.mark.parametrize("ask", ["get_accessed_time", "get_created_time", "get_modified_time"])
    def test_naive_and_local_without(self, storage: PrivateFileSystemStorage, settings: Any, ask: str) -> None:
        settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Tokyo"
        name = storage.save("a.txt", ContentFile(b"x"))
        moment = getattr(storage, ask)(name)
        assert moment.tzinfo is None
        in_tokyo = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=9)
        assert abs(moment - in_tokyo) < MINUTE


def signed(storage: Any, **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    link = storage.provider.sign(Download("a/b.txt"), ttl=MINUTE, now=now)
    return {"method": "GET", "key": "a/b.txt", "query": link.url.partition("?")[2], "now": now} | changes


class TestSecretKeys:
    @pytest.mark.parametrize(
        ("secret_keys", "message"),
        [
            pytest.param([], "not a list", id="T17-empty-list"),
            pytest.param("", "not a list", id="T17-empty-text"),
            pytest.param(SECRETS[0], "not a list", id="one-text"),
            pytest.param(SECRETS[0].encode(), "not a list", id="one-bytes"),
            pytest.param(set(SECRETS), "not a list", id="unordered"),
            pytest.param((key for key in SECRETS), "not a list", id="used-up-when-read"),
            pytest.param({"secret": SECRETS[0]}, "not a list", id="one-mapping"),
            pytest.param([""], "a key of 0 bytes; at least 32", id="T17-empty-key"),
            pytest.param(["changeme"], "a key of 8 bytes; at least 32", id="T17-changeme"),
            pytest.param(["s3cr3t-" + "x" * 24], "a key of 31 bytes; at least 32", id="T17-31-bytes"),
            pytest.param([None], "an entry that is neither", id="T17-none"),
            pytest.param([SECRETS[0].encode()], "an entry that is neither", id="bytes"),
            pytest.param([{"secret": SECRETS[0], "until": "2027"}], "an entry that is neither", id="unknown-part"),
            pytest.param([{"not_after": "2027-01-01"}], "an entry that is neither", id="no-secret"),
            pytest.param([{"secret": SECRETS[0], "not_after": "soon"}], "not an aware time", id="no-time"),
            pytest.param([{"secret": SECRETS[0], "not_after": "2027-01-01"}], "not an aware", id="naive-text"),
            pytest.param(
                [{"secret": SECRETS[0], "not_after": datetime(2027, 1, 1)}],  # noqa: DTZ001
                "not an aware time", id="naive",
            ),
            pytest.param([SECRETS[0], "short"], "a key of 5 bytes", id="short-second"),
        ],
    )  # fmt: skip
    def test_bad_rings_are_refused_and_not_shown(self, secret_keys: Any, message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message) as raised:
            make(secret_keys=secret_keys)
        for secret in (*SECRETS, "s3cr3t", "changeme"):
            assert secret not in f"{raised.value!r} {raised.value.__cause__!r}"

    @pytest.mark.parametrize(
        "settings_with",
        [
            pytest.param({"SECRET_KEY": "k" * 31}, id="key"),
            pytest.param({"SECRET_KEY_FALLBACKS": ["k" * 31]}, id="fallback"),
        ],
    )
    def test_a_short_secret_key_makes_the_storage_unavailable(self, settings_with: Any) -> None:
        with override_settings(**settings_with):
            with pytest.raises(InvalidConfiguration, match=r"SECRET_KEY or one of .* is 31 bytes") as raised:
                _ = make().provider
            assert "kkk" not in str(raised.value)
            with pytest.raises(StorageUnavailable):
                probe("private")

    def test_a_secret_key_of_bytes_is_one(self, settings: Any) -> None:
        settings.SECRET_KEY = b"\xff" * 40
        assert make().provider.verify(**signed(make()))

    def test_secrets_are_not_shown(self) -> None:
        storage = make(secret_keys=SECRETS)
        shown = f"{storage!r} {storage} {storage._secret_keys} {storage.provider!r} {vars(storage.provider)}"
        assert not any(secret in shown for secret in SECRETS)

    def test_the_first_key_signs_and_every_key_verifies(self) -> None:
        old, new = make(secret_keys=SECRETS[:1]), make(secret_keys=SECRETS[::-1])
        assert new.provider.verify(**signed(old))
        with pytest.raises(LinkRefused):
            old.provider.verify(**signed(new))

    def test_a_key_that_is_over_verifies_nothing(self) -> None:
        end = datetime.now(UTC) + timedelta(hours=1)
        rotated = make(secret_keys=[SECRETS[1], {"secret": SECRETS[0], "not_after": end.isoformat()}])
        link = signed(make(secret_keys=SECRETS[:1]))
        assert rotated.provider.verify(**link)
        with pytest.raises(LinkRefused, match="signature"):
            rotated.provider.verify(**link | {"now": end})

    def test_a_link_ends_before_the_key_that_signed_it(self) -> None:
        end = datetime.now(UTC) + timedelta(seconds=90)
        storage = make(secret_keys=[{"secret": SECRETS[0], "not_after": end}])
        link = storage.provider.sign(Download("a"), ttl=timedelta(minutes=5), now=datetime.now(UTC))
        assert link.expires_at <= end - MINUTE

    def test_links_of_one_alias_are_refused_by_another_with_the_same_keys(self, root: Path, settings: Any) -> None:
        options = {"location": root, "secret_keys": SECRETS}
        settings.STORAGES = settings.STORAGES | {
            alias: {"BACKEND": BACKEND, "OPTIONS": options} for alias in ("one", "two")
        }
        link = signed(storages["one"])
        assert storages["one"].provider.verify(**link)
        with pytest.raises(LinkRefused, match="signature"):
            storages["two"].provider.verify(**link)
        # Nor would the keys of the second have made it for the address of the first.
        keys = [SecretKey(key.secret) for key, _ in storages["two"].provider._ring]
        with pytest.raises(LinkRefused, match="signature"):
            LocalProvider(base_url=storages["one"].provider.base_url, secret_keys=keys).verify(**link)

    def test_the_secret_key_itself_signs_nothing(self, settings: Any) -> None:
        raw = [SecretKey(settings.SECRET_KEY.encode())]
        with pytest.raises(LinkRefused, match="signature"):
            LocalProvider(base_url=make().provider.base_url, secret_keys=raw).verify(**signed(make()))


class TestProvider:
    def test_is_made_once(self) -> None:
        storage = make()
        assert storage.provider is storage.provider

    def test_follows_secret_key(self, settings: Any) -> None:
        storage = make()
        link = signed(storage)
        settings.SECRET_KEY = "another-" + "k" * 40
        with pytest.raises(LinkRefused):
            storage.provider.verify(**link)

    def test_believes_fallbacks(self, settings: Any) -> None:
        storage = make()
        link = signed(storage)
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-" + "k" * 40, [settings.SECRET_KEY]
        assert storage.provider.verify(**link)
        settings.SECRET_KEY_FALLBACKS = []
        with pytest.raises(LinkRefused):
            storage.provider.verify(**link)

    def test_follows_public_url(self, settings: Any) -> None:
        storage = make()
        assert storage.provider.base_url == "http://testserver/local/private/"
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": "https://files.example.com/"}
        assert storage.provider.base_url == "https://files.example.com/local/private/"

    def test_follows_storages(self, settings: Any, root: Path) -> None:
        by_alias: Any = StorageByAlias("private")
        link = signed(by_alias)
        options = {"location": root, "secret_keys": SECRETS}
        settings.STORAGES = settings.STORAGES | {"private": {"BACKEND": BACKEND, "OPTIONS": options}}
        assert by_alias.location == str(root)
        with pytest.raises(LinkRefused):
            by_alias.provider.verify(**link)

    def test_follows_the_script_prefix_of_each_thread(self) -> None:
        storage = make()
        assert storage.provider.base_url == "http://testserver/local/private/"
        wrong: list[str] = []

        def ask(prefix: str) -> None:
            set_script_prefix(prefix)
            for _ in range(200):
                if storage.provider.base_url != f"http://testserver{prefix}local/private/":
                    wrong.append(prefix)

        threads = [threading.Thread(target=ask, args=(f"/{number}/",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    @override_settings(ROOT_URLCONF="tests.gateway.storages.test_filesystem")
    def test_without_the_urls_the_storage_is_unavailable(self) -> None:
        with pytest.raises(InvalidConfiguration, match="include gateway"):
            _ = make().provider
        with pytest.raises(StorageUnavailable, match="include gateway"):
            probe("private")

    def test_an_alias_that_no_url_can_hold_is_named(self, settings: Any, root: Path) -> None:
        settings.STORAGES = settings.STORAGES | {"a.b": {"BACKEND": BACKEND, "OPTIONS": {"location": root}}}
        with pytest.raises(InvalidConfiguration, match=r"no URL leads to files of 'a\.b'"):
            _ = storages["a.b"].provider

    def test_a_storage_outside_storages_needs_its_alias(self) -> None:
        with pytest.raises(StorageUnavailable, match="needs the option alias"):
            _ = PrivateFileSystemStorage(location="unused").provider


urlpatterns: list[Any] = []  # of a project that does not include gateway.urls


class TestCopies:
    def test_no_secret_enters_a_pickle(self) -> None:
        pickled = pickle.dumps(make(secret_keys=SECRETS))
        assert SECRETS[0].encode() not in pickled
        restored = pickle.loads(pickled)
        assert isinstance(restored, PrivateFileSystemStorage)
        assert restored.alias == "private"
