"""Fixtures of all tests: a clean environment, both engines, private nodes.

A node is private to one pytest process (with ``-n 2`` there are two), started when the first test asks for it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Helpers are imported as `tests.support`, also where pytest was started by its own script.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from messaging.connect import connect
from messaging.engine import Engine
from messaging.topology import Topology
from tests.support.broker import delete_queues, fresh_topology
from tests.support.nodes import MissingBinary, PostgresNode, RabbitNode, create_database, drop_database

TEST_PREFIX = "SIMCOURIER_TEST_"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the tests that take long")


def pytest_configure() -> None:
    pytest.register_assert_rewrite("backends.suite")
    for name in [name for name in os.environ if name.startswith("SIMCOURIER_") and not name.startswith(TEST_PREFIX)]:
        del os.environ[name]
    # Who starts the tests in the background, or by nohup, has signals ignored, and what we start would inherit that.
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # On a busy machine any example may take long.
    slow = [*settings().suppress_health_check, HealthCheck.too_slow]
    settings.register_profile("any machine", deadline=None, suppress_health_check=slow)
    settings.load_profile("any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped, a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _nothing_may_be_skipped():
        report.outcome = "failed"
        report.longrepr = f"skipped although CI=true: {report.longreprtext}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a file that is skipped as a whole."""
    report = yield
    if report.skipped and _nothing_may_be_skipped():
        report.outcome = "failed"
        report.longrepr = f"skipped although CI=true: {report.longreprtext}"
    return report


def _nothing_may_be_skipped() -> bool:
    return os.environ.get("CI", "").lower() == "true"


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """A command that a test runs within this process makes files for their owner only from then on."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def same_logs() -> Iterator[None]:
    """A command that a test runs within this process may keep logs quiet from then on."""
    before: dict[str, Any] = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def rabbit_node() -> Iterator[RabbitNode]:
    """A private RabbitMQ node; a test that kills it starts it again."""
    try:
        node = RabbitNode()
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with node:
        yield node


@pytest.fixture
def amqp_url(request: pytest.FixtureRequest) -> str:
    """Address of a RabbitMQ that nobody kills: ``SIMCOURIER_TEST_AMQP_URL``, else the private node."""
    given = os.environ.get(f"{TEST_PREFIX}AMQP_URL")
    return given or str(request.getfixturevalue("rabbit_node").url)


@pytest.fixture(scope="session")
def postgres_node() -> Iterator[PostgresNode]:
    """A private PostgreSQL node; a test that kills it starts it again."""
    try:
        node = PostgresNode()
    except MissingBinary as missing:
        pytest.skip(str(missing))
    with node:
        yield node


@pytest.fixture(scope="session")
def new_database_url(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes PostgreSQL databases, on ``SIMCOURIER_TEST_DATABASE_URL``'s server, else on the private node."""
    server = os.environ.get(f"{TEST_PREFIX}DATABASE_URL") or request.getfixturevalue("postgres_node").url()
    made: list[str] = []

    def new() -> str:
        made.append(create_database(server))
        return made[-1]

    yield new
    for url in made:
        drop_database(server, url)


@pytest.fixture
def database_url(new_database_url: Callable[[], str]) -> str:
    """A fresh PostgreSQL database."""
    return new_database_url()


@pytest.fixture
def topology() -> Topology:
    """A topology that no other test uses, with short waits."""
    return fresh_topology()


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_url(request: pytest.FixtureRequest, topology: Topology, tmp_path: Path) -> Iterator[str]:
    """Address of a broker, once per engine; what ``topology`` has there is removed after the test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/broker/broker.db"
        return
    url = request.getfixturevalue("amqp_url")
    yield url
    delete_queues(url, topology)


@pytest.fixture
def engine(broker_url: str, topology: Topology) -> Engine:
    """Each engine in turn, with ``topology``."""
    return connect(broker_url, topology)
