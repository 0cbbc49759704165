"""The private bucket: a drop-in for django-storages, whose bytes and links go nowhere but where they were told."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.test import override_settings
from storages.backends.s3 import S3Storage

from gateway.errors import ObjectExists
from gateway.storages import PrivateS3Storage
from gateway.storages.minting import random_key
from providers import Download, InvalidConfiguration, InvalidKey, Upload
from tests.emulators.process import LOOPBACK
from tests.emulators.s3 import Response, send
from tests.providers.clouds import MODULUS, PEM
from tests.verifiers.cloudfront import PublicKey, verify_url

AMAZON = "s3.eu-central-1.amazonaws.com"
MINUTE = timedelta(minutes=1)
UNSAID: Any = object()


def make(**options: Any) -> PrivateS3Storage:
    given = {
        "bucket_name": "bucket",
        "region_name": "eu-central-1",
        "access_key": "AK",
        "secret_key": "SK",
    } | options
    return PrivateS3Storage(**{name: value for name, value in given.items() if value is not UNSAID})


def link(storage: PrivateS3Storage, name: str, **download: Any) -> str:
    key = storage.object_key(name)
    return storage.provider.sign(Download(key, **download), ttl=MINUTE, now=datetime.now(UTC)).url


def fetch(storage: PrivateS3Storage, name: str, **download: Any) -> Response:
    return send(link(storage, name, **download))


def read(storage: PrivateS3Storage, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


@contextmanager
def recorded(storage: PrivateS3Storage) -> Iterator[list[Any]]:
    """Record the requests that the SDK sends."""
    requests: list[Any] = []

    def record(request: Any, **_: Any) -> None:
        requests.append(request)

    events = storage.connection.meta.client.meta.events
    events.register_first("before-send.s3", record)
    try:
        yield requests
    finally:
        events.unregister("before-send.s3", record)


def options_on(server: Any) -> dict[str, Any]:
    """Make a bucket, and return what leads to it."""
    return {
        "bucket_name": server.create_bucket(f"bucket-{secrets.token_hex(6)}"),
        "region_name": server.region,
        "endpoint_url": server.endpoint_url,
        "access_key": server.access_key_id,
        "secret_key": server.secret_access_key,
    }


def on(server: Any, **options: Any) -> PrivateS3Storage:
    """Make a storage on a bucket of its own."""
    return make(**options_on(server) | options)


@pytest.fixture(params=["rclone", "ceph"])
def server(request: pytest.FixtureRequest) -> Any:
    """A server that checks signatures."""
    return request.getfixturevalue(request.param)


# What each option of django-storages is here: a value that is kept, and a value that is refused with a message.
ANY = object()
KEPT: dict[str, Any] = {
    "access_key": "AK2",
    "secret_key": "SK2",
    "session_profile": "work",
    "security_token": "token",
    "file_overwrite": True,
    "object_parameters": {"CacheControl": "private", "ServerSideEncryption": "AES256"},
    "bucket_name": "another-bucket",
    "querystring_auth": True,
    "querystring_expire": 600,
    "signature_version": "s3v4",
    "location": "tenant/1",
    "addressing_style": "path",
    "file_name_charset": "utf-8",
    "gzip": True,
    "gzip_content_types": ("text/plain",),
    "url_protocol": "https:",
    "endpoint_url": "https://s3.example.com",
    "proxies": {"https": "http://proxy.example.com:3128"},
    "region_name": "eu-west-1",
    "use_ssl": True,
    "verify": "/etc/ssl/ca.pem",
    "max_memory_size": 1024,
    "default_acl": "private",
    "use_threads": True,
    "transfer_config": TransferConfig(multipart_threshold=2**30),
    "client_config": Config(connect_timeout=3, s3={"us_east_1_regional_endpoint": "legacy"}),
}
REFUSED: list[Any] = [
    pytest.param({"location": Path("tenant")}, "location is of type PosixPath; text", id="location-as-path"),
    pytest.param({"file_overwrite": "false"}, "file_overwrite is of type str; True or False", id="overwrite-as-text"),
    pytest.param({"default_acl": ["private"]}, "default_acl is of type list; text", id="default_acl-as-list"),
    pytest.param({"session_profile": "work"}, "should not be provided with", id="session_profile-and-a-pair"),
    pytest.param({"session_profile": " ", "access_key": None, "secret_key": None}, "session_profile: profile is ' '",
                 id="session_profile"),
    pytest.param({"custom_domain": "cdn.example.com"}, "custom_domain is set without a CloudFront key",
                 id="custom_domain"),
    pytest.param({"cloudfront_key_id": "K1", "cloudfront_key": ANY}, "custom_domain does not say for which",
                 id="cloudfront_key-without-custom_domain"),
    pytest.param({"custom_domain": "cdn.example.com", "cloudfront_key_id": "K1"}, "must be provided together",
                 id="cloudfront_key_id-alone"),
    pytest.param({"custom_domain": "cdn.example.com", "cloudfront_key_id": "k 1", "cloudfront_key": ANY},
                 "cloudfront_key: key_pair_id is 'k 1'", id="cloudfront_key_id"),
    pytest.param({"custom_domain": "cdn.example.com", "cloudfront_key_id": "K1", "cloudfront_key": "text"},
                 "cloudfront_key: private_key is no unencrypted PEM key", id="cloudfront_key"),
    pytest.param({"custom_domain": "cdn.example.com", "cloudfront_signer": object()},
                 "cloudfront_signer is of type object", id="cloudfront_signer"),
    pytest.param({"cloudfront_source_ip": "192.0.2.1"}, "custom_domain does not say", id="cloudfront_source_ip"),
    pytest.param({"querystring_auth": False}, "querystring_auth is False", id="querystring_auth"),
    pytest.param({"querystring_auth": None}, "querystring_auth is False", id="querystring_auth-none"),
    pytest.param({"signature_version": "s3"}, "signature_version is 's3'", id="signature_version"),
    pytest.param({"signature_version": "v4"}, "signature_version is 'v4'", id="signature_version-misspelt"),
    pytest.param({"client_config": Config(signature_version="s3")}, "signature_version is 's3'",
                 id="signature_version-in-client_config"),
    pytest.param({"client_config": {"signature_version": "s3v4"}}, "client_config is of type dict",
                 id="client_config"),
    pytest.param({"default_acl": "public-read"}, "the ACL is 'public-read'", id="default_acl"),
    pytest.param({"default_acl": "public-read-write"}, "the ACL is", id="default_acl-write"),
    pytest.param({"default_acl": "authenticated-read"}, "the ACL is", id="default_acl-authenticated"),
    pytest.param({"object_parameters": {"ACL": "public-read"}}, "the ACL is", id="object_parameters"),
    pytest.param({"object_parameters": {"ACL": "public-read"}, "default_acl": "private"}, "the ACL is",
                 id="object_parameters-before-default_acl"),
    pytest.param(
        {"object_parameters": {"GrantRead": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}},
        "grant to everybody", id="object_parameters-grant",
    ),
    pytest.param(
        {"object_parameters": {"GrantFullControl": "uri=http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}},
        "grant to everybody", id="object_parameters-grant-authenticated",
    ),
    pytest.param({"bucket_name": None}, "bucket_name is empty", id="bucket_name"),
    pytest.param({"use_ssl": False}, "use_ssl is False", id="use_ssl"),
    pytest.param({"addressing_style": "auto", "client_config": Config(), "signature_version": "s3v4a"},
                 "signature_version is 's3v4a'", id="signature_version-asymmetric"),
    pytest.param({"addressing_style": "host", "client_config": Config()}, "addressing_style is 'host'",
                 id="addressing_style"),
    pytest.param({"querystring_expire": 0}, "querystring_expire is 0", id="querystring_expire"),
    pytest.param({"querystring_expire": 604_801}, "from 1 to 604800", id="querystring_expire-over-a-week"),
    pytest.param({"querystring_expire": 60, "default_ttl": 60}, "say the same", id="querystring_expire-twice"),
    pytest.param({"location": "/tenant"}, "cannot begin with a leading slash", id="location-absolute"),
    pytest.param({"location": "../other"}, "location is '../other'", id="location"),
    pytest.param({"location": "a//b"}, "location is 'a//b'", id="location-doubled-slash"),
    pytest.param({"public_url": "https://x"}, "Invalid setting 'public_url'", id="misspelt"),
    pytest.param({"AWS_S3_REGION_NAME": "eu-west-1"}, "Invalid setting 'AWS_S3_REGION_NAME'", id="of-settings"),
]  # fmt: skip


class TestOptions:
    def test_every_option_of_django_storages_is_one_that_somebody_decided_about(self) -> None:
        # A new one of django-storages fails here, until somebody has decided whether it is kept or refused.
        of_cloudfront = {"custom_domain", "cloudfront_key_id", "cloudfront_key"}  # kept together, by TestCloudFront
        assert set(make().get_default_settings()) == set(KEPT) | of_cloudfront
        assert set(make().get_default_settings()) == set(S3Storage.get_default_settings(make()))
        assert of_cloudfront < {case.id for case in REFUSED}

    @pytest.mark.parametrize("name", KEPT)
    def test_an_option_is_kept(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable, raising=False)
        no_pair = {"access_key": None, "secret_key": None} if name == "session_profile" else {}
        kept = getattr(make(**{name: KEPT[name]} | no_pair), name)
        if name == "client_config":
            assert (kept.connect_timeout, kept.s3["us_east_1_regional_endpoint"]) == (3, "legacy")
        else:
            assert kept == KEPT[name]

    def test_the_defaults_are_those_of_django_storages(self) -> None:
        # Names are never used twice, and an hour is too long for a link.
        ours = {"file_overwrite": False, "querystring_expire": None}
        assert make().get_default_settings() == S3Storage.get_default_settings(make()) | ours

    @pytest.mark.parametrize(
        ("setting", "value", "attribute", "expected"),
        [
            pytest.param("AWS_STORAGE_BUCKET_NAME", "of-settings", "bucket_name", "of-settings", id="bucket"),
            pytest.param("AWS_LOCATION", "of/settings", "location", "of/settings", id="location"),
            pytest.param("AWS_S3_FILE_OVERWRITE", True, "file_overwrite", True, id="file-overwrite"),
            pytest.param("AWS_QUERYSTRING_EXPIRE", 120, "default_ttl", timedelta(seconds=120), id="expire"),
        ],
    )
    def test_global_settings_are_read_as_by_django_storages(
        self, setting: str, value: Any, attribute: str, expected: Any
    ) -> None:
        with override_settings(**{setting: value}):
            storage = make(**({"bucket_name": UNSAID} if attribute == "bucket_name" else {}))
        assert getattr(storage, attribute) == expected

    @pytest.mark.parametrize(("options", "message"), REFUSED)
    def test_what_cannot_be_kept_is_refused(self, options: dict[str, Any], message: str) -> None:
        if options.get("cloudfront_key") is ANY:
            options = options | {"cloudfront_key": rsa_key()}
        with pytest.raises(ImproperlyConfigured, match=message):
            make(**options)

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            pytest.param({"querystring_auth": False}, "querystring_auth is False", id="querystring_auth"),
            pytest.param({"custom_domain": "cdn.example.com"}, "custom_domain is set", id="custom_domain"),
            pytest.param({"default_acl": "public-read"}, "the ACL is", id="default_acl"),
        ],
    )
    def test_a_subclass_cannot_set_them_either(self, attributes: dict[str, Any], message: str) -> None:
        subclass = type("Public", (PrivateS3Storage,), attributes)
        with pytest.raises(ImproperlyConfigured, match=message):
            subclass(bucket_name="bucket", region_name="eu-central-1")

    def test_a_global_setting_cannot_make_it_public(self) -> None:
        with override_settings(AWS_QUERYSTRING_AUTH=False), pytest.raises(ImproperlyConfigured):
            make()
        with override_settings(AWS_DEFAULT_ACL="public-read"), pytest.raises(ImproperlyConfigured):
            make()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"access_key": None}, "access_key is empty", id="no-access-key"),
            pytest.param({"secret_key": None}, "secret_key is empty", id="no-secret-key"),
            pytest.param({"region_name": None}, "region_name is empty", id="no-region"),
            pytest.param({"public_endpoint_url": "ftp://x"}, "a scheme of http or https", id="public-endpoint"),
            pytest.param({"public_endpoint_url": "https://u:p4ss@x"}, "holds a user name", id="public-user"),
            pytest.param({"secret_key": "SK\n"}, "white space around it", id="line-end-in-secret-key"),
        ],
    )
    def test_what_cannot_sign_says_why_and_shows_no_secret(
        self, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(InvalidConfiguration, match=message) as raised:
            _ = make(**options).provider
        assert not any(secret in str(raised.value) for secret in ("SK", "p4ss"))

    def test_a_class_that_still_sets_config_keeps_its_meaning(self) -> None:
        class Older(PrivateS3Storage):
            config = Config(connect_timeout=7)

        with pytest.warns(DeprecationWarning, match="'config' class property"):
            storage = Older(bucket_name="bucket", region_name="eu-central-1")
        assert storage.client_config.connect_timeout == 7
        assert storage.client_config.signature_version == "s3v4"

    def test_an_extra_option_of_use_threads_keeps_its_meaning(self) -> None:
        with pytest.warns(DeprecationWarning, match="AWS_S3_USE_THREADS"):
            assert make(use_threads=False).transfer_config.use_threads is False


class TestCloudFront:
    """Downloads lead to the distribution, uploads and bytes to the bucket."""

    def make(self, **options: Any) -> PrivateS3Storage:
        given = {"custom_domain": "cdn.example.com", "cloudfront_key_id": "K1", "cloudfront_key": PEM}
        return make(**given | options)

    @pytest.mark.parametrize("key", [PEM, PEM.encode()], ids=["text", "bytes"])
    def test_downloads_are_signed_for_the_distribution(self, key: Any) -> None:
        storage = self.make(cloudfront_key=key)
        assert link(storage, "a b").startswith("https://cdn.example.com/a%20b?Expires=")
        assert storage.provider_for(Download).capabilities.operations == {Download}

    def test_uploads_are_signed_for_the_bucket(self) -> None:
        provider = self.make().provider_for(Upload)
        upload = Upload("k", content_type="text/plain", size_bytes=3)
        assert provider.sign(upload, ttl=MINUTE, now=datetime.now(UTC)).url.startswith(f"https://bucket.{AMAZON}/k?")

    def test_the_key_is_parsed_once_and_kept_nowhere_else(self) -> None:
        storage = self.make(cloudfront_key_id="K7")
        assert storage.provider is storage.provider
        assert storage.cloudfront_signer.key_pair_id == "K7"
        assert not any(key.startswith("K7:") for key in S3Storage._signers)
        assert PEM not in repr(vars(storage.provider))

    def test_a_policy_of_its_own_binds_to_a_network(self) -> None:
        verified = verify_url(
            link(self.make(cloudfront_source_ip="192.0.2.0/24"), "k"),
            keys={"K1": PublicKey(MODULUS)}, now=datetime.now(UTC), source_ip="192.0.2.77",
        )  # fmt: skip
        assert verified.custom

    @pytest.mark.parametrize("source_ip", ["192.0.2.1/24", "::1", "x", "7.7.7"])
    def test_a_network_that_is_none(self, source_ip: str) -> None:
        with pytest.raises(InvalidConfiguration, match="source_ip is"):
            _ = self.make(cloudfront_source_ip=source_ip).provider

    def test_the_settings_of_django_storages_are_read(self) -> None:
        with override_settings(
            AWS_CLOUDFRONT_KEY=PEM, AWS_CLOUDFRONT_KEY_ID="K9", AWS_S3_CUSTOM_DOMAIN="files.example.com"
        ):
            url = link(make(), "k")
        assert url.startswith("https://files.example.com/k?")
        assert url.endswith("&Key-Pair-Id=K9")

    def test_a_link_is_the_one_that_django_storages_makes(self) -> None:
        storage = self.make()
        theirs = S3Storage(
            bucket_name="bucket", access_key="AK", secret_key="SK", custom_domain="cdn.example.com",
            cloudfront_key_id="K1", cloudfront_key=PEM,
        )  # fmt: skip
        before = datetime.now(UTC)
        ours, url = link(storage, "a/b.txt"), theirs.url("a/b.txt", expire=60)
        if datetime.now(UTC).second == before.second:
            assert ours == url
        assert url.partition("Expires")[0] == ours.partition("Expires")[0]


def rsa_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


class TestAddress:
    @pytest.mark.parametrize(
        ("options", "start"),
        [
            pytest.param({}, f"https://bucket.{AMAZON}/k?", id="virtual-by-default"),
            pytest.param({"region_name": "us-east-1"}, "https://bucket.s3.us-east-1.amazonaws.com/k?", id="us"),
            pytest.param({"addressing_style": "path"}, f"https://{AMAZON}/bucket/k?", id="path"),
            pytest.param({"addressing_style": "auto"}, f"https://bucket.{AMAZON}/k?", id="auto"),
            pytest.param(
                {"client_config": Config(s3={"addressing_style": "path"})},
                f"https://{AMAZON}/bucket/k?", id="path-in-client_config",
            ),
            pytest.param(
                {"endpoint_url": "https://s3.example.com"}, "https://s3.example.com/bucket/k?", id="endpoint"
            ),
            pytest.param(
                {"endpoint_url": "https://s3.example.com", "addressing_style": "virtual"},
                "https://bucket.s3.example.com/k?", id="endpoint-virtual",
            ),
            pytest.param(
                {"endpoint_url": "http://minio:9000", "public_endpoint_url": "https://files.example.com"},
                "https://files.example.com/bucket/k?", id="public-endpoint",
            ),
            pytest.param(
                {"public_endpoint_url": "https://files.example.com"},
                "https://files.example.com/bucket/k?", id="public-endpoint-before-amazon",
            ),
            pytest.param({"location": "t/1"}, f"https://bucket.{AMAZON}/t/1/k?", id="location"),
            pytest.param({"location": "t/1/"}, f"https://bucket.{AMAZON}/t/1/k?", id="location-slash"),
        ],
    )  # fmt: skip
    def test_of_links(self, options: dict[str, Any], start: str) -> None:
        url = link(make(**options), "k")
        assert url.startswith(start)
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256&" in url
        assert "AWSAccessKeyId" not in url

    @pytest.mark.parametrize(
        "options",
        [
            pytest.param({}, id="default"),
            pytest.param({"addressing_style": "path"}, id="path"),
            pytest.param({"addressing_style": "virtual"}, id="virtual"),
            pytest.param({"endpoint_url": "https://s3.example.com"}, id="endpoint"),
            pytest.param({"endpoint_url": "https://s3.example.com", "addressing_style": "virtual"}, id="host"),
            pytest.param({"client_config": Config(s3={"addressing_style": "path"})}, id="client_config"),
            pytest.param({"location": "t/1"}, id="location"),
        ],
    )
    def test_of_bytes_is_that_of_links(self, options: dict[str, Any]) -> None:
        storage = make(**options)
        sent = []

        def answer(request: Any, **_: Any) -> Any:
            sent.append(request)
            raise ConnectionAbortedError

        storage.connection.meta.client.meta.events.register_first("before-send.s3", answer)
        with pytest.raises(ConnectionAbortedError):
            storage.delete("k")
        assert sent[0].url == link(storage, "k").partition("?")[0]
        scope = f"Credential=AK/{datetime.now(UTC):%Y%m%d}/{storage.region_name}/s3/aws4_request"
        assert sent[0].headers["Authorization"].decode().startswith(f"AWS4-HMAC-SHA256 {scope}")

    @pytest.mark.parametrize("style", ["path", "virtual"])
    def test_a_link_of_either_style_works(self, ceph: Any, style: str) -> None:
        saved = on(ceph)
        name = saved.save("a.txt", ContentFile(b"x"))
        host = ceph.endpoint_url if style == "path" else ceph.virtual_host_endpoint_url
        options = {"endpoint_url": host, "addressing_style": style, "bucket_name": saved.bucket_name}
        linked = make(access_key=ceph.access_key_id, secret_key=ceph.secret_access_key, **options)
        assert fetch(linked, name).body == b"x"
        assert (saved.bucket_name in str(urlsplit(link(linked, name)).hostname)) is (style == "virtual")

    def test_links_are_of_the_token_too(self) -> None:
        assert "&X-Amz-Security-Token=tok%2Fen&" in link(make(security_token="tok/en"), "k")
        assert "X-Amz-Security-Token" not in link(make(security_token=""), "k")

    def test_no_secret_is_shown(self) -> None:
        storage = make(secret_key="s3cr3t-key", security_token="s3cr3t-token")
        assert "s3cr3t" not in f"{storage!r} {storage} {storage.provider!r}"


EVIL = "http://127.0.0.1:9"  # discard: nothing listens
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "AWS_ENDPOINT_URL": {"AWS_ENDPOINT_URL": EVIL},
    "AWS_ENDPOINT_URL_S3": {"AWS_ENDPOINT_URL_S3": EVIL},
    "AWS_REGION": {"AWS_REGION": "ap-south-1"},
    "AWS_DEFAULT_REGION": {"AWS_DEFAULT_REGION": "ap-south-1"},
    "AWS_PROFILE-that-is-not-there": {"AWS_PROFILE": "nowhere"},
    "AWS_DEFAULT_PROFILE-that-is-not-there": {"AWS_DEFAULT_PROFILE": "nowhere"},
    "AWS_PROFILE-with-an-endpoint": {"AWS_PROFILE": "evil"},
    "AWS_ACCESS_KEY_ID": {
        "AWS_ACCESS_KEY_ID": "EVIL",
        "AWS_SECRET_ACCESS_KEY": "EVIL",
        "AWS_SESSION_TOKEN": "EVIL",
    },
}
PROFILES = f"""
[default]
endpoint_url = {EVIL}
[profile evil]
region = ap-south-1
endpoint_url = {EVIL}
aws_access_key_id = EVIL
aws_secret_access_key = EVIL
services = all
s3 =
  addressing_style = virtual
