"""What docs/credentials/ says: every kind has a page, its example makes a storage that signs, its errors are ours."""

from __future__ import annotations

import ast
import json
import os
import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.utils.module_loading import import_string

from gateway.doctor import Visit
from gateway.doctor.credentials import examine_credentials
from gateway.storages import PrivateS3Storage, keyring
from providers import AWSCredentialChain, Upload
from providers.errors import CredentialsUnavailable
from tests.documentation import DOCS
from tests.emulators.aws_identities import forget_this_machine, machine_of
from tests.providers.clouds import PEM

ROOT = DOCS.parent
INDEX = DOCS / "credentials" / "README.md"
PAGES = {path.stem: path.read_text() for path in sorted(INDEX.parent.glob("[a-z]*.md"))}
HEADINGS = [
    "In the account",
    "In the settings",
    "Is it right?",
    "How long links live",
    "What ends it",
    "What goes wrong",
]
CLOUDS = ("aws", "google-cloud", "azure")
SECTIONS = {
    name: dict(re.findall(r"\n## (.*)\n((?:(?!\n## )[\s\S])*)", text)) for name, text in PAGES.items()
}  # fmt: skip
# Signs by itself; a profile's kind is not known before it is asked for.
OFFLINE = {
    "aws-static-keys", "azure-account-key", "cloudfront-key-group", "gcs-hmac-key", "gcs-service-account-key",
    "local-secret-keys",
}  # fmt: skip
# page -> the machine of tests/emulators/aws_identities.py that has such a credential
MACHINES = {
    "aws-assumed-role": "assume-role",
    "aws-container-role": "container",
    "aws-instance-role": "machine",
    "aws-web-identity": "web-identity",
}
KEY_FILE = {"type": "service_account", "client_email": "signer@acme-files.iam.gserviceaccount.com", "private_key": PEM}
SHORT_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=1024)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
# Codes that the stores answer with, from their references of errors:
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/http-403-permission-denied.html
# https://cloud.google.com/storage/docs/xml-api/reference-status
# https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
CODES = {
    "AccessDenied", "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch",
    "AuthorizationQueryParametersError", "BlobAlreadyExists", "ExpiredToken", "InvalidAccessKeyId",
    "KeyBasedAuthenticationNotPermitted", "MalformedSecurityHeader", "MissingKey", "NoSuchBucket",
    "PermanentRedirect", "PreconditionFailed", "SignatureDoesNotMatch",
}  # fmt: skip
OTHER_WORDS = {"gcloud", "iam.disableServiceAccountKeyCreation"}


class AsyncCredential:
    """As those of azure.identity.aio."""

    async def get_token(self, *scopes: str) -> None: ...


