"""Django REST framework's permission classes as a policy: those of the view that shows the row decide about its file.

Must not authenticate anybody: who asks is known before a policy is asked.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import OperandHolder, SingleOperandHolder
from rest_framework.request import Request

from gateway.conf import resolve
from gateway.contrib.hooks import request_of
from gateway.policies import Allow, Composable, Deny, Download, Operation
from gateway.principals import Principal
from gateway.resources import Resource

__all__ = ["RestPermissions"]


class RestPermissions(Composable):
    """Whoever all the permission classes let retrieve the row.

    Args:
        permissions: classes, combinations of them (``IsAdminUser | IsOwner``), or dotted paths.
    """

    def __init__(self, *permissions: Any) -> None:
        if not permissions:
            raise ValueError("no permissions; at least one, or everything would be allowed")
        self._permissions = permissions

    def __repr__(self) -> str:
        return f"RestPermissions({', '.join(map(_name_of, self._permissions))})"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        """Ask the classes about a GET of the row, on a view of its model that has no other part."""
        request = request_of(principal)
        if not isinstance(operation, Download) or request is None or resource.model is None:
            return Deny(f"{self!r} is asked by requests about downloads of rows")
        view = GenericAPIView()
        view.queryset = resource.model._base_manager.all()
        view.request = asked = Request(request)
        view.args, view.kwargs, view.format_kwarg = (), {"pk": resource.pk}, None
        view.action = "retrieve"
        # Said here, since a view of its own would authenticate anew.
        asked.user, asked.auth = request.user, principal.token
        try:
            for named in self._permissions:
                # Classes and combinations of them are called; a dotted path to a class is an instance by now.
                found = resolve(named)
                permission = found() if callable(found) else found
                if not (
                    permission.has_permission(asked, view)
                    and permission.has_object_permission(asked, view, resource.instance)
                ):
                    return Deny(f"{self!r} says no")
        except (APIException, Http404, PermissionDenied) as error:
            # How a class may say no, too.
            return Deny(f"{self!r} raised {type(error).__name__}")
        return Allow(policy=repr(self))


def _name_of(permission: Any) -> str:
    """Spell a class, or a combination of them, as it was written."""
    if isinstance(permission, OperandHolder):
        operator = permission.operator_class.__name__
        return f"({_name_of(permission.op1_class)} {operator} {_name_of(permission.op2_class)})"
    if isinstance(permission, SingleOperandHolder):
        return f"({permission.operator_class.__name__} {_name_of(permission.op1_class)})"
    return permission if isinstance(permission, str) else getattr(permission, "__name__", type(permission).__name__)
