"""What the doctor prints is what the Terraform module makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway import links
from gateway.doctor import documents
from gateway.doctor.cors import _HEADERS, _METHODS
from tests.terraform.commands import Applied
from tests.terraform.guarantees import PROBES
from tests.terraform.variants import ORIGIN

BUCKET = "acme-files"


def sorted_(policy: dict[str, Any]) -> dict[str, Any]:
    """Return a policy with its lists in one order, which means nothing in a policy."""
    return {
        **policy,
        "Statement": [
            {name: sorted(value) if isinstance(value, list) else value for name, value in statement.items()}
            for statement in policy["Statement"]
        ],
    }


@pytest.mark.parametrize("seconds", [900, 600], ids=["aws", "aws-everything"])
def test_the_bucket_policy_is_the_modules(seconds: int, applied: Callable[[str], Applied]) -> None:
    made = applied("aws" if seconds == 900 else "aws-everything").one("aws_s3_bucket_policy")["policy"]
    ours = documents.bucket_policy(BUCKET, timedelta(seconds=seconds))
    # A key of the bucket's own and CloudFront add theirs after these.
    theirs = json.loads(made)
    theirs["Statement"] = theirs["Statement"][: len(ours["Statement"])]
    assert sorted_(ours) == sorted_(theirs)


def test_the_signers_policy_is_the_modules(applied: Callable[[str], Applied]) -> None:
    (policy,) = [each["policy"] for each in applied("aws").all("aws_iam_role_policy") if each["name"] == "sign"]
    assert sorted_(documents.signer_policy(BUCKET)) == sorted_(json.loads(policy))


def test_cors_is_the_modules(applied: Callable[[str], Applied]) -> None:
    (theirs,) = applied("aws").one("aws_s3_bucket_cors_configuration")["cors_rule"]
    (ours,) = documents.cors([ORIGIN], _METHODS, _HEADERS)["CORSRules"]
    assert ours["AllowedOrigins"] == theirs["allowed_origins"]
    assert set(ours["AllowedMethods"]) == set(theirs["allowed_methods"])
    assert set(ours["AllowedHeaders"]) == set(theirs["allowed_headers"])
    assert ours["MaxAgeSeconds"] == theirs["max_age_seconds"]


def test_rules_are_among_the_modules(applied: Callable[[str], Applied]) -> None:
    theirs = {rule["id"] for rule in applied("aws").one("aws_s3_bucket_lifecycle_configuration")["rule"]}
    assert {rule["ID"] for rule in documents.lifecycle()["Rules"]} <= theirs
    assert links.PROBE_KEY == PROBES
