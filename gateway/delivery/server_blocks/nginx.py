"""nginx: X-Accel-Redirect to files and to buckets, auth_request before them, secure_link.

Must not let a client reach an internal location, nor send a client's credentials to a store.
Sources: https://nginx.org/en/docs/http/ngx_http_core_module.html and .../ngx_http_proxy_module.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.delivery.forward_auth import DISPOSITION_HEADER, HEADERS, POLICY_HEADER, SECRET_HEADER, TYPE_HEADER
from gateway.delivery.responses import EVERYWHERE
from gateway.delivery.secure_link import EXPRESSIONS, SIGNED
from gateway.delivery.server_blocks.site import Asking, Site, SiteError, Store, inline_types, quoted
from gateway.delivery.stream import PRECONDITIONS
from gateway.delivery.x_accel import FILES, LINKS, REQUEST_HEADER

__all__ = ["block"]

# What stores say about themselves; nginx can leave out only what it is told by name.
_OF_THE_STORE = (
    *("x-amz-id-2", "x-amz-request-id", "x-amz-version-id", "x-amz-expiration", "x-amz-storage-class"),
    *("x-amz-replication-status", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"),
    *(f"x-amz-checksum-{kind}" for kind in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256", "type")),
    *("x-rgw-object-type", "x-goog-generation", "x-goog-metageneration", "x-goog-hash", "x-goog-storage-class"),
    *("x-goog-stored-content-encoding", "x-goog-stored-content-length", "x-guploader-uploadid"),
    *("x-ms-request-id", "x-ms-version", "x-ms-version-id", "x-ms-creation-time", "x-ms-blob-type"),
    *("x-ms-lease-state", "x-ms-lease-status", "x-ms-server-encrypted", "x-ms-is-current-version"),
)


def block(site: Site, stores: Iterable[Store]) -> str:
    """Return what belongs into nginx's ``http`` block.

    Raises:
        SiteError: a value cannot be printed, or a bucket's name cannot be found without a resolver.
    """
    return "\n".join(_lines(site, {store.alias: store for store in stores})) + "\n"


def _lines(site: Site, stores: Mapping[str, Store]) -> Iterator[str]:
    yield "# A link in a log is a link: the path alone is logged, as the client wrote it."
    yield "map $request_uri $gateway_path {"
    yield '    "~^([^?]*)" $1;'
    yield "}"
    yield "log_format gateway '$remote_addr [$time_local] \"$request_method $gateway_path\" $status $body_bytes_sent';"
    yield "# One range: of several, a store may make an answer many times the object's size. And none with If-Range,"
    yield "# which not every store knows: the whole is right whatever changed."
    yield "map $http_if_range:$http_range $gateway_range {"
    yield '    default "";'
    yield '    "~^:bytes=([0-9]+-[0-9]*|-[0-9]+)$" $http_range;'
    yield "}"
    yield "server {"
    yield f"    listen {site.listen};"
    yield f"    server_name {site.server_name};"
    yield "    server_tokens off;"
    yield f"    access_log {quoted(site.access_log)} gateway;"
    yield "    client_max_body_size 0;  # the gateway has bounds of its own"
    yield ""
    yield "    location / {"
    yield f"        proxy_pass http://{site.upstream};"
    yield from _towards_the_gateway()
    yield "    }"
    yield "    # Both slashes: without them a sibling of the directory would be served."
    yield "    location /.gateway/ {"
    yield "        internal;"
    yield "        return 404;"
    yield "    }"
    for store in stores.values():
        if store.delivery == "x_accel":
            yield from _files(store) if store.root else _links(site, store)
        elif store.delivery in EXPRESSIONS:
            yield from _signed(store)
    if site.asking is not None:
        yield from _asking(site, site.asking)
        for prefix, alias in site.asking.paths.items():
            yield from _protected(site, prefix, _of(stores, alias))
    for status in ("403", "404", "502"):
        yield f"    location @gateway_{status} {{"
        yield '        add_header Cache-Control "private, no-store" always;'
        yield f"        return {status};"
        yield "    }"
    yield "}"


def _of(stores: Mapping[str, Store], alias: str) -> Store:
    if alias not in stores:
        raise SiteError(f"FORWARD_AUTH names {alias!r}, which is no private storage")
    return stores[alias]


def _towards_the_gateway() -> Iterator[str]:
    yield "        proxy_http_version 1.1;"
    yield "        proxy_set_header Host $http_host;"
    yield "        proxy_set_header X-Forwarded-Proto $scheme;"
    yield "        proxy_set_header X-Forwarded-For $remote_addr;"


def _asking(site: Site, asking: Asking) -> Iterator[str]:
    uri, method = HEADERS["nginx"]
    yield f"    location = {asking.address} {{ return 404; }}"
    yield "    location = /.gateway/asking {"
    yield "        internal;"
    yield f"        proxy_pass http://{site.upstream}{':' * site.upstream.startswith('unix:')}{asking.address};"
    yield from _towards_the_gateway()
    yield "        proxy_pass_request_body off;"
    yield '        proxy_set_header Content-Length "";'
    yield "        # Raw: $uri has been decoded, and could hold a line of its own."
    yield f"        proxy_set_header {uri} $request_uri;"
    yield f"        proxy_set_header {method} $request_method;"
    yield f"        proxy_set_header {SECRET_HEADER} {asking.secret};"
    yield "    }"


def _protected(site: Site, prefix: str, store: Store) -> Iterator[str]:
    yield f"    location ^~ {prefix} {{"
    yield "        auth_request /.gateway/asking;"
    variables = {
        "gateway_type": TYPE_HEADER,
        "gateway_disposition": DISPOSITION_HEADER,
        "gateway_policy": POLICY_HEADER,
    }
    if not store.root:
        variables["gateway_request"] = REQUEST_HEADER
    for variable, header in variables.items():
        yield f"        auth_request_set ${variable} $upstream_http_{header.lower().replace('-', '_')};"
    if store.root:
        yield f"        alias {quoted(store.root + '/')};"
        yield f"        disable_symlinks on from={quoted(store.root)};"
        yield "        max_ranges 1;"
        yield "        types {"
        for content_type, endings in inline_types(store.alias).items():
            yield f"            {content_type} {' '.join(endings)};"
        yield "        }"
        yield "        default_type application/octet-stream;"
    else:
        yield from _store(site, store, denied="403")
        yield "        add_header Content-Type $gateway_type;"
    yield "        add_header Content-Disposition $gateway_disposition;"
    yield "        # On refusals, too: a cache in front would keep them for the next one who asks."
    yield '        add_header Cache-Control "private, no-cache" always;'
    yield from _headers()
    yield "    }"


def _files(store: Store) -> Iterator[str]:
    yield f"    location {FILES}{store.alias}/ {{"
    yield "        internal;"
    yield "        set $gateway_policy $upstream_http_content_security_policy;"
    yield f"        alias {quoted(store.root + '/')};"
    yield f"        disable_symlinks on from={quoted(store.root)};"
    yield "        max_ranges 1;"
    yield "        types { }"
    yield "        default_type application/octet-stream;"
    yield from _headers()
    yield "    }"


def _signed(store: Store) -> Iterator[str]:
    yield f"    location {SIGNED}{store.alias}/ {{"
    yield "        secure_link $arg_md5,$arg_expires;"
    yield "        # Only in this order: another can be cut again into another path and time."
    yield f'        secure_link_md5 "{EXPRESSIONS[store.delivery]} {store.secret}";'
    yield '        if ($secure_link != "1") { return 403; }'
    yield f"        alias {quoted(store.root + '/')};"
    yield f"        disable_symlinks on from={quoted(store.root)};"
    yield "        max_ranges 1;"
    yield "        # Nothing signs a type or a name: all are downloads of none."
    yield "        types { }"
    yield "        default_type application/octet-stream;"
    yield "        add_header Content-Disposition attachment always;"
    yield '        add_header Cache-Control "private, no-store" always;'
    yield "        set $gateway_policy \"sandbox; default-src 'none'\";"
    yield from _headers()
    yield "    }"


def _links(site: Site, store: Store) -> Iterator[str]:
    yield f"    location = {LINKS}{store.alias} {{"
    yield "        internal;"
    yield "        # Kept now: from the store's answer on, these names mean that one."
    yield "        set $gateway_policy $upstream_http_content_security_policy;"
    yield f"        set $gateway_request $upstream_http_{REQUEST_HEADER.lower().replace('-', '_')};"
    yield from _store(site, store, denied="404")
    yield from _headers()
    yield "    }"


def _store(site: Site, store: Store, *, denied: str) -> Iterator[str]:
    """Send the signed request; ``denied`` is what a refusal is answered with, the gateway's and the store's alike."""
    if store.is_named:
        if not site.resolver:
            raise SiteError(f"{store.host} is a name, whose address changes; nginx needs --resolver to find it")
        yield f"        resolver {site.resolver};"
    yield "        # With a variable nginx sends the request as it was signed, and encodes nothing again."
    yield f"        proxy_pass {store.origin}$gateway_request;"
    yield from _towards_the_store(site, store)
    # The store's own pages name the bucket.
    yield "        proxy_intercept_errors on;"
    yield "        error_page 400 404 405 = @gateway_404;"
    yield f"        error_page 403 = @gateway_{denied};"
    yield "        error_page 301 302 303 307 308 500 501 502 503 504 = @gateway_502;"
    yield from _from_the_store()


def _towards_the_store(site: Site, store: Store) -> Iterator[str]:
    yield "        proxy_http_version 1.1;"
    yield "        # Neither cookie nor Authorization: the request brings its own signature."
    yield "        proxy_pass_request_headers off;"
    yield "        proxy_pass_request_body off;"
    yield f"        proxy_set_header Host {store.host};"
    yield '        proxy_set_header Connection "";'
    yield '        proxy_set_header Content-Length "";'
    yield "        proxy_set_header Range $gateway_range;"
    for name in PRECONDITIONS:
        yield f"        proxy_set_header {name} $http_{name.lower().replace('-', '_')};"
    if store.origin.startswith("https:"):
        yield "        proxy_ssl_server_name on;"
        yield "        proxy_ssl_verify on;"
        yield "        proxy_ssl_verify_depth 4;"
        yield f"        proxy_ssl_trusted_certificate {quoted(site.certificates)};"
        yield f"        proxy_ssl_name {store.host.partition(':')[0]};"
    yield "        proxy_max_temp_file_size 0;"


def _from_the_store() -> Iterator[str]:
    yield "        # What these say was decided by the gateway, whose headers stay."
    for name in ("Content-Type", "Content-Disposition", "Cache-Control", "Expires", "Set-Cookie", *_OF_THE_STORE):
        yield f"        proxy_hide_header {name};"
    yield "        proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering"
    yield "            X-Accel-Charset Set-Cookie;"


def _headers() -> Iterator[str]:
    yield "        # Of the gateway's headers nginx keeps a few, and drops these."
    for name, value in EVERYWHERE.items():
        yield f"        add_header {name} {quoted(value)} always;"
    yield "        add_header Content-Security-Policy $gateway_policy always;"
