"""The engine for many machines: RabbitMQ 3.10 to 4.x, durable quorum queues.

A consumer has two connections: one only takes and acknowledges, one only publishes, because the broker stops reading
from a connection that publishes while it is short of memory, acknowledgements included. It takes by ``basic.get``,
never ahead of a free slot (docs/adr/0002).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from pika import BasicProperties

from messaging import faults
from messaging.engine import (
    QUEUE_HEADER,
    REASON_HEADER,
    BrokerError,
    BrokerUnavailable,
    Consumer,
    Engine,
    Lost,
    Outgoing,
    Publisher,
    QueueDepth,
    Refused,
    Taken,
    Unroutable,
)
from messaging.messages import CONTENT_TYPE
from messaging.rabbitmq_copy import copy_properties, properties_of, read_headers, read_id, read_user
from messaging.rabbitmq_declare import declare
from messaging.rabbitmq_link import Address, Got, Link
from messaging.topology import Topology

# Seconds between two looks at empty queues: the first after a message, doubled up to the last.
LOOK_FIRST, LOOK_LAST = 0.02, 0.2
# Seconds after which a connection that only publishes is served between two publishes; a fraction of any heartbeat.
SERVE_EVERY = 0.5

log = structlog.get_logger("simcourier.broker")


class RabbitEngine(Engine):
    """RabbitMQ at ``url``: ``amqp[s]://USER:PASSWORD@HOST[:PORT]/VHOST``, with pika's options as its query.

    Several hosts, with commas between them, are the nodes of one cluster, tried in turn.

    Raises:
        BrokerError: the URL cannot be read.
    """

    def __init__(self, url: str, topology: Topology) -> None:
        self.topology = topology
        self._address = Address(url)

    @property
    def description(self) -> str:
        """Kind and place."""
        return f"RabbitMQ at {self._address.place}"

    def reach(self) -> None:
        """Connect and leave."""
        Link(self._address, confirms=False).close()

    def publisher(self) -> Publisher:
        """A new publisher."""
        return RabbitPublisher(self._address, self.topology)

    def consumer(self, queues: Sequence[str], *, prefetch: int = 1) -> Consumer:
        """A new consumer."""
        return RabbitConsumer(self._address, self.topology, queues, prefetch)

    def depths(self) -> dict[str, QueueDepth]:
        """How much lies in each queue; ``held`` is 0, since the broker tells it to its management plugin only."""
        link = Link(self._address, confirms=False)
        try:
            return {
                queue: QueueDepth(
                    ready=link.count(queue),
                    held=0,
                    waiting=sum(link.count(self.topology.wait_queue(queue, rung)) for rung in self.topology.waits),
                )
                for queue in self.topology.queues
            }
        except Unroutable as error:
            raise BrokerUnavailable(str(error)) from error
        finally:
            link.close()


class RabbitPublisher(Publisher):
    """Publishes over one connection, opened on first use and again after a loss."""

    def __init__(self, address: Address, topology: Topology) -> None:
        self._address = address
        self._topology = topology
        self._link: Link | None = None
        self._served = 0.0

    def publish(self, message: Outgoing) -> None:
        """Publish, confirmed; a connection known to be closed is opened anew first, but nothing is sent twice."""
        if len(message.body) > self._topology.max_bytes:
            raise Refused(
                f"The message has {len(message.body)} bytes; at most {self._topology.max_bytes} are accepted. "
                "Say where the data lies instead of sending it."
            )
        properties = properties_of(message, self._address.user)
        self.send(self._topology.exchange, message.routing_key, message.body, properties)

    def send(self, exchange: str, key: str, body: bytes, properties: BasicProperties) -> None:
        """Publish to any exchange; raises as `publish`."""
        self.serve()
        if self._link is None:
            self._link = Link(self._address, confirms=True)
        try:
            self._link.publish(exchange, key, body, properties)
        except BrokerError as error:
            if not self._link.is_open:
                log.warning("broker.lost", connection="publisher", error=str(error))
                self._link = None
            raise
        self._served = time.monotonic()

    def serve(self) -> None:
        """Keep an open connection alive, or notice that it is not: heartbeats are not answered while nobody looks."""
        if self._link is None or time.monotonic() - self._served < SERVE_EVERY:
            return
        try:
            self._link.serve(0)
        except BrokerError as error:
            log.info("broker.lost", connection="idle publisher", error=str(error))
            self._link = None
        self._served = time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None


@dataclass(frozen=True, slots=True)
class _Receipt:
    """A delivery tag, which means something only to the link that got the message."""

    link: Link
    tag: int
    properties: BasicProperties


class RabbitConsumer(Consumer):
    """Takes and acknowledges over one connection, publishes over another."""

    def __init__(self, address: Address, topology: Topology, queues: Sequence[str], prefetch: int) -> None:
        self._address = address
        self._topology = topology
        self._prefetch = prefetch
        self._queues = list(queues)
        self._empty: dict[str, float] = {}  # queue to when it was found so
        self._held: set[int] = set()
        self._link: Link | None = None
        self._publisher = RabbitPublisher(address, topology)
        self._interrupted = threading.Event()
        try:
            self._connected()
        except BrokerUnavailable as error:
            log.warning("broker.unavailable", error=str(error))  # the first `take` tries again and raises

    def take(self, timeout: float) -> Taken | None:
        """The next message."""
        if len(self._held) >= self._prefetch:
            self.pause(timeout)
            return None
        deadline = time.monotonic() + timeout
        look = LOOK_FIRST
        while not self._interrupted.is_set():
            taken = self._look()
            if taken is not None:
                return taken
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._serve(min(look, left))
            look = min(look * 2, LOOK_LAST)
        self._interrupted.clear()
        return None

    def pause(self, timeout: float) -> None:
        """Serve both connections."""
        deadline = time.monotonic() + timeout
        while not self._interrupted.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._serve(min(SERVE_EVERY, left))
        self._interrupted.clear()

    def interrupt(self) -> None:
        """End the `take` or `pause` that runs, or the next one if none does."""
        self._interrupted.set()
        link = self._link
        if link is not None:
            link.wake()

    def ack(self, taken: Taken) -> None:
        """Acknowledge."""
        receipt = self._receipt(taken)
        try:
            receipt.link.ack(receipt.tag)
        except BrokerError as error:
            raise self._lost(error) from error
        self._held.discard(receipt.tag)

    def wait(self, taken: Taken, delay: float) -> None:
        """Publish to the rung for ``delay``, then acknowledge."""
        queue = self._topology.wait_queue(taken.queue, self._topology.rung(delay))
        try:
            self._copy(taken, "", queue)
        except BrokerError as error:
            raise self._lost(error) from error
        self.ack(taken)

    def give_back(self, taken: Taken) -> None:
        """Publish to the end of its queue, then acknowledge; where the queue is full, return it, counted."""
        try:
            self._copy(taken, "", taken.queue)
        except Refused:
            self._return(taken)
        except BrokerError as error:
            raise self._lost(error) from error
        else:
            self.ack(taken)

    def bury(self, taken: Taken, reason: str) -> None:
        """Publish to the dead letters, then acknowledge."""
        marks = {REASON_HEADER: reason, QUEUE_HEADER: taken.queue}
        try:
            self._copy(taken, self._topology.dead_exchange, "", marks)
        except BrokerError as error:
            raise self._lost(error) from error
        self.ack(taken)

    def adopt(self, taken: Taken) -> None:
        """Publish to the queue itself: the other queues of its routing key have copies of their own."""
        original = BasicProperties(content_type=CONTENT_TYPE)
        self._publisher.send("", taken.queue, taken.body, copy_properties(taken, original, self._address.user, {}))

    def publish(self, message: Outgoing) -> None:
        """Publish over the consumer's own publishing connection."""
        self._publisher.publish(message)

    def close(self) -> None:
        """Close both connections; what is held comes back."""
        self._publisher.close()
        self._drop()

    def _connected(self) -> Link:
        if self._link is not None:
            if self._link.is_open:
                return self._link
            raise self._gone(BrokerUnavailable("The connection to RabbitMQ was closed."))
        link = Link(self._address, confirms=False)
        try:
            declare(link, self._topology)
        except BrokerError:
            link.close()
            raise
        self._link = link
        self._empty.clear()
        log.info("broker.connected", place=self._address.place, node=link.node)
        return link

    def _look(self) -> Taken | None:
        """One message from the first queue that has one; that queue is last in turn the next time."""
        link = self._connected()
        now = time.monotonic()
        # Queues found empty a moment ago come last: with messages in another queue they are not even asked.
        for queue in sorted(self._queues, key=lambda name: now - self._empty.get(name, -math.inf) < LOOK_FIRST):
            try:
                # An empty `get` is written to the queue's log like any other, a question for its length is not.
                got = None if queue in self._empty and not link.count(queue) else link.get(queue)
            except BrokerError as error:
                raise self._gone(error) from error
            if got is None:
                self._empty[queue] = now
                continue
            self._empty.pop(queue, None)
            self._queues.remove(queue)
            self._queues.append(queue)
            self._held.add(got.tag)
            return self._taken(link, queue, got)
        return None

    def _taken(self, link: Link, queue: str, got: Got) -> Taken:
        return Taken(
            queue=queue,
            body=got.body,
            message_id=read_id(got.properties),
            headers=read_headers(got.properties, dead=queue == self._topology.dead),
            redelivered=got.redelivered,
            user_id=read_user(got.properties, self._address.user),
            receipt=_Receipt(link, got.tag, got.properties),
        )

    def _serve(self, seconds: float) -> None:
        link = self._connected()
        self._publisher.serve()
        try:
            link.serve(seconds)
        except BrokerError as error:
            raise self._gone(error) from error

    def _copy(self, taken: Taken, exchange: str, key: str, marks: Mapping[str, str] | None = None) -> None:
        """Publish a copy with ``marks`` among its headers."""
        receipt = self._receipt(taken)
        properties = copy_properties(taken, receipt.properties, self._address.user, marks or {})
        self._publisher.send(exchange, key, taken.body, properties)
        faults.point("broker.copied")

    def _return(self, taken: Taken) -> None:
        receipt = self._receipt(taken)
        try:
            receipt.link.requeue(receipt.tag)
        except BrokerError as error:
            raise self._lost(error) from error
        self._held.discard(receipt.tag)

    def _receipt(self, taken: Taken) -> _Receipt:
        """The receipt of a message that is still ours to settle."""
        receipt = taken.receipt
        assert isinstance(receipt, _Receipt), "the message was taken from another engine"
        if receipt.link is not self._link or receipt.tag not in self._held:
            raise Lost(f"The message {taken.message_id} is no longer held here: it comes again, or was settled.")
        return receipt

    def _lost(self, error: BrokerError) -> Lost:
        if isinstance(error, Lost):
            return error
        self._gone(error)
        return Lost(f"The message could not be settled and comes again. {error}")

    def _gone(self, error: BrokerError) -> BrokerUnavailable:
        """Let go of everything after ``error``; what to raise."""
        log.warning("broker.lost", connection="consumer", held=len(self._held), error=str(error))
        self._publisher.close()
        self._drop()
        return error if isinstance(error, BrokerUnavailable) else BrokerUnavailable(str(error))

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._held.clear()
