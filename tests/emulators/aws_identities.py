"""Machines on which boto3's chain finds credentials: one of each kind, with nothing else of the real machine.

It sets the environment of this process through the caller's monkeypatch, and knows no test.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.emulators.token_endpoints import (
    AWSEndpoint,
    ContainerCredentials,
    InstanceMetadata,
    SecurityTokenService,
)

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/reader"
LIFE = timedelta(hours=1)
# kind -> whether its credentials end, and with them the links
KINDS = {
    "environment": False,
    "environment-temporary": True,
    "profile": False,
    "assume-role": True,
    "web-identity": True,
    "container": True,
    "machine": True,
    "program": True,
}


@dataclass
class Machine:
    """Where a storage finds its credentials.

    Attributes:
        options: what the storage has to be told; nothing, mostly.
        server: the endpoint that is asked, where there is one.
        given: secret, session token and end, by access key id, where no endpoint is asked.
    """

    options: dict[str, Any] = field(default_factory=dict)
    server: AWSEndpoint | None = None
    given: dict[str, tuple[str, str | None, datetime | None]] = field(default_factory=dict)

    @property
    def issued(self) -> dict[str, tuple[str, str | None, datetime | None]]:
        return {**self.given, **(self.server.issued if self.server else {})}


@contextmanager
def machine_of(
    kind: str,
    monkeypatch: Any,
    home: Path,
    *,
    pair: tuple[str, str] = ("AKIDGIVEN", "a secret"),
    life: timedelta = LIFE,
) -> Iterator[Machine]:
    """Be on a machine with one kind of credential.

    Args:
        pair: what lasting kinds hold.
        life: of what ends.
    """
    forget_this_machine(monkeypatch, home)
    with _MAKERS[kind](monkeypatch, home, pair, life) as machine:
        yield machine


def forget_this_machine(monkeypatch: Any, home: Path) -> None:
    """Let no setting, file or machine of whoever runs the tests be found."""
    for name in tuple(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(home),
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@contextmanager
def _environment(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Iterator[Machine]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", pair[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", pair[1])
    yield Machine(given={pair[0]: (pair[1], None, None)})


@contextmanager
def _environment_temporary(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Iterator[Machine]:
    end = datetime.now(UTC).replace(microsecond=0) + life
    with _environment(monkeypatch, home, pair, life):
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a/session+token=")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat().replace("+00:00", "Z"))
        yield Machine(given={pair[0]: (pair[1], "a/session+token=", end)})


@contextmanager
def _profile(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Iterator[Machine]:
    (home / "credentials").write_text(f"[files]\naws_access_key_id = {pair[0]}\naws_secret_access_key = {pair[1]}\n")
    yield Machine(options={"session_profile": "files"}, given={pair[0]: (pair[1], None, None)})


@contextmanager
def _served(
    server: AWSEndpoint, monkeypatch: Any, variables: Callable[[str], dict[str, str]], **options: Any
) -> Iterator[Machine]:
    with server:
        for name, value in variables(server.url).items():
            monkeypatch.setenv(name, value)
        yield Machine(options=options, server=server)


def _assume_role(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Any:
    (home / "credentials").write_text(f"[base]\naws_access_key_id = {pair[0]}\naws_secret_access_key = {pair[1]}\n")
    (home / "config").write_text(f"[profile reader]\nrole_arn = {ROLE}\nsource_profile = base\n")
    return _served(SecurityTokenService(life=life), monkeypatch, _of_sts, session_profile="reader")


def _web_identity(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Any:
    (home / "token").write_text("web-identity")
    own = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"), "AWS_ROLE_ARN": ROLE}
    return _served(SecurityTokenService(life=life), monkeypatch, lambda url: _of_sts(url) | own)


def _of_sts(url: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_STS": url, "AWS_DEFAULT_REGION": REGION}


def _container(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Any:
    server = ContainerCredentials(life=life)
    token = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": server.authorization}
    return _served(
        server, monkeypatch, lambda url: {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/v1/credentials"} | token
    )


def _machine(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Any:
    return _served(
        InstanceMetadata(life=life),
        monkeypatch,
        lambda url: {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": url},
    )


@contextmanager
def _program(monkeypatch: Any, home: Path, pair: tuple[str, str], life: timedelta) -> Iterator[Machine]:
    end = datetime.now(UTC).replace(microsecond=0) + life
    document = {
        "Version": 1, "AccessKeyId": pair[0], "SecretAccessKey": pair[1], "SessionToken": "token",
        "Expiration": end.isoformat(),
    }  # fmt: skip
    (home / "program.py").write_text(f"print({json.dumps(document)!r})")
    (home / "config").write_text(f"[profile program]\ncredential_process = {sys.executable} {home / 'program.py'}\n")
    yield Machine(options={"session_profile": "program"}, given={pair[0]: (pair[1], "token", end)})


_MAKERS: dict[str, Callable[..., Any]] = {
    "environment": _environment,
    "environment-temporary": _environment_temporary,
    "profile": _profile,
    "assume-role": _assume_role,
    "web-identity": _web_identity,
    "container": _container,
    "machine": _machine,
    "program": _program,
}
