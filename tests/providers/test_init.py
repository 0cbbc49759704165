"""What the package offers: every name on purpose, sorted, and none by accident."""

from __future__ import annotations

import importlib
import pkgutil
import types
from pathlib import Path

import pytest

import providers

MODULES = sorted(module.name for module in pkgutil.iter_modules(providers.__path__))


def test_all_is_sorted_unique_and_complete() -> None:
    public = {
        name
        for name, value in vars(providers).items()
        if not name.startswith("_") and name != "annotations" and not isinstance(value, types.ModuleType)
    }
    assert providers.__all__ == sorted(public)


@pytest.mark.parametrize("name", providers.__all__)
def test_every_public_name_belongs_to_a_module_that_offers_it(name: str) -> None:
    homes = [importlib.import_module(f"providers.{module}") for module in MODULES]
    assert [home for home in homes if name in home.__all__ and vars(home)[name] is vars(providers)[name]]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_sorts_its_public_names_and_has_them(module: str) -> None:
    loaded = importlib.import_module(f"providers.{module}")
    constants = [name for name in loaded.__all__ if name.isupper()]
    rest = [name for name in loaded.__all__ if not name.isupper()]
    types_ = [name for name in rest if name[0].isupper()]
    functions = [name for name in rest if not name[0].isupper()]
    assert loaded.__all__ == sorted(constants) + sorted(types_) + sorted(functions)
    assert all(hasattr(loaded, name) for name in loaded.__all__)


def test_all_errors_are_offered() -> None:
    assert set(providers.errors.__all__) <= set(providers.__all__)


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(providers.__file__).parent / "py.typed").read_bytes() == b""


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module: str) -> None:
    doc = importlib.import_module(f"providers.{module}").__doc__
    assert doc
    assert doc.count(".") >= 1
