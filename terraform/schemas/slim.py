"""Cut the output of ``terraform providers schema -json`` down to the types that the modules and examples use.

    terraform providers schema -json | python terraform/schemas/slim.py > terraform/schemas/aws-5.100.0.json

Must not change what it keeps, descriptions left out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_DECLARED = re.compile(r'^(resource|data) "([a-z0-9_]+)"', re.MULTILINE)
_KEPT = {"attributes", "block", "block_types", "computed", "max_items", "min_items", "nesting_mode"}
_KEPT |= {"optional", "required", "sensitive", "type", "version"}


def used_types(kind: str) -> set[str]:
    """Return the types of every ``resource``, or every ``data`` source, below this folder's parent."""
    files = [path for path in _ROOT.rglob("*.tf") if ".terraform" not in path.parts]
    declared = [pair for path in files for pair in _DECLARED.findall(path.read_text())]
    return {name for declared_kind, name in declared if declared_kind == kind}


def slim(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema document with the used types alone."""
    providers = {}
    for address, provider in document["provider_schemas"].items():
        providers[address] = {"provider": _facts(provider["provider"])}
        for kind, key in (("resource", "resource_schemas"), ("data", "data_source_schemas")):
            types = provider.get(key, {})
            providers[address][key] = {name: _facts(types[name]) for name in sorted(used_types(kind) & types.keys())}
    return {"format_version": "1.0", "provider_schemas": providers}


def _facts(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in schema.items():
        if key in ("attributes", "block_types"):
            kept[key] = {name: _facts(nested) for name, nested in sorted(value.items())}
        elif key == "block":
            kept[key] = _facts(value)
        elif key in _KEPT:
            kept[key] = value
    return kept


if __name__ == "__main__":
    json.dump(slim(json.load(sys.stdin)), sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")
