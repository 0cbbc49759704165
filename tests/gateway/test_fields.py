"""File fields: what ``.url`` answers to whom, which names may be saved, and which objects a row lets go of."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django import forms
from django.apps.registry import Apps
from django.core import serializers
from django.core.exceptions import FieldError, ImproperlyConfigured, PermissionDenied
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.models.fields.files import FieldFile, ImageFieldFile
from django.db.models.signals import class_prepared
from django.forms import modelform_factory
from django.template import Context, Template
from django.test import override_settings
from PIL import Image
from rest_framework.serializers import ModelSerializer

from gateway.errors import (
    AccessDenied,
    GatewayError,
    KeyNotMinted,
    NoPrincipal,
    StorageUnavailable,
    SyncOnly,
    TTLTooLong,
)
from gateway.fields import (
    PrivateFieldFile,
    PrivateFileField,
    PrivateImageField,
    PrivateImageFieldFile,
)
from gateway.models import File, Issuance, ObjectDeletion
from gateway.policies import Everyone, Owner, Share
from gateway.principals import ANONYMOUS, SYSTEM, acting_as
from gateway.storages import PrivateFileSystemStorage, PrivateS3Storage, StorageByAlias
from providers import ProviderError
from tests.hostapp.models import Document, Invoice, Leaflet, Minutes, Photo, Project, Scan

pytestmark = pytest.mark.django_db

BACKEND = "gateway.storages.PrivateFileSystemStorage"

# Models of no installed app: other tests look at the tables of those.
ISOLATED = Apps()


class Parent(models.Model):
    title = models.CharField(max_length=10, blank=True)
    file = PrivateFileField(policy=Everyone(), delete_objects=True, blank=True)

    class Meta:
        apps = ISOLATED
        app_label = "isolated"


class Child(Parent):
    extra = PrivateFileField(policy=Everyone(), delete_objects=True, blank=True)

    class Meta:
        apps = ISOLATED
        app_label = "isolated"


class Proxy(Parent):
    class Meta:
        apps = ISOLATED
        app_label = "isolated"
        proxy = True


class Abstract(models.Model):
    file = PrivateFileField(policy=Everyone(), delete_objects=True, blank=True)

    class Meta:
        abstract = True


class Concrete(Abstract):
    class Meta:
        apps = ISOLATED
        app_label = "isolated"


class Lasting(models.Model):
    """Its objects outlive it: the default."""

    file = PrivateFileField(policy=Everyone(), blank=True)

    class Meta:
        apps = ISOLATED
        app_label = "isolated"


class Linked(models.Model):
    """Its ``.url`` is the permalink."""

    file = PrivateFileField(policy=Everyone(), storage=StorageByAlias("permalinks"), blank=True)

    class Meta:
        apps = ISOLATED
        app_label = "isolated"


class Misplaced(models.Model):
    """A private field on a public storage."""

    file = PrivateFileField(storage=StorageByAlias("default"), blank=True)

    class Meta:
        apps = ISOLATED
        app_label = "isolated"


MODELS = [Parent, Child, Concrete, Lasting, Linked, Misplaced]


@pytest.fixture(scope="module", autouse=True)
def tables(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), connection.constraint_checks_disabled():
        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        yield
        with connection.schema_editor() as editor:
            for model in reversed(MODELS):
                editor.delete_model(model)


@pytest.fixture(autouse=True)
def permalinks(settings: Any, private_root: Any) -> None:
    options = {"location": private_root, "url_mode": "permalink"}
    settings.STORAGES = settings.STORAGES | {
        "private": {"BACKEND": BACKEND, "OPTIONS": {"location": private_root}},
        "permalinks": {"BACKEND": BACKEND, "OPTIONS": options},
    }


def content(text: str = "%PDF") -> ContentFile[bytes]:
    return ContentFile(text.encode(), name="report.pdf")


def saved(model: Any = Document, **fields: Any) -> Any:
    instance = model(**fields)
    instance.file.save("report.pdf", content())
    return instance


@pytest.fixture
def document(alice: Any) -> Document:
    return saved(owner=alice)


@pytest.fixture
def other(bob: Any) -> Document:
    """Somebody else's."""
    return saved(owner=bob)


def fresh(instance: Any) -> Any:
    return type(instance)._base_manager.get(pk=instance.pk)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def noted() -> list[str]:
    """Return the keys in the outbox."""
    return sorted(ObjectDeletion.objects.values_list("key", flat=True))


class DocumentForm(forms.ModelForm[Document]):
    class Meta:
        model = Document
        fields = ["title", "file"]


PRESIGNED = "http://testserver/local/private/uploads/"


