"""What the pages of the clouds and of their credentials name beside their examples is there and as they say.

The examples themselves are tried in test_credential_pages.py.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.http import HttpResponse

from gateway.policies import Allow, Deny, DownloadPrefix
from gateway.storages import PrivateAzureStorage, PrivateFileSystemStorage, PrivateGCSStorage, PrivateS3Storage
from gateway.storages.base import PrivateStorageMixin
from providers import Download
from tests.documentation import DOCS, attributes
from tests.gateway.conftest import request_of
from tests.providers.clouds import PEM
from tests.providers.examples import NOW, TTL

STORAGES: dict[str, type[Any]] = {
    "aws": PrivateS3Storage,
    "cloudfront": PrivateS3Storage,
    "google-cloud": PrivateGCSStorage,
    "gcs": PrivateGCSStorage,
    "azure": PrivateAzureStorage,
    "local": PrivateFileSystemStorage,
}
PATHS = [DOCS / f"{name}.md" for name in ("aws", "google-cloud", "azure")] + sorted(DOCS.glob("credentials/[a-z]*.md"))
TEXTS = {path.stem: path.read_text() for path in PATHS}
PROSE = {name: re.sub(r"```[\s\S]*?```", "", text) for name, text in TEXTS.items()}
SHELL = {
    name: [
        # What is typed, without the prompt.
        re.sub(r"^\$ ", "", block, flags=re.MULTILINE)
        for block in re.findall(r"```(?:sh|console)\n([\s\S]*?)```", text)
    ]
    for name, text in TEXTS.items()
}
COMMANDS = [
    pytest.param(*words, id=f"{name}: {words}")
    for name, blocks in SHELL.items()
    for words in re.findall(r"python manage\.py (\w+) ?([^)\"\n]*)", "\n".join(blocks))
]
# What looks like an option and is something else: of a profile, and of an answer.
OTHER_WORDS = {"credential_process", "credential_source", "duration_seconds", "expires_at", "get_token", "limited_by",
    "max_single_put_size", "source_profile"}  # fmt: skip
# What a page shows in words is tried with the credential that the page gives an example of.
OPTIONS: dict[str, dict[str, Any]] = {
    "aws": {
        "bucket_name": "acme-files-private", "region_name": "eu-central-1", "access_key": "AK", "secret_key": "SK",
        "custom_domain": "files.example.com", "cloudfront_key_id": "K2JCJMDEHXQW5F", "cloudfront_key": PEM,
    },
    "google-cloud": {"bucket_name": "acme-files-private", "hmac_access_id": "GOOG1EXAMPLE", "hmac_secret": "secret"},
    "azure": {"account_name": "acmefiles", "azure_container": "private", "account_key": "AAECAwQ="},
}  # fmt: skip


def storage_of(page: str) -> type[Any]:
    return STORAGES.get(page) or STORAGES[page.partition("-")[0]]


def options_of(storage: type[Any]) -> set[str]:
    # The file system backend of Django has none.
    theirs = getattr(storage, "get_default_settings", lambda _: {})(object.__new__(storage))
    return {*theirs, *attributes(storage, "Args"), *attributes(PrivateStorageMixin, "Args")}


@pytest.mark.parametrize("page", TEXTS)
def test_an_option_that_is_named_is_one_of_that_storage(page: str) -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PROSE[page])) - OTHER_WORDS
    assert named <= options_of(storage_of(page))


def test_options_that_are_named_are_found() -> None:
    assert len(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", "".join(PROSE.values()))) > 30


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
    page = page if page in OPTIONS else page.partition("-")[0]
    given = OPTIONS["aws" if page == "cloudfront" else page]
    if "managed_identity" in option:
        given = {name: value for name, value in given.items() if name != "account_key"}
        assert STORAGES[page](**given | option).token_credential is not None
        return
    assert STORAGES[page](**given | option).provider.sign(Download("a"), ttl=TTL, now=NOW).url


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


@pytest.mark.parametrize("page", TEXTS)
def test_a_check_that_is_named_exists(page: str) -> None:
    checks = (DOCS / "checks.md").read_text()
    for number in re.findall(r"\b[EW]\d{3}\b", PROSE[page]):
        assert f"| {number} |" in checks


@pytest.mark.parametrize("page", TEXTS)
def test_what_a_command_reads_from_a_file_is_json(page: str) -> None:
    documents = re.findall(r"<<'JSON'\n([\s\S]*?)\nJSON\n", TEXTS[page])
    assert all(json.loads(document)["Statement"] for document in documents)
    assert len(documents) == TEXTS[page].count("JSON'")


@pytest.mark.parametrize("page", [page for page, blocks in SHELL.items() if blocks])
def test_what_is_typed_is_shell(page: str) -> None:
    for block in SHELL[page]:
        tried = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert (tried.returncode, tried.stderr) == (0, "")


def typed_for_amazon() -> list[Any]:
    """Return every command line for Amazon's own program, in words."""
    lines = [
        line
        for blocks in SHELL.values()
        for line in re.sub(r"\\\n", " ", "\n".join(blocks)).splitlines()
        if line.startswith("aws ") and not line.startswith("aws configure")
    ]
    return [pytest.param(shlex.split(line)[1:], id=line) for line in sorted(set(lines))]


@pytest.mark.parametrize("words", typed_for_amazon())
def test_a_command_for_amazon_is_one_of_its_service_and_complete(words: list[str]) -> None:
    """The program is made from the same models as boto3: an option for each member of a request."""
    service, command, *rest = words
    model = botocore.session.Session().get_service_model({"s3api": "s3"}.get(service, service))
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[command]).input_shape
    assert shape is not None
    members = {xform_name(name, "-"): name for name in shape.members}
    given = {word.removeprefix("--") for word in rest if word.startswith("--")} - {"region"}
    assert given <= members.keys()
    assert {members[name] for name in given} >= set(shape.required_members)


def test_commands_for_amazon_are_found() -> None:
    assert len(typed_for_amazon()) > 15


class Courses:
    def decide(self, principal: Any, resource: Any, operation: Any) -> Allow | Deny:
        return Allow() if operation == DownloadPrefix("courses/1/") else Deny("another course")


@pytest.mark.django_db
def test_the_cookies_of_the_page_are_set_on_the_response(alice: Any, settings: Any) -> None:
    entry = {"BACKEND": "gateway.storages.PrivateS3Storage", "OPTIONS": OPTIONS["aws"]}
    settings.STORAGES = settings.STORAGES | {"private": entry}
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": Courses()}}
    (code,) = re.findall(r"```py\n([\s\S]*?)```", TEXTS["cloudfront-key-group"])
    found: dict[str, Any] = {"render": lambda *_: HttpResponse(), "request": None}
    with request_of(alice):
        exec(code, found)
    cookies = found["response"].cookies
    assert cookies.keys() == {"CloudFront-Policy", "CloudFront-Signature", "CloudFront-Key-Pair-Id"}
    for cookie in cookies.values():
        assert (cookie["path"], cookie["domain"]) == ("/courses/1/", "example.com")
        assert cookie["secure"]
        assert cookie["httponly"]
