"""The command prints a block for each server it knows, and refuses in words what it cannot print."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gateway.management.commands.gateway_conf import BLOCKS


def printed(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("gateway_conf", *arguments, stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("server", BLOCKS)
def test_a_block_leads_to_the_gateway(server: str) -> None:
    # Not one storage is handed over to a server here; that such blocks run is shown with the servers themselves.
    assert "8765" in printed(server, "--upstream", "127.0.0.1:8765", "--listen", "127.0.0.1:8080")


@pytest.mark.parametrize("server", BLOCKS)
def test_no_secret_is_printed(server: str, settings: Any) -> None:
    assert settings.SECRET_KEY not in printed(server)


def test_an_address_that_is_more_than_one_is_refused() -> None:
    with pytest.raises(CommandError, match="upstream is"):
        printed("nginx", "--upstream", "127.0.0.1:80;")
