"""Everything the gateway can refuse with, one tree with a stable code and an HTTP status on each class.

A client may read the class's fixed ``title``; keys, reasons and names stay in attributes and the log::

    GatewayError
    ├── AccessDenied (also PermissionDenied)    denied, missing, deleted, foreign or not ready: all alike
    ├── NotAuthenticated                        no valid identity, or two that differ
    │   └── CSRFFailed                          a session without its token
    ├── NoPrincipal (also RuntimeError)         nobody is asking: code outside a request, or after it
    │   └── LeaseClosed                         the request that asked is over
    ├── ContextLost (also RuntimeError)         acting_as() ended in another context, or before its code did
    ├── SyncOnly (also RuntimeError)            a blocking form was called in a running event loop
    ├── InvalidRequest (also ValueError)        a value that the caller can mend
    │   ├── TTLTooLong                          an explicit ttl over a limit
    │   ├── InvalidReference                    not the form of a reference
    │   ├── TypeNotAllowed                      a media type that the field does not take
    │   ├── BatchTooLarge                       more items than BATCH_LIMIT
    │   ├── BodyTooLarge                        more bytes than are read
    │   └── UnsupportedMediaType                not the one type that is read
    ├── NotFound                                no such address
    ├── MethodNotAllowed                        not on this address
    ├── UploadConflict                          the upload is not at a point where this can be done
    │   ├── NotUploaded                         finalize before the bytes have come
    │   ├── UploadFinished                      it has become a file, which is no upload any more
    │   └── IdempotencyConflict                 the key of an earlier request, with another body
    ├── UploadOver                              expired or given up
    ├── UploadRejected                          what came is not what was declared
    │   ├── SizeMismatch                        in its size
    │   ├── TypeMismatch                        in its stored type, or in what its bytes are
    │   ├── ChecksumMismatch                    in its bytes
    │   └── Infected                            the scanner found something in it
    ├── KeyNotMinted (also ValueError)          a name that no storage made for this field
    ├── ObjectExists (also FileExistsError)     the key is taken; nothing was overwritten
    ├── TooManyRequests                         failed too often, or over a quota; says when to come back
    └── Unavailable                             something needed to decide, record or sign is missing
        ├── AuditUnavailable                    the record could not be committed, so no link leaves
        ├── DatabaseUnavailable                 the permission data cannot be read
        ├── ScannerUnavailable                  an upload cannot be scanned, so it stays unseen
        ├── TakenBack                           it was taken back while the link was made, so none leaves
        └── StorageUnavailable                  this storage cannot sign now
            └── UnsafeLink                      a provider's answer was not what was asked for
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied

__all__ = [
    "AccessDenied",
    "AuditUnavailable",
    "BatchTooLarge",
    "BodyTooLarge",
    "CSRFFailed",
    "ChecksumMismatch",
    "ContextLost",
    "DatabaseUnavailable",
    "GatewayError",
    "IdempotencyConflict",
    "Infected",
    "InvalidReference",
    "InvalidRequest",
    "KeyNotMinted",
    "LeaseClosed",
    "MethodNotAllowed",
    "NoPrincipal",
    "NotAuthenticated",
    "NotFound",
    "NotUploaded",
    "ObjectExists",
    "ScannerUnavailable",
    "SizeMismatch",
    "StorageUnavailable",
    "SyncOnly",
    "TTLTooLong",
    "TakenBack",
    "TooManyRequests",
    "TypeMismatch",
    "TypeNotAllowed",
    "Unavailable",
    "UnsafeLink",
    "UnsupportedMediaType",
    "UploadConflict",
    "UploadFinished",
    "UploadOver",
    "UploadRejected",
    "problem",
]


class GatewayError(Exception):
    """Base of all errors of the gateway.

    Attributes:
        code: stable, for programs.
        status: what the HTTP API answers with.
        title: what a client may read.
    """

    code: ClassVar[str] = "gateway_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The request could not be carried out."


def problem(error: GatewayError, detail: str = "") -> dict[str, Any]:
    """Return an error as RFC 9457 problem details, for ``application/problem+json``.

    Source: https://www.rfc-editor.org/rfc/rfc9457
    """
    body = {"type": "about:blank", "title": error.title, "status": error.status, "code": error.code}
    return body | {"detail": detail or error.title}


class AccessDenied(GatewayError, PermissionDenied):
    """The answer is no.

    ``args`` hold a fixed text, because frameworks copy them to the client; ``reason`` and ``resource``
    are for the log and the audit.

    Attributes:
        silent_variable_failure: True only where a template looked the link up directly, so that a page
            loses the link and nothing more.
    """

    code = "not_found"
    status = 404
    title = "There is no such file, or you may not have it."
    silent_variable_failure = False

    def __init__(self, reason: str = "", resource: Any = None) -> None:
        super().__init__(self.title)
        self.reason = reason
        self.resource = resource


class NotAuthenticated(GatewayError):
    code = "not_authenticated"
    status = 401
    title = "A valid identity is needed."


class CSRFFailed(NotAuthenticated):
    code = "csrf_failed"
    status = 403
    title = "The CSRF token is missing or wrong."


class NoPrincipal(GatewayError, RuntimeError):
    """Nobody is asking. Use a request with the middleware, or ``with acting_as(user):``."""

    code = "no_principal"


class LeaseClosed(NoPrincipal):
    """The request that asked is over, or failed: make links before a stream starts."""

    code = "lease_closed"


class ContextLost(GatewayError, RuntimeError):
    """acting_as() ended in another context than it began (a generator), or before code that began in it."""

    code = "context_lost"


class SyncOnly(GatewayError, RuntimeError):
    """A blocking form was called in a running event loop; the message names the async one."""

    code = "sync_only"


class InvalidRequest(GatewayError, ValueError):
    code = "invalid_request"
    status = 400
    title = "The request is not valid."


class TTLTooLong(InvalidRequest):
    code = "ttl_too_long"
    title = "The link would live too long."


class InvalidReference(InvalidRequest):
    code = "invalid_reference"
    title = "This is not a reference to a file."


class TypeNotAllowed(InvalidRequest):
    code = "type_not_allowed"
    title = "Files of this type are not taken here."


class BatchTooLarge(InvalidRequest):
    code = "batch_too_large"
    status = 413
    title = "The batch has too many items."


class BodyTooLarge(InvalidRequest):
    code = "body_too_large"
    status = 413
    title = "The body is too large."


class UnsupportedMediaType(InvalidRequest):
    code = "unsupported_media_type"
    status = 415
    title = "The media type is not one that is read here."


class NotFound(GatewayError):
    code = "no_such_address"
    status = 404
    title = "There is nothing at this address."


class MethodNotAllowed(GatewayError):
    code = "method_not_allowed"
    status = 405
    title = "The method is not one of this address."


class UploadConflict(GatewayError):
    code = "upload_conflict"
    status = 409
    title = "The upload is not at a point where this can be done."


class NotUploaded(UploadConflict):
    code = "not_uploaded"
    title = "The file has not been uploaded, or not wholly."


class UploadFinished(UploadConflict):
    code = "upload_finished"
    title = "The upload has become a file."


class IdempotencyConflict(UploadConflict):
    code = "idempotency_conflict"
    title = "The idempotency key was used for another request."


class UploadOver(GatewayError):
    code = "upload_over"
    status = 410
    title = "The upload has expired, or was given up."


class UploadRejected(GatewayError):
    """What came is not what was declared. The object is not kept."""

    code = "upload_rejected"
    status = 422
    title = "What was uploaded is not what was declared."


class SizeMismatch(UploadRejected):
    code = "size_mismatch"
    title = "The file has another size than was declared."


class TypeMismatch(UploadRejected):
    code = "type_mismatch"
    title = "The file is not of the type that was declared."


class ChecksumMismatch(UploadRejected):
    code = "checksum_mismatch"
    title = "The file has another checksum than was declared."


class Infected(UploadRejected):
    code = "infected"
    title = "The file was found to be harmful."


class KeyNotMinted(GatewayError, ValueError):
    code = "key_not_minted"
    status = 400
    title = "The name was not made by the storage."


class ObjectExists(GatewayError, FileExistsError):
    code = "object_exists"
    status = 409
    title = "The key is taken."


class TooManyRequests(GatewayError):
    """Come back when the minute is over: ``retry_after_seconds`` goes into the Retry-After header."""

    code = "too_many_requests"
    status = 429
    title = "There were too many requests of this kind; wait before the next."

    def __init__(self, reason: str = "", *, retry_after_seconds: int = 60) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(GatewayError):
    """Missing information means no. ``retry_after_seconds`` goes into the Retry-After header."""

    code = "unavailable"
    status = 503
    title = "This cannot be done at the moment."
    retry_after_seconds: ClassVar[int] = 5


class AuditUnavailable(Unavailable):
    code = "audit_unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class TakenBack(Unavailable):
    """The next request is decided anew."""

    code = "taken_back"


class ScannerUnavailable(Unavailable):
    code = "scanner_unavailable"
    title = "The file cannot be scanned at the moment."


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"
    title = "The storage cannot sign links at the moment."


class UnsafeLink(StorageUnavailable):
    code = "unsafe_link"
