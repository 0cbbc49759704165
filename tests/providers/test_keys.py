"""The key grammar: a table of what is refused and why, and the properties of whatever is accepted."""

from __future__ import annotations

import posixpath
import re
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx
import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import InvalidKey, check_key, check_prefix, keys
from providers.keys import key_error
from tests.providers import examples


class LazyText(str):
    """Text that could show one value and encode as another, as translated strings do."""

    __slots__ = ()


# id -> key, and a piece of the message that refuses it, or None where it is a key
KEYS: dict[str, tuple[Any, str | None]] = {
    "K1-empty": ("", "empty"),
    "K2-space": (" ", "space"),
    "K3-dot": (".", "dot segment"),
    "K4-dots": ("..", "dot segment"),
    "K5-parent": ("../x", "dot segment"),
    "K6-parent-inside": ("a/../b", "dot segment"),
    "K7-parents-inside": ("a/../../b", "dot segment"),
    "K8-parent-at-end": ("a/..", "dot segment"),
    "K9-dot-inside": ("a/./b", "dot segment"),
    "K10-absolute": ("/abs", "empty segment"),
    "K11-two-slashes": ("//abs", "empty segment"),
    "K12-doubled-slash": ("a//b", "empty segment"),
    "K13-trailing-slash": ("a/", "empty segment"),
    "K14-windows-parent": ("..\\..\\x", "backslash"),
    "K15-backslash": ("a\\b", "backslash"),
    "K16-encoded-parent": ("%2e%2e/x", "dot segment"),
    "K16-encoded-parent-upper-case": ("a/%2E%2E/x", "dot segment"),
    "K17-encoded-dot": ("a/%2e", "dot segment"),
    "K18-half-encoded-parent": (".%2e/x", "dot segment"),
    "K19-other-half-encoded-parent": ("%2E./x", "dot segment"),
    "K20-four-dots-two-slashes": ("....//x", "dot"),
    "K21-nul": ("a\x00b", "U+0000"),
    "K22-line-feed": ("a\nb", "U+000A"),
    "K22-carriage-return": ("a\rb", "U+000D"),
    "K22-both": ("a\r\nb", "U+000D"),
    "K22-line-feed-at-end": ("a\n", "U+000A"),
    "K23-tab": ("a\tb", "U+0009"),
    "K23-delete": ("a\x7fb", "U+007F"),
    "K23-next-line": ("a\x85b", "U+0085"),
    "K24-re-cut-of-a-signature": ("victim\n\n\n\n2026-10-06\nb\n\n\n\n\n\n\ntext/html", "U+000A"),
    "K25-line-separator": ("a\u2028b", "U+2028"),
    "K25-paragraph-separator": ("a\u2029b", "U+2029"),
    "K26-zero-width-in-dots": ("a/.\u200b./b", "U+200B"),
    "K27-right-to-left-override": ("a\u202egnp.exe", "U+202E"),
    "K28-not-composed": ("e\u0301.txt", "normalisation form C"),
    "K29-noncharacter": ("a\ufffe", "U+FFFE"),
    "K29-noncharacter-of-a-block": ("a\ufdd0b", "U+FDD0"),
    "K29-noncharacter-of-a-plane": ("a\U0010ffff", "U+10FFFF"),
    "K30-soft-hyphen": ("a\u00adb", "U+00AD"),
    "K31-byte-order-mark": ("\ufeffa", "U+FEFF"),
    "K32-lone-surrogate": ("\ud800", "surrogate"),
    "K33-one-long-segment": ("x" * 1024, "segment of 1024 bytes; at most 255"),
    "K33-longest-segment": ("x" * 255, None),
    "K33-too-long-by-one-byte": ("x" * 256, "segment of 256 bytes; at most 255"),
    "K34-too-long": ("/".join(["x" * 204] * 5) + "x", "key is 1025 bytes; at most 1024"),
    "K34-longest": ("/".join(["x" * 204] * 5), None),
    "K35-bytes-not-characters": ("é" * 513, "key is 1026 bytes; at most 1024"),
    "K35-segment-in-bytes": ("é" * 128, "segment of 256 bytes; at most 255"),
    "K36-segments": ("/".join("x" * 201), "201 segments; at most 200"),
    "K36-most-segments": ("/".join("x" * 200), None),
    "K37-space-at-end": ("a ", "ends with a space"),
    "K37-dot-at-end": ("a.", "a dot"),
    "K37-dot-at-end-of-a-directory": ("a./b", "a dot"),
    "K37-space-before": (" a/b", "starts with a space"),
    "K37-space-before-a-file": ("a/ b", "starts with a space"),
    "K38-device": ("CON", None),
    "K38-device-with-extension": ("aux.txt", None),
    "K39-drive-and-backslash": ("C:\\x", "backslash"),
    "K39-drive": ("C:x", None),
    "K40-windows-share": ("\\\\host\\s", "backslash"),
    "K41-file-url": ("file:///etc/passwd", "empty segment"),
    "K42-http-url": ("http://evil/x", "empty segment"),
    "K43-home": ("~root", None),
    "K43-option": ("-rf", None),
    "K44-star": ("*", None),
    "K44-glob": ("a[b]?", None),
    "K45-form-variable": ("${filename}", None),
    "K46-reserved-by-google": (".well-known/acme-challenge/x", "reserved"),
    "K46-reserved-name-elsewhere": ("a/.well-known/acme-challenge/x", None),
    "K48-none": (None, "NoneType"),
    "K48-int": (1, "int"),
    "K48-bytes": (b"a", "bytes"),
    "K48-list": (["a"], "list"),
    "K48-bool": (True, "bool"),
    "K48-lazy-text": (LazyText("a"), "LazyText"),
    "plain": ("uploads/2026/03/0f9a/report.pdf", None),
    "dots-inside": ("a..b/c.tar.gz", None),
    "hidden-file": (".env", None),
    "percent-is-literal": ("50%/100%25", None),
    "full-width-dots": ("\uff0e\uff0e/x", None),
    "unassigned-code-point": ("a\u0378", None),
    "private-use": ("a\ue000", None),
    "every-ascii-mark": ("!\"#$%&'()*+,-.:;<=>?@[]^_`{|}~", None),
    "composed": ("é.txt", None),
    "beyond-the-basic-plane": ("😀/日本.txt", None),
}
# The same where the store is a Windows file system: id -> key, refused or not
WINDOWS: dict[str, tuple[str, bool]] = {
    "K38-device": ("CON", True),
    "K38-device-in-lower-case": ("con", True),
    "K38-device-with-extension": ("aux.txt", True),
    "K38-device-in-a-directory": ("a/NUL.txt", True),
    "K38-device-as-a-directory": ("lpt1/a", True),
    "K38-device-with-superscript": ("com¹", True),
    "K38-device-then-a-space": ("aux .txt", True),
    "K38-begins-like-a-device": ("console.log", False),
    "K38-ends-like-a-device": ("a.con", False),
    "K39-drive": ("C:x", True),
    "K44-star": ("*", True),
    "K44-question-mark": ("a?", True),
    "quote": ('a"b', True),
    "pipe": ("a|b", True),
    "angle-brackets": ("<a>", True),
    "plain": ("uploads/2026/03/0f9a/report.pdf", False),
    "brackets": ("a[b]", False),
}
# id -> key, prefix, accepted or not
PREFIXES: dict[str, tuple[str, str, bool]] = {
    "below": ("t1/x", "t1/", True),
    "far-below": ("t1/a/b/c", "t1/", True),
    "below-a-deep-prefix": ("a/t1/x", "a/t1/", True),
    "no-prefix": ("x", "", True),
    "K47-longer-name": ("t10/x", "t1/", False),
    "K47-prefix-without-slash": ("t10/x", "t1", False),
    "prefix-without-slash-and-a-key-below": ("t1/x", "t1", False),
    "K50-the-prefix-itself": ("t1/", "t1/", False),
    "K50-the-prefix-without-its-slash": ("t1", "t1/", False),
    "elsewhere": ("t2/x", "t1/", False),
    "above": ("x", "t1/", False),
    "inside": ("a/t1/x", "t1/", False),
    "other-case": ("T1/x", "t1/", False),
    "prefix-is-a-slash": ("x", "/", False),
}


