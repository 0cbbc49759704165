"""Sign as a Google service account without its key, through IAM's signBlob.

Must not hold a key, and must not wait longer than it says: every call has one deadline.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable
from urllib.parse import quote

from providers.endpoints import parse_endpoint
from providers.errors import CredentialsUnavailable, InvalidConfiguration
from providers.http import RETRIED_STATUSES, Answer, Connection, NoAnswer, ask_once, pause_before
from providers.refresh import WAIT_SECONDS, Breaker, Refresher, after_fork

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["AccessToken", "GoogleCredentials", "IAMSigner", "MetadataServer", "TokenSource"]

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
# Google says of the key behind signBlob that it stays good for 12 hours at the least.
# https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob
_MAX_TTL = timedelta(hours=12)
_SIGNATURE_BYTES = range(256, 513)  # RSA of 2048 to 4096 bits
_MIN_TOKEN_SECONDS = 30.0  # so long a token must last to be worth a call
_FETCH_SECONDS = 10.0  # a fetch may go on when nobody waits any more; the next caller has its answer
_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An OAuth token.

    Args:
        value: never shown.
        ends_at: of ``time.monotonic()``: a wall clock that is wrong does not matter.
        account: the e-mail of the service account that it speaks for, where known.
    """

    value: str = field(repr=False)
    ends_at: float
    account: str | None = None


@runtime_checkable
class TokenSource(Protocol):
    """Where access tokens come from; ``fetch`` may be slow, and is called by one thread at a time."""

    def fetch(self, *, deadline: float) -> AccessToken: ...


class MetadataServer:
    """Tokens of the service account that this machine runs as: Compute Engine, GKE, Cloud Run, App Engine.

    Args:
        service_account: ``default``, or the e-mail of another one attached to the machine.
        endpoint_url: of the metadata server.

    Source: https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
    """

    def __init__(
        self, *, service_account: str = "default", endpoint_url: str = "http://metadata.google.internal"
    ) -> None:
        self._path = f"/computeMetadata/v1/instance/service-accounts/{quote(service_account, safe='@')}"
        self._endpoint_url = endpoint_url
        self._account: str | None = None
        parse_endpoint(endpoint_url)

    def fetch(self, *, deadline: float) -> AccessToken:
        """Raise CredentialsUnavailable, or return a token and whose it is."""
        asked_at = time.monotonic()
        answer = _json(self._ask("/token", deadline), "the metadata server")
        if self._account is None:
            account = self._ask("/email", deadline).body.decode("ascii", "replace").strip()
            self._account = account if "@" in account else None  # a workload pool is no account
        return AccessToken(_token(answer), asked_at + _seconds(answer, "expires_in"), self._account)

    def _ask(self, path: str, deadline: float) -> Answer:
        headers = {"Metadata-Flavor": "Google"}
        try:
            answer = ask_once(self._endpoint_url, "GET", self._path + path, headers=headers, deadline=deadline)
        except NoAnswer as error:
            raise CredentialsUnavailable(f"the metadata server gave no answer: {error}") from None
        # Whatever else may listen at that name does not say so.
        if answer.status != 200 or answer.headers.get("metadata-flavor") != "Google":
            raise CredentialsUnavailable(f"the metadata server answered with HTTP {answer.status}")
        return answer


