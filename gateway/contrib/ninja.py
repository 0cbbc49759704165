"""django-ninja: schemas whose link is null where it is refused, and authentication that says who asks.

Must not change a schema's fields but those of private files.
"""

from __future__ import annotations

import inspect
from typing import Any

from django.db import models
from ninja.orm import factory
from ninja.orm.fields import get_schema_field as its_schema_field
from ninja.schema import DjangoGetter
from pydantic.fields import FieldInfo

from gateway.fields import is_private, tell_none
from gateway.principals import bind_principal

__all__ = ["AsksAsUser", "map_fields"]


class AsksAsUser:
    """Before a class of ninja's authentication, lets whom it names ask for links for the rest of the request::

        class Bearer(AsksAsUser, HttpBearer):
            def authenticate(self, request, token): ...

    It takes what ``authenticate`` returned: a user, or an object with a ``user``. Anything else is nobody, and
    ``request.user`` asks.
    """

    def __call__(self, request: Any) -> Any:
        # The class beside this one has the rest.
        answer = super().__call__(request)  # type: ignore[misc]
        return self._bind_later(answer) if inspect.isawaitable(answer) else _bind(answer)

    async def _bind_later(self, answer: Any) -> Any:
        return _bind(await answer)


def map_fields() -> None:
    """Let schemas take links as they are and None for a refused one; to do it again changes nothing."""
    factory.get_schema_field = get_schema_field  # type: ignore[attr-defined]
    tell_none(DjangoGetter._convert_result)


def get_schema_field(field: Any, *, depth: int = 0, optional: bool = False) -> tuple[Any, FieldInfo]:
    """Return type and description of a model's field; of a private file it is a link of any length, or None.

    ninja's own would hold the link to ``max_length``, which is the name's.
    """
    if not (isinstance(field, models.FileField) and is_private(field)):
        described: tuple[Any, FieldInfo] = its_schema_field(field, depth=depth, optional=optional)
        return described
    _, info = its_schema_field(field, optional=True)
    return str | None, FieldInfo(default=None, title=info.title, description=info.description)


def _bind(who: Any) -> Any:
    user = who if hasattr(who, "is_authenticated") else getattr(who, "user", None)
    if hasattr(user, "is_authenticated"):
        bind_principal(user)
    return who
