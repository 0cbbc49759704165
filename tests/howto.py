"""Builds the project that a page of docs/ describes, from the code that stands there, and runs its tests.

A page names each piece: a line with the file, an empty line, the code. What a page does not say is the README's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[1]
# What belongs to the project, and is added to what `startproject` made; all else is the app's.
PROJECT_FILES = ("settings.py", "urls.py")
APP = "reports"
_PIECE = re.compile(r"^`(?P<file>[\w/]+\.\w+)`:\n\n```\w+\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def pieces(page: str) -> dict[str, str]:
    """Return the code of a page by its file; pieces of one file stand one after the other."""
    found: dict[str, str] = {}
    for file, code in _PIECE.findall((ROOT / page).read_text()):
        found[file] = f"{found[file]}\n\n{code}" if file in found else code
    return found


def build(page: str, directory: Path) -> None:
    """Write the project that the README and then the page describe.

    What the page says of settings and addresses is added; any other file of the README's it replaces.
    """
    readme, own = pieces("README.md"), pieces(page)
    call_command("startproject", "mysite", str(directory))
    app = directory / APP
    (app / "migrations").mkdir(parents=True)
    for package in (app, app / "migrations"):
        (package / "__init__.py").touch()
    settings = directory / "mysite" / "settings.py"
    _add(settings, f'INSTALLED_APPS += ["{APP}"]')
    urls = directory / "mysite" / "urls.py"
    urls.write_text(f"from django.urls import include\n{urls.read_text()}")
    for file, code in [*readme.items(), *own.items()]:
        if file in PROJECT_FILES:
            _add(directory / "mysite" / file, code)
        else:
            path = directory / file if file == "conftest.py" else app / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)


def run(directory: Path, *command: str, expected: int = 0) -> str:
    """Run Python in the project, as somebody sits there, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    environment |= {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "mysite.settings"}
    done = subprocess.run(
        [sys.executable, *command], cwd=directory, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == expected, done.stdout
    return done.stdout


def manage(directory: Path, *commands: list[str]) -> str:
    """Run commands of ``manage.py`` one after the other, in one process, and return what they printed."""
    code = "import django; from django.core.management import execute_from_command_line as run; django.setup()"
    return run(directory, "-c", "\n".join([code, *(f"run({['manage.py', *command]!r})" for command in commands)]))


def _add(path: Path, code: str) -> None:
    path.write_text(f"{path.read_text()}\n\n{code}")
