"""Takes the one object or part that an upload link is for: this type, this size, these bytes, or nothing.

Must not hold a body in memory, and must not let anything be seen of a body that is not wholly on the disk.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway.delivery.bodies import drain, read_body, refusal_of_headers
from gateway.delivery.conditional import Validators, conditions_of, precondition
from gateway.delivery.responses import EVERYWHERE, NO_STORE, TextResponse, words
from gateway.storages.files import open_beneath, store_beneath
from gateway.storages.filesystem import PrivateFileSystemStorage
from gateway.storages.parts import store_part
from providers.errors import InvalidKey
from providers.types import Upload, UploadPart

__all__ = ["receive"]

logger = logging.getLogger(__name__)

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def receive(request: HttpRequest, storage: PrivateFileSystemStorage, upload: Upload | UploadPart) -> HttpResponseBase:
    """Store the body, or say what is wrong with it; the caller has verified the link.

    Raises:
        OSError: the disk fails, or its files cannot be reached.
    """
    store = _store_part if isinstance(upload, UploadPart) else _store_object
    response = _receive(request, storage, upload, store)
    if response.status_code not in (201, 411, 413):
        drain(request, upload.size_bytes)
    return response


def _receive(
    request: HttpRequest, storage: PrivateFileSystemStorage, upload: Any, store: Callable[..., os.stat_result]
) -> HttpResponseBase:
    refusal = refusal_of_headers(request, upload)
    if refusal is not None:
        return words(request, *refusal)
    try:
        status = store(request, storage, upload)
    except BadRequest as error:
        return words(request, 400, str(error))
    except InvalidKey:
        return words(request, 400, "Nothing can be stored under this name.")
    except FileExistsError:
        return words(request, 412, "There is a file of this name, or another one than was expected.")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        if isinstance(upload, UploadPart):
            return words(request, 404, "There is no such upload, or it is over.")
        return words(request, 409, "A file and a directory cannot have one name.")
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        logger.error("an upload found no room: %s", errno.errorcode[error.errno])
        return words(request, 507, "There is no room for this file.")
    etag = Validators.of(status, now=_now()).etag
    return TextResponse(request, "", status=201, headers=EVERYWHERE | NO_STORE | {"ETag": etag})


def _store_object(request: HttpRequest, storage: PrivateFileSystemStorage, upload: Upload) -> os.stat_result:
    root = str(storage.location)
    current = _current(root, upload.key)
    taken = current is not None and not upload.overwrite
    if taken or precondition(conditions_of(request), current, reading=False) is not None:
        raise FileExistsError("the key is taken")
    return store_beneath(
        root,
        upload.key,
        read_body(request, upload),
        # A client may ask for more caution than its link does; then it holds to the last moment, too.
        overwrite=upload.overwrite and request.headers.get("If-None-Match") != "*",
        file_mode=storage.file_mode,
        directory_mode=storage.directory_mode,
    )


def _store_part(request: HttpRequest, storage: PrivateFileSystemStorage, part: UploadPart) -> os.stat_result:
    root = str(storage.location)
    return store_part(root, part.upload_id, part.number, read_body(request, part), file_mode=storage.file_mode)


def _current(root: str, key: str) -> Validators | None:
    try:
        descriptor = open_beneath(root, key)
    except FileNotFoundError:
        return None
    try:
        return Validators.of(os.fstat(descriptor), now=_now())
    finally:
        os.close(descriptor)


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
