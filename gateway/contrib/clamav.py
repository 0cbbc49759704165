"""Has ClamAV look at uploads before anybody can have them: ``GATEWAY["UPLOAD_SCANNER"]``.

Must not let pass what was not scanned to its end: a daemon that is down, or will not take so much, is no yes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from clamav_client.clamd import ClamdError, ClamdNetworkSocket, ClamdUnixSocket

from gateway.errors import ScannerUnavailable

__all__ = ["ClamAVScanner"]


class ClamAVScanner:
    """Streams an object to ``clamd``; name an instance of it in your settings by its dotted path.

    Args:
        unix_socket: of the daemon; Debian's by default.
        host, port: in place of the socket.
        timeout_seconds: of each step.

    ``StreamMaxLength`` of the daemon must not be smaller than ``MAX_DIRECT_UPLOAD_BYTES``.
    """

    def __init__(
        self,
        *,
        unix_socket: str | Path = "/run/clamav/clamd.ctl",
        host: str | None = None,
        port: int = 3310,
        timeout_seconds: int = 60,
    ) -> None:
        self._unix_socket = str(unix_socket)
        self._host = host
        self._port = port
        self._timeout_seconds = timeout_seconds

    def scan(self, chunks: Iterator[bytes]) -> str | None:
        """Return the name of what was found; None where nothing was.

        Raises:
            ScannerUnavailable: the daemon cannot be asked, or did not scan it all.
        """
        # A client keeps its connection in itself, so each scan has its own.
        daemon: ClamdUnixSocket | ClamdNetworkSocket
        if self._host is None:
            daemon = ClamdUnixSocket(self._unix_socket, timeout=self._timeout_seconds)
        else:
            daemon = ClamdNetworkSocket(self._host, self._port, timeout=self._timeout_seconds)
        try:
            answer = daemon.instream(io.BufferedReader(_Chunks(chunks)))
        except (ClamdError, OSError) as error:
            raise ScannerUnavailable(f"ClamAV did not scan: {type(error).__name__}") from error
        status, found = answer.get("stream", ("", None))
        if status == "FOUND":
            return str(found)
        if status != "OK":
            raise ScannerUnavailable(f"ClamAV answered {status or 'nothing'}")
        return None


class _Chunks(io.RawIOBase):
    """The chunks as the file that the client reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
