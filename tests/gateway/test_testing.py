"""What a project tests itself with: it must be able to fail, and to leave no trace."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import cache as cache_sessions
from django.contrib.sessions.backends import db as db_sessions
from django.contrib.sessions.backends import signed_cookies
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory, SimpleTestCase, TestCase, TransactionTestCase, override_settings

from gateway import links
from gateway.errors import AccessDenied, NoPrincipal
from gateway.models import Issuance
from gateway.policies import Delete, Share
from gateway.principals import ambient_lease, current
from gateway.resources import Resource
from gateway.storages import PrivateFileSystemStorage, PrivateS3Storage
from gateway.testing import (
    InMemoryPrivateStorage,
    LinkKept,
    _holds_link,
    allow_all,
    as_user,
    assert_issued,
    in_memory,
    no_links_in_caches,
)
from providers import Download, S3Provider, StaticCredentials, UploadForm
from tests.gateway.conftest import in_a_thread, issuances, new_document
from tests.hostapp.models import Document

pytestmark = pytest.mark.django_db


def link_of(document: Document) -> str:
    return document.file.url


class TestAsUser:
    def test_asks_as_a_request_of_the_user(self, alice: Any, bob: Any) -> None:
        document = new_document(alice)
        with as_user(alice) as request:
            assert request.user is alice
            assert document.file.url == document.file.url
            assert not issuances()
        (row,) = issuances()
        assert (row.decision, row.principal, row.credential) == ("issued", f"user:{alice.pk}", "request")
        with as_user(bob), pytest.raises(AccessDenied):
            link_of(document)
        assert [row.decision for row in issuances()] == ["issued", "refused"]

    def test_takes_the_request_of_a_factory(self, alice: Any) -> None:
        given = RequestFactory().get("/page?x=1")
        with as_user(alice, given) as request:
            assert request is given
            assert current().request is given
        assert given.user is alice  # type: ignore[attr-defined]

    def test_none_is_nobody_in_particular(self, alice: Any) -> None:
        document = new_document(alice)
        with as_user(None) as request:
            assert isinstance(request.user, AnonymousUser)
            with pytest.raises(AccessDenied):
                link_of(document)

    def test_blocks_may_stand_in_each_other(self, alice: Any, bob: Any) -> None:
        with as_user(alice):
            with as_user(bob):
                assert current().user is bob
            assert current().user is alice
        with pytest.raises(NoPrincipal):
            current()
        assert ambient_lease() is None

    def test_an_error_passes_and_what_was_issued_is_recorded(self, alice: Any) -> None:
        document = new_document(alice)

        def ask_and_fail() -> None:
            with as_user(alice):
                link_of(document)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ask_and_fail()
        assert len(issuances()) == 1
        assert ambient_lease() is None

    def test_an_error_that_broke_the_transaction_is_what_the_test_sees(self, alice: Any, bob: Any) -> None:
        document = new_document(alice)

        def ask_and_break() -> None:
            with transaction.atomic(), as_user(alice):
                link_of(document)
                type(alice).objects.create(username=bob.username)

        with pytest.raises(IntegrityError):
            ask_and_break()
        assert not issuances()

    def test_after_the_block_nobody_asks_for_its_user(self, alice: Any) -> None:
        document = new_document(alice)
        with as_user(alice):
            pass
        with pytest.raises(NoPrincipal):
            link_of(document)


class TestAllowAll:
    def test_everybody_may_everything(self, alice: Any, bob: Any) -> None:
        document = new_document(alice)
        with as_user(bob), allow_all():
            assert link_of(document)
            for operation in (Delete, Share):
                links.authorize(current(), Resource.of_field(document, "file"), operation)
        with as_user(bob), pytest.raises(AccessDenied):
            link_of(document)

    def test_reaches_other_threads(self, file_database: Any, django_user_model: Any) -> None:
        alice, bob = (django_user_model.objects.create_user(name) for name in ("alice", "bob"))
        document = new_document(alice)

        def ask() -> str:
            with as_user(bob):
                return link_of(document)

        with allow_all():
            assert in_a_thread(ask)
        with pytest.raises(AccessDenied):
            in_a_thread(ask)

    def test_somebody_active_still_has_to_ask_for_a_row_that_is_there(self, alice: Any, bob: Any) -> None:
        document = new_document(alice)
        with allow_all():
            with pytest.raises(NoPrincipal):
                link_of(document)
            bob.is_active = False
            with as_user(bob), pytest.raises(AccessDenied):
                link_of(document)
            Document.objects.all().delete()
            with as_user(alice), pytest.raises(AccessDenied):
                link_of(document)

    def test_ends_with_an_error_too(self) -> None:
        before = links.policy_for
        with pytest.raises(ZeroDivisionError), allow_all():
            raise ZeroDivisionError
        assert links.policy_for is before


class TestAssertIssued:
    def test_counts_links_inside_and_outside_of_requests(self, alice: Any, bob: Any, client: Any) -> None:
        document = new_document(alice)
        with as_user(alice):
            link_of(document)  # before the block
            with assert_issued(1) as rows:
                link_of(document)
                links.issue(current(), Resource.of_field(document, "file"))
        assert [row.principal for row in rows] == [f"user:{alice.pk}"]
        with assert_issued(2), as_user(alice):
            links.prefetch([document, new_document(alice), new_document(bob)], "file")
        client.force_login(alice)
        with assert_issued(2), override_settings(ROOT_URLCONF="tests.hostapp.urls"):
            client.get("/rest/documents/")

    def test_refusals_and_permissions_without_a_link_do_not_count(self, alice: Any, bob: Any) -> None:
        document = new_document(alice)
        with assert_issued(0):
            with as_user(bob), pytest.raises(AccessDenied):
                link_of(document)
            with as_user(alice):
                links.authorize(current(), Resource.of_field(document, "file"), Download)

    @pytest.mark.parametrize("expected", [0, 2], ids=["none", "two"])
    def test_fails_with_another_number_and_names_them(self, alice: Any, expected: int) -> None:
        document = new_document(alice)
        said = f"1 links were issued; {expected} expected"
        with pytest.raises(AssertionError, match=said) as raised, assert_issued(expected), as_user(alice):
            link_of(document)
        assert "signature" not in str(raised.value)
        assert "hostapp.Document.file" in str(raised.value)

    def test_an_error_inside_is_what_the_test_sees(self) -> None:
        with pytest.raises(ZeroDivisionError), assert_issued(3):
            raise ZeroDivisionError


class TestInMemory:
    def test_replaces_private_storages_alone(self, settings: Any) -> None:
        given = settings.STORAGES | {
            "cloud": {
                "BACKEND": "gateway.storages.PrivateS3Storage",
                "OPTIONS": {"bucket_name": "b", "max_ttl": 60, "inline_types": ["image/png"]},
            }
        }
        replaced = in_memory(given)
        assert {alias: entry for alias, entry in replaced.items() if alias not in ("private", "cloud")} == {
            alias: entry for alias, entry in given.items() if alias not in ("private", "cloud")
        }
        assert replaced["cloud"] == {
            "BACKEND": "gateway.testing.InMemoryPrivateStorage",
            "OPTIONS": {"max_ttl": 60, "inline_types": ["image/png"]},
        }
        assert in_memory().keys() == settings.STORAGES.keys()

    def test_keeps_files_and_serves_their_links(self, alice: Any, client: Any, settings: Any) -> None:
        settings.STORAGES = in_memory()
        document = Document(owner=alice)
        document.file.save("a.txt", ContentFile(b"hello"))
        with as_user(alice):
            link = document.file.url
        answer = client.get(link)
        assert (answer.status_code, answer.getvalue()) == (200, b"hello")
        assert client.get(link[:-1] + ("0" if link[-1] != "0" else "1")).status_code == 403

    def test_is_empty_at_first_and_leaves_nothing_behind(self, settings: Any) -> None:
        settings.STORAGES = in_memory()
        storage = storages["private"]
        assert isinstance(storage, InMemoryPrivateStorage)
        assert storage.listdir("") == ([], [])
        storage.save("uploads/a.txt", ContentFile(b"hello"))
        location = Path(storage.location)
        assert location.is_dir()
        settings.STORAGES = in_memory()
        assert storages["private"].listdir("") == ([], [])
        del storage
        assert not location.exists()

    def test_signs_whatever_the_secret_key_is(self, settings: Any, alice: Any) -> None:
        settings.SECRET_KEY = "short"
        settings.STORAGES = in_memory()
        with as_user(alice):
            assert new_document(alice).file.url

    def test_a_child_process_does_not_delete_its_parents_files(self, tmp_path: Path) -> None:
        storage = InMemoryPrivateStorage(alias="private")
        location = storage.location
        child = os.fork()
        if child == 0:
            del storage
            os._exit(0)
        os.waitpid(child, 0)
        assert Path(location).is_dir()

    def test_is_a_private_storage(self) -> None:
        assert issubclass(InMemoryPrivateStorage, PrivateFileSystemStorage)
        assert not issubclass(PrivateS3Storage, PrivateFileSystemStorage)


class TestInATestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = get_user_model().objects.create_user("ada")
        cls.document = new_document(cls.user)

    def test_a_link_costs_what_it_costs_in_a_request(self) -> None:
        # The row with what was taken back, the audit row, what was taken back meanwhile.
        with assert_issued(1), self.assertNumQueries(3), as_user(self.user), no_links_in_caches():
            assert self.document.file.url

    def test_every_test_begins_without_rows(self) -> None:
        assert not Issuance.objects.exists()
        with allow_all(), as_user(None):
            assert self.document.file.url

    @override_settings(ROOT_URLCONF="tests.hostapp.urls")
    def test_the_client_needs_none_of_it(self) -> None:
        self.client.force_login(self.user)
        with assert_issued(1), no_links_in_caches():
            assert self.client.get("/rest/documents/").json()[0]["file"]


class TestInACoroutine(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = get_user_model().objects.create_user("ada")
        cls.document = new_document(cls.user)

    async def test_a_link_is_counted_and_recorded(self) -> None:
        async with assert_issued(1) as rows, as_user(self.user) as request:
            assert request.user is self.user
            assert await self.document.file.aurl() == await self.document.file.aurl()
            assert not await Issuance.objects.aexists()
        assert [row.principal for row in rows] == [f"user:{self.user.pk}"]
        assert await Issuance.objects.acount() == 1
        assert ambient_lease() is None

    async def test_another_number_fails(self) -> None:
        with self.assertRaisesMessage(AssertionError, "1 links were issued; 2 expected"):
            async with assert_issued(2), as_user(self.user):
                await self.document.file.aurl()

    async def test_an_error_inside_is_what_the_test_sees(self) -> None:
        async def ask_and_fail() -> None:
            async with assert_issued(2), as_user(self.user):
                await self.document.file.aurl()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await ask_and_fail()
        assert await Issuance.objects.acount() == 1
        assert ambient_lease() is None


class TestInATransactionTestCase(TransactionTestCase):
    def test_rows_are_committed(self) -> None:
        user = get_user_model().objects.create_user("ada")
        document = new_document(user)
        with as_user(user), assert_issued(1):
            assert document.file.url
        assert Issuance.objects.count() == 1


class TestWithoutADatabase(SimpleTestCase):
    def test_who_asks_can_be_said(self) -> None:
        with as_user(None):
            assert current().kind == "anonymous"


# What is put into a cache, made of a link.
KEPT: dict[str, Callable[[str], Any]] = {
    "the link": lambda link: link,
    "plain text": lambda link: str.__str__(link),
    "a page": lambda link: f"<a href='{link.replace('&', '&amp;')}'>",
    "bytes": lambda link: link.encode(),
    "json": lambda link: json.dumps({"url": link}),
    "json in a query": lambda link: f"/login?next={quote(link)}",
    "in a list in a dict": lambda link: {"rows": [{"file": link}]},
    "a tuple": lambda link: (1, link),
    "a response": lambda link: HttpResponse(f"<a href='{link}'>"),
    "a gzipped response": lambda link: HttpResponse(
        gzip.compress(link.encode()), headers={"Content-Encoding": "gzip"}
    ),
}  # fmt: skip

# Queries of links as stores have them, and others that only look so.
QUERIES = {
    "s3": ("X-Amz-Credential=a&X-Amz-Signature=0123456789abcdef", True),
    "gcs": ("X-Goog-Signature=0123456789abcdef", True),
    "azure": ("sv=2025-01-05&sig=abcdefgh%2Bijk%3D", True),
    "cloudfront": ("Expires=1&Signature=abcdefgh~ijk-_", True),
    "local": ("expires=1&signature=abcdefghijkl", True),
    "an empty signature": ("signature=", False),
    "another parameter": ("signatures=abcdefghijkl", False),
    "a value": ("q=sig", False),
}


class TestCaches:
    @pytest.fixture
    def link(self, alice: Any) -> str:
        with as_user(alice):
            return new_document(alice).file.url

    @pytest.fixture(autouse=True)
    def backends(self, settings: Any, tmp_path: Path) -> Iterator[None]:
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "guard"},
            "files": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": str(tmp_path / "cache"),
            },
            "nowhere": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        }
        yield
        caches["default"].clear()

    @pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
    def test_a_link_is_refused_in_whatever_it_is(self, link: str, make: Callable[[str], Any]) -> None:
        with pytest.raises(LinkKept), no_links_in_caches():
            caches["default"].set("key", make(link))
        assert caches["default"].get("key") is None

    @pytest.mark.parametrize("alias", ["default", "files", "nowhere"])
    @pytest.mark.parametrize(
        "put",
        [
            pytest.param(lambda cache, link: cache.set("key", str(link)), id="set"),
            pytest.param(lambda cache, link: cache.add("key", str(link)), id="add"),
            pytest.param(lambda cache, link: cache.set_many({"key": [link]}), id="set_many"),
            pytest.param(lambda cache, link: cache.get_or_set("key", link + ""), id="get_or_set"),
            pytest.param(lambda cache, link: cache.get_or_set("key", lambda: link + ""), id="get_or_set a function"),
            pytest.param(lambda cache, link: cache.set(f"links:{link[7:]}", 1), id="in a key"),
            pytest.param(lambda cache, link: async_to_sync(cache.aset)("key", str(link)), id="aset"),
            pytest.param(lambda cache, link: async_to_sync(cache.aadd)("key", str(link)), id="aadd"),
            pytest.param(lambda cache, link: async_to_sync(cache.aset_many)({"key": link + ""}), id="aset_many"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
    def test_a_link_is_refused_by_every_way(self, link: str, alias: str, put: Callable[[Any, str], Any]) -> None:
        with pytest.raises(LinkKept), no_links_in_caches():
            put(caches[alias], link)

    @pytest.mark.parametrize(("query", "found"), QUERIES.values(), ids=QUERIES)
    def test_a_link_is_known_by_its_signature(self, query: str, found: bool) -> None:
        assert _holds_link(f"https://store.example/key?{query}") is found

    def test_the_fields_of_an_upload_form_are_refused(self) -> None:
        provider = S3Provider(bucket="bucket-1", region="eu-central-1", credentials=StaticCredentials("A" * 20, "s"))
        form = provider.sign(
            UploadForm("uploads/a.pdf", content_type="application/pdf", min_bytes=1, max_bytes=2),
            ttl=timedelta(seconds=60), now=datetime.now(UTC),
        )  # fmt: skip
        for value in (
            form,
            form.fields,
            dict(form.fields),
            MappingProxyType(dict(form.fields)),
            json.dumps(dict(form.fields)),
        ):
            assert _holds_link(value), type(value)

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param("text", id="text"),
            pytest.param({"a": [1, None, b"bytes"]}, id="values"),
            pytest.param("http://testserver/f/hostapp.document:1:file", id="permalink"),
            pytest.param("https://example.org/?signature=", id="an empty signature"),
            pytest.param(datetime(2026, 1, 2, tzinfo=UTC), id="instant"),
            pytest.param(HttpResponse("hello"), id="response"),
            pytest.param(lambda: 1, id="not to be pickled"),
        ],
    )
    def test_anything_else_is_kept(self, value: Any) -> None:
        with no_links_in_caches():
            caches["nowhere"].set("key", value)
            if not callable(value):
                caches["default"].set("key", value)
        assert callable(value) or caches["default"].get("key") is not None

    def test_a_cached_fragment_of_a_template_is_refused(self, alice: Any) -> None:
        document = new_document(alice)
        text = "{% load cache gateway %}{% cache 60 one %}{% TAG document.file %}{% endcache %}"
        context = Context({"document": document})
        with as_user(alice), no_links_in_caches():
            assert Template(text.replace("TAG", "permalink")).render(context)
        caches["default"].clear()
        with pytest.raises(LinkKept), as_user(alice), no_links_in_caches():
            Template(text.replace("TAG", "presigned")).render(context)

    def test_code_that_swallows_errors_does_not_hide_it(self, link: str) -> None:
        with pytest.raises(LinkKept), no_links_in_caches(), suppress(LinkKept):
            caches["default"].set("key", link)

    def test_a_backend_that_is_first_used_inside_is_guarded(self, link: str) -> None:
        def make() -> BaseCache:
            class Late(LocMemCache):
                def set(self, *args: Any, **kwargs: Any) -> None:
                    pass  # does not call what is guarded already

            return Late("late", {})

        with pytest.raises(LinkKept), no_links_in_caches():
            make().set("key", link)

    @pytest.mark.parametrize(
        "engine",
        [
            pytest.param(db_sessions.SessionStore, id="database"),
            pytest.param(cache_sessions.SessionStore, id="cache"),
            pytest.param(signed_cookies.SessionStore, id="cookie"),
        ],
    )
    def test_sessions_are_refused_too(self, link: str, engine: Any) -> None:
        with no_links_in_caches():
            session = engine()
            session["page"] = "/documents"
            session.save()
        session["page"] = link + ""
        with pytest.raises(LinkKept), no_links_in_caches():
            session.save()

    def test_everything_is_put_back(self, link: str) -> None:
        before = {cls: dict(vars(cls)) for cls in (BaseCache, LocMemCache, DummyCache, db_sessions.SessionStore)}
        with no_links_in_caches(), no_links_in_caches():
            assert vars(LocMemCache)["set"] is not before[LocMemCache]["set"]
        assert {cls: dict(vars(cls)) for cls in before} == before
        caches["default"].set("key", str.__str__(link))

    def test_the_link_is_in_no_message(self, link: str) -> None:
        with pytest.raises(LinkKept) as raised, no_links_in_caches():
            caches["default"].set("key", link)
        assert "signature" not in str(raised.value)
        assert "LocMemCache" in str(raised.value)
