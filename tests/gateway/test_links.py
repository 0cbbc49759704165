"""The door: what it reads again, how long a link lives, what it refuses to let out, and what it shows."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import Parameter, signature
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, OperationalError, connection, models
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from gateway import audit, epochs, links, policies
from gateway.conf import conf
from gateway.errors import (
    AccessDenied,
    DatabaseUnavailable,
    GatewayError,
    InvalidRequest,
    StorageUnavailable,
    TTLTooLong,
    UnsafeLink,
)
from gateway.links import IssuedURL, LinkText, Permit, Refusal
from gateway.links.answers import Rehearsal, Way
from gateway.links.asks import Ask
from gateway.links.deciding import decide
from gateway.models import ApiToken, File, Issuance
from gateway.policies import (
    Allow,
    Branch,
    Delete,
    Deny,
    Everyone,
    Limits,
    Owner,
    RowPolicy,
    Share,
    StaffOnly,
    Update,
)
from gateway.principals import ANONYMOUS, SYSTEM, Principal, acting_as
from gateway.resources import Resource, parse_reference
from gateway.revocation import revoke
from gateway.storages.base import INLINE_TYPES
from providers.cloudfront import SignedCookies
from providers.credentials import StaticCredentials
from providers.errors import CredentialsUnavailable, InvalidOperation, InvalidTTL
from providers.s3 import S3Provider
from providers.types import Download, SignedURL, Upload, UploadForm, UploadPart
from tests.gateway.conftest import issuances, new_document, new_file, request_of
from tests.gateway.site import visit
from tests.hostapp.models import Document, Invoice, Leaflet, Portrait

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
FIELD: Any = Document._meta.get_field("file")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def user_of(user: Any, **fields: Any) -> Principal:
    return Principal(kind="user", user=user, **fields)


def document_of(owner: Any, **fields: Any) -> Resource:
    return Resource.of_field(new_document(owner, **fields), "file")


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def life_of(issued: SignedURL) -> int:
    query = query_of(issued.url)
    life = int(query["expires"]) - int(query["issued"])
    assert issued.expires_at == datetime.fromtimestamp(int(query["expires"]), UTC)
    return life


def refused(principal: Principal, resource: Resource, asked: Any = Download, **options: Any) -> GatewayError:
    """Ask, be refused, and make sure that the refusal is on record and nothing was issued."""
    before = Issuance.objects.filter(decision="issued").count()
    with pytest.raises(GatewayError) as error:
        links.issue(principal, resource, asked, **options)
    assert Issuance.objects.filter(decision="issued").count() == before
    assert Issuance.objects.filter(decision="refused").exists()
    return error.value


# A storage that tests can arrange, with a provider that can lie.


class ArrangedStorage:
    """A private storage by its protocol alone; ``arrange`` holds what the next test needs of it."""

    arrange: dict[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        if options:
            raise ImproperlyConfigured("no options")

    @property
    def provider(self) -> Any:
        provider = self.arrange.get("provider", honest())
        return provider() if isinstance(provider, type) else provider

    def object_key(self, name: str) -> str:
        return str(self.arrange.get("location", "")) + name

    def provider_for(self, kind: type) -> Any:
        return self.provider

    url_mode = property(lambda self: "presigned")
    url_window = property(lambda self: self.arrange.get("url_window"))
    default_ttl = property(lambda self: self.arrange.get("default_ttl"))
    max_ttl = property(lambda self: self.arrange.get("max_ttl"))
    inline_types = property(lambda self: self.arrange.get("inline_types", INLINE_TYPES))
    on_short_credentials = property(lambda self: self.arrange.get("on_short_credentials", "clamp"))


def honest(**credentials: Any) -> S3Provider:
    key_pair = StaticCredentials("AKIDEXAMPLE", "0123456789012345678901234567890123456789", **credentials)
    return S3Provider(bucket="bucket", region="eu-central-1", credentials=key_pair)


@pytest.fixture
def arranged(settings: Any, alice: Any) -> Iterator[Callable[..., Resource]]:
    """Return how to make a file of alice's on a storage that was arranged."""
    backend = f"{__name__}.ArrangedStorage"
    settings.STORAGES = settings.STORAGES | {"arranged": {"BACKEND": backend}}

    def make(count: int | None = None, **arrangement: Any) -> Any:
        ArrangedStorage.arrange = arrangement
        made = [Resource.of_file(new_file(alice, storage_alias="arranged")) for _ in range(count or 1)]
        return made[0] if count is None else made

    yield make
    ArrangedStorage.arrange = {}


class Lying:
    """Signs as S3 does, and tells something else; ``lie`` is told about every link."""

    lie: Callable[[SignedURL], Any]

    def __init__(self) -> None:
        self._honest = honest()
        self.capabilities = self._honest.capabilities
        self.base_url = self._honest.base_url

    def sign(self, operation: Any, *, ttl: timedelta, now: datetime) -> Any:
        return type(self).lie(self._honest.sign(operation, ttl=ttl, now=now))

    def sign_many(self, operations: Sequence[Any], *, ttl: timedelta, now: datetime) -> Any:
        return [self.sign(operation, ttl=ttl, now=now) for operation in operations]


def lying(lie: Callable[[SignedURL], Any], *, many: Callable[[list[Any]], Any] = lambda answers: answers) -> type:
    def sign_many(self: Any, operations: Sequence[Any], *, ttl: timedelta, now: datetime) -> Any:
        return many(Lying.sign_many(self, operations, ttl=ttl, now=now))

    return type("Liar", (Lying,), {"lie": staticmethod(lie), "sign_many": sign_many})


# What is asked is the row that the database has.


def as_it_is(document: Document, bob: Any) -> None:
    pass


def names_another_object(document: Document, bob: Any) -> None:
    document.file.name = new_document(bob).file.name


def names_another_object_of_mine(document: Document, bob: Any) -> None:
    document.file.name = new_document(document.owner).file.name


def is_unsaved(document: Document, bob: Any) -> None:
    document.pk = None


def is_of_another_pk(document: Document, bob: Any) -> None:
    document.pk = new_document(bob).pk


def is_of_a_pk_that_is_none(document: Document, bob: Any) -> None:
    document.pk = 10**6


def is_of_a_pk_that_no_column_holds(document: Document, bob: Any) -> None:
    document.pk = 2**70


def is_of_a_pk_that_is_no_number(document: Document, bob: Any) -> None:
    document.pk = "abc"


def is_of_a_pk_that_is_text(document: Document, bob: Any) -> None:
    document.pk = str(document.pk)


def was_deleted(document: Document, bob: Any) -> None:
    Document.objects.filter(pk=document.pk).delete()


def was_given_away(document: Document, bob: Any) -> None:
    Document.objects.filter(pk=document.pk).update(owner=bob)


def was_orphaned(document: Document, bob: Any) -> None:
    Document.objects.filter(pk=document.pk).update(owner=None)


def was_replaced(document: Document, bob: Any) -> None:
    connection.cursor().execute("UPDATE hostapp_document SET file = 'uploads/new.pdf' WHERE id = %s", [document.pk])


def names_nothing(document: Document, bob: Any) -> None:
    document.file.name = "uploads/nothing.pdf"


def names_the_parent(document: Document, bob: Any) -> None:
    document.file.name = "uploads/../" + document.file.name


def names_a_line_end(document: Document, bob: Any) -> None:
    document.file.name += "\n"


def names_nul(document: Document, bob: Any) -> None:
    document.file.name = "uploads/a\x00b"


def names_a_lone_surrogate(document: Document, bob: Any) -> None:
    document.file.name = "uploads/\ud800"


SPOILT = [
    names_another_object, names_another_object_of_mine, names_nothing, names_the_parent, names_a_line_end,
    names_nul, names_a_lone_surrogate, is_unsaved, is_of_another_pk, is_of_a_pk_that_is_none,
    is_of_a_pk_that_no_column_holds, is_of_a_pk_that_is_no_number, is_of_a_pk_that_is_text, was_deleted,
    was_given_away, was_orphaned, was_replaced,
]  # fmt: skip


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a batch"])
@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_an_instance_that_its_row_does_not_bear_out_gets_nothing(
    alice: Any, bob: Any, spoil: Any, together: bool
) -> None:
    document = new_document(alice)
    spoil(document, bob)
    resource = Resource.of_field(document, "file")

    if together:
        answers = links.issue_many(user_of(alice), [document_of(alice), resource, document_of(alice)])
        assert [type(answer) for answer in answers] == [IssuedURL, Refusal, IssuedURL]
        assert isinstance(answers[1], Refusal)
        assert isinstance(answers[1].error, AccessDenied)
    else:
        assert isinstance(refused(user_of(alice), resource), AccessDenied)

    row = Issuance.objects.get(decision="refused")
    assert row.principal == f"user:{alice.pk}"
    assert row.reason in (
        "no such row, or it names another object", "the key is not valid", "Owner('owner') denies"
    )  # fmt: skip


def test_a_number_that_is_text_is_refused_and_not_looked_up_by_luck(alice: Any) -> None:
    resource = document_of(alice)

    # Alone the database would compare it; in a batch Python would not. Neither may differ.
    assert isinstance(refused(user_of(alice), replace(resource, pk=str(resource.pk))), AccessDenied)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_an_owner_that_was_only_assigned_decides_nothing(alice: Any, bob: Any, who: str) -> None:
    document = new_document(alice)
    document.owner = bob
    resource = Resource.of_field(document, "file")

    if who == "alice":
        assert links.issue(user_of(alice), resource).resource.instance.owner_id == alice.pk  # type: ignore[union-attr]
    else:
        assert isinstance(refused(user_of(bob), resource), AccessDenied)


def test_a_row_that_was_only_made_in_memory_opens_no_others_object(alice: Any, bob: Any) -> None:
    theirs = new_document(bob)

    for forged in (Document(owner=alice, file=theirs.file.name), Document(pk=theirs.pk, owner=alice)):
        key = str(theirs.file.name)
        assert isinstance(refused(user_of(alice), Resource.of_field(forged, "file", key=key)), AccessDenied)


