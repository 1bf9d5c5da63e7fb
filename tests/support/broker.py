"""Topologies of single tests, and messages to send."""

from __future__ import annotations

import uuid
from typing import Any

from messaging.engine import Outgoing
from messaging.topology import Topology
from simcourier.drill.nodes import delete_queues, queue_names

__all__ = ["EVENT_KEY", "WAITS", "WAKE_KEY", "delete_queues", "fresh_topology", "outgoing", "queue_names"]

WAITS = (0.2, 1.0, 5.0)
EVENT_KEY = "simulation.completed.single"
WAKE_KEY = "wake.single"


def fresh_topology(**limits: Any) -> Topology:
    """A topology under a prefix of its own, with short waits."""
    return Topology(**({"prefix": f"test-{uuid.uuid4().hex[:10]}", "waits": WAITS} | limits))


def outgoing(message_id: str, key: str = WAKE_KEY, body: bytes | None = None) -> Outgoing:
    """A message whose body is its id, if no other is given."""
    return Outgoing(key, message_id.encode() if body is None else body, message_id)
