"""System checks: a setting that cannot work, or that gives away what is private, has an id, a name and a fix.

``manage.py check`` decides from settings and models alone: nothing here may open a connection, and one broken
setting must not keep the others from being checked. What only the store can answer is the doctor's.
"""

from __future__ import annotations

# Imported to be registered.
from gateway.checks import azure, delivery, google, places, project, rules, stores, thumbnails  # noqa: F401
from gateway.checks.messages import FIXES, TAG

__all__ = ["FIXES", "TAG"]
