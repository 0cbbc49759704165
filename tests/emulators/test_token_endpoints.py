"""The token endpoints that fail on demand: each trouble is what it says, and nothing stays when they are left."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.emulators.token_endpoints import (
    DISCONNECTS,
    DRIPS,
    EMPTY,
    GARBAGE,
    HANGS,
    AzureIdentity,
    ContainerCredentials,
    DelegationKeys,
    GoogleMetadata,
    IAMCredentials,
    InstanceMetadata,
    SecurityTokenService,
    TokenEndpoint,
    Trouble,
    slow,
    status,
)

FLAVOUR = {"Metadata-Flavor": "Google"}
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


@pytest.fixture
def server() -> Iterator[GoogleMetadata]:
    with GoogleMetadata() as endpoint:
        yield endpoint


def ask(
    endpoint: TokenEndpoint,
    path: str = TOKEN,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 5,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=FLAVOUR if headers is None else headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_a_right_answer_is_counted(server: GoogleMetadata) -> None:
    code, headers, body = ask(server)
    assert (code, headers["Metadata-Flavor"]) == (200, "Google")
    assert json.loads(body)["access_token"] == server.tokens[0]
    assert (server.asked(), server.asked("/token"), server.asked("/email"), server.connections) == (1, 1, 0, 1)
    assert server.questions[0].headers["metadata-flavor"] == "Google"


def test_troubles_come_one_by_one_before_the_lasting_one(server: GoogleMetadata) -> None:
    server.trouble = status(500)
    server.troubles.extend([status(429, Retry_After="7"), None, EMPTY])
    answers = [ask(server) for _ in range(5)]
    assert [code for code, _, _ in answers] == [429, 200, 200, 500, 500]
    assert answers[0][1]["Retry-After"] == "7"
    assert answers[2][2] == b""


def test_garbage_is_no_json(server: GoogleMetadata) -> None:
    server.trouble = GARBAGE
    with pytest.raises(ValueError, match=r"decode|Expecting"):
        json.loads(ask(server)[2])


@pytest.mark.parametrize("trouble", [pytest.param(HANGS, id="hangs"), pytest.param(DRIPS, id="drips")])
def test_nothing_comes_until_the_server_is_left(server: GoogleMetadata, trouble: Trouble) -> None:
    server.trouble = trouble
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(server, timeout=60)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not ended.wait(0.3)
    server.refuse()
    assert ended.wait(5)
    thread.join()


def test_slow_is_right_in_the_end(server: GoogleMetadata) -> None:
    server.trouble = slow(0.2)
    began = time.monotonic()
    assert ask(server)[0] == 200
    assert time.monotonic() - began >= 0.2


def test_a_connection_is_closed_without_an_answer(server: GoogleMetadata) -> None:
    server.trouble = DISCONNECTS
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server)


def test_a_server_that_refuses_listens_again_on_its_port(server: GoogleMetadata) -> None:
    url = server.url
    server.refuse()
    with pytest.raises(ConnectionRefusedError):
        ask(server)
    server.listen()
    assert server.url == url
    assert ask(server)[0] == 200


def test_no_thread_stays() -> None:
    before = threading.active_count()
    with GoogleMetadata() as endpoint:
        endpoint.trouble = HANGS
        with pytest.raises(TimeoutError):
            ask(endpoint, timeout=0.1)
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("endpoint", "path", "method", "headers", "code"),
    [
        pytest.param(GoogleMetadata(), TOKEN, "GET", {}, 403, id="google-without-flavour"),
        pytest.param(GoogleMetadata(), "/other", "GET", FLAVOUR, 404, id="google-other-path"),
        pytest.param(IAMCredentials(bytes), "/v1/a:signBlob", "POST", {}, 401, id="iam-without-token"),
        pytest.param(IAMCredentials(bytes), "/v1/a", "POST", {"Authorization": "Bearer a"}, 404, id="iam-other-path"),
        pytest.param(InstanceMetadata(), "/latest/meta-data/", "GET", {}, 401, id="machine-without-session"),
        pytest.param(ContainerCredentials(), "/", "GET", {}, 403, id="container-without-token"),
        pytest.param(SecurityTokenService(), "/", "POST", {}, 403, id="sts-without-action"),
        pytest.param(AzureIdentity(), "/", "GET", {}, 400, id="azure-without-metadata"),
        pytest.param(DelegationKeys(), "/", "POST", {}, 400, id="keys-without-operation"),
    ],
)
def test_a_wrong_question_is_refused(
    endpoint: TokenEndpoint, path: str, method: str, headers: dict[str, str], code: int
) -> None:
    with endpoint:
        assert ask(endpoint, path, method=method, headers=headers, body=b"")[0] == code
