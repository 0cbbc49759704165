"""How the doctor reaches a store: as a client does, with the link's path and query exactly as they are.

Must not follow a redirect, try again, or use a proxy: each would hide what the store itself says.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

__all__ = ["Answer", "Fetch", "in_process", "over_network"]

TIMEOUT_SECONDS = 10
MOST_BYTES = 64 * 2**10  # of an answer; the probe is smaller


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are in lower case. Status 0: there was none, ``problem`` says why."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: str = ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_silence(self) -> bool:
        """Whether nothing was decided: no answer, or a store that could not give one."""
        return self.status == 0 or self.status >= 500

    @property
    def is_refusal(self) -> bool:
        """Whether the store understood, and said no; a missing key is no refusal."""
        return self.status in (400, 401, 403)

    def __str__(self) -> str:
        return f"{self.status}" if self.status else self.problem


Fetch = Callable[..., Answer]


def over_network(verify: Any) -> Fetch:
    """Return a fetch over the network.

    Args:
        verify: path of the certificates to trust; anything else is the system's.
    """

    def fetch(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Answer:
        parts = urlsplit(url)
        try:
            connection = _connection(parts.scheme, parts.netloc, verify)
            try:
                connection.request(method, _target(url), body=body, headers=dict(headers or {}))
                answer = connection.getresponse()
                received = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, received, answer.read(MOST_BYTES))
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, {}, b"", f"no answer ({type(error).__name__})")

    return fetch


def in_process(host: str, *, is_secure: bool) -> Fetch:
    """Return a fetch that asks this very service, all its middleware included, without a running server."""
    client = Client(raise_request_exception=False)

    def fetch(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Answer:
        answer = client.generic(
            method,
            _target(url),
            body or b"",
            content_type=dict(headers or {}).get("Content-Type", "application/octet-stream"),
            secure=is_secure,
            headers={"Host": host, **{k: v for k, v in (headers or {}).items() if k != "Content-Type"}},
        )
        # The client closes each answer, a streaming one when it has been read to its end.
        content = b"".join(answer) if answer.streaming else answer.content
        received = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, received, content)

    return fetch


def _connection(scheme: str, netloc: str, verify: Any) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(netloc, timeout=TIMEOUT_SECONDS)
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    return http.client.HTTPSConnection(netloc, timeout=TIMEOUT_SECONDS, context=context)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
