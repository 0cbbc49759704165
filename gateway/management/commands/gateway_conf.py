"""``manage.py gateway_conf SERVER``: print the block that a web server in front of the gateway is configured with.

Must not write anything, nor print a value that the server would read as more than a value.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.delivery.server_blocks import apache, lighttpd, nginx
from gateway.delivery.server_blocks.site import Site, SiteError, stores

BLOCKS = {"nginx": nginx.block, "apache": apache.block, "lighttpd": lighttpd.block}


class Command(BaseCommand):
    """Print a server block."""

    help = "Print the configuration of a web server in front of the gateway, made of this project's storages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("server", choices=BLOCKS)
        parser.add_argument("--listen", default="80", help="host:port or port (default: 80)")
        parser.add_argument("--server-name", default="localhost", help="the site's host name")
        parser.add_argument("--upstream", default="127.0.0.1:8000", help="host:port or unix:/path of the gateway")
        parser.add_argument("--access-log", default="/var/log/gateway-access.log", help="path of the access log")
        parser.add_argument("--resolver", default="", help="name server, for nginx to find stores with")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            site = Site(
                listen=options["listen"],
                server_name=options["server_name"],
                upstream=options["upstream"],
                access_log=options["access_log"],
                resolver=options["resolver"],
            )
            self.stdout.write(BLOCKS[options["server"]](site, stores()), ending="")
        except SiteError as error:
            raise CommandError(str(error)) from error
