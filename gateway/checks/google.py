"""Checks of storages on Google Cloud alone: what has no effect there, and what an object's own metadata undoes.

Must not import an SDK, and must not look for credentials that the settings do not hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from django.core.checks import CheckMessage

from gateway.checks.messages import check, found
from gateway.checks.reading import Alias, private_aliases

# The SDK sends its bytes there; a private storage says its own address.
_MOVING_VARIABLES = ("STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE")
# https://cloud.google.com/storage/docs/metadata#editable
_SHOWN_AS_STORED = ("content_disposition", "content_type")


@check()
def check_google() -> Iterator[CheckMessage]:
    for alias in _google_aliases():
        for name in _MOVING_VARIABLES:
            if os.environ.get(name) and not alias.storage.endpoint_url:
                yield found("W080", f"{name} is in the environment, and moves neither bytes nor links of {alias}.")
        if alias.storage.sa_email and _has_key(alias):
            yield found("W081", f"{alias} has sa_email {alias.storage.sa_email!r}, and a key of its own signs.")
        for name in _SHOWN_AS_STORED:
            if name in alias.storage.object_parameters:
                yield found("W082", f"{alias} stores every object with a {name} of object_parameters.")


def _google_aliases() -> Iterator[Alias]:
    return (alias for alias in private_aliases() if hasattr(alias.storage, "iam_sign_blob"))


def _has_key(alias: Alias) -> bool:
    with suppress(Exception):  # one that cannot sign has a check of its own
        return bool(alias.storage.provider.capabilities.offline)
    return False
