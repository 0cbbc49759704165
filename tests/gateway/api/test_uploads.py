"""``/uploads`` over HTTP: from the wish to a file that can be linked, on the local store's own data plane."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from django.utils import timezone

from gateway.models import ApiToken, File, Issuance, ObjectDeletion, UploadSession
from tests.gateway.api.support import ApiClient, by_session, by_token, told
from tests.hostapp.models import Document, Scan

pytestmark = pytest.mark.django_db

UPLOADS = "/api/v1/uploads"
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" + b"x" * 100
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 100


def wish(content: bytes = PDF, **fields: Any) -> dict[str, Any]:
    return {"filename": "scan.pdf", "content_type": "application/pdf", "size": len(content)} | fields


def md5(content: bytes) -> dict[str, str]:
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return {"algorithm": "md5", "value": base64.b64encode(digest).decode()}


def sha256(content: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": base64.b64encode(hashlib.sha256(content).digest()).decode()}


def put(request: dict[str, Any], content: bytes, **headers: str) -> Any:
    """Send the bytes as a browser would: with the headers of the answer, and a length of its own."""
    sent = request["headers"] | headers
    content_type = sent.pop("Content-Type", "application/x-www-form-urlencoded")
    return Client().generic("PUT", request["url"], content, content_type=content_type, headers=sent)


def begun(client: ApiClient, content: bytes = PDF, **fields: Any) -> Any:
    response = client.send(UPLOADS, wish(content, **fields))
    assert response.status_code == 201, response.content
    return response.json()


def finalize(client: ApiClient, upload: Any) -> Any:
    return client.send(f"{UPLOADS}/{upload['id']}/finalize", {})


def test_an_upload_becomes_a_file_that_can_be_linked(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client, checksum=sha256(PDF))
    assert upload["guarantees"] == {
        "size": "signed", "content_type": "signed", "checksum": "signed", "overwrite": "refused",
    }  # fmt: skip
    assert (upload["state"], upload["strategy"], upload["parts"]) == ("issued", "single", None)
    assert put(upload["request"], PDF).status_code == 201
    finalized = finalize(client, upload)
    assert finalized.status_code == 200
    body = finalized.json()
    assert body["state"] == "ready"
    assert {name: body["file"][name] for name in ("filename", "content_type", "size")} == wish(PDF)
    link = client.send("/api/v1/links", {"file": body["file"]["file"]}).json()
    fetched = Client().get(link["url"])
    assert b"".join(fetched.streaming_content) == PDF  # type: ignore[attr-defined]
    assert fetched["Content-Type"] == "application/pdf"


def test_nothing_can_be_linked_before_it_is_finalized(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    assert File.objects.count() == 0
    assert client.get("/api/v1/files").json()["items"] == []
    assert client.send("/api/v1/links", {"file": upload["id"].removeprefix("upl_")}).status_code == 400


def test_the_key_is_the_servers(alice: Any) -> None:
    begun(by_token(alice), filename="../../etc/secret report.pdf")
    session = UploadSession.objects.get()
    assert session.filename == "secret report.pdf"
    assert session.key.endswith("/file.pdf")
    assert "secret" not in session.key


REFUSED_WISHES: dict[str, tuple[dict[str, Any], int, str]] = {
    "U1 size below zero": ({"size": -1}, 400, "invalid_request"),
    "U1 size as text": ({"size": "10"}, 400, "invalid_request"),
    "U1 size as a fraction": ({"size": 10.0}, 400, "invalid_request"),
    "U1 size beyond the limit": ({"size": 5 * 2**30 + 1}, 413, "body_too_large"),
    "U1 size beyond any column": ({"size": 2**63}, 400, "invalid_request"),
    "U3 type with a header": ({"content_type": "image/png\r\nX: y"}, 400, "invalid_request"),
    "U3 type with half a parameter": ({"content_type": 'image/png; x="'}, 400, "invalid_request"),
    "U3 type of 300 characters": ({"content_type": f"image/{'x' * 294}"}, 400, "invalid_request"),
    "U3 type in upper case": ({"content_type": "IMAGE/PNG"}, 400, "invalid_request"),
    "U3 type of all kinds": ({"content_type": "image/*"}, 400, "invalid_request"),
    "U3 no type": ({"content_type": ""}, 400, "invalid_request"),
    "T22 a state": ({"state": "ready"}, 400, "invalid_request"),
    "T22 a key": ({"key": "uploads/mine.pdf"}, 400, "invalid_request"),
    "T22 a tenant": ({"tenant": "other"}, 400, "invalid_request"),
    "T22 an etag": ({"etag": "x"}, 400, "invalid_request"),
    "T22 metadata": ({"metadata": {"identified": True}}, 400, "invalid_request"),
    "a bucket": ({"bucket": "b"}, 400, "invalid_request"),
    "no name": ({"filename": ""}, 400, "invalid_request"),
    "a short checksum": ({"checksum": {"algorithm": "sha256", "value": "AAAA"}}, 400, "invalid_request"),
    "a checksum in hexadecimal": ({"checksum": {"algorithm": "sha256", "value": "ab" * 32}}, 400, "invalid_request"),
    "a short MD5": ({"checksum": {"algorithm": "md5", "value": "AAAA"}}, 400, "invalid_request"),
    "a SHA-256 called MD5": ({"checksum": {"algorithm": "md5", "value": "A" * 43 + "="}}, 400, "invalid_request"),
    "an unknown checksum": ({"checksum": {"algorithm": "sha1", "value": "A" * 27 + "="}}, 400, "invalid_request"),
    "a checksum of no kind": ({"checksum": {"value": "A" * 43 + "="}}, 400, "invalid_request"),
    "a checksum that is text": ({"checksum": "A" * 43 + "="}, 400, "invalid_request"),
    "an unknown strategy": ({"strategy": "post"}, 400, "invalid_request"),
    "a form to a store without forms": ({"strategy": "form"}, 400, "invalid_request"),
    "parts of nothing": ({"size": 0, "strategy": "multipart"}, 400, "invalid_request"),
    "no reference": ({"target": "x"}, 400, "invalid_reference"),
    "a row that is not there": ({"target": "hostapp.scan:1:file"}, 404, "not_found"),
    "a model that is not there": ({"target": "hostapp.nothing:1:file"}, 404, "not_found"),
    "a field without a policy": ({"target": "hostapp.invoice:1:file"}, 404, "not_found"),
    "a file of the service": ({"target": "11111111-1111-4111-8111-111111111111"}, 404, "not_found"),
}


@pytest.mark.parametrize(("fields", "status", "code"), REFUSED_WISHES.values(), ids=REFUSED_WISHES)
def test_a_wish_that_is_not_exactly_right_begins_nothing(
    alice: Any, fields: dict[str, Any], status: int, code: str
) -> None:
    response = by_token(alice).send(UPLOADS, wish() | fields)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not UploadSession.objects.exists()
    assert not Issuance.objects.exclude(decision="refused").exists()


def test_nobody_uploads_without_an_identity(db: None) -> None:
    assert ApiClient().send(UPLOADS, wish()).status_code == 401


def test_a_session_needs_its_csrf_token(alice: Any) -> None:
    client = by_session(alice)
    assert client.send(UPLOADS, wish()).status_code == 201
    del client.cookies["csrftoken"]
    assert client.send(UPLOADS, wish()).status_code == 403


def test_a_token_needs_the_scope(alice: Any) -> None:
    client = by_token(alice, "Download")
    assert client.send(UPLOADS, wish()).status_code == 404
    assert client.send(UPLOADS, wish()).status_code == 404
    refused = Issuance.objects.get()  # one row a minute, however often it is tried
    assert (refused.decision, refused.operation) == ("refused", "Upload")


def test_a_token_for_one_piece_is_not_one_for_parts(alice: Any) -> None:
    client = by_token(alice, "Upload")
    assert client.send(UPLOADS, wish(strategy="multipart")).status_code == 404
    assert not UploadSession.objects.exists()


def test_the_upload_policy_decides(alice: Any, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"UPLOAD_POLICY": "gateway.policies.DEFAULT_POLICY"}
    assert by_token(alice).send(UPLOADS, wish()).status_code == 404
    assert not UploadSession.objects.exists()


# What arrives is held to what was declared.

SPOILED: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "another size": ({}, PDF[:-1], "size_mismatch"),
    "another type": ({}, PNG + b"x" * (len(PDF) - len(PNG)), "type_mismatch"),
    "a page under the name of a picture": (
        {"content_type": "image/png"},
        b"<!doctype html><script>".ljust(len(PDF)),
        "type_mismatch",
    ),
    "no text": ({"content_type": "text/plain"}, b"\x00" * len(PDF), "type_mismatch"),
    "another checksum": ({"checksum": sha256(PDF)}, PDF[:-1] + b"y", "checksum_mismatch"),
    "another MD5": ({"checksum": md5(PDF)}, PDF[:-1] + b"y", "checksum_mismatch"),
}


@pytest.mark.parametrize(("fields", "content", "code"), SPOILED.values(), ids=SPOILED)
def test_what_is_not_as_declared_is_rejected_for_good(
    alice: Any, fields: dict[str, Any], content: bytes, code: str
) -> None:
    client = by_token(alice)
    upload = begun(client, **fields)
    # Past the data plane, which would have refused most of it.
    session = UploadSession.objects.get()
    storage: Any = storages["private"]
    storage._save(session.key, ContentFile(content))
    first, second = finalize(client, upload), finalize(client, upload)
    assert (first.status_code, first.json()["code"]) == (422, code)
    assert told(first) == told(second)
    assert not File.objects.exists()
    session.refresh_from_db()
    assert (session.state, session.reason) == ("rejected", code)
    noted = ObjectDeletion.objects.get()
    assert noted.key == session.key
    assert noted.not_before > session.links_end_at, "a link that lives could bring it back"
    assert Issuance.objects.filter(decision="refused", reason=code).count() == 1
    assert client.get(f"{UPLOADS}/{upload['id']}").json()["state"] == "rejected"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        pytest.param(PDF[:-1], {}, 400, id="wrong-size"),
        pytest.param(PDF + b"x", {}, 413, id="too-long"),
        pytest.param(PDF, {"Content-Type": "text/html"}, 415, id="wrong-type"),
        pytest.param(PDF[:-1] + b"y", {}, 400, id="wrong-checksum"),
    ],
)
def test_the_data_plane_takes_only_what_was_signed(
    alice: Any, content: bytes, headers: dict[str, str], status: int
) -> None:
    client = by_token(alice)
    upload = begun(client, checksum=sha256(PDF))
    assert put(upload["request"], content, **headers).status_code == status
    answer = finalize(client, upload)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_uploaded")
    assert UploadSession.objects.get().state == "issued"


def test_a_finalized_file_cannot_be_replaced(alice: Any) -> None:
    """T32: the link still lives, and is good for nothing any more."""
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    file = finalize(client, upload).json()["file"]
    other = PDF[:-1] + b"y"
    assert put(upload["request"], other).status_code == 412
    # Whoever writes past the gateway does not change what is served either.
    storage: Any = storages["private"]
    link = client.send("/api/v1/links", {"file": file["file"]}).json()
    Path(storage.path(UploadSession.objects.get().key)).write_bytes(other)
    assert Client().get(link["url"]).status_code == 404


def test_finalize_before_the_bytes_changes_nothing(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    for _ in range(2):
        answer = finalize(client, upload)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_uploaded")
    put(upload["request"], PDF)
    assert finalize(client, upload).status_code == 200


def test_finalize_again_is_the_same_answer_and_one_row(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    assert told(finalize(client, upload)) == told(finalize(client, upload))
    assert File.objects.count() == 1
    assert Issuance.objects.filter(decision="allowed", operation="Upload").count() == 1


def test_nobody_elses_upload_can_be_touched(alice: Any, bob: Any) -> None:
    upload = begun(by_token(alice))
    put(upload["request"], PDF)
    path = f"{UPLOADS}/{upload['id']}"
    nowhere = f"{UPLOADS}/upl_{'0' * 32}"
    client = by_token(bob)
    parts = {"parts": [{"number": 1, "size": 1}]}
    for mine, none in (
        (client.get(path), client.get(nowhere)),
        (client.delete(path), client.delete(nowhere)),
        (client.send(f"{path}/finalize", {}), client.send(f"{nowhere}/finalize", {})),
        (client.send(f"{path}/parts", parts), client.send(f"{nowhere}/parts", parts)),
    ):
        assert mine.status_code == 404
        assert told(mine) == told(none)
    assert UploadSession.objects.get().state == "issued"


def test_an_upload_of_another_tenant_is_not_there(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    UploadSession.objects.update(tenant="other")
    assert finalize(client, upload).status_code == 404
    assert client.get(f"{UPLOADS}/{upload['id']}").status_code == 404


@pytest.mark.parametrize("upload_id", ["x", "upl_", f"upl_{'G' * 32}", f"upl_{'0' * 33}", "%00"])
def test_what_is_no_id_is_not_there(alice: Any, upload_id: str) -> None:
    assert by_token(alice).get(f"{UPLOADS}/{upload_id}").status_code == 404


def test_permission_is_asked_again_at_finalize(alice: Any, bob: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    client = by_token(alice)
    upload = begun(client, target=f"hostapp.scan:{scan.pk}:file")
    put(upload["request"], PDF)
    Scan.objects.update(owner=bob)
    assert finalize(client, upload).status_code == 404
    scan.refresh_from_db()
    assert not scan.file
    assert Issuance.objects.filter(decision="refused").exists()


def test_an_inactive_user_finalizes_nothing(alice: Any) -> None:
    client = by_session(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    type(alice).objects.update(is_active=False)
    assert finalize(client, upload).status_code == 401
    assert not File.objects.exists()


# Into rows of the project.


def test_the_file_goes_into_the_field(alice: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    target = f"hostapp.scan:{scan.pk}:file"
    client = by_token(alice)
    first = begun(client, target=target)
    put(first["request"], PDF)
    assert finalize(client, first).json()["file"]["file"] == target
    scan.refresh_from_db()
    replaced = scan.file.name
    assert scan.file.read() == PDF
    scan.file.close()
    link = client.send("/api/v1/links", {"file": target})
    assert link.status_code == 201

    second = begun(client, PNG, target=target, content_type="image/png", filename="scan.png")
    put(second["request"], PNG)
    assert finalize(client, second).status_code == 200
    scan.refresh_from_db()
    assert scan.file.read() == PNG
    scan.file.close()
    assert ObjectDeletion.objects.get().key == replaced
    # The answer to the first stays what it was.
    assert finalize(client, first).status_code == 200
    scan.refresh_from_db()
    assert scan.file.name != replaced


def test_a_row_that_is_gone_gets_no_file(alice: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    client = by_token(alice)
    upload = begun(client, target=f"hostapp.scan:{scan.pk}:file")
    put(upload["request"], PDF)
    scan.delete()
    assert finalize(client, upload).status_code == 404


def test_a_field_takes_only_what_it_says(alice: Any, bob: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    target = f"hostapp.scan:{scan.pk}:file"
    for fields, status, code in (
        ({"size": 1001}, 413, "body_too_large"),
        ({"content_type": "text/plain"}, 400, "type_not_allowed"),
    ):
        answer = by_token(alice).send(UPLOADS, wish(target=target) | fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        # Who may not upload there is not told what the field takes.
        assert by_token(bob).send(UPLOADS, wish(target=target) | fields).status_code == 404


@pytest.mark.parametrize(
    ("limit", "value", "code"),
    [
        pytest.param("max_bytes", 10, "size_mismatch", id="size"),
        pytest.param("content_types", frozenset({"image/png"}), "type_mismatch", id="type"),
    ],
)
def test_what_a_field_takes_is_asked_again_at_finalize(
    alice: Any, monkeypatch: Any, limit: str, value: Any, code: str
) -> None:
    scan = Scan.objects.create(owner=alice)
    client = by_token(alice)
    upload = begun(client, target=f"hostapp.scan:{scan.pk}:file")
    put(upload["request"], PDF)
    monkeypatch.setattr(Scan._meta.get_field("file"), limit, value)
    answer = finalize(client, upload)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_reading_is_not_uploading(alice: Any) -> None:
    document = Document.objects.create(owner=alice)
    answer = by_token(alice).send(UPLOADS, wish(target=f"hostapp.document:{document.pk}:file"))
    assert answer.status_code == 404


# Parts.


@pytest.fixture
def small_parts(settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": 50}


def sign_parts(client: ApiClient, upload: Any, *numbers: int, content: bytes = PDF, **fields: Any) -> Any:
    parts = [{"number": number, "size": len(part_of(content, number))} | fields for number in numbers]
    return client.send(f"{UPLOADS}/{upload['id']}/parts", {"parts": parts})


def part_of(content: bytes, number: int) -> bytes:
    return content[(number - 1) * 50 : number * 50]


@pytest.mark.usefixtures("small_parts")
def test_parts_make_the_file_in_any_order(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client, checksum=sha256(PDF))
    assert (upload["strategy"], upload["request"]) == ("multipart", None)
    assert upload["guarantees"] == {
        "size": "signed", "content_type": "verified", "checksum": "verified", "overwrite": "refused",
    }  # fmt: skip
    assert upload["parts"]["size"] == 50
    assert upload["parts"]["count"] == 3
    signed = sign_parts(client, upload, 1, 2, 3).json()["parts"]
    for number in (3, 1):
        assert put(signed[number - 1], part_of(PDF, number)).status_code == 201
    seen = client.get(f"{UPLOADS}/{upload['id']}").json()
    assert (seen["state"], [part["number"] for part in seen["received"]]) == ("uploading", [1, 3])
    assert finalize(client, upload).json()["code"] == "not_uploaded"
    assert put(signed[1], part_of(PDF, 2)).status_code == 201
    body = finalize(client, upload)
    assert body.status_code == 200, body.content
    with storages["private"].open(UploadSession.objects.get().key) as stored:
        assert stored.read() == PDF
    # The parts are dead.
    for number in (1, 2, 3):
        assert put(signed[number - 1], part_of(PDF, number)).status_code == 404
    assert sign_parts(client, upload, 1).status_code == 409


@pytest.mark.usefixtures("small_parts")
def test_a_replayed_part_replaces_only_itself_and_the_checksum_sees_it(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client, checksum=sha256(PDF))
    signed = sign_parts(client, upload, 1, 2, 3).json()["parts"]
    for number in (1, 2, 3):
        put(signed[number - 1], part_of(PDF, number))
    assert put(signed[2], b"!" * len(part_of(PDF, 3))).status_code == 201
    answer = finalize(client, upload)
    assert (answer.status_code, answer.json()["code"]) == (422, "checksum_mismatch")


@pytest.mark.usefixtures("small_parts")
def test_a_part_is_signed_for_its_bytes(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    signed = sign_parts(client, upload, 1, checksum=sha256(part_of(PDF, 1))).json()["parts"][0]
    assert put(signed, part_of(PDF, 1)[:-1]).status_code == 400
    assert put(signed, part_of(PDF, 1) + b"x").status_code == 413
    assert put(signed, part_of(PDF, 1)[:-1] + b"!").status_code == 400
    assert put(signed, part_of(PDF, 1)).status_code == 201


REFUSED_PARTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "number zero": [{"number": 0, "size": 50}],
    "beyond the last": [{"number": 4, "size": 50}],
    "another size": [{"number": 1, "size": 49}],
    "the last as long as the others": [{"number": 3, "size": 50}],
    "twice": [{"number": 1, "size": 50}, {"number": 1, "size": 50}],
    "with a key": [{"number": 1, "size": 50, "key": "a"}],
    "more than a hundred": [{"number": 1, "size": 50}] * 101,
}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("parts", REFUSED_PARTS.values(), ids=REFUSED_PARTS)
def test_parts_that_are_not_of_the_plan_are_not_signed(alice: Any, parts: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    assert client.send(f"{UPLOADS}/{upload['id']}/parts", {"parts": parts}).status_code == 400
    assert not Issuance.objects.filter(operation="UploadPart").exists()


@pytest.mark.usefixtures("small_parts")
def test_permission_is_asked_again_for_every_part(alice: Any, bob: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    client = by_token(alice)
    upload = begun(client, target=f"hostapp.scan:{scan.pk}:file")
    assert sign_parts(client, upload, 1).status_code == 200
    Scan.objects.update(owner=bob)
    assert sign_parts(client, upload, 2).status_code == 404


def test_one_piece_has_no_parts(alice: Any) -> None:
    client = by_token(alice)
    assert sign_parts(client, begun(client), 1).json()["code"] == "upload_conflict"


# Giving up, and running out.


def test_an_upload_can_be_given_up_and_its_object_goes(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    path = f"{UPLOADS}/{upload['id']}"
    assert [client.delete(path).status_code for _ in range(2)] == [204, 204]
    assert ObjectDeletion.objects.get().key == UploadSession.objects.get().key
    assert (finalize(client, upload).status_code, finalize(client, upload).json()["code"]) == (410, "upload_over")


@pytest.mark.usefixtures("small_parts")
def test_parts_of_an_upload_that_was_given_up_find_no_place(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    part = sign_parts(client, upload, 1).json()["parts"][0]
    client.delete(f"{UPLOADS}/{upload['id']}")
    assert put(part, part_of(PDF, 1)).status_code == 404
    assert sign_parts(client, upload, 1).status_code == 410


def test_a_file_is_not_given_up(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    finalize(client, upload)
    answer = client.delete(f"{UPLOADS}/{upload['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_finished")
    assert File.objects.count() == 1
    assert not ObjectDeletion.objects.exists()


def test_after_its_end_an_upload_is_not_finalized(alice: Any) -> None:
    client = by_token(alice)
    upload = begun(client)
    put(upload["request"], PDF)
    UploadSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert finalize(client, upload).status_code == 410
    assert not File.objects.exists()


# Idempotency.


def test_a_repeat_with_the_same_key_is_the_same_upload_signed_anew(alice: Any) -> None:
    client = by_token(alice)
    first, second = (client.send(UPLOADS, wish(), headers={"Idempotency-Key": "k1"}).json() for _ in range(2))
    assert first["id"] == second["id"]
    assert second["request"] is not None
    assert Issuance.objects.filter(decision="issued").count() == 2
    put(second["request"], PDF)
    finalize(client, first)
    third = client.send(UPLOADS, wish(), headers={"Idempotency-Key": "k1"}).json()
    assert (third["id"], third["state"], third["request"]) == (first["id"], "ready", None)


@pytest.mark.usefixtures("small_parts")
def test_a_beginning_that_was_interrupted_is_taken_up_by_the_repeat(alice: Any) -> None:
    client = by_token(alice)
    upload = client.send(UPLOADS, wish(), headers={"Idempotency-Key": "k1"}).json()
    UploadSession.objects.update(store_upload_id="")  # killed before the store had answered
    assert sign_parts(client, upload, 1).json()["code"] == "upload_conflict"
    again = client.send(UPLOADS, wish(), headers={"Idempotency-Key": "k1"}).json()
    assert again["id"] == upload["id"]
    assert sign_parts(client, upload, 1).status_code == 200


def test_the_key_of_another_body_is_refused(alice: Any) -> None:
    client = by_token(alice)
    client.send(UPLOADS, wish(), headers={"Idempotency-Key": "k1"})
    answer = client.send(UPLOADS, wish(filename="other.pdf"), headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


def test_the_key_of_another_principal_is_another_key(alice: Any, bob: Any) -> None:
    ids = {
        by_token(user).send(UPLOADS, wish(), headers={"Idempotency-Key": "k1"}).json()["id"] for user in (alice, bob)
    }
    assert len(ids) == 2


def test_a_repeat_is_decided_again(alice: Any, bob: Any) -> None:
    scan = Scan.objects.create(owner=alice)
    asked = wish(target=f"hostapp.scan:{scan.pk}:file")
    client = by_token(alice)
    assert client.send(UPLOADS, asked, headers={"Idempotency-Key": "k1"}).status_code == 201
    Scan.objects.update(owner=bob)
    assert client.send(UPLOADS, asked, headers={"Idempotency-Key": "k1"}).status_code == 404


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü"], ids=["empty", "space", "long", "not-ascii"])
def test_an_idempotency_key_that_is_none_is_refused(alice: Any, key: str) -> None:
    assert by_token(alice).send(UPLOADS, wish(), headers={"Idempotency-Key": key}).status_code == 400


def test_no_link_is_stored(alice: Any) -> None:
    url = begun(by_token(alice))["request"]["url"]
    signature = url.rpartition("signature=")[2]
    for model in (UploadSession, Issuance, ApiToken):
        for row in model.objects.values():  # type: ignore[attr-defined]
            assert signature not in repr(row)
