"""Apache: mod_proxy to the gateway, mod_xsendfile for files, mod_wsgi to ask before a file.

Must not let a path outside the storages' roots be sent.
Sources: https://httpd.apache.org/docs/2.4/mod/mod_proxy.html and https://tn123.org/mod_xsendfile/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.delivery.responses import EVERYWHERE, SANDBOX
from gateway.delivery.server_blocks.site import Asking, Site, SiteError, Store, quoted

__all__ = ["block"]


def block(site: Site, stores: Iterable[Store]) -> str:
    """Return a virtual host; it needs mod_headers, mod_proxy, mod_proxy_http and mod_xsendfile.

    Where Apache asks before it sends a file, mod_alias and mod_wsgi too, and to ask for a password mod_auth_basic
    and mod_authz_user.

    Raises:
        SiteError: a value cannot be printed, or Apache is to send files that are in no directory.
    """
    return "\n".join(_lines(site, {store.alias: store for store in stores})) + "\n"


def _lines(site: Site, stores: Mapping[str, Store]) -> Iterator[str]:
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
    if site.asking is not None:
        for prefix, alias in site.asking.paths.items():
            yield from _protected(site.asking, prefix, stores.get(alias))
    unix = site.upstream.startswith("unix:")
    yield f"    ProxyPass / {site.upstream + '|http://gateway' if unix else 'http://' + site.upstream}/ nocanon"
    sent = [store for store in stores.values() if store.delivery == "x_sendfile"]
    if sent:
        yield "    XSendFile On"
        yield "    # Of mod_xsendfile 0.12. Later ones decode names unless told: XSendFileUnescape Off"
        for store in sent:
            yield f"    XSendFilePath {quoted(store.root)}"
    yield "</VirtualHost>"


def _protected(asking: Asking, prefix: str, store: Store | None) -> Iterator[str]:
    if store is None or not store.root:
        raise SiteError(f"{prefix} is of a storage that is no directory; Apache sends files from directories alone")
    yield f"    ProxyPass {prefix} !"
    yield f"    Alias {prefix} {quoted(store.root + '/')}"
    yield f"    <Directory {quoted(store.root)}>"
    yield "        # No index, no other file in place of the one that was decided about, no symbolic link."
    yield "        Options None"
    yield "        AllowOverride None"
    yield "        AcceptPathInfo Off"
    yield "        MaxRanges 1"
    # The interpreter that every extension module is made for.
    script = f"{quoted(asking.script)} application-group=%{{GLOBAL}}"
    if asking.identity == "password":
        yield "        AuthType Basic"
        yield '        AuthName "Files"'
        yield "        AuthBasicProvider wsgi"
        yield f"        WSGIAuthUserScript {script}"
        yield "        Require valid-user"
    else:
        yield f"        WSGIAccessScript {script}"
        yield "        Require all granted"
    yield "        # Nothing tells Apache a type or a name: all are downloads of none."
    yield "        SetHandler none"
    yield "        ForceType application/octet-stream"
    yield "        Header always set Content-Disposition attachment"
    yield '        Header always set Cache-Control "private, no-cache"'
    for name, value in EVERYWHERE.items():
        yield f"        Header always set {name} {quoted(value)}"
    yield f"        Header always set Content-Security-Policy {quoted(SANDBOX)}"
    yield "    </Directory>"
