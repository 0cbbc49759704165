"""The permalink decides whenever it is followed, and is silent about everything it does not give."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import OperationalError, connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway import throttling
from gateway.models import ApiToken, File, FileState, Issuance
from gateway.policies import Allow, Composable, Limits
from tests.gateway.delivery.support import STACKS, Answer, follow, put_file
from tests.hostapp.models import Document, Invoice

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.gateway.delivery.urls"),
    pytest.mark.parametrize("stack", STACKS),
]

CONTENT = b"%PDF-1.7 and so on"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


def make_file(owner: Any, **changes: Any) -> File:
    key = f"uploads/2026/11/{uuid.uuid4().hex}/a.pdf"
    put_file(key, CONTENT)
    values = {
        "owner": owner,
        "storage_alias": "private",
        "key": key,
        "filename": "Überblick.pdf",
        "content_type": "application/pdf",
        "size_bytes": len(CONTENT),
    }
    return File.objects.create(**(values | changes))


@pytest.fixture
def file(alice: Any) -> File:
    return make_file(alice)


@pytest.fixture
def document(alice: Any) -> Document:
    document = Document(owner=alice, title="a")
    document.file.save("report.pdf", ContentFile(CONTENT))
    return document


def session_of(user: Any) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    return {"sessionid": client.cookies["sessionid"].value}


def token_of(user: Any, *, scopes: tuple[str, ...] = ("Download",), hours: float = 1) -> str:
    token = ApiToken.mint(user=user, name="t", scopes=list(scopes), expires_at=timezone.now() + timedelta(hours=hours))
    return f"Bearer {token[1]}"


def permalink_to(what: File | Document | str) -> str:
    match what:
        case File():
            reference = str(what.pk)
        case Document():
            reference = f"hostapp.document:{what.pk}:file"
        case _:
            reference = what
    return reverse("presign_gateway:permalink", kwargs={"reference": reference})


def ask(stack: str, what: File | Document | str, user: Any = None, **options: Any) -> Answer:
    if user is not None:
        options["cookies"] = session_of(user)
    return follow(stack, permalink_to(what), **options)


def told(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """All that a client learns, but the name of its own request."""
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.status, answer.body, headers


# --- who may have it is sent to it -------------------------------------------------------------------------


def test_the_owner_is_redirected_to_a_link_that_serves_the_file(stack: str, file: File, alice: Any) -> None:
    answer = ask(stack, file, alice, headers=BROWSER)
    location = answer.headers["Location"]
    assert (answer.status, answer.body) == (302, b"")
    assert location.startswith(f"http://testserver/local/private/{file.key}?")
    assert set(answer.headers["Cache-Control"].split(", ")) == {"no-store", "private"}
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    got = follow(stack, location)
    assert (got.status, got.body) == (200, CONTENT)
    assert got.headers["Content-Type"] == "application/pdf"


def test_a_host_that_requires_a_log_in_everywhere_leaves_both_addresses_to_decide(
    stack: str, file: File, alice: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    link = ask(stack, file, headers={"Authorization": token_of(alice)}).headers["Location"]
    assert follow(stack, link).body == CONTENT
    assert ask(stack, file).status == 401


def test_the_link_is_recorded_as_issued(stack: str, file: File, alice: Any) -> None:
    ask(stack, file, alice)
    row = Issuance.objects.get()
    assert (row.decision, row.principal, row.operation) == ("issued", f"user:{alice.pk}", "Download")
    assert row.link_hash


def test_a_field_of_a_host_is_followed_by_its_reference(stack: str, document: Document, alice: Any) -> None:
    answer = ask(stack, document, alice)
    assert answer.status == 302
    assert follow(stack, answer.headers["Location"]).body == CONTENT


def test_a_token_is_as_good_as_a_session(stack: str, file: File, alice: Any) -> None:
    answer = ask(stack, file, headers={"Authorization": token_of(alice)})
    assert answer.status == 302
    assert Issuance.objects.get().credential.startswith("token:")


def test_every_visit_decides_anew(stack: str, file: File, alice: Any, bob: Any) -> None:
    assert ask(stack, file, alice).status == 302
    File.objects.filter(pk=file.pk).update(owner=bob)
    assert ask(stack, file, alice).status == 404
    assert ask(stack, file, bob).status == 302


def test_no_link_outlives_the_token_that_asked(stack: str, file: File, alice: Any) -> None:
    ask(stack, file, headers={"Authorization": token_of(alice, hours=100 / 3600)})
    expires_at = Issuance.objects.get().expires_at
    assert expires_at is not None
    assert expires_at <= timezone.now() + timedelta(seconds=100)


# --- everything else is the same 404 -----------------------------------------------------------------------

Make = Callable[[Any], File | Document | str]


def _empty_document(alice: Any) -> Document:
    return Document.objects.create(owner=alice)


def _field_without_a_policy(alice: Any) -> str:
    invoice = Invoice(number="1")
    invoice.file.save("a.pdf", ContentFile(CONTENT))
    alice.is_superuser = True
    alice.save()
    return f"hostapp.invoice:{invoice.pk}:file"


def _document_of(change: Callable[[int], str]) -> Make:
    def make(alice: Any) -> str:
        document = Document(owner=alice)
        document.file.save("report.pdf", ContentFile(CONTENT))
        return change(document.pk)

    return make


NOWHERE = str(uuid.uuid4())
NOT_FOUND: dict[str, Make] = {
    "nothing-of-that-name": lambda alice: NOWHERE,
    "another-user's": lambda alice: make_file(type(alice).objects.create_user("carol")),
    "being-deleted": lambda alice: make_file(alice, state=FileState.DELETING),
    "deleted": lambda alice: make_file(alice, state=FileState.DELETED),
    "capitals": lambda alice: str(make_file(alice).pk).upper(),
    "no-hyphens": lambda alice: make_file(alice).pk.hex,
    "braces": lambda alice: f"{{{make_file(alice).pk}}}",
    "something-after": lambda alice: f"{make_file(alice).pk}/",
    "key": lambda alice: make_file(alice).key,
    "traversal": lambda alice: "../../etc/passwd",
    "long": lambda alice: "x" * 2000,
    "nul": lambda alice: "a\0",
    "full-width-digits": lambda alice: NOWHERE.replace("1", "１"),
    "document-of-another-user": lambda alice: Document.objects.create(owner=None, title="b"),
    "document-without-a-file": _empty_document,
    "no-such-document": lambda alice: "hostapp.document:999999:file",
    "no-such-field": _document_of(lambda pk: f"hostapp.document:{pk}:nothing"),
    "field-that-is-no-file": _document_of(lambda pk: f"hostapp.document:{pk}:title"),
    "no-such-model": lambda alice: "hostapp.nothing:1:file",
    "no-such-app": lambda alice: "nothing.document:1:file",
    "pk-in-another-spelling": _document_of(lambda pk: f"hostapp.document:0{pk}:file"),
    "pk-with-a-space": _document_of(lambda pk: f"hostapp.document: {pk}:file"),
    "pk-that-is-no-number": lambda alice: "hostapp.document:one:file",
    "pk-that-no-column-holds": lambda alice: f"hostapp.document:{2**63}:file",
    "field-without-a-policy": _field_without_a_policy,
    "gateway's-own-field": lambda alice: "presign_gateway.file:1:key",
}


@pytest.mark.parametrize("make", NOT_FOUND.values(), ids=NOT_FOUND)
def test_what_one_may_not_have_looks_like_what_is_not_there(stack: str, alice: Any, make: Make) -> None:
    answer = ask(stack, make(alice), alice, headers=BROWSER)
    assert answer.status == 404
    assert told(answer) == told(ask(stack, NOWHERE, alice, headers=BROWSER))
    assert "X-Request-ID" in answer.headers
    assert not Issuance.objects.filter(decision="issued").exists()


QUERIES = {
    "ttl": "ttl=60",
    "disposition": "disposition=inline",
    "next": "next=https://evil.example/",
    "unknown": "utm_source=mail",
    "no-name": "=",
    "no-value": "ttl",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_nothing_can_be_chosen_by_parameters(stack: str, file: File, alice: Any, query: str) -> None:
    answer = follow(stack, f"{permalink_to(file)}?{query}", cookies=session_of(alice))
    assert not Issuance.objects.exists()
    assert told(answer) == told(ask(stack, NOWHERE, alice))


def test_a_denial_costs_as_many_queries_as_nothing_there(stack: str, file: File, bob: Any) -> None:
    cookies = session_of(bob)
    counts = []
    for what in (file, NOWHERE):
        with CaptureQueriesContext(connection) as queries:
            ask(stack, what, cookies=cookies)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_denial_is_recorded_and_one_request_stands_for_its_minute(stack: str, file: File, bob: Any) -> None:
    ask(stack, file, bob)
    row = Issuance.objects.get()
    assert (row.decision, row.principal, row.link_hash) == ("refused", f"user:{bob.pk}", "")


def test_a_token_without_the_scope_gets_nothing(stack: str, file: File, alice: Any) -> None:
    answer = ask(stack, file, headers={"Authorization": token_of(alice, scopes=("Upload",))})
    assert answer.status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_allowed(stack: str, file: File, alice: Any, method: str) -> None:
    # Without the token of a form Django refuses some of them earlier, which is as good.
    answer = ask(stack, file, headers={"Authorization": token_of(alice)}, method=method)
    assert answer.status in (403, 405)
    if answer.status == 405:
        assert answer.headers["Allow"] == "GET, HEAD"
    assert not Issuance.objects.exists()


# --- who is not known --------------------------------------------------------------------------------------

# name: headers, whether they are a browser's
STRANGERS: dict[str, tuple[dict[str, str], bool]] = {
    "browser": (BROWSER, True),
    "new-browser": (BROWSER | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}, True),
    "browser-from-a-mail": (
        BROWSER | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
        True,
    ),
    "html-with-parameters": ({"Accept": "text/html;level=1;q=0.1"}, True),
    "nothing-said": ({}, False),
    "anything": ({"Accept": "*/*"}, False),
    "any-text": ({"Accept": "text/*"}, False),
    "json": ({"Accept": "application/json"}, False),
    "no-html": ({"Accept": "application/json, text/html;q=0"}, False),
    "image": ({"Accept": "image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Mode": "no-cors"}, False),
    "script-that-fetches-html": (BROWSER | {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, False),
    "bad-token": (BROWSER | {"Authorization": f"Bearer pgw_{'a' * 43}"}, False),
    "basic-authorization": (BROWSER | {"Authorization": "Basic YTpi"}, False),
    "garbage": ({"Accept": "\x01;;q=,/"}, False),
}


@pytest.mark.parametrize(("headers", "is_browser"), STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_asked_who_it_is_whatever_is_there(
    stack: str, file: File, headers: dict[str, str], is_browser: bool
) -> None:
    for method, reference in itertools.product(("GET", "HEAD"), (str(file.pk), NOWHERE, "no reference")):
        answer = ask(stack, reference, headers=headers, method=method)
        if is_browser:
            path = permalink_to(reference)
            assert (answer.status, QueryDict(urlsplit(answer.headers["Location"]).query)["next"]) == (302, path)
        else:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert answer.body == b"A valid identity is needed.\n"
        assert set(answer.headers["Cache-Control"].split(", ")) == {"no-store", "private"}
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert not Issuance.objects.exists()


ODD_KEYS = {"slash": "a/b", "percent": "a%2Fb", "question": "a?b", "hash": "a#b", "quote": "a'b", "text": "ä b"}


@pytest.mark.parametrize("reference", ODD_KEYS.values(), ids=ODD_KEYS)
def test_the_way_back_from_the_log_in_page_is_the_permalink(stack: str, reference: str) -> None:
    path = permalink_to(f"hostapp.document:{reference}:file")
    answer = follow(stack, path + "?next=https://evil.example/", headers=BROWSER)
    location = urlsplit(answer.headers["Location"])
    assert (location.scheme, location.netloc, location.path) == ("", "", "/log-in")
    assert QueryDict(location.query).dict() == {"next": path}


def test_a_failing_header_is_not_saved_by_a_session(stack: str, file: File, alice: Any) -> None:
    answer = ask(stack, file, alice, headers=BROWSER | {"Authorization": "Bearer nothing"})
    assert answer.status == 401


def test_two_identities_are_none(stack: str, file: File, alice: Any, bob: Any) -> None:
    answer = ask(stack, file, alice, headers={"Authorization": token_of(bob)})
    assert answer.status == 401


def test_an_inactive_user_is_nobody(stack: str, file: File, alice: Any) -> None:
    cookies, token = session_of(alice), token_of(alice)
    alice.is_active = False
    alice.save()
    assert ask(stack, file, cookies=cookies).status == 401
    assert ask(stack, file, headers={"Authorization": token}).status == 401


# --- pages of other sites ----------------------------------------------------------------------------------

# name: headers, status for the owner
SITES: dict[str, tuple[dict[str, str], int]] = {
    "old-client": ({}, 302),
    "typed": ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 302),
    "image-of-the-same-origin": ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}, 302),
    "image-of-the-same-site": ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 302),
    "followed-from-elsewhere": (
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        302,
    ),
    "followed-without-a-destination": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 302),
    "image": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 404),
    "fetch": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 404),
    "frame": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 404),
    "object": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"}, 404),
    "no-mode": ({"Sec-Fetch-Site": "cross-site"}, 404),
}


@pytest.mark.parametrize(("headers", "status"), SITES.values(), ids=SITES)
def test_other_sites_may_lead_here_and_not_load_from_here(
    stack: str, file: File, alice: Any, headers: dict[str, str], status: int
) -> None:
    answer = ask(stack, file, alice, headers=headers)
    assert answer.status == status
    assert Issuance.objects.exists() is (status == 302)
    # Whether it is there is no matter: not for the owner, and not for a stranger.
    if status == 404:
        assert ask(stack, NOWHERE, alice, headers=headers).body == answer.body
        assert ask(stack, file, headers=headers).status == 404


HOSTS = {"x-forwarded-host": {"X-Forwarded-Host": "evil.example"}, "forwarded": {"Forwarded": "host=evil.example"},
         "x-forwarded-proto": {"X-Forwarded-Proto": "https"}, "localhost": {"Host": "localhost"}}  # fmt: skip


@pytest.mark.parametrize("headers", HOSTS.values(), ids=HOSTS)
def test_no_header_says_where_the_link_leads(stack: str, file: File, alice: Any, headers: dict[str, str]) -> None:
    location = ask(stack, file, alice, headers=headers).headers["Location"]
    assert location.startswith("http://testserver/local/private/")


# --- HEAD --------------------------------------------------------------------------------------------------


def test_head_answers_with_what_is_known_and_no_link(stack: str, file: File, alice: Any) -> None:
    answer = ask(stack, file, alice, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert "Location" not in answer.headers
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert "%C3%9Cberblick.pdf" in answer.headers["Content-Disposition"]
    row = Issuance.objects.get()
    assert (row.decision, row.operation, row.link_id, row.link_hash) == ("allowed", "Download", "", "")


def test_head_says_no_length_that_it_does_not_know(stack: str, document: Document, alice: Any) -> None:
    answer = ask(stack, document, alice, method="HEAD")
    assert answer.status == 200
    assert "Content-Length" not in answer.headers
    assert answer.headers["Content-Type"] == "application/pdf"


def test_head_is_refused_as_get_is(stack: str, file: File, bob: Any) -> None:
    denied = told(ask(stack, file, bob, method="HEAD"))
    assert denied[0] == 404
    assert denied == told(ask(stack, NOWHERE, bob, method="HEAD"))
    assert set(Issuance.objects.values_list("decision", flat=True)) == {"refused"}


class Only(Composable):
    """Allows some dispositions to everybody."""

    def __init__(self, *dispositions: Literal["inline", "attachment"]) -> None:
        self.limits = Limits(dispositions=frozenset(dispositions) if dispositions else None)

    def decide(self, *_: Any) -> Allow:
        return Allow(self.limits)


LIMITS = {
    "none": Only(),
    "inline": Only("inline"),
    "attachment": Only("attachment"),
    "both": Only("inline", "attachment"),
}
TYPES = {"pdf": "application/pdf", "text": "text/plain; charset=utf-8", "svg": "image/svg+xml"}


@pytest.mark.parametrize("policy", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("content_type", TYPES.values(), ids=TYPES)
def test_head_says_what_a_link_would_answer(
    stack: str, alice: Any, settings: Any, content_type: str, policy: Any
) -> None:
    settings.GATEWAY = django_settings.GATEWAY | {"POLICIES": {"presign_gateway.File": policy}}
    file = make_file(alice, content_type=content_type)
    head, get = (ask(stack, file, alice, method=method) for method in ("HEAD", "GET"))
    if get.status != 302:
        assert told(head)[0] == told(get)[0] == 404
        return
    linked = follow(stack, get.headers["Location"])
    for name in ("Content-Type", "Content-Disposition", "Content-Length"):
        assert head.headers[name] == linked.headers[name]


# --- when something is missing -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_storage_that_is_gone_is_unavailable(stack: str, alice: Any, method: str) -> None:
    file = make_file(alice, storage_alias="nowhere")
    answer = ask(stack, file, alice, method=method)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert set(answer.headers["Cache-Control"].split(", ")) == {"no-store", "private"}
    assert b"nowhere" not in answer.body


STORES_THAT_FAIL: dict[str, Any] = {
    "gone": None,
    "not ours": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "not to be imported": {"BACKEND": "nowhere.Storage"},
    "misconfigured": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"unknown": 1}},
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("store", STORES_THAT_FAIL.values(), ids=STORES_THAT_FAIL)
def test_a_storage_that_fails_tells_a_stranger_nothing(
    stack: str, alice: Any, bob: Any, settings: Any, method: str, store: Any
) -> None:
    file = make_file(alice, storage_alias="failing")
    if store is not None:
        settings.STORAGES = settings.STORAGES | {"failing": store}
    missing = ask(stack, str(uuid.uuid4()), bob, method=method)
    assert missing.status == 404
    assert told(ask(stack, file, bob, method=method)) == told(missing)
    assert ask(stack, file, alice, method=method).status == 503


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_failed_too_often_is_told_to_wait(stack: str, file: File, alice: Any, settings: Any, method: str) -> None:
    settings.GATEWAY = settings.GATEWAY | {"FAILED_LOGINS_PER_MINUTE": 3}
    throttling.forget()
    cache.clear()
    wrong = {"Authorization": "Bearer pgw_wrong"}
    answers = [ask(stack, what, headers=wrong, method=method) for what in (file, str(uuid.uuid4())) * 2]
    throttling.forget()
    assert [answer.status for answer in answers] == [401, 401, 401, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert set(answers[-1].headers["Cache-Control"].split(", ")) == {"no-store", "private"}


TABLES = {"permissions": "presign_gateway_file", "sessions": "django_session", "users": "auth_user"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_database_that_is_gone_is_unavailable(stack: str, file: File, alice: Any, table: str, method: str) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if table in sql:
            raise OperationalError("gone")
        return execute(sql, *rest)

    cookies = session_of(alice)
    with connection.execute_wrapper(fail):
        answer = ask(stack, file, cookies=cookies, method=method)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert ask(stack, file, cookies=cookies, method=method).status == (302 if method == "GET" else 200)


def test_a_visit_asks_for_the_row_and_for_what_was_taken_back_once(stack: str, file: File, alice: Any) -> None:
    cookies = session_of(alice)
    with CaptureQueriesContext(connection) as queries:
        assert ask(stack, file, cookies=cookies, method="HEAD").status == 200
    for table in ("presign_gateway_file", "presign_gateway_epoch"):
        assert len([query for query in queries if table in query["sql"]]) == 1


def test_atomic_requests_open_no_transaction_that_could_not_be_answered(
    stack: str, file: File, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = session_of(alice)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    with CaptureQueriesContext(connection) as queries:
        assert ask(stack, file, cookies=cookies).status == 302
    assert not [query["sql"] for query in queries if "SAVEPOINT" in query["sql"]]


def test_without_a_record_no_link_leaves(stack: str, file: File, alice: Any) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if "INSERT" in sql and "issuance" in sql:
            raise OperationalError("gone")
        return execute(sql, *rest)

    cookies = session_of(alice)
    with connection.execute_wrapper(fail):
        answer = ask(stack, file, cookies=cookies)
    assert answer.status == 503
    assert "Location" not in answer.headers
    assert b"signature" not in answer.body
