"""Every bad setting has an id, a name and a fix; none needs the network, and none hides another."""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.client
import botocore.session
import pytest
from django.conf import settings as django_settings
from django.core import checks
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db.models.fields.files import FieldFile
from imagekit.models import ImageSpecField
from imagekit.models.fields.utils import ImageSpecFileDescriptor

from gateway.checks import FIXES, TAG
from gateway.fields import PrivateFieldFile, adopt
from gateway.policies import Authenticated, Everyone, ModelPermission, Owner
from gateway.resources import PrivateStorage
from gateway.storages import StorageByAlias
from gateway.storages.filesystem import PrivateFileSystemStorage
from gateway.storages.minting import per_owner, random_key
from tests.hostapp.models import Document, Invoice, Leaflet, Minutes, Photo

LOCAL = "gateway.storages.PrivateFileSystemStorage"
S3 = "gateway.storages.PrivateS3Storage"
S3_OPTIONS = {
    "bucket_name": "my-bucket",
    "region_name": "eu-central-1",
    "access_key": "AKIDEXAMPLE",
    "secret_key": "secret-of-the-tests",
}
GCS = "gateway.storages.PrivateGCSStorage"
GCS_OPTIONS = {"bucket_name": "my-bucket", "hmac_access_id": "GOOG1EXAMPLE", "hmac_secret": "secret-of-the-tests"}
PUBLIC_GCS = {"backend": "storages.backends.gcloud.GoogleCloudStorage", "bucket_name": "my-bucket"}
AZURE = "gateway.storages.PrivateAzureStorage"
AZURE_OPTIONS = {"account_name": "account0", "azure_container": "box", "managed_identity": True}
AZURE_KEYED = {"account_key": "a2V5IG9mIHRoZSB0ZXN0cw==", "managed_identity": False}
PUBLIC_S3 = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"bucket_name": "my-bucket"}}
LONG_KEY = "a key of the tests that is long enough to sign with"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "checks.md"


def messages(*, deploy: bool = True) -> list[checks.CheckMessage]:
    return list(checks.run_checks(tags=[TAG], include_deployment_checks=deploy))


def ids(*, deploy: bool = True) -> list[str]:
    return sorted(str(message.id) for message in messages(deploy=deploy))


def asking_for(alias: str) -> dict[str, Any]:
    return {"proxy": "nginx", "secret": "s" * 32, "paths": {"/files/": alias}}


