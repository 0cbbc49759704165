"""One path has one spelling."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.raw_paths import name_in
from providers.errors import InvalidKey
from providers.keys import key_error
from tests.gateway.delivery.keys import KEYS


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_named_by_its_path(key: str) -> None:
    assert name_in(f"/p/{quote(key, safe='/~')}", "/p/") == key


ODD = {
    "query": "/p/a?b",
    "fragment": "/p/a#b",
    "space": "/p/a b",
    "raw-utf-8": "/p/é",
    "escaped-letter": "/p/%61",
    "escaped-dot": "/p/%2E%2E/a",
    "escaped-slash": "/p/a%2Fb",
    "escaped-backslash": "/p/a%5Cb",
    "backslash": "/p/a\\b",
    "escaped-nul": "/p/a%00",
    "small-hexadecimal": "/p/%c3%a9",
    "half-an-escape": "/p/%C",
    "not-utf-8": "/p/%FF",
    "overlong": "/p/%C0%AF",
    "surrogate": "/p/%ED%A0%80",
    "new-line": "/p/a\nb",
    "trailing-new-line": "/p/a\n",
    "nothing": "/p/",
    "empty": "",
    "parent": "/p/../a",
    "two-slashes": "/p//a",
    "other-prefix": "/q/a",
    "escaped-prefix": "/%70/a",
    "absolute-form": "http://h/p/a",
}


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_every_other_spelling_is_refused(raw: str) -> None:
    with pytest.raises((ValueError, InvalidKey)):
        name_in(raw, "/p/")


@given(st.text(alphabet=st.sampled_from("ab./%2eF5Cc\\é?#"), max_size=12))
def test_what_is_accepted_means_one_key_whoever_decodes_it(rest: str) -> None:
    try:
        name = name_in(f"/p/{rest}", "/p/")
    except (ValueError, InvalidKey):
        return
    assert key_error(name) is None
    assert quote(name, safe="/~!$&'()*+,;=:@[]^|").upper() == rest.upper()
    assert not any(segment in ("", ".", "..") for segment in name.split("/"))
