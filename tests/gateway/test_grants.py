"""Stored grants: to whom, to what, for how long and within which limits; one query, and never more than was given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway import links
from gateway.errors import AccessDenied
from gateway.grants import GrantPolicy
from gateway.links import IssuedURL
from gateway.models import GRANTABLE, ApiToken, File, Grant
from gateway.policies import OPERATIONS, Authenticated, Delete, Download, Owner, Update, visible
from gateway.principals import ANONYMOUS, Principal
from gateway.resources import Resource
from tests.gateway.conftest import issuances, new_document, new_file
from tests.hostapp.models import Document, Invoice

pytestmark = pytest.mark.django_db

IN_AN_HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def granted(settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": "gateway.grants.GrantPolicy"}}


def of(user: Any, token: Any = None) -> Principal:
    return Principal(kind="user", user=user, token=token)


def grant(key: str, **fields: Any) -> Grant:
    made = Grant(**{"storage_alias": "private", "key": key, "operations": ["Download"]} | fields)
    made.full_clean()
    made.save()
    return made


def token_of(user: Any) -> ApiToken:
    expires_at = timezone.now() + IN_AN_HOUR
    return ApiToken.mint(user=user, name="t", scopes=["Download", "Update", "Delete"], expires_at=expires_at)[0]


def may(principal: Principal, file: File, operation: Any = Download) -> bool:
    try:
        links.authorize(principal, Resource.of_file(file), operation)
    except AccessDenied:
        return False
    return True


def test_the_names_that_can_be_granted_are_the_operations() -> None:
    assert {operation.__name__ for operation in OPERATIONS} == GRANTABLE


def test_a_grant_is_to_its_user_alone(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    assert not may(of(bob), file)
    made = grant(file.key, user=bob)
    assert may(of(bob), file)
    assert not may(of(alice), file)
    assert not may(ANONYMOUS, file)
    assert not may(of(bob), new_file(alice))
    assert [row.policy for row in issuances(decision="allowed")] == [f"grant {made.pk}"]
    made.delete()
    assert not may(of(bob), file)


def test_a_grant_to_a_group_is_to_its_members_while_they_are(alice: Any, bob: Any) -> None:
    file, group = new_file(alice), Group.objects.create(name="press")
    grant(file.key, group=group)
    bob.groups.add(group)
    assert may(of(bob), file)
    bob.groups.remove(group)
    assert not may(of(User.objects.get(pk=bob.pk)), file)


def test_a_grant_to_a_token_is_not_to_its_user(alice: Any, bob: Any) -> None:
    file, token, other = new_file(alice), token_of(bob), token_of(bob)
    grant(file.key, token=token)
    assert may(of(bob, token), file)
    assert not may(of(bob, other), file)
    assert not may(of(bob), file)
    # The token of another issuer bears an id, but is no row.
    unsaved = ApiToken(id=token.pk, user=bob, scopes=["Download"], expires_at=timezone.now() + IN_AN_HOUR)
    assert not may(of(bob, unsaved), file)


@pytest.mark.parametrize(
    ("prefix", "reaches"),
    [("uploads/a/", True), ("uploads/", True), ("uploads/a", False), ("uploads/b/", False), ("uploads/a/1", False),
     ("a/", False), ("UPLOADS/", False), ("uploads/a/1.pdf", True), ("uploads/a/1.pdf/", False), ("uploads/_/", False)],
)  # fmt: skip
def test_a_prefix_reaches_what_is_below_it(alice: Any, bob: Any, prefix: str, reaches: bool) -> None:
    file = new_file(alice, key="uploads/a/1.pdf")
    grant(prefix, user=bob)
    assert may(of(bob), file) == reaches
    rows = visible(GrantPolicy(), of(bob), File.objects.all(), Download)
    assert rows is not None
    assert list(rows) == ([file] if reaches else [])


def test_another_storage_is_another_place(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    grant(file.key, user=bob, storage_alias="other")
    grant("uploads/", user=bob, storage_alias="privat")
    assert not may(of(bob), file)
    assert not list(visible(GrantPolicy(), of(bob), File.objects.all(), Download) or ())


@pytest.mark.parametrize("operation", [Download, Update, Delete], ids=lambda kind: kind.__name__)
def test_one_operation_does_not_imply_another(alice: Any, bob: Any, operation: type) -> None:
    file = new_file(alice)
    grant(file.key, user=bob, operations=[operation.__name__])
    assert [may(of(bob), file, one) for one in (Download, Update, Delete)] == [
        one is operation for one in (Download, Update, Delete)
    ]
    assert [
        len(visible(GrantPolicy(), of(bob), File.objects.all(), one) or ()) for one in (Download, Update, Delete)
    ] == [int(one is operation) for one in (Download, Update, Delete)]


def test_a_name_within_a_name_is_no_operation(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    grant(file.key, user=bob, operations=["DownloadPrefix"])
    assert not may(of(bob), file)
    assert not list(visible(GrantPolicy(), of(bob), File.objects.all(), Download) or ())


def test_a_grant_ends(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    made = grant(file.key, user=bob, until=timezone.now() + timedelta(seconds=100))
    issued = links.issue(of(bob), Resource.of_file(file))
    assert issued.expires_at <= made.until  # type: ignore[operator]
    assert issued.limited_by == "policy"
    Grant.objects.update(until=timezone.now())
    assert not may(of(bob), file)


def test_its_limits_are_the_links(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    grant(file.key, user=bob, max_ttl_seconds=7, dispositions=["attachment"])
    issued = links.issue(of(bob), Resource.of_file(file))
    assert (issued.limited_by, "attachment" in issued.url) == ("policy", True)
    assert 0 <= (issued.expires_at - timezone.now()).total_seconds() <= 7


def test_the_nearest_grant_decides_with_its_limits_alone(alice: Any, bob: Any) -> None:
    file, group, token = new_file(alice, key="uploads/a/1.pdf"), Group.objects.create(name="press"), token_of(bob)
    bob.groups.add(group)
    seconds = iter(range(10, 100, 10))
    made: list[tuple[int, Grant]] = []
    for key, to in [("uploads/", {"user": bob}), ("uploads/a/", {"group": group}), (file.key, {"group": group}),
                    (file.key, {"user": bob}), (file.key, {"token": token})]:  # fmt: skip
        limit = next(seconds)
        made.append((limit, grant(key, max_ttl_seconds=limit, **to)))
        allow = links.authorize(of(bob, token), Resource.of_file(file), Download)
        assert allow.limits.max_ttl == timedelta(seconds=limit)
    # In whatever order they were made.
    Grant.objects.update(created_at=timezone.now())
    for limit, row in reversed(made):
        allow = links.authorize(of(bob, token), Resource.of_file(file), Download)
        assert allow.limits.max_ttl == timedelta(seconds=limit)
        row.delete()


def test_a_row_that_no_policy_can_hold_is_a_refusal(alice: Any, bob: Any) -> None:
    file = new_file(alice)
    Grant.objects.create(user=bob, storage_alias="private", key=file.key, operations=["Download"], max_ttl_seconds=0)
    assert not may(of(bob), file)
    assert [row.reason for row in issuances(decision="refused")] == ["the policy failed: ValueError"]


@pytest.mark.parametrize("count", [2, 10, 100])
def test_a_page_is_one_query_more_whatever_its_size(alice: Any, bob: Any, count: int) -> None:
    files = [new_file(alice) for _ in range(count)]
    for file in files[::2]:
        grant(file.key, user=bob)
    with CaptureQueriesContext(connection) as queries:
        answers = links.issue_many(of(bob), [Resource.of_file(file) for file in files])
    assert [isinstance(answer, IssuedURL) for answer in answers] == [number % 2 == 0 for number in range(count)]
    assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 3 + 2  # refusals, epochs again


def test_a_model_with_one_file_needs_no_field_named(alice: Any, bob: Any) -> None:
    documents = [new_document(alice), new_document(alice)]
    grant(documents[0].file.name, user=bob)
    policy = GrantPolicy()
    assert list(visible(policy, of(bob), Document.objects.all(), Download) or ()) == documents[:1]
    assert list(visible(policy, ANONYMOUS, Document.objects.all(), Download) or ()) == []
    assert visible(policy, of(bob), Invoice.objects.all(), Download) is None
    assert visible(GrantPolicy(field="scan"), of(bob), Invoice.objects.all(), Download) is not None


def test_beside_another_policy_it_is_listed_as_it_decides(alice: Any, bob: Any) -> None:
    own, given, _ = new_document(bob), new_document(alice), new_document(alice)
    grant(given.file.name, user=bob)
    grant(own.file.name, user=bob)
    rows = Document.objects.order_by("pk")
    assert list(visible(Owner("owner") | GrantPolicy(), of(bob), rows, Download) or ()) == [own, given]
    assert list(visible(Owner("owner") & GrantPolicy(), of(bob), rows, Download) or ()) == [own]
    assert visible(~GrantPolicy() & Authenticated(), of(bob), rows, Download) is None


INVALID: dict[str, dict[str, Any]] = {
    "nobody": {"user": None},
    "key-with-dots": {"key": "a/../b"},
    "a-slash": {"key": "/"},
    "no-operation": {"operations": []},
    "unknown-operation": {"operations": ["Download", "Read"]},
    "operation-as-text": {"operations": "Download"},
    "no-life": {"max_ttl_seconds": 0},
    "unknown-disposition": {"dispositions": ["inline", "x"]},
    "no-disposition": {"dispositions": []},
}


@pytest.mark.parametrize("fields", INVALID.values(), ids=INVALID)
def test_what_cannot_be_granted(bob: Any, fields: Any) -> None:
    with pytest.raises(ValidationError):
        grant(**{"key": "a", "user": bob} | fields)


def test_the_database_holds_a_grant_to_one(bob: Any) -> None:
    group = Group.objects.create(name="press")
    for to in ({}, {"user": bob, "group": group}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Grant.objects.create(storage_alias="private", key="a", operations=["Download"], **to)
