"""A process whose files have little room: one upload that does not fit, one that does, and what is left.

Run as ``python -m tests.gateway.delivery.full_disk ROOT LIMIT``, where a LIMIT over 0 is of bytes in a file.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path


def main(root: Path, limit_bytes: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    import django

    django.setup()
    from django.conf import settings
    from django.core.files.storage import storages
    from django.core.management import call_command

    settings.ROOT_URLCONF = "tests.gateway.delivery.urls"
    storages["private"]._location = root  # type: ignore[attr-defined]

    from providers.types import Upload
    from tests.gateway.delivery.support import follow, sign

    # A good link is asked about in the database, which is in memory.
    call_command("migrate", verbosity=0)
    if limit_bytes:
        # Without the signal, writing beyond the limit is an error as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    statuses = []
    for key, size_bytes in (("large", 4 * 2**20), ("small", 100_000)):
        upload = Upload(f"uploads/{key}", content_type="image/png", size_bytes=size_bytes)
        headers = {"Content-Type": "image/png", "Content-Length": str(size_bytes)}
        answer = follow("wsgi", sign(upload).url, method="PUT", headers=headers, body=bytes(size_bytes))
        statuses.append(answer.status)
    files = {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    print(json.dumps({"statuses": statuses, "files": files}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
