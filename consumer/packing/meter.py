"""Tells on a terminal how far something is, once it has taken a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from messaging.amounts import how_far
from messaging.screen import ScreenLine

AFTER_SECONDS = 1.0
EVERY_SECONDS = 0.2


class Meter:
    """A line with bytes, rate and time left.

    Args:
        stream: nothing is written where it is no terminal.
        clock: seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = ScreenLine(stream)
        self._clock = clock
        self._started = clock()
        self._next = self._started + AFTER_SECONDS if self._line.on else float("inf")

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` bytes."""
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY_SECONDS
            self._line.show(how_far(done, total, now - self._started))

    def clear(self) -> None:
        """Remove the line."""
        self._line.clear()
