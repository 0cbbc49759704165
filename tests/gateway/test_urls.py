"""Where things are: in a host project, below any prefix, and in the standalone service."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.urls import include, path, reverse

from tests.gateway.api.support import NOBODYS, by_token, file_of

urlpatterns = [path("prefix/gateway/", include("gateway.urls"))]
HOST = pytest.mark.urls("tests.gateway.test_urls")

NAMES: dict[str, tuple[str, dict[str, str], str]] = {
    "link": ("presign_gateway:api:create_link", {}, "api/v1/links"),
    "links": ("presign_gateway:api:create_links", {}, "api/v1/links/batch"),
    "service": ("presign_gateway:api:service", {}, "api/v1/service"),
    "docs": ("presign_gateway:api:openapi-view", {}, "api/v1/docs"),
    "openapi": ("presign_gateway:api:openapi-json", {}, "api/v1/openapi.json"),
    "permalink": ("presign_gateway:permalink", {"reference": "app.model:a/b:file"}, "f/app.model:a/b:file"),
    "rails": ("presign_gateway:rails_direct_uploads", {}, "rails/direct_uploads"),
    "uppy": ("presign_gateway:uppy_multipart", {"grant": "a:b"}, "uppy/a:b/s3/multipart"),
    "local": ("presign_gateway:local", {"alias": "private", "key": "a/b c"}, "local/private/a/b%20c"),
    "relay": ("presign_gateway:relay", {"alias": "cloud", "key": "a/b c"}, "relay/cloud/a/b%20c"),
}
SERVICE_NAMES: dict[str, tuple[str, dict[str, str], str]] = {
    "files": ("presign_gateway:api:list_files", {}, "api/v1/files"),
    "upload": ("presign_gateway:api:create_file", {}, "api/v1/files"),
    "file": ("presign_gateway:api:read_file", {"file_id": NOBODYS}, f"api/v1/files/{NOBODYS}"),
    "alive": ("healthz", {}, "healthz"),
    "ready": ("readyz", {}, "readyz"),
    "page": ("page", {}, ""),
    "log in": ("login", {}, "log-in"),
    "log out": ("logout", {}, "log-out"),
}


@HOST
@pytest.mark.parametrize(("name", "arguments", "expected"), NAMES.values(), ids=NAMES)
def test_names_in_a_host_project(name: str, arguments: dict[str, str], expected: str) -> None:
    assert reverse(name, kwargs=arguments) == f"/prefix/gateway/{expected}"


@pytest.mark.parametrize(("name", "arguments", "expected"), (NAMES | SERVICE_NAMES).values(), ids=NAMES | SERVICE_NAMES)
def test_names_in_the_service(name: str, arguments: dict[str, str], expected: str) -> None:
    assert reverse(name, kwargs=arguments) == f"/{expected}"


@HOST
def test_a_host_project_has_links_and_nothing_more(alice: Any, django_user_model: Any) -> None:
    file = file_of(alice)
    client = Client(headers={"Authorization": by_token(alice).defaults["HTTP_AUTHORIZATION"]})
    link = client.post("/prefix/gateway/api/v1/links", {"file": str(file.pk)}, content_type="application/json")
    assert link.status_code == 201
    assert link.json()["url"].startswith("http://testserver/prefix/gateway/local/private/")
    for address in ("api/v1/files", f"api/v1/files/{file.pk}", "healthz", "readyz", "log-in", ""):
        assert client.get(f"/prefix/gateway/{address}").status_code == 404
    limits = client.get("/prefix/gateway/api/v1/service").json()
    assert (limits["limits"]["upload_bytes"], limits["file_storage"]) == (None, None)


@HOST
def test_the_document_of_a_host_project_has_its_own_addresses(db: None) -> None:
    document = Client().get("/prefix/gateway/api/v1/openapi.json").json()
    assert sorted(document["paths"]) == [
        "/prefix/gateway/api/v1/links",
        "/prefix/gateway/api/v1/links/batch",
        "/prefix/gateway/api/v1/service",
        "/prefix/gateway/api/v1/uploads",
        "/prefix/gateway/api/v1/uploads/{upload_id}",
        "/prefix/gateway/api/v1/uploads/{upload_id}/finalize",
        "/prefix/gateway/api/v1/uploads/{upload_id}/parts",
    ]
    assert "FileInfo" not in document["components"]["schemas"]


UNKNOWN = [
    "",
    "v1",
    "v1/",
    "v1/nothing",
    "v1/links/",
    "v1/links/x",
    "v1/Links",
    "v2/links",
    "x",
    "%0A",
    "v1/links%0A",
    "%FF",
]


@pytest.mark.parametrize("address", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_unknown_addresses_below_the_api_are_problems(address: str, method: str) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.generic(method, f"/api/{address}", b"{}", content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["code"] == "no_such_address"
    assert len(response["X-Request-ID"]) == 32


@pytest.mark.parametrize("address", ["/api", "/apix", "/nothing"])
def test_addresses_beside_it_are_the_projects(address: str) -> None:
    assert Client().get(address)["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("slash", [True, False], ids=["APPEND_SLASH", "no APPEND_SLASH"])
def test_no_slash_is_appended(settings: Any, slash: bool) -> None:
    settings.APPEND_SLASH = slash
    assert Client().get("/api/v1/nothing").status_code == 404
    assert Client().post("/api/v1/links").status_code == 401


@pytest.mark.parametrize("urlconf", ["settings.urls", "tests.gateway.test_urls"], ids=["service", "host"])
def test_no_namespace_is_there_twice(settings: Any, urlconf: str) -> None:
    settings.ROOT_URLCONF = urlconf
    assert run_checks(tags=["urls"]) == []


WITHOUT_NINJA = """
import importlib.machinery, importlib.util, sys
sys.modules["ninja"] = None
if sys.argv[1] == "another":
    spec = importlib.machinery.ModuleSpec("ninja", None, is_package=True)
    sys.modules["ninja"] = importlib.util.module_from_spec(spec)
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "gateway"], ROOT_URLCONF="gateway.urls",
    STORAGES={"private": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": "x"}}},
)
import django
django.setup()
import gateway.urls
print([pattern.name for pattern in gateway.urls.urlpatterns])
"""


@pytest.mark.parametrize("there", ["none", "another"])
def test_without_django_ninja_there_is_all_but_the_api(there: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_NINJA, there], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == "['permalink', 'forward_auth', 'local', 'relay']"
