"""The addresses that a page gives to Uppy: each names one user and one place, so that no other site can make one up.

Must not be a credential: without the session, or the token, of its user an address opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.urls import reverse

from gateway.errors import AccessDenied
from gateway.principals import Principal

__all__ = ["PART_BYTES", "UppyGrant", "read_grant", "uppy_endpoint"]

# The size of a part that Uppy chooses by itself: at least 5 MiB, and more where there would be over 10,000 of them,
# which no upload of at most 5 GiB comes near.
PART_BYTES = 5 * 2**20
_SALT = "presign_gateway.uploads.uppy"
_BELOW = "/s3/multipart"


@dataclass(frozen=True, slots=True)
class UppyGrant:
    """What an address says: whose page it stands in, and where uploads go; no target is the service's own files."""

    principal: str
    target: str


def uppy_endpoint(principal: Principal, target: str = "") -> str:
    """Return Uppy's ``endpoint`` (4 and 5) or ``companionEndpoint`` (6) for a page of a principal's.

    Nothing is decided by it: every upload is.

    Args:
        target: reference to the field that gets the file; empty is the service's own files.
    """
    grant = signing.dumps([principal.id, target], salt=_SALT)
    return reverse("presign_gateway:uppy_multipart", kwargs={"grant": grant}).removesuffix(_BELOW)


def read_grant(grant: str) -> UppyGrant:
    """Believe what an address says.

    Raises:
        AccessDenied: it was not made here.
    """
    try:
        value: Any = signing.loads(grant, salt=_SALT)
    except signing.BadSignature as error:
        raise AccessDenied("the address was not made by this gateway") from error
    principal, target = value
    return UppyGrant(principal, target)
