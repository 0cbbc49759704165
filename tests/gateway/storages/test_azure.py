"""The private container: a drop-in for django-storages, whose bytes and links go nowhere but where they were told."""

from __future__ import annotations

import io
import os
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import override_settings
from storages.backends.azure_storage import AzureStorage

from gateway.errors import AccessDenied, InvalidRequest, ObjectExists, TTLTooLong
from gateway.models import Issuance
from gateway.principals import SYSTEM, acting_as
from gateway.storages import PrivateAzureStorage
from gateway.storages.minting import random_key
from providers import Download, InvalidConfiguration, InvalidKey, ManagedIdentity
from tests.emulators.azurite import Azurite
from tests.emulators.certificates import client_context
from tests.emulators.s3 import Response, send
from tests.emulators.token_endpoints import AzureIdentity, DelegationKeys
from tests.providers import clouds

ACCOUNT, KEY, OTHER_KEY = "account0", "a2V5IG9mIGF6dXJl", "YW5vdGhlciBrZXk="
MINUTE = timedelta(minutes=1)
UNSAID: Any = object()


class Credential:
    """A TokenCredential that is made without arguments, as those that a dotted path names."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        raise AssertionError("nobody may ask for a token here")


class AsyncCredential:
    async def get_token(self, *scopes: str) -> Any: ...


def make(**options: Any) -> PrivateAzureStorage:
    given = {"account_name": ACCOUNT, "account_key": KEY, "azure_container": "box"} | options
    return PrivateAzureStorage(**{name: value for name, value in given.items() if value is not UNSAID})


def link(storage: PrivateAzureStorage, name: str, **download: Any) -> str:
    key = storage.object_key(name)
    return storage.provider.sign(Download(key, **download), ttl=MINUTE, now=datetime.now(UTC)).url


def fetch(storage: PrivateAzureStorage, name: str, **download: Any) -> Response:
    tls = None if storage.ca_file is None else client_context(storage.ca_file)  # type: ignore[arg-type]
    return send(link(storage, name, **download), tls=tls)


def read(storage: PrivateAzureStorage, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def options_on(server: Azurite) -> dict[str, Any]:
    """Make a container, and return what leads to it."""
    options = {
        "account_name": server.account_name,
        "azure_container": server.create_container(f"box-{secrets.token_hex(6)}"),
        "endpoint_url": server.endpoint_url,
    }
    if server.ca_file is None:
        return options | {"account_key": server.account_key}
    return options | {
        "account_key": UNSAID,
        "token_credential": server.credential(),  # type: ignore[attr-defined]
        "ca_file": str(server.ca_file),
    }


def on(server: Azurite, **options: Any) -> PrivateAzureStorage:
    """Make a storage on a container of its own."""
    return make(**options_on(server) | options)


@pytest.fixture(params=["azurite", "azurite_oauth"])
def server(request: pytest.FixtureRequest) -> Any:
    """A server that checks signatures: of an account key, of user delegation keys."""
    return request.getfixturevalue(request.param)


@contextmanager
def recorded(storage: PrivateAzureStorage) -> Iterator[list[str]]:
    """Record the methods of the requests that the SDK sends."""
    methods: list[str] = []
    policy = storage.service_client._pipeline._impl_policies[0]
    before = policy.send

    def record(request: Any) -> Any:
        methods.append(request.http_request.method)
        return before(request)

    policy.send = record
    try:
        yield methods
    finally:
        policy.send = before


KEPT: dict[str, Any] = {
    "account_name": "account1",
    "account_key": OTHER_KEY,
    "object_parameters": {"cache_control": "private", "content_disposition": "attachment"},
    "azure_container": "another-box",
    "azure_ssl": True,
    "upload_max_conn": 4,
    "timeout": 7,
    "max_memory_size": 1024,
    "expiration_secs": 600,
    "overwrite_files": True,
    "location": "tenant/1",
    "default_content_type": "application/x-unknown",
    "cache_control": "private",
    "endpoint_suffix": "core.usgovcloudapi.net",
    "custom_domain": "files.example.com",
    "api_version": "2025-05-05",
    "client_options": {"retry_total": 0},
}
SAS = "SharedAccessSignature=sv=2025-05-05&sig=s3cr3t"
STRING = f"DefaultEndpointsProtocol=https;AccountName={ACCOUNT};AccountKey={KEY}"
BY_STRING = {"account_name": UNSAID, "account_key": UNSAID}
REFUSED: list[Any] = [
    pytest.param({"location": None}, "location is of type NoneType; text", id="location-none"),
    pytest.param({"overwrite_files": "false"}, "overwrite_files is of type str; True or False", id="overwrite-as-text"),
    pytest.param({"connection_string": STRING.encode()}, "connection_string is of type bytes",
                 id="connection_string-bytes"),
    pytest.param({"object_parameters": "cache_control=private"}, "object_parameters is of type str",
                 id="object_parameters-as-text"),
    pytest.param({"sas_token": "sv=2025-05-05&sig=s3cr3t"}, "sas_token is set", id="sas_token"),
    pytest.param(BY_STRING | {"connection_string": f"BlobEndpoint=https://x.example;{SAS}"}, "sas_token is set",
                 id="sas_token-in-connection_string"),
    pytest.param(BY_STRING | {"connection_string": "UseDevelopmentStorage=true"}, "UseDevelopmentStorage",
                 id="connection_string-development"),
    pytest.param({"connection_string": STRING, "account_name": "account1"}, "account_name is another",
                 id="connection_string-of-another-account"),
    pytest.param({"connection_string": STRING, "account_key": OTHER_KEY}, "account_key is another",
                 id="connection_string-with-another-key"),
    pytest.param({"connection_string": f"{STRING};BlobEndpoint=https://a.example", "endpoint_url": "https://b.example"},
                 "endpoint_url is another", id="connection_string-with-another-endpoint"),
    pytest.param({"connection_string": STRING.replace("https", "http", 1)}, "azure_ssl is False",
                 id="connection_string-http"),
    pytest.param({"token_credential": Credential()}, "account_key and token_credential are set",
                 id="two-credentials"),
    pytest.param({"managed_identity": True}, "account_key and managed_identity are set", id="key-and-identity"),
    pytest.param({"account_key": None, "token_credential": Credential(), "managed_identity": True},
                 "token_credential and managed_identity are set", id="credential-and-identity"),
    pytest.param({"account_key": None, "token_credential": object()}, "of type object; one with get_token",
                 id="token_credential"),
    pytest.param({"account_key": None, "token_credential": AsyncCredential()}, "of type AsyncCredential",
                 id="token_credential-async"),
    pytest.param({"account_key": None, "token_credential": "no.such.Credential"}, "cannot be made: ModuleNotFound",
                 id="token_credential-path"),
    pytest.param({"account_key": None, "token_credential": "providers.ManagedIdentity.nothing"}, "cannot be made",
                 id="token_credential-attribute"),
    pytest.param({"account_key": None, "managed_identity": 5}, "managed_identity is 5", id="managed_identity"),
    pytest.param({"azure_container": None}, "azure_container is empty", id="azure_container"),
    pytest.param({"custom_domain": "a.example", "public_endpoint_url": "https://b.example"}, "say the same",
                 id="custom_domain-twice"),
    pytest.param({"client_options": {"credential": "x"}}, r"client_options hold \['credential'\]",
                 id="client_options"),
    pytest.param({"client_options": 5}, "client_options are of type int", id="client_options-type"),
    pytest.param({"azure_ssl": False}, "azure_ssl is False", id="azure_ssl"),
    pytest.param({"backdate": -1}, "backdate is -1", id="backdate"),
    pytest.param({"backdate": 86_401}, "backdate is 86401", id="backdate-over-a-day"),
    pytest.param({"backdate": True}, "backdate is True", id="backdate-bool"),
    pytest.param({"expiration_secs": 0}, "expiration_secs is 0", id="expiration_secs"),
    pytest.param({"expiration_secs": 604_801}, "from 1 to 604800", id="expiration_secs-over-a-week"),
    pytest.param({"expiration_secs": 60, "default_ttl": 60}, "say the same", id="expiration_secs-twice"),
    pytest.param({"location": "/tenant"}, "location is '/tenant'", id="location-absolute"),
    pytest.param({"location": "../other"}, "location is '../other'", id="location"),
    pytest.param({"AZURE_CONTAINER": "x"}, "Invalid setting 'AZURE_CONTAINER'", id="of-settings"),
]  # fmt: skip


class TestOptions:
    def test_every_option_of_django_storages_is_one_that_somebody_decided_about(self) -> None:
        # A new one of django-storages fails here, until somebody has decided whether it is kept or refused.
        elsewhere = {"sas_token", "connection_string", "token_credential"}
        assert set(AzureStorage.get_default_settings(make())) == set(KEPT) | elsewhere

    @pytest.mark.parametrize("name", KEPT)
    def test_an_option_is_kept(self, name: str) -> None:
        assert getattr(make(**{name: KEPT[name]}), name) == KEPT[name]

    @pytest.mark.parametrize(("options", "message"), REFUSED)
    def test_what_cannot_be_kept_is_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message) as raised:
            make(**options)
        assert not any(secret in str(raised.value) for secret in ("s3cr3t", KEY, OTHER_KEY))

    @pytest.mark.parametrize(
        ("setting", "value", "attribute", "expected"),
        [
            pytest.param("AZURE_CONTAINER", "of-settings", "azure_container", "of-settings", id="container"),
            pytest.param("AZURE_LOCATION", "of/settings", "location", "of/settings", id="location"),
            pytest.param("AZURE_OVERWRITE_FILES", True, "overwrite_files", True, id="overwrite"),
            pytest.param("AZURE_URL_EXPIRATION_SECS", 120, "default_ttl", timedelta(seconds=120), id="expire"),
        ],
    )
    def test_global_settings_are_read_as_by_django_storages(
        self, setting: str, value: Any, attribute: str, expected: Any
    ) -> None:
        with override_settings(**{setting: value}):
            storage = make(**({"azure_container": UNSAID} if attribute == "azure_container" else {}))
        assert getattr(storage, attribute) == expected

    def test_a_global_token_of_another_storage_can_be_undone(self) -> None:
        with override_settings(AZURE_SAS_TOKEN="sig=s3cr3t"):
            with pytest.raises(ImproperlyConfigured):
                make()
            assert make(sas_token=None).provider

    def test_the_callers_dicts_are_left_alone(self) -> None:
        options: dict[str, Any] = {"retry_total": 0}
        parameters: dict[str, Any] = {"cache_control": "private"}
        storage = make(client_options=options, object_parameters=parameters, api_version="2025-05-05")
        _ = storage.service_client
        storage._get_content_settings_parameters("a.txt")
        assert (options, parameters) == ({"retry_total": 0}, {"cache_control": "private"})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"account_key": None}, "account_key and token_credential are empty", id="no-key"),
            pytest.param({"account_key": "no base64"}, "account_key is not base64", id="key"),
            pytest.param({"account_name": None}, "account_name is empty", id="no-account"),
            pytest.param({"account_name": "Ab"}, "account_name is 'Ab'", id="account"),
            pytest.param({"azure_container": "$root"}, "container is", id="container"),
            pytest.param({"custom_domain": "https://files.example.com"}, "plain path|lower-case host", id="domain"),
            pytest.param({"public_endpoint_url": "https://u:p4ss@x"}, "holds a user name", id="public-user"),
        ],
    )
    def test_what_cannot_sign_says_why_and_shows_no_secret(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidConfiguration, match=message) as raised:
            _ = make(**options).provider
        assert not any(secret in str(raised.value) for secret in ("no base64", "p4ss"))

    def test_no_credential_moves_no_bytes(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="account_key and token_credential are empty"):
            make(account_key=None).exists("a")

    def test_a_dotted_path_is_a_credential(self) -> None:
        storage = make(account_key=None, token_credential=f"{__name__}.Credential")
        assert isinstance(storage.token_credential, Credential)
        assert storage.provider.capabilities.offline is False

    @pytest.mark.parametrize("identity", [True, "11111111-2222-3333-4444-555555555555"], ids=["system", "user"])
    def test_a_managed_identity_is_a_credential(self, identity: Any) -> None:
        storage = make(account_key=None, managed_identity=identity)
        assert isinstance(storage.token_credential, ManagedIdentity)
        assert (str(identity) in repr(storage.token_credential)) is (identity is not True)

    def test_no_secret_is_shown(self) -> None:
        storage = make()
        assert KEY not in f"{storage!r} {storage} {storage.provider!r}"


class TestAddress:
    @pytest.mark.parametrize(
        ("options", "start", "bytes_at"),
        [
            pytest.param({}, f"https://{ACCOUNT}.blob.core.windows.net/box/k?", None, id="azure"),
            pytest.param(
                {"endpoint_suffix": "core.chinacloudapi.cn"}, f"https://{ACCOUNT}.blob.core.chinacloudapi.cn/box/k?",
                None, id="sovereign-cloud",
            ),
            pytest.param(
                {"custom_domain": "files.example.com"}, "https://files.example.com/box/k?",
                f"https://{ACCOUNT}.blob.core.windows.net/", id="custom-domain",
            ),
            pytest.param(
                {"public_endpoint_url": "https://files.example.com/a"}, "https://files.example.com/a/box/k?",
                f"https://{ACCOUNT}.blob.core.windows.net/", id="public-endpoint",
            ),
            pytest.param(
                {"endpoint_url": "http://azurite:10000/account0", "public_endpoint_url": "https://f.example"},
                "https://f.example/box/k?", "http://azurite:10000/account0", id="two-endpoints",
            ),
            pytest.param(
                {"endpoint_url": "http://azurite:10000/account0", "custom_domain": "localhost:10000"},
                "http://localhost:10000/account0/box/k?", "http://azurite:10000/account0", id="two-hosts",
            ),
            pytest.param(
                BY_STRING | {"connection_string": STRING}, f"https://{ACCOUNT}.blob.core.windows.net/box/k?",
                None, id="connection-string",
            ),
            pytest.param(
                BY_STRING | {"connection_string": f"{STRING};EndpointSuffix=core.usgovcloudapi.net"},
                f"https://{ACCOUNT}.blob.core.usgovcloudapi.net/box/k?", None, id="connection-string-suffix",
            ),
            pytest.param(
                BY_STRING | {"connection_string": f"{STRING};BlobEndpoint=https://b.example/"},
                "https://b.example/box/k?", "https://b.example/", id="connection-string-endpoint",
            ),
            pytest.param(
                {"location": "t/1"}, f"https://{ACCOUNT}.blob.core.windows.net/box/t/1/k?", None, id="location",
            ),
        ],
    )  # fmt: skip
    def test_of_links_and_of_bytes(self, options: dict[str, Any], start: str, bytes_at: str | None) -> None:
        storage = make(**options)
        url = link(storage, "k")
        assert url.startswith(start)
        assert "&sig=" in url
        assert ("&spr=https&" in url) is url.startswith("https://")
        origin = bytes_at or f"{urlsplit(start).scheme}://{urlsplit(start).netloc}/"
        assert storage.client.url.startswith(origin)
        assert storage.client.url.endswith("/box")

    def test_the_start_is_said_where_a_policy_wants_one(self) -> None:
        query = dict(parse_qsl(urlsplit(link(make(backdate=900), "k")).query))
        start, end = (datetime.fromisoformat(query[name]) for name in ("st", "se"))
        assert end - start == timedelta(minutes=16)
        assert "st=" not in link(make(), "k")

    def test_a_version_is_pinned_in_the_signature(self) -> None:
        query = dict(parse_qsl(urlsplit(link(make(), "k", version="2026-11-22T10:00:00.0000000Z")).query))
        assert (query["sr"], query["versionid"]) == ("bv", "2026-11-22T10:00:00.0000000Z")

    def test_a_link_for_the_public_host_works(self, azurite: Any) -> None:
        saved = on(azurite)
        name = saved.save("a.txt", ContentFile(b"x"))
        port = urlsplit(azurite.endpoint_url).port
        linked = make(
            account_name=azurite.account_name, account_key=azurite.account_key,
            azure_container=saved.azure_container, endpoint_url="https://internal.example/account",
            public_endpoint_url=f"http://localhost:{port}/{azurite.account_name}",
        )  # fmt: skip
        assert fetch(linked, name).body == b"x"


@pytest.mark.django_db
class TestURL:
    @pytest.fixture(autouse=True)
    def alias(self, settings: Any) -> None:
        options = {"account_name": ACCOUNT, "account_key": KEY, "azure_container": "box"}
        settings.STORAGES = settings.STORAGES | {
            "azure": {"BACKEND": "gateway.storages.PrivateAzureStorage", "OPTIONS": options}
        }

    def ask(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        with acting_as(SYSTEM, reason="test"):
            return dict(parse_qsl(urlsplit(storages["azure"].url(*args, **kwargs)).query))

    def test_the_order_of_arguments_is_that_of_django_storages(self) -> None:
        parameters = {"content_type": "image/png", "content_disposition": 'attachment; filename="a b.png"'}
        query = self.ask("a/b.pdf", 60, parameters, "r")
        assert (query["rsct"], query["rscd"], query["sp"]) == ("image/png", 'attachment; filename="a b.png"', "r")
        end = datetime.fromisoformat(query["se"])
        assert timedelta(seconds=57) < end - datetime.now(UTC) <= timedelta(seconds=60)
        by_name = self.ask(name="a/b.pdf", expire=60, parameters=parameters, mode="r")
        assert by_name.keys() == query.keys()
        assert len(parameters) == 2

    def test_a_version_is_asked_for_by_its_name(self) -> None:
        assert self.ask("a", None, {"version_id": "v1"})["versionid"] == "v1"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param({"mode": "w"}, "mode is 'w'; r", id="mode-write"),
            pytest.param({"mode": "rd"}, "mode is 'rd'", id="mode-delete"),
            pytest.param({"parameters": {"ip": "1.2.3.4"}}, r"parameters hold \['ip'\]", id="ip"),
            pytest.param({"parameters": {"start": 5}}, "start", id="start"),
            pytest.param({"parameters": {"ResponseContentType": "a/b"}}, "ResponseContentType", id="of-s3"),
            pytest.param({"parameters": 5}, "parameters are of type int", id="no-mapping"),
            pytest.param({"expire": {"content_type": "a/b"}}, "expire is", id="order-of-s3"),
            pytest.param({"expire": 0}, "expire is 0", id="never-unsigned"),
            pytest.param({"parameters": {"content_disposition": "form-data"}}, "inline or attachment", id="header"),
        ],
    )
    def test_what_would_lose_its_meaning_is_refused(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidRequest, match=message):
            self.ask("a/b.pdf", **arguments)

    def test_an_expire_over_the_limit_is_refused(self) -> None:
        with pytest.raises(TTLTooLong):
            self.ask("a", 901)

    def test_nobody_gets_no_link(self, django_user_model: Any) -> None:
        with acting_as(django_user_model.objects.create_user("somebody")), pytest.raises(AccessDenied):
            storages["azure"].url("a/b.pdf")
        assert Issuance.objects.get().decision == "refused"


class TestNames:
    @pytest.mark.parametrize("directory", ["a", "日本語", "a b+c%20", "x/y"], ids=["ascii", "japanese", "odd", "deep"])
    def test_bytes_and_links_have_one_name(self, server: Any, directory: str) -> None:
        storage = on(server)
        content = secrets.token_bytes(16)
        name = storage.save(f"{directory}/a.bin", ContentFile(content))
        assert name.startswith(f"{directory}/")
        assert fetch(storage, name).body == read(storage, name) == content

    def test_the_location_is_one_for_save_link_open_and_delete(self, server: Any) -> None:
        storage = on(server, location="tenant 1/files")
        elsewhere = on(server, azure_container=storage.azure_container)
        elsewhere._save("other.txt", ContentFile(b"of another tenant"))
        name = storage.save("a/b.txt", ContentFile(b"x"))
        assert name.startswith("a/")
        with server.client() as client:
            listed = client.get_container_client(storage.azure_container).list_blob_names()
            assert set(listed) == {f"tenant 1/files/{name}", "other.txt"}
        assert fetch(storage, name).body == read(storage, name) == b"x"
        assert (storage.exists(name), storage.size(name)) == (True, 1)
        assert storage.listdir("") == (["a"], [])
        assert storage.listdir(name.rpartition("/")[0]) == ([], ["b.txt"])
        assert storage.list_all() == storage.list_all("a/") == [name]
        storage.delete(name)
        assert not storage.exists(name)
        assert elsewhere.list_all() == ["other.txt"]

    @pytest.mark.parametrize("name", ["../x", "a/../b", "/x", "a//b", "a\\b", "", "a/"])
    def test_bad_names_send_nothing(self, azurite: Any, name: str) -> None:
        storage = on(azurite, location="tenant/1")
        with recorded(storage) as methods:
            for ask in (storage.open, storage.delete, storage.exists, storage.size, storage.get_modified_time):
                with pytest.raises(InvalidKey):
                    ask(name)
            with pytest.raises(InvalidKey):
                storage._save(name, ContentFile(b"x"))
            if name not in ("", "a/"):
                for listing in (storage.listdir, storage.list_all):
                    with pytest.raises(InvalidKey):
                        listing(name)
        assert methods == []

    def test_only_the_exact_key_is_deleted(self, server: Any) -> None:
        storage = on(server)
        for name in ("d/a*", "d/a[b]", "d/ab", "d/a"):
            storage._save(name, ContentFile(b"x"))
        for name in ("d/a*", "d/a[b]", "d/a"):
            storage.delete(name)
        assert storage.listdir("d") == ([], ["ab"])


class TestSaving:
    def test_asks_nothing_and_sends_one_put(self, azurite: Any) -> None:
        storage = on(azurite)
        with recorded(storage) as methods:
            name = storage.save("a.txt", ContentFile(b"x"))
            assert methods == ["PUT"]
            link(storage, name)
            assert methods == ["PUT"]
            storage.delete(name)
        assert methods == ["PUT", "DELETE"]

    def test_asks_nothing_for_a_large_content_either(self, azurite: Any) -> None:
        small = {"max_single_put_size": 2**20, "max_block_size": 2**20}
        storage = on(azurite, client_options=small, upload_max_conn=1)
        content = secrets.token_bytes(2**20 + 5)
        with recorded(storage) as methods:
            name = storage.save("a.bin", ContentFile(content))
        assert methods == ["PUT", "PUT", "PUT"]  # two blocks, and their list
        assert fetch(storage, name).body == content
        with pytest.raises(ObjectExists):
            storage._save(name, ContentFile(bytes(2**20 + 5)))
        assert read(storage, name) == content

    def test_a_taken_key_is_refused_and_keeps_its_bytes(self, server: Any) -> None:
        storage = on(server)
        name = random_key(None, "a.txt")
        assert storage.save(name, ContentFile(b"old")) == name
        with pytest.raises(ObjectExists, match="taken; nothing was overwritten"):
            storage.save(name, ContentFile(b"new"))
        assert fetch(storage, name).body == b"old"

    def test_overwrite_files_replaces(self, azurite: Any) -> None:
        storage = on(azurite, overwrite_files=True)
        name = random_key(None, "a.txt")
        storage.save(name, ContentFile(b"old"))
        storage.save(name, ContentFile(b"new"))
        assert fetch(storage, name).body == b"new"

    def test_other_errors_stay_what_they_are(self, azurite: Any) -> None:
        storage = on(azurite, azure_container="no-such-box")
        with pytest.raises(ResourceNotFoundError, match="container does not exist"):
            storage.save("a.txt", ContentFile(b"x"))

    @pytest.mark.parametrize("content", [b"h\xc3\xa9", "hé"], ids=["bytes", "text"])
    def test_contents_of_every_kind(self, azurite: Any, content: Any) -> None:
        storage = on(azurite)
        assert read(storage, storage.save("a.txt", ContentFile(content))) == "hé".encode()

    def test_an_opened_file_is_content_too(self, azurite: Any) -> None:
        storage = on(azurite)
        assert read(storage, storage.save("a.bin", io.BytesIO(b"x" * 100))) == b"x" * 100

    def test_writing_through_open_cannot_overwrite_either(self, azurite: Any) -> None:
        storage = on(azurite)
        name = storage.save("a.txt", ContentFile(b"old"))
        with pytest.raises(ObjectExists), storage.open(name, "wb") as file:
            file.write(b"new")
        assert read(storage, name) == b"old"
        with storage.open("fresh.txt", "wb") as file:
            file.write(b"new")
        assert read(storage, "fresh.txt") == b"new"

    def test_object_parameters_and_types_are_kept(self, azurite: Any) -> None:
        parameters = {"cache_control": "private, max-age=5", "content_disposition": "attachment"}
        storage = on(azurite, object_parameters=parameters)
        answer = fetch(storage, storage.save("a.pdf", ContentFile(b"%PDF")))
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["cache-control"] == "private, max-age=5"
        assert answer.headers["content-disposition"] == "attachment"

    def test_modified_time_follows_use_tz(self, azurite: Any, settings: Any) -> None:
        storage = on(azurite)
        name = storage.save("a.txt", ContentFile(b"x"))
        assert storage.get_modified_time(name).tzinfo is not None
        settings.USE_TZ = False
        assert storage.get_modified_time(name).tzinfo is None

    def test_a_missing_object(self, azurite: Any) -> None:
        storage = on(azurite)
        assert not storage.exists("a/b")
        for ask in (
            read,
            lambda storage, name: storage.size(name),
            lambda storage, name: storage.get_modified_time(name),
        ):
            with pytest.raises(FileNotFoundError, match="there is no blob 'a/b'"):
                ask(storage, "a/b")
        storage.delete("a/b")
        assert fetch(storage, "a/b").status == 404


class TestARestrictedIdentity:
    """One that may create blobs, and neither read, stat, list nor delete: the server holds its SAS to that."""

    @pytest.fixture
    def storage(self, azurite: Any) -> PrivateAzureStorage:
        storage = on(azurite)
        sas = generate_account_sas(
            azurite.account_name, azurite.account_key, ResourceTypes(object=True),
            AccountSasPermissions(create=True), datetime.now(UTC) + timedelta(minutes=5),
        )  # fmt: skip
        client = BlobServiceClient(azurite.endpoint_url, credential=AzureSasCredential(sas), retry_total=0)
        storage._connected = (os.getpid(), client)
        return storage

    def test_saves_and_links(self, storage: PrivateAzureStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"x"))
        assert fetch(storage, name).body == b"x"

    def test_still_overwrites_nothing(self, storage: PrivateAzureStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"old"))
        with pytest.raises((ObjectExists, HttpResponseError)):
            storage._save(name, ContentFile(b"new"))
        assert fetch(storage, name).body == b"old"

    def test_cannot_delete_or_stat_and_says_so(self, storage: PrivateAzureStorage) -> None:
        name = storage.save("a.txt", ContentFile(b"x"))
        for ask in (storage.delete, storage.exists, storage.size, read):
            with pytest.raises(HttpResponseError) as raised:
                ask(storage, name) if ask is read else ask(name)  # type: ignore[operator]
            assert raised.value.status_code == 403
        assert fetch(storage, name).body == b"x"


class TestProcessesAndThreads:
    def test_one_client_and_one_signer_serve_all_threads(self) -> None:
        storage = make()
        pairs = clouds.at_once(lambda: (id(storage.service_client), id(storage.provider)), threads=32)
        assert len(set(pairs)) == 1

    def test_64_threads_share_one_key(self) -> None:
        with AzureIdentity() as identity, DelegationKeys() as blobs:
            token = ManagedIdentity(endpoint_url=f"{identity.url}/metadata/identity/oauth2/token")
            storage = make(account_key=None, token_credential=token, endpoint_url=blobs.url)
            links = clouds.at_once(lambda: link(storage, "k"))
            assert len({dict(parse_qsl(urlsplit(url).query))["ske"] for url in links}) == 1
            assert (blobs.asked(), identity.asked()) == (1, 1)

    def test_every_thread_saves_its_own_bytes(self, azurite: Any) -> None:
        storage = on(azurite)

        def save(number: int) -> tuple[str, bytes]:
            content = str(number).encode() * 1000
            return storage.save(f"{number}.txt", ContentFile(content)), content

        with ThreadPoolExecutor(16) as pool:
            saved = list(pool.map(save, range(32)))
        assert len({name for name, _ in saved}) == 32
        for name, content in saved:
            assert fetch(storage, name).body == content

    def test_a_child_process_has_a_client_of_its_own(self, azurite: Any) -> None:
        storage = on(azurite)
        storage.save("warm.txt", ContentFile(b"x"))
        inherited = storage.service_client

        def work() -> None:
            assert storage.service_client is not inherited
            name = storage.save("child.txt", ContentFile(b"of the child"))
            assert read(storage, name) == b"of the child"

        assert os.waitpid(forked(work), 0)[1] == 0
        assert storage.service_client is inherited

    def test_a_fork_while_a_thread_connects_does_not_hang(self, azurite: Any) -> None:
        from gateway.storages import azure

        storage = on(azurite)
        with azure._building:
            child = forked(lambda: storage.save("a.txt", ContentFile(b"x")))
            assert os.waitpid(child, 0)[1] == 0


def forked(work: Callable[[], Any]) -> int:
    with warnings.catch_warnings():
        # Python 3.12 and later warn where the process has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            timer = threading.Timer(30, os._exit, (2,))
            timer.daemon = True
            timer.start()
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def test_the_sdk_takes_a_managed_identity_for_its_own_requests() -> None:
    with AzureIdentity() as identity:
        token = ManagedIdentity(endpoint_url=f"{identity.url}/metadata/identity/oauth2/token")
        given = token.get_token("https://storage.azure.com/.default")
        assert given.token == identity.tokens[-1]
        assert given.expires_on > datetime.now(UTC).timestamp()
        assert given.token not in repr(given)


def test_a_managed_identity_moves_the_bytes_and_signs(azurite_oauth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with AzureIdentity(identity_header="header") as identity:
        identity.make_token = azurite_oauth.token
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{identity.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        storage = on(azurite_oauth, token_credential=UNSAID, managed_identity=True)
        name = storage.save("a.txt", ContentFile(b"x"))
        assert fetch(storage, name).body == read(storage, name) == b"x"
        # One for the SDK, which keeps it, and one for the key.
        assert identity.asked() == 2
