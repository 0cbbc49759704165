"""What all private storages share: options and their bounds, names that are refused or made, and url()."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import migrations, models
from django.db.migrations.writer import MigrationWriter

from gateway.errors import AccessDenied, InvalidRequest, NoPrincipal, StorageUnavailable, TTLTooLong
from gateway.fields import PrivateFileField
from gateway.models import Issuance
from gateway.principals import SYSTEM, acting_as
from gateway.resources import alias_of
from gateway.storages import PrivateAzureStorage, PrivateFileSystemStorage, PrivateS3Storage, StorageByAlias
from gateway.storages.base import INLINE_TYPES
from gateway.storages.minting import random_key
from providers import InvalidKey, InvalidOperation
from tests.providers.test_keys import KEYS

ACCESS_KEY, SECRET_KEY, TOKEN, LOCAL_KEY = (
    "AKIA-in-no-migration",
    "secret-of-s3",
    "token-of-s3",
    "local-" + "s" * 32,
)
AZURE_KEY = "a2V5IG9mIGF6dXJlLCBpbiBubyBtaWdyYXRpb24="
BAD_KEYS = {name: key for name, (key, problem) in KEYS.items() if problem is not None}
PDF = "uploads/2026/11/aaaa/report.pdf"
SVG = "uploads/2026/11/aaaa/drawing.svg"


@pytest.fixture(autouse=True)
def three_aliases(settings: Any, private_root: Any) -> None:
    s3 = {
        "bucket_name": "bucket",
        "region_name": "eu-central-1",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
    }
    backend = "gateway.storages.PrivateS3Storage"
    settings.STORAGES = settings.STORAGES | {
        "private": {
            "BACKEND": "gateway.storages.PrivateFileSystemStorage",
            "OPTIONS": {"location": private_root, "secret_keys": [LOCAL_KEY]},
        },
        "s3": {"BACKEND": backend, "OPTIONS": s3 | {"security_token": TOKEN}},
        "prefixed": {"BACKEND": backend, "OPTIONS": s3 | {"location": "tenant/1"}},
        "azure": {
            "BACKEND": "gateway.storages.PrivateAzureStorage",
            "OPTIONS": {"account_name": "account0", "account_key": AZURE_KEY, "azure_container": "box"},
        },
    }


@pytest.fixture(params=["private", "s3", "azure"])
def alias(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def storage(alias: str) -> Any:
    return storages[alias]


MAKE: dict[str, Any] = {
    "local": lambda **options: PrivateFileSystemStorage(location="unused", **options),
    "azure": lambda **options: PrivateAzureStorage(azure_container="box", **options),
    "s3": lambda **options: PrivateS3Storage(bucket_name="bucket", region_name="eu-central-1", **options),
}


@pytest.fixture(params=MAKE.values(), ids=MAKE)
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "attribute", "expected"),
        [
            pytest.param({}, "url_mode", "presigned", id="url-mode-default"),
            pytest.param({"url_mode": "permalink"}, "url_mode", "permalink", id="url-mode"),
            pytest.param({}, "on_short_credentials", "clamp", id="on-short-credentials-default"),
            pytest.param({"on_short_credentials": "refuse"}, "on_short_credentials", "refuse", id="refuse"),
            pytest.param({}, "delivery", "redirect", id="delivery-default"),
            pytest.param({"delivery": "x_accel"}, "delivery", "x_accel", id="delivery"),
            pytest.param({}, "inline_types", INLINE_TYPES, id="inline-types-default"),
            pytest.param({"inline_types": ["text/csv"]}, "inline_types", {"text/csv"}, id="inline-types"),
            pytest.param({"inline_types": []}, "inline_types", frozenset(), id="inline-types-none"),
            pytest.param({}, "alias", None, id="alias-default"),
            pytest.param({"alias": "private"}, "alias", "private", id="alias"),
        ],
    )
    def test_table(self, make: Any, options: dict[str, Any], attribute: str, expected: Any) -> None:
        assert getattr(make(**options), attribute) == expected

    @pytest.mark.parametrize("name", ["default_ttl", "max_ttl"])
    @pytest.mark.parametrize("seconds", [1, 60, 604_800])
    def test_ttls_are_whole_seconds(self, make: Any, name: str, seconds: int) -> None:
        assert getattr(make(**{name: seconds}), name).total_seconds() == seconds
        assert getattr(make(), name) is None

    @pytest.mark.parametrize("name", ["default_ttl", "max_ttl"])
    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(0, id="V1-zero"),
            pytest.param(-1, id="V2-negative"),
            pytest.param(604_801, id="V3-over-a-week"),
            pytest.param(10**12, id="V4-huge"),
            pytest.param(1.5, id="V5-fraction"),
            pytest.param(60.0, id="V6-float"),
            pytest.param(float("nan"), id="V7-nan"),
            pytest.param(float("inf"), id="V8-infinity"),
            pytest.param(True, id="V10-bool"),
            pytest.param("60", id="V13-text"),
            pytest.param([], id="V18-list"),
        ],
    )
    def test_bad_ttls_are_refused_with_the_bounds(self, make: Any, name: str, value: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=f"{name} is .*; a whole number of seconds from 1 to 604800"):
            make(**{name: value})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"url_mode": "public"}, "url_mode is 'public'; one of presigned, permalink", id="url-mode"),
            pytest.param({"url_mode": None}, "url_mode is None", id="url-mode-none"),
            pytest.param({"url_mode": ["presigned"]}, "url_mode is", id="url-mode-list"),
            pytest.param({"on_short_credentials": "ignore"}, "one of clamp, refuse", id="on-short-credentials"),
            pytest.param({"delivery": "nginx"}, "delivery is 'nginx'; one of redirect, stream", id="delivery"),
            pytest.param({"inline_types": "text/html"}, "a list of media types", id="inline-types-text"),
            pytest.param({"inline_types": ["text/HTML"]}, "lower-case type/subtype", id="inline-types-upper-case"),
            pytest.param({"inline_types": ["text/*"]}, "lower-case type/subtype", id="inline-types-wildcard"),
            pytest.param({"inline_types": ["text/plain; charset=utf-8"]}, "lower-case", id="inline-types-parameter"),
            pytest.param({"inline_types": [None]}, "lower-case type/subtype", id="inline-types-none"),
            pytest.param({"inline_types": [["text/plain"]]}, "lower-case type/subtype", id="inline-types-nested"),
            pytest.param({"inline_types": None}, "inline_types is None; a list", id="inline-types-missing"),
            pytest.param({"inline_types": 5}, "inline_types is 5; a list", id="inline-types-number"),
            pytest.param({"alias": 5}, "alias is 5", id="alias-number"),
            pytest.param({"alias": ""}, "alias is ''", id="alias-empty"),
        ],
    )
    def test_bad_values_are_refused(self, make: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message):
            make(**options)

    def test_misspelt_options_are_refused(self, make: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match="url_modus"):
            make(url_modus="permalink")

    def test_nothing_that_a_browser_runs_is_shown_inline(self) -> None:
        runnable = {"text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml"}
        assert runnable.isdisjoint(INLINE_TYPES)
        assert not any("script" in media_type for media_type in INLINE_TYPES)


class TestNames:
    @pytest.mark.parametrize("name", BAD_KEYS.values(), ids=BAD_KEYS)
    def test_no_key_is_made_of_a_bad_name(self, storage: Any, name: Any) -> None:
        if isinstance(name, str) and type(name) is not str:
            name = name.encode()  # a subclass of text counts by its characters
        with pytest.raises(InvalidKey):
            storage.object_key(name)
        with pytest.raises(InvalidKey):
            storages["prefixed"].object_key(name)

    def test_the_location_stands_before_the_name(self) -> None:
        assert storages["prefixed"].object_key("a/b") == "tenant/1/a/b"

    @pytest.mark.parametrize(
        ("filename", "expected"),
        [
            pytest.param("invoices/a b.pdf", "invoices/a_b.pdf", id="cleaned"),
            pytest.param("a.pdf", "a.pdf", id="no-directory"),
            pytest.param("invoices/..\\..\\evil.pdf", "invoices/evil.pdf", id="windows-path"),
            pytest.param("invoices/\u202efdp.exe", "invoices/fdp.exe", id="right-to-left-override"),
        ],
    )
    def test_a_file_name_is_cleaned(self, storage: Any, filename: str, expected: str) -> None:
        assert storage.generate_filename(filename) == expected

    @pytest.mark.parametrize("directory", ["..", ".", "a/..", "/abs", "a//b", "a/", "a\\b", "a\n", "a ", "%2e%2e"])
    def test_a_directory_is_refused_not_cleaned(self, storage: Any, directory: str) -> None:
        with pytest.raises(InvalidKey):
            storage.generate_filename(f"{directory}/a.pdf")

    def test_a_name_with_random_bits_gets_no_more_of_them(self, storage: Any) -> None:
        name = random_key(None, "a.pdf")
        assert storage.get_available_name(storage.generate_filename(name)) == name
        assert storage.get_available_name(storage.generate_filename(str(name))) != name

    def test_a_path_object_is_a_name(self, storage: Any) -> None:
        assert storage.generate_filename(PurePosixPath("a/b.pdf")) == "a/b.pdf"

    def test_an_available_name_is_random_and_asks_no_store(self, storage: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr(storage, "exists", lambda name: pytest.fail("exists() was asked"))
        name = storage.get_available_name("a/b.pdf", max_length=100)
        assert re.fullmatch("a/[a-z2-7]{26}/b.pdf", name)

    def test_a_max_length_without_room_is_refused(self, storage: Any) -> None:
        with pytest.raises(SuspiciousFileOperation):
            storage.save("a/b.pdf", ContentFile(b"x"), max_length=30)


def asked(storage: Any, *args: Any, **kwargs: Any) -> tuple[str, dict[str, str]]:
    """Return the path and the parameters of url(), as the system."""
    with acting_as(SYSTEM, reason="test"):
        parts = urlsplit(storage.url(*args, **kwargs))
    return parts.path, dict(parse_qsl(parts.query))


@pytest.mark.django_db
class TestURLDecides:
    def test_nobody_gets_nothing(self, storage: Any) -> None:
        with pytest.raises(NoPrincipal):
            storage.url(PDF)

    def test_without_a_policy_for_paths_it_is_refused(self, storage: Any, alice: Any) -> None:
        with acting_as(alice), pytest.raises(AccessDenied) as raised:
            storage.url(PDF)
        assert "PATH_POLICIES has no policy" in raised.value.reason
        assert Issuance.objects.get().decision == "refused"

    def test_the_policy_of_the_alias_decides(self, storage: Any, alias: str, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {alias: "gateway.policies.Everyone"}}
        with acting_as(alice):
            assert PDF in storage.url(PDF)
        issued = Issuance.objects.get()
        assert (issued.decision, issued.storage_alias, issued.key) == ("issued", alias, PDF)

    def test_a_refusal_signs_nothing(self, storage: Any, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        signer = type(storage.provider)
        monkeypatch.setattr(signer, "sign_many", lambda *args, **kwargs: pytest.fail("it was signed"))
        with acting_as(alice), pytest.raises(AccessDenied):
            storage.url(PDF)


@pytest.mark.django_db
class TestURLKeepsItsMeaning:
    """In the words of S3; those of Azure are in test_azure."""

    @pytest.fixture(params=["private", "s3"])
    def alias(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_the_order_of_arguments_is_that_of_django_storages(self) -> None:
        parameters = {"ResponseContentType": "image/png"}
        _, query = asked(storages["s3"], PDF, parameters, 60, "HEAD")
        assert query["response-content-type"] == "image/png"
        assert query["X-Amz-Expires"] == "60"
        by_name = asked(storages["s3"], name=PDF, parameters=parameters, expire=60, http_method="HEAD")[1]
        assert by_name.keys() == query.keys()

    def test_the_callers_parameters_are_left_alone(self, storage: Any) -> None:
        parameters = {"ResponseContentType": "image/png"}
        asked(storage, PDF, parameters)
        assert parameters == {"ResponseContentType": "image/png"}

    def test_a_head_link_is_for_head(self, storage: Any, settings: Any) -> None:
        with acting_as(SYSTEM, reason="test"):
            get, head = storage.url(PDF), storage.url(PDF, http_method="HEAD")
        assert get.partition("ignature=")[2] != head.partition("ignature=")[2]

    def test_expire_is_the_lifetime(self) -> None:
        assert asked(storages["s3"], PDF, expire=77)[1]["X-Amz-Expires"] == "77"
        query = asked(storages["private"], PDF, expire=77)[1]
        assert int(query["expires"]) - int(query["issued"]) == 77

    def test_without_expire_it_is_the_default(self) -> None:
        assert asked(storages["s3"], PDF)[1]["X-Amz-Expires"] == "300"

    def test_the_location_stands_in_the_link(self) -> None:
        assert asked(storages["prefixed"], PDF)[0] == f"/tenant/1/{PDF}"

    @pytest.mark.parametrize(
        ("parameters", "local", "s3"),
        [
            pytest.param(
                {}, {"disposition": "inline", "filename": "report.pdf", "content-type": "application/pdf"},
                'inline; filename="report.pdf"', id="nothing-said",
            ),
            pytest.param(
                {"ResponseContentDisposition": "attachment"}, {"disposition": "attachment"},
                'attachment; filename="report.pdf"', id="attachment",
            ),
            pytest.param(
                {"ResponseContentDisposition": 'attachment; filename="a b.pdf"'}, {"filename": "a b.pdf"},
                'attachment; filename="a b.pdf"', id="filename",
            ),
            pytest.param(
                {"ResponseContentDisposition": "attachment; filename=a.pdf;"}, {"filename": "a.pdf"},
                'attachment; filename="a.pdf"', id="trailing-semicolon",
            ),
            pytest.param(
                {"ResponseContentDisposition": "ATTACHMENT; FILENAME=a.pdf"}, {"filename": "a.pdf"},
                'attachment; filename="a.pdf"', id="upper-case",
            ),
            pytest.param(
                {"ResponseContentDisposition": "inline; filename*=UTF-8''%E2%82%AC.pdf"}, {"filename": "€.pdf"},
                "inline; filename=\"download.pdf\"; filename*=UTF-8''%E2%82%AC.pdf", id="encoded",
            ),
            pytest.param(
                {"ResponseContentDisposition": "attachment; filename=\"e.pdf\"; filename*=UTF-8''%C3%A9.pdf"},
                {"filename": "é.pdf"},
                "attachment; filename=\"e.pdf\"; filename*=UTF-8''%C3%A9.pdf", id="both",
            ),
            pytest.param(
                {"ResponseContentDisposition": 'attachment; filename="日本.pdf"'}, {"filename": "日本.pdf"},
                "attachment; filename=\"download.pdf\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.pdf", id="raw-unicode",
            ),
            pytest.param(
                {"ResponseContentDisposition": 'attachment; filename="../../etc/passwd"'}, {},
                'attachment; filename="passwd"', id="N5-path",
            ),
            pytest.param(
                {"ResponseContentType": "image/png"}, {"content-type": "image/png"},
                'inline; filename="report.pdf"', id="type",
            ),
            pytest.param(
                {"VersionId": "v.1"}, {"version": "v.1"}, 'inline; filename="report.pdf"', id="version"
            ),
            pytest.param(
                {"ResponseContentType": "text/html"},
                {"content-type": "application/octet-stream", "disposition": "attachment"},
                'attachment; filename="report.pdf"', id="T29-type-that-a-browser-runs",
            ),
        ],
    )  # fmt: skip
    def test_parameters(self, parameters: dict[str, str], local: dict[str, str], s3: str) -> None:
        in_local, in_s3 = asked(storages["private"], PDF, parameters)[1], asked(storages["s3"], PDF, parameters)[1]
        assert in_local.items() >= local.items()
        assert in_s3["response-content-disposition"] == s3
        assert in_s3["response-content-type"] == in_local["content-type"]
        assert in_s3.get("versionId") == in_local.get("version") == parameters.get("VersionId")

    def test_inline_is_not_granted_to_what_a_browser_runs(self, storage: Any, alias: str) -> None:
        query = asked(storage, SVG, {"ResponseContentDisposition": "inline"})[1]
        assert "inline" not in str(query)
        assert "application/octet-stream" in query.values()

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            pytest.param({"http_method": "PUT"}, InvalidRequest, "http_method is 'PUT'", id="put"),
            pytest.param({"http_method": "DELETE"}, InvalidRequest, "http_method is 'DELETE'", id="delete"),
            pytest.param({"http_method": "get"}, InvalidRequest, "http_method is 'get'", id="lower-case"),
            pytest.param({"parameters": 5}, InvalidRequest, "parameters are of type int", id="number"),
            pytest.param({"parameters": ["VersionId"]}, InvalidRequest, "parameters are of type list", id="list"),
            pytest.param({"parameters": {1: 2, "b": 3}}, InvalidRequest, "parameters hold", id="mixed-names"),
            pytest.param({"parameters": {"Bucket": "b"}}, InvalidRequest, "hold .'Bucket'", id="bucket"),
            pytest.param({"parameters": {"Key": "k"}}, InvalidRequest, "hold .'Key'", id="key"),
            pytest.param(
                {"parameters": {"ResponseCacheControl": "public"}}, InvalidRequest, "only ", id="cache-control"
            ),
            pytest.param(
                {"parameters": {"response-content-type": "text/csv"}}, InvalidRequest, "only ", id="spelling"
            ),
            pytest.param({"parameters": {"expiration": 60}}, InvalidRequest, "only ", id="of-google"),
            pytest.param(
                {"parameters": {"ResponseContentDisposition": "form-data"}}, InvalidRequest, "inline or attach",
                id="disposition-of-another-kind",
            ),
            pytest.param(
                {"parameters": {"ResponseContentDisposition": "attachment; filename=a\r\nSet-Cookie: x=1"}},
                InvalidRequest, "inline or attachment", id="N2-header",
            ),
            pytest.param(
                {"parameters": {"ResponseContentDisposition": "attachment; filename=a; size=5"}},
                InvalidRequest, "inline or attachment", id="disposition-with-more",
            ),
            pytest.param(
                {"parameters": {"ResponseContentDisposition": ""}}, InvalidRequest, "is ''", id="no-disposition"
            ),
            pytest.param(
                {"parameters": {"ResponseContentDisposition": b"inline"}}, InvalidRequest, "is b", id="bytes"
            ),
            pytest.param(
                {"parameters": {"ResponseContentType": "text/plain\r\nX: y"}}, InvalidOperation, "type",
                id="U3-type-with-header",
            ),
            pytest.param({"parameters": {"VersionId": "a b"}}, InvalidOperation, "version", id="version-spaced"),
            pytest.param({"expire": 0}, InvalidRequest, "expire is 0", id="V1-expire"),
            pytest.param({"expire": -1}, InvalidRequest, "expire is -1", id="V2-expire"),
            pytest.param({"expire": 1.5}, InvalidRequest, "expire is 1.5", id="V5-expire"),
            pytest.param({"expire": True}, InvalidRequest, "expire is True", id="V10-expire"),
            pytest.param({"expire": "60"}, InvalidRequest, "expire is '60'", id="V13-expire"),
            pytest.param({"expire": 604_801}, InvalidRequest, "expire is 604801", id="V3-expire"),
            pytest.param({"expire": 901}, TTLTooLong, "ttl is 901 s; at most 900 s", id="expire-over-max-ttl"),
        ],
    )  # fmt: skip
    def test_what_would_lose_its_meaning_is_refused(
        self, storage: Any, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with acting_as(SYSTEM, reason="test"), pytest.raises(error, match=message):
            storage.url(PDF, **arguments)

    def test_azures_argument_is_refused(self, storage: Any) -> None:
        with acting_as(SYSTEM, reason="test"), pytest.raises(TypeError, match="mode"):
            storage.url(PDF, mode="r")

    @pytest.mark.parametrize("name", [None, "", "../x", "a/../b", "a//b"])
    def test_bad_names_are_refused(self, storage: Any, name: Any) -> None:
        with acting_as(SYSTEM, reason="test"), pytest.raises(InvalidKey):
            storage.url(name)

    def test_no_answer_is_an_attribute_error(self) -> None:
        for error in (AccessDenied, NoPrincipal, InvalidRequest, TTLTooLong, InvalidKey, InvalidOperation):
            assert not issubclass(error, AttributeError)


def written(field: models.Field[Any, Any]) -> str:
    operation = migrations.AddField("Model", "file", field)
    migration = type("Migration", (migrations.Migration,), {"operations": [operation]})("0001_x", "app")
    return MigrationWriter(migration, include_header=False).as_string()


FIELDS: dict[str, Any] = {
    "private-field": lambda alias: PrivateFileField(storage=storages[alias]),
    "private-field-by-alias": lambda alias: PrivateFileField(storage=StorageByAlias(alias)),
    "plain-field": lambda alias: models.FileField(storage=storages[alias]),
    "plain-image-field": lambda alias: models.ImageField(storage=storages[alias]),
}


class TestMigrations:
    @pytest.mark.parametrize("make_field", FIELDS.values(), ids=FIELDS)
    def test_hold_the_alias_alone(self, make_field: Any, alias: str, private_root: Any) -> None:
        text = written(make_field(alias))
        assert f"gateway.storages.StorageByAlias('{alias}')" in text
        for secret in (ACCESS_KEY, SECRET_KEY, TOKEN, LOCAL_KEY, str(private_root), "eu-central-1", "bucket"):
            assert secret not in text

    def test_can_be_run(self, alias: str) -> None:
        namespace: dict[str, Any] = {}
        exec(written(models.FileField(storage=storages[alias])), namespace)
        restored: Any = namespace["Migration"].operations[0].field.storage
        assert type(restored) is StorageByAlias
        assert isinstance(restored, type(storages[alias]))
        assert restored.alias == alias

    def test_the_default_storage_is_not_named(self) -> None:
        assert "storage" not in written(PrivateFileField()).replace("gateway.storages.minting", "")

    def test_a_storage_without_an_alias_is_refused(self, make: Any) -> None:
        with pytest.raises(StorageUnavailable, match="needs the option alias"):
            written(models.FileField(storage=make()))


class TestPickles:
    @pytest.mark.parametrize("by", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
    def test_hold_the_alias_alone(self, storage: Any, alias: str, by: Any) -> None:
        _ = storage.provider
        made = by(storage)
        if isinstance(made, bytes):
            assert not any(secret.encode() in made for secret in (ACCESS_KEY, SECRET_KEY, TOKEN, LOCAL_KEY))
            made = pickle.loads(made)
        assert type(made) is StorageByAlias
        assert alias_of(made) == alias
