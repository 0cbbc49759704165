"""Taking back: what was given before is void, what is given after is not, and the answer tells the truth."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from inspect import Parameter, signature
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.signals import request_finished, request_started
from django.db import OperationalError, close_old_connections, connection, connections, transaction
from django.utils import timezone

from gateway import epochs, links, revocation
from gateway.errors import AccessDenied, AuditUnavailable, InvalidRequest, TakenBack
from gateway.models import ApiToken, Epoch, File, Grant, Issuance, UploadSession
from gateway.policies import Allow, Limits
from gateway.principals import SYSTEM, Principal, acting_as, principal_of_user
from gateway.resources import Resource
from gateway.revocation import Living, Revoked, end_grant, revoke
from providers.types import Download, Upload
from tests.gateway.api.support import by_session, by_token
from tests.gateway.conftest import new_file, request_of
from tests.gateway.delivery.support import follow
from tests.gateway.uploads.conftest import begin

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.gateway.delivery.urls")]

S3 = {
    "BACKEND": "gateway.storages.PrivateS3Storage",
    "OPTIONS": {
        "bucket_name": "bucket", "region_name": "eu-central-1", "access_key": "AKIDEXAMPLE", "secret_key": "s" * 40,
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def connections_left_alone() -> Iterator[None]:
    """Keep Django from closing, around a request, the connection that a test's transaction is on."""
    ends = (request_started, request_finished)
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)


def of(user: Any) -> Principal:
    return Principal(kind="user", user=user)


def file_at(owner: Any, prefix: str = "uploads/a/") -> File:
    key = f"{prefix}{uuid.uuid4().hex}.pdf"
    storages["private"]._save(key, ContentFile(b"bytes"))
    return new_file(owner, key=key)


def link_to(file: File, user: Any) -> str:
    return links.issue(of(user), Resource.of_file(file)).url


def status_of(url: str, **request: Any) -> int:
    return follow("wsgi", url, **request).status


def take_back(scope: str, target: str = "") -> Revoked:
    with acting_as(SYSTEM, reason="test") as system:
        return revoke(scope, target, by=system, reason="lost laptop")


# what is taken back; of alice's link to a, bob's to a, and alice's to b, which ones end
SCOPES: dict[str, tuple[Any, tuple[bool, bool, bool]]] = {
    "object": (lambda a, alice: ("object", f"private:{a.key}"), (True, True, False)),
    "prefix": (lambda a, alice: ("object", "private:uploads/a/"), (True, True, False)),
    "upper-prefix": (lambda a, alice: ("object", "private:uploads/"), (True, True, True)),
    "half-a-name": (lambda a, alice: ("object", "private:uploads/a"), (False, False, False)),
    "other-storage's": (lambda a, alice: ("object", f"other:{a.key}"), (False, False, False)),
    "principal": (lambda a, alice: ("principal", f"user:{alice.pk}"), (True, False, True)),
    "nobody": (lambda a, alice: ("principal", "anonymous"), (False, False, False)),
    "storage": (lambda a, alice: ("storage", "private"), (True, True, True)),
    "another-storage": (lambda a, alice: ("storage", "privat"), (False, False, False)),
    "everything": (lambda a, alice: ("everything", ""), (True, True, True)),
}


