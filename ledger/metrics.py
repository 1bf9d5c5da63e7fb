"""What the ledger knows of the whole installation, for Prometheus; docs/monitoring.md says what each number means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ledger import counts
from ledger.definitions import definitions
from ledger.states import ENDS, State
from messaging.engine import Engine
from messaging.messages import Lane
from messaging.queue_metrics import queue_metrics


def exposition(engine: Engine | None) -> bytes:
    """All of it, as text.

    Args:
        engine: the broker, where the site was told of one.

    Raises:
        LedgerUnavailable: the database is away.
    """
    registry = CollectorRegistry()
    registry.register(_Ledger(engine))
    return generate_latest(registry)


class _Ledger(Collector):
    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine

    def describe(self) -> Iterator[Metric]:
        yield from ()  # else it would be collected to find out

    def collect(self) -> Iterator[Metric]:
        yield from _deliveries()
        yield from _mails()
        letters = counts.open_dead_letters()
        yield GaugeMetricFamily("simcourier_dead_letters_open", "Dead letters that are open.", value=letters.count)
        yield GaugeMetricFamily(
            "simcourier_dead_letters_oldest_seconds", "Age of the oldest of them.", value=letters.oldest
        )
        yield from _backends()
        running = Counter(one.role for one in counts.processes())
        alive = GaugeMetricFamily("simcourier_processes", "Processes that work with the ledger.", labels=["role"])
        for role in sorted({*counts.ROLES, *running}):  # with 0 too, so that a rule can ask for nobody
            alive.add_metric([role], running[role])
        yield alive
        if self._engine is not None:
            yield from queue_metrics(self._engine)


def _deliveries() -> Iterator[Metric]:
    number = GaugeMetricFamily("simcourier_deliveries", "Deliveries by lane and state.", labels=["lane", "state"])
    oldest = GaugeMetricFamily(
        "simcourier_deliveries_oldest_seconds",
        "Seconds since the oldest delivery of a lane and state was received.",
        labels=["lane", "state"],
    )
    waiting = {pile.key: pile for pile in counts.open_deliveries()}
    for lane in Lane:
        for state in (state for state in State if state not in ENDS):
            pile = waiting.get((lane.value, state.value))
            number.add_metric([lane.value, state.value], pile.count if pile else 0)
            oldest.add_metric([lane.value, state.value], pile.oldest if pile else 0)
    for pile in counts.ended_deliveries():
        number.add_metric(pile.key, pile.count)
    yield number
    yield oldest


def _mails() -> Iterator[Metric]:
    number = GaugeMetricFamily("simcourier_notifications", "Mails by kind and state.", labels=["kind", "state"])
    owed = counts.open_mails()
    for pile in [*owed, *counts.ended_mails()]:
        number.add_metric(pile.key, pile.count)
    yield number
    yield GaugeMetricFamily(
        "simcourier_mails_oldest_seconds",
        "Seconds since the oldest mail was owed that is not sent and not given up.",
        value=max((pile.oldest for pile in owed), default=0),
    )
    yield GaugeMetricFamily(
        "simcourier_mails_uncertain",
        "How often a mail was sent again without knowing whether it had arrived.",
        value=counts.uncertain_mails(),
    )


def _backends() -> Iterator[Metric]:
    healthy = GaugeMetricFamily(
        "simcourier_backend_healthy", "1, or 0 while only a person can mend it.", labels=["backend"]
    )
    for one in definitions():
        healthy.add_metric([one.identifier], 0 if one.unhealthy_reason else 1)
    yield healthy
