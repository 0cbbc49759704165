"""``manage.py gateway_conf SERVER``: print the block that a web server in front of the gateway is configured with.

Must not write anything, nor print a value that the server would read as more than a value.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from gateway.conf import conf
from gateway.delivery.server_blocks import apache, caddy, lighttpd, nginx
from gateway.delivery.server_blocks.site import Asking, Site, SiteError, stores

BLOCKS = {"nginx": nginx.block, "apache": apache.block, "caddy": caddy.block, "lighttpd": lighttpd.block}


class Command(BaseCommand):
    """Print a server block."""

    help = "Print the configuration of a web server in front of the gateway, made of this project's storages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("server", choices=BLOCKS)
        parser.add_argument("--listen", default="80", help="host:port or port (default: 80)")
        parser.add_argument("--server-name", default="localhost", help="the site's host name")
        parser.add_argument("--upstream", default="127.0.0.1:8000", help="host:port or unix:/path of the gateway")
        parser.add_argument("--access-log", default="/var/log/gateway-access.log", help="path of the access log")
        parser.add_argument("--with-secret", action="store_true", help="print FORWARD_AUTH's secret where it belongs")
        parser.add_argument("--resolver", default="", help="name server, for nginx to find stores with")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            site = Site(
                listen=options["listen"],
                server_name=options["server_name"],
                upstream=options["upstream"],
                access_log=options["access_log"],
                resolver=options["resolver"],
                asking=_asking(options["server"], options["with_secret"]),
            )
            self.stdout.write(BLOCKS[options["server"]](site, stores()), ending="")
        except SiteError as error:
            raise CommandError(str(error)) from error


def _asking(server: str, with_secret: bool) -> Asking | None:
    given = conf().forward_auth
    if not given or given["proxy"] != server:
        return None
    if not with_secret:
        raise CommandError(
            "the block holds the secret of GATEWAY['FORWARD_AUTH']; say --with-secret, and let nobody read the file"
            " but the server"
        )
    address = reverse("presign_gateway:forward_auth")
    return Asking(proxy=server, address=address, secret=given["secret"], paths=given["paths"])
