"""The one loop of all consumer programs: take, run, settle. The only place that acknowledges."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from consumer.stop import Stop
from messaging import faults
from messaging.engine import BrokerError, BrokerUnavailable, Consumer, Engine, Lost, Outgoing, Taken

log = structlog.get_logger()

IDLE_SECONDS = 1.0
AFTER_BUG_SECONDS = 30.0
RECONNECT_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Ack:
    """Done with the message."""


@dataclass(frozen=True, slots=True)
class Later:
    """The message comes back in ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Another consumer shall have it at once."""


@dataclass(frozen=True, slots=True)
class Bury:
    """To the dead letters."""

    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a handler wants done with its message.

    Args:
        settle: what becomes of it.
        publish: messages that are published, confirmed, before it is settled.
        after: called once it is settled (or lost to another consumer).
    """

    settle: Ack | Later | GiveBack | Bury
    publish: Sequence[Outgoing] = ()
    after: Callable[[], None] | None = None


@dataclass(slots=True)
class _Done:
    taken: Taken
    result: Result
    unpublished: list[Outgoing] = field(init=False)

    def __post_init__(self) -> None:
        self.unpublished = list(self.result.publish)


class Loop:
    """Takes messages of ``queues``, runs ``handler`` on each in a thread, and settles it as the handler says.

    The broker's connection belongs to the thread that calls `run`; handlers never touch it, so that heartbeats are
    served however long the work takes. ``alive`` is called, about once a second, as long as the broker is served.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        queues: Sequence[str],
        handler: Callable[[Taken], Result],
        stop: Stop,
        *,
        concurrency: int = 1,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._engine = engine
        self._queues = queues
        self._handler = handler
        self._stop = stop
        self._concurrency = concurrency
        self._alive = alive
        self._done: queue.SimpleQueue[_Done] = queue.SimpleQueue()
        self._unsettled: list[_Done] = []
        self._busy = 0

    def run(self) -> None:
        """Work until a stop is requested and everything in hand is settled."""
        consumer = self._engine.consumer(self._queues, prefetch=self._concurrency)
        failures = 0
        with consumer, ThreadPoolExecutor(self._concurrency, thread_name_prefix=self._name) as pool:
            while True:
                try:
                    self._settle(consumer)
                    if self._stop.requested and not self._busy:
                        return
                    if self._stop.requested or self._busy >= self._concurrency:
                        consumer.pause(IDLE_SECONDS)
                    else:
                        taken = consumer.take(IDLE_SECONDS)
                        if taken is not None:
                            self._busy += 1
                            faults.point(f"{self._name}.taken")
                            pool.submit(self._work, taken, consumer)
                    self._alive()
                    if failures:
                        log.info("broker.back", loop=self._name)
                        failures = 0
                except BrokerUnavailable as error:
                    if failures == 0:
                        log.warning("broker.lost", loop=self._name, error=str(error))
                    if self._stop.requested and not self._running():
                        return  # what is not published and settled, the ledger and the sweep see to
                    if self._stop.wait(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]):
                        time.sleep(RECONNECT_SECONDS[0])
                    failures += 1

    def _running(self) -> int:
        """Handlers that have not returned yet."""
        return self._busy - len(self._unsettled) - self._done.qsize()

    def _work(self, taken: Taken, consumer: Consumer) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(message_id=taken.message_id)
        try:
            result = self._too_large(taken) or self._handler(taken)
        except BaseException:  # also a plugin's sys.exit(): else this slot would be lost without a word
            log.exception("handler.bug", loop=self._name)
            result = Result(Later(AFTER_BUG_SECONDS))
        self._done.put(_Done(taken, result))
        consumer.interrupt()

    def _too_large(self, taken: Taken) -> Result | None:
        """A client that is not ours may publish more than could be published again to wake it."""
        topology = self._engine.topology
        if taken.queue == topology.dead or len(taken.body) <= topology.max_bytes:
            return None
        return Result(Bury(f"The message has {len(taken.body)} bytes; at most {topology.max_bytes} are accepted."))

    def _settle(self, consumer: Consumer) -> None:
        while True:
            try:
                self._unsettled.append(self._done.get_nowait())
            except queue.Empty:
                break
        while self._unsettled:
            done = self._unsettled[0]
            self._settle_one(consumer, done)
            self._unsettled.pop(0)
            self._busy -= 1
            if done.result.after is not None:
                done.result.after()

    def _settle_one(self, consumer: Consumer, done: _Done) -> None:
        """Publish what is to be told, then settle. Raises `BrokerUnavailable` if that must be tried again."""
        settle = done.result.settle
        faults.point(f"{self._name}.handled")
        try:
            while done.unpublished:
                consumer.publish(done.unpublished[0])
                faults.point(f"{self._name}.published")
                done.unpublished.pop(0)
        except BrokerUnavailable:
            raise
        except BrokerError as error:  # refused or unroutable: the sweep will wake it, but sooner is better
            log.error("result.refused", error=str(error))
            settle = Later(AFTER_BUG_SECONDS)
        try:
            match settle:
                case Ack():
                    consumer.ack(done.taken)
                case Later(delay):
                    consumer.wait(done.taken, delay)
                case GiveBack():
                    consumer.give_back(done.taken)
                case Bury(reason):
                    consumer.bury(done.taken, reason)
        except Lost:  # it will be delivered again; the ledger knows what has been done
            log.info("message.lost", loop=self._name, message_id=done.taken.message_id)
        faults.point(f"{self._name}.settled")


def in_thread(loop: Loop, name: str, failed: Callable[[], None]) -> threading.Thread:
    """Run ``loop`` in a thread of its own; ``failed`` is called should it end by an error."""

    def run() -> None:
        try:
            loop.run()
        except BrokerError as error:  # refused for good: somebody must mend it
            log.error("loop.ended", loop=name, error=str(error))
            failed()
        except Exception:
            log.exception("loop.bug", loop=name)
            failed()

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread
