"""Run terraform on copies of the modules and examples, without a network, and read what it would make.

Must not write into the checkout, nor read the caller's own terraform settings or credentials.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.terraform.resident import Ended, Resident

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "terraform"
MODULES = TERRAFORM / "modules"
SCHEMAS = TERRAFORM / "schemas"
# Nothing answers there: whatever would open a connection fails at once.
NOWHERE = "http://127.0.0.1:9"

_LEFT_OUT = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "terraform.tfstate*")


@dataclass(frozen=True)
class Resource:
    """One resource or data source as terraform left it.

    Args:
        address: ``module.a.type.name["key"]``, with ``data.`` before a data source's type.
    """

    address: str
    type: str
    name: str
    key: str | int | None
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Applied:
    """The state and the outputs after an apply."""

    resources: tuple[Resource, ...]
    outputs: Mapping[str, Any]

    def all(self, type_name: str, name: str | None = None) -> list[dict[str, Any]]:
        """Return the values of every resource of a type, and of a name where one is given."""
        return [
            dict(resource.values)
            for resource in self.resources
            if resource.type == type_name and name in (None, resource.name)
        ]

    def one(self, type_name: str, name: str | None = None) -> dict[str, Any]:
        """Return the values of the only resource of a type.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = self.all(type_name, name)
        if len(found) != 1:
            raise LookupError(f"{len(found)} of {type_name} {name or ''}; exactly 1")
        return found[0]

    @property
    def types(self) -> set[str]:
        return {resource.type for resource in self.resources}


class Failed(Exception):
    """terraform said no; the message is what it printed."""


class Terraform:
    """The program, with the environment that names its providers; left, it is ended.

    Args:
        providers: ``TF_REATTACH_PROVIDERS`` of stubs; empty where real ones are installed by ``init``.
        home: a directory of the caller's.
        environment: more of it, or other values.
    """

    def __init__(self, providers: Mapping[str, str], home: Path, environment: Mapping[str, str] | None = None) -> None:
        # TERRAFORM names another program, to try another version.
        self._named = os.environ.get("TERRAFORM")
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TMPDIR": str(home),
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "HTTPS_PROXY": NOWHERE,
            "HTTP_PROXY": NOWHERE,
            # Its plans are small and many: memory is cheaper here than collecting it.
            "GOGC": "400",
            **providers,
            **(environment or {}),
        }
        self._resident = Resident(self._environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resident.close()

    @property
    def pid(self) -> int | None:
        """The process that ran the last command; None where each command has its own."""
        return self._resident.pid

    def run(self, directory: Path, *arguments: str, timeout_seconds: float = 300) -> str:
        """Run one command and return what it printed.

        Raises:
            Failed: its exit status is not 0.
        """
        try:
            status, output, errors = self._run(directory, arguments, timeout_seconds)
        except (Ended, subprocess.TimeoutExpired) as error:
            raise Failed(f"terraform {' '.join(arguments)}: {error}") from error
        if status != 0:
            raise Failed(f"terraform {' '.join(arguments)} ended with {status}\n{output}{errors}")
        return output

    def _run(self, directory: Path, arguments: Sequence[str], timeout_seconds: float) -> tuple[int, str, str]:
        if self._named is None:
            return self._resident.run(directory, arguments, timeout_seconds)
        done = subprocess.run(
            [self._named, *arguments],
            cwd=directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def apply(self, directory: Path, variables: Mapping[str, Any] | None = None) -> Applied:
        """Apply a root module with the stubs, and return what came of it."""
        arguments = ["-auto-approve", "-no-color", "-input=false", "-compact-warnings"]
        if variables is not None:
            (directory / "given.tfvars.json").write_text(json.dumps(variables))
            arguments.append("-var-file=given.tfvars.json")
        else:
            arguments.append("-var-file=example.tfvars")
        self.run(directory, "apply", *arguments)
        state = json.loads((directory / "terraform.tfstate").read_text())
        outputs = {name: output["value"] for name, output in state["outputs"].items()}
        return Applied(tuple(_resources(state)), outputs)


def copy_module(name: str, to: Path) -> Path:
    """Copy one module, tests included, to a directory where terraform may write."""
    return Path(shutil.copytree(MODULES / name, to / name, ignore=_LEFT_OUT))


def copy_all(to: Path) -> Path:
    """Copy the modules and examples, with the paths between them."""
    for name in ("modules", "examples"):
        shutil.copytree(TERRAFORM / name, to / name, ignore=_LEFT_OUT)
    return to


def example_names() -> list[str]:
    """Return every root module below ``examples``, as a path in it."""
    found = (TERRAFORM / "examples").rglob("example.tfvars")
    return sorted(path.parent.relative_to(TERRAFORM / "examples").as_posix() for path in found)


def mirror_of_aws() -> Path | None:
    """Return a file system mirror that holds the real aws provider, None where there is none.

    ``TF_PLUGIN_DIR`` names it; else a folder ``tf-plugins`` one level below the root is looked for.
    """
    named = os.environ.get("TF_PLUGIN_DIR")
    candidates = [Path(named)] if named else sorted(Path("/").glob("*/tf-plugins"))
    provider = "registry.terraform.io/hashicorp/aws"
    return next((path for path in candidates if (path / provider).is_dir()), None)


def _resources(state: Mapping[str, Any]) -> Iterator[Resource]:
    for resource in state["resources"]:
        parts = [resource.get("module", ""), "data" if resource["mode"] == "data" else ""]
        base = ".".join(part for part in (*parts, resource["type"], resource["name"]) if part)
        for instance in resource["instances"]:
            key = instance.get("index_key")
            address = base if key is None else f"{base}[{json.dumps(key)}]"
            yield Resource(address, resource["type"], resource["name"], key, instance["attributes"])
