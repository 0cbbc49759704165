"""Parts that the gateway passes on to a store: of uploads that are still open, to the very object of their link.

Must not decide, nor believe a link: the part is one that was signed. What has come is asked of the store alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from gateway.models import UploadSession, UploadState
from gateway.resources import private_storage
from gateway.storages.objects import RelayedPartStore
from gateway.uploads.permission import sessions
from gateway.uploads.planning import asking, part_store_of
from providers.types import UploadPart

__all__ = ["name_of", "open_upload", "pass_on"]

_OPEN_TO_PARTS = (UploadState.ISSUED, UploadState.UPLOADING)


def name_of(alias: str, part: UploadPart) -> str:
    """Return the name, as a row has it, of the object that a part is of."""
    location = str(getattr(private_storage(alias), "location", "")).strip("/")
    return part.key.removeprefix(f"{location}/") if location else part.key


def open_upload(alias: str, part: UploadPart) -> UploadSession | None:
    """Return the upload that a part is of; None where it is over, is being finalized, or there is none."""
    found = sessions().filter(
        storage_alias=alias, key=name_of(alias, part), store_upload_id=part.upload_id,
        strategy=UploadSession.Strategy.MULTIPART, state__in=_OPEN_TO_PARTS, expires_at__gt=timezone.now(),
    )  # fmt: skip
    return found.first()


def pass_on(session: UploadSession, part: UploadPart, chunks: Iterable[bytes]) -> None:
    """Send a part to the store while it comes; of one that breaks off nothing is kept.

    Raises:
        BadRequest: where the iteration does, for a body that is not what was signed.
        StorageUnavailable: the store did not take it.
    """
    store: Any = part_store_of(session.storage_alias)
    assert isinstance(store, RelayedPartStore)
    with asking(session.storage_alias):
        store.pass_on_part(session.key, session.store_upload_id, part.number, chunks, size_bytes=part.size_bytes)
