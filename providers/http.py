"""Put one question to a token endpoint, and have an answer or an error by a deadline.

Must not follow redirects, use a proxy of the environment, or show what was asked or answered. What speaks HTTP
is imported at the first question: most processes that sign never put one.
"""

from __future__ import annotations

import functools
import io
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from providers.endpoints import parse_endpoint

if TYPE_CHECKING:
    import http.client
    import socket
    import ssl

__all__ = ["Answer", "Connection", "NoAnswer", "ask_once", "pause_before"]

MAX_BODY_BYTES = 256 * 2**10  # token endpoints answer with a few kilobytes
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
_FIRST_PAUSE_SECONDS = 0.05
_MAX_IDLE_SECONDS = 30.0  # what lies longer may have been dropped on the way, where nobody tells


class NoAnswer(Exception):
    """The endpoint could not be reached in time, or does not speak HTTP; says which, and nothing else."""


class Answer(NamedTuple):
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body)} bytes>"  # the body is a token, or a key


class Connection:
    """One connection to one origin, kept open between questions; for one thread at a time.

    Args:
        base_url: ``http(s)://host[:port][/path]``.
        ca_file: the certificate authorities to trust, in PEM; None means those of the system.
    """

    def __init__(self, base_url: str, *, ca_file: str | None = None) -> None:
        self._connection: http.client.HTTPConnection | None = None
        self._timed: _TimedSocket | None = None
        self._used_at = 0.0
        self._endpoint = parse_endpoint(base_url)
        self._ca_file = ca_file

    def ask(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request and read the whole answer.

        Args:
            path: starts with a slash, percent-encoded, with the query.
            deadline: of ``time.monotonic()``.

        Raises:
            NoAnswer: there was none by then.
        """
        import http.client

        if time.monotonic() - self._used_at > _MAX_IDLE_SECONDS:
            self.close()
        kept = self._connection is not None
        try:
            answer = self._ask(method, path, headers or {}, body, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if kept and isinstance(error, ConnectionError):  # closed by the server while nobody used it
                return self.ask(method, path, deadline=deadline, headers=headers, body=body)
            raise NoAnswer(type(error).__name__) from None
        self._used_at = time.monotonic()
        return answer

    def close(self) -> None:
        connection, self._connection, self._timed = self._connection, None, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.close()

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: float) -> Answer:
        if self._connection is None or self._timed is None:
            self._connection, self._timed = self._open(deadline)
        self._timed.deadline = deadline
        self._connection.request(method, self._endpoint.path + path, body=body, headers=dict(headers))
        response = self._connection.getresponse()
        text = response.read(MAX_BODY_BYTES + 1)
        if len(text) > MAX_BODY_BYTES:
            raise ValueError("the answer is too long")
        if not response.isclosed() or self._connection.sock is None:
            self.close()  # what is left unread would begin the next answer; or the server has had enough
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, text)

    def _open(self, deadline: float) -> tuple[http.client.HTTPConnection, _TimedSocket]:
        import http.client

        connection: http.client.HTTPConnection
        if self._endpoint.scheme == "https":
            connection = http.client.HTTPSConnection(
                self._endpoint.netloc, timeout=_left(deadline), context=_trust(self._ca_file)
            )
        else:
            connection = http.client.HTTPConnection(self._endpoint.netloc, timeout=_left(deadline))
        connection.connect()
        timed = _TimedSocket(connection.sock, deadline)
        connection.sock = cast("socket.socket", timed)
        return connection, timed


def ask_once(
    base_url: str,
    method: str,
    path: str,
    *,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    ca_file: str | None = None,
) -> Answer:
    """Ask over a connection of its own, again after a short pause while the endpoint is only busy.

    Raises:
        NoAnswer: there was none by the deadline.
    """
    attempt = 0
    while True:
        connection = Connection(base_url, ca_file=ca_file)
        problem: NoAnswer | None = None
        answer: Answer | None = None
        try:
            answer = connection.ask(method, path, deadline=deadline, headers=headers, body=body)
        except NoAnswer as error:
            problem = error
        finally:
            connection.close()
        if answer is not None and answer.status not in RETRIED_STATUSES:
            return answer
        pause = pause_before(attempt := attempt + 1, answer)
        if time.monotonic() + pause >= deadline:
            if answer is not None:
                return answer
            raise problem or NoAnswer("deadline")
        time.sleep(pause)


def pause_before(attempt: int, answer: Answer | None = None) -> float:
    """Return how many seconds to wait before the attempt after this one: random, growing, as long as told."""
    told = answer.headers.get("retry-after", "") if answer is not None else ""
    least = float(told) if told.isascii() and told.isdigit() else 0.0
    # Full jitter: clients that failed together do not come back together.
    return max(least, random.uniform(0, _FIRST_PAUSE_SECONDS * 2**attempt))  # noqa: S311  no secret


@functools.cache
def _trust(ca_file: str | None) -> ssl.SSLContext:
    import ssl

    # Reading the system's authorities takes longer than most answers.
    return ssl.create_default_context(cafile=ca_file)


class _TimedSocket:
    """What http.client needs of a socket, each wait of it cut at one deadline."""

    def __init__(self, inner: socket.socket, deadline: float) -> None:
        self.inner = inner
        self.deadline = deadline
        self._users = 1  # itself, and every reader made of it: http.client closes before it reads

    def sendall(self, data: Any) -> None:
        self.inner.settimeout(_left(self.deadline))
        self.inner.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._users += 1
        return io.BufferedReader(_TimedReader(self))

    def close(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.inner.close()


class _TimedReader(io.RawIOBase):
    """A server that sends a byte a second would otherwise never be late."""

    def __init__(self, timed: _TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._timed.inner.settimeout(_left(self._timed.deadline))
        return self._timed.inner.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._timed.close()
        super().close()


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds
