"""Hold HCL to the providers' schemas where ``terraform validate`` does not look: inside dynamic blocks, too.

Must not judge expressions or references: terraform does. Runs without terraform.

Source: https://developer.hashicorp.com/terraform/language/expressions/dynamic-blocks
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hcl2

__all__ = ["Schemas", "problems"]

Body = Mapping[str, Any]

# https://developer.hashicorp.com/terraform/language/meta-arguments
_META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner", "connection"}


class Schemas:
    """The resources and data sources of some providers, by type."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.resources: dict[str, Body] = {}
        self.data_sources: dict[str, Body] = {}
        for path in paths:
            for provider in json.loads(path.read_text())["provider_schemas"].values():
                self.resources |= {name: each["block"] for name, each in provider["resource_schemas"].items()}
                self.data_sources |= {name: each["block"] for name, each in provider["data_source_schemas"].items()}


def problems(directory: Path, schemas: Schemas) -> list[str]:
    """Return what the files of one module have that no provider knows, or lack that one needs."""
    found = []
    for path in sorted(directory.glob("*.tf")):
        with path.open() as file:
            document = hcl2.load(file)
        for kind, known in (("resource", schemas.resources), ("data", schemas.data_sources)):
            for type_name, name, body in _declared(document.get(kind, ())):
                address = f"{path.name}: {type_name}.{name}"
                # terraform_data is terraform's own.
                if type_name in known:
                    found += [f"{address}{problem}" for problem in _block(body, known[type_name], is_top=True)]
                elif type_name != "terraform_data":
                    found.append(f"{address}: no provider has such a {kind}")
    return found


def _declared(blocks: Sequence[Body]) -> Iterator[tuple[str, str, Body]]:
    for block in blocks:
        for type_name, named in _without_marks(block):
            for name, body in _without_marks(named):
                yield type_name, name, body


def _block(body: Body, schema: Body, *, is_top: bool = False) -> Iterator[str]:
    attributes, nested = schema.get("attributes", {}), schema.get("block_types", {})
    counts: dict[str, int] = {}
    dynamic: set[str] = set()
    for name, value in _without_marks(body):
        if is_top and name in _META:
            continue
        if name == "dynamic":
            for each in value:
                for label, spec in _without_marks(each):
                    dynamic.add(label)
                    for content in spec["content"]:
                        yield from _nested(label, content, nested)
        elif _are_blocks(value):
            counts[name] = len(value)
            for content in value:
                yield from _nested(name, content, nested)
        elif name in nested:
            yield f".{name}: a block, not an argument"
        elif name not in attributes:
            yield f".{name}: no such argument"
        elif not (attributes[name].get("optional") or attributes[name].get("required")):
            yield f".{name}: only read"
    given = {name for name, _ in _without_marks(body)}
    yield from (f".{name}: needed" for name, each in attributes.items() if each.get("required") and name not in given)
    for name, each in nested.items():
        if counts.get(name, 0) < each.get("min_items", 0) and name not in dynamic:
            yield f".{name}: {counts.get(name, 0)} blocks; at least {each['min_items']}"
        if 0 < each.get("max_items", 0) < counts.get(name, 0):
            yield f".{name}: {counts[name]} blocks; at most {each['max_items']}"


def _nested(name: str, body: Body, nested: Body) -> Iterator[str]:
    if name not in nested:
        yield f".{name}: no such block"
        return
    yield from (f".{name}{problem}" for problem in _block(body, nested[name]["block"]))


def _are_blocks(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "__is_block__" in v for v in value)


def _without_marks(body: Body) -> Iterator[tuple[str, Any]]:
    # Labels come with their quotes.
    return ((name.strip('"'), value) for name, value in body.items() if not name.startswith("__"))
