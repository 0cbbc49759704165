"""Links that nginx checks: each is for one path until one second, and cannot be cut into another."""

from __future__ import annotations

import hashlib
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.secure_link import EXPRESSIONS
from tests.emulators.web import WebServer
from tests.gateway.delivery.front import FILES, NAMES, Site, ask, content_of
from tests.gateway.delivery.support import target

ALIASES = ["signed", "signed-for"]


@pytest.fixture(params=ALIASES)
def link_to(request: pytest.FixtureRequest, nginx: WebServer, site: Site) -> Callable[..., str]:
    def link(name: str = "image") -> str:
        answer = ask(nginx, site.permalink(request.param, name), site.token())
        assert answer.status == 302
        assert answer.headers["cache-control"] == "no-store, private"
        return target(answer.headers["location"])

    return link


def test_every_name_that_is_a_key_is_its_own_file(nginx: WebServer, link_to: Callable[..., str]) -> None:
    wrong = {
        name: answer.status
        for name, key in NAMES.items()
        if name != "missing" and ((answer := ask(nginx, link_to(name))).status, answer.body) != (200, content_of(key))
    }
    assert wrong == {}
    assert ask(nginx, link_to("missing")).status == 404


def test_whatever_it_is_it_is_a_download_of_no_type(nginx: WebServer, link_to: Callable[..., str]) -> None:
    answer = ask(nginx, link_to("page"))
    assert answer.repeated == ()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


def test_the_link_ends_when_the_gateway_s_links_do(link_to: Callable[..., str]) -> None:
    (expires,) = parse_qs(urlsplit(link_to()).query)["expires"]
    assert 290 <= int(expires) - time.time() <= 300


CHANGES: dict[str, Callable[[str], str]] = {
    "later": lambda link: re.sub(r"expires=([0-9]+)", lambda found: f"expires={int(found[1]) + 1}", link),
    "a-digit-more": lambda link: link + "0",
    "exponent": lambda link: re.sub(r"expires=[0-9]+", "expires=1e9", link),
    "letter": lambda link: re.sub(r"expires=[0-9]+", "expires=1E", link),
    "negative": lambda link: re.sub(r"expires=", "expires=-", link),
    "plus": lambda link: re.sub(r"expires=", "expires=%2B", link),
    "zero": lambda link: re.sub(r"expires=[0-9]+", "expires=0", link),
    "twenty-digits": lambda link: re.sub(r"expires=[0-9]+", "expires=" + "9" * 20, link),
    "empty": lambda link: re.sub(r"expires=[0-9]+", "expires=", link),
    "no-end": lambda link: re.sub(r"&expires=[0-9]+", "", link),
    "no-signature": lambda link: re.sub(r"md5=[^&]+&", "", link),
    "empty-signature": lambda link: re.sub(r"md5=[^&]+", "md5=", link),
    "another-signature": lambda link: re.sub(r"md5=...", "md5=AAA", link),
    "another-end-first": lambda link: link.replace("?", "?expires=9999999999&"),
    "another-signature-first": lambda link: link.replace("?", "?md5=AAAAAAAAAAAAAAAAAAAAAA&"),
    "a-comma": lambda link: re.sub(r"(md5=[^&]+)", r"\1,9999999999", link),
    "another-file": lambda link: link.replace("images/a.png", "pages/page.html"),
    "a-shorter-name": lambda link: link.replace("a.png", "a.pn"),
    "a-longer-name": lambda link: link.replace("a.png", "a.png1"),
    "around": lambda link: link.replace("images/", "images/../pages/../images/x/../../pages/page.html/../"),
    "another-alias": lambda link: (
        link.replace("/signed-for/", "/signed/") if "/signed-for/" in link else link.replace("/signed/", "/signed-for/")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_link_that_was_changed_is_no_link(
    nginx: WebServer, link_to: Callable[..., str], change: Callable[[str], str]
) -> None:
    link = link_to()
    assert ask(nginx, link).status == 200
    changed = change(link)
    assert changed != link
    answer = ask(nginx, changed)
    assert answer.status in (403, 404)
    assert content_of(FILES["image"]) not in answer.body


def signed(expression: str, secret: str, *, expires: int, path: str, address: str = "127.0.0.1") -> str:
    """Make a link as nginx documents it, past the gateway."""
    text = expression.replace("$secure_link_expires", str(expires)).replace("$remote_addr", address)
    digest = hashlib.md5(f"{text.replace('$uri', path)} {secret}".encode()).digest()
    md5 = urlsafe_b64encode(digest).decode().rstrip("=")
    return f"{quote(path)}?md5={md5}&expires={expires}"


@pytest.fixture(scope="module")
def secrets_of(nginx: WebServer) -> dict[str, str]:
    block = nginx.block_path.read_text()
    found = re.findall(r'secure_link_md5 "(\S+?(?: \$\S+)?) ([0-9a-f]{64})";', block)
    assert [expression for expression, _ in found] == list(EXPRESSIONS.values())
    return dict(zip(ALIASES, (secret for _, secret in found), strict=True))


def test_nginx_reads_the_order_that_was_printed(nginx: WebServer, site: Site, secrets_of: dict[str, str]) -> None:
    now = int(time.time())
    for alias, expression in zip(ALIASES, EXPRESSIONS.values(), strict=True):
        path, secret = f"/.gateway/signed/{alias}/{FILES['image']}", secrets_of[alias]
        assert ask(nginx, signed(expression, secret, expires=now + 60, path=path)).status == 200
        assert ask(nginx, signed(expression, secret, expires=now - 1, path=path)).status == 403
        assert ask(nginx, signed(expression, "0" * 64, expires=now + 60, path=path)).status == 403
    elsewhere = signed(expression, secret, expires=now + 60, path=path, address="10.0.0.1")
    assert ask(nginx, elsewhere).status == 403


_paths = st.text(alphabet="/a1 .", max_size=6).map(lambda rest: f"/{rest}")
_times = st.integers(min_value=0, max_value=10**11)
_addresses = st.sampled_from(["1.1.1.1", "11.1.1.1", "::1", "1::1", "127.0.0.1"])


@given(st.tuples(_times, _addresses, _paths), st.tuples(_times, _addresses, _paths))
def test_no_two_links_have_one_text(one: tuple[int, str, str], other: tuple[int, str, str]) -> None:
    for name, expression in EXPRESSIONS.items():
        texts = []
        for expires, address, path in (one, other):
            filled = expression.replace("$secure_link_expires", str(expires)).replace("$remote_addr", address)
            texts.append(filled.replace("$uri", path))
        same = one == other if name == "secure_link_address" else (one[0], one[2]) == (other[0], other[2])
        assert (texts[0] == texts[1]) is same


def test_the_permalink_decides_before_there_is_a_link(nginx: WebServer, site: Site) -> None:
    assert ask(nginx, site.permalink("signed", "image"), site.token(1)).status == 404
    assert ask(nginx, site.permalink("signed", "image")).status == 401


def test_without_a_proxy_s_word_no_link_is_bound_to_an_address(site: Site) -> None:
    assert ask(site.gunicorn, site.permalink("signed-for", "image"), site.token()).status == 503


def test_the_secret_is_printed_only_where_it_is_asked_for(settings: Any, tmp_path: Any) -> None:
    settings.STORAGES = settings.STORAGES | {
        "signed": {
            "BACKEND": "gateway.storages.PrivateFileSystemStorage",
            "OPTIONS": {"location": tmp_path, "delivery": "secure_link"},
        }
    }
    with pytest.raises(CommandError, match="--with-secret"):
        call_command("gateway_conf", "nginx")
