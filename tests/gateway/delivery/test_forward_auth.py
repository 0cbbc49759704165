"""A server that asks before it sends: exactly the canonical path of what the visitor may have, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.db import OperationalError, connection
from django.test import Client, override_settings

from gateway.delivery.forward_auth import HEADERS, SECRET_HEADER
from gateway.models import Issuance
from tests.emulators.web import WebServer
from tests.gateway.delivery.front import FILES, NAMES, Got, Site, ask, content_of
from tests.gateway.test_overtaking import take_back

NAMED = {name: key for name, key in NAMES.items() if name not in ("missing", "key-long", "key-deep")}
PLACES = {"nginx": ("nginx", "/guarded/"), "nginx-bucket": ("nginx", "/store/"), "caddy": ("caddy", "/guarded/")}


class Front:
    def __init__(self, server: WebServer, prefix: str, site: Site) -> None:
        self.server, self.prefix, self.site = server, prefix, site

    def ask(self, path: str, headers: dict[str, str] | None = None, *, who: int = 0, method: str = "GET") -> Got:
        return ask(self.server, self.prefix + path, self.site.token(who) | (headers or {}), method=method)


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def front(request: pytest.FixtureRequest, site: Site) -> Front:
    server, prefix = request.param
    return Front(request.getfixturevalue(server), prefix, site)


# --- through the servers -----------------------------------------------------------------------------------


def test_every_name_that_is_a_key_is_its_own_file_and_its_owner_s(front: Front) -> None:
    wrong = {}
    for name, key in NAMED.items():
        path = f"alice/{quote(key, safe='/~')}"
        own, other = front.ask(path), front.ask(path, who=1)
        if ((own.status, own.body), other.status) != ((200, content_of(f"alice/{key}")), 403):
            wrong[name] = own.status, other.status
    assert wrong == {}


def test_the_bytes_come_with_what_was_decided_about_them(front: Front) -> None:
    image, page = front.ask(f"alice/{FILES['image']}"), front.ask(f"alice/{FILES['page']}")
    assert image.headers["content-type"] == "image/png"
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment;")
    for answer in (image, page):
        assert answer.repeated == ()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["cache-control"] == "private, no-cache"
        assert not [name for name in answer.headers if name.startswith(("x-gateway", "x-amz"))]


def test_ranges_and_head_work_as_on_any_file(front: Front) -> None:
    content = content_of(f"alice/{FILES['image']}")
    part = front.ask(f"alice/{FILES['image']}", {"Range": "bytes=2-4"})
    assert (part.status, part.body) == (206, content[2:5])
    head = front.ask(f"alice/{FILES['image']}", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(content)))


# What is asked for below the prefix, and the statuses that may come back. No row ever brings a file's bytes:
# a server that makes a path canonical first may find nothing there, but never another one's file.
HOSTILE = {
    "parent": ("alice/../bob/images/a.png", {403, 404}),
    "encoded-parent": ("alice/%2e%2e/bob/images/a.png", {403, 404}),
    "encoded-slash": ("alice/..%2fbob/images/a.png", {403, 404}),
    "all-encoded": ("alice/%2e%2e%2fbob%2fimages%2fa.png", {403, 404}),
    "double-encoded": ("alice/%252e%252e/bob/images/a.png", {403, 404}),
    "encoded-letter": ("%61lice/images/a.png", {403}),
    "small-hexadecimal": ("alice/d/%c3%9cberblick.pdf", {403}),
    "double-slash": ("alice//images/a.png", {403, 404}),
    "leading-slash": ("/alice/images/a.png", {403, 404}),
    "dot": ("alice/./images/a.png", {403, 404}),
    "trailing-dot": ("alice/images/a.png.", {403}),
    "trailing-slash": ("alice/images/a.png/", {403, 404}),
    "directory": ("alice/images/", {403, 404}),
    "root": ("", {403, 404}),
    "backslash": ("alice\\..\\bob\\images\\a.png", {400, 403, 404}),
    "encoded-backslash": ("alice/..%5cbob/images/a.png", {403, 404}),
    "nul": ("alice/images/a.png%00", {400, 403, 404}),
    "new-line": ("alice/images/a.png%0d%0aX-User:%20admin", {400, 403, 404}),
    "query": ("alice/images/a.png?token=A&token=B", {403}),
    "empty-query": ("alice/images/a.png?", {403}),
    "not-utf-8": ("alice/images/%FF.png", {400, 403, 404}),
    "overlong": ("alice/..%C0%AFbob/images/a.png", {400, 403, 404}),
    "bad-escape": ("alice/%zz", {400, 403, 404}),
    "someone-else": ("bob/images/a.png", {403}),
    "missing": ("alice/not/there.txt", {404}),
}


@pytest.mark.parametrize(("path", "statuses"), HOSTILE.values(), ids=HOSTILE)
def test_no_other_spelling_brings_a_file(front: Front, path: str, statuses: set[int]) -> None:
    answer = front.ask(path)
    assert answer.status in statuses
    for user in ("alice", "bob"):
        assert content_of(f"{user}/{FILES['image']}") not in answer.body


@pytest.mark.parametrize(
    "path",
    ["/guarded/../guarded/bob/images/a.png", "/x/..%2fguarded/alice/images/a.png", "/guarde%64/alice/images/a.png",
     "//guarded/alice/images/a.png", "/GUARDED/alice/images/a.png", "/guarded", "/guardedalice/images/a.png"],
    ids=["around", "encoded-around", "escaped-prefix", "two-slashes", "capitals", "no-slash", "glued"],
)  # fmt: skip
@pytest.mark.parametrize("server", ["nginx", "caddy"])
def test_no_other_way_to_the_prefix_brings_a_file(
    request: pytest.FixtureRequest, site: Site, server: str, path: str
) -> None:
    answer = ask(request.getfixturevalue(server), path, site.token())
    assert answer.status in (301, 308, 400, 403, 404)
    assert content_of(f"alice/{FILES['image']}") not in answer.body


def test_a_client_s_own_headers_change_nothing(front: Front) -> None:
    """The server overwrites its two, and any other of their kind is a refusal."""
    own, other = f"alice/{FILES['image']}", f"bob/{FILES['image']}"
    lies = [
        {"X-Original-URI": front.prefix + own},
        {"X-Forwarded-Uri": front.prefix + own},
        {"X-Original-URL": front.prefix + own, "X-Rewrite-URL": front.prefix + own},
        {"X-Gateway-Secret": "guessed"},
        {"X-Gateway-Request": "/"},
        {"X-Original-Method": "GET", "X-HTTP-Method-Override": "GET"},
    ]
    for lie in lies:
        answer = front.ask(other, lie)
        assert answer.status == 403, lie
        assert content_of(other) not in answer.body


def test_nobody_and_other_methods_get_nothing(front: Front) -> None:
    path = f"{front.prefix}alice/{FILES['image']}"
    assert ask(front.server, path).status == 401
    assert ask(front.server, path, {"Authorization": "Bearer nonsense"}).status == 401
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = ask(front.server, path, front.site.token() | {"Content-Length": "0"}, method=method)
        assert answer.status in (403, 405), method
        assert content_of(f"alice/{FILES['image']}") not in answer.body


@pytest.mark.parametrize("target", ["/forward-auth", "/.gateway/asking", "/%66orward-auth"])
@pytest.mark.parametrize("server", ["nginx", "caddy"])
def test_the_question_itself_cannot_be_asked_from_outside(
    request: pytest.FixtureRequest, site: Site, server: str, target: str
) -> None:
    headers = site.token() | {"X-Original-URI": "/guarded/alice/images/a.png", "X-Original-Method": "GET"}
    assert ask(request.getfixturevalue(server), target, headers).status in (403, 404)


# --- the endpoint ------------------------------------------------------------------------------------------

SHARED = "0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def forward(settings: Any, alice: Any) -> Iterator[None]:
    settings.GATEWAY = settings.GATEWAY | {
        "FORWARD_AUTH": {"proxy": "nginx", "secret": SHARED, "paths": {"/guarded/": "private"}},
        "PATH_POLICIES": {"private": "tests.gateway.delivery.path_policy.OwnDirectory"},
    }
    with override_settings(ROOT_URLCONF="tests.gateway.delivery.urls"):
        yield


def logged_in(user: Any) -> Client:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return client


def question(user: Any, proxy: str = "nginx", /, *, method: str = "get", **changes: str | None) -> Any:
    """Ask as a server does; ``changes`` replace or, by None, take away headers."""
    uri_header, method_header = HEADERS[proxy]
    headers = {
        uri_header: "/guarded/alice/a.pdf",
        method_header: "GET",
        SECRET_HEADER: SHARED,
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    client = user if isinstance(user, Client) else logged_in(user)
    kept = {name: value for name, value in headers.items() if value is not None}
    return getattr(client, method)("/forward-auth", headers=kept)


def test_yes_is_204_and_says_how_to_show_the_file(forward: None, alice: Any) -> None:
    answer = question(alice)
    assert (answer.status_code, b"".join(answer.streaming_content)) == (204, b"")
    assert answer["X-Gateway-Type"] == "application/pdf"
    assert answer["X-Gateway-Disposition"].startswith("inline")
    assert answer["Cache-Control"] == "no-store"
    row = Issuance.objects.get()
    assert (row.decision, row.principal, row.key) == ("allowed", f"user:{alice.pk}", "alice/a.pdf")


def test_every_question_is_decided_anew(forward: None, alice: Any) -> None:
    client = logged_in(alice)
    assert question(client).status_code == 204
    type(alice).objects.filter(pk=alice.pk).update(username="carol")
    assert question(client).status_code == 403
    type(alice).objects.filter(pk=alice.pk).update(username="alice", is_active=False)
    assert question(client).status_code == 401


REFUSED: dict[str, dict[str, Any]] = {
    "no-secret": {SECRET_HEADER: None},
    "empty-secret": {SECRET_HEADER: ""},
    "another-secret": {SECRET_HEADER: "x" * 32},
    "non-ascii-secret": {SECRET_HEADER: "é" * 32},
    "no-uri": {"X_Original_URI": None},
    "two-uris": {"X_Original_URI": "/guarded/bob/a.pdf,/guarded/alice/a.pdf"},
    "no-method": {"X_Original_Method": None},
    "write": {"X_Original_Method": "PUT"},
    "small-letters": {"X_Original_Method": "get"},
    "other-prefix": {"X_Original_URI": "/other/alice/a.pdf"},
    "other-user": {"X_Original_URI": "/guarded/bob/a.pdf"},
    "the-uri-header-of-another-server": {"X_Forwarded_Uri": "/guarded/alice/a.pdf"},
    "rewritten-url": {"X_Rewrite_URL": "/guarded/alice/a.pdf"},
    "method-override": {"X_HTTP_Method_Override": "GET"},
    "another-site-s-image": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_anything_odd_is_403(forward: None, alice: Any, changes: dict[str, Any]) -> None:
    answer = question(alice, **changes)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("X-Gateway")]


@pytest.mark.parametrize("method", ["post", "put", "delete", "head", "options"])
def test_a_question_is_a_get(forward: None, alice: Any, method: str) -> None:
    assert question(alice, method=method).status_code == 403


def test_nobody_is_401(forward: None) -> None:
    answer = question(None)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


def test_who_was_taken_back_is_401_though_the_storage_is_gone(forward: None, alice: Any, settings: Any) -> None:
    client = logged_in(alice)
    take_back("everything", "")
    assert question(client).status_code == 401
    settings.STORAGES = {alias: backend for alias, backend in settings.STORAGES.items() if alias != "private"}
    assert question(client).status_code == 401


def test_without_the_setting_the_answer_is_no(alice: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.gateway.delivery.urls"
    assert question(alice).status_code == 403


def test_a_database_that_fails_is_no(forward: None, alice: Any) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if "presign_gateway" in sql:
            raise OperationalError("gone")
        return execute(sql, *rest)

    client = logged_in(alice)
    with connection.execute_wrapper(fail):
        assert question(client).status_code == 403


def test_a_policy_that_fails_is_no(forward: None, alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {}}
    assert question(alice).status_code == 403


@pytest.mark.parametrize("proxy", ["caddy", "traefik"])
def test_the_contract_of_the_forwarded_headers(forward: None, alice: Any, settings: Any, proxy: str) -> None:
    settings.GATEWAY = settings.GATEWAY | {"FORWARD_AUTH": settings.GATEWAY["FORWARD_AUTH"] | {"proxy": proxy}}
    assert question(alice, proxy, X_Forwarded_Host="files.example", X_Forwarded_Proto="https").status_code == 204
    assert question(alice, "nginx").status_code == 403
    assert question(alice, proxy, X_Original_URI="/guarded/alice/a.pdf").status_code == 403
