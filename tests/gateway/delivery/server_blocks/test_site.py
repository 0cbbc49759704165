"""What is printed into a server's configuration cannot be read as more than a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.delivery.server_blocks import nginx
from gateway.delivery.server_blocks.site import Site, SiteError, Store, quoted, stores

USUAL = {"listen": "127.0.0.1:80", "server_name": "a.example", "upstream": "127.0.0.1:8000", "access_log": "/log"}

ODD_SITES = {
    "listen": {"listen": "80; return 200"},
    "server-name": {"server_name": "a b"},
    "upstream-new-line": {"upstream": "127.0.0.1:8000\n}"},
    "upstream-scheme": {"upstream": "http://127.0.0.1:8000"},
    "socket": {"upstream": "unix:/run/a;b"},
    "resolver": {"resolver": "10.0.0.1; }"},
}


@pytest.mark.parametrize("odd", ODD_SITES.values(), ids=ODD_SITES)
def test_an_address_that_is_more_than_one_is_refused(odd: dict[str, str]) -> None:
    with pytest.raises(SiteError):
        Site(**(USUAL | odd))


@pytest.mark.parametrize(
    "value",
    ['/a"b', "/a\\b", "/a$b", "/a\nb", "/a%{x}b", "/a{b", "/a`b"],
    ids=["quote", "backslash", "dollar", "new-line", "expression", "brace", "backtick"],
)
def test_a_path_that_a_server_would_read_as_more_is_refused(value: str) -> None:
    with pytest.raises(SiteError):
        quoted(value)


def test_a_path_with_a_space_is_quoted() -> None:
    assert quoted("/srv/our files") == '"/srv/our files"'


def test_each_private_storage_is_named_by_where_it_is(settings: Any, tmp_path: Path) -> None:
    settings.STORAGES = settings.STORAGES | {
        "bucket": {
            "BACKEND": "gateway.storages.PrivateS3Storage",
            "OPTIONS": {
                "bucket_name": "bkt", "region_name": "eu-central-1", "access_key": "a", "secret_key": "s",
                "delivery": "x_accel",
            },
        },
        "files": {
            "BACKEND": "gateway.storages.PrivateFileSystemStorage",
            "OPTIONS": {"location": tmp_path, "delivery": "stream"},
        },
    }  # fmt: skip
    found = {store.alias: store for store in stores()}
    assert set(found) == {"private", "bucket", "files"}
    assert (found["files"].root, found["files"].delivery) == (str(tmp_path), "stream")
    bucket = found["bucket"]
    assert (bucket.origin, bucket.root, bucket.is_named) == ("https://bkt.s3.eu-central-1.amazonaws.com", "", True)


@pytest.mark.parametrize(
    ("host", "named"),
    [("127.0.0.1:9000", False), ("[::1]:9000", False), ("a.example", True), ("localhost:9000", True)],
    ids=["ipv4", "ipv6", "name", "name-with-port"],
)
def test_an_address_in_numbers_needs_no_resolver(host: str, named: bool) -> None:
    assert Store(alias="b", delivery="x_accel", root="", base_url=f"http://{host}/b/").is_named is named


def test_a_store_whose_address_changes_needs_a_resolver() -> None:
    store = Store(alias="b", delivery="x_accel", root="", base_url="https://b.example/")
    with pytest.raises(SiteError, match="--resolver"):
        nginx.block(Site(**USUAL), [store])
    block = nginx.block(Site(**USUAL, resolver="10.0.0.1"), [store])
    assert "resolver 10.0.0.1;" in block
    assert "proxy_ssl_verify on;" in block
    assert "proxy_ssl_name b.example;" in block
