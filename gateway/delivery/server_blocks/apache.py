"""Apache: mod_proxy to the gateway, and mod_xsendfile for files.

Must not let a path outside the storages' roots be sent.
Sources: https://httpd.apache.org/docs/2.4/mod/mod_proxy.html and https://tn123.org/mod_xsendfile/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.delivery.server_blocks.site import Site, Store, quoted

__all__ = ["block"]


def block(site: Site, stores: Iterable[Store]) -> str:
    """Return a virtual host; it needs mod_headers, mod_proxy, mod_proxy_http and mod_xsendfile.

    Raises:
        SiteError: a value cannot be printed.
    """
    return "\n".join(_lines(site, [store for store in stores if store.delivery == "x_sendfile"])) + "\n"


def _lines(site: Site, stores: list[Store]) -> Iterator[str]:
    yield "# A link in a log is a link: %U is the path alone."
    yield r'LogFormat "%h %t \"%m %U\" %>s %B" gateway'
    yield f"<VirtualHost {site.listen if ':' in site.listen else '*:' + site.listen}>"
    yield f"    ServerName {site.server_name}"
    yield f"    CustomLog {quoted(site.access_log)} gateway"
    yield "    # Names reach the gateway as they were written; it refuses what is not canonical."
    yield "    AllowEncodedSlashes NoDecode"
    yield "    ProxyPreserveHost On"
    yield "    ProxyRequests Off"
    yield '    RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"'
    yield "    RequestHeader unset X-Forwarded-For"
    unix = site.upstream.startswith("unix:")
    yield f"    ProxyPass / {site.upstream + '|http://gateway' if unix else 'http://' + site.upstream}/ nocanon"
    if stores:
        yield "    XSendFile On"
        yield "    # Of mod_xsendfile 0.12. Later ones decode names unless told: XSendFileUnescape Off"
        for store in stores:
            yield f"    XSendFilePath {quoted(store.root)}"
    yield "</VirtualHost>"
