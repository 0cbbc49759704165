"""A project's files that are there already become private by the one line that the README shows.

On every store: rows, objects, models and migrations stay as they are, and every framework of the host shows links
that the store serves, or none.
"""

from __future__ import annotations

import difflib
import io
import json
import pprint
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client
from django.utils.module_loading import import_string
from imagekit import ImageSpec, register
from imagekit.cachefiles import ImageCacheFile
from imagekit.processors import ResizeToFit
from PIL import Image

from gateway.errors import AccessDenied
from gateway.links import allowed
from gateway.models import Issuance
from gateway.policies import Allow, Composable, Deny
from gateway.principals import Principal
from gateway.resources import Resource
from gateway.storages.base import PrivateStorageMixin
from gateway.tasks import with_principal
from gateway.testing import as_user, assert_issued
from tests import howto
from tests.gateway.images import picture
from tests.gateway.link_stores import LocalStore, Store
from tests.gateway.opened_stores import open_store
from tests.hostapp.models import Invoice

pytestmark = pytest.mark.django_db

README = (howto.ROOT / "README.md").read_text()
BACKENDS = dict(re.findall(r"^\| `([\w.]+Storage)` \| `(gateway\.storages\.\w+)` \|$", README, re.MULTILINE))
(DIFF,) = re.findall(r"^```diff\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
# A name as somebody else's storage made it: neither random nor dated.
NAMES = {"file": "invoices/March (final).pdf", "scan": "scans/2019/page one.png"}
BYTES = {"file": b"%PDF-1.4 an invoice", "scan": picture((64, 64))}
# Options of these stores name an emulator, which django-storages does not take: objects are put there past it.
OPTIONS_OF_OUR_OWN = ("azure", "gcs")


class Adopted:
    """A store with objects and rows from before, and the project's settings as text."""

    def __init__(self, store: Store) -> None:
        self.store = store
        ((self.theirs, self.ours),) = [pair for pair in BACKENDS.items() if pair[1] == store.backend]
        entry = pprint.pformat({"BACKEND": self.theirs, "OPTIONS": store.options}, sort_dicts=False, width=1)
        self.before = f"STORAGES = {{\n    'private': {entry},\n}}\n".replace("'", '"')

    @property
    def after(self) -> str:
        removed, added = (line[1:].strip() for line in DIFF.splitlines())
        change = {"storages.backends.s3.S3Storage": self.theirs, "gateway.storages.PrivateS3Storage": self.ours}
        for name, instead in change.items():
            removed, added = removed.replace(name, instead), added.replace(name, instead)
        # As pprint writes it, on one line with the brace.
        assert self.before.count(removed) == 1
        return self.before.replace(removed, added)

    def put(self) -> None:
        """Store the objects as the project did, with the storage that it had."""
        for name, key in NAMES.items():
            if self.store.alias in OPTIONS_OF_OUR_OWN:
                self.store.put(key, BYTES[name])
            else:
                theirs = import_string(self.theirs)(**self.store.options)
                assert not isinstance(theirs, PrivateStorageMixin)
                # Its way of cleaning names is not looked at.
                theirs._save(key, ContentFile(BYTES[name]))


@pytest.fixture(scope="module", params=["local", "rclone", "ceph", "gcs", "azure"])
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        project = Adopted(store)
        project.put()
        yield project


@pytest.fixture
def invoice(adopted: Adopted, request: pytest.FixtureRequest, settings: Any) -> Invoice:
    if adopted.store.emulator is not None:
        request.getfixturevalue(adopted.store.emulator)  # so that the account of emulators counts it
    settings.ROOT_URLCONF = "tests.hostapp.urls"
    row = Invoice(number="1", **NAMES)
    row.save_base(raw=True, force_insert=True)
    rows = dump()

    changed: dict[str, Any] = {}
    exec(adopted.after, {"PosixPath": Path}, changed)
    settings.STORAGES = settings.STORAGES | changed["STORAGES"]
    if isinstance(adopted.store, LocalStore):
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": adopted.store.public_url}
    assert dump() == rows
    return Invoice.objects.get()


def dump() -> Any:
    return list(Invoice.objects.values())


@pytest.fixture
def reader(alice: Any) -> Any:
    """May view invoices, and edit them in the admin."""
    alice.is_staff = True
    alice.save()
    names = ["view_invoice", "change_invoice"]
    alice.user_permissions.set(Permission.objects.filter(codename__in=names))
    return alice


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def fetched(adopted: Adopted, link: str, name: str) -> None:
    """Hold a link to its store: it gives the bytes, and nothing once it is changed."""
    answer = adopted.store.send(link)
    assert (answer.status, answer.body) == (200, BYTES[name])
    end = "A" if link[-1] != "A" else "B"
    assert adopted.store.send(link[:-1] + end).status in (400, 403)


def test_the_change_is_the_line_that_the_readme_shows(adopted: Adopted) -> None:
    changed = [
        line
        for line in difflib.ndiff(adopted.before.splitlines(), adopted.after.splitlines())
        if line.startswith(("-", "+"))
    ]
    assert len(changed) == 2
    assert changed[0].startswith("-")
    assert f'"BACKEND": "{adopted.theirs}",' in changed[0]
    assert f'"BACKEND": "{adopted.ours}",' in changed[1]


def test_no_migration_and_no_row_changes(adopted: Adopted, invoice: Invoice, reader: Any) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    before = dump()
    invoice.number = "2"
    invoice.save()
    assert dump() == [row | {"number": "2"} for row in before]
    assert {name: getattr(invoice, name).name for name in NAMES} == NAMES
    assert isinstance(storages["private"], import_string(adopted.ours))


@pytest.mark.parametrize("name", NAMES)
def test_the_files_attribute(adopted: Adopted, invoice: Invoice, reader: Any, bob: Any, name: str) -> None:
    with as_user(reader), assert_issued(1):
        fetched(adopted, getattr(invoice, name).url, name)
    with as_user(bob), pytest.raises(AccessDenied):
        _ = getattr(invoice, name).url
    with getattr(invoice, name).open() as file:
        assert file.read() == BYTES[name]


@pytest.mark.parametrize("path", ["/rest/invoices/", "/ninja/invoices"])
def test_serializers_and_schemas(adopted: Adopted, invoice: Invoice, reader: Any, bob: Any, path: str) -> None:
    (row,) = client_of(reader).get(path).json()
    for name in NAMES:
        fetched(adopted, row[name], name)
    (row,) = client_of(bob).get(path).json()
    assert [row[name] for name in NAMES] == [None, None]


def test_the_admin_and_its_permalinks(adopted: Adopted, invoice: Invoice, reader: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"hostapp.Invoice": "gateway.policies.ModelPermission"}}
    client = client_of(reader)
    for path in ("", f"{invoice.pk}/change/"):
        page = client.get(f"/admin/hostapp/invoice/{path}")
        assert page.status_code == 200
        for name in NAMES:
            assert f'href="{getattr(invoice, name).permalink}"' in page.text
    assert not Issuance.objects.exists()
    for name in NAMES:
        fetched(adopted, client.get(getattr(invoice, name).permalink)["Location"], name)


