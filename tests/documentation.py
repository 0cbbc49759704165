"""Writes the pages of docs/ that are said in code already: ``python -m tests.documentation``.

A test holds that the pages are what this would write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

DOCS = Path(__file__).resolve().parents[1] / "docs"


def settings_page() -> str:
    from gateway.conf import Conf
    from gateway.storages.azure import PrivateAzureStorage
    from gateway.storages.base import PrivateStorageMixin
    from gateway.storages.filesystem import PrivateFileSystemStorage
    from gateway.storages.gcs import PrivateGCSStorage
    from gateway.storages.s3 import PrivateS3Storage

    lines = [
        "# Settings",
        "",
        "## `GATEWAY`",
        "",
        "One dict in `settings.py`. An unknown key, or a value out of bounds, stops the start. A policy is named"
        " by dotted path or given as an instance.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    described = attributes(Conf, "Attributes")
    for option in fields(Conf):
        default = option.default if option.default_factory is MISSING else option.default_factory()
        lines.append(f"| `{option.name.upper()}` | {shown(default)} | {described[option.name]} |")
    lines += [
        "",
        "## Options of private storages",
        "",
        'In `STORAGES["alias"]["OPTIONS"]`, beside those of the backend, which keep their meaning or are refused.',
        "",
        "| option | storage | meaning |",
        "|---|---|---|",
    ]
    for storage, name in (
        (PrivateStorageMixin, "every"),
        (PrivateS3Storage, "`PrivateS3Storage`"),
        (PrivateGCSStorage, "`PrivateGCSStorage`"),
        (PrivateAzureStorage, "`PrivateAzureStorage`"),
        (PrivateFileSystemStorage, "`PrivateFileSystemStorage`"),
    ):
        for option, meaning in attributes(storage, "Args").items():
            lines.append(f"| `{option}` | {name} | {meaning} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    import gateway.errors
    import providers.errors

    lines = [
        "# Errors",
        "",
        "The API answers `application/problem+json` (RFC 9457) with `code`, which is stable, and `title`, which"
        " tells a client no more than it may know. In Python the class carries the same code; the reason is in"
        " the log.",
        "",
        "| code | status | class | title |",
        "|---|---|---|---|",
    ]
    for error in classes(gateway.errors.GatewayError):
        lines.append(f"| `{error.code}` | {error.status} | `gateway.errors.{error.__name__}` | {error.title} |")
    lines += ["", "Signers raise these; the API answers 400 for what a caller can mend, else 503.", ""]
    lines += ["| code | class |", "|---|---|"]
    for error in classes(providers.errors.ProviderError):
        lines.append(f"| `{error.code}` | `providers.errors.{error.__name__}` |")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, "errors.md": errors_page}


def attributes(documented: type, section: str) -> dict[str, str]:
    """Read ``name: meaning`` from a section of a class's docstring."""
    _, found, text = (documented.__doc__ or "").partition(f"    {section}:\n")
    assert found, f"{documented.__name__} has no section {section}"
    meanings: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if match := re.fullmatch(r" {8}(\w+): (.*)", line):
            name = match[1]
            meanings[name] = match[2]
        elif line.startswith(" " * 12):
            meanings[name] += f" {line.strip()}"
        else:
            break
    return {
        name: re.sub(r":class:`(\w+)`|``", r"\1`", meaning).replace("|", r"\|") for name, meaning in meanings.items()
    }


def classes(base: Any) -> Iterator[Any]:
    yield base
    for child in base.__subclasses__():
        if child.__module__ == base.__module__:
            yield from classes(child)


def shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"`{int(value.total_seconds())}`"
    if isinstance(value, tuple):
        return "".join(f"`{entry}`<br>" for entry in value).removesuffix("<br>")
    return f"`{value!r}`".replace("|", r"\|")


def main() -> None:
    for name, write in PAGES.items():
        (DOCS / name).write_text(write())


if __name__ == "__main__":
    django.setup()
    main()
