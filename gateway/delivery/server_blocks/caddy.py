"""Caddy: forward_auth before files, and a proxy to the gateway for everything else.

Must not send a file that the gateway was not asked about by its whole path.
Source: https://caddyserver.com/docs/caddyfile/directives/forward_auth
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.delivery.forward_auth import DISPOSITION_HEADER, POLICY_HEADER, SECRET_HEADER, TYPE_HEADER
from gateway.delivery.responses import EVERYWHERE
from gateway.delivery.server_blocks.site import Asking, Site, SiteError, Store, quoted

__all__ = ["block"]


def block(site: Site, stores: Iterable[Store]) -> str:
    """Return a site of a Caddyfile; with a host name as ``listen`` Caddy finds a certificate for it.

    Raises:
        SiteError: a value cannot be printed, or a protected path is of a bucket.
    """
    return "\n".join(_lines(site, {store.alias: store for store in stores})) + "\n"


def _lines(site: Site, stores: Mapping[str, Store]) -> Iterator[str]:
    address = site.listen if ":" in site.listen else f":{site.listen}"
    yield f"{'' if address.endswith(':443') else 'http://'}{address} {{"
    yield "    # A link in a log is a link: the address is left out of it."
    yield "    log {"
    yield f"        output file {quoted(site.access_log)}"
    yield "        format filter {"
    yield "            wrap json"
    yield "            fields {"
    yield '                request>uri regexp "[?].*" ""'
    yield "                request>headers delete"
    yield "                resp_headers delete"
    yield "            }"
    yield "        }"
    yield "    }"
    if site.asking is not None:
        yield f"    handle {site.asking.address} {{"
        yield "        respond 404"
        yield "    }"
        for prefix, alias in site.asking.paths.items():
            yield from _protected(site, site.asking, prefix, stores.get(alias))
    yield "    handle {"
    yield f"        reverse_proxy {_upstream(site)}"
    yield "    }"
    yield "}"


def _upstream(site: Site) -> str:
    return site.upstream.replace("unix:", "unix/")


def _protected(site: Site, asking: Asking, prefix: str, store: Store | None) -> Iterator[str]:
    if store is None or not store.root:
        raise SiteError(f"{prefix} is not of a directory, and only those are Caddy's to send")
    names = (TYPE_HEADER, DISPOSITION_HEADER, POLICY_HEADER)
    yield f"    handle {prefix}* {{"
    yield "        # In this order: the gateway is asked about the path as it was written."
    yield "        route {"
    yield f"            forward_auth {_upstream(site)} {{"
    yield f"                uri {asking.address}"
    yield f"                header_up {SECRET_HEADER} {asking.secret}"
    yield f"                copy_headers {' '.join(names)}"
    yield "            }"
    yield "            header {"
    yield f"                Content-Type {{http.request.header.{TYPE_HEADER}}}"
    yield f"                Content-Disposition {{http.request.header.{DISPOSITION_HEADER}}}"
    yield f"                Content-Security-Policy {{http.request.header.{POLICY_HEADER}}}"
    yield '                Cache-Control "private, no-cache"'
    for name, value in EVERYWHERE.items():
        yield f"                {name} {quoted(value)}"
    yield "            }"
    yield f"            uri strip_prefix {prefix.removesuffix('/')}"
    yield "            file_server {"
    yield f"                root {quoted(store.root)}"
    yield "            }"
    yield "        }"
    yield "    }"
