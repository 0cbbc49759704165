"""Sends a file of this machine straight to the store, as any client would: in parts at the same time, and resumed.

Must not go round a policy: it begins, signs and finalizes an upload as its principal, and holds only links.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
from django.utils import timezone

from gateway import uploads
from gateway.errors import StorageUnavailable, UploadOver, UploadRejected
from gateway.models import UploadSession, UploadState
from gateway.principals import Principal
from gateway.resources import facts_of_name, parse_reference, rows_of
from gateway.uploads import Begun, PartWanted, Wanted
from gateway.uploads.planning import part_count, part_size
from providers.types import SignedURL

__all__ = ["send_file"]

_CHUNK_BYTES = 2**18
_TRIES = 3
_ATTEMPTS = 20  # uploads of the same file that were given up, expired or rejected
# A store that has the object already says so.
_HAS_IT = (409, 412)
_UNKNOWN_TYPE = "application/octet-stream"

Progress = Callable[[int], object]


def send_file(
    principal: Principal, path: Path, *, target: str = "", parallel: int = 4, progress: Progress = lambda _: None
) -> str:
    """Upload a file and return the reference to it; after an interruption it goes on with the parts that are missing.

    Args:
        target: reference to the field that gets the file; empty is the service's own files.
        parallel: how many parts are on their way at once.
        progress: told the number of bytes that have just gone; less than 0 where they have to go again.

    Raises:
        OSError: the file cannot be read.
        StorageUnavailable: the store did not take it.
        GatewayError: as :func:`gateway.uploads.begin` and :func:`gateway.uploads.finalize`.
    """
    digest, size_bytes = _digest(path)
    wanted = Wanted(
        filename=path.name, content_type=facts_of_name(path.name).content_type or _UNKNOWN_TYPE,
        size_bytes=size_bytes, sha256=digest, target=target,
    )  # fmt: skip
    begun = _begin(principal, path, wanted)
    # Where all has come, and only the verdict is missing, the store takes no more.
    if begun.session.state in (UploadState.ISSUED, UploadState.UPLOADING):
        with httpx.Client(timeout=httpx.Timeout(30, read=300), trust_env=False) as client:
            sender = _Sender(client, path, progress)
            if begun.link is not None:
                sender.send(begun.link, 0, size_bytes)
            else:
                _send_parts(principal, begun, sender, parallel)
    # Nobody waits for an answer to a request here, so that the verdict is not left to a task.
    return uploads.finalize(principal, begun.session.pk).reference


class _Sender:
    """Sends pieces of one file."""

    def __init__(self, client: httpx.Client, path: Path, progress: Progress) -> None:
        self._client = client
        self._path = path
        self._progress = progress
        self._lock = threading.Lock()

    def tell(self, count: int) -> None:
        with self._lock:
            self._progress(count)

    def send(self, link: SignedURL, start: int, size_bytes: int) -> None:
        """Send a piece by its link, some times where the connection breaks.

        Raises:
            StorageUnavailable: the store did not take it.
        """
        problem = ""
        for _ in range(_TRIES):
            sent = 0

            def body() -> Iterator[bytes]:
                nonlocal sent
                for chunk in self._read(start, size_bytes):
                    yield chunk
                    sent += len(chunk)
                    self.tell(len(chunk))

            headers = {**link.headers, "Content-Length": str(size_bytes)}
            try:
                answer = self._client.request(link.method, link.url, headers=headers, content=body())
            except httpx.TransportError as error:
                problem = type(error).__name__
            else:
                if answer.is_success or answer.status_code in _HAS_IT:
                    self.tell(size_bytes - sent)
                    return
                problem = f"status {answer.status_code}"
                if answer.status_code < 500:
                    break
            self.tell(-sent)
        # Neither the link nor what the store says of it is shown: both hold a signature.
        raise StorageUnavailable(f"the store did not take the bytes from {start} on: {problem}")

    def _read(self, start: int, size_bytes: int) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(start)
            while size_bytes > 0 and (chunk := file.read(min(_CHUNK_BYTES, size_bytes))):
                size_bytes -= len(chunk)
                yield chunk


def _begin(principal: Principal, path: Path, wanted: Wanted) -> Begun:
    """Begin an upload, or find the one that this very file was on its way with."""
    assert wanted.sha256 is not None
    name = hashlib.sha256(f"{path.resolve()}\n{wanted.sha256.hex()}\n{wanted.target}".encode()).hexdigest()
    lost = 0
    for attempt in itertools.count():
        with suppress(UploadOver):  # it ran out, and the sweeper has not come by
            begun = uploads.begin(principal, wanted, idempotency_key=f"gateway_put-{name}-{attempt}")
            if _is_good(begun.session):
                return begun
            if begun.session.state == UploadState.READY:
                continue
        lost += 1
        if lost == _ATTEMPTS:
            break
    raise UploadRejected(f"{_ATTEMPTS} uploads of this file have come to nothing")


def _is_good(session: UploadSession) -> bool:
    """Tell whether an upload can go on, or has become a file that is still there."""
    if session.state != UploadState.READY:
        return session.state in UploadState.open() and session.expires_at > timezone.now()
    resource = parse_reference(session.target or str(session.file_id))
    assert resource is not None  # a file was made of it
    # A field may have got another file since.
    return rows_of([replace(resource, key=session.key if session.target else None)]).exists()


def _send_parts(principal: Principal, begun: Begun, sender: _Sender, parallel: int) -> None:
    session = begun.session
    received = {part.number for part in uploads.look(principal, session.pk).parts or ()}
    for number in received:
        sender.tell(part_size(session, number))
    missing = [number for number in range(1, part_count(session) + 1) if number not in received]
    with ThreadPoolExecutor(parallel) as pool:
        # Signed as they are needed: links are short-lived, and the last part may be hours away.
        for numbers in _groups(missing, parallel):
            wanted = [PartWanted(number=number, size_bytes=part_size(session, number)) for number in numbers]
            signed = uploads.sign_parts(principal, session.pk, wanted)
            starts = [(part.number - 1) * session.part_bytes for part in wanted]
            list(pool.map(sender.send, signed, starts, [part.size_bytes for part in wanted]))


def _groups(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _digest(path: Path) -> tuple[bytes, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return digest.digest(), size_bytes
