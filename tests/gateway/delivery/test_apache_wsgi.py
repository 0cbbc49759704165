"""Apache that asks in its own process, by Debian's mod_wsgi: one's own files alone, by password and by session."""

from __future__ import annotations

import base64
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as project
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client

from gateway import throttling
from gateway.delivery import apache_wsgi as module
from gateway.delivery.apache_wsgi import allow_access, check_password
from gateway.models import Issuance
from tests.emulators.fixtures import serve
from tests.emulators.web import ApacheWSGI
from tests.gateway.delivery.front import FILES, NAMES, Got, ask, content_of
from tests.gateway.delivery.servers import Populated, environment
from tests.gateway.delivery.test_forward_auth import HOSTILE
from tests.gateway.delivery.wsgi_tree import IMPORTED, SCRIPT, copy_tree

GUARDED = {"/guarded/": "private"}
NAMED = {name: key for name, key in NAMES.items() if name not in ("missing", "key-long", "key-deep")}
FORWARD_AUTH = {"proxy": "apache", "paths": GUARDED}
GATEWAY = {
    "FORWARD_AUTH": FORWARD_AUTH,
    "FAILED_LOGINS_PER_MINUTE": 0,
    "PATH_POLICIES": {"private": "tests.gateway.delivery.path_policy.OwnDirectory"},
}


class Place:
    """A project that Apache's own user can read: its code, its database and its files."""

    def __init__(self, populated: Populated) -> None:
        self.populated = populated
        self.directory = populated.directory
        self.facts = populated.facts
        self.python_path = self.directory / "python"
        self.script = self.python_path / "wsgi.py"
        self.python_path.mkdir()
        self.script.write_text(SCRIPT)
        copy_tree(self.python(SCRIPT + IMPORTED), Path(project.BASE_DIR), self.python_path)
        for user in ("alice", "bob"):
            for name, key in NAMED.items():
                if name != "missing":
                    path = self.directory / "private" / user / key
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content_of(f"{user}/{key}"))
        secret = self.directory / "secret.txt"
        secret.write_bytes(b"of another")
        (self.directory / "private/alice/link.txt").symlink_to(secret)

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.directory, **self.populated.more)

    def python(self, code: str) -> str:
        """Run code in the project's settings, as itself and not as Apache."""
        return self.populated.run([sys.executable, "-c", code], extra_environment=self.environment)

    def audit_of(self, key: str) -> set[tuple[str, ...]]:
        select = f"SELECT decision, principal, credential, delivery FROM {Issuance._meta.db_table} WHERE key = ?"
        with closing(sqlite3.connect(self.directory / "db.sqlite3", timeout=20)) as database:
            return set(database.execute(select, [key]))

    def block(self, identity: str) -> Callable[[str, Path], str]:
        def make(listen: str, access_log: Path) -> str:
            argv = [
                sys.executable, "-m", "django", "gateway_conf", "apache", "--listen", listen, "--access-log",
                str(access_log), "--wsgi-script", str(self.script), "--identity", identity,
            ]  # fmt: skip
            return self.populated.run(argv, extra_environment=self.environment)

        return make

    def headers(self, identity: str, who: int = 0) -> dict[str, str]:
        if identity == "session":
            return {"Cookie": f"sessionid={self.facts['sessions'][who]}"}
        name = ("alice", "bob")[who]
        return basic(name, f"{name}'s password")


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Populated(gateway=GATEWAY) as populated:
        place = Place(populated)
        for path in [place.directory, *(place.directory / name for name in ("db.sqlite3", "private"))]:
            _hand_over(path)
        yield place


def _hand_over(path: Path) -> None:
    if ApacheWSGI(lambda *_: "", path, {}).user is None:
        return
    for each in [path, *(path.rglob("*") if path.name == "private" else ())]:
        if not each.is_symlink():
            shutil.chown(each, "www-data", "www-data")


