"""The tree of errors: drawn as it is, with codes of their own, and telling a client nothing."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Iterator

import pytest
from django.core.exceptions import PermissionDenied

from gateway import errors
from gateway.errors import (
    AccessDenied,
    GatewayError,
    StorageUnavailable,
    TooManyRequests,
    TTLTooLong,
    Unavailable,
    problem,
)

DRAWN = re.compile(r"^    ((?:│   |    )*)[├└]── (\w+)(?: \(also (\w+)\))?", re.MULTILINE)


def subclasses(of: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for subclass in of.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


ALL = [GatewayError, *subclasses(GatewayError)]
IN_MODULE = [error for error in ALL if error.__module__ == "gateway.errors"]


def test_the_drawing_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = []
    above = ["GatewayError"]
    for indent, name, also in DRAWN.findall(errors.__doc__):
        del above[len(indent) // 4 + 1 :]
        drawn.append((name, above[-1], also))
        above.append(name)

    real = [
        (error.__name__, *[base.__name__ for base in error.__bases__], "")[:3]  # parent, and Python's or Django's
        for error in IN_MODULE[1:]
    ]

    assert sorted(drawn) == sorted(real)


def test_everything_public_is_exported() -> None:
    defined = {error.__name__ for error in IN_MODULE}

    assert set(errors.__all__) == defined | {"problem"}
    assert errors.__all__ == sorted(errors.__all__)


def test_codes_are_unique_and_spelt_alike() -> None:
    codes = [error.code for error in ALL]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_class_has_a_code_of_its_own(error: type[GatewayError]) -> None:
    assert "code" in vars(error)


STATUSES = {
    "GatewayError": 500, "AccessDenied": 404, "NotAuthenticated": 401, "CSRFFailed": 403, "NoPrincipal": 500,
    "LeaseClosed": 500, "ContextLost": 500, "SyncOnly": 500, "InvalidRequest": 400, "TTLTooLong": 400,
    "InvalidReference": 400, "BatchTooLarge": 413, "BodyTooLarge": 413, "UnsupportedMediaType": 415,
    "NotFound": 404, "MethodNotAllowed": 405, "KeyNotMinted": 400, "ObjectExists": 409,
    "TypeNotAllowed": 400, "UploadConflict": 409, "NotUploaded": 409, "UploadFinished": 409, "IdempotencyConflict": 409,
    "UploadOver": 410, "UploadRejected": 422, "SizeMismatch": 422, "TypeMismatch": 422, "ChecksumMismatch": 422,
    "Infected": 422, "ScannerUnavailable": 503,
    "TooManyRequests": 429, "Unavailable": 503,
    "AuditUnavailable": 503, "DatabaseUnavailable": 503, "TakenBack": 503, "StorageUnavailable": 503, "UnsafeLink": 503,
}  # fmt: skip


def test_statuses() -> None:
    assert {error.__name__: error.status for error in IN_MODULE} == STATUSES


def test_too_many_requests_say_when_to_come_back() -> None:
    copy = pickle.loads(pickle.dumps(TooManyRequests("why", retry_after_seconds=7)))

    assert TooManyRequests().retry_after_seconds == 60
    assert copy.retry_after_seconds == 7


@pytest.mark.parametrize("error", [e for e in IN_MODULE if issubclass(e, Unavailable)], ids=lambda e: e.__name__)
def test_what_is_missing_says_when_to_ask_again(error: type[Unavailable]) -> None:
    assert error.retry_after_seconds > 0


@pytest.mark.parametrize("error", IN_MODULE, ids=lambda error: error.__name__)
def test_a_problem_has_five_members_and_shows_no_argument(error: type[GatewayError]) -> None:
    body = problem(error("secret reason"))

    assert body == {
        "type": "about:blank", "title": error.title, "status": error.status, "code": error.code,
        "detail": error.title,
    }  # fmt: skip


def test_a_problem_may_carry_a_detail() -> None:
    assert problem(TTLTooLong(), "ttl is 7200 s; at most 900 s")["detail"] == "ttl is 7200 s; at most 900 s"


def test_a_refusal_tells_nothing_of_its_reason() -> None:
    denied = AccessDenied("owner is bob", resource="uploads/secret.pdf")

    assert denied.args == (AccessDenied.title,)
    assert str(denied) == AccessDenied.title
    assert "bob" not in repr(denied)
    assert "secret" not in repr(denied)
    assert (denied.reason, denied.resource) == ("owner is bob", "uploads/secret.pdf")


def test_every_refusal_reads_the_same() -> None:
    assert AccessDenied("one", 1).args == AccessDenied("another", 2).args == AccessDenied().args


def test_a_refusal_is_djangos_too() -> None:
    assert isinstance(AccessDenied(), PermissionDenied)


def test_a_refusal_is_loud_until_a_template_says_otherwise() -> None:
    assert AccessDenied().silent_variable_failure is False


def test_a_refusal_survives_a_process_boundary_without_changing_what_it_says() -> None:
    copy = pickle.loads(pickle.dumps(AccessDenied("because")))

    assert copy.args == (AccessDenied.title,)
    assert copy.reason == "because"


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_no_error_is_taken_for_a_missing_attribute_or_key(error: type[GatewayError]) -> None:
    # DRF, the admin and templates swallow these.
    assert not issubclass(error, (AttributeError, LookupError, StopIteration))


def test_an_unsafe_link_is_caught_where_a_storage_that_cannot_sign_is() -> None:
    assert issubclass(errors.UnsafeLink, StorageUnavailable)


def test_no_title_is_shared_by_accident_with_a_reason() -> None:
    assert all(inspect.getattr_static(error, "title").endswith(".") for error in ALL)
