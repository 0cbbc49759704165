"""The service, started from what an example puts out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.process import LOOPBACK, free_port
from tests.terraform.commands import ROOT, Applied, Terraform

START_SECONDS = 60
# No metadata server: the machine's own, if it has one, is no part of the test.
NOWHERE_TO_ASK = {
    "GCE_METADATA_HOST": f"{LOOPBACK}:9",
    "GCE_METADATA_IP": f"{LOOPBACK}:9",
    "NO_GCE_CHECK": "true",
    "HTTPS_PROXY": f"http://{LOOPBACK}:9",
    "HTTP_PROXY": f"http://{LOOPBACK}:9",
    "NO_PROXY": LOOPBACK,
}


@pytest.fixture
def storages(terraform: Terraform, example: Callable[[str], tuple[Path, Applied]]) -> dict[str, Any]:
    directory, _ = example("three-clouds")
    # As an operator has it, not as the state has it.
    found: dict[str, Any] = json.loads(terraform.run(directory, "output", "-json", "storages"))
    return found


def environment(home: Path, storages: Mapping[str, Any], alias: str) -> dict[str, str]:
    path = home / "storages.json"
    path.write_text(json.dumps(storages))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "settings.production",
        "SECRET_KEY": "".join(chr(33 + number) for number in range(60)),
        "ALLOWED_HOSTS": "files.example.com",
        "DATABASE_URL": f"sqlite:///{home}/db.sqlite3",
        "GATEWAY_PUBLIC_URL": "https://files.example.com",
        "GATEWAY_STORAGES_FILE": str(path),
        "GATEWAY_FILE_STORAGE": alias,
        "STATIC_ROOT": str(home / "static"),
        # As the task's role would give them.
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example-secret-of-no-account",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def serving(given: Mapping[str, str]) -> Iterator[int]:
    Path(given["STATIC_ROOT"]).mkdir()
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, env=dict(given), check=True, timeout=120
    )
    port = free_port()
    # As the image runs it.
    command = [sys.executable, "-m", "gunicorn", "--config=python:settings.gunicorn"]
    server = subprocess.Popen(command, cwd=ROOT, env={**given, "GUNICORN_BIND": f"{LOOPBACK}:{port}"})
    try:
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def readiness(port: int) -> tuple[int, dict[str, Any]]:
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = HTTPConnection(LOOPBACK, port, timeout=60)
        try:
            connection.request("GET", "/readyz", headers={"Host": "files.example.com"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def test_the_service_starts_from_the_output_and_every_storage_signs(storages: dict[str, Any], tmp_path: Path) -> None:
    with serving(environment(tmp_path, {"s3": storages["s3"]}, "s3")) as port:
        assert readiness(port) == (200, {"status": "ready"})


def test_the_service_starts_from_three_clouds_and_says_which_identity_it_lacks(
    storages: dict[str, Any], tmp_path: Path
) -> None:
    """Google and Azure sign over the network, as an identity that only their machines have."""
    with serving(environment(tmp_path, storages, "s3") | NOWHERE_TO_ASK) as port:
        status, body = readiness(port)
    assert (status, body["detail"]) == (503, "not ready: storage azure, storage gcs")


def test_every_storage_of_three_clouds_can_be_built(storages: dict[str, Any], tmp_path: Path) -> None:
    program = (
        "import django; django.setup();"
        "from django.core.files.storage import storages;"
        "print(*(storages[alias].provider.base_url for alias in ('azure', 'gcs', 's3')))"
    )
    given = environment(tmp_path, storages, "s3") | NOWHERE_TO_ASK
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=given, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        "https://acmeprivatefiles.blob.core.windows.net/uploads/",
        "https://storage.googleapis.com/acme-private-files/",
        "https://acme-private-files.s3.eu-west-1.amazonaws.com/",
    ]


def test_the_settings_are_those_of_the_bucket(storages: dict[str, Any], tmp_path: Path) -> None:
    storages["s3"]["max_ttl_seconds"] = 600
    program = "from django.conf import settings; import json; print(json.dumps(settings.STORAGES['s3']))"
    given = environment(tmp_path, {"s3": storages["s3"]}, "s3")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=given, capture_output=True, check=True)
    assert json.loads(done.stdout) == {
        "BACKEND": "gateway.storages.PrivateS3Storage",
        "OPTIONS": {"bucket_name": "acme-private-files", "region_name": "eu-west-1", "max_ttl": 600},
    }


def test_what_the_page_exports_is_enough_to_examine_the_output(storages: dict[str, Any], tmp_path: Path) -> None:
    """The shell lines of docs/terraform.md, but for the doctor itself, who would go to Amazon."""
    page = (ROOT / "docs" / "terraform.md").read_text()
    (lines,) = re.findall(r"^```sh\n(export DJANGO_SETTINGS_MODULE=.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert lines.endswith("python manage.py migrate\npython manage.py gateway_doctor\n")
    shutil.copytree(
        ROOT, tmp_path / "checkout", ignore=shutil.ignore_patterns(".*", "var", "tests", "docs", "terraform")
    )
    (tmp_path / "checkout" / "var").mkdir()
    (tmp_path / "checkout" / "var" / "storages.json").write_text(json.dumps({"private": storages["s3"]}))
    program = "from django.core.files.storage import storages; print(storages['private'].provider.base_url)"
    done = subprocess.run(
        ["sh", "-euc", lines.replace("manage.py gateway_doctor", f'manage.py shell --no-imports -c "{program}"')],
        cwd=tmp_path / "checkout",
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.endswith("https://acme-private-files.s3.eu-west-1.amazonaws.com/\n")


def test_the_service_does_not_start_for_an_alias_that_is_not_there(storages: dict[str, Any], tmp_path: Path) -> None:
    given = environment(tmp_path, {"s3": storages["s3"]}, "private")
    done = subprocess.run(
        [sys.executable, "-c", "from django.conf import settings; settings.DEBUG"],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "GATEWAY_FILE_STORAGE is 'private'; GATEWAY_STORAGES_FILE has s3" in done.stderr
