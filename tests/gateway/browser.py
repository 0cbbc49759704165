"""How tests drive a real browser: Chromium, without a window, whose document is read when it has loaded.

Must not keep anything between two tests.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.emulators.process import clean_environment


def look(program: str, url: str, home: Path) -> str:
    """Open a page, its images too, in a browser that keeps its cache in ``home``; return the document."""
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={home / 'profile'}", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(
        command, env=clean_environment(home), stdin=subprocess.DEVNULL, capture_output=True, timeout=90, check=True
    )
    return done.stdout.decode()
