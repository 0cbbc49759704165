"""Whoever comes from another library as its page says gets what they had: the page's code runs in a project."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.documentation import DOCS
from tests.howto import build, manage

PAGES = sorted((DOCS / "coming-from").glob("*.md"))

# What a project has before it comes: rows with files, and the checks that the pages name.
MODELS = """
from django.contrib.auth.models import User
from django.db import models

from gateway.storages import StorageByAlias


class Customer(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE)


class {model}(models.Model):
    customer = models.ForeignKey({customer}, on_delete=models.CASCADE)
    file = models.FileField(storage=StorageByAlias("private"))


class Catalogue(models.Model):
    file = models.FileField(storage=StorageByAlias("private"))
"""
RULES = """
from django.http import HttpResponseForbidden
from rest_framework.permissions import BasePermission


def may_read(private_file):
    row, user = private_file.parent_object, private_file.request.user
    return row.customer == user if row else user.username == "customer"


def is_dealer(user):
    return user.username == "customer"


class Permissions:
    def has_read_permission(self, request, path):
        return request.user.username == "customer" and path.startswith("invoices/")


class IsCustomer(BasePermission):
    def has_object_permission(self, request, view, row):
        return row.customer == request.user


def check_view_restrictions(document, request):
    return None if document.customer == request.user else HttpResponseForbidden()
"""
TESTS = """
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.test import TestCase

from {app}.models import Catalogue, Customer, {model}

NAME = "invoices/March 2026 - final.pdf"


class ComingTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        user = User.objects.create_user("customer")
        User.objects.create_user("another")
        customer = Customer.objects.create(user=user) if {by_customer} else user
        # The name that the other library had stored, in a row that is not saved anew.
        {model}(customer=customer, file=NAME).save_base(raw=True, force_insert=True)
        Catalogue(file=NAME).save_base(raw=True, force_insert=True)
        location = getattr(storages["private"], "location", None)
        if location and not FileSystemStorage(location).exists(NAME):
            FileSystemStorage(location).save(NAME, ContentFile(b"an invoice"))

    def look(self, address):
        # HEAD: what is in a bucket is described, and no link is made.
        answers = []
        for name in ("customer", "another", None):
            self.client.logout()
            if name:
                self.client.force_login(User.objects.get(username=name))
            answers.append(self.client.head(address))
        return answers

    def judge(self, address):
        own, other, nobody = self.look(address)
        self.assertEqual([own.status_code, other.status_code, nobody.status_code], [200, 404, 401])
        self.assertEqual(own["Content-Type"], "application/pdf")
        handed = "/.gateway/files/private/invoices/March%202026%20-%20final.pdf"
        self.assertEqual(own.get("X-Accel-Redirect"), handed if {is_handed_over} else None)

    def test_the_file_of_a_row(self):
        if {by_row}:
            self.judge({model}.objects.get().file.permalink)

    def test_the_catalogue(self):
        if {has_catalogue}:
            self.judge(Catalogue.objects.get().file.permalink)

    def test_old_addresses(self):
        for address in {addresses}:
            self.judge("/" + address + NAME.replace(" ", "%20"))
"""


_PIECE = re.compile(r"^In `(?P<file>[\w/]+\.py)`:\n\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_project_that_comes_serves_its_files_to_the_same_people(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    pieces = dict(_PIECE.findall(text))
    assert len(pieces) == text.count("```python") == 2
    code = pieces.pop("settings.py")
    ((policies, made),) = pieces.items()
    app = policies.partition("/")[0]
    model = {"library": "PrivateDocument", "shop": "Invoice"}[app]
    by_customer, by_row = "customer__user" in made, f"{app}.{model}.file" in code
    views = re.findall(r'`(path\("([^<"]+)<path:key>", gateway\.delivery\.paths\("private"\)\))`', text)
    assert by_row or views

    build(str(page), tmp_path)
    directory = tmp_path / app
    (directory / "migrations").mkdir(parents=True)
    for package in (directory, directory / "migrations"):
        (package / "__init__.py").touch()
    customer = "Customer" if by_customer else "User"
    (directory / "models.py").write_text(MODELS.format(model=model, customer=customer))
    (directory / "policies.py").write_text(made)
    for rules in ("permissions", "wagtail_hooks"):
        (directory / f"{rules}.py").write_text(RULES)
    (directory / "tests.py").write_text(
        TESTS.format(
            app=app, model=model, by_customer=by_customer, by_row=by_row, has_catalogue=f"{app}.Catalogue" in code,
            is_handed_over='"delivery": "x_accel"' in code, addresses=[prefix for _, prefix in views],
        )
    )  # fmt: skip
    settings, urls = tmp_path / "mysite" / "settings.py", tmp_path / "mysite" / "urls.py"
    # As the pages say: beside what is there. Only the directory is another one.
    here = re.sub(r'"/srv/[^"]+"', repr(str(tmp_path / "files")), code)
    settings.write_text(
        f"{settings.read_text()}\nINSTALLED_APPS += [{app!r}]\n_before = STORAGES, GATEWAY\n{here}\n"
        "STORAGES, GATEWAY = _before[0] | STORAGES, _before[1] | GATEWAY\n"
    )
    added = "".join(f"urlpatterns += [{view}]\n" for view, _ in views)
    urls.write_text(f"{urls.read_text()}\nimport gateway.delivery\n\n{added}")
    told = manage(tmp_path, ["makemigrations", app], ["test", app])
    assert "Ran 3 tests" in told
    assert "\nOK" in told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_of_ours_is_there(page: Path) -> None:
    for dotted in set(re.findall(r"`(gateway(?:\.\w+)+)", page.read_text())):
        module, _, name = dotted.rpartition(".")
        assert hasattr(import_module(module), name), dotted
