"""Permissions on objects: django-guardian's and rules' answers through has_perm(), and guardian's for a page."""

from __future__ import annotations

from typing import Any

import pytest
import rules
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import assign_perm, remove_perm

from gateway import links
from gateway.contrib.guardian import GuardianPermission
from gateway.errors import AccessDenied
from gateway.links import IssuedURL
from gateway.policies import Delete, Download, DownloadPrefix, ObjectPermission, Update, visible
from gateway.principals import ANONYMOUS, Principal
from gateway.resources import Resource
from tests.gateway.conftest import issuances, new_document, new_file
from tests.hostapp.models import Document

pytestmark = pytest.mark.django_db

FIELD: Any = Document._meta.get_field("file")
BOTH = pytest.mark.parametrize("policy", [ObjectPermission(), GuardianPermission()], ids=str)


@pytest.fixture(autouse=True)
def backends(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "guardian.backends.ObjectPermissionBackend",
        "rules.permissions.ObjectPermissionBackend",
    ]


def may(user: Any, document: Document, operation: Any = Download) -> bool:
    principal = user if isinstance(user, Principal) else Principal(kind="user", user=User.objects.get(pk=user.pk))
    try:
        links.authorize(principal, Resource.of_field(document, "file"), operation)
    except AccessDenied:
        return False
    return True


@BOTH
def test_a_permission_on_one_object_is_good_for_that_one(
    alice: Any, bob: Any, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIELD, "policy", policy)
    one, other = new_document(alice), new_document(alice)
    assert not may(bob, one)
    assign_perm("hostapp.view_document", bob, one)
    assert [may(bob, row) for row in (one, other)] == [True, False]
    assert [may(bob, one, kind) for kind in (Update, Delete, DownloadPrefix)] == [False, False, False]
    assert not may(alice, one)
    assert not may(ANONYMOUS, one)
    assert may(User.objects.create_superuser("root"), other)
    remove_perm("hostapp.view_document", bob, one)
    assert not may(bob, one)


@BOTH
def test_groups_count_and_the_inactive_do_not(
    alice: Any, bob: Any, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIELD, "policy", policy)
    document, group = new_document(alice), Group.objects.create(name="press")
    assign_perm("hostapp.change_document", group, document)
    bob.groups.add(group)
    assert may(bob, document, Update)
    assert not may(bob, document)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert not may(bob, document, Update)


@BOTH
def test_a_permission_on_the_model_is_none_on_the_object(
    alice: Any, bob: Any, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIELD, "policy", policy)
    assign_perm("hostapp.view_document", bob)
    assert not may(bob, new_document(alice))


def test_without_a_backend_of_objects_nobody_has_one(alice: Any, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(FIELD, "policy", ObjectPermission())
    document = new_document(alice)
    assign_perm("hostapp.view_document", alice, document)
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    assert not may(alice, document)


def test_the_rules_of_rules_decide(alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FIELD, "policy", ObjectPermission())

    @rules.predicate
    def is_owner(user: Any, document: Document | None) -> bool:
        return document is not None and document.owner_id == user.pk

    rules.add_perm("hostapp.view_document", is_owner)
    try:
        document = new_document(alice)
        assert [may(user, document) for user in (alice, bob)] == [True, False]
        # The row decides, and not what a caller holds in memory.
        document.owner = bob
        assert [may(user, document) for user in (alice, bob)] == [True, False]
    finally:
        rules.remove_perm("hostapp.view_document")


def test_a_backend_that_answers_oddly_is_a_refusal(alice: Any, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(FIELD, "policy", ObjectPermission())
    monkeypatch.setattr(User, "has_perm", lambda *_: "yes")
    assert not may(alice, new_document(alice))
    assert issuances()[0].reason == "the policy failed: TypeError"


def test_guardian_is_asked_about_a_page_as_about_one_row(alice: Any, bob: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(FIELD, "policy", GuardianPermission())
    counted = {}
    for count in (1, 10, 60):
        documents = [new_document(alice) for _ in range(count)]
        for document in documents[::3]:
            assign_perm("hostapp.view_document", bob, document)
        user = User.objects.get(pk=bob.pk)
        named = [Resource.of_field(document, "file") for document in documents]
        links.allowed(Principal(kind="user", user=user), named)  # content types are cached
        with CaptureQueriesContext(connection) as queries:
            answers = links.allowed(Principal(kind="user", user=user), named)
        assert answers == [number % 3 == 0 for number in range(count)]
        counted[count] = len(queries)
    # Epochs, rows, and the permissions of users and of groups; one row is read with the epochs.
    assert counted == {1: 3, 10: 4, 60: 4}
    issued = links.issue_many(Principal(kind="user", user=bob), named)
    assert [isinstance(answer, IssuedURL) for answer in issued] == answers


def test_what_guardian_shows_is_what_it_allows(alice: Any, bob: Any) -> None:
    documents = [new_document(alice) for _ in range(4)]
    for document in documents[:2]:
        assign_perm("hostapp.view_document", bob, document)
    policy, rows = GuardianPermission(), Document.objects.order_by("pk")
    of_bob = Principal(kind="user", user=bob)
    assert list(visible(policy, of_bob, rows, Download) or ()) == documents[:2]
    assert list(visible(policy, of_bob, rows, Update) or ()) == []
    assert list(visible(policy, of_bob, rows, DownloadPrefix) or ()) == []
    assert list(visible(policy, ANONYMOUS, rows, Download) or ()) == []


def test_a_bare_key_has_no_permissions(alice: Any, settings: Any) -> None:
    for policy in (ObjectPermission(), GuardianPermission()):
        settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": policy}}
        with pytest.raises(AccessDenied):
            links.authorize(Principal(kind="user", user=alice), Resource.of_key("private", "a"), Download)


def test_the_services_files_have_permissions_too(alice: Any, bob: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {
        "POLICIES": {"presign_gateway.File": "gateway.contrib.guardian.GuardianPermission"}
    }
    file = new_file(alice)
    assign_perm("presign_gateway.view_file", bob, file)
    allowed = [links.allowed(Principal(kind="user", user=user), [Resource.of_file(file)])[0] for user in (alice, bob)]
    assert allowed == [False, True]
