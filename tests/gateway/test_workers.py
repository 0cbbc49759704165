"""The real gunicorn, preloaded, with processes and threads that all ask at once: one credential for each process.

Every kind of credential that is fetched, from a server that counts; every link is verified.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.emulators.process import LOOPBACK, Emulator, free_port, port_is_open
from tests.emulators.token_endpoints import (
    AzureIdentity,
    DelegationKeys,
    GoogleMetadata,
    IAMCredentials,
    InstanceMetadata,
    slow,
)
from tests.gateway.delivery.servers import Place, Populated, environment
from tests.providers import clouds
from tests.verifiers.goog4 import RSAIdentity, verify_signed
from tests.verifiers.sas import Account, DelegationKey, Refused, verify_sas
from tests.verifiers.sigv4 import Identity, verify_presigned

WORKERS, THREADS = 4, 8
CLIENTS = 64
REGION = "eu-central-1"
KEY = "uploads/2026/11/0123456789abcdef0123456789abcdef/report.pdf"
SLOW = slow(0.05)  # so that every thread of a process comes while the first is fetching


@dataclass(frozen=True)
class Fetched:
    """A storage whose credential is fetched.

    Attributes:
        entry: its entry of ``STORAGES``.
        variables: what the machine's environment says.
        fetches: how many credentials the servers have handed out.
        judge: verifies a link.
    """

    entry: Mapping[str, Any]
    variables: Mapping[str, str]
    fetches: Callable[[], int]
    judge: Callable[[str], Any]


def entry(backend: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": f"gateway.storages.{backend}", "OPTIONS": options}


@contextmanager
def s3_role() -> Iterator[Fetched]:
    with InstanceMetadata() as machine:
        machine.trouble = SLOW

        def judge(url: str) -> None:
            identities = {key_id: Identity(secret, token) for key_id, (secret, token, _) in machine.issued.items()}
            verify_presigned(
                method="GET", url=url, headers={}, identities=identities, region=REGION, now=datetime.now(UTC)
            )

        yield Fetched(
            entry("PrivateS3Storage", bucket_name="bucket", region_name=REGION),
            {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.url},
            lambda: len(machine.issued),
            judge,
        )


@contextmanager
def gcs_keyless() -> Iterator[Fetched]:
    email = "signer@project.iam.gserviceaccount.com"
    with GoogleMetadata(email=email) as metadata, IAMCredentials(clouds.sign_rsa) as iam:
        metadata.trouble = SLOW
        iam.accepts = metadata.tokens.__contains__
        host = metadata.url.removeprefix("http://")

        def judge(url: str) -> None:
            identities = {email: RSAIdentity(clouds.MODULUS)}
            verify_signed(method="GET", url=url, headers={}, identities=identities, now=datetime.now(UTC))

        yield Fetched(
            entry("PrivateGCSStorage", bucket_name="bucket", signer_email=email, iam_endpoint_url=iam.url),
            {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "GOOGLE_CLOUD_PROJECT": "project"},
            lambda: len(metadata.tokens),
            judge,
        )


@contextmanager
def azure_identity() -> Iterator[Fetched]:
    with AzureIdentity(identity_header="header") as identity, DelegationKeys() as blobs:
        identity.trouble = SLOW
        blobs.accepts = identity.tokens.__contains__

        def judge(url: str) -> None:
            said = dict(parse_qsl(urlsplit(url).query))
            fields = [said[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")]
            # Two processes that ask in one second are given two keys of the same times.
            for value in (value for end, value in blobs.issued if end == said["ske"]):
                account = Account("account", blobs.url, delegation_keys=(DelegationKey(*fields, value),))
                with suppress(Refused):
                    verify_sas(method="GET", url=url, headers={}, account=account, now=datetime.now(UTC))
                    return
            pytest.fail("no key that was handed out signed this link")

        yield Fetched(
            entry(
                "PrivateAzureStorage",
                account_name="account", azure_container="container", managed_identity=True, endpoint_url=blobs.url,
            ),
            {"IDENTITY_ENDPOINT": identity.url, "IDENTITY_HEADER": "header"},
            lambda: max(len(identity.tokens), blobs.asked()),
            judge,
        )  # fmt: skip


KINDS = {"s3-role": s3_role, "gcs-keyless": gcs_keyless, "azure-identity": azure_identity}


class Workers(Emulator):
    """gunicorn, preloaded, with processes and threads."""

    name = "workers"  # type: ignore[misc]

    def __init__(self, place: Place, **more: Any) -> None:
        self.place = place
        self.more = more
        self.variables: Mapping[str, str] = {}

    def _check_installed(self) -> None:
        return

    def _start(self) -> None:
        self.port = free_port()
        argv = [
            sys.executable, "-m", "gunicorn", "settings.wsgi:application", "--bind", f"{LOOPBACK}:{self.port}",
            "--preload", "--workers", str(WORKERS), "--worker-class", "gthread", "--threads", str(THREADS),
            "--no-control-socket",
        ]  # fmt: skip
        told = environment(self.place.directory, f"http://{LOOPBACK}:{self.port}", **self.more)
        self.spawn("gunicorn", argv, extra_environment=told | dict(self.variables))
        self.wait_until(lambda: port_is_open(self.port), what="gunicorn", timeout_seconds=60)

    def ask(self, file: str, token: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", "/api/v1/links", json.dumps({"file": file}), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@pytest.mark.parametrize("kind", KINDS)
def test_64_first_requests_fetch_one_credential_for_each_process(kind: str) -> None:
    with ExitStack() as stack:
        fetched = stack.enter_context(KINDS[kind]())
        more = {"storages": {"cloud": fetched.entry}, "files": {"cloud": {"report": KEY}}}
        made = stack.enter_context(Populated(**more))
        workers = Workers(Place(made.directory, made.facts), **more)
        workers.variables = fetched.variables
        stack.enter_context(workers)
        assert fetched.fetches() == 0  # not by the process that preloads

        barrier = Barrier(CLIENTS)

        def first() -> tuple[int, dict[str, Any]]:
            barrier.wait()
            return workers.ask(made.facts["files"]["cloud"]["report"], made.facts["tokens"][0])

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = [future.result() for future in [pool.submit(first) for _ in range(CLIENTS)]]
        log = workers.children[0].log_path.read_text()
        assert [status for status, _ in answers] == [201] * CLIENTS, log[:4000]
        assert 1 <= fetched.fetches() <= WORKERS
        for _, link in answers:
            fetched.judge(link["url"])
        assert len({link["id"] for _, link in answers}) == CLIENTS
