"""A good bucket on Ceph behind the strict proxy, with an identity for each work, and a service around it."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.management import call_command

from tests.emulators.ceph import CephGateway
from tests.gateway.doctor.strict_proxy import StrictProxy

ORIGIN = "https://files.example.com"
CORS = {
    "AllowedOrigins": [ORIGIN],
    "AllowedMethods": ["GET", "HEAD", "PUT", "POST"],
    "AllowedHeaders": ["content-type", "if-none-match", "range", "x-amz-checksum-sha256"],
    "ExposeHeaders": ["ETag"],
}
LIFECYCLE = {
    "Rules": [
        {
            "ID": "abort",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
    ]
}


@dataclass
class Report:
    """What one run of the command said."""

    status: int
    findings: list[dict[str, Any]]
    text: str

    def checks(self, verdict: str) -> set[str]:
        return {each["check"] for each in self.findings if each["verdict"] == verdict}

    def one(self, check: str) -> dict[str, Any]:
        (found,) = [each for each in self.findings if each["check"] == check]
        return found


def doctor(*arguments: str) -> Report:
    """Run the command with ``--json``."""
    out = io.StringIO()
    status = 0
    try:
        call_command("gateway_doctor", *arguments, "--json", stdout=out)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return Report(status, json.loads(out.getvalue()), out.getvalue())


class Interrupted(io.StringIO):
    """An output that fails as soon as the probe is there, as of a reader who went away or an operator who gave up."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        if "an upload link works" in text:
            raise self._error
        return super().write(text)


def interrupted(error: type[BaseException], *arguments: str) -> str:
    """Interrupt the command, and return what it had printed."""
    out = Interrupted(error)
    with pytest.raises(error):
        call_command("gateway_doctor", *arguments, stdout=out)
    return out.getvalue()


@dataclass
class Bucket:
    """A bucket on Ceph, and the three storages that reach it."""

    ceph: CephGateway
    proxy: StrictProxy
    settings: Any
    name: str
    arguments: list[str] = field(
        default_factory=lambda: ["private_s3", "--sweeper", "as_owner", "--auditor", "as_owner"]
    )

    @property
    def client(self) -> Any:
        return self.ceph.client()

    def use(self, alias: str, credentials: Any, **options: Any) -> None:
        """Point an alias to the bucket."""
        entry = {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": {
                "bucket_name": self.name,
                "region_name": self.ceph.region,
                "endpoint_url": self.proxy.endpoint_url,
                "verify": str(self.proxy.certificate_path),
                "access_key": credentials.access_key_id,
                "secret_key": credentials.secret_access_key,
            }
            | options,
        }
        self.settings.STORAGES = {**self.settings.STORAGES, alias: entry}

    def allow(self, *statements: dict[str, Any]) -> None:
        """Replace the bucket's policy."""
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        self.client.put_bucket_policy(Bucket=self.name, Policy=json.dumps(policy))

    def signer_may(self, *actions: str, resource: str = "/uploads/*") -> dict[str, Any]:
        return {
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam:::user/restricted"]},
            "Action": list(actions),
            "Resource": [f"arn:aws:s3:::{self.name}{resource}"],
        }

    def objects(self) -> list[str]:
        listed = self.client.list_object_versions(Bucket=self.name)
        return [each["Key"] for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, ())]

    def examined(self) -> Report:
        return doctor(*self.arguments)


@pytest.fixture(scope="session")
def proxy(ceph: CephGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictProxy]:
    with StrictProxy(ceph.endpoint_url, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def service(settings: Any, tmp_path: Any, db: None, one_connection: None) -> Any:
    """Settings of a service in production."""
    settings.SECRET_KEY = secrets.token_urlsafe(48)
    settings.ALLOWED_HOSTS = ["files.example.com"]
    settings.SECURE_SSL_REDIRECT = True
    settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": ORIGIN}
    return settings


@pytest.fixture
def bucket(ceph: CephGateway, proxy: StrictProxy, service: Any) -> Bucket:
    proxy.reset()
    made = Bucket(ceph, proxy, service, ceph.create_bucket(f"doctor-{secrets.token_hex(6)}", cors=[CORS]))
    made.allow(made.signer_may("s3:GetObject", "s3:PutObject"))
    client = made.client
    client.put_bucket_versioning(Bucket=made.name, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_lifecycle_configuration(Bucket=made.name, LifecycleConfiguration=LIFECYCLE)
    made.use("private_s3", ceph.restricted_credentials)
    made.use("as_owner", ceph.credentials)
    return made


Break = Callable[[Bucket], None]
