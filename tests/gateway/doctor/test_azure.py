"""The doctor on a container of Azure behind a strict proxy: silent where it is good, and each fault found."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from azure.storage.blob import CorsRule, RetentionPolicy

from tests.emulators.azurite import AzuriteOAuth
from tests.gateway.doctor.conftest import ORIGIN, Report, doctor, interrupted
from tests.gateway.doctor.strict_proxy import StrictProxy

HEADERS = ["content-md5", "content-type", "if-none-match", "range", "x-ms-blob-*"]
GOOD = {"anonymous.list", "anonymous.read", "azure.public-access", "azure.soft-delete", "azure.versioning", "clock"}
GOOD |= {"cors.download", "cors.foreign-origin", "cors.upload", "endpoint", "link", "link.expired", "link.other-key"}
GOOD |= {
    "link.tampered",
    "link.too-old",
    "probe",
    "signer.delete",
    "signer.elsewhere",
    "signer.list",
    "transport",
    "upload",
}
GOOD |= {"credential.kind", "upload.overwrite"}


def beyond_the_role(method: str, target: str) -> bool:
    """Tell what the module's signer may not."""
    if method == "PUT" and "/gateway-doctor-elsewhere/" in target:
        return True
    if method == "PUT" and "comp=block" in target:
        return True
    return method == "DELETE" or (method == "GET" and ("comp=list" in target or "restype=" in target))


@dataclass
class Container:
    azurite: AzuriteOAuth
    proxy: StrictProxy
    settings: Any
    name: str

    def use(self, alias: str, **options: Any) -> None:
        entry = {
            "BACKEND": "gateway.storages.PrivateAzureStorage",
            "OPTIONS": {
                "account_name": self.azurite.account_name,
                "azure_container": self.name,
                "endpoint_url": f"{self.proxy.endpoint_url}/{self.azurite.account_name}",
                "token_credential": self.azurite.credential(),
                "ca_file": str(self.proxy.certificate_path),
                "backdate": 60,
            }
            | options,
        }
        self.settings.STORAGES = {**self.settings.STORAGES, alias: entry}

    def cors(self, **changed: Any) -> None:
        rule = {"allowed_methods": ["GET", "HEAD", "PUT"], "allowed_headers": HEADERS} | changed
        with self.azurite.client() as client:
            client.set_service_properties(cors=[CorsRule(rule.pop("origins", [ORIGIN]), **rule)])

    def soft_delete(self, days: int | None) -> None:
        with self.azurite.client() as client:
            policy = RetentionPolicy(enabled=days is not None, days=days)
            client.set_service_properties(delete_retention_policy=policy)

    def examined(self, *arguments: str) -> Report:
        return doctor("azure", *(arguments or ("--sweeper", "owner", "--auditor", "owner")))

    def names(self) -> list[str]:
        with self.azurite.client() as client:
            return [blob.name for blob in client.get_container_client(self.name).list_blobs()]


@pytest.fixture
def container(azurite_oauth: AzuriteOAuth, service: Any, tmp_path: Any) -> Any:
    with StrictProxy(azurite_oauth.endpoint_url, tmp_path, ca_file=azurite_oauth.ca_file) as proxy:
        proxy.shown = {"x-ms-version-id": "2026-11-22T00:00:00.0000000Z"}
        proxy.forbidden = beyond_the_role
        name = azurite_oauth.create_container(f"doctor-{secrets.token_hex(6)}")
        made = Container(azurite_oauth, proxy, service, name)
        made.cors()
        made.soft_delete(7)
        made.use("azure")
        made.use("owner", endpoint_url=azurite_oauth.endpoint_url, ca_file=str(azurite_oauth.ca_file))
        yield made


def test_a_good_container_has_no_fault_and_nothing_stays_in_it(container: Container) -> None:
    report = container.examined()
    assert report.checks("fail") == set()
    assert report.status == 0
    assert report.checks("ok") >= GOOD
    assert report.checks("unseen") == {"azure.account"}
    assert container.names() == []


Break = Callable[[Container], None]


def _cors(**changed: Any) -> Break:
    return lambda container: container.cors(**changed)


def _no_cors(container: Container) -> None:
    with container.azurite.client() as client:
        client.set_service_properties(cors=[])


