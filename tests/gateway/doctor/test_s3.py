"""The doctor on a bucket of Ceph behind the strict proxy: silent where it is good, and each fault found."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.gateway.doctor.conftest import CORS, LIFECYCLE, ORIGIN, Break, Bucket, interrupted

GOOD = {"cors.foreign-origin", "link.tampered", "link.expired", "link.too-old", "link.sigv2", "transport", "probe"}
GOOD |= {"signer.delete", "signer.list", "signer.elsewhere", "anonymous.read", "anonymous.list", "upload.overwrite"}
GOOD |= {"clock", "credential.life", "s3.versioning", "s3.lifecycle", "s3.policy", "s3.acl"}


def test_a_good_bucket_has_no_fault_and_nothing_stays_in_it(bucket: Bucket) -> None:
    report = bucket.examined()
    assert report.checks("fail") == set()
    assert report.status == 0
    assert report.checks("ok") >= GOOD
    assert bucket.objects() == []
    assert bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


def _cors(**changed: Any) -> Break:
    def break_it(bucket: Bucket) -> None:
        bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration={"CORSRules": [CORS | changed]})

    return break_it


def _policy(*actions: str, resource: str = "/uploads/*") -> Break:
    def break_it(bucket: Bucket) -> None:
        basic = bucket.signer_may("s3:GetObject", "s3:PutObject")
        bucket.allow(basic, bucket.signer_may(*actions, resource=resource))

    return break_it


def _everybody(action: str, resource: str) -> Break:
    def break_it(bucket: Bucket) -> None:
        public = bucket.signer_may(action, resource=resource) | {"Principal": "*"}
        bucket.allow(bucket.signer_may("s3:GetObject", "s3:PutObject"), public)

    return break_it


def _public_acl(bucket: Bucket) -> None:
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")


def _lifecycle_days(days: int) -> Break:
    def break_it(bucket: Bucket) -> None:
        rule = LIFECYCLE["Rules"][0] | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
        bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]})

    return break_it


def _no_versions(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Suspended"})


def _no_lifecycle(bucket: Bucket) -> None:
    bucket.client.delete_bucket_lifecycle(Bucket=bucket.name)


def _no_cors(bucket: Bucket) -> None:
    bucket.client.delete_bucket_cors(Bucket=bucket.name)


def _old_links(bucket: Bucket) -> None:
    bucket.proxy.max_age = None


def _overwrites(bucket: Bucket) -> None:
    bucket.proxy.overwrites = True


def _sigv2(bucket: Bucket) -> None:
    bucket.proxy.takes_sigv2 = True


def _skew(bucket: Bucket) -> None:
    bucket.proxy.skew = timedelta(minutes=-7)


def _region(bucket: Bucket) -> None:
    bucket.proxy.region = "eu-central-1"


def _plain_http(bucket: Bucket) -> None:
    bucket.use("private_s3", bucket.ceph.restricted_credentials, endpoint_url=bucket.ceph.endpoint_url, verify=None)


def _owner_signs(bucket: Bucket) -> None:
    bucket.use("private_s3", bucket.ceph.credentials)


def _stranger_signs(bucket: Bucket) -> None:
    bucket.use("private_s3", bucket.ceph.other_credentials)


def _signer_reads_nothing(bucket: Bucket) -> None:
    # On Ceph whoever uploads an object owns it, and may read it unless that is denied.
    denied = bucket.signer_may("s3:GetObject") | {"Effect": "Deny"}
    bucket.allow(bucket.signer_may("s3:PutObject"), denied)


def _nobody_there(bucket: Bucket) -> None:
    bucket.use("private_s3", bucket.ceph.restricted_credentials, endpoint_url="https://127.0.0.1:9")


# (fault, what it does, the checks that fail, no more and no less)
FAULTS: list[tuple[str, Break, set[str]]] = [
    ("no cors", _no_cors, {"cors.upload", "cors.download"}),
    ("another origin", _cors(AllowedOrigins=["https://a.example.com"]), {"cors.upload", "cors.download"}),
    ("every origin", _cors(AllowedOrigins=["*"]), {"cors.foreign-origin"}),
    ("no puts", _cors(AllowedMethods=["GET"]), {"cors.upload"}),
    ("no checksums", _cors(AllowedHeaders=["content-type", "if-none-match", "range"]), {"cors.upload"}),
    ("no conditions", _cors(AllowedHeaders=["content-type", "range", "x-amz-checksum-sha256"]), {"cors.upload"}),
    ("signer lists", _policy("s3:ListBucket", resource=""), {"signer.list"}),
    ("signer deletes", _policy("s3:DeleteObject"), {"signer.delete"}),
    ("signer writes elsewhere", _policy("s3:PutObject", resource="/*"), {"signer.elsewhere"}),
    ("owner signs", _owner_signs, {"signer.list", "signer.delete", "signer.elsewhere"}),
    ("stranger signs", _stranger_signs, {"upload"}),
    ("signer reads nothing", _signer_reads_nothing, {"link"}),
    ("everybody reads", _everybody("s3:GetObject", "/*"), {"anonymous.read", "s3.policy"}),
    (
        "everybody lists",
        _everybody("s3:ListBucket", ""),
        {"anonymous.list", "s3.policy", "signer.list"},
    ),
    ("public acl", _public_acl, {"anonymous.list", "s3.acl", "signer.list"}),
    ("versions suspended", _no_versions, {"s3.versioning"}),
    ("no lifecycle", _no_lifecycle, {"s3.lifecycle"}),
    ("parts stay for a year", _lifecycle_days(365), {"s3.lifecycle"}),
    ("overwriting", _overwrites, {"upload.overwrite"}),
    ("old links", _old_links, {"link.too-old"}),
    ("signature version 2", _sigv2, {"link.sigv2"}),
    ("clock", _skew, {"clock"}),
    ("region", _region, {"region"}),
    ("plain http", _plain_http, {"transport", "link.too-old", "link.sigv2", "upload.overwrite"}),
    ("nobody there", _nobody_there, {"endpoint"}),
]


@pytest.mark.parametrize(("break_it", "checks"), [pytest.param(f[1], f[2], id=f[0]) for f in FAULTS])
def test_a_fault_is_found_and_nothing_else(break_it: Break, checks: set[str], bucket: Bucket) -> None:
    break_it(bucket)
    report = bucket.examined()
    assert report.checks("fail") == checks
    assert report.status == 1
    assert all(each["remedy"] for each in report.findings if each["verdict"] == "fail")
    assert bucket.objects() == []


def test_the_cors_document_mends_what_was_found(bucket: Bucket) -> None:
    _no_cors(bucket)
    document = bucket.examined().one("cors.upload")["document"]
    bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration=document)
    assert bucket.examined().checks("fail") == set()


def test_the_document_for_versions_mends_what_was_found(bucket: Bucket) -> None:
    _no_versions(bucket)
    report = bucket.examined()
    bucket.client.put_bucket_versioning(
        Bucket=bucket.name, VersioningConfiguration=report.one("s3.versioning")["document"]
    )
    assert bucket.examined().checks("fail") == set()


def test_without_an_auditor_the_signer_sees_no_settings_and_says_so(bucket: Bucket) -> None:
    bucket.arguments = ["private_s3", "--sweeper", "as_owner"]
    report = bucket.examined()
    assert report.checks("fail") == set()
    assert report.checks("unseen") >= {"s3.versioning", "s3.lifecycle", "s3.policy"}
    assert "--auditor" in report.one("s3.versioning")["remedy"]


def test_without_a_sweeper_the_rule_that_takes_the_probe_is_named(bucket: Bucket) -> None:
    rule = {"ID": "take-probes", "Status": "Enabled", "Filter": {"Prefix": "uploads/gateway-probe"}}
    rules = [*LIFECYCLE["Rules"], rule | {"Expiration": {"Days": 1}}]
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": rules})
    bucket.arguments = ["private_s3", "--auditor", "as_owner"]
    report = bucket.examined()
    assert report.checks("fail") == set()
    assert "take-probes" in report.one("probe")["found"]
    assert len(bucket.objects()) == 1


def test_origins_are_those_that_were_given(bucket: Bucket) -> None:
    bucket.arguments += ["--origin", ORIGIN, "--origin", "https://other.example.com"]
    report = bucket.examined()
    failed = [each for each in report.findings if each["verdict"] == "fail"]
    assert {each["check"] for each in failed} == {"cors.upload", "cors.download"}
    assert all("https://other.example.com" in each["found"] for each in failed)


def test_no_signature_and_no_secret_is_in_the_report(bucket: Bucket) -> None:
    for break_it in (_owner_signs, _nobody_there):
        break_it(bucket)
        text = bucket.examined().text
        assert "X-Amz-Signature" not in text
        assert bucket.ceph.secret_access_key not in text
        assert bucket.ceph.restricted_credentials.secret_access_key not in text


def test_documents_are_json_that_boto3_takes(bucket: Bucket) -> None:
    _owner_signs(bucket)
    document = bucket.examined().one("signer.delete")["document"]
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interrupted_examination_leaves_nothing_behind(error: type[BaseException], bucket: Bucket) -> None:
    assert "the store answers" in interrupted(error, *bucket.arguments)
    assert bucket.objects() == []


def test_what_a_busy_store_did_not_decide_is_no_refusal(bucket: Bucket) -> None:
    bucket.proxy.busy = lambda method, target: "AWSAccessKeyId=" in target
    report = bucket.examined()
    assert report.one("link.sigv2")["verdict"] == "unseen"
    assert report.checks("fail") == set()


def test_rights_that_no_store_decided_are_not_missing(bucket: Bucket) -> None:
    _nobody_there(bucket)
    report = bucket.examined()
    assert report.checks("unseen") >= {"signer.list", "signer.elsewhere", "signer.delete"}


def test_without_a_credential_that_alone_is_said(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    bucket.use("private_s3", bucket.ceph.restricted_credentials, access_key=None, secret_key=None)
    report = bucket.examined()
    assert {each["check"] for each in report.findings if each["subject"] == "private_s3"} == {"credential"}
    assert "no link can be signed: an AWS credential could not be had" in report.one("credential")["found"]
    assert report.status == 1