class Project:
    """A project whose settings are right, and what is changed in it."""

    def __init__(self, settings: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = settings
        self.root = root
        self._monkeypatch = monkeypatch
        settings.GATEWAY = {"PUBLIC_URL": "https://files.example"}
        settings.ALLOWED_HOSTS = ["files.example"]
        settings.SECRET_KEY = LONG_KEY
        self.private()

    def private(self, backend: str = LOCAL, **options: Any) -> None:
        known = {LOCAL: {"location": self.root / "private"}, GCS: GCS_OPTIONS, AZURE: AZURE_OPTIONS}
        given = known.get(backend, S3_OPTIONS)
        self.alias("private", backend, **{**given, **options})

    def alias(self, name: Any, backend: str = LOCAL, **options: Any) -> None:
        self.settings.STORAGES = {**self.settings.STORAGES, name: {"BACKEND": backend, "OPTIONS": options}}

    def gateway(self, **values: Any) -> None:
        self.settings.GATEWAY = {**self.settings.GATEWAY, **values}

    def environment(self, name: str, value: str) -> None:
        self._monkeypatch.setenv(name, value)

    def secret_key(self, value: Any) -> None:
        # Django raises where it is empty, also while an overridden setting is put back.
        self._monkeypatch.delitem(django_settings.__dict__, "SECRET_KEY", raising=False)
        self._monkeypatch.setattr(django_settings._wrapped, "SECRET_KEY", value)  # type: ignore[attr-defined]

    def without(self, middleware: str) -> list[str]:
        return [path for path in self.settings.MIDDLEWARE if not path.endswith(middleware)]


@pytest.fixture
def project(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_S3_SESSION_PROFILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.replace("AWS_", "AWS_S3_"), raising=False)
    return Project(settings, tmp_path, monkeypatch)


GATEWAY_MIDDLEWARE = "gateway.middleware.GatewayMiddleware"


def misplaced(project: Project) -> None:
    project.settings.MIDDLEWARE = [GATEWAY_MIDDLEWARE, *project.without("GatewayMiddleware")]


def before_authentication(project: Project) -> None:
    paths = project.without("GatewayMiddleware")
    paths.insert(paths.index("django.contrib.auth.middleware.AuthenticationMiddleware"), GATEWAY_MIDDLEWARE)
    project.settings.MIDDLEWARE = paths


class NoDecision:
    pass


class Fails:
    def __init__(self) -> None:
        raise RuntimeError("this policy cannot be made")


class NoAuthenticator:
    reads_authorization = True


class NoTenant:
    def of_row(self, row: Any) -> str:
        return ""


class CustomFieldFile(FieldFile):
    pass


class DerivedFieldFile(PrivateFieldFile):
    pass


HERE = __name__

# Everything that a project can get wrong: what is set, and what the message says of it.
Change = Callable[[Project], object]
BAD: dict[str, tuple[str, str, Change]] = {
    "GATEWAY of an odd type": ("E001", "GATEWAY is of type list", lambda p: setattr(p.settings, "GATEWAY", [])),
    "an unknown key": ("E001", "unknown key 'TTL'", lambda p: p.gateway(TTL=1)),
    "a ttl over seven days": ("E001", "GATEWAY['MAX_TTL'] is 604801", lambda p: p.gateway(MAX_TTL=604_801)),
    "default over maximum": ("E001", "is 901 s; at most MAX_TTL, 900 s", lambda p: p.gateway(DEFAULT_TTL=901)),
    "no middleware": (
        "E002",
        "no GatewayMiddleware",
        lambda p: setattr(p.settings, "MIDDLEWARE", p.without("GatewayMiddleware")),
    ),
    "middleware before sessions": ("E003", "before SessionMiddleware", misplaced),
    "middleware before authentication": ("E003", "before AuthenticationMiddleware", before_authentication),
    "middleware twice": (
        "E003",
        "2 times",
        lambda p: setattr(p.settings, "MIDDLEWARE", [*p.settings.MIDDLEWARE, GATEWAY_MIDDLEWARE]),
    ),
    "no authentication": (
        "W004",
        "no AuthenticationMiddleware",
        lambda p: setattr(p.settings, "MIDDLEWARE", p.without("AuthenticationMiddleware")),
    ),
    "URLs not included": (
        "E005",
        "no gateway.urls: NoReverseMatch",
        lambda p: setattr(p.settings, "ROOT_URLCONF", "django.contrib.auth.urls"),
    ),
    "ninja not installed": (
        "E006",
        "no 'ninja'",
        lambda p: setattr(p.settings, "INSTALLED_APPS", [a for a in p.settings.INSTALLED_APPS if a != "ninja"]),
    ),
    "file storage unknown": (
        "E007",
        "'nowhere', which STORAGES has not",
        lambda p: p.gateway(FILE_STORAGE="nowhere"),
    ),
    "file storage public": (
        "E007",
        "'default', which is not a private",
        lambda p: p.gateway(FILE_STORAGE="default"),
    ),
    "audit database unknown": ("E008", "'elsewhere', which", lambda p: p.gateway(AUDIT_DATABASE="elsewhere")),
    "public URL empty": ("W009", "is empty", lambda p: p.gateway(PUBLIC_URL="")),
    "public URL of http": (
        "E010",
        "'http://files.example'",
        lambda p: p.gateway(PUBLIC_URL="http://files.example"),
    ),
    "debug for others": (
        "E011",
        "'https://files.example', which is not this machine, and DEBUG is on",
        lambda p: setattr(p.settings, "DEBUG", True),
    ),
    "no CSRF middleware": (
        "E012",
        "'gateway.authentication.SessionAuthenticator'; MIDDLEWARE has no CsrfViewMiddleware",
        lambda p: setattr(p.settings, "MIDDLEWARE", p.without("CsrfViewMiddleware")),
    ),
    "short sessions": (
        "W013",
        "SESSION_COOKIE_AGE is 600 s; at least GATEWAY['MAX_TTL'], 900 s",
        lambda p: setattr(p.settings, "SESSION_COOKIE_AGE", 600),
    ),
    "old file storage setting": (
        "W014",
        "DEFAULT_FILE_STORAGE is set, which Django reads no more: STORAGES['default']",
        lambda p: setattr(p.settings, "DEFAULT_FILE_STORAGE", "storages.backends.s3.S3Storage"),
    ),
    "old static storage setting": (
        "W014",
        "STATICFILES_STORAGE is set",
        lambda p: setattr(p.settings, "STATICFILES_STORAGE", "storages.backends.s3.S3StaticStorage"),
    ),
    "encryption that is not": (
        "W015",
        "AWS_S3_ENCRYPTION is set",
        lambda p: (p.private(S3), setattr(p.settings, "AWS_S3_ENCRYPTION", True)),
    ),
    "bucket of Google made no more": (
        "W015",
        "GS_AUTO_CREATE_BUCKET is set, which django-storages reads no more: no bucket is made",
        lambda p: (p.private(GCS), setattr(p.settings, "GS_AUTO_CREATE_BUCKET", True)),
    ),
    "cache control of Google that is not": (
        "W015",
        "GS_CACHE_CONTROL is set",
        lambda p: (p.private(GCS), setattr(p.settings, "GS_CACHE_CONTROL", "private")),
    ),
    "public URL of a host not allowed": (
        "W016",
        "'https://other.example', whose host",
        lambda p: p.gateway(PUBLIC_URL="https://other.example"),
    ),
    "backend misspelt": ("E020", "PrivateS4Storage", lambda p: p.private("gateway.storages.PrivateS4Storage")),
    "backend of the file storage missing": ("E020", "nowhere", lambda p: p.private("nowhere.Storage")),
    "unsigned links on Google": ("E020", "querystring_auth is False", lambda p: p.private(GCS, querystring_auth=False)),
    "public objects on Google": (
        "E020",
        "the ACL is 'publicRead'",
        lambda p: (setattr(p.settings, "GS_DEFAULT_ACL", "publicRead"), p.private(GCS)),
    ),
    "path for credentials of Google": (
        "E020",
        "credentials are of type str",
        lambda p: p.private(GCS, credentials="/etc/key.json"),
    ),
    "key file of Google missing": (
        "E021",
        "the key file '/nowhere.json' cannot be read",
        lambda p: p.private(GCS, hmac_access_id=None, hmac_secret=None, service_account_key="/nowhere.json"),
    ),
    "unsigned links": ("E020", "querystring_auth is False", lambda p: p.private(S3, querystring_auth=False)),
    "unsigned links by setting": (
        "E020",
        "querystring_auth is False",
        lambda p: (setattr(p.settings, "AWS_QUERYSTRING_AUTH", False), p.private(S3)),
    ),
    "public ACL": ("E020", "'public-read'", lambda p: p.private(S3, default_acl="public-read")),
    "public ACL behind a private one": (
        "E020",
        "'public-read'",
        lambda p: p.private(S3, default_acl="private", object_parameters={"ACL": "public-read"}),
    ),
    "grant to everybody": (
        "E020",
        "grant to everybody",
        lambda p: p.private(
            S3, object_parameters={"GrantRead": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}
        ),
    ),
    "custom domain by setting": (
        "E020",
        "custom_domain is set",
        lambda p: (setattr(p.settings, "AWS_S3_CUSTOM_DOMAIN", "cdn.example"), p.private(S3)),
    ),
    "SigV2": ("E020", "signature_version is 's3'", lambda p: p.private(S3, signature_version="s3")),
    "setting's name as option": (
        "E020",
        "'AWS_STORAGE_BUCKET_NAME'",
        lambda p: p.private(S3, AWS_STORAGE_BUCKET_NAME="b"),
    ),
    "unknown option of S3": ("E020", "'bucket'", lambda p: p.private(S3, bucket="b")),
    "unknown option of the disk": ("E020", "'bucket_name'", lambda p: p.private(bucket_name="b")),
    "no bucket": ("E020", "bucket_name is empty", lambda p: p.private(S3, bucket_name=None)),
    "location from the root": ("E020", "location", lambda p: p.private(S3, location="/tenant")),
    "http to Amazon": ("E020", "use_ssl is False", lambda p: p.private(S3, use_ssl=False)),
    "half a CloudFront key": ("E020", "cloudfront_key", lambda p: p.private(S3, cloudfront_key="k")),
    "no location": ("E020", "location is empty", lambda p: p.private(location="")),
    "base_url": ("E020", "base_url is '/media/'", lambda p: p.private(base_url="/media/")),
    "odd url_mode": ("E020", "url_mode is 'public'", lambda p: p.private(url_mode="public")),
    "ttl of the storage over seven days": ("E020", "max_ttl is 604801", lambda p: p.private(max_ttl=604_801)),
    "short secret key of the storage": (
        "E020",
        "5 bytes; at least 32",
        lambda p: p.private(secret_keys=["short"]),
    ),
    "half a key pair": ("E021", "access_key is empty", lambda p: p.private(S3, access_key=None)),
    "no region": ("E021", "region", lambda p: p.private(S3, region_name=None)),
    "odd bucket": ("E021", "bucket is 'a'", lambda p: p.private(S3, bucket_name="a")),
    "odd endpoint": ("E021", "'ftp://store.example'", lambda p: p.private(S3, endpoint_url="ftp://store.example")),
    "odd public endpoint": (
        "E021",
        "'https://store.example?x=1'",
        lambda p: p.private(S3, public_endpoint_url="https://store.example?x=1"),
    ),
    "line end in a secret": ("E021", "secret_access_key", lambda p: p.private(S3, secret_key="secret\n")),
    "static files private": (
        "E022",
        "STORAGES['staticfiles'] is private",
        lambda p: p.alias("staticfiles", location=p.root / "other"),
    ),
    "default private": (
        "W023",
        "hostapp.Leaflet.file, and what apps save",
        lambda p: p.alias("default", location=p.root / "other"),
    ),
    "alias with a dot": ("E024", "'my.files'", lambda p: p.alias("my.files", location=p.root / "other")),
    "alias too long": ("E024", "'" + "x" * 65, lambda p: p.alias("x" * 65, location=p.root / "other")),
    "alias that is no text": ("E024", "7", lambda p: p.alias(7, S3, **S3_OPTIONS | {"bucket_name": "other"})),
    "alias of another": ("E025", "the option alias 'default'", lambda p: p.private(alias="default")),
    "maximum raised": ("E026", "max_ttl 901 s; at most 900 s", lambda p: p.private(max_ttl=901)),
    "default over the maximum": ("E026", "default_ttl 901 s; at most 900 s", lambda p: p.private(default_ttl=901)),
    "default over the storage's own": (
        "E026",
        "default_ttl 61 s; at most 60 s",
        lambda p: p.private(default_ttl=61, max_ttl=60),
    ),
    "window over half the default": ("E026", "url_window 151 s; at most 150 s", lambda p: p.private(url_window=151)),
    "window over half the storage's own": (
        "E026",
        "url_window 31 s; at most 30 s",
        lambda p: p.private(S3, url_window=31, max_ttl=60, default_ttl=60),
    ),
    "expiry of django-storages": (
        "W027",
        "querystring_expire 3600 s; at most 900 s",
        lambda p: p.private(S3, querystring_expire=3600),
    ),
    "expiry of django-storages by setting": (
        "W027",
        "AWS_QUERYSTRING_EXPIRE 3600 s",
        lambda p: (setattr(p.settings, "AWS_QUERYSTRING_EXPIRE", 3600), p.private(S3)),
    ),
    "expiry of django-storages on Google": (
        "W027",
        "expiration 3600 s; at most 900 s",
        lambda p: p.private(GCS, expiration=3600),
    ),
    "expiry of django-storages on Google by setting": (
        "W027",
        "GS_EXPIRATION 3600 s",
        lambda p: (setattr(p.settings, "GS_EXPIRATION", 3600), p.private(GCS)),
    ),
    "overwriting on Google by setting": (
        "W028",
        "file_overwrite",
        lambda p: (setattr(p.settings, "GS_FILE_OVERWRITE", True), p.private(GCS)),
    ),
    "overwriting": ("W028", "file_overwrite", lambda p: p.private(S3, file_overwrite=True)),
    "overwriting by setting": (
        "W028",
        "file_overwrite",
        lambda p: (setattr(p.settings, "AWS_S3_FILE_OVERWRITE", True), p.private(S3)),
    ),
    "overwriting on the disk": ("W028", "allow_overwrite", lambda p: p.private(allow_overwrite=True)),
    "short key": (
        "E029",
        "SECRET_KEY is 5 bytes; at least 32",
        lambda p: setattr(p.settings, "SECRET_KEY", "short"),
    ),
    "empty key": ("E029", "SECRET_KEY is 0 bytes", lambda p: p.secret_key("")),
    "short fallback": (
        "E029",
        "SECRET_KEY_FALLBACKS[1] is 31 bytes",
        lambda p: setattr(p.settings, "SECRET_KEY_FALLBACKS", [LONG_KEY, "k" * 31]),
    ),
    "insecure key": (
        "E030",
        "SECRET_KEY starts with 'django-insecure-'",
        lambda p: setattr(p.settings, "SECRET_KEY", "django-insecure-" + LONG_KEY),
    ),
    "insecure fallback": (
        "E030",
        "SECRET_KEY_FALLBACKS[0]",
        lambda p: setattr(p.settings, "SECRET_KEY_FALLBACKS", ["django-insecure-" + LONG_KEY]),
    ),
    "session token": ("W031", "a session token", lambda p: p.private(S3, security_token="t")),
    "one directory twice": ("W040", "'other'", lambda p: p.alias("other", location=p.root / "private" / "inner")),
    "one bucket twice": (
        "W040",
        "s3://my-bucket/tenant/",
        lambda p: (p.private(S3), p.alias("other", S3, **S3_OPTIONS, location="tenant")),
    ),
    "public storage on the bucket": (
        "W041",
        "STORAGES['default'], which is not private, in s3://my-bucket/",
        lambda p: (p.private(S3, location="private"), p.alias("default", **_public_s3())),
    ),
    "public storage on the bucket by setting": (
        "W041",
        "STORAGES['default']",
        lambda p: (
            p.private(S3),
            setattr(p.settings, "AWS_STORAGE_BUCKET_NAME", "my-bucket"),
            p.alias("default", "storages.backends.s3.S3Storage"),
        ),
    ),
    "public storage on the bucket of Google": (
        "W041",
        "STORAGES['default'], which is not private, in gs://my-bucket/",
        lambda p: (p.private(GCS, location="private"), p.alias("default", **PUBLIC_GCS)),
    ),
    "public storage on the bucket of Google by setting": (
        "W041",
        "STORAGES['default']",
        lambda p: (
            p.private(GCS),
            setattr(p.settings, "GS_BUCKET_NAME", "my-bucket"),
            p.alias("default", PUBLIC_GCS["backend"]),
        ),
    ),
    "below MEDIA_ROOT": ("E042", "MEDIA_ROOT", lambda p: setattr(p.settings, "MEDIA_ROOT", p.root)),
    "around MEDIA_ROOT": (
        "E042",
        "MEDIA_ROOT",
        lambda p: setattr(p.settings, "MEDIA_ROOT", str(p.root / "private" / "media")),
    ),
    "is STATIC_ROOT": ("E042", "STATIC_ROOT", lambda p: setattr(p.settings, "STATIC_ROOT", p.root / "private")),
    "by a symbolic link": ("E042", "MEDIA_ROOT", lambda p: _linked(p)),
    "below STATICFILES_DIRS": (
        "E042",
        "STATICFILES_DIRS",
        lambda p: setattr(p.settings, "STATICFILES_DIRS", [("prefix", str(p.root))]),
    ),
    "below a public storage": (
        "E042",
        "STORAGES['default']",
        lambda p: p.alias("default", "django.core.files.storage.FileSystemStorage", location=p.root),
    ),
    "readable by others": ("W043", "0o755", lambda p: (p.root / "private").mkdir(mode=0o755)),
    "files for others": ("W043", "file_permissions_mode 0o644", lambda p: p.private(file_permissions_mode=0o644)),
    "relative": ("W044", "'var/private', which is relative", lambda p: p.private(location="var/private")),
    "http endpoint": (
        "E045",
        "endpoint_url 'http://store.example'; https",
        lambda p: p.private(S3, endpoint_url="http://store.example"),
    ),
    "http public endpoint": (
        "E045",
        "public_endpoint_url 'http://store.example'; https",
        lambda p: p.private(S3, public_endpoint_url="http://store.example"),
    ),
    "http address of the bucket's own": (
        "E045",
        "custom_endpoint 'http://store.example'; https",
        lambda p: p.private(GCS, custom_endpoint="http://store.example"),
    ),
    "bucket in the endpoint": (
        "W047",
        "the bucket 'my-bucket' already",
        lambda p: p.private(S3, endpoint_url="https://my-bucket.fra1.store.example"),
    ),
    "bucket in the path of the endpoint": (
        "W047",
        "the bucket 'my-bucket' already",
        lambda p: p.private(S3, endpoint_url="https://store.example/my-bucket"),
    ),
    "region of another place": (
        "E048",
        "'https://s3.us-east-2.amazonaws.com', and signs for the region 'eu-central-1'",
        lambda p: p.private(S3, endpoint_url="https://s3.us-east-2.amazonaws.com"),
    ),
    "region that is only in the endpoint": (
        "E048",
        "signs for the region 'us-east-1'",
        lambda p: p.private(S3, endpoint_url="https://s3.eu-west-3.amazonaws.com", region_name=None),
    ),
    "internal endpoint": (
        "W049",
        "browsers elsewhere cannot reach",
        lambda p: p.private(S3, endpoint_url="https://minio:9000"),
    ),
    "private address as endpoint": (
        "W049",
        "https://10.1.2.3",
        lambda p: p.private(S3, endpoint_url="https://10.1.2.3"),
    ),
    "no verification": ("W050", "verify", lambda p: p.private(S3, verify=False)),
    "emulator of Google in the environment": (
        "W080",
        "STORAGE_EMULATOR_HOST is in the environment, and moves neither bytes nor links",
        lambda p: (p.private(GCS), p.environment("STORAGE_EMULATOR_HOST", "http://localhost:9023")),
    ),
    "account of Google that does not sign": (
        "W081",
        "sa_email 'signer@project', and a key of its own signs",
        lambda p: p.private(GCS, sa_email="signer@project"),
    ),
    "disposition of Google that wins": (
        "W082",
        "with a content_disposition of object_parameters",
        lambda p: p.private(GCS, object_parameters={"content_disposition": "inline"}),
    ),
    "endpoint of another account": (
        "E051",
        "'https://account1.blob.core.windows.net', and signs for the account 'account0'",
        lambda p: p.private(AZURE, endpoint_url="https://account1.blob.core.windows.net"),
    ),
    "private endpoint of another account": (
        "E051",
        "public_endpoint_url",
        lambda p: p.private(AZURE, public_endpoint_url="https://account1.privatelink.blob.core.usgovcloudapi.net"),
    ),
    "domain of another account": (
        "E051",
        "custom_domain",
        lambda p: p.private(AZURE, custom_domain="account1.z12.blob.storage.azure.net"),
    ),
    "account key": ("W052", "signs with an account key", lambda p: p.private(AZURE, **AZURE_KEYED)),
    "account of the emulator": (
        "E053",
        "'devstoreaccount1', whose key everybody knows",
        lambda p: p.private(AZURE, account_name="devstoreaccount1"),
    ),
    "no verification of Azure": (
        "W050",
        "connection_verify",
        lambda p: p.private(AZURE, client_options={"connection_verify": False}),
    ),
    "lifetime of Azure by option": ("W027", "expiration_secs 901 s", lambda p: p.private(AZURE, expiration_secs=901)),
    "lifetime of Azure by setting": (
        "W027",
        "AZURE_URL_EXPIRATION_SECS 901 s",
        lambda p: (setattr(p.settings, "AZURE_URL_EXPIRATION_SECS", 901), p.private(AZURE)),
    ),
    "overwriting on Azure": ("W028", "overwrite_files", lambda p: p.private(AZURE, overwrite_files=True)),
    "one container twice": (
        "W040",
        "https://account0.blob.core.windows.net/box/tenant/",
        lambda p: (p.private(AZURE), p.alias("other", AZURE, **AZURE_OPTIONS, location="tenant")),
    ),
    "public storage on the container": (
        "W041",
        "STORAGES['default'], which is not private, in https://account0.blob.core.windows.net/box",
        lambda p: (
            p.private(AZURE),
            setattr(p.settings, "AZURE_ACCOUNT_NAME", "account0"),
            p.alias("default", "storages.backends.azure_storage.AzureStorage", azure_container="box"),
        ),
    ),
    "http endpoint of Azure": (
        "E045",
        "endpoint_url 'http://azurite.example",
        lambda p: p.private(AZURE, endpoint_url="http://azurite.example/account0"),
    ),
    "container in the endpoint": (
        "W047",
        "the bucket 'box' already",
        lambda p: p.private(AZURE, endpoint_url="https://files.example/box"),
    ),
    "internal endpoint of Azure": (
        "W049",
        "browsers elsewhere cannot reach",
        lambda p: p.private(AZURE, endpoint_url="https://azurite:10000/account0"),
    ),
    "token credential that is none": (
        "E020",
        "token_credential is of type int",
        lambda p: p.private(AZURE, managed_identity=False, token_credential=5),
    ),
    "no credential": ("E021", "token_credential are empty", lambda p: p.private(AZURE, managed_identity=False)),
    "SAS in place of a key": ("E020", "sas_token is set", lambda p: p.private(AZURE, sas_token="sig=x")),
    "default policy missing": ("E060", "'nowhere.Policy'", lambda p: p.gateway(DEFAULT_POLICY="nowhere.Policy")),
    "default policy that fails": ("E060", "RuntimeError", lambda p: p.gateway(DEFAULT_POLICY=f"{HERE}.Fails")),
    "policy that decides nothing": (
        "E060",
        "POLICIES']['hostapp.Document.file'] is",
        lambda p: p.gateway(POLICIES={"hostapp.Document.file": f"{HERE}.NoDecision"}),
    ),
    "path policy without a dot": (
        "E060",
        "PATH_POLICIES']['private'] is 'Everyone'",
        lambda p: p.gateway(PATH_POLICIES={"private": "Everyone"}),
    ),
    "authenticator missing": ("E061", "'nowhere.A'", lambda p: p.gateway(AUTHENTICATORS=["nowhere.A"])),
    "authenticator that is none": (
        "E061",
        "no authenticate()",
        lambda p: p.gateway(AUTHENTICATORS=[f"{HERE}.NoAuthenticator"]),
    ),
    "tenant missing": ("E062", "'nowhere.Tenant'", lambda p: p.gateway(TENANT="nowhere.Tenant")),
    "tenant that is none": ("E062", "no of_principal()", lambda p: p.gateway(TENANT=f"{HERE}.NoTenant")),
    "label of no model": ("E063", "names no model", lambda p: p.gateway(POLICIES={"hostapp.Nothing": Everyone()})),
    "label of one word": ("E063", "names no model", lambda p: p.gateway(POLICIES={"file": Everyone()})),
    "label of no field": (
        "E063",
        "names no field",
        lambda p: p.gateway(POLICIES={"hostapp.Document.fil": Everyone()}),
    ),
    "label of another field": (
        "E063",
        "is no file field",
        lambda p: p.gateway(POLICIES={"hostapp.Document.title": Everyone()}),
    ),
    "label of a field with a policy of its own": (
        "E063",
        "'hostapp.Document.file', whose field has a policy of its own, which is asked instead",
        lambda p: p.gateway(POLICIES={"hostapp.Document.file": Everyone()}),
    ),
    "label of a public field": (
        "E063",
        "not private, so that no policy is asked",
        lambda p: p.gateway(POLICIES={"hostapp.Leaflet.file": Everyone()}),
    ),
    "label of a model without files": (
        "E063",
        "without a private file field",
        lambda p: p.gateway(POLICIES={"hostapp.Project": Everyone()}),
    ),
    "label in lower case": (
        "E063",
        "it is 'hostapp.Document.file'",
        lambda p: p.gateway(POLICIES={"hostapp.document.file": Everyone()}),
    ),
    "path policy of an unknown alias": (
        "E064",
        "'nowhere', which STORAGES has not",
        lambda p: p.gateway(PATH_POLICIES={"nowhere": Everyone()}),
    ),
    "path policy of a public alias": (
        "E064",
        "'default', which is not a private",
        lambda p: p.gateway(PATH_POLICIES={"default": Everyone()}),
    ),
    "a server that asks, of an unknown alias": (
        "E090",
        "'nowhere' behind '/files/', which STORAGES has not",
        lambda p: p.gateway(FORWARD_AUTH=asking_for("nowhere")),
    ),
    "a server that asks, of a public alias": (
        "E090",
        "'default' behind '/files/', which is not a private",
        lambda p: p.gateway(FORWARD_AUTH=asking_for("default")),
    ),
    "a server that asks, without a policy": (
        "E091",
        "no policy for it",
        lambda p: p.gateway(FORWARD_AUTH=asking_for("private")),
    ),
    "links for addresses that nobody tells": (
        "E092",
        "TRUSTED_PROXIES'] is 0",
        lambda p: p.private(delivery="secure_link_address"),
    ),
    "path of an owner by setting": (
        "E065",
        "Owner('author') decides",
        lambda p: p.gateway(POLICIES={"hostapp.Invoice.file": Authenticated() & ~Owner("author")}),
    ),
}

# Addresses of the machine itself, however they are spelt.
OWN_ADDRESSES = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "localhost",
    "store.localhost",
    "localhost.",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "168.63.129.16",
    "metadata.google.internal",
]


