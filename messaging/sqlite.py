"""The embedded engine: one SQLite file, several processes of one machine, no server.

It behaves as RabbitMQ with quorum queues does, so that what works on a laptop works on a cluster. Two things it does
better, being one file: a message that waits comes back exactly when asked, and settling is one transaction.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Final
from urllib.parse import unquote

from messaging.engine import (
    DEATH_HEADER,
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
from messaging.sqlite_files import LifeLine, is_alive, new_life, refuse_network
from messaging.sqlite_store import Store, lifelines, prepare
from messaging.topology import DELIVERY_LIMIT, Topology

# Seconds between two looks at empty queues (one indexed query, tens of microseconds): the first after a message,
# doubled up to the last.
LOOK_FIRST, LOOK_LAST = 0.01, 0.05
# Seconds between two looks for consumers that died with messages in hand.
REAP_EVERY: Final = 0.5

_READY = "holder IS NULL AND not_before IS NULL"

Clock = Callable[[], float]


class SqliteEngine(Engine):
    """The broker in the file of ``url``: ``sqlite:///`` and the file's path (so ``sqlite:////var/...``).

    Args:
        url: the address.
        topology: names and limits.
        clock: seconds since 1970; decides when a wait is over.

    Raises:
        BrokerError: the URL names no file.
    """

    def __init__(self, url: str, topology: Topology, *, clock: Clock = time.time) -> None:
        self.topology = topology
        self._clock = clock
        name = unquote(url.removeprefix("sqlite:///"))
        if name in {"", ":memory:"} or not url.startswith("sqlite:///"):
            raise BrokerError("The broker's address must name a file: sqlite:////var/lib/simcourier/broker.db, say.")
        self.path = Path(name).absolute()

    @property
    def description(self) -> str:
        """Kind and place."""
        return f"embedded broker (SQLite) in {self.path}"

    def reach(self) -> None:
        """See that the file lies, or would lie, on this machine."""
        refuse_network(self.path.parent)

    def publisher(self) -> Publisher:
        """A new publisher."""
        return SqlitePublisher(self.path, self.topology)

    def consumer(self, queues: Sequence[str], *, prefetch: int = 1) -> Consumer:
        """A new consumer."""
        return SqliteConsumer(self.path, self.topology, queues, prefetch, self._clock)

    def depths(self) -> dict[str, QueueDepth]:
        """How much lies in each queue."""
        query = f"""
            SELECT count(*) FILTER (WHERE {_READY}), count(*) FILTER (WHERE holder IS NOT NULL),
                   count(*) FILTER (WHERE not_before IS NOT NULL)
            FROM messages WHERE queue = ?
        """  # noqa: S608 - a constant
        store = Store(self.path)
        try:
            with store.reading() as db:
                declared = {name for (name,) in db.execute("SELECT name FROM queues")}
                if not declared.issuperset(self.topology.queues):
                    raise BrokerUnavailable(
                        f"The queues of '{self.topology.prefix}' are not declared in {self.path}; start a worker once."
                    )
                return {queue: QueueDepth(*db.execute(query, (queue,)).fetchone()) for queue in self.topology.queues}
        finally:
            store.close()


class SqlitePublisher(Publisher):
    """Publishes into a file that a consumer has made."""

    def __init__(self, path: Path, topology: Topology) -> None:
        self._path = path
        self._topology = topology
        self._store: Store | None = None

    def publish(self, message: Outgoing) -> None:
        """Write the message into all queues of its key, or into none."""
        topology = self._topology
        if len(message.body) > topology.max_bytes:
            raise Refused(
                f"The message has {len(message.body)} bytes; at most {topology.max_bytes} are accepted. "
                "Say where the data lies instead of sending it."
            )
        if self._store is None:
            self._store = Store(self._path)
        try:
            with self._store.writing() as db:
                _publish(db, topology, message)
        except BrokerUnavailable:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None


@dataclass(frozen=True, slots=True)
class _Receipt:
    """A row, and the name under which we hold it."""

    seq: int
    holder: str


class SqliteConsumer(Consumer):
    """Takes rows by writing its name into them."""

    def __init__(
        self, path: Path, topology: Topology, queues: Sequence[str], prefetch: int, clock: Clock = time.time
    ) -> None:
        self._path = path
        self._topology = topology
        self._queues = list(queues)
        self._prefetch = prefetch
        self._clock = clock
        self._store: Store | None = None
        self._life: LifeLine | None = None
        self._held: set[int] = set()
        self._reaped = 0.0
        self._interrupted = threading.Event()
        self._publisher = SqlitePublisher(path, topology)
        with suppress(BrokerUnavailable):  # the first `take` tries again and raises
            self._connected()

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
            self._interrupted.wait(min(look, left))
            look = min(look * 2, LOOK_LAST)
        self._interrupted.clear()
        return None

    def pause(self, timeout: float) -> None:
        """Wait; there is no connection that would need us."""
        self._connected()
        if self._interrupted.wait(timeout):
            self._interrupted.clear()

    def interrupt(self) -> None:
        """End the `take` or `pause` that runs, or the next one if none does."""
        self._interrupted.set()

    def ack(self, taken: Taken) -> None:
        """Delete the row."""
        self._settle(taken)

    def wait(self, taken: Taken, delay: float) -> None:
        """Keep it for exactly ``delay`` seconds, then put it at the end of its queue."""
        self._settle(taken, queue=taken.queue, headers=taken.headers, not_before=self._clock() + delay)

    def give_back(self, taken: Taken) -> None:
        """Put it at the end of its queue."""
        self._settle(taken, queue=taken.queue, headers=taken.headers)

    def bury(self, taken: Taken, reason: str) -> None:
        """Put it among the dead letters."""
        marks = {REASON_HEADER: reason, QUEUE_HEADER: taken.queue}
        self._settle(taken, queue=self._topology.dead, headers={**taken.headers, **marks})

    def adopt(self, taken: Taken) -> None:
        """Write a row."""
        try:
            with self._connected().writing() as db:
                _insert(db, taken.queue, taken.message_id, json.dumps(dict(taken.headers)), taken.body)
        except BrokerUnavailable:
            self._drop()
            raise

    def publish(self, message: Outgoing) -> None:
        """Publish."""
        self._publisher.publish(message)

    def close(self) -> None:
        """Let go; what is held comes back."""
        self._publisher.close()
        if self._store is not None and self._life is not None and self._held:
            with suppress(BrokerError), self._store.writing() as db:
                _return(db, self._life.name)
        self._drop()

    def _connected(self) -> Store:
        if self._store is None or self._life is None:
            prepare(self._path, self._topology)
            self._life = new_life(lifelines(self._path))
            self._store = Store(self._path)
        return self._store

    def _look(self) -> Taken | None:
        try:
            store = self._connected()
            self._reap(store)
            if not self._anything(store):
                return None
            with store.writing() as db:
                _wake(db, self._queues, self._clock())
                return self._hold(db)
        except BrokerError:
            self._drop()
            raise

    def _anything(self, store: Store) -> bool:
        """Whether it is worth while to keep the others from writing."""
        marks = ", ".join("?" * len(self._queues))
        query = f"""
            SELECT EXISTS (SELECT 1 FROM messages WHERE queue IN ({marks}) AND {_READY})
                OR EXISTS (SELECT 1 FROM messages WHERE queue IN ({marks}) AND not_before <= ?)
        """  # noqa: S608 - question marks only
        with store.reading() as db:
            return bool(db.execute(query, (*self._queues, *self._queues, self._clock())).fetchone()[0])

    def _hold(self, db: Connection) -> Taken | None:
        """Take from the first queue that has something; that queue is last in turn the next time."""
        assert self._life is not None
        for queue in list(self._queues):
            row = self._first(db, queue)
            if row is None:
                continue
            seq, message_id, headers, body, deliveries = row
            db.execute(
                "UPDATE messages SET holder = ?, deliveries = deliveries + 1 WHERE seq = ?", (self._life.name, seq)
            )
            self._queues.remove(queue)
            self._queues.append(queue)
            self._held.add(seq)
            receipt = _Receipt(seq, self._life.name)
            return Taken(queue, body, message_id, json.loads(headers), deliveries > 0, None, receipt)
        return None

    def _first(self, db: Connection, queue: str) -> tuple[int, str, str, bytes, int] | None:
        """The first ready row of a queue; those that were delivered too often go to the dead letters."""
        query = f"""
            SELECT seq, message_id, headers, body, deliveries FROM messages
            WHERE queue = ? AND {_READY} ORDER BY seq LIMIT 1
        """  # noqa: S608 - a constant
        while True:
            row: tuple[int, str, str, bytes, int] | None = db.execute(query, (queue,)).fetchone()
            if row is None or row[4] <= DELIVERY_LIMIT or queue == self._topology.dead:
                return row
            seq, message_id, headers, body, deliveries = row
            marks = {
                DEATH_HEADER: json.dumps([{"reason": "delivery_limit", "queue": queue, "count": 1}]),
                QUEUE_HEADER: queue,
                REASON_HEADER: f"The broker has set it aside: delivery_limit, after {deliveries} deliveries.",
            }
            db.execute("DELETE FROM messages WHERE seq = ?", (seq,))
            _insert(db, self._topology.dead, message_id, json.dumps({**json.loads(headers), **marks}), body)

    def _reap(self, store: Store) -> None:
        """Return what consumers hold that are no longer alive."""
        assert self._life is not None
        if time.monotonic() - self._reaped < REAP_EVERY:
            return
        self._reaped = time.monotonic()
        with store.reading() as db:
            holders = db.execute(
                "SELECT DISTINCT holder FROM messages WHERE holder IS NOT NULL AND holder <> ?", (self._life.name,)
            ).fetchall()
        dead = [name for (name,) in holders if not is_alive(lifelines(self._path), name)]
        if dead:
            with store.writing() as db:
                for name in dead:
                    _return(db, name)

    def _settle(
        self,
        taken: Taken,
        queue: str | None = None,
        headers: Mapping[str, str] | None = None,
        not_before: float | None = None,
    ) -> None:
        """Delete the row and, if a queue is named, write its copy there, in one transaction."""
        receipt = taken.receipt
        assert isinstance(receipt, _Receipt), "the message was taken from another engine"
        gone = Lost(f"The message {taken.message_id} is no longer held here: it comes again, or was settled.")
        if self._store is None or receipt.seq not in self._held:
            raise gone
        try:
            with self._store.writing() as db:
                mine = (receipt.seq, receipt.holder)
                if db.execute("DELETE FROM messages WHERE seq = ? AND holder = ?", mine).rowcount == 0:
                    raise gone
                if queue is not None:
                    _insert(
                        db, queue, taken.message_id, json.dumps(dict(headers or {})), taken.body, not_before=not_before
                    )
        except Lost:
            self._held.discard(receipt.seq)
            raise
        except BrokerError as error:
            self._drop()
            raise Lost(f"The message could not be settled and comes again. {error}") from error
        self._held.discard(receipt.seq)

    def _drop(self) -> None:
        """Let go of the file; others see that this consumer's life line has ended."""
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._life is not None:
            self._life.close()
            self._life = None
        self._held.clear()