[services all]
s3 =
  endpoint_url = {EVIL}
"""


class TestEnvironment:
    @pytest.fixture
    def options_on_rclone(self, rclone: Any) -> dict[str, Any]:
        return options_on(rclone)

    @pytest.fixture(params=ENVIRONMENTS.values(), ids=ENVIRONMENTS)
    def environment(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "config").write_text(PROFILES)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in request.param.items():
            monkeypatch.setenv(name, value)

    @pytest.mark.usefixtures("options_on_rclone", "environment")
    def test_moves_no_bytes(self, rclone: Any, options_on_rclone: dict[str, Any]) -> None:
        storage = make(**options_on_rclone | {"region_name": UNSAID})
        with recorded(storage) as requests:
            name = storage.save("a.txt", ContentFile(b"x"))
            assert read(storage, name) == b"x"
            storage.delete(name)
        assert {urlsplit(request.url).netloc for request in requests} == {urlsplit(rclone.endpoint_url).netloc}
        assert all(b"/us-east-1/s3/" in request.headers["Authorization"] for request in requests)

    @pytest.mark.usefixtures("environment")
    def test_moves_no_bytes_of_amazon(self) -> None:
        client = make().connection.meta.client
        assert client.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"
        assert client.meta.region_name == "eu-central-1"

    @pytest.mark.usefixtures("environment")
    def test_moves_no_link(self) -> None:
        url = link(make(), "k")
        assert url.startswith("https://bucket.s3.eu-central-1.amazonaws.com/k?")
        assert "%2Feu-central-1%2Fs3%2F" in url
        assert "EVIL" not in url
        assert link(make(region_name=UNSAID, endpoint_url="https://s3.example.com"), "k").startswith(
            "https://s3.example.com/bucket/k?"
        )

    def test_would_move_those_of_an_unguarded_client(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        # What the tests above hold off is real.
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", EVIL)
        client = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="A", aws_secret_access_key="S")
        assert client.meta.endpoint_url == EVIL


class Forwarder:
    """Carry TCP connections from a port of its own to another: the public address of an internal server."""

    def __init__(self, endpoint_url: str) -> None:
        self._target = (LOOPBACK, urlsplit(endpoint_url).port)
        self._listening = socket.create_server((LOOPBACK, 0))
        self.endpoint_url = f"http://{LOOPBACK}:{self._listening.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self._target)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with one:
            while data := one.recv(65536):
                other.sendall(data)
            try:
                other.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class TestTwoEndpoints:
    def test_bytes_go_to_one_and_links_name_the_other(self, server: Any) -> None:
        public = Forwarder(server.endpoint_url)
        try:
            storage = on(server, public_endpoint_url=public.endpoint_url)
            with recorded(storage) as requests:
                name = storage.save("a.txt", ContentFile(b"x"))
                assert read(storage, name) == b"x"
            assert {urlsplit(request.url).netloc for request in requests} == {urlsplit(server.endpoint_url).netloc}
            assert public.connections == 0
            url = link(storage, name)
            assert url.startswith(f"{public.endpoint_url}/{storage.bucket_name}/")
            assert send(url).body == b"x"
            assert public.connections == 1
            # The signature is of the public host: from the internal one the same link is refused.
            assert send(url.replace(public.endpoint_url, server.endpoint_url)).status == 403
        finally:
            public.close()


ODD_NAMES = [
    "a b/c d", "a+b", "100%", "a%20b", "what?", "a#b", "a&b=c", "it's", 'say "x"', "日本語/ファイル", "عربي/ملف",
    "🎉", "é", "~tilde", "(brackets)", "a,b;c", "!@$^*", "{braces}", "<tag>",
]  # fmt: skip


class TestNames:
    @pytest.mark.parametrize("directory", ODD_NAMES)
    def test_odd_keys_come_back_by_link(self, server: Any, directory: str) -> None:
        storage = on(server)
        content = secrets.token_bytes(16)
        name = storage.save(f"{directory}/a.bin", ContentFile(content))
        assert name.startswith(f"{directory}/")
        assert fetch(storage, name).body == read(storage, name) == content

    def test_the_location_is_one_for_save_link_open_and_delete(self, server: Any) -> None:
        storage = on(server, location="tenant 1/files")
        name = storage.save("a/b.txt", ContentFile(b"x"))
        assert name.startswith("a/")
        client = server.client()
        listed = client.list_objects_v2(Bucket=storage.bucket_name)["Contents"]
        assert [entry["Key"] for entry in listed] == [f"tenant 1/files/{name}"]
        assert fetch(storage, name).body == read(storage, name) == b"x"
        assert (storage.exists(name), storage.size(name)) == (True, 1)
        assert storage.listdir("") == (["a"], [])
        storage.delete(name)
        assert "Contents" not in client.list_objects_v2(Bucket=storage.bucket_name)

    @pytest.mark.parametrize("name", ["../x", "a/../b", "/x", "a//b", "a\\b", "", "a/"])
    def test_bad_names_send_nothing(self, moto_server: Any, name: str) -> None:
        storage = on(moto_server, location="tenant/1")
        with recorded(storage) as requests:
            for ask in (storage.open, storage.delete, storage.exists, storage.size, storage.get_modified_time):
                with pytest.raises(InvalidKey):
                    ask(name)
            with pytest.raises(InvalidKey):
                storage._save(name, ContentFile(b"x"))
            if name not in ("", "a/"):
                with pytest.raises(InvalidKey):
                    storage.listdir(name)
        assert requests == []

    def test_a_name_may_be_too_long_with_its_location(self, moto_server: Any) -> None:
        storage = on(moto_server, location="t" * 200)
        name = "/".join(["n" * 200] * 5)
        with recorded(storage) as requests, pytest.raises(InvalidKey, match="key is 1205 bytes; at most 1024"):
            storage.exists(name)
        assert requests == []

    def test_only_the_exact_key_is_deleted(self, server: Any) -> None:
        storage = on(server)
        for name in ("d/a*", "d/a[b]", "d/ab", "d/a"):
            storage._save(name, ContentFile(b"x"))
        storage.delete("d/a*")
        storage.delete("d/a[b]")
        storage.delete("d/a")
        assert storage.listdir("d")[1] == ["ab"]


class TestSaving:
    def test_asks_nothing_and_sends_one_put(self, moto_server: Any) -> None:
        storage = on(moto_server)
        with recorded(storage) as requests:
            storage.save("a.txt", ContentFile(b"x"))
        assert [request.method for request in requests] == ["PUT"]
        assert requests[0].headers["If-None-Match"] == b"*"

    def test_asks_nothing_for_a_large_content_either(self, moto_server: Any) -> None:
        storage = on(moto_server, transfer_config=TransferConfig(multipart_threshold=2**20, use_threads=False))
        with recorded(storage) as requests:
            storage.save("a.bin", ContentFile(bytes(9 * 2**20)))
        assert [request.method for request in requests] == ["POST", "PUT", "PUT", "POST"]
        assert [request.headers.get("If-None-Match") for request in requests] == [None, None, None, b"*"]

    def test_a_link_and_a_delete_ask_nothing(self, moto_server: Any) -> None:
        storage = on(moto_server)
        name = storage.save("a.txt", ContentFile(b"x"))
        with recorded(storage) as requests:
            link(storage, name)
            assert requests == []
            storage.delete(name)
        assert [request.method for request in requests] == ["DELETE"]

    def test_a_taken_key_is_refused_and_keeps_its_bytes(self, ceph: Any) -> None:
        storage = on(ceph)
        name = random_key(None, "a.txt")
        assert storage.save(name, ContentFile(b"old")) == name
        with pytest.raises(ObjectExists, match="taken; nothing was overwritten"):
            storage.save(name, ContentFile(b"new"))
        assert fetch(storage, name).body == b"old"

    def test_so_is_one_for_a_content_of_many_parts(self, moto_server: Any) -> None:
        # Ceph 16 does not look at the condition of a completed multipart upload; Amazon S3 and moto do.
        storage = on(moto_server, transfer_config=TransferConfig(multipart_threshold=2**20))
        name = random_key(None, "a.bin")
        storage.save(name, ContentFile(b"old"))
        with pytest.raises(ObjectExists):
            storage.save(name, ContentFile(bytes(9 * 2**20)))
        assert read(storage, name) == b"old"
        uploads = moto_server.client().list_multipart_uploads(Bucket=storage.bucket_name)
        assert "Uploads" not in uploads

    def test_file_overwrite_replaces(self, ceph: Any) -> None:
        storage = on(ceph, file_overwrite=True)
        name = random_key(None, "a.txt")
        storage.save(name, ContentFile(b"old"))
        storage.save(name, ContentFile(b"new"))
        assert fetch(storage, name).body == b"new"

    def test_a_condition_in_object_parameters_is_no_upload_argument(self, moto_server: Any) -> None:
        with pytest.raises(ValueError, match="IfNoneMatch"):
            on(moto_server, object_parameters={"IfNoneMatch": "*"}).save("a.txt", ContentFile(b"x"))

    def test_other_errors_stay_what_they_are(self, ceph: Any) -> None:
        storage = on(ceph)
        storage.bucket_name = "no-such-bucket"
        with pytest.raises(ClientError, match="NoSuchBucket"):
            storage.save("a.txt", ContentFile(b"x"))

    @pytest.mark.parametrize("content", [b"h\xc3\xa9", "hé"], ids=["bytes", "text"])
    def test_contents_of_every_kind(self, moto_server: Any, content: Any) -> None:
        storage = on(moto_server)
        assert read(storage, storage.save("a.txt", ContentFile(content))) == "hé".encode()

    def test_a_content_that_cannot_be_rewound(self, moto_server: Any) -> None:
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        storage = on(moto_server)
        assert read(storage, storage.save("a.bin", Pipe(b"x" * 100))) == b"x" * 100

    @pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile")
    def test_writing_through_open_cannot_overwrite_either(self, moto_server: Any) -> None:
        storage = on(moto_server)
        name = storage.save("a.txt", ContentFile(b"old"))
        with pytest.raises(ClientError, match="PreconditionFailed"), storage.open(name, "wb") as file:
            file.write(b"new")
        assert read(storage, name) == b"old"

    def test_object_parameters_and_types_are_kept(self, server: Any) -> None:
        parameters = {"CacheControl": "private, max-age=5", "ContentDisposition": "attachment"}
        storage = on(server, object_parameters=parameters)
        answer = fetch(storage, storage.save("a.pdf", ContentFile(b"%PDF")))
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["cache-control"] == "private, max-age=5"
        assert answer.headers["content-disposition"] == "attachment"

    # django-storages leaves the compressed file open.
    @pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile")
    def test_gzip_is_kept(self, ceph: Any) -> None:
        storage = on(ceph, gzip=True, gzip_content_types=("text/plain",))
        text = b"very compressible " * 1000
        name = storage.save("a.txt", ContentFile(text))
        answer = fetch(storage, name)
        assert answer.headers["content-encoding"] == "gzip"
        assert len(answer.body) < len(text) // 10
        assert gzip.decompress(answer.body) == read(storage, name) == text

    def test_modified_time_follows_use_tz(self, moto_server: Any, settings: Any) -> None:
        storage = on(moto_server)
        name = storage.save("a.txt", ContentFile(b"x"))
        assert storage.get_modified_time(name).tzinfo is not None
        settings.USE_TZ = False
        assert storage.get_modified_time(name).tzinfo is None

    def test_a_missing_object(self, server: Any) -> None:
        storage = on(server)
        assert not storage.exists("a/b")
        with pytest.raises(FileNotFoundError):
            storage.open("a/b")
        with pytest.raises(FileNotFoundError):
            storage.size("a/b")
        storage.delete("a/b")
        assert fetch(storage, "a/b").status == 404


class TestARestrictedSigner:
    """One that may get and put objects below uploads/, and nothing else: a missing key answers 403."""

    @pytest.fixture
    def storage(self, ceph: Any) -> PrivateS3Storage:
        credentials = ceph.restricted_credentials
        storage = on(ceph, access_key=credentials.access_key_id, secret_key=credentials.secret_access_key)
        ceph.grant_uploads(storage.bucket_name)
        return storage

    def test_saves_links_and_reads(self, storage: PrivateS3Storage) -> None:
        name = storage.save("a.txt", ContentFile(b"x"))
        assert name.startswith("uploads/")
        assert fetch(storage, name).body == read(storage, name) == b"x"

    def test_saves_large_contents(self, storage: PrivateS3Storage) -> None:
        content = secrets.token_bytes(9 * 2**20)
        assert fetch(storage, storage.save("a.bin", ContentFile(content))).body == content

    def test_still_overwrites_nothing(self, storage: PrivateS3Storage) -> None:
        name = storage.save(random_key(None, "a.txt"), ContentFile(b"old"))
        with pytest.raises(ObjectExists):
            storage._save(name, ContentFile(b"new"))
        assert read(storage, name) == b"old"

    def test_is_not_told_that_a_key_is_missing(self, storage: PrivateS3Storage) -> None:
        for ask in (storage.exists, storage.size, storage.open):
            with pytest.raises(ClientError, match="403"):
                ask("uploads/nothing")

    def test_cannot_delete_and_says_so(self, storage: PrivateS3Storage) -> None:
        name = storage.save("a.txt", ContentFile(b"x"))
        with pytest.raises(ClientError, match="AccessDenied"):
            storage.delete(name)
        assert read(storage, name) == b"x"


class TestProcessesAndThreads:
    def test_one_connection_serves_all_threads(self, moto_server: Any) -> None:
        storage = on(moto_server)
        barrier = threading.Barrier(32)

        def connect(_: int) -> int:
            barrier.wait()
            return id(storage.connection)

        with ThreadPoolExecutor(32) as pool:
            assert len(set(pool.map(connect, range(32)))) == 1

    def test_every_thread_saves_its_own_bytes_and_overwrites_none(self, ceph: Any) -> None:
        storage = on(ceph)

        def save(number: int) -> tuple[str, bytes]:
            content = str(number).encode() * 1000
            return storage.save(f"{number}.txt", ContentFile(content)), content

        with ThreadPoolExecutor(16) as pool:
            saved = list(pool.map(save, range(48)))
        assert len({name for name, _ in saved}) == 48
        for name, content in saved:
            assert fetch(storage, name).body == content
        with pytest.raises(ObjectExists):
            storage._save(saved[0][0], ContentFile(b"new"))

    def test_a_child_process_has_a_connection_of_its_own(self, rclone: Any) -> None:
        storage = on(rclone)
        storage.save("warm.txt", ContentFile(b"x"))
        inherited = storage.connection
        links = link(storage, "k")

        def work(number: int) -> None:
            assert storage.connection is not inherited or number == 0
            assert storage.bucket.meta.client is storage.connection.meta.client
            for turn in range(5):
                content = f"{number}-{turn}".encode() * 5000
                name = storage.save(f"{number}/{turn}.txt", ContentFile(content))
                assert read(storage, name) == content
            assert link(storage, "k").partition("?")[0] == links.partition("?")[0]

        children = [forked(lambda number=number: work(number)) for number in range(1, 4)]
        work(0)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        assert storage.connection is inherited

    def test_a_fork_while_a_thread_connects_does_not_hang(self, rclone: Any) -> None:
        from gateway.storages import s3

        storage = on(rclone)
        with s3._connecting:
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