class Front:
    def __init__(self, server: ApacheWSGI, identity: str, place: Place) -> None:
        self.server, self.identity, self.place = server, identity, place

    def ask(self, path: str, headers: dict[str, str] | None = None, *, who: int = 0, method: str = "GET") -> Got:
        sent = self.place.headers(self.identity, who) | (headers or {})
        return ask(self.server, f"/guarded/{path}", sent, method=method)

    @property
    def no(self) -> int:
        """Apache asks for another name and password, or says no."""
        return 401 if self.identity == "password" else 403


@pytest.fixture(scope="module", params=["password", "session"])
def apache_wsgi(request: pytest.FixtureRequest, place: Place) -> Iterator[tuple[ApacheWSGI, str]]:
    identity = request.param
    make = lambda: ApacheWSGI(place.block(identity), place.python_path, place.environment)  # noqa: E731
    for server in serve(make):
        yield server, identity
        log = server.log()
        assert not re.search(r"Traceback|s password|sessionid", log), log


@pytest.fixture
def front(apache_wsgi: tuple[ApacheWSGI, str], place: Place) -> Front:
    return Front(*apache_wsgi, place)


# --- through Apache ----------------------------------------------------------------------------------------


def test_every_name_that_is_a_key_is_its_own_file_and_its_owner_s(front: Front) -> None:
    wrong = {}
    for name, key in NAMED.items():
        path = f"alice/{quote(key, safe='/~')}"
        own, other = front.ask(path), front.ask(path, who=1)
        if ((own.status, own.body), other.status) != ((200, content_of(f"alice/{key}")), front.no):
            wrong[name] = own.status, other.status
    assert wrong == {}


def test_every_file_is_a_download_of_no_type(front: Front) -> None:
    for name in ("image", "page"):
        answer = front.ask(f"alice/{FILES[name]}")
        assert (answer.status, answer.repeated) == (200, ())
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "set-cookie" not in answer.headers


def test_ranges_and_head_work_as_on_any_file(front: Front) -> None:
    content = content_of(f"alice/{FILES['image']}")
    part = front.ask(f"alice/{FILES['image']}", {"Range": "bytes=2-4"})
    assert (part.status, part.body) == (206, content[2:5])
    several = front.ask(f"alice/{FILES['image']}", {"Range": "bytes=0-0,40-43"})
    assert (several.status, several.body) == (200, content)
    head = front.ask(f"alice/{FILES['image']}", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(content)))


@pytest.mark.parametrize(("path", "statuses"), HOSTILE.values(), ids=HOSTILE)
def test_no_other_spelling_brings_a_file(front: Front, path: str, statuses: set[int]) -> None:
    answer = front.ask(path)
    assert answer.status in statuses | {400, 401, 403}
    for user in ("alice", "bob"):
        assert content_of(f"{user}/{FILES['image']}") not in answer.body


def test_apache_follows_no_symbolic_link(front: Front) -> None:
    answer = front.ask("alice/link.txt")
    assert answer.status in (403, 404)
    assert b"of another" not in answer.body


def test_nobody_and_other_methods_get_nothing(front: Front) -> None:
    path = f"/guarded/alice/{FILES['image']}"
    nobody = ask(front.server, path)
    assert nobody.status == front.no
    assert ("www-authenticate" in nobody.headers) == (front.identity == "password")
    wrong = [
        basic("alice", "wrong"),
        basic("nobody", "alice's password"),
        basic("alice", ""),
        {"Cookie": "sessionid=x"},
    ]
    wrong += [{"Authorization": "Bearer nonsense"}, {"Authorization": "Basic !"}]
    assert [ask(front.server, path, headers).status for headers in wrong] == [front.no] * len(wrong)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = front.ask(f"alice/{FILES['image']}", {"Content-Length": "0"}, method=method)
        assert answer.status in (401, 403, 405), method
        assert content_of(f"alice/{FILES['image']}") not in answer.body


def test_a_page_of_another_site_loads_nothing(front: Front) -> None:
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert front.ask(f"alice/{FILES['image']}", fetched).status == front.no


def test_a_token_proves_nothing_since_apache_keeps_it_to_itself(front: Front, place: Place) -> None:
    sent = {"Authorization": f"Bearer {place.facts['tokens'][0]}"}
    assert ask(front.server, f"/guarded/alice/{FILES['image']}", sent).status == front.no


