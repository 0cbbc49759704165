"""Which policy decides about a resource, and whether a client may name it.

Must not ask the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.conf import conf, resolve
from gateway.models import File
from gateway.policies import (
    FILE_POLICY,
)
from gateway.resources import Resource

__all__ = ["choose", "may_be_named", "policy_for"]


def policy_for(resource: Resource) -> Any:
    """Return the policy that decides about a resource: of its field, its model, its storage, or the default.

    Only a host's rows are asked about by storage: in which one a file of the service lies, its row says.
    """
    return choose(resource)


def choose(resource: Resource) -> Any:
    """What :func:`policy_for` asks; ``gateway.testing`` puts another in its place."""
    settings = conf()
    if resource.model is None:
        by_path = settings.upload_policy if resource.is_new else settings.path_policies.get(resource.storage_alias)
        return resolve(by_path)
    own = _own_policy(resource)
    for label in _labels(resource):
        own = own if own is not None else settings.policies.get(label)
    if own is None and resource.model is File:
        own = FILE_POLICY
    elif own is None:
        own = settings.storage_policies.get(resource.storage_alias)
    return resolve(settings.default_policy if own is None else own)


def may_be_named(resource: Resource) -> bool:
    """Tell whether a client's reference may name this field: only where a policy was chosen for it."""
    if resource.model is File:
        return True
    assert resource.model is not None
    return _own_policy(resource) is not None or any(label in conf().policies for label in _labels(resource))


def _own_policy(resource: Resource) -> Any:
    return getattr(_deciding_field(resource), "policy", None)


def _labels(resource: Resource) -> Iterator[str]:
    """Yield what ``POLICIES`` may name a resource by, the nearest first."""
    assert resource.model is not None
    field = _deciding_field(resource)
    yield resource.model._meta.label if field is None else f"{resource.model._meta.label}.{field.attname}"
    yield resource.model._meta.label


def _deciding_field(resource: Resource) -> Any:
    """Return the field whose policy decides: of a smaller picture the one that it was made of."""
    assert resource.model is not None
    if not resource.field:
        return None
    field: Any = resource.model._meta.get_field(resource.field)
    original = getattr(field, "rendition_of", "")
    return resource.model._meta.get_field(original) if original else field
