"""Redirects to a link that nginx itself checks: the weakest way, for files that are large, many and not very secret.

Must not be mistaken for a presigned link: MD5, one secret for all, no end before its time, no name and no type.
Source: https://nginx.org/en/docs/http/ngx_http_secure_link_module.html
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse

from gateway.conf import conf
from gateway.errors import StorageUnavailable
from gateway.links import Permit
from gateway.storages.filesystem import PrivateFileSystemStorage

__all__ = ["ADDRESS", "EXPRESSIONS", "SIGNED", "redirect_to_link"]

# Where the printed configuration (gateway_conf nginx) has its location.
SIGNED = "/.gateway/signed/"
ADDRESS = "secure_link_address"
# In this order alone no other pair of time and path has the same text: digits end where the path's slash begins,
# and an address holds neither a slash nor a space. With the path first, the link of /report1 would be one of
# /report, with a 1 before the time.
EXPRESSIONS = {
    "secure_link": "$secure_link_expires$uri",
    ADDRESS: "$secure_link_expires $remote_addr$uri",
}


def redirect_to_link(request: HttpRequest, storage: PrivateFileSystemStorage, permit: Permit) -> HttpResponse:
    """Answer with a redirect to nginx's own location of the file.

    Raises:
        StorageUnavailable: the link is to be bound to the client's address, and it is not known.
    """
    alias, key = permit.resource.storage_alias, permit.download.key
    expires = int(datetime.now(UTC).timestamp()) + int(permit.ttl.total_seconds())
    text = f"{expires}{SIGNED}{alias}/{key}"
    if storage.delivery == ADDRESS:
        text = f"{expires} {_address_of(request)}{SIGNED}{alias}/{key}"
    # nginx knows no other digest.
    digest = hashlib.md5(f"{text} {storage.secure_link_secret}".encode()).digest()  # noqa: S324
    signature = urlsafe_b64encode(digest).decode().rstrip("=")
    address = f"{conf().public_origin}{SIGNED}{alias}/{quote(key, safe='/')}"
    return HttpResponse(status=302, headers={"Location": f"{address}?md5={signature}&expires={expires}"})


def _address_of(request: HttpRequest) -> str:
    """Return what nginx saw: it writes its ``$remote_addr`` into X-Forwarded-For, last or alone."""
    address: str = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    if not conf().trusted_proxies or not address or set(address) & set("/ "):
        raise StorageUnavailable("TRUSTED_PROXIES is 0, or nginx does not say from which address it was asked")
    return address
