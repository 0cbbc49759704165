"""What docs/aws.md, docs/google-cloud.md and docs/azure.md name beside their examples is there and as they say.

The examples themselves are tried by the tests of each storage.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.http import HttpResponse

from gateway.policies import Allow, Deny, DownloadPrefix
from gateway.storages import PrivateAzureStorage, PrivateGCSStorage, PrivateS3Storage
from gateway.storages.base import PrivateStorageMixin
from providers import Download
from tests.documentation import DOCS, attributes
from tests.gateway.conftest import request_of
from tests.providers.clouds import PEM
from tests.providers.examples import NOW, TTL

STORAGES: dict[str, type[Any]] = {
    "aws": PrivateS3Storage,
    "google-cloud": PrivateGCSStorage,
    "azure": PrivateAzureStorage,
}
TEXTS = {name: (DOCS / f"{name}.md").read_text() for name in STORAGES}
PROSE = {name: re.sub(r"```[\s\S]*?```", "", text) for name, text in TEXTS.items()}
COMMANDS = [
    pytest.param(*words, id=f"{name}: {words}")
    for name, text in TEXTS.items()
    for block in re.findall(r"```sh\n([\s\S]*?)```", text)
    for words in re.findall(r"python manage\.py (\w+) ?([^)\"\n]*)", block)
]
# What looks like an option and is something else: of a profile, and of an answer.
OTHER_WORDS = {"credential_process", "duration_seconds", "expires_at", "limited_by"}
# What a page shows in words is tried with the credential that the page gives an example of.
OPTIONS: dict[str, dict[str, Any]] = {
    "aws": {
        "bucket_name": "acme-files-private", "region_name": "eu-central-1", "access_key": "AK", "secret_key": "SK",
        "custom_domain": "files.example.com", "cloudfront_key_id": "K2JCJMDEHXQW5F", "cloudfront_key": PEM,
    },
    "google-cloud": {"bucket_name": "acme-files-private", "hmac_access_id": "GOOG1EXAMPLE", "hmac_secret": "secret"},
    "azure": {"account_name": "acmefiles", "azure_container": "private", "account_key": "AAECAwQ="},
}  # fmt: skip


def options_of(storage: type[Any]) -> set[str]:
    theirs = storage.get_default_settings(object.__new__(storage))
    return {*theirs, *attributes(storage, "Args"), *attributes(PrivateStorageMixin, "Args")}


@pytest.mark.parametrize("page", STORAGES)
def test_an_option_that_is_named_is_one_of_that_storage(page: str) -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PROSE[page])) - OTHER_WORDS
    assert named
    assert named <= options_of(STORAGES[page])


def shown() -> list[Any]:
    return [
        pytest.param(page, text, id=text)
        for page, prose in PROSE.items()
        for text in re.findall(r'`("[a-z_]+": [^`]+)`', prose)
        if '"Principal"' not in text
    ]


@pytest.mark.parametrize(("page", "text"), shown())
def test_an_option_that_is_shown_with_a_value_is_taken(page: str, text: str) -> None:
    option = eval(f"{{{text}}}")
    assert STORAGES[page](**OPTIONS[page] | option).provider.sign(Download("a"), ttl=TTL, now=NOW).url


def test_addresses_of_google_are_those_of_the_table() -> None:
    told = dict(re.findall(r"^\| (?:`(.*?)`|none).*\| `(https://\S*)` \|$", PROSE["google-cloud"], re.MULTILINE))
    assert len(told) == 2
    for option, url in told.items():
        storage = PrivateGCSStorage(**OPTIONS["google-cloud"] | (eval(f"dict({option})")))
        assert storage.provider.base_url == url.replace("BUCKET", "acme-files-private").removesuffix("KEY")


def test_options_with_values_are_found() -> None:
    assert len(shown()) >= 3


@pytest.mark.parametrize(("name", "arguments"), COMMANDS)
def test_a_command_is_there_and_takes_what_it_is_given(name: str, arguments: str) -> None:
    app = get_commands()[name]
    command = app if isinstance(app, BaseCommand) else load_command_class(app, name)
    command.create_parser("manage.py", name).parse_args(arguments.split())


@pytest.mark.parametrize("page", STORAGES)
def test_a_check_that_is_named_exists(page: str) -> None:
    checks = (DOCS / "checks.md").read_text()
    for number in re.findall(r"\b[EW]\d{3}\b", PROSE[page]):
        assert f"| {number} |" in checks


@pytest.mark.parametrize("page", STORAGES)
def test_what_a_command_reads_from_a_file_is_json(page: str) -> None:
    documents = re.findall(r"<<'JSON'\n([\s\S]*?)\nJSON\n", TEXTS[page])
    assert all(json.loads(document)["Statement"] for document in documents)
    assert len(documents) == (2 if page == "aws" else 0)


class Courses:
    def decide(self, principal: Any, resource: Any, operation: Any) -> Allow | Deny:
        return Allow() if operation == DownloadPrefix("courses/1/") else Deny("another course")


@pytest.mark.django_db
def test_the_cookies_of_the_page_are_set_on_the_response(alice: Any, settings: Any) -> None:
    entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": OPTIONS["aws"]}
    settings.STORAGES = settings.STORAGES | {"private": entry}
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": Courses()}}
    (code,) = re.findall(r"```py\n([\s\S]*?)```", TEXTS["aws"])
    found: dict[str, Any] = {"render": lambda *_: HttpResponse(), "request": None}
    with request_of(alice):
        exec(code, found)
    cookies = found["response"].cookies
    assert cookies.keys() == {"CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id"}
    for cookie in cookies.values():
        assert (cookie["path"], cookie["domain"]) == ("/courses/1/", "example.com")
        assert cookie["secure"]
        assert cookie["httponly"]