@pytest.mark.parametrize(("what", "ends"), SCOPES.values(), ids=SCOPES)
def test_local_links_end_at_once_and_new_ones_do_not(alice: Any, bob: Any, what: Any, ends: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": "gateway.policies.Authenticated"}}
    a, b = file_at(alice), file_at(alice, "uploads/b/")
    asked = [(a, alice), (a, bob), (b, alice)]
    before = [link_to(*one) for one in asked]
    assert [status_of(url) for url in before] == [200, 200, 200]

    answer = take_back(*what(a, alice))

    assert [status_of(url) == 403 for url in before] == list(ends)
    assert [status_of(url) for url, has_ended in zip(before, ends, strict=True) if not has_ended] == [200] * (
        3 - sum(ends)
    )
    assert (answer.ended, answer.living) == (sum(ends), ())
    assert [status_of(link_to(*one)) for one in asked] == [200, 200, 200]


def test_the_link_of_another_tenant_lives(alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.test_revocation.TENANT"}
    file = file_at(alice)
    urls = {}
    for name in ("acme", "other"):
        monkeypatch.setattr(TENANT, "name", name)
        urls[name] = link_to(file, alice)
    assert take_back("tenant", "acme").ended == 1
    assert {name: status_of(url) for name, url in urls.items()} == {"acme": 403, "other": 200}


class Tenant:
    name = "acme"

    def of_principal(self, principal: Principal) -> str:
        return self.name

    def of_row(self, row: Any) -> str:
        return self.name


TENANT = Tenant()


@pytest.mark.parametrize("scope", ["object", "principal", "storage", "everything"])
def test_a_link_to_write_ends_too(alice: Any, scope: str) -> None:
    file = new_file(alice, key="uploads/new.bin")
    upload = Upload(file.key, content_type="image/png", size_bytes=3, overwrite=True)
    with acting_as(SYSTEM, reason="test") as system:
        first, second = (links.issue(system, Resource.of_file(file), upload) for _ in range(2))
    put = {"method": "PUT", "body": b"abc", "headers": dict(first.headers) | {"Content-Length": "3"}}
    assert status_of(first.url, **put) == 201
    targets = {"object": f"private:{file.key}", "principal": "system", "storage": "private", "everything": ""}
    take_back(scope, targets[scope])
    assert status_of(second.url, **put) == 403


def test_a_link_without_a_stamp_ends_with_whatever_it_could_be_of(alice: Any) -> None:
    file = file_at(alice)
    storage: Any = storages["private"]
    signed = storage.provider.sign(Download(file.key), ttl=timedelta(seconds=60), now=timezone.now())
    take_back("object", "private:uploads/b/")
    assert status_of(signed.url) == 200
    take_back("principal", "user:0")
    assert status_of(signed.url) == 403


def test_a_stamp_shows_nobodys_name_and_holds_through_a_rotation(alice: Any, settings: Any) -> None:
    file = file_at(alice)
    settings.SECRET_KEY_FALLBACKS = []
    url = link_to(file, alice)
    stamp = url.partition("&stamp=")[2].partition("&")[0]
    assert stamp.partition("-")[0] == "0"
    assert Epoch.digest_of("principal", f"user:{alice.pk}") not in stamp
    assert stamp != link_to(file, User.objects.create_superuser("other")).partition("&stamp=")[2].partition("&")[0]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 50, [settings.SECRET_KEY]
    assert status_of(url) == 200
    take_back("principal", f"user:{alice.pk}")
    assert status_of(url) == 403


class Sharing:
    """Allows everybody, within limits."""

    limits = Limits()

    def decide(self, *_: Any) -> Any:
        return Allow(self.limits)


# is there one link for a window of time, may several share it, and does it end with what one of them was given
SHARED: dict[str, tuple[bool, bool, bool]] = {
    "one for all": (True, True, False),
    "one for each": (True, False, True),
    "a new one each time": (False, True, True),
}


@pytest.mark.parametrize(("has_window", "is_shareable", "ends"), SHARED.values(), ids=SHARED)
def test_a_link_that_several_share_is_nobodys_to_be_taken_back_with(
    alice: Any, settings: Any, has_window: bool, is_shareable: bool, ends: bool
) -> None:
    private = settings.STORAGES["private"]
    options = private["OPTIONS"] | ({"url_window": 60} if has_window else {})
    settings.STORAGES = settings.STORAGES | {"private": private | {"OPTIONS": options}}
    policy = Sharing()
    policy.limits = Limits(shareable=is_shareable)
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": policy}}
    url = link_to(file_at(alice), alice)

    take_back("principal", f"user:{alice.pk}")

    assert status_of(url) == (403 if ends else 200)


def test_a_stamp_of_another_form_is_void() -> None:
    for stamp in ("", "x", "1-", f"-{'0' * 32}", f"{'9' * 20}-{'0' * 32}", f"1-{'0' * 31}", f"1-{'0' * 32}-"):
        assert epochs.is_void("private", "a", stamp) or not stamp


def test_without_the_database_a_good_link_is_not_served(alice: Any) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        raise OperationalError("gone")

    url = link_to(file_at(alice), alice)
    with connection.execute_wrapper(fail):
        answer = follow("wsgi", url)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert status_of(url[:-1]) == 403
    assert status_of(url) == 200


# --- credentials -------------------------------------------------------------------------------------------


@pytest.mark.urls("settings.urls")
@pytest.mark.parametrize("scope", ["principal", "tenant", "everything"])
@pytest.mark.parametrize("connect", [by_token, by_session], ids=["token", "session"])
def test_tokens_and_sessions_are_refused_from_the_next_request_on(
    alice: Any, bob: Any, settings: Any, connect: Any, scope: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.test_revocation.TENANT"}
    file, others = new_file(alice), new_file(bob)
    client, other = connect(alice), connect(bob)
    permalink = f"/f/{file.pk}"
    assert client.send("/api/v1/links", {"file": str(file.pk)}).status_code == 201
    assert client.get(permalink).status_code == 302

    answer = take_back(scope, {"principal": f"user:{alice.pk}", "tenant": "acme", "everything": ""}[scope])

    assert client.send("/api/v1/links", {"file": str(file.pk)}).status_code == 401
    assert client.get(permalink).status_code == 401
    assert client.get("/api/v1/files").status_code == 401
    of_other = other.send("/api/v1/links", {"file": str(others.pk)}).status_code
    assert of_other == (201 if scope == "principal" else 401)
    tokens = ApiToken.objects.count()
    # Whose tokens a tenant's are, only its own code can tell.
    assert answer.tokens == (0 if not tokens else {"principal": 1, "tenant": 0, "everything": 2}[scope])
    # Who logs in again, or gets another token, is as welcome as before.
    assert connect(alice).send("/api/v1/links", {"file": str(file.pk)}).status_code == 201


def test_a_token_that_does_not_know_its_number_is_as_old_as_its_row(alice: Any) -> None:
    def token_of(created_at: Any) -> Principal:
        token = ApiToken(user=alice, scopes=["Download"], created_at=created_at, expires_at=timezone.now())
        return Principal(kind="user", user=alice, token=token)

    principals = [token_of(timezone.now() - timedelta(seconds=1))]
    take_back("principal", f"user:{alice.pk}")
    principals.append(token_of(timezone.now() + timedelta(seconds=1)))
    found = [epochs.void_credential(principal, "", epochs.now(principal)) for principal in principals]
    assert "was taken back" in found[0]
    assert found[1] == ""


def test_code_that_acts_for_a_user_is_no_credential_of_the_user(alice: Any) -> None:
    file = file_at(alice)
    take_back("principal", f"user:{alice.pk}")
    assert status_of(link_to(file, alice)) == 200


# what is taken back, and whose it is called
VOID = {
    "principal": (lambda alice: f"user:{alice.pk}", "what the user was given before "),
    "tenant": (lambda alice: "acme", "what the tenant was given before "),
    "everything": (lambda alice: "", "what everything was given before "),
}


@pytest.mark.parametrize("scope", VOID)
def test_the_door_refuses_a_session_that_was_taken_back_within_its_request(
    alice: Any, client: Any, settings: Any, scope: str
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"TENANT": "tests.gateway.test_revocation.TENANT"}
    target, reason = VOID[scope]
    client.force_login(alice)
    file = file_at(alice)
    with request_of(alice, session=client.session) as lease:
        principal = principal_of_user(lease.request, alice)
        assert principal.credential == "session"
        revoke(scope, target(alice), by=principal)
        with pytest.raises(AccessDenied) as refused:
            links.issue(principal, Resource.of_file(file))
    assert refused.value.reason.startswith(reason)


# --- between the decision and the record ---------------------------------------------------------------------


class Racing:
    """Somebody takes something back while the policy is asked."""

    what: tuple[str, str] = ("everything", "")

    def decide(self, *_: Any) -> Any:
        with acting_as(SYSTEM, reason="race", allow_in_request=True) as system:
            revoke(*self.what, by=system)
        return Allow(Limits())


@pytest.mark.parametrize(
    ("what", "leaves"),
    [(("everything", ""), False), (("storage", "private"), False), (("object", "private:uploads/"), False),
     (("principal", "self"), False), (("object", "private:elsewhere/"), True), (("principal", "user:0"), True)],
    ids=["everything", "storage", "prefix", "principal", "another-prefix", "another-principal"],
)  # fmt: skip
def test_no_link_leaves_that_was_taken_back_while_it_was_made(
    alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, what: tuple[str, str], leaves: bool
) -> None:
    scope, target = what
    monkeypatch.setattr(Racing, "what", (scope, target.replace("self", f"user:{alice.pk}")))
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Racing()}}
    resource = Resource.of_file(file_at(alice))
    if leaves:
        assert status_of(links.issue(of(alice), resource).url) == 200
    else:
        with pytest.raises(TakenBack):
            links.issue(of(alice), resource)


@pytest.mark.urls("settings.urls")
def test_in_a_request_the_answer_is_then_503_without_a_link(alice: Any, settings: Any) -> None:
    client, file = by_token(alice), new_file(alice)
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Racing()}}
    response = client.send("/api/v1/links", {"file": str(file.pk)})
    assert (response.status_code, response.json()["code"]) == (503, "taken_back")
    assert "signature" not in response.content.decode()


