"""Questions to token endpoints: answered or given up by the deadline, whatever the other side does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from providers import InvalidConfiguration
from providers.http import MAX_BODY_BYTES, Answer, Connection, NoAnswer, ask_once, pause_before
from tests.emulators.token_endpoints import (
    DISCONNECTS,
    DRIPS,
    EMPTY,
    HANGS,
    Question,
    Reply,
    TokenEndpoint,
    Trouble,
    slow,
    status,
)
from tests.providers import clouds

SHORT_SECONDS = 0.3


class Echo(TokenEndpoint):
    def answer(self, question: Question) -> Reply:
        return 200, {"X-Path": question.path}, question.body or b"nothing"


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def soon(seconds: float = SHORT_SECONDS) -> float:
    return time.monotonic() + seconds


def took(call: Callable[[], object]) -> float:
    """Count the seconds until a call gives up."""
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        call()
    return time.monotonic() - began


def test_one_connection_serves_many_questions(echo: Echo) -> None:
    connection = Connection(f"{echo.url}/base")
    for number in range(5):
        answer = connection.ask("POST", f"/{number}", body=str(number).encode(), deadline=soon(20))
        assert (answer.status, answer.headers["x-path"], answer.body) == (200, f"/base/{number}", b"%d" % number)
    connection.close()
    assert echo.connections == 1


def test_a_connection_that_the_server_closed_is_opened_again(echo: Echo) -> None:
    connection = Connection(echo.url)
    assert connection.ask("GET", "/a", deadline=soon(20)).status == 200
    echo.refuse()
    echo.listen()
    assert connection.ask("GET", "/b", deadline=soon(20)).headers["x-path"] == "/b"
    connection.close()


def test_a_first_connection_that_breaks_is_not_tried_twice(echo: Echo) -> None:
    echo.trouble = DISCONNECTS
    with pytest.raises(NoAnswer, match="RemoteDisconnected"):
        Connection(echo.url).ask("GET", "/", deadline=soon(20))
    assert echo.asked() == 1


def test_a_connection_that_the_server_will_close_is_not_kept(echo: Echo) -> None:
    connection = Connection(echo.url)
    echo.troubles.append(Trouble(headers={"Connection": "close"}))
    assert [connection.ask("GET", "/", deadline=soon(20)).body for _ in range(3)] == [b"nothing"] * 3
    connection.close()
    assert echo.connections == 2


def test_a_connection_left_idle_for_long_is_not_trusted(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(echo.url)
    connection.ask("GET", "/", deadline=soon(20))
    monkeypatch.setattr("providers.http._MAX_IDLE_SECONDS", 0.0)
    connection.ask("GET", "/", deadline=soon(20))
    connection.close()
    assert echo.connections == 2


@pytest.mark.parametrize(
    "trouble", [pytest.param(HANGS, id="hangs"), pytest.param(DRIPS, id="drips"), pytest.param(slow(5), id="slow")]
)
def test_nothing_outlasts_the_deadline(echo: Echo, trouble: Trouble) -> None:
    echo.trouble = trouble
    assert took(lambda: Connection(echo.url).ask("GET", "/", deadline=soon())) < 1
    assert took(lambda: ask_once(echo.url, "GET", "/", deadline=soon())) < 1


def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        # It never answers the handshake.
        assert took(lambda: Connection(url).ask("GET", "/", deadline=soon())) < 1


def test_a_refused_connection_is_said_at_once(echo: Echo) -> None:
    echo.refuse()
    with pytest.raises(NoAnswer, match="ConnectionRefusedError"):
        Connection(echo.url).ask("GET", "/", deadline=soon(20))


def test_what_is_no_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(NoAnswer, match="BadStatusLine"):
            Connection(f"http://127.0.0.1:{server.getsockname()[1]}").ask("GET", "/", deadline=soon(20))
        thread.join()


def test_an_endless_body_is_no_answer(echo: Echo) -> None:
    echo.trouble = Trouble(body=bytes(MAX_BODY_BYTES + 1))
    with pytest.raises(NoAnswer, match="ValueError"):
        Connection(echo.url).ask("GET", "/", deadline=soon(20))
    echo.trouble = Trouble(body=bytes(MAX_BODY_BYTES))
    assert len(Connection(echo.url).ask("GET", "/", deadline=soon(20)).body) == MAX_BODY_BYTES


def test_a_redirect_is_not_followed(echo: Echo) -> None:
    echo.trouble = status(302, Location="http://evil.example/")
    assert Connection(echo.url).ask("GET", "/", deadline=soon(20)).status == 302


def test_a_header_that_would_begin_another_is_not_sent(echo: Echo) -> None:
    with pytest.raises(NoAnswer, match="ValueError"):
        Connection(echo.url).ask("GET", "/", headers={"Authorization": "a\r\nX: b"}, deadline=soon(20))
    assert echo.asked() == 0


def test_a_proxy_of_the_environment_is_not_used(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Connection(echo.url).ask("GET", "/", deadline=soon(20)).status == 200


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(echo: Echo, code: int) -> None:
    echo.troubles.extend([status(code), DISCONNECTS, status(code)])
    assert ask_once(echo.url, "GET", "/", deadline=soon(20)).status == 200
    assert echo.asked() == 4


@pytest.mark.parametrize("code", [400, 401, 403, 404, 501])
def test_a_refusal_is_final(echo: Echo, code: int) -> None:
    echo.trouble = status(code)
    assert ask_once(echo.url, "GET", "/", deadline=soon(20)).status == code
    assert echo.asked() == 1


def test_retries_end_with_the_deadline(echo: Echo) -> None:
    echo.trouble = status(503)
    began = time.monotonic()
    assert ask_once(echo.url, "GET", "/", deadline=soon()).status == 503
    assert time.monotonic() - began < 1
    assert 1 < echo.asked() < 20


def test_the_endpoint_says_how_long_to_wait(echo: Echo) -> None:
    echo.trouble = status(429, Retry_After="3600")
    began = time.monotonic()
    assert ask_once(echo.url, "GET", "/", deadline=soon()).status == 429
    assert (echo.asked(), time.monotonic() - began < 1) == (1, True)


def test_pauses_are_random_and_grow() -> None:
    for attempt in range(1, 5):
        pauses = [pause_before(attempt) for _ in range(200)]
        assert 0 <= min(pauses) < max(pauses) <= 0.05 * 2**attempt
        assert len(set(pauses)) > 100
    assert pause_before(1, Answer(429, {"retry-after": "7"}, b"")) == 7
    assert pause_before(1, Answer(429, {"retry-after": "Wed, 21 Oct"}, b"")) < 1


def test_an_empty_body_is_an_answer(echo: Echo) -> None:
    echo.trouble = EMPTY
    assert ask_once(echo.url, "GET", "/", deadline=soon(20)).body == b""


def test_no_answer_shows_itself() -> None:
    assert repr(Answer(200, {"a": "b"}, b"a token")) == "<Answer 200, 7 bytes>"


def test_a_bad_url_is_refused_before_it_is_asked() -> None:
    with pytest.raises(InvalidConfiguration):
        Connection("store.example")


# --- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clouds.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure_echo(certificate: Path) -> Iterator[Echo]:
    with Echo(tls=clouds.server_context(certificate)) as server:
        yield server


def test_a_trusted_certificate_is_good(secure_echo: Echo, certificate: Path) -> None:
    connection = Connection(secure_echo.url, ca_file=str(certificate))
    for _ in range(3):
        assert connection.ask("POST", "/", body=b"a" * 1000, deadline=soon(20)).body == b"a" * 1000
    connection.close()
    assert secure_echo.url.startswith("https:")
    assert secure_echo.connections == 1


def test_any_other_certificate_is_refused(secure_echo: Echo) -> None:
    with pytest.raises(NoAnswer, match="SSLCertVerificationError"):
        Connection(secure_echo.url).ask("GET", "/", deadline=soon(20))


def test_nothing_outlasts_the_deadline_over_tls(secure_echo: Echo, certificate: Path) -> None:
    for trouble in (HANGS, DRIPS):
        secure_echo.trouble = trouble
        ask = Connection(secure_echo.url, ca_file=str(certificate)).ask
        assert took(lambda ask=ask: ask("GET", "/", deadline=soon())) < 1  # type: ignore[misc]
