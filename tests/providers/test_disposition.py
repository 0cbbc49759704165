"""Content-Disposition: a table of names and exact headers, and what no name whatever may do to a header."""

from __future__ import annotations

import re
import string
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers import InvalidOperation, clean_filename, content_disposition, disposition
from providers.disposition import MAX_FILENAME_CHARACTERS, encoded_disposition

# id -> file name as uploaded, name as saved, header with "attachment; filename=" left out
NAMES: dict[str, tuple[str, str, str]] = {
    "N1-quote": ('a"b.txt', "a_b.txt", '"a_b.txt"'),
    "N2-second-header": ("a\r\nSet-Cookie: x=1", "aSet-Cookie_ x=1", '"aSet-Cookie_ x=1"'),
    "N3-re-cut-of-a-signature": ("a\n\n\ntext/html", "html", '"html"'),
    "N4-nul": ("a\x00b", "ab", '"ab"'),
    "N4-vertical-tab": ("a\x0bb", "ab", '"ab"'),
    "N4-tab": ("a\tb", "ab", '"ab"'),
    "N5-unix-path": ("../../etc/passwd", "passwd", '"passwd"'),
    "N5-windows-path": ("C:\\a\\b.txt", "b.txt", '"b.txt"'),
    "N5-only-a-directory": ("a/b/", "download", '"download"'),
    "N6-accent": ("é.pdf", "é.pdf", "\"e.pdf\"; filename*=UTF-8''%C3%A9.pdf"),
    "N6-accent-not-composed": ("e\u0301.pdf", "é.pdf", "\"e.pdf\"; filename*=UTF-8''%C3%A9.pdf"),
    "N6-no-ascii-at-all": (
        "日本.txt",
        "日本.txt",
        "\"download.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt",
    ),
    "N6-some-ascii": (
        "日本 é.txt",
        "日本 é.txt",
        "\"e.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%20%C3%A9.txt",
    ),
    "N6-emoji": ("😀.png", "😀.png", "\"download.png\"; filename*=UTF-8''%F0%9F%98%80.png"),
    "N6-no-ascii-and-no-extension": ("日本", "日本", "\"download\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
    "N7-right-to-left-override": ("a\u202egnp.exe", "agnp.exe", '"agnp.exe"'),
    "N7-zero-width": ("a\u200bb.txt", "ab.txt", '"ab.txt"'),
    "N7-line-separator": ("a\u2028b.txt", "a b.txt", '"a b.txt"'),
    "N8-percent": ("50%.csv", "50%.csv", "\"50_.csv\"; filename*=UTF-8''50%25.csv"),
    "N8-encoded-quote": ("a%22b.txt", "a%22b.txt", "\"a_22b.txt\"; filename*=UTF-8''a%2522b.txt"),
    "N8-semicolon": ("a;b=c.txt", "a;b=c.txt", '"a;b=c.txt"'),
    "N8-language-of-rfc-8187": ("UTF-8''x.txt", "UTF-8''x.txt", "\"UTF-8''x.txt\""),
    "N9-long": ("x" * 5000 + ".pdf", "x" * 146 + ".pdf", '"' + "x" * 146 + '.pdf"'),
    "N9-long-without-extension": ("x" * 5000, "x" * 150, '"' + "x" * 150 + '"'),
    "N9-cut-at-a-space": ("x" * 145 + " y.pdf", "x" * 145 + ".pdf", '"' + "x" * 145 + '.pdf"'),
    "N9-long-extension-is-none": ("a." + "x" * 200, "a." + "x" * 148, '"a.' + "x" * 148 + '"'),
    "N9-fallback-is-longer-than-the-name": (
        "⑴" * 100 + ".txt",
        "⑴" * 100 + ".txt",
        '"' + ("(1)" * 50)[:146] + ".txt\"; filename*=UTF-8''" + "%E2%91%B4" * 100 + ".txt",
    ),
    "N10-empty": ("", "download", '"download"'),
    "N10-dot": (".", "download", '"download"'),
    "N10-dots": ("..", "download", '"download"'),
    "N10-spaces": ("   ", "download", '"download"'),
    "N10-lone-surrogate": ("\ud800", "download", '"download"'),
    "N10-lone-surrogate-with-extension": ("\ud800.pdf", "download.pdf", '"download.pdf"'),
    "N10-extension-only": (".pdf", "download.pdf", '"download.pdf"'),
    "N10-dots-and-spaces": (". . .txt", "download.txt", '"download.txt"'),
    "N11-hidden": (".htaccess", "download.htaccess", '"download.htaccess"'),
    "N11-dot-then-space": (". a", "a", '"a"'),
    "N11-angle-brackets": ("<script>.html", "_script_.html", '"_script_.html"'),
    "N11-wildcards": ("a*b?c|d.txt", "a_b_c_d.txt", '"a_b_c_d.txt"'),
    "N12-device": ("con", "_con", '"_con"'),
    "N12-device-with-extension": ("nul.txt", "_nul.txt", '"_nul.txt"'),
    "N12-device-in-upper-case": ("COM1.tar.gz", "_COM1.tar.gz", '"_COM1.tar.gz"'),
    "N12-device-then-space": ("con .txt", "_con.txt", '"_con.txt"'),
    "N12-device-then-space-then-two-extensions": ("aux .tar.gz", "_aux .tar.gz", '"_aux .tar.gz"'),
    "N12-device-with-superscript": (
        "com¹.txt",
        "_com¹.txt",
        "\"_com1.txt\"; filename*=UTF-8''_com%C2%B9.txt",
    ),
    "N12-device-only-in-the-fallback": (
        "ＣＯＮ.txt",
        "ＣＯＮ.txt",
        "\"_CON.txt\"; filename*=UTF-8''%EF%BC%A3%EF%BC%AF%EF%BC%AE.txt",
    ),
    "N12-trailing-dots": ("a.txt...", "a.txt", '"a.txt"'),
    "N12-trailing-dots-and-spaces": ("a.txt. . ", "a.txt", '"a.txt"'),
    "N12-space-before-the-extension": ("a .txt", "a.txt", '"a.txt"'),
    "N12-dots-before-the-extension": ("a...txt", "a.txt", '"a.txt"'),
    "N13-slash-only-in-the-fallback": (
        "..／..／etc／passwd",
        "／.／etc／passwd",
        "\"download._etc_passwd\"; filename*=UTF-8''%EF%BC%8F.%EF%BC%8Fetc%EF%BC%8Fpasswd",
    ),
    "N13-colon-only-in-the-fallback": (
        "a：b.txt",
        "a：b.txt",
        "\"a_b.txt\"; filename*=UTF-8''a%EF%BC%9Ab.txt",
    ),
    "plain": ("report.pdf", "report.pdf", '"report.pdf"'),
    "plain-with-spaces": ("my report 2.pdf", "my report 2.pdf", '"my report 2.pdf"'),
    "two-extensions": ("a.tar.gz", "a.tar.gz", '"a.tar.gz"'),
    "apostrophe": ("it's.txt", "it's.txt", '"it\'s.txt"'),
    "sentence": ("Well. This is it", "Well. This is it", '"Well. This is it"'),
}

_QUOTED = r'"(?P<plain>[^"\\]*)"'
_ENCODED = r"UTF-8''(?P<encoded>(?:[A-Za-z0-9!#$&+\-.^_`|~]|%[0-9A-F]{2})+)"
# RFC 6266 section 4.1, as narrow as this project writes it
_HEADER = re.compile(rf"(?P<type>inline|attachment)(?:; filename={_QUOTED}(?:; filename\*={_ENCODED})?)?")


def parse(header: str) -> tuple[str, str | None, str | None]:
    """Return disposition type, plain and extended file name of a header that must be wholly understood."""
    match = _HEADER.fullmatch(header)
    assert match is not None, header
    encoded = match["encoded"]
    return match["type"], match["plain"], None if encoded is None else unquote(encoded, errors="strict")


def parameters_by_the_standard_library(header: str) -> dict[str, Any]:
    message = Message()
    message["Content-Disposition"] = header
    pairs = message.get_params(header="Content-Disposition")
    assert pairs is not None
    return dict(pairs)


@pytest.mark.parametrize(("filename", "cleaned", "value"), NAMES.values(), ids=NAMES)
def test_file_name_gives_exactly_this_header(filename: str, cleaned: str, value: str) -> None:
    assert clean_filename(filename) == cleaned
    assert content_disposition("attachment", filename) == f"attachment; filename={value}"
    assert content_disposition("inline", filename) == f"inline; filename={value}"


def test_without_a_file_name_there_is_no_parameter() -> None:
    assert content_disposition("inline") == "inline"
    assert content_disposition("attachment", None) == "attachment"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("", id="empty"),
        pytest.param("Inline", id="case"),
        pytest.param("inline\r\nX: y", id="second-header"),
        pytest.param("inline; filename=x", id="with-parameter"),
        pytest.param("form-data", id="another-type"),
        pytest.param(None, id="none"),
        pytest.param(b"inline", id="bytes"),
    ],
)
def test_disposition_is_one_of_two(bad: Any) -> None:
    with pytest.raises(InvalidOperation, match="inline or attachment"):
        content_disposition(bad, "a.txt")


