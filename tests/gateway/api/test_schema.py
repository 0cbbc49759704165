"""The checker itself: what it lets pass, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.api.schema import conforms

DOCUMENT = {"parts": {"Name": {"type": "string"}}}
OBJECT = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}

CONFORMS = {
    "object": ({"a": 1}, OBJECT),
    "null": (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    "reference": ("a", {"$ref": "#/parts/Name"}),
    "instant": ("2026-11-22T06:05:00Z", {"format": "date-time", "type": "string"}),
}
DEVIATES = {
    "missing": ({}, OBJECT),
    "undocumented": ({"a": 1, "b": 2}, OBJECT),
    "true is no number": ({"a": True}, OBJECT),
    "text is no number": ({"a": "1"}, OBJECT),
    "none of any": (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    "behind a reference": (1, {"$ref": "#/parts/Name"}),
    "in a list": ([1, "a"], {"type": "array", "items": {"type": "integer"}}),
    "in a map": ({"a": 1}, {"type": "object", "additionalProperties": {"type": "string"}}),
    "too small": (0, {"minimum": 1}),
    "too large": (2, {"maximum": 1}),
    "another constant": ("a", {"const": "b"}),
    "none of the values": ("a", {"enum": ["b"]}),
    "unknown keyword": ("a", {"pattern": "b"}),
}


@pytest.mark.parametrize(("value", "schema"), CONFORMS.values(), ids=CONFORMS)
def test_what_fits_passes(value: Any, schema: Any) -> None:
    conforms(value, schema, DOCUMENT)


@pytest.mark.parametrize(("value", "schema"), DEVIATES.values(), ids=DEVIATES)
def test_what_does_not_fit_is_found(value: Any, schema: Any) -> None:
    with pytest.raises(AssertionError):
        conforms(value, schema, DOCUMENT)


@pytest.mark.parametrize(("value", "kind"), [("soon", "date-time"), ("1", "uuid")], ids=["instant", "uuid"])
def test_formats_are_checked(value: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        conforms(value, {"format": kind}, DOCUMENT)