def test_a_policy_sees_the_row_and_never_the_instance(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Looking:
        def decide(self, principal: Principal, resource: Resource, operation: Any) -> Any:
            seen.append(resource.instance)
            return Allow()

    monkeypatch.setattr(FIELD, "policy", Looking())
    document = new_document(alice, title="stored")
    document.title = "assigned"

    links.issue(user_of(alice), Resource.of_field(document, "file"))

    assert [row.title for row in seen] == ["stored"]
    assert seen[0] is not document


def test_a_stored_key_that_breaks_the_grammar_is_refused_and_logged(
    alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    document = new_document(alice, "uploads/a/../b")
    reference = parse_reference(f"hostapp.document:{document.pk}:file")
    assert reference is not None

    assert isinstance(refused(user_of(alice), reference), AccessDenied)
    assert "holds a key that cannot be signed: 'uploads/a/../b'" in caplog.text


def test_a_reference_is_whatever_its_row_says_now(alice: Any) -> None:
    document = new_document(alice)
    reference = parse_reference(f"hostapp.document:{document.pk}:file")
    assert reference is not None

    issued = links.issue(user_of(alice), reference)

    assert issued.resource.key == document.file.name
    assert urlsplit(issued.url).path.endswith(f"/{document.file.name}")


@pytest.mark.parametrize("change", [{"storage_alias": "default"}, {"field": "title", "key": "uploads/x"}], ids=str)
def test_a_resource_made_by_hand_reaches_no_other_bucket_or_column(alice: Any, change: dict[str, Any]) -> None:
    resource = document_of(alice, title="uploads/x")

    assert isinstance(refused(user_of(alice), replace(resource, **change)), AccessDenied)


def test_a_file_on_a_public_storage_has_no_link(alice: Any) -> None:
    leaflet = Leaflet.objects.create(file="leaflets/a.pdf")
    alice.user_permissions.add(Permission.objects.get(codename="view_leaflet"))

    error = refused(user_of(User.objects.get(pk=alice.pk)), Resource.of_field(leaflet, "file"))

    assert isinstance(error, StorageUnavailable)


# Who asks, and for what.


def test_a_token_is_good_for_its_scopes_alone(alice: Any) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    token, _ = ApiToken.mint(user=alice, name="t", scopes=["Upload", "DownloadPrefix"], expires_at=later)
    principal = user_of(alice, token=token)

    assert refused(principal, document_of(alice)).reason == "the token has no scope Download"  # type: ignore[attr-defined]
    token.scopes = ["Download"]
    assert links.issue(principal, document_of(alice))
    with pytest.raises(AccessDenied):
        links.authorize(principal, document_of(alice), Delete)


@pytest.mark.parametrize("scopes", ["Download", "DownloadPrefix", {"Download": True}, None, 5, "", []], ids=repr)
def test_scopes_that_are_no_list_are_no_scopes(alice: Any, scopes: Any) -> None:
    token = ApiToken(user=alice, scopes=scopes, expires_at=datetime.now(UTC) + timedelta(days=1))

    error = refused(user_of(alice, token=token), document_of(alice))

    assert error.reason == "the token has no scope Download"  # type: ignore[attr-defined]


def test_the_system_may_have_everything_and_says_why(alice: Any) -> None:
    system = replace(SYSTEM, reason="report")
    bare = Resource.of_key("private", "uploads/bare.pdf")

    assert [links.issue(system, resource).resource.key for resource in (document_of(None), bare)]
    assert {row.policy for row in issuances()} == {"system"}
    assert isinstance(refused(system, replace(document_of(None), pk=10**6)), AccessDenied)
    assert isinstance(refused(system, Resource.of_key("private", "a/../b")), AccessDenied)


class Cunning(Download):
    """Looks like a download."""


UNKNOWN: dict[str, Any] = {
    "a subclass": Cunning, "an instance of a subclass": Cunning("uploads/a"), "text": "Download", "None": None,
    "a function": lambda key: Download(key), "another class": dict,
    "a partial of a function": partial(lambda key: key),
    "a partial of what fails when it is called": partial(pytest.fail, "it was called"),
}  # fmt: skip


@pytest.mark.parametrize("asked", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("who", ["superuser", "system"])
def test_an_operation_that_nobody_knows_is_refused(
    admin_user: Any, asked: Any, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    principal = user_of(admin_user) if who == "superuser" else replace(SYSTEM, reason="r")
    for ask in (links.issue, links.authorize):
        with pytest.raises(AccessDenied) as denied:
            ask(principal, document_of(None, key=f"uploads/{ask.__name__}"), asked)
        assert denied.value.reason == "unknown operation"
    assert "an unknown operation was asked for" in caplog.text


# what is asked about an object that is still to come, and why not
STILL_TO_COME: dict[str, tuple[type[models.Model], type, str]] = {
    "upload of a host's": (Document, Upload, ""),
    "download of a host's": (Document, Download, "there is no object yet"),
    "deletion of a host's": (Document, Delete, "there is no object yet"),
    "upload of the service's, which name their key": (File, Upload, "there is no object yet"),
    "download of the service's": (File, Download, "there is no object yet"),
}


@pytest.mark.parametrize(("model", "kind", "reason"), STILL_TO_COME.values(), ids=STILL_TO_COME)
def test_of_an_object_that_is_still_to_come_uploads_alone_are_decided(
    admin_user: Any, model: type[models.Model], kind: type, reason: str
) -> None:
    resource = document_of(admin_user) if model is Document else Resource.of_file(new_file(admin_user))
    resource = replace(resource, key="uploads/still-to-come", is_new=True)
    asked = partial(Upload, content_type="image/png", size_bytes=1) if kind is Upload else kind

    with pytest.raises(AccessDenied) if reason else nullcontext():
        links.authorize(replace(SYSTEM, reason="r"), resource, asked)

    (row,) = issuances()
    assert (row.decision, row.reason) == (("refused", reason) if reason else ("allowed", "r"))


class Swapping(partial):  # type: ignore[type-arg]
    """Says one operation, and makes another."""

    def __call__(self, key: str) -> Any:
        return Upload(key, content_type="text/html", size_bytes=1)


def test_what_is_signed_is_what_was_decided(alice: Any) -> None:
    error = refused(user_of(alice), document_of(alice), Swapping(Download))

    assert error.reason == "the operation is Upload where Download was decided"  # type: ignore[attr-defined]


def test_an_operation_on_another_key_than_the_rows_is_refused(alice: Any, bob: Any) -> None:
    theirs = document_of(bob)

    error = refused(user_of(alice), document_of(alice), Download(str(theirs.key)))

    assert error.reason == "the operation names another key than the row"  # type: ignore[attr-defined]


# who asks for alice's row with what, and the reason on record, which is not that the policy says no to others
MISMADE: dict[str, tuple[Any, str]] = {
    "another operation": (Swapping(Download), "the operation is Upload where Download was decided"),
    "another key": (Download("uploads/other"), "the operation names another key than the row"),
}


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize(("asked", "reason"), MISMADE.values(), ids=MISMADE)
def test_what_is_wrong_with_an_operation_is_on_record_whatever_the_policy_says(
    alice: Any, bob: Any, asked: Any, reason: str, who: str
) -> None:
    refused(user_of(alice if who == "alice" else bob), document_of(alice), asked)

    assert [row.reason for row in issuances()] == [reason]


def test_an_operation_on_the_rows_own_key_is_signed(alice: Any) -> None:
    resource = document_of(alice)

    assert links.issue(user_of(alice), resource, Download(str(resource.key), method="HEAD")).method == "HEAD"


@pytest.mark.parametrize("kind", [Delete, Update, Share], ids=lambda kind: kind.__name__)
def test_what_is_only_decided_is_not_signed(alice: Any, kind: Any) -> None:
    with pytest.raises(TypeError, match="is decided, not signed"):
        links.issue(user_of(alice), document_of(alice), kind)

    assert isinstance(links.authorize(user_of(alice), document_of(alice), kind), Allow)
    assert [row.decision for row in issuances()] == ["allowed"]


def test_a_permit_is_recorded_as_allowed(alice: Any) -> None:
    resource = document_of(alice)
    permit = links.permit(user_of(alice), resource)
    assert (permit.resource.pk, permit.resource.key, permit.download.key) == (resource.pk, resource.key, resource.key)
    assert permit.ttl == conf().default_ttl
    assert [(row.decision, row.delivery) for row in issuances()] == [("allowed", "")]


def test_a_permit_that_is_refused_is_raised_and_recorded(alice: Any, bob: Any) -> None:
    with pytest.raises(AccessDenied):
        links.permit(user_of(bob), document_of(alice))
    assert [row.decision for row in issuances()] == ["refused"]


def test_a_permit_for_what_is_not_there_is_refused_for_that(alice: Any) -> None:
    with pytest.raises(AccessDenied):
        links.permit(user_of(alice), replace(document_of(alice), pk=10**6))
    assert [row.reason for row in issuances()] == ["no such row, or it names another object"]


def test_a_download_whose_authority_has_ended_is_refused_on_record_and_not_counted(alice: Any) -> None:
    with pytest.raises(AccessDenied):
        links.permit(user_of(alice, authority_ends_at=until(-1)), document_of(alice), delivery="django")
    assert [(row.decision, row.reason) for row in issuances()] == [("refused", "the authority to ask has ended")]


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_which_way_a_download_goes_is_asked_after_a_yes_alone(alice: Any, bob: Any, who: str) -> None:
    asked: list[str] = []

    def way_of(alias: str) -> Way:
        asked.append(alias)
        return Way(is_signed=True)

    resource = document_of(alice)
    with request_of(alice) as lease:
        with nullcontext() if who == "alice" else pytest.raises(AccessDenied):
            links.deliver(user_of(alice if who == "alice" else bob), resource, Download, way_of)

        # A link is in the answer, which Django's cache would keep for others.
        assert hasattr(lease.request, "_cache_update_cache") == (who == "alice")
    assert asked == (["private"] if who == "alice" else [])


def test_only_downloads_are_permitted(alice: Any) -> None:
    with pytest.raises(TypeError, match="Delete is not served; Download"):
        links.permit(user_of(alice), document_of(alice), Delete)
    assert not issuances()


def test_what_the_caller_can_mend_is_told_for_every_row_alike(alice: Any) -> None:
    asked = partial(Download, content_type="no type")
    missing = replace(document_of(alice), pk=10**6)

    for resource in (document_of(alice), document_of(None), missing):
        for ask in (links.issue, links.authorize, links.permit):
            with pytest.raises(InvalidOperation):
                ask(user_of(alice), resource, asked)


@pytest.mark.parametrize("principal", [None, "alice", 5, SimpleNamespace(is_active=True)], ids=repr)
def test_who_is_no_principal_is_a_mistake_and_no_missing_attribute(alice: Any, principal: Any) -> None:
    with pytest.raises(TypeError, match="Principal"):
        links.issue(principal, document_of(alice))


@pytest.mark.parametrize("asks", [0, 1], ids=["who asks nothing", "who may ask nothing"])
def test_for_who_has_no_question_to_be_answered_nothing_is_read(
    alice: Any, asks: int, django_assert_num_queries: Any
) -> None:
    asked = [Ask(document_of(alice), Download, Download)] * asks

    with django_assert_num_queries(0):
        read = decide(user_of(alice) if not asks else SYSTEM, asked)

    assert read == epochs.Now()
    assert [ask.refusal.reason for ask in asked if ask.refusal] == (
        ["SYSTEM gave no reason; use acting_as(SYSTEM, reason=…)"] * asks
    )


def test_a_credential_that_was_taken_back_has_its_questions_refused_and_what_was_read_is_told(alice: Any) -> None:
    token, _ = ApiToken.mint(
        user=alice, name="t", scopes=["Download"], expires_at=datetime.now(UTC) + timedelta(days=1)
    )
    number = revoke("principal", f"user:{alice.pk}", by=replace(SYSTEM, reason="r")).number
    asked = [Ask(document_of(alice), Download, Download)]

    assert decide(user_of(alice, token=token), asked) == epochs.Now(number=number, principal=number)
    assert [ask.refusal.reason[:31] for ask in asked if ask.refusal] == ["what the user was given before "]


# Tenants.


class Tenants:
    """A row's title is its tenant, a user's first name theirs."""

    def of_principal(self, principal: Principal) -> Any:
        if principal.kind != "user":
            raise AttributeError("nobody has no first name")
        return principal.user.first_name

    def of_row(self, row: Any) -> Any:
        if row.title == "broken":
            raise KeyError
        if row.title == "away":
            raise OperationalError
        return row.title


TENANTS = f"{__name__}.Tenants"


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a batch"])
def test_another_tenants_row_is_refused_before_any_policy(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    asked = []

    class Asked:
        def decide(self, principal: Principal, resource: Resource, operation: Any) -> Any:
            asked.append(resource.instance.title)  # type: ignore[union-attr]
            return Allow()

    monkeypatch.setattr(FIELD, "policy", Asked())
    settings.GATEWAY = settings.GATEWAY | {"TENANT": TENANTS}
    alice.first_name = "t1"
    resources = [document_of(alice, title=title) for title in ("t1", "t10", "t", "", "T1", "broken")]

    if together:
        answers = links.issue_many(user_of(alice), resources)
        assert [isinstance(answer, IssuedURL) for answer in answers] == [True] + [False] * 5
    else:
        links.issue(user_of(alice), resources[0])
        for resource in resources[1:]:
            refused(user_of(alice), resource)

    assert asked == ["t1"]
    assert {row.tenant for row in issuances()} == {"t1"}
    assert {row.reason for row in issuances(decision="refused")} == {
        "another tenant", "the tenant cannot be told: KeyError"
    }  # fmt: skip


def test_a_compiled_policy_does_not_go_round_the_tenant(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": TENANTS}
    alice.first_name = "t1"
    for policy in (Owner("owner"), Everyone(), ~Owner("project__members")):
        monkeypatch.setattr(FIELD, "policy", policy)

        assert isinstance(refused(user_of(alice), document_of(alice, title="t2")), AccessDenied)
        assert links.issue(user_of(alice), document_of(alice, title="t1"))


def test_who_has_no_tenant_is_refused_and_the_system_is_of_all(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": TENANTS, "DEFAULT_POLICY": Everyone()}

    assert isinstance(refused(ANONYMOUS, Resource.of_file(new_file(alice))), AccessDenied)
    assert links.issue(replace(SYSTEM, reason="report"), document_of(alice, title="t2"))
    assert [row.tenant for row in issuances()] == ["", ""]


@pytest.mark.parametrize("name", ["", None], ids=["without a name", "none"])
def test_who_is_of_no_tenant_has_none_on_record(alice: Any, settings: Any, name: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": TENANTS}
    alice.first_name = name

    links.issue_many(user_of(alice), [document_of(alice, title=""), document_of(alice, title="t1")])

    assert [row.tenant for row in issuances()] == ["", ""]


class Unreadable(Tenants):
    def of_principal(self, principal: Principal) -> Any:
        raise KeyError(principal.id)


def test_a_tenant_that_cannot_be_told_is_none(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": f"{__name__}.Unreadable"}

    refused(user_of(alice), document_of(alice))

    assert [(row.tenant, row.reason) for row in issuances()] == [("", "the tenant cannot be told: KeyError")]


def test_a_row_that_is_not_there_is_of_no_other_tenant(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": TENANTS}
    missing = replace(document_of(alice), pk=10**6)

    rehearsal = links.rehearse(user_of(alice), missing, Download, asker=user_of(alice), now=datetime.now(UTC))

    assert rehearsal.is_known is False


def test_tenants_that_cannot_be_read_are_no_answer(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": TENANTS}

    with pytest.raises(DatabaseUnavailable):
        links.issue(user_of(alice), document_of(alice, title="away"))


def test_one_request_of_two_tenants_has_two_links(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": f"{__name__}.Anything"}
    document = new_document(alice)
    with request_of(alice):
        alice.first_name = "one"
        one = str(document.file.url)
        alice.first_name = "two"

        assert str(document.file.url) != one


class Anything(Tenants):
    """Lets every tenant have every row."""

    def of_row(self, row: Any) -> Any:
        return _Equal()


class _Equal:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


# Which policy decides.


def denying(name: str) -> Any:
    class Named:
        def decide(self, *_: Any) -> Any:
            return Deny(name)

        def __str__(self) -> str:
            return name

    return Named()


def test_the_nearest_policy_decides(alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"POLICIES": {}, "DEFAULT_POLICY": denying("default"), "PATH_POLICIES": {"private": denying("path")}}
    settings.GATEWAY = settings.GATEWAY | given

    def said_of(resource: Resource) -> str:
        return str(links.policy_for(resource))

    document, file = document_of(alice), Resource.of_file(new_file(alice))
    invoice = Resource(storage_alias="private", key="a", model=Invoice, pk=1, field="file")
    assert said_of(document) == "Owner('owner')"
    assert said_of(invoice) == "default"
    assert said_of(file) == "(Owner('owner') | ModelPermission('view'))"
    assert said_of(Resource.of_key("private", "a")) == "path"
    assert links.policy_for(Resource.of_key("other", "a")) is None

    labels = ("hostapp.Document", "hostapp.Invoice", "presign_gateway.File", "hostapp.Invoice.file")
    for label in labels:
        policies = conf_policies(settings) | {label: denying(label)}
        settings.GATEWAY = settings.GATEWAY | {"POLICIES": policies}
    assert said_of(document) == "Owner('owner')"
    assert said_of(invoice) == "hostapp.Invoice.file"
    assert said_of(replace(invoice, field="scan")) == "hostapp.Invoice"
    assert said_of(file) == "presign_gateway.File"
    monkeypatch.setattr(FIELD, "policy", None)
    assert said_of(document) == "hostapp.Document"


def test_of_a_smaller_picture_the_policy_of_the_picture_decides(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Resource(storage_alias="private", key="a", model=Portrait, pk=1, field="image_small")
    picture: Any = Portrait._meta.get_field("image")

    monkeypatch.setattr(picture, "policy", denying("picture"))
    assert str(links.policy_for(small)) == "picture"
    monkeypatch.setattr(picture, "policy", None)
    labels = {f"hostapp.Portrait.{name}": denying(name) for name in ("image", "image_small")}
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": labels}
    assert str(links.policy_for(small)) == "image"


def test_keys_that_are_none_are_refused_together_for_that(alice: Any) -> None:
    spoilt = [replace(document_of(alice), key=key) for key in ("uploads/../a", "uploads/a\n")]

    answers = links.issue_many(user_of(alice), spoilt)

    assert [answer.reason for answer in answers if isinstance(answer, Refusal)] == ["the key is not valid"] * 2


def test_where_no_row_would_be_allowed_none_is_read(
    alice: Any, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(FIELD, "policy", StaffOnly())
    resources = [document_of(alice), replace(document_of(alice), pk=10**6)]

    with django_assert_num_queries(1):  # what was taken back
        assert links.allowed(user_of(alice), resources) == [False, False]
    assert [refused(user_of(alice), one).reason for one in resources] == ["StaffOnly denies"] * 2  # type: ignore[attr-defined]


def test_about_a_row_that_is_missing_the_principal_is_asked_as_about_another(
    alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Asking(RowPolicy):
        def branches(self, *_: Any) -> list[Branch]:
            return [Branch(models.Q(), Allow(), lambda: bool(asked.append(1)))]

    monkeypatch.setattr(FIELD, "policy", Asking())
    for resource in (document_of(alice), replace(document_of(alice), pk=10**6)):
        asked.clear()
        assert links.allowed(user_of(alice), [resource]) == [False]
        assert asked == [1]


def test_a_policy_that_is_no_query_is_asked_without_a_word(
    alice: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FIELD, "policy", Limited(Limits()))

    assert links.allowed(user_of(alice), [document_of(alice)]) == [True]
    assert caplog.records == []


def conf_policies(settings: Any) -> dict[str, Any]:
    return dict(settings.GATEWAY["POLICIES"])


def test_only_a_field_with_a_policy_of_its_own_may_be_named_by_a_client(alice: Any, settings: Any) -> None:
    invoice = Resource(storage_alias="private", key="a", model=Invoice, pk=1, field="file")

    assert links.may_be_named(document_of(alice))
    assert links.may_be_named(Resource.of_file(new_file(alice)))
    assert not links.may_be_named(invoice)
    for label in ("hostapp.Invoice", "hostapp.Invoice.file"):
        settings.GATEWAY = settings.GATEWAY | {"POLICIES": {label: Everyone()}}
        assert links.may_be_named(invoice)


def test_a_bare_key_is_decided_by_the_policy_of_its_storage_or_not_at_all(alice: Any, settings: Any) -> None:
    resource = Resource.of_key("private", "uploads/a.pdf")

    assert "PATH_POLICIES has no policy" in refused(user_of(alice), resource).reason  # type: ignore[attr-defined]
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": Everyone()}}
    assert links.issue(ANONYMOUS, resource).resource.key == "uploads/a.pdf"
    assert isinstance(refused(ANONYMOUS, Resource.of_key("private", "uploads/../a")), AccessDenied)
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": Owner("owner")}}
    assert isinstance(refused(user_of(alice), resource), AccessDenied)


# the policy for bare keys, and why a key that is none gets no link
NO_KEYS: dict[str, tuple[Any, str]] = {
    "allowed to everybody": (Everyone(), "the key is not valid"),
    "allowed to nobody": (~Everyone(), "the key is not valid"),
    "decided by none": (None, "no row is known for the key, and PATH_POLICIES has no policy for the alias"),
}


@pytest.mark.parametrize(("policy", "reason"), NO_KEYS.values(), ids=NO_KEYS)
def test_a_bare_key_that_is_none_is_refused_for_the_first_reason_there_is(
    settings: Any, policy: Any, reason: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {} if policy is None else {"private": policy}}

    error = refused(ANONYMOUS, Resource.of_key("private", "uploads/../a"))

    assert error.reason == reason  # type: ignore[attr-defined]


# How long a link lives.


def until(number: float) -> datetime:
    return datetime.now(UTC) + seconds(number)


# settings, storage, policy; the smallest wins and is named
SHORTEST: dict[str, tuple[dict[str, int], dict[str, Any], Limits, int, str]] = {
    "the default": ({"DEFAULT_TTL": 300, "MAX_TTL": 900}, {}, Limits(), 300, ""),
    "the storage's default": ({}, {"default_ttl": seconds(50)}, Limits(), 50, ""),
    "the maximum": ({"DEFAULT_TTL": 10, "MAX_TTL": 40}, {"default_ttl": seconds(50)}, Limits(), 40, "max_ttl"),
    "the storage's maximum": ({}, {"max_ttl": seconds(60)}, Limits(), 60, "storage"),
    "the policy's": ({}, {"max_ttl": seconds(60)}, Limits(max_ttl=seconds(7)), 7, "policy"),
    "a policy's that is wide": ({}, {}, Limits(max_ttl=seconds(7200)), 300, ""),
    "a storage's that is wide": ({}, {"max_ttl": seconds(7200)}, Limits(), 300, ""),
    "exactly the default": ({}, {"max_ttl": seconds(300)}, Limits(max_ttl=seconds(300)), 300, ""),
    "the shortest of three": (
        {"DEFAULT_TTL": 10, "MAX_TTL": 20}, {"default_ttl": seconds(60), "max_ttl": seconds(15)},
        Limits(max_ttl=seconds(5)), 5, "policy"),
    "one second": ({"DEFAULT_TTL": 1, "MAX_TTL": 1}, {}, Limits(), 1, ""),
}  # fmt: skip


class Limited:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def decide(self, *_: Any) -> Any:
        return Allow(self.limits)

    def __str__(self) -> str:
        return "Limited"


@pytest.mark.parametrize(("given", "storage", "limits", "life", "limited_by"), SHORTEST.values(), ids=SHORTEST)
def test_without_a_ttl_the_smallest_holds_and_is_named(
    alice: Any, arranged: Any, settings: Any, given: Any, storage: Any, limits: Limits, life: int, limited_by: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | given | {"POLICIES": {"presign_gateway.File": Limited(limits)}}

    issued = links.issue(user_of(alice), arranged(**storage))

    assert int(query_of(issued.url)["X-Amz-Expires"]) == life
    assert issued.limited_by == limited_by
    assert [(row.limited_by, row.expires_at) for row in issuances()] == [(limited_by, issued.expires_at)]


TOO_LONG: dict[str, tuple[dict[str, int], dict[str, Any], Limits, int, str]] = {
    "the maximum": ({}, {}, Limits(), 901, "ttl is 901 s; at most 900 s"),
    "the storage's maximum": ({}, {"max_ttl": seconds(60)}, Limits(), 61, "ttl is 61 s; at most 60 s"),
    "the policy's": ({}, {}, Limits(max_ttl=seconds(7)), 8, "ttl is 8 s; at most 7 s"),
    "all stores'": ({"MAX_TTL": 604_800}, {}, Limits(), 604_801, "ttl is 604801 s; at most 604800 s"),
}


@pytest.mark.parametrize(("given", "storage", "limits", "ttl", "text"), TOO_LONG.values(), ids=TOO_LONG)
def test_an_explicit_ttl_over_a_limit_is_refused_with_both_numbers(
    alice: Any, arranged: Any, settings: Any, given: Any, storage: Any, limits: Limits, ttl: int, text: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | given | {"POLICIES": {"presign_gateway.File": Limited(limits)}}
    resource = arranged(**storage)

    with pytest.raises(TTLTooLong) as error:
        links.issue(user_of(alice), resource, ttl=seconds(ttl))

    assert str(error.value) == text
    assert issuances(decision="issued") == []
    assert query_of(links.issue(user_of(alice), resource, ttl=seconds(ttl - 1)).url)["X-Amz-Expires"] == str(ttl - 1)


def test_the_shorter_life_of_a_store_is_a_limit_too(alice: Any, arranged: Any, settings: Any) -> None:
    class Short(Lying):
        lie = staticmethod(lambda signed: signed)

        def __init__(self) -> None:
            super().__init__()
            self.capabilities = replace(self.capabilities, max_ttl=seconds(30))

    resource = arranged(provider=Short)

    assert links.issue(user_of(alice), resource).limited_by == "store"
    with pytest.raises(TTLTooLong, match="ttl is 31 s; at most 30 s"):
        links.issue(user_of(alice), resource, ttl=seconds(31))


BAD_TTLS: dict[str, tuple[Any, type[Exception]]] = {
    "0 s": (seconds(0), InvalidTTL), "negative": (seconds(-1), InvalidTTL), "half": (seconds(1.5), InvalidTTL),
    "a microsecond": (timedelta(microseconds=1), InvalidTTL), "the longest": (timedelta.max, TTLTooLong),
    "the most negative": (timedelta.min, InvalidTTL), "int": (300, TypeError), "float": (300.0, TypeError),
    "nan": (float("nan"), TypeError), "bool": (True, TypeError), "text": ("300", TypeError),
}  # fmt: skip


@pytest.mark.parametrize(("ttl", "error"), BAD_TTLS.values(), ids=BAD_TTLS)
def test_a_ttl_that_is_none_is_refused_before_anything_is_asked(
    alice: Any, ttl: Any, error: type[Exception], django_assert_num_queries: Any
) -> None:
    resource = document_of(alice)

    with django_assert_num_queries(0), pytest.raises(error, match=r"^ttl is "):
        links.issue(user_of(alice), resource, ttl=ttl)


ENDS: dict[str, tuple[Callable[[Any], tuple[Principal, Limits]], str]] = {
    "the policy's until": (lambda alice: (user_of(alice), Limits(until=until(100))), "policy"),
    "the session": (
        lambda alice: (user_of(alice, authority_ends_at=until(100), request=HttpRequest()), Limits()), "request"),
    "explicit code": (lambda alice: (user_of(alice, authority_ends_at=until(100)), Limits()), "code"),
    "the token": (lambda alice: (user_of(alice, token=token_of(alice, until(100))), Limits()), "token"),
    "the token's authority": (
        lambda alice: (user_of(alice, token=token_of(alice, until(900)), authority_ends_at=until(100)), Limits()),
        "token"),
    "the earlier of two": (
        lambda alice: (user_of(alice, authority_ends_at=until(200)), Limits(until=until(100))), "policy"),
}  # fmt: skip


def token_of(user: Any, end: datetime) -> ApiToken:
    return ApiToken(user=user, scopes=["Download"], expires_at=end)


@pytest.mark.parametrize("ttl", [None, seconds(250)], ids=["no ttl", "explicit ttl"])
@pytest.mark.parametrize(("asks", "limited_by"), ENDS.values(), ids=ENDS)
def test_a_link_never_outlives_its_authority(
    alice: Any, monkeypatch: pytest.MonkeyPatch, asks: Any, limited_by: str, ttl: timedelta | None
) -> None:
    principal, limits = asks(alice)
    monkeypatch.setattr(FIELD, "policy", Limited(limits))

    issued = links.issue(principal, document_of(alice), ttl=ttl)

    assert 97 <= life_of(issued) <= 100
    assert issued.expires_at <= until(100)
    assert issued.limited_by == limited_by


@pytest.mark.parametrize("left", [-100, 0, 0.9], ids=["past", "now", "less than a second"])
@pytest.mark.parametrize("where", ["policy", "principal", "token"])
def test_an_authority_that_has_ended_gets_nothing(
    alice: Any, monkeypatch: pytest.MonkeyPatch, left: float, where: str
) -> None:
    monkeypatch.setattr(FIELD, "policy", Limited(Limits(until=until(left) if where == "policy" else None)))
    principal = user_of(
        alice,
        authority_ends_at=until(left) if where == "principal" else None,
        token=token_of(alice, until(left)) if where == "token" else None,
    )

    error = refused(principal, document_of(alice))

    assert isinstance(error, AccessDenied)
    assert error.reason == "the authority to ask has ended"


# how many seconds of the authority are left, and what the link may live of them
LAST_SECONDS: dict[str, tuple[float, int, str]] = {
    "less than one": (0.999999, 0, "the authority to ask has ended"),
    "one": (1, 1, ""),
    "less than two": (1.999999, 1, ""),
}


@pytest.mark.parametrize(("left", "life", "refusal"), LAST_SECONDS.values(), ids=LAST_SECONDS)
def test_the_last_whole_second_of_an_authority_is_a_link_long(alice: Any, left: float, life: int, refusal: str) -> None:
    now = datetime.now(UTC)
    ending = user_of(alice, authority_ends_at=now + seconds(left))

    rehearsal = links.rehearse(ending, document_of(alice), Download, now=now)

    assert (rehearsal.seconds, rehearsal.refusal) == (life, refusal)


def test_an_authority_that_ends_with_the_link_shortens_nothing(alice: Any) -> None:
    now = datetime.now(UTC)
    ending = user_of(alice, authority_ends_at=now + conf().default_ttl)

    rehearsal = links.rehearse(ending, document_of(alice), Download, now=now)

    assert (rehearsal.seconds, rehearsal.limited_by) == (300, "")


def test_an_end_without_a_time_zone_is_local_time(alice: Any, settings: Any) -> None:
    resource = document_of(alice)
    settings.USE_TZ, settings.TIME_ZONE = False, "UTC"
    end = until(100).replace(tzinfo=None)

    assert 97 <= life_of(links.issue(user_of(alice, authority_ends_at=end), resource)) <= 100


@pytest.mark.parametrize("ttl", [None, seconds(250)], ids=["no ttl", "explicit ttl"])
def test_a_credential_that_ends_sooner_cuts_the_link_and_it_says_so(
    alice: Any, arranged: Any, ttl: timedelta | None
) -> None:
    end = until(160)

    issued = links.issue(user_of(alice), arranged(provider=honest(expires_at=end)), ttl=ttl)

    assert issued.limited_by == "credential"
    assert issued.expires_at <= end - seconds(60)
    assert int(query_of(issued.url)["X-Amz-Expires"]) in (98, 99, 100)
    assert issuances()[0].expires_at == issued.expires_at


def test_a_storage_may_refuse_rather_than_cut(alice: Any, arranged: Any) -> None:
    refusing = arranged(provider=honest(expires_at=until(160)), on_short_credentials="refuse")

    error = refused(user_of(alice), refusing)
    assert isinstance(error, StorageUnavailable)
    assert "too early" in str(error)
    assert links.issue(user_of(alice), refusing, ttl=seconds(60)).limited_by == ""


@pytest.mark.parametrize("left", [60, 0, -10], ids=["within the margin", "now", "past"])
def test_a_credential_without_a_useful_life_makes_the_storage_unavailable(alice: Any, arranged: Any, left: int) -> None:
    error = refused(user_of(alice), arranged(provider=honest(expires_at=until(left))))

    assert (type(error), error.status) == (StorageUnavailable, 503)


# The post-condition: providers that are broken on purpose.


def moved(signed: SignedURL, old: str, new: str) -> SignedURL:
    assert old in signed.url
    return replace(signed, url=signed.url.replace(old, new, 1))


def signature_of(signed: SignedURL) -> str:
    return query_of(signed.url)["X-Amz-Signature"]


HOST = "bucket.s3.eu-central-1.amazonaws.com"
LIES: dict[str, Callable[[SignedURL], Any]] = {
    "another host": lambda s: moved(s, HOST, "evil.example"),
    "another bucket": lambda s: moved(s, "//bucket.", "//other."),
    "a host that only starts alike": lambda s: moved(s, HOST, HOST + ".evil.example"),
    "another port": lambda s: moved(s, HOST, HOST + ":8443"),
    "a user name": lambda s: moved(s, HOST, "user@" + HOST),
    "another scheme": lambda s: moved(s, "https:", "http:"),
    "no scheme": lambda s: moved(s, "https:", ""),
    "another key": lambda s: moved(s, "uploads/", "others/"),
    "a shorter key": lambda s: moved(s, ".pdf?", "?"),
    "a longer key": lambda s: moved(s, ".pdf?", ".pdf2?"),
    "the bucket itself": lambda s: replace(s, url=f"https://{HOST}/?" + s.url.partition("?")[2]),
    "a dot segment": lambda s: moved(s, "uploads/", "uploads/../uploads/"),
    "an encoded slash": lambda s: moved(s, "uploads/", "uploads%2F"),
    "a doubled slash": lambda s: moved(s, "uploads/", "uploads//"),
    "an encoded letter": lambda s: moved(s, "uploads/", "%75ploads/"),
    "a fragment": lambda s: replace(s, url=s.url + "#x"),
    "an unsigned link": lambda s: moved(s, "&X-Amz-Signature=" + signature_of(s), ""),
    "no query": lambda s: replace(s, url=s.url.partition("?")[0]),
    "an empty signature": lambda s: moved(s, signature_of(s), ""),
    "a signature under another name": lambda s: moved(s, "&X-Amz-Signature=", "&xX-Amz-Signature="),
    "a signature within another parameter": lambda s: moved(s, "&X-Amz-Signature=", "%26X-Amz-Signature="),
    "another method": lambda s: replace(s, method="PUT"),
    "HEAD for GET": lambda s: replace(s, method="HEAD"),
    "a method in lower case": lambda s: replace(s, method="get"),
    "a longer life": lambda s: replace(s, expires_at=s.expires_at + SECOND),
    "an end without a time zone": lambda s: replace(s, expires_at=s.expires_at.replace(tzinfo=None)),
    "no end": lambda s: replace(s, expires_at=None),
    "a text": lambda s: s.url,
    "nothing": lambda s: None,
    "a dict": lambda s: {"url": s.url},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_link_that_is_not_what_was_asked_for_does_not_leave(
    alice: Any, arranged: Any, lie: Any, caplog: pytest.LogCaptureFixture
) -> None:
    error = refused(user_of(alice), arranged(provider=lying(lie)))

    assert isinstance(error, StorageUnavailable)
    assert error.status == 503
    assert "Signature=" not in caplog.text + str(error)
    assert Issuance.objects.get().link_hash == ""


@pytest.mark.parametrize("number", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("lie", ["another key", "an unsigned link", "a longer life", "nothing"])
def test_one_odd_link_of_a_batch_lets_none_of_its_storage_out(alice: Any, arranged: Any, lie: str, number: int) -> None:
    resources = arranged(3)
    wrong = str(resources[number].key)
    ArrangedStorage.arrange = {"provider": lying(lambda s: LIES[lie](s) if wrong in s.url else s)}
    elsewhere = document_of(alice)

    answers = links.issue_many(user_of(alice), [resources[0], elsewhere, *resources[1:]])

    assert [type(answer) for answer in answers] == [Refusal, IssuedURL, Refusal, Refusal]
    assert [row.resource for row in issuances(decision="issued")] == [elsewhere.id]
    assert len(issuances(decision="refused")) == 3
    assert not any(row.link_hash for row in issuances(decision="refused"))


COUNTS: dict[str, Callable[[list[Any]], Any]] = {
    "fewer": lambda answers: answers[:-1], "more": lambda answers: [*answers, answers[0]],
    "none": lambda answers: [], "None": lambda answers: None, "turned round": lambda answers: answers[::-1],
    "the first for all": lambda answers: [answers[0]] * len(answers), "a generator": lambda answers: iter(answers),
}  # fmt: skip


@pytest.mark.parametrize("many", COUNTS.values(), ids=COUNTS)
def test_links_that_do_not_answer_the_questions_do_not_leave(alice: Any, arranged: Any, many: Any) -> None:
    resources = arranged(3, provider=lying(lambda signed: signed, many=many))

    answers = links.issue_many(user_of(alice), resources)

    assert [answer.status for answer in answers if isinstance(answer, Refusal)] == [503] * 3
    assert issuances(decision="issued") == []


def raising(error: BaseException) -> Callable[[Any], Any]:
    def lie(signed: SignedURL) -> Any:
        raise error

    return lie


BROKEN = {
    "AttributeError": AttributeError("_signature"), "KeyError": KeyError("k"), "TypeError": TypeError(),
    "timeout": TimeoutError("http://169.254.169.254/latest/secret-token"), "RecursionError": RecursionError(),
    "no credentials": CredentialsUnavailable("none could be had"), "assertion": AssertionError(),
    "misconfiguration": ImproperlyConfigured("secret"),
}  # fmt: skip


@pytest.mark.parametrize("error", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("where", ["sign", "provider"])
def test_a_storage_that_breaks_is_unavailable_and_no_missing_attribute(
    alice: Any, arranged: Any, error: Exception, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider = lying(raising(error))
    if where == "provider":
        provider = type("Unbuilt", (Lying,), {"__init__": lambda self: raising(error)(self)})

    told = refused(user_of(alice), arranged(provider=provider))

    assert type(told) is StorageUnavailable
    assert "secret" not in str(told) + caplog.text
    with acting_as(alice), pytest.raises(StorageUnavailable):
        links.probe("arranged")


SECRET = "AccountKeySecret"
# id -> a storage that cannot be built, or whose signer cannot, and an option that is a secret
UNBUILT: dict[str, tuple[str, dict[str, Any]]] = {
    "s3-storage": ("PrivateS3Storage", {"bucket_name": "b", "access_key": "a", "secret_key": SECRET, "x": 1}),
    "s3-signer": ("PrivateS3Storage", {"bucket_name": "bb", "access_key": "a", "secret_key": SECRET}),
    "gcs-signer": ("PrivateGCSStorage", {"bucket_name": "B", "hmac_access_id": "a", "hmac_secret": SECRET}),
    "azure-signer": (
        "PrivateAzureStorage", {"account_name": "account", "azure_container": "files", "account_key": SECRET + "?"},
    ),
    "filesystem-storage": ("PrivateFileSystemStorage", {"location": "/srv/files", "secret_keys": [SECRET], "x": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("backend", "options"), UNBUILT.values(), ids=UNBUILT)
def test_no_error_page_shows_the_options_of_a_storage_that_cannot_be_built(
    alice: Any, settings: Any, backend: str, options: dict[str, Any]
) -> None:
    entry = {"BACKEND": f"gateway.storages.{backend}", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"unbuilt": entry}
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"unbuilt": Everyone()}}

    told = refused(user_of(alice), Resource.of_key("unbuilt", "uploads/a.pdf"))

    assert type(told) is StorageUnavailable
    shown = []
    error: BaseException | None = told
    while error is not None:
        # What such pages and trackers read; the frames of the tests themselves are theirs.
        frames = [
            frame.f_locals
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if "tests" not in frame.f_code.co_filename
        ]
        shown.append(f"{error!r} {frames!r}")
        error = error.__cause__ or error.__context__
    assert len(shown) == 2
    assert told.__cause__ is not None
    assert SECRET not in "".join(shown)


def test_a_store_that_asks_nobody_is_told_of_nobody(alice: Any, arranged: Any) -> None:
    signed = []

    class Recording(Lying):
        lie = staticmethod(lambda link: link)

        def sign(self, operation: Any, *, ttl: timedelta, now: datetime) -> Any:
            signed.append(operation)
            return super().sign(operation, ttl=ttl, now=now)

    links.issue(user_of(alice), arranged(provider=Recording))

    assert [operation.stamp for operation in signed] == [None]


def test_a_provider_that_finds_fault_with_the_operation_is_the_callers_error(alice: Any, arranged: Any) -> None:
    told = refused(user_of(alice), arranged(provider=lying(raising(InvalidOperation("no such thing here")))))

    assert isinstance(told, InvalidRequest)
    assert str(told) == "no such thing here"


def test_a_location_that_makes_the_key_invalid_is_refused_and_logged(
    alice: Any, arranged: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Moved(Lying):
        lie = staticmethod(lambda signed: signed)

    resource = arranged(provider=Moved, location="../")

    assert refused(user_of(alice), resource).reason == "what the row says of the object cannot be signed"  # type: ignore[attr-defined]
    assert "cannot be signed" in caplog.text


def test_the_key_in_the_store_is_the_storages_and_the_row_keeps_its_own(alice: Any, arranged: Any) -> None:
    resource = arranged(location="tenant/1/")

    issued = links.issue(user_of(alice), resource)

    assert urlsplit(issued.url).path == f"/tenant/1/{resource.key}"
    assert issued.resource.key == issuances()[0].key == resource.key


@pytest.mark.parametrize("location", ["", "tenant/1/"], ids=["at the top", "below a location"])
def test_an_upload_goes_where_the_storage_has_the_key(alice: Any, arranged: Any, settings: Any, location: str) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Everyone(operations=[Upload])}}
    resource = arranged(location=location)

    issued = links.issue(user_of(alice), resource, partial(Upload, content_type="image/png", size_bytes=1))

    assert urlsplit(issued.url).path == f"/{location}{resource.key}"
    assert issued.resource.key == resource.key


UPLOADS = {
    "upload": (Upload("k", content_type="image/png", size_bytes=1), "PUT"),
    "form": (UploadForm("k", content_type="image/png", min_bytes=0, max_bytes=1), "POST"),
    "part": (UploadPart("k", upload_id="u", number=1, size_bytes=1), "PUT"),
    "download": (Download("k"), "GET"),
    "head": (Download("k", method="HEAD"), "HEAD"),
}


@pytest.mark.parametrize(("operation", "method"), UPLOADS.values(), ids=UPLOADS)
def test_the_post_condition_knows_every_operation(operation: Any, method: str) -> None:
    provider = honest()
    signed = provider.sign(operation, ttl=seconds(60), now=datetime.now(UTC))

    links.check_link(signed, operation, provider)

    for other in {"GET", "HEAD", "PUT", "POST", "DELETE"} - {method}:
        with pytest.raises(UnsafeLink, match=f"for {other} where {method}"):
            links.check_link(replace(signed, method=other), operation, provider)
    with pytest.raises(UnsafeLink):
        links.check_link(signed, replace(operation, key="other"), provider)


FORM_LIES: dict[str, Callable[[SignedURL], dict[str, str]]] = {
    "no signature": lambda s: {k: v for k, v in s.fields.items() if k != "x-amz-signature"},
    "an empty signature": lambda s: dict(s.fields) | {"x-amz-signature": ""},
    "another key": lambda s: dict(s.fields) | {"key": "other"},
    "a key to fill in": lambda s: dict(s.fields) | {"key": "uploads/${filename}"},
    "no key": lambda s: {k: v for k, v in s.fields.items() if k != "key"},
    "nothing": lambda s: {},
}


@pytest.mark.parametrize("lie", FORM_LIES.values(), ids=FORM_LIES)
def test_a_form_is_for_one_key_and_signed(lie: Any) -> None:
    provider = honest()
    form = UploadForm("k", content_type="image/png", min_bytes=0, max_bytes=1)
    signed = provider.sign(form, ttl=seconds(60), now=datetime.now(UTC))

    with pytest.raises(UnsafeLink):
        links.check_link(replace(signed, fields=lie(signed)), form, provider)


def test_uploads_pass_the_same_door(alice: Any, arranged: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {
        "POLICIES": {"presign_gateway.File": Everyone(operations=[Upload, UploadForm, UploadPart])}
    }
    for operation, method in UPLOADS.values():
        if isinstance(operation, Download):
            continue
        resource = arranged()
        issued = links.issue(user_of(alice), resource, replace(operation, key=str(resource.key)))
        assert (issued.method, issued.resource.key) == (method, resource.key)
    assert isinstance(refused(user_of(alice), arranged()), AccessDenied)


@pytest.mark.parametrize("who", ["alice", "system"])
def test_what_a_store_cannot_sign_is_said(alice: Any, settings: Any, who: str) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Everyone(operations=[UploadForm])}}
    principal = user_of(alice) if who == "alice" else replace(SYSTEM, reason="test")
    form = partial(UploadForm, content_type="image/png", min_bytes=1, max_bytes=2)

    error = refused(principal, Resource.of_file(new_file(alice)), form)

    assert error.status == 503
    (row,) = issuances()
    assert row.reason == (
        "storage 'private': UploadForm cannot be signed for the local store; Download, Upload or UploadPart"
    )


# Type and disposition.

ACTIVE = [
    "text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml", "text/javascript",
    "application/octet-stream", "application/zip", "multipart/related", "message/rfc822", "text/css", "x/unknown",
    "IMAGE/PNG", "image/png ", "", "png", "image/png\n", "text/html; charset=utf-8",
]  # fmt: skip
BOTH, NEITHER = frozenset({"inline", "attachment"}), frozenset[str]()
INLINE, ATTACHMENT = frozenset({"inline"}), frozenset({"attachment"})

# stored type, asked, what the policy allows -> type and disposition of the response; None is a refusal
SHOWN: dict[str, tuple[str, str | None, frozenset[str] | None, tuple[str, str] | None]] = {
    "a picture": ("image/png", None, None, ("image/png", "inline")),
    "a picture, as asked": ("image/png", "inline", None, ("image/png", "inline")),
    "a picture to save": ("image/png", "attachment", None, ("image/png", "attachment")),
    "text": ("text/plain", None, None, ("text/plain", "inline")),
    "text in UTF-8": ("text/plain; charset=utf-8", None, None, ("text/plain; charset=utf-8", "inline")),
    "text in another charset": ("text/plain; charset=latin-1", None, None, ("text/plain", "inline")),
    "text without the space": ("text/plain;charset=utf-8", None, None, ("text/plain", "inline")),
    "a picture with a parameter": ("image/png; x=text/html", None, None, ("image/png", "inline")),
    "a picture that may only be saved": ("image/png", None, ATTACHMENT, ("image/png", "attachment")),
    "a picture asked inline, to be saved": ("image/png", "inline", ATTACHMENT, ("image/png", "attachment")),
    "a picture to save that may only be shown": ("image/png", "attachment", INLINE, None),
    "a picture that may be both": ("image/png", None, BOTH, ("image/png", "inline")),
    "a picture that may be neither": ("image/png", None, NEITHER, None),
    "a page that may only be shown": ("text/html", None, INLINE, None),
    **{f"{kind!a}": (kind, None, None, ("application/octet-stream", "attachment")) for kind in ACTIVE},
    **{f"{kind!a}, inline": (kind, "inline", BOTH, ("application/octet-stream", "attachment")) for kind in ACTIVE},
}  # fmt: skip


@pytest.mark.parametrize(("stored", "asked", "allowed", "shown"), SHOWN.values(), ids=SHOWN)
def test_what_a_browser_might_run_is_saved_and_never_shown(
    alice: Any, settings: Any, stored: str, asked: Any, allowed: Any, shown: tuple[str, str] | None
) -> None:
    policy = Limited(Limits(dispositions=allowed))
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": policy}}
    resource = Resource.of_file(new_file(alice, content_type=stored))

    if shown is None:
        assert isinstance(refused(user_of(alice), resource, partial(Download, disposition=asked)), AccessDenied)
        return
    issued = links.issue(user_of(alice), resource, partial(Download, disposition=asked))
    query = query_of(issued.url)

    assert (query["content-type"], query["disposition"]) == shown
    assert issued.content_type == shown[0]
    assert query["filename"] == issued.filename == "report.pdf"


GUESSED = {
    "a.png": ("image/png", "inline"), "a.pdf": ("application/pdf", "inline"), "a.txt": ("text/plain", "inline"),
    "a.svg": None, "a.html": None, "a.htm": None, "a.xhtml": None, "a.xml": None, "a.js": None, "a.mht": None,
    "a.unknownx": None, "a": None, "a.png.html": None, "a.tar.gz": None, "a.svgz": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "shown"), GUESSED.items(), ids=GUESSED)
def test_a_hosts_file_is_shown_as_its_extension_allows(alice: Any, name: str, shown: Any) -> None:
    for asked in (None, "inline"):
        resource = document_of(alice, key=f"uploads/{asked}/{name}")
        query = query_of(links.issue(user_of(alice), resource, partial(Download, disposition=asked)).url)

        wanted = shown or ("application/octet-stream", "attachment")
        assert (query["content-type"], query["disposition"]) == wanted


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "text/html; charset=utf-8"])
def test_no_caller_names_a_type_that_runs(alice: Any, content_type: str) -> None:
    asked = partial(Download, content_type=content_type, disposition="inline")

    query = query_of(links.issue(user_of(alice), document_of(alice), asked).url)

    assert (query["content-type"], query["disposition"]) == ("application/octet-stream", "attachment")


def test_a_storage_says_what_is_shown(alice: Any, arranged: Any) -> None:
    issued = links.issue(user_of(alice), arranged(inline_types=frozenset()))

    assert query_of(issued.url)["response-content-type"] == "application/octet-stream"
    assert query_of(issued.url)["response-content-disposition"].startswith("attachment;")


def test_the_version_and_the_name_are_the_rows_unless_said_otherwise(alice: Any, arranged: Any) -> None:
    resource = arranged()
    File.objects.update(version="v1", filename='a"b.pdf')

    link = links.issue(user_of(alice), resource)
    other_link = links.issue(user_of(alice), resource, partial(Download, filename="c.pdf", version="v2"))
    of_the_row, said = query_of(link.url), query_of(other_link.url)

    assert (link.filename, other_link.filename) == ('a"b.pdf', "c.pdf")
    assert link.content_disposition == of_the_row["response-content-disposition"]
    assert other_link.content_disposition == said["response-content-disposition"]
    assert of_the_row["versionId"] == "v1"
    assert 'filename="a_b.pdf"' in of_the_row["response-content-disposition"]
    assert said["versionId"] == "v2"
    assert 'filename="c.pdf"' in said["response-content-disposition"]


def test_a_version_that_cannot_be_signed_refuses_its_own_item_alone(
    alice: Any, arranged: Any, caplog: pytest.LogCaptureFixture
) -> None:
    resources = arranged(3)
    File.objects.filter(pk=resources[1].pk).update(version="ü")

    answers = links.issue_many(user_of(alice), resources)

    assert [type(answer) for answer in answers] == [IssuedURL, Refusal, IssuedURL]
    assert "cannot be signed" in caplog.text


def test_every_link_has_an_id_of_its_own_in_link_and_audit(alice: Any) -> None:
    answers = links.issue_many(user_of(alice), [document_of(alice)] * 3)

    ids = [answer.id for answer in answers if isinstance(answer, IssuedURL)]
    assert len(set(ids)) == 3
    assert ids == [query_of(answer.url)["link"] for answer in answers if isinstance(answer, IssuedURL)]
    assert sorted(row.link_id for row in issuances()) == sorted(ids)
    assert all(len(link_id) == len("lnk_") + 32 for link_id in ids)  # 128 bits


# Batches.


def test_a_batch_answers_each_in_order_and_records_all(alice: Any, bob: Any, arranged: Any) -> None:
    own, file = document_of(alice), Resource.of_file(new_file(alice))
    foreign, missing = document_of(bob), replace(document_of(alice), pk=10**6)
    unavailable = arranged(provider=lying(raising(TimeoutError())))
    bare = Resource.of_key("private", "uploads/bare")
    resources = [foreign, own, missing, file, unavailable, bare, own]

    answers = links.issue_many(user_of(alice), resources)

    assert [answer.resource.id for answer in answers] == [resource.id for resource in resources]
    assert [answer.code if isinstance(answer, Refusal) else "" for answer in answers] == [
        "not_found", "", "not_found", "", "storage_unavailable", "not_found", ""
    ]  # fmt: skip
    statuses = [answer.status for answer in answers if isinstance(answer, Refusal)]
    assert statuses == [404, 404, 503, 404]
    titles = {answer.title for answer in answers if isinstance(answer, Refusal) and answer.status == 404}
    assert titles == {AccessDenied.title}
    assert len(issuances(decision="issued")) == 3
    assert len(issuances(decision="refused")) == 4


def test_a_batch_may_ask_something_else_of_each(alice: Any) -> None:
    asked = [Download, partial(Download, method="HEAD"), Cunning]
    resources = [document_of(alice) for _ in asked]

    answers = links.issue_many(user_of(alice), resources, asked)

    assert [getattr(answer, "method", None) for answer in answers] == ["GET", "HEAD", None]
    with pytest.raises(ValueError, match="zip"):
        links.issue_many(user_of(alice), resources, asked[:2])


def test_an_empty_batch_asks_nothing(alice: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert links.issue_many(user_of(alice), []) == []


def test_a_ttl_over_one_items_limit_is_that_items_refusal(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class ByTitle:
        def decide(self, principal: Principal, resource: Resource, operation: Any) -> Any:
            short = resource.instance.title == "short"  # type: ignore[union-attr]
            return Allow(Limits(max_ttl=seconds(10) if short else None))

    monkeypatch.setattr(FIELD, "policy", ByTitle())
    resources = [document_of(alice, title=title) for title in ("", "short", "")]

    answers = links.issue_many(user_of(alice), resources, ttl=seconds(20))

    assert [answer.code if isinstance(answer, Refusal) else "" for answer in answers] == ["", "ttl_too_long", ""]
    assert [row.reason for row in issuances(decision="refused")] == ["ttl is 20 s; at most 10 s"]


COMPILED = Owner("owner")


class Evaluated:
    """As ``Owner("owner")``, with nothing but decide_many()."""

    def decide(self, *_: Any) -> Any:
        raise AssertionError("asked one by one")

    def decide_many(self, principal: Principal, resources: Sequence[Resource], operation: Any) -> list[Any]:
        rows: list[Any] = [resource.instance for resource in resources]
        return [Allow() if row.owner_id == principal.user.pk else Deny() for row in rows]


@pytest.mark.parametrize("policy", [COMPILED, Evaluated()], ids=["compiled", "evaluated"])
@pytest.mark.parametrize("count", [1, 10, 100])
def test_the_number_of_queries_does_not_grow_with_the_items(
    alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch, count: int, policy: Any
) -> None:
    monkeypatch.setattr(FIELD, "policy", policy)
    resources = [document_of(bob if number % 3 == 1 else alice) for number in range(count)]
    resources += [Resource.of_file(new_file(alice)) for _ in range(count)]
    alice.get_all_permissions()

    with request_of(alice), CaptureQueriesContext(connection) as queries:
        answers = links.issue_many(user_of(alice), resources)

    assert len(queries) == 3  # one for each model, and what was taken back
    assert sum(isinstance(answer, Refusal) for answer in answers) == len(range(1, count, 3))


@pytest.mark.parametrize("count", [1, 100])
def test_a_batch_is_recorded_in_one_insert(real_database: Any, count: int) -> None:
    user = User.objects.create_user("scene")
    resources = [document_of(user) for _ in range(count)]
    at_once = connection.ops.bulk_batch_size(list(Issuance._meta.concrete_fields), [Issuance()] * count)

    with CaptureQueriesContext(connection) as queries:
        links.issue_many(user_of(user), resources)

    inserts = [query for query in queries if query["sql"].startswith("INSERT")]
    assert len(inserts) == -(-count // at_once)  # more only where the database takes no more parameters
    # Rows, and epochs before and after; one row is read with what was taken back, and its insert tells the rest.
    assert len([query for query in queries if query["sql"].startswith("SELECT")]) == (1 if count == 1 else 3)


# Within a request.


def test_the_same_link_is_issued_once_a_request(alice: Any, django_assert_num_queries: Any) -> None:
    document = new_document(alice)
    with request_of(alice) as lease:
        first = document.file.url
        with django_assert_num_queries(0):
            assert document.file.url == first
            assert document.file.signed_url() == first
        again = Document.objects.get(pk=document.pk).file.url
        assert again == first
        assert len(lease.pending) == 1


OTHERS: dict[str, Callable[[Document, Any], str]] = {
    "another disposition": lambda document, bob: document.file.signed_url(disposition="attachment"),
    "another name": lambda document, bob: document.file.signed_url(filename="b.pdf"),
    "another ttl": lambda document, bob: document.file.signed_url(ttl=seconds(60)),
    "another method": lambda document, bob: links.issue_once(
        Resource.of_field(document, "file"), partial(Download, method="HEAD")).text,
    "another row": lambda document, bob: new_document(document.owner).file.url,
    "another principal": lambda document, bob: acting(SYSTEM, document, reason="r", allow_in_request=True),
    "the same, said by code": lambda document, bob: acting(document.owner, document),
    "the same, said by code of another": lambda document, bob: acting(
        SYSTEM, document, document.owner, reason="r", allow_in_request=True),
}  # fmt: skip


def acting(who: Any, document: Document, then: Any = None, **options: Any) -> str:
    with acting_as(who, **options):
        return document.file.url if then is None else acting(then, document)


@pytest.mark.parametrize("name", OTHERS)
def test_another_link_is_another(alice: Any, bob: Any, name: str) -> None:
    document = new_document(alice)
    with request_of(alice) as lease:
        urls = {document.file.url, acting(alice, document), OTHERS[name](document, bob)}

        assert len(lease.pending) == len(urls) == (2 if name == "the same, said by code" else 3)


def test_a_question_that_makes_no_operation_is_not_answered_from_memory(alice: Any) -> None:
    resource = document_of(alice)
    with request_of(alice):
        links.issue_once(resource)
        with pytest.raises(TypeError, match="positional"):
            links.issue_once(resource, partial(Download, "uploads/another"))


def test_a_changed_name_is_not_answered_from_memory(alice: Any, bob: Any) -> None:
    document = new_document(alice)
    with request_of(alice):
        links.issue_once(Resource.of_field(document, "file"))
        document.file.name = new_document(bob).file.name

        with pytest.raises(AccessDenied):
            links.issue_once(Resource.of_field(document, "file"))


def test_nothing_is_remembered_outside_a_request(alice: Any) -> None:
    document = new_document(alice)
    with acting_as(alice):
        assert document.file.url != document.file.url
    assert len(issuances()) == 2


@pytest.mark.parametrize("limit", [0, 3])
def test_many_single_links_are_warned_of_once(
    alice: Any, settings: Any, caplog: pytest.LogCaptureFixture, limit: int
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"WARN_UNPREFETCHED": limit}
    documents = [new_document(alice) for _ in range(limit + 3)]
    warnings = []
    with request_of(alice):
        for document in documents * 2:
            document.file.url  # noqa: B018
            warnings.append(len([r for r in caplog.records if r.levelno == logging.WARNING]))

    assert warnings == [0] * limit + [1] * (len(documents) * 2 - limit)
    assert f"more than {limit} links asked for one by one" in caplog.text


@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_page_is_decided_and_signed_in_three_queries_and_one_insert(real_database: Any, form: str) -> None:
    user = User.objects.create_user("scene")
    for number in range(100):
        new_document(None if number % 10 == 3 else user)
    Document.objects.create(owner=user)  # has no file
    at_once = connection.ops.bulk_batch_size(list(Issuance._meta.concrete_fields), [Issuance()] * 100)

    with request_of(user) as lease:
        with CaptureQueriesContext(connection) as queries:
            if form == "sync":
                rows = links.prefetch(Document.objects.order_by("pk"), "file")
            else:
                rows = async_to_sync(links.aprefetch)(Document.objects.order_by("pk"), "file")
            shown = [url_of(row) for row in rows]
        assert len(queries) == 3
        assert lease.single_links == 0
        assert len(lease.pending) == 100
        with CaptureQueriesContext(connection) as queries:
            audit.write(lease.pending)

    assert [row.pk for row in rows] == sorted(row.pk for row in rows)
    assert [bool(url) for url in shown] == [number % 10 != 3 for number in range(100)] + [False]
    inserts = [query for query in queries if query["sql"].startswith("INSERT")]
    assert len(inserts) == -(-100 // at_once)


def url_of(row: Document) -> str:
    try:
        return row.file.url
    except (AccessDenied, ValueError):
        return ""


def test_a_prefetched_refusal_is_raised_anew_each_time(alice: Any) -> None:
    document = new_document(None)
    with request_of(alice):
        links.prefetch([document], "file")
        errors = []
        for _ in range(2):
            with pytest.raises(AccessDenied) as error:
                document.file.url  # noqa: B018
            errors.append(error.value)

    assert errors[0] is not errors[1]
    assert errors[0].reason == errors[1].reason == "Owner('owner') denies"


def test_an_answer_is_known_again_to_whoever_had_it(alice: Any, bob: Any) -> None:
    document = new_document(alice)
    resource = Resource.of_field(document, "file")
    with request_of(alice):
        assert links.issued_before(resource) is None
        link = links.issue_once(resource)
        assert links.issued_before(resource) is link
        assert links.issued_before(resource, Download, ttl=timedelta(seconds=5)) is None
        with acting_as(bob):
            assert links.issued_before(resource) is None
            links.prefetch([document], "file")
            with pytest.raises(AccessDenied):
                links.issued_before(resource)
    assert links.issued_before(resource) is None


def test_where_nothing_is_known_nobody_is_looked_up(alice: Any) -> None:
    asked: list[Any] = []

    def load() -> Any:
        asked.append(1)
        return alice

    with request_of(SimpleLazyObject(load)):
        assert links.issued_before(document_of(alice)) is None
    assert asked == []


def test_a_response_with_a_link_is_kept_out_of_djangos_cache(alice: Any) -> None:
    with request_of(alice) as lease:
        links.authorize(user_of(alice), document_of(alice), Download)
        assert not hasattr(lease.request, "_cache_update_cache")
        links.issue(user_of(alice), document_of(alice))
        assert lease.request._cache_update_cache is False  # type: ignore[attr-defined]


def test_what_is_not_signed_is_explained_without_the_limits_of_links(alice: Any) -> None:
    own, now = document_of(alice), datetime.now(UTC)

    assert links.rehearse(user_of(alice), own, Download, now=now).limits["max_ttl"] == 900
    rehearsal = links.rehearse(user_of(alice), own, Delete, now=now)

    assert (rehearsal.refusal, rehearsal.limits, rehearsal.seconds, rehearsal.limited_by) == ("", {}, 0, "")


def test_what_is_explained_is_known_where_its_row_is_and_of_a_bare_key_nothing_has_to_be(alice: Any) -> None:
    own = document_of(alice)
    asked = [own, replace(own, pk=10**6), Resource.of_key("private", "uploads/a")]

    answers = [links.rehearse(user_of(alice), one, Download, now=datetime.now(UTC)) for one in asked]

    assert [answer.is_known for answer in answers] == [True, False, True]


def test_without_tenants_nothing_is_said_of_them(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    links.issue(user_of(alice), document_of(alice))

    assert [row.tenant for row in issuances()] == [""]
    assert "tenant" not in caplog.text


def test_an_answer_that_is_known_asks_no_database(alice: Any, client: Any) -> None:
    document = new_document(alice)
    resource = Resource.of_field(document, "file")
    request = RequestFactory().get("/")
    client.force_login(alice)
    request.session = client.session
    lazy = SimpleLazyObject(lambda: get_user(request))

    async def ask() -> Any:
        return links.issued_before(resource)

    with request_of(user=lazy) as lease:
        with acting_as(alice):
            links.issue_once(resource)
        # The request's own user is still to be loaded, and had no answer.
        assert async_to_sync(ask)() is None
        lease.request.user = alice
        mine = links.issue_once(resource)
        assert async_to_sync(ask)() is mine


def test_a_link_that_ended_in_its_own_request_is_not_given_again(alice: Any) -> None:
    document = new_document(alice)
    with request_of(alice) as lease:
        first = document.file.signed_url(ttl=seconds(1))
        (memo_key,) = lease.memo
        lease.memo[memo_key] = replace(lease.memo[memo_key], expires_at=datetime.now(UTC) - seconds(0.001))
        second = document.file.signed_url(ttl=seconds(1))

        assert second != first
        assert len(lease.pending) == 2
        assert lease.memo[memo_key].expires_at > datetime.now(UTC) - seconds(1)


# id -> what is given for a page of rows, the field, the piece of the message
NO_PAGES: dict[str, tuple[Callable[[Document], Any], str, str]] = {
    "values": (lambda row: Document.objects.values("file"), "file", "a row is of type dict; a model instance"),
    "nothing": (lambda row: [row, None], "file", "a row is of type NoneType; a model instance"),
    "text": (lambda row: [row], "title", "title is of type CharField; a file field"),
    "relation": (lambda row: [row], "owner", "owner is of type ForeignKey; a file field"),
}


@pytest.mark.parametrize(("page", "field", "piece"), NO_PAGES.values(), ids=NO_PAGES)
def test_what_is_no_page_of_files_is_said_and_no_missing_attribute(
    alice: Any, page: Callable[[Document], Any], field: str, piece: str
) -> None:
    row = new_document(alice, title="uploads/a.pdf")
    with request_of(alice) as lease, pytest.raises(TypeError, match=piece):
        links.prefetch(page(row), field)
    assert lease.pending == []


def test_a_row_without_a_file_is_passed_over_by_a_page(alice: Any) -> None:
    rows = [new_document(alice), Document.objects.create(owner=alice)]
    with request_of(alice) as lease:
        assert links.prefetch(rows, "file") == rows
    assert len(lease.pending) == 1


def test_a_storage_that_was_unavailable_is_asked_again(alice: Any, settings: Any) -> None:
    document = new_document(alice)
    with request_of(alice):
        settings.ROOT_URLCONF = "tests.gateway.test_links"  # has no data plane
        links.prefetch([document], "file")
        with pytest.raises(StorageUnavailable):
            document.file.url  # noqa: B018
        settings.ROOT_URLCONF = "settings.urls"

        assert document.file.url


urlpatterns: list[Any] = []


def test_outside_a_request_a_prefetch_makes_nothing_that_nobody_gets(alice: Any) -> None:
    documents = [new_document(alice)]
    with acting_as(alice):
        assert links.prefetch(documents, "file") == documents

    assert issuances() == []


# The database is away.


@pytest.mark.parametrize("error", [OperationalError, DataError], ids=lambda e: e.__name__)
def test_rows_that_cannot_be_read_are_no_refusal(alice: Any, error: type[Exception]) -> None:
    resource = document_of(alice)

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("SELECT"):
            raise error("connection lost: secret")
        return execute(sql, *args)

    for ask in (links.issue, lambda p, r: links.issue_many(p, [r]), lambda p, r: links.authorize(p, r, Download)):
        with connection.execute_wrapper(fail), pytest.raises(DatabaseUnavailable) as unavailable:
            ask(user_of(alice), resource)
        assert "secret" not in str(unavailable.value)
    assert issuances() == []


# Other forms.


def test_a_decision_alone_is_recorded_and_carries_its_limits(
    alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(max_ttl=seconds(5))
    monkeypatch.setattr(FIELD, "policy", Limited(limits))

    assert links.authorize(user_of(alice), document_of(bob), Download) == Allow(limits, "Limited")
    assert async_to_sync(links.aauthorize)(user_of(alice), document_of(bob), Share) == Allow(limits, "Limited")
    assert [(row.decision, row.operation, row.policy, row.link_id) for row in issuances()] == [
        ("allowed", "Download", "Limited", ""), ("allowed", "Share", "Limited", "")
    ]  # fmt: skip


class Answering:
    """Answers the same to everybody."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __str__(self) -> str:
        return "Answering"

    def decide(self, *_: Any) -> Any:
        return self.answer


# what a policy answers, and what the audit has of it
ANSWERS: dict[str, tuple[Any, dict[str, str]]] = {
    "yes": (Allow(), {"decision": "allowed", "policy": "Answering", "reason": ""}),
    "yes, and who": (Allow(policy="those"), {"decision": "allowed", "policy": "those", "reason": ""}),
    "no": (Deny(), {"decision": "refused", "policy": "", "reason": "denied"}),
    "no, and why": (Deny("too late"), {"decision": "refused", "policy": "", "reason": "too late"}),
    "nothing": (None, {"decision": "refused", "policy": "", "reason": "the policy failed: TypeError"}),
}


@pytest.mark.parametrize(("answer", "recorded"), ANSWERS.values(), ids=ANSWERS)
def test_the_audit_has_what_a_policy_answered(
    alice: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, recorded: dict[str, str]
) -> None:
    monkeypatch.setattr(FIELD, "policy", Answering(answer))

    with nullcontext() if recorded["decision"] == "allowed" else pytest.raises(AccessDenied):
        links.authorize(user_of(alice), document_of(alice), Download)

    (row,) = issuances()
    assert {name: getattr(row, name) for name in recorded} == recorded


def test_lists_are_decided_together_and_nothing_is_recorded(alice: Any, bob: Any) -> None:
    resources = [document_of(alice), document_of(bob), document_of(alice)]

    assert links.allowed(user_of(alice), resources) == [True, False, True]
    assert issuances() == []


def test_the_async_forms_are_the_same_door(alice: Any, bob: Any) -> None:
    own, foreign = document_of(alice), document_of(bob)

    async def ask() -> list[Any]:
        one = await links.aissue(user_of(alice), own, partial(Download, method="HEAD"), ttl=seconds(60))
        many = await links.aissue_many(user_of(alice), [own, foreign], ttl=seconds(50))
        with acting_as(alice):
            once = await links.aissue_once(own, ttl=seconds(40))
        with pytest.raises(AccessDenied):
            await links.aissue(user_of(alice), foreign)
        return [one, *many, once]

    one, many, refusal, once = async_to_sync(ask)()

    assert (one.method, life_of(one), life_of(many), life_of(once)) == ("HEAD", 60, 50, 40)
    assert isinstance(refusal, Refusal)


def test_a_probe_signs_one_fixed_key_and_decides_nothing() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    for signed in (links.probe("private", now=now), async_to_sync(links.aprobe)("private", now=now)):
        assert urlsplit(signed.url).path.endswith("/uploads/gateway-probe")
        assert signed.expires_at == now + seconds(60)
    assert issuances() == []


def test_a_probe_below_the_fixed_key_is_signed_by_its_name() -> None:
    assert urlsplit(links.probe("private", name="a.txt").url).path.endswith("/uploads/gateway-probe/a.txt")


@pytest.mark.parametrize("alias", ["nowhere", "default", ""])
def test_a_probe_of_no_private_storage_is_unavailable(alias: str) -> None:
    with pytest.raises(StorageUnavailable):
        links.probe(alias)


@pytest.mark.parametrize("lie", ["another host", "an unsigned link", "another method", "nothing"])
def test_a_probe_finds_out_a_provider_that_lies(arranged: Any, lie: str) -> None:
    arranged(provider=lying(LIES[lie]))

    with pytest.raises(UnsafeLink):
        links.probe("arranged")


class LyingDistribution(Lying):
    """Signs cookies for what it was arranged to open."""

    lie = staticmethod(lambda signed: signed)
    opens = ""

    def sign_cookies(self, prefix: str, *, ttl: timedelta, now: datetime) -> SignedCookies:
        values = {"CloudFront-Signature": "abc"}
        return SignedCookies(values=values, resource=f"{self.base_url}{self.opens}", expires_at=now + ttl)


# what is asked for as courses/1/, and what the cookies open
OPENED = {
    "the prefix": ("courses/1/*", True),
    "the prefix above": ("courses/*", False),
    "everything": ("*", False),
    "one object": ("courses/1/a.ts", False),
    "names that begin with it": ("courses/1*", False),
    "another prefix": ("courses/2/*", False),
    "a wildcard before it": ("*/courses/1/*", False),
}


@pytest.mark.parametrize(("opens", "leaves"), OPENED.values(), ids=OPENED)
def test_cookies_that_open_anything_else_do_not_leave(arranged: Any, opens: str, leaves: bool) -> None:
    arranged(provider=type("Arranged", (LyingDistribution,), {"opens": opens}))
    system = replace(SYSTEM, reason="test")

    if leaves:
        assert links.issue_cookies(system, "arranged", "courses/1/").resource.endswith(f"/{opens}")
    else:
        with pytest.raises(UnsafeLink):
            links.issue_cookies(system, "arranged", "courses/1/")

    assert [row.decision for row in issuances()] == ["issued" if leaves else "refused"]


def test_cookies_that_nobody_may_have_are_refused_for_that_whatever_the_prefix(arranged: Any, alice: Any) -> None:
    arranged(provider=LyingDistribution)

    for prefix in ("courses/1", "courses/1/"):
        with pytest.raises(AccessDenied):
            links.issue_cookies(user_of(alice), "arranged", prefix)

    assert {row.reason for row in issuances()} == {
        "no row is known for the key, and PATH_POLICIES has no policy for the alias"
    }


# Sessions that a store opens for an upload.

SESSION = "https://storage.example/upload?upload_id=secret"


def session_for(principal: Principal, ttl: timedelta, start: Callable[[], str] = lambda: SESSION) -> IssuedURL:
    resource = Resource.of_file(new_file(principal.user))
    upload = Upload(str(resource.key), content_type="image/png", size_bytes=1)
    return links.issue_session(principal, resource, upload, start, ttl=ttl)


# the policy's limits, when the authority ends, the ttl of the upload, and how long the session is good and why
SESSIONS: dict[str, tuple[Limits, timedelta | None, timedelta, timedelta, str]] = {
    "as long as the upload": (Limits(), None, timedelta(days=7), timedelta(days=7), ""),
    "under a policy's limit": (Limits(max_ttl=seconds(61)), None, seconds(60), seconds(60), ""),
    "at a policy's limit": (Limits(max_ttl=seconds(60)), None, seconds(60), seconds(60), ""),
    "over a policy's limit": (Limits(max_ttl=seconds(59)), None, seconds(60), seconds(59), "policy"),
    "to the end of the authority": (Limits(), seconds(3600.5), seconds(7200), seconds(3600), "code"),
}


@pytest.mark.parametrize(("limits", "ends_in", "ttl", "life", "limited_by"), SESSIONS.values(), ids=SESSIONS)
def test_a_session_is_good_for_as_long_as_its_upload_and_never_outlives_its_authority(
    alice: Any, settings: Any, limits: Limits, ends_in: timedelta | None, ttl: timedelta, life: timedelta,
    limited_by: str,
) -> None:  # fmt: skip
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Answering(Allow(limits))}}
    before = datetime.now(UTC)
    ends_at = None if ends_in is None else before + ends_in
    issued = session_for(user_of(alice, authority_ends_at=ends_at), ttl)
    after = datetime.now(UTC)

    assert (issued.url, issued.method, issued.limited_by) == (SESSION, "PUT", limited_by)
    assert before.replace(microsecond=0) + life - seconds(1800 if ends_in else 0) <= issued.expires_at <= after + life
    assert issued.expires_at.microsecond == 0
    (row,) = issuances()
    assert (row.decision, row.operation, row.policy, row.expires_at) == (
        "issued", "Upload", "Answering", issued.expires_at,
    )  # fmt: skip
    assert row.link_id == issued.id != ""
    assert row.link_hash == audit.hash_of(SESSION)


# who answers what, and the reason that the audit has
NO_SESSIONS: dict[str, tuple[Any, Exception | None, timedelta | None, str]] = {
    "the policy says no": (Deny("not here"), None, None, "not here"),
    "the authority has ended": (Allow(), None, seconds(-1), "the authority to ask has ended"),
    "the store opens none": (Allow(), StorageUnavailable("the store opens none"), None, "the store opens none"),
    "the store's user may not": (Allow(), AccessDenied("of the store", None), None, "of the store"),
}


@pytest.mark.parametrize(("answer", "error", "ends_in", "reason"), NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_a_session_that_is_refused_or_not_opened_is_recorded_and_raised(
    alice: Any, settings: Any, answer: Any, error: Exception | None, ends_in: timedelta | None, reason: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Answering(answer)}}
    asked = []

    def start() -> str:
        asked.append(1)
        if error is not None:
            raise error
        return SESSION

    ends_at = None if ends_in is None else datetime.now(UTC) + ends_in
    with pytest.raises(type(error) if error is not None else AccessDenied):
        session_for(user_of(alice, authority_ends_at=ends_at), seconds(60), start)

    (row,) = issuances()
    assert (row.decision, row.reason, row.link_id) == ("refused", reason, "")
    assert bool(asked) == (error is not None)


# What a link shows of itself.


@pytest.fixture
def issued(alice: Any) -> IssuedURL:
    return links.issue(user_of(alice), document_of(alice))


SOMETHING = Resource.of_key("private", "uploads/a")
ANSWERED: list[Any] = [
    IssuedURL(url="https://a.example/a", method="GET", expires_at=datetime.max.replace(tzinfo=UTC), id="lnk_1",
              resource=SOMETHING),
    Permit(resource=SOMETHING, download=Download("uploads/a"), ttl=SECOND, size_bytes=1),
    Refusal(resource=SOMETHING, error=AccessDenied("no", SOMETHING), reason="no"),
    Rehearsal(resource=SOMETHING, operation=None, is_known=True, refusal="no", policy="", limits={}, limited_by="",
              seconds=1, signed_at=None),
    Way(delivery="django"),
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERED, ids=lambda answer: type(answer).__name__)
def test_what_the_door_answered_cannot_be_changed(answer: Any) -> None:
    for field in fields(answer):
        with pytest.raises(FrozenInstanceError):
            setattr(answer, field.name, getattr(answer, field.name))


@pytest.mark.parametrize("answer", ANSWERED, ids=lambda answer: type(answer).__name__)
def test_what_the_door_answers_is_made_by_names_so_that_no_text_is_taken_for_another(answer: Any) -> None:
    assert {parameter.kind for parameter in signature(type(answer)).parameters.values()} == {Parameter.KEYWORD_ONLY}


def test_a_link_of_which_no_more_is_known_says_no_more() -> None:
    link: IssuedURL = ANSWERED[0]

    assert (link.limited_by, link.filename, link.content_type, link.content_disposition, link.size_bytes) == (
        "", None, None, None, None,
    )  # fmt: skip


SHOWING: dict[str, Callable[[Any], str]] = {
    "repr": repr, "ascii": ascii, "!r": lambda link: f"{link!r}",
    "a list": lambda link: str([link]), "a dict": lambda link: str({"url": link}),
    "a tuple": lambda link: str((link,)),
    "%r": lambda link: logging.LogRecord("", 0, "", 0, "%r", (link,), None).getMessage(),
    "a logged dict": lambda link: logging.LogRecord("", 0, "", 0, "%s", ({"a": link},), None).getMessage(),
    "an exception's argument": lambda link: repr(ValueError(link)),
}  # fmt: skip


@pytest.mark.parametrize("show", SHOWING.values(), ids=SHOWING)
def test_no_representation_shows_the_signature(issued: IssuedURL, show: Any) -> None:
    signature = query_of(issued.url)["signature"]

    for link in (issued, issued.text):
        assert signature not in show(link)
        assert "?" not in show(link)


@pytest.mark.parametrize("show", [str, lambda link: f"{link}", "{}".format], ids=["str", "f-string", "format"])
def test_an_issued_url_as_text_shows_no_signature_and_its_text_is_the_link(issued: IssuedURL, show: Any) -> None:
    assert query_of(issued.url)["signature"] not in show(issued)
    assert show(issued.text) == issued.url
    assert json.dumps(issued.text) == json.dumps(issued.url)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_link_is_not_pickled(issued: IssuedURL, protocol: int) -> None:
    for link in (issued, issued.text, [issued], {"url": issued.text}):
        with pytest.raises(TypeError, match="bearer credential"):
            pickle.dumps(link, protocol)


def test_a_link_is_not_cached(issued: IssuedURL, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    for link in (issued, issued.text, {"url": issued.text}):
        with pytest.raises(TypeError):
            caches["default"].set("link", link)
        assert caches["default"].get("link") is None


def test_copies_of_a_links_text_are_itself_and_of_a_link_none(issued: IssuedURL) -> None:
    text = issued.text

    assert copy.copy(text) is text
    assert copy.deepcopy({"url": text})["url"] is text
    for copying in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(issued)


def test_a_links_text_is_text(issued: IssuedURL) -> None:
    assert isinstance(issued.text, (str, LinkText))
    assert issued.text == issued.url
    assert {issued.text: 1}[issued.url] == 1
    assert issued.text.startswith("http://testserver/")


def failing_view(request: HttpRequest) -> Any:
    link = failing_view.links[0]  # type: ignore[attr-defined]
    links_by_name = {"url": link.text, "all": failing_view.links}  # type: ignore[attr-defined]
    text = link.text
    raise ZeroDivisionError(f"{len(links_by_name)} {text!r}")


def unsafe_view(request: HttpRequest) -> Any:
    with acting_as(unsafe_view.user):  # type: ignore[attr-defined]
        return links.issue_once(unsafe_view.resource)  # type: ignore[attr-defined]


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_djangos_own_error_report_shows_no_signature(issued: IssuedURL, settings: Any, accept: str) -> None:
    settings.DEBUG, settings.ROOT_URLCONF = True, "tests.gateway.site"
    from tests.gateway.site import views

    failing_view.links = [issued]  # type: ignore[attr-defined]
    before, views.sync = views.sync, failing_view
    try:
        page = Client(raise_request_exception=False).get("/sync", headers={"accept": accept}).content.decode()
    finally:
        views.sync = before

    assert "ZeroDivisionError" in page
    assert "LinkText" in page
    assert query_of(issued.url)["signature"] not in page


@pytest.mark.parametrize("lie", ["another host", "another method", "a longer life", "a fragment"])
def test_the_report_of_a_link_that_did_not_leave_shows_none_of_it(
    alice: Any, arranged: Any, settings: Any, lie: str
) -> None:
    made: list[SignedURL] = []

    def remembered(signed: SignedURL) -> Any:
        made.append(LIES[lie](signed))
        return made[-1]

    settings.DEBUG, settings.ROOT_URLCONF = True, "tests.gateway.site"
    from tests.gateway.site import views

    unsafe_view.user, unsafe_view.resource = alice, arranged(provider=lying(remembered))  # type: ignore[attr-defined]
    before, views.sync = views.sync, unsafe_view
    try:
        page = visit("/sync").content.decode()
    finally:
        views.sync = before

    assert "UnsafeLink" in page
    assert signature_of(made[0]).partition("#")[0] not in page


def test_a_refusal_and_its_error_show_no_secret(alice: Any, bob: Any) -> None:
    answer = links.issue_many(user_of(alice), [document_of(bob)])[0]

    assert isinstance(answer, Refusal)
    assert "signature" not in repr(answer).lower()


def test_a_storage_may_have_a_policy_for_rows_that_have_none(alice: Any, settings: Any) -> None:
    invoice = Invoice(number="1", file="uploads/1.pdf")
    invoice.save_base(raw=True)
    resource = Resource.of_field(invoice, "file")
    assert links.policy_for(resource) is policies.DEFAULT_POLICY
    settings.GATEWAY = settings.GATEWAY | {"STORAGE_POLICIES": {"private": "gateway.policies.Authenticated"}}
    assert str(links.policy_for(resource)) == "Authenticated"
    assert links.issue(user_of(alice), resource).method == "GET"
    # A field that a client may name has a policy of its own, and this is none.
    assert not links.may_be_named(resource)
    assert str(links.policy_for(Resource.of_field(new_document(alice), "file"))).startswith("Owner")
    assert links.policy_for(Resource.of_file(new_file(alice))) is policies.FILE_POLICY
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"hostapp.Invoice": "gateway.policies.StaffOnly"}}
    assert str(links.policy_for(resource)) == "StaffOnly"


def test_what_is_still_to_come_under_a_bare_key_is_decided_by_the_policy_of_uploads(settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"private": Everyone()}}
    bare = Resource.of_key("private", "uploads/a")

    assert isinstance(links.policy_for(bare), Everyone)
    assert links.policy_for(replace(bare, is_new=True)) is policies.UPLOAD_POLICY