@cache
def messages_of(*directories: str) -> list[re.Pattern[str]]:
    """Return every text of the code that could be a message; what it fills in may be anything."""
    patterns: set[str | None] = set()
    for directory in directories:
        for path in (ROOT / directory).glob("**/*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    patterns.add(re.escape(node.value) if len(node.value) >= 15 else None)
                elif isinstance(node, ast.JoinedStr):
                    texts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                    said = sum(len(str(text)) for text in texts if text)
                    pattern = "".join(".+" if text is None else re.escape(str(text)) for text in texts)
                    patterns.add(pattern if said >= 12 else None)
    return [re.compile(pattern) for pattern in patterns if pattern]


def said_of(text: str) -> list[str]:
    """Return the code spans in the first cells of the table of what goes wrong."""
    _, _, table = text.partition("| what is said | because | do |\n|---|---|---|\n")
    firsts = [line.split(" | ")[0] for line in table.partition("\n\n")[0].splitlines()]
    return [said for first in firsts for said in re.findall(r"`([^`]+)`", first)]


def spans() -> list[Any]:
    texts = PAGES | {name: (DOCS / f"{name}.md").read_text() for name in CLOUDS}
    return [pytest.param(said, id=f"{name}: {said}") for name, text in texts.items() for said in said_of(text)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be on a machine that has what the examples read, and no credential of its own."""
    forget_this_machine(monkeypatch, tmp_path)
    (tmp_path / "key.pem").write_text(PEM)
    (tmp_path / "key.json").write_text(json.dumps(KEY_FILE))
    keyring.write(tmp_path / "private.json", keyring.fresh())
    for name in ("FILES_ACCESS_KEY_ID", "FILES_SECRET_ACCESS_KEY", "HMAC_SECRET"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("AZURE_ACCOUNT_KEY", "AAECAwQ=")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.setenv(name, "11111111-2222-3333-4444-555555555555")
    return tmp_path


def entry_of(page: str, home: Path) -> dict[str, Any]:
    """Run the example of a page, with the files of the test in place of those that it names."""
    (code,) = re.findall(r"```python\n([\s\S]*?)```", SECTIONS[page]["In the settings"])
    for named in ("/run/secrets/key.pem", "/run/secrets/key.json", "/srv/private.json", "/srv/files"):
        code = code.replace(named, str(home / named.rpartition("/")[2]))
    found: dict[str, Any] = {}
    exec(code, {"STORAGES": found, "os": os, "Path": Path})
    entry: dict[str, Any] = found["private"]
    return entry


def asked_patiently(chain: AWSCredentialChain) -> None:
    """Have a chain find what it finds: loading botocore for the first time may take longer than anybody waits."""
    end = time.monotonic() + 60
    while True:
        try:
            chain.current(now=datetime.now(UTC), needed=timedelta(minutes=15))
        except CredentialsUnavailable as error:
            if "none came in" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def test_every_page_is_found_from_the_page_of_its_cloud() -> None:
    linked = {name for cloud in CLOUDS for name in rows_with_links((DOCS / f"{cloud}.md").read_text())}
    assert linked == PAGES.keys() - {"local-secret-keys"}
    assert "credentials/local-secret-keys.md" in (DOCS / "production.md").read_text()
    assert set(re.findall(r"\]\(([a-z-]+)\.md\)", INDEX.read_text())) == PAGES.keys()


def rows_with_links(text: str) -> list[str]:
    return re.findall(r"^\| \[.*?\]\(credentials/([a-z-]+)\.md\) \|", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_walks_all_the_way(page: str) -> None:
    assert list(SECTIONS[page]) == HEADINGS
    commands = re.findall(r"python manage\.py (\w+)", SECTIONS[page]["Is it right?"])
    assert commands == ["check", "gateway_doctor", "gateway_link"]
    if page != "local-secret-keys":
        assert re.search(r"\]\(\.\./(aws|azure|google-cloud)\.md#from-an-empty-account", PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_an_example_makes_a_storage_that_signs_as_told(page: str, machine: Path, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"private": entry_of(page, machine)}
    storage = storages["private"]
    assert type(storage) is import_string(settings.STORAGES["private"]["BACKEND"])
    assert storage.provider.capabilities.offline == (page in OFFLINE)
    bases = {
        "aws": "https://acme-files-private.s3.eu-central-1.amazonaws.com/",
        "cloudfront": "https://acme-files-private.s3.eu-central-1.amazonaws.com/",
        "gcs": "https://storage.googleapis.com/acme-files-private/",
        "azure": "https://acmefiles.blob.core.windows.net/private/",
        "local": storage.provider.base_url,
    }
    assert storage.provider_for(Upload).base_url == bases[page.partition("-")[0]]
    longest = re.findall(r"at most (\d+) (days|hours)", " ".join(SECTIONS[page]["How long links live"].split()))
    told = [timedelta(**{unit: int(number)}) for number, unit in longest]
    assert told in ([], [storage.provider.capabilities.max_ttl])


@pytest.mark.parametrize("page", [page for page in PAGES if page in OFFLINE or page in MACHINES])
def test_the_doctor_says_what_the_page_says(
    page: str, machine: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        if page in MACHINES:
            stack.enter_context(machine_of(MACHINES[page], monkeypatch, machine))
        entry = entry_of(page, machine)
        if page == "aws-assumed-role":
            (profile,) = re.findall(r"<<'INI'\n([\s\S]*?)INI\n", PAGES[page])
            (machine / "config").write_text(profile)
            (machine / "credentials").write_text("[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
        if page == "cloudfront-key-group":
            # Whoever signs for the bucket, its page says.
            entry["OPTIONS"] |= {"access_key": "AK", "secret_key": "SK"}
        settings.STORAGES = settings.STORAGES | {"private": entry}
        if page in MACHINES:
            asked_patiently(storages["private"]._chain)
        findings = list(examine_credentials(Visit("private", storages["private"])))
    kinds = [f"{each.verdict}: {each.found}" for each in findings if each.check == "credential.kind"]
    told = re.findall(r"`(ok|FAIL) +private: credential\.kind: (.*?)`", " ".join(PAGES[page].split()))
    if told:
        assert kinds == [f"{verdict.lower()}: {found}" for verdict, found in told]
    else:
        assert page in ("cloudfront-key-group", "local-secret-keys")
    assert [each.verdict for each in findings if each.check == "credential.life"] == ["ok"]


@pytest.mark.parametrize("page", PAGES)
def test_what_the_doctor_is_said_to_say_is_in_its_words(page: str) -> None:
    words = messages_of("gateway/doctor")
    for found in re.findall(r"`(?:ok|FAIL) +private: [a-z.]+: (.*?)`", " ".join(PAGES[page].split())):
        assert any(pattern.fullmatch(found) for pattern in words), found


@pytest.mark.parametrize("said", spans())
def test_what_goes_wrong_is_in_our_words_or_a_code_of_the_store(said: str) -> None:
    if said in CODES | OTHER_WORDS or said.startswith("AWS_S3_SESSION_PROFILE/session_profile"):
        return
    # A storage puts its option before what a provider says of it, and a check a stop after it.
    texts = {said, said.removeprefix("cloudfront_key: "), f"{said}."}
    assert any(pattern.fullmatch(text) for pattern in messages_of("gateway", "providers") for text in texts)


# What a page says of `manage.py check`, and the options that make it say so, beside those of the page's example.
SAID_BY_CHECK: dict[tuple[str, str], dict[str, Any]] = {
    ("aws-static-keys", "secret_key is empty"): {"secret_key": ""},
    ("aws-static-keys", "access_key_id is empty"): {"access_key": "AK\n"},
    ("aws-profile", "AWS_S3_SESSION_PROFILE"): {"access_key": "AK", "secret_key": "SK"},
    ("cloudfront-key-group", "custom_domain is set"): {"cloudfront_key_id": None, "cloudfront_key": None},
    ("cloudfront-key-group", "CloudFront is to sign"): {"custom_domain": None},
    ("cloudfront-key-group", "cloudfront_key: private_key is no"): {"cloudfront_key": "/run/secrets/key.pem"},
    ("cloudfront-key-group", "cloudfront_key: private_key is an RSA key"): {"cloudfront_key": SHORT_KEY},
    ("gcs-service-account-key", "the key file … cannot be read: FileNotFoundError"): {"service_account_key": "/none"},
    ("gcs-service-account-key", "the key is not"): {"service_account_key": {"type": "authorized_user"}},
    ("gcs-service-account-key", "service_account_key and"): {"hmac_access_id": "GOOG1EXAMPLE", "hmac_secret": "s"},
    ("gcs-hmac-key", "of hmac_access_id"): {"hmac_secret": ""},
    ("gcs-hmac-key", "signer_tokens is set"): {"signer_tokens": object()},
    ("azure-managed-identity", "account_key and"): {"account_key": "AAECAwQ="},
    (
        "azure-workload-identity",
        "token_credential is 'azure.identity.WorkloadIdentityCredential', which cannot be made: V",
    ): {},
    ("azure-token-credential", "token_credential is of type"): {"token_credential": AsyncCredential()},
    ("azure-account-key", "account_key is not"): {"account_key": "%"},
    ("azure-account-key", "sas_token is set"): {"sas_token": "sv=1"},
    ("azure-account-key", "account_key and"): {"token_credential": "azure.identity.AzureCliCredential"},
    ("local-secret-keys", "the file of secret_keys cannot"): {"secret_keys": "none.json"},
    ("local-secret-keys", "the file of secret_keys is no ring"): {},
    ("local-secret-keys", "SECRET_KEY is"): {"secret_keys": None},
}
# Of a file that another user owns, and of a package that is not there.
NOT_MADE_HERE = {"PermissionError", "ImportError"}


@pytest.mark.parametrize(("page", "start", "options"), [
    pytest.param(*about, options, id=f"{about[0]}: {about[1]}") for about, options in SAID_BY_CHECK.items()
])  # fmt: skip
def test_the_check_says_it_by_the_id_of_the_page(
    page: str, start: str, options: dict[str, Any], machine: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((told, number),) = (found for found in checked_of(PAGES[page]) if found[0].startswith(start))
    entry = entry_of(page, machine)
    if page == "azure-workload-identity":
        monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE")
    if start.endswith("is no ring"):
        (machine / "private.json").write_text("{")
    if start.startswith("SECRET_KEY"):
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "too short", []
    entry["OPTIONS"] |= options
    settings.STORAGES = settings.STORAGES | {"private": entry}
    messages = [message.msg for message in run_checks(tags=["gateway"]) if message.id == f"gateway.{number}"]
    pattern = re.escape(told).replace("…", ".+").replace(re.escape("DefaultAzureCredential"), "AsyncCredential")
    assert [message for message in messages if re.search(pattern, message)], messages


def test_all_that_pages_say_of_the_check_is_tried() -> None:
    told = {(page, said) for page, text in PAGES.items() for said, _ in checked_of(text)}
    tried = {
        (page, said)
        for page, said in told
        for about, start in SAID_BY_CHECK
        if about == page and said.startswith(start)
    }
    assert {said.rpartition(": ")[2] for _, said in told - tried} == NOT_MADE_HERE


def checked_of(text: str) -> list[tuple[str, str]]:
    """Return what the first cells say, with the id of the check that says it."""
    return re.findall(r"^\| `([^`]+)` \((E\d{3})\) \|", text, re.MULTILINE)


def test_every_page_says_what_goes_wrong() -> None:
    assert all(len(said_of(text)) >= 3 for text in PAGES.values())


def test_words_that_nobody_says_are_not_among_ours() -> None:
    assert not any(pattern.fullmatch("the key was eaten by a dog") for pattern in messages_of("gateway", "providers"))


def test_a_profile_beside_keys_of_the_environment_is_refused_in_the_words_of_the_page(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SK")
    (told,) = (said for said in said_of(PAGES["aws-profile"]) if said.endswith("…"))
    with pytest.raises(ImproperlyConfigured, match=re.escape(told.removesuffix("…"))):
        PrivateS3Storage(**entry_of("aws-profile", machine)["OPTIONS"])


@pytest.mark.parametrize(
    ("page", "ended_in"),
    [
        pytest.param("aws-profile", "the last try ended in ProfileNotFound", id="no-such-profile"),
        pytest.param("aws-web-identity", "boto3's chain found none", id="nothing-found"),
    ],
)
def test_a_chain_that_finds_nothing_says_so_as_told(page: str, ended_in: str, machine: Path) -> None:
    said = f"an AWS credential could not be had: {ended_in}"
    assert said in said_of(PAGES[page])
    chain = PrivateS3Storage(**entry_of(page, machine)["OPTIONS"])._chain
    assert chain is not None
    with pytest.raises(CredentialsUnavailable, match=re.escape(said)):
        asked_patiently(chain)
