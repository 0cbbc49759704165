from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.terraform.readmes import modules, readme


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_readme_is_what_the_variables_say(module: Path) -> None:
    assert (module / "README.md").read_text() == readme(module), "run: python -m tests.terraform.readmes"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_every_variable_and_output_is_in_it(module: Path) -> None:
    for name in ("variables.tf", "outputs.tf"):
        for declared in re.findall(r'^(?:variable|output) "(\w+)"', (module / name).read_text(), re.MULTILINE):
            assert f"| `{declared}` |" in readme(module)