# --- what the answer says ------------------------------------------------------------------------------------


def test_cloud_links_live_on_and_the_answer_says_until_when(alice: Any, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"cloud": S3}
    file = new_file(alice, storage_alias="cloud")
    issued = [
        links.issue(of(alice), Resource.of_file(file), ttl=timedelta(seconds=seconds)) for seconds in (60, 120, 90)
    ]
    local = link_to(file_at(alice), alice)
    Issuance.objects.bulk_create([_expired(alice)])

    answer = take_back("principal", f"user:{alice.pk}")

    assert answer.ended == 1
    assert [(living.storage_alias, living.links, living.until) for living in answer.living] == [
        ("cloud", 3, max(link.expires_at for link in issued))
    ]
    assert status_of(local) == 403


def test_links_of_every_local_storage_are_counted_together(alice: Any, settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {"another": settings.STORAGES["private"]}
    for alias in ("another", "private", "private"):
        links.issue(of(alice), Resource.of_file(new_file(alice, storage_alias=alias)))

    assert take_back("everything").ended == 3


def test_what_is_older_than_any_link_becomes_is_not_looked_at(alice: Any) -> None:
    row = _expired(alice)
    row.at, row.expires_at = timezone.now() - timedelta(days=7, hours=1), timezone.now() + timedelta(hours=1)
    Issuance.objects.bulk_create([row])

    assert take_back("everything").living == ()


def test_links_of_a_storage_that_is_gone_may_live_on(alice: Any) -> None:
    row = _expired(alice)
    row.storage_alias, row.expires_at = "gone", timezone.now() + timedelta(minutes=5)
    Issuance.objects.bulk_create([row])

    answer = take_back("everything")

    assert (answer.ended, [(living.storage_alias, living.links) for living in answer.living]) == (0, [("gone", 1)])


def test_links_of_an_upload_that_its_store_has_forgotten_are_not_alive(alice: Any) -> None:
    rows = [_expired(alice) for _ in range(3)]
    for row, (alias, key) in zip(rows, [("private", "a"), ("gone", "a"), ("gone", "b")], strict=True):
        row.storage_alias, row.key, row.expires_at = alias, key, timezone.now() + timedelta(minutes=5)
    Issuance.objects.bulk_create(rows)
    forgotten = frozenset({("private", "a"), ("gone", "a"), ("other", "b")})

    ended, living = revocation._links_of("everything", "", timezone.now(), forgotten)

    # A link of a local storage ends now, whatever became of its upload.
    assert (ended, [(of_one.storage_alias, of_one.links) for of_one in living]) == (1, [("gone", 1)])


class Replicas:
    """Sends reads to a replica, which is behind, or not there."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"


def test_links_and_tokens_are_counted_where_they_are_written(alice: Any, settings: Any) -> None:
    ApiToken.mint(user=alice, name="t", scopes=["Download"], expires_at=timezone.now() + timedelta(days=1))
    link_to(file_at(alice), alice)
    settings.DATABASE_ROUTERS = [f"{__name__}.Replicas"]

    answer = take_back("everything")

    assert (answer.ended, answer.tokens) == (1, 1)


class Elsewhere(Replicas):
    """Sends the audit, unless told otherwise, to a database that is not there."""

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "replica" if model is Issuance else "default"


def test_links_are_counted_in_the_database_of_the_audit(alice: Any, settings: Any) -> None:
    link_to(file_at(alice), alice)
    settings.GATEWAY = settings.GATEWAY | {"AUDIT_DATABASE": "default"}
    settings.DATABASE_ROUTERS = [f"{__name__}.Elsewhere"]

    assert take_back("everything").ended == 1


def _expired(user: Any) -> Issuance:
    at = timezone.now() - timedelta(minutes=10)
    return Issuance(
        at=at, decision="issued", principal=f"user:{user.pk}", operation="Download", storage_alias="cloud",
        resource="x", expires_at=at + timedelta(minutes=5),
    )  # fmt: skip


MADE: list[Any] = [
    Living(storage_alias="cloud", links=1, until=timezone.now()),
    Revoked(scope="tenant", target="acme", number=1, at=timezone.now(), ended=0, tokens=0, uploads=0, living=()),
]


@pytest.mark.parametrize("answer", MADE, ids=lambda answer: type(answer).__name__)
def test_what_is_answered_is_made_by_names_and_not_changed(answer: Any) -> None:
    values = {field.name: getattr(answer, field.name) for field in fields(answer)}

    assert type(answer)(**values) == answer
    assert {parameter.kind for parameter in signature(type(answer)).parameters.values()} == {Parameter.KEYWORD_ONLY}
    for name, value in values.items():
        with pytest.raises(FrozenInstanceError):
            setattr(answer, name, value)


def test_it_is_recorded_who_took_what_back_and_why(alice: Any) -> None:
    with acting_as(alice) as principal:
        revoke("object", "private:a/b\x85.pdf"[:11], by=principal, reason="lost laptop")
    row = Issuance.objects.get()
    assert (row.decision, row.operation, row.principal, row.resource, row.storage_alias, row.key, row.reason) == (
        "revoked", "Revoke", f"user:{alice.pk}", "object:private:a/b", "private", "a/b", "lost laptop"
    )  # fmt: skip
    assert row.request_id == ""  # there was none


# what is taken back, and what the record names
NAMED = {
    "an object": ("object", "private:a/b", ("private", "a/b", "object:private:a/b")),
    "a storage": ("storage", "private", ("private", "", "storage:private")),
    "everything": ("everything", "", ("", "", "everything")),
    "a principal": ("principal", "user:1", ("", "", "principal:user:1")),
}


@pytest.mark.parametrize(("scope", "target", "named"), NAMED.values(), ids=NAMED)
def test_the_record_names_what_was_taken_back(scope: str, target: str, named: tuple[str, str, str]) -> None:
    take_back(scope, target)
    (row,) = Issuance.objects.all()
    assert (row.storage_alias, row.key, row.resource) == named


@pytest.mark.parametrize("scope", ["principal", "object", "storage"])
def test_tokens_are_counted_with_what_they_end_with(alice: Any, bob: Any, scope: str) -> None:
    for user in (alice, bob):
        ApiToken.mint(user=user, name="t", scopes=["Download"], expires_at=timezone.now() + timedelta(days=1))
    # An alias may be called as users are.
    assert take_back(scope, f"user:{alice.pk}").tokens == (1 if scope == "principal" else 0)


def test_the_record_names_the_request_that_took_something_back(alice: Any) -> None:
    with request_of(alice) as lease:
        revoke("everything", by=of(alice))
        (row,) = lease.pending or Issuance.objects.all()

    assert row.request_id == lease.request_id != ""


REACHED = {"principal": 255, "acted_by": 255, "storage_alias": 64, "reason": 255, "resource": 512}


def test_a_name_that_no_column_holds_is_cut(alice: Any) -> None:
    alice.pk = "9" * 300
    revoke("storage", "s" * 600, by=replace(of(alice), outer="a" * 300), reason="r" * 300)
    (row,) = Issuance.objects.all()
    lengths = {name: len(getattr(row, name)) for name in REACHED}
    assert lengths == REACHED
    assert len(Epoch.objects.get(scope="storage").reason) == 255
    revoke("object", f"{'s' * 600}:a", by=of(alice))
    assert Issuance.objects.get(key="a").storage_alias == "s" * 64


REFUSED: dict[str, tuple[str, str]] = {
    "unknown-scope": ("link", "lnk_1"),
    "the-counter": ("counter", "x"),
    "no-target": ("principal", ""),
    "a-target-of-everything": ("everything", "x"),
    "no-alias": ("object", ":a"),
    "no-key": ("object", "private:"),
    "no-separator": ("object", "private"),
    "a-key-that-is-none": ("object", "private:a/../b"),
    "a-slash": ("object", "private:/"),
}


@pytest.mark.parametrize(("scope", "target"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_back(scope: str, target: str) -> None:
    with pytest.raises(InvalidRequest):
        take_back(scope, target)
    assert Epoch.current_number() == 0
    assert not Issuance.objects.exists()


def test_what_cannot_be_recorded_is_not_done(alice: Any) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if "INSERT" in sql and "issuance" in sql:
            raise OperationalError("full")
        return execute(sql, *rest)

    url = link_to(file_at(alice), alice)
    with connection.execute_wrapper(fail), pytest.raises(AuditUnavailable):
        take_back("everything")
    assert Epoch.current_number() == 0
    assert status_of(url) == 200


def test_a_row_is_one_thing_however_often_it_is_taken_back(alice: Any) -> None:
    numbers = [take_back("storage", "private").number for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert sorted(Epoch.objects.values_list("scope", "number")) == [("counter", 3), ("storage", 3)]


@pytest.mark.django_db(transaction=True)
def test_numbers_become_visible_in_their_order(postgres_database: Any) -> None:
    """Otherwise a link made after the later commit would be newer than what is committed after it."""
    take_back("storage", "private")
    done: list[int] = []

    def second() -> None:
        done.append(take_back("storage", "b").number)
        connections.close_all()

    thread = threading.Thread(target=second)
    with transaction.atomic():
        first = take_back("storage", "a").number
        thread.start()
        thread.join(0.3)
        assert done == []  # waits for the first to commit
    thread.join(10)
    assert (first, done) == (2, [3])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [True, False], ids=["in a transaction", "at once"])
def test_an_open_upload_is_given_up_once_it_is_committed(alice: Any, inside: bool) -> None:
    """At the stores: tests/gateway/uploads/test_taking_back.py."""
    mine, other = begin(alice).session, begin(alice).session
    with transaction.atomic() if inside else nullcontext():
        answer = take_back("object", f"private:{mine.key}")
        assert UploadSession.objects.get(pk=mine.pk).state == ("issued" if inside else "aborted")
    assert (answer.uploads, answer.ended, answer.living) == (1, 1, ())
    assert dict(UploadSession.objects.values_list("pk", "state")) == {mine.pk: "aborted", other.pk: "issued"}


@pytest.mark.parametrize("reason", [{}, {"reason": "lost laptop"}], ids=["no reason", "a reason"])
def test_everything_needs_no_target_and_the_record_no_reason(reason: dict[str, str]) -> None:
    with acting_as(SYSTEM, reason="test") as system:
        revoked = revoke("everything", by=system, **reason)
    assert (revoked.scope, revoked.target, revoked.number) == ("everything", "", 1)
    assert [row.reason for row in Issuance.objects.all()] == [reason.get("reason", "test")]  # else why somebody acts
    assert Epoch.objects.get(scope=Epoch.Scope.EVERYTHING).reason == reason.get("reason", "")


@pytest.mark.parametrize("reason", [{}, {"reason": "left the company"}], ids=["no reason", "a reason"])
def test_a_grant_that_ends_is_gone_and_so_are_the_links_to_what_it_was_for(alice: Any, reason: dict[str, str]) -> None:
    file, other = file_at(alice), file_at(alice)
    grant = Grant.objects.create(storage_alias="private", key=file.key, operations=["Download"], user=alice)
    number = grant.pk
    urls = [link_to(file, alice), link_to(other, alice)]
    with acting_as(SYSTEM, reason="test") as system:
        ended = end_grant(grant, by=system, **reason)
    assert not Grant.objects.filter(pk=number).exists()
    assert (ended.scope, ended.target, ended.ended) == (Epoch.Scope.OBJECT, f"private:{file.key}", 1)
    assert Epoch.objects.get(scope=Epoch.Scope.OBJECT).reason == reason.get("reason", f"grant {number}")
    assert [status_of(url) for url in urls] == [403, 200]