def test_what_changes_bites_at_the_next_request(front: Front, place: Place) -> None:
    """A verified password is remembered, and neither a new one nor a user's end waits for that."""
    path = f"bob/{FILES['image']}"
    user = (
        "import django; django.setup(); from django.contrib.auth import get_user_model as m; "
        "u = m().objects.get(username='bob'); "
    )
    changes = {"u.is_active = False": "u.is_active = True"}
    if front.identity == "password":  # it ends sessions, too, and Django forgets them
        # Back to the very hash, which the sessions of other tests are bound to.
        stored = place.python(f"{user}print(u.password)").strip()
        changes["u.set_password('another')"] = f"u.password = {stored!r}"
    for there, back in changes.items():
        assert front.ask(path, who=1).status == 200
        place.python(f"{user}{there}; u.save()")
        assert front.ask(path, who=1).status == front.no
        place.python(f"{user}{back}; u.save()")


def test_yes_and_no_are_recorded(front: Front, place: Place) -> None:
    key = f"alice/recorded-by-{front.identity}.txt"  # of this test alone: a refusal is written once a minute
    assert [front.ask(key, who=who).status for who in (0, 1)] == [404, front.no]
    credential = "session" if front.identity == "session" else "request"
    expected = {("allowed", "user:1", credential, "mod_wsgi"), ("refused", "user:2", credential, "")}
    # What is served is counted, and written within seconds.
    give_up_at = time.monotonic() + 60
    while (rows := place.audit_of(key)) != expected and time.monotonic() < give_up_at:
        time.sleep(0.1)
    assert rows == expected


# --- the functions ---------------------------------------------------------------------------------------


class CountingHasher(MD5PasswordHasher):
    """Counts how often a password is hashed."""

    verified = 0

    def verify(self, password: str, encoded: str) -> bool:
        CountingHasher.verified += 1
        return super().verify(password, encoded)


