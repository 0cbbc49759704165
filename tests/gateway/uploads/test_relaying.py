"""Parts that go through the gateway to Azure: what is passed on, what is refused, and what is left when it breaks."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.storage.blob import BlobBlock, BlockState
from django.contrib.auth import get_user_model
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway import links, outbox, uploads
from gateway.delivery.relay import relay
from gateway.errors import (
    AccessDenied,
    ChecksumMismatch,
    InvalidRequest,
    NotUploaded,
    SizeMismatch,
    StorageUnavailable,
    UploadOver,
)
from gateway.models import File, Issuance, UploadSession
from gateway.principals import SYSTEM, acting_as
from gateway.resources import Resource
from gateway.revocation import revoke
from gateway.storages.azure_objects import _Once
from gateway.storages.objects import ReceivedPart
from gateway.uploads import PartWanted
from gateway.uploads.planning import Wanted, part_size, plan
from providers.azure import block_name
from providers.local import MIN_SECRET_BYTES, LocalProvider, SecretKey
from providers.types import Download, Upload, UploadPart
from tests.emulators.process import LOOPBACK
from tests.gateway.api.support import by_token
from tests.gateway.azure_stores import AzureStore, keeping_connections
from tests.gateway.browsing import Site
from tests.gateway.delivery.support import STACKS, Answer, follow
from tests.gateway.opened_stores import open_store
from tests.gateway.uploads.conftest import begin, principal_of

KIB, MIB = 2**10, 2**20
PART = 100 * KIB
CONTENT = (b"%PDF-1.7\n" + bytes(range(256)) * KIB)[: 2 * PART + 5]
DIGEST = hashlib.sha256(CONTENT[:PART]).digest()
DIGEST_FIELD = f"sha-256=:{base64.b64encode(DIGEST).decode()}:"
INVALID, ENDED = b"This link is not valid.\n", b"<Message>Request has expired</Message>\n"
database = pytest.mark.django_db


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_store("azure", request, tmp_path_factory.mktemp("azure")) as store:
        yield store


@pytest.fixture
def store(opened: AzureStore, azurite: Any, settings: Any) -> AzureStore:
    settings.STORAGES = settings.STORAGES | {opened.alias: {"BACKEND": opened.backend, "OPTIONS": opened.options}}
    settings.GATEWAY = settings.GATEWAY | {"FILE_STORAGE": opened.alias, "UPLOAD_PART_BYTES": PART}
    return opened


def objects_of(store: AzureStore) -> Any:
    return storages[store.alias].objects  # type: ignore[attr-defined]


def in_parts(user: Any, **fields: Any) -> Any:
    return begin(user, CONTENT, strategy="multipart", **fields)


def bytes_of(number: int) -> bytes:
    return CONTENT[(number - 1) * PART : number * PART]


def sign(user: Any, begun: Any, *numbers: int, sha256: bytes | None = None) -> list[str]:
    wanted = [PartWanted(number=n, size_bytes=len(bytes_of(n)), sha256=sha256) for n in numbers]
    return [link.url for link in uploads.sign_parts(principal_of(user), begun.session.pk, wanted)]


def put(url: str, body: bytes | BytesIO, *, stack: str = "wsgi", length: str | None = "", **headers: str) -> Answer:
    """Send a body; an empty ``length`` is its own, and for None there is no such header at all."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    if length is not None:
        said["Content-Length"] = length or str(len(body) if isinstance(body, bytes) else PART)
    with keeping_connections():
        return follow(stack, url, method=said.pop("method", "PUT"), body=body, headers=said)


def send_all(user: Any, begun: Any) -> None:
    for number, url in enumerate(sign(user, begun, 1, 2, 3), start=1):
        assert put(url, bytes_of(number)).status == 201


def received(user: Any, begun: Any) -> list[tuple[int, int]]:
    parts = uploads.look(principal_of(user), begun.session.pk).parts
    return [(part.number, part.size_bytes) for part in parts or ()]


def finalize(user: Any, begun: Any) -> Any:
    return uploads.finalize(principal_of(user), begun.session.pk)


def move(begun: Any, **values: Any) -> None:
    UploadSession.objects.filter(pk=begun.session.pk).update(**values)