# Made of what the rules are about, so that rules meet each other in one name.
hostile = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from("a. /\\\"%;=*'\r\n\x00\u200b\u202e\u2028é日😀_:<>|?／：．⑴\ud800"), max_size=30),
    st.lists(
        st.sampled_from(
            [
                "con",
                "COM1",
                "com¹",
                ".",
                " ",
                "..",
                "txt",
                "x" * 20,
                "x" * 21,
                "y" * 140,
                "z" * 150,
                "é",
                "/",
                "日",
                "⑴",
            ]
        ),
        max_size=8,
    ).map("".join),
)


@given(hostile, st.sampled_from(["inline", "attachment"]))
@settings(max_examples=600, deadline=None)
def test_no_name_escapes_its_parameter(filename: str, kind: Any) -> None:
    header = content_disposition(kind, filename)

    assert header.isascii()
    assert header.isprintable()
    parsed_kind, plain, extended = parse(header)
    assert parsed_kind == kind
    assert plain
    assert "/" not in plain
    assert len(plain) <= MAX_FILENAME_CHARACTERS
    assert (extended if extended is not None else plain) == clean_filename(filename)
    assert set(parameters_by_the_standard_library(header)) == {kind, "filename"}


@given(hostile)
@settings(max_examples=600, deadline=None)
@example("x" * 145 + " y.pdf")
@example("x" * 129 + " ." + "y" * 30)
@example("con" + "x" * 126 + ". " + "y" * 21)
def test_a_cleaned_name_is_safe_and_stays_as_it_is(filename: str) -> None:
    cleaned = clean_filename(filename)

    assert clean_filename(cleaned) == cleaned
    assert 1 <= len(cleaned) <= MAX_FILENAME_CHARACTERS
    assert not set(cleaned) & set('/\\"<>:|?*')
    assert cleaned[0] not in ". "
    assert cleaned[-1] not in ". "
    assert not {unicodedata.category(character) for character in cleaned} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert unicodedata.is_normalized("NFC", cleaned)
    device = cleaned.partition(".")[0].rstrip(" ").casefold()
    assert device not in {"con", "prn", "aux", "nul"}
    assert not re.fullmatch(r"(com|lpt)[0-9¹²³]", device)


