"""A hook that a project has already decides as it did, and where it cannot be asked the answer is no."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from rest_framework import permissions
from rest_framework.exceptions import NotFound

from gateway import links
from gateway.contrib.hooks import BeforeServe, HasPermissions, PrivateFile, PrivateFileHook, ReadPermission, UserTest
from gateway.contrib.rest_permissions import RestPermissions
from gateway.errors import AccessDenied
from gateway.policies import Allow, Delete, Deny, Download, Failure, Share, Update, evaluate
from gateway.principals import ANONYMOUS, SYSTEM, Principal, acting_as
from gateway.resources import Resource, resolved, rows_of
from tests.gateway.conftest import new_document
from tests.hostapp.models import Document

pytestmark = pytest.mark.django_db


class OwnersPath:
    """In the words of django-private-media."""

    def has_read_permission(self, request: HttpRequest, path: str) -> bool:
        return path.startswith(f"{request.user.get_username()}/")  # type: ignore[union-attr]


def owner_of_parent(private_file: PrivateFile) -> bool:
    """In the words of django-private-storage."""
    assert private_file.relative_name == private_file.parent_object.file.name
    assert private_file.storage.location
    return bool(private_file.parent_object.owner == private_file.request.user)


def is_alice(user: Any) -> bool:
    return bool(user.is_authenticated and user.get_username() == "alice")


def only_owner(document: Document, request: HttpRequest) -> HttpResponse | None:
    """In the words of Wagtail."""
    return None if document.owner == request.user else HttpResponse("no", status=403)


class IsOwner(permissions.BasePermission):  # type: ignore[misc]
    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        assert (request.method, view.action, view.get_queryset().model) == ("GET", "retrieve", Document)
        return bool(obj.owner == request.user)


class Raises(permissions.BasePermission):  # type: ignore[misc]
    def has_permission(self, request: Any, view: Any) -> bool:
        raise NotFound


HERE = "tests.gateway.contrib.test_hooks"
OF_REQUESTS = {
    "read-permission": ReadPermission(OwnersPath()),
    "read-permission-class": ReadPermission(OwnersPath),
    "read-permission-path": ReadPermission(f"{HERE}.OwnersPath"),
    "private-file": PrivateFileHook(owner_of_parent),
    "private-file-path": PrivateFileHook(f"{HERE}.owner_of_parent"),
    "before-serve": BeforeServe(only_owner),
    "before-serve-paths": BeforeServe(f"{HERE}.only_owner", f"{HERE}.only_owner"),
    "rest": RestPermissions(permissions.IsAuthenticated, IsOwner),
    "rest-path": RestPermissions(f"{HERE}.IsOwner"),
    "rest-instance": RestPermissions(IsOwner()),
    "rest-combined": RestPermissions(permissions.IsAdminUser | IsOwner),
}
HOOKS = OF_REQUESTS | {"user-test": UserTest(is_alice), "user-test-path": UserTest(f"{HERE}.is_alice")}


def asking(user: Any, *, method: str = "get") -> Principal:
    request = getattr(RequestFactory(), method)("/")
    return Principal(kind="user", user=user, request=request) if user else ANONYMOUS


def found(document: Document) -> Resource:
    resource = Resource.of_field(document, "file")
    answer = resolved(resource, rows_of([resource]).get())
    assert answer is not None
    return answer


@pytest.fixture
def resource(alice: Any) -> Resource:
    return found(new_document(alice, "alice/report.pdf"))


def decide(policy: Any, principal: Principal, resource: Resource, operation: type = Download) -> Any:
    assert resource.key is not None
    return evaluate(policy, principal, resource, operation(resource.key))


@pytest.mark.parametrize("policy", HOOKS.values(), ids=HOOKS)
class TestEveryHook:
    def test_it_decides_as_it_did(self, policy: Any, resource: Resource, alice: Any, bob: Any) -> None:
        assert isinstance(decide(policy, asking(alice), resource), Allow)
        assert isinstance(decide(policy, asking(bob), resource), Deny)
        assert isinstance(decide(policy, ANONYMOUS, resource), Deny)
        assert isinstance(decide(policy, SYSTEM, resource), Deny)

    def test_it_is_asked_whether_somebody_may_read_whatever_the_request_does(
        self, policy: Any, resource: Resource, alice: Any
    ) -> None:
        assert isinstance(decide(policy, asking(alice, method="post"), resource), Allow)

    @pytest.mark.parametrize("operation", [Update, Delete, Share], ids=lambda operation: operation.__name__)
    def test_reading_implies_nothing_else(self, policy: Any, resource: Resource, alice: Any, operation: type) -> None:
        assert isinstance(decide(policy, asking(alice), resource, operation), Deny)

    def test_it_is_asked_about_who_asks_not_about_whose_session_came_along(
        self, policy: Any, resource: Resource, alice: Any, bob: Any
    ) -> None:
        principal = asking(bob)
        assert principal.request is not None
        principal.request.user = alice
        assert isinstance(decide(policy, principal, resource), Deny)
        assert principal.request.user == alice

    def test_its_name_is_in_the_audit(self, policy: Any, resource: Resource, alice: Any) -> None:
        answer = decide(policy, asking(alice), resource)
        assert answer.policy == repr(policy)
        assert "object at 0x" not in answer.policy


@pytest.mark.parametrize("policy", OF_REQUESTS.values(), ids=OF_REQUESTS)
def test_without_a_request_a_hook_of_requests_says_no(policy: Any, resource: Resource, alice: Any) -> None:
    assert isinstance(decide(policy, Principal(kind="user", user=alice), resource), Deny)


@pytest.mark.parametrize("answer", [None, 1, "no", [], object()], ids=["none", "one", "text", "list", "object"])
def test_what_is_neither_true_nor_false_is_a_failure(answer: Any, resource: Resource, alice: Any) -> None:
    for policy in (UserTest(lambda user: answer), PrivateFileHook(lambda private_file: answer)):
        assert isinstance(decide(policy, asking(alice), resource), Failure)
        assert isinstance(decide(~policy, asking(alice), resource), Failure)


def test_a_hook_that_raises_is_a_failure(resource: Resource, alice: Any) -> None:
    def broken(*_: Any) -> bool:
        raise RuntimeError

    for policy in (UserTest(broken), PrivateFileHook(broken), BeforeServe(broken)):
        assert isinstance(decide(policy, asking(alice), resource), Failure)
    assert isinstance(decide(RestPermissions(Raises), asking(alice), resource), Deny)


def test_the_response_of_a_wagtail_hook_is_a_no_even_if_it_is_a_kind_one(resource: Resource, alice: Any) -> None:
    policy = BeforeServe(lambda document, request: HttpResponse("here it is"))
    assert isinstance(decide(policy, asking(alice), resource), Deny)


@pytest.mark.parametrize("policy", [BeforeServe(only_owner), RestPermissions(IsOwner)], ids=["before-serve", "rest"])
def test_a_path_without_a_row_is_no_question_for_hooks_of_rows(policy: Any, alice: Any) -> None:
    bare = Resource.of_key("private", "alice/report.pdf")
    assert isinstance(decide(policy, asking(alice), bare), Deny)


@pytest.mark.parametrize("make", [BeforeServe, RestPermissions, HasPermissions], ids=lambda make: make.__name__)
def test_no_hook_at_all_is_refused_when_it_is_made(make: Any) -> None:
    with pytest.raises(ValueError, match=r"no |one or more"):
        make()


def test_a_combination_is_named_as_it_was_written() -> None:
    policy = RestPermissions(permissions.IsAdminUser | ~IsOwner, "a.b")
    assert repr(policy) == "RestPermissions((IsAdminUser OR (NOT IsOwner)), a.b)"


def test_permissions_by_name_are_all_needed(resource: Resource, alice: Any) -> None:
    policy = HasPermissions("hostapp.view_document", "hostapp.change_document")
    assert isinstance(decide(policy, asking(alice), resource), Deny)
    alice.user_permissions.add(Permission.objects.get(codename="view_document"))
    assert isinstance(decide(policy, asking(type(alice).objects.get(pk=alice.pk)), resource), Deny)
    alice.user_permissions.add(Permission.objects.get(codename="change_document"))
    assert isinstance(decide(policy, asking(type(alice).objects.get(pk=alice.pk)), resource), Allow)
    assert isinstance(decide(policy, ANONYMOUS, resource), Deny)
    with pytest.raises(ValueError, match="codename"):
        HasPermissions("view_document")


def test_a_permalink_asks_the_hook(alice: Any, bob: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"hostapp.Invoice.file": OF_REQUESTS["read-permission"]}}
    from tests.hostapp.models import Invoice

    invoice = Invoice(number="1", file="alice/invoice.pdf")
    invoice.save_base(raw=True, force_insert=True)
    client = Client()
    for user, status in ((alice, 302), (bob, 404)):
        client.force_login(user)
        assert client.get(f"/f/hostapp.invoice:{invoice.pk}:file").status_code == status
    with acting_as(alice), pytest.raises(AccessDenied):
        links.issue(Principal(kind="user", user=alice), Resource.of_field(invoice, "file"))