class TestLinks:
    def test_url_is_a_presigned_link(self, document: Document, alice: Any) -> None:
        with acting_as(alice):
            url = document.file.url
        assert url.startswith(PRESIGNED)
        assert "&signature=" in url
        assert isinstance(url, str)
        assert Issuance.objects.get().principal == f"user:{alice.pk}"

    def test_a_link_is_not_shown_by_accident(self, document: Document, alice: Any) -> None:
        with acting_as(alice):
            url = document.file.url
        assert "signature" not in repr(url)
        with pytest.raises(TypeError, match="bearer credential"):
            pickle.dumps(url)

    def test_the_permalink_asks_nobody(self, document: Document) -> None:
        assert document.file.permalink == f"http://testserver/f/hostapp.document:{document.pk}:file"
        assert not Issuance.objects.exists()

    def test_signed_url_takes_what_a_link_may_say(self, document: Document, alice: Any) -> None:
        with acting_as(alice):
            url = document.file.signed_url(
                ttl=timedelta(seconds=60), disposition="attachment", filename="Jahresabschluß.pdf"
            )
        assert "&disposition=attachment&filename=Jahresabschlu%C3%9F.pdf&" in url
        issued = Issuance.objects.get()
        assert (issued.expires_at - issued.at).total_seconds() <= 60

    def test_signed_url_holds_to_the_limits(self, document: Document, alice: Any) -> None:
        with acting_as(alice), pytest.raises(TTLTooLong, match="ttl is 901 s; at most 900 s"):
            document.file.signed_url(ttl=timedelta(seconds=901))

    def test_in_permalink_mode_url_is_the_permalink(self) -> None:
        linked = saved(Linked)
        assert linked.file.url == linked.file.permalink == f"http://testserver/f/isolated.linked:{linked.pk}:file"
        assert asyncio.run(linked.file.aurl()) == linked.file.permalink
        assert not Issuance.objects.exists()

    def test_in_permalink_mode_signed_url_is_still_presigned(self) -> None:
        linked = saved(Linked)
        with acting_as(ANONYMOUS):
            assert linked.file.signed_url().startswith("http://testserver/local/permalinks/uploads/")

    def test_in_permalink_mode_url_may_be_read_in_an_event_loop(self) -> None:
        linked = saved(Linked)

        async def look() -> str:
            return linked.file.url

        assert asyncio.run(look()) == linked.file.permalink

    def test_the_public_url_stands_before_the_permalink(self, document: Document, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": "https://files.example.com"}
        assert document.file.permalink.startswith("https://files.example.com/f/")

    @pytest.mark.parametrize("model", [Document, Linked], ids=["presigned", "permalink"])
    @pytest.mark.parametrize("name", ["url", "permalink"])
    def test_without_a_file_it_is_djangos_error(self, model: Any, name: str) -> None:
        with pytest.raises(ValueError, match="no file associated"):
            getattr(model.objects.create().file, name)

    def test_size_and_bytes_need_no_link(self, document: Document) -> None:
        with document.file.open() as file:
            assert file.read() == b"%PDF"
        assert document.file.size == 4


class TestAsync:
    @pytest.mark.parametrize(
        ("look", "instead"),
        [
            pytest.param(lambda file: file.url, r"use await \.aurl\(\)", id="url"),
            pytest.param(lambda file: file.signed_url(), r"use await \.asigned_url\(\)", id="signed_url"),
        ],
    )
    def test_blocking_forms_name_the_other_one(
        self, document: Document, alice: Any, look: Callable[[Any], str], instead: str
    ) -> None:
        file = document.file

        async def ask() -> str:
            with acting_as(alice):
                return look(file)

        with pytest.raises(SyncOnly, match=instead):
            asyncio.run(ask())
        assert not Issuance.objects.exists()

    def test_async_forms_answer_the_same(self, document: Document, alice: Any) -> None:
        from asgiref.sync import async_to_sync

        file = document.file

        async def ask() -> tuple[str, str]:
            with acting_as(alice):
                return await file.aurl(), await file.asigned_url(filename="a.pdf", ttl=timedelta(seconds=9))

        url, signed = async_to_sync(ask)()
        assert url.startswith(PRESIGNED)
        assert "&filename=a.pdf&" in signed

    def test_async_forms_refuse_the_same(self, document: Document, bob: Any) -> None:
        from asgiref.sync import async_to_sync

        file = document.file

        async def ask() -> str:
            with acting_as(bob):
                return await file.aurl()

        with pytest.raises(AccessDenied):
            async_to_sync(ask)()

    def test_nobody_is_nobody_there_too(self, document: Document) -> None:
        with pytest.raises(NoPrincipal):
            asyncio.run(document.file.aurl())


def renamed(document: Document, other: Document) -> Document:
    document.file.name = other.file.name
    return document


def reassigned(document: Document, other: Document) -> Document:
    document.file = other.file.name
    return document


def disowned(document: Document, other: Document) -> Document:
    """Somebody else's row, made one's own in memory."""
    other.owner = document.owner
    return other


def built(document: Document, other: Document) -> Document:
    return Document(owner=document.owner, file=other.file.name)


def built_on_ones_own_row(document: Document, other: Document) -> Document:
    return Document(pk=document.pk, owner=document.owner, file=other.file.name)


def built_on_the_others_row(document: Document, other: Document) -> Document:
    return Document(pk=other.pk, owner=document.owner, file=other.file.name)


def deleted(document: Document, other: Document) -> Document:
    Document.objects.filter(pk=document.pk).delete()
    return document


def unsaved(document: Document, other: Document) -> Document:
    new = Document(owner=document.owner)
    new.file.save("new.pdf", content(), save=False)
    return new


def with_an_upload(document: Document, other: Document) -> Document:
    document.file = SimpleUploadedFile("new.pdf", b"new")
    return document


def of_a_form_that_failed(document: Document, other: Document) -> Document:
    form = DocumentForm({"title": "x" * 51}, {"file": SimpleUploadedFile(other.file.name, b"new")}, instance=document)
    assert not form.is_valid()
    return document


def replaced_meanwhile(document: Document, other: Document) -> Document:
    fresh(document).file.save("newer.pdf", content())
    return document


def deleted_here(document: Document) -> Document:
    document.delete()
    return document


NOT_THE_ROW = [
    renamed, reassigned, disowned, built, built_on_ones_own_row, built_on_the_others_row, deleted, unsaved,
    with_an_upload, of_a_form_that_failed, replaced_meanwhile,
]  # fmt: skip


class TestAnswers:
    """The table of answers; the row is read again for each of them."""

    @pytest.fixture(params=["url", "signed_url"])
    def ask(self, request: pytest.FixtureRequest) -> Any:
        return {"url": lambda file: file.url, "signed_url": lambda file: file.signed_url()}[request.param]

    def test_nobody(self, document: Document, ask: Any) -> None:
        with pytest.raises(NoPrincipal):
            ask(document.file)
        assert not Issuance.objects.exists()

    def test_a_stranger(self, document: Document, bob: Any, ask: Any) -> None:
        with acting_as(bob), pytest.raises(AccessDenied):
            ask(document.file)

    def test_the_anonymous(self, document: Document, ask: Any) -> None:
        with acting_as(ANONYMOUS), pytest.raises(AccessDenied):
            ask(document.file)

    def test_the_inactive(self, document: Document, alice: Any, ask: Any) -> None:
        alice.is_active = False
        with acting_as(alice), pytest.raises(AccessDenied):
            ask(document.file)

    def test_the_system(self, document: Document, ask: Any) -> None:
        with acting_as(SYSTEM, reason="test"):
            assert ask(document.file).startswith(PRESIGNED)

    @pytest.mark.parametrize("change", NOT_THE_ROW)
    def test_the_owner_of_something_else(
        self, document: Document, other: Document, alice: Any, change: Any, ask: Any
    ) -> None:
        changed = change(document, other)
        with acting_as(alice), pytest.raises(AccessDenied):
            ask(changed.file)
        assert {row.decision for row in Issuance.objects.all()} == {"refused"}

    @pytest.mark.parametrize("change", [disowned, built_on_the_others_row])
    def test_what_the_instance_claims_is_not_asked(
        self, document: Document, other: Document, bob: Any, change: Any, ask: Any
    ) -> None:
        # In memory the row is alice's; in the database it is bob's, and bob gets his file.
        changed = change(document, other)
        with acting_as(bob):
            assert other.file.name in ask(changed.file)

    def test_one_decision_for_each_link_outside_a_request(
        self, document: Document, alice: Any, ask: Any, django_assert_num_queries: Any
    ) -> None:
        with acting_as(alice):
            with django_assert_num_queries(3):  # the row with epochs, its record, and epochs after
                ask(document.file)
            ask(document.file)
        assert Issuance.objects.count() == 2

    def test_a_refusal_says_nothing_of_the_object(self, document: Document, bob: Any, ask: Any) -> None:
        with acting_as(bob), pytest.raises(PermissionDenied) as raised:
            ask(document.file)
        assert raised.value.args == ("There is no such file, or you may not have it.",)
        assert document.file.name not in str(raised.value)
        assert document.file.name not in repr(raised.value)

    @pytest.mark.parametrize("ask_by", ["getattr", "hasattr"])
    def test_a_refusal_is_not_taken_for_a_missing_attribute(self, document: Document, bob: Any, ask_by: str) -> None:
        with acting_as(bob), pytest.raises(AccessDenied):
            getattr(document.file, "url", None) if ask_by == "getattr" else hasattr(document.file, "url")

    def test_no_error_of_ours_is_an_attribute_error(self) -> None:
        def all_below(error: type[Exception]) -> Iterator[type[Exception]]:
            yield error
            for below in error.__subclasses__():
                yield from all_below(below)

        errors = [*all_below(GatewayError), *all_below(ProviderError)]
        assert len(errors) > 20
        assert not any(issubclass(error, AttributeError) for error in errors)

    def test_an_attribute_error_in_signing_does_not_stay_one(
        self, document: Document, alice: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sign_many(self: Any, *_: Any, **__: Any) -> Any:
            raise AttributeError("you need a private key to sign credentials")

        monkeypatch.setattr(type(storages["private"].provider), "sign_many", sign_many)
        with acting_as(alice), pytest.raises(StorageUnavailable):
            _ = document.file.url

    def test_a_private_field_on_a_public_storage_is_no_attribute_error(self) -> None:
        misplaced = Misplaced(file="a/b.pdf")
        for look in (lambda: misplaced.file.url, lambda: asyncio.run(misplaced.file.aurl())):
            with (
                acting_as(ANONYMOUS),
                pytest.raises(StorageUnavailable, match="InMemoryStorage, which is not private"),
            ):
                look()

    @pytest.mark.parametrize("make", [lambda document: Document(), deleted_here], ids=["new", "deleted"])
    def test_a_row_that_is_not_saved_has_no_permalink(self, document: Document, make: Any) -> None:
        instance = make(document)
        instance.file.name = "uploads/a.pdf"
        with pytest.raises(AccessDenied) as raised:
            _ = instance.file.permalink
        assert "not saved" in raised.value.reason


class Looks:
    """Looks a link up deeper than a template does."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def link(self) -> str:
        return self.document.file.url


def render(text: str, **context: Any) -> str:
    return Template(text).render(Context(context))


class TestTemplates:
    DIRECT = {
        "variable": "[{{ document.file.url }}]",
        "filter": "[{{ document.file.url|default:'' }}]",
        "if": "[{% if document.file.url %}yes{% endif %}]",
        "with": "[{% with url=document.file.url %}{{ url }}{% endwith %}]",
        "loop-over-rows": "[{% for one in documents %}{{ one.file.url }}{% endfor %}]",
        "attribute": "[{% firstof document.file.url %}]",
    }

    @pytest.mark.parametrize("text", DIRECT.values(), ids=DIRECT)
    def test_a_direct_look_up_loses_the_link_alone(self, document: Document, bob: Any, text: str) -> None:
        with acting_as(bob):
            assert render(text, document=document, documents=[document, document]) == "[]"

    @pytest.mark.parametrize("text", DIRECT.values(), ids=DIRECT)
    def test_nobody_is_never_silent(self, document: Document, text: str) -> None:
        with pytest.raises(NoPrincipal):
            render(text, document=document, documents=[document])

    def test_what_is_allowed_is_shown(self, document: Document, alice: Any) -> None:
        with acting_as(alice):
            assert render("{{ document.file.url }}", document=document).startswith(PRESIGNED)

    @pytest.mark.parametrize(
        ("text", "context"),
        [
            pytest.param(
                "{% for link in links %}{{ link }}{% endfor %}",
                lambda document: {"links": (one.file.url for one in [document])}, id="generator",
            ),
            pytest.param("{{ looks.link }}", lambda document: {"looks": Looks(document)}, id="method"),
            pytest.param(
                "{{ link }}", lambda document: {"link": lambda: document.file.url}, id="callable"
            ),
        ],
    )  # fmt: skip
    def test_one_that_is_raised_deeper_is_not_silent(
        self, document: Document, bob: Any, text: str, context: Any
    ) -> None:
        with acting_as(bob), pytest.raises(AccessDenied):
            render(text, **context(document))

    def test_a_refusal_that_was_silent_once_is_not_silent_ever_after(self, document: Document, bob: Any) -> None:
        with acting_as(bob):
            render("{{ document.file.url }}", document=document)
            with pytest.raises(AccessDenied) as raised:
                _ = document.file.url
        assert raised.value.silent_variable_failure is False
        assert AccessDenied.silent_variable_failure is False

    def test_a_storage_that_cannot_sign_is_not_silent(self, document: Document, alice: Any, settings: Any) -> None:
        settings.SECRET_KEY = "short"
        with acting_as(alice), pytest.raises(StorageUnavailable):
            render("{{ document.file.url }}", document=document)

    def test_an_unsaved_row_is_silent_in_permalink_mode_too(self) -> None:
        linked = Linked()
        linked.file.name = "uploads/a.pdf"
        assert render("[{{ linked.file.url }}]", linked=linked) == "[]"


def by_constructor(document: Document, other: Document) -> None:
    Document(owner=document.owner, file=other.file.name).save()


def by_create(document: Document, other: Document) -> None:
    Document.objects.create(owner=document.owner, file=other.file.name)


def by_assignment(document: Document, other: Document) -> None:
    document.file = other.file.name
    document.save()


def by_setting_the_name(document: Document, other: Document) -> None:
    document.file.name = other.file.name
    document.save()


def by_the_others_field_file(document: Document, other: Document) -> None:
    document.file = other.file
    document.save()


def by_the_field_file_of_one_that_is_not_saved(document: Document, other: Document) -> None:
    new = Document(owner=other.owner)
    new.file.save("new.pdf", content(), save=False)
    document.file = new.file
    document.save()


def by_the_others_field_file_in_the_constructor(document: Document, other: Document) -> None:
    Document(owner=document.owner, file=other.file).save()


def by_a_value_of_a_query(document: Document, other: Document) -> None:
    name = Document.objects.values_list("file", flat=True).get(pk=other.pk)
    Document(pk=document.pk, owner=document.owner, file=name).save()


def by_a_value_of_a_query_into_a_deferred_field(document: Document, other: Document) -> None:
    deferred = Document.objects.defer("file").get(pk=document.pk)
    deferred.file = Document.objects.values_list("file", flat=True).get(pk=other.pk)
    deferred.save()


def by_a_false_twin(document: Document, other: Document) -> None:
    twin = fresh(document)
    twin.file = other.file.name
    document.file = twin.file
    document.save()


def by_moving_to_the_others_row(document: Document, other: Document) -> None:
    loaded = fresh(document)
    loaded.pk = other.pk
    loaded.save()


def by_update(document: Document, other: Document) -> None:
    Document.objects.filter(pk=document.pk).update(file=other.file.name)


def by_update_with_a_field_file(document: Document, other: Document) -> None:
    Document.objects.filter(pk=document.pk).update(file=fresh(other).file)


def by_bulk_update(document: Document, other: Document) -> None:
    document.file = other.file.name
    Document.objects.bulk_update([document], ["file"])


def by_bulk_update_with_a_field_file(document: Document, other: Document) -> None:
    document.file = other.file
    Document.objects.bulk_update([document], ["file"])


def by_bulk_create(document: Document, other: Document) -> None:
    Document.objects.bulk_create([Document(owner=document.owner, file=other.file.name)])


def by_bulk_create_with_update(document: Document, other: Document) -> None:
    Document.objects.bulk_create(
        [Document(pk=document.pk, owner=document.owner, file=other.file.name)],
        update_conflicts=True, unique_fields=["id"], update_fields=["file"],
    )  # fmt: skip


def by_update_or_create(document: Document, other: Document) -> None:
    Document.objects.update_or_create(pk=document.pk, defaults={"file": other.file.name})


def by_get_or_create(document: Document, other: Document) -> None:
    Document.objects.get_or_create(title="new", defaults={"file": other.file.name})


def by_update_fields(document: Document, other: Document) -> None:
    document.file = other.file.name
    document.save(update_fields=["file"])


def by_a_form_with_the_others_initial(document: Document, other: Document) -> None:
    form = DocumentForm({"title": "x"}, instance=document, initial={"file": other.file})
    assert form.is_valid(), form.errors
    form.save()


def by_a_clone(document: Document, other: Document) -> None:
    clone = fresh(other)
    clone.pk = None
    clone.save()


def by_a_clone_of_a_new_one(document: Document, other: Document) -> None:
    other.pk = None
    other._state.adding = True
    other.save()


def by_a_clone_with_a_key_of_its_own(document: Document, other: Document) -> None:
    clone = fresh(other)
    clone.pk = 10_000
    clone.save()


def by_a_copy(document: Document, other: Document) -> None:
    clone = copy.copy(other)
    clone.pk = None
    clone.save(force_insert=True)


def by_a_copy_that_was_made_before(document: Document, other: Document) -> None:
    new = Document(owner=document.owner)
    new.file.save("a.pdf", content(), save=False)
    clone = copy.copy(new)
    new.save()
    clone.save()


def by_a_deep_copy_that_was_made_before(document: Document, other: Document) -> None:
    new = Document(owner=document.owner)
    new.file.save("a.pdf", content(), save=False)
    new.file.close()
    clone = copy.deepcopy(new)
    new.save()
    clone.save()


def by_a_pickle(document: Document, other: Document) -> None:
    clone = pickle.loads(pickle.dumps(fresh(other)))
    clone.pk = None
    clone.save()


def by_a_made_up_name(document: Document, other: Document) -> None:
    Document(owner=document.owner, file="uploads/somewhere/else.pdf").save()


def by_the_mark_of_a_fixture(document: Document, other: Document) -> None:
    restored = next(serializers.deserialize("json", serializers.serialize("json", [other])))
    restored.save()
    Document.objects.filter(pk=document.pk).update(file=restored.object.file)


NOT_MINTED = [value for name, value in sorted(globals().items()) if name.startswith("by_")]


class TestKeyNotMinted:
    def test_the_table_is_whole(self) -> None:
        assert len(NOT_MINTED) == 30

    @pytest.mark.parametrize("way", NOT_MINTED)
    def test_no_other_way_into_a_row(self, document: Document, other: Document, way: Any) -> None:
        before = dict(Document.objects.values_list("pk", "file"))
        with pytest.raises(KeyNotMinted), transaction.atomic():
            way(document, other)
        after = dict(Document.objects.values_list("pk", "file"))
        assert after.items() >= before.items()
        assert len(set(after.values())) == len(after)

    def test_the_error_names_the_field_and_the_way_out(self, document: Document, other: Document) -> None:
        with pytest.raises(KeyNotMinted, match=r"hostapp\.Document\.file was given .*; save a file, or .* attach"):
            by_assignment(document, other)

    def test_images_are_guarded_as_well(self, alice: Any) -> None:
        with pytest.raises(KeyNotMinted):
            Photo(owner=alice, image="uploads/1/a.png", width=1, height=1).save()

    @pytest.mark.parametrize("model", [Child, Proxy, Concrete], ids=["child", "proxy", "of-an-abstract-one"])
    def test_models_of_every_kind_are_guarded(self, model: Any) -> None:
        one = saved(model)
        ways: list[Callable[[], Any]] = [
            lambda: model(file=one.file.name).save(),
            lambda: model(file=one.file).save(),
            lambda: model.objects.update(file=one.file.name),
        ]
        for instance in (one, fresh(one)):
            instance.pk = None
            instance.id = None
            ways.append(instance.save)
        for way in ways:
            with pytest.raises(KeyNotMinted), transaction.atomic():
                way()

    def test_a_file_of_the_parent_does_not_become_one_of_the_childs(self) -> None:
        child = saved(Child)
        child.extra = child.file
        with pytest.raises(KeyNotMinted):
            child.save()


def fresh_name(instance: Any) -> str:
    return str(type(instance)._base_manager.values_list("file", flat=True).get(pk=instance.pk))


class TestSaving:
    """What Django's own fields can do, ours can."""

    def test_save_and_load(self, document: Document) -> None:
        loaded = fresh(document)
        assert loaded.file.name == document.file.name
        loaded.title = "changed"
        loaded.save()
        loaded.save()
        assert fresh(document).title == "changed"

    def test_create_with_an_upload(self, alice: Any) -> None:
        created = Document.objects.create(owner=alice, file=SimpleUploadedFile("a b.pdf", b"x"))
        assert fresh(created).file.name.endswith("/a_b.pdf")
        created.title = "again"
        created.save()

    def test_a_form_with_a_new_file(self, document: Document) -> None:
        before = document.file.name
        form = DocumentForm({"title": "x"}, {"file": SimpleUploadedFile("new.pdf", b"x")}, instance=document)
        assert form.is_valid(), form.errors
        form.save()
        assert fresh_name(document).endswith("/new.pdf")
        assert noted() == [before]

    def test_a_form_without_a_new_file(self, document: Document) -> None:
        before = document.file.name
        for instance in (document, fresh(document)):
            form = DocumentForm({"title": "x"}, instance=instance)
            assert form.is_valid(), form.errors
            form.save()
        assert fresh_name(document) == before
        assert noted() == []

    def test_a_form_that_clears(self, document: Document) -> None:
        before = document.file.name
        form = DocumentForm({"title": "x", "file-clear": "on"}, instance=fresh(document))
        assert form.is_valid(), form.errors
        form.save()
        assert fresh_name(document) == ""
        assert noted() == [before]

    def test_refresh_from_db(self, document: Document) -> None:
        for instance in (document, fresh(document)):
            instance.refresh_from_db()
            instance.save()
        newer = fresh(document)
        newer.file.save("newer.pdf", content())
        document.refresh_from_db()
        assert document.file.name == newer.file.name
        document.save()
        assert fresh_name(document) == newer.file.name

    def test_refreshing_the_field_alone(self, document: Document) -> None:
        document.file = "uploads/made-up.pdf"
        document.refresh_from_db(fields=["file"])
        document.save()

    @pytest.mark.parametrize("by", ["only", "defer"])
    def test_deferred_loading(self, document: Document, by: str) -> None:
        def load() -> Any:
            return Document.objects.only("title").get() if by == "only" else Document.objects.defer("file").get()

        load().save()
        loaded = load()
        assert loaded.file.name == document.file.name
        loaded.save()
        loaded = load()
        loaded.file.save("new.pdf", content())
        assert fresh_name(document) == loaded.file.name

    def test_loading_by_a_raw_query_or_a_relation(self, document: Document) -> None:
        Document.objects.raw("SELECT * FROM hostapp_document")[0].save()
        project = Project.objects.create(name="p")
        minutes = Minutes(project=project)
        minutes.file.save("m.pdf", content())
        Document.objects.update(project=project)
        document.refresh_from_db()
        Minutes.objects.select_related("project").get().save()
        next(iter(Project.objects.prefetch_related("document_set"))).document_set.all()[0].save()

    def test_fixtures(self, document: Document, tmp_path: Any) -> None:
        path = tmp_path / "fixture.json"
        with path.open("w") as stream:
            call_command("dumpdata", "hostapp.document", stdout=stream)
        call_command("loaddata", path, verbosity=0)
        name = document.file.name
        Document.objects.all().delete()
        call_command("loaddata", path, verbosity=0)
        loaded = Document.objects.get()
        assert loaded.file.name == name
        loaded.save()

    def test_the_object_of_a_fixture_can_be_saved(self, document: Document) -> None:
        restored = next(serializers.deserialize("json", serializers.serialize("json", [document])))
        restored.save()
        restored.object.title = "changed"
        restored.object.save()
        assert fresh(document).title == "changed"

    @pytest.mark.parametrize("load", [lambda one: one, fresh], ids=["saved", "loaded"])
    def test_pickling(self, document: Document, load: Any) -> None:
        document.file.close()
        restored = pickle.loads(pickle.dumps(load(document)))
        assert restored.file.name == document.file.name
        restored.title = "changed"
        restored.save()
        assert type(restored.file) is PrivateFieldFile
        restored_file = pickle.loads(pickle.dumps(load(document).file))
        assert restored_file.storage.path(restored_file.name) == document.file.path

    def test_pickling_a_new_one_before_it_is_saved(self, alice: Any) -> None:
        new = Document(owner=alice)
        new.file.save("a.pdf", content(), save=False)
        new.file.close()
        pickle.loads(pickle.dumps(new)).save()
        assert Document.objects.get().file.name == new.file.name

    def test_pickling_a_plain_field(self) -> None:
        invoice = saved(Invoice)
        invoice.file.close()
        restored = pickle.loads(pickle.dumps(fresh(invoice)))
        assert type(restored.file) is PrivateFieldFile
        restored.save()

    def test_a_retry_after_a_rolled_back_transaction(self, alice: Any) -> None:
        new = Document(owner=alice, file=SimpleUploadedFile("a.pdf", b"x"))
        for _ in range(2):
            with rolled_back():
                new.save()
        new.save()
        assert Document.objects.get().file.name == new.file.name

    def test_a_retry_of_a_replacement_lets_go_of_the_old_object_once(self, document: Document) -> None:
        before, document = document.file.name, fresh(document)
        document.file.save("new.pdf", content(), save=False)
        with rolled_back():
            document.save()
            assert noted() == [before]
        assert noted() == []
        document.save()
        assert noted() == [before]

    @pytest.mark.parametrize("model", [Parent, Child, Proxy, Concrete])
    def test_models_of_every_kind(self, model: Any) -> None:
        one = saved(model)
        for instance in (one, fresh(one)):
            instance.save()
            instance.refresh_from_db()
            instance.save()
        assert fresh_name(one) == one.file.name

    def test_a_child_is_its_parent(self) -> None:
        child = Child()
        child.extra.save("extra.pdf", content(), save=False)
        child.file.save("file.pdf", content())
        parent = Parent.objects.get()
        parent.save()
        fresh(child).parent_ptr.save()
        assert {fresh_name(parent), fresh(child).extra.name} == {child.file.name, child.extra.name}

    def test_a_copy_with_a_file_of_its_own(self, document: Document) -> None:
        clone = copy.copy(document)
        clone.pk = None
        clone.file.save("clone.pdf", content(), save=False)
        clone.save(force_insert=True)
        document.refresh_from_db()
        document.save()
        assert Document.objects.count() == 2

    def test_the_original_of_a_copy_stays_what_it_was(self, document: Document) -> None:
        loaded = fresh(document)
        clone = copy.copy(loaded)
        clone.__dict__["file"] = clone.file.name
        clone.file.save("clone.pdf", content(), save=False)
        loaded.save()
        assert fresh_name(document) == document.file.name

    def test_the_own_name_assigned_again(self, document: Document) -> None:
        loaded = fresh(document)
        loaded.file = loaded.file.name
        loaded.save()
        loaded.file = document.file
        loaded.save()
        assert fresh_name(document) == document.file.name

    def test_empty_values_are_free(self, document: Document) -> None:
        Document.objects.create(file="")
        Document.objects.update(file="")
        Document.objects.bulk_create([Document(), Document(file="")])
        document.file = ""
        Document.objects.bulk_update([document], ["file"])
        assert set(Document.objects.values_list("file", flat=True)) == {""}

    def test_bulk_create_with_uploads(self, alice: Any) -> None:
        uploads = [Document(owner=alice, file=SimpleUploadedFile("a.pdf", b"x")) for _ in range(3)]
        Document.objects.bulk_create(uploads)
        assert len(set(Document.objects.values_list("file", flat=True))) == 3

    def test_other_fields_may_be_updated_in_bulk(self, document: Document) -> None:
        Document.objects.update(title="a")
        document.title = "b"
        Document.objects.bulk_update([document], ["title"])
        Document.objects.update_or_create(pk=document.pk, defaults={"title": "c"})
        assert fresh(document).title == "c"

    def test_names_read_from_the_database_are_plain_text(self, document: Document) -> None:
        # The grammar of keys trusts nothing else.
        assert type(Document.objects.values_list("file", flat=True).get()) is str
        assert storages["private"].exists(Document.objects.values_list("file", flat=True).get())

    def test_a_host_may_have_its_own_from_db(self) -> None:
        class Counting(models.Model):
            file = PrivateFileField(blank=True)
            loaded = 0

            class Meta:
                apps = Apps()
                app_label = "isolated"
                db_table = Lasting._meta.db_table

            @classmethod
            def from_db(cls, db: Any, field_names: Any, values: Any) -> Any:
                cls.loaded += 1
                return super().from_db(db, field_names, values)

        saved(Lasting)
        Counting.objects.get().save()
        assert Counting.loaded == 1

    def test_a_content_without_a_name_is_djangos_error(self) -> None:
        with pytest.raises(FieldError, match="must have the name"):
            Document(file=ContentFile(b"x")).save()

    def test_a_name_that_is_too_long_for_the_field(self) -> None:
        class Short(models.Model):
            file = PrivateFileField(max_length=20)

            class Meta:
                apps = Apps()
                app_label = "isolated"

        with pytest.raises(Exception, match="max_length is 20"):
            Short().file.save("a.pdf", content(), save=False)


@pytest.fixture
def file_row(alice: Any) -> File:
    return File.objects.create(
        owner=alice, storage_alias="private", key="uploads/k/file.pdf", filename="a.pdf",
        content_type="application/pdf", size_bytes=4,
    )  # fmt: skip


class TestAttach:
    def test_takes_over_what_the_principal_may_share(self, document: Document, alice: Any) -> None:
        second = Document(owner=alice)
        with acting_as(alice):
            second.file.attach(document.file.name, from_=document)
        second.save()
        assert fresh_name(second) == document.file.name
        asked = Issuance.objects.get()
        assert (asked.operation, asked.decision, asked.resource) == (
            "Share", "allowed", f"hostapp.Document.file:{document.pk}",
        )  # fmt: skip

    def test_works_across_models(self, document: Document, alice: Any) -> None:
        minutes = Minutes(project=Project.objects.create(name="p"))
        with acting_as(alice):
            minutes.file.attach(document.file.name, from_=document)
        minutes.save()
        minutes = fresh(minutes)
        minutes.save()
        assert minutes.file.name == document.file.name

    def test_takes_over_a_file_of_the_service(self, file_row: File, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {
            "POLICIES": {"presign_gateway.File": Owner("owner", operations=(Share,))}
        }
        document = Document(owner=alice)
        with acting_as(alice):
            document.file.attach(file_row.key, from_=file_row)
        document.save()
        assert fresh_name(document) == file_row.key

    def test_share_is_asked_and_not_implied(self, document: Document, other: Document, alice: Any) -> None:
        with acting_as(alice), pytest.raises(AccessDenied):
            document.file.attach(other.file.name, from_=other)
        readable = saved(Minutes, project=member_of(alice))
        with acting_as(alice), pytest.raises(AccessDenied):
            document.file.attach(readable.file.name, from_=readable)
        document.save()
        assert fresh_name(document) not in (other.file.name, readable.file.name)

    def test_nobody_attaches_nothing(self, document: Document, other: Document) -> None:
        with pytest.raises(NoPrincipal):
            document.file.attach(other.file.name, from_=other)

    def test_the_row_must_hold_the_key(self, document: Document, other: Document, alice: Any) -> None:
        for key in (other.file.name, "", "uploads/made-up.pdf"):
            with acting_as(alice), pytest.raises(AccessDenied):
                Document(owner=alice).file.attach(key, from_=document)

    def test_a_file_of_the_service_must_hold_the_key(
        self, file_row: File, other: Document, alice: Any, settings: Any
    ) -> None:
        settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Everyone(operations=(Share,))}}
        new = Document(owner=alice)
        with acting_as(alice), pytest.raises(AccessDenied):
            new.file.attach(other.file.name, from_=file_row)
        assert not new.file

    @pytest.mark.parametrize("change", [reassigned, renamed, built, built_on_ones_own_row])
    def test_what_the_source_claims_is_not_believed(
        self, document: Document, other: Document, alice: Any, change: Any
    ) -> None:
        source = change(document, other)
        with acting_as(alice), pytest.raises(AccessDenied):
            Document(owner=alice).file.attach(other.file.name, from_=source)

    def test_a_file_that_claims_another_key_is_not_believed(
        self, file_row: File, other: Document, alice: Any, settings: Any
    ) -> None:
        settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"presign_gateway.File": Everyone(operations=(Share,))}}
        file_row.key = other.file.name
        with acting_as(alice), pytest.raises(AccessDenied):
            Document(owner=alice).file.attach(other.file.name, from_=file_row)

    def test_another_storage_is_refused(self, document: Document, alice: Any) -> None:
        with acting_as(alice), pytest.raises(KeyNotMinted, match="the object is on 'private'"):
            Linked().file.attach(document.file.name, from_=document)

    def test_a_row_without_private_files_holds_no_key(self, document: Document, alice: Any) -> None:
        with acting_as(alice), pytest.raises(AccessDenied):
            Document(owner=alice).file.attach("leaflets/a.pdf", from_=Leaflet.objects.create(file="leaflets/a.pdf"))

    def test_an_attached_key_is_the_rows_own(self, document: Document, alice: Any) -> None:
        second = Document(owner=alice)
        with acting_as(alice):
            second.file.attach(document.file.name, from_=document)
        second.save()
        second.pk = None
        with pytest.raises(KeyNotMinted):
            second.save()

    def test_a_replaced_object_is_let_go(self, document: Document, alice: Any) -> None:
        second = saved(owner=alice)
        before = second.file.name
        with acting_as(alice):
            second.file.attach(document.file.name, from_=document)
        second.save()
        assert noted() == [before]


