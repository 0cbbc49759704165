"""What the storages ask their SDKs for, sent to real servers and held to the policies that the modules make.

The tables of requests are written by hand; here the code itself says what it calls, and each call has to be
allowed to the identity that makes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.core.files.base import ContentFile
from google.oauth2.credentials import Credentials

from gateway.storages import PrivateAzureStorage, PrivateGCSStorage, PrivateS3Storage
from gateway.storages.objects import ReceivedPart
from providers.types import UploadPart
from tests.emulators.azurite import AzuriteOAuth
from tests.emulators.gcs import CloudStorage
from tests.emulators.moto import MotoServer
from tests.emulators.s3 import send
from tests.terraform import aws_requests, azure_requests, google_requests
from tests.terraform.aws_requests import Row
from tests.terraform.commands import Applied

NAME = "uploads/2026/11/k/a.txt"
MEBIBYTE = 2**20

Apply = Callable[[str], Applied]
AzureCall = tuple[str, str | None, str]


def look(storage: Any, name: str) -> None:
    """Read as the web process does: a field's file, and an upload that is verified."""
    stored = storage.objects.stat(name)
    assert b"".join(storage.objects.read(name, stored)) == b"abc"
    assert b"".join(storage.objects.read(name, stored, first_bytes=2)) == b"ab"
    with storage.open(name) as file:
        assert file.read() == b"abc"
    assert storage.exists(name)
    assert storage.size(name) == 3
    storage.get_modified_time(name)


def sweep(storage: Any, name: str) -> None:
    """List and delete, as gateway_sweep and gateway_reconcile do."""
    assert [listed.name for listed in storage.objects.objects() if listed.name == name] == [name]
    storage.delete(name)


# Amazon.


@pytest.fixture
def s3(moto_server: MotoServer) -> PrivateS3Storage:
    name = moto_server.create_bucket(f"calls-{secrets.token_hex(6)}")
    moto_server.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return PrivateS3Storage(
        bucket_name=name,
        region_name=moto_server.region,
        endpoint_url=moto_server.endpoint_url,
        access_key=moto_server.access_key_id,
        secret_key=moto_server.secret_access_key,
    )


def recorded(storage: PrivateS3Storage, who: str) -> list[Row]:
    """Return a list that grows with every call of the storage's client."""
    rows: list[Row] = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        how: dict[str, str | None] = {"s3:if-none-match": params.get("IfNoneMatch")}
        if model.name.startswith("List"):
            how["s3:prefix"] = params.get("Prefix", "")
        call = f"{model.name} of a version" if "VersionId" in params else model.name
        assert call in aws_requests.CALLS, f"{call} stands in no row"
        rows.append(Row(f"{who}: {call}", who, call, True, key=params.get("Key", ""), how=how))

    # After whatever the storage adds to a call itself.
    storage.connection.meta.client.meta.events.register_last("before-parameter-build.s3", note)
    return rows


def denied(rows: list[Row], applied: Applied) -> list[str]:
    return sorted({row.id for row in rows if not aws_requests.decide(applied, row)})


@pytest.mark.parametrize("variant", ["aws", "aws-own-key"])
def test_the_signer_of_s3_may_do_all_that_the_web_process_does(
    variant: str, s3: PrivateS3Storage, applied: Apply
) -> None:
    rows = recorded(s3, "signer")
    name = s3.save(NAME, ContentFile(b"abc"))
    # Above what the SDK sends at once.
    s3.save("uploads/2026/11/k/b.bin", ContentFile(bytes(9 * MEBIBYTE)))
    look(s3, name)
    assert s3.objects.stat("uploads/2026/11/k/none") is None
    key = "uploads/2026/11/k/c.bin"
    given_up = s3.objects.begin_parts(key, "text/plain")
    s3.objects.abort_parts(key, given_up)
    upload_id = s3.objects.begin_parts(key, "text/plain")
    s3.connection.meta.client.upload_part(Bucket=s3.bucket_name, Key=key, UploadId=upload_id, PartNumber=1, Body=b"a")
    parts = s3.objects.parts(key, upload_id)
    assert parts is not None
    s3.objects.complete_parts(key, upload_id, [ReceivedPart(number=1, size_bytes=1, etag=parts[0].etag)])
    asked = {row.call for row in rows}
    assert asked >= {"AbortMultipartUpload", "CompleteMultipartUpload", "CreateMultipartUpload", "ListParts"}
    assert asked >= {"GetObject", "GetObject of a version", "HeadObject", "PutObject", "UploadPart"}
    assert denied(rows, applied(variant)) == []


