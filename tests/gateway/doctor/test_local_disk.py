"""The doctor on the local store: the links go through this very service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from gateway import links
from tests.gateway.doctor.conftest import doctor, interrupted


@pytest.fixture
def root(private_root: Path) -> Path:
    private_root.mkdir(mode=0o700, exist_ok=True)
    private_root.chmod(0o700)
    return private_root


def test_a_good_directory_has_no_fault_and_nothing_stays_in_it(service: Any, root: Path) -> None:
    report = doctor("private")
    assert report.checks("fail") == set()
    assert report.status == 0
    assert report.checks("ok") >= {
        "anonymous.read",
        "disk.free",
        "disk.mode",
        "link",
        "link.expired",
        "link.other-key",
        "link.tampered",
        "probe",
        "upload",
        "upload.other-type",
        "upload.overwrite",
    }
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_root_that_is_open_to_all_is_found(service: Any, root: Path) -> None:
    root.chmod(0o755)
    assert doctor("private").checks("fail") == {"disk.mode"}


def test_a_root_that_is_served_is_found(service: Any, root: Path) -> None:
    service.MEDIA_ROOT = str(root.parent)
    assert doctor("private").checks("fail") == {"disk.public"}


def test_a_root_that_cannot_be_written_to_is_found(service: Any, root: Path) -> None:
    root.rmdir()
    root.write_text("a file where the root should be")
    report = doctor("private")
    assert "upload" in report.checks("fail")
    assert report.status == 1


def test_a_data_plane_that_is_not_reachable_is_found(service: Any, root: Path) -> None:
    # A gate of the host's own in front of everything.
    service.MIDDLEWARE = ["tests.gateway.doctor.gate.Closed", *service.MIDDLEWARE]
    assert {"upload"} <= doctor("private").checks("fail")


def test_keys_of_their_own_are_counted(service: Any, root: Path) -> None:
    options = {"location": str(root), "secret_keys": ["k" * 40, "j" * 40]}
    service.STORAGES = service.STORAGES | {
        "own": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": options}
    }
    report = doctor("own")
    assert report.checks("fail") == set()
    assert "2 keys of their own" in report.one("keys")["found"]


def test_the_probe_lies_below_the_doors_own_key(service: Any, root: Path) -> None:
    link = links.probe("private", name="doctor")
    assert f"/{links.PROBE_KEY}/doctor?" in link.url
    assert storages["private"].exists(f"{links.PROBE_KEY}/doctor") is False


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interrupted_examination_leaves_nothing_behind(error: type[BaseException], service: Any, root: Path) -> None:
    assert "the store answers" in interrupted(error, "private")
    assert [path for path in root.rglob("*") if path.is_file()] == []
