"""The page and the log-in: what a browser without scripts can do, and nothing of another host."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from gateway.models import File, Issuance
from tests.gateway.api.support import CSRF, database_down_for
from tests.gateway.conftest import new_file

pytestmark = pytest.mark.django_db


def browser(user: Any = None) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = CSRF
    if user is not None:
        client.force_login(user)
    return client


def form(**fields: Any) -> dict[str, Any]:
    return {"csrfmiddlewaretoken": CSRF} | fields


def upload(content: bytes = b"content") -> SimpleUploadedFile:
    return SimpleUploadedFile("notes.txt", content)


class TestPage:
    def test_a_stranger_is_sent_to_log_in(self) -> None:
        response = browser().get(reverse("page"))
        assert (response.status_code, response["Location"]) == (302, f"{reverse('login')}?next=/")

    def test_a_stranger_uploads_nothing(self) -> None:
        response = browser().post(reverse("page"), form(file=upload()))
        assert (response.status_code, File.objects.count()) == (302, 0)
        assert not response.wsgi_request._read_started

    def test_files_are_listed_with_their_permalinks(self, alice: Any, bob: Any) -> None:
        mine, other = new_file(alice, filename="mine.pdf"), new_file(bob, filename="other.pdf")
        content = browser(alice).get(reverse("page")).content.decode()
        assert f'href="http://testserver/f/{mine.pk}">mine.pdf</a>' in content
        assert "other.pdf" not in content
        assert str(other.pk) not in content

    def test_it_holds_no_presigned_link(self, alice: Any) -> None:
        new_file(alice)
        assert "signature" not in browser(alice).get(reverse("page")).content.decode()
        assert Issuance.objects.count() == 0

    def test_a_name_is_text_and_no_markup(self, alice: Any) -> None:
        new_file(alice, filename="<script>alert(1)</script>.pdf")
        content = browser(alice).get(reverse("page")).content.decode()
        assert "<script" not in content
        assert "&lt;script&gt;" in content

    def test_older_files_follow(self, alice: Any) -> None:
        for number in range(51):
            new_file(alice, filename=f"number {number}.pdf")
        client = browser(alice)
        first = client.get(reverse("page")).content.decode()
        [cursor] = re.findall(r'href="/(\?cursor=[^"]+)"', first)
        second = client.get(reverse("page") + cursor).content.decode()
        shown = [set(re.findall(r"number \d+\.pdf", content)) for content in (first, second)]
        assert [len(names) for names in shown] == [50, 1]
        assert not shown[0] & shown[1]
        assert "cursor=" not in second

    def test_a_cursor_that_is_none_shows_the_first_page_and_says_so(self, alice: Any) -> None:
        new_file(alice, filename="mine.pdf")
        response = browser(alice).get(reverse("page"), {"cursor": "x"})
        assert response.status_code == 400
        assert "start without one" in response.content.decode()
        assert "mine.pdf" in response.content.decode()

    def test_a_form_uploads(self, alice: Any) -> None:
        response = browser(alice).post(reverse("page"), form(file=upload()))
        assert (response.status_code, response["Location"]) == (302, reverse("page"))
        file = File.objects.get()
        assert (file.owner, file.filename) == (alice, "notes.txt")

    REFUSED: dict[str, tuple[dict[str, Any], int]] = {
        "no file": (form(), 400),
        "two files": (form(file=[upload(), upload()]), 400),
        "another field": (form(file=upload(), state="ready"), 400),
        "too large": (form(file=upload(b"x" * 11)), 413),
        "no CSRF token": ({"file": upload()}, 403),
        "another CSRF token": ({"file": upload(), "csrfmiddlewaretoken": "d" * 32}, 403),
    }

    @pytest.mark.parametrize(("fields", "status"), REFUSED.values(), ids=REFUSED)
    def test_refusals(self, alice: Any, settings: Any, fields: dict[str, Any], status: int) -> None:
        for value in fields.get("file", []) if isinstance(fields.get("file"), list) else [fields.get("file")]:
            if value is not None:
                value.seek(0)
        settings.GATEWAY = settings.GATEWAY | {"MAX_UPLOAD_BYTES": 10}
        response = browser(alice).post(reverse("page"), fields)
        assert (response.status_code, File.objects.count()) == (status, 0)

    def test_a_large_form_is_refused_before_it_is_read(self, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"MAX_UPLOAD_BYTES": 10}
        response = browser(alice).post(reverse("page"), form(file=upload(b"x" * 2**20)))
        assert response.status_code == 413
        assert not response.wsgi_request._read_started

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    def test_other_methods_are_405(self, alice: Any, method: str) -> None:
        assert browser(alice).generic(method, reverse("page")).status_code == 405


class TestLogIn:
    def test_a_password_opens_the_page(self, alice: Any) -> None:
        client = browser()
        response = client.post(reverse("login"), form(username="alice", password="alice-password"))
        assert (response.status_code, response["Location"]) == (302, reverse("page"))
        assert client.get(reverse("page")).status_code == 200

    def test_a_wrong_one_does_not(self, alice: Any) -> None:
        client = browser()
        response = client.post(reverse("login"), form(username="alice", password="x"))
        assert response.status_code == 200
        assert client.get(reverse("page")).status_code == 302

    def test_it_leads_back_to_where_one_came_from_but_to_no_other_host(self, alice: Any) -> None:
        for where, expected in (("/f/x", "/f/x"), ("https://evil.example/", reverse("page"))):
            fields = form(username="alice", password="alice-password", next=where)
            assert browser().post(reverse("login"), fields)["Location"] == expected

    def test_it_needs_the_csrf_token(self, alice: Any) -> None:
        response = browser().post(reverse("login"), {"username": "alice", "password": "alice-password"})
        assert response.status_code == 403

    def test_logging_out_ends_it(self, alice: Any) -> None:
        client = browser(alice)
        assert client.post(reverse("logout"), form())["Location"] == reverse("login")
        assert client.get(reverse("page")).status_code == 302

    def test_a_link_does_not_log_out(self, alice: Any) -> None:
        client = browser(alice)
        assert client.get(reverse("logout")).status_code == 405
        assert client.get(reverse("page")).status_code == 200


PAGES = pytest.mark.parametrize("name", ["page", "login"])


class TestBoth:
    @PAGES
    def test_no_script_and_nothing_of_another_host(self, alice: Any, name: str) -> None:
        response = browser(alice).get(reverse(name))
        content = response.content.decode()
        assert "<script" not in content
        assert not re.search(r"\son[a-z]+=|style=|javascript:", content)
        assert re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', content) == ["/static/gateway/page.css"]
        policy = response["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    @PAGES
    def test_they_are_kept_out_of_caches(self, alice: Any, name: str) -> None:
        assert browser(alice).get(reverse(name))["Cache-Control"] == "no-store, private"

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("sql", ['"django_session"', '"presign_gateway_file"'], ids=["session", "files"])
    def test_without_a_database_the_page_is_503(self, alice: Any, sql: str) -> None:
        client = browser(alice)
        with database_down_for(sql) as met:
            response = client.get(reverse("page"))
        assert (bool(met), response.status_code, response["Retry-After"]) == (True, 503, "5")

    @pytest.mark.django_db(transaction=True)
    def test_without_a_database_the_log_in_is_503(self, alice: Any) -> None:
        client = browser()
        with database_down_for('"auth_user"') as met:
            response = client.post(reverse("login"), form(username="alice", password="alice-password"))
        assert (bool(met), response.status_code) == (True, 503)


def test_the_stylesheet_is_there(settings: Any) -> None:
    from django.contrib.staticfiles import finders

    assert finders.find("gateway/page.css")