def test_the_sweeper_of_s3_may_list_and_delete(s3: PrivateS3Storage, applied: Apply) -> None:
    name = s3.save(NAME, ContentFile(b"abc"))
    begun = s3.objects.begin_parts("uploads/2026/11/k/c.bin", "text/plain")
    rows = recorded(s3, "sweeper")
    sweep(s3, name)
    (unfinished,) = s3.objects.unfinished()
    assert unfinished.upload_id == begun
    s3.objects.abort_parts(unfinished.name, unfinished.upload_id)
    assert {row.call for row in rows} == {
        "AbortMultipartUpload",
        "DeleteObject",
        "ListMultipartUploads",
        "ListObjectsV2",
    }
    assert denied(rows, applied("aws")) == []
    # The same calls are not the signer's.
    as_signer = [Row(row.id, "signer", row.call, False, row.key, row.how) for row in rows]
    assert {row.call for row in as_signer if aws_requests.decide(applied("aws"), row)} == {"AbortMultipartUpload"}


# Google.


@pytest.fixture
def cloud_storage(gcs: CloudStorage) -> PrivateGCSStorage:
    return PrivateGCSStorage(
        bucket_name=gcs.create_bucket(f"calls-{secrets.token_hex(6)}"),
        service_account_key=gcs.service_account_info(),
        endpoint_url=gcs.endpoint_url,
        blob_chunk_size=MEBIBYTE,
    )


