"""Where the keys of an issuer come from: one that is set, a file, an address that is asked when it must be.

Must not let a token choose more than ``kid``, and that among keys that the issuer is known to have.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.contrib.jwt.tokens import read_object
from gateway.errors import Unavailable
from providers.http import Connection
from providers.refresh import after_fork

__all__ = ["ASYMMETRIC", "FileKeys", "KeySource", "RemoteKeys", "StaticKey", "fits", "read_key_set"]

logger = logging.getLogger(__name__)

MAX_KEY_SET_BYTES = 256 * 2**10
MIN_RSA_BITS = 2048  # https://www.rfc-editor.org/rfc/rfc7518#section-3.3
# The algorithms and their key types. https://www.rfc-editor.org/rfc/rfc7518#section-3.1
ASYMMETRIC = {f"{family}{bits}": "RSA" for family in ("RS", "PS") for bits in (256, 384, 512)} | {
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
}
# The curve is part of the algorithm. https://www.rfc-editor.org/rfc/rfc7518#section-3.4
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")

_FRESH_SECONDS = 600.0  # then the next set is fetched, behind the callers' backs
_KEPT_SECONDS = 24 * 3600.0  # while the address cannot be reached
_PAUSE_SECONDS = 60.0  # between two questions, whatever tokens name
_PAUSE_WITHOUT_KEYS_SECONDS = 5.0
_WAIT_SECONDS = 1.0
_FETCH_SECONDS = 0.9  # so that who waits hears how it ended

KeySet = Mapping[tuple[str, str], Any]


class KeySource(Protocol):
    """Knows the keys of one issuer."""

    def find(self, kid: str | None, algorithm: str) -> Any:
        """Return the key for one of the issuer's algorithms; None where there is no such key.

        Raises:
            Unavailable: it cannot be told.
        """
        ...


@dataclass(frozen=True, slots=True)
class StaticKey:
    """One key, whatever ``kid`` says."""

    key: Any = field(repr=False)

    def find(self, kid: str | None, algorithm: str) -> Any:
        return self.key


class FileKeys:
    """A key set in a file, read again when the file is another; one that cannot be read changes nothing.

    Raises:
        OSError: there is no such file.
        ValueError: it holds no key set, or none of the algorithms' keys.
    """

    def __init__(self, path: Path, algorithms: Collection[str]) -> None:
        self._path = path
        self._algorithms = algorithms
        self._state = self._looked_at()
        self._keys = self._read()

    def find(self, kid: str | None, algorithm: str) -> Any:
        try:
            state = self._looked_at()
            if state != self._state:
                self._state = state
                self._keys = self._read()
        except (OSError, ValueError) as error:
            logger.error("a file of keys cannot be read, and the last ones hold: %s", type(error).__name__)
        return None if kid is None else self._keys.get((kid, algorithm))

    def _looked_at(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> KeySet:
        with self._path.open("rb") as file:
            return read_key_set(file.read(MAX_KEY_SET_BYTES + 1), self._algorithms)


class _Kept(NamedTuple):
    keys: KeySet
    fetched_at: float


class _Flight:
    """One fetch under way."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self.ended = threading.Event()


