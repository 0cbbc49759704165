"""A Content-Type that Django cannot read is none: each address answers as it does without, and never 500."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client

from settings import asgi, wsgi
from tests.gateway.delivery import support

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("stack", support.STACKS)]

UNREADABLE = {
    "charset of bytes": "application/json; charset=hex",
    "charset without errors to replace": "application/json; charset=idna",
    "charset that is never defined": "application/json; charset=undefined",
    "parameter in an unknown encoding": "application/json; charset*=bogus''utf-8",
    "form in a charset of another kind": "multipart/form-data; boundary=b; charset=idna",
    "form in a charset that is no ASCII": "multipart/form-data; boundary=b; charset=punycode",
}
ADDRESSES = {
    "page": ("GET", "/?cursor=%41", 400),
    "API": ("POST", "/api/v1/links?x=%41", 403),
    "files": ("GET", "/api/v1/files?q=%41", 200),
    "permalink": ("GET", "/f/x?x=%41", 404),
    "local": ("GET", "/local/private/a?x=%41", 403),
    "health": ("GET", "/healthz?x=%41", 200),
    "log-in": ("POST", "/log-in?next=%41", 403),
    "admin": ("GET", "/admin/login/?next=%41", 200),
}
FORM = b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\nx\r\n--b--\r\n'


@pytest.fixture(autouse=True)
def the_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "WSGIHandler", lambda: wsgi.application)
    monkeypatch.setattr(support, "ASGIHandler", lambda: asgi.application)


@pytest.mark.parametrize("content_type", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize(("method", "address", "status"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_answers_whatever_the_content_type(
    stack: str, alice: Any, method: str, address: str, status: int, content_type: str
) -> None:
    client = Client()
    client.force_login(alice)
    cookies = {"sessionid": client.cookies["sessionid"].value}
    headers = {"Content-Type": content_type, "Content-Length": str(len(FORM))}
    assert support.follow(stack, address, method=method, headers=headers, body=FORM, cookies=cookies).status == status


def test_too_many_fields_are_a_bad_request_whatever_the_charset(stack: str) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert support.follow(stack, f"/log-in?{'a&' * 1001}", headers=headers).status == 400


def test_the_entry_points_are_djangos_handlers(stack: str) -> None:
    application: Any = wsgi.application if stack == "wsgi" else asgi.application
    assert isinstance(application, WSGIHandler if stack == "wsgi" else ASGIHandler)