def google_permissions(requests: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the permission that each request needs, and on what.

    Source: https://cloud.google.com/storage/docs/access-control/iam-json
    """
    bucket = "projects/_/buckets/acme-files"
    for method, target in requests:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query, keep_blank_values=True)
        key = unquote(path.partition("/o/")[2]) or query.get("name", [NAME])[0]
        if "uploads" in query or "uploadId" in query:
            object_name = f"{bucket}/objects/{unquote(path).split('/', 2)[-1]}"
            asked = {"POST": "create", "DELETE": "abort", "GET": "list" if "uploads" in query else "listParts"}[method]
            yield f"storage.multipartUploads.{asked}", bucket if asked == "list" else object_name
            if (method, "uploadId" in query) == ("POST", True):
                yield "storage.objects.create", object_name
        elif path.startswith("/upload/"):
            # Only with this nothing is replaced, which would need the right to delete, too.
            assert "upload_id" in query or query["ifGenerationMatch"] == ["0"], target
            yield "storage.objects.create", f"{bucket}/objects/{key}"
        elif method == "DELETE":
            yield "storage.objects.delete", f"{bucket}/objects/{key}"
        elif (method, path.count("/")) == ("GET", 4):
            pass  # the SDK asks for the bucket in the background, to name its region in traces; it may be refused
        elif path.endswith("/o"):
            yield "storage.objects.list", bucket
        else:
            assert (method, "/o/" in path) == ("GET", True), target
            yield "storage.objects.get", f"{bucket}/objects/{key}"


@pytest.mark.parametrize("variant", ["gcp", "gcp-everything"])
def test_the_accounts_of_cloud_storage_may_do_all_that_the_code_does(
    variant: str, cloud_storage: PrivateGCSStorage, gcs: CloudStorage, applied: Apply
) -> None:
    made = applied(variant)
    gcs.requests.clear()
    name = cloud_storage.save(NAME, ContentFile(b"abc"))
    cloud_storage.save("uploads/2026/11/k/b.bin", ContentFile(bytes(3 * MEBIBYTE)))
    look(cloud_storage, name)
    objects, key = cloud_storage.objects, "uploads/2026/11/k/c.bin"
    objects.abort_parts(key, objects.begin_parts(key, "text/plain"))
    upload_id = objects.begin_parts(key, "text/plain")
    part = UploadPart(key, upload_id=upload_id, number=1, size_bytes=1)
    link = cloud_storage.provider.sign(part, ttl=timedelta(minutes=1), now=datetime.now(UTC))
    assert send(link.url, method="PUT", body=b"a").status == 200
    objects.complete_parts(key, upload_id, objects.parts(key, upload_id) or [])
    session = objects.begin_session(
        "uploads/2026/11/k/d.bin", content_type="text/plain", size_bytes=1, md5=None, origin=None
    )
    assert objects.session_bytes(session) == 0
    objects.cancel_session(session)
    needed = set(google_permissions(gcs.requests))
    assert {permission for permission, _ in needed} == {
        "storage.multipartUploads.abort",
        "storage.multipartUploads.create",
        "storage.multipartUploads.listParts",
        "storage.objects.create",
        "storage.objects.get",
    }
    assert [each for each in needed if not google_requests.decide(made, "signer", *each)] == []
    begun = objects.begin_parts(key, "text/plain")
    gcs.requests.clear()
    sweep(cloud_storage, name)
    (unfinished,) = objects.unfinished()
    assert unfinished.upload_id == begun
    objects.abort_parts(unfinished.name, unfinished.upload_id)
    needed = set(google_permissions(gcs.requests))
    assert {permission for permission, _ in needed} == {
        "storage.multipartUploads.abort",
        "storage.multipartUploads.list",
        "storage.objects.delete",
        "storage.objects.list",
    }
    assert [each for each in needed if not google_requests.decide(made, "sweeper", *each)] == []
    as_signer = {permission for permission, on in needed if google_requests.decide(made, "signer", permission, on)}
    assert as_signer == {"storage.multipartUploads.abort"}


def test_to_an_account_that_may_not_list_a_missing_object_is_none(
    cloud_storage: PrivateGCSStorage, gcs: CloudStorage
) -> None:
    """Cloud Storage refuses it then, and does not say that it is missing."""
    signer = PrivateGCSStorage(
        bucket_name=cloud_storage.bucket_name,
        credentials=Credentials(gcs.new_token("create", "get")),  # type: ignore[no-untyped-call]
        signer_email=gcs.email,
        endpoint_url=gcs.endpoint_url,
    )
    assert signer.objects.stat(NAME) is None
    name = signer.save(NAME, ContentFile(b"abc"))
    look(signer, name)


# Microsoft.


@pytest.fixture
def azure_calls() -> list[AzureCall]:
    return []


@pytest.fixture
def blob_storage(azurite_oauth: AzuriteOAuth, azure_calls: list[AzureCall]) -> PrivateAzureStorage:
    return PrivateAzureStorage(
        account_name=azurite_oauth.account_name,
        azure_container=azurite_oauth.create_container(f"calls-{secrets.token_hex(6)}"),
        endpoint_url=azurite_oauth.endpoint_url,
        token_credential=azurite_oauth.credential(),
        ca_file=str(azurite_oauth.ca_file),
        client_options={"raw_request_hook": lambda request: azure_calls.append(azure_action(request.http_request))},
    )


def azure_action(request: Any) -> AzureCall:
    """Return the data action that a request needs, its suboperation, and the container.

    Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
    """
    query = parse_qs(urlsplit(request.url).query)
    match request.method, query.get("comp", [""])[0]:
        case "GET" | "HEAD", "":
            return azure_requests.READ, None, "uploads"
        case "GET", "list":
            return azure_requests.READ, "Blob.List", "uploads"
        case "PUT", "" | "blocklist" if request.headers.get("If-None-Match") == "*":
            return azure_requests.ADD, None, "uploads"
        case "PUT", "" | "block" | "blocklist":
            return azure_requests.WRITE, None, "uploads"
        case "DELETE", "":
            return azure_requests.DELETE, None, "uploads"
    raise AssertionError(f"{request.method} {sorted(query)} stands in no row")


@pytest.mark.parametrize("variant", ["azure", "azure-everything"])
def test_the_identities_of_azure_may_do_all_that_the_code_does(
    variant: str,
    blob_storage: PrivateAzureStorage,
    azure_calls: list[AzureCall],
    applied: Apply,
) -> None:
    made = applied(variant)
    name = blob_storage.save(NAME, ContentFile(b"abc"))
    look(blob_storage, name)
    assert blob_storage.objects.stat("uploads/2026/11/k/none") is None
    asked = set(azure_calls)
    assert {action for action, *_ in asked} == {azure_requests.ADD, azure_requests.READ}
    assert [each for each in asked if not azure_requests.decide(made, "signer", *each)] == []
    azure_calls.clear()
    sweep(blob_storage, name)
    asked = set(azure_calls)
    assert {each[:2] for each in asked} == {(azure_requests.READ, "Blob.List"), (azure_requests.DELETE, None)}
    assert [each for each in asked if not azure_requests.decide(made, "sweeper", *each)] == []
    assert [each for each in asked if azure_requests.decide(made, "signer", *each)] == []


def test_a_large_file_is_one_request_where_the_docs_say_so(
    azurite_oauth: AzuriteOAuth, azure_calls: list[AzureCall], blob_storage: PrivateAzureStorage
) -> None:
    """Blocks are written with the right to overwrite, which the signer has not: docs/azure.md names the options."""
    hook = blob_storage.client_options["raw_request_hook"]

    def save(name: str, **options: Any) -> set[str]:
        storage = PrivateAzureStorage(
            account_name=azurite_oauth.account_name,
            azure_container=blob_storage.azure_container,
            endpoint_url=azurite_oauth.endpoint_url,
            token_credential=azurite_oauth.credential(),
            ca_file=str(azurite_oauth.ca_file),
            client_options={"raw_request_hook": hook, "max_block_size": MEBIBYTE} | options,
        )
        azure_calls.clear()
        storage.save(name, ContentFile(bytes(2 * MEBIBYTE)))
        return {action for action, *_ in azure_calls}

    assert azure_requests.WRITE in save(f"{NAME}.1", max_single_put_size=MEBIBYTE)
    assert save(f"{NAME}.2", max_single_put_size=4 * MEBIBYTE) == {azure_requests.ADD}