@given(hostile, st.text(string.ascii_letters + string.digits, min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_the_extension_survives(stem: str, extension: str) -> None:
    assert clean_filename(f"{stem}.{extension}").endswith(f".{extension}")
    _, plain, _ = parse(content_disposition("attachment", f"{stem}.{extension}"))
    assert plain is not None
    assert plain.endswith(f".{extension}")


@given(st.one_of(hostile, st.from_regex(disposition._PLAIN, fullmatch=True)))
@settings(max_examples=800, deadline=None)
@example("a .txt")
@example("a..txt")
@example("con .txt")
@example("a- -.b")
@example("x" * 100)
def test_the_fast_path_gives_what_cleaning_gives(filename: str) -> None:
    if len(filename) <= disposition._PLAIN_CHARACTERS and disposition._PLAIN.fullmatch(filename):
        assert clean_filename(filename) == filename
        assert content_disposition("inline", filename) == f'inline; filename="{filename}"'


@given(
    st.sampled_from(["inline", "attachment"]),
    st.one_of(st.none(), hostile, st.from_regex(disposition._PLAIN, fullmatch=True)),
)
@settings(max_examples=400, deadline=None)
@example("attachment", "report 12.pdf")
@example("inline", "a+b.pdf")
@example("inline", "100%.pdf")
@example("inline", "\u00fc/..txt")
def test_the_encoded_value_is_that_of_the_value(kind: Any, filename: str | None) -> None:
    value = content_disposition(kind, filename)
    assert encoded_disposition(kind, filename) == (value, quote(value, safe="-._~"))


def test_an_unknown_disposition_is_not_encoded_either() -> None:
    with pytest.raises(InvalidOperation, match="disposition is 'form-data'; inline or attachment"):
        encoded_disposition("form-data", "a.txt")  # type: ignore[arg-type]


def test_the_fast_path_does_not_let_a_long_name_through() -> None:
    assert content_disposition("inline", "x" * 151) == f'inline; filename="{"x" * 150}"'


def test_the_fast_path_is_taken_by_ordinary_names() -> None:
    for name in ("report.pdf", "My Report 2026-03.pdf", "a.tar.gz", "README"):
        assert disposition._PLAIN.fullmatch(name)


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_the_standard_library_reads_the_name_that_was_meant(name: str) -> None:
    filename, cleaned, _ = NAMES[name]
    header = content_disposition("attachment", filename)
    assert collapse_rfc2231_value(parameters_by_the_standard_library(header)["filename"]) == cleaned


def test_every_byte_of_an_extended_name_round_trips() -> None:
    everything = "".join(map(chr, range(0x20, 0x250)))
    for start in range(0, len(everything), 100):
        name = "n" + everything[start : start + 100] + "n"
        _, plain, extended = parse(content_disposition("attachment", name))
        assert (plain if extended is None else extended) == clean_filename(name)