# --- what is passed on -------------------------------------------------------------------------------------


@database
@pytest.mark.parametrize("stack", STACKS)
def test_a_file_goes_through_the_api_in_parts_and_is_seen_when_it_was_verified(
    store: AzureStore, alice: Any, stack: str
) -> None:
    client = by_token(alice)
    checksum = {"algorithm": "sha256", "value": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}
    asked = {
        "filename": "notes.txt", "content_type": "text/plain; charset=utf-8", "size": len(CONTENT),
        "checksum": checksum, "strategy": "multipart",
    }  # fmt: skip
    content = b"notes, " * (len(CONTENT) // 7 + 1)
    content = content[: len(CONTENT)]
    asked["checksum"] = checksum | {"value": base64.b64encode(hashlib.sha256(content).digest()).decode()}
    begun = client.send("/api/v1/uploads", asked).json()
    assert begun["guarantees"] == {
        "size": "signed", "content_type": "verified", "checksum": "verified", "overwrite": "refused",
    }  # fmt: skip
    assert begun["parts"] | {"url": ""} == {"size": PART, "count": 3, "url": ""}
    key = UploadSession.objects.get().key
    wanted = [{"number": n, "size": min(PART, len(content) - (n - 1) * PART)} for n in (1, 2, 3)]
    signed = client.send(urlsplit(begun["parts"]["url"]).path, {"parts": wanted}).json()["parts"]
    for part in signed:
        assert part["url"].startswith("http://testserver/relay/azure/tenant%201/files/uploads/")
        assert (part["method"], part["headers"]) == ("PUT", {})
        body = content[(part["number"] - 1) * PART :][:PART]
        answer = put(part["url"], body, stack=stack)
        assert (answer.status, answer.body) == (201, b"")
        assert answer.headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert answer.headers["Cache-Control"] == "no-store"
    assert store.get(key) is None, "blocks are no blob"
    there = client.get(f"/api/v1/uploads/{begun['id']}").json()
    assert there["received"] == [{"number": part["number"], "size": part["size"]} for part in wanted]
    done = client.send(f"/api/v1/uploads/{begun['id']}/finalize", {}).json()
    assert done["state"] == "ready"
    assert store.get(key) == (content, "text/plain; charset=utf-8")
    link = links.issue(principal_of(alice), Resource.of_file(File.objects.get()))
    store.judge(link)
    assert store.send(link.url).body == content


@database
def test_the_links_of_other_operations_stay_the_stores_own(store: AzureStore, alice: Any) -> None:
    storage: Any = storages[store.alias]
    assert storage.provider_for(Download) is storage.provider_for(Upload) is storage.provider
    assert isinstance(storage.provider_for(UploadPart), LocalProvider)
    single = begin(alice, CONTENT)
    assert single.link is not None
    assert single.link.url.startswith(store.server.endpoint_url)


@database
def test_no_part_is_larger_than_azure_takes_a_block(store: AzureStore, settings: Any) -> None:
    settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": 5000 * MIB}
    most, large = 4000 * MIB, {"filename": "a", "content_type": "text/plain", "size_bytes": 9000 * MIB}
    assert plan(Wanted(**large), store.alias, objects_of(store)) == ("multipart", most)
    assert plan(Wanted(**large, part_bytes=most), store.alias, objects_of(store)) == ("multipart", most)
    with pytest.raises(InvalidRequest, match=f"a part has {most + 1} bytes; at most {most}"):
        plan(Wanted(**large, part_bytes=most + 1), store.alias, objects_of(store))


@database
def test_the_last_of_a_part_that_comes_twice_counts_and_the_checksum_sees_it(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    send_all(alice, begun)
    (second,) = sign(alice, begun, 2)
    assert put(second, bytes(PART)).status == 201
    assert received(alice, begun) == [(1, PART), (2, PART), (3, 5)]
    assert put(second, bytes_of(2)).status == 201
    assert finalize(alice, begun).session.state == "ready"
    other = in_parts(alice)
    send_all(alice, other)
    assert put(sign(alice, other, 2)[0], bytes(PART)).status == 201
    with pytest.raises(ChecksumMismatch):
        finalize(alice, other)


@database
def test_a_part_is_never_held_in_memory(store: AzureStore, alice: Any, settings: Any) -> None:
    size = 64 * MIB
    settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": size}

    class Zeros(BytesIO):
        left = size

        def read(self, count: int | None = -1) -> bytes:
            assert count is not None
            assert 0 <= count <= MIB
            given = min(count, self.left)
            self.left -= given
            return bytes(given)

    begun = begin(alice, size_bytes=size, sha256=None, strategy="multipart")
    part = PartWanted(number=1, size_bytes=size)
    (link,) = uploads.sign_parts(principal_of(alice), begun.session.pk, [part])
    put(link.url, b"")  # what is imported and opened at the first request
    tracemalloc.start()
    try:
        assert put(link.url, Zeros(), length=str(size)).status == 201
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB
    assert received(alice, begun) == [(1, size)]


# --- what was not signed -----------------------------------------------------------------------------------

WHOLE = bytes_of(1)
# name: what is sent by the link of the first part, and the status
BODIES: dict[str, tuple[Callable[[str, str], Answer], int]] = {
    "shorter": (lambda url, s: put(url, WHOLE[:-1], stack=s), 400),
    "longer": (lambda url, s: put(url, WHOLE + b"x", stack=s), 413),
    "much-longer": (lambda url, s: put(url, WHOLE, stack=s, length="9" * 20), 413),
    "empty": (lambda url, s: put(url, b"", stack=s), 400),
    "shorter-than-it-says": (lambda url, s: put(url, WHOLE[:-1], stack=s, length=str(PART)), 400),
    "half-of-what-it-says": (lambda url, s: put(url, WHOLE[: PART // 2], stack=s, length=str(PART)), 400),
    "no-length": (lambda url, s: put(url, WHOLE, stack=s, length=None), 411),
    "length-and-chunks": (lambda url, s: put(url, WHOLE, stack=s, Transfer_Encoding="chunked"), 411),
    "negative-length": (lambda url, s: put(url, WHOLE, stack=s, length="-1"), 400),
    "other-bytes": (lambda url, s: put(url, bytes(PART), stack=s), 400),
    "other-last-byte": (lambda url, s: put(url, WHOLE[:-1] + b"x", stack=s), 400),
    "other-digest": (lambda url, s: put(url, WHOLE, stack=s, Content_Digest=DIGEST_FIELD.replace("=:", "=:A")), 400),
    "compressed": (lambda url, s: put(url, WHOLE, stack=s, Content_Encoding="gzip"), 415),
    "a-range": (lambda url, s: put(url, WHOLE, stack=s, Content_Range=f"bytes 0-{PART - 1}/{len(CONTENT)}"), 400),
    "get": (lambda url, s: put(url, b"", stack=s, method="GET"), 405),
    "head": (lambda url, s: put(url, b"", stack=s, method="HEAD"), 405),
    "post": (lambda url, s: put(url, WHOLE, stack=s, method="POST"), 405),
    "delete": (lambda url, s: put(url, b"", stack=s, method="DELETE"), 405),
}


@database
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(("sent", "status"), BODIES.values(), ids=BODIES)
def test_what_was_not_signed_is_refused_and_leaves_no_block(
    store: AzureStore, alice: Any, sent: Callable[[str, str], Answer], status: int, stack: str
) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1, sha256=DIGEST)
    assert sent(url, stack).status == status
    assert received(alice, begun) == []
    assert put(url, WHOLE, stack=stack, Content_Digest=DIGEST_FIELD).status == 201


CHANGES: dict[str, Callable[[str], str]] = {
    "signature": lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
    "no-signature": lambda url: url.partition("&signature=")[0],
    "no-query": lambda url: url.partition("?")[0],
    "number": lambda url: url.replace("part-number=1", "part-number=2"),
    "size": lambda url: url.replace(f"content-length={PART}", f"content-length={PART + 1}"),
    "end": lambda url: url.replace("expires=", "expires=9"),
    "upload": lambda url: url.replace("&upload=", "&upload=x"),
    "key": lambda url: url.replace("/file.pdf", "/life.pdf"),
    "outside-its-location": lambda url: url.replace("tenant%201/files/", ""),
    "alias": lambda url: url.replace("/relay/azure/", "/relay/private/"),
    "alias-of-none": lambda url: url.replace("/relay/azure/", "/relay/none/"),
    "the-local-data-plane": lambda url: url.replace("/relay/azure/", "/local/azure/"),
    "of-another-storage": lambda url: url.replace("/relay/azure/", "/local/private/"),
    "without-its-stamp": lambda url: url.replace("&stamp=", "&stomp="),
}


@database
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_link_is_refused_before_the_database_is_asked(
    store: AzureStore, alice: Any, change: Callable[[str], str]
) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    changed = change(url)
    assert changed != url
    with CaptureQueriesContext(connections["default"]) as queries:
        answer = put(changed, WHOLE)
    assert (answer.status, answer.body) == (403, INVALID)
    assert not queries
    assert received(alice, begun) == []


@database
def test_a_link_that_is_signed_for_something_else_is_refused(store: AzureStore, alice: Any, settings: Any) -> None:
    """Of the local store, of the same keys, of a forged signer, and of what is no part."""
    begun = in_parts(alice)
    session = UploadSession.objects.get()
    storage: Any = storages[store.alias]
    part = UploadPart(storage.object_key(session.key), upload_id=session.store_upload_id, number=1, size_bytes=PART)
    ttl, now = timedelta(minutes=1), timezone.now()
    base_url = storage.relay.base_url
    secret = settings.SECRET_KEY.encode()
    assert len(secret) >= MIN_SECRET_BYTES
    local: Any = storages["private"]
    forged = [
        LocalProvider(base_url=base_url, secret_keys=[SecretKey(secret)]).sign(part, ttl=ttl, now=now).url,
        local.provider.sign(part, ttl=ttl, now=now).url.replace("/local/private/", "/relay/azure/"),
        storage.relay.sign(
            Upload(part.key, content_type="application/pdf", size_bytes=PART), ttl=ttl, now=now
        ).url,
    ]  # fmt: skip
    assert [put(url, WHOLE).status for url in forged] == [403] * 3
    assert received(alice, begun) == []


@database
def test_a_link_of_one_upload_is_none_of_another(store: AzureStore, alice: Any, bob: Any) -> None:
    mine, his = in_parts(alice), in_parts(bob)
    (url,) = sign(alice, mine, 1)
    with pytest.raises(AccessDenied):
        sign(bob, mine, 1)
    keys = [UploadSession.objects.get(pk=begun.session.pk).key for begun in (mine, his)]
    assert put(url.replace(*keys), WHOLE).status == 403
    assert put(url, WHOLE).status == 201
    assert (received(alice, mine), received(bob, his)) == ([(1, PART)], [])


@database
def test_a_link_that_has_ended_says_so_in_the_words_that_uppy_knows(
    store: AzureStore, alice: Any, settings: Any
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"DEFAULT_TTL": 1}
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    time.sleep(1.1)
    body = BytesIO(WHOLE)
    answer = put(url, body)
    assert (answer.status, answer.body) == (403, ENDED)
    assert body.tell() == PART, "who is cut off while it sends does not hear why"
    # To what was not signed here nobody says when it would have ended, nor listens.
    body.seek(0)
    assert put(CHANGES["signature"](url), body).body == INVALID
    assert body.tell() == 0
    assert received(alice, begun) == []


@database
def test_a_link_outlives_its_key_while_that_is_a_fallback(store: AzureStore, alice: Any, settings: Any) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another key of the project, as long as the others"
    assert put(url, WHOLE).status == 403
    settings.SECRET_KEY_FALLBACKS = [old]
    assert put(url, WHOLE).status == 201
    assert put(sign(alice, begun, 1)[0], WHOLE).status == 201


urlpatterns: list[Any] = []


@database
@pytest.mark.urls("tests.gateway.uploads.test_relaying")
@pytest.mark.parametrize("missing", ["address", "key"])
def test_without_an_address_or_a_key_there_are_no_parts_and_all_the_rest(
    store: AzureStore, alice: Any, settings: Any, missing: str
) -> None:
    if missing == "key":
        settings.ROOT_URLCONF, settings.SECRET_KEY = "settings.urls", "short"
    with pytest.raises(StorageUnavailable):
        in_parts(alice)
    assert not UploadSession.objects.exists()
    single = begin(alice, CONTENT)
    assert single.link is not None
    assert store.send(single.link.url, method="PUT", headers=single.link.headers, body=CONTENT).status == 201
    assert finalize(alice, single).session.state == "ready"


TAKEN_BACK: dict[str, Callable[[Any, UploadSession], tuple[str, str]]] = {
    "the-user": lambda user, session: ("principal", f"user:{user.pk}"),
    "the-object": lambda user, session: ("object", f"azure:{session.key}"),
    "the-storage": lambda user, session: ("storage", "azure"),
    "everything": lambda user, session: ("everything", ""),
}


@database
@pytest.mark.parametrize("what", TAKEN_BACK.values(), ids=TAKEN_BACK)
def test_a_link_that_was_taken_back_ends_at_once(store: AzureStore, alice: Any, bob: Any, what: Any) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    with acting_as(SYSTEM, reason="test") as system:
        revoke("principal", f"user:{bob.pk}", by=system)
    assert put(url, WHOLE).status == 201
    with acting_as(SYSTEM, reason="test") as system:
        revoke(*what(alice, UploadSession.objects.get()), by=system)
    assert put(url, WHOLE).status == 403
    assert put(sign(alice, begun, 1)[0], WHOLE).status == 201, "a new one is decided about anew"


@database
def test_links_of_parts_end_and_those_of_azures_own_are_said_to_live_on(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    send_all(alice, begun)
    finalize(alice, begun)
    begin(alice, CONTENT, strategy="single")
    with acting_as(SYSTEM, reason="test") as system:
        revoked = revoke("storage", "azure", by=system)
    assert (revoked.ended, [(living.storage_alias, living.links) for living in revoked.living]) == (3, [("azure", 1)])


@database
def test_a_right_that_ended_makes_no_file_of_what_has_come(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    send_all(alice, begun)
    get_user_model().objects.filter(pk=alice.pk).update(is_active=False)
    alice.refresh_from_db()
    for act in (finalize, lambda user, begun: sign(user, begun, 1)):
        with pytest.raises(AccessDenied):
            act(alice, begun)
    assert store.get(begun.session.key) is None


def finish(user: Any, begun: Any) -> None:
    send_all(user, begun)
    finalize(user, begun)


ENDS: dict[str, Callable[[Any, Any], None]] = {
    "given-up": lambda user, begun: uploads.abort(principal_of(user), begun.session.pk),
    "finalized": finish,
    "being-finalized": lambda user, begun: move(begun, state="verifying"),
    "rejected": lambda user, begun: move(begun, state="rejected"),
    "expired": lambda user, begun: move(begun, expires_at=timezone.now()),
    "gone": lambda user, begun: move(begun, store_upload_id="another"),
}


@database
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_link_ends_with_its_upload(store: AzureStore, alice: Any, end: Callable[[Any, Any], None]) -> None:
    begun = in_parts(alice)
    key, upload_id = begun.session.key, begun.session.store_upload_id
    (url,) = sign(alice, begun, 2)
    end(alice, begun)
    stored = store.get(key)
    assert put(url, bytes(PART)).status == 404
    assert store.get(key) == stored
    assert objects_of(store).parts(key, upload_id) is None


@database
def test_what_was_on_its_way_when_it_was_finalized_changes_nothing(store: AzureStore, alice: Any) -> None:
    """The relay saw an open upload, and its last byte came after the commit."""
    begun = in_parts(alice)
    send_all(alice, begun)
    finalized = finalize(alice, begun)
    objects_of(store).pass_on_part(begun.session.key, begun.session.store_upload_id, 2, [bytes(PART)], size_bytes=PART)
    assert store.get(begun.session.key) == (CONTENT, "application/pdf")
    assert objects_of(store).stat(begun.session.key).etag == finalized.session.etag
    assert finalize(alice, begun).reference == finalized.reference


@database
def test_no_transaction_is_open_while_a_part_comes(store: AzureStore) -> None:
    assert set(connections) == relay._non_atomic_requests  # type: ignore[attr-defined]


@database
@pytest.mark.parametrize("table", ["epoch", "uploadsession"])
def test_a_database_that_is_away_is_no_yes(store: AzureStore, alice: Any, table: str) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)

    def fail(run: Any, sql: str, *rest: Any) -> Any:
        if table in sql:
            raise OperationalError("away")
        return run(sql, *rest)

    with connection.execute_wrapper(fail):
        answer = put(url, WHOLE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert received(alice, begun) == []


# --- what is found at the end ------------------------------------------------------------------------------


@database
def test_nothing_is_overwritten(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    send_all(alice, begun)
    session = UploadSession.objects.get()
    parts = objects_of(store).parts(session.key, session.store_upload_id)
    # Somebody else's blob: Azure drops the blocks of the others when it comes whole, and keeps them by its list.
    blob = store.blob(session.key)
    blob.stage_block(block_name("another", 1), b"another blob")
    blob.commit_block_list([BlobBlock(block_name("another", 1), state=BlockState.UNCOMMITTED)])
    for sent in (parts, [ReceivedPart(number=9, size_bytes=1)]):
        with pytest.raises(FileExistsError):
            objects_of(store).complete_parts(session.key, session.store_upload_id, sent)
    with pytest.raises(SizeMismatch):
        finalize(alice, begun)
    assert store.get(session.key)[0] == b"another blob"  # type: ignore[index]


@database
def test_a_block_that_is_missing_makes_no_blob(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    first, _, third = sign(alice, begun, 1, 2, 3)
    with pytest.raises(NotUploaded):
        finalize(alice, begun)
    assert [put(first, WHOLE).status, put(third, bytes_of(3)).status] == [201, 201]
    with pytest.raises(NotUploaded, match="2 of 3 parts"):
        finalize(alice, begun)
    session = UploadSession.objects.get()
    planned = [ReceivedPart(number=n, size_bytes=part_size(session, n)) for n in (1, 2, 3)]
    with pytest.raises(FileNotFoundError):
        objects_of(store).complete_parts(session.key, session.store_upload_id, planned)
    assert store.get(session.key) is None


@database
@pytest.mark.parametrize(("number", "size"), [(2, PART - 1), (3, 6), (4, 1)], ids=["shorter", "longer", "too-many"])
def test_blocks_that_are_not_of_the_plan_are_never_joined(
    store: AzureStore, alice: Any, number: int, size: int
) -> None:
    """Written past the gateway, by whoever has its rights."""
    begun = in_parts(alice)
    send_all(alice, begun)
    session = UploadSession.objects.get()
    store.blob(session.key).stage_block(block_name(session.store_upload_id, number), bytes(size))
    with pytest.raises(SizeMismatch):
        finalize(alice, begun)
    assert store.get(session.key) is None
    assert UploadSession.objects.get().state == "rejected"


@database
def test_blocks_of_others_are_left_out(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    send_all(alice, begun)
    session = UploadSession.objects.get()
    store.blob(session.key).stage_block(block_name("another", 1), b"something else")
    assert received(alice, begun) == [(1, PART), (2, PART), (3, 5)]
    finalize(alice, begun)
    assert store.get(session.key) == (CONTENT, "application/pdf")


@database
def test_what_is_given_up_leaves_nothing_that_can_be_had_and_the_sweeper_goes_on(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    send_all(alice, begun)
    uploads.abort(principal_of(alice), begun.session.pk)
    session = UploadSession.objects.get()
    assert (session.state, session.store_upload_id) == ("aborted", "")
    with pytest.raises(UploadOver):
        finalize(alice, begun)
    swept = list(outbox.sweep(now=timezone.now() + timedelta(days=2), execute=True))
    assert [(one.entry.key, one.outcome) for one in swept] == [(session.key, "deleted")]
    assert store.get(session.key) is None
    assert list(objects_of(store).unfinished()) == []
    overdue = in_parts(alice)
    send_all(alice, overdue)
    past = timezone.now() - timedelta(days=2)
    move(overdue, expires_at=past, links_end_at=past)
    call_command("gateway_sweep", "--execute", "--orphans", store.alias, verbosity=0)
    assert UploadSession.objects.get(pk=overdue.session.pk).state == "expired"
    assert overdue.session.key not in [one.name for one in objects_of(store).objects()], "blocks are not listed"


# --- a store, or a client, that breaks ---------------------------------------------------------------------


class Trouble(BaseHTTPRequestHandler):
    """Azure on a bad day: answers with the server's status, after the body or in its midst, or with nothing."""

    def do_PUT(self) -> None:
        server: Any = self.server
        left = int(self.headers["Content-Length"])
        server.asked += 1
        if server.reads_the_body:
            self.rfile.read(left)
        if server.status:
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        return


@pytest.fixture
def trouble() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer((LOOPBACK, 0), Trouble)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@database
@pytest.mark.parametrize("reads_the_body", [True, False], ids=["after-the-body", "at-once"])
@pytest.mark.parametrize("status", [503, 500, 403, 409, 0], ids=str)
def test_a_store_that_takes_no_part_is_unavailable_and_the_upload_goes_on_later(
    store: AzureStore, alice: Any, settings: Any, trouble: Any, status: int, reads_the_body: bool
) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    working = settings.STORAGES
    trouble.status, trouble.reads_the_body = status, reads_the_body
    options = store.options | {"endpoint_url": f"http://{LOOPBACK}:{trouble.server_port}/{store.server.account_name}"}
    settings.STORAGES = working | {store.alias: {"BACKEND": store.backend, "OPTIONS": options}}
    answer = put(url, WHOLE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert trouble.asked == 1, "a body that has gone is not sent again"
    settings.STORAGES = working
    assert UploadSession.objects.get().state == "uploading"
    assert put(url, WHOLE).status == 201
    assert received(alice, begun) == [(1, PART)]


@database
def test_a_store_that_is_not_there_takes_no_part(store: AzureStore, alice: Any, settings: Any) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    options = store.options | {"endpoint_url": f"http://{LOOPBACK}:1/{store.server.account_name}"}
    settings.STORAGES = settings.STORAGES | {store.alias: {"BACKEND": store.backend, "OPTIONS": options}}
    assert put(url, WHOLE).status == 503


def test_a_body_that_has_gone_is_not_asked_for_again() -> None:
    """As the SDK would where Azure does not take its token, with a length for which there are no bytes."""
    body = _Once([b"one", b"two"], 6)
    assert len(body) == 6
    assert list(body) == [b"one", b"two"]
    with pytest.raises(OSError, match="has gone already"):
        iter(body)


def test_of_a_client_that_goes_away_in_the_midst_nothing_is_kept(
    store: AzureStore, settings: Any, file_database: Any
) -> None:
    alice = get_user_model().objects.create_user("alice")
    with Site() as site:
        settings.GATEWAY = settings.GATEWAY | {"PUBLIC_URL": site.url}
        begun = in_parts(alice)
        (url,) = sign(alice, begun, 1)
        parts = urlsplit(url)
        assert url.startswith(f"{site.url}/relay/")
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {PART}\r\n\r\n"
        with socket.create_connection((LOOPBACK, parts.port or 0), timeout=30) as client:
            client.sendall(head.encode() + WHOLE[: PART // 2])
        give_up_at = time.monotonic() + 60
        while not site.requests and time.monotonic() < give_up_at:
            time.sleep(0.02)
        assert [(method, status) for method, _, status in site.requests] == [("PUT", 400)]
        assert received(alice, begun) == []
        with socket.create_connection((LOOPBACK, parts.port or 0), timeout=30) as client:
            client.sendall(head.encode() + WHOLE)
            assert client.recv(64).split()[1] == b"201"
        assert received(alice, begun) == [(1, PART)]


@database
def test_an_issued_part_is_on_record_and_the_link_is_not(store: AzureStore, alice: Any) -> None:
    begun = in_parts(alice)
    (url,) = sign(alice, begun, 1)
    row = Issuance.objects.get(operation="UploadPart", decision="issued")
    signature = url.rpartition("=")[2]
    assert signature not in str([getattr(row, field.attname) for field in row._meta.concrete_fields])
