"""Keeps the leases of this process alive, in a thread and on a database connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from consumer import metrics
from consumer.account import Account
from consumer.stop import Stop
from ledger.api import Claim, Deliveries, LedgerUnavailable, Superseded
from messaging import faults

log = structlog.get_logger()


class Hold:
    """A claim that is being kept alive; work asks it between its steps whether it may go on."""

    def __init__(self, claim: Claim, lease: float, asked_at: float, stop: Stop) -> None:
        self.claim = claim
        self.account = Account()
        self._stop = stop
        self._lease = lease
        self._valid_until = asked_at + lease
        self._lost = threading.Event()

    def ensure(self) -> None:
        """Go on only if this returns.

        Raises:
            Superseded: the lease could not be renewed in time, or somebody else has it.
            Interrupted: the process is being stopped.
        """
        if self._lost.is_set() or time.monotonic() >= self._valid_until:
            raise Superseded("the lease was lost")
        self._stop.ensure()

    def due(self, now: float) -> bool:
        """True if the lease is to be renewed at ``now`` (monotonic): a third of it has passed."""
        return now >= self._valid_until - self._lease * 2 / 3

    def renewed(self, asked_at: float) -> None:
        """The database prolonged the lease after ``asked_at`` (monotonic), so it holds at least that much longer."""
        self._valid_until = asked_at + self._lease

    def lose(self) -> None:
        """Somebody else has taken over."""
        self._lost.set()


class LeaseKeeper:
    """Renews every held claim three times per lease."""

    def __init__(self, deliveries: Deliveries, stop: Stop) -> None:
        self._deliveries = deliveries
        self._stop = stop
        self._holds: set[Hold] = set()
        self._unreturned: list[Claim] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    @contextmanager
    def hold(self, claim: Claim, asked_at: float) -> Iterator[Hold]:
        """Keep ``claim``, asked for at ``asked_at`` (monotonic), alive for the time of the block."""
        hold = Hold(claim, self._deliveries.lease, asked_at, self._stop)
        with self._lock:
            self._holds.add(hold)
        try:
            yield hold
        finally:
            with self._lock:
                self._holds.discard(hold)

    def return_later(self, claim: Claim) -> None:
        """Give the claim back, uncounted, as soon as the ledger can be reached again.

        Without that, its lease would run out as a dead worker's does, and an outage would count as a crash.
        """
        with self._lock:
            self._unreturned.append(claim)

    def _run(self) -> None:
        while not self._closed.wait(self._deliveries.lease / 6):
            with self._lock:
                unreturned, holds = list(self._unreturned), list(self._holds)
            for claim in unreturned:
                self._return(claim)
            for hold in holds:
                if hold.due(time.monotonic()):
                    self._renew(hold)

    def _return(self, claim: Claim) -> None:
        try:
            self._deliveries.give_back(claim)
        except LedgerUnavailable:
            return
        except Superseded:
            metrics.LEASES_LOST.inc()
            log.info("lease.lost", delivery_id=str(claim.delivery_id))
        except Exception:
            log.exception("lease.bug", delivery_id=str(claim.delivery_id))
        with self._lock:
            self._unreturned.remove(claim)

    def _renew(self, hold: Hold) -> None:
        asked_at = time.monotonic()
        try:
            if self._deliveries.renew(hold.claim):
                faults.point("lease.renewed")
                hold.renewed(asked_at)
                return
        except LedgerUnavailable as error:  # the hold ends by itself if this goes on for longer than the lease
            log.warning("lease.unrenewed", delivery_id=str(hold.claim.delivery_id), error=str(error))
            return
        except Exception:  # a thread that dies of a bug would let every lease of this process run out
            log.exception("lease.bug", delivery_id=str(hold.claim.delivery_id))
            return
        with self._lock:
            still_held = hold in self._holds
        if still_held:  # else the delivery has ended meanwhile, and its fence with it
            metrics.LEASES_LOST.inc()
            log.warning("lease.lost", delivery_id=str(hold.claim.delivery_id))
            hold.lose()
