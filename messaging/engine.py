"""What the rest of the system knows of a message broker; `messaging.sqlite` and `messaging.rabbitmq` keep it.

Publishing returns when the message is durable. A consumer takes a message and settles it in exactly one of four
ways: `ack`, `wait`, `give_back`, `bury`. The last three publish a copy, are confirmed, and then acknowledge: a crash
in between may double a message and never loses one. A message that was taken and not settled comes back when the
consumer's connection or process is gone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from messaging.errors import UserError
from messaging.topology import Topology


class BrokerError(UserError):
    """Something went wrong between us and the broker; the text is a sentence for the person who can mend it."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached, or was lost: the same call may succeed later."""


class Refused(BrokerError):
    """The broker would not accept the message (queue full, body too large, not allowed)."""


class Unroutable(BrokerError):
    """No queue would get the message, so nobody would ever read it."""


class Lost(BrokerUnavailable):
    """The message can no longer be settled here, because its connection is gone: it will be delivered again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published.

    Args:
        routing_key: a key of `Topology.bindings`.
        body: JSON in UTF-8.
        message_id: stable over retries (the event's id).
        headers: short texts that travel with it.
        on_behalf_of: the broker's user who published the original of what is published again; empty: nobody said;
            None: it is our own.
    """

    routing_key: str
    body: bytes
    message_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that this consumer holds until it settles it.

    Args:
        queue: the queue it was taken from.
        redelivered: somebody may have taken it before.
        user_id: the broker's user who published it, validated by the broker; None where there are no users.
        receipt: the engine's own handle.
    """

    queue: str
    body: bytes
    message_id: str
    headers: Mapping[str, str]
    redelivered: bool
    user_id: str | None
    receipt: object


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much lies in a queue: waiting to be taken, held by consumers, and in the wait ladder."""

    ready: int
    held: int
    waiting: int


# Headers that `bury` adds; the broker's own dead-lettering says the same in `x-death`, handed on as JSON.
REASON_HEADER = "x-simcourier-reason"
QUEUE_HEADER = "x-simcourier-queue"
DEATH_HEADER = "x-death"


class Publisher(ABC):
    """Publishes, durably and confirmed. Belongs to the thread that made it."""

    @abstractmethod
    def publish(self, message: Outgoing) -> None:
        """Publish and return once it is durable in every queue that its routing key names.

        Raises:
            BrokerUnavailable: nothing is known to be stored; publish again later. The next call connects anew.
            Refused: the broker said no.
            Unroutable: no queue is bound (also: no consumer was ever started here).
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection. Never raises; a closed publisher may not be used again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Consumer(Publisher):
    """Takes and settles messages of some queues. Belongs to the thread that made it, but for `interrupt`.

    Declares the topology when it is made and again whenever it connects anew.
    """

    @abstractmethod
    def take(self, timeout: float) -> Taken | None:
        """The next message, from the queues in turn; None after ``timeout`` seconds or an `interrupt`.

        Messages of one queue come in the order of publishing. No more than ``prefetch`` messages are held unsettled:
        with that many in hand it returns None as `pause` does.

        Raises:
            BrokerUnavailable: the connection was lost (everything held will be delivered again) or cannot be had.
                The next call connects anew; the caller decides how long to wait before it.
        """

    @abstractmethod
    def pause(self, timeout: float) -> None:
        """Keep the connection alive for ``timeout`` seconds without taking; returns early on `interrupt`.

        Raises:
            BrokerUnavailable: as `take`.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """End a `take` or `pause` of the consumer's thread early. May be called from any thread; never raises."""

    @abstractmethod
    def ack(self, taken: Taken) -> None:
        """Done with it.

        Raises:
            Lost: it will be delivered again (so for the three below).
        """

    @abstractmethod
    def wait(self, taken: Taken, delay: float) -> None:
        """Come back in about ``delay`` seconds (see `Topology.rung`), at the end of the queue."""

    @abstractmethod
    def give_back(self, taken: Taken) -> None:
        """Let another consumer have it at once, without counting as a failed try."""

    @abstractmethod
    def bury(self, taken: Taken, reason: str) -> None:
        """Set it aside with the dead letters, its body unchanged, the reason and its queue as headers."""

    @abstractmethod
    def adopt(self, taken: Taken) -> None:
        """Put a copy of a message that was taken from another engine at the end of the queue of the same name.

        Returns once it is durable here; settling it there is the caller's.

        Raises:
            BrokerUnavailable, Refused, Unroutable: as `publish`.
        """


class Engine(ABC):
    """A broker at an address, seen with one topology."""

    topology: Topology

    @property
    @abstractmethod
    def description(self) -> str:
        """What is in use, for the start-up line: kind and place, without credentials."""

    @abstractmethod
    def reach(self) -> None:
        """See that the broker can be used, before anything is begun that needs it. Changes nothing.

        Raises:
            BrokerUnavailable: it cannot be reached.
            Refused: it does not let us in.
        """

    @abstractmethod
    def publisher(self) -> Publisher:
        """A new publisher; connects on first use."""

    @abstractmethod
    def consumer(self, queues: Sequence[str], *, prefetch: int = 1) -> Consumer:
        """A new consumer of ``queues``, holding at most ``prefetch`` messages.

        Tries to connect at once; a broker that is away is told by the first `take`.

        Raises:
            Refused: wrong credentials, or a queue that is there with other arguments.
        """

    @abstractmethod
    def depths(self) -> dict[str, QueueDepth]:
        """How much lies in each queue of the topology. Looking changes nothing.

        Raises:
            BrokerUnavailable: the broker cannot be asked.
        """
