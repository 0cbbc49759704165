"""Our rendering of policy documents is the real provider's, whose own was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.commands import Terraform
from tests.terraform.policy_documents import render
from tests.terraform.rendered import RECORDED, variables

DOCUMENTS: dict[str, Any] = json.loads(RECORDED.read_text())


def test_every_document_of_the_module_is_rendered_as_the_provider_does(
    terraform: Terraform, copied: Callable[[str], Path]
) -> None:
    applied = terraform.apply(copied("aws-s3"), variables())
    ours = {
        each.address: json.loads(each.values["json"])
        for each in applied.resources
        if each.type == "aws_iam_policy_document"
    }
    assert ours.keys() == DOCUMENTS.keys()
    for address, document in DOCUMENTS.items():
        assert ours[address] == document, address


def test_many_kinds_of_statement_were_recorded() -> None:
    statements = [each for document in DOCUMENTS.values() for each in document["Statement"]]
    assert len(statements) >= 20
    assert {effect for each in statements for effect in [each["Effect"]]} == {"Allow", "Deny"}
    assert {kind for each in statements if isinstance(each.get("Principal"), dict) for kind in each["Principal"]} == {
        "AWS",
        "Federated",
        "Service",
    }
    assert len({operator for each in statements for operator in each.get("Condition", {})}) >= 7


@pytest.mark.parametrize("name", ["source_policy_documents", "override_json", "policy_id"])
def test_an_argument_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        render({name: ["{}"], "statement": []})
