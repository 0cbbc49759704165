from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.terraform import aws_policies, aws_requests, azure_requests, google_requests
from tests.terraform.commands import Applied


@pytest.mark.parametrize("variant", ["aws", "aws-everything", "aws-own-key"])
def test_s3_decides_every_request_as_the_table_has_it(variant: str, applied: Callable[[str], Applied]) -> None:
    assert aws_requests.wrong(applied(variant)) == []


def test_a_signer_of_downloads_alone_cannot_create(applied: Callable[[str], Applied]) -> None:
    creating = {"AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateMultipartUpload"}
    creating |= {"ListParts", "PutObject", "UploadPart"}
    denied = {f"signer: {call}: denied" for call in creating}
    denied |= {"fresh upload link: denied", "fresh link to a part: denied", "form into the quarantine: denied"}
    assert set(aws_requests.wrong(applied("aws-downloads-alone"))) == denied


def test_only_the_web_process_becomes_the_signer(applied: Callable[[str], Applied]) -> None:
    assert aws_requests.wrong_trust(applied("aws")) == []


def test_federation_and_networks(applied: Callable[[str], Applied]) -> None:
    assert aws_requests.wrong_federation(applied("aws-everything")) == []


@pytest.mark.parametrize("variant", ["aws-everything", "aws-own-key"])
def test_the_key_is_used_through_s3_alone(variant: str, applied: Callable[[str], Applied]) -> None:
    assert aws_requests.wrong_key_use(applied(variant)) == []
    assert aws_requests.wrong_encryption(applied(variant)) == []


def test_one_distribution_reads_uploads(applied: Callable[[str], Applied]) -> None:
    assert aws_requests.wrong_distribution(applied("aws-everything")) == []


@pytest.mark.parametrize("variant", ["gcp", "gcp-everything"])
def test_cloud_storage_decides_every_request_as_the_table_has_it(
    variant: str, applied: Callable[[str], Applied]
) -> None:
    assert google_requests.wrong(applied(variant)) == []


def test_only_who_was_named_signs_as_the_signer(applied: Callable[[str], Applied]) -> None:
    assert google_requests.wrong_impersonation(applied("gcp-everything")) == []


@pytest.mark.parametrize("variant", ["azure", "azure-everything"])
def test_azure_decides_every_request_as_the_table_has_it(variant: str, applied: Callable[[str], Applied]) -> None:
    assert azure_requests.wrong(applied(variant)) == []


def test_the_tables_hold_both_verdicts_for_both_identities() -> None:
    for who in ("signer", "sweeper", "administrator"):
        verdicts = {row.allowed for row in aws_requests.rows(900) if row.who == who}
        assert verdicts == {True, False}, who
    assert len(aws_requests.rows(900)) + len(google_requests.TABLE) + len(azure_requests.TABLE) >= 150


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param('{"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"}', id="not-action"),
        pytest.param('{"Effect": "Allow", "Action": "*", "NotResource": "a"}', id="not-resource"),
        pytest.param(
            '{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:StringLike": {"a": "b"}}}',
            id="operator",
        ),
        pytest.param('{"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}', id="principal"),
    ],
)
def test_a_statement_that_is_not_understood_is_not_judged(statement: str) -> None:
    request = aws_policies.Request(aws_requests.SIGNER, "s3:GetObject", aws_requests.BUCKET)
    policy = '{"Version": "2012-10-17", "Statement": [' + statement + "]}"
    with pytest.raises(aws_policies.NotJudged):
        aws_policies.allows(request, identity_policies=[policy])
