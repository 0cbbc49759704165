"""What the tests of the API share: clients that hold every answer to the contract, tokens, files with bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from gateway.api.mount import build_api
from gateway.models import ApiToken, File, Issuance
from tests.gateway.api.schema import conforms

SCOPES = ("Download", "Upload", "UploadPart", "Update", "Delete", "Share")
CSRF = "c" * 32
NOBODYS = "11111111-1111-4111-8111-111111111111"  # the form of a file's id, and of no file
PROBLEM_FIELDS = {"type", "title", "status", "code", "detail"}
OWN_HEADERS = ("X-Request-ID", "Date")


class ApiClient(Client):
    """A client that lets no answer of the API pass that the OpenAPI document or the contract does not know."""

    def __init__(self, **options: Any) -> None:
        super().__init__(enforce_csrf_checks=True, **options)

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        if request["PATH_INFO"].startswith("/api/"):
            check_contract(request["REQUEST_METHOD"], request["PATH_INFO"], response)
        return response

    def send(
        self,
        path: str,
        payload: Any,
        method: str = "POST",
        *,
        content_type: str = "application/json",
        **extra: Any,
    ) -> Any:
        """Send JSON; bytes as they are."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload)
        # Said twice, because the client leaves out the type of an empty body.
        return self.generic(method, path, body, content_type, CONTENT_TYPE=content_type, **extra)


def check_contract(method: str, path: str, response: Any) -> None:
    """Hold one answer to what is promised of all."""
    assert re.fullmatch(r"[0-9a-f]{32}", response["X-Request-ID"])
    if response.status_code < 400:
        if response.content and "json" in response["Content-Type"] and "openapi" not in path:
            assert response["Content-Type"] == "application/json"
            _is_documented(method, path, response)
        return
    assert response["Content-Type"] == "application/problem+json"
    if method == "HEAD":
        return
    body = response.json()
    assert set(body) == PROBLEM_FIELDS
    assert body["status"] == response.status_code
    assert ("Retry-After" in response) == (response.status_code in (429, 503))
    assert (response.get("WWW-Authenticate") == "Bearer") == (response.status_code == 401)
    assert ("Allow" in response) == (response.status_code == 405)
    if body["code"] not in ("no_such_address", "method_not_allowed"):
        _is_documented(method, path, response)


def _is_documented(method: str, path: str, response: Any) -> None:
    document = openapi()
    template = re.sub(r"^(/api/v1/files/)[^/]+", r"\1{file_id}", path)
    template = re.sub(r"^(/api/v1/uploads/)[^/]+", r"\1{upload_id}", template)
    answers = document["paths"][template][method.lower()]["responses"]
    assert str(response.status_code) in answers, f"{method} {template} answers {response.status_code}"
    schema = answers[str(response.status_code)]["content"][response["Content-Type"]]["schema"]
    conforms(response.json(), schema, document)


@cache
def openapi() -> Any:
    # Through JSON, as a client gets it.
    return json.loads(json.dumps(build_api(files=True).get_openapi_schema()))


def token_of(user: Any, *scopes: str, days: float = 1) -> str:
    """Return the text of a new token; all scopes where none is named."""
    expires_at = timezone.now() + timedelta(days=days)
    _, text = ApiToken.mint(user=user, name="test", scopes=list(scopes or SCOPES), expires_at=expires_at)
    return text


def by_token(user: Any, *scopes: str) -> ApiClient:
    return ApiClient(headers={"Authorization": f"Bearer {token_of(user, *scopes)}"})


def by_session(user: Any) -> ApiClient:
    """Return a browser of somebody who is logged in, with the CSRF token of its pages."""
    client = ApiClient(headers={"X-CSRFToken": CSRF})
    client.force_login(user)
    client.cookies["csrftoken"] = CSRF
    return client


def file_of(owner: Any, content: bytes = b"content", **fields: Any) -> File:
    """Keep a file as the service would, with its bytes."""
    key = storages["private"].save("file.pdf", ContentFile(content))
    values = {"filename": "report.pdf", "content_type": "application/pdf", "size_bytes": len(content)} | fields
    return File.objects.create(owner=owner, storage_alias="private", key=key, **values)


def issued() -> int:
    """Count the links that were issued, as the audit has it."""
    return Issuance.objects.filter(decision="issued").count()


def told(response: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return everything of an answer that a client could compare with another."""
    headers = {name: value for name, value in response.headers.items() if name not in OWN_HEADERS}
    return response.status_code, response.content, headers


@contextmanager
def database_down_for(sql: str) -> Iterator[list[str]]:
    """Let the database fail at every statement that holds some text; yields the statements that were met."""
    met: list[str] = []

    def fail(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if sql in statement:
            met.append(statement)
            raise OperationalError("server closed the connection unexpectedly")
        return execute(statement, params, many, context)

    with connection.execute_wrapper(fail):
        yield met
