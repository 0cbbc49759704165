"""What the tests of Google Cloud Storage, Azure and CloudFront share: a key pair, and helpers for hard cases.

It must hold no expectation: what is right is said by each test.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from providers import SignedURL
from tests.emulators.certificates import certificate, server_context

__all__ = ["certificate", "server_context"]

T = TypeVar("T")

THREADS = 64
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
MODULUS = PRIVATE_KEY.public_key().public_numbers().n


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = PRIVATE_KEY, password: bytes | None = None) -> str:
    encryption = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


PEM = pem()
# id -> a key that cannot sign, a piece of the message
BAD_KEYS: dict[str, tuple[str, str]] = {
    "empty": ("", "is no unencrypted PEM key"),
    "text": ("not a key", "is no unencrypted PEM key"),
    "cut": (PEM[:400], "is no unencrypted PEM key"),
    "encrypted": (pem(password=b"password"), "is no unencrypted PEM key"),
    "of-a-curve": (pem(ec.generate_private_key(ec.SECP256R1())), "an RSA key"),
    "short": (pem(rsa.generate_private_key(public_exponent=65_537, key_size=1024)), "is an RSA key of 1024 bits"),
}


def sign_rsa(data: bytes) -> bytes:
    """Sign as Google's service does, with a key that the tested code does not have."""
    return PRIVATE_KEY.sign(data, padding.PKCS1v15(), hashes.SHA256())


def query_of(signed: SignedURL) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(signed.url).query, keep_blank_values=True, strict_parsing=True))


def one_bit_mutants(text: str) -> Iterator[str]:
    for at in range(len(text)):
        for bit in range(8):
            yield text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]


def at_once(call: Callable[[], T], *, threads: int = THREADS) -> list[T]:
    """Call from many threads that start together, and return all answers."""
    barrier = threading.Barrier(threads)

    def run() -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(threads)]]


def within_a_second(attempt: Callable[[], float]) -> bool:
    """Tell whether an attempt takes under a second, by the best of three.

    Other work on the machine can only make it take longer; what really waits too long does so every time.
    """
    return any(attempt() < 1 for _ in range(3))


def at_once_mostly(times: Iterable[float]) -> bool:
    """Tell whether most of these took no time to speak of."""
    return statistics.median(times) < 0.1


def in_a_fork(call: Callable[[], object]) -> object:
    """Call in a forked child, and return its answer; it raises what the child raised."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        try:
            sender.send(call())
        except BaseException as error:  # told to the parent
            sender.send(RuntimeError(f"{type(error).__name__}: {error}"))

    process = context.Process(target=child)
    process.start()
    try:
        answer = receiver.recv() if receiver.poll(30) else RuntimeError("the child gave no answer in 30 s")
    finally:
        process.join(10)
        if process.is_alive():
            process.kill()
        receiver.close()
        sender.close()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def modules_after(script: str) -> set[str]:
    """Run a script in a bare interpreter, and return the top-level names of all modules that it loaded."""
    root = Path(__file__).parents[2]
    names = "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    code = f"import sys; sys.path.insert(0, {str(root)!r})\n{script}\n{names}"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(result.stdout.splitlines()[-1].split())
