"""``manage.py gateway_conf SERVER``: print the block that a web server in front of the gateway is configured with.

Must not write anything, nor print a value that the server would read as more than a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.urls import reverse

from gateway.conf import conf
from gateway.delivery.server_blocks import apache, caddy, lighttpd, nginx
from gateway.delivery.server_blocks.site import Asking, Site, SiteError, stores
from gateway.management.base import GatewayCommand

BLOCKS = {"nginx": nginx.block, "apache": apache.block, "caddy": caddy.block, "lighttpd": lighttpd.block}


class Command(GatewayCommand):
    """Print a server block."""

    help = "Print the configuration of a web server in front of the gateway, made of this project's storages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("server", choices=BLOCKS)
        parser.add_argument("--listen", default="80", help="host:port or port (default: 80)")
        parser.add_argument("--server-name", default="localhost", help="the site's host name")
        parser.add_argument("--upstream", default="127.0.0.1:8000", help="host:port or unix:/path of the gateway")
        parser.add_argument("--access-log", default="/var/log/gateway-access.log", help="path of the access log")
        parser.add_argument("--with-secret", action="store_true", help="print secrets where the server needs them")
        parser.add_argument("--wsgi-script", default="", help="path of the project's wsgi.py, which Apache asks")
        identities = ("password", "session")
        parser.add_argument("--identity", choices=identities, default="password", help="what Apache asks by")
        parser.add_argument("--resolver", default="", help="name server, for nginx to find stores with")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            site = Site(
                listen=options["listen"],
                server_name=options["server_name"],
                upstream=options["upstream"],
                access_log=options["access_log"],
                resolver=options["resolver"],
                asking=_asking(options),
            )
            found = list(stores())
            if options["server"] == "nginx" and any(store.secret for store in found):
                _check_secret(options["with_secret"], "secure_link")
            self.stdout.write(BLOCKS[options["server"]](site, found), ending="")
        except SiteError as error:
            raise CommandError(str(error)) from error


def _asking(options: Mapping[str, Any]) -> Asking | None:
    given, server = conf().forward_auth, options["server"]
    if not given or given["proxy"] != server:
        return None
    address = reverse("presign_gateway:forward_auth")
    if server == "apache":
        if not options["wsgi_script"]:
            raise CommandError("GATEWAY['FORWARD_AUTH'] has Apache ask a file of the project; say --wsgi-script")
        script, identity = options["wsgi_script"], options["identity"]
        return Asking(proxy=server, address=address, secret="", paths=given["paths"], script=script, identity=identity)
    _check_secret(options["with_secret"], "GATEWAY['FORWARD_AUTH']")
    return Asking(proxy=server, address=address, secret=given["secret"], paths=given["paths"])


def _check_secret(with_secret: bool, name: str) -> None:
    if not with_secret:
        raise CommandError(
            f"the block holds the secret of {name}; say --with-secret, and let nobody read the file but the server"
        )
