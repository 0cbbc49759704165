"""One question on its way through the door, and what the caller has to have asked it right.

Must not look anything up.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway import windows
from gateway.errors import (
    AccessDenied,
    GatewayError,
)
from gateway.links.answers import IssuedURL, Refusal
from gateway.policies import (
    NO_LIMITS,
    OPERATIONS,
    Limits,
)
from gateway.resources import Resource
from providers.errors import InvalidInput
from providers.types import Download, Upload, UploadForm, UploadPart

__all__ = ["PROBE_KEY", "SIGNABLE", "Ask", "AskedFor", "check_asked", "kind_of", "make_operation"]

logger = logging.getLogger(__name__)

SIGNABLE = (Download, Upload, UploadForm, UploadPart)
PROBE_KEY = "uploads/gateway-probe"
# An operation, or how to make one of the key that the row holds: Download, partial(Download, filename="a.pdf").
AskedFor = Any


@dataclass(slots=True)
class Ask:
    """One question on its way through the door."""

    resource: Resource
    asked: AskedFor
    kind: type
    operation: Any = None
    limits: Limits = NO_LIMITS
    policy: str = ""
    refusal: Refusal | None = None
    seconds: int = 0
    limited_by: str = ""
    signed_at: datetime | None = None
    window: windows.Window | None = None
    link_id: str = ""
    issued: IssuedURL | None = field(default=None, repr=False)

    def refuse(self, reason: str, error: GatewayError | None = None) -> None:
        self.refusal = Refusal(
            resource=self.resource, error=error or AccessDenied(reason, self.resource), reason=reason
        )


def kind_of(asked: AskedFor) -> type:
    if isinstance(asked, functools.partial):
        asked = asked.func
    return asked if isinstance(asked, type) else type(asked)


def check_asked(asks: Sequence[Ask]) -> None:
    """Let what the caller can mend be told before anything is looked up, and so for every row alike."""
    for asked in {id(ask.asked): ask.asked for ask in asks}.values():
        if isinstance(asked, functools.partial) and kind_of(asked) in OPERATIONS:
            asked(PROBE_KEY)


def make_operation(ask: Ask) -> bool:
    """Build the operation on the key that the row holds; refuse one that was made for another."""
    key = ask.resource.key
    try:
        operation = ask.asked(key) if callable(ask.asked) else ask.asked
    except InvalidInput:
        logger.error("%s holds a key that cannot be signed: %s", ascii(ask.resource.id), ascii(key))
        ask.refuse("the key is not valid")
        return False
    if (made := type(operation)) != ask.kind:
        ask.refuse(f"the operation is {made.__name__} where {ask.kind.__name__} was decided")
        return False
    if operation.key != key:
        ask.refuse("the operation names another key than the row")
        return False
    ask.operation = operation
    return True
