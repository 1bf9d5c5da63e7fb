"""The sweep: wakes what is overdue, so that even a lost message loses nothing; makes digests; lets old rows forget."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import structlog

from ledger.api import Digests, Keep, Overdue, forget, lock, overdue, replayed, stamp, to_be_replayed
from messaging import faults
from messaging.engine import BrokerError, BrokerUnavailable, Engine, Outgoing, Publisher
from messaging.messages import Lane

log = structlog.get_logger()

LOCK = "sweep"
RETENTION_LOCK, RETENTION_SECONDS = "retention", 3600.0


class Sweeper:
    """Looks for overdue rows; of several workers one at a time does so.

    Args:
        worker: who this is, for the lock.
        period: seconds between two rounds.
        keep: how long old rows keep what names people.
        digests: makes one mail of what runs of a campaign have to tell.
    """

    def __init__(self, engine: Engine, worker: str, period: float, keep: Keep, digests: Digests) -> None:
        self._engine = engine
        self._worker = worker
        self._period = period
        self._keep = keep
        self._digests = digests
        self._forgetting = False

    def round(self) -> None:
        """One round, unless another worker does it."""
        if lock(LOCK, self._worker, 3 * self._period):
            self.sweep()
            self.digest()
            self.replay()
            self.forget()

    def sweep(self) -> int:
        """Wake every overdue row once; returns how many."""
        depths = self._engine.depths()
        topology = self._engine.topology
        ready = {lane: depths[topology.lane(lane)].ready for lane in Lane}
        rows = overdue(ready, depths[topology.notifications].ready)
        if rows:
            with self._engine.publisher() as publisher:
                for row in rows:
                    self._wake(publisher, row)
        return len(rows)

    def digest(self) -> None:
        """Send off the digests whose time has come."""
        made = self._digests.due()
        if made:
            faults.point("sweep.gathered")
            with self._engine.publisher() as publisher:
                for message in made:
                    facts = {"notification_id": message.message_id}
                    if self._published(publisher, message, "digest.not_sent_off", facts):
                        log.info("digest.made", **facts)

    def replay(self) -> None:
        """Publish the dead letters that somebody asked for in the admin, or by a command that did not come so far."""
        letters = to_be_replayed(self._engine.topology)
        if letters:
            with self._engine.publisher() as publisher:
                for letter in letters:
                    facts = {"number": letter.number, "key": letter.message.routing_key}
                    if self._published(publisher, letter.message, "dead.not_replayed", facts):
                        faults.point("sweep.replayed")
                        replayed(letter.number)
                        log.info("dead.replayed", **facts)

    def forget(self) -> None:
        """Once an hour, whoever sweeps: a batch of what is kept no longer; more of it with the next sweeps."""
        once = uuid.uuid4().hex  # a holder that does not come back: nobody has the lock twice within the hour
        if self._forgetting or lock(RETENTION_LOCK, once, RETENTION_SECONDS):
            done = forget(self._keep)
            self._forgetting = bool(done)
            if done:
                log.info("retention.done", **{kind.replace(" ", "_"): count for kind, count in done.items()})

    def _wake(self, publisher: Publisher, row: Overdue) -> None:
        facts = {"delivery_id": str(row.subject), "state": row.state}
        if self._published(publisher, row.wake_up, "delivery.not_woken", facts):
            log.warning("delivery.overdue", **facts)
        faults.point("sweep.woken")
        stamp(row.subject)

    def _published(self, publisher: Publisher, message: Outgoing, if_not: str, facts: Mapping[str, object]) -> bool:
        """False: refused; it is looked at again later, and those behind it must not wait for it."""
        try:
            publisher.publish(message)
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            log.error(if_not, **facts, error=str(error))
            return False
        return True
