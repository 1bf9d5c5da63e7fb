"""The sweep: wakes what is overdue, so that even a lost message loses nothing."""

from __future__ import annotations

import threading

import structlog

from consumer.stop import Stop
from ledger.api import LedgerUnavailable, Overdue, lock, overdue, stamp
from messaging.engine import BrokerError, BrokerUnavailable, Engine, Publisher
from messaging.messages import Lane

log = structlog.get_logger()

LOCK = "sweep"


class Sweeper:
    """Looks for overdue rows every ``period`` seconds; of several workers one at a time does so."""

    def __init__(self, engine: Engine, worker: str, stop: Stop, period: float) -> None:
        self._engine = engine
        self._worker = worker
        self._stop = stop
        self._period = period

    def start(self) -> threading.Thread:
        """Begin, in a thread of its own."""
        thread = threading.Thread(target=self._run, name="sweep")
        thread.start()
        return thread

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            try:
                if lock(LOCK, self._worker, 3 * self._period):
                    self.sweep()
            except (LedgerUnavailable, BrokerError) as error:
                log.warning("sweep.failed", error=str(error))
            except Exception:  # the sweep is what mends everybody else's bugs: it must not end by its own
                log.exception("sweep.bug")

    def sweep(self) -> int:
        """Wake every overdue row once; returns how many."""
        depths = self._engine.depths()
        rows = overdue({lane: depths[self._engine.topology.lane(lane)].ready for lane in Lane})
        if rows:
            with self._engine.publisher() as publisher:
                for row in rows:
                    self._wake(publisher, row)
        return len(rows)

    def _wake(self, publisher: Publisher, row: Overdue) -> None:
        facts = {"delivery_id": str(row.delivery_id), "state": row.state}
        try:
            publisher.publish(row.wake_up)
        except BrokerUnavailable:
            raise
        except BrokerError as error:  # this one is looked at again later; those behind it must not wait for it
            log.error("delivery.not_woken", **facts, error=str(error))
        else:
            log.warning("delivery.overdue", **facts)
        stamp(row.delivery_id)
