"""One set of stubs for all tests of Terraform, and each variant applied once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.terraform.commands import SCHEMAS, Applied, Terraform, copy_all, copy_module
from tests.terraform.stub_provider import serve
from tests.terraform.variants import VARIANTS

NEWEST = ("aws-6.25.0.json", "azurerm-4.55.0.json", "google-6.50.0.json")


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform with the newest schemas behind it."""
    with (
        serve([SCHEMAS / name for name in NEWEST]) as providers,
        Terraform(providers, tmp_path_factory.mktemp("home")) as program,
    ):
        yield program


@pytest.fixture(scope="session")
def applied(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Applied]:
    """Return what terraform makes of a variant, by its name."""

    @cache
    def apply(variant: str) -> Applied:
        module, variables = VARIANTS[variant]
        return terraform.apply(copy_module(module, tmp_path_factory.mktemp(variant)), variables)

    return apply


@pytest.fixture(scope="session")
def example(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Applied]]:
    """Return where an example was applied, with its own variables, and what came of it."""

    @cache
    def apply(name: str) -> tuple[Path, Applied]:
        directory = copy_all(tmp_path_factory.mktemp("example")) / "examples" / name
        terraform.run(directory, "init", "-backend=false")
        return directory, terraform.apply(directory)

    return apply


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a module to where terraform may write."""
    return lambda module: copy_module(module, tmp_path)
