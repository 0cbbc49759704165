"""How gunicorn serves the service: ``gunicorn --config python:settings.gunicorn``.

Sizes come from the environment; the application is loaded once, before the workers are forked.
"""

from __future__ import annotations

import os
from pathlib import Path

from settings.logs import LOGGING

wsgi_app = "settings.wsgi"
bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("GUNICORN_WORKERS", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "8"))
worker_class = "gthread"

# Signers and clients are made by the process that uses them, so nothing that is forked is shared.
preload_app = True
# The service stands at the root of its host: no header moves a request to another path, whoever sends it.
forwarder_headers = ""
# Nothing asks it, and its socket needs a place to write.
control_socket_disable = True
# A request that is under way when the service is stopped has this long to end, in seconds.
graceful_timeout = 30

# Workers say by a file that they are alive, which must not be on a disk that blocks.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

logconfig_dict = LOGGING | {
    "loggers": {name: {"level": "INFO", "propagate": True} for name in ("gunicorn.error", "gunicorn.access")}
}
accesslog = "-"
# The path without its query: a link in a log is a link.
access_log_format = "%(h)s %(m)s %(U)s %(s)s %(b)s %(M)s ms %({x-request-id}o)s"
