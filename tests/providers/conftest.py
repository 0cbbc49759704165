"""What the tests of signers share: how long they wait for credentials on a machine that is busy with other tests.

Must not lengthen a wait for a test that measures it.
"""

from __future__ import annotations

import pytest

from providers import refresh


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait long for what comes soon on an idle machine; a test marked ``hurried`` has the true bound."""
    if request.node.get_closest_marker("hurried") is None:
        monkeypatch.setattr(refresh, "WAIT_SECONDS", 10.0)
