"""Topologies of single tests, and messages to send."""

from __future__ import annotations

import uuid
from typing import Any

import pika

from messaging.engine import Outgoing
from messaging.topology import Topology

WAITS = (0.2, 1.0, 5.0)
EVENT_KEY = "simulation.completed.single"
WAKE_KEY = "wake.single"


def fresh_topology(**limits: Any) -> Topology:
    """A topology under a prefix of its own, with short waits."""
    return Topology(**({"prefix": f"test-{uuid.uuid4().hex[:10]}", "waits": WAITS} | limits))


def outgoing(message_id: str, key: str = WAKE_KEY, body: bytes | None = None) -> Outgoing:
    """A message whose body is its id, if no other is given."""
    return Outgoing(key, message_id.encode() if body is None else body, message_id)


def queue_names(topology: Topology) -> list[str]:
    """All queues on RabbitMQ, the wait ladder among them."""
    ladder = [topology.wait_queue(queue, rung) for queue in topology.queues for rung in topology.waits]
    return [*topology.queues, *ladder]


def delete_queues(url: str, topology: Topology) -> None:
    """Remove whatever RabbitMQ has of ``topology``."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        for name in queue_names(topology):
            channel.queue_delete(name)
        for name in (topology.exchange, topology.dead_exchange):
            channel.exchange_delete(name)
    finally:
        connection.close()