def member_of(user: Any) -> Project:
    project = Project.objects.create(name="p")
    project.members.add(user)
    return project


class TestPlainFields:
    """Django's own fields, made private by their storage."""

    def test_have_our_values(self) -> None:
        invoice = Invoice()
        assert type(invoice.file) is PrivateFieldFile
        assert type(invoice.scan) is PrivateImageFieldFile
        assert type(Leaflet().file) is FieldFile

    def test_url_is_decided(self, alice: Any, bob: Any) -> None:
        invoice = saved(Invoice)
        bob.is_superuser = True
        with acting_as(alice), pytest.raises(AccessDenied):
            _ = invoice.file.url
        with acting_as(bob):
            assert invoice.file.url.startswith("http://testserver/local/private/invoices/")

    def test_names_are_minted(self) -> None:
        one, two = saved(Invoice), saved(Invoice)
        assert one.file.name != two.file.name
        assert one.file.name.startswith("invoices/")

    def test_saving_is_djangos(self) -> None:
        Invoice.objects.create(file="invoices/old.pdf")
        Invoice.objects.update(file="invoices/new.pdf")
        clone = Invoice.objects.get()
        clone.pk = None
        clone.save()
        assert Invoice.objects.count() == 2

    def test_never_delete_on_their_own(self) -> None:
        invoice = saved(Invoice)
        invoice.file.save("new.pdf", content())
        invoice.delete()
        assert noted() == []

    def test_an_explicit_delete_goes_through_the_outbox(self) -> None:
        invoice = saved(Invoice)
        name = invoice.file.name
        invoice.file.delete()
        assert noted() == [name]
        assert storages["private"].exists(name)
        assert fresh_name(invoice) == ""

    def test_migrations_do_not_change(self) -> None:
        call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)

    def test_a_model_that_is_made_later_is_adopted(self) -> None:
        class Late(models.Model):
            file = models.FileField(storage=storages["private"])
            image = models.ImageField(storage=storages["private"])
            public = models.FileField()

            class Meta:
                apps = Apps()
                app_label = "isolated"

        late = Late()
        assert type(late.file) is PrivateFieldFile
        assert type(late.image) is PrivateImageFieldFile
        assert type(late.public) is FieldFile
        assert type(Late._meta.get_field("file").storage) is StorageByAlias

    def test_a_value_of_the_hosts_own_is_left_alone(self) -> None:
        class OwnFieldFile(FieldFile):
            pass

        class OwnField(models.FileField):
            attr_class = OwnFieldFile

        class Own(models.Model):
            file = OwnField(storage=storages["private"])

            class Meta:
                apps = Apps()
                app_label = "isolated"

        assert type(Own().file) is OwnFieldFile

    def test_a_private_default_storage_enters_no_migration(self, settings: Any) -> None:
        settings.STORAGES = settings.STORAGES | {"default": settings.STORAGES["private"]}

        class ByDefault(models.Model):
            file = models.FileField()
            image = models.ImageField()

            class Meta:
                apps = Apps()
                app_label = "isolated"

        instance = ByDefault()
        assert (type(instance.file), type(instance.image)) == (PrivateFieldFile, PrivateImageFieldFile)
        for field in ByDefault._meta.get_fields():
            assert "storage" not in field.deconstruct()[3]

    def test_a_storage_that_cannot_be_built_does_not_stop_a_model(self) -> None:
        class Broken(models.Model):
            file = models.FileField(storage=StorageByAlias("nowhere"))

            class Meta:
                apps = Apps()
                app_label = "isolated"

        assert type(Broken._meta.get_field("file")) is models.FileField

    def test_the_app_listens_for_late_models(self) -> None:
        uids = {key[0] for key, *_ in class_prepared.receivers}
        assert {"gateway.fields.adopt", "gateway.fields.watch"} <= uids


