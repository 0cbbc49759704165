"""``{% presigned %}`` and ``{% permalink %}``: a page loses no more than the link."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.template import Context, Template, TemplateSyntaxError
from django.test import AsyncClient

from gateway.errors import NoPrincipal, StorageUnavailable, TTLTooLong
from gateway.models import Issuance
from gateway.principals import acting_as
from tests.gateway.conftest import issuances, new_document, request_of
from tests.hostapp.models import Document, Invoice, Leaflet

pytestmark = pytest.mark.django_db

LOCAL = "http://testserver/local/private/"


def render(text: str, **context: Any) -> str:
    return Template("{% load gateway %}" + text).render(Context(context))


class TestPresigned:
    def test_is_a_link_for_whoever_asks(self, alice: Any) -> None:
        document = new_document(alice)
        with acting_as(alice):
            assert render("{% presigned document.file %}", document=document).startswith(LOCAL)

    def test_takes_a_lifetime_a_disposition_and_a_name(self, alice: Any) -> None:
        document = new_document(alice)
        with acting_as(alice):
            text = "{% presigned document.file ttl=60 disposition='attachment' filename=name as link %}{{ link|safe }}"
            link = render(text, document=document, name="my report.pdf")
        assert "attachment" in link
        assert "my%2520report" in link or "my%20report" in link
        (row,) = issuances()
        assert row.expires_at is not None
        assert 58 <= (row.expires_at - row.at).total_seconds() <= 60

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            pytest.param("[{% presigned document.file %}]", "[]", id="shown"),
            pytest.param("{% presigned document.file as link %}[{{ link }}]", "[None]", id="as"),
            pytest.param("{% presigned document.file as link %}[{% if link %}yes{% endif %}]", "[]", id="if"),
            pytest.param("[{% for one in documents %}{% presigned one.file %}{% endfor %}]", "[]", id="loop"),
        ],
    )
    def test_is_none_where_it_is_refused(self, alice: Any, bob: Any, text: str, shown: str) -> None:
        document = new_document(alice)
        with acting_as(bob):
            assert render(text, document=document, documents=[document, document]) == shown

    @pytest.mark.parametrize("tag", ["presigned", "permalink"])
    @pytest.mark.parametrize("file", [None, "", "a file that is not there"], ids=["none", "empty", "empty value"])
    def test_is_none_where_there_is_no_file(self, alice: Any, tag: str, file: Any) -> None:
        if file:
            file = Document(owner=alice).file
        assert render(f"[{{% {tag} file %}}]{{% {tag} file as link %}}{{{{ link }}}}", file=file) == "[]None"
        assert render(f"[{{% {tag} nothing.file %}}]") == "[]"

    def test_escapes_where_templates_escape(self, alice: Any) -> None:
        document = new_document(alice)
        with request_of(alice):
            escaped = render("{% presigned document.file %}", document=document)
            plain = render("{% autoescape off %}{% presigned document.file %}{% endautoescape %}", document=document)
        assert "&amp;" in escaped
        assert escaped.replace("&amp;", "&") == plain

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            pytest.param("{% presigned document.file ttl='60' %}", TypeError, id="a lifetime in words"),
            pytest.param("{% presigned document.file ttl=True %}", TypeError, id="no lifetime"),
            pytest.param("{% presigned document.file ttl=901 %}", TTLTooLong, id="too long"),
            pytest.param("{% presigned document.title %}", TypeError, id="no file"),
            pytest.param("{% presigned leaflet.file %}", TypeError, id="a public file"),
            pytest.param("{% permalink leaflet.file %}", TypeError, id="a permalink of a public file"),
            pytest.param("{% presigned %}", TemplateSyntaxError, id="nothing"),
            pytest.param("{% presigned document.file size=1 %}", TemplateSyntaxError, id="an unknown argument"),
        ],
    )
    def test_an_error_of_the_page_is_no_refusal(self, alice: Any, text: str, error: type[Exception]) -> None:
        document = new_document(alice, title="a title")
        leaflet = Leaflet()
        leaflet.file.save("a.txt", ContentFile(b"hello"))
        with acting_as(alice), pytest.raises(error):
            render(text, document=document, leaflet=leaflet)

    def test_nobody_asking_is_never_silent(self, alice: Any) -> None:
        with pytest.raises(NoPrincipal):
            render("{% presigned document.file %}", document=new_document(alice))

    def test_a_storage_that_cannot_sign_is_never_silent(self, alice: Any, settings: Any) -> None:
        document = new_document(alice)
        settings.SECRET_KEY = "short"
        with acting_as(alice), pytest.raises(StorageUnavailable):
            render("{% presigned document.file %}", document=document)


class TestPermalink:
    def test_needs_nobody(self, alice: Any) -> None:
        document = new_document(alice)
        shown = render("{% permalink document.file %}", document=document)
        assert shown == f"http://testserver/f/hostapp.document:{document.pk}:file"
        assert not Issuance.objects.exists()

    def test_is_none_before_there_is_a_row(self) -> None:
        invoice = Invoice()
        invoice.file.save("a.pdf", ContentFile(b"%PDF"), save=False)
        assert render("[{% permalink invoice.file %}]", invoice=invoice) == "[]"


class TestPages:
    @pytest.fixture(autouse=True)
    def host(self, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.hostapp.urls"

    def parts(self, answer: Any) -> list[list[str]]:
        assert answer.status_code == 200
        rows = [line.strip() for line in answer.text.splitlines() if "|" in line]
        return [row.removesuffix("</p>").partition(": ")[2].split("|") for row in rows]

    def test_a_page_loses_only_the_links_that_are_refused(self, client: Any, alice: Any, bob: Any) -> None:
        mine, others = new_document(alice), new_document(bob)
        client.force_login(alice)
        (allowed, denied) = self.parts(client.get("/documents"))
        assert allowed[0].startswith("http://testserver/gateway/local/")
        assert allowed[0] == allowed[1] == allowed[2]
        assert allowed[3].endswith(f"hostapp.document:{mine.pk}:file")
        assert denied == ["", "", "None", f"http://testserver/gateway/f/hostapp.document:{others.pk}:file"]
        assert len(issuances(decision="issued")) == 1

    def test_a_prefetched_page_costs_the_same_whatever_its_length(
        self, client: Any, alice: Any, django_assert_num_queries: Any
    ) -> None:
        client.force_login(alice)
        for number in (2, 20):
            for _ in range(number):
                new_document(alice)
            # session, user, page, what was taken back, decision, audit, what was taken back meanwhile
            with django_assert_num_queries(7):
                assert all(all(row) for row in self.parts(client.get("/prefetched")))

    def test_a_page_that_is_made_in_an_event_loop_shows_what_was_prefetched(self, alice: Any, bob: Any) -> None:
        new_document(alice)
        new_document(bob)
        client = AsyncClient()
        client.force_login(alice)
        allowed, denied = self.parts(async_to_sync(client.get)("/async"))
        assert allowed[0] == allowed[1] == allowed[2]
        assert allowed[0].startswith("http://testserver/gateway/local/")
        assert denied[:3] == ["", "", "None"]
