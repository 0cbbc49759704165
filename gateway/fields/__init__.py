"""File fields whose ``.url`` is a link that was decided for whoever is asking.

Must not decide or sign, and never takes a name that no storage made.
"""

from __future__ import annotations

from gateway.fields.adopting import adopt
from gateway.fields.columns import PrivateFileField, PrivateImageField
from gateway.fields.values import (
    PrivateFieldFile,
    PrivateImageFieldFile,
    is_private,
    permalink_of,
    tell_none,
    tell_permalink,
)

__all__ = [
    "PrivateFieldFile",
    "PrivateFileField",
    "PrivateImageField",
    "PrivateImageFieldFile",
    "adopt",
    "is_private",
    "permalink_of",
    "tell_none",
    "tell_permalink",
]
