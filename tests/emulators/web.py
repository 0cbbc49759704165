"""Web servers as they stand in front of the gateway: each with the one block that it was given, and no more.

It must not add a rule of its own: what surrounds the block is what a distribution's own files would say.
"""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from tests.emulators.process import LOOPBACK, Emulator, Unavailable, free_port, port_is_open, require_programs

MakeBlock = Callable[[str, Path], str]


class WebServer(Emulator):
    """Run a web server with one block.

    Args:
        make_block: returns the block for ``host:port`` and the path of an access log.
    """

    program: ClassVar[str]
    environment: dict[str, str] | None = None

    def __init__(self, make_block: MakeBlock) -> None:
        self._make_block = make_block

    def _check_installed(self) -> None:
        require_programs(self.name, [self.program])

    def _start(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.access_log = self.directory / "access.log"
        self.block_path = self.directory / "block.conf"
        self.block_path.write_text(self._make_block(f"{LOOPBACK}:{self.port}", self.access_log))
        self.hand_over(self.directory)
        self.child = self.spawn(self.name, self._command(), extra_environment=self.environment)
        self.wait_until(lambda: port_is_open(self.port), what="the server")

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """Write what surrounds the block, and return what starts the server in the foreground."""

    def log(self) -> str:
        """Return all that the server wrote down."""
        logs = (self.access_log, self.directory / "error.log", self.child.log_path)
        return "".join(path.read_text() for path in logs if path.exists())


class Nginx(WebServer):
    name = program = "nginx"

    def _command(self) -> list[str | Path]:
        path = self.directory / "nginx.conf"
        temporary = "".join(
            f"    {kind}_temp_path {self.directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""  # the files are this user's alone
        path.write_text(
            f"{user}worker_processes 1;\ndaemon off;\npid {self.directory}/pid;\nerror_log stderr;\n"
            f"events {{ }}\nhttp {{\n{temporary}    include {self.block_path};\n}}\n"
        )
        return ["nginx", "-p", self.directory, "-e", "stderr", "-c", path]


class Apache(WebServer):
    name = "apache"
    program = "apache2"
    MODULES: ClassVar[tuple[str, ...]] = (
        "mpm_event", "authz_core", "authz_host", "headers", "proxy", "proxy_http", "xsendfile",
    )  # fmt: skip

    def __init__(self, make_block: MakeBlock) -> None:
        super().__init__(make_block)
        # Apache refuses to serve as root.
        self.user = "www-data" if os.geteuid() == 0 else None

    def _command(self) -> list[str | Path]:
        path = self.directory / "apache2.conf"
        modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in self.MODULES)
        path.write_text(
            f"{modules}ServerRoot {self.directory}\nDefaultRuntimeDir {self.directory}\nPidFile {self.directory}/pid\n"
            f"ErrorLog {self.directory}/error.log\nServerName localhost\nListen {LOOPBACK}:{self.port}\n"
            "<Directory />\n    AllowOverride None\n    Require all denied\n</Directory>\n"
            f"{self._more()}Include {self.block_path}\n"
        )
        return ["apache2", "-d", self.directory, "-f", path, "-DFOREGROUND"]

    def _more(self) -> str:
        return ""


class ApacheWSGI(Apache):
    """Apache with Debian's mod_wsgi, whose interpreter is Debian's own.

    Args:
        python_path: directory of all that it imports beside the standard library.
        environment: of the server's process, and so of the interpreter in it.
    """

    name = "apache_wsgi"
    MODULES: ClassVar[tuple[str, ...]] = (
        *Apache.MODULES, "alias", "auth_basic", "authn_core", "authz_user", "wsgi",
    )  # fmt: skip

    def __init__(self, make_block: MakeBlock, python_path: Path, environment: dict[str, str]) -> None:
        super().__init__(make_block)
        self.python_path = python_path
        self.environment = environment

    def _check_installed(self) -> None:
        super()._check_installed()
        # The extension modules of this environment are for its own version of Python alone.
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if not Path(f"/usr/lib/apache2/modules/mod_wsgi.so-{version}").exists():
            raise Unavailable(self.name, [f"libapache2-mod-wsgi-py3 of Python {version}"])

    def _more(self) -> str:
        one_process = "ServerLimit 1\nStartServers 1\nThreadsPerChild 8\nMaxRequestWorkers 8\n"  # each imports it all
        return f"{one_process}WSGIPythonHome /usr\nWSGIPythonPath {self.python_path}\n"


class Lighttpd(WebServer):
    name = program = "lighttpd"

    def _command(self) -> list[str | Path]:
        path = self.directory / "lighttpd.conf"
        (self.directory / "root").mkdir(exist_ok=True)
        path.write_text(
            f'server.document-root = "{self.directory}/root"\nserver.upload-dirs = ("{self.directory}")\n'
            f'include "{self.block_path}"\n'
        )
        return ["lighttpd", "-D", "-f", path]


class Caddy(WebServer):
    name = program = "caddy"

    def _command(self) -> list[str | Path]:
        path = self.directory / "Caddyfile"
        path.write_text(
            f"{{\n    admin off\n    auto_https off\n    storage file_system {self.directory}\n}}\n"
            f"import {self.block_path}\n"
        )
        return ["caddy", "run", "--config", path, "--adapter", "caddyfile"]
