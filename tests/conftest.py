"""What every test shares: a directory of its own for private files, users, and the emulators' fixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages

pytest_plugins = ["tests.emulators.fixtures", "tests.guards"]


@pytest.fixture(autouse=True)
def private_root(settings: Any, tmp_path: Path) -> Path:
    """Give the private alias a directory that no other test sees."""
    root = tmp_path / "private"
    storages["private"]._location = root
    for name in ("base_location", "location"):
        storages["private"].__dict__.pop(name, None)
    return root


@pytest.fixture
def alice(db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("alice", password="alice-password")


@pytest.fixture
def bob(db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("bob", password="bob-password")
