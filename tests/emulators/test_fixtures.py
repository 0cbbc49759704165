"""Prove that the account of the run is right, and that a hole in it fails a run in CI.

Each test runs pytest in a directory of its own, with the plugin and stand-ins for the servers.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulators.fixtures import EMULATORS, MINIMUM_PATH
from tests.emulators.test_process import REPOSITORY_PATH

NONE_NEEDED = dict.fromkeys(EMULATORS, 0)

CONFTEST = """
from pathlib import Path
import pytest

pytest_plugins = ["tests.emulators.fixtures"]

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    from tests.emulators import fixtures
    fixtures.MINIMUM_PATH = Path(__file__).with_name("least.json")

@pytest.fixture(scope="session")
def rclone():
    return "a stand-in"

@pytest.fixture
def by_name(request):
    return request.getfixturevalue("rclone")
"""

PASSES = "def test_passes(): pass\ndef test_passes_too(): pass\n"
TWO_ON_RCLONE = "def test_direct(rclone): pass\ndef test_by_name(by_name): pass\n"
NEEDS_CEPH = "def test_one(ceph): pass\ndef test_two(ceph): pass\n"


@dataclass(frozen=True)
class Run:
    status: int
    output: str

    def count(self, emulator: str) -> int:
        """Read one line of the table of tests per emulator."""
        (number,) = re.findall(rf"^{emulator} +([0-9]+)  ", self.output, re.MULTILINE)
        return int(number)


@pytest.fixture(params=["one-process", "two-workers"])
def workers(request: pytest.FixtureRequest) -> list[str]:
    return [] if request.param == "one-process" else ["-n", "2"]


def run_pytest(
    directory: Path,
    code: str,
    *arguments: str,
    ci: str = "",
    minimum: dict[str, int] | None = None,
    path: str | None = None,
) -> Run:
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "least.json").write_text(json.dumps(NONE_NEEDED | (minimum or {})))
    (directory / "test_it.py").write_text(code)
    (directory / "test_passes.py").write_text(PASSES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", *arguments],
        cwd=directory,
        env={
            "PATH": path or os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY_PATH),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of the installed plugins, only xdist matters here
            "CI": ci,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr)


def test_counts_the_tests_that_met_a_server(tmp_path: Path, workers: list[str]) -> None:
    run = run_pytest(tmp_path, TWO_ON_RCLONE, *workers, ci="true", minimum={"rclone": 2})
    assert run.status == 0, run.output
    assert {name: run.count(name) for name in EMULATORS} == NONE_NEEDED | {"rclone": 2}
    assert "NOT A COMPLETE RUN" not in run.output


def test_a_test_that_was_skipped_met_no_server(tmp_path: Path) -> None:
    code = "import pytest\ndef test_skips(rclone): pytest.skip('no reason')\ndef test_runs(rclone): pass\n"
    assert run_pytest(tmp_path, code).count("rclone") == 1


def test_a_count_below_the_minimum_fails_a_run_in_ci(tmp_path: Path, workers: list[str]) -> None:
    run = run_pytest(tmp_path, TWO_ON_RCLONE, *workers, ci="true", minimum={"rclone": 3})
    assert run.status == 1
    assert "NOT A COMPLETE RUN" in run.output
    assert "tests on rclone: 2; at least 3" in run.output


# what the account calls it, and a test file with one such hole
HOLES = {
    "skipped": ("skipped", "import pytest\ndef test_skips(): pytest.skip('no reason')\n"),
    "skipped-module": ("skipped", "import pytest\npytest.skip('no reason', allow_module_level=True)\n"),
    "deselected": ("deselected", "def test_left_out(): pass\n"),
    "fails": ("expected to fail", "import pytest\n@pytest.mark.xfail\ndef test_fails(): assert False\n"),
    "passes": ("expected to fail", "import pytest\n@pytest.mark.xfail\ndef test_fails(): pass\n"),
}


@pytest.mark.parametrize("hole", HOLES, ids=str)
def test_a_hole_fails_a_run_in_ci(tmp_path: Path, workers: list[str], hole: str) -> None:
    what, code = HOLES[hole]
    run = run_pytest(tmp_path, code, *workers, "-k", "not left_out", ci="1")
    assert run.status == 1, run.output
    assert "NOT A COMPLETE RUN" in run.output
    assert f"{what}: 1; at most 0" in run.output


@pytest.mark.parametrize("hole", HOLES, ids=str)
def test_a_hole_is_no_failure_elsewhere(tmp_path: Path, hole: str) -> None:
    run = run_pytest(tmp_path, HOLES[hole][1], "-k", "not left_out")
    assert run.status == 0, run.output
    assert "NOT A COMPLETE RUN" not in run.output


def test_a_server_that_is_not_installed_skips_loudly(tmp_path: Path, workers: list[str]) -> None:
    run = run_pytest(tmp_path, NEEDS_CEPH, *workers, path=str(tmp_path))
    assert run.status == 0, run.output
    assert "EMULATORS NOT AVAILABLE" in run.output
    assert run.output.count("\nceph: not installed: monmaptool") == 1
    assert "2 skipped" in run.output


def test_a_server_that_is_not_installed_fails_a_run_in_ci(tmp_path: Path, workers: list[str]) -> None:
    run = run_pytest(tmp_path, NEEDS_CEPH, *workers, path=str(tmp_path), ci="true")
    assert run.status == 1
    assert "skipped: 2; at most 0" in run.output


def test_a_failing_run_keeps_its_status(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, "def test_fails(): assert False\n").status == 1
    assert run_pytest(tmp_path, "syntax error\n", ci="true", minimum={"ceph": 1}).status == 2


def test_only_listing_the_tests_is_no_incomplete_run(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, "", "--collect-only", ci="true", minimum={"ceph": 1}).status == 0


@pytest.mark.parametrize(
    "minimum",
    [
        pytest.param({"cephalopod": 1}, id="unknown-name"),
        pytest.param({"ceph": "many"}, id="no-number"),
    ],
)
def test_a_minimum_that_cannot_be_meant_is_refused(tmp_path: Path, minimum: dict[str, int]) -> None:
    assert run_pytest(tmp_path, "", minimum=minimum).status == pytest.ExitCode.USAGE_ERROR


def test_the_committed_minimum_asks_for_every_server() -> None:
    minimum = json.loads(MINIMUM_PATH.read_text())
    assert set(minimum) == set(EMULATORS)
    assert all(count > 0 for count in minimum.values())
