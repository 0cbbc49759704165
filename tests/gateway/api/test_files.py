"""``/files`` over HTTP: the contract of each address, and that refusals are all alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway.models import ApiToken, File, FileState, Issuance
from tests.gateway.api.support import (
    NOBODYS,
    ApiClient,
    by_session,
    by_token,
    check_contract,
    database_down_for,
    file_of,
    token_of,
    told,
)
from tests.gateway.api.test_parsing import BAD_JSON, MEDIA_TYPES
from tests.gateway.conftest import new_document, new_file

pytestmark = pytest.mark.django_db

FILES = "/api/v1/files"


def upload(name: str = "a.txt", content: bytes = b"content") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "text/html")


def part(name: bytes, content: bytes = b"x") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n" % (name, content)


A_FILE = b'"file"; filename="a.txt"'
# Bodies of the type "multipart/form-data; boundary=b", and what they are answered with.
BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "no boundary in it": (b"content", 400),
    "no name": (part(b'"file"').replace(b"name=", b"nom="), 400),
    "no file name": (part(b'"file"') + b"--b--\r\n", 400),
    "empty file name": (part(b'"file"; filename=""') + b"--b--\r\n", 400),
    "no base64": (part(A_FILE + b"\r\nContent-Transfer-Encoding: base64", b"!") + b"--b--\r\n", 400),
    "101 files": (b"".join(part(b'"f%d"; filename="a"' % number) for number in range(101)) + b"--b--\r\n", 400),
    "1001 fields": (b"".join(part(b'"f%d"' % number) for number in range(1001)) + b"--b--\r\n", 400),
    "a field of 3 MB": (part(b'"f"', b"x" * 3 * 2**20) + b"--b--\r\n", 413),
}


class TestUpload:
    @pytest.mark.parametrize("connect", [by_token, by_session], ids=["token", "session"])
    def test_the_answer_is_the_file(self, alice: Any, connect: Any) -> None:
        response = connect(alice).post(FILES, {"file": upload("My notes.txt")})
        file = File.objects.get()
        assert response.status_code == 201
        assert response.json() == {
            "id": str(file.pk),
            "filename": "My notes.txt",
            "content_type": "text/plain",
            "size": 7,
            "state": "ready",
            "created_at": f"{file.created_at:%Y-%m-%dT%H:%M:%SZ}",
            "permalink": f"http://testserver/f/{file.pk}",
        }

    def test_it_can_be_linked_at_once(self, alice: Any) -> None:
        client = by_token(alice)
        file = client.post(FILES, {"file": upload(content=b"the bytes")}).json()
        link = client.send("/api/v1/links", {"file": file["id"]}).json()
        assert b"".join(client.get(link["url"]).streaming_content) == b"the bytes"

    def test_a_large_one_passes_through_a_file(self, alice: Any) -> None:
        content = b"0123456789abcdef" * 2**18  # 4 MiB, more than Django keeps in memory
        client = by_token(alice)
        file = client.post(FILES, {"file": upload(content=content)}).json()
        assert file["size"] == len(content)
        with storages["private"].open(File.objects.get().key) as stored:
            assert stored.read() == content

    def test_a_name_with_a_path_is_a_name(self, alice: Any) -> None:
        file = by_token(alice).post(FILES, {"file": upload("../../etc/passwd")}).json()
        assert file["filename"] == "passwd"
        assert ".." not in File.objects.get().key

    FORMS: dict[str, dict[str, Any]] = {
        "no file": {},
        "another name": {"upload": upload()},
        "two files": {"file": [upload(), upload()]},
        "text of that name": {"file": "content"},
        "text beside a file": {"file": [upload(), "content"]},
        "a second field of files": {"file": upload(), "other": upload()},
        "state": {"file": upload(), "state": "ready"},
        "verified": {"file": upload(), "verified": "true"},
        "etag": {"file": upload(), "etag": "x"},
        "key": {"file": upload(), "key": "t2/x"},
        "bucket": {"file": upload(), "bucket": "evil"},
        "owner": {"file": upload(), "owner": "1"},
        "tenant": {"file": upload(), "tenant": "t2"},
        "content type": {"file": upload(), "content_type": "text/html"},
        "filename": {"file": upload(), "filename": "b.txt"},
        "metadata": {"file": upload(), "metadata.identified": "true"},
        "token of a page": {"file": upload(), "csrfmiddlewaretoken": "c" * 32},
    }

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_anything_but_one_file_is_400(self, alice: Any, form: dict[str, Any]) -> None:
        for value in form.values():
            for one in value if isinstance(value, list) else [value]:
                if not isinstance(one, str):
                    one.seek(0)
        self._refused(by_token(alice).post(FILES, form), 400)

    @pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
    def test_a_form_that_is_none_is_refused(self, alice: Any, body: bytes, status: int) -> None:
        self._refused(by_token(alice).send(FILES, body, content_type="multipart/form-data; boundary=b"), status)

    @pytest.mark.parametrize(
        "media_type",
        ["application/json", "application/x-www-form-urlencoded", "text/plain", "", "multipart/mixed; boundary=b"],
        ids=["json", "form", "text", "none", "mixed"],
    )
    def test_what_is_no_form_data_is_415(self, alice: Any, media_type: str) -> None:
        self._refused(by_token(alice).send(FILES, b"file=a", content_type=media_type), 415)

    def test_form_data_without_a_boundary_is_400(self, alice: Any) -> None:
        self._refused(by_token(alice).send(FILES, b"x", content_type="multipart/form-data"), 400)

    def test_a_body_over_the_limit_is_413_before_it_is_read(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"MAX_UPLOAD_BYTES": 10}
        body = b"x" * (10 + 64 * 2**10 + 1)
        response = by_token(alice).send(FILES, body, content_type="multipart/form-data; boundary=b")
        self._refused(response, 413)
        assert not response.wsgi_request._read_started
        assert f"{len(body)} bytes; a file of at most 10" in response.json()["detail"]

    LENGTHS: dict[str, tuple[str, int]] = {
        "underscores": ("1_000_000_000", 400),
        "plus": ("+1000000000", 400),
        "spaces": (" 1000000000 ", 400),
        "other digits": ("１０００", 400),
        "negative": ("-1", 400),
        "word": ("x", 400),
        "19 digits": ("1" * 19, 400),
        "5000 digits": ("1" * 5000, 400),
        "18 digits": ("1" * 18, 413),
        "none": ("", 400),
        "zero": ("0", 400),
    }

    @pytest.mark.parametrize(("length", "status"), LENGTHS.values(), ids=LENGTHS)
    def test_a_length_that_is_none_is_refused(self, alice: Any, length: str, status: int) -> None:
        body = part(A_FILE) + b"--b--\r\n"
        response = by_token(alice).send(
            FILES, body, content_type="multipart/form-data; boundary=b", CONTENT_LENGTH=length
        )
        self._refused(response, status)

    def test_a_file_over_the_limit_is_413(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"MAX_UPLOAD_BYTES": 6}
        self._refused(by_token(alice).post(FILES, {"file": upload(content=b"content")}), 413)
        assert by_token(alice).post(FILES, {"file": upload(content=b"conten")}).status_code == 201

    def test_nobody_is_401_before_the_form_is_read(self, db: None) -> None:
        response = ApiClient().post(FILES, {"file": upload()})
        assert response.status_code == 401
        assert not response.wsgi_request._read_started

    def test_a_session_without_the_csrf_token_is_403_before_the_form_is_read(self, alice: Any) -> None:
        client = by_session(alice)
        client.cookies["csrftoken"] = ""
        response = client.post(FILES, {"file": upload(), "csrfmiddlewaretoken": "c" * 32})
        assert response.status_code == 403
        assert not response.wsgi_request._read_started

    def test_a_token_without_the_scope_is_404_before_the_form_is_read(self, alice: Any) -> None:
        response = by_token(alice, "Download").post(FILES, {"file": upload()})
        self._refused(response, 404)
        assert not response.wsgi_request._read_started

    def test_a_storage_that_takes_nothing_is_503(self, alice: Any, private_root: Any) -> None:
        private_root.write_bytes(b"")
        response = by_token(alice).post(FILES, {"file": upload()})
        self._refused(response, 503)
        assert str(private_root) not in response.content.decode()

    def test_an_async_server_takes_it_too(self, alice: Any) -> None:
        headers = {"Authorization": f"Bearer {token_of(alice)}"}

        async def send() -> Any:
            return await AsyncClient().post(FILES, {"file": upload(content=b"the bytes")}, headers=headers)

        response: Any = async_to_sync(send)()
        check_contract("POST", FILES, response)
        assert (response.status_code, response.json()["size"]) == (201, 9)

    def test_a_query_is_400(self, alice: Any) -> None:
        self._refused(by_token(alice).post(f"{FILES}?key=x", {"file": upload()}), 400)

    @staticmethod
    def _refused(response: Any, status: int) -> None:
        assert response.status_code == status, response.content
        assert File.objects.count() == 0


class TestList:
    def test_pages_are_followed_by_their_cursor(self, alice: Any, bob: Any) -> None:
        mine = {str(new_file(alice).pk) for _ in range(5)}
        new_file(bob)
        client = by_token(alice)
        seen: list[str] = []
        cursor = ""
        for _ in range(3):
            page = client.get(FILES, {"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            seen += [file["id"] for file in page["items"]]
            cursor = page["next_cursor"]
        assert (len(seen), set(seen), cursor) == (5, mine, None)

    def test_a_file_is_shown_as_everywhere(self, alice: Any) -> None:
        file = new_file(alice)
        client = by_token(alice)
        [listed] = client.get(FILES).json()["items"]
        assert listed == client.get(f"{FILES}/{file.pk}").json()

    def test_fifty_are_a_page(self, alice: Any) -> None:
        for _ in range(51):
            new_file(alice)
        page = by_token(alice).get(FILES).json()
        assert (len(page["items"]), page["next_cursor"] is None) == (50, False)

    @pytest.mark.parametrize("state", ["deleting", "deleted"])
    def test_what_could_not_be_linked_is_in_no_list(self, alice: Any, state: str) -> None:
        new_file(alice, state=state)
        new_file(alice)
        assert by_token(alice).get(FILES, {"state": state}).json() == {"items": [], "next_cursor": None}
        assert len(by_token(alice).get(FILES, {"state": "ready"}).json()["items"]) == 1

    def test_by_name(self, alice: Any) -> None:
        new_file(alice, filename="Übersicht.pdf")
        new_file(alice, filename="other.pdf")
        [found] = by_token(alice).get(FILES, {"q": "bersicht"}).json()["items"]
        assert found["filename"] == "Übersicht.pdf"

    QUERIES = {
        "unknown": "x=1",
        "offset": "offset=10",
        "owner": "owner=2",
        "lookup": "filename__startswith=a",
        "twice": "q=a&q=b",
        "limit twice": "limit=1&limit=2",
        "limit 0": "limit=0",
        "limit over": "limit=101",
        "limit negative": "limit=-1",
        "limit fraction": "limit=1.5",
        "limit exponent": "limit=1e1",
        "limit with plus": "limit=%2B1",
        "limit with space": "limit=1%20",
        "limit with newline": "limit=1%0A",
        "limit with underscore": "limit=1_0",
        "limit other digits": "limit=%D9%A3",
        "limit empty": "limit=",
        "limit huge": "limit=" + "9" * 5000,
        "limit NaN": "limit=NaN",
        "state unknown": "state=rejected",
        "state empty": "state=",
        "state in capitals": "state=READY",
        "q of 101": "q=" + "a" * 101,
        "q with NUL": "q=a%00b",
        "cursor nonsense": "cursor=x",
        "cursor number": "cursor=1",
        "cursor not ascii": "cursor=%C3%A9",
        "cursor with NUL": "cursor=%00",
        "cursor of 10 kB": "cursor=" + "a" * 10_000,
    }

    @pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
    def test_an_odd_query_is_400(self, alice: Any, query: str) -> None:
        assert by_token(alice).get(f"{FILES}?{query}").status_code == 400

    def test_it_carries_no_link(self, alice: Any) -> None:
        new_file(alice)
        assert b"signature" not in by_token(alice).get(FILES).content
        assert Issuance.objects.count() == 0


class TestOne:
    def test_it_is_looked_up(self, alice: Any) -> None:
        file = new_file(alice)
        assert by_token(alice).get(f"{FILES}/{file.pk}").json()["id"] == str(file.pk)

    def test_looking_is_recorded(self, alice: Any, bob: Any) -> None:
        client = by_token(alice)
        client.get(f"{FILES}/{new_file(alice).pk}")
        client.get(f"{FILES}/{new_file(bob).pk}")
        assert sorted(row.decision for row in Issuance.objects.all()) == ["allowed", "refused"]

    def test_it_is_renamed(self, alice: Any) -> None:
        file = new_file(alice)
        response = by_session(alice).send(f"{FILES}/{file.pk}", {"filename": "../New name.pdf"}, "PATCH")
        assert (response.status_code, response.json()["filename"]) == (200, "New name.pdf")
        assert Issuance.objects.get().operation == "Update"

    @pytest.mark.django_db(transaction=True)
    def test_it_is_deleted(self, alice: Any) -> None:
        file = file_of(alice)
        response = by_session(alice).delete(f"{FILES}/{file.pk}")
        assert (response.status_code, response.content) == (204, b"")
        assert "Content-Type" not in response
        assert not storages["private"].exists(file.key)
        assert by_token(alice).get(f"{FILES}/{file.pk}").status_code == 404

    UPDATES: dict[str, Any] = {
        "nothing": {},
        "null": {"filename": None},
        "number": {"filename": 1},
        "empty": {"filename": ""},
        "of 256": {"filename": "a" * 256},
        "list": {"filename": ["a"]},
        "state": {"filename": "a", "state": "ready"},
        "key": {"filename": "a", "key": "t2/x"},
        "owner": {"owner": 2},
        "content type": {"content_type": "text/html"},
        "size": {"size": 1},
        "id": {"id": NOBODYS},
        "no object": ["a"],
    }

    @pytest.mark.parametrize("payload", UPDATES.values(), ids=UPDATES)
    def test_a_bad_update_is_400(self, alice: Any, payload: Any) -> None:
        file = new_file(alice)
        assert by_token(alice).send(f"{FILES}/{file.pk}", payload, "PATCH").status_code == 400
        assert File.objects.get().filename == "report.pdf"

    @pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
    def test_an_update_that_is_not_plain_json_is_400(self, alice: Any, body: bytes) -> None:
        assert by_token(alice).send(f"{FILES}/{new_file(alice).pk}", body, "PATCH").status_code == 400

    @pytest.mark.parametrize("media_type", [name for name, error in MEDIA_TYPES.values() if error])
    def test_an_update_of_another_type_is_415(self, alice: Any, media_type: str) -> None:
        address = f"{FILES}/{new_file(alice).pk}"
        response = by_token(alice).send(address, b'{"filename": "a"}', "PATCH", content_type=media_type)
        assert response.status_code == 415

    def test_a_long_update_is_413(self, alice: Any) -> None:
        assert by_token(alice).send(f"{FILES}/{new_file(alice).pk}", b"[" * 2**20, "PATCH").status_code == 413


METHODS = {"GET": None, "PATCH": {"filename": "b.pdf"}, "DELETE": None}
ONE = pytest.mark.parametrize("method", METHODS)


def ask(client: ApiClient, method: str, name: str) -> Any:
    payload = METHODS[method]
    if payload is None:
        return client.generic(method, f"{FILES}/{name}")
    return client.send(f"{FILES}/{name}", payload, method)


class TestRefusals:
    KINDS: dict[str, Callable[[Any, Any], str]] = {
        "missing": lambda alice, bob: NOBODYS,
        "nil": lambda alice, bob: "00000000-0000-0000-0000-000000000000",
        "foreign": lambda alice, bob: str(new_file(bob).pk),
        "deleting": lambda alice, bob: str(new_file(alice, state=FileState.DELETING).pk),
        "deleted": lambda alice, bob: str(new_file(alice, state=FileState.DELETED).pk),
        "foreign and deleted": lambda alice, bob: str(new_file(bob, state=FileState.DELETED).pk),
    }

    @ONE
    @pytest.mark.parametrize("connect", [by_token, by_session], ids=["token", "session"])
    def test_all_are_alike(self, alice: Any, bob: Any, method: str, connect: Any) -> None:
        answers: dict[str, Any] = {}
        for kind, make in self.KINDS.items():
            name = make(alice, bob)
            client = connect(alice)
            ApiToken.objects.update(last_used_at=timezone.now())
            with CaptureQueriesContext(connection) as queries:
                response = ask(client, method, name)
            answers[kind] = (*told(response), [query["sql"].partition(" FROM ")[0][:60] for query in queries])
        assert answers["missing"][0] == 404
        for kind, answer in answers.items():
            assert answer == answers["missing"], kind

    NAMES = {
        "word": "x",
        "number": "1",
        "capitals": "ABCDEF01-1111-4111-8111-111111111111",
        "without dashes": NOBODYS.replace("-", ""),
        "braces": f"%7B{NOBODYS}%7D",
        "space": f"{NOBODYS}%20",
        "newline": f"{NOBODYS}%0A",
        "NUL": f"{NOBODYS}%00",
        "not utf-8": "%FF",
        "lone surrogate": "%ED%A0%80",
        "dots": "..%2e",
        "10 kB": "a" * 10_000,
        "quote": "'%20OR%201=1",
    }

    @ONE
    @pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
    def test_a_name_that_is_none_is_400(self, alice: Any, method: str, name: str) -> None:
        assert ask(by_token(alice), method, name).status_code == 400

    @ONE
    def test_rows_of_the_project_have_no_address_here(self, alice: Any, method: str) -> None:
        document = new_document(alice)
        assert ask(by_token(alice), method, f"hostapp.document:{document.pk}:file").status_code == 400

    @pytest.mark.parametrize(
        ("method", "scopes"),
        [
            ("GET", ("Upload", "Update", "Delete", "Share")),
            ("PATCH", ("Download",)),
            ("DELETE", ("Download", "Update")),
        ],
        ids=["GET", "PATCH", "DELETE"],
    )
    def test_each_needs_its_own_scope(self, alice: Any, method: str, scopes: tuple[str, ...]) -> None:
        file = new_file(alice)
        assert ask(by_token(alice, *scopes), method, str(file.pk)).status_code == 404
        assert File.objects.filter(state=FileState.READY, filename="report.pdf").count() == 1

    @ONE
    def test_seeing_all_files_changes_none(self, alice: Any, bob: Any, method: str) -> None:
        bob.user_permissions.add(Permission.objects.get(codename="view_file"))
        file = new_file(alice)
        assert ask(by_token(bob), method, str(file.pk)).status_code == (200 if method == "GET" else 404)

    @ONE
    def test_nobody_is_401(self, alice: Any, method: str, django_assert_num_queries: Any) -> None:
        file = new_file(alice)
        with django_assert_num_queries(0):
            assert ask(ApiClient(), method, str(file.pk)).status_code == 401
            assert ask(ApiClient(), method, "x").status_code == 401

    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    def test_a_session_needs_the_csrf_token(self, alice: Any, method: str) -> None:
        client = by_session(alice)
        client.cookies["csrftoken"] = ""
        assert ask(client, method, str(new_file(alice).pk)).status_code == 403
        assert File.objects.filter(state=FileState.READY, filename="report.pdf").count() == 1

    @ONE
    def test_a_query_is_400(self, alice: Any, method: str) -> None:
        assert ask(by_token(alice), method, f"{new_file(alice).pk}?force=1").status_code == 400
        assert File.objects.filter(state=FileState.READY, filename="report.pdf").count() == 1

    ADDRESSES = [
        (FILES, "PUT", "GET, POST"),
        (FILES, "DELETE", "GET, POST"),
        (f"{FILES}/{NOBODYS}", "POST", "DELETE, GET, PATCH"),
        (f"{FILES}/{NOBODYS}", "PUT", "DELETE, GET, PATCH"),
        (f"{FILES}/{NOBODYS}", "TRACE", "DELETE, GET, PATCH"),
    ]

    @pytest.mark.parametrize(("address", "method", "allowed"), ADDRESSES)
    def test_other_methods_are_405(self, alice: Any, address: str, method: str, allowed: str) -> None:
        response = by_token(alice).generic(method, address)
        assert (response.status_code, response["Allow"]) == (405, allowed)

    @ONE
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("sql", ['"presign_gateway_file"', "INSERT", ""], ids=["row", "audit", "everything"])
    def test_a_database_that_is_down_is_503(self, alice: Any, method: str, sql: str) -> None:
        file, client = new_file(alice), by_token(alice)
        with database_down_for(sql) as met:
            response = ask(client, method, str(file.pk))
        assert (bool(met), response.status_code) == (True, 503)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("sql", ['"presign_gateway_file"', ""], ids=["row", "everything"])
    def test_a_list_without_a_database_is_503(self, alice: Any, sql: str) -> None:
        client = by_token(alice)
        with database_down_for(sql) as met:
            response = client.get(FILES)
        assert (bool(met), response.status_code) == (True, 503)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        "sql",
        ['INTO "presign_gateway_file"', 'INTO "presign_gateway_issuance"', ""],
        ids=["row", "audit", "everything"],
    )
    def test_an_upload_without_a_database_is_503(self, alice: Any, sql: str) -> None:
        client = by_token(alice)
        with database_down_for(sql) as met:
            response = client.post(FILES, {"file": upload()})
        assert (bool(met), response.status_code) == (True, 503)