def test_templates(adopted: Adopted, invoice: Invoice, reader: Any, bob: Any) -> None:
    text = (
        "{% load gateway %}{% autoescape off %}{{ invoice.file.url }}|{% presigned invoice.scan %}{% endautoescape %}"
    )
    with as_user(reader):
        links = Template(text).render(Context({"invoice": invoice})).split("|")
    for name, link in zip(NAMES, links, strict=True):
        fetched(adopted, link, name)
    with as_user(bob):
        assert Template(text).render(Context({"invoice": invoice})) == "|"


@with_principal("user_pk")
def mail(invoice_pk: int, user_pk: int) -> str:
    return Invoice.objects.get(pk=invoice_pk).file.url


def test_tasks(adopted: Adopted, invoice: Invoice, reader: Any, bob: Any) -> None:
    fetched(adopted, mail(invoice.pk, reader.pk), "file")
    with pytest.raises(AccessDenied):
        mail(invoice.pk, user_pk=bob.pk)


class KeepsNames:
    """As docs/thumbnails.md has it: a library looks a thumbnail up by the name that it gave."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name


# The same on each private storage; STORAGES name them by their path.
THUMBNAILS = {path: type(path.rpartition(".")[2], (KeepsNames, import_string(path)), {}) for path in BACKENDS.values()}
globals().update({f"Thumbnails{cls.__name__}": cls for cls in THUMBNAILS.values()})


class FollowsScan(Composable):
    """A thumbnail is for whoever may read the scan that it was made of."""

    def decide(self, principal: Principal, resource: Resource, operation: Any) -> Allow | Deny:
        for invoice in Invoice.objects.all():
            stem = str(invoice.scan.name).rpartition(".")[0]
            if f"/{stem}/" in resource.key and allowed(principal, [Resource.of_field(invoice, "scan")]) == [True]:
                return Allow()
        return Deny("the scan of this thumbnail is not theirs")


class Small(ImageSpec):
    processors = [ResizeToFit(8, 8)]
    format = "PNG"


register.generator("hostapp:small", Small)


def test_thumbnails_follow_their_image(
    adopted: Adopted, invoice: Invoice, reader: Any, bob: Any, settings: Any
) -> None:
    cache.clear()  # where the library remembers which thumbnails there are
    cls = THUMBNAILS[adopted.ours]
    location = f"{adopted.store.options['location']}-thumbnails"
    entry = {
        "BACKEND": f"{__name__}.Thumbnails{cls.__name__}",
        "OPTIONS": adopted.store.options | {"location": location},
    }
    settings.STORAGES = settings.STORAGES | {"thumbnails": entry}
    settings.GATEWAY = settings.GATEWAY | {"PATH_POLICIES": {"thumbnails": FollowsScan()}}

    def link() -> str:
        return str.__str__(ImageCacheFile(Small(source=invoice.scan), storage=storages["thumbnails"]).url)

    with as_user(reader):
        answer = adopted.store.send(link())
    assert answer.status == 200
    with Image.open(io.BytesIO(answer.body)) as picture:
        assert picture.size == (8, 8)
    with as_user(bob), pytest.raises(AccessDenied):
        link()
    Invoice.objects.all().delete()
    with as_user(reader), pytest.raises(AccessDenied):
        link()


def test_new_files_beside_the_old_ones(adopted: Adopted, invoice: Invoice, reader: Any) -> None:
    content = secrets.token_bytes(20)
    invoice.file.save("April.pdf", ContentFile(content))
    assert re.fullmatch(r"invoices/[a-z2-7]{26}/April\.pdf", str(invoice.file.name))
    with as_user(reader):
        assert adopted.store.send(invoice.file.url).body == content


def test_every_private_storage_is_in_the_readmes_table() -> None:
    ours = {
        f"gateway.storages.{name}" for name in import_string("gateway.storages.__all__") if name.startswith("Private")
    }
    assert set(BACKENDS.values()) == ours
    for theirs, name in BACKENDS.items():
        if theirs != "django.core.files.storage.FileSystemStorage":
            assert issubclass(import_string(name), import_string(theirs))


# The same for a whole project that has never heard of the gateway, with its database and its media folder.

MODELS = """\
from django.core.files.storage import storages
from django.db import models


