"""``gateway_link``: a link in somebody's name, decided as for anybody, and printed after its record."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from gateway import audit
from gateway.api.schemas import Link
from gateway.errors import AccessDenied
from gateway.models import File, Issuance
from gateway.resources import Resource, reference_to
from tests.gateway.conftest import new_document, new_file, request_of

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    return both(*arguments)[0]


def both(*arguments: str) -> tuple[str, str]:
    """Return what was written to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    call_command("gateway_link", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str) -> tuple[int, str, str]:
    """Return the exit status of a refusal, and what it wrote to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("gateway_link", *arguments, stdout=out, stderr=err)
    return int(str(caught.value.code)), out.getvalue(), err.getvalue()


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


@pytest.fixture
def report(alice: Any) -> File:
    return new_file(alice)


class TestIssued:
    def test_the_link_alone_is_on_standard_output_and_its_end_beside_it(self, report: File) -> None:
        url, until = both("alice", str(report.pk))
        assert url.split() == url.splitlines() == [url.removesuffix("\n")]
        url, until = url.strip(), until.strip()
        assert url.startswith(f"http://testserver/local/private/{report.key}?")
        match = re.fullmatch(r"until (\S+Z), (300|299) s", until)
        assert match is not None
        expires_at = datetime.fromisoformat(match[1])
        assert query_of(url)["expires"] == [str(int(expires_at.timestamp()))]

    def test_the_link_works(self, alice: Any, client: Any) -> None:
        file = new_file(alice, key=storages["private"].save("uploads/report.pdf", ContentFile(b"content")))
        response = client.get(run("alice", str(file.pk)).strip())
        assert (response.status_code, response.getvalue()) == (200, b"content")

    def test_a_field_of_a_project_can_be_named(self, alice: Any) -> None:
        document = new_document(alice)
        reference = reference_to(Resource.of_field(document, "file"))
        assert f"/local/private/{document.file.name}?" in run("alice", reference)

    def test_the_options_are_in_the_link(self, report: File) -> None:
        url, until = both(
            *("alice", str(report.pk), "--ttl", "60", "--method", "HEAD"),
            *("--disposition", "attachment", "--filename", "../of 2026\n.pdf"),
        )
        assert until.endswith((" 60 s\n", " 59 s\n"))
        assert query_of(url)["disposition"] == ["attachment"]
        assert "of 2026" in query_of(url)["filename"][0]
        assert not set("/\n") & set(query_of(url)["filename"][0])

    def test_what_shortened_the_link_is_said(self, report: File, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storages["private"], "max_ttl", timedelta(seconds=30))
        assert both("alice", str(report.pk))[1].endswith("s, limited by storage\n")

    def test_json_is_what_the_api_answers(self, report: File) -> None:
        link = json.loads(run("alice", str(report.pk), "--json", "--ttl", "60"))
        assert link.keys() == Link.model_fields.keys()
        assert link == {
            "file": str(report.pk),
            "url": link["url"],
            "method": "GET",
            "headers": {},
            "expires_at": link["expires_at"],
            "expires_in": pytest.approx(60, abs=1),
            "filename": "report.pdf",
            "content_type": "application/pdf",
            "size": 7,
            "id": link["id"],
            "limited_by": None,
        }
        assert query_of(link["url"])["link"] == [link["id"]]
        assert datetime.fromisoformat(link["expires_at"]) > datetime.now(UTC)

    def test_the_record_says_who_and_why(self, alice: Any, report: File) -> None:
        link = json.loads(run("alice", str(report.pk), "--json"))
        row = Issuance.objects.get()
        assert (row.decision, row.principal, row.credential) == ("issued", f"user:{alice.pk}", "code")
        assert row.reason == "manage.py gateway_link"
        assert row.link_id == link["id"]
        assert row.link_hash == audit.hash_of(link["url"])


class TestRefused:
    @pytest.mark.parametrize(
        "reference",
        [
            "file of another",
            "00000000-0000-4000-8000-000000000000",
            "hostapp.document:999:file",
            "hostapp.nothing:1:file",
            "hostapp.document:1:title",
        ],
        ids=["foreign", "missing file", "missing row", "no such model", "no file field"],
    )
    def test_all_refusals_are_alike(self, report: File, bob: Any, reference: str) -> None:
        reference = str(report.pk) if reference == "file of another" else reference
        assert refused("bob", reference) == (1, "", f"{AccessDenied.title}\n")

    def test_a_refusal_is_recorded(self, report: File, bob: Any) -> None:
        refused("bob", str(report.pk))
        row = Issuance.objects.get()
        assert (row.decision, row.principal, row.link_id) == ("refused", f"user:{bob.pk}", "")

    def test_a_user_who_is_not_active_gets_nothing(self, alice: Any, report: File) -> None:
        alice.is_active = False
        alice.save()
        assert refused("alice", str(report.pk))[0] == 1

    def test_superusers_pass_where_the_policy_lets_them(self, report: File, bob: Any) -> None:
        bob.is_superuser = True
        bob.save()
        assert report.key in run("bob", str(report.pk))


WRONG = {
    "unknown user": (["nobody", "{file}"], "there is no user 'nobody'"),
    "user that is no text": (["\udcff", "{file}"], r"'\\udcff' is no text; only UTF-8"),
    "malformed reference": (["alice", "report.pdf"], "'report.pdf' is no reference"),
    "reference with a line end": (["alice", "a\nb"], r"'a\\nb' is no reference"),
    "ttl over the limit": (["alice", "{file}", "--ttl", "901"], "ttl is 901 s; at most 900 s"),
    "ttl of nothing": (["alice", "{file}", "--ttl", "0"], "ttl is 0 s; whole seconds, at least 1"),
    "ttl below nothing": (["alice", "{file}", "--ttl=-1"], "ttl is '-1'; a whole number"),
    "ttl that is no number": (["alice", "{file}", "--ttl", "5m"], "ttl is '5m'; a whole number"),
    "ttl of other digits": (["alice", "{file}", "--ttl", "٣٠"], "a whole number"),
    "ttl beyond all numbers": (["alice", "{file}", "--ttl", "9" * 400], "a whole number"),
    "writing": (["alice", "{file}", "--method", "PUT"], "invalid choice: 'PUT'"),
    "odd disposition": (["alice", "{file}", "--disposition", "form-data"], "invalid choice"),
    "no reference": (["alice"], "reference"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_and_prints_no_link(report: File, arguments: list[str], said: str) -> None:
    out = StringIO()
    with pytest.raises(CommandError, match=said):
        call_command("gateway_link", *(a.format(file=report.pk) for a in arguments), stdout=out)
    assert out.getvalue() == ""
    assert not Issuance.objects.filter(decision="issued").exists()


class Printer(StringIO):
    """Standard output that looks, when a link is printed, what other connections could see."""

    def write(self, text: str) -> int:
        assert not connection.in_atomic_block, "the link is printed before the record is committed"
        assert Issuance.objects.filter(decision="issued").exists()
        return super().write(text)


@pytest.mark.django_db(transaction=True)
class TestCommitted:
    def test_the_record_is_committed_before_the_link_is_printed(self, report: File) -> None:
        printer = Printer()
        call_command("gateway_link", "alice", str(report.pk), stdout=printer)
        assert report.key in printer.getvalue()

    def test_inside_a_transaction_there_is_no_link(self, report: File) -> None:
        out = StringIO()
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            call_command("gateway_link", "alice", str(report.pk), stdout=out)
        assert out.getvalue() == ""

    def test_a_refusal_is_committed_too(self, report: File, bob: Any) -> None:
        refused("bob", str(report.pk))
        assert Issuance.objects.get().decision == "refused"

    def test_without_a_record_there_is_no_link(self, report: File) -> None:
        out = StringIO()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE presign_gateway_issuance RENAME TO hidden_issuance")
        try:
            with pytest.raises(CommandError, match="the audit rows could not be written"):
                call_command("gateway_link", "alice", str(report.pk), stdout=out)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE hidden_issuance RENAME TO presign_gateway_issuance")
        assert out.getvalue() == ""

    def test_a_commit_that_fails_prints_nothing(self, report: File, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise DatabaseError("the server is gone")

        out = StringIO()
        monkeypatch.setattr(connection, "commit", fail)
        with pytest.raises(CommandError, match="could not be committed: DatabaseError"):
            call_command("gateway_link", "alice", str(report.pk), stdout=out)
        assert out.getvalue() == ""


def test_a_request_that_would_commit_later_is_refused(alice: Any, report: File) -> None:
    with request_of(alice), pytest.raises(CommandError, match="a request commits its audit when it ends"):
        run("alice", str(report.pk))
