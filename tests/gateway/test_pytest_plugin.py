"""The pytest plugin: its fixtures are run by tests/test_howtos.py, in a project; here is what it does without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway import pytest_plugin
from gateway.pytest_plugin import __all__ as fixtures
from tests import howto


def test_without_django_it_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "def test_one():\n    import sys\n    assert 'gateway.testing' not in sys.modules\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    plugins = ("-p", "no:django", "-p", "no:cacheprovider", "-p", "gateway.pytest_plugin")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(howto.ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_every_fixture_is_in_the_how_to() -> None:
    page = (howto.ROOT / "docs" / "testing.md").read_text()
    assert all(hasattr(pytest_plugin, name) for name in fixtures)
    assert [name for name in fixtures if name not in page] == ["gateway_no_links_in_caches"]
    assert "guards the caches in\nevery test" in page