def _public_s3() -> dict[str, Any]:
    return {"backend": str(PUBLIC_S3["BACKEND"]), **dict(PUBLIC_S3["OPTIONS"])}  # type: ignore[call-overload]


def _linked(project: Project) -> None:
    (project.root / "media").mkdir()
    (project.root / "link").symlink_to(project.root / "media")
    project.settings.MEDIA_ROOT = project.root / "media"
    project.private(location=project.root / "link" / "private")


@dataclass
class BadField:
    """What is wrong with a file field: its attributes, changed."""

    model: Any
    name: str
    changed: dict[str, Any] = field(default_factory=dict)


def _outside(tmp_path: str = "/nowhere") -> PrivateFileSystemStorage:
    return PrivateFileSystemStorage(location=tmp_path)


BAD_FIELDS: dict[str, tuple[str, str, BadField]] = {
    "policy missing": ("E060", "'nowhere.Policy'", BadField(Document, "file", {"policy": "nowhere.Policy"})),
    "policy that is a class": ("E060", "a class", BadField(Document, "file", {"policy": Everyone})),
    "path of an owner": ("E065", "Owner('author')", BadField(Document, "file", {"policy": Owner("author")})),
    "path that ends at no user": (
        "E065",
        "a user",
        BadField(Minutes, "file", {"policy": ModelPermission() | Owner("project")}),
    ),
    "value of another class": (
        "E066",
        "CustomFieldFile",
        BadField(Invoice, "file", {"attr_class": CustomFieldFile}),
    ),
    "storage outside STORAGES": ("E067", "outside STORAGES", BadField(Invoice, "file", {"storage": _outside()})),
    "storage of an unknown alias": (
        "E067",
        "'nowhere', which STORAGES has not",
        BadField(Document, "file", {"storage": StorageByAlias("nowhere")}),
    ),
    "public storage": ("E068", "PrivateFileField", BadField(Document, "file", {"storage": InMemoryStorage()})),
    "public alias": (
        "E068",
        "PrivateImageField",
        BadField(Photo, "image", {"storage": StorageByAlias("default")}),
    ),
    "short": ("E069", "max_length is 40", BadField(Document, "file", {"max_length": 40, "upload_to": random_key})),
    "short with a directory": (
        "E069",
        "max_length is 40",
        BadField(Invoice, "file", {"max_length": 40, "upload_to": "invoices/%Y/"}),
    ),
    "short with an owner": (
        "E069",
        "max_length is 40",
        BadField(Photo, "image", {"max_length": 40, "upload_to": per_owner("owner")}),
    ),
    "short with a callable": (
        "E069",
        "max_length is 30",
        BadField(Invoice, "file", {"max_length": 30, "upload_to": lambda instance, name: name}),
    ),
    "version in no field": (
        "E071",
        "'version', which the model has not",
        BadField(Document, "file", {"version_field": "version"}),
    ),
    "version in no text": ("E071", "is no CharField", BadField(Document, "file", {"version_field": "owner"})),
    "version in the file": ("E071", "is no CharField", BadField(Document, "file", {"version_field": "file"})),
    "version in a short text": (
        "E071",
        "max_length is 50; at least 255",
        BadField(Document, "file", {"version_field": "title"}),
    ),
    "directory that is no key": ("E069", "a//b", BadField(Invoice, "file", {"upload_to": "a//b"})),
    "directory from the root": ("E069", "/srv", BadField(Invoice, "file", {"upload_to": "/srv"})),
}


