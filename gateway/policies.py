"""Who may do what to which object: Allow with limits, or Deny with a reason. Anything else is a refusal.

Must not sign, record or touch a store. Policies that can be said as a query are asked in the same statement
that reads the row; all others see the row, never the caller's instance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeAlias, get_args

from django.contrib.auth import get_permission_codename, get_user_model
from django.db import InterfaceError, OperationalError, models, router
from django.db.models import Q

from gateway.principals import Principal
from gateway.resources import Resource
from providers.keys import check_key
from providers.types import Download, Upload, UploadForm, UploadPart, is_aware

__all__ = [
    "DEFAULT_POLICY",
    "FILE_POLICY",
    "UPLOAD_POLICY",
    "Allow",
    "Authenticated",
    "Decided",
    "Delete",
    "Deny",
    "Download",
    "DownloadPrefix",
    "Everyone",
    "Failure",
    "Limits",
    "ModelPermission",
    "ObjectPermission",
    "Operation",
    "Owner",
    "Policy",
    "Share",
    "StaffOnly",
    "Update",
    "Upload",
    "UploadForm",
    "UploadPart",
    "evaluate",
    "evaluate_many",
    "visible",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the object and its row."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is known of the object, such as its file name."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class Share:
    """Hand the object on: attach it to another row, or make a share of it."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class DownloadPrefix:
    """Read everything below a prefix that ends in ``/``; never implied by reading one object."""

    key: str

    def __post_init__(self) -> None:
        check_key(self.key.removesuffix("/"))


