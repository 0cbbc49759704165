from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.terraform.commands import TERRAFORM, Failed, Terraform


def test_terraform_is_at_least_what_the_modules_ask_for(terraform: Terraform, tmp_path: Path) -> None:
    found = re.search(r"v(\d+)\.(\d+)\.", terraform.run(tmp_path, "version"))
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (1, 9)


def test_files_are_formatted(terraform: Terraform) -> None:
    assert terraform.run(TERRAFORM, "fmt", "-check", "-recursive") == ""


def test_a_file_that_is_not_formatted_is_found(terraform: Terraform, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text('locals {\n a  = "b"\n}\n')
    with pytest.raises(Failed, match=r"main\.tf"):
        terraform.run(tmp_path, "fmt", "-check", "-recursive")
