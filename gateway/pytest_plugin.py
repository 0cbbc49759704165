"""``gateway.testing`` as pytest fixtures: ``pytest_plugins = ["gateway.pytest_plugin"]`` in the root conftest.py.

Must not import anything that needs Django's settings, which may not be there yet when pytest loads this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.http import HttpRequest

    from gateway.models import Issuance

__all__ = [
    "gateway_allow_all",
    "gateway_as_user",
    "gateway_assert_issued",
    "gateway_in_memory",
    "gateway_no_links_in_caches",
]


@pytest.fixture
def gateway_as_user() -> Callable[..., AbstractContextManager[HttpRequest]]:
    """:func:`gateway.testing.as_user`: ``with gateway_as_user(user):``."""
    from gateway.testing import as_user

    return as_user


@pytest.fixture
def gateway_assert_issued() -> Callable[[int], AbstractContextManager[list[Issuance]]]:
    """:func:`gateway.testing.assert_issued`: ``with gateway_assert_issued(1):``."""
    from gateway.testing import assert_issued

    return assert_issued


@pytest.fixture
def gateway_allow_all() -> Iterator[None]:
    """:func:`gateway.testing.allow_all`, for the whole test."""
    from gateway.testing import allow_all

    with allow_all():
        yield


@pytest.fixture
def gateway_in_memory() -> Iterator[None]:
    """Every private alias of ``STORAGES`` in memory and empty, for the whole test."""
    from django.test import override_settings

    from gateway.testing import in_memory

    with override_settings(STORAGES=in_memory()):
        yield


@pytest.fixture(autouse=True)
def gateway_no_links_in_caches() -> Iterator[Any]:
    """:func:`gateway.testing.no_links_in_caches`, for every test."""
    from django.apps import apps

    if not apps.ready:
        yield
        return
    from gateway.testing import no_links_in_caches

    with no_links_in_caches():
        yield