def test_a_project_that_is_right_has_nothing_to_mend(project: Project) -> None:
    assert ids() == []
    project.private(S3)
    assert ids() == []
    project.private(AZURE)
    assert ids() == []
    project.private(
        S3, endpoint_url="https://minio:9000", public_endpoint_url="https://store.example", location="tenant"
    )
    assert ids() == []


@pytest.mark.parametrize(("number", "said", "change"), BAD.values(), ids=BAD.keys())
def test_names_a_bad_setting(project: Project, number: str, said: str, change: Change) -> None:
    change(project)
    found = [message for message in messages() if message.id == f"gateway.{number}"]
    assert found, f"only {ids()}"
    assert said in found[0].msg
    assert found[0].hint == FIXES[number]
    assert isinstance(found[0], checks.Error if number.startswith("E") else checks.Warning)


@pytest.mark.parametrize("host", OWN_ADDRESSES)
@pytest.mark.parametrize("option", ["endpoint_url", "public_endpoint_url"])
def test_names_an_endpoint_that_is_the_machine_itself(project: Project, option: str, host: str) -> None:
    project.private(S3, **{option: f"https://{host}:9000"})
    assert [message.id for message in messages() if host in message.msg] == ["gateway.E046"]


@pytest.mark.parametrize("host", ["store.example", "93.184.215.14", "[2606:2800::1]", "localhost.example"])
def test_other_hosts_are_endpoints(project: Project, host: str) -> None:
    project.private(S3, endpoint_url=f"https://{host}:9000")
    assert ids() == []


