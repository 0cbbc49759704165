"""Endpoints: one grammar, refused where clients would read another host out of them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from providers import InvalidConfiguration
from providers.endpoints import Endpoint, is_virtual_hostable, parse_endpoint

# id -> URL, its parts, the Host that clients send, whether a bucket can stand before it
GOOD: dict[str, tuple[str, Endpoint, str, bool]] = {
    "plain": ("https://store.example", Endpoint("https", "store.example", ""), "store.example", True),
    "slash": ("https://store.example/", Endpoint("https", "store.example", ""), "store.example", True),
    "default-port": (
        "https://store.example:443",
        Endpoint("https", "store.example:443", ""),
        "store.example",
        True,
    ),
    "other-port": (
        "http://store.example:443",
        Endpoint("http", "store.example:443", ""),
        "store.example:443",
        True,
    ),
    "path": (
        "http://store.example/a/b_1-2.3~/",
        Endpoint("http", "store.example", "/a/b_1-2.3~"),
        "store.example",
        True,
    ),
    "localhost": ("http://localhost:9000", Endpoint("http", "localhost:9000", ""), "localhost:9000", True),
    "ipv4": ("http://127.0.0.1:9000", Endpoint("http", "127.0.0.1:9000", ""), "127.0.0.1:9000", False),
    "ipv4-without-port": ("http://127.0.0.1", Endpoint("http", "127.0.0.1", ""), "127.0.0.1", False),
    "ipv6": ("http://[::1]:9000", Endpoint("http", "[::1]:9000", ""), "[::1]:9000", False),
    "ipv6-without-port": ("http://[::1]", Endpoint("http", "[::1]", ""), "[::1]", False),
    "ends-in-digits": ("https://store9", Endpoint("https", "store9", ""), "store9", True),
}
# id -> URL, a piece of the message
BAD: dict[str, tuple[Any, str]] = {
    "none": (None, "endpoint_url is None"),
    "bytes": (b"https://store.example", "endpoint_url is b'https"),
    "empty": ("", "a scheme of http or https"),
    "no-scheme": ("store.example", "a scheme of http or https"),
    "ftp": ("ftp://store.example", "a scheme of http or https"),
    "no-host": ("https://", "a lower-case host name"),
    "upper-case": ("https://Store.example", "a lower-case host name"),
    "space": ("https://store example", "a lower-case host name"),
    "line-end": ("https://store.example\n", "no white space"),
    "line-end-in-the-host": ("https://sto\nre.example", "no white space"),
    "space-before": (" https://store.example", "no white space"),
    "backslash": ("https://store.example\\evil.example", "a lower-case host name"),
    "not-ascii": ("https://störe.example", "a lower-case host name"),
    "percent": ("https://store%2eexample", "a lower-case host name"),
    "empty-port": ("https://store.example:", "a lower-case host name"),
    "padded-port": ("https://store.example:0443", "a lower-case host name"),
    "no-such-port": ("https://store.example:65536", "http(s)://host[:port]"),
    "open-bracket": ("https://[::1", "http(s)://host[:port]"),
    "query": ("https://store.example?a=b", "no query and only a plain path"),
    "fragment": ("https://store.example#a", "no query and only a plain path"),
    "dot-segments": ("https://store.example/a/../b", "only a plain path"),
    "doubled-slash": ("https://store.example//", "only a plain path"),
    "encoded-path": ("https://store.example/a%20b", "only a plain path"),
    "user": ("https://me:hunter2@store.example", "user name"),
    "user-and-bad-port": ("https://me:hunter2@store.example:abc", "user name"),
}


@pytest.mark.parametrize(("url", "parts", "host", "hostable"), GOOD.values(), ids=GOOD)
def test_an_endpoint_is_read(url: str, parts: Endpoint, host: str, hostable: bool) -> None:
    endpoint = parse_endpoint(url)
    assert endpoint == parts
    assert endpoint.host == host
    assert f"{endpoint.origin}{endpoint.path}" == url.removesuffix("/")
    assert is_virtual_hostable("my-bucket", endpoint) == hostable
    assert not is_virtual_hostable("my.bucket", endpoint)
    assert not is_virtual_hostable("my_bucket", endpoint)


@pytest.mark.parametrize(("url", "piece"), BAD.values(), ids=BAD)
def test_anything_else_is_refused_and_no_password_shown(url: Any, piece: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(piece)) as refusal:
        parse_endpoint(url)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None
