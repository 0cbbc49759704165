"""The task that verifies an upload, for the workers of Django's task framework.

Must be imported only where that is installed, and takes the id of an upload alone: a queue is no secret.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.tasks import framework
from gateway.uploads.later import verify_now

__all__ = ["verify_upload"]

_task: Callable[[], Callable[[Callable[[str], str]], Any]] = framework().task


@_task()
def verify_upload(upload_id: str) -> str:
    """Verify an upload; a verdict is an outcome like any other. Run again, it changes nothing."""
    return verify_now(upload_id)
