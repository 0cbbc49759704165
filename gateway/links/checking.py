"""The one post-condition of every link, whoever signed it.

Must not trust the signer, nor encode a key by the function that signers use.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from gateway.errors import (
    UnsafeLink,
)
from providers.types import Download, Provider, SignedURL, UploadForm

__all__ = ["check_link"]


def check_link(signed: SignedURL, operation: Any, provider: Provider) -> None:
    """Hold a link to what was asked for: this object, this method, this store, and signed.

    Raises:
        UnsafeLink: it is anything else.
    """
    # Pieces of the link stay in functions that have returned: a report of the error shows local variables.
    if not isinstance(signed, SignedURL):
        raise UnsafeLink(f"the link is of type {type(signed).__name__}; SignedURL")
    form = isinstance(operation, UploadForm)
    # Encoded here by another function than the signers use.
    key = "" if form else quote(operation.key, safe="/~")
    if not _leads_to(signed, provider.base_url + key):
        raise UnsafeLink("the link is for another address than the object's")
    method = operation.method if isinstance(operation, Download) else "POST" if form else "PUT"
    if signed.method != method:
        raise UnsafeLink(f"the link is for {signed.method} where {method} was asked for")
    if form and signed.fields.get("key") != operation.key:
        raise UnsafeLink("the form is for another key than the object's")
    if not (_is_signed_form(signed) if form else _is_signed(signed, provider.capabilities.signature_parameter)):
        raise UnsafeLink("the link is not signed")


def _leads_to(signed: SignedURL, address: str) -> bool:
    return signed.url.partition("?")[0] == address and "#" not in signed.url


def _is_signed(signed: SignedURL, parameter: str) -> bool:
    query = signed.url.partition("?")[2]
    return any(pair.startswith(f"{parameter}=") and pair != f"{parameter}=" for pair in query.split("&"))


def _is_signed_form(signed: SignedURL) -> bool:
    return any(name.endswith("signature") and value for name, value in signed.fields.items())
