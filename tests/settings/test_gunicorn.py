"""The service as it is run in production: gunicorn, PostgreSQL, settings from the environment."""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from tests.emulators.process import LOOPBACK, Emulator, free_port, port_is_open
from tests.settings.test_production import ROOT, SECRET

HOST = "files.example.com"
POPULATE = """
import django; django.setup()
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone
from gateway.models import ApiToken
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
user = get_user_model().objects.create_user("alice")
scopes, until = ["Download", "Upload"], timezone.now() + timedelta(hours=1)
print(ApiToken.mint(user=user, name="test", scopes=scopes, expires_at=until)[1])
"""


class Service(Emulator):
    """Run the service in production settings on a new database; ``token`` is alice's."""

    name = "service"

    def __init__(self, postgres_url: str) -> None:
        self.postgres_url = postgres_url

    def _check_installed(self) -> None:
        return

    def _start(self) -> None:
        self.database = f"service_{uuid.uuid4().hex}"
        with psycopg.connect(self.postgres_url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.database}")
        storages = self.directory / "storages.json"
        local = {
            "BACKEND": "gateway.storages.PrivateFileSystemStorage",
            "OPTIONS": {"location": str(self.directory / "private")},
        }
        storages.write_text(json.dumps({"private": local}))
        self.port = free_port()
        variables = {
            "DJANGO_SETTINGS_MODULE": "settings.production",
            "PYTHONPATH": str(ROOT),
            "SECRET_KEY": SECRET,
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": self.postgres_url.rpartition("/")[0] + f"/{self.database}",
            "GATEWAY_PUBLIC_URL": f"https://{HOST}",
            "GATEWAY_STORAGES_FILE": str(storages),
            "STATIC_ROOT": str(self.directory / "static"),
            "TRUST_PROXY_SSL_HEADER": "1",
            "GUNICORN_BIND": f"{LOOPBACK}:{self.port}",
            "GUNICORN_WORKERS": "2",
        }
        self.token = self.run([sys.executable, "-c", POPULATE], extra_environment=variables).strip()
        self.gunicorn = self.spawn(
            "gunicorn",
            [sys.executable, "-m", "gunicorn", "--config", "python:settings.gunicorn"],
            extra_environment=variables,
        )
        self.wait_until(lambda: port_is_open(self.port), what="gunicorn")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.gunicorn.log_path.read_text().splitlines()]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=20)
        headers = {"Host": HOST, "X-Forwarded-Proto": "https"} | headers
        if body is not None:
            headers |= {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.status, response.headers, response.read()
        connection.close()
        return answer


@pytest.fixture
def service(postgres: Any) -> Iterator[Service]:
    with Service(postgres.url) as running:
        yield running


def form_data(content: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="report.txt"\r\n\r\n'
    body = head + content + b"\r\n--boundary--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=boundary", "Content-Length": str(len(body))}


def test_a_file_goes_in_a_link_comes_out_and_the_logs_tell_of_both(service: Service) -> None:
    bearer = {"Authorization": f"Bearer {service.token}"}
    assert service.ask("GET", "/readyz")[0] == 200
    assert service.ask("GET", "/", **{"X-Forwarded-Proto": "http"})[0] == 301
    # gunicorn believes both of a proxy on the same machine, and Caddy and Traefik hand them on from clients.
    assert service.ask("GET", "/readyz", PATH_INFO="/healthz", SCRIPT_NAME="/elsewhere")[2] == b'{"status": "ready"}'

    body, headers = form_data(b"private")
    connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=20)
    sent = {"Host": HOST, "X-Forwarded-Proto": "https", **bearer, **headers}
    connection.request("POST", "/api/v1/files", body, sent)
    file = json.load(connection.getresponse())["id"]
    connection.close()

    status, answered, text = service.ask("POST", "/api/v1/links", {"file": file}, **bearer)
    assert status == 201
    url = json.loads(text)["url"]
    assert url.startswith(f"https://{HOST}/local/private/uploads/")
    assert service.ask("GET", url.removeprefix(f"https://{HOST}"))[::2] == (200, b"private")
    assert service.ask("POST", "/api/v1/links", {"file": str(uuid.uuid4())}, **bearer)[0] == 404
    # Refused, and good for something else all the while.
    assert service.ask("PUT", url.removeprefix(f"https://{HOST}"))[0] == 403

    logged = service.gunicorn.log_path.read_text()
    assert service.token not in logged
    assert url.rpartition("=")[2] not in logged
    lines = service.lines
    assert all({"time", "level", "logger", "message", "request_id"} <= set(line) for line in lines)
    (issuing,) = [
        line for line in lines if line["logger"] == "gunicorn.access" and "POST /api/v1/links 201" in line["message"]
    ]
    assert answered["X-Request-ID"] in issuing["message"]
    refused = [line for line in lines if line["logger"] == "django.request" and line["level"] == "WARNING"]
    assert [line["status_code"] for line in refused] == [404, 403]
    assert all(len(line["request_id"]) == 32 for line in refused)


def test_a_request_under_way_ends_before_the_service_does(service: Service) -> None:
    body, headers = form_data(b"x" * 100_000)
    connection = http.client.HTTPConnection(LOOPBACK, service.port, timeout=20)
    connection.putrequest("POST", "/api/v1/files", skip_host=True)
    sent = {"Host": HOST, "X-Forwarded-Proto": "https", "Authorization": f"Bearer {service.token}", **headers}
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body[:50_000])
    time.sleep(0.5)
    service.gunicorn.popen.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    connection.send(body[50_000:])
    response = connection.getresponse()
    assert (response.status, json.load(response)["size"]) == (201, 100_000)
    connection.close()
    assert service.gunicorn.popen.wait(20) == 0


def test_connections_that_were_cut_are_replaced(service: Service) -> None:
    bearer = {"Authorization": f"Bearer {service.token}"}
    assert service.ask("GET", "/api/v1/files", **bearer)[0] == 200
    with psycopg.connect(service.postgres_url, autocommit=True) as admin:
        cut = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [service.database]
        )
        assert cut.fetchall()
    assert service.ask("GET", "/api/v1/files", **bearer)[0] == 200
