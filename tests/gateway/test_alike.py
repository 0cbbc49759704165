"""However a file is asked for, the decision is one: the same answer, limits, policy and reason in the record."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import display_for_field
from django.contrib.auth import get_user
from django.contrib.auth.models import Permission, User
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.authentication import authenticate
from gateway.errors import AccessDenied
from gateway.grants import GrantPolicy
from gateway.models import Epoch, Grant, Issuance
from gateway.policies import (
    Allow,
    Authenticated,
    Composable,
    Deny,
    Everyone,
    Limits,
    ModelPermission,
    ObjectPermission,
    Owner,
    StaffOnly,
)
from gateway.principals import SYSTEM, acting_as, bind_principal
from gateway.revocation import revoke
from tests.gateway.api.support import ApiClient, by_session, by_token
from tests.gateway.conftest import new_document, request_of
from tests.hostapp.models import Document

pytestmark = [pytest.mark.django_db, pytest.mark.urls("settings.urls")]

FIELD: Any = Document._meta.get_field("file")
LINKS = "/api/v1/links"


class Within(Composable):
    """Allows what a title says, within limits, and says why not."""

    def __init__(self, max_ttl: int | None, seconds: int | None, disposition: str | None) -> None:
        self.max_ttl, self.seconds, self.disposition = max_ttl, seconds, disposition

    def __str__(self) -> str:
        return f"Within({self.max_ttl}, {self.seconds}, {self.disposition})"

    def decide(self, principal: Any, resource: Any, operation: Any) -> Any:
        if resource.instance.title == "closed":
            return Deny("it is closed")
        return Allow(
            Limits(
                max_ttl=None if self.max_ttl is None else timedelta(seconds=self.max_ttl),
                until=None if self.seconds is None else timezone.now() + timedelta(seconds=self.seconds),
                dispositions=None if self.disposition is None else frozenset({self.disposition}),
            )
        )


class Broken(Composable):
    def __str__(self) -> str:
        return "Broken"

    def decide(self, *_: Any) -> Any:
        raise ZeroDivisionError


atoms = st.one_of(
    st.sampled_from(
        [Owner("owner"), Owner("project__members"), ModelPermission(), ObjectPermission(), GrantPolicy(), StaffOnly(),
         Authenticated(), Everyone(), Broken()]
    ),
    st.builds(
        Within,
        st.sampled_from([None, 1, 60, 5000]),
        st.sampled_from([None, -5, 30, 5000]),
        st.sampled_from([None, "inline", "attachment"]),
    ),
)  # fmt: skip
policies = st.recursive(
    atoms,
    lambda below: st.one_of(
        st.builds(lambda a, b: a & b, below, below),
        st.builds(lambda a, b: a | b, below, below),
        st.builds(lambda a: ~a, below),
    ),
    max_leaves=3,
)
KINDS = ["owner", "other", "granted", "staff", "permitted", "superuser"]
CREDENTIALS: dict[str, Callable[[Any], ApiClient]] = {
    "session": by_session,
    "token": by_token,
    "token-of-another-scope": lambda user: by_token(user, "Delete", "Update"),
}


def user_of(kind: str, alice: Any) -> Any:
    if kind == "owner":
        return alice
    user = User.objects.create_user("asking", is_staff=kind == "staff", is_superuser=kind == "superuser")
    if kind == "permitted":
        user.user_permissions.add(Permission.objects.get(codename="view_document"))
    return user


@contextmanager
def decided_by(policy: Any) -> Iterator[None]:
    before = FIELD.policy
    FIELD.policy = policy
    try:
        yield
    finally:
        FIELD.policy = before


def through_url(client: ApiClient, document: Document) -> bool:
    """Ask as a view would, in a request with the client's own credential."""
    headers = {f"HTTP_{name.upper()}": value for name, value in client.defaults_of_headers().items()}
    with request_of(None, session=client.session) as lease:
        lease.request.user = client.user_of_session()
        lease.request.META.update(headers)
        bind_principal(authenticate(lease.request))
        try:
            url = Document.objects.get(pk=document.pk).file.url
        except AccessDenied:
            url = ""
        pending = list(lease.pending)
    Issuance.objects.bulk_create(pending)
    return bool(url)


def through_link(client: ApiClient, document: Document) -> bool:
    return bool(client.send(LINKS, {"file": reference(document)}).status_code == 201)


def through_batch(client: ApiClient, document: Document) -> bool:
    (result,) = client.send(f"{LINKS}/batch", {"items": [{"file": reference(document)}]}).json()["results"]
    return result["error"] is None


def through_permalink(client: ApiClient, document: Document) -> bool:
    return bool(client.get(f"/f/{reference(document)}").status_code == 302)


def through_admin(client: ApiClient, document: Document) -> bool:
    """Follow what the admin's lists show in place of a link."""
    shown = str(display_for_field(document.file, FIELD, "-"))
    address = re.search(r'href="([^"]+)"', shown)
    assert address is not None, shown
    assert "signature" not in shown
    return bool(client.get(address[1]).status_code == 302)


DOORS = [through_url, through_link, through_batch, through_permalink, through_admin]


def reference(document: Document) -> str:
    return f"hostapp.document:{document.pk}:file"


class Client(ApiClient):
    """Knows what it sends, so that a request can be made of it by hand."""

    def defaults_of_headers(self) -> dict[str, str]:
        header = self.defaults.get("HTTP_AUTHORIZATION")
        return {} if header is None else {"AUTHORIZATION": header}

    def user_of_session(self) -> Any:
        request = HttpRequest()
        request.session = self.session
        return get_user(request)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    policy=policies,
    kind=st.sampled_from(KINDS),
    credential=st.sampled_from(sorted(CREDENTIALS)),
    title=st.sampled_from(["", "closed"]),
    taken_back=st.sampled_from([None, "principal", "object"]),
    session_seconds=st.sampled_from([None, 100]),
)
def test_every_door_decides_alike(
    alice: Any, policy: Any, kind: str, credential: str, title: str, taken_back: str | None, session_seconds: Any
) -> None:
    models.QuerySet(Issuance).delete()
    Epoch.objects.all().delete()
    User.objects.filter(username="asking").delete()
    user = user_of(kind, alice)
    document = new_document(alice, title=title)
    if kind == "granted":
        Grant.objects.create(
            user=user, storage_alias="private", key=document.file.name, operations=["Download"], max_ttl_seconds=77
        )
    if taken_back is not None:
        # Before the credential was made: it changes nothing, and must not.
        target = f"user:{user.pk}" if taken_back == "principal" else f"private:{document.file.name}"
        with acting_as(SYSTEM, reason="test") as system:
            revoke(taken_back, target, by=system)
    client = CREDENTIALS[credential](user)
    client.__class__ = Client
    if credential == "session" and session_seconds is not None:
        session = client.session
        session.set_expiry(session_seconds)
        session.save()
    seen = {}
    with decided_by(policy):
        for door in DOORS:
            models.QuerySet(Issuance).delete()
            got_a_link = door(client, document)
            (row,) = Issuance.objects.all()
            assert got_a_link == (row.decision == "issued")
            # Seconds, since the doors are asked one after the other.
            left = None if row.expires_at is None else round((row.expires_at - row.at).total_seconds() / 10)
            # A reference names no key: one that is refused before the row is read has none in its record.
            key = row.key if got_a_link else ""
            seen[door.__name__] = (
                row.decision, row.principal, row.credential.partition(":")[0], row.operation, row.resource, key,
                row.policy, row.reason, row.limited_by, left,
            )  # fmt: skip
    assert len(set(seen.values())) == 1, seen
