"""The pages on coming from another library show code that is accepted here."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest
from django.test import override_settings
from django.utils.module_loading import import_string

from gateway.conf import conf
from tests.documentation import DOCS

PAGES = sorted((DOCS / "coming-from").glob("*.md"))


def python_of(text: str) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_settings_of_a_page_are_taken(page: Any) -> None:
    names: dict[str, Any] = {}
    exec(compile(python_of(page.read_text()), page.name, "exec"), names)
    with override_settings(GATEWAY=names["GATEWAY"]):
        assert conf().policies or conf().path_policies
    for storage in names.get("STORAGES", {}).values():
        import_string(storage["BACKEND"])(**storage.get("OPTIONS", {}))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_of_ours_is_there(page: Any) -> None:
    for dotted in set(re.findall(r"`(gateway(?:\.\w+)+)", page.read_text())):
        module, _, name = dotted.rpartition(".")
        assert hasattr(import_module(module), name), dotted
