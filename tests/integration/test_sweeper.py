"""The sweep, from a row past its time to a message in its queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from messaging.connect import connect
from messaging.engine import Consumer, Engine
from messaging.settings import Settings
from messaging.topology import Topology
from tests.support.events import event

if TYPE_CHECKING:
    from ledger.deliveries import Deliveries


@pytest.fixture
def broker(tmp_path: Path, topology: Topology) -> Engine:
    return connect(f"sqlite:///{tmp_path}/broker/broker.db", topology)


@pytest.fixture
def deliveries(sqlite_ledger: Settings) -> Deliveries:
    from ledger.api import Deliveries

    del sqlite_ledger
    return Deliveries("host:1", lease=30, overdue=60)


@pytest.fixture
def sweeper(broker: Engine, deliveries: Deliveries) -> Any:
    from consumer.sweeper import Sweeper
    from ledger.api import Digests, Keep

    del deliveries
    return Sweeper(broker, "host:1", 10, Keep(0, 0), Digests(quiet=1800, overdue=60))


def bodies(consumer: Consumer) -> list[bytes]:
    found = []
    while (taken := consumer.take(0.05)) is not None:
        found.append(taken.body)
        consumer.ack(taken)
    return found


def test_a_delivery_that_nobody_has_come_for_is_woken_once_per_interval(
    broker: Engine, topology: Topology, deliveries: Deliveries, sweeper: Any
) -> None:
    from ledger.models import Delivery
    from ledger.work import from_now

    one, other = event(), event()
    for each in (one, other):
        deliveries.record(each, each.to_bytes(), None)
    with broker.consumer(topology.lanes) as lanes, broker.consumer([topology.recorder]) as recorder:
        Delivery.objects.filter(id=one.id).update(wake_at=from_now(-1))
        for _ in range(2):
            sweeper.round()

        assert bodies(lanes) == [one.to_bytes()]
        assert bodies(recorder) == []


def test_a_worker_that_is_gone_is_noticed_by_the_sweep(
    broker: Engine, topology: Topology, deliveries: Deliveries, sweeper: Any
) -> None:
    from ledger.models import Delivery
    from ledger.work import from_now

    one = event()
    deliveries.claim(one, one.to_bytes(), None)
    Delivery.objects.filter(id=one.id).update(lease_until=from_now(-61), wake_at=from_now(-1))
    with broker.consumer(topology.lanes) as lanes:
        sweeper.round()

        assert bodies(lanes) == [one.to_bytes()]
