"""A storage service that cannot be reached for a day: the delivery waits for it, and arrives once.

With the embedded engine in virtual time: the broker's and the ledger's clock are turned on whenever nothing is left to
be done before the next try. With RabbitMQ on a ladder and a policy that are scaled: an hour is a quarter of a second.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backends.contract import Link, Stored
from backends.errors import PermanentError, TransientError
from backends.memory import Memory, fetch
from consumer.decide import Policy
from messaging.engine import BrokerError, Engine, Outgoing
from messaging.messages import SimulationCompleted
from messaging.rabbitmq import RabbitEngine
from messaging.settings import Settings
from messaging.sqlite import SqliteEngine
from messaging.sqlite_store import Store
from messaging.topology import Topology
from simcourier.drill.nodes import delete_queues
from tests.support.clock import Clock, ledger_clock
from tests.support.events import event
from tests.support.installation import files_below, unpacked
from tests.support.scratch import wait_until

HOUR = 3600.0


@pytest.fixture
def sent(tmp_path: Path, sqlite_ledger: Settings) -> SimulationCompleted:
    from ledger.api import define

    del sqlite_ledger
    define("memory", token=f"space-{uuid.uuid4()}")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a.sca").write_text("version 3\n")
    return event(folder)


@contextmanager
def working(engine: Engine, folder: Path, policy: Policy | None = None) -> Iterator[None]:
    """A results worker in a thread."""
    from consumer.lease import LeaseKeeper
    from consumer.loop import Loop
    from consumer.results import ResultsWorker
    from consumer.stop import Stop
    from consumer.workshop import Workshop
    from ledger.api import Deliveries

    deliveries = Deliveries("host:1", lease=60, overdue=60)
    stop = Stop(1)
    workshop = Workshop(
        deliveries=deliveries, archives=folder, roots=(), site={}, operator="", mail_patience=timedelta()
    )
    worker = ResultsWorker(workshop, LeaseKeeper(deliveries, stop), policy or Policy())
    loop = Loop("results", engine, engine.topology.lanes, worker.handle, stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield
    finally:
        stop.request()
        thread.join()


def publish(engine: Engine, sent: SimulationCompleted) -> None:
    wait_until(lambda: declared(engine), "the queues")
    with engine.publisher() as publisher:
        publisher.publish(Outgoing(sent.routing_key, sent.to_bytes(), str(sent.id)))


def row(sent: SimulationCompleted) -> Any:
    from ledger.models import Delivery

    return Delivery.objects.filter(id=sent.id).first()


def notices(sent: SimulationCompleted) -> list[tuple[str, str]]:
    from ledger.models import Notification

    return list(Notification.objects.filter(delivery_id=sent.id).values_list("kind", "state"))


class Outage:
    """The service raises ``error`` until ``over``; how often it was tried."""

    def __init__(self, error: Exception, over: Callable[[], bool], patch: pytest.MonkeyPatch) -> None:
        self.tries = 0
        store = Memory.store

        def tried(*arguments: Any) -> Any:
            self.tries += 1
            if not over():
                raise error
            return store(*arguments)

        patch.setattr(Memory, "store", tried)


def pass_time(clock: Clock, engine: SqliteEngine, until: float) -> None:
    """Turn the clock on to each next try, until the delivery has ended or it is ``until``."""
    from ledger.models import Delivery

    store = Store(engine.path)
    busy = "SELECT count(*) FROM messages WHERE queue LIKE '%results%' AND (not_before IS NULL OR not_before <= ?)"
    following = "SELECT min(not_before) FROM messages WHERE queue LIKE '%results%'"

    def idle() -> bool:
        with store.reading() as db:
            return not db.execute(busy, (clock(),)).fetchone()[0]

    try:
        while clock() < until and not Delivery.objects.filter(state__in=["DELIVERED", "FAILED"]).exists():
            wait_until(idle, "the try ends", step=0.005)
            with store.reading() as db:
                (due,) = db.execute(following).fetchone()
            if due is not None:
                clock.advance(due - clock())
            time.sleep(0.005)
    finally:
        store.close()


@pytest.mark.parametrize(("hours", "state"), [(24, "DELIVERED"), (27, "FAILED")])
def test_a_day_without_the_service_is_waited_for_and_not_much_more(
    tmp_path: Path, sent: SimulationCompleted, hours: int, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    engine = SqliteEngine(f"sqlite:///{tmp_path}/broker.db", Topology(), clock=clock)
    began = clock()
    outage = Outage(TransientError("It cannot be reached."), lambda: clock() >= began + hours * HOUR, monkeypatch)
    with ledger_clock(clock), working(engine, tmp_path / "archives"):
        publish(engine, sent)
        pass_time(clock, engine, began + 48 * HOUR)
        took = (clock() - began) / HOUR
        end = row(sent)

        assert end.state == state
        assert 30 <= outage.tries <= 70
        if state == "DELIVERED":
            assert hours <= took <= hours + 1.01  # an hour is the longest wait between two tries
            assert unpacked(fetch(end.link)) == files_below(tmp_path / "results")
            assert notices(sent) == [("delivered", "PENDING")]
        else:
            assert 26 <= took <= 27.01
            assert re.fullmatch(
                r"It was tried for 2[67] hours without success\. Last: It cannot be reached\.", end.reason
            )
            assert notices(sent) == [("failed", "PENDING")]


def test_a_definition_that_only_a_person_can_mend_is_probed_and_waited_for_longer_than_a_day(
    tmp_path: Path, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    engine = SqliteEngine(f"sqlite:///{tmp_path}/broker.db", Topology(), clock=clock)
    began = clock()
    wrong = PermanentError("The token is not valid any more.", scope="backend")
    outage = Outage(wrong, lambda: clock() >= began + 30 * HOUR, monkeypatch)
    with ledger_clock(clock), working(engine, tmp_path / "archives"):
        publish(engine, sent)
        pass_time(clock, engine, began + 48 * HOUR)

        assert row(sent).state == "DELIVERED"
        assert (clock() - began) / HOUR <= 31
        assert outage.tries >= 30, "nobody has to say that it is mended"


def test_a_worker_whose_clock_is_a_year_behind_makes_links_that_live_as_long_as_others(
    tmp_path: Path, sent: SimulationCompleted, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.advance(365 * 24 * HOUR)  # the ledger's; to it, the worker's is behind
    engine = SqliteEngine(f"sqlite:///{tmp_path}/broker.db", Topology())
    asked: list[datetime] = []
    link = Memory.link

    def linked(memory: Memory, stored: Stored, expires: datetime | None) -> Link:
        assert expires is not None
        asked.append(expires)
        return link(memory, stored, expires)

    monkeypatch.setattr(Memory, "link", linked)
    with ledger_clock(clock), working(engine, tmp_path / "archives"):
        publish(engine, sent)
        wait_until(lambda: (found := row(sent)) is not None and found.state == "DELIVERED", "it is delivered")

    kept = datetime.fromtimestamp(clock(), UTC) + timedelta(days=30)
    assert [abs(kept - expires) < timedelta(minutes=5) for expires in asked] == [True]


@pytest.mark.rabbitmq
def test_a_scaled_day_without_the_service_on_the_ladder_of_rabbitmq(
    tmp_path: Path, sent: SimulationCompleted, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = 0.25
    topology = Topology(prefix=f"test-{uuid.uuid4().hex[:10]}", waits=(0.02, hour / 4, hour))
    engine = RabbitEngine(amqp_url, topology)
    over = time.monotonic() + 24 * hour

    def day_is_over() -> bool:
        return time.monotonic() >= over and outage.tries > 5  # on a busy machine few tries fit into a day

    outage = Outage(TransientError("It cannot be reached."), day_is_over, monkeypatch)
    try:
        with working(engine, tmp_path / "archives", Policy(first=0.02, longest=hour, patience=400 * hour)):
            publish(engine, sent)
            wait_until(lambda: (found := row(sent)) is not None and found.state == "DELIVERED", "it is delivered", 90)
            wait_until(lambda: not any(one.ready + one.waiting for one in lanes(engine)), "no message is left")

        assert notices(sent) == [("delivered", "PENDING")]
        assert unpacked(fetch(row(sent).link)) == files_below(tmp_path / "results")
    finally:
        delete_queues(amqp_url, topology)


def lanes(engine: Engine) -> list[Any]:
    return [engine.depths()[queue] for queue in engine.topology.lanes]


def declared(engine: Engine) -> bool:
    try:
        return bool(engine.depths())
    except BrokerError:
        return False
