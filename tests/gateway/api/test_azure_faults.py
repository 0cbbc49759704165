"""Azure's endpoints fail in every way: the API says 503 for that storage within a second, and serves the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.core.files.storage import storages

from providers import Download
from tests.emulators.azurite import Azurite
from tests.emulators.certificates import certificate, client_context, server_context
from tests.emulators.s3 import send
from tests.emulators.token_endpoints import (
    DISCONNECTS,
    DRIPS,
    EMPTY,
    GARBAGE,
    HANGS,
    AzureIdentity,
    DelegationKeys,
    TokenEndpoint,
    Trouble,
    slow,
    status,
)
from tests.gateway.api.support import by_token, file_of, issued
from tests.gateway.conftest import new_file
from tests.providers import clouds
from tests.verifiers.sas import Account, DelegationKey, Refused, verify_sas

pytestmark = pytest.mark.django_db

LINKS, BATCH = "/api/v1/links", "/api/v1/links/batch"
ACCOUNT, SECRET = "account0", "header-of-the-platform"


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureIdentity]:
    """The token endpoint, announced as App Service does."""
    with AzureIdentity(identity_header=SECRET) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", SECRET)
        yield server


@pytest.fixture
def blobs(identity: AzureIdentity, tmp_path: Path) -> Iterator[DelegationKeys]:
    """The blob service, over https as bearer tokens want it."""
    with DelegationKeys(tls=server_context(certificate(tmp_path))) as server:
        server.accepts = identity.tokens.__contains__
        yield server


@pytest.fixture
def restart(blobs: DelegationKeys, settings: Any, tmp_path: Path) -> Callable[[], None]:
    """Have a storage without a key, as after a start of the service."""
    options = {
        "account_name": ACCOUNT, "azure_container": "box", "managed_identity": True,
        "endpoint_url": blobs.url, "ca_file": str(tmp_path / "certificate.pem"),
    }  # fmt: skip

    def start() -> None:
        cloud = {"BACKEND": "gateway.storages.PrivateAzureStorage", "OPTIONS": options}
        settings.STORAGES = settings.STORAGES | {"cloud": cloud}

    start()
    return start


@pytest.fixture
def ask(alice: Any, restart: Any) -> Callable[[], Any]:
    client, reference = by_token(alice), str(new_file(alice, storage_alias="cloud").pk)
    return lambda: client.send(LINKS, {"file": reference})


def verified(url: str, blobs: DelegationKeys) -> Any:
    query = dict(parse_qsl(urlsplit(url).query))
    fields = [query[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")]
    keys = (DelegationKey(*fields, value=blobs.keys[query["ske"]]),) if query["ske"] in blobs.keys else ()
    return verify_sas(
        method="GET", url=url, account=Account(ACCOUNT, blobs.url, delegation_keys=keys), now=datetime.now(UTC)
    )


TROUBLES: dict[str, Trouble] = {
    "hangs": HANGS,
    "drips": DRIPS,
    "slow": slow(3),
    "disconnects": DISCONNECTS,
    "garbage": GARBAGE,
    "empty": EMPTY,
    "401": status(401),
    "403": status(403, x_ms_error_code="AuthorizationPermissionMismatch"),
    "429": status(429, Retry_After="60"),
    "500": status(500),
    "redirect": status(302, Location="http://evil.example/"),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
@pytest.mark.parametrize("which", ["identity", "blobs"])
def test_one_storage_is_unavailable_and_says_so_within_a_second(
    request: pytest.FixtureRequest, ask: Any, restart: Any, alice: Any, which: str, trouble: Trouble
) -> None:
    endpoint: TokenEndpoint = request.getfixturevalue(which)
    endpoint.trouble = trouble

    def attempt() -> float:
        restart()
        began = time.monotonic()
        response = ask()
        took = time.monotonic() - began
        assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
        assert int(response["Retry-After"]) > 0
        assert not any(word in response.content for word in (b"http://", b"https://", SECRET.encode(), b"token"))
        return took

    assert clouds.within_a_second(attempt)
    assert issued() == 0
    # The others are untouched, and nobody waits again for what has just failed.
    client, local = by_token(alice), str(file_of(alice).pk)
    began = time.monotonic()
    assert client.send(LINKS, {"file": local}).status_code == 201
    items = [{"file": local}, {"file": str(new_file(alice, storage_alias="cloud").pk)}]
    results = client.send(BATCH, {"items": items}).json()["results"]
    assert time.monotonic() - began < 1
    assert [result["error"] and result["error"]["code"] for result in results] == [None, "storage_unavailable"]


@pytest.mark.parametrize("which", ["identity", "blobs"])
def test_a_refused_connection(request: pytest.FixtureRequest, ask: Any, which: str) -> None:
    request.getfixturevalue(which).refuse()
    response = ask()
    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")


def test_links_go_on_while_the_key_lives_and_it_recovers_by_itself(
    ask: Any, restart: Any, blobs: DelegationKeys, identity: AzureIdentity
) -> None:
    assert verified(ask().json()["url"], blobs).delegated
    identity.refuse()
    blobs.trouble = HANGS
    for _ in range(5):
        assert verified(ask().json()["url"], blobs).delegated
    restart()
    assert ask().status_code == 503
    identity.listen()
    blobs.trouble = None
    give_up_at = time.monotonic() + 10
    while (response := ask()).status_code != 201 and time.monotonic() < give_up_at:
        time.sleep(0.1)
    assert verified(response.json()["url"], blobs).delegated


def test_a_key_that_ends_soon_shortens_links_and_says_so(ask: Any, blobs: DelegationKeys) -> None:
    blobs.cut = timedelta(days=1) - timedelta(seconds=200)
    body = ask().json()
    assert datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC) < timedelta(seconds=200)
    assert verified(body["url"], blobs).expires_at == datetime.fromisoformat(body["expires_at"])


def test_a_service_whose_clock_is_days_behind_gives_no_useful_key(ask: Any, blobs: DelegationKeys) -> None:
    blobs.cut = timedelta(days=2)
    response = ask()
    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")


def test_links_of_a_revoked_key_are_refused_until_it_is_replaced(ask: Any, blobs: DelegationKeys) -> None:
    old = ask().json()["url"]
    blobs.keys.clear()
    with pytest.raises(Refused, match="delegation_key"):
        verified(old, blobs)
    storage: Any = storages["cloud"]
    storage.provider.credentials.forget()
    time.sleep(1.1)  # the times that name a key are whole seconds
    assert verified(ask().json()["url"], blobs).delegated


@pytest.fixture(params=["azurite", "azurite_oauth"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("minutes", "backdate", "status"),
    [
        pytest.param(-10, None, 403, id="slow"),
        pytest.param(10, None, 200, id="fast"),
        pytest.param(10, 0, 403, id="fast-with-a-start"),
        pytest.param(10, 900, 200, id="fast-with-a-start-long-ago"),
    ],
)
def test_what_a_store_says_to_a_clock_that_is_off(
    server: Azurite, settings: Any, minutes: int, backdate: int | None, status: int
) -> None:
    options = {
        "account_name": server.account_name, "endpoint_url": server.endpoint_url,
        "azure_container": server.create_container(f"box-{time.monotonic_ns()}"), "backdate": backdate,
    }  # fmt: skip
    if server.ca_file is None:
        options["account_key"] = server.account_key
    else:
        options |= {"token_credential": server.credential(), "ca_file": str(server.ca_file)}  # type: ignore[attr-defined]
    cloud = {"BACKEND": "gateway.storages.PrivateAzureStorage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"cloud": cloud}
    with server.client() as client:
        client.get_blob_client(options["azure_container"], "a.txt").upload_blob(b"x")
    storage: Any = storages["cloud"]
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    link = storage.provider.sign(Download("a.txt"), ttl=timedelta(minutes=5), now=now)
    answer = send(link.url, tls=None if server.ca_file is None else client_context(server.ca_file))
    assert answer.status == status


def test_an_account_key_that_was_rotated_signs_links_that_are_refused(azurite: Azurite) -> None:
    from gateway.storages import PrivateAzureStorage

    container = azurite.create_container(f"box-{time.monotonic_ns()}")
    storage = PrivateAzureStorage(
        account_name=azurite.account_name, account_key="b2xkIGtleQ==", azure_container=container,
        endpoint_url=azurite.endpoint_url,
    )  # fmt: skip
    with azurite.client() as client:
        client.get_blob_client(container, "a.txt").upload_blob(b"x")
    link = storage.provider.sign(Download("a.txt"), ttl=timedelta(minutes=5), now=datetime.now(UTC))
    assert send(link.url).status == 403
