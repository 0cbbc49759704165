from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terraform.commands import MODULES, SCHEMAS, Applied, Failed, Terraform, example_names
from tests.terraform.stub_provider import serve

NAMES = sorted(path.name for path in MODULES.iterdir() if path.is_dir())
# (module, runs of its own tests at the least)
RUNS = {"aws-s3": 83, "azure-blob": 51, "gcp-gcs": 51}


@pytest.mark.parametrize("module", NAMES)
def test_native_tests_pass(module: str, terraform: Terraform, copied: Callable[[str], Path]) -> None:
    directory = copied(module)
    terraform.run(directory, "init", "-backend=false")
    output = terraform.run(directory, "test", "-no-color")
    found = re.search(r"Success! (\d+) passed, 0 failed\.", output)
    assert found is not None
    assert int(found[1]) >= RUNS[module]


@pytest.mark.parametrize("module", NAMES)
def test_every_validation_is_refused_once_by_a_native_test(module: str) -> None:
    """A variable with three validations has three runs at the least that expect it to fail."""
    variables = (MODULES / module / "variables.tf").read_text()
    refusals = (MODULES / module / "tests" / "refusals.tftest.hcl").read_text()
    for block in re.split(r"^variable ", variables, flags=re.MULTILINE)[1:]:
        name = block.split('"')[1]
        validations = len(re.findall(r"^  validation \{", block, re.MULTILINE))
        assert refusals.count(f"[var.{name}]") >= validations, name


@pytest.mark.parametrize("name", example_names())
def test_examples_are_valid_and_apply_as_they_are(
    name: str, terraform: Terraform, example: Callable[[str], tuple[Path, Applied]]
) -> None:
    directory, made = example(name)
    terraform.run(directory, "validate")
    assert made.resources


def test_amazon_is_valid_for_the_oldest_provider_it_allows(tmp_path: Path, copied: Callable[[str], Path]) -> None:
    with serve([SCHEMAS / "aws-5.100.0.json"]) as providers, Terraform(providers, tmp_path) as old:
        directory = copied("aws-s3")
        old.run(directory, "init", "-backend=false")
        old.run(directory, "validate")


@pytest.mark.parametrize(
    ("module", "line", "says"),
    [
        ("aws-s3", '  bukket = "a"', "bukket"),
        ("gcp-gcs", "  uniform_bucket_level_acess = true", "uniform_bucket_level_acess"),
        ("azure-blob", '  min_tls_versoin = "TLS1_2"', "min_tls_versoin"),
    ],
    ids=NAMES,
)
def test_an_argument_that_no_provider_knows_is_refused(
    module: str, line: str, says: str, terraform: Terraform, copied: Callable[[str], Path]
) -> None:
    directory = copied(module)
    main = directory / "main.tf"
    kept, declared, rest = main.read_text().partition('_bucket" "this" {\n')
    if not declared:
        kept, declared, rest = main.read_text().partition('_storage_account" "this" {\n')
    main.write_text(f"{kept}{declared}{line}\n{rest}")
    terraform.run(directory, "init", "-backend=false")
    with pytest.raises(Failed, match=says):
        terraform.run(directory, "validate")


def test_the_same_settings_come_out_of_three_clouds(example: Callable[[str], tuple[Path, Applied]]) -> None:
    storages = example("three-clouds")[1].outputs["storages"]
    assert storages.keys() == {"azure", "gcs", "s3"}
    assert storages["s3"].keys() == storages["gcs"].keys() == storages["azure"].keys() - {"account", "endpoint"}
    assert {one["max_ttl_seconds"] for one in storages.values()} == {900}