class TestStorages:
    def test_other_storages_reach_the_fields(self, settings: Any, tmp_path: Any) -> None:
        document, invoice = Document(), Invoice()
        elsewhere = {"BACKEND": BACKEND, "OPTIONS": {"location": tmp_path / "elsewhere", "url_mode": "permalink"}}
        with override_settings(STORAGES=settings.STORAGES | {"private": elsewhere}):
            for instance in (document, invoice):
                instance.file.save("a.pdf", content())
                assert (tmp_path / "elsewhere" / instance.file.name).exists()
                assert instance.file.url == instance.file.permalink
        assert not document.file.storage.exists(document.file.name)

    def test_a_value_has_the_storage_itself(self, settings: Any, tmp_path: Any) -> None:
        # Libraries compare it with those of STORAGES, some by identity.
        file, plain = Document().file, Invoice().scan
        assert file.storage is plain.storage is storages["private"]
        settings.STORAGES = settings.STORAGES | {"private": {"BACKEND": BACKEND, "OPTIONS": {"location": tmp_path}}}
        assert file.storage is plain.storage is storages["private"]
        file.storage = storages["default"]
        assert file.storage is storages["default"]

    def test_even_one_of_another_kind(self, settings: Any) -> None:
        s3 = {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": {
                "bucket_name": "bucket",
                "region_name": "eu-central-1",
                "access_key": "A",
                "secret_key": "S",
            },
        }
        assert isinstance(Document._meta.get_field("file").storage, PrivateFileSystemStorage)
        with override_settings(STORAGES=settings.STORAGES | {"private": s3}):
            assert isinstance(Document._meta.get_field("file").storage, PrivateS3Storage)
            assert isinstance(Invoice._meta.get_field("file").storage, PrivateS3Storage)

    def test_the_default_is_the_alias_of_the_services_files(self, settings: Any) -> None:
        field = Document._meta.get_field("file")
        assert field.storage.alias == "private"
        settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": "permalinks"}
        assert field.storage.url_mode == "permalink"

    def test_neither_policy_nor_options_enter_a_migration(self) -> None:
        kwargs = PrivateFileField(policy=Everyone(), delete_objects=True).deconstruct()[3]
        assert set(kwargs) == {"upload_to", "max_length"}

    def test_a_broken_alias_is_no_attribute_error(self) -> None:
        document = Document()
        document.file.name = "uploads/a.pdf"
        with override_settings(STORAGES={}), pytest.raises(ImproperlyConfigured):
            _ = document.file.url


