"""How bytes reach whoever holds a link, and how a permalink becomes one; one small file for each way.

Must not decide: a link was decided when it was issued, and a permalink asks the door.
"""

from __future__ import annotations

from gateway.delivery.by_path import paths

__all__ = ["paths"]
