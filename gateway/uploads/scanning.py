"""Has the project's scanner look at an upload, if it has one; nothing becomes a file before it has answered.

Must not take a scanner that failed, or said something odd, for one that found nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from gateway.conf import conf, resolve
from gateway.errors import GatewayError, Infected, ScannerUnavailable
from gateway.models import UploadSession
from gateway.storages.objects import ObjectStore, StoredObject

__all__ = ["scan"]

logger = logging.getLogger(__name__)


def scan(session: UploadSession, store: ObjectStore, stored: StoredObject) -> None:
    """Ask the scanner about the very object that was verified.

    Raises:
        Infected: it found something.
        ScannerUnavailable: it could not be asked, or answered neither a name nor None.
        FileNotFoundError: the object went, or became another, while it was read.
    """
    path = conf().upload_scanner
    if path is None:
        return
    try:
        found: Any = resolve(path).scan(iter(store.read(session.key, stored)))
    except (GatewayError, FileNotFoundError):
        raise
    except Exception as error:
        logger.exception("the scanner failed about upload %s", session.pk)
        raise ScannerUnavailable(f"the scanner failed: {type(error).__name__}") from error
    if found is not None and not isinstance(found, str):
        raise ScannerUnavailable(f"the scanner answered {type(found).__name__}; a name or None")
    if found is not None:
        raise Infected(f"the scanner found {found}")
