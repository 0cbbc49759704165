"""The pytest plugin of the emulators: one fixture per server, and an account of which tests really met one.

It must not let a hole pass unseen: a server that is not installed skips loudly, and where the environment
variable CI is set, any test that was skipped, deselected or expected to fail, and any count below
``minimum.json`` (of a whole run), fails the run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.azurite import Azurite, AzuriteOAuth
from tests.emulators.ceph import CephGateway
from tests.emulators.clamd import Clamd
from tests.emulators.cloudfront import Distribution
from tests.emulators.gcs import CloudStorage
from tests.emulators.moto import MotoServer
from tests.emulators.postgres import Postgres
from tests.emulators.process import Unavailable
from tests.emulators.rclone import RcloneS3
from tests.emulators.web import Apache, ApacheWSGI, Caddy, Lighttpd, Nginx

# also the fixtures' names
EMULATORS = (
    CephGateway.name,
    RcloneS3.name,
    MotoServer.name,
    Azurite.name,
    AzuriteOAuth.name,
    Postgres.name,
    CloudStorage.name,
    Nginx.name,
    Apache.name,
    ApacheWSGI.name,
    Lighttpd.name,
    Distribution.name,
    Caddy.name,
    Clamd.name,
)
MINIMUM_PATH = Path(__file__).with_name("minimum.json")

LISTED_AT_MOST = 20  # tests named per problem


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephGateway]:
    """A Ceph RADOS gateway: checks signatures, expiry, POST policies, CORS and bucket policies."""
    yield from serve(CephGateway)


@pytest.fixture(scope="session")
def rclone() -> Iterator[RcloneS3]:
    """rclone's S3 server: checks signatures and expiry."""
    yield from serve(RcloneS3)


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    """A ClamAV daemon that knows one test file."""
    yield from serve(Clamd)


@pytest.fixture(scope="session")
def cloudfront() -> Iterator[Distribution]:
    """A CloudFront distribution of our own: checks signed URLs and cookies by the verifier."""
    yield from serve(Distribution)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    """moto's S3 server: checks no signature at all."""
    yield from serve(MotoServer)


@pytest.fixture(scope="session")
def gcs() -> Iterator[CloudStorage]:
    """Cloud Storage behind this project's own verifier: checks signatures, expiry, conditions and forms."""
    yield from serve(CloudStorage)


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azurite over plain http: checks shared access signatures of an account key."""
    yield from serve(Azurite)


@pytest.fixture(scope="session")
def azurite_oauth() -> Iterator[AzuriteOAuth]:
    """Azurite over https: checks those of user delegation keys, and hands out the keys."""
    yield from serve(AzuriteOAuth)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with its durable defaults."""
    yield from serve(Postgres)


def serve(make: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    with make() as server:
        yield server


def _skip_loudly(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    except Unavailable as missing:
        _account_of(item.config).unavailable[missing.emulator] = str(missing)
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Skip what cannot be had here, whichever fixture asked for it, and name it at the end of the run."""
    return (yield from _skip_loudly(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """As in the setup, for what a test asks for while it runs."""
    return (yield from _skip_loudly(item))


_REQUEST = pytest.StashKey[pytest.FixtureRequest]()


@pytest.fixture(autouse=True)
def _remember_request(request: pytest.FixtureRequest) -> None:
    # A fixture asked for by name while the test runs is in no list but that of the request.
    request.node.stash[_REQUEST] = request


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Write the emulators that the test met into its report, which xdist carries to the controller."""
    request = item.stash.get(_REQUEST, None)
    if call.when == "call" and request is not None:
        del item.stash[_REQUEST]
        item.user_properties.extend(("emulator", name) for name in EMULATORS if name in request.fixturenames)


def pytest_configure(config: pytest.Config) -> None:
    minimum = _read_minimum(MINIMUM_PATH)
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        minimum = dict.fromkeys(minimum, 0)  # who names files runs a part
    complete = bool(os.environ.get("CI")) and not config.option.collectonly
    config.pluginmanager.register(Account(config, minimum, must_be_complete=complete), Account.PLUGIN_NAME)


def _read_minimum(path: Path) -> dict[str, int]:
    minimum: dict[str, int] = json.loads(path.read_text())
    if minimum.keys() != set(EMULATORS) or not all(type(count) is int for count in minimum.values()):
        raise pytest.UsageError(f"{path.name} is {minimum!r}; a whole number for each of {', '.join(EMULATORS)}")
    return minimum


def _account_of(config: pytest.Config) -> Account:
    account = config.pluginmanager.get_plugin(Account.PLUGIN_NAME)
    assert isinstance(account, Account)
    return account


class Account:
    """Count what ran and what did not, judge it where CI is set, and print both.

    Under xdist the reports reach the controller by themselves; what only a worker knows is handed over when
    the worker ends.
    """

    PLUGIN_NAME = "emulator-account"
    _HANDED_OVER = "emulator_account"

    def __init__(self, config: pytest.Config, minimum: Mapping[str, int], *, must_be_complete: bool) -> None:
        self.config = config
        self.minimum = minimum
        self.must_be_complete = must_be_complete
        self.ran: Counter[str] = Counter()
        self.skipped: dict[str, None] = {}  # node ids, once each and in order
        self.expected_failures: dict[str, None] = {}
        self.deselected: dict[str, None] = {}
        self.unavailable: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):
            self.expected_failures[report.nodeid] = None
        elif report.skipped:
            self.skipped[report.nodeid] = None
        elif report.when == "call":
            self.ran.update({str(value) for name, value in report.user_properties if name == "emulator"})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped[report.nodeid] = None

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.deselected.update((item.nodeid, None) for item in items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        handed_over = getattr(node, "workeroutput", {}).get(self._HANDED_OVER, {})
        self.deselected.update(dict.fromkeys(handed_over.get("deselected", ())))
        self.unavailable.update(handed_over.get("unavailable", {}))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput[self._HANDED_OVER] = {
                "deselected": list(self.deselected),
                "unavailable": self.unavailable,
            }
        elif session.exitstatus == pytest.ExitCode.OK and self.problems():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def problems(self) -> list[str]:
        """Return what keeps the run from being a complete one; nothing where CI is not set."""
        if not self.must_be_complete:
            return []
        found = []
        for what, tests in [
            ("skipped", self.skipped),
            ("deselected", self.deselected),
            ("expected to fail", self.expected_failures),
        ]:
            if tests:
                found.append(f"{what}: {len(tests)}; at most 0")
                found.extend(f"    {test}" for test in list(tests)[:LISTED_AT_MOST])
                if len(tests) > LISTED_AT_MOST:
                    found.append(f"    and {len(tests) - LISTED_AT_MOST} more")
        for name, least in self.minimum.items():
            if self.ran[name] < least:
                found.append(f"tests on {name}: {self.ran[name]}; at least {least} ({MINIMUM_PATH.name})")
        return found

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        if self.unavailable:
            terminalreporter.section("EMULATORS NOT AVAILABLE", red=True, bold=True)
            for message in self.unavailable.values():
                write(message, red=True)
        if self.ran or self.unavailable or self.must_be_complete:
            terminalreporter.section("tests per emulator")
            for name in EMULATORS:
                write(f"{name:<13} {self.ran[name]:>5}   (minimum {self.minimum[name]})")
        problems = self.problems()
        if problems:
            terminalreporter.section("NOT A COMPLETE RUN, AND CI IS SET", red=True, bold=True)
            for line in problems:
                write(line, red=True)
