"""Takes signatures, tokens and cookies out of text, log records and error reports before they leave the process.

Knows how secrets are spelt, not where they come from. Must not import Django: logging is set up before it is.
"""

from __future__ import annotations

import html
import logging
import re
import traceback
from collections.abc import Iterable
from typing import Any

__all__ = ["MARK", "RedactionFilter", "redact", "redact_event"]

MARK = "***"

_CUT = "(nested too deeply)"
_MAX_DEPTH = 100
# As written; encoded once, and twice (a link inside a link); and once more for the JSON or HTML around it.
_LEVELS = 4
# What is hidden may have held a quote that kept two others apart. Two are enough for all but made-up text.
_PASSES = 4

# Names of secret values, of which any may be the end of a longer one: X-Amz-Signature, csrftoken, SessionToken.
# X-Amz-Credential and X-Goog-Credential are not among them: they say which key signed, as an audit does.
_NAME = (
    r"(?:signature|token|(?<![a-z0-9])sig|sessionid|session[-_]?key|api[-_]?key"
    r"|secret(?:(?:[-_]?access)?[-_]?keys?)?|(?:account|shared[-_]?access|private)[-_]?key|passw(?:or)?d[12]?)"
)
_HEADER = r"(?<![a-z0-9])(?:(?:proxy[-_])?authorization|(?:set[-_])?cookies?)"
_SCHEME = r"(?:(?:bearer|basic|digest|token|sharedkey|aws|aws4-hmac-sha256|goog4-[a-z0-9\-]{1,20})\s{1,8})?"
# The policy of an upload form holds the session token again. It is base64 of a JSON object.
_POLICY = r"(?<![a-z0-9])(?:cloudfront[-_])?policy"
_DOCUMENT = r"e[wy][\w\-+/=~]{14,}"

_QUOTE = r"[\"'`]"
# Between a name and its value: `=`, `: `, `": "`, `', b'`, `": ["`, `" value="` and, in form data, an empty line.
# Bounded, so that a run of blanks is not read over and over.
_TO_VALUE = (
    rf"(?:{_QUOTE}?\s{{0,8}}(?:[:=]|=>)\s{{0,8}}|{_QUOTE}\s{{0,8}},\s{{0,8}}|{_QUOTE}\s{{1,8}}value\s?=\s?"
    rf"|{_QUOTE}\r?\n\r?\n)[\[({{]?"
)
_WORD = r"[^\s&;,\"'`<>()\[\]{}|\\^]+"
_LINE = r"[^\r\n]+"


def _value(name: str, unquoted: str, scheme: str = "") -> str:
    """Write the pattern of a value: within quotes up to their end, else ``unquoted``."""
    mark = f"{name}_mark"
    quoted = rf"b?(?P<{mark}>{_QUOTE}){scheme}(?P<{name}_quoted>(?:\\.|(?!(?P={mark}))[^\r\n\\])+)"
    return rf"(?:{quoted}|{scheme}(?P<{name}>{unquoted}))"


# The group that matched last is what is hidden.
_SECRET = re.compile(
    rf"{_NAME}{_TO_VALUE}{_value('word', _WORD)}"
    rf"|{_HEADER}{_TO_VALUE}{_value('line', _LINE, _SCHEME)}"
    rf"|{_POLICY}{_TO_VALUE}(?:b?{_QUOTE})?(?P<document>{_DOCUMENT})"
    # A key over many lines, as it lies in a file.
    r"|-----begin [a-z ]{0,20}private key-----(?P<pem>[^-]+)"
    # <input value="…" name="x-amz-signature">
    rf"|value\s?=\s?{_QUOTE}(?P<input>[^\"'`<>]{{1,4096}}){_QUOTE}\s{{1,8}}name\s?=\s?{_QUOTE}"
    rf"[\w\-]{{0,40}}?(?:{_NAME}|{_POLICY}){_QUOTE}"
    r"|(?<![a-z0-9])bearer\s{1,8}(?P<bearer>[\w\-.~+/]{16,}=*)"
    r"|pgw_(?P<api_token>[\w\-]+)"
    # A resumable session of Cloud Storage; the gateway's own ids are none.
    rf"|[?&]upload_id=(?!upl_)(?P<session>{_WORD})"
    # http://user:password@host
    r"|://[^\s/?#@:\"']{0,128}:(?P<password>[^\s/?#@\"']{1,256})(?=@)",
    re.IGNORECASE | re.ASCII,
)
_SECRET_KEY = re.compile(rf"(?:{_NAME}(?:\[\])?|{_HEADER})$", re.IGNORECASE | re.ASCII)
_POLICY_KEY = re.compile(rf"{_POLICY}$", re.IGNORECASE | re.ASCII)