@pytest.mark.parametrize(("number", "said", "bad"), BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_names_a_bad_field(
    project: Project, monkeypatch: pytest.MonkeyPatch, number: str, said: str, bad: BadField
) -> None:
    its_field = bad.model._meta.get_field(bad.name)
    for name, value in bad.changed.items():
        monkeypatch.setattr(its_field, name, value)
    found = [message for message in messages() if message.id == f"gateway.{number}"]
    assert [message.obj for message in found] == [its_field]
    assert said in found[0].msg
    assert found[0].hint == FIXES[number]


def installed(app: str, **settings: Any) -> Change:
    """Install a library of thumbnails, and set what it reads."""

    def change(project: Project) -> None:
        project.settings.INSTALLED_APPS = [*project.settings.INSTALLED_APPS, app]
        project.alias("thumbnails", location=project.root / "thumbnails")
        for name, value in settings.items():
            setattr(project.settings, name, value)

    return change


# Which library keeps what is made of private images where everybody can fetch it.
THUMBNAILS: dict[str, tuple[str, Change]] = {
    "easy-thumbnails": ("on 'easy_thumbnails'", installed("easy_thumbnails")),
    "easy-thumbnails on a public alias": (
        "on 'default' (THUMBNAIL_DEFAULT_STORAGE_ALIAS)",
        installed("easy_thumbnails", THUMBNAIL_DEFAULT_STORAGE_ALIAS="default"),
    ),
    "easy-thumbnails on no alias": (
        "on 'nowhere'",
        installed("easy_thumbnails", THUMBNAIL_DEFAULT_STORAGE_ALIAS="nowhere"),
    ),
    "sorl": ("on 'default' (THUMBNAIL_STORAGE)", installed("sorl.thumbnail")),
    "sorl by a path": (
        "FileSystemStorage'",
        installed("sorl.thumbnail", THUMBNAIL_STORAGE="django.core.files.storage.FileSystemStorage"),
    ),
    "ImageKit": ("on 'default' (IMAGEKIT_DEFAULT_FILE_STORAGE)", installed("imagekit")),
    "ImageKit by a path that leads nowhere": (
        "on 'nowhere.Storage'",
        installed("imagekit", IMAGEKIT_DEFAULT_FILE_STORAGE="nowhere.Storage"),
    ),
}


@pytest.mark.parametrize(("said", "change"), THUMBNAILS.values(), ids=THUMBNAILS)
def test_names_a_library_that_makes_private_images_public(project: Project, said: str, change: Change) -> None:
    change(project)
    (message,) = [message for message in messages() if message.id == "gateway.E070"]
    assert said in message.msg
    assert "hostapp.Photo.image" in message.msg
    assert "hostapp.Invoice.scan" in message.msg
    assert "Leaflet" not in message.msg


@pytest.mark.parametrize("storage", ["public", "private", "none"])
def test_names_a_field_of_imagekit_that_makes_a_private_image_public(
    project: Project, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    installed("imagekit", IMAGEKIT_DEFAULT_FILE_STORAGE="thumbnails")(project)
    given = {"public": InMemoryStorage, "private": lambda: storages["thumbnails"], "none": None}[storage]
    small = ImageSpecField(source="image", format="PNG", cachefile_storage=given, id=f"hostapp:small:{storage}")
    monkeypatch.setattr(Photo, "small", ImageSpecFileDescriptor(small, "small", "image"), raising=False)
    found = [message for message in messages() if message.id == "gateway.E070"]
    assert [message.obj for message in found] == [Photo._meta.get_field("image")] * (storage == "public")
    assert all("hostapp.Photo.small" in message.msg for message in found)


# What looks odd and is right.
GOOD: dict[str, Change] = {
    "easy-thumbnails on a private alias": installed("easy_thumbnails", THUMBNAIL_DEFAULT_STORAGE_ALIAS="thumbnails"),
    "sorl on a private alias": installed("sorl.thumbnail", THUMBNAIL_STORAGE="thumbnails"),
    "sorl on a private class": installed(
        "sorl.thumbnail", THUMBNAIL_STORAGE="gateway.storages.filesystem.PrivateFileSystemStorage"
    ),
    "ImageKit on a private alias": installed("imagekit", IMAGEKIT_DEFAULT_FILE_STORAGE="thumbnails"),
    "S3 settings without an S3 alias": lambda p: setattr(p.settings, "AWS_S3_ENCRYPTION", True),
    "a dict of the project's own name": lambda p: setattr(p.settings, "STATICFILES_STORAGE", {"BACKEND": "x"}),
    "debug on this machine": lambda p: (
        setattr(p.settings, "DEBUG", True),
        setattr(p.settings, "ALLOWED_HOSTS", ["[::1]"]),
        p.gateway(PUBLIC_URL="https://[::1]:8000"),
    ),
    "http endpoint while debugging": lambda p: (
        setattr(p.settings, "DEBUG", True),
        setattr(p.settings, "ALLOWED_HOSTS", ["127.0.0.1"]),
        p.gateway(PUBLIC_URL="https://127.0.0.1"),
        p.private(S3, endpoint_url="http://store.example"),
    ),
    "short project key beside keys of the storage": lambda p: (
        setattr(p.settings, "SECRET_KEY", "django-insecure-"),
        p.private(secret_keys=[LONG_KEY]),
    ),
    "short project key without local links": lambda p: (p.private(S3), setattr(p.settings, "SECRET_KEY", "short")),
    "two prefixes of one bucket": lambda p: (
        p.private(S3, location="one"),
        p.alias("other", S3, **S3_OPTIONS, location="one-more"),
        p.alias("default", **_public_s3(), location="media"),
    ),
    "two directories side by side": lambda p: (
        p.alias("other", location=p.root / "private-too"),
        setattr(p.settings, "MEDIA_ROOT", p.root / "private-not"),
    ),
    "its own alias as option": lambda p: p.private(alias="private"),
    "lower lifetimes": lambda p: p.private(max_ttl=60, default_ttl=30),
    "region of the endpoint": lambda p: p.private(S3, endpoint_url="https://s3.eu-central-1.amazonaws.com"),
    "a bucket's own virtual host": lambda p: p.private(S3, endpoint_url="https://my-bucketeer.example"),
    "an own domain of Azure": lambda p: p.private(AZURE, custom_domain="files.example"),
    "the account's own endpoints": lambda p: p.private(
        AZURE,
        endpoint_url="https://account0.privatelink.blob.core.windows.net",
        public_endpoint_url="https://account0.blob.core.windows.net",
    ),
    "an internal endpoint beside an own domain": lambda p: p.private(
        AZURE, endpoint_url="https://azurite:10000/account0", custom_domain="files.example"
    ),
    "policies by label": lambda p: p.gateway(
        POLICIES={
            "hostapp.Invoice.file": Everyone(),
            "hostapp.Invoice": Authenticated(),
            "presign_gateway.File": "gateway.policies.FILE_POLICY",
        },
        PATH_POLICIES={"private": "gateway.policies.Everyone"},
    ),
    "tokens alone, without CSRF": lambda p: (
        p.gateway(AUTHENTICATORS=["gateway.authentication.ApiTokenAuthenticator"]),
        setattr(p.settings, "MIDDLEWARE", p.without("CsrfViewMiddleware")),
    ),
    "Google": lambda p: p.private(GCS),
    "Google behind an address of the bucket's own": lambda p: p.private(
        GCS, endpoint_url="https://gcs:4443", custom_endpoint="https://my-bucket.files.example"
    ),
    "Google beside Amazon, with a bucket of the same name": lambda p: (p.private(GCS), p.alias("s3", S3, **S3_OPTIONS)),
    "emulator of Google that the options name": lambda p: (
        p.private(GCS, endpoint_url="https://store.example"),
        p.environment("STORAGE_EMULATOR_HOST", "https://store.example"),
    ),
    "foreign backend that is broken": lambda p: p.alias("backup", "nowhere.Storage"),
}


@pytest.mark.parametrize("change", GOOD.values(), ids=GOOD.keys())
def test_leaves_alone_what_is_right(project: Project, change: Change) -> None:
    change(project)
    assert ids() == []


def test_a_derived_value_class_is_right(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Invoice._meta.get_field("file"), "attr_class", DerivedFieldFile)
    assert ids() == []


def test_a_public_field_may_be_anything(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    its_field = Leaflet._meta.get_field("file")
    monkeypatch.setattr(its_field, "attr_class", CustomFieldFile)
    monkeypatch.setattr(its_field, "max_length", 10)
    assert ids() == []


DEPLOY_ONLY = {"E010", "E011", "W016", "E030", "E045", "E046", "W049", "W050", "W052", "E053"}


@pytest.mark.parametrize(
    ("number", "change"),
    [(number, change) for number, _, change in BAD.values() if number in DEPLOY_ONLY],
    ids=[name for name, (number, *_) in BAD.items() if number in DEPLOY_ONLY],
)
def test_what_only_matters_in_production_is_said_for_deploy_alone(
    project: Project, number: str, change: Change
) -> None:
    change(project)
    assert f"gateway.{number}" not in ids(deploy=False)


# The ids, in the code, the documentation and the tests above.


def documented() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| ([EW]\d{3}) \| (.+?) \| (.+) \|$", DOCS.read_text(), re.MULTILINE)
    return {number: (bad, fix) for number, bad, fix in rows}


def test_code_and_documentation_have_the_same_ids_and_fixes() -> None:
    assert {number: fix for number, (_, fix) in documented().items()} == FIXES
    assert list(documented()) == sorted(FIXES, key=lambda number: number[1:])
    assert len({number[1:] for number in FIXES}) == len(FIXES)


def test_documentation_tells_what_is_for_deploy_alone() -> None:
    assert {number for number, (bad, _) in documented().items() if "(*deploy*)" in bad} == DEPLOY_ONLY


def test_every_id_has_a_test() -> None:
    tested = {number for number, *_ in (*BAD.values(), *BAD_FIELDS.values())} | {"E046", "E070"}
    assert tested == set(FIXES)


# Neither a network nor a traceback.


def test_no_check_touches_the_network(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a check went for the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(botocore.session.Session, "create_client", refuse)
    monkeypatch.setattr(botocore.client.ClientCreator, "create_client", refuse)
    project.private(S3)
    project.alias("local", location=project.root / "local")
    project.alias("public", **_public_s3())
    with pytest.raises(AssertionError, match="network"):
        storages["private"].exists("uploads/a.txt")
    assert ids() == ["gateway.W041"]


def test_a_storage_that_is_not_private_is_never_built(project: Project) -> None:
    project.alias("backup", f"{HERE}.ConnectingStorage")
    assert ids() == []


class ConnectingStorage(FileSystemStorage):
    """A backend that would open a connection when it is built."""

    def __init__(self) -> None:
        raise AssertionError("a storage that is not private was built")


ODD = [
    None,
    0,
    -1,
    10**30,
    "",
    "x",
    "é\x00",
    b"x",
    [],
    ["x"],
    [None],
    {},
    {"x": 1},
    {1: None},
    object(),
    Everyone,
    1.5,
]
SETTINGS = [
    *("GATEWAY", "STORAGES", "MIDDLEWARE", "ROOT_URLCONF", "MEDIA_ROOT", "STATIC_ROOT", "STATICFILES_DIRS"),
    *("SECRET_KEY_FALLBACKS", "SESSION_COOKIE_AGE", "ALLOWED_HOSTS", "DEBUG"),
    *("DEFAULT_FILE_STORAGE", "STATICFILES_STORAGE", "AWS_QUERYSTRING_EXPIRE", "AWS_STORAGE_BUCKET_NAME"),
    *("AWS_LOCATION", "AWS_S3_ENDPOINT_URL", "AWS_S3_CUSTOM_DOMAIN", "AWS_S3_CLIENT_CONFIG"),
    *("AZURE_CONNECTION_STRING", "AZURE_CUSTOM_DOMAIN", "AZURE_CLIENT_OPTIONS", "AZURE_LOCATION"),
]
GATEWAY_KEYS = [
    *("DEFAULT_TTL", "MAX_TTL", "BATCH_LIMIT", "DEFAULT_POLICY", "POLICIES", "PATH_POLICIES", "FILE_STORAGE"),
    *("PUBLIC_URL", "AUTHENTICATORS", "TENANT", "AUDIT_DATABASE"),
]
OPTIONS = [
    *("alias", "url_mode", "default_ttl", "max_ttl", "inline_types", "on_short_credentials", "url_window"),
    "delivery",
    *("location", "secret_keys", "base_url", "file_permissions_mode", "directory_permissions_mode"),
    *("allow_overwrite", "bucket_name", "endpoint_url", "public_endpoint_url", "region_name", "access_key"),
    *("secret_key", "security_token", "object_parameters", "default_acl", "verify", "addressing_style"),
    *("querystring_expire", "querystring_auth", "file_overwrite", "custom_domain", "client_config"),
    *("account_name", "account_key", "azure_container", "client_options", "connection_string", "token_credential"),
    *("managed_identity", "endpoint_suffix", "backdate", "ca_file", "expiration_secs"),
]


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_makes_a_check_raise(project: Project, name: str) -> None:
    project.alias("bucket", S3, **S3_OPTIONS)
    project.alias("container", AZURE, **AZURE_OPTIONS)
    project.alias("default", **_public_s3())
    for value in ODD:
        setattr(project.settings, name, value)
        messages()


def test_no_secret_key_makes_a_check_raise(project: Project) -> None:
    for value in ODD:
        project.secret_key(value)
        messages()


@pytest.mark.parametrize("name", GATEWAY_KEYS)
def test_no_key_of_gateway_makes_a_check_raise(project: Project, name: str) -> None:
    for value in ODD:
        project.gateway(**{name: value})
        messages()


@pytest.mark.parametrize("backend", [LOCAL, S3, AZURE], ids=["local", "s3", "azure"])
@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_makes_a_check_raise(project: Project, backend: str, name: str) -> None:
    for value in ODD:
        project.private(backend, **{name: value})
        messages()


@pytest.mark.parametrize("value", ODD, ids=[re.sub(" at 0x[0-9a-f]+", "", repr(value)) for value in ODD])
def test_no_entry_of_storages_makes_a_check_raise(project: Project, value: Any) -> None:
    for entry in (value, {"BACKEND": value}, {"BACKEND": LOCAL, "OPTIONS": value}):
        project.settings.STORAGES = {**project.settings.STORAGES, "private": entry}
        messages()


@pytest.mark.parametrize("name", ["attr_class", "storage", "policy", "max_length", "upload_to"])
def test_no_attribute_of_a_field_makes_a_check_raise(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for value in ODD:
        monkeypatch.setattr(Document._meta.get_field("file"), name, value)
        messages()


@pytest.mark.parametrize("change", [change for _, _, change in BAD.values()], ids=BAD.keys())
def test_a_bad_setting_hides_no_other(project: Project, change: Change) -> None:
    project.settings.DEFAULT_FILE_STORAGE = "storages.backends.s3.S3Storage"
    project.alias("staticfiles", S3, **S3_OPTIONS | {"bucket_name": "other-bucket"})
    change(project)
    seen = set(ids())
    assert "gateway.W014" in seen
    assert "gateway.E022" in seen or project.settings.STORAGES["staticfiles"]["BACKEND"] == LOCAL


# As it is used.


def test_manage_py_check_ends_with_the_id_and_the_fix(project: Project) -> None:
    project.private(S3, querystring_auth=False)
    with pytest.raises(SystemCheckError, match=r"\(gateway\.E020\).*querystring_auth is False") as caught:
        call_command("check", tags=[TAG])
    assert f"HINT: {FIXES['E020']}" in str(caught.value)


def test_files_below_media_root_are_adopted_by_silencing_the_id(project: Project) -> None:
    project.settings.MEDIA_ROOT = project.root
    with pytest.raises(CommandError, match=r"gateway\.E042"):
        call_command("check", tags=[TAG])
    project.settings.SILENCED_SYSTEM_CHECKS = ["gateway.E042"]
    call_command("check", tags=[TAG])


def test_no_message_shows_a_secret(project: Project) -> None:
    project.settings.SECRET_KEY = "django-insecure-s3cr3t"
    project.private(secret_keys=["s3cr3t"])
    project.alias("other", S3, **S3_OPTIONS | {"secret_key": "s3cr3t\n"}, endpoint_url="http://u:s3cr3t@h")
    assert messages()
    assert "s3cr3t" not in repr(messages())


def test_django_storages_reads_none_of_the_settings_that_are_said_to_be_gone() -> None:
    import storages.backends.s3 as backend

    from gateway.checks.project import _GONE_FROM_DJANGO_STORAGES

    source = Path(str(backend.__file__)).read_text()
    assert "AWS_STORAGE_BUCKET_NAME" in source
    assert not [name for name in _GONE_FROM_DJANGO_STORAGES if f'"{name}"' in source]


def test_the_checks_are_registered_once_and_under_their_tag(project: Project) -> None:
    from django.core.checks.registry import registry

    ours = [check for check in registry.get_checks(include_deployment_checks=True) if TAG in check.tags]
    assert len(ours) == len({check.__name__ for check in ours}) > 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        messages()


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        (S3, {"access_key": None}),
        (S3, {"querystring_auth": False}),
        (LOCAL, {"bucket_name": "b"}),
        (LOCAL, {"location": ""}),
        ("nowhere.Storage", {}),
    ],
    ids=["no key pair", "unsigned", "unknown option", "no location", "no such backend"],
)
def test_a_broken_storage_lets_django_start_and_be_checked(
    project: Project, backend: str, options: dict[str, Any]
) -> None:
    project.private(backend, **options)
    adopt(Document)
    assert {"gateway.E020", "gateway.E021"} & set(ids())


def test_looking_at_a_storage_builds_no_signer(project: Project) -> None:
    project.settings.ROOT_URLCONF = "tests.no_such_module"
    assert isinstance(storages["private"], PrivateStorage)
