"""From ``SIMCOURIER_BROKER_URL`` to an engine. There is no fallback from one engine to the other."""

from __future__ import annotations

from urllib.parse import urlsplit

from messaging.engine import Engine
from messaging.topology import Topology

SCHEMES = ("sqlite", "amqp", "amqps")


def connect(url: str, topology: Topology) -> Engine:
    """The engine for ``url``; nothing is opened yet.

    Raises:
        ValueError: the URL names no known engine.
        BrokerError: the rest of the URL cannot be read.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from messaging.sqlite import SqliteEngine

        return SqliteEngine(url, topology)
    if scheme in {"amqp", "amqps"}:
        from messaging.rabbitmq import RabbitEngine

        return RabbitEngine(url, topology)
    raise ValueError(f"the broker's address must begin with one of {', '.join(SCHEMES)}")
