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


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        pytest.param("--upstream", "127.0.0.1:80;", "upstream is", id="more-than-an-address"),
        pytest.param("--upstream", "unix:", "upstream is", id="no-socket"),
        pytest.param("--upstream", "unix:relative", "upstream is", id="relative-socket"),
        pytest.param("--upstream", f"unix:/{'a' * 107}", "upstream is", id="path-that-no-socket-has"),
        pytest.param("--upstream", "127.0.0.1:0", "upstream is", id="port-zero"),
        pytest.param("--listen", "", "listen is", id="empty"),
        pytest.param("--listen=-1", "", "listen is", id="negative-port"),
        pytest.param("--listen", "65536", "listen is", id="port-above-all"),
        pytest.param("--listen", "9" * 5000, "listen is", id="longest-port"),
        pytest.param("--listen", "80\n", "listen is", id="line-end"),
        pytest.param("--listen", "\udcff", "listen is", id="no-text"),
        pytest.param("--server-name", "a b", "server_name is", id="two-names"),
        pytest.param("--resolver", "a;b", "resolver is", id="resolver"),
        pytest.param("--access-log", "", "access_log is", id="no-log"),
        pytest.param("--access-log", "/a\nb", "more than a name", id="log-of-two-lines"),
        pytest.param("--access-log", "/\udcff", "more than a name", id="log-that-is-no-text"),
    ],
)
def test_a_value_that_is_none_is_refused(option: str, value: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        printed("nginx", *([option] if "=" in option else [option, value]))


@pytest.mark.parametrize("listen", ["1", "65535", "127.0.0.1:8080", "[::1]:8080", "[::1]", "*:80", "localhost"])
def test_an_address_is_taken(listen: str) -> None:
    assert listen in printed("nginx", "--listen", listen)
