"""What commands are given by name: users, and the objects that references mean.

Must not decide: whoever may run a command may name anybody and anything.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.db import router

from gateway.errors import InvalidReference
from gateway.resources import Resource, parse_reference, resolved
from gateway.rows import row_of

__all__ = ["object_of", "resource_of", "text_of", "user_of"]


def text_of(argument: str) -> str:
    """Return an argument as it is, where it is text: bytes that are no UTF-8 arrive as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise CommandError(f"{argument!a} is no text; only UTF-8") from None
    return argument


def user_of(username: str) -> Any:
    text_of(username)
    model = get_user_model()
    manager: Any = model._default_manager
    try:
        return manager.db_manager(router.db_for_write(model)).get_by_natural_key(username)
    except model.DoesNotExist:
        raise CommandError(f"there is no user {username!a}") from None


def resource_of(reference: str) -> Resource:
    """Return what a reference means, whether it is there or not."""
    try:
        resource = parse_reference(reference)
    except InvalidReference as error:
        raise CommandError(f"{reference!a} is no reference: {error}") from None
    if resource is None:
        raise CommandError(f"{reference!a} names no private field, or no row that could be")
    return resource


def object_of(reference: str) -> str:
    """Return ``alias:key`` of the object that a reference means now."""
    resource = resource_of(reference)
    row = row_of(resource)
    found = None if row is None else resolved(resource, row)
    if found is None:
        raise CommandError(f"there is no file {reference!a}; name its object as alias:key")
    return f"{found.storage_alias}:{found.key}"
