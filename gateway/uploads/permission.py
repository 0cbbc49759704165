"""May this principal upload this: asked of the door before anything is done, and again at every step.

Must not answer by itself.
"""

from __future__ import annotations

from django.db import router
from django.db.models import QuerySet

from gateway import links
from gateway.errors import AccessDenied
from gateway.models import UploadSession
from gateway.principals import Principal
from gateway.uploads.places import Place, place_of
from providers.types import Checksum, Upload, UploadForm, UploadPart

__all__ = ["check", "operation_of", "own", "place_of_session", "sessions"]


def sessions() -> QuerySet[UploadSession]:
    """Return all uploads, from the database that is written to."""
    return UploadSession.objects.using(router.db_for_write(UploadSession))


def own(principal: Principal, upload_id: str) -> UploadSession:
    """Return a principal's own upload.

    Raises:
        AccessDenied: there is none, or it is somebody else's.
    """
    session = sessions().filter(pk=upload_id).first()
    if session is None or (session.principal, session.tenant) != (principal.id, links.tenant_name(principal)):
        raise AccessDenied("there is no such upload, or it is another principal's")
    return session


def check(principal: Principal, place: Place, operation: Upload | UploadForm | UploadPart) -> None:
    """Decide whether something may be put into a place.

    A yes is recorded with what is done because of it, a no at once.

    Raises:
        AccessDenied: no.
    """
    resource = place.resource(operation.key)
    if not links.allowed(principal, [resource], operation)[0]:
        links.authorize(principal, resource, operation)
    if place.field is None and principal.kind != "user":
        raise AccessDenied("the service's own files have an owner; act as a user", resource)


def operation_of(session: UploadSession) -> Upload:
    """Return the whole of an upload as an operation, which is what policies are asked about."""
    return Upload(
        session.key,
        content_type=session.content_type,
        size_bytes=session.size_bytes,
        checksum=_checksum_of(session),
    )


def _checksum_of(session: UploadSession) -> Checksum | None:
    if session.sha256:
        return Checksum("sha256", bytes.fromhex(session.sha256))
    return Checksum("md5", bytes.fromhex(session.md5)) if session.md5 else None


def place_of_session(session: UploadSession) -> Place:
    """Return where an upload goes."""
    return place_of(session.target) if session.target else Place(session.storage_alias)
