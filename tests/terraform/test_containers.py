"""The image and the examples that run it agree with the settings: variables, port, command, health."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.commands import ROOT, Applied

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = {name: json.loads(text) for name, text in re.findall(r"^(CMD|ENTRYPOINT) (\[.*\])$", DOCKERFILE, re.M)}
SETTINGS = "".join((ROOT / "settings" / f"{name}.py").read_text() for name in ("production", "gunicorn"))
NEEDED = set(re.findall(r'_needed\("([A-Z_]+)"\)', SETTINGS))
# What the settings read, and what the image's entry point does.
KNOWN = NEEDED | set(re.findall(r'(?:_seconds|environ\.get)\(\s*"([A-Z_]+)"', SETTINGS))
KNOWN |= set(re.findall(r"\$\{([A-Z_]+):-\}", INSTRUCTIONS["ENTRYPOINT"][2])) | {"DJANGO_SETTINGS_MODULE"}
IMAGE = dict(re.findall(r"^ +([A-Z_]+)=(\S+?)(?: \\)?$", DOCKERFILE.partition("ENV ")[2], re.M))
SERVICES = ["aws", "azure", "gcp"]


@pytest.fixture
def services(example: Callable[[str], tuple[Path, Applied]]) -> dict[str, Applied]:
    return {cloud: example(f"{cloud}/service")[1] for cloud in SERVICES}


def containers(cloud: str, applied: Applied) -> dict[str, dict[str, Any]]:
    """Return the container of the web process and that of the sweeper."""
    if cloud == "aws":
        tasks = {name: applied.one("aws_ecs_task_definition", name) for name in ("web", "sweeper")}
        return {name: json.loads(task["container_definitions"])[0] for name, task in tasks.items()}
    if cloud == "azure":
        apps = {"web": "azurerm_container_app", "sweeper": "azurerm_container_app_job"}
        return {name: applied.one(kind)["template"][0]["container"][0] for name, kind in apps.items()}
    service = applied.one("google_cloud_run_v2_service")["template"][0]
    job = applied.one("google_cloud_run_v2_job")["template"][0]["template"][0]
    return {"web": service["containers"][0], "sweeper": job["containers"][0]}


def variables(container: dict[str, Any]) -> dict[str, str | None]:
    """Return what a container is given; of a secret, only its name."""
    given = [*container.get("environment", ()), *container.get("secrets", ()), *container.get("env", ())]
    return {each["name"]: each.get("value") for each in given}


@pytest.mark.parametrize("cloud", SERVICES)
def test_an_example_gives_what_production_needs_and_nothing_that_it_does_not_know(
    cloud: str, services: dict[str, Applied]
) -> None:
    assert len(NEEDED) >= 5
    for container in containers(cloud, services[cloud]).values():
        names = set(variables(container))
        assert names <= KNOWN
        assert names | set(IMAGE) >= NEEDED


def test_the_image_runs_gunicorn_by_the_settings_on_the_port_that_it_names() -> None:
    assert INSTRUCTIONS["CMD"] == ["gunicorn", "--config=python:settings.gunicorn"]
    assert (ROOT / "settings" / "gunicorn.py").is_file()
    assert set(IMAGE) - {"PATH", "TMPDIR"} <= KNOWN | {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)
    assert IMAGE["GUNICORN_BIND"] == f"0.0.0.0:{port}"
    assert f"http://127.0.0.1:{port}/readyz" in DOCKERFILE


def test_examples_ask_the_port_of_the_image_whether_it_is_ready(services: dict[str, Applied]) -> None:
    port = int(IMAGE["GUNICORN_BIND"].partition(":")[2])
    aws, azure, gcp = (containers(cloud, services[cloud])["web"] for cloud in SERVICES)
    assert [each["containerPort"] for each in aws["portMappings"]] == [port]
    (check,) = services["aws"].one("aws_lb_target_group")["health_check"]
    assert check["path"] == "/readyz"
    assert services["azure"].one("azurerm_container_app")["ingress"][0]["target_port"] == port
    assert [(each["path"], each["port"]) for each in azure["readiness_probe"]] == [("/readyz", port)]
    assert [each["container_port"] for each in gcp["ports"]] == [port]
    (probe,) = gcp["startup_probe"][0]["http_get"]
    assert (probe["path"], probe["port"]) == ("/readyz", port)


@pytest.mark.parametrize("cloud", SERVICES)
def test_the_sweeper_sweeps_as_itself(cloud: str, services: dict[str, Applied]) -> None:
    container = containers(cloud, services[cloud])["sweeper"]
    command = container.get("command") or container["args"]
    assert command == ["python", "manage.py", "gateway_sweep", "--execute"]
    if cloud == "azure":
        # The identity is named in the settings; elsewhere it is the machine's.
        clients = {each["name"]: each["client_id"] for each in services[cloud].all("azurerm_user_assigned_identity")}
        settings = json.loads(str(variables(container)["GATEWAY_STORAGES_JSON"]))
        (sweeper,) = [client for name, client in clients.items() if name.endswith("-sweeper")]
        assert settings["private"]["signer"]["client_id"] == sweeper
        assert len(set(clients.values())) == 2


def test_the_entry_point_writes_the_storages_and_becomes_the_command(tmp_path: Path) -> None:
    path = tmp_path / "storages.json"
    command = ["sh", "-c", 'printf "%s %s" "$$" "$ALLOWED_HOSTS"']
    given = {"GATEWAY_STORAGES_JSON": '{"private": "$HOME"}', "GATEWAY_STORAGES_FILE": str(path)}
    environment = {"PATH": "/usr/bin:/bin", "ALLOWED_HOSTS": "files.example.com", **given}
    with subprocess.Popen(
        [*INSTRUCTIONS["ENTRYPOINT"], *command], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate(timeout=30)
    # Signals of who stops the container reach the server itself.
    assert said == f"{process.pid} files.example.com"
    assert path.read_text() == given["GATEWAY_STORAGES_JSON"]
    assert path.stat().st_mode & 0o777 == 0o600