@pytest.mark.parametrize(("key", "piece"), KEYS.values(), ids=KEYS)
def test_key_is_accepted_unchanged_or_refused_with_the_rule(key: Any, piece: str | None) -> None:
    if piece is None:
        assert check_key(key, windows=False) is key
        assert key_error(key, windows=False) is None
    else:
        with pytest.raises(InvalidKey, match=re.escape(piece)):
            check_key(key, windows=False)
        assert piece in str(key_error(key, windows=False))


@pytest.mark.parametrize(("key", "refused"), WINDOWS.values(), ids=WINDOWS)
def test_windows_reserves_names_and_characters_of_its_own(key: str, refused: bool) -> None:
    assert check_key(key, windows=False) == key
    if refused:
        with pytest.raises(InvalidKey, match="reserved on Windows"):
            check_key(key, windows=True)
    else:
        assert check_key(key, windows=True) == key


REFUSED = {name: key for name, (key, piece) in KEYS.items() if piece is not None}


@pytest.mark.parametrize("key", REFUSED.values(), ids=REFUSED)
def test_windows_accepts_nothing_that_is_refused_elsewhere(key: Any) -> None:
    with pytest.raises(InvalidKey):
        check_key(key, windows=True)


def test_the_message_shows_the_key_in_ascii_and_cut_short() -> None:
    with pytest.raises(InvalidKey) as refusal:
        check_key("x\n" + "é" * 200)
    assert str(refusal.value).isascii()
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize(("key", "prefix", "accepted"), PREFIXES.values(), ids=PREFIXES)
def test_prefix_ends_at_a_slash(key: str, prefix: str, accepted: bool) -> None:
    if accepted:
        assert check_prefix(key, prefix) is key
    else:
        with pytest.raises(InvalidKey, match="not below the prefix"):
            check_prefix(key, prefix)


