"""A look at a RabbitMQ: what is there, what is missing, what we may do. Changes nothing.

The broker compares the arguments of a queue only when the queue is declared with others, which would make one that is
missing; so each queue is first asked for by its name alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pika import BasicProperties

from messaging.engine import Refused, Unroutable
from messaging.rabbitmq_declare import exchanges, queues
from messaging.rabbitmq_link import Address, Link, OtherArguments
from messaging.topology import Topology

# Seconds for any answer; less for a publish, whose silence means an alarm.
ANSWER_SECONDS = 5.0
BLOCKED_SECONDS = 3.0


@dataclass(slots=True)
class Look:
    """What was seen.

    Args:
        version: of the broker.
        user: as whom we are there.
        missing: exchanges and queues that no consumer has declared yet.
        other: those that are there with other arguments than ours.
        undeclared: why we may not declare, in which case arguments cannot be compared; empty: we may.
        unpublished: why we may not publish; empty: we may.
    """

    version: str
    user: str
    missing: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    undeclared: str = ""
    unpublished: str = ""


class Looker:
    """Looks at one broker.

    Args:
        url, topology: as `messaging.rabbitmq.RabbitEngine`.
    """

    def __init__(self, url: str, topology: Topology) -> None:
        self._address = Address(url, answer_seconds=ANSWER_SECONDS)
        self._address.set(
            socket_timeout=ANSWER_SECONDS,
            stack_timeout=ANSWER_SECONDS,
            blocked_connection_timeout=BLOCKED_SECONDS,
            connection_attempts=1,
        )
        self._topology = topology
        self._link: Link | None = None

    def look(self) -> Look:
        """Look at everything.

        Raises:
            BrokerUnavailable: the broker cannot be reached, or takes no messages at present.
            Refused: it does not let us in.
        """
        try:
            seen = Look(self._open().version, self._address.user)
            for name, kind in exchanges(self._topology).items():
                self._compare(
                    seen,
                    _exchange(name),
                    partial(Link.declare_exchange, name=name, kind=kind, make=False),
                    partial(Link.declare_exchange, name=name, kind=kind),
                )
            for name, arguments in queues(self._topology).items():
                self._compare(
                    seen,
                    name,
                    partial(Link.count, queue=name),
                    partial(Link.declare_queue, name=name, arguments=arguments),
                )
            self._try_to_publish(seen)
            return seen
        finally:
            if self._link is not None:
                self._link.close()

    def _compare(self, seen: Look, name: str, find: Callable[[Link], object], same: Callable[[Link], object]) -> None:
        try:
            find(self._open())
            if not seen.undeclared:
                same(self._open())
        except Unroutable:
            seen.missing.append(name)
        except OtherArguments:
            seen.other.append(name)
        except Refused as error:
            seen.undeclared = str(error)

    def _try_to_publish(self, seen: Look) -> None:
        """To our exchange, under a key that no queue is bound for: nothing is stored, the broker says so.

        Twice, since a broker that is short of memory or disk space lets the first message of a connection pass.
        """
        nowhere = f"doctor.{uuid.uuid4().hex}"
        for _ in range(0 if _exchange(self._topology.exchange) in seen.missing else 2):
            try:
                self._open().publish(self._topology.exchange, nowhere, b"", BasicProperties(user_id=self._address.user))
            except Unroutable:
                continue
            except Refused as error:
                seen.unpublished = str(error)
                return

    def _open(self) -> Link:
        """The link; after most errors, a new one."""
        if self._link is None or not self._link.is_open:
            self._link = Link(self._address, confirms=True)
        return self._link


def _exchange(name: str) -> str:
    """Its name in a list: the exchange of the dead letters is called like their queue."""
    return f"exchange {name}"
