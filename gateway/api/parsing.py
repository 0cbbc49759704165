"""One strict reading of bodies and queries: what is not exactly right is refused, and said how.

Must not guess, convert or ignore anything that a client sends.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

from django.http import HttpRequest, QueryDict
from pydantic import BaseModel, ValidationError

from gateway.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType

__all__ = ["MAX_BODY_BYTES", "check_media_type", "loads", "read_json", "read_query", "refuse_query", "shortened"]

MAX_BODY_BYTES = 64 * 2**10
MAX_DEPTH = 8  # no document of the API is deeper than four
_SHOWN_CHARACTERS = 60
_JSON = "application/json"
# Neither has a place in any value, PostgreSQL cannot store NUL, and a lone surrogate is no text at all.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")

# Where pydantic speaks of Python; elsewhere it says the bound itself.
_BOUNDS = {
    "extra_forbidden": "there is no such field",
    "missing": "it is needed",
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "value_error": "digits alone",
}

T = TypeVar("T", bound=BaseModel)


def read_json(request: HttpRequest, schema: type[T], *, max_bytes: int = MAX_BODY_BYTES) -> T:
    """Read a JSON body as one of the schemas.

    Args:
        max_bytes: no byte beyond it is read or parsed.

    Raises:
        UnsupportedMediaType: it is not ``application/json``.
        BodyTooLarge: it has more bytes than ``max_bytes``.
        InvalidRequest: it is not JSON, or not of the schema; the message names the value and the bound.
    """
    check_media_type(request, _JSON)
    body = request.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise BodyTooLarge(f"the body has more than {max_bytes} bytes; at most {max_bytes}")
    return validated(schema, loads(body))


def read_query(request: HttpRequest, schema: type[T]) -> T:
    """Read the query string as one of the schemas, each parameter once at most.

    Raises:
        InvalidRequest: an unknown or repeated parameter, or one out of bounds.
    """
    return validated(schema, _once_each(request.GET))


def refuse_query(request: HttpRequest) -> None:
    """Refuse query parameters where none has a meaning.

    Raises:
        InvalidRequest: there is one.
    """
    if request.META.get("QUERY_STRING") and request.GET:
        raise InvalidRequest(f"parameter {shortened(next(iter(request.GET)))} is unknown; this address has none")


def check_media_type(request: HttpRequest, media_type: str) -> None:
    """Refuse a body of another type than the one that is read here.

    Raises:
        UnsupportedMediaType: it is of another type, or in another charset than UTF-8.
    """
    charset = (request.content_params or {}).get("charset", "utf-8")
    if request.content_type != media_type or charset.lower() != "utf-8":
        given = shortened(request.META.get("CONTENT_TYPE", ""))
        raise UnsupportedMediaType(f"the media type is {given}; {media_type} in UTF-8")


def loads(body: bytes) -> Any:
    """Parse JSON as RFC 8259 has it, and nothing that parsers commonly forgive.

    Raises:
        InvalidRequest: anything else, by the first thing that is wrong.

    Source: https://www.rfc-editor.org/rfc/rfc8259
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8 from byte {error.start} on") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except InvalidRequest:
        raise
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        # Python reads no number of more digits, since that would take quadratic time.
        raise InvalidRequest("the body holds a number of more than 4300 digits") from None
    _check_texts(value, MAX_DEPTH)
    return value


def validated(schema: type[T], value: Any) -> T:
    """Return the value as an instance of the schema.

    Raises:
        InvalidRequest: it is not one; the message names the place, the value and the bound.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    place = shortened(".".join(map(str, first["loc"]))) if first["loc"] else "the body"
    bound = _BOUNDS.get(first["type"]) or first["msg"][0].lower() + first["msg"][1:]
    given = "" if first["type"] == "missing" else f" is {shortened(first['input'])}"
    raise InvalidRequest(f"{place}{given}; {bound}")


def shortened(value: Any) -> str:
    """Return a client's value as it may be repeated to it: ASCII, on one line, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _once_each(values: QueryDict) -> dict[str, Any]:
    for name, given in values.lists():
        if len(given) > 1:
            raise InvalidRequest(f"parameter {shortened(name)} is there {len(given)} times; once at most")
    result: dict[str, Any] = values.dict()
    _check_texts(result, 1)
    return result


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise InvalidRequest(f"field {shortened(name)} is there more than once; once at most")
        result[name] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"the body holds {name}; JSON has no such number")


def _check_texts(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if _NO_TEXT.search(value):
            raise InvalidRequest(f"the text {shortened(value)} holds NUL or a lone surrogate")
    elif isinstance(value, (dict, list)):
        if depth == 0:
            raise _too_deep()
        for item in value:
            _check_texts(item, depth - 1)
        if isinstance(value, dict):
            for item in value.values():
                _check_texts(item, depth - 1)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body is nested too deeply; at most {MAX_DEPTH} levels")
