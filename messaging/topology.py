"""Every exchange, queue, binding and argument; the only module that spells a queue's name.

A queue's arguments cannot change in place: a change is a new name (``.v2``) and an ADR. What is to be tuned on
RabbitMQ goes into policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from messaging.messages import Lane

# How long the rungs of the wait ladder hold a message. RabbitMQ expires messages at the head of a queue only, so
# there is one queue per delay; a wait is a walk down the rungs (see `rung`).
WAITS: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)

# Our own counts decide when a delivery has failed; the broker's limit is a backstop for messages that kill whatever
# takes them, far above anything our counts allow.
DELIVERY_LIMIT: Final = 1000
DEAD_DELIVERY_LIMIT: Final = 1_000_000_000
_WAIT = ".wait."  # in the names of the wait ladder's queues, and in no other


@dataclass(frozen=True, slots=True)
class Topology:
    """Names and limits of one installation.

    Args:
        prefix: first part of every name; two installations can share a broker under two prefixes.
        waits: seconds each rung of the wait ladder holds a message, ascending.
        max_length: messages a work queue accepts before it refuses more.
        max_bytes: size of the largest body that is accepted.
    """

    prefix: str = "simcourier"
    waits: tuple[float, ...] = WAITS
    max_length: int = 1_000_000
    max_bytes: int = 1024 * 1024

    @property
    def exchange(self) -> str:
        """The topic exchange that everything is published to."""
        return f"{self.prefix}.events.v1"

    @property
    def dead_exchange(self) -> str:
        """The fanout exchange in front of the dead letters."""
        return f"{self.prefix}.dead.v1"

    @property
    def dead(self) -> str:
        """The dead-letter queue; the recorder moves what is in it into the ledger."""
        return f"{self.prefix}.dead.v1"

    @property
    def recorder(self) -> str:
        """The queue from which the recorder writes deliveries into the ledger as RECEIVED."""
        return f"{self.prefix}.recorder.v1"

    @property
    def notifications(self) -> str:
        """The queue of the email sender."""
        return f"{self.prefix}.notifications.v1"

    def lane(self, lane: Lane) -> str:
        """The work queue of ``lane``."""
        return f"{self.prefix}.results.{lane}.v1"

    @property
    def lanes(self) -> tuple[str, ...]:
        """The work queues that results workers take from in turn."""
        return tuple(self.lane(lane) for lane in Lane)

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that is consumed, the dead letters among them."""
        return (*self.lanes, self.recorder, self.notifications, self.dead)

    @property
    def bindings(self) -> dict[str, tuple[str, ...]]:
        """Routing key to the queues that get a copy. A key that is not here is unroutable."""
        routes: dict[str, tuple[str, ...]] = {}
        for lane in Lane:
            routes[f"simulation.completed.{lane}"] = (self.lane(lane), self.recorder)
            routes[wake_key(lane)] = (self.lane(lane),)
        routes["link.ready"] = (self.notifications,)
        routes["delivery.failed"] = (self.notifications,)
        routes["operator.notice"] = (self.notifications,)
        routes["campaign.digest"] = (self.notifications,)
        return routes

    def rung(self, delay: float) -> float:
        """The rung for a wait of ``delay`` seconds: the longest that is not longer, else the shortest.

        A message that comes back before its time meets a ledger that says so and waits for the rest, so a wait
        ends close to the moment asked for with few rungs.
        """
        return max((wait for wait in self.waits if wait <= delay), default=self.waits[0])

    def wait_queue(self, queue: str, rung: float) -> str:
        """The queue that holds messages of ``queue`` for ``rung`` seconds."""
        return f"{queue}{_WAIT}{rung:g}s"


def is_wait(queue: str) -> bool:
    """Whether a queue of this name is one of a wait ladder."""
    return _WAIT in queue


def wake_key(lane: Lane) -> str:
    """Routing key of a wake-up: to the workers of ``lane``, not to the recorder."""
    return f"wake.{lane}"
