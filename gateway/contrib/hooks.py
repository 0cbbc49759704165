"""Policies made of the hooks that people already have, so that a permission need not be written a second time.

Must not be more generous than the hook was: each allows downloads alone, and only where the hook said exactly yes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from gateway.conf import resolve
from gateway.policies import Allow, Composable, Deny, Download, Operation
from gateway.principals import Principal
from gateway.resources import Resource, private_storage

__all__ = [
    "BeforeServe",
    "HasPermissions",
    "PrivateFile",
    "PrivateFileHook",
    "ReadPermission",
    "UserTest",
    "request_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateFile:
    """What ``fn(private_file)`` is asked about, as django-private-storage has it.

    Attributes:
        relative_name: the key.
        parent_object: the row; None where a path is asked for.
    """

    request: HttpRequest
    storage: Any
    relative_name: str
    parent_object: Any = None


class _Hook(Composable):
    """One hook, asked about downloads; whatever it raises is a failure, which nothing turns into a yes."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def __repr__(self) -> str:
        name = self._hook if isinstance(self._hook, str) else getattr(self._hook, "__qualname__", type(self._hook))
        return f"{type(self).__name__}({name})"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        if not isinstance(operation, Download):
            return Deny(f"{self!r} is asked about downloads alone")
        answer = self.ask(resolve(self._hook), principal, resource)
        if isinstance(answer, Deny):
            return answer
        if type(answer) is not bool:
            # "no" is true.
            raise TypeError(f"{self!r} answered {type(answer).__name__}; True or False")
        return Allow(policy=repr(self)) if answer else Deny(f"{self!r} says no")

    def ask(self, hook: Any, principal: Principal, resource: Resource) -> bool | Deny:
        """Ask in the hook's own words."""
        raise TypeError(f"{type(self).__name__} asks nothing")


class ReadPermission(_Hook):
    """``has_read_permission(request, path)``: an object or class that has it, or a dotted path to one."""

    def ask(self, hook: Any, principal: Principal, resource: Resource) -> bool | Deny:
        request = request_of(principal)
        if request is None:
            return Deny("no request is asking")
        answer: bool = (hook() if isinstance(hook, type) else hook).has_read_permission(request, resource.key)
        return answer


class PrivateFileHook(_Hook):
    """``fn(private_file)``, as ``PRIVATE_STORAGE_AUTH_FUNCTION`` names it."""

    def ask(self, hook: Any, principal: Principal, resource: Resource) -> bool | Deny:
        request = request_of(principal)
        if request is None:
            return Deny("no request is asking")
        assert resource.key is not None
        answer: bool = hook(
            PrivateFile(
                request=request,
                storage=private_storage(resource.storage_alias),
                relative_name=resource.key,
                parent_object=resource.instance,
            )
        )
        return answer


class UserTest(_Hook):
    """``fn(user)``, as ``user_passes_test`` takes it; asked about the user alone, and so without a request."""

    def ask(self, hook: Any, principal: Principal, resource: Resource) -> bool | Deny:
        if principal.kind == "system":
            return Deny("the system is no user")
        answer: bool = hook(_user_of(principal))
        return answer


class HasPermissions(Composable):
    """Whoever has all of the permissions named, as ``permission_required`` takes them: ``"app.codename"``.

    Args:
        permissions: one or more; of the model, not of the row, which ObjectPermission asks.
    """

    def __init__(self, *permissions: str) -> None:
        if not permissions or not all("." in name for name in permissions):
            raise ValueError(f"permissions are {permissions!r}; one or more of app.codename")
        self._permissions = permissions

    def __repr__(self) -> str:
        return f"HasPermissions{self._permissions!r}"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        if not isinstance(operation, Download):
            return Deny(f"{self!r} is asked about downloads alone")
        if principal.kind == "user" and principal.user.has_perms(self._permissions):
            return Allow(policy=repr(self))
        return Deny(f"{self!r} says no")


class BeforeServe(Composable):
    """``fn(document, request)``, as Wagtail's ``before_serve_document``: None goes on, anything else ends it.

    Args:
        hooks: functions or dotted paths, asked in order; the first that answers a response is a no. The response
            itself is not sent: what is denied looks like what is missing.
    """

    def __init__(self, *hooks: Callable[[Any, HttpRequest], Any] | str) -> None:
        if not hooks:
            raise ValueError("no hooks; at least one, or everything would be allowed")
        self._hooks: Collection[Any] = hooks

    def __repr__(self) -> str:
        return f"BeforeServe({len(self._hooks)} hooks)"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        if not isinstance(operation, Download):
            return Deny(f"{self!r} is asked about downloads alone")
        request = request_of(principal)
        if request is None or resource.instance is None:
            return Deny("no request is asking, or about no row")
        for hook in self._hooks:
            if resolve(hook)(resource.instance, request) is not None:
                return Deny(f"{self!r} says no")
        return Allow(policy=repr(self))


def request_of(principal: Principal) -> HttpRequest | None:
    """Return the request that asks, as a plain GET of the user who was found to ask; None where none does.

    The original may carry another user's session beside the token that counted, and may be a POST that asks for
    a link: a hook is asked whether this user may read.
    """
    if principal.request is None or principal.kind == "system":
        return None
    request = copy.copy(principal.request)
    request.user = _user_of(principal)
    request.method = "GET"
    return request


def _user_of(principal: Principal) -> Any:
    return principal.user if principal.kind == "user" else AnonymousUser()
