"""Log records are found by the request's id."""

from __future__ import annotations

import logging
from typing import Any

from django.test import RequestFactory

from gateway.principals import close_lease, open_lease
from gateway.request_ids import RequestIDFilter


def id_of(**extra: Any) -> str:
    record = logging.makeLogRecord({"msg": "said", **extra})
    assert RequestIDFilter().filter(record) is True
    return str(record.request_id)  # type: ignore[attr-defined]


def test_a_record_of_a_request_has_its_id() -> None:
    lease, token = open_lease(RequestFactory().get("/"))
    assert id_of() == lease.request_id
    close_lease(lease, token)


def test_a_record_that_names_its_request_has_the_id_after_the_response_too() -> None:
    request = RequestFactory().get("/")
    lease, token = open_lease(request)
    close_lease(lease, token)
    assert id_of(request=request) == lease.request_id


def test_outside_a_request_there_is_none() -> None:
    assert id_of() == "-"
    assert id_of(request=RequestFactory().get("/")) == "-"
