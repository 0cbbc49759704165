"""What tests need that hand requests to Django without its test client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections


@pytest.fixture(autouse=True)
def connections_left_alone() -> Iterator[None]:
    """Keep Django from closing, around a request, the connection that a test's transaction is on."""
    ends = (request_started, request_finished)
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)
