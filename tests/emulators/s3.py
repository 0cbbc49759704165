"""The S3 client and the bare HTTP request that the S3 emulators are used with.

It must not sign anything itself, nor read the caller's AWS or proxy settings.
"""

from __future__ import annotations

import http.client
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.emulators.process import LOOPBACK

REGION = "us-east-1"
TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Credentials:
    """Hold one user's key pair; a repr does not show the secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def generate(cls) -> Credentials:
        """Make up a pair that no other server on this machine knows."""
        return cls("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))


def s3_client(endpoint_url: str, credentials: Credentials, *, addressing_style: str = "path") -> Any:
    """Make a boto3 S3 client that signs with Signature Version 4 and goes straight to the endpoint."""
    return boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing_style},
            proxies={},
            connect_timeout=TIMEOUT_SECONDS,
            read_timeout=TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
        ),
    )


def answers(client: Any) -> bool:
    """Tell whether the server lists buckets for the client's key, which shows that it is the server meant."""
    try:
        client.list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


@dataclass(frozen=True)
class Response:
    """Hold an HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
) -> Response:
    """Send one request to the loopback port of the link, with the link's path, query and host as they are.

    No name is resolved, so that a virtual-host link (``http://bucket.localhost:port/key``) works where the
    resolver does not know names below localhost. Nothing is normalised, followed or tried again.

    Args:
        tls: whom to trust, for a server that speaks https.
    """
    parts = urlsplit(url)
    if parts.scheme != ("http" if tls is None else "https") or parts.port is None:
        raise ValueError("the link is not http(s) with a port: it does not lead to this emulator")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = (
        http.client.HTTPConnection(LOOPBACK, parts.port, timeout=TIMEOUT_SECONDS)
        if tls is None
        else http.client.HTTPSConnection(LOOPBACK, parts.port, timeout=TIMEOUT_SECONDS, context=tls)
    )
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": parts.netloc} | dict(headers or {})
        if body is not None:
            sent = {"Content-Length": str(len(body))} | sent
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
