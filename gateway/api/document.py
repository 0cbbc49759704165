"""What django-ninja's OpenAPI document does not know of itself: bodies, problems, credentials.

Must not describe anything that the routers do not do; a test compares it with real answers.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.problems import PROBLEM_TYPE
from gateway.api.schemas import (
    BatchRequest,
    FileUpdate,
    LinkRequest,
    Nothing,
    Problem,
    UploadPartsRequest,
    UploadRequest,
)

__all__ = ["complete", "header", "json_body", "problems", "query", "upload_body"]

_REF = "#/components/schemas/{model}"
_REQUESTS = (LinkRequest, BatchRequest, FileUpdate, UploadRequest, UploadPartsRequest, Nothing)


def problems(*statuses: int) -> dict[Any, Any]:
    """Return the part of ``response=`` that says with which errors an address may answer."""
    return dict.fromkeys(statuses, Problem)


def json_body(schema: type[BaseModel]) -> dict[str, Any]:
    """Return ``openapi_extra`` for a body that the view reads by itself."""
    reference = {"$ref": _REF.format(model=schema.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}


def upload_body() -> dict[str, Any]:
    """Return ``openapi_extra`` for one file in form data."""
    schema = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def header(name: str, description: str, max_length: int) -> dict[str, Any]:
    """Return ``openapi_extra`` for an optional header."""
    schema = {"type": "string", "minLength": 1, "maxLength": max_length}
    return {
        "parameters": [{"in": "header", "name": name, "required": False, "schema": schema, "description": description}]
    }


def query(schema: type[BaseModel]) -> dict[str, Any]:
    """Return ``openapi_extra`` for query parameters that the view reads by itself."""
    properties = schema.model_json_schema()["properties"]
    parameters = [
        {"in": "query", "name": name, "required": False, "schema": details, "description": details["description"]}
        for name, details in properties.items()
    ]
    return {"parameters": parameters}


def complete(document: dict[str, Any]) -> None:
    """Add to a document that django-ninja made, in place."""
    _, definitions = models_json_schema([(schema, "validation") for schema in _REQUESTS], ref_template=_REF)
    document["components"]["schemas"].update(definitions["$defs"])
    document["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, or a JSON web token where the service takes them.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Django's session; unsafe methods need the CSRF token in the header X-CSRFToken.",
        },
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["security"] = [{"token": []}, {"session": []}]
            for status, details in operation["responses"].items():
                if status >= 400:
                    details["content"] = {PROBLEM_TYPE: details["content"]["application/json"]}