# One level of encoding: URLs, JSON, nginx's log, a quote within quotes, HTML.
_ESCAPE = re.compile(
    r"%([0-9a-f]{2})|\\u00([0-9a-f]{2})|\\x([0-9a-f]{2})|\\([\"'/])|(&(?:#x?[0-9a-f]{2,4}|amp|quot|apos|equals);)",
    re.IGNORECASE,
)

# What logging itself puts on a record; anything else came with ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}


def redact(text: str) -> str:
    """Hide the values of signatures, tokens, passwords and cookies in any text.

    Finds them in URLs, query strings, JSON, headers and forms, in either case, with ``-`` or ``_``, as written
    and encoded up to three times. What is hidden becomes ``***``, and everything else stays. To redact twice is
    to redact once; the time is linear in the length.
    """
    for _ in range(_PASSES):
        clean = _without(text, _secret_spans(text))
        if clean == text:
            break
        text = clean
    return text


def redact_event(event: dict[str, Any], hint: Any = None) -> dict[str, Any]:
    """Return an error report with its secrets hidden, by their names and by how they look.

    Shaped for the ``before_send`` of error reporters.

    Args:
        event: dicts, lists and plain values; it is not changed.
        hint: not looked at.
    """
    redacted: dict[str, Any] = _redacted(event, ())
    return redacted


class RedactionFilter(logging.Filter):
    """Redacts log records: message, arguments, traceback, stack and extra attributes.

    Belongs to handlers, which the records of all loggers pass. A record without secrets stays as it is, and none
    is dropped. ``exc_info`` stays too, for handlers that need the exception: what they make of it is theirs to
    redact, as :func:`redact_event` does.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        _redact_message(record)
        if isinstance(record.exc_info, tuple) and not record.exc_text:
            # Formatters write exc_text where there is one, and only make it where there is none.
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (clean := redact(text)) != text:
                record.exc_text = clean
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name in vars(record).keys() - _STANDARD:
            setattr(record, name, _redacted_item(name, getattr(record, name), ()))
        # Django's, beside each refusal: formatters of all attributes show it, and its text is the whole address.
        request = getattr(record, "request", None)
        if not isinstance(request, (str, bytes, dict, list, tuple)) and redact(shown := _shown(request)) != shown:
            record.request = _Discreet(request)
        return True


class _Discreet:
    """Is what it stands for in all but its text, in which the secrets are hidden."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_whole"), name)

    def __repr__(self) -> str:
        return redact(_shown(self._whole))

    __str__ = __repr__


def _secret_spans(text: str) -> list[tuple[int, int]]:
    """Say where secrets stand in the text, at each level of encoding."""
    spans: list[tuple[int, int]] = []
    decoded = text
    origin: list[int] | None = None  # where each character of decoded came from; None is from its own place
    for _ in range(_LEVELS):
        for match in _SECRET.finditer(decoded):
            assert match.lastgroup is not None
            start, end = match.span(match.lastgroup)
            spans.append((start, end) if origin is None else (origin[start], origin[end]))
        following = _decoded(decoded)
        if following is None:
            break
        decoded, places = following
        origin = places if origin is None else [origin[place] for place in places]
    return spans