def _publish(db: Connection, topology: Topology, message: Outgoing) -> None:
    queues = [
        queue
        for (queue,) in db.execute(
            "SELECT queue FROM bindings WHERE exchange = ? AND routing_key = ?",
            (topology.exchange, message.routing_key),
        )
    ]
    if not queues:
        raise Unroutable(
            f"The embedded broker has no queue for {message.routing_key!r}; "
            "start 'simcourier worker' once, it makes them."
        )
    for queue in queues:
        query = f"SELECT count(*) FROM messages WHERE queue = ? AND {_READY}"  # noqa: S608 - a constant
        (ready,) = db.execute(query, (queue,)).fetchone()
        if ready >= topology.max_length:
            raise Refused(f"The embedded broker has refused the message: {queue} is full ({ready} messages).")
        _insert(db, queue, message.message_id, json.dumps(dict(message.headers)), message.body)


def _insert(
    db: Connection, queue: str, message_id: str, headers: str, body: bytes, *, not_before: float | None = None
) -> None:
    db.execute(
        "INSERT INTO messages (queue, message_id, headers, body, not_before) VALUES (?, ?, ?, ?, ?)",
        (queue, message_id, headers, body, not_before),
    )


def _wake(db: Connection, queues: Sequence[str], now: float) -> None:
    """Put messages whose wait is over at the ends of their queues."""
    marks = ", ".join("?" * len(queues))
    due = f"queue IN ({marks}) AND not_before <= ?"
    copy = f"""
        INSERT INTO messages (queue, message_id, headers, body)
        SELECT queue, message_id, headers, body FROM messages WHERE {due} ORDER BY not_before, seq
    """  # noqa: S608 - question marks only
    db.execute(copy, (*queues, now))
    db.execute(f"DELETE FROM messages WHERE {due}", (*queues, now))  # noqa: S608 - question marks only


def _return(db: Connection, holder: str) -> None:
    """Make ready what ``holder`` held, in the old place; how often it was delivered stays known."""
    db.execute("UPDATE messages SET holder = NULL WHERE holder = ?", (holder,))
