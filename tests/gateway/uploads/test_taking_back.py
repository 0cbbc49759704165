"""Taking back ends the uploads that it concerns, at the store too, once it is committed; the sweeper does the rest."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from gateway import revocation, uploads
from gateway.errors import UploadOver
from gateway.models import Epoch, ObjectDeletion, UploadSession
from gateway.principals import SYSTEM, acting_as
from gateway.revocation import Revoked
from gateway.uploads import PartWanted, resumable
from gateway.uploads.sweeping import expire
from tests.emulators.s3 import send
from tests.gateway.azure_stores import AzureStore
from tests.gateway.gcs_stores import GCSStore
from tests.gateway.link_stores import LocalStore, Store
from tests.gateway.opened_stores import open_store, serve_from
from tests.gateway.uploads.conftest import PDF, begin, principal_of

pytestmark = pytest.mark.django_db

MIB = 2**20
CONTENT = PDF + secrets.token_bytes(6 * MIB)
PAGE = "https://page.example"


def revoke(scope: str, target: str = "") -> Revoked:
    with acting_as(SYSTEM, reason="test") as system:
        return revocation.revoke(scope, target, by=system)


def resume(user: Any) -> Any:
    return begin(user, CONTENT, strategy="resumable", origin=PAGE)


def put(begun: Any, end: int = 0) -> int:
    """Send the bytes of a resumable upload up to one; to the last of them without a number."""
    end = end or len(CONTENT)
    headers = {"Content-Range": f"bytes 0-{end - 1}/{len(CONTENT)}", "Origin": PAGE}
    return send(begun.link.url, method="PUT", headers=headers, body=CONTENT[:end]).status


def state_of(begun: Any) -> str:
    return UploadSession.objects.get(pk=begun.session.pk).state


@pytest.fixture(scope="module", params=["ceph", "gcs", "local", "azure"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def part_store(opened: Store, request: pytest.FixtureRequest, settings: Any) -> Store:
    return serve_from(opened, request, settings, FILE_STORAGE=opened.alias, UPLOAD_PART_BYTES=5 * MIB)


class Tenant:
    def of_principal(self, principal: Any) -> str:
        return "" if principal.user is None else str(principal.user.username)

    def of_row(self, row: Any) -> str:
        return str(row.owner.username)


TENANT = Tenant()
# What is taken back, of alice's first upload; of her two and bob's, which ones end.
SCOPES: dict[str, tuple[Any, tuple[bool, bool, bool]]] = {
    "object": (lambda session: ("object", f"private:{session.key}"), (True, False, False)),
    "prefix": (lambda session: ("object", "private:uploads/"), (True, True, True)),
    "prefix-in-other-letters": (lambda session: ("object", "private:UPLOADS/"), (False, False, False)),
    "half-a-name": (lambda session: ("object", f"private:{session.key[:-1]}"), (False, False, False)),
    "another-storage's": (lambda session: ("object", f"other:{session.key}"), (False, False, False)),
    "principal": (lambda session: ("principal", session.principal), (True, True, False)),
    "tenant": (lambda session: ("tenant", "alice"), (True, True, False)),
    "storage": (lambda session: ("storage", "private"), (True, True, True)),
    "another-storage": (lambda session: ("storage", "other"), (False, False, False)),
    "everything": (lambda session: ("everything", ""), (True, True, True)),
}


@pytest.mark.parametrize(("what", "ends"), SCOPES.values(), ids=SCOPES)
def test_the_uploads_end_that_it_concerns(
    alice: Any, bob: Any, settings: Any, what: Any, ends: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.uploads.test_taking_back.TENANT"}
    begun = [begin(alice), begin(alice), begin(bob)]
    with django_capture_on_commit_callbacks(execute=True):
        answer = revoke(*what(begun[0].session))
    assert [state_of(one) for one in begun] == ["aborted" if has_ended else "issued" for has_ended in ends]
    assert answer.uploads == sum(ends)
    with django_capture_on_commit_callbacks(execute=True):
        assert revoke(*what(begun[0].session)).uploads == 0


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """Nobody has a transaction open: it is done when the answer comes."""

    def test_a_resumable_session_takes_nothing_more(self, resumable_store: GCSStore, alice: Any) -> None:
        begun, other = resume(alice), begin(alice)
        assert put(begun, 256 * 2**10) == 308
        answer = revoke("principal", f"user:{alice.pk}")
        assert put(begun) == 499
        assert (state_of(begun), state_of(other)) == ("aborted", "aborted")
        # The store serves what it signed, and nothing of it becomes a file.
        assert answer.uploads == 2
        assert [(living.storage_alias, living.links) for living in answer.living] == [("gcs", 1)]
        with pytest.raises(UploadOver):
            uploads.finalize(principal_of(alice), begun.session.pk)
        # It need not wait for the week that a session would have lived.
        assert ObjectDeletion.objects.get(key=begun.session.key).not_before < timezone.now() + timedelta(days=2)
        assert put(resume(alice)) == 200

    def test_links_to_parts_are_dead_at_the_store(self, part_store: Store, alice: Any) -> None:
        begun = begin(alice, CONTENT, strategy="multipart")
        parts = [PartWanted(number=1, size_bytes=5 * MIB), PartWanted(number=2, size_bytes=len(CONTENT) - 5 * MIB)]
        first, second = uploads.sign_parts(principal_of(alice), begun.session.pk, parts)
        sent = part_store.send(first.url, method="PUT", headers=dict(first.headers), body=CONTENT[: 5 * MIB])
        assert sent.status in (200, 201)
        answer = revoke("storage", part_store.alias)
        assert (answer.uploads, answer.living) == (1, ())
        assert answer.ended == (2 if isinstance(part_store, (AzureStore, LocalStore)) else 0), (
            "through the gateway alone"
        )
        refused = part_store.send(second.url, method="PUT", headers=dict(second.headers), body=CONTENT[5 * MIB :])
        assert refused.status in (403, 404)
        unfinished = storages[part_store.alias].objects.unfinished()  # type: ignore[attr-defined]
        assert begun.session.store_upload_id not in {one.upload_id for one in unfinished}
        with pytest.raises(UploadOver):
            uploads.sign_parts(principal_of(alice), begun.session.pk, parts)

    def test_what_was_finalized_before_is_left_alone(self, alice: Any) -> None:
        begun = begin(alice)
        UploadSession.objects.update(state="verifying")
        assert revoke("everything").uploads == 0
        assert state_of(begun) == "verifying"

    def test_a_store_that_does_not_hear_is_told_by_the_sweeper(
        self, resumable_store: GCSStore, alice: Any, settings: Any
    ) -> None:
        begun, working = [resume(alice), resume(alice)], settings.STORAGES
        options = resumable_store.options | {"endpoint_url": "http://127.0.0.1:1"}
        settings.STORAGES = working | {"gcs": {"BACKEND": resumable_store.backend, "OPTIONS": options}}
        for one in begun:
            sealed = resumable.seal("http://127.0.0.1:1/?upload_id=x", one.session.pk)
            UploadSession.objects.filter(pk=one.session.pk).update(store_upload_id=sealed)
        answer = revoke("storage", "gcs")
        assert answer.uploads == 2
        # They take bytes, which nobody will make a file of, and the answer says so.
        assert [living.links for living in answer.living] == [2]
        assert [state_of(one) for one in begun] == ["aborted", "aborted"]
        settings.STORAGES = working
        for one in begun:
            UploadSession.objects.filter(pk=one.session.pk).update(store_upload_id=one.session.store_upload_id)
        assert [put(one, 256 * 2**10) for one in begun] == [308, 308]
        assert [left.what for left in expire(execute=True)] == ["stopped parts", "stopped parts"]
        assert [put(one) for one in begun] == [499, 499]

    def test_the_command_says_how_many(self, resumable_store: GCSStore, alice: Any) -> None:
        resume(alice)
        output = io.StringIO()
        call_command("gateway_revoke", "user", "alice", stdout=output)
        assert "Ended now: 0 local links, 1 open uploads." in output.getvalue().splitlines()
        assert "Lives on" not in output.getvalue()

    def test_inside_a_transaction_it_waits_for_the_commit(self, resumable_store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        with transaction.atomic():
            assert revoke("everything").uploads == 1
            assert put(begun, 256 * 2**10) == 308
        assert (state_of(begun), put(begun)) == ("aborted", 499)

    def test_what_is_rolled_back_ends_nothing(self, resumable_store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        with transaction.atomic():
            revoke("everything")
            transaction.set_rollback(True)
        assert Epoch.current_number() == 0
        assert (state_of(begun), put(begun)) == ("issued", 200)


class TestSweeping:
    """Of a process that ended between the commit and the uploads: here, of a commit that never comes."""

    def test_the_sweeper_ends_what_nobody_came_to(self, resumable_store: GCSStore, alice: Any) -> None:
        begun = resume(alice)
        revoke("principal", f"user:{alice.pk}")
        revoke("everything")
        later = resume(alice)
        assert [(left.what, left.name) for left in expire()] == [("taken back upload", begun.session.pk)]
        assert state_of(begun) == "issued"
        assert [(left.what, left.name) for left in expire(execute=True)] == [("ended upload", begun.session.pk)]
        assert (state_of(begun), state_of(later)) == ("aborted", "issued")
        assert put(begun) == 499
        assert list(expire(execute=True)) == []

    def test_no_more_of_them_than_it_may_in_one_run(self, alice: Any) -> None:
        for _ in range(3):
            begin(alice)
        revoke("everything")
        assert [len(list(expire(execute=True, limit=2))) for _ in range(3)] == [2, 1, 0]

    def test_what_another_lost_is_left_alone(self, alice: Any, bob: Any) -> None:
        begun = begin(alice)
        revoke("principal", f"user:{bob.pk}")
        assert list(expire(execute=True)) == []
        assert state_of(begun) == "issued"
