"""Grants, epochs and links in any order: a link serves until it was taken back, and only the granted get one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway import links
from gateway.errors import AccessDenied
from gateway.grants import GrantPolicy
from gateway.models import Epoch, File, Grant
from gateway.policies import Download, visible
from gateway.principals import SYSTEM, Principal, acting_as
from gateway.resources import Resource
from gateway.revocation import end_grant, revoke
from tests.gateway.conftest import new_file
from tests.gateway.delivery.support import follow

KEYS = ["uploads/a/1.pdf", "uploads/a/2.pdf", "uploads/b/1.pdf", "uploads/ab.pdf"]
PLACES = [*KEYS, "uploads/", "uploads/a/", "uploads/b/", "uploads/a"]
NAMES = ["ada", "bea"]


@dataclass(eq=False)
class Link:
    """What the model knows of a link that left."""

    url: str
    user: str
    key: str
    is_void: bool = False


class TakingBack(RuleBasedStateMachine):
    grants = Bundle("grants")
    links_made = Bundle("links")

    @initialize()
    def nothing_yet(self) -> None:
        for model in (Grant, Epoch, File):
            model.objects.all().delete()
        self.users = {name: User.objects.get_or_create(username=name)[0] for name in NAMES}
        self.files = {key: new_file(self.users["ada"], key=key) for key in KEYS}
        self.granted: list[tuple[str, str]] = []
        self.made: list[Link] = []
        self.numbers = [0]

    @rule(target=grants, user=st.sampled_from(NAMES), place=st.sampled_from(PLACES))
    def grant(self, user: str, place: str) -> Any:
        self.granted.append((user, place))
        made = Grant.objects.create(user=self.users[user], storage_alias="private", key=place, operations=["Download"])
        return user, place, made

    @rule(ended=consumes(grants))
    def end(self, ended: Any) -> None:
        user, place, grant = ended
        self.granted.remove((user, place))
        with acting_as(SYSTEM, reason="machine") as system:
            self.numbers.append(end_grant(grant, by=system).number)
        self._void(lambda link: _covers(place, link.key))

    @rule(target=links_made, user=st.sampled_from(NAMES), key=st.sampled_from(KEYS))
    def issue(self, user: str, key: str) -> Any:
        principal = Principal(kind="user", user=self.users[user])
        may = any(name == user and _covers(place, key) for name, place in self.granted)
        try:
            url = links.issue(principal, Resource.of_file(self.files[key])).url
        except AccessDenied:
            assert not may
            return None
        assert may
        self.made.append(Link(url, user, key))
        return self.made[-1]

    @rule(link=links_made)
    def fetch(self, link: Link | None) -> None:
        if link is not None:
            assert follow("wsgi", link.url).status == (403 if link.is_void else 200)

    @rule(place=st.sampled_from(PLACES))
    def take_back_objects(self, place: str) -> None:
        self._revoke("object", f"private:{place}", lambda link: _covers(place, link.key))

    @rule(user=st.sampled_from(NAMES))
    def take_back_from_a_user(self, user: str) -> None:
        self._revoke("principal", f"user:{self.users[user].pk}", lambda link: link.user == user)

    @rule(alias=st.sampled_from(["private", "other"]))
    def take_back_a_storage(self, alias: str) -> None:
        self._revoke("storage", alias, lambda link: alias == "private")

    @rule()
    def take_back_everything(self) -> None:
        self._revoke("everything", "", lambda link: True)

    @invariant()
    def all_that_is_void_stays_void(self) -> None:
        for link in getattr(self, "made", [])[-3:]:
            assert follow("wsgi", link.url).status == (403 if link.is_void else 200)

    @invariant()
    def numbers_only_grow(self) -> None:
        numbers = getattr(self, "numbers", [0])
        assert numbers == sorted(set(numbers))
        assert Epoch.current_number() == numbers[-1] if hasattr(self, "made") else True

    @invariant()
    def what_is_listed_is_what_is_granted(self) -> None:
        for name in NAMES if hasattr(self, "made") else []:
            rows = visible(GrantPolicy(), Principal(kind="user", user=self.users[name]), File.objects.all(), Download)
            assert rows is not None
            assert {row.key for row in rows} == {
                key for key in KEYS if any(user == name and _covers(place, key) for user, place in self.granted)
            }

    def _revoke(self, scope: str, target: str, fits: Any) -> None:
        alive = sum(fits(link) and not link.is_void for link in self.made)
        with acting_as(SYSTEM, reason="machine") as system:
            answer = revoke(scope, target, by=system)
        self.numbers.append(answer.number)
        assert answer.ended >= alive
        assert answer.living == ()
        self._void(fits)

    def _void(self, fits: Any) -> None:
        for link in self.made:
            link.is_void = link.is_void or fits(link)


def _covers(place: str, key: str) -> bool:
    return key.startswith(place) if place.endswith("/") else key == place


@pytest.fixture
def connections_left_alone() -> Iterator[None]:
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.urls("tests.gateway.delivery.urls")
@pytest.mark.usefixtures("connections_left_alone")
def test_a_link_serves_until_it_is_taken_back(settings: Any) -> None:
    for key in KEYS:
        storages["private"]._save(key, ContentFile(b"bytes"))
    with override_settings(
        GATEWAY=settings.GATEWAY | {"POLICIES": {"presign_gateway.File": "gateway.grants.GrantPolicy"}}
    ):
        run_state_machine_as_test(TakingBack, settings=BUDGET)  # type: ignore[no-untyped-call]


BUDGET = settings(
    max_examples=15, stateful_step_count=20, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