def png(width: int = 3, height: int = 2) -> ContentFile[bytes]:
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return ContentFile(stream.getvalue(), name="a.png")


class TestImages:
    @pytest.fixture
    def photo(self, alice: Any) -> Photo:
        photo = Photo(owner=alice)
        photo.image.save("a.png", png())
        return photo

    def test_dimensions_are_kept(self, photo: Photo) -> None:
        loaded = fresh(photo)
        assert (loaded.width, loaded.height, loaded.image.width, loaded.image.height) == (3, 2, 3, 2)
        loaded.save()
        loaded.image.close()

    def test_dimensions_of_an_assigned_image(self, alice: Any) -> None:
        photo = Photo.objects.create(owner=alice, image=SimpleUploadedFile("a.png", png(5, 4).read()))
        assert (fresh(photo).width, fresh(photo).height) == (5, 4)

    def test_dimensions_follow_a_replacement(self, photo: Photo) -> None:
        photo.image.save("b.png", png(7, 6))
        assert (fresh(photo).width, fresh(photo).height) == (7, 6)

    def test_loading_opens_no_image(self, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PrivateFileSystemStorage, "_open", lambda *_: pytest.fail("the store was asked"))
        fresh(photo).save()

    def test_deferred_images(self, photo: Photo) -> None:
        loaded = Photo.objects.defer("image").get()
        assert loaded.image.name == photo.image.name
        loaded.save()
        loaded.image.close()

    def test_deleting_clears_the_dimensions(self, photo: Photo) -> None:
        name = photo.image.name
        photo.image.delete()
        assert (fresh(photo).width, fresh(photo).height, fresh(photo).image.name) == (None, None, "")
        assert noted() == [name]

    def test_the_key_is_its_owners(self, photo: Photo, alice: Any) -> None:
        assert photo.image.name.startswith(f"uploads/{alice.pk}/")

    def test_url(self, photo: Photo, alice: Any) -> None:
        with acting_as(alice):
            assert "content-type=image%2Fpng" in photo.image.url

    def test_attaching_reads_the_dimensions(self, photo: Photo, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"POLICIES": {}}
        second = Photo(owner=alice)
        with acting_as(SYSTEM, reason="test"):
            second.image.attach(photo.image.name, from_=photo)
        second.save()
        assert (fresh(second).width, fresh(second).image.name) == (3, photo.image.name)
        second.image.close()

    def test_our_field_is_djangos_too(self) -> None:
        assert issubclass(PrivateImageField, models.ImageField)
        assert issubclass(PrivateImageFieldFile, ImageFieldFile)


