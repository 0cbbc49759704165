"""Signed ids of uploads, which a form posts in place of the file: good for one user and one place.

Must not be a right to read anything, and never makes a file that the upload itself would not become.
"""

from __future__ import annotations

from typing import Any

from django.core import signing

from gateway.conf import conf
from gateway.errors import AccessDenied
from gateway.models import UploadSession
from gateway.principals import Principal
from gateway.uploads.finalizing import Finalized, finalize
from gateway.uploads.later import finalize_later

__all__ = ["redeem", "redeem_later", "signed_id_of"]

_SALT = "presign_gateway.uploads.blob"


def signed_id_of(session: UploadSession) -> str:
    """Return what a form may post of an upload; it dies with the upload."""
    return signing.dumps([session.pk, session.principal, session.target], salt=_SALT)


def redeem(principal: Principal, signed_id: str, *, target: str = "") -> Finalized:
    """Finalize the upload that a form has posted; asked again, the answer is the same.

    Args:
        target: reference to the field that the form is about; empty is the service's own files.

    Raises:
        AccessDenied: it is no signed id, of another principal or another field, too old, or the policy says no.
        NotUploaded, UploadRejected, UploadOver, StorageUnavailable: as :func:`gateway.uploads.finalize`.
    """
    return finalize(principal, _upload_of(principal, signed_id, target))


def redeem_later(principal: Principal, signed_id: str, *, target: str = "") -> Finalized | None:
    """Finalize the upload that a form has posted; None while a task verifies it, which large ones are left to.

    The field gets its file from the task, and stays as it was where the verdict is against it.

    Args:
        target: as :func:`redeem`.

    Raises:
        AccessDenied, NotUploaded, UploadRejected, UploadOver, StorageUnavailable: as :func:`redeem`.
    """
    return finalize_later(principal, _upload_of(principal, signed_id, target))


def _upload_of(principal: Principal, signed_id: str, target: str) -> str:
    try:
        value: Any = signing.loads(signed_id, salt=_SALT, max_age=conf().upload_lifetime)
    except signing.BadSignature as error:
        raise AccessDenied("the signed id does not hold, or is too old") from error
    upload_id, owner, place = value
    if (owner, place) != (principal.id, target):
        raise AccessDenied("the signed id is another principal's, or for another field")
    return str(upload_id)
