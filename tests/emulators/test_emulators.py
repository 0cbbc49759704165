"""Prove of each server that it starts, serves, refuses what it is said to refuse, and is gone afterwards.

The links are botocore's own: it is the servers that are judged here, not a signer.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from azure.storage.blob import generate_blob_sas

from tests.emulators.azurite import Azurite, AzuriteOAuth, azurite_command
from tests.emulators.ceph import CephGateway
from tests.emulators.certificates import client_context
from tests.emulators.gcs import CloudStorage
from tests.emulators.moto import MotoServer
from tests.emulators.postgres import Postgres, postgres_programs
from tests.emulators.process import Emulator, Unavailable, port_is_open
from tests.emulators.rclone import RcloneS3, rclone_program
from tests.emulators.s3 import Response, send
from tests.emulators.test_process import REPOSITORY_PATH, alive

S3Server = CephGateway | RcloneS3 | MotoServer


@pytest.fixture(params=["ceph", "rclone", "moto_server"])
def any_s3(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=["ceph", "rclone"])
def strict_s3(request: pytest.FixtureRequest) -> CephGateway | RcloneS3:
    """A server that verifies links."""
    server: CephGateway | RcloneS3 = request.getfixturevalue(request.param)
    return server


def new_bucket(server: S3Server) -> str:
    return server.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}")


def presign(client: Any, operation: str, bucket: str, key: str, *, seconds: int = 60, **parameters: Any) -> str:
    link: str = client.generate_presigned_url(
        operation, Params={"Bucket": bucket, "Key": key} | parameters, ExpiresIn=seconds
    )
    return link


def with_last_digit_changed(link: str) -> str:
    return link[:-1] + ("0" if link[-1] != "0" else "1")


def test_stores_and_returns_an_object(any_s3: S3Server) -> None:
    bucket, client = new_bucket(any_s3), any_s3.client()
    client.put_object(Bucket=bucket, Key="a dir/ä+~.txt", Body=b"some bytes", ContentType="text/plain")
    answer = client.get_object(Bucket=bucket, Key="a dir/ä+~.txt")
    assert answer["Body"].read() == b"some bytes"
    assert answer["ContentType"] == "text/plain"
    client.delete_object(Bucket=bucket, Key="a dir/ä+~.txt")
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_serves_a_link_for_the_way_up_and_the_way_down(any_s3: S3Server) -> None:
    bucket, client = new_bucket(any_s3), any_s3.client()
    put = presign(client, "put_object", bucket, "key", ContentType="text/plain")
    assert send(put, method="PUT", headers={"Content-Type": "text/plain"}, body=b"bytes").status == 200
    down = send(presign(client, "get_object", bucket, "key"))
    assert (down.status, down.body) == (200, b"bytes")


REFUSED = {
    400,
    403,
}  # rclone answers 400 where AWS and Ceph say 403 to an expired link, or one without a signature

# What is done to a good GET link: how the link is changed, and what else is sent.
CHANGES: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "signature": (with_last_digit_changed, {}),
    "key": (lambda link: link.replace("/key?", "/other?"), {}),
    "expiry": (lambda link: link.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), {}),
    "another-parameter": (lambda link: link + "&response-content-type=text%2Fhtml", {}),
    "method": (lambda link: link, {"method": "DELETE"}),
    "no-signature": (lambda link: link.partition("?")[0], {}),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_refuses_a_link_that_was_tampered_with(strict_s3: CephGateway | RcloneS3, change: str) -> None:
    bucket, client = new_bucket(strict_s3), strict_s3.client()
    for key in ("key", "other"):
        client.put_object(Bucket=bucket, Key=key, Body=b"bytes")
    link = presign(client, "get_object", bucket, "key")
    assert send(link).status == 200
    edit, request = CHANGES[change]
    assert send(edit(link), **request).status in REFUSED
    assert client.get_object(Bucket=bucket, Key="key")["Body"].read() == b"bytes"


def test_refuses_a_link_when_its_time_is_over(strict_s3: CephGateway | RcloneS3) -> None:
    bucket, client = new_bucket(strict_s3), strict_s3.client()
    client.put_object(Bucket=bucket, Key="key", Body=b"bytes")
    link = presign(client, "get_object", bucket, "key", seconds=2)
    assert send(link).status == 200
    give_up_at = time.monotonic() + 6
    while (status := send(link).status) == 200 and time.monotonic() < give_up_at:
        time.sleep(0.1)
    assert status in REFUSED


def test_moto_proves_no_link(moto_server: MotoServer) -> None:
    bucket, client = new_bucket(moto_server), moto_server.client()
    client.put_object(Bucket=bucket, Key="key", Body=b"bytes")
    assert send(with_last_digit_changed(presign(client, "get_object", bucket, "key"))).status == 200


def test_ceph_refuses_a_stranger(ceph: CephGateway) -> None:
    bucket = new_bucket(ceph)
    ceph.client().put_object(Bucket=bucket, Key="key", Body=b"bytes")
    stranger = ceph.client(ceph.other_credentials)
    assert send(presign(stranger, "get_object", bucket, "key")).status == 403


@pytest.mark.parametrize(
    ("operation", "method", "key", "status"),
    [
        pytest.param("get_object", "GET", "uploads/there", 200, id="get"),
        pytest.param("head_object", "HEAD", "uploads/there", 200, id="head"),
        pytest.param("put_object", "PUT", "uploads/new", 200, id="put"),
        pytest.param("head_object", "HEAD", "uploads/missing", 403, id="head-of-a-missing-key"),
        pytest.param("get_object", "GET", "uploads/missing", 403, id="get-of-a-missing-key"),
        pytest.param("delete_object", "DELETE", "uploads/there", 403, id="delete"),
        pytest.param("get_object", "GET", "elsewhere/there", 403, id="get-elsewhere"),
        pytest.param("put_object", "PUT", "elsewhere/new", 403, id="put-elsewhere"),
    ],
)
def test_ceph_holds_the_restricted_user_to_uploads(
    ceph: CephGateway, operation: str, method: str, key: str, status: int
) -> None:
    bucket = new_bucket(ceph)
    for present in ("uploads/there", "elsewhere/there"):
        ceph.client().put_object(Bucket=bucket, Key=present, Body=b"bytes")
    ceph.grant_uploads(bucket)
    link = presign(ceph.client(ceph.restricted_credentials), operation, bucket, key)
    assert send(link, method=method, body=b"bytes" if method == "PUT" else None).status == status


def test_ceph_answers_a_preflight_for_the_allowed_origin_only(ceph: CephGateway) -> None:
    cors = [{"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://app.example"], "AllowedHeaders": ["*"]}]
    bucket = ceph.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}", cors=cors)
    link = presign(ceph.client(), "put_object", bucket, "key")
    allowed = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    answer = send(link, method="OPTIONS", headers=allowed)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert send(link, method="OPTIONS", headers=allowed | {"Origin": "https://evil.example"}).status == 403


def test_ceph_serves_virtual_host_links(ceph: CephGateway) -> None:
    bucket = new_bucket(ceph)
    ceph.client().put_object(Bucket=bucket, Key="key", Body=b"bytes")
    link = presign(ceph.client(addressing_style="virtual"), "get_object", bucket, "key")
    assert urlsplit(link).hostname == f"{bucket}.localhost"
    assert send(link).body == b"bytes"
    assert send(with_last_digit_changed(link)).status == 403


def test_rclone_serves_directories_as_buckets(rclone: RcloneS3) -> None:
    bucket = new_bucket(rclone)
    rclone.client().put_object(Bucket=bucket, Key="a/b", Body=b"bytes")
    assert (rclone.buckets_path / bucket / "a" / "b").read_bytes() == b"bytes"


@pytest.fixture(params=["azurite", "azurite_oauth"])
def any_azurite(request: pytest.FixtureRequest) -> Azurite:
    server: Azurite = request.getfixturevalue(request.param)
    return server


def sas_link(server: Azurite, *, seconds: int = 60, permission: str = "r") -> str:
    """Store a blob and sign for it, by the SDK: with an account key, or with one of a user delegation."""
    with server.client() as client:
        container = server.create_container(f"box-{uuid.uuid4().hex[:12]}")
        blob = client.get_blob_client(container, "key")
        blob.upload_blob(b"bytes")
    now = datetime.now(UTC)
    query = generate_blob_sas(
        server.account_name, container, "key", account_key=server.account_key,
        permission=permission, expiry=now + timedelta(seconds=seconds),
    )  # fmt: skip
    return f"{server.endpoint_url}/{container}/key?{query}"


def fetch(server: Azurite, link: str, **request: Any) -> Response:
    return send(link, tls=None if server.ca_file is None else client_context(server.ca_file), **request)


AZURE_CHANGES: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "signature": (lambda link: re.sub(r"(sig=)(.)", lambda m: m[1] + ("B" if m[2] == "A" else "A"), link), {}),
    "key": (lambda link: link.replace("/key?", "/other?"), {}),
    "permission": (lambda link: link.replace("sp=r", "sp=rd"), {}),
    "answer": (lambda link: link + "&rsct=text%2Fhtml", {}),
    "method": (lambda link: link, {"method": "DELETE"}),
    "no-signature": (lambda link: link.partition("?")[0], {}),
}


@pytest.mark.parametrize("change", AZURE_CHANGES, ids=str)
def test_azurite_refuses_a_link_that_was_tampered_with(any_azurite: Azurite, change: str) -> None:
    link = sas_link(any_azurite)
    assert fetch(any_azurite, link).body == b"bytes"
    edit, request = AZURE_CHANGES[change]
    assert edit(link) != link or request
    assert fetch(any_azurite, edit(link), **request).status in {403, 404}
    assert fetch(any_azurite, link).body == b"bytes"


def test_azurite_refuses_a_link_when_its_time_is_over(any_azurite: Azurite) -> None:
    assert fetch(any_azurite, sas_link(any_azurite, seconds=-2)).status == 403


@pytest.mark.parametrize(
    ("life_seconds", "audience", "good"),
    [
        pytest.param(3600, "https://storage.azure.com", True, id="good"),
        pytest.param(-1, "https://storage.azure.com", False, id="over"),
        pytest.param(3600, "https://vault.azure.net", False, id="for-something-else"),
    ],
)
def test_azurite_gives_keys_for_good_tokens_alone(
    azurite_oauth: AzuriteOAuth, life_seconds: int, audience: str, good: bool
) -> None:
    token = azurite_oauth.token(life_seconds=life_seconds, audience=audience)
    now = datetime.now(UTC)
    start, end = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (now, now + timedelta(hours=1)))
    answer = fetch(
        azurite_oauth, f"{azurite_oauth.endpoint_url}/?restype=service&comp=userdelegationkey", method="POST",
        headers={"Authorization": f"Bearer {token}", "x-ms-version": "2025-05-05", "Content-Type": "application/xml"},
        body=f"<?xml version='1.0'?><KeyInfo><Start>{start}</Start><Expiry>{end}</Expiry></KeyInfo>".encode(),
    )  # fmt: skip
    assert (answer.status == 200) is good
    assert (b"<Value>" in answer.body) is good


def test_postgres_answers_a_query(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT 6 * 7").fetchone() == (42,)


def settings_of(server: Postgres) -> dict[str, str]:
    with psycopg.connect(server.url) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN"
            " ('fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses', 'unix_socket_directories')"
        ).fetchall()
    return dict(rows)


def test_postgres_keeps_the_durable_defaults(postgres: Postgres) -> None:
    assert settings_of(postgres) == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }


def test_postgres_gives_durability_up_only_when_asked(postgres: Postgres) -> None:
    with Postgres(durable=False) as other:
        assert other.url != postgres.url
        assert settings_of(other)["fsync"] == "off"
        assert settings_of(other)["synchronous_commit"] == "off"


# The fixture says whether the server is installed, and makes the test count for it.
@pytest.mark.parametrize(
    "make", [CephGateway, RcloneS3, Azurite, AzuriteOAuth, Postgres, CloudStorage], ids=lambda make: make.name
)
def test_is_gone_after_the_block(request: pytest.FixtureRequest, make: type[Emulator]) -> None:
    shared = request.getfixturevalue(make.name)
    with make() as server:
        assert server.directory != shared.directory
        port = urlsplit(getattr(server, "url", "") or getattr(server, "endpoint_url", "")).port
        assert port is not None
        pids = [child.pid for child in server.children]
        assert pids
        assert all(child.running for child in server.children)
        assert port_is_open(port)
    assert not port_is_open(port)
    assert not any(alive(pid) for pid in pids)
    assert not server.directory.exists()
    assert all(child.running for child in shared.children)


def test_moto_is_gone_after_the_block() -> None:
    with MotoServer() as server:
        port = urlsplit(server.endpoint_url).port
        assert port is not None
        server.create_bucket("left-behind")
        assert port_is_open(port)
    assert not port_is_open(port)
    with MotoServer() as again:
        assert again.client().list_buckets()["Buckets"] == []


def test_postgres_stops_while_a_client_is_connected() -> None:
    with Postgres(durable=False) as server:
        connection = psycopg.connect(server.url)
        started_at = time.monotonic()
    assert time.monotonic() - started_at < 5
    connection.close()
    assert server.children[0].popen.returncode == 0


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"ceph: not installed: monmaptool, ceph-mon.*make system-packages"):
        CephGateway().__enter__()
    with pytest.raises(Unavailable, match=r"postgres: not installed: postgresql; run: make system-packages"):
        postgres_programs(debian_root=tmp_path)
    with pytest.raises(Unavailable, match="rclone: not installed: no-such-wheel; run: pip install"):
        rclone_program("no-such-wheel")
    with pytest.raises(Unavailable, match="azurite: not installed: node, azurite; run: make node-packages"):
        azurite_command(tmp_path)


def test_no_representation_shows_a_secret(rclone: RcloneS3) -> None:
    assert rclone.secret_access_key not in f"{rclone.credentials!r} {vars(rclone)!r}"


def test_the_servers_need_no_pytest() -> None:
    names = "aws_identities, azurite, ceph, certificates, cloudfront, gcs, gcs_xml, moto, postgres, process, rclone, s3"
    code = f"import sys; from tests.emulators import {names}; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY_PATH, check=True)
