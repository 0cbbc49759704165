"""Uploads on real servers that hold them to what was signed: what arrives, what is refused, and when it is seen."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

from gateway import links, outbox, uploads
from gateway.errors import (
    AccessDenied,
    ChecksumMismatch,
    InvalidRequest,
    NotUploaded,
    SizeMismatch,
    StorageUnavailable,
    TypeMismatch,
    UploadConflict,
    UploadRejected,
)
from gateway.models import File, ObjectDeletion, UploadSession
from gateway.policies import Authenticated
from gateway.resources import Resource
from gateway.uploads import Guarantees, PartWanted, finalizing
from providers.types import Upload, UploadPart
from tests.emulators.s3 import Response
from tests.gateway.gcs_stores import GCSStore
from tests.gateway.link_stores import LocalStore, Store
from tests.gateway.opened_stores import open_store, serve_from
from tests.gateway.test_links_fetched import post
from tests.gateway.uploads.conftest import PDF, PNG, begin, principal_of, wanted

pytestmark = pytest.mark.django_db

MIB = 2**20
REFUSED = {400, 403, 409, 411, 412, 413, 415}


STORES = ("local", "rclone", "ceph", "gcs", "azure", "azure-delegated")
WITH_PARTS = pytest.mark.parametrize("opened", STORES, indirect=True)


@pytest.fixture(scope="module", params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(request.param, request, tmp_path_factory.mktemp(request.param)) as store:
        yield store


@pytest.fixture
def store(opened: Store, request: pytest.FixtureRequest, settings: Any) -> Store:
    return serve_from(opened, request, settings, FILE_STORAGE=opened.alias, UPLOAD_PART_BYTES=5 * MIB)


def put(store: Store, link: Any, content: bytes, **headers: str) -> Response:
    sent = dict(link.headers) | {name.replace("_", "-"): value for name, value in headers.items()}
    return store.send(link.url, method=link.method, headers=sent, body=content)


def finalize(user: Any, begun: Any) -> Any:
    return uploads.finalize(principal_of(user), begun.session.pk)


def download(store: Store, user: Any) -> Response:
    return store.send(links.issue(principal_of(user), Resource.of_file(File.objects.get())).url)


class TestOnePiece:
    def test_it_becomes_a_file(self, store: Store, alice: Any) -> None:
        begun = begin(alice)
        assert put(store, begun.link, PDF).status in (200, 201)
        finalized = finalize(alice, begun)
        file = File.objects.get()
        assert finalized.reference == str(file.pk)
        assert (file.size_bytes, file.content_type) == (len(PDF), "application/pdf")
        assert finalized.session.etag
        answer = download(store, alice)
        assert (answer.status, answer.body) == (200, PDF)

    def test_an_empty_file_is_a_file(self, store: Store, alice: Any) -> None:
        begun = begin(alice, b"", content_type="text/plain")
        assert put(store, begun.link, b"").status in (200, 201)
        finalize(alice, begun)
        assert download(store, alice).body == b""

    @pytest.mark.parametrize(
        ("content", "headers"),
        [
            pytest.param(PDF[:-1], {}, id="shorter"),
            pytest.param(PDF + b"x", {}, id="longer"),
            pytest.param(PDF, {"Content_Type": "text/html", "x_ms_blob_content_type": "text/html"}, id="another-type"),
        ],
    )
    def test_what_was_not_signed_is_refused_by_the_store_or_by_finalize(
        self, store: Store, alice: Any, content: bytes, headers: dict[str, str]
    ) -> None:
        begun = begin(alice)
        promise = begun.guarantees.content_type if headers else begun.guarantees.size
        is_refused = put(store, begun.link, content, **headers).status in REFUSED
        assert is_refused == (promise == "signed")
        with pytest.raises(NotUploaded if is_refused else UploadRejected):
            finalize(alice, begun)
        assert not File.objects.exists()

    def test_other_bytes_never_become_a_file(self, store: Store, alice: Any) -> None:
        begun = begin(alice)
        answer = put(store, begun.link, PDF[:-1] + b"y")
        # Not every store compares what was signed with what it got; then finalize does.
        with pytest.raises(NotUploaded if answer.status in REFUSED else ChecksumMismatch):
            finalize(alice, begun)
        assert not File.objects.exists()

    @pytest.mark.parametrize("opened", ["local", "rclone", "ceph"], indirect=True)
    def test_other_bytes_with_a_checksum_of_their_own_are_refused(self, store: Store, alice: Any) -> None:
        begun = begin(alice)
        other = PDF[:-1] + b"y"
        headers = dict(begun.link.headers)  # type: ignore[union-attr]
        name = next(name for name in headers if "sha256" in name or name == "Content-Digest")
        headers[name] = headers[name][:-6] + "AAAAA="
        assert store.send(begun.link.url, method="PUT", headers=headers, body=other).status in REFUSED  # type: ignore[union-attr]

    @pytest.mark.parametrize("opened", ["gcs"], indirect=True)
    @pytest.mark.parametrize("counted", [True, False], ids=["md5", "sha256"])
    def test_what_the_store_has_counted_is_not_read_again(self, store: GCSStore, alice: Any, counted: bool) -> None:
        large = PDF + secrets.token_bytes(MIB)
        digest = {"sha256": None, "md5": hashlib.md5(large, usedforsecurity=False).digest()} if counted else {}
        begun = begin(alice, large, **digest)
        assert put(store, begun.link, large).status == 200
        store.server.requests.clear()
        finalize(alice, begun)
        reads = [path for method, path in store.server.requests if method == "GET" and "/download/" in path]
        # Its first bytes are looked at in any case.
        assert len(reads) == (1 if counted else 2)

    @pytest.mark.parametrize("opened", ["gcs"], indirect=True)
    def test_what_the_store_has_counted_is_compared(self, store: GCSStore, alice: Any) -> None:
        begun = begin(alice, sha256=None, md5=hashlib.md5(PDF, usedforsecurity=False).digest())
        key = begun.session.key
        store.server.objects.write(store.bucket, store.key(key), PDF[:-1] + b"y", contentType="application/pdf")
        with pytest.raises(ChecksumMismatch):
            finalize(alice, begun)

    def test_it_is_not_replaced_after_finalize(self, store: Store, alice: Any) -> None:
        begun = begin(alice, sha256=None)
        put(store, begun.link, PDF)
        finalize(alice, begun)
        answer = put(store, begun.link, PDF[:-1] + b"y")
        if "refusal to overwrite" in store.lacks:
            assert answer.status == 200
            return
        assert answer.status in ((403,) if store.alias.startswith("azure") else (409, 412))
        assert download(store, alice).body == PDF

    def test_a_picture_is_a_picture(self, store: Store, alice: Any) -> None:
        page = b"<!doctype html><script>alert(1)</script>"
        begun = begin(alice, page, content_type="image/png", filename="a.png")
        assert put(store, begun.link, page).status in (200, 201)
        for _ in range(2):
            with pytest.raises(TypeMismatch):
                finalize(alice, begun)
        assert ObjectDeletion.objects.get().key == begun.session.key

    def test_what_was_written_past_the_link_is_held_to_size_and_type(self, store: Store, alice: Any) -> None:
        for content, verdict in ((PDF[:-1], SizeMismatch), (PNG + b"x" * (len(PDF) - len(PNG)), UploadRejected)):
            begun = begin(alice)
            store.put(begun.session.key, content)
            with pytest.raises(verdict):
                finalize(alice, begun)


@WITH_PARTS
class TestParts:
    CONTENT = b"%PDF-1.7\n" + secrets.token_bytes(5 * MIB) + b"the end"

    def part(self, number: int) -> bytes:
        return self.CONTENT[(number - 1) * 5 * MIB : number * 5 * MIB]

    def sign(self, user: Any, begun: Any, *numbers: int) -> list[Any]:
        parts = [PartWanted(number=number, size_bytes=len(self.part(number))) for number in numbers]
        return uploads.sign_parts(principal_of(user), begun.session.pk, parts)

    def received(self, user: Any, begun: Any) -> list[tuple[int, int]]:
        parts = uploads.look(principal_of(user), begun.session.pk).parts
        return [(part.number, part.size_bytes) for part in parts or ()]

    def test_they_become_a_file_in_any_order(self, store: Store, alice: Any) -> None:
        begun = begin(alice, self.CONTENT, strategy="multipart")
        assert (begun.session.strategy, begun.link) == ("multipart", None)
        first, second = self.sign(alice, begun, 1, 2)
        assert put(store, second, self.part(2)).status in (200, 201)
        assert self.received(alice, begun) == [(2, len(self.part(2)))]
        with pytest.raises(NotUploaded):
            finalize(alice, begun)
        assert put(store, first, self.part(1)).status in (200, 201)
        finalize(alice, begun)
        assert download(store, alice).body == self.CONTENT
        # Part links are dead now: the object appeared by the server's word alone.
        assert put(store, second, self.part(2)).status == 404
        assert download(store, alice).body == self.CONTENT

    def test_what_holds_is_said(self, store: Store, alice: Any) -> None:
        overwrite = "verified" if store.alias == "gcs" else "refused"
        assert begin(alice, self.CONTENT, strategy="multipart").guarantees == Guarantees(
            size="signed", content_type="verified", checksum="verified", overwrite=overwrite
        )

    def test_a_replayed_part_replaces_itself_alone_and_the_checksum_sees_it(self, store: Store, alice: Any) -> None:
        begun = begin(alice, self.CONTENT, strategy="multipart")
        first, second = self.sign(alice, begun, 1, 2)
        for link, number in ((first, 1), (second, 2)):
            put(store, link, self.part(number))
        answer = put(store, second, b"THE END".ljust(len(self.part(2))))
        if store.alias == "rclone":
            # It has sent the part on already, and says so.
            assert answer.status == 501
            return
        assert answer.status in (200, 201)
        assert self.received(alice, begun) == [(1, 5 * MIB), (2, len(self.part(2)))]
        with pytest.raises(ChecksumMismatch):
            finalize(alice, begun)

    def test_a_part_has_its_size(self, store: Store, alice: Any) -> None:
        begun = begin(alice, self.CONTENT, strategy="multipart")
        (second,) = self.sign(alice, begun, 2)
        for content in (self.part(2)[:-1], self.part(2) + b"x"):
            assert put(store, second, content).status in REFUSED
        assert self.received(alice, begun) == []

    def test_given_up_its_parts_find_no_place(self, store: Store, alice: Any) -> None:
        begun = begin(alice, self.CONTENT, strategy="multipart")
        (second,) = self.sign(alice, begun, 2)
        uploads.abort(principal_of(alice), begun.session.pk)
        assert put(store, second, self.part(2)).status == 404
        assert UploadSession.objects.get().store_upload_id == ""
        unfinished = storages[store.alias].objects.unfinished()  # type: ignore[attr-defined]
        assert begun.session.store_upload_id not in {one.upload_id for one in unfinished}

    def test_it_can_be_finalized_after_a_crash_between_completing_and_noting(self, store: Store, alice: Any) -> None:
        """F21, F22: the store has the object, the row does not know it yet."""
        begun = begin(alice, self.CONTENT, strategy="multipart")
        for link, number in zip(self.sign(alice, begun, 1, 2), (1, 2), strict=True):
            put(store, link, self.part(number))
        objects: Any = storages[store.alias].objects  # type: ignore[attr-defined]
        session = UploadSession.objects.get()
        objects.complete_parts(
            session.key, session.store_upload_id, objects.parts(session.key, session.store_upload_id)
        )
        UploadSession.objects.update(state="verifying")
        first, second = finalize(alice, begun), finalize(alice, begun)
        assert first.reference == second.reference
        assert File.objects.count() == 1


@pytest.mark.parametrize("opened", ["ceph"], indirect=True)
class TestForm:
    """S3's POST policy: the browser's form fills a staging object, of which the server makes the file once."""

    OTHER = PDF[:-1] + b"y"

    def test_it_becomes_a_file_that_the_form_cannot_reach(self, store: Store, alice: Any) -> None:
        begun = begin(alice, strategy="form", sha256=None)
        assert begun.guarantees == Guarantees(
            size="signed", content_type="signed", checksum="none", overwrite="refused"
        )
        session = begun.session
        assert post(store, begun.link, PDF).status == 201  # type: ignore[arg-type]
        assert store.get(session.key) is None
        finalized = finalize(alice, begun)
        assert store.get(session.key) == (PDF, "application/pdf")
        # The form lives on, and fills what nobody reads.
        assert post(store, begun.link, self.OTHER).status == 201  # type: ignore[arg-type]
        assert finalize(alice, begun).reference == finalized.reference
        assert download(store, alice).body == PDF

    def test_what_it_brought_goes_when_the_form_is_dead(self, store: Store, alice: Any) -> None:
        begun = begin(alice, strategy="form")
        post(store, begun.link, PDF)  # type: ignore[arg-type]
        finalize(alice, begun)
        noted = ObjectDeletion.objects.get()
        assert noted.key == begun.session.staging_key
        assert noted.not_before > begun.link.expires_at  # type: ignore[union-attr]
        swept = list(outbox.sweep(now=noted.not_before, execute=True))
        assert [(one.entry.key, one.outcome) for one in swept] == [(noted.key, "deleted")]
        assert store.get(noted.key) is None
        assert download(store, alice).body == PDF

    @pytest.mark.parametrize(
        ("content", "changes"),
        [
            pytest.param(PDF[:-1], {}, id="shorter"),
            pytest.param(PDF + b"x", {}, id="longer"),
            pytest.param(PDF, {"Content-Type": "text/html"}, id="another-type"),
            pytest.param(PDF, {"key": "staging/upl_another"}, id="another-key"),
        ],
    )
    def test_the_store_takes_only_what_was_signed(
        self, store: Store, alice: Any, content: bytes, changes: dict[str, str]
    ) -> None:
        begun = begin(alice, strategy="form")
        assert post(store, begun.link, content, **changes).status in REFUSED  # type: ignore[arg-type]
        with pytest.raises(NotUploaded):
            finalize(alice, begun)

    def test_other_bytes_never_become_a_file_and_nothing_of_them_stays(self, store: Store, alice: Any) -> None:
        begun = begin(alice, strategy="form")
        post(store, begun.link, PDF)  # type: ignore[arg-type]
        post(store, begun.link, self.OTHER)  # type: ignore[arg-type]
        with pytest.raises(ChecksumMismatch):
            finalize(alice, begun)
        keys = {begun.session.key, begun.session.staging_key}
        assert set(ObjectDeletion.objects.values_list("key", flat=True)) == keys

    def test_who_comes_late_with_other_bytes_changes_nothing(self, store: Store, alice: Any) -> None:
        """Two finalize at once: the second would copy a replaced object, and finds the upload completed."""
        begun = begin(alice, strategy="form", sha256=None)
        session = begun.session
        post(store, begun.link, PDF)  # type: ignore[arg-type]
        finalize(alice, begun)
        post(store, begun.link, self.OTHER)  # type: ignore[arg-type]
        objects: Any = storages[store.alias].objects  # type: ignore[attr-defined]
        with pytest.raises(FileNotFoundError):
            objects.copy_part(session.staging_key, session.key, session.store_upload_id)
        assert objects.parts(session.key, session.store_upload_id) is None
        assert store.get(session.key) == (PDF, "application/pdf")

    def test_it_can_be_finalized_after_a_crash_between_copying_and_noting(self, store: Store, alice: Any) -> None:
        begun = begin(alice, strategy="form")
        post(store, begun.link, PDF)  # type: ignore[arg-type]
        finalizing._complete(begun.session)
        store.client.delete_object(Bucket=store.bucket, Key=store.key(begun.session.staging_key))  # type: ignore[attr-defined]
        assert finalize(alice, begun).session.state == "ready"

    def test_given_up_nothing_stays(self, store: Store, alice: Any) -> None:
        begun = begin(alice, strategy="form")
        post(store, begun.link, PDF)  # type: ignore[arg-type]
        uploads.abort(principal_of(alice), begun.session.pk)
        assert ObjectDeletion.objects.count() == 2
        unfinished = storages[store.alias].objects.unfinished()  # type: ignore[attr-defined]
        assert begun.session.store_upload_id not in {one.upload_id for one in unfinished}

    def test_the_staging_object_of_an_open_upload_is_no_orphan(self, store: Store, alice: Any) -> None:
        session = begin(alice, strategy="form").session
        assert outbox.named(store.alias, [session.staging_key, "staging/upl_0"]) == {session.staging_key}
        assert outbox.named("private", [session.staging_key]) == set()
        uploads.abort(principal_of(alice), session.pk)
        assert outbox.named(store.alias, [session.staging_key]) == set()

    def test_asked_again_it_is_the_same_form_signed_anew(self, store: Store, alice: Any) -> None:
        wish = wanted(strategy="form")
        first, second = (uploads.begin(principal_of(alice), wish, idempotency_key="k") for _ in range(2))
        assert first.session.pk == second.session.pk
        assert first.session.store_upload_id == second.session.store_upload_id != ""
        assert second.link.fields["key"].endswith(first.session.staging_key)  # type: ignore[union-attr]

    def test_it_has_no_parts_and_no_empty_file(self, store: Store, alice: Any) -> None:
        with pytest.raises(InvalidRequest, match="an empty file"):
            begin(alice, b"", strategy="form")
        session = begin(alice, strategy="form").session
        with pytest.raises(UploadConflict):
            uploads.sign_parts(principal_of(alice), session.pk, [PartWanted(number=1, size_bytes=len(PDF))])

    def test_the_policy_must_allow_it(self, store: Store, alice: Any, settings: Any) -> None:
        settings.GATEWAY = settings.GATEWAY | {"UPLOAD_POLICY": Authenticated(operations=(Upload, UploadPart))}
        with pytest.raises(AccessDenied):
            begin(alice, strategy="form")
        assert not UploadSession.objects.exists()


def test_what_can_go_straight_to_the_store_in_one_piece_is_not_passed_on(
    store: Store, alice: Any, settings: Any
) -> None:
    settings.GATEWAY = settings.GATEWAY | {"UPLOAD_PART_BYTES": 5 * MIB}
    is_relayed = store.alias.startswith("azure")
    for size, strategy in ((5 * MIB, "single"), (5 * MIB + 1, "single" if is_relayed else "multipart")):
        assert begin(alice, size_bytes=size).session.strategy == strategy
    if is_relayed:
        most = 5000 * MIB  # of Put Blob
        assert begin(alice, size_bytes=most).session.strategy == "single"
        assert begin(alice, size_bytes=most + 1).session.strategy == "multipart"
        with pytest.raises(InvalidRequest, match=f"size is {most + 1}; this storage takes at most {most}"):
            begin(alice, size_bytes=most + 1, strategy="single")


@pytest.mark.parametrize(("strategy", "way"), [("single", "one request"), ("multipart", "parts")])
def test_the_documentation_says_what_holds(store: Store, alice: Any, strategy: Any, way: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "uploads.md").read_text()
    table = page.partition("## What holds, and who sees to it\n")[2].partition("\n|---")[2].partition("\n\n")[0]
    rows = {cells[0]: cells[1:] for line in table.splitlines()[1:] if (cells := line.strip("| ").split(" | "))}
    names = {"local": "local", "gcs": "Google Cloud Storage", "azure": "Azure", "azure-delegated": "Azure"}
    (said,) = [cells for name, cells in rows.items() if name.startswith(f"{names.get(store.alias, 'S3')}, {way}")]
    holds = begin(alice, strategy=strategy).guarantees
    # A cell begins with the word of the answer, and may go on.
    words = [re.split("[:,;]", cell)[0] for cell in said]
    assert words == [holds.size, holds.content_type, holds.checksum, holds.overwrite]


def test_a_store_that_is_down_is_unavailable_and_the_upload_goes_on_later(
    store: Store, alice: Any, settings: Any, tmp_path: Any
) -> None:
    if isinstance(store, LocalStore):
        options = {"location": tmp_path / "file"}
        (tmp_path / "file").write_bytes(b"no directory")
    else:
        options = store.options | {"endpoint_url": "http://127.0.0.1:1"}
    begun = begin(alice)
    put(store, begun.link, PDF)
    working = settings.STORAGES
    settings.STORAGES = working | {store.alias: {"BACKEND": store.backend, "OPTIONS": options}}
    with pytest.raises((StorageUnavailable, NotUploaded)):
        finalize(alice, begun)
    settings.STORAGES = working
    assert finalize(alice, begun).session.state == "ready"


def test_the_listing_knows_every_object_by_the_name_of_its_row(store: Store, alice: Any) -> None:
    begun = begin(alice)
    put(store, begun.link, PDF)
    finalized = finalize(alice, begun)
    listed = {one.name: one for one in storages[store.alias].objects.objects()}  # type: ignore[attr-defined]
    assert listed[begun.session.key].size_bytes == len(PDF)
    assert listed[begun.session.key].etag == finalized.session.etag
