"""The configuration of a bucket of Amazon's, read from moto: links lead to Amazon, the SDK to moto."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages

from gateway.doctor import Visit, documents
from gateway.doctor.credentials import examine_credentials
from gateway.doctor.s3_settings import examine_settings, rule_for_probes
from tests.emulators.moto import MotoServer


@dataclass
class Amazon:
    client: Any
    name: str
    visit: Visit

    def faults(self) -> set[str]:
        return {finding.check for finding in examine_settings(self.visit) if finding.verdict == "fail"}


@pytest.fixture
def amazon(moto_server: MotoServer, settings: Any) -> Amazon:
    name = moto_server.create_bucket(f"doctor-{secrets.token_hex(6)}")
    settings.STORAGES = settings.STORAGES | {
        "amazon": {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": {
                "bucket_name": name,
                "region_name": moto_server.region,
                "endpoint_url": moto_server.endpoint_url,
                "public_endpoint_url": "https://s3.us-east-1.amazonaws.com",
                "access_key": moto_server.access_key_id,
                "secret_key": moto_server.secret_access_key,
            },
        }
    }
    visit = Visit("amazon", storages["amazon"])
    assert visit.is_amazon
    made = Amazon(moto_server.client(), name, visit)
    _mend(made)
    return made


def _mend(amazon: Amazon) -> None:
    """Put everything there that the doctor prints."""
    client, name = amazon.client, amazon.name
    client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=documents.public_access_block())
    owned = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    client.put_bucket_ownership_controls(Bucket=name, OwnershipControls=owned)
    client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=documents.encryption())
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration=documents.versioning())
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=documents.lifecycle())
    policy = documents.bucket_policy(name, timedelta(seconds=900))
    client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))


def test_what_the_doctor_prints_is_good(amazon: Amazon) -> None:
    assert amazon.faults() == set()
    assert {finding.verdict for finding in examine_settings(amazon.visit)} == {"ok"}


def _block(**changed: bool) -> Callable[[Amazon], None]:
    def break_it(amazon: Amazon) -> None:
        block = documents.public_access_block() | changed
        amazon.client.put_public_access_block(Bucket=amazon.name, PublicAccessBlockConfiguration=block)

    return break_it


def _no_block(amazon: Amazon) -> None:
    amazon.client.delete_public_access_block(Bucket=amazon.name)


def _acls(amazon: Amazon) -> None:
    owned = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    amazon.client.put_bucket_ownership_controls(Bucket=amazon.name, OwnershipControls=owned)


def _no_ownership(amazon: Amazon) -> None:
    amazon.client.delete_bucket_ownership_controls(Bucket=amazon.name)


def _no_policy(amazon: Amazon) -> None:
    amazon.client.delete_bucket_policy(Bucket=amazon.name)


def _public_policy(amazon: Amazon) -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    amazon.client.put_bucket_policy(Bucket=amazon.name, Policy=json.dumps(policy))


def _no_encryption(amazon: Amazon) -> None:
    amazon.client.delete_bucket_encryption(Bucket=amazon.name)


def _no_lifecycle(amazon: Amazon) -> None:
    amazon.client.delete_bucket_lifecycle(Bucket=amazon.name)


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        pytest.param(_no_block, "s3.public-access", id="no-public-access-block"),
        pytest.param(_block(BlockPublicPolicy=False), "s3.public-access", id="public-policies"),
        pytest.param(_block(RestrictPublicBuckets=False), "s3.public-access", id="public-buckets"),
        pytest.param(_acls, "s3.ownership", id="object-writer"),
        pytest.param(_no_ownership, "s3.ownership", id="no-ownership-controls"),
        pytest.param(_no_policy, "s3.policy", id="no-policy"),
        pytest.param(_public_policy, "s3.policy", id="public-policy"),
        pytest.param(_no_encryption, "s3.encryption", id="no-encryption"),
        pytest.param(_no_lifecycle, "s3.lifecycle", id="no-lifecycle"),
    ],
)
def test_a_fault_is_found_and_its_document_mends_it(
    break_it: Callable[[Amazon], None], check: str, amazon: Amazon
) -> None:
    break_it(amazon)
    assert amazon.faults() == {check}
    (finding,) = [each for each in examine_settings(amazon.visit) if each.verdict == "fail"]
    assert finding.document is not None
    _mend(amazon)
    assert amazon.faults() == set()


def test_a_rule_that_takes_probes_is_named(amazon: Amazon) -> None:
    assert rule_for_probes(amazon.visit) == "expire-probes"
    _no_lifecycle(amazon)
    assert rule_for_probes(amazon.visit) == ""


def test_a_rule_that_deletes_uploads_by_age_is_noted(amazon: Amazon) -> None:
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "uploads/"}, "Expiration": {"Days": 400}}
    rules = {"Rules": [*documents.lifecycle()["Rules"], rule]}
    amazon.client.put_bucket_lifecycle_configuration(Bucket=amazon.name, LifecycleConfiguration=rules)
    notes = [finding.found for finding in examine_settings(amazon.visit) if finding.verdict == "note"]
    assert notes == ["the rule old deletes uploads after 400 days"]


def test_a_key_for_good_is_a_fault_on_amazon_and_a_session_is_not(amazon: Amazon, settings: Any) -> None:
    found = {finding.check: finding.verdict for finding in examine_credentials(amazon.visit)}
    assert found == {"credential.life": "ok", "credential.kind": "fail"}
    settings.STORAGES["amazon"]["OPTIONS"]["security_token"] = "token-of-a-session"
    settings.STORAGES = dict(settings.STORAGES)
    found = {finding.check: finding.verdict for finding in examine_credentials(Visit("amazon", storages["amazon"]))}
    assert found == {"credential.life": "ok", "credential.kind": "ok"}
