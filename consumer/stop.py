"""Stopping: first no new messages are taken, then, after a grace period, running work is interrupted."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import structlog

from consumer.errors import Interrupted

log = structlog.get_logger()


class Stop:
    """A request to stop, shared by all threads of a process.

    Args:
        grace: seconds for which running work may go on after `request`.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._requested = threading.Event()
        self._interrupt = threading.Event()

    def request(self) -> None:
        """Take nothing more, and interrupt what still runs after the grace period."""
        if self._requested.is_set():
            self._interrupt.set()  # asked twice: in a hurry
            return
        self._requested.set()
        timer = threading.Timer(self._grace, self._interrupt.set)
        timer.daemon = True
        timer.start()

    @property
    def requested(self) -> bool:
        """True once nothing more is to be taken."""
        return self._requested.is_set()

    @property
    def interrupted(self) -> bool:
        """True once the grace period is over."""
        return self._interrupt.is_set()

    def wait(self, timeout: float) -> bool:
        """Sleep up to ``timeout`` seconds, less if a stop is requested; True if it is."""
        return self._requested.wait(timeout)

    def ensure(self) -> None:
        """Raise `Interrupted` once the grace period is over."""
        if self.interrupted:
            raise Interrupted("this worker is being stopped")

    def on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT. From the main thread only."""

        def handle(number: int, _: FrameType | None) -> None:
            log.info("process.stopping", signal=signal.Signals(number).name, grace_seconds=self._grace)
            self.request()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
