"""What watches the tests sees what it is there for."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from providers import s3
from providers.types import Download, Upload, UploadForm
from tests import guards
from tests.providers.examples import BUCKET, NOW, STATIC, TTL

PROVIDER = s3.S3Provider(bucket=BUCKET, region="eu-central-1", credentials=STATIC)
LINK = "https://bucket.s3.eu-central-1.amazonaws.com/a.pdf?X-Amz-Expires=60&X-Amz-Signature=" + "0f" * 32


def found() -> list[str]:
    seen, guards._found[:] = list(guards._found), []
    return seen


SECRETS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "a link": (f"see {LINK}", ()),
    "a link as an argument": ("see %s", (LINK,)),
    "the query of a link to Azure": ("sv=2026-02-06&sig=%s", ("abcdefghij%2Bklmnop%3D",)),
    "a resumable session": ("PUT /upload/storage/v1/b/b/o?uploadType=resumable&upload_id=%s", ("AHmUCY1cXVb-q_3Zk8",)),
    "an API token": ("token pgw_abcdefghijklmnopqrstuvwxyz", ()),
    "a JSON web token": ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", ()),
    "a private key": ("-----BEGIN PRIVATE KEY-----", ()),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_log_is_seen(name: str) -> None:
    text, arguments = SECRETS[name]
    logging.getLogger("gateway.test").debug(text, *arguments)
    (told,) = found()
    assert not any(str(argument) in told for argument in arguments)


def test_a_secret_in_a_traceback_is_seen() -> None:
    try:
        raise ValueError(LINK)
    except ValueError:
        logging.getLogger("gateway.test").exception("it broke")
    assert len(found()) == 1


def test_what_is_no_secret_is_left_alone() -> None:
    logging.getLogger("gateway.test").error("X-Amz-Signature=[redacted] of lnk_0123456789abcdef0123456789abcdef")
    assert found() == []


OPERATIONS = {
    "download": Download("a.pdf"),
    "upload": Upload(key="a.pdf", size_bytes=3, content_type="application/pdf"),
    "form": UploadForm(key="a.pdf", min_bytes=1, max_bytes=3, content_type="application/pdf"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_link_that_its_signature_does_not_cover_is_seen(name: str) -> None:
    operation = OPERATIONS[name]
    link = PROVIDER.sign(operation, ttl=TTL, now=NOW)
    assert found() == []
    bent = replace(link, url=link.url + "&versionId=1", fields={**link.fields, "key": "b.pdf"})
    guards._judge(PROVIDER, operation, bent, NOW)
    assert len(found()) == 1


def test_a_link_of_a_signer_that_errs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3.sigv4, "string_to_sign", lambda *parts: "\n".join(parts))
    PROVIDER.sign_many([Download("a.pdf")], ttl=TTL, now=NOW)
    assert len(found()) == 1
