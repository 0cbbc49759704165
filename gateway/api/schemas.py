"""The shapes of the contract: what a client may send, and what it gets, as the OpenAPI document shows them.

Requests are checked against them; answers are built right by the routers, and a test holds the two together.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = [
    "MAX_FILENAME_CHARACTERS",
    "BatchRequest",
    "BatchResults",
    "ExplanationInfo",
    "ExplanationQuery",
    "FileInfo",
    "FilePage",
    "FileQuery",
    "FileUpdate",
    "Link",
    "LinkItem",
    "LinkRequest",
    "Nothing",
    "Problem",
    "RailsUploadRequest",
    "ServiceInfo",
    "UploadBegun",
    "UploadFinalized",
    "UploadInfo",
    "UploadPartsRequest",
    "UploadPartsSigned",
    "UploadRequest",
    "UploadTarget",
    "UploadVerifying",
    "UppyComplete",
    "UppyKey",
    "UppyWish",
]

MAX_FILENAME_CHARACTERS = 255
MAX_PAGE_FILES = 100


class Strict(BaseModel):
    """Nothing is converted, and nothing unknown is ignored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Reference = Annotated[
    str,
    Field(
        description="Names a file: a UUID, or app_label.model:pk:field for a private field of the project.",
        examples=["0b9f2c1e-6f0e-4d57-9d0c-2f4f8f1f7a10", "library.book:7:scan"],
    ),
]
Filename = Annotated[
    str,
    Field(
        max_length=MAX_FILENAME_CHARACTERS,
        description="What browsers save under: directories and characters with a meaning are taken out, and"
        " at most 150 characters are kept.",
    ),
]
Seconds = Annotated[int, Field(ge=1, description="Whole seconds; the smallest of all limits where none is given.")]


# What is sent.


class LinkItem(Strict):
    """One file to link to."""

    file: Reference
    disposition: Literal["inline", "attachment"] | None = Field(
        None, description="inline is granted only for types that browsers show without running them."
    )
    filename: Filename | None = None
    method: Literal["GET", "HEAD"] = "GET"


class LinkRequest(LinkItem):
    """One file to link to, and for how long."""

    ttl_seconds: Seconds | None = None


class BatchRequest(Strict):
    """Files to link to, and for how long; BATCH_LIMIT of them at most."""

    items: Annotated[list[LinkItem], Field(min_length=1)]
    ttl_seconds: Seconds | None = None


class FileUpdate(Strict):
    """What can be changed of a file."""

    filename: Annotated[Filename, Field(min_length=1)]


