"""Exchanges, queues and bindings on RabbitMQ, with arguments that 3.10 to 4.x understand.

Sources: https://www.rabbitmq.com/docs/quorum-queues (delivery limit, at-least-once dead-lettering, overflow) and
https://www.rabbitmq.com/docs/ttl. All queues are durable quorum queues. With a delivery limit and no dead-letter
exchange the broker would drop a message; with at-least-once dead-lettering and no queue behind the exchange it would
keep it for later: so the dead letters are declared and bound first.
"""

from __future__ import annotations

from collections.abc import Mapping

from messaging import topology as limits
from messaging.rabbitmq_link import Link
from messaging.topology import Topology

Arguments = Mapping[str, str | int]


def declare(link: Link, topology: Topology) -> None:
    """Make what is missing and see that the rest is as it should be; changes nothing the second time.

    Raises:
        Refused: a queue exists with other arguments, or we may not declare.
    """
    kinds = exchanges(topology)
    link.declare_exchange(topology.dead_exchange, kinds[topology.dead_exchange])
    for name, arguments in queues(topology).items():
        link.declare_queue(name, arguments)
        if name == topology.dead:
            link.bind(topology.dead, topology.dead_exchange, "")
    # Last, since a client that does not ask for routing loses what it publishes before the queues are bound.
    link.declare_exchange(topology.exchange, kinds[topology.exchange])
    for key, bound in topology.bindings.items():
        for queue in bound:
            link.bind(queue, topology.exchange, key)


def exchanges(topology: Topology) -> dict[str, str]:
    """Every exchange and its type."""
    return {topology.dead_exchange: "fanout", topology.exchange: "topic"}


def queues(topology: Topology) -> dict[str, Arguments]:
    """Every queue and its arguments, the dead letters first."""
    found: dict[str, Arguments] = {topology.dead: dead_arguments()}
    for queue in topology.queues:
        if queue != topology.dead:
            found[queue] = work_arguments(topology)
        for rung in topology.waits:
            found[topology.wait_queue(queue, rung)] = wait_arguments(queue, rung)
    return found


def work_arguments(topology: Topology) -> Arguments:
    """Of a queue that is worked off."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": limits.DELIVERY_LIMIT,
        "x-max-length": topology.max_length,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": topology.dead_exchange,
        "x-dead-letter-strategy": "at-least-once",
    }


def dead_arguments() -> Arguments:
    """Of the dead letters: nothing lies behind them, so nothing may push a message out."""
    return {"x-queue-type": "quorum", "x-delivery-limit": limits.DEAD_DELIVERY_LIMIT}


def wait_arguments(queue: str, rung: float) -> Arguments:
    """Of a rung of the wait ladder: nobody takes from it, after ``rung`` seconds a message goes back to ``queue``.

    The delay is the queue's, not the message's, since messages expire only at the head of a queue.
    """
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": round(rung * 1000),
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
    }
