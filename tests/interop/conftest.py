# SPDX-License-Identifier: Apache-2.0
"""Installations with one Mosquitto after the other, and the table of what came of it."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.free_ports import free_port
from tests.interop.fetched import CannotHaveError
from tests.interop.foreign.server import ForeignServer
from tests.interop.foreign.servers import SERVERS, foreign_server
from tests.interop.mosquittos import MOSQUITTOS, program_of, version_of
from tests.interop.table import FAILED, PASSED, SKIPPED, Table
from tests.running import Installation, installation

TABLE = pytest.StashKey[Table]()
FIGURES = pytest.StashKey[list[str]]()
RESULTS = {"passed": PASSED, "skipped": SKIPPED, "failed": FAILED}


@pytest.fixture(scope="session", params=MOSQUITTOS)
def broker(request: pytest.FixtureRequest) -> str:
    """The program of each Mosquitto in turn."""
    with told(request.config):
        program = program_of(request.param, sys.stderr.write)
    title = f"{version_of(program)} {request.param}"
    table_of(request.config).titles[request.param] = title
    return program


@pytest.fixture(scope="session")
def running(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`keyfob up` with that broker, shared: no test stops a part of it."""
    directory = tmp_path_factory.mktemp("installation") / "data"
    lines = [f"websockets_port = {free_port()}"]
    with installation(directory, plain=True, mosquitto=lines, program=broker) as up:
        yield up


@pytest.fixture(scope="session")
def breakable(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with that broker whose parts are killed, and that saves every change."""
    directory = tmp_path_factory.mktemp("breakable") / "data"
    with installation(directory, mosquitto=["save_every_change = true"], program=broker) as up:
        yield up


@contextlib.contextmanager
def told(config: pytest.Config) -> Iterator[None]:
    """Show at once what is fetched: from a slow mirror it takes a while. Skip what cannot be."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    assert capture is not None
    try:
        with capture.global_and_fixture_disabled():
            yield
    except CannotHaveError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def foreign_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], ForeignServer]]:
    """Start a foreign authorization server when it is first asked for; all stop in the end."""
    servers: dict[str, ForeignServer] = {}
    with contextlib.ExitStack() as stack:

        def server(name: str) -> ForeignServer:
            if name not in servers:
                folder = tmp_path_factory.mktemp(name)
                with told(request.config):
                    running = foreign_server(name, folder, sys.stderr.write)
                    servers[name] = stack.enter_context(running)
            return servers[name]

        yield server


@pytest.fixture(scope="session", params=SERVERS)
def foreign(
    request: pytest.FixtureRequest, foreign_servers: Callable[[str], ForeignServer]
) -> ForeignServer:
    """Each foreign authorization server in turn."""
    return foreign_servers(request.param)


@pytest.fixture(scope="session")
def fresh() -> Callable[[str], str]:
    """Name devices that no other test has, of whatever kind."""
    numbers = itertools.count(1)
    return lambda kind: f"{kind}-{next(numbers)}"


@pytest.fixture(scope="session")
def trusting(
    broker: str, foreign: ForeignServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """`keyfob up` that trusts that server beside its own, shared: no test stops a part of it."""
    directory = tmp_path_factory.mktemp("trusting") / "data"
    with installation(directory, plain=True, issuers=foreign.settings(), program=broker) as up:
        yield up


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take a line with figures, to be shown in the end."""
    figures: list[str] = request.config.stash.setdefault(FIGURES, [])
    return figures.append


def table_of(config: pytest.Config) -> Table:
    return config.stash.setdefault(TABLE, Table(MOSQUITTOS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Enter each result of a test that runs with every broker."""
    report = yield
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "broker" in callspec.params:
        broker = callspec.params["broker"]
        rest = "-".join(part for part in callspec.id.split("-") if part != broker)
        what = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        reason = report.longrepr[2] if report.skipped and type(report.longrepr) is tuple else ""
        table_of(item.config).note(
            f"{what} [{rest}]" if rest else what,
            broker,
            RESULTS[report.outcome],
            report.duration,
            reason.removeprefix("Skipped: "),
        )
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table and the figures, where there are some."""
    if (table := config.stash.get(TABLE, None)) is not None and table.cells:
        terminalreporter.section("Keyfob with each Mosquitto")
        for line in table.lines():
            terminalreporter.write_line(line)
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("Measured")
        for line in figures:
            terminalreporter.write_line(line)