def _public(access: str) -> Break:
    def break_it(container: Container) -> None:
        with container.azurite.client() as client:
            client.get_container_client(container.name).set_container_access_policy({}, public_access=access)

    return break_it


def _signer_may(what: str) -> Break:
    def break_it(container: Container) -> None:
        container.proxy.forbidden = lambda method, target: (
            beyond_the_role(method, target) and what not in f"{method} {target}"
        )

    return break_it


def _no_soft_delete(container: Container) -> None:
    container.soft_delete(None)


def _no_versions(container: Container) -> None:
    container.proxy.shown = {}


def _no_sas_policy(container: Container) -> None:
    container.proxy.max_age = None


# To the emulator a wrong signature is none, and a public blob needs none.
PUBLIC = {"anonymous.read", "azure.public-access", "link.tampered", "link.other-key", "link.expired"}

# (fault, what it does, the checks that fail, no more and no less)
FAULTS: list[tuple[str, Break, set[str]]] = [
    ("no cors", _no_cors, {"cors.upload", "cors.download"}),
    ("another origin", _cors(origins=["https://a.example.com"]), {"cors.upload", "cors.download"}),
    ("every origin", _cors(origins=["*"]), {"cors.foreign-origin"}),
    ("no puts", _cors(allowed_methods=["GET"]), {"cors.upload"}),
    ("no headers", _cors(allowed_headers=["range"]), {"cors.upload"}),
    ("blobs are public", _public("blob"), PUBLIC),
    ("everything is public", _public("container"), PUBLIC | {"anonymous.list"}),
    ("signer lists", _signer_may("comp=list"), {"signer.list"}),
    ("signer deletes", _signer_may("DELETE"), {"signer.delete"}),
    ("signer writes elsewhere", _signer_may("/gateway-doctor-elsewhere/"), {"signer.elsewhere"}),
    ("no soft delete", _no_soft_delete, {"azure.soft-delete"}),
    ("no versions", _no_versions, {"azure.versioning"}),
    ("no sas policy", _no_sas_policy, {"link.too-old"}),
]


@pytest.mark.parametrize(("break_it", "checks"), [pytest.param(f[1], f[2], id=f[0]) for f in FAULTS])
def test_a_fault_is_found_and_nothing_else(break_it: Break, checks: set[str], container: Container) -> None:
    break_it(container)
    report = container.examined()
    assert report.checks("fail") == checks
    assert report.status == 1
    assert all(each["remedy"] for each in report.findings if each["verdict"] == "fail")
    assert container.names() == []


def test_a_service_that_writes_no_blocks_is_told_that_it_takes_no_parts(container: Container) -> None:
    (said,) = [each for each in container.examined().findings if each["check"] == "azure.parts"]
    assert (said["verdict"], "503" in said["found"], "blobs/write" in said["remedy"]) == ("note", True, True)
    _signer_may("comp=block")(container)
    assert container.examined().one("azure.parts")["verdict"] == "ok"
    assert container.names() == []
    for busy, found in (("comp=block", "gave no answer"), ("sp=c", "there is no probe")):
        container.proxy.busy = lambda method, target, busy=busy: method == "PUT" and busy in target  # type: ignore[misc]
        said = container.examined().one("azure.parts")
        assert (said["verdict"], found in said["found"]) == ("unseen", True)


def test_without_an_auditor_the_signer_sees_no_settings_and_says_so(container: Container) -> None:
    report = container.examined("--sweeper", "owner")
    assert report.checks("fail") == set()
    assert report.checks("unseen") == {"azure.account", "azure.public-access", "azure.soft-delete"}


def test_without_a_sweeper_the_probe_is_left_and_named(container: Container) -> None:
    report = container.examined("--auditor", "owner")
    (left,) = container.names()
    assert left in report.one("probe")["found"]


def test_no_signature_is_in_the_report(container: Container) -> None:
    _no_sas_policy(container)
    assert "sig=" not in container.examined().text


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interrupted_examination_leaves_nothing_behind(error: type[BaseException], container: Container) -> None:
    assert "the store answers" in interrupted(error, "azure", "--sweeper", "owner")
    assert container.names() == []
