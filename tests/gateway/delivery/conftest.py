"""What tests need that hand requests to Django without its test client, and the servers that stand in front."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from tests.emulators.ceph import CephGateway
from tests.emulators.fixtures import serve
from tests.emulators.web import Apache, Caddy, Lighttpd, Nginx, WebServer
from tests.gateway.delivery.front import Site


@pytest.fixture(autouse=True)
def connections_left_alone() -> Iterator[None]:
    """Keep Django from closing, around a request, the connection that a test's transaction is on."""
    ends = (request_started, request_finished)
    for end in ends:
        end.disconnect(close_old_connections)
    yield
    for end in ends:
        end.connect(close_old_connections)


@pytest.fixture(scope="session")
def site(ceph: CephGateway) -> Iterator[Site]:
    """The application on gunicorn, with a storage for each way of delivery."""
    with Site(ceph) as site:
        yield site
        # Whatever was asked and whatever broke, no link stands in a log.
        assert not re.search("signature=|x-amz-credential", site.gunicorn.log(), re.IGNORECASE)


@pytest.fixture(scope="session")
def nginx(request: pytest.FixtureRequest, site: Site) -> Iterator[WebServer]:
    yield from _in_front(request, Nginx, site)


@pytest.fixture(scope="session")
def apache(request: pytest.FixtureRequest, site: Site) -> Iterator[WebServer]:
    yield from _in_front(request, Apache, site)


@pytest.fixture(scope="session")
def lighttpd(request: pytest.FixtureRequest, site: Site) -> Iterator[WebServer]:
    yield from _in_front(request, Lighttpd, site)


@pytest.fixture(scope="session")
def caddy(request: pytest.FixtureRequest, site: Site) -> Iterator[WebServer]:
    with site.caddy_s_gateway() as gateway:
        for server in serve(lambda: Caddy(site.block_of("caddy", gateway=gateway))):
            yield server
            assert not re.search("signature=|x-amz-credential", server.log(), re.IGNORECASE)


def _in_front(request: pytest.FixtureRequest, kind: type[WebServer], site: Site) -> Iterator[WebServer]:
    for server in serve(lambda: kind(site.block_of(kind.name))):
        yield server
        assert not re.search("signature=|x-amz-credential", server.log(), re.IGNORECASE)
