"""Policies on Django's permissions, of the model and of one object: which operation asks for which.

Must not answer for a backend: whatever it says but True or False is a failure.
"""

from __future__ import annotations

from django.contrib.auth import get_permission_codename
from django.db import models
from django.db.models import Q

from gateway.policies.answers import Allow, Deny
from gateway.policies.branches import Branch, asked
from gateway.policies.combining import Composable
from gateway.policies.operations import UPLOADS, Delete, Download, Operation, Share, Update
from gateway.policies.rows import RowPolicy
from gateway.principals import Principal
from gateway.resources import Resource

__all__ = ["ModelPermission", "ObjectPermission"]


class _ByPermission:
    """Names the permission of Django's that each operation asks for: none implies another.

    Args:
        download: ``view`` asks for ``app.view_model``; superusers have them all.
        update, delete, share, upload: the permissions that those operations ask for.
    """

    def __init__(
        self,
        download: str = "view",
        *,
        update: str = "change",
        delete: str = "delete",
        share: str = "share",
        upload: str = "add",
    ) -> None:
        self.download = download
        self._actions: dict[type, str] = {Download: download, Update: update, Delete: delete, Share: share}
        self._actions |= dict.fromkeys(UPLOADS, upload)

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.download!r})"

    def permission_of(self, operation: type, model: type[models.Model] | None) -> str | None:
        """Return the permission that an operation on a model asks for; None where there is none."""
        action = self._actions.get(operation)
        if action is None or model is None:
            return None
        return f"{model._meta.app_label}.{get_permission_codename(action, model._meta)}"


class ModelPermission(_ByPermission, RowPolicy):
    """Django's model permissions: ``user.has_perm("app.view_model")``."""

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        permission = self.permission_of(operation, model)
        if principal.kind != "user" or permission is None:
            return []
        return [Branch(Q(), Allow(policy=str(self)), lambda: principal.user.has_perm(permission))]


class ObjectPermission(_ByPermission, Composable):
    """Django's permissions on one object: ``user.has_perm("app.view_model", row)``.

    Every backend is asked about every row, as django-guardian's and rules' answer; Django's own knows no
    objects and says no. ``gateway.contrib.guardian`` asks about a page at once.
    """

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        permission = self.permission_of(type(operation), resource.model)
        if principal.kind != "user" or permission is None or resource.instance is None:
            return Deny(str(self))
        if asked(lambda: principal.user.has_perm(permission, resource.instance)):
            return Allow(policy=str(self))
        return Deny(f"no {permission} on the object")
