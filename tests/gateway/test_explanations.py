"""Explanations: the door's own answer, every policy that it asks, every limit; and no link."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway import links
from gateway.contrib.guardian import GuardianPermission
from gateway.errors import AccessDenied
from gateway.explanations import ASKABLE, explain
from gateway.grants import GrantPolicy
from gateway.models import Grant, Issuance
from gateway.policies import (
    FILE_POLICY,
    OPERATIONS,
    Allow,
    Authenticated,
    Composable,
    Everyone,
    Limits,
    ModelPermission,
    ObjectPermission,
    Owner,
    StaffOnly,
)
from gateway.principals import ANONYMOUS, SYSTEM, Principal, acting_as
from gateway.resources import Resource
from tests.gateway.api.support import by_session, by_token
from tests.gateway.conftest import new_document, new_file
from tests.gateway.test_revocation import S3

pytestmark = pytest.mark.django_db


class ForAMinute(Composable):
    def __str__(self) -> str:
        return "ForAMinute"

    def decide(self, *_: Any) -> Allow:
        return Allow(Limits(max_ttl=timedelta(minutes=1), dispositions=frozenset({"attachment"})))


class Broken(Composable):
    def __str__(self) -> str:
        return "Broken"

    def decide(self, *_: Any) -> Any:
        raise ZeroDivisionError


POLICIES: list[Any] = [
    Owner("owner"), ModelPermission(), ObjectPermission(), GuardianPermission(), GrantPolicy(), StaffOnly(),
    Authenticated(), Everyone(), FILE_POLICY, ~Owner("owner"), Owner("owner") & ForAMinute(),
    Broken() | Authenticated(), Broken() & Everyone(), ~Broken(), ForAMinute(), Broken(),
]  # fmt: skip


def of(user: Any) -> Principal:
    return Principal(kind="user", user=user)


def decided_by(settings: Any, policy: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": policy}}


@pytest.mark.parametrize("operation", ["Download", "Delete", "Upload"])
@pytest.mark.parametrize("who", ["owner", "granted", "stranger", "nobody", "superuser"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_every_policy_is_explained_as_it_decides(
    alice: Any, bob: Any, settings: Any, policy: Any, who: str, operation: str
) -> None:
    decided_by(settings, policy)
    file = new_file(alice)
    principals = {
        "owner": lambda: of(alice), "granted": lambda: of(bob), "nobody": lambda: ANONYMOUS,
        "stranger": lambda: of(User.objects.create_user("stranger")),
        "superuser": lambda: of(User.objects.create_superuser("root")),
    }  # fmt: skip
    principal = principals[who]()
    Grant.objects.create(user=bob, storage_alias="private", key=file.key, operations=["Download"])

    explained = explain(principal, Resource.of_file(file), operation)

    assert not Issuance.objects.exists()
    answer = _door(principal, Resource.of_file(file), ASKABLE[operation](file.key))
    assert (explained.is_allowed, explained.policy, explained.reason) == answer
    if not explained.is_allowed:
        assert (explained.expires_at, explained.signer) == (None, None)
    assert (explained.asked[0].policy, explained.asked[0].depth) == (str(policy), 0)
    assert explained.asked[0].answer in (("allow",) if explained.is_allowed else ("deny", "failure"))
    assert [one.policy for one in explained.asked] == list(_all_in(policy))


def _door(principal: Principal, resource: Resource, operation: Any) -> tuple[bool, str, str]:
    try:
        return True, links.authorize(principal, resource, operation).policy, ""
    except AccessDenied as refused:
        return False, "", refused.reason


def _all_in(policy: Any) -> Iterator[str]:
    yield str(policy)
    for name in ("left", "right", "policy"):
        if (part := getattr(policy, name, None)) is not None:
            yield from _all_in(part)


def test_every_operation_can_be_asked_about() -> None:
    assert {type(make("a/" if name == "DownloadPrefix" else "a")) for name, make in ASKABLE.items()} == set(OPERATIONS)
    assert set(ASKABLE) == {operation.__name__ for operation in OPERATIONS}


def test_the_limit_that_wins_is_the_links(alice: Any, settings: Any) -> None:
    decided_by(settings, ForAMinute())
    file, end = new_file(alice), timezone.now() + timedelta(seconds=30)
    for principal, limited_by in (
        (of(alice), "policy"),
        (Principal(kind="user", user=alice, authority_ends_at=end), "code"),
    ):
        explained = explain(principal, Resource.of_file(file))
        issued = links.issue(principal, Resource.of_file(file))
        assert explained.limited_by == issued.limited_by == limited_by
        assert explained.expires_at is not None
        assert abs(explained.expires_at - issued.expires_at) <= timedelta(seconds=1)
        assert explained.limits["policy"] == 60
        assert explained.limits["max_ttl"] == 900
    assert explained.limits["code ends"] == end
    assert explained.asked[0].limits == {"max_ttl_seconds": 60, "dispositions": ["attachment"]}


def test_the_end_of_the_credential_is_told_and_its_secret_is_not(alice: Any, settings: Any) -> None:
    end = (timezone.now() + timedelta(seconds=200)).replace(microsecond=0)
    options = S3["OPTIONS"] | {"security_token": "t" * 40}  # type: ignore[operator]
    settings.STORAGES = settings.STORAGES | {"cloud": S3 | {"OPTIONS": options}}
    explained = explain(of(alice), Resource.of_file(new_file(alice, storage_alias="cloud")))
    assert explained.signer is not None
    assert (explained.signer.provider, explained.signer.storage_alias) == ("S3Provider", "cloud")
    assert explained.signer.credential_ends_at is None or explained.signer.credential_ends_at <= end
    assert "s" * 40 not in repr(explained)
    assert "t" * 40 not in repr(explained)


def test_a_storage_that_cannot_sign_is_said(alice: Any, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"gone": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
    explained = explain(of(alice), Resource.of_file(new_file(alice, storage_alias="gone")))
    assert not explained.is_allowed
    assert "not a private one" in explained.reason


def test_what_is_not_there_has_no_policy_asked_about_it(alice: Any) -> None:
    file = new_file(alice)
    file.delete()
    explained = explain(of(alice), Resource.of_file(new_file(alice, key="b")))
    assert explained.is_allowed
    missing = Resource(storage_alias="", key=None, model=type(file), pk=ABSENT)
    explained = explain(of(alice), missing)
    assert (explained.is_allowed, explained.asked) == (False, ())


ABSENT = "11111111-1111-4111-8111-111111111111"


def test_the_rules_of_the_door_are_explained_too(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    alice.is_active = False
    assert explain(of(alice), Resource.of_file(file)).reason == "the user is not active"
    with acting_as(SYSTEM, reason="test") as system:
        explained = explain(system, Resource.of_file(file))
    assert (explained.is_allowed, explained.asked[0].answer) == (True, "not asked")


def test_to_another_tenant_nothing_is_explained(alice: Any, bob: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.test_explanations.TENANT"}
    resource = Resource.of_file(new_file(alice))
    assert explain(of(alice), resource, asker=of(alice)).is_allowed
    assert explain(of(bob), resource).reason == "another tenant"
    with pytest.raises(AccessDenied):
        explain(of(alice), resource, asker=of(bob))


class Tenant:
    """Everybody is a tenant of their own."""

    def of_principal(self, principal: Principal) -> str:
        return str(principal.user.pk)

    def of_row(self, row: Any) -> str:
        return str(row.owner_id)


TENANT = Tenant()


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("gateway_explain", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_tells_it_line_by_line(alice: Any, bob: Any, settings: Any) -> None:
    decided_by(settings, (Owner("owner") & ForAMinute()) | StaffOnly())
    file = new_file(alice)
    lines = run("alice", str(file.pk)).splitlines()
    assert lines[0].startswith(
        f"Download of presign_gateway.File:{file.pk} by user:{alice.pk}: yes, by (Owner('owner')"
    )
    assert lines[1:6] == [
        "  ((Owner('owner') & ForAMinute) | StaffOnly): allow ((Owner('owner') & ForAMinute)), max_ttl_seconds 60 s,"
        " dispositions attachment",
        "    (Owner('owner') & ForAMinute): allow ((Owner('owner') & ForAMinute)), max_ttl_seconds 60 s,"
        " dispositions attachment",
        "      Owner('owner'): allow (Owner('owner'))",
        "      ForAMinute: allow (ForAMinute), max_ttl_seconds 60 s, dispositions attachment",
        "    StaffOnly: deny (StaffOnly)",
    ]
    assert "  limit policy: 60 s  <- this one" in lines
    assert lines[-1] == "  signer: LocalProvider of private; its credential has no end"
    assert "signature" not in "".join(lines)
    assert ": no: " in run("bob", str(file.pk)).splitlines()[0]
    assert "by anonymous: no" in run("-", str(file.pk), "Delete")
    document = new_document(alice)
    assert "yes, by Owner" in run("alice", f"hostapp.document:{document.pk}:file", "Update")
    assert not Issuance.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nobody", ABSENT], "no user"), (["alice", "x"], "no reference"), (["alice", ABSENT, "Read"], "invalid choice")],
    ids=["user", "reference", "operation"],
)
def test_the_command_says_what_is_wrong(alice: Any, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(*arguments)


@pytest.mark.urls("settings.urls")
class TestAPI:
    def test_staff_is_told(self, alice: Any, bob: Any) -> None:
        bob.is_staff = True
        bob.save()
        file = new_file(alice)
        body = by_session(bob).get(f"/api/v1/files/{file.pk}/explain?user=alice&operation=Delete").json()
        assert (body["allowed"], body["principal"], body["operation"]) == (True, f"user:{alice.pk}", "Delete")
        assert (body["signer"], body["expires_at"]) == (None, None)
        body = by_session(bob).get(f"/api/v1/files/{file.pk}/explain").json()
        assert (body["allowed"], [one["answer"] for one in body["asked"]]) == (False, ["deny"] * 3)
        body = by_session(bob).get(f"/api/v1/files/{file.pk}/explain?user=alice").json()
        assert body["signer"] == {
            "storage": "private", "provider": "LocalProvider", "credential_ends_at": None, "can_sign": True
        }  # fmt: skip
        assert "signature" not in json.dumps(body)
        assert not Issuance.objects.exists()

    def test_for_others_there_is_nothing(self, alice: Any, bob: Any) -> None:
        file = new_file(alice)
        wanted = by_session(bob).get(f"/api/v1/files/{ABSENT}").content
        for client in (by_session(alice), by_session(bob)):
            response = client.get(f"/api/v1/files/{file.pk}/explain")
            assert (response.status_code, response.content) == (404, wanted)
        alice.is_staff = True
        alice.save()
        assert by_token(alice).get(f"/api/v1/files/{file.pk}/explain").status_code == 404

    @pytest.mark.parametrize(
        "query",
        ["user=nobody", "operation=Read", "x=1", "user=" + "a" * 151],
        ids=["nobody", "operation", "unknown", "long"],
    )
    def test_bad_questions(self, alice: Any, query: str) -> None:
        alice.is_staff = True
        alice.save()
        assert by_session(alice).get(f"/api/v1/files/{new_file(alice).pk}/explain?{query}").status_code == 400
