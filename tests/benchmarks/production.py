"""A process under production settings that measures: one module, one store, one database.

Must not measure anything itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["HOST", "measured_by"]

HOST = "files.example.com"


def measured_by(
    module: str, *arguments: str, database_url: str, entry: Mapping[str, Any], more: Mapping[str, str] | None = None
) -> Any:
    """Run a module and return the JSON that it prints.

    Args:
        entry: of ``STORAGES``, for the alias ``private``.
        more: variables of the environment beside those of the settings.
    """
    with tempfile.TemporaryDirectory() as temporary:
        storages = Path(temporary) / "storages.json"
        storages.write_text(json.dumps({"private": entry}))
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "SECRET_KEY": "benchmark-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz",
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": database_url,
            "GATEWAY_PUBLIC_URL": f"https://{HOST}",
            "GATEWAY_STORAGES_FILE": str(storages),
            **(more or {}),
        }
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)
