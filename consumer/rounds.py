"""Work that a process does again and again, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from consumer.stop import Stop
from ledger.api import LedgerUnavailable
from messaging.engine import BrokerError

log = structlog.get_logger()


def in_rounds(
    name: str, work: Callable[[], None], stop: Stop, period: float, *, at_once: bool = False
) -> threading.Thread:
    """Start a thread that calls ``work`` every ``period`` seconds, the first time now if ``at_once``, until ``stop``.

    What fails is tried again in the next round: these rounds mend what went wrong elsewhere, and must not end by it.
    """

    def run() -> None:
        pause = 0.0 if at_once else period
        while not stop.wait(pause):
            pause = period
            try:
                work()
            except (LedgerUnavailable, BrokerError, OSError) as error:
                log.warning("round.failed", work=name, error=str(error))
            except Exception:
                log.exception("round.bug", work=name)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread
