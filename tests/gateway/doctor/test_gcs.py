"""The doctor on a bucket of Cloud Storage behind TLS: silent where it is good, and each fault found."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from google.cloud import storage
from google.oauth2.credentials import Credentials

from gateway.doctor import documents
from tests.emulators.gcs import CloudStorage
from tests.gateway.doctor.conftest import ORIGIN, Report, doctor, interrupted
from tests.gateway.doctor.strict_proxy import StrictProxy

CORS = {
    "origin": [ORIGIN],
    "method": ["GET", "HEAD", "PUT"],
    "responseHeader": [
        "Content-MD5",
        "Content-Type",
        "Range",
        "x-goog-content-length-range",
        "x-goog-if-generation-match",
    ],
}
GOOD = {"anonymous.list", "anonymous.read", "clock", "cors.download", "cors.foreign-origin", "cors.upload", "endpoint"}
GOOD |= {"gcs.lifecycle", "gcs.policy", "gcs.public-access", "gcs.uniform-access", "gcs.versioning", "link"}
GOOD |= {
    "link.expired",
    "link.other-key",
    "link.tampered",
    "probe",
    "signer.delete",
    "signer.elsewhere",
    "signer.list",
    "transport",
}
GOOD |= {"upload", "upload.other-type", "upload.overwrite"}


@dataclass
class Bucket:
    gcs: CloudStorage
    proxy: StrictProxy
    settings: Any
    name: str

    @property
    def sdk(self) -> Any:
        credentials = Credentials(self.gcs.new_token())  # type: ignore[no-untyped-call]
        return storage.Client("project", credentials, client_options={"api_endpoint": self.gcs.endpoint_url}).bucket(
            self.name
        )

    def use(self, alias: str, *permissions: str, **options: Any) -> None:
        """Point an alias to the bucket, as an identity with these permissions; without one it may do all."""
        entry = {
            "BACKEND": "gateway.storages.PrivateGCSStorage",
            "OPTIONS": {
                "bucket_name": self.name,
                "credentials": Credentials(self.gcs.new_token(*permissions)),  # type: ignore[no-untyped-call]
                "hmac_access_id": self.gcs.access_id,
                "hmac_secret": self.gcs.secret,
                "endpoint_url": self.gcs.endpoint_url,
                "public_endpoint_url": self.proxy.endpoint_url,
            }
            | options,
        }
        self.settings.STORAGES = {**self.settings.STORAGES, alias: entry}

    def patch(self, **changed: Any) -> None:
        bucket = self.sdk
        bucket._patch_property("name", self.name)
        for field, value in changed.items():
            bucket._patch_property(field, value)
        bucket.patch()

    def examined(self, *arguments: str) -> Report:
        return doctor("google", *(arguments or ("--sweeper", "owner", "--auditor", "owner")))


@pytest.fixture
def bucket(gcs: CloudStorage, service: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    with StrictProxy(gcs.endpoint_url, tmp_path) as proxy:
        # What the doctor trusts where a storage names no certificate.
        monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate_path))
        made = Bucket(gcs, proxy, service, gcs.create_bucket(f"doctor-{secrets.token_hex(6)}"))
        made.patch(
            cors=[CORS],
            versioning={"enabled": True},
            lifecycle=documents.google_lifecycle(),
            iamConfiguration={"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True}},
        )
        made.use("google", "create:uploads/", "get")
        made.use("owner")
        yield made


def test_a_good_bucket_has_no_fault_and_nothing_stays_in_it(bucket: Bucket) -> None:
    report = bucket.examined()
    assert report.checks("fail") == set()
    assert report.status == 0
    assert report.checks("ok") >= GOOD
    # Google knows no bound on a link's age: it is said, and is no fault.
    assert report.one("link.too-old")["verdict"] == "note"
    assert bucket.gcs.objects.names(bucket.name) == []


Break = Callable[[Bucket], None]


def _patch(**changed: Any) -> Break:
    return lambda bucket: bucket.patch(**changed)


def _configuration(**changed: Any) -> Break:
    right = {"publicAccessPrevention": "enforced", "uniformBucketLevelAccess": {"enabled": True}}
    return _patch(iamConfiguration=right | changed)


def _cors(**changed: Any) -> Break:
    return _patch(cors=[CORS | changed])


def _may(*permissions: str) -> Break:
    return lambda bucket: bucket.use("google", "create:uploads/", "get", *permissions)


def _everybody(member: str) -> Break:
    def break_it(bucket: Bucket) -> None:
        policy = bucket.sdk.get_iam_policy()
        policy.bindings = [{"role": "roles/storage.objectViewer", "members": {member}}]
        bucket.sdk.set_iam_policy(policy)

    return break_it


def _plain_http(bucket: Bucket) -> None:
    bucket.use("google", "create:uploads/", "get", public_endpoint_url=None)


ABORT_LATE = {"rule": [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 30}}]}

# (fault, what it does, the checks that fail, no more and no less)
FAULTS: list[tuple[str, Break, set[str]]] = [
    ("no cors", _patch(cors=[]), {"cors.upload", "cors.download"}),
    ("another origin", _cors(origin=["https://a.example.com"]), {"cors.upload", "cors.download"}),
    ("every origin", _cors(origin=["*"]), {"cors.foreign-origin"}),
    ("no puts", _cors(method=["GET"]), {"cors.upload"}),
    ("no headers", _cors(responseHeader=["Range"]), {"cors.upload"}),
    ("signer lists", _may("list"), {"signer.list"}),
    ("signer deletes", _may("delete"), {"signer.delete"}),
    ("signer writes elsewhere", _may("create"), {"signer.elsewhere"}),
    ("public access inherited", _configuration(publicAccessPrevention="inherited"), {"gcs.public-access"}),
    ("acls count", _configuration(uniformBucketLevelAccess={"enabled": False}), {"gcs.uniform-access"}),
    ("no versions", _patch(versioning={"enabled": False}), {"gcs.versioning"}),
    ("no lifecycle", _patch(lifecycle={}), {"gcs.lifecycle"}),
    ("parts stay for a month", _patch(lifecycle=ABORT_LATE), {"gcs.lifecycle"}),
    ("everybody reads", _everybody("allUsers"), {"gcs.policy"}),
    ("every account reads", _everybody("allAuthenticatedUsers"), {"gcs.policy"}),
    ("plain http", _plain_http, {"transport"}),
]


@pytest.mark.parametrize(("break_it", "checks"), [pytest.param(f[1], f[2], id=f[0]) for f in FAULTS])
def test_a_fault_is_found_and_nothing_else(break_it: Break, checks: set[str], bucket: Bucket) -> None:
    break_it(bucket)
    report = bucket.examined()
    assert report.checks("fail") == checks
    assert report.status == 1
    assert all(each["remedy"] for each in report.findings if each["verdict"] == "fail")
    assert bucket.gcs.objects.names(bucket.name) == []


def test_the_documents_mend_what_was_found(bucket: Bucket) -> None:
    bucket.patch(cors=[], lifecycle={})
    report = bucket.examined()
    bucket.patch(cors=report.one("cors.upload")["document"], lifecycle=report.one("gcs.lifecycle")["document"])
    assert bucket.examined().checks("fail") == set()


def test_without_an_auditor_the_signer_sees_no_settings_and_says_so(bucket: Bucket) -> None:
    report = bucket.examined("--sweeper", "owner")
    assert report.checks("fail") == set()
    assert report.checks("unseen") == {check for check in GOOD if check.startswith("gcs.")}
    assert "storage.buckets.get" in report.one("gcs.versioning")["remedy"]


def test_a_rule_that_deletes_uploads_by_age_is_noted(bucket: Bucket) -> None:
    rule = {"action": {"type": "Delete"}, "condition": {"age": 400, "matchesPrefix": ["uploads/"]}}
    bucket.patch(lifecycle={"rule": [*documents.google_lifecycle()["rule"], rule]})
    assert bucket.examined().one("gcs.lifecycle.age")["found"] == "a rule deletes uploads after 400 days"


def test_without_a_sweeper_the_probe_is_left_and_named(bucket: Bucket) -> None:
    report = bucket.examined("--auditor", "owner")
    (left,) = bucket.gcs.objects.names(bucket.name)
    assert left in report.one("probe")["found"]


def test_no_signature_and_no_secret_is_in_the_report(bucket: Bucket) -> None:
    _plain_http(bucket)
    text = bucket.examined().text
    assert "X-Goog-Signature" not in text
    assert bucket.gcs.secret not in text


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interrupted_examination_leaves_nothing_behind(error: type[BaseException], bucket: Bucket) -> None:
    assert "the store answers" in interrupted(error, "google", "--sweeper", "owner")
    assert bucket.gcs.objects.names(bucket.name) == []


def test_what_a_busy_store_did_not_decide_is_no_refusal(bucket: Bucket) -> None:
    bucket.proxy.busy = lambda method, target: (
        method == "OPTIONS" or (method == "GET" and "X-Goog-Signature=" not in target)
    )
    report = bucket.examined()
    cors = {"cors.upload", "cors.download", "cors.foreign-origin"}
    assert report.checks("unseen") == {"anonymous.read", "anonymous.list"} | cors
    assert report.checks("fail") == set()


def test_a_helper_is_asked_for_its_own_bucket_alone(bucket: Bucket, tmp_path: Path) -> None:
    """One run for two stores, each with a sweeper of its own."""
    directory = tmp_path / "private"
    directory.mkdir(mode=0o700)
    local = {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": directory}}
    bucket.settings.STORAGES = {**bucket.settings.STORAGES, "private": local, "private_sweeper": local}
    report = doctor("google", "private", "--sweeper", "private_sweeper", "--sweeper", "owner", "--auditor", "owner")
    assert report.checks("fail") == set()
    assert [each["found"] for each in report.findings if each["check"] == "probe"] == ["nothing is left behind"] * 2
    assert bucket.gcs.objects.names(bucket.name) == []


def test_a_helper_of_another_bucket_is_refused(bucket: Bucket) -> None:
    bucket.use("stranger", bucket_name="another")
    for name in ("--sweeper", "--auditor"):
        with pytest.raises(CommandError, match=f"{name} 'stranger' is a storage of none of the buckets"):
            doctor("google", name, "stranger")