# What the grammar is about is made of few characters: drawn from all of Unicode they would hardly ever meet.
hostile = st.one_of(
    st.text(st.sampled_from("ab./ %2eE\\~-_+é\u0301\u200b\u2028\x00\n\ud800"), max_size=24),
    st.lists(
        st.sampled_from(["a", "b.txt", "..", ".", "%2e", "%2E.", "", " a", "a ", "a.", "\u200b", "é", "x" * 255]),
        max_size=6,
    ).map("/".join),
    st.text(max_size=12),
    examples.keys,
)


def whatwg_path(path: str) -> str:
    """Parse a path as browsers do, dot segments of any spelling included.

    Source: https://url.spec.whatwg.org/#path-state
    """
    out: list[str] = []
    segments = path.removeprefix("/").replace("\\", "/").split("/")
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del out[-1:]
        if plain in (".", ".."):
            out += [""] if last else []
        else:
            out.append(segment)
    return "/" + "/".join(out)


def test_the_path_parser_of_this_test_does_what_browsers_do() -> None:
    assert whatwg_path("/bucket/../evil/x") == "/evil/x"
    assert whatwg_path("/bucket/%2e%2E/x") == "/x"
    assert whatwg_path("/a\\..\\b") == "/b"
    assert whatwg_path("/a/./b/.") == "/a/b/"
    assert whatwg_path("/a//b") == "/a//b"


@given(hostile)
@settings(max_examples=600, deadline=None)
def test_an_accepted_key_reaches_the_store_unchanged(key: str) -> None:
    if key_error(key, windows=False) is not None:
        return
    encoded = quote(key, safe="/-._~")
    path = f"/bucket/{encoded}"
    url = f"https://store.example{path}"

    assert unquote(encoded, errors="strict") == key
    assert posixpath.normpath(key) == key
    assert posixpath.commonpath(["/store", posixpath.join("/store", key)]) == "/store"
    assert whatwg_path(path) == path
    assert whatwg_path(f"/bucket/{key}") == f"/bucket/{key}"
    assert urlsplit(url).path == path
    assert urljoin("https://store.example/bucket/", encoded) == url
    assert urllib3.util.parse_url(url).url == url
    assert httpx.URL(url).raw_path.decode() == path


@given(st.one_of(hostile, st.from_regex(keys._PLAIN, fullmatch=True)))
@settings(max_examples=800, deadline=None)
def test_the_fast_path_accepts_nothing_that_a_rule_refuses(key: str) -> None:
    if len(key) <= keys._PLAIN_LENGTH and keys._PLAIN.fullmatch(key):
        assert key_error(key, windows=False) is None


@given(hostile)
@settings(max_examples=300, deadline=None)
def test_checking_says_what_the_rules_say(key: str) -> None:
    if (problem := key_error(key, windows=False)) is None:
        assert check_key(key, windows=False) is key
    else:
        with pytest.raises(InvalidKey) as refusal:
            check_key(key, windows=False)
        assert str(refusal.value) == problem


def test_the_fast_path_is_taken_by_the_keys_that_the_gateway_makes() -> None:
    for key in (
        "uploads/2026/03/0f9a4c1e5b7d42e1a1b2c3d4e5f60718/report.pdf",
        "uploads/2026/03/0f9a4c1e5b7d42e1a1b2c3d4e5f60718/file-name_v1.2.tar.gz",
    ):
        assert keys._PLAIN.fullmatch(key)
