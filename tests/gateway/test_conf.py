"""The settings: bounds, unknown keys, and when a change is seen."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from gateway.conf import Conf, conf, resolve
from gateway.policies import DEFAULT_POLICY, Everyone

WEEK = 7 * 24 * 3600

REFUSED: list[tuple[str, Any, str]] = [
    *((key, value, f"a whole number from 1 to {WEEK}") for key in ("DEFAULT_TTL", "MAX_TTL")
      for value in (0, -1, WEEK + 1, 60.0, "60", True, None, timedelta(seconds=60), float("nan"))),
    *(("DELETE_GRACE", value, "a whole number from 0") for value in (-1, 1.5, "1", True, None)),
    *(("BATCH_LIMIT", value, "a whole number from 1 to 10000") for value in (0, 10_001, 1.0, "9", True, None)),
    *(("WARN_UNPREFETCHED", value, "a whole number from 0") for value in (-1, 0.0, "0", False, None)),
    *(("MAX_UPLOAD_BYTES", value, "a whole number from 1") for value in (0, -1, 1.0, "1", True, None)),
    *(("FAILED_LOGINS_PER_MINUTE", value, "a whole number from 0") for value in (-1, 1.0, "1", True, None)),
    *(("TRUSTED_PROXIES", value, "a whole number from 0 to 10") for value in (-1, 11, 1.0, "1", True, None)),
    *(("LINKS_PER_MINUTE", value, "a whole number from 1, or None") for value in (0, -1, 1.0, "1", True)),
    *((key, value, "a dotted path or an instance with decide()")
      for key in ("DEFAULT_POLICY",) for value in (None, "", 5, Everyone, lambda *_: True, ["a.b"])),
    *(("VERIFY_LATER_BYTES", value, "a whole number from 0, or None") for value in (-1, True, "1")),
    *(("UPLOAD_SCANNER", value, "a dotted path or None") for value in ("", 5, object)),
    *(("UPLOAD_POLICY", value, "a dotted path or an instance") for value in (None, "", 5, Everyone)),
    *(("MAX_DIRECT_UPLOAD_BYTES", value, "a whole number from 1 to 5368709120") for value in (0, 5 * 2**30 + 1, "1")),
    *(("UPLOAD_PART_BYTES", value, "a whole number from 1 to 5368709120") for value in (0, 5 * 2**30 + 1, True)),
    *(("UPLOAD_LIFETIME", value, "a whole number from 60 to 604800") for value in (59, WEEK + 1, None)),
    *((key, value, "a dict of")
      for key in ("POLICIES", "PATH_POLICIES", "STORAGE_POLICIES")
      for value in (None, [], "a.b", {1: "a.b"}, {"": "a.b"}, {"x": None}, {"x": ""}, {"x": Everyone})),
    *(("FILE_STORAGE", value, "an alias of STORAGES") for value in (None, "", 5, b"private")),
    *(("TENANT", value, "a dotted path or None") for value in ("", 5, object, [])),
    *(("AUDIT_DATABASE", value, "an alias of DATABASES or None") for value in ("", 5, [])),
    *(("AUTHENTICATORS", value, "a list of dotted paths") for value in ("a.b", None, 5, {"a.b"}, [""], [None])),
    *(("PUBLIC_URL", value, "http(s)://host[:port]")
      for value in (
          None, 5, b"https://a.example", "a.example", "//a.example", "ftp://a.example", "https://",
          "https://a.example/path", "https://a.example?x", "https://a.example#x", "https://u:p@a.example",
          "https://a.example:99999", "https://a.example:port", "https://[::1", "https://a example",
          "https://a.example\\b", "https://a.example\n", "HTTPS://a.example", "https://a.example//",
      )),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "bound"), REFUSED, ids=[f"{key}-{str(value)[:15]!a}" for key, value, _ in REFUSED]
)
def test_a_value_out_of_bounds_is_refused_with_value_and_bound(key: str, value: Any, bound: str) -> None:
    with override_settings(GATEWAY={key: value}), pytest.raises(ImproperlyConfigured) as refused:
        conf()

    assert f"GATEWAY[{key!r}] is {value!r}; {bound}" in str(refused.value)


ACCEPTED: list[tuple[str, Any, Any]] = [
    ("DEFAULT_TTL", 1, timedelta(seconds=1)),
    ("MAX_TTL", WEEK, timedelta(days=7)),
    ("DELETE_GRACE", 0, timedelta(0)),
    ("BATCH_LIMIT", 1, 1),
    ("BATCH_LIMIT", 10_000, 10_000),
    ("WARN_UNPREFETCHED", 0, 0),
    ("MAX_UPLOAD_BYTES", 1, 1),
    ("MAX_DIRECT_UPLOAD_BYTES", 5 * 2**30, 5 * 2**30),
    ("UPLOAD_PART_BYTES", 1, 1),
    ("UPLOAD_LIFETIME", 60, timedelta(seconds=60)),
    ("UPLOAD_POLICY", "a.b", "a.b"),
    ("UPLOAD_SCANNER", "a.b", "a.b"),
    ("VERIFY_LATER_BYTES", 0, 0),
    ("VERIFY_LATER_BYTES", None, None),
    ("UPLOAD_SCANNER", None, None),
    ("FAILED_LOGINS_PER_MINUTE", 0, 0),
    ("TRUSTED_PROXIES", 0, 0),
    ("TRUSTED_PROXIES", 10, 10),
    ("LINKS_PER_MINUTE", None, None),
    ("LINKS_PER_MINUTE", 100, 100),
    ("JWT_ISSUERS", {"https://id.example": {}}, {"https://id.example": {}}),
    ("FORWARD_AUTH", {}, {}),
    ("DEFAULT_POLICY", "gateway.policies.FILE_POLICY", "gateway.policies.FILE_POLICY"),
    ("POLICIES", {"app.Model": DEFAULT_POLICY}, {"app.Model": DEFAULT_POLICY}),
    ("PATH_POLICIES", {"private": "a.b"}, {"private": "a.b"}),
    ("STORAGE_POLICIES", {"private": "a.b"}, {"private": "a.b"}),
    ("FILE_STORAGE", "other", "other"),
    ("TENANT", None, None),
    ("TENANT", "a.b", "a.b"),
    ("AUDIT_DATABASE", None, None),
    ("AUDIT_DATABASE", "audit", "audit"),
    ("AUTHENTICATORS", ["a.b"], ("a.b",)),
    ("PUBLIC_URL", "", ""),
    ("PUBLIC_URL", "https://a.example:8443/", "https://a.example:8443/"),
    ("PUBLIC_URL", "http://[::1]:80", "http://[::1]:80"),
]


@pytest.mark.parametrize(
    ("key", "value", "wanted"), ACCEPTED, ids=[f"{key}-{str(value)[:30]}" for key, value, _ in ACCEPTED]
)
def test_a_value_at_the_bound_is_taken(key: str, value: Any, wanted: Any) -> None:
    extra = {"DEFAULT_TTL": 1} if key == "MAX_TTL" else {}
    with override_settings(GATEWAY={key: value} | extra):
        assert getattr(conf(), key.lower()) == wanted


def test_every_key_has_a_refused_value_in_the_table() -> None:
    with_secrets = {"JWT_ISSUERS", "FORWARD_AUTH"}
    assert {key for key, _, _ in REFUSED} | with_secrets == {option.name.upper() for option in fields(Conf)}


@pytest.mark.parametrize("value", [None, "secret", ["secret"], {"": {"key": "secret"}}, {5: "secret"}], ids=repr)
def test_issuers_are_refused_without_being_shown(value: Any) -> None:
    with override_settings(GATEWAY={"JWT_ISSUERS": value}), pytest.raises(ImproperlyConfigured) as refused:
        conf()

    expected = f"GATEWAY['JWT_ISSUERS'] is of type {type(value).__name__}; a dict of issuer and dict"
    assert str(refused.value) == expected


def test_the_secret_of_an_issuer_is_not_shown() -> None:
    with override_settings(GATEWAY={"JWT_ISSUERS": {"https://id.example": {"key": "secret"}}}):
        assert "secret" not in repr(conf())


FORWARD_AUTH = {"proxy": "nginx", "secret": "s" * 32, "paths": {"/private/": "private"}}
ODD_FORWARD_AUTH = {
    "nothing": None,
    "a-text": "s" * 32,
    "no-secret": {"proxy": "nginx", "paths": {"/private/": "private"}},
    "one-key-more": FORWARD_AUTH | {"headers": []},
    "other-server": FORWARD_AUTH | {"proxy": "apache"},
    "short-secret": FORWARD_AUTH | {"secret": "s" * 31},
    "secret-of-bytes": FORWARD_AUTH | {"secret": b"s" * 32},
    "secret-with-a-space": FORWARD_AUTH | {"secret": "s" * 32 + " "},
    "no-path": FORWARD_AUTH | {"paths": {}},
    "the-root": FORWARD_AUTH | {"paths": {"/": "private"}},
    "no-slash-at-the-end": FORWARD_AUTH | {"paths": {"/private": "private"}},
    "no-slash-at-the-start": FORWARD_AUTH | {"paths": {"private/": "private"}},
    "dots": FORWARD_AUTH | {"paths": {"/../": "private"}},
    "escaped": FORWARD_AUTH | {"paths": {"/a%20b/": "private"}},
    "one-below-the-other": FORWARD_AUTH | {"paths": {"/a/": "private", "/a/b/": "private"}},
    "no-alias": FORWARD_AUTH | {"paths": {"/private/": ""}},
}


@pytest.mark.parametrize("value", ODD_FORWARD_AUTH.values(), ids=ODD_FORWARD_AUTH)
def test_a_server_that_asks_is_refused_without_its_secret_being_shown(value: Any) -> None:
    with override_settings(GATEWAY={"FORWARD_AUTH": value}), pytest.raises(ImproperlyConfigured) as refused:
        conf()
    assert "GATEWAY['FORWARD_AUTH'] is of type" in str(refused.value)
    assert "sss" not in str(refused.value)


def test_the_secret_of_a_server_that_asks_is_not_shown() -> None:
    with override_settings(GATEWAY={"FORWARD_AUTH": FORWARD_AUTH}):
        assert "sss" not in repr(conf())


def test_a_quota_under_a_full_batch_is_refused_with_both_numbers() -> None:
    with override_settings(GATEWAY={"LINKS_PER_MINUTE": 99}), pytest.raises(ImproperlyConfigured) as refused:
        conf()

    assert "LINKS_PER_MINUTE'] is 99; at least BATCH_LIMIT, 100" in str(refused.value)


@pytest.mark.parametrize("key", ["TTL", "default_ttl", "", 5, None, "PUBLIC_ORIGIN"], ids=repr)
def test_an_unknown_key_is_refused_and_the_known_ones_named(key: Any) -> None:
    with override_settings(GATEWAY={key: 1}), pytest.raises(ImproperlyConfigured) as refused:
        conf()

    assert f"unknown key {key!r}" in str(refused.value)
    assert "DEFAULT_TTL" in str(refused.value)


@pytest.mark.parametrize("value", [None, [], "x"], ids=repr)
def test_settings_that_are_no_dict_are_refused(value: Any) -> None:
    with override_settings(GATEWAY=value), pytest.raises(ImproperlyConfigured, match="a dict"):
        conf()


def test_a_default_over_the_maximum_is_refused_with_both_numbers() -> None:
    with override_settings(GATEWAY={"DEFAULT_TTL": 901}), pytest.raises(ImproperlyConfigured) as refused:
        conf()

    assert "901 s" in str(refused.value)
    assert "900 s" in str(refused.value)


def test_a_refusal_is_not_remembered() -> None:
    with override_settings(GATEWAY={"MAX_TTL": 0}), pytest.raises(ImproperlyConfigured):
        conf()

    assert conf().max_ttl == timedelta(seconds=900)


def test_a_project_without_the_setting_gets_the_defaults() -> None:
    # Of a deletion nobody is told, so what is remembered is dropped by the override around it, at both ends.
    with override_settings(GATEWAY={}):
        del settings.GATEWAY
        assert not hasattr(settings, "GATEWAY")
        assert conf() == Conf()

    assert conf().public_url == settings.GATEWAY["PUBLIC_URL"] != Conf().public_url


def test_override_settings_takes_effect_and_ends() -> None:
    before = conf()
    with override_settings(GATEWAY={"DEFAULT_TTL": 7}):
        assert conf().default_ttl == timedelta(seconds=7)
        with override_settings(GATEWAY={"DEFAULT_TTL": 8}):
            assert conf().default_ttl == timedelta(seconds=8)

    assert conf() == before


def test_settings_are_read_once() -> None:
    assert conf() is conf()


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        conf().max_ttl = timedelta(days=7)  # type: ignore[misc]


def test_the_origin_has_no_trailing_slash() -> None:
    with override_settings(GATEWAY={"PUBLIC_URL": "https://a.example/"}):
        assert conf().public_origin == "https://a.example"


def test_every_key_is_documented() -> None:
    documented = re.findall(r"^        (\w+): ", Conf.__doc__ or "", flags=re.MULTILINE)

    assert documented == [option.name for option in fields(Conf)]


def test_a_dotted_path_is_resolved_to_its_object() -> None:
    assert resolve("gateway.policies.DEFAULT_POLICY") is DEFAULT_POLICY


def test_a_dotted_path_of_a_class_is_resolved_to_one_instance() -> None:
    assert isinstance(resolve("gateway.policies.Everyone"), Everyone)
    assert resolve("gateway.policies.Everyone") is resolve("gateway.policies.Everyone")


def test_an_instance_is_itself() -> None:
    policy = Everyone()

    assert resolve(policy) is policy


def test_a_path_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(ImportError):
        resolve("gateway.policies.NoSuchPolicy")
