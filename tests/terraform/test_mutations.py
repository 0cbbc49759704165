from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terraform.commands import ROOT, Terraform
from tests.terraform.mutations import MUTATIONS, Mutation, findings
from tests.terraform.test_modules import RUNS
from tests.terraform.variants import VARIANTS


def test_there_are_many_mutations_of_each_cloud_and_no_two_are_the_same() -> None:
    assert len({(each.variant, each.file, each.old, each.new) for each in MUTATIONS}) == len(MUTATIONS) >= 80
    assert {each.variant.partition("-")[0] for each in MUTATIONS} == {"aws", "azure", "gcp"}


def test_the_docs_give_the_score_that_the_tests_hold() -> None:
    page = (ROOT / "docs" / "terraform.md").read_text()
    assert f": {len(MUTATIONS)} of {len(MUTATIONS)} are" in page
    assert f"({sum(RUNS.values())} runs)" in page


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.id)
def test_a_weakened_guarantee_is_caught_by_the_check_that_is_for_it(
    mutation: Mutation, terraform: Terraform, copied: Callable[[str], Path]
) -> None:
    module, variables = VARIANTS[mutation.variant]
    directory = copied(module)
    mutation.apply_to(directory)
    # Applied, so the mutant is no broken file.
    found = findings(mutation.variant, terraform.apply(directory, variables))
    assert any(each.startswith(mutation.caught_by) for each in found), found
