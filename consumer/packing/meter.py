"""Tells on a terminal how far something is, once it has taken a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from messaging.amounts import amount, how_far
from messaging.pace import Pace
from messaging.screen import ScreenLine

AFTER_SECONDS = 1.0
EVERY_SECONDS = 0.2


class Meter:
    """A line with bytes, rate and time left.

    Args:
        stream: nothing is written where it is no terminal.
        clock: seconds.
        verb: what is done with the bytes, such as "to read"; empty: nothing is said of it.
        after: what is said once all bytes are read, as nobody knows how long that takes; empty: nothing.
    """

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, *, verb: str = "", after: str = ""
    ) -> None:
        self._line = ScreenLine(stream)
        self._verb = verb
        self._after = after
        self._now = clock()
        self._pace = Pace(clock=lambda: self._now)
        self._clock = clock
        self._next = self._now + AFTER_SECONDS if self._line.on else float("inf")

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` bytes."""
        self._now = self._clock()
        if self._now >= self._next:
            self._next = self._now + EVERY_SECONDS
            rate = self._pace(done)
            if self._after and done >= total:
                self._line.show(f"all {amount(total)} read, {self._after}")
            else:
                self._line.show(how_far(done, total, rate, self._verb))

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()
