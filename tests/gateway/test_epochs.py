"""Epochs by themselves: what one concerns, in batches of rows that differ, and what a session notes of them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in
from django.core.management import call_command
from django.test import RequestFactory

from gateway import epochs
from gateway.errors import TakenBack
from gateway.models import ApiToken, Epoch, Issuance
from gateway.principals import SESSION_EPOCH, Principal

pytestmark = pytest.mark.django_db

KEY = "uploads/2026/report.pdf"
AT = datetime(2026, 11, 22, tzinfo=UTC)


def taken_back(scope: str, target: str, number: int) -> None:
    """Let something have been taken back under a number, and the counter stand there."""
    for about in ((scope, target), (Epoch.Scope.COUNTER, "")):
        digest = Epoch.digest_of(*about)
        Epoch.objects.update_or_create(
            digest=digest, defaults={"scope": about[0], "target": about[1], "number": number, "at": AT}
        )


def row(epoch: int | None, decision: str = "issued", **values: Any) -> Issuance:
    about = {"principal": "user:1", "tenant": "acme", "storage_alias": "private", "key": KEY} | values
    made = Issuance(at=AT, decision=decision, operation="Download", resource="a file", **about)
    made.epoch = epoch
    return made


# what is taken back, and whether it concerns the row above
CONCERNS: dict[str, tuple[str, str, bool]] = {
    "everything": ("everything", "", True),
    "its storage": ("storage", "private", True),
    "another storage": ("storage", "privat", False),
    "its principal": ("principal", "user:1", True),
    "another principal": ("principal", "user:11", False),
    "its tenant": ("tenant", "acme", True),
    "another tenant": ("tenant", "acme2", False),
    "the object": ("object", f"private:{KEY}", True),
    "the directory": ("object", "private:uploads/2026/", True),
    "the directory above": ("object", "private:uploads/", True),
    "half a name": ("object", "private:uploads/2026/rep", False),
    "a directory without its slash": ("object", "private:uploads/2026", False),
    "an object below": ("object", f"private:{KEY}/", False),
    "the object of another storage": ("object", f"other:{KEY}", False),
    "a principal called as the storage": ("principal", "private", False),
}


class TestOvertaken:
    @pytest.mark.parametrize(("scope", "target", "concerns"), CONCERNS.values(), ids=CONCERNS)
    def test_a_link_is_held_back_by_what_concerns_it(self, scope: str, target: str, concerns: bool) -> None:
        taken_back(scope, target, 3)
        if concerns:
            with pytest.raises(TakenBack):
                epochs.check_not_overtaken([row(2)])
        else:
            epochs.check_not_overtaken([row(2)])

    @pytest.mark.parametrize(("scope", "target", "concerns"), CONCERNS.values(), ids=CONCERNS)
    def test_what_was_decided_under_its_number_is_as_new(self, scope: str, target: str, concerns: bool) -> None:
        taken_back(scope, target, 3)
        epochs.check_not_overtaken([row(3), row(4)])

    def test_each_row_of_a_batch_is_compared_with_its_own_number(self) -> None:
        taken_back("principal", "user:2", 5)
        # The older row is somebody else's, the one of user:2 as new as what was taken back.
        epochs.check_not_overtaken([row(1), row(5, principal="user:2"), row(9)])
        with pytest.raises(TakenBack):
            epochs.check_not_overtaken([row(9), row(1), row(4, principal="user:2")])

    def test_the_first_decision_under_no_number_counts_from_nothing(self) -> None:
        taken_back("everything", "", 1)
        with pytest.raises(TakenBack):
            epochs.check_not_overtaken([row(0)])

    @pytest.mark.parametrize("decision", ["allowed", "refused", "revoked"])
    def test_only_what_was_issued_is_held_back(self, decision: str) -> None:
        taken_back("everything", "", 3)
        epochs.check_not_overtaken([row(2, decision), row(3)])
        epochs.check_not_overtaken([row(None)])

    def test_a_row_without_a_number_does_not_hide_the_others(self) -> None:
        taken_back("everything", "", 3)
        with pytest.raises(TakenBack):
            epochs.check_not_overtaken([row(None), row(2, "refused"), row(2)])

    def test_nothing_issued_asks_nothing(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            epochs.check_not_overtaken([row(2, "refused"), row(None)])


TARGETS: dict[str, tuple[str, list[str]]] = {
    "a name": ("a", ["p:a"]),
    "below directories": ("a/b/c", ["p:a/b/c", "p:a/", "p:a/b/"]),
    "a prefix": ("a/b/", ["p:a/b/", "p:a/"]),
    "a prefix of one": ("a/", ["p:a/"]),
}


@pytest.mark.parametrize(("key", "targets"), TARGETS.values(), ids=TARGETS)
def test_an_object_is_named_with_every_prefix_above_it_once(key: str, targets: list[str]) -> None:
    assert list(epochs.object_targets("p", key)) == targets


@pytest.mark.parametrize(("scope", "target"), [("tenant", "acme"), ("principal", "user:1")])
def test_a_link_of_no_tenant_that_names_nobody_is_taken_back_with_neither(scope: str, target: str) -> None:
    taken_back(scope, target, 3)

    assert epochs.is_void("private", KEY, f"2-{'0' * 32}") is False


# under which number a token was made, how long after the instant of what was taken back, and whether it is void
TOKENS: dict[str, tuple[int | None, int, bool]] = {
    "an older number, by a clock that is ahead": (2, 60, True),
    "its number, by a clock that is behind": (3, -60, False),
    "no number, before": (None, -60, True),
    "no number, at the instant": (None, 0, True),
    "no number, after": (None, 60, False),
}


@pytest.mark.parametrize(("number", "seconds", "is_void"), TOKENS.values(), ids=TOKENS)
def test_a_token_is_as_old_as_its_number_and_without_one_as_its_row(
    number: int | None, seconds: int, is_void: bool
) -> None:
    taken_back("everything", "", 3)
    user = get_user_model()(pk=1)
    token = ApiToken(user=user, epoch=number, created_at=AT + timedelta(seconds=seconds))

    said = epochs.void_credential(Principal(kind="user", user=user, token=token), "", epochs.Now(3, everything=3))

    assert said == ("what everything was given before 2026-11-22 00:00:00 was taken back" if is_void else "")


@pytest.mark.parametrize(
    ("scope", "target", "shown"), [("tenant", "acme", "the tenant"), ("principal", "user:1", "the user")]
)
def test_what_is_void_says_with_whom_it_was_taken_back(scope: str, target: str, shown: str) -> None:
    taken_back(scope, target, 3)
    user = get_user_model()(pk=1)
    principal = Principal(kind="user", user=user, token=ApiToken(user=user, epoch=2, created_at=AT))

    said = epochs.void_credential(principal, "acme", epochs.Now(3, **{scope: 3}))

    assert said == f"what {shown} was given before 2026-11-22 00:00:00 was taken back"


class TestNow:
    def test_what_was_read_is_not_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            epochs.Now().number = 1  # type: ignore[misc]

    def test_it_reads_what_concerns_the_principal_and_nothing_else(self) -> None:
        principal = Principal(kind="user", user=get_user_model()(pk=1))
        for number, about in enumerate([("principal", "user:1"), ("tenant", "acme"), ("principal", "user:2")], start=1):
            taken_back(*about, number)
        assert epochs.now(principal) == epochs.Now(number=3, principal=1)
        assert epochs.now(principal, "acme") == epochs.Now(number=3, principal=1, tenant=2)
        taken_back("everything", "", 4)
        assert epochs.now(principal, "other") == epochs.Now(number=4, everything=4, principal=1)

    def test_where_nothing_was_taken_back_it_is_the_beginning(self) -> None:
        assert epochs.now(Principal(kind="user", user=get_user_model()(pk=1))) == epochs.Now()


class TestCounter:
    @pytest.mark.django_db(transaction=True)
    def test_what_is_emptied_has_it_anew(self) -> None:
        taken_back("counter", "", 7)
        call_command("flush", interactive=False, verbosity=0)
        assert list(Epoch.objects.values_list("scope", "number")) == [("counter", 0)]

    def test_it_does_not_count_back(self) -> None:
        taken_back("counter", "", 7)
        epochs.begin_to_count(using="default")
        assert Epoch.current_number() == 7

    def test_where_no_epochs_are_there_is_none(self, settings: Any, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            # As after ``migrate presign_gateway zero``.
            epochs.begin_to_count(using="default", apps=Apps())
            settings.DATABASE_ROUTERS = ["tests.gateway.test_epochs.Elsewhere"]
            epochs.begin_to_count(using="default")


class Elsewhere:
    """Keeps epochs in another database."""

    def allow_migrate(self, database: str, *_: Any, **__: Any) -> bool:
        return False


class TestSessions:
    @pytest.mark.parametrize("number", [0, 7])
    def test_one_notes_under_which_number_it_begins(self, alice: Any, number: int) -> None:
        if number:
            taken_back("everything", "", number)
        request: Any = RequestFactory().get("/")
        request.session = {}
        user_logged_in.send(sender=get_user_model(), request=request, user=alice)
        assert request.session == ({SESSION_EPOCH: number} if number else {})

    @pytest.mark.parametrize("request_", [None, RequestFactory().get("/")], ids=["no request", "no session"])
    def test_a_log_in_without_a_session_notes_nothing(self, alice: Any, request_: Any) -> None:
        taken_back("everything", "", 7)
        user_logged_in.send(sender=get_user_model(), request=request_, user=alice)
        assert not hasattr(request_, "session")
