"""The tree of errors: every class has a code of its own, and the drawing shows the tree as it is."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from providers import errors
from providers.errors import InvalidInput, LinkRefused, ProviderError

# Clients and logs depend on these: a code may be added, never changed.
CODES = {
    "ProviderError": "provider_error",
    "InvalidInput": "invalid_input",
    "InvalidKey": "invalid_key",
    "InvalidTTL": "invalid_ttl",
    "InvalidOperation": "invalid_operation",
    "UnsupportedOperation": "unsupported_operation",
    "InvalidConfiguration": "invalid_configuration",
    "CredentialError": "credential_error",
    "CredentialsUnavailable": "credentials_unavailable",
    "CredentialsExpired": "credentials_expired",
    "LinkRefused": "link_refused",
}


def classes() -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, Exception) and member.__module__ == errors.__name__
    }


def drawn_tree() -> dict[str, str | None]:
    """Read the drawing in the docstring: class -> the class above it."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + ("── " in line)
        above[depth:] = [match[2]]
        parents[match[2]] = above[depth - 1] if depth else None
    return parents


def test_every_class_has_its_stable_code() -> None:
    assert {name: error.code for name, error in classes().items()} == CODES
    for error in classes().values():
        assert "code" in vars(error), f"{error.__name__} inherits its code"


def test_codes_are_unique_and_spelt_alike() -> None:
    codes = [error.code for error in classes().values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_the_drawing_is_the_tree() -> None:
    tree = {name: None if error is ProviderError else error.__mro__[1].__name__ for name, error in classes().items()}
    assert drawn_tree() == tree


def test_one_base_catches_everything_and_input_is_a_value_error() -> None:
    for error in classes().values():
        assert issubclass(error, ProviderError)
        # Signing must never raise what templates and serialisers swallow.
        assert not issubclass(error, AttributeError | LookupError | TypeError)
        assert issubclass(error, ValueError) == issubclass(error, InvalidInput)


def test_all_is_sorted_and_complete() -> None:
    assert errors.__all__ == sorted(classes())


def test_a_refused_link_keeps_its_reason_for_the_log() -> None:
    with pytest.raises(LinkRefused) as refusal:
        raise LinkRefused("expired")
    assert refusal.value.reason == "expired"
    assert refusal.value.code == "link_refused"
