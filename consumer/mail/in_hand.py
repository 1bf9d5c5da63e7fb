"""While a mail server is given a mail, which may take it ten minutes to answer: the claim holds, and a stop ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from consumer.mail.transports import Transport
from consumer.stop import Stop
from ledger.api import LedgerUnavailable, Notice, Notices

log = structlog.get_logger()

LOOK_SECONDS = 0.5


@contextmanager
def in_hand(notice: Notice, notices: Notices, transport: Transport, stop: Stop) -> Iterator[None]:
    """For the time of the block, renew the claim three times per lease; cut the connection after the grace period."""
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(done, notice, notices, transport, stop), name="mail-in-hand")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(done: threading.Event, notice: Notice, notices: Notices, transport: Transport, stop: Stop) -> None:
    pause = notices.lease / 3
    renew_at = time.monotonic() + pause
    while not done.wait(min(LOOK_SECONDS, pause)):
        if stop.interrupted:
            transport.cut()
        if time.monotonic() < renew_at:
            continue
        renew_at = time.monotonic() + pause
        try:
            notices.renew(notice)
        except LedgerUnavailable as error:  # tried again; the claim outlives more than one of these
            log.warning("mail.unrenewed", notification_id=str(notice.id), error=str(error))
