"""The recorder, with a real broker and ledger: what it has taken is written down, or comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from messaging.engine import Engine, Outgoing
from messaging.settings import Settings
from messaging.sqlite import SqliteEngine
from messaging.topology import Topology
from tests.support.events import event
from tests.support.scratch import wait_until


@contextmanager
def recording(engine: Engine) -> Iterator[None]:
    """A recorder in a thread."""
    from consumer.loop import Loop
    from consumer.recorder import Recorder
    from consumer.stop import Stop
    from ledger.api import Deliveries

    stop = Stop(1)
    queues = (engine.topology.recorder, engine.topology.dead)
    recorder = Recorder(Deliveries("host:1", lease=30, overdue=60), engine.topology.dead)
    thread = threading.Thread(target=Loop("recorder", engine, queues, recorder.handle, stop).run)
    thread.start()
    try:
        yield
    finally:
        stop.request()
        thread.join()


@contextmanager
def away(ledger: Path) -> Iterator[None]:
    """The ledger's file cannot be opened."""
    aside = ledger.with_suffix(".aside")
    ledger.rename(aside)
    ledger.mkdir()
    try:
        yield
    finally:
        ledger.rmdir()
        aside.rename(ledger)


def test_events_and_dead_letters_outlast_a_ledger_that_is_away_while_the_recorder_takes_them(
    sqlite_ledger: Settings, tmp_path: Path, topology: Topology
) -> None:
    from django.db import connections

    from ledger.api import dead_letters, find

    engine = SqliteEngine(f"sqlite:///{tmp_path}/broker/broker.db", topology)
    sent = event()
    with engine.consumer([topology.recorder, topology.lanes[0]]) as consumer:
        consumer.publish(Outgoing("simulation.completed.single", b"no event", "nonsense"))
        while (taken := consumer.take(0.2)) is not None:
            consumer.bury(taken, "It is no event.") if taken.queue == topology.lanes[0] else consumer.ack(taken)
        consumer.publish(Outgoing("simulation.completed.single", sent.to_bytes(), str(sent.id)))
    connections.close_all()

    with away(sqlite_ledger.data_dir / "simcourier.db"), recording(engine):
        wait_until(
            lambda: all(engine.depths()[queue].waiting for queue in (topology.recorder, topology.dead)),
            "event and dead letter to be put back",
        )
    with recording(engine):
        wait_until(lambda: len(find(str(sent.id))) == 1, "the event to be written down")
        wait_until(lambda: len(dead_letters()) == 1, "the dead letter to be filed")
        wait_until(
            lambda: not any(sum((depth.ready, depth.held, depth.waiting)) for queue, depth in engine.depths().items()
                            if queue in {topology.recorder, topology.dead}),
            "empty queues",
        )  # fmt: skip
    assert dead_letters()[0].reason == "It is no event."