def private():
    return storages["private"]


class Invoice(models.Model):
    number = models.CharField(max_length=20)
    file = models.FileField(upload_to="invoices", storage=STORAGE)
"""
STORAGES = """\
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "private": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": BASE_DIR / "media"},
    },
}
"""
BEGIN = """
import django; django.setup()
from django.core.management import call_command
from django.core.files.base import ContentFile
call_command("makemigrations", "reports", verbosity=0)
call_command("migrate", verbosity=0)
from reports.models import Invoice
for number in "12":
    Invoice(number=number).file.save("March (final).pdf", ContentFile(number.encode()))
"""
CONTINUE = """
import django; django.setup()
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment
call_command("check", fail_level="WARNING")
call_command("makemigrations", "reports", name="adopted", verbosity=0)
call_command("migrate", verbosity=1)
setup_test_environment()
from django.contrib.auth.models import User
from reports.models import Invoice
from gateway.errors import AccessDenied
from gateway.testing import as_user
boss, guest = User.objects.create_superuser("boss"), User.objects.create_user("guest")
for invoice in Invoice.objects.order_by("pk"):
    with as_user(boss):
        assert Client().get(invoice.file.url).getvalue() == invoice.number.encode()
    try:
        with as_user(guest):
            invoice.file.url
    except AccessDenied:
        print("refused")
