"""Checks of who decides: policies, authenticators, the tenant, and the file fields that they decide about.

Must not ask any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.apps import apps
from django.core.checks import CheckMessage
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, SuspiciousFileOperation
from django.db import models

from gateway.checks.messages import check, found
from gateway.checks.reading import aliases, conf_or_none, file_fields, is_private
from gateway.conf import resolve
from gateway.errors import StorageUnavailable
from gateway.fields import PrivateFieldFile, PrivateFileField
from gateway.links import policy_for
from gateway.models import File

# Where a path from a row to its user leads is said once, there.
from gateway.policies import And, Not, Or, Owner
from gateway.policies.owner import path_to_user
from gateway.resources import Resource, alias_of
from gateway.storages import StorageByAlias
from gateway.storages.minting import MintedName, hashed_key, mint, per_owner, random_key, random_segment
from providers.errors import InvalidKey


@check()
def check_policies() -> Iterator[CheckMessage]:
    given = conf_or_none()
    if given is None:
        return
    named: list[tuple[str, Any, Any]] = [("GATEWAY['DEFAULT_POLICY']", given.default_policy, None)]
    tables = {
        "POLICIES": given.policies,
        "STORAGE_POLICIES": given.storage_policies,
        "PATH_POLICIES": given.path_policies,
    }
    for key, policies in tables.items():
        named += [(f"GATEWAY[{key!r}][{label!r}]", policy, None) for label, policy in policies.items()]
    named += [("policy", policy, one) for one in file_fields() if (policy := getattr(one, "policy", None))]
    for name, value, obj in named:
        if problem := _problem(value, "decide"):
            yield found("E060", f"{name} is {problem}.", obj)
    for path in given.authenticators:
        if problem := _problem(path, "authenticate", has="reads_authorization"):
            yield found("E061", f"GATEWAY['AUTHENTICATORS'] has {problem}.")
    if given.tenant is not None and (problem := _problem(given.tenant, "of_principal", "of_row")):
        yield found("E062", f"GATEWAY['TENANT'] is {problem}.")


def _problem(value: Any, *methods: str, has: str | None = None) -> str | None:
    try:
        target = resolve(value)
    except Exception as error:
        return f"{value!r}, which cannot be had: {type(error).__name__}: {error}"
    if isinstance(target, type):
        return f"{value!r}, a class; an instance or a dotted path"
    missing = [f"{name}()" for name in methods if not callable(getattr(target, name, None))]
    if has is not None and not hasattr(target, has):
        missing.append(has)
    return f"{value!r}, which has no {' and no '.join(missing)}" if missing else None


@check()
def check_policy_labels() -> Iterator[CheckMessage]:
    given = conf_or_none()
    if given is None:
        return
    for label in given.policies:
        if problem := _label_problem(label):
            yield found("E063", f"GATEWAY['POLICIES'] has {label!r}, {problem}.")
    by_name = {alias.name: alias for alias in aliases()}
    for key, named in (("PATH_POLICIES", given.path_policies), ("STORAGE_POLICIES", given.storage_policies)):
        for name in named:
            if name not in by_name:
                yield found("E064", f"GATEWAY[{key!r}] has {name!r}, which STORAGES has not.")
            elif by_name[name].error is None and not by_name[name].is_private:
                yield found("E064", f"GATEWAY[{key!r}] has {name!r}, which is not a private storage.")


def _label_problem(label: str) -> str | None:
    model_label, _, field_name = label.partition(".")[2].partition(".")
    try:
        model = apps.get_model(label.partition(".")[0], model_label)
    except (LookupError, ValueError):
        return "which names no model"
    if field_name:
        try:
            one = model._meta.get_field(field_name)
        except FieldDoesNotExist:
            return "which names no field"
        if not isinstance(one, models.FileField):
            return "which is no file field"
        if is_private(one) is False:
            return "whose storage is not private, so that no policy is asked"
        right = f"{_row_model(one)._meta.label}.{one.attname}"
        if label == right and getattr(one, "policy", None) is not None:
            return "whose field has a policy of its own, which is asked instead"
    else:
        fields = [one for one in model._meta.local_concrete_fields if isinstance(one, models.FileField)]
        if model is not File and all(is_private(one) is False for one in fields):
            return "a model without a private file field of its own"
        right = model._meta.label
    return None if label == right else f"which nobody asks for; it is {right!r}"


# What an object's version and its mark take on every store that is known; S3's may have 1024 characters.
VERSION_CHARACTERS = 255


@check()
def check_fields() -> Iterator[CheckMessage]:
    for one in file_fields():
        private = is_private(one)
        if problem := _storage_problem(one):
            yield found("E067", problem, one)
        elif private is False and isinstance(one, PrivateFileField):
            yield found("E068", f"The field is a {type(one).__name__}, and its storage is not private.", one)
        if not private:
            continue
        attr_class: Any = one.attr_class
        if not (isinstance(attr_class, type) and issubclass(attr_class, PrivateFieldFile)):
            yield found("E066", f"The field's attr_class is {attr_class!r}.", one)
        if problem := _name_problem(one):
            yield found("E069", f"No file can be saved: {problem}.", one)
        if problem := _version_problem(one):
            yield found("E071", f"The field's version_field is {problem}.", one)
        for owner in _owners(_policy_of(one)):
            try:
                path_to_user(_row_model(one), owner.path)
            except (FieldDoesNotExist, TypeError) as error:
                yield found("E065", f"{owner} decides about the field: {error}.", one)


def _storage_problem(one: models.FileField) -> str | None:
    storage: Any = one.storage
    try:
        if type(storage) is not StorageByAlias:
            if is_private(one):
                alias_of(storage)
        elif storage._alias is not None and storage.alias not in {alias.name for alias in aliases()}:
            return f"The storage is {storage.alias!r}, which STORAGES has not."
    except StorageUnavailable as error:
        return f"{error}."
    except ImproperlyConfigured:
        return None  # GATEWAY or STORAGES itself, which have checks of their own
    return None


def _name_problem(one: models.FileField) -> str | None:
    """Mint a name as a save does; where ``upload_to`` asks the row, the shortest that it could give."""
    upload_to: Any = one.upload_to
    try:
        if upload_to in (random_key, hashed_key):
            name: str = random_key(None, "name.txt")
        elif isinstance(upload_to, per_owner):
            name = MintedName(f"uploads/1/{random_segment()}/name.txt")
        else:
            name = "d/name.txt" if callable(upload_to) else one.generate_filename(cast("Any", None), "name.txt")
        # What is no number, Django's own check names.
        mint(name, one.max_length if isinstance(one.max_length, int) else None)
    except (InvalidKey, SuspiciousFileOperation) as error:
        return str(error)
    return None


def _version_problem(one: models.FileField) -> str | None:
    name = getattr(one, "version_field", None)
    if name is None:
        return None
    try:
        column = one.model._meta.get_field(name)
    except FieldDoesNotExist:
        return f"{name!r}, which the model has not"
    if not isinstance(column, models.CharField) or isinstance(column, models.FileField):
        return f"{name!r}, which is no CharField"
    longest = column.max_length
    if longest is not None and longest < VERSION_CHARACTERS:
        return f"{name!r}, whose max_length is {longest}; at least {VERSION_CHARACTERS}"
    return None


def _policy_of(one: models.FileField) -> Any:
    try:
        return policy_for(Resource(storage_alias="", key=None, model=_row_model(one), field=one.attname))
    except Exception:
        return None  # the checks of GATEWAY and of policies name it


def _owners(policy: Any) -> Iterator[Owner]:
    match policy:
        case And() | Or():
            yield from _owners(policy.left)
            yield from _owners(policy.right)
        case Not():
            yield from _owners(policy.policy)
        case Owner():
            yield policy


def _row_model(one: models.FileField) -> type[models.Model]:
    return cast("type[models.Model]", one.model._meta.concrete_model)
