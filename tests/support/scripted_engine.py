"""A broker whose answers a test writes: away, refusing some, dropping idle connections."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.engine import BrokerUnavailable, Consumer, Engine, Outgoing, Publisher, QueueDepth, Refused
from messaging.messages import parse_event
from messaging.topology import Topology


class ScriptedEngine(Engine):
    """Keeps what was published; does as its attributes say."""

    def __init__(self) -> None:
        self.topology = Topology()
        self.away = False
        self.refused: set[str] = set()
        """Simulation ids of events that are refused."""
        self.messages: list[Outgoing] = []
        self.attempts = 0
        self.connections = 0
        self.generation = 0

    @property
    def description(self) -> str:
        return "scripted broker"

    @property
    def names(self) -> list[str]:
        """Simulation ids of the accepted events, in order."""
        return [parse_event(message.body).data.simulation_id for message in self.messages]

    def drop_connections(self) -> None:
        """What a broker does to those that lie idle for too long."""
        self.generation += 1

    def reach(self) -> None:
        raise NotImplementedError

    def publisher(self) -> Publisher:
        return _Publisher(self)

    def consumer(self, queues: Sequence[str], *, prefetch: int = 1) -> Consumer:
        raise NotImplementedError

    def depths(self) -> dict[str, QueueDepth]:
        raise NotImplementedError


class _Publisher(Publisher):
    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self._connected: int | None = None

    def publish(self, message: Outgoing) -> None:
        engine = self._engine
        engine.attempts += 1
        if engine.away:
            self._connected = None
            raise BrokerUnavailable("Nobody listens at the broker's address.")
        if self._connected not in {None, engine.generation}:
            self._connected = None
            raise BrokerUnavailable("The connection was lost.")
        if self._connected is None:
            engine.connections += 1
            self._connected = engine.generation
        name = parse_event(message.body).data.simulation_id
        if name in engine.refused:
            raise Refused(f"The queue for {name} is full.")
        engine.messages.append(message)

    def close(self) -> None:
        self._connected = None