def _digest(algorithm: Literal["sha256", "md5"], length: int) -> Callable[[Any], Any]:
    def checked(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        try:
            digest = b64decode(text, validate=True)
        except (Base64Error, ValueError):
            digest = b""
        if len(digest) != length:
            raise PydanticCustomError(algorithm, "base64 of {length} bytes", {"length": length})
        return text

    return checked


class Sha256(Strict):
    """A digest of all bytes."""

    algorithm: Literal["sha256"]
    value: Annotated[str, BeforeValidator(_digest("sha256", 32))] = Field(description="Base64.")


class Md5(Strict):
    """The digest of all bytes that Cloud Storage and Azure compare with what arrives."""

    algorithm: Literal["md5"]
    value: Annotated[str, BeforeValidator(_digest("md5", 16))] = Field(description="Base64.")


Bytes = Annotated[int, Field(ge=0, le=2**63 - 1, description="Bytes.")]


class UploadRequest(Strict):
    """A file to upload straight to the store."""

    filename: Annotated[Filename, Field(min_length=1)]
    content_type: str = Field(max_length=255, description="In lower case; it is held to the file's own bytes.")
    size: Bytes
    checksum: Annotated[Sha256 | Md5, Field(discriminator="algorithm")] | None = None
    target: Reference | None = Field(
        None, description="The field that gets the file; null for a file of the service's own."
    )
    strategy: Literal["auto", "single", "multipart", "form", "resumable"] = "auto"


class WantedPart(Strict):
    """A part to sign."""

    number: Annotated[int, Field(ge=1, le=10_000)]
    size: Bytes
    checksum: Sha256 | None = None


class UploadPartsRequest(Strict):
    """Parts to sign."""

    parts: Annotated[list[WantedPart], Field(min_length=1, max_length=100)]


class UploadTarget(Strict):
    """Where an upload goes, in the query of a facade's address."""

    target: Annotated[Reference, Field(min_length=1)] | None = None


class RailsBlob(Strict):
    """A file, in the words of Active Storage."""

    filename: Annotated[Filename, Field(min_length=1)]
    content_type: str = Field(max_length=255)
    byte_size: Bytes
    checksum: Annotated[str, BeforeValidator(_digest("md5", 16))]


class RailsUploadRequest(Strict):
    """What ``@rails/activestorage`` sends."""

    blob: RailsBlob


class UppyWish(Strict):
    """A file, in the words of Uppy; of the page's own ``metadata`` the size alone is read."""

    filename: Annotated[Filename, Field(min_length=1)]
    type: str = Field(max_length=255)
    metadata: dict[str, Any]


class UppyKey(Strict):
    """What Uppy took for the key."""

    key: str


class UppyPart(Strict):
    """A part as the browser saw it."""

    PartNumber: int
    ETag: str


class UppyComplete(Strict):
    """All parts have gone."""

    parts: list[UppyPart]


class Nothing(Strict):
    """An empty object."""


def _number(text: str) -> int:
    # int() would take signs, spaces, underscores and the digits of other scripts.
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("digits alone")
    return int(text)


class FileQuery(Strict):
    """Which files to list, newest first."""

    cursor: str = Field("", max_length=200, description="next_cursor of the page before.")
    limit: Annotated[int, BeforeValidator(_number)] = Field(
        50, ge=1, le=MAX_PAGE_FILES, description="The most files of a page."
    )
    q: str = Field("", max_length=100, description="Part of the file name, in any case.")
    state: Literal["ready", "deleting", "deleted"] = Field(
        "ready", description="Only ready files can be linked, and only what can be linked is listed."
    )


class ExplanationQuery(Strict):
    """Which decision to explain."""

    user: str = Field("", max_length=150, description="User name; whoever asks where none is given.")
    operation: Literal[
        "Download", "Update", "Delete", "Share", "DownloadPrefix", "Upload", "UploadForm", "UploadPart"
    ] = Field("Download", description="What would be asked for.")


# What is answered.


class Link(Strict):
    """A presigned URL: whoever holds it has the file until it expires."""

    file: str = Field(description="The reference that was sent.")
    url: str
    method: Literal["GET", "HEAD"]
    headers: dict[str, str] = Field(description="To be sent unchanged.")
    expires_at: datetime
    expires_in: int = Field(ge=0, description="Whole seconds that are left, rounded up; expires_at is exact.")
    filename: str
    content_type: str
    size: int | None = Field(description="Bytes, where the gateway knows them.")
    id: str = Field(description="Names the link in the audit.")
    limited_by: str | None = Field(
        description="What made the life shorter than was asked or is usual: max_ttl, storage, store, policy,"
        " token, session, request, code, credential or url_window."
    )


class ItemProblem(Strict):
    """Why one item of a batch has no link."""

    code: str
    status: int
    title: str


class BatchResult(Strict):
    """One item of a batch: either a link or an error."""

    file: str
    link: Link | None
    error: ItemProblem | None


class BatchSummary(Strict):
    """How many of a batch got a link."""

    requested: int
    issued: int
    refused: int


class BatchResults(Strict):
    """One entry for each item, in order."""

    results: list[BatchResult]
    summary: BatchSummary


class FileInfo(Strict):
    """A file of the service."""

    id: UUID
    filename: str
    content_type: str
    size: int = Field(description="Bytes.")
    state: Literal["ready"]
    created_at: datetime
    permalink: str = Field(description="The stable URL that decides when it is followed, and then redirects.")


class FilePage(Strict):
    """A page of files; the last one has no next_cursor."""

    items: list[FileInfo]
    next_cursor: str | None


class SignedRequest(Strict):
    """What the client sends to the store, exactly so."""

    method: Literal["PUT", "POST"]
    url: str
    headers: dict[str, str] = Field(description="To be sent unchanged; Content-Length is the client's own.")
    fields: dict[str, str] = Field(description="Of a form, before the file.")
    expires_at: datetime
    treat_as_done: list[int] = Field(description="Statuses of a store that has the file already.")


class SignedPart(SignedRequest):
    """What the client sends for one part."""

    number: int


class UploadGuarantees(Strict):
    """What the store enforces at once (signed, refused), and what the gateway verifies before the file is ready."""

    size: Literal["signed", "verified"]
    content_type: Literal["signed", "verified"]
    checksum: Literal["signed", "verified", "none"]
    overwrite: Literal["refused", "verified"]


class UploadParts(Strict):
    """How the file is cut: every part of this size, the last of what is left."""

    size: int
    count: int
    url: str


class UploadedFile(Strict):
    """A file that can be linked."""

    file: str = Field(description="The reference to ask for links with.")
    filename: str
    content_type: str
    size: int
    permalink: str


class ReceivedPart(Strict):
    """A part that the store has."""

    number: int
    size: int


class UploadInfo(Strict):
    """An upload as it stands."""

    id: str
    state: Literal["issued", "uploading", "verifying", "ready", "rejected", "aborted", "expired"]
    strategy: Literal["single", "multipart", "form", "resumable"]
    parts: UploadParts | None
    received: list[ReceivedPart] | None = Field(description="The parts that the store has; null where there are none.")
    received_bytes: int | None = Field(
        description="How many bytes, from the first on, the store has of a resumable upload; else null."
    )
    file: UploadedFile | None = Field(description="null until the upload is ready.")
    reason: str | None = Field(description="Of a rejected upload, the code that finalize answers with.")
    expires_at: datetime


class UploadBegun(Strict):
    """An upload that may go ahead."""

    id: str
    state: Literal["issued", "uploading", "verifying", "ready", "rejected", "aborted", "expired"]
    strategy: Literal["single", "multipart", "form", "resumable"]
    request: SignedRequest | None = Field(description="null for an upload in parts, and for one that is over.")
    guarantees: UploadGuarantees
    parts: UploadParts | None
    finalize_url: str
    abort_url: str
    expires_at: datetime


class UploadPartsSigned(Strict):
    """One request for each part, in order."""

    parts: list[SignedPart]


class UploadFinalized(Strict):
    """The file that came of an upload."""

    state: Literal["ready"]
    file: UploadedFile


class UploadVerifying(Strict):
    """What arrived is being verified; ask again."""

    state: Literal["verifying"]
    retry_after: int = Field(description="Seconds until it is worth asking again.")


class AskedPolicy(Strict):
    """The answer of one policy; depth is how far inside another it stands."""

    policy: str
    depth: int
    answer: Literal["allow", "deny", "failure"]
    reason: str
    limits: dict[str, int | bool | str | list[str]]


class SignerInfo(Strict):
    """What would sign."""

    storage: str
    provider: str
    credential_ends_at: datetime | None = Field(description="null where it has no end, or could not be had.")
    can_sign: bool


class ExplanationInfo(Strict):
    """What would be answered, and why; no link is made."""

    file: str
    principal: str
    operation: str
    allowed: bool
    reason: str | None = Field(description="Why not; null where it is allowed.")
    policy: str | None = Field(description="Who said yes.")
    asked: list[AskedPolicy]
    limits: dict[str, int | str] = Field(description="Seconds, or for what ends an instant.")
    limited_by: str | None
    ttl_seconds: int | None = Field(description="Of a link made now; null where none would be.")
    expires_at: datetime | None
    signer: SignerInfo | None


class Limits(Strict):
    """What the service grants at most."""

    default_ttl_seconds: int
    max_ttl_seconds: int
    batch_items: int
    body_bytes: int
    batch_body_bytes: int
    upload_bytes: int | None = Field(description="null where files are not uploaded here.")


class StorageCapabilities(Strict):
    """What a signature of this storage can promise."""

    max_ttl_seconds: int
    offline: bool = Field(description="Signing never opens a connection.")
    operations: list[str]
    binds_size: bool
    binds_content_type: bool
    binds_checksum: list[str]
    binds_no_overwrite: bool


class StorageInfo(Strict):
    """One private storage."""

    default_ttl_seconds: int
    max_ttl_seconds: int
    url_mode: Literal["presigned", "permalink"]
    capabilities: StorageCapabilities | None = Field(description="null while the storage cannot sign.")


class ServiceInfo(Strict):
    """Limits, storages by alias, and the version."""

    version: str
    limits: Limits
    storages: dict[str, StorageInfo]
    file_storage: str | None = Field(description="Alias of the service's own files; null where it keeps none.")


class Problem(Strict):
    """RFC 9457 problem details. ``code`` is stable."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
