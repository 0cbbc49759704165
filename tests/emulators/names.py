"""A name server for which every host is this machine: for servers that ask one rather than the system.

It must not answer anything but an address to a plain question.
"""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

from tests.emulators.process import LOOPBACK

# https://www.rfc-editor.org/rfc/rfc1035#section-4.1
_HEADER_BYTES = 12
_TYPE_A = b"\x00\x01"
_CLASS_IN = b"\x00\x01"
_NAME_OF_QUESTION = b"\xc0\x0c"  # a pointer to where the question begins
_RESPONSE = b"\x81\x80"
_TTL_SECONDS = 1


class NameServer:
    """Run it from ``with`` to the end of the block; ``address`` is ``host:port``."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._socket.settimeout(0.05)
        self.address = f"{LOOPBACK}:{self._socket.getsockname()[1]}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                query, client = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self._socket.sendto(_answer(query), client)


def _answer(query: bytes) -> bytes:
    end = query.index(b"\x00", _HEADER_BYTES) + 5
    question, of_type = query[_HEADER_BYTES:end], query[end - 4 : end - 2]
    count = b"\x00\x01" if of_type == _TYPE_A else b"\x00\x00"
    header = query[:2] + _RESPONSE + b"\x00\x01" + count + b"\x00\x00\x00\x00"
    if of_type != _TYPE_A:
        return header + question
    record = _NAME_OF_QUESTION + _TYPE_A + _CLASS_IN + _TTL_SECONDS.to_bytes(4, "big") + b"\x00\x04"
    return header + question + record + socket.inet_aton(LOOPBACK)
