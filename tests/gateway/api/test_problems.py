"""Errors as problem details: what each becomes, what a client may read of it, and what every answer carries."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse, HttpResponseNotAllowed, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.test import Client, RequestFactory
from django.urls import path

from gateway import errors
from gateway.api.problems import guarded, refuse
from gateway.principals import ambient_lease
from providers.errors import CredentialsExpired, InvalidKey, InvalidTTL
from tests.gateway.api.support import PROBLEM_FIELDS

SECRET = "hunter2"

ANSWERS: dict[str, tuple[Exception, int, str]] = {
    "denied": (errors.AccessDenied(SECRET), 404, "not_found"),
    "Django's permission denied": (PermissionDenied(SECRET), 404, "not_found"),
    "no identity": (errors.NotAuthenticated(SECRET), 401, "not_authenticated"),
    "csrf": (errors.CSRFFailed(SECRET), 403, "csrf_failed"),
    "nobody asks": (errors.NoPrincipal(SECRET), 500, "no_principal"),
    "no such address": (Http404(SECRET), 404, "no_such_address"),
    "object exists": (errors.ObjectExists(SECRET), 409, "object_exists"),
    "audit": (errors.AuditUnavailable(SECRET), 503, "audit_unavailable"),
    "storage": (errors.StorageUnavailable(SECRET), 503, "storage_unavailable"),
    "unsafe link": (errors.UnsafeLink(SECRET), 503, "unsafe_link"),
    "credentials": (CredentialsExpired(SECRET), 503, "storage_unavailable"),
    "key in a row": (InvalidKey(SECRET), 503, "storage_unavailable"),
    "database": (OperationalError(SECRET), 503, "database_unavailable"),
    "connection": (InterfaceError(SECRET), 503, "database_unavailable"),
    "row": (IntegrityError(SECRET), 500, "gateway_error"),
    "body for Django": (RequestDataTooBig(SECRET), 413, "body_too_large"),
    "fields": (TooManyFieldsSent(SECRET), 400, "invalid_request"),
    "files": (TooManyFilesSent(SECRET), 400, "invalid_request"),
    "form": (MultiPartParserError(SECRET), 400, "invalid_request"),
    "client went away": (UnreadablePostError(SECRET), 400, "invalid_request"),
    "host": (DisallowedHost(SECRET), 400, "invalid_request"),
    "bad request": (BadRequest(SECRET), 400, "invalid_request"),
    "bug": (KeyError(SECRET), 500, "gateway_error"),
    "attribute": (AttributeError(SECRET), 500, "gateway_error"),
}


@pytest.mark.parametrize(("error", "status", "code"), ANSWERS.values(), ids=ANSWERS)
def test_each_error_has_a_status_and_a_code_and_hides_the_rest(error: Exception, status: int, code: str) -> None:
    response = refuse(RequestFactory().get("/"), error)
    body = json.loads(response.content)
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert set(body) == PROBLEM_FIELDS
    assert SECRET not in response.content.decode()
    assert ("Retry-After" in response) == (status == 503)
    assert response.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


TOLD = {
    "request": errors.InvalidRequest("a is 1; at least 2"),
    "ttl": errors.TTLTooLong("a is 1; at least 2"),
    "reference": errors.InvalidReference("a is 1; at least 2"),
    "batch": errors.BatchTooLarge("a is 1; at least 2"),
    "body": errors.BodyTooLarge("a is 1; at least 2"),
    "media type": errors.UnsupportedMediaType("a is 1; at least 2"),
    "ttl of a provider": InvalidTTL("a is 1; at least 2"),
}


@pytest.mark.parametrize("error", TOLD.values(), ids=TOLD)
def test_what_the_client_can_mend_is_told(error: Exception) -> None:
    response = refuse(RequestFactory().get("/"), error)
    assert json.loads(response.content)["detail"] == "a is 1; at least 2"


def test_every_error_of_the_tree_is_a_problem_of_its_own_status() -> None:
    def below(cls: Any) -> list[Any]:
        return [cls, *(found for child in cls.__subclasses__() for found in below(child))]

    tree = below(errors.GatewayError)
    assert len(tree) > 20
    for cls in tree:
        assert refuse(RequestFactory().get("/"), cls()).status_code == cls.status


def view_that_fails(request: Any) -> Any:
    raise KeyError(SECRET)


def view_that_answers(request: Any) -> HttpResponse:
    return HttpResponse("{}")


def view_of_other_methods(request: Any) -> HttpResponse:
    return HttpResponseNotAllowed(["PUT", "GET", "DELETE"])


leases: list[bool] = []


def view_that_looks(request: Any) -> HttpResponse:
    lease = ambient_lease()
    assert lease is not None
    response = refuse(request, KeyError(SECRET))
    leases.append(lease.failed)
    return response


urlpatterns = [
    path("fails", guarded(view_that_fails)),
    path("answers", guarded(view_that_answers)),
    path("methods", guarded(view_of_other_methods)),
    path("looks", guarded(view_that_looks)),
]


@pytest.mark.urls("tests.gateway.api.test_problems")
class TestGuarded:
    def test_a_bug_is_logged_and_reported_and_not_shown(self, caplog: Any) -> None:
        response = Client(raise_request_exception=False).get("/fails")
        assert (response.status_code, response.json()["code"]) == (500, "gateway_error")
        assert SECRET not in response.content.decode()
        [record] = [record for record in caplog.records if record.name == "gateway.api.problems"]
        assert record.exc_info[0] is KeyError
        assert response["X-Request-ID"] in record.getMessage()

    def test_error_reporters_hear_of_a_bug(self) -> None:
        with pytest.raises(KeyError):
            Client().get("/fails")

    def test_nothing_is_issued_after_a_bug(self) -> None:
        leases.clear()
        Client(raise_request_exception=False).get("/looks")
        assert leases == [True]

    def test_what_a_client_did_wrong_is_no_report(self, caplog: Any) -> None:
        with caplog.at_level(logging.DEBUG, logger="gateway.api.problems"):
            refuse(RequestFactory().get("/"), errors.InvalidRequest("a"))
            refuse(RequestFactory().get("/"), errors.AccessDenied("a"))
        assert not caplog.records

    def test_the_methods_of_an_address_are_named_in_order(self) -> None:
        response = Client().post("/methods")
        assert (response.status_code, response["Allow"]) == (405, "DELETE, GET, PUT")
        assert response.json()["code"] == "method_not_allowed"

    @pytest.mark.parametrize("address", ["/answers", "/fails", "/methods"])
    def test_every_answer_is_for_its_client_alone_and_named(self, address: str) -> None:
        response = Client(raise_request_exception=False).get(address)
        assert response["Cache-Control"] == "no-store, private"
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["Cross-Origin-Resource-Policy"] == "same-origin"
        assert len(response["X-Request-ID"]) == 32

    def test_it_needs_no_middleware(self, settings: Any) -> None:
        settings.MIDDLEWARE = []
        assert len(Client().get("/answers")["X-Request-ID"]) == 32

    def test_it_is_open_to_clients_without_cookies(self, settings: Any) -> None:
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        assert Client(enforce_csrf_checks=True).post("/answers").status_code == 200
