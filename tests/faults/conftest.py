"""Each fault is told in one line: what was done, what was seen, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.site import Site
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

Tell = Callable[[str], None]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which fault a test causes."""
    marker = item.get_closest_marker("fault")
    if marker is not None:
        item.user_properties.append(("fault", marker.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each fault, in the order of their numbers."""
    rows = []
    for verdict in ("passed", "failed"):
        for report in terminalreporter.stats.get(verdict, []):
            told = dict(getattr(report, "user_properties", ()))
            if "fault" in told:
                rows.append((told["fault"], told.get("observed", "nothing"), verdict))
    if rows:
        terminalreporter.section("faults")
        for fault, observed, verdict in sorted(rows, key=lambda row: _number(row[0])):
            terminalreporter.write_line(f"| {fault} | {observed} | {verdict} |")


def _number(fault: str) -> tuple[int, str]:
    return int("".join(filter(str.isdigit, fault.split(maxsplit=1)[0]))), fault


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Tell what was observed; called before what is asserted of it."""

    def tell(observed: str) -> None:
        record_property("observed", observed)

    return tell


@pytest.fixture
def site(rabbitmq, redis_server, tmp_path: Path) -> Iterator[Site]:
    """A site on the servers that all tests share."""
    home = tmp_path / "home"
    home.mkdir()
    with Site(rabbitmq, redis_server, home) as site:
        yield site


@pytest.fixture
def own_rabbitmq(start_server) -> RabbitmqServer:
    """A broker for one fault alone."""
    return start_server(RabbitmqServer)


@pytest.fixture
def impatient_rabbitmq(start_server) -> RabbitmqServer:
    """A broker that takes a message back which is not settled within a minute."""
    return start_server(lambda: RabbitmqServer(more_config="consumer_timeout = 60000\n"))


@pytest.fixture
def own_redis(start_server) -> RedisServer:
    """A store for one fault alone; what it holds outlives it."""
    return start_server(RedisServer)
