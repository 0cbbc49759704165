"""lighttpd: mod_proxy to the gateway, and X-Sendfile for files.

Must not let a path outside the storages' roots be sent.
Source: https://redmine.lighttpd.net/projects/lighttpd/wiki/X-LIGHTTPD-send-file
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.delivery.server_blocks.site import Site, SiteError, Store, quoted

__all__ = ["block"]


def block(site: Site, stores: Iterable[Store]) -> str:
    """Return a configuration for lighttpd 1.4.60 and later, which has one port and one gateway.

    Raises:
        SiteError: a value cannot be printed.
    """
    return "\n".join(_lines(site, [store for store in stores if store.delivery == "x_lighttpd"])) + "\n"


def _lines(site: Site, stores: list[Store]) -> Iterator[str]:
    host, _, port = site.listen.rpartition(":")
    if not port.isdecimal():
        raise SiteError(f"listen is {site.listen!r}; host:port or a port")
    yield 'server.modules += ("mod_proxy", "mod_accesslog")'
    if host:
        yield f"server.bind = {quoted(host)}"
    yield f"server.port = {port}"
    yield f"accesslog.filename = {quoted(site.access_log)}"
    yield "# A link in a log is a link: %U is the path alone."
    yield r'accesslog.format = "%h %t \"%m %U\" %>s %B"'
    yield "# Another way of writing a path is for the gateway to refuse."
    yield 'server.follow-symlink = "disable"'
    yield 'proxy.server = ("" => ((' + ", ".join(_upstream(site)) + ","
    if stores:
        yield '    "x-sendfile" => "enable",'
        yield f'    "x-sendfile-docroot" => ({", ".join(quoted(store.root + "/") for store in stores)}),'
    yield ")))"


def _upstream(site: Site) -> Iterator[str]:
    if site.upstream.startswith("unix:"):
        yield f'"socket" => {quoted(site.upstream.removeprefix("unix:"))}'
        return
    host, _, port = site.upstream.rpartition(":")
    if not port.isdecimal():
        raise SiteError(f"upstream is {site.upstream!r}; host:port or unix:/path")
    yield f'"host" => {quoted(host)}'
    yield f'"port" => {port}'