def _decoded(text: str) -> tuple[str, list[int]] | None:
    """Take one level of encoding away; tell where each character, and the end, came from."""
    if "%" not in text and "\\" not in text and "&" not in text:
        return None
    pieces: list[str] = []
    places: list[int] = []
    last = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        character = _character(match)
        pieces += text[last:start], character
        places += range(last, start)
        places += [start] * len(character)
        last = end
    if not pieces:
        return None
    pieces.append(text[last:])
    places += range(last, len(text) + 1)
    return "".join(pieces), places


def _character(escape: re.Match[str]) -> str:
    percent, unicode, hexadecimal, plain, entity = escape.groups()
    if entity:
        return html.unescape(entity)
    return plain or chr(int(percent or unicode or hexadecimal, 16))


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    shown_until = 0
    for start, end in sorted(spans):
        if start > shown_until or not pieces:
            pieces += text[shown_until:start], MARK
        shown_until = max(shown_until, end)
    return "".join(pieces) + text[shown_until:] if pieces else text


def _redacted(value: Any, path: tuple[int, ...]) -> Any:
    """Return a value with its secrets hidden, and the very same one where there are none.

    Args:
        path: ids of the containers around it, since one may hold itself.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        clean = redact(value.decode("latin-1")).encode("latin-1")
        return value if clean == value else clean
    if not isinstance(value, (dict, list, tuple)):
        return value
    if len(path) >= _MAX_DEPTH or id(value) in path:
        return _CUT
    path = (*path, id(value))
    if isinstance(value, dict):
        # dict's own items(): Django's QueryDict gives only the last value of each name.
        items = {_redacted(key, path): _redacted_item(key, item, path) for key, item in dict.items(value)}
        return value if _is_same(items.values(), dict.values(value)) and _is_same(items, value) else items
    if len(value) == 2 and isinstance(value[0], (str, bytes)):
        # A header or parameter: ("X-Amz-Signature", "…").
        members = [_redacted(value[0], path), _redacted_item(value[0], value[1], path)]
    else:
        members = [_redacted(member, path) for member in value]
    if _is_same(members, value):
        return value
    return members if isinstance(value, list) else tuple(members)


def _redacted_item(name: Any, value: Any, path: tuple[int, ...]) -> Any:
    """Redact a value that stands under a name, which may tell that it is a secret."""
    if isinstance(name, (str, bytes)):
        plain = name if isinstance(name, str) else name.decode("latin-1")
        while (decoded := _decoded(plain)) is not None:
            plain = decoded[0]
        if _SECRET_KEY.search(plain) or (_POLICY_KEY.search(plain) and re.match(_DOCUMENT, str(value))):
            return _hidden(value, path)
    return _redacted(value, path)


def _hidden(value: Any, path: tuple[int, ...]) -> Any:
    """Hide everything within a value; what is empty stays, to tell that there was nothing."""
    if value in (None, True, False, "", b"", MARK):
        return value
    if isinstance(value, (dict, list, tuple)):
        if len(path) >= _MAX_DEPTH or id(value) in path:
            return _CUT
        path = (*path, id(value))
        if isinstance(value, dict):
            return {key: _hidden(item, path) for key, item in dict.items(value)}
        return [_hidden(member, path) for member in value]
    return MARK


def _is_same(members: Iterable[Any], others: Iterable[Any]) -> bool:
    return all(member is other for member, other in zip(members, others, strict=False))


def _redact_message(record: logging.LogRecord) -> None:
    """Redact what the record says; its arguments stay arguments where that is possible."""
    try:
        message = record.getMessage()
    except Exception:
        # logging would print message and arguments as they are.
        record.msg, record.args = redact(f"{_shown(record.msg)} {_shown(record.args)}"), ()
        return
    clean = redact(message)
    args = record.args
    if isinstance(args, tuple):
        record.args = tuple(_redacted(argument, ()) for argument in args)
    elif args:
        record.args = _redacted(args, ())
    if _says(record) != clean:
        record.msg, record.args = clean, ()


def _says(record: logging.LogRecord) -> str | None:
    try:
        return record.getMessage()
    except Exception:
        return None


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
