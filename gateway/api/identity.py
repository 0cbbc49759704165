"""Authentication as django-ninja asks for it: before the body is read or anything is loaded.

Must not decide what the identity may do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.http import HttpRequest

from gateway.authentication import authenticate
from gateway.principals import Principal

__all__ = ["Identity", "principal_of"]


class Identity:
    """The ``auth`` of the API; what it returns is ``request.auth``.

    Args:
        ask: :func:`gateway.authentication.identify` where one decision is all that the operation is about.

    Attributes:
        csrf: tells the page of the documentation to send the token of its session.
    """

    csrf = True

    def __init__(self, ask: Callable[[HttpRequest], Principal] = authenticate) -> None:
        self._ask = ask

    def __call__(self, request: HttpRequest) -> Principal:
        return self._ask(request)


def principal_of(request: HttpRequest) -> Principal:
    """Return who was found to ask."""
    return cast("Principal", request.auth)  # type: ignore[attr-defined]
