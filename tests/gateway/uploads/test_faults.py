"""Faults on the way of an upload to a file and out again, and that the page which lists them tells the truth."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.utils import timezone

from gateway import outbox, uploads
from gateway.errors import GatewayError
from gateway.models import File, ObjectDeletion, UploadSession
from tests.gateway.api.support import by_token
from tests.gateway.uploads.conftest import PDF, begin, principal_of

ROOT = Path(__file__).resolve().parents[3]
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


def arrived(user: Any) -> UploadSession:
    session = begin(user).session
    storage: Any = storages["private"]
    storage._save(session.key, ContentFile(PDF))
    return session


def test_a_store_that_refuses_a_deletion_is_asked_again_and_the_file_is_gone_meanwhile(
    alice: Any, monkeypatch: Any
) -> None:
    """F19."""
    session = arrived(alice)
    reference = uploads.finalize(principal_of(alice), session.pk).reference
    client = by_token(alice)
    assert client.delete(f"/api/v1/files/{reference}").status_code == 204

    def refuse(_: str) -> None:
        raise OSError("500")

    with monkeypatch.context() as patched:
        patched.setattr(storages["private"], "delete", refuse)
        assert [one.outcome for one in outbox.sweep(now=timezone.now() + 2 * DAY, execute=True)] == ["failed"]
    assert File.objects.get().state == "deleting"
    assert client.send("/api/v1/links", {"file": reference}).status_code == 404
    assert [one.outcome for one in outbox.sweep(now=timezone.now() + 2 * DAY, execute=True)] == ["deleted"]
    assert File.objects.get().state == "deleted"
    assert not storages["private"].exists(session.key)


@pytest.mark.parametrize("comes_back", [True, False], ids=["comes-back", "stays-away"])
def test_a_client_that_died_after_its_bytes_may_come_back_until_the_end(alice: Any, comes_back: bool) -> None:
    """F20: nothing but the row and the object is left of it."""
    session = arrived(alice)
    if comes_back:
        assert uploads.finalize(principal_of(alice), session.pk).session.state == "ready"
        return
    UploadSession.objects.update(expires_at=timezone.now() - DAY, links_end_at=timezone.now() - DAY)
    for _ in range(2):  # one run notes it, the next deletes
        call_command("gateway_sweep", "--execute", verbosity=0)
    session.refresh_from_db()
    assert session.state == "expired"
    assert not storages["private"].exists(session.key)
    assert not File.objects.exists()


ORDERS = list(permutations(["finalize", "abort", "deactivate"]))


@pytest.mark.parametrize("order", ORDERS, ids=["-".join(order) for order in ORDERS])
def test_finalize_abort_and_a_lost_right_agree_in_every_order(alice: Any, order: tuple[str, ...]) -> None:
    """F25: what comes first holds, and nothing is raised from the dead."""
    session = arrived(alice)

    def deactivate() -> None:
        get_user_model().objects.filter(pk=alice.pk).update(is_active=False)
        alice.refresh_from_db()

    acts = {
        "finalize": lambda: uploads.finalize(principal_of(alice), session.pk),
        "abort": lambda: uploads.abort(principal_of(alice), session.pk),
        "deactivate": deactivate,
    }
    for name in order:
        try:
            acts[name]()
        except GatewayError:
            assert name != order[0], "the first has nothing in its way"
    session.refresh_from_db()
    is_file = order.index("finalize") == 0 or order[:2] == ("finalize", "abort")
    assert session.state == ("ready" if is_file else "aborted")
    assert File.objects.filter(key=session.key).exists() is is_file
    assert ObjectDeletion.objects.filter(key=session.key).exists() is not is_file


def test_the_page_names_a_test_for_every_fault_and_each_of_them_exists() -> None:
    page = (ROOT / "docs" / "uploads.md").read_text().partition("## Faults")[2]
    rows = re.findall(r"^\| (F\d+) \| [^|]+ \| (.+) \|$", page, re.MULTILINE)
    assert [fault for fault, _ in rows] == [f"F{number}" for number in range(17, 34)]
    for fault, held_by in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held_by)
        assert named or fault == "F28", fault
        for path, name in named:
            assert f"def {name}(" in (ROOT / path).read_text(), f"{fault}: {path}::{name}"
