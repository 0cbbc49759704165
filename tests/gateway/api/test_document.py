"""The OpenAPI document: that it says what is done. Each answer of the other tests is held to it as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings as django_settings

from tests.gateway.api.support import ApiClient, openapi

OPERATIONS = [
    (method, path, details) for path, methods in openapi()["paths"].items() for method, details in methods.items()
]
EACH = pytest.mark.parametrize(
    ("method", "path", "details"), OPERATIONS, ids=[f"{method} {path}" for method, path, _ in OPERATIONS]
)


def test_the_contract_is_all_there() -> None:
    assert sorted(f"{method} {path}" for method, path, _ in OPERATIONS) == [
        "delete /api/v1/files/{file_id}",
        "delete /api/v1/uploads/{upload_id}",
        "get /api/v1/files",
        "get /api/v1/files/{file_id}",
        "get /api/v1/files/{file_id}/explain",
        "get /api/v1/service",
        "get /api/v1/uploads/{upload_id}",
        "patch /api/v1/files/{file_id}",
        "post /api/v1/files",
        "post /api/v1/links",
        "post /api/v1/links/batch",
        "post /api/v1/uploads",
        "post /api/v1/uploads/{upload_id}/finalize",
        "post /api/v1/uploads/{upload_id}/parts",
    ]


@EACH
def test_every_status_is_documented(method: str, path: str, details: Any) -> None:
    statuses = set(details["responses"])
    assert {"400", "401", "429", "500", "503"} <= statuses
    assert ("403" in statuses) == (method != "get")
    assert ("requestBody" in details) == ({"413", "415"} <= statuses)
    # For verdicts about what was uploaded, and nothing else.
    assert ("422" in statuses) == path.endswith("/finalize")
    successes = {status for status in statuses if status < "300"}
    assert successes == {"200", "202"} if path.endswith("/finalize") else len(successes) == 1


@EACH
def test_every_error_is_a_problem(method: str, path: str, details: Any) -> None:
    for status, answer in details["responses"].items():
        if status >= "400":
            assert answer["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }


@EACH
def test_every_operation_says_who_may_ask(method: str, path: str, details: Any) -> None:
    assert details["security"] == [{"token": []}, {"session": []}]


def test_credentials_are_described() -> None:
    schemes = openapi()["components"]["securitySchemes"]
    assert schemes["token"]["scheme"] == "bearer"
    assert schemes["session"]["name"] == django_settings.SESSION_COOKIE_NAME


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if "$ref" in value else set()
            return own.union(*(references(one) for one in value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    found = references(openapi())
    assert len(found) > 5
    for reference in found:
        assert reference.rpartition("/")[2] in openapi()["components"]["schemas"]


def test_no_shape_is_open() -> None:
    for name, schema in openapi()["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name


def test_bodies_are_described_as_they_are_read() -> None:
    schemas = openapi()["components"]["schemas"]
    assert schemas["LinkRequest"]["required"] == ["file"]
    assert set(schemas["LinkRequest"]["properties"]) == {
        "disposition", "file", "filename", "method", "ttl_seconds",
    }  # fmt: skip
    assert set(schemas["LinkItem"]["properties"]) == set(schemas["LinkRequest"]["properties"]) - {"ttl_seconds"}
    assert set(schemas["BatchRequest"]["properties"]) == {"items", "ttl_seconds"}
    assert set(schemas["FileUpdate"]["properties"]) == {"filename"}
    for path, name in (("/api/v1/links", "LinkRequest"), ("/api/v1/links/batch", "BatchRequest")):
        body = openapi()["paths"][path]["post"]["requestBody"]
        assert body["content"] == {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        assert body["required"] is True
    assert set(openapi()["paths"]["/api/v1/files"]["post"]["requestBody"]["content"]) == {"multipart/form-data"}


def test_parameters_are_described_as_they_are_read() -> None:
    parameters = openapi()["paths"]["/api/v1/files"]["get"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {"cursor", "limit", "q", "state"}
    assert {parameter["required"] for parameter in parameters} == {False}
    limit = next(parameter["schema"] for parameter in parameters if parameter["name"] == "limit")
    assert (limit["type"], limit["minimum"], limit["maximum"], limit["default"]) == ("integer", 1, 100, 50)


def test_it_is_the_same_each_time_it_is_asked_for(db: None) -> None:
    first, second = (ApiClient().get("/api/v1/openapi.json") for _ in range(2))
    assert first.content == second.content
    assert json.loads(first.content) == openapi()


def test_the_page_of_the_documentation_has_its_own_assets(db: None) -> None:
    response = ApiClient().get("/api/v1/docs")
    content = response.content.decode()
    assert response.status_code == 200
    assert "/static/ninja/swagger-ui-bundle.js" in content
    assert "cdn" not in content
    assert "/api/v1/openapi.json" in content