@pytest.fixture
def asking(settings: Any, alice: Any, one_connection: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Alice with a password, and Apache as the server that asks."""
    settings.GATEWAY = settings.GATEWAY | GATEWAY
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    monkeypatch.setattr(module, "_verified", module._Verified())
    monkeypatch.setattr(CountingHasher, "verified", 0)
    throttling.forget()
    alice.set_password("right")
    alice.save()
    return alice


def environ(uri: str = "/guarded/alice/a.pdf", **more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET", "REQUEST_URI": uri, "SCRIPT_NAME": uri, "PATH_INFO": "", "QUERY_STRING": "",
        "REMOTE_ADDR": "192.0.2.1", "SERVER_NAME": "a.example", "SERVER_PORT": "80", **more,
    }  # fmt: skip


def test_a_right_password_is_hashed_once_a_minute(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        assert check_password(environ(), "alice", "right")
    assert CountingHasher.verified == 1
    monkeypatch.setattr(module.time, "monotonic", lambda now=module.time.monotonic: now() + 61)
    assert check_password(environ(), "alice", "right")
    assert CountingHasher.verified == 2
    assert Issuance.objects.filter(decision="allowed", principal=f"user:{asking.pk}", key="alice/a.pdf").count() == 6


def test_a_wrong_password_is_never_remembered(asking: Any) -> None:
    assert [check_password(environ(), "alice", "wrong") for _ in range(3)] == [False] * 3
    assert CountingHasher.verified == 3


def test_a_new_hash_of_the_same_password_is_verified_again(asking: Any) -> None:
    assert check_password(environ(), "alice", "right")
    asking.set_password("right")
    asking.save()
    assert check_password(environ(), "alice", "right")
    assert CountingHasher.verified == 2


def test_what_is_remembered_is_bounded_and_no_password(asking: Any) -> None:
    kept = module._verified
    for number in range(1100):
        kept.add(asking, f"password {number}")
    assert len(kept._until) == 1000
    assert kept.has(asking, "password 1099")
    assert not kept.has(asking, "password 0")
    assert b"password" not in b"".join(kept._until)


def test_guesses_are_counted_by_address_and_by_name_and_leave_the_user_alone(asking: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"FAILED_LOGINS_PER_MINUTE": 3, "TRUSTED_PROXIES": 1}
    assert check_password(environ(), "alice", "right")
    for number in range(5):
        # Another address each time by what the client says, which Apache would not believe either.
        odd = environ(REMOTE_ADDR="198.51.100.7", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
        assert not check_password(odd, "alice", f"guess {number}")
    assert CountingHasher.verified == 4  # the one that was right, and three guesses
    assert not check_password(environ(REMOTE_ADDR="198.51.100.8"), "alice", "right again")
    assert not check_password(environ(REMOTE_ADDR="198.51.100.7"), "bob", "guess")
    assert CountingHasher.verified == 4
    assert check_password(environ(), "alice", "right")


REFUSED: dict[str, dict[str, Any]] = {
    "other-user-s": {"REQUEST_URI": "/guarded/bob/a.pdf"},
    "other-prefix": {"REQUEST_URI": "/other/alice/a.pdf"},
    "query": {"REQUEST_URI": "/guarded/alice/a.pdf?v=2"},
    "parent": {"REQUEST_URI": "/guarded/bob/../alice/a.pdf"},
    "absolute": {"REQUEST_URI": "http://a.example/guarded/alice/a.pdf"},
    "nothing": {"REQUEST_URI": ""},
    "write": {"REQUEST_METHOD": "PUT"},
    "small-letters": {"REQUEST_METHOD": "get "},
}


@pytest.mark.parametrize("identity", ["password", "session"])
@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_anything_odd_is_no(asking: Any, changes: dict[str, Any], identity: str) -> None:
    assert ask_function(identity, asking)
    assert not ask_function(identity, asking, **changes)


def ask_function(identity: str, user: Any, **changes: Any) -> bool:
    if identity == "password":
        return check_password(environ() | changes, "alice", "right")
    client = Client()
    client.force_login(user)
    cookie = f"sessionid={client.session.session_key}"
    return allow_access(environ(HTTP_COOKIE=cookie) | changes, "192.0.2.1")


@pytest.mark.parametrize("identity", ["password", "session"])
@pytest.mark.parametrize(
    "given",
    [{}, {"proxy": "nginx", "secret": "s" * 32, "paths": GUARDED}],
    ids=["not-set", "another-server-s"],
)
def test_without_the_setting_the_answer_is_no(asking: Any, settings: Any, identity: str, given: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"FORWARD_AUTH": given}
    assert not ask_function(identity, asking)


@pytest.mark.parametrize("table", ["auth_user", "presign_gateway"])
def test_a_database_that_fails_is_no(asking: Any, table: str) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if table in sql:
            raise OperationalError("gone")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail):
        assert not check_password(environ(), "alice", "right")


def test_an_inactive_user_is_no_though_the_password_is_remembered(asking: Any) -> None:
    assert check_password(environ(), "alice", "right")
    get_user_model().objects.filter(pk=asking.pk).update(is_active=False)
    assert not check_password(environ(), "alice", "right")


def test_the_endpoint_of_other_servers_says_no(asking: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.gateway.delivery.urls"
    headers = {"X-Original-URI": "/guarded/alice/a.pdf", "X-Original-Method": "GET", "X-Gateway-Secret": ""}
    client = Client()
    client.force_login(asking)
    assert client.get("/forward-auth", headers=headers).status_code == 403


def test_the_block_needs_a_script_and_a_directory(asking: Any, settings: Any) -> None:
    with pytest.raises(CommandError, match="--wsgi-script"):
        call_command("gateway_conf", "apache")
    settings.GATEWAY = settings.GATEWAY | {"FORWARD_AUTH": FORWARD_AUTH | {"paths": {"/guarded/": "default"}}}
    with pytest.raises(CommandError, match="directories alone"):
        call_command("gateway_conf", "apache", wsgi_script="/srv/wsgi.py")
