"""What Apache's own interpreter imports, in a directory that Apache's user can read.

Must not copy what is never imported: an environment is large, and the tests' own is nobody else's to read.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path

__all__ = ["IMPORTED", "SCRIPT", "copy_tree"]

OURS = ("gateway", "providers", "settings", "tests")
# As the documentation has it.
SCRIPT = """\
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from gateway.delivery.apache_wsgi import allow_access, check_password  # after the settings are read
"""
# Run after the script: the top-level packages and modules of the environment that it came to import.
IMPORTED = """
import json, sys, sysconfig
from pathlib import Path
import tests.gateway.delivery.path_policy, tests.gateway.delivery.urls
site = Path(sysconfig.get_path("purelib"))
files = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
print(json.dumps(sorted({file.relative_to(site).parts[0] for file in files if file.is_relative_to(site)})))
"""


def copy_tree(imported: str, sources: Path, target: Path) -> None:
    """Copy the environment's packages that :data:`IMPORTED` printed, and those of ``sources``.

    Their binary libraries lie beside them, and some ask which version of themselves is installed.
    """
    site = Path(sysconfig.get_path("purelib"))
    names = json.loads(imported)
    beside = [
        path.name
        for path in site.iterdir()
        if path.suffix == ".libs" or (path.suffix == ".dist-info" and not path.is_symlink())
    ]
    ignore = shutil.ignore_patterns("__pycache__", "*.po", "node_modules", "RECORD")
    for name in [*names, *beside]:
        source = site / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore, symlinks=True)
        else:
            shutil.copy2(source, target / name)
    for name in OURS:
        shutil.copytree(sources / name, target / name, ignore=ignore, symlinks=True)
