"""moto's S3 server in a thread of this process: how the SDK saves, opens, lists and deletes.

It must not be the proof of any link: moto answers 200 to a wrong signature, another key and an expired link.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Self

from tests.emulators.process import LOOPBACK, Unavailable
from tests.emulators.s3 import REGION, Credentials, s3_client, send


class MotoServer:
    """Run moto's server, which proves no signature: use Ceph or rclone for links.

    moto keeps its buckets per process, so two servers of one process share them; leaving one empties both.
    """

    name = "moto_server"

    region = REGION
    endpoint_url: str
    credentials: Credentials

    @property
    def access_key_id(self) -> str:
        return self.credentials.access_key_id

    @property
    def secret_access_key(self) -> str:
        return self.credentials.secret_access_key

    def __enter__(self) -> Self:
        try:
            from moto.server import ThreadedMotoServer
        except ImportError as error:
            remedy = "pip install moto[server], of the dev dependency group"
            raise Unavailable(self.name, [error.name or "moto"], remedy=remedy) from None
        # Its access log holds whole links, signatures included.
        self._access_log = logging.getLogger("werkzeug")
        self._access_log_level = self._access_log.level
        self._access_log.setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
        self._server.start()
        _, port = self._server.get_host_and_port()
        self.endpoint_url = f"http://{LOOPBACK}:{port}"
        self.credentials = Credentials.generate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Forget all buckets, end the thread and close the port."""
        send(f"{self.endpoint_url}/moto-api/reset", method="POST", body=b"")
        self._server.stop()
        self._access_log.setLevel(self._access_log_level)

    def client(self) -> Any:
        """Make a boto3 client."""
        return s3_client(self.endpoint_url, self.credentials)

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its name."""
        self.client().create_bucket(Bucket=name)
        return name
