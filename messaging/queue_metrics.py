"""How much lies in the broker's queues, for Prometheus. Needs prometheus_client, which a simulator's host lacks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from messaging.engine import BrokerError, Engine


def queue_metrics(engine: Engine) -> Iterator[Metric]:
    """Whether the broker answers, and if so, the depth of each queue."""
    up = GaugeMetricFamily("simcourier_broker_up", "1 while the broker can be asked, else 0.")
    messages = GaugeMetricFamily(
        "simcourier_queue_messages",
        "Messages in a queue: ready to be taken, held by a consumer, waiting for another try.",
        labels=["queue", "where"],
    )
    try:
        depths = engine.depths()
    except BrokerError:
        up.add_metric([], 0)
        yield up
        return
    up.add_metric([], 1)
    for queue, depth in sorted(depths.items()):
        for where, count in (("ready", depth.ready), ("held", depth.held), ("waiting", depth.waiting)):
            messages.add_metric([queue, where], count)
    yield up
    yield messages