class GoogleCredentials:
    """Tokens of google-auth: application default credentials, or an object of its own kind.

    Args:
        credentials: a ``google.auth.credentials.Credentials``; None is ``google.auth.default()``, looked for
            at the first use. The library is imported then, and not before.
    """

    def __init__(self, credentials: Any = None) -> None:
        self._credentials = credentials

    def fetch(self, *, deadline: float) -> AccessToken:
        """Raise what google-auth raises, or return a token."""
        import google.auth
        import google.auth.transport.requests

        asked_at = time.monotonic()
        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=[CLOUD_PLATFORM])
        transport = google.auth.transport.requests.Request()

        def bounded(*arguments: Any, **named: Any) -> Any:
            # Its own default is two minutes a try.
            named["timeout"] = max(0.1, deadline - time.monotonic())
            return transport(*arguments, **named)

        try:
            self._credentials.refresh(bounded)
        finally:
            transport.session.close()
        ends = self._credentials.expiry  # naive, in UTC
        seconds = 300.0 if ends is None else (ends.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        account = getattr(self._credentials, "service_account_email", None)
        account = account if isinstance(account, str) and "@" in account else None
        return AccessToken(_token({"access_token": self._credentials.token}), asked_at + seconds, account)


class IAMSigner:
    """Credentials of a GCSProvider that sign over the network, as a service account.

    Whoever the tokens speak for needs the role ``roles/iam.serviceAccountTokenCreator`` on that account, even
    on its own.

    Args:
        service_account_email: sign as this account; None is the one that the tokens speak for.
        tokens: where access tokens come from; None is the :class:`MetadataServer`.
        delegates: accounts to go through, each with the role on the next.
        endpoint_url: of the IAM Credentials API; another for another universe domain.
        max_concurrency: calls under way at a time, over all threads.
        timeout_seconds: for one link or a whole page of them, tokens included; under a second.

    Raises:
        InvalidConfiguration: one of these cannot work.

    Source: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob
    """

    algorithm: ClassVar[str] = "GOOG4-RSA-SHA256"
    offline: ClassVar[bool] = False
    max_ttl: ClassVar[timedelta] = _MAX_TTL

    def __init__(
        self,
        *,
        service_account_email: str | None = None,
        tokens: TokenSource | None = None,
        delegates: Sequence[str] = (),
        endpoint_url: str = "https://iamcredentials.googleapis.com",
        max_concurrency: int = 16,
        timeout_seconds: float = WAIT_SECONDS,
    ) -> None:
        tokens = MetadataServer() if tokens is None else tokens
        if not isinstance(tokens, TokenSource):
            raise InvalidConfiguration(f"tokens are of type {type(tokens).__name__}; a TokenSource")
        if not isinstance(delegates, (list, tuple)):
            raise InvalidConfiguration(f"delegates are {delegates!r}; a list of e-mail addresses")
        for email in (*delegates, *([service_account_email] if service_account_email is not None else ())):
            if not isinstance(email, str) or "@" not in email:
                raise InvalidConfiguration(f"a service account is {email!r}; its e-mail address")
        if type(max_concurrency) is not int or not 1 <= max_concurrency <= 64:
            raise InvalidConfiguration(f"max_concurrency is {max_concurrency!r}; 1 to 64")
        if not 0 < timeout_seconds < 1:
            raise InvalidConfiguration(f"timeout_seconds is {timeout_seconds!r}; over 0, under 1")
        parse_endpoint(endpoint_url)
        self._email = service_account_email
        self._delegates = [f"projects/-/serviceAccounts/{email}" for email in delegates]
        self._endpoint_url = endpoint_url
        self._max_concurrency = max_concurrency
        self._timeout_seconds = timeout_seconds
        self._breaker = Breaker(threshold=5)
        self._tokens: Refresher[AccessToken] = Refresher(
            lambda now, needed_seconds: tokens.fetch(deadline=time.monotonic() + _FETCH_SECONDS),
            seconds_left=lambda token, now: token.ends_at - time.monotonic(),
            name="the Google access token",
            useful_seconds=_MIN_TOKEN_SECONDS,
        )
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        after_fork(self._reset)

    def __repr__(self) -> str:
        return f"<IAMSigner {self._email or 'of the tokens'}>"

    def ready(self, now: datetime) -> tuple[str, Callable[[str, Sequence[str]], list[str]]]:
        """Return who signs, and what signs: both within one deadline that begins now.

        Raises:
            CredentialsUnavailable: no token could be had in time, or none that says whose it is.
        """
        deadline = time.monotonic() + self._timeout_seconds
        email = self._email or self._token(now, deadline).account
        if email is None:
            raise CredentialsUnavailable(
                "the tokens do not say which service account they speak for; give service_account_email"
            )

        def sign(scope: str, texts: Sequence[str]) -> list[str]:
            return self._sign_all(email, texts, now, deadline)

        return email, sign

    def forget(self) -> None:
        """Drop the access token: after its account was given other rights, or its own were taken away."""
        self._tokens.forget()

    def _token(self, now: datetime, deadline: float) -> AccessToken:
        return self._tokens.get(now=now, needed_seconds=_MIN_TOKEN_SECONDS, deadline=deadline)

    def _sign_all(self, email: str, texts: Sequence[str], now: datetime, deadline: float) -> list[str]:
        """Sign concurrently; one that fails fails all, and what has not begun is not begun."""
        signed: list[str] = []
        if not self._breaker.is_closed and texts:
            # One probe, and the page goes on if it is answered.
            signed = self._sign_together(email, texts[:1], now, deadline)
        return signed + self._sign_together(email, texts[len(signed) :], now, deadline)

    def _sign_together(self, email: str, texts: Sequence[str], now: datetime, deadline: float) -> list[str]:
        from concurrent import futures

        try:
            tasks = [self._pool().submit(self._sign, email, text, now, deadline) for text in texts]
        except RuntimeError:
            raise CredentialsUnavailable("signBlob cannot be asked: the process is ending") from None
        seconds = max(0.0, deadline - time.monotonic())
        ended, waiting = futures.wait(tasks, timeout=seconds, return_when=futures.FIRST_EXCEPTION)
        for task in waiting:
            task.cancel()
        for task in ended:
            task.result()  # raises what it failed with
        if waiting:
            raise CredentialsUnavailable(
                f"signBlob gave {len(ended)} of {len(tasks)} signatures in {self._timeout_seconds} s"
            )
        return [task.result() for task in tasks]

    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._max_concurrency, thread_name_prefix="signBlob")
            return self._executor

    def _sign(self, email: str, text: str, now: datetime, deadline: float) -> str:
        """Have one text signed, in a thread of the pool."""
        path = f"/v1/projects/-/serviceAccounts/{quote(email, safe='@')}:signBlob"
        question: dict[str, Any] = {"payload": base64.b64encode(text.encode()).decode()}
        if self._delegates:
            question["delegates"] = self._delegates
        body = json.dumps(question).encode()
        attempt = 0
        while True:
            if time.monotonic() >= deadline:  # it waited for a place in the pool all the time
                raise CredentialsUnavailable("signBlob could not be asked in time")
            if not self._breaker.admits():
                raise CredentialsUnavailable("signBlob keeps failing; it is asked again in a moment")
            try:
                answer, problem = self._ask(path, body, now, deadline)
                if answer is not None and answer.status == 200:
                    signature = _signature(answer)
                    self._breaker.succeeded()
                    return signature
            except BaseException:
                self._breaker.failed()
                raise
            self._breaker.failed()
            pause = pause_before(attempt := attempt + 1, answer)
            again = answer is None or answer.status in RETRIED_STATUSES or (answer.status == 401 and attempt == 1)
            if not again or attempt == _MAX_ATTEMPTS or time.monotonic() + pause >= deadline:
                raise CredentialsUnavailable(f"signBlob gave no signature: {problem}")
            time.sleep(pause)

    def _ask(self, path: str, body: bytes, now: datetime, deadline: float) -> tuple[Answer | None, str]:
        token = self._token(now, deadline)
        headers = {"Authorization": f"Bearer {token.value}", "Content-Type": "application/json"}
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self._endpoint_url)
        try:
            answer = connection.ask("POST", path, headers=headers, body=body, deadline=deadline)
        except NoAnswer as error:
            return None, str(error)
        self._idle.append(connection)
        if answer.status == 401:
            self._tokens.forget(token)  # taken back before its time
        return answer, f"HTTP {answer.status}"

    def _reset(self) -> None:
        self._executor = None
        self._lock = threading.Lock()
        self._idle = []


def _json(answer: Answer, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(answer.body)
    except ValueError:  # not UTF-8 is one too
        parsed = None
    if not isinstance(parsed, dict):
        raise CredentialsUnavailable(f"{name} answered with something else than a JSON object")
    return parsed


def _token(answer: dict[str, Any]) -> str:
    token = answer.get("access_token")
    # It goes into a header: nothing that could end one.
    if not isinstance(token, str) or not token or not all("!" <= character <= "~" for character in token):
        raise CredentialsUnavailable("the answer holds no access token")
    return token


def _seconds(answer: dict[str, Any], name: str) -> float:
    try:
        return float(answer[name])
    except (KeyError, TypeError, ValueError):
        raise CredentialsUnavailable(f"the answer holds no {name}") from None


def _signature(answer: Answer) -> str:
    try:
        signature = base64.b64decode(_json(answer, "signBlob").get("signedBlob", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        signature = b""
    if len(signature) not in _SIGNATURE_BYTES:
        raise CredentialsUnavailable("signBlob answered without a signature")
    return signature.hex()