class RemoteKeys:
    """A key set at an address: fetched by one thread, waited for a second at most, kept while it is useful.

    A key that is not in the set has it fetched again, once a minute at most. While the address cannot be
    reached the last set holds, for a day at most.

    Args:
        origin: ``https://host[:port]``.
        path: starts with a slash, percent-encoded, with the query.
    """

    def __init__(self, origin: str, path: str, algorithms: Collection[str]) -> None:
        self._origin = origin
        self._path = path
        self._algorithms = algorithms
        self._kept: _Kept | None = None
        self._flight: _Flight | None = None
        self._not_before = 0.0
        self._lock = threading.Lock()
        after_fork(self._reset)

    def find(self, kid: str | None, algorithm: str) -> Any:
        if kid is None:
            return None
        kept = self._useful()
        if kept is not None and (key := kept.keys.get((kid, algorithm))) is not None:
            if time.monotonic() - kept.fetched_at > _FRESH_SECONDS:
                self._launch()
            return key
        flight = self._launch()
        if flight is not None:
            # Late comers do not wait for a fetch that has already kept others waiting for nothing.
            flight.ended.wait(max(0.0, flight.started_at + _WAIT_SECONDS - time.monotonic()))
        kept = self._useful()
        if kept is None:
            raise Unavailable("the keys of an issuer cannot be had")
        return kept.keys.get((kid, algorithm))

    def _useful(self) -> _Kept | None:
        kept = self._kept
        return kept if kept is not None and time.monotonic() - kept.fetched_at <= _KEPT_SECONDS else None

    def _launch(self) -> _Flight | None:
        """Return the fetch under way, a new one, or None while it is too early for another."""
        with self._lock:
            if self._flight is not None:
                return self._flight
            if time.monotonic() < self._not_before:
                return None
            flight = self._flight = _Flight()
        try:
            # In a thread of its own, since nothing bounds how long a name is looked up.
            threading.Thread(target=self._run, args=(flight,), name="fetch a key set", daemon=True).start()
        except RuntimeError as error:  # the process is ending, or has all the threads it may have
            self._land(flight, None, error)
        return flight

    def _run(self, flight: _Flight) -> None:
        keys, problem = None, None
        try:
            keys = self._fetch()
        except BaseException as error:  # whatever it is, those who wait are told
            problem = error
        self._land(flight, keys, problem)

    def _fetch(self) -> KeySet:
        connection = Connection(self._origin)
        try:
            answer = connection.ask(
                "GET",
                self._path,
                deadline=time.monotonic() + _FETCH_SECONDS,
                headers={"Accept": "application/json", "User-Agent": "presign-gateway"},
            )
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return read_key_set(answer.body, self._algorithms)

    def _land(self, flight: _Flight, keys: KeySet | None, problem: BaseException | None) -> None:
        if problem is not None:
            logger.warning("the key set at %s cannot be had: %s", self._origin, type(problem).__name__)
        with self._lock:
            if keys is not None:
                self._kept = _Kept(keys, time.monotonic())
            pause = _PAUSE_WITHOUT_KEYS_SECONDS if self._useful() is None else _PAUSE_SECONDS
            self._not_before = flight.started_at + pause
            self._flight = None
        flight.ended.set()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._flight = None


def read_key_set(document: bytes, algorithms: Collection[str]) -> KeySet:
    """Return the public keys of a JSON Web Key Set, by ``kid`` and algorithm; those of no use are left out.

    Raises:
        ValueError: it is none, or has no key of any of the algorithms.

    Source: https://www.rfc-editor.org/rfc/rfc7517#section-5
    """
    if len(document) > MAX_KEY_SET_BYTES:
        raise ValueError(f"a key set of more than {MAX_KEY_SET_BYTES} bytes")
    given = read_object(document).get("keys")
    if not isinstance(given, list):
        raise ValueError("no key set")
    keys: dict[tuple[str, str], Any] = {}
    for jwk in given:
        for algorithm in algorithms:
            if isinstance(jwk, dict) and (key := _key_of(jwk, algorithm)) is not None:
                keys.setdefault((jwk["kid"], algorithm), key)
    if not keys:
        raise ValueError("a key set without a key that could be used")
    return keys


def fits(key: Any, algorithm: str) -> bool:
    """Tell whether a public key is one for an algorithm, and strong enough."""
    try:
        jwt.get_algorithm_by_name(algorithm).prepare_key(key)
    except (jwt.PyJWTError, TypeError, ValueError):
        return False
    if algorithm in _CURVES and key.curve.name != _CURVES[algorithm]:
        return False
    return not isinstance(key, RSAPublicKey) or key.key_size >= MIN_RSA_BITS


def _key_of(jwk: Mapping[str, Any], algorithm: str) -> Any:
    """Return a key that may verify signatures of an algorithm; None for any other."""
    operations = jwk.get("key_ops", ["verify"])
    if (
        not isinstance(jwk.get("kid"), str)
        or jwk.get("kty") != ASYMMETRIC[algorithm]
        or jwk.get("use", "sig") != "sig"
        or jwk.get("alg", algorithm) != algorithm
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    # A private key that somebody put there by mistake is made a public one.
    public = {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}
    try:
        key = jwt.PyJWK(public, algorithm).key
    except Exception:
        # Whatever numbers that are none make the libraries raise; one such key is no harm to the others.
        return None
    return key if fits(key, algorithm) else None
