from __future__ import annotations

from pathlib import Path

import pytest

from tests.terraform.commands import SCHEMAS, TERRAFORM
from tests.terraform.conftest import NEWEST
from tests.terraform.hcl_schema import Schemas, problems

DIRECTORIES = sorted({path.parent.relative_to(TERRAFORM) for path in TERRAFORM.rglob("*.tf")})
NEW = Schemas([SCHEMAS / name for name in NEWEST])


@pytest.mark.parametrize("directory", DIRECTORIES, ids=str)
def test_files_hold_to_the_schemas(directory: Path) -> None:
    assert problems(TERRAFORM / directory, NEW) == []


def test_the_module_of_amazon_holds_to_the_oldest_schema() -> None:
    assert problems(TERRAFORM / "modules" / "aws-s3", Schemas([SCHEMAS / "aws-5.100.0.json"])) == []


BUCKET = 'resource "google_storage_bucket" "a" {\n  name = "a"\n  location = "EU"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('resource "google_storage_buckett" "a" {}', "no provider has such a resource", id="type"),
        pytest.param('data "google_storage_buckett" "a" {}', "no provider has such a data", id="data"),
        pytest.param(BUCKET + "  uniform_access = true\n}", ".uniform_access: no such argument", id="argument"),
        pytest.param(BUCKET + "  versions {}\n}", ".versions: no such block", id="block"),
        pytest.param(
            BUCKET + "  versioning {\n    enabled = true\n    on = true\n  }\n}",
            ".versioning.on: no such argument",
            id="nested",
        ),
        pytest.param(BUCKET + "  versioning {}\n}", ".versioning.enabled: needed", id="nested-needed"),
        pytest.param('resource "google_storage_bucket" "a" {\n  name = "a"\n}', ".location: needed", id="needed"),
        pytest.param(BUCKET + '  self_link = "a"\n}', ".self_link: only read", id="read-only"),
        pytest.param(
            BUCKET + "  versioning = true\n}", ".versioning: a block, not an argument", id="block-as-argument"
        ),
        pytest.param(
            BUCKET + "  versioning {\n    enabled = true\n  }\n  versioning {\n    enabled = true\n  }\n}",
            ".versioning: 2 blocks; at most 1",
            id="too-many",
        ),
        pytest.param(
            BUCKET + '  dynamic "cors" {\n    for_each = var.cors\n    content {\n      origins = ["a"]\n    }\n  }\n}',
            ".cors.origins: no such argument",
            id="inside-a-dynamic-block",
        ),
        pytest.param(
            BUCKET + '  dynamic "cross" {\n    for_each = var.cors\n    content {}\n  }\n}',
            ".cross: no such block",
            id="dynamic-block",
        ),
    ],
)
def test_a_mistake_is_found(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(text + "\n")
    found = problems(tmp_path, NEW)
    assert len(found) == 1
    assert found[0].endswith(problem)
