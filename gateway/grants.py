"""The policy on stored grants: who was given what, row by row, for how long and within which limits.

Must not make or end a grant: that is done in the admin, by ``manage.py gateway_grant`` or in code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import models, router
from django.db.models import F, OuterRef, Q
from django.db.models.functions import Cast, Length, Substr
from django.utils import timezone

from gateway.epochs import object_targets
from gateway.models import File, Grant
from gateway.policies import Allow, Composable, Deny, Limits, Operation
from gateway.principals import Principal
from gateway.resources import Resource, alias_of

__all__ = ["GrantPolicy"]


class GrantPolicy(Composable):
    """Allows what a :class:`~gateway.models.Grant` to the user, one of the user's groups or the token says.

    Of several the one for the object itself decides, else that of the longest prefix; among these one to the
    token before one to the user before one to a group, and then the newest. It decides with its limits alone.
    """

    def __init__(self, *, field: str = "") -> None:
        """Take the name of the file field, for ``visible()`` of a model that has several."""
        self.field = field

    def __str__(self) -> str:
        return "GrantPolicy"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        return self.decide_many(principal, [resource], operation)[0]

    def decide_many(
        self, principal: Principal, resources: Sequence[Resource], operation: Operation
    ) -> list[Allow | Deny]:
        """Answer about all of them in one query."""
        targets = [_targets(resource) for resource in resources]
        if principal.kind != "user" or not targets:
            return [Deny("no grant") for _ in resources]
        keys = {key for one in targets for key in one}
        aliases = {resource.storage_alias for resource in resources}
        found: dict[tuple[str, str], Grant] = {}
        # The better of two comes later, and takes the other's place.
        for grant in sorted(self._grants(principal, keys, aliases), key=_rank):
            if type(operation).__name__ in grant.operations:
                found[grant.storage_alias, grant.key] = grant
        answers: list[Allow | Deny] = []
        for resource, one in zip(resources, targets, strict=True):
            grants = (found.get((resource.storage_alias, key)) for key in one)
            best = next((grant for grant in grants if grant is not None), None)
            answers.append(Deny("no grant") if best is None else _allow(best))
        return answers

    def visible(
        self, principal: Principal, queryset: models.QuerySet[Any], operation: type
    ) -> models.QuerySet[Any] | None:
        """Return the rows to whose files there is a grant; None where it is unclear which file is meant."""
        alias, column = self._columns(queryset.model)
        if column is None:
            return None
        if principal.kind != "user":
            return queryset.none()
        grants: Any = _valid(principal).annotate(names=Cast("operations", models.TextField()))
        grants = grants.filter(names__contains=f'"{operation.__name__}"', storage_alias=alias)
        # A LIKE would take capitals for small letters in some databases.
        below = grants.annotate(start=Substr(OuterRef(column), 1, Length("key")))
        below = below.filter(start=F("key"), key__endswith="/")
        return queryset.filter(
            Q(models.Exists(grants.filter(key=OuterRef(column)))) | Q(models.Exists(below)),
        )

    def _columns(self, model: type[models.Model]) -> tuple[Any, str | None]:
        if model is File:
            return OuterRef("storage_alias"), "key"
        fields = [
            field
            for field in model._meta.concrete_fields
            if isinstance(field, models.FileField) and self.field in ("", field.name)
        ]
        return ("", None) if len(fields) != 1 else (alias_of(fields[0].storage), fields[0].attname)

    def _grants(self, principal: Principal, keys: Iterable[str], aliases: Iterable[str]) -> models.QuerySet[Grant]:
        return _valid(principal).filter(key__in=keys, storage_alias__in=aliases)


def _targets(resource: Resource) -> list[str]:
    """Return the object's key and all prefixes above it, the longest first."""
    skipped = len(resource.storage_alias) + 1
    named = [target[skipped:] for target in object_targets(resource.storage_alias, resource.key or "")]
    return sorted(named, key=len, reverse=True)


def _valid(principal: Principal) -> models.QuerySet[Grant]:
    to = Q(user=principal.user.pk)
    if hasattr(principal.user, "groups"):
        to |= Q(group__in=principal.user.groups.order_by().values("pk"))
    # The token of another issuer is no row.
    if principal.token is not None and not principal.token._state.adding:
        to |= Q(token=principal.token.pk)
    now = timezone.now()
    rows = Grant.objects.using(router.db_for_write(Grant))
    return rows.filter(to).filter(Q(until=None) | Q(until__gt=now))


def _rank(grant: Grant) -> Any:
    return grant.token_id is not None, grant.user_id is not None, grant.created_at, grant.pk


def _allow(grant: Grant) -> Allow:
    until = grant.until
    if until is not None and timezone.is_naive(until):
        until = timezone.make_aware(until)
    limits = Limits(
        max_ttl=None if grant.max_ttl_seconds is None else timedelta(seconds=grant.max_ttl_seconds),
        until=until,
        dispositions=None if grant.dispositions is None else frozenset(grant.dispositions),
    )
    return Allow(limits, f"grant {grant.pk}")
