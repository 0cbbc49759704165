"""Write the README of each module from its variables and outputs: ``python -m tests.terraform.readmes``.

Must not say what the modules are for: docs/terraform.md does.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.terraform.commands import MODULES

_BLOCK = re.compile(r'^(?:variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_DESCRIPTION = re.compile(r'^  description = "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def readme(module: Path) -> str:
    """Return the page of one module."""
    lines = [
        f"# {module.name}",
        "",
        "What it makes, what it costs and what it cannot enforce: [docs/terraform.md](../../../docs/terraform.md).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, body, described in _blocks(module / "variables.tf"):
        default = re.search(r"^  default\s+= (.*)$", body, re.MULTILINE)
        lines.append(f"| `{name}` | {f'`{default[1]}`' if default else 'needed'} | {described} |")
    lines += ["", "| output | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {described} |" for name, _, described in _blocks(module / "outputs.tf")]
    return "\n".join(lines) + "\n"


def modules() -> list[Path]:
    return sorted(path for path in MODULES.iterdir() if path.is_dir())


def _blocks(path: Path) -> list[tuple[str, str, str]]:
    found = []
    for name, body in _BLOCK.findall(path.read_text()):
        described = _DESCRIPTION.search(body)
        if described is None:
            raise LookupError(f"{path.name}: {name} has no description")
        found.append((name, body, described[1].replace('\\"', '"').replace("|", "\\|")))
    return found


if __name__ == "__main__":
    for each in modules():
        (each / "README.md").write_text(readme(each))
