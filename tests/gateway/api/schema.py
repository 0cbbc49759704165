"""JSON Schema as far as our document uses it: a keyword that is not known here fails, so nothing goes unchecked.

Source: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

ANNOTATIONS = frozenset({"title", "description", "default", "examples"})
TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}


def conforms(value: Any, schema: dict[str, Any], document: Any, place: str = "$") -> None:
    """Check a value against a schema of an OpenAPI document.

    Raises:
        AssertionError: it is not what the schema says; the message names the place.
    """
    # The type comes first: what follows takes it for granted.
    for keyword, wanted in sorted(schema.items(), key=lambda item: item[0] != "type"):
        match keyword:
            case "$ref":
                conforms(value, _referenced(wanted, document), document, place)
            case "anyOf":
                assert any(_fits(value, one, document) for one in wanted), f"{place}: {value!r} is none of anyOf"
            case "type":
                is_type = isinstance(value, TYPES[wanted]) and not (wanted != "boolean" and isinstance(value, bool))
                assert is_type, f"{place}: {value!r} is no {wanted}"
            case "const":
                assert value == wanted, f"{place}: {value!r} is not {wanted!r}"
            case "enum":
                assert value in wanted, f"{place}: {value!r} is not one of {wanted!r}"
            case "format":
                {"date-time": datetime.fromisoformat, "uuid": UUID}[wanted](value)
            case "minimum":
                assert value >= wanted, f"{place}: {value!r} is less than {wanted}"
            case "maximum":
                assert value <= wanted, f"{place}: {value!r} is more than {wanted}"
            case "items":
                for number, item in enumerate(value):
                    conforms(item, wanted, document, f"{place}[{number}]")
            case "required":
                assert set(wanted) <= set(value), f"{place}: {sorted(set(wanted) - set(value))} are missing"
            case "properties":
                for name in set(wanted) & set(value):
                    conforms(value[name], wanted[name], document, f"{place}.{name}")
            case "additionalProperties":
                for name in set(value) - set(schema.get("properties", {})):
                    assert wanted is not False, f"{place}: {name!r} is not documented"
                    conforms(value[name], wanted, document, f"{place}.{name}")
            case _:
                assert keyword in ANNOTATIONS, f"{place}: keyword {keyword!r} is not checked here"


def _fits(value: Any, schema: dict[str, Any], document: Any) -> bool:
    try:
        conforms(value, schema, document)
    except AssertionError:
        return False
    return True


def _referenced(reference: str, document: Any) -> Any:
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found