Operation: TypeAlias = Download | Upload | UploadForm | UploadPart | Delete | Update | Share | DownloadPrefix
OPERATIONS: tuple[type, ...] = get_args(Operation)
UPLOADS = (Upload, UploadForm, UploadPart)
_DISPOSITIONS = frozenset({"inline", "attachment"})
# Not a policy's failure: the question could not be asked, and the answer is 503.
DATABASE_DOWN = (OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an Allow still withholds. None is no limit.

    Attributes:
        max_ttl: the longest lifetime of a link, whole seconds, at least 1.
        until: aware; no link outlives it.
        dispositions: the ones a link may have, of ``inline`` and ``attachment``.
        shareable: one principal's link may be reused for another.

    Raises:
        TypeError, ValueError: a limit that could not be held, so that the policy fails where it says so.
    """

    _: KW_ONLY
    max_ttl: timedelta | None = None
    until: datetime | None = None
    dispositions: frozenset[str] | None = None
    shareable: bool = False

    def __post_init__(self) -> None:
        if self.max_ttl is not None:
            if not isinstance(self.max_ttl, timedelta):
                raise TypeError(f"max_ttl is of type {type(self.max_ttl).__name__}; timedelta")
            if self.max_ttl < timedelta(seconds=1) or self.max_ttl.microseconds:
                raise ValueError(f"max_ttl is {self.max_ttl.total_seconds()} s; whole seconds, at least 1")
        if self.until is not None and not is_aware(self.until):
            raise TypeError(f"until is {self.until!r}; an aware datetime")
        dispositions: Any = self.dispositions
        if dispositions is not None and not (isinstance(dispositions, frozenset) and dispositions <= _DISPOSITIONS):
            raise ValueError(f"dispositions is {dispositions!r}; a frozenset of inline and attachment")
        if type(self.shareable) is not bool:
            raise TypeError(f"shareable is {self.shareable!r}; True or False")

    def __and__(self, other: Limits) -> Limits:
        """Return the tightest of both."""
        dispositions = self.dispositions
        if other.dispositions is not None:
            dispositions = other.dispositions if dispositions is None else dispositions & other.dispositions
        return Limits(
            max_ttl=min((t for t in (self.max_ttl, other.max_ttl) if t is not None), default=None),
            until=min((u for u in (self.until, other.until) if u is not None), default=None),
            dispositions=dispositions,
            shareable=self.shareable and other.shareable,
        )


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes, within limits; ``policy`` names who said so."""

    limits: Limits = NO_LIMITS
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Deny:
    """No; ``reason`` is for the audit, never for the client."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Neither yes nor no: the policy raised or answered something else. A refusal that no ``~`` turns."""

    error: Exception


Decided: TypeAlias = Allow | Deny | Failure


class Policy(Protocol):
    """Decides. Inherit from :class:`Composable` for the operators.

    A policy may also have ``decide_many(principal, resources, operation)``, which answers about all of them in
    order; of the operation only the class is then common to all. And it may have
    ``visible(principal, queryset, operation)``, the rows that it allows.
    """

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny: ...


class Branch(NamedTuple):
    """One way to be allowed: rows that fit the condition are allowed within the limits.

    Attributes:
        when: a question about the principal that costs queries of its own, on a branch without condition;
            asked only where no branch before it fits.
    """

    condition: Q
    allow: Allow
    when: Callable[[], bool] | None = None


class Composable:
    """``a & b``, ``a | b`` and ``~a`` for policies."""

    def __and__(self, other: Any) -> And:
        return And(self, other)

    def __or__(self, other: Any) -> Or:
        return Or(self, other)

    def __invert__(self) -> Not:
        return Not(self)


def evaluate(policy: Any, principal: Principal, resource: Resource, operation: Operation) -> Decided:
    """Ask one policy about one object; whatever is neither Allow nor Deny is a Failure."""
    try:
        return _checked(policy, policy.decide(principal, resource, operation))
    except DATABASE_DOWN:
        raise
    except Exception as error:
        return Failure(error)


def evaluate_many(
    policy: Any, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
) -> list[Decided]:
    """Ask one policy about many objects, together where it can be asked so.

    Args:
        operations: one for each resource, all of one class.
    """
    if isinstance(policy, (And, Or, Not)):
        return policy.evaluate_many(principal, resources, operations)
    decide_many = getattr(policy, "decide_many", None)
    if decide_many is None or not resources:
        return [evaluate(policy, principal, *about) for about in zip(resources, operations, strict=True)]
    try:
        answers = list(decide_many(principal, resources, operations[0]))
        if len(answers) != len(resources):
            raise TypeError(f"{policy} answered {len(answers)} times about {len(resources)} objects")
    except DATABASE_DOWN:
        raise
    except Exception as error:
        return [Failure(error)] * len(resources)
    decided: list[Decided] = []
    for answer in answers:
        try:
            decided.append(_checked(policy, answer))
        except Exception as error:
            decided.append(Failure(error))
    return decided


def branches_of(
    policy: Any, principal: Principal, operation: type, model: type[models.Model] | None
) -> list[Branch] | None:
    """Return the policy as conditions on the row, first match wins; None where it cannot be said so.

    Args:
        operation: the class of the operation, since no row and so no key is known yet.
    """
    branches = getattr(policy, "branches", None)
    answer: list[Branch] | None = None if branches is None else branches(principal, operation, model)
    return None if answer is None else [_checked_branch(policy, branch) for branch in answer]


def visible(
    policy: Any, principal: Principal, queryset: models.QuerySet[Any], operation: type
) -> models.QuerySet[Any] | None:
    """Return the rows that the policy allows, as a query; None where it cannot be said so."""
    own = getattr(policy, "visible", None)
    if own is not None:
        rows: models.QuerySet[Any] = own(principal, queryset, operation)
        return rows
    branches = _settled(branches_of(policy, principal, operation, queryset.model))
    if branches is not None:
        return queryset.filter(_any_of(branches))
    if not isinstance(policy, (And, Or)):
        return None
    left, right = (visible(side, principal, queryset, operation) for side in (policy.left, policy.right))
    if left is None or right is None:
        return None
    one, other = (Q(pk__in=rows.order_by().values("pk")) for rows in (left, right))
    return queryset.filter(one & other if isinstance(policy, And) else one | other)


class Fitting:
    """Finds the branch that allows a row: the first it fits, questions about the principal asked last and once."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._branches = branches
        self._answers: dict[int, bool] = {}

    def branch(self, number: int | None) -> Branch | None:
        """Return the branch for a row whose first fitting condition is ``number``; for no row, ask as for one."""
        for position, branch in enumerate(self._branches):
            if branch.when is None:
                if position == number:
                    return branch
            elif self._answer(position, branch.when):
                return branch
        return None

    def _answer(self, position: int, when: Callable[[], bool]) -> bool:
        if position not in self._answers:
            self._answers[position] = _asked(when)
        return self._answers[position]


def annotate_branch(rows: models.QuerySet[Any], branches: Sequence[Branch]) -> models.QuerySet[Any]:
    """Add ``gateway_branch``: the number of the first branch whose condition the row fits, or null."""
    cases = []
    otherwise: int | None = None
    for number, branch in enumerate(branches):
        if branch.when is not None:
            continue
        if not branch.condition:
            otherwise = number
            break
        cases.append(models.When(branch.condition, then=models.Value(number)))
    annotated: models.QuerySet[Any] = rows.annotate(
        gateway_branch=models.Case(*cases, default=models.Value(otherwise), output_field=models.IntegerField(null=True))
    )
    return annotated


def _settled(branches: Sequence[Branch] | None) -> list[Branch] | None:
    """Ask the questions about the principal now, where a query needs their answers."""
    if branches is None:
        return None
    return [Branch(b.condition, b.allow) for b in branches if b.when is None or _asked(b.when)]


def _asked(when: Callable[[], bool]) -> bool:
    answer: Any = when()
    if type(answer) is not bool:
        # "no" is true.
        raise TypeError(f"a question about the principal was answered {type(answer).__name__}; True or False")
    return bool(answer)


def _any_of(branches: Iterable[Branch]) -> Q:
    condition = Q(pk__in=[])
    for branch in branches:
        if not branch.condition:
            return Q()
        condition |= branch.condition
    return condition


def _checked_branch(policy: Any, branch: Any) -> Branch:
    if not isinstance(branch, Branch) or not isinstance(branch.condition, Q):
        raise TypeError(f"{policy} has a branch that is {type(branch).__name__}; Branch(Q, Allow)")
    allow = _checked(policy, branch.allow)
    if not isinstance(allow, Allow):
        raise TypeError(f"{policy} has a branch that answers {type(allow).__name__}; Allow")
    condition = Q() if _is_empty(branch.condition) else branch.condition
    if branch.when is not None and condition:
        raise TypeError(f"{policy} has a branch with both a condition and a question; one of the two")
    return Branch(condition, allow, branch.when)


def _check_conditions(branches: Iterable[Branch], model: type[models.Model] | None) -> None:
    for branch in branches:
        if model is not None and branch.condition:
            model._base_manager.filter(branch.condition)  # not carried out


def _is_empty(condition: Q) -> bool:
    """Tell whether a condition is none, also in ``Q(Q())``, which is true and yet asks nothing."""
    if not all(isinstance(child, Q) and _is_empty(child) for child in condition.children):
        return False
    if condition.negated:
        raise TypeError("a condition is the opposite of nothing, which a query takes for everything")
    return True


def _checked(policy: Any, answer: Any) -> Allow | Deny:
    if isinstance(answer, Allow):
        if not isinstance(answer.limits, Limits):
            raise TypeError(f"{policy} allows within {type(answer.limits).__name__}; Limits")
        return answer if answer.policy else Allow(answer.limits, str(policy))
    if isinstance(answer, Deny):
        return answer
    raise TypeError(f"{policy} answered {type(answer).__name__}; Allow or Deny")


def _answer(decided: Decided) -> Allow | Deny:
    if isinstance(decided, Failure):
        raise decided.error
    return decided


# Combinators. Three values: Allow, Deny and Failure.


@dataclass(frozen=True, slots=True, eq=False)
class And(Composable):
    """Both allow, within the tightest limits of both. A failure of either is a failure."""

    left: Any
    right: Any

    def __str__(self) -> str:
        return f"({self.left} & {self.right})"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        left = evaluate(self.left, principal, resource, operation)
        return _answer(_and(left, evaluate(self.right, principal, resource, operation)))

    def evaluate_many(
        self, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
    ) -> list[Decided]:
        left = evaluate_many(self.left, principal, resources, operations)
        return list(map(_and, left, evaluate_many(self.right, principal, resources, operations)))

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch] | None:
        left = _settled(branches_of(self.left, principal, operation, model))
        right = _settled(branches_of(self.right, principal, operation, model))
        if left is None or right is None:
            return None
        if not (left and right):
            # No row will be asked, but a condition that is no query must not pass for a Deny: ~ would turn it.
            _check_conditions([*left, *right], model)
        return [
            Branch(one.condition & other.condition, _both(one.allow, other.allow)) for one in left for other in right
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Or(Composable):
    """The first that allows, with its limits alone. A failure is logged, and counts where none allows."""

    left: Any
    right: Any

    def __str__(self) -> str:
        return f"({self.left} | {self.right})"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        left = evaluate(self.left, principal, resource, operation)
        if isinstance(left, Allow):
            return left
        return _answer(_or(left, evaluate(self.right, principal, resource, operation)))

    def evaluate_many(
        self, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
    ) -> list[Decided]:
        decided = evaluate_many(self.left, principal, resources, operations)
        open_ = [number for number, left in enumerate(decided) if not isinstance(left, Allow)]
        right = evaluate_many(self.right, principal, [resources[n] for n in open_], [operations[n] for n in open_])
        for number, answer in zip(open_, right, strict=True):
            decided[number] = _or(decided[number], answer)
        return decided

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch] | None:
        left = branches_of(self.left, principal, operation, model)
        right = branches_of(self.right, principal, operation, model)
        return None if left is None or right is None else left + right


@dataclass(frozen=True, slots=True, eq=False)
class Not(Composable):
    """Allows what the other denies. A failure stays a failure."""

    policy: Any

    def __str__(self) -> str:
        return f"~{self.policy}"

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        return _answer(self._not(evaluate(self.policy, principal, resource, operation)))

    def evaluate_many(
        self, principal: Principal, resources: Sequence[Resource], operations: Sequence[Operation]
    ) -> list[Decided]:
        return list(map(self._not, evaluate_many(self.policy, principal, resources, operations)))

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch] | None:
        inner = _settled(branches_of(self.policy, principal, operation, model))
        if inner is None:
            return None
        if any(not branch.condition for branch in inner):
            return []
        if model is None or not inner:
            return [Branch(Q(), Allow(policy=str(self)))]
        # Of a row, a condition may be unknown (null), and so would be its negation; no row exists by halves.
        return [Branch(~_on_row(model, _any_of(inner)), Allow(policy=str(self)))]

    def _not(self, decided: Decided) -> Decided:
        match decided:
            case Allow():
                return Deny(f"{decided.policy} allows")
            case Deny():
                return Allow(policy=str(self))
            case Failure():
                return decided


def _and(left: Decided, right: Decided) -> Decided:
    for decided in (left, right):
        if isinstance(decided, Failure):
            return decided
    for decided in (left, right):
        if isinstance(decided, Deny):
            return decided
    assert isinstance(left, Allow)
    assert isinstance(right, Allow)
    return _both(left, right)


def _or(left: Decided, right: Decided) -> Decided:
    if isinstance(left, Failure) and isinstance(right, Allow):
        logger.error("a policy failed beside one that allows: %s", type(left.error).__name__)
    for decided in (left, right):
        if isinstance(decided, Allow):
            return decided
    for decided in (left, right):
        if isinstance(decided, Failure):
            return decided
    return left


def _both(left: Allow, right: Allow) -> Allow:
    return Allow(left.limits & right.limits, f"({left.policy} & {right.policy})")


# Built-in policies.


class RowPolicy(Composable):
    """A policy that is wholly conditions on the row and facts about the principal."""

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        """Return the ways to be allowed; a condition must not repeat the row (see :func:`_on_row`)."""
        raise TypeError(f"{type(self).__name__} does not say its branches")

    def decide(self, principal: Principal, resource: Resource, operation: Operation) -> Allow | Deny:
        return self.decide_many(principal, [resource], operation)[0]

    def decide_many(
        self, principal: Principal, resources: Sequence[Resource], operation: Operation
    ) -> list[Allow | Deny]:
        answers: dict[int, Allow | Deny] = {}
        by_model: dict[type[models.Model] | None, list[int]] = {}
        for number, resource in enumerate(resources):
            by_model.setdefault(resource.model, []).append(number)
        for model, numbers in by_model.items():
            branches = _settled(branches_of(self, principal, type(operation), model)) or []
            if branches and not branches[0].condition:
                answers |= dict.fromkeys(numbers, branches[0].allow)
            elif not branches or model is None:
                answers |= dict.fromkeys(numbers, Deny(str(self)))
            else:
                rows = model._base_manager.using(router.db_for_write(model))
                rows = rows.filter(pk__in={resources[number].pk for number in numbers})
                fits = dict(annotate_branch(rows, branches).values_list("pk", "gateway_branch"))
                for number in numbers:
                    fit = fits.get(resources[number].pk)
                    answers[number] = Deny(str(self)) if fit is None else branches[fit].allow
        return [answers[number] for number in range(len(resources))]

    def _everywhere(self) -> list[Branch]:
        return [Branch(Q(), Allow(policy=str(self)))]


def _on_row(model: type[models.Model], condition: Q) -> Q:
    """Say a condition without joins: a join to many would repeat the row, or mix two conditions."""
    rows = model._base_manager.using(router.db_for_write(model)).filter(pk=models.OuterRef("pk"))
    return Q(models.Exists(rows.filter(condition)))


def _path_to_user(model: type[models.Model], path: str) -> list[Any]:
    """Return the fields of a lookup path that ends at a user, or at a user's key.

    Raises:
        FieldDoesNotExist: there is no such path.
        TypeError: it ends elsewhere; the number of a project is no user's.
    """
    target: Any = model
    fields: list[Any] = []
    for name in path.split("__"):
        field: Any = target._meta.pk if name == "pk" else target._meta.get_field(name)
        fields.append(field)
        if field.is_relation:
            target = field.related_model
        elif not field.primary_key:
            raise TypeError(f"{path!r} leads to {field}; a user")
    if target._meta.concrete_model is not get_user_model()._meta.concrete_model:
        raise TypeError(f"{path!r} leads to {target._meta.label}; a user")
    return fields


def _check_operations(operations: Iterable[type]) -> frozenset[type]:
    chosen = frozenset(operations)
    if unknown := chosen - frozenset(OPERATIONS):
        names = ", ".join(operation.__name__ for operation in OPERATIONS)
        raise TypeError(f"operations hold {sorted(map(repr, unknown))}; only {names}")
    return chosen


class _ByPrincipal(RowPolicy):
    """Allows some operations on every object to some principals."""

    def __init__(self, *, operations: Iterable[type] = (Download,)) -> None:
        self.operations = _check_operations(operations)

    def __str__(self) -> str:
        return type(self).__name__

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        return self._everywhere() if operation in self.operations and self._fits(principal) else []

    def _fits(self, principal: Principal) -> bool:
        return False


class Everyone(_ByPrincipal):
    """Anybody, the anonymous included; only reading unless ``operations`` says otherwise."""

    def _fits(self, principal: Principal) -> bool:
        return True


class Authenticated(_ByPrincipal):
    """Any user; only reading unless ``operations`` says otherwise."""

    def _fits(self, principal: Principal) -> bool:
        return principal.kind == "user"


class StaffOnly(_ByPrincipal):
    """Users with ``is_staff``; only reading unless ``operations`` says otherwise."""

    def _fits(self, principal: Principal) -> bool:
        return principal.kind == "user" and bool(principal.user.is_staff)


class Owner(RowPolicy):
    """The user that the row's path leads to: ``Owner("author")``, ``Owner("project__members")``.

    Args:
        path: Django lookup path from the row to a user; one that leads elsewhere is a failure.
        operations: what an owner may do; only reading unless said otherwise.
    """

    def __init__(self, path: str, *, operations: Iterable[type] = (Download,)) -> None:
        self.path = path
        self.operations = _check_operations(operations)

    def __str__(self) -> str:
        return f"Owner({self.path!r})"

    def branches(self, principal: Principal, operation: type, model: type[models.Model] | None) -> list[Branch]:
        if principal.kind != "user" or operation not in self.operations or model is None:
            return []
        fields = _path_to_user(model, self.path)
        user = principal.user
        if user.pk is None:
            return []  # to a query, None is every row without an owner
        # A foreign key may refer to another field than the key: the query takes it from the user.
        by_user = fields[-1].is_relation and isinstance(user, models.Model)
        condition = Q(**{self.path: user if by_user else user.pk})
        direct = len(fields) == 1 and not (fields[0].many_to_many or fields[0].one_to_many)
        return [Branch(condition if direct else _on_row(model, condition), Allow(policy=str(self)))]


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
        if _asked(lambda: principal.user.has_perm(permission, resource.instance)):
            return Allow(policy=str(self))
        return Deny(f"no {permission} on the object")


DEFAULT_POLICY = ModelPermission("view")
FILE_POLICY = Owner("owner", operations=(Download, Update, Delete, Share)) | ModelPermission("view")
# Of the service's own files, which belong to whoever uploads them.
UPLOAD_POLICY = Authenticated(operations=UPLOADS)