class TestLettingGo:
    def test_on_delete(self, document: Document) -> None:
        document.delete()
        entry = ObjectDeletion.objects.get()
        assert (entry.storage_alias, entry.key) == ("private", document.file.name)
        assert abs(entry.not_before - entry.requested_at - timedelta(hours=24)) < timedelta(seconds=1)
        assert storages["private"].exists(document.file.name)

    def test_on_delete_of_a_loaded_row(self, document: Document) -> None:
        fresh(document).delete()
        assert noted() == [document.file.name]

    def test_on_delete_of_a_queryset(self, document: Document, other: Document) -> None:
        Document.objects.all().delete()
        assert noted() == sorted([document.file.name, other.file.name])

    def test_on_cascade(self, document: Document, alice: Any) -> None:
        project = Project.objects.create(name="p")
        Document.objects.update(project=project)
        project.delete()
        assert noted() == [document.file.name]

    def test_on_cascade_of_a_queryset(self, document: Document, other: Document, django_user_model: Any) -> None:
        django_user_model.objects.all().delete()
        assert noted() == sorted([document.file.name, other.file.name])

    def test_a_deferred_name_is_known_on_delete(self, document: Document) -> None:
        Document.objects.defer("file").get().delete()
        assert noted() == [document.file.name]

    def test_a_row_that_is_gone_already_can_be_deleted(self, document: Document) -> None:
        deferred = Document.objects.defer("file").get()
        Document.objects.all().delete()
        deferred.delete()
        assert noted() == [document.file.name]

    def test_on_replacement(self, document: Document) -> None:
        before = document.file.name
        for load in (lambda: document, lambda: fresh(document)):
            ObjectDeletion.objects.all().delete()
            instance: Any = load()
            before = instance.file.name
            instance.file = SimpleUploadedFile("new.pdf", b"x")
            instance.save()
            assert noted() == [before]

    def test_not_before_the_row_says_so(self, document: Document) -> None:
        before = document.file.name
        document.file.save("new.pdf", content(), save=False)
        assert noted() == []
        document.save(update_fields=["title"])
        assert noted() == []
        document.save()
        assert noted() == [before]

    def test_what_was_never_saved_goes_too(self, document: Document) -> None:
        before = document.file.name
        document.file.save("one.pdf", content(), save=False)
        one = document.file.name
        document.file.save("two.pdf", content(), save=False)
        document.save()
        assert noted() == sorted([before, one])

    def test_what_was_thrown_away_goes_too(self, document: Document) -> None:
        before = document.file.name
        document.file.save("new.pdf", content(), save=False)
        thrown_away = document.file.name
        document.refresh_from_db()
        assert document.file.name == before
        document.save()
        assert noted() == [thrown_away]

    def test_saving_again_notes_nothing_new(self, document: Document, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            document.file.save("new.pdf", content())
        with django_capture_on_commit_callbacks(execute=True):
            document.save()
            document.delete()
        assert len(noted()) == 2

    def test_on_clearing(self, document: Document) -> None:
        before = document.file.name
        loaded = fresh(document)
        loaded.file = None
        loaded.save()
        assert noted() == [before]

    @pytest.mark.parametrize("save", [True, False], ids=["and-save", "without-saving"])
    def test_on_an_explicit_delete(self, document: Document, save: bool) -> None:
        name = document.file.name
        document.file.delete(save=save)
        assert noted() == [name]
        assert storages["private"].exists(name)
        assert fresh_name(document) == ("" if save else name)
        document.save()
        assert noted() == [name]

    def test_an_explicit_delete_of_nothing(self) -> None:
        document = Document.objects.create()
        document.file.delete()
        assert noted() == []

    def test_an_explicit_delete_closes_the_file(self, document: Document) -> None:
        document.file.open()
        file = document.file.file
        document.file.delete()
        assert file.closed

    @pytest.mark.parametrize("change", [renamed, reassigned])
    def test_an_assigned_name_is_not_this_rows_to_delete(
        self, document: Document, other: Document, change: Any
    ) -> None:
        name, changed = document.file.name, change(fresh(document), other)
        with pytest.raises(KeyNotMinted):
            changed.file.delete()
        assert noted() == []
        changed.delete()
        assert noted() == [name]

    def test_an_upload_that_was_not_stored_names_no_object(self, document: Document) -> None:
        name = document.file.name
        document.file = SimpleUploadedFile("secret.pdf", b"x")
        document.delete()
        assert noted() == [name]

    def test_never_where_it_was_not_switched_on(self) -> None:
        lasting = saved(Lasting)
        lasting.file.save("new.pdf", content())
        lasting.delete()
        assert noted() == []

    @pytest.mark.parametrize(
        "let_go",
        [
            pytest.param(lambda document: document.delete(), id="delete"),
            pytest.param(lambda document: Document.objects.all().delete(), id="queryset"),
            pytest.param(lambda document: document.file.delete(), id="explicit"),
            pytest.param(lambda document: document.file.save("new.pdf", content()), id="replaced"),
        ],
    )
    def test_never_when_the_transaction_rolls_back(self, document: Document, let_go: Any) -> None:
        name, pk = document.file.name, document.pk
        with rolled_back():
            let_go(document)
            assert noted() == [name]
        assert noted() == []
        assert Document.objects.get(pk=pk).file.name == name
        assert storages["private"].exists(name)

    @pytest.mark.parametrize("model", [Parent, Proxy, Concrete], ids=["parent", "proxy", "of-an-abstract-one"])
    def test_models_of_every_kind(self, model: Any) -> None:
        one = saved(model)
        first = one.file.name
        one.file.save("new.pdf", content())
        assert noted() == [first]
        fresh(one).delete()
        assert noted() == sorted([first, one.file.name])

    def test_a_child_lets_go_of_its_parents_object_too(self) -> None:
        child = Child()
        child.extra.save("extra.pdf", content(), save=False)
        child.file.save("file.pdf", content())
        first = child.file.name
        child.file.save("new.pdf", content())
        assert noted() == [first]
        fresh(child).delete()
        assert noted() == sorted([first, child.file.name, child.extra.name])

    def test_a_child_that_goes_alone_leaves_its_parents_object(self) -> None:
        child = Child()
        child.extra.save("extra.pdf", content(), save=False)
        child.file.save("file.pdf", content())
        child.delete(keep_parents=True)
        assert noted() == [child.extra.name]

    def test_the_fast_way_to_delete_is_left_to_other_models(self, django_assert_num_queries: Any) -> None:
        Lasting.objects.bulk_create([Lasting() for _ in range(5)])
        with django_assert_num_queries(1):
            Lasting.objects.all().delete()


class TestLimits:
    """What a field takes, of uploads that come with a form."""

    PDF = b"%PDF-1.7\n1 0 obj"

    @staticmethod
    def form(name: str, content: bytes, instance: Any = None) -> Any:
        made = modelform_factory(Scan, fields=["file"])
        return made(files={"file": SimpleUploadedFile(name, content, "application/pdf")}, instance=instance)

    def test_what_fits_is_taken_whole(self, alice: Any) -> None:
        form = self.form("a.pdf", self.PDF, Scan(owner=alice))
        assert form.is_valid(), form.errors
        with form.save().file.open() as stored:
            assert stored.read() == self.PDF

    @pytest.mark.parametrize(
        ("name", "content", "code"),
        [
            pytest.param("a.pdf", PDF + b"x" * 1000, "file_too_large", id="too-large"),
            pytest.param("a.txt", PDF, "type_not_allowed", id="another-name"),
            pytest.param("a.pdf", b"<html>", "type_not_allowed", id="other-bytes"),
            pytest.param("a", PDF, "type_not_allowed", id="no-extension"),
            pytest.param("a.png", PDF, "type_not_allowed", id="one-allowed-type-as-another"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, alice: Any, name: str, content: bytes, code: str) -> None:
        form = self.form(name, content, Scan(owner=alice))
        assert [error.code for error in form.errors.as_data()["file"]] == [code]

    def test_what_was_there_before_is_not_looked_at_again(self, alice: Any) -> None:
        scan = Scan(owner=alice)
        scan.file.save("a.txt", ContentFile(b"of older times"))
        form = modelform_factory(Scan, fields=["file"])(data={}, instance=scan)
        assert form.is_valid(), form.errors

    def test_a_serializer_holds_to_them_too(self, alice: Any) -> None:
        class ScanSerializer(ModelSerializer[Scan]):
            class Meta:
                model = Scan
                fields = ("file",)

        for content, valid in ((self.PDF, True), (b"<html>", False)):
            assert ScanSerializer(data={"file": SimpleUploadedFile("a.pdf", content)}).is_valid() is valid

    @pytest.mark.parametrize(
        "limits",
        [{"max_bytes": 0}, {"max_bytes": "1"}, {"max_bytes": True}, {"content_types": "image/png"}],
        ids=["none", "text", "bool", "one-text"],
    )
    def test_a_limit_that_is_none_is_refused(self, limits: Any) -> None:
        with pytest.raises(ValueError, match="is "):
            PrivateFileField(**limits)

    def test_limits_enter_no_migration(self) -> None:
        _, _, _, kwargs = Scan._meta.get_field("file").deconstruct()
        assert not {"max_bytes", "content_types", "validators"} & set(kwargs)
