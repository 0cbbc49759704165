from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terraform.commands import Failed, Terraform


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Terraform]:
    with Terraform({}, tmp_path) as program:
        yield program


def test_each_command_runs_in_its_own_directory(fresh: Terraform, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tf").write_text(f'output "it" {{\n  value = "{name}"\n}}\n')
        fresh.run(tmp_path / name, "apply", "-auto-approve")
        assert fresh.run(tmp_path / name, "output", "-raw", "it") == name


def test_a_command_that_fails_says_why_and_the_next_one_runs(fresh: Terraform, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"ended with 1\n(?s:.*)unknown-command"):
        fresh.run(tmp_path, "unknown-command")
    assert fresh.run(tmp_path, "version").startswith("Terraform v")


def test_a_command_that_takes_too_long_is_ended_and_the_next_one_runs(fresh: Terraform, tmp_path: Path) -> None:
    # Opened to be read, it waits for a writer.
    os.mkfifo(tmp_path / "main.tf")
    with pytest.raises(Failed, match="ended with -9 before it answered"):
        fresh.run(tmp_path, "validate", timeout_seconds=1)
    assert fresh.run(tmp_path, "version").startswith("Terraform v")


@pytest.mark.parametrize(
    ("bound", "value", "processes"),
    [("COMMANDS", 2, [0, 0, 1, 1]), ("DESCRIPTORS", 1, [0, 1, 2, 3])],
    ids=["commands", "descriptors"],
)
def test_what_commands_leave_does_not_pile_up_in_one_process(
    fresh: Terraform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, processes: list[int]
) -> None:
    monkeypatch.setattr(f"tests.terraform.resident.{bound}", value)
    seen: list[int | None] = []
    numbers = []
    for _ in range(4):
        fresh.run(tmp_path, "version")
        if fresh.pid not in seen:
            seen.append(fresh.pid)
        numbers.append(seen.index(fresh.pid))
    assert numbers == processes