"""
ROWS = """
import django; django.setup()
from reports.models import Invoice
import json; print(json.dumps(list(Invoice.objects.order_by("pk").values())))
"""


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.mark.parametrize("storage", ["private", 'storages["private"]'], ids=["callable", "instance"])
def test_a_project_that_never_heard_of_the_gateway(tmp_path: Path, storage: str) -> None:
    readme = howto.pieces("README.md")
    call_command("startproject", "mysite", str(tmp_path))
    app, settings = tmp_path / howto.APP, tmp_path / "mysite" / "settings.py"
    (app / "migrations").mkdir(parents=True)
    for package in (app, app / "migrations"):
        (package / "__init__.py").touch()
    (app / "models.py").write_text(MODELS.replace("STORAGE)", f"{storage})"))
    original = f'{settings.read_text()}\n\nINSTALLED_APPS += ["{howto.APP}"]\n{STORAGES}'
    settings.write_text(original)
    howto.run(tmp_path, "-c", BEGIN)
    rows = json.loads(howto.run(tmp_path, "-c", ROWS))
    media, migrations = snapshot(tmp_path / "media"), snapshot(app / "migrations")
    assert len(rows) == len(media) == 2

    # What installs the gateway, for every project; it says nothing about this project's files.
    installed = "\n".join(
        line for line in readme["settings.py"].splitlines() if line.startswith(("INSTALLED", "MIDDLE"))
    )
    installed += '\nGATEWAY = {"PUBLIC_URL": "http://testserver"}\n'
    urls = tmp_path / "mysite" / "urls.py"
    urls.write_text(f"from django.urls import include\n{urls.read_text()}\n{readme['urls.py']}")
    # And the one line.
    theirs = "django.core.files.storage.FileSystemStorage"
    old = f'        "BACKEND": "{theirs}",\n'
    assert original.count(old) == 1
    changed = original.replace(old, f'        "BACKEND": "{BACKENDS[theirs]}",\n')
    assert sum(line[0] in "+-" for line in difflib.ndiff(original.splitlines(), changed.splitlines())) == 2
    settings.write_text(f"{changed}\n{installed}")

    (tmp_path / "media").chmod(0o750)  # as the check gateway.W043 asks for

    said = howto.run(tmp_path, "-c", CONTINUE)
    assert said.count("refused") == 2
    assert json.loads(howto.run(tmp_path, "-c", ROWS)) == rows
    assert snapshot(tmp_path / "media") == media
    after = snapshot(app / "migrations")
    added = "".join(after.pop(name).decode() for name in after.keys() - migrations.keys())
    assert after == migrations
    if storage == "private":
        assert added == ""
        assert not re.search(r"Applying (?!presign_gateway\.)", said)
    else:
        # What named the old storage with its options has the alias alone.
        assert added.count("migrations.") == 2  # the class Migration, and one operation
        assert "migrations.AlterField(" in added
        assert "storage=gateway.storages.StorageByAlias('private')" in added
        assert "media" not in added
